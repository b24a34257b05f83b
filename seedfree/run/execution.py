"""One run of a pipeline: jobs until the rows are there, then the published files.

No stage waits for another: topics, contexts and jobs go to one pool as soon as they may start, and
whatever ends starts what it made possible (`_advance`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from seedfree._files import claim_folder, give_mode
from seedfree._version import __version__
from seedfree.card import dataset_card
from seedfree.contexts.stream import BARREN, ContextStream, Topics
from seedfree.dataset import Dataset
from seedfree.engine.ledger import FILES, Entry, Ledger
from seedfree.engine.loop import Clock, busy
from seedfree.engine.places import published, published_values, url_of
from seedfree.engine.pool import Pool
from seedfree.engine.progress import heartbeat
from seedfree.engine.providers import terms_page
from seedfree.engine.salvage import readable_answers
from seedfree.engine.session import RunSession, identity
from seedfree.errors import ConfigError, ConfigMismatchError, RequestError
from seedfree.generators.prices import price_of
from seedfree.languages import Language
from seedfree.outcome import Stats, code
from seedfree.protocols import DiversityFilter, TaskTemplate
from seedfree.records import Selection
from seedfree.run.estimate import health
from seedfree.run.folder import Run, rows_kept
from seedfree.run.jobs import Job, Row, mark_duplicates, mark_same_points, rows_of
from seedfree.run.judging import Judge, counted, mistaken
from seedfree.run.planning import Plan
from seedfree.run.progress import Progress
from seedfree.run.publishing import (
    Publication,
    is_finished,
    known_verdicts,
    publish,
    published_rows,
    pure,
    write_status,
)
from seedfree.run.settings import differing, differing_since, fingerprint, languages_of, recorded
from seedfree.run.stages import Options, Stages
from seedfree.run.variety import variety
from seedfree.topics import TopicStream

__all__ = ["execute"]

_LOG = logging.getLogger("seedfree")
# Raised where other jobs are asked for the same replies: a run goes on under its own rules alone.
_PLAN = 3
# Reasons of rows to which the model gave no answer.
_UNANSWERED = ("reply: refused", "reply: rejected")
# Seconds between two updates of the progress bar and of `status.json`.
_STATUS_EVERY = 1.0


async def execute(stages: Stages, options: Options) -> Run:
    """Runs a pipeline; see `Pipeline.run`."""
    claim_folder(options.out, FILES)
    if options.mode is not None:
        give_mode(options.out, options.mode)
    with Ledger(options.out, clock=options.clock) as ledger, busy():
        for stale in options.out.glob(".*.tmp"):  # of a process that was killed while it published
            stale.unlink(missing_ok=True)
        settings = {**stages.settings, "seed": options.seed, "plan": _PLAN}
        languages = languages_of([stages, *stages.components])
        new = _is_new(ledger, settings, languages, options.size)
        if new is None:
            return Run(options.out)
        _check_size(options)
        executions: list[_Execution] = []

        def show() -> None:
            for execution in executions:
                execution.show()

        session = _session(stages, options, ledger, show)
        try:
            for component in stages.components:
                await session.bind(component)
            session.batches.resume(stages.generators())
            models = [*stages.generators(), *stages.encoders()]
            session.accounts.count_kept(models, session.batches.keys)
            if new:  # only now are the settings known to work, and the folder is theirs
                await ledger.append(Entry("config", "", _json(settings).encode()))
            executions.append(_Execution(stages, options, settings, ledger, session))
            return await executions[0].run()
        finally:
            for execution in executions:
                execution.close()
            await session.close(reversed(stages.components))


def _is_new(
    ledger: Ledger, settings: Mapping[str, Any], languages: Sequence[Language], size: int
) -> bool | None:
    """Returns whether a folder holds no run yet.

    A run of a version that planned otherwise does not go on. Where it is finished and as large as
    is wanted there is nothing to do, which is `None`.

    Raises:
        ConfigError: The folder holds something else, or an unfinished run of another version.
        ConfigMismatchError: It was made with other settings.
    """
    entry = ledger.config()
    if entry is None:
        return True
    folder = ledger.folder
    if entry.kind != "config":
        raise ConfigError(
            f"{folder} holds replies but no run", hint="Choose another folder for the run."
        )
    hint = "Choose another folder; reuse=[this one] takes over its replies."
    was = recorded(entry.body.decode(), languages)
    now = recorded(_json(settings), languages)
    if was.get("plan") != settings["plan"]:
        if is_finished(folder, size) and not differing_since(was, now):
            return None
        raise ConfigError(f"{folder} was planned by another version of seedfree", hint=hint)
    if fields := differing(was, now):
        raise ConfigMismatchError(
            f"{folder} was made with other settings: {', '.join(fields[:6])}",
            fields=fields,
            hint=hint,
        )
    return False


def _check_size(options: Options) -> None:
    """Raises where a folder holds more rows than are wanted, which would be lost from it."""
    rows = published_rows(options.out)
    if rows > options.size and not options.shrink:
        raise ConfigError(
            f"{options.out} holds {rows} rows, more than size={options.size}",
            hint="Pass shrink=True to have fewer, or choose another folder.",
        )


def _session(
    stages: Stages, options: Options, ledger: Ledger, on_reply: Callable[[], None]
) -> RunSession:
    reuse = [entry for folder in options.reuse for entry in Ledger.answers(folder)]
    # Nobody asked for these by name: what of them cannot be read is done without.
    reuse += [entry for folder in options.previewed for entry in readable_answers(folder)]
    return RunSession(
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
        on_reply=on_reply,
        tasks=tuple(task.name for task in stages.tasks),
        grounded_tasks=frozenset(task.name for task in stages.tasks if task.grounded),
        folder=options.out,
        batch=options.batch,
        wait_for_quota=options.wait_for_quota,
    )


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, ensure_ascii=False)


class _Execution:
    """The state of one call of `Pipeline.run`."""

    def __init__(
        self,
        stages: Stages,
        options: Options,
        settings: Mapping[str, Any],
        ledger: Ledger,
        session: RunSession,
    ) -> None:
        self._stages, self._options, self._settings = stages, options, settings
        self._ledger, self._session = ledger, session
        self._clock = options.clock or Clock()
        self._started = self._clock.monotonic()
        self._tasks = stages.tasks
        self._servers = tuple(map(url_of, [*stages.generators(), *stages.encoders()]))
        self._plan = Plan(options.size, [task.rows for task in stages.tasks], stages.balance)
        self._pool = Pool(session.workers, session.gate.piece)
        session.batches.watch(self._pool, lambda: self._plan.needed)
        self._topics = self._topic_stream()
        sources = zip(stages.contexts, settings["contexts"], strict=True)
        self._contexts = ContextStream(
            list(sources), self._topics, session, self._pool, self._advance
        )
        # By task, jobs that may start as soon as their context is there.
        self._waiting = [deque[int]() for _ in self._tasks]
        # Code of the user's may have changed since.
        judged_before = stages.filters and pure([*stages.tasks, *stages.filters])
        self._judge = Judge(
            stages.filters,
            stages.generator,
            stages.appealed_to,
            stages.repair,
            session,
            known_verdicts(options.out) if judged_before else {},
        )
        self._rows: list[Row] = []
        self._jobs = 0
        self._monotonous: Sequence[str] = ()
        self._deciding, self._decided = False, -1
        self._closed = [False for _ in self._tasks]
        self._shown_at, self._show_every = 0.0, _STATUS_EVERY
        self._searches: list[dict[str, Any]] = []
        self._selecting = threading.Lock()
        self._bar = Progress(options.size, show=options.progress, clock=options.clock)

    def close(self) -> None:
        self._bar.close()

    async def run(self) -> Run:
        """Works until the rows are there or nothing more comes, and publishes what there is."""
        self._log_most_rows()
        self._write_status("running", "")
        try:
            async with heartbeat(self.show, self._options.clock):
                status, message = await self._all_jobs()
        except RequestError as error:
            await self._select_rest()
            status, message = "stopped", str(error)
        except asyncio.CancelledError:
            await self._select_rest()
            self._publish("stopped", "interrupted; run it again to go on")
            raise
        except BaseException as error:
            self._write_status("failed", f"{type(error).__name__}: {error}")
            raise
        self._publish(status, message)
        for line in self._losses():
            _LOG.info(line)
        for line in self._monotonous:
            _LOG.info("Monotonous: %s", line)
        for line in mistaken(counted(row.item for row in self._rows)):
            _LOG.warning("A rule is wrong more often than right; leave it out: %s", line)
        run = Run(self._options.out)
        if status != "complete":
            rows = f"{rows_kept(run)} rows are safe in {run.path}"
            _LOG.warning("%s: %s (%s)", status, message, rows)
        return run

    def _log_most_rows(self) -> None:
        most, size = self._stages.most_rows(), self._options.size
        if most is not None:
            level = logging.WARNING if most < size else logging.INFO
            topics = len(self._topics.topics)
            _LOG.log(level, "%d topics give at most %d rows; %d are wanted", topics, most, size)

    def _topic_stream(self) -> Topics:
        stages = self._stages
        return (
            stages.drawn_topics(self._session, self._pool, self._advance)
            or stages.given_topics()
            or TopicStream(
                self._session,
                self._pool,
                self._advance,
                cultural_share=stages.cultural_share,
                per_request=stages.topics_per_request,
                limit=stages.topic_limit,
            )
        )

    async def _all_jobs(self) -> tuple[str, str]:
        """Returns the run's status and, where it is not complete, why."""
        more = True
        while more:
            self._advance()
            await self._pool.drain()
            more = self._plan.go_on(await self._session.call(self._select))
            self._log_closed()
        if self._plan.complete:
            return "complete", ""
        reasons = []
        if self._contexts.barren:
            reasons.append(f"the last {BARREN} topics gave no new text")
        elif self._topics.ended or (self._stages.contexts and self._contexts.ended):
            reasons.append("the topics ran dry")
        closed = [task.name for task, over in zip(self._tasks, self._closed, strict=True) if over]
        reasons += [f"{', '.join(closed)} yield too little"] * bool(closed)
        why = " and ".join(reasons)
        return "short", "; ".join(filter(None, [why, *self._losses()]))

    def _losses(self) -> list[str]:
        """Returns for each stage that lost something how much of it, and why."""
        lines = []
        for stage, counts in self._session.gate.counts().items():
            if counts["lost"]:
                lost = ", ".join(f"{n} {reason}" for reason, n in counts["lost"].items())
                lines.append(
                    f"{stage}: {counts['got']} of {counts['asked']} gave something ({lost})"
                )
        return lines

    def _advance(self) -> None:
        """Starts whatever may start."""
        for task, job in self._plan.start():
            self._waiting[task].append(job)
        for task, template in enumerate(self._tasks):
            stream = self._contexts if template.needs_context else self._topics
            # A wait for a batch is long: texts for all jobs that are needed are worth one.
            want = self._plan.goal if self._options.batch else self._plan.horizon
            stream.want(want(task))
        self._contexts.advance()
        for task, template in enumerate(self._tasks):
            self._submit_jobs(task, template)

    def _submit_jobs(self, task: int, template: TaskTemplate) -> None:
        """Submits the jobs of a task whose contexts are there."""
        stream, waiting = self._contexts, self._waiting[task]
        if template.needs_context:
            there, ended = len(stream.contexts), stream.ended
            last = there * template.visits if ended else there
        else:
            there, ended = len(self._topics.topics), self._topics.ended
            last = there
        while waiting and waiting[0] < last:
            n = waiting.popleft()
            context = stream.visited(n) if template.needs_context else stream.bare(n)
            job = Job(self._plan.block(task, n), template, context)
            self._pool.submit((2, n, task), template.name, partial(self._work, task, n, job))
        if ended:
            self._plan.end(task, last)
            waiting.clear()

    async def _work(self, task: int, number: int, job: Job) -> None:
        """Asks for one job's rows and judges them."""
        rows = []
        for row in await rows_of(job, self._stages.generator, self._session):
            rows += [row] if row.rejected else await self._judge.judge(row, job)
        self._rows += rows
        self._jobs += 1
        self._plan.settle(task, number, sum(row.rejected is None for row in rows))
        if self._plan.due is not None and not self._deciding:
            self._deciding = True
            self._pool.submit((-1,), "diversity", self._decide)
        self._advance()

    async def _decide(self) -> None:
        """Decides the blocks whose jobs are all settled."""
        try:
            while (block := self._plan.due) is not None:
                kept = await self._session.call(self._select, block)
                self._plan.decide(kept)
                if block == 0:
                    self._warn_if_poor()
                self._log_closed()
                self._advance()
        finally:
            self._deciding = False

    def _log_closed(self) -> None:
        for task, closed in enumerate(self._plan.closed):
            if closed and not self._closed[task]:
                name = self._tasks[task].name
                _LOG.warning("%s yields under 2 %% of its contexts; it is closed", name)
        self._closed = list(self._plan.closed)

    def _warn_if_poor(self) -> None:
        """Says after the first block what a whole run would pay for."""
        drops = Counter(code(f"diversity: {d.reason}") for r in self._rows if (d := r.duplicate))
        drops.update(code(row.rejected) for row in self._rows if row.rejected is not None)
        unanswered = sum(n for why, n in drops.items() if why in _UNANSWERED)
        if unanswered == len(self._rows):  # that says nothing of the model's language
            return
        poor = health(sum(row.kept for row in self._rows), drops).below()
        if poor:
            name = self._stages.language.name
            _LOG.warning("This model is below the floor for %s: %s", name, "; ".join(poor))

    async def _select_rest(self) -> None:
        """Compares all rows. Where a diversity filter cannot, those of no decided block wait."""
        try:
            await self._session.call(self._select)
        except RequestError:
            self._rows = [row for row in self._rows if row.order[0] <= self._decided]

    def _select(self, block: int | None = None) -> list[int]:
        """Finds the near-duplicates among the rows so far.

        Args:
            block: The last whose rows are compared; `None` for all rows.

        Returns:
            For each task, how many rows are kept.
        """
        self._ledger.check_place()  # a filter may keep files in the folder
        with self._selecting:  # an interrupted call may still be at it
            # A copy, since rows come meanwhile; a list that grows cannot be sorted.
            rows = [
                row
                for row in sorted(self._rows, key=lambda row: row.order)
                if row.rejected is None and (block is None or row.order[0] <= block)
            ]
            before = [(row, row.duplicate) for row in rows]
            for row in rows:
                row.duplicate = None
            self._searches = []
            mark_same_points(rows)
            rows = [row for row in rows if row.duplicate is None]
            try:
                for diversity in self._stages.diversity:
                    if rows:
                        self._mark(diversity, rows)
                        rows = [row for row in rows if row.duplicate is None]
            except RequestError:
                for row, duplicate in before:
                    row.duplicate = duplicate
                raise
            if before:
                self._decided = before[-1][0].order[0]
            kept = Counter(row.item.task for row in rows)
            return [kept[task.name] for task in self._tasks]

    def _mark(self, diversity: DiversityFilter, rows: Sequence[Row]) -> None:
        """Marks what a diversity filter drops of the rows."""
        selection = diversity.select([row.item for row in rows])
        name = type(diversity).__name__
        if not isinstance(selection, Selection):
            what = f"{name}: select() returned {type(selection).__name__}"
            raise RequestError(what, hint="Return a sf.Selection.")
        self._searches.append(
            {"filter": name, "index": selection.index, "recall": selection.recall}
        )
        mark_duplicates(rows, selection, diversity)

    def show(self) -> None:
        """Shows how far the run is, at most once a second."""
        now = self._clock.monotonic()
        # Out of its place the run is about to stop, which must not cost a reply that has come.
        if now - self._shown_at < self._show_every or not self._ledger.in_place:
            return
        self._shown_at, began = now, time.perf_counter()
        self._show_rows(sum(row.kept for row in self._rows))
        self._write_status("running", "")
        # All rows are counted, which takes long where there are a million.
        self._show_every = max(_STATUS_EVERY, 50 * (time.perf_counter() - began))

    def _show_rows(self, rows: int) -> None:
        tally = self._session.accounts.tally
        self._bar.update(
            rows,
            requests=tally.requests,
            usd=tally.price_usd,
            sent=self._session.requests,
            jobs=self._jobs,
            needed=self._plan.needed,
        )

    def _stats(self, publication: Publication | None = None) -> Stats:
        tally, session = self._session.accounts.tally, self._session
        return Stats(
            rows=len(publication.kept) if publication else 0,
            requests=tally.requests,
            requests_read=session.accounts.answered["requests"],
            input_tokens=tally.input_tokens,
            output_tokens=tally.output_tokens,
            price_usd=tally.price_usd,
            topics=self._contexts.topics,
            topics_left=len(self._topics.topics) - self._contexts.topics,
            contexts=self._plan.contexts,
            jobs=self._jobs,
            stages=self._stage_counts(),
            models={name: dict(counts) for name, counts in sorted(tally.by_model.items())},
            retries=session.retries,
            seconds=round(self._clock.monotonic() - self._started, 3),
            drops=publication.drops if publication else {},
            checks=counted(row.item for row in self._rows),
        )

    def _stage_counts(self) -> dict[str, dict[str, Any]]:
        """Returns what each stage asked, got, lost and used."""
        counts = self._session.gate.counts()
        for name, used in sorted(self._session.accounts.tally.by_stage.items()):
            counts[name or "reused"] = {**counts.get(name, {}), **used}
        return counts

    def _write_status(self, status: str, message: str, stats: Stats | None = None) -> None:
        self._ledger.check_place()
        write_status(
            self._options.out,
            status,
            published(message, *self._servers),
            stats or self._stats(),
            size=self._options.size,
            entries=len(self._ledger),
            under_way=dict(self._pool.under_way),
            batches=self._session.batches.under_way,
            waiting_until=self._session.waiting_until,
            **self._bar.expected,
        )

    def _publish(self, status: str, message: str) -> None:
        """Publishes what there is.

        Raises:
            LedgerError: The folder is not there any more, or is another one.
        """
        self._ledger.check_place()
        self._rows.sort(key=lambda row: row.order)
        quotas = zip(self._tasks, self._plan.quotas, strict=True)
        left = {task.name: quota for task, quota in quotas}
        fill = self._options.size if self._stages.balance == "fill" else 0
        publication = Publication(self._rows, left, fill)
        stats = self._stats(publication)
        self._show_rows(stats.rows)
        answered = self._session.accounts.answered
        generator, stages = self._stages.generator, self._session.gate.counts()
        kept = Dataset(publication.kept)
        self._monotonous = variety(kept, self._stages.language, words=False).monotonous
        text = dataset_card(
            kept,
            language=self._stages.language,
            generator=published(identity(generator)),
            terms=str(getattr(generator, "terms", "")),
            terms_page=terms_page(url_of(generator)),
            status=status,
            counts={
                "requests": answered["requests"],
                "input tokens": answered["input_tokens"],
                "output tokens": answered["output_tokens"],
            },
            drops=stats.drops,
            checks=stats.checks,
            monotonous=self._monotonous,
            losses={name: counts["lost"] for name, counts in stages.items() if counts["lost"]},
        )
        manifest = {
            "seedfree": __version__,
            "status": status,
            "size": self._options.size,
            "diversity": self._searches,
            "sources": self._stages.counts_of_sources(),
            # The folder may be published, and the ledger has the settings as they are.
            "settings": published_values(self._settings),
            "fingerprint": fingerprint(self._settings),
        }
        publish(self._options.out, publication, text, manifest)
        self._write_status(status, message, stats)
