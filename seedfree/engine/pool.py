"""Work side by side, the most urgent first: what keeps every slot of the provider in use."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import count

__all__ = ["Pool"]

_Work = Callable[[], Awaitable[None]]
_Around = Callable[[str], AbstractAsyncContextManager[object]]
# The piece of work under way here, also in the tasks that it starts.
_WORK: ContextVar[object] = ContextVar("work")


class Pool:
    """Starts what is submitted, at most `width` pieces at a time.

    A piece of work may submit more. Once one has failed no further one begins; those under way go
    on to their end, since what they do may be paid for.

    Args:
        width: Pieces under way at most; at least 1.
        around: Gives what each piece of a stage runs in.

    Attributes:
        on_still: Called whenever every piece under way is `still`, and no further one may begin.
    """

    def __init__(self, width: int, around: _Around = nullcontext) -> None:
        self.width, self._around = width, around
        # The number makes equal priorities go in the order in which they came.
        self._waiting: list[tuple[tuple[int, ...], int, str, _Work]] = []
        self._numbers = count()
        self._running: dict[asyncio.Task[None], str] = {}
        self._error: BaseException | None = None
        self._filling = False
        self._changed = asyncio.Event()
        self._still: Counter[object] = Counter()
        self.on_still: Callable[[], None] = lambda: None

    @property
    def under_way(self) -> Mapping[str, int]:
        """Returns how many pieces of work are under way, by stage."""
        return Counter(self._running.values())

    @property
    def error(self) -> BaseException | None:
        """Returns the first error that a piece of work raised."""
        return self._error

    @property
    def all_still(self) -> bool:
        """Returns whether nothing goes on before those who wait get what they wait for."""
        return not self._filling and len(self._still) >= len(self._running)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Marks a wait of the piece of work under way here for what comes when all are waiting."""
        work = _WORK.get(None)
        self._still[work] += 1
        self._look()
        try:
            yield
        finally:
            self._still[work] -= 1
            if not self._still[work]:
                del self._still[work]

    def _look(self) -> None:
        if self._still and self.all_still:
            self.on_still()

    def submit(self, priority: tuple[int, ...], stage: str, work: _Work) -> None:
        """Adds a piece of work.

        Args:
            priority: The lowest begins first.
            stage: A word for `under_way`.
        """
        heapq.heappush(self._waiting, (priority, next(self._numbers), stage, work))
        # Not at once: what is submitted in one go is ordered before any of it begins.
        if not self._filling:
            self._filling = True
            asyncio.get_running_loop().call_soon(self._fill)

    async def drain(self) -> None:
        """Waits until nothing is left to do.

        Raises:
            Exception: The first that a piece of work raised, once all under way have ended.
        """
        try:
            while self._running or (self._waiting and self._error is None):
                self._changed.clear()
                await self._changed.wait()
        except asyncio.CancelledError:
            self._waiting.clear()  # a piece that ends would begin the next
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            raise
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        self._filling = False
        while self._waiting and len(self._running) < self.width and self._error is None:
            _, _, stage, work = heapq.heappop(self._waiting)
            task = asyncio.ensure_future(self._run(stage, work))
            self._running[task] = stage
            task.add_done_callback(self._ended)
        self._look()

    async def _run(self, stage: str, work: _Work) -> None:
        _WORK.set(work)
        async with self._around(stage):
            await work()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
        self._fill()
        self._changed.set()
