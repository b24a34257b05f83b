"""What each stage of a run asked, got and lost, and the stop of a stage that only loses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from seedfree.errors import StopRunError
from seedfree.text import shown

__all__ = ["REJECTED_HINT", "Gate", "Piece", "piece"]

# After so many pieces of work without one success, something is wrong that more money cannot mend.
_LOST = 20
REJECTED_HINT = (
    "Change what the provider does not take; for servers without JSON schemas, "
    'structured="json_object" or "prompt".'
)
# Characters of an example in a message.
_EXAMPLE = 200


@dataclass
class Piece:
    """One piece of a stage's work: a request for topics, a topic's texts, a job, a row's check.

    Attributes:
        stage: Its name.
        paid: Whether something was asked for it that the ledger did not hold.
        got: Whether it gave what it was for; `None` while nothing is known.
        reason, example: Why it gave nothing, and the server's or the model's words.
        skipped: Reasons for which texts were passed over on the way, one for each.
    """

    stage: str
    paid: bool = False
    got: bool | None = None
    reason: str = ""
    example: str = ""
    skipped: list[str] = field(default_factory=list)

    def lose(self, reason: str, example: str) -> None:
        """Takes note that it gives nothing. The first reason counts."""
        self.got = False
        self.reason, self.example = self.reason or reason, self.example or example


_PIECE: ContextVar[Piece | None] = ContextVar("piece", default=None)


def piece() -> Piece:
    """Returns the piece of work under way here; one that nobody reads outside a stage."""
    return _PIECE.get() or Piece("")


@dataclass
class _Stage:
    """One stage's counts.

    Attributes:
        paid_for_nothing: Pieces that this process paid for and lost, until the first success.
    """

    asked: int = 0
    got: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    under_way: int = 0
    paid_for_nothing: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Returns whether one more piece could be the one too many."""
        return not self.got and self.under_way + self.paid_for_nothing >= _LOST

    def end(self, work: Piece) -> None:
        """Takes in what a piece came to."""
        if work.got is None:
            return
        self.asked += 1
        self.got += work.got
        if not work.got:
            self.lost[work.reason] += 1
            self.examples.setdefault(work.reason, work.example)
            self.paid_for_nothing += work.paid


class Gate:
    """Lets the pieces of each stage begin.

    Until the first success of a stage at most 20 of its pieces are under way or lost, so that one
    which cannot succeed is noticed before more is paid for, at any concurrency.

    Args:
        stop: Called with the reason once a stage has lost 20 pieces and got none.
        still: What a wait for the first success goes on in.
    """

    def __init__(
        self,
        stop: Callable[[StopRunError], None],
        still: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._stop, self._still = stop, still
        self._stages: dict[str, _Stage] = {}
        self._stopped: StopRunError | None = None

    def counts(self) -> dict[str, dict[str, Any]]:
        """Returns what each stage asked, got and lost by reason."""
        return {
            name: {"asked": stage.asked, "got": stage.got, "lost": dict(sorted(stage.lost.items()))}
            for name, stage in sorted(self._stages.items())
            if stage.asked
        }

    def proven(self, name: str) -> bool:
        """Returns whether a stage has had a success."""
        return name in self._stages and self._stages[name].got > 0

    def count(self, name: str, reason: str = "") -> None:
        """Counts a thing of a stage that only looks at things.

        Args:
            reason: Why it is left out; empty for one that is taken.
        """
        self._stages.setdefault(name, _Stage()).end(Piece(name, got=not reason, reason=reason))

    @asynccontextmanager
    async def piece(self, name: str, *, hold: bool = True) -> AsyncIterator[Piece]:
        """Waits until a piece of a stage may begin.

        Args:
            hold: Whether to wait for the first success once 20 pieces are under way. If not, as
                many as are under way may be paid for before the stage stops.

        Raises:
            StopRunError: The stage only loses.
        """
        stage = self._stages.setdefault(name, _Stage())
        while hold and stage.full and self._stopped is None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            stage.waiting.append(waiting)
            with self._still():
                await waiting
            # Work under way may still pass on to another stage: its reply is paid for.
            if self._stopped is not None:
                raise self._stopped
        work = Piece(name)
        stage.under_way += 1
        before = _PIECE.set(work)
        try:
            yield work
            stage.end(work)
            if not stage.got and stage.paid_for_nothing >= _LOST:
                self._stopped = self._stopped or _only_losses(name, stage)
                self._stop(self._stopped)
                raise self._stopped
        except BaseException as error:
            # The run is over: what still waits must not begin.
            stopped = StopRunError(f"{name} failed: {type(error).__name__}")
            if isinstance(error, StopRunError):
                stopped = error
            self._stopped = self._stopped or stopped
            raise
        finally:
            _PIECE.reset(before)
            stage.under_way -= 1
            waiting_now, stage.waiting = stage.waiting, []
            for waiting in waiting_now:
                if not waiting.done():
                    waiting.set_result(None)


def _only_losses(name: str, stage: _Stage) -> StopRunError:
    reason, n = stage.lost.most_common(1)[0]
    example = shown(" ".join(stage.examples[reason].split()))[:_EXAMPLE]
    words = f": {example}" if example else ""
    hint = "Change the model or the settings and run it again."
    if reason == "rejected":
        hint = REJECTED_HINT
    return StopRunError(
        f"{name}: {stage.asked} requests in a row gave nothing, {n} of them {reason}{words}",
        hint=hint,
    )
