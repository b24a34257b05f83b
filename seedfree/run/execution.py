"""One run of a pipeline: rounds of requests until the rows are there, then the published files."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from seedfree._files import write_json
from seedfree._seeds import row_id
from seedfree._version import __version__
from seedfree.card import dataset_card
from seedfree.contexts.stream import ContextStream
from seedfree.dataset import Dataset
from seedfree.engine.batch import bind, close
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.loop import Clock, busy, spread
from seedfree.engine.runner import Runner, identity
from seedfree.engine.schema import parse
from seedfree.engine.session import RunSession
from seedfree.errors import (
    ConfigError,
    ConfigMismatchError,
    InvalidReplyError,
    RequestError,
    SeedfreeError,
)
from seedfree.generators.prices import price_of
from seedfree.languages import Language
from seedfree.protocols import ContextSource, DiversityFilter, Filter, Generator, TaskTemplate
from seedfree.records import Context, Instruction, Prompt, Selection, Topic, altered
from seedfree.run.estimate import code, health
from seedfree.run.folder import (
    Dropped,
    Run,
    Stats,
    code_digest,
    differing,
    fingerprint,
    known_verdicts,
    languages_of,
    own_code,
    publish,
    recorded,
    rows_of,
)
from seedfree.run.planning import TaskPlan, plan, quotas
from seedfree.run.progress import Progress
from seedfree.topics import GivenTopics, TopicStream

__all__ = ["Execution", "Stages", "asked", "prompted", "verdict"]


def asked(task: TaskTemplate, context: Context, language: Language) -> Prompt:
    """A task's prompt for a context, with the schema of its fields.

    Raises:
        ConfigError: The task gives something else, or raises.
    """
    try:
        prompt = task.prompt(context, language)
        return prompt if prompt.schema else replace(prompt, schema=task.Fields)
    except SeedfreeError:
        raise
    except Exception as error:
        raise ConfigError(
            f"Task {task.name}: prompt() fails: {type(error).__name__}: {error}",
            hint="It returns a sf.Prompt.",
        ) from error


async def prompted(
    task: TaskTemplate, context: Context, language: Language, runner: Runner
) -> Prompt:
    """`asked` beside the event loop; the library's own tasks, which take less time than the way to a thread, on it."""
    if type(task).__module__.startswith("seedfree.tasks."):
        return asked(task, context, language)
    prompt: Prompt = await runner.call(asked, task, context, language)
    return prompt


async def verdict(filters: Sequence[Filter], item: Instruction, runner: Runner) -> str | None:
    """The first reason to drop a row.

    Raises:
        RequestError: A filter raises.
    """
    left = list(filters)
    while left:
        # All in one call to a thread: the way there takes longer than most of them.
        found, left = await runner.call(_first_reason, left, item)
        if inspect.isawaitable(found):
            with _named(left.pop(0)):
                found = await found
        if found is not None:
            return str(found)
    return None


def _first_reason(filters: list[Filter], item: Instruction) -> tuple[Any, list[Filter]]:
    """A reason, or what has to be awaited for one; with the filters that are left, then its own first among them."""
    for i, each in enumerate(filters):
        with _named(each):
            found = each.check(item)
        if found is not None:
            return found, filters[i:] if inspect.isawaitable(found) else []
    return None, []


@contextlib.contextmanager
def _named(component: object) -> Iterator[None]:
    try:
        yield
    except SeedfreeError:
        raise
    except Exception as error:
        raise RequestError(
            f"{type(component).__name__} raised {type(error).__name__}: {error}"
        ) from error


_LOG = logging.getLogger("seedfree")
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


@dataclass(frozen=True)
class _Job:
    """One prompt: a task on a context, in a round."""

    round: int
    task: TaskTemplate
    context: Context


@dataclass
class _Row:
    """A row on its way, with the place that it has in the run's order."""

    order: tuple[int, str]
    item: Instruction
    reason: str | None = None
    duplicate_of: str | None = None
    similarity: float | None = None


@dataclass
class Execution:
    """The state of one call of `Pipeline.run`."""

    stages: Stages
    size: int
    out: Path
    seed: int
    concurrency: int
    budget_usd: float | None = None
    reuse: Sequence[Path] = ()
    progress: bool | None = None
    clock: Clock | None = None
    transport: Transport | None = None
    _rows: list[_Row] = field(default_factory=list)
    _failure: RequestError | None = None
    _rounds: int = 0
    _topics: int = 0
    _contexts: int = 0
    _shown: float = 0.0
    _searched: list[dict[str, Any]] = field(default_factory=list)
    _selecting: threading.Lock = field(default_factory=threading.Lock)

    async def run(self) -> Run:
        """See `Pipeline.run`."""
        self._now = self.clock or Clock()
        self._started = self._now.monotonic()
        settings = {**self.stages.settings, "seed": self.seed}
        with Ledger(self.out, clock=self.clock) as ledger, busy():
            self._ledger = ledger
            for stale in self.out.glob(".*.tmp"):
                # of a process that was killed while it published
                stale.unlink(missing_ok=True)
            new = self._same_settings(settings)
            reuse = {e.key: e for folder in self.reuse for e in Ledger.answers(folder)}
            self._runner = Runner(
                ledger,
                concurrency=self.concurrency,
                clock=self.clock,
                transport=self.transport,
                reuse=reuse,
            )
            tasks, filters = self.stages.tasks, self.stages.filters
            # Code of the user's may have changed since.
            self._known = (
                known_verdicts(self.out) if filters and own_code([*tasks, *filters]) else {}
            )
            self._plans = [TaskPlan(task) for task in tasks]
            self._session = RunSession(
                self._runner, self.stages.generator, self.stages.language, self.seed, price_of=price_of,
                budget_usd=self.budget_usd, grounded_tasks=frozenset(t.name for t in tasks if t.grounded),
                on_reply=self._show, tasks=tuple(t.name for t in tasks), folder=self.out,
            )  # fmt: skip
            self._bar = Progress(self.size, show=self.progress, clock=self.clock)
            try:
                return await self._to_the_end(settings, new)
            finally:
                self._bar.close()
                for component in reversed(self._components()):
                    await close(self._runner, component)
                await self._runner.close()

    def _components(self) -> list[object]:
        p = self.stages
        return [p.generator, *p.contexts, *p.tasks, *p.filters, *p.diversity]

    def _same_settings(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder is new; raises where it was made with other settings."""
        kept = self._ledger.config()
        if kept is None:
            return True
        if kept.kind != "config":
            raise ConfigError(
                f"{self.out} holds replies but no run", hint="Choose another folder for the run."
            )
        languages = [self.stages.language, *languages_of(self._components())]
        was = recorded(kept.body.decode(), languages)
        fields = differing(was, recorded(json.dumps(settings, ensure_ascii=False), languages))
        if fields:
            raise ConfigMismatchError(
                f"{self.out} was made with other settings: {', '.join(fields[:6])}",
                fields=fields,
                hint="Choose another folder; reuse=[this one] takes over its replies.",
            )
        return False

    async def _to_the_end(self, settings: Mapping[str, Any], new: bool) -> Run:
        for component in self._components():
            await bind(self._runner, component, self._session)
        if new:  # only now are the settings known to work, and the folder is theirs
            entry = Entry("config", "", json.dumps(settings, ensure_ascii=False).encode())
            await self._ledger.append(entry)
        self._write_status("running", "")
        try:
            status, message = await self._all_rounds()
        except RequestError as error:
            status, message = "stopped", str(error)
        except asyncio.CancelledError:
            await self._runner.call(self._select)
            self._finish(settings, "stopped", "interrupted; run it again to go on")
            raise
        except BaseException as error:
            self._write_status("failed", f"{type(error).__name__}: {error}")
            raise
        self._finish(settings, status, message)
        if status != "complete":
            _LOG.warning("%s: %s", status, message)
        return Run(self.out)

    async def _all_rounds(self) -> tuple[str, str]:
        topics = self._topic_stream()
        stream = ContextStream(
            [(s, described) for s, described in zip(self.stages.contexts, self._described(), strict=True)],
            topics, self._session, self._runner,
        )  # fmt: skip
        dry = False
        while any(wanted := plan(self.size, self._plans)) and not dry:
            jobs, asked = await self._jobs(stream, wanted)
            dry = not jobs
            await spread(self._work, jobs, self._runner.workers)
            kept = await self._runner.call(self._select)
            if self._failure is not None:
                raise self._failure
            self._rounds += 1
            if self._rounds == 1:
                self._warn_if_poor()
            for state, used in zip(self._plans, asked, strict=True):
                was_open = not state.closed
                state.learn(used, kept[state.task.name])
                if state.closed and was_open:
                    _LOG.warning(
                        "%s yields under 2 %% of its contexts; it is closed", state.task.name
                    )
        if (
            sum(
                min(p.kept, q)
                for p, q in zip(self._plans, quotas(self.size, self._plans), strict=True)
            )
            >= self.size
        ):
            return "complete", ""
        closed = ", ".join(p.task.name for p in self._plans if p.closed)
        reasons = ["the topics ran dry"] * dry + [f"{closed} yield too little"] * bool(closed)
        return "short", " and ".join(reasons)

    def _warn_if_poor(self) -> None:
        """Says after the pilot what a whole run would pay for."""
        drops = Counter(code(r.reason) for r in self._rows if r.reason is not None)
        poor = health(sum(r.reason is None for r in self._rows), drops).below()
        if poor:
            _LOG.warning(
                "This model is below the floor for %s: %s",
                self.stages.language.name,
                "; ".join(poor),
            )

    def _topic_stream(self) -> GivenTopics | TopicStream:
        given = self.stages.topics
        if given is not None:
            return GivenTopics([Topic(text) for text in given])
        sources = self.stages.contexts
        if sources and all(hasattr(source, "topics") for source in sources):
            return GivenTopics(
                [topic for source in sources for topic in cast("Any", source).topics()]
            )
        return TopicStream(
            self._session, cultural_share=self.stages.cultural_share, limit=self.stages.topic_limit
        )

    def _described(self) -> list[Any]:
        return list(self.stages.settings["contexts"])

    async def _jobs(
        self, stream: ContextStream, wanted: Sequence[int]
    ) -> tuple[list[_Job], list[int]]:
        """The round's jobs, each task going on in the stream where it stopped, and contexts asked about by task."""
        ends = [p.used + n for p, n in zip(self._plans, wanted, strict=True)]
        jobs, asked = [], []
        for state, end in zip(self._plans, ends, strict=True):
            take = stream.take if state.task.needs_context else stream.bare
            contexts = (await take(end))[state.used :]
            self._contexts = max(self._contexts, state.used + len(contexts))
            jobs += [_Job(self._rounds, state.task, c) for c in contexts]
            asked.append(len(contexts))
        self._topics = stream.topics
        return jobs, asked

    async def _work(self, job: _Job) -> None:
        """Asks for one job's rows and filters them; what fails for good stops the run once the round is over."""
        if self._failure is not None:
            return
        try:
            for row in await self._rows_of(job):
                if row.reason is None:
                    row.reason = await self._verdict(row.item)
                self._rows.append(row)
        except RequestError as error:
            # Jobs under way go on to their replies, which are paid for; no further one begins.
            self._failure = self._failure or error

    async def _verdict(self, item: Instruction) -> str | None:
        if item.id in self._known:
            return self._known[item.id]
        return await verdict(self.stages.filters, item, self._runner)

    async def _rows_of(self, job: _Job) -> list[_Row]:
        task, context = job.task, job.context
        prompt = await prompted(task, context, self.stages.language, self._runner)
        items: list[Instruction] = []

        def check(text: str) -> None:
            fields = parse(text, task.Fields)
            try:
                items[:] = task.instructions(fields, context)
            except Exception as error:
                # a task of the user's may raise anything; the reply is data
                raise InvalidReplyError(f"{task.name}: {type(error).__name__}: {error}") from error

        reply = await self._session.generate(prompt, check=check)
        if reply.error is not None:
            # The provider's own words may name a request: only what is the same in every run is
            # published.
            why = reply.error.partition(":")
            detail = f" ({why[2].strip()})" if why[0] == "invalid" else ""
            return [self._row(job, 0, Instruction(task.name, "", ""), f"reply: {why[0]}{detail}")]
        return [self._row(job, i, item) for i, item in enumerate(items)]

    def _row(self, job: _Job, ordinal: int, item: Instruction, reason: str | None = None) -> _Row:
        context = item.context or job.context
        topic = context.topic or Topic("")
        name = row_id(
            job.task.name,
            context.id,
            context.position,
            ordinal,
            item.instruction,
            item.input,
            item.output,
        )
        filled = altered(
            item,
            task=job.task.name,
            id=item.id or name,
            language=item.language or self.stages.language.code,
            topic=item.topic or topic.text,
            topic_kind=item.topic_kind or topic.kind,
            source=item.source if item.source.kind != "topic" else context.source,
            generator=item.generator or identity(self.stages.generator),
            context=context,
        )
        return _Row((job.round, row_id(self.seed, filled.id)), filled, reason)

    def _select(self) -> Counter[str]:
        """Marks near-duplicates among all rows so far; returns kept rows by task."""
        with self._selecting:  # an interrupted call may still be at it
            return self._compare()

    def _compare(self) -> Counter[str]:
        self._rows.sort(key=lambda r: r.order)
        passed = [r for r in self._rows if r.reason is None or r.duplicate_of is not None]
        for r in passed:
            r.reason = r.duplicate_of = r.similarity = None
        self._searched = []
        for each in self.stages.diversity:
            if passed:
                found = _drop(each, passed)
                self._searched.append(
                    {"filter": type(each).__name__, "index": found.index, "recall": found.recall}
                )
                passed = [r for r in passed if r.reason is None]
        return Counter(r.item.task for r in self._rows if r.reason is None)

    def _show(self) -> None:
        now = self._now.monotonic()
        if now - self._shown < _STATUS_EVERY:
            return
        self._shown = now
        tally, rows = self._session.tally, sum(r.reason is None for r in self._rows)
        self._bar.update(
            rows, requests=tally.requests, usd=tally.price_usd, sent=self._runner.requests
        )
        self._write_status("running", "")

    def _stats(self, rows: int = 0, drops: Mapping[str, int] | None = None) -> Stats:
        tally, seconds = self._session.tally, self._now.monotonic() - self._started
        return Stats(
            rows, tally.requests, tally.input_tokens, tally.output_tokens, self._session.tally.price_usd, self._topics,
            self._contexts, self._rounds, self._runner.retries, round(seconds, 3), drops or {},
        )  # fmt: skip

    def _write_status(self, status: str, message: str, stats: Stats | None = None) -> None:
        state = {
            "status": status,
            "message": message,
            "size": self.size,
            "entries": len(self._ledger),
        }
        write_json(
            self.out / "status.json",
            {**state, **self._bar.expected, "stats": asdict(stats or self._stats())},
        )

    def _finish(self, settings: Mapping[str, Any], status: str, message: str) -> None:
        """Publishes what there is."""
        self._rows.sort(key=lambda r: r.order)
        left = {
            p.task.name: q for p, q in zip(self._plans, quotas(self.size, self._plans), strict=True)
        }
        kept: list[Instruction] = []
        dropped: list[Dropped] = []
        for r in self._rows:
            if r.reason is None and left[r.item.task] > 0:
                left[r.item.task] -= 1
                kept.append(r.item)
            else:
                dropped.append(
                    Dropped.of(r.item, r.reason or "surplus", r.duplicate_of, r.similarity)
                )
        drops = Counter(code(d.reason) for d in dropped)
        stats = self._stats(len(kept), dict(sorted(drops.items())))
        self._bar.update(
            len(kept), requests=stats.requests, usd=stats.price_usd, sent=self._runner.requests
        )
        generator = self.stages.generator
        text = dataset_card(
            Dataset(kept),
            language=self.stages.language,
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
        files = {
            "dataset.jsonl": rows_of(kept),
            "dropped.jsonl": rows_of(dropped),
            "README.md": text,
        }
        manifest = {
            "seedfree": __version__,
            "code": code_digest(),
            "status": status,
            "size": self.size,
            "rows": len(kept),
            "dropped": len(dropped),
            "drops": stats.drops,
            "diversity": self._searched,
            "settings": settings,
            "fingerprint": fingerprint(settings),
        }
        publish(self.out, files, manifest)
        self._write_status(status, message, stats)


def _drop(diversity: DiversityFilter, rows: Sequence[_Row]) -> Selection:
    """Marks what a diversity filter drops of the rows."""
    selection = diversity.select([r.item for r in rows])
    reasons = selection.reasons or [getattr(diversity, "reason", "near-duplicate")] * len(rows)
    for r, of, similarity, reason in zip(
        rows, selection.duplicate_of, selection.similarity, reasons, strict=True
    ):
        if of >= 0:
            r.reason = f"diversity: {reason}"
            # Beyond this run's rows come those that were there before it.
            r.duplicate_of = (
                rows[of].item.id
                if of < len(rows)
                else cast("Any", diversity).against_ids[of - len(rows)]
            )
            # An encoder's last digits depend on the batch that a text was in, which an interruption
            # may change.
            r.similarity = None if math.isnan(similarity) else round(float(similarity), 4)
    return selection
