"""One run of a pipeline: rounds of requests until the rows are there, then the published files."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from seedfree._version import __version__
from seedfree.card import dataset_card
from seedfree.contexts.stream import ContextStream, Topics
from seedfree.dataset import Dataset
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.loop import Clock, busy, spread
from seedfree.engine.session import RunSession, identity
from seedfree.errors import ConfigError, ConfigMismatchError, RequestError
from seedfree.generators.prices import price_of
from seedfree.languages import Language
from seedfree.protocols import ContextSource, DiversityFilter, Filter, Generator, TaskTemplate
from seedfree.records import Instruction, Topic
from seedfree.run.estimate import health
from seedfree.run.folder import Run, Stats, code
from seedfree.run.jobs import Job, NearDuplicate, Row, rejection, rows_of
from seedfree.run.planning import TaskPlan, plan, quotas
from seedfree.run.progress import Progress
from seedfree.run.publishing import Publication, known_verdicts, publish, pure, write_status
from seedfree.run.settings import differing, fingerprint, languages_of, recorded
from seedfree.topics import GivenTopics, TopicStream

__all__ = ["Options", "Stages", "execute"]

_LOG = logging.getLogger("seedfree")
# Seconds between two updates of the progress bar and of `status.json`.
_STATUS_EVERY = 1.0


@dataclass(frozen=True)
class Stages:
    """A pipeline's parts, checked; `settings` is all that decides the data, as JSON values."""

    language: Language
    generator: Generator
    contexts: Sequence[ContextSource]
    tasks: Sequence[TaskTemplate]
    filters: Sequence[Filter]
    diversity: Sequence[DiversityFilter]
    topics: Sequence[str] | None
    cultural_share: float
    topic_limit: int | None
    settings: Mapping[str, Any]

    @property
    def components(self) -> list[object]:
        """Returns every part that may have `bind` and `close`, in the order of binding."""
        lists = (self.contexts, self.tasks, self.filters, self.diversity)
        return [self.generator, *(each for parts in lists for each in parts)]


@dataclass(frozen=True)
class Options:
    """What a call of `Pipeline.run` says beside the pipeline; see there."""

    size: int
    out: Path
    seed: int = 0
    concurrency: int = 64
    budget_usd: float | None = None
    reuse: Sequence[Path] = ()
    progress: bool | None = None
    clock: Clock | None = None
    transport: Transport | None = None


async def execute(stages: Stages, options: Options) -> Run:
    """Runs a pipeline; see `Pipeline.run`."""
    with Ledger(options.out, clock=options.clock) as ledger, busy():
        for stale in options.out.glob(".*.tmp"):  # of a process that was killed while it published
            stale.unlink(missing_ok=True)
        settings = {**stages.settings, "seed": options.seed}
        new = _is_new(ledger, settings, languages_of([stages, *stages.components]))
        execution = _Execution(stages, options, settings, ledger)
        try:
            return await execution.run(new)
        finally:
            await execution.close()


def _is_new(ledger: Ledger, settings: Mapping[str, Any], languages: Sequence[Language]) -> bool:
    """Returns whether a folder holds no run yet; raises where it was made with other settings."""
    entry = ledger.config()
    if entry is None:
        return True
    folder = ledger.folder
    if entry.kind != "config":
        raise ConfigError(
            f"{folder} holds replies but no run", hint="Choose another folder for the run."
        )
    was = recorded(entry.body.decode(), languages)
    fields = differing(was, recorded(_json(settings), languages))
    if fields:
        raise ConfigMismatchError(
            f"{folder} was made with other settings: {', '.join(fields[:6])}",
            fields=fields,
            hint="Choose another folder; reuse=[this one] takes over its replies.",
        )
    return False


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, ensure_ascii=False)


class _Execution:
    """The state of one call of `Pipeline.run`."""

    def __init__(
        self, stages: Stages, options: Options, settings: Mapping[str, Any], ledger: Ledger
    ) -> None:
        self._stages, self._options, self._settings = stages, options, settings
        self._ledger = ledger
        self._clock = options.clock or Clock()
        self._started = self._clock.monotonic()
        self._plans = [TaskPlan(task) for task in stages.tasks]
        # Code of the user's may have changed since.
        judged_before = stages.filters and pure([*stages.tasks, *stages.filters])
        self._known = known_verdicts(options.out) if judged_before else {}
        self._rows: list[Row] = []
        self._failure: RequestError | None = None
        self._rounds = self._topics = self._contexts = 0
        self._shown_at = 0.0
        self._searches: list[dict[str, Any]] = []
        self._selecting = threading.Lock()
        reuse = (entry for folder in options.reuse for entry in Ledger.answers(folder))
        self._session = RunSession(
            ledger,
            stages.generator,
            stages.language,
            options.seed,
            concurrency=options.concurrency,
            clock=options.clock,
            transport=options.transport,
            reuse={entry.key: entry for entry in reuse},
            price_of=price_of,
            budget_usd=options.budget_usd,
            on_reply=self._show,
            tasks=tuple(task.name for task in stages.tasks),
            grounded_tasks=frozenset(task.name for task in stages.tasks if task.grounded),
            folder=options.out,
        )
        self._bar = Progress(options.size, show=options.progress, clock=options.clock)

    async def close(self) -> None:
        self._bar.close()
        await self._session.close(reversed(self._stages.components))

    async def run(self, new: bool) -> Run:
        """Works until the rows are there or nothing more comes, and publishes what there is."""
        for component in self._stages.components:
            await self._session.bind(component)
        if new:  # only now are the settings known to work, and the folder is theirs
            await self._ledger.append(Entry("config", "", _json(self._settings).encode()))
        self._write_status("running", "")
        try:
            status, message = await self._all_rounds()
        except RequestError as error:
            status, message = "stopped", str(error)
        except asyncio.CancelledError:
            await self._session.call(self._select)
            self._publish("stopped", "interrupted; run it again to go on")
            raise
        except BaseException as error:
            self._write_status("failed", f"{type(error).__name__}: {error}")
            raise
        self._publish(status, message)
        if status != "complete":
            _LOG.warning("%s: %s", status, message)
        return Run(self._options.out)

    async def _all_rounds(self) -> tuple[str, str]:
        """Returns the run's status and, where it is not complete, why."""
        size = self._options.size
        sources = zip(self._stages.contexts, self._settings["contexts"], strict=True)
        stream = ContextStream(list(sources), self._topic_stream(), self._session)
        dry = False
        while any(wanted := plan(size, self._plans)) and not dry:
            jobs, asked = await self._jobs(stream, wanted)
            dry = not jobs
            await spread(self._work, jobs, self._session.workers)
            kept = await self._session.call(self._select)
            if self._failure is not None:
                raise self._failure
            self._rounds += 1
            if self._rounds == 1:
                self._warn_if_poor()
            for state, used in zip(self._plans, asked, strict=True):
                self._learn(state, used, kept[state.task.name])
        if sum(min(state.kept, quota) for state, quota in self._quotas()) >= size:
            return "complete", ""
        closed = ", ".join(state.task.name for state in self._plans if state.closed)
        reasons = ["the topics ran dry"] * dry + [f"{closed} yield too little"] * bool(closed)
        return "short", " and ".join(reasons)

    def _learn(self, state: TaskPlan, used: int, kept: int) -> None:
        was_open = not state.closed
        state.learn(used, kept)
        if state.closed and was_open:
            _LOG.warning("%s yields under 2 %% of its contexts; it is closed", state.task.name)

    def _quotas(self) -> list[tuple[TaskPlan, int]]:
        return list(zip(self._plans, quotas(self._options.size, self._plans), strict=True))

    def _warn_if_poor(self) -> None:
        """Says after the first round what a whole run would pay for."""
        drops = Counter(code(f"diversity: {d.reason}") for r in self._rows if (d := r.duplicate))
        drops.update(code(row.rejected) for row in self._rows if row.rejected is not None)
        poor = health(sum(row.kept for row in self._rows), drops).below()
        if poor:
            name = self._stages.language.name
            _LOG.warning("This model is below the floor for %s: %s", name, "; ".join(poor))

    def _topic_stream(self) -> Topics:
        stages = self._stages
        if stages.topics is not None:
            return GivenTopics([Topic(text) for text in stages.topics])
        sources = cast("Sequence[Any]", stages.contexts)
        if sources and all(hasattr(source, "topics") for source in sources):
            return GivenTopics([topic for source in sources for topic in source.topics()])
        return TopicStream(
            self._session, cultural_share=stages.cultural_share, limit=stages.topic_limit
        )

    async def _jobs(
        self, stream: ContextStream, wanted: Sequence[int]
    ) -> tuple[list[Job], list[int]]:
        """Returns the round's jobs, and how many contexts each task is asked about.

        Each task goes on in the stream where it stopped.
        """
        jobs, asked = [], []
        for state, more in zip(self._plans, wanted, strict=True):
            take = stream.take if state.task.needs_context else stream.bare
            contexts = (await take(state.used + more))[state.used :]
            self._contexts = max(self._contexts, state.used + len(contexts))
            jobs += [Job(self._rounds, state.task, context) for context in contexts]
            asked.append(len(contexts))
        self._topics = stream.topics
        return jobs, asked

    async def _work(self, job: Job) -> None:
        """Asks for one job's rows and judges them.

        What fails for good stops the run once the round is over.
        """
        if self._failure is not None:
            return
        try:
            for row in await rows_of(job, self._stages.generator, self._session):
                if row.rejected is None:
                    row.rejected = await self._rejection(row.item)
                self._rows.append(row)
        except RequestError as error:
            # Jobs under way go on to their replies, which are paid for; no further one begins.
            self._failure = self._failure or error

    async def _rejection(self, item: Instruction) -> str | None:
        if item.id in self._known:
            return self._known[item.id]
        return await rejection(self._stages.filters, item, self._session)

    def _select(self) -> Counter[str]:
        """Finds the near-duplicates among all rows so far; returns kept rows by task."""
        with self._selecting:  # an interrupted call may still be at it
            self._rows.sort(key=lambda row: row.order)
            rows = [row for row in self._rows if row.rejected is None]
            for row in rows:
                row.duplicate = None
            self._searches = []
            for diversity in self._stages.diversity:
                if rows:
                    self._mark(diversity, rows)
                    rows = [row for row in rows if row.duplicate is None]
            return Counter(row.item.task for row in rows)

    def _mark(self, diversity: DiversityFilter, rows: Sequence[Row]) -> None:
        """Marks what a diversity filter drops of the rows."""
        selection = diversity.select([row.item for row in rows])
        name = type(diversity).__name__
        self._searches.append(
            {"filter": name, "index": selection.index, "recall": selection.recall}
        )
        reason = getattr(diversity, "reason", "near-duplicate")
        reasons = selection.reasons or [reason] * len(rows)
        # Beyond this run's rows come those that were there before it.
        ids = [row.item.id for row in rows] + list(getattr(diversity, "against_ids", ()))
        decided = zip(rows, selection.duplicate_of, selection.similarity, reasons, strict=True)
        for row, of, similarity, why in decided:
            if of >= 0:
                row.duplicate = NearDuplicate(why, ids[of], _rounded(similarity))

    def _show(self) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at < _STATUS_EVERY:
            return
        self._shown_at = now
        self._advance(sum(row.kept for row in self._rows))
        self._write_status("running", "")

    def _advance(self, rows: int) -> None:
        tally = self._session.tally
        sent = self._session.requests
        self._bar.update(rows, requests=tally.requests, usd=tally.price_usd, sent=sent)

    def _stats(self, publication: Publication | None = None) -> Stats:
        tally, session = self._session.tally, self._session
        return Stats(
            rows=len(publication.kept) if publication else 0,
            requests=tally.requests,
            input_tokens=tally.input_tokens,
            output_tokens=tally.output_tokens,
            price_usd=tally.price_usd,
            topics=self._topics,
            contexts=self._contexts,
            rounds=self._rounds,
            retries=session.retries,
            seconds=round(self._clock.monotonic() - self._started, 3),
            drops=publication.drops if publication else {},
        )

    def _write_status(self, status: str, message: str, stats: Stats | None = None) -> None:
        write_status(
            self._options.out,
            status,
            message,
            stats or self._stats(),
            size=self._options.size,
            entries=len(self._ledger),
            **self._bar.expected,
        )

    def _publish(self, status: str, message: str) -> None:
        """Publishes what there is."""
        self._rows.sort(key=lambda row: row.order)
        left = {state.task.name: quota for state, quota in self._quotas()}
        publication = Publication(self._rows, left)
        stats = self._stats(publication)
        self._advance(stats.rows)
        generator = self._stages.generator
        text = dataset_card(
            Dataset(publication.kept),
            language=self._stages.language,
            generator=identity(generator),
            terms=str(getattr(generator, "terms", "")),
            status=status,
            counts={
                "requests": stats.requests,
                "input tokens": stats.input_tokens,
                "output tokens": stats.output_tokens,
            },
            drops=stats.drops,
        )
        manifest = {
            "seedfree": __version__,
            "status": status,
            "size": self._options.size,
            "diversity": self._searches,
            "settings": self._settings,
            "fingerprint": fingerprint(self._settings),
        }
        publish(self._options.out, publication, text, manifest)
        self._write_status(status, message, stats)


def _rounded(similarity: float) -> float | None:
    # An encoder's last digits depend on the batch that a text was in, which an interruption may
    # change.
    return None if math.isnan(similarity) else round(float(similarity), 4)
