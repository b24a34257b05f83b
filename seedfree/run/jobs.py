"""One job of a run: a task on a context, from its prompt to its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seedfree._seeds import digest
from seedfree.engine.gate import piece
from seedfree.engine.loop import outcome
from seedfree.engine.places import published
from seedfree.engine.schema import parse
from seedfree.engine.session import RunSession, identity
from seedfree.errors import ConfigError, InvalidReplyError, SeedfreeError
from seedfree.languages import Language
from seedfree.protocols import DiversityFilter, Generator, NamesReason, TaskTemplate
from seedfree.records import Context, Instruction, Prompt, Selection, Topic, altered
from seedfree.text import squeeze

__all__ = [
    "Job",
    "NearDuplicate",
    "Row",
    "mark_duplicates",
    "mark_same_points",
    "prompt_of",
    "rows_of",
]


@dataclass(frozen=True)
class Job:
    """One prompt: a task on a context, in a round."""

    round: int
    task: TaskTemplate
    context: Context


@dataclass(frozen=True)
class NearDuplicate:
    """Why a diversity filter drops a row.

    Attributes:
        reason: In the filter's words.
        of: Id of the kept row that it resembles most.
        similarity: Of the two, in the filter's measure; `None` where it measures none.
    """

    reason: str
    of: str
    similarity: float | None


@dataclass
class Row:
    """A row on its way. It is published unless one of three facts speaks against it.

    Attributes:
        order: Its place in the run's order: the round, then a hash, so that no task comes first.
        rejected: Why the reply gave no row, or a filter does not want it.
        duplicate: What a diversity filter says of it.
        surplus: Whether its task had given its share before it.
        repaired_by: Id of the row that was asked for in its place and passed the filters.
    """

    order: tuple[int, str]
    item: Instruction
    rejected: str | None = None
    duplicate: NearDuplicate | None = None
    surplus: bool = False
    repaired_by: str | None = None

    @property
    def kept(self) -> bool:
        return self.rejected is None and self.duplicate is None and not self.surplus


def prompt_of(task: TaskTemplate, context: Context, language: Language) -> Prompt:
    """Returns a task's prompt for a context, with the schema of its fields.

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


async def rows_of(
    job: Job, generator: Generator, session: RunSession, order: str = ""
) -> list[Row]:
    """Asks for a job's rows. A reply that cannot be read is one row, rejected.

    Args:
        order: What the task's prompt does not say.

    Raises:
        StopRunError, RequestError: From the LLM.
    """
    task, context = job.task, job.context
    if not task.suits(context):
        piece().lose("not a text for this task", context.title or context.text)
        return []
    # The library's own tasks take less time than the way to a thread.
    if type(task).__module__.startswith("seedfree.tasks."):
        prompt = prompt_of(task, context, session.language)
    else:
        prompt = await session.call(prompt_of, task, context, session.language)
    if order:
        prompt = altered(prompt, user=f"{prompt.user}\n\n{order}")

    broken = False

    def read(text: str) -> list[Instruction]:
        nonlocal broken
        fields = parse(text, task.Fields)
        try:
            return [_checked(item) for item in task.instructions(fields, context)]
        except Exception as error:  # a task of the user's may raise anything; the reply is data
            broken = not isinstance(error, ValueError)
            why = f"{task.name}: {type(error).__name__}: {error}"
            raise InvalidReplyError(why) from error

    reply = await session.generate(prompt, check=read)
    if broken:  # the model answered, and the task's own code fails: the plan closes the task
        piece().got = True
    if reply.error is None:
        items: list[Instruction] = reply.value
        if getattr(generator, "shows_examples", False):
            items = [altered(item, examples=prompt.examples) for item in items]
        rows = [_row(job, prompt, i, item, generator, session) for i, item in enumerate(items)]
        # A base model continues texts, and cannot be asked.
        for row in rows if not getattr(generator, "base", False) else []:
            await _confirm(row, task, session)
        return rows
    row = _row(job, prompt, 0, Instruction(task.name, "", ""), generator, session)
    # The provider's own words may name a request: only what is the same in every run is published.
    kind, _, detail = reply.error.partition(":")
    shown = f" ({detail.strip()})" if kind == "invalid" else ""
    row.rejected = f"reply: {kind}{shown}"
    return [row]


async def _confirm(row: Row, task: TaskTemplate, session: RunSession) -> None:
    """Has a task look at its row, if it does."""
    confirm = getattr(task, "confirm", None)
    if confirm is None:
        return
    async with session.gate.piece("confirm") as work:
        answer = await outcome(confirm(row.item, session))
        work.got = True
    if isinstance(answer, Instruction):
        row.item = answer
    else:
        row.rejected = str(answer)


def _checked(item: object) -> Instruction:
    if not isinstance(item, Instruction):
        raise TypeError(f"instructions() gave {type(item).__name__}, not sf.Instruction")
    return item


def _row(
    job: Job,
    prompt: Prompt,
    ordinal: int,
    item: Instruction,
    generator: Generator,
    session: RunSession,
) -> Row:
    """Fills in what an extension need not say."""
    context = item.context or job.context
    topic = context.topic or Topic("")
    cell = {"cell": topic.cell} if topic.cell else {}
    texts = (item.instruction, item.input, item.output)
    filled = altered(
        item,
        task=job.task.name,
        id=item.id or digest(job.task.name, context.id, context.position, ordinal, *texts),
        language=item.language or session.language.code,
        topic=item.topic or topic.text,
        topic_kind=item.topic_kind or topic.kind,
        source=item.source if item.source.kind != "topic" else context.source,
        generator=item.generator or published(identity(generator)),
        facets={**cell, **prompt.facets, **item.facets},
        context=context,
    )
    return Row((job.round, digest(session.seed, filled.id)), filled)


def mark_same_points(rows: Sequence[Row]) -> None:
    """Marks the rows that ask for what a row of another visit to their text asks for.

    Args:
        rows: In the run's order: the first row about a point is kept.
    """
    by_text: dict[tuple[str, str], list[tuple[Row, Context]]] = {}
    for row in rows:
        if row.item.evidence and (context := row.item.context):
            by_text.setdefault((row.item.task, context.id), []).append((row, context))
    for visits in by_text.values():
        if len({context.position for _, context in visits}) > 1:
            _mark_same_points(visits)


def _mark_same_points(visits: Sequence[tuple[Row, Context]]) -> None:
    """Does so for the rows of one task about one text."""
    text = squeeze(visits[0][1].text)
    kept: list[tuple[int, int, Row, int]] = []
    for row, context in visits:
        evidence = squeeze(row.item.evidence)
        start = text.find(evidence)
        end = start + len(evidence)
        if start < 0:
            continue
        for other_start, other_end, other, position in kept:
            shared = min(end, other_end) - max(start, other_start)
            # Two points may stand in one long sentence: half of the shorter passage counts.
            same = 2 * shared > min(end - start, other_end - other_start)
            if same and position != context.position:
                row.duplicate = NearDuplicate("asks for the same point", other.item.id, None)
                break
        else:
            kept.append((start, end, row, context.position))


def mark_duplicates(rows: Sequence[Row], selection: Selection, diversity: DiversityFilter) -> None:
    """Marks the rows that a diversity filter's selection among them drops."""
    reason = diversity.reason if isinstance(diversity, NamesReason) else "near-duplicate"
    reasons = selection.reasons or [reason] * len(rows)
    # Beyond this run's rows come those that were there before it.
    ids = [row.item.id for row in rows] + list(selection.against_ids)
    decided = zip(rows, selection.duplicate_of, selection.similarity, reasons, strict=True)
    for row, of, similarity, why in decided:
        if of >= 0:
            row.duplicate = NearDuplicate(why, ids[of], _rounded(similarity))


def _rounded(similarity: float) -> float | None:
    # An encoder's last digits depend on the batch that a text was in, which an interruption may
    # change.
    return None if math.isnan(similarity) else round(float(similarity), 4)
