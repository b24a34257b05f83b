"""What becomes of a row: facts drop it, doubts go to an LLM, and faults may be mended once."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedfree.engine.loop import outcome
from seedfree.engine.session import RunSession
from seedfree.errors import RequestError, SeedfreeError, StopRunError
from seedfree.filters.judge import texts_to_judge
from seedfree.protocols import Filter, Generator
from seedfree.records import Check, Context, Instruction, Suspicion, altered
from seedfree.run.appeal import appeal, doubts, merged, upheld
from seedfree.run.jobs import Job, Row, rows_of

__all__ = ["Judge", "counted", "mistaken"]

_ENOUGH = 20


@dataclass(frozen=True)
class Judge:
    """Says which rows of a job may be kept.

    Attributes:
        filters: In order.
        generator: Writes the rows.
        appeal: The LLM that is asked about doubtful rows; `None` where every doubt is upheld.
        repair: How often a row is asked for again whose doubts are upheld: 0 or 1.
        known: Reasons that are known already, by row id; `None` for a row that passed.
    """

    filters: Sequence[Filter]
    generator: Generator
    appeal: Generator | None
    repair: int
    session: RunSession
    known: Mapping[str, str | None]

    async def judge(self, row: Row, job: Job) -> list[Row]:
        """Judges a row. Returns it, and the one that was asked for in its place, if any.

        Raises:
            RequestError: A filter raises.
            StopRunError: A stage only loses.
        """
        upheld = await self._judge(row)
        if not upheld or not self.repair:
            return [row]
        mended = await self._mended(row, upheld, job)
        if mended is None or mended.item.id == row.item.id:
            return [row]
        if mended.rejected is None:
            await self._judge(mended)
        if mended.rejected is None:
            row.repaired_by = mended.item.id
        return [row, mended]

    async def _judge(self, row: Row) -> list[Suspicion]:
        """Fills in why a row is rejected and what was doubted. Returns the doubts that hold."""
        if row.item.id in self.known:
            row.rejected = self.known[row.item.id]
            return []
        async with self.session.gate.piece("filters"):
            row.rejected, suspicions = await _findings(
                self.filters, row.item, self.session, patient=self.appeal is not None
            )
        if not suspicions:
            return []
        checks = await self._checks(row.item, suspicions)
        row.item = altered(row.item, checks=checks)
        verdicts = zip(suspicions, checks, strict=True)
        upheld = [each for each, check in verdicts if check.verdict == "upheld"]
        if upheld:
            row.rejected = upheld[0].reason
        return upheld

    async def _checks(
        self, item: Instruction, suspicions: Sequence[Suspicion]
    ) -> tuple[Check, ...]:
        if self.appeal is not None:
            async with self.session.gate.piece("appeal"):
                # Where nothing more may be sent, the next request says so. The doubts stand.
                with contextlib.suppress(StopRunError):
                    return await appeal(item, suspicions, self.session, self.appeal)
        return upheld(suspicions)

    async def _mended(self, row: Row, faults: Sequence[Suspicion], job: Job) -> Row | None:
        """Asks for a row again, with its faults named; `None` where nothing may be sent or came."""
        language = self.session.language
        texts = texts_to_judge(row.item)
        written = Context(
            text=f"{texts['instruction']}\n\n{texts['output']}", seed=self.session.seed
        )
        order = language.text("repair", row=written.block(), faults=doubts(faults, language))
        async with self.session.gate.piece("repair"):
            with contextlib.suppress(StopRunError):
                rows = await rows_of(job, self.generator, self.session, order)
                return rows[0] if rows else None
        return None


def counted(items: Iterable[Instruction]) -> dict[str, dict[str, int]]:
    """Counts the doubts about rows by rule: `raised`, `upheld` and `overturned`."""
    verdicts = Counter((check.rule, check.verdict) for item in items for check in item.checks)
    counts = {}
    for rule in sorted({rule for rule, _ in verdicts}):
        held, overturned = verdicts[rule, "upheld"], verdicts[rule, "overturned"]
        counts[rule] = {"raised": held + overturned, "upheld": held, "overturned": overturned}
    return counts


def mistaken(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Names the rules that are wrong more often than right, with their figures.

    Fewer than 20 doubts say too little.
    """
    return [
        f"{rule}: {n['overturned']} of {n['raised']} doubts were overturned"
        for rule, n in counts.items()
        if n["raised"] >= _ENOUGH and 2 * n["overturned"] > n["raised"]
    ]


async def _findings(
    filters: Sequence[Filter], item: Instruction, session: RunSession, *, patient: bool
) -> tuple[str | None, list[Suspicion]]:
    """Returns the first fact against a row, or else what is suspected.

    Args:
        patient: Whether the filters after a suspicion are asked too.

    Raises:
        RequestError: A filter raises.
    """
    left, suspicions = list(filters), list[Suspicion]()
    while left and (patient or not suspicions):
        # All in one call to a thread: the way there takes longer than most of them.
        answer, left = await session.call(_first_answer, left, item, suspicions, patient)
        if inspect.isawaitable(answer):
            waiting = left.pop(0)
            with _named(waiting):
                answer = _finding(await outcome(answer), suspicions)
        if answer is not None:
            return str(answer), []
    return None, merged(suspicions)


def _finding(answer: object, suspicions: list[Suspicion]) -> object:
    """Returns a fact, or what has to be awaited; adds what is suspected to `suspicions`."""
    if isinstance(answer, Suspicion):
        answer = [answer]
    if isinstance(answer, (list, tuple)) and all(isinstance(each, Suspicion) for each in answer):
        suspicions += answer
        return None
    if answer is None or inspect.isawaitable(answer) or (isinstance(answer, str) and answer):
        return answer
    wanted = "not the reason to drop the row, suspicions, or None"
    raise TypeError(f"check() returned {answer!r}, {wanted}")


def _first_answer(
    filters: list[Filter], item: Instruction, suspicions: list[Suspicion], patient: bool
) -> tuple[Any, list[Filter]]:
    """Returns a fact and no filters; or what has to be awaited, its filter, and those left."""
    for i, each in enumerate(filters):
        with _named(each):
            answer = _finding(each.check(item), suspicions)
        if answer is not None:
            return answer, filters[i:] if inspect.isawaitable(answer) else []
        if suspicions and not patient:
            break
    return None, []


@contextlib.contextmanager
def _named(component: object) -> Iterator[None]:
    """Names the component in whatever it raises."""
    try:
        yield
    except SeedfreeError:
        raise
    except Exception as error:
        raised = f"raised {type(error).__name__}: {error}"
        raise RequestError(f"{type(component).__name__} {raised}") from error
