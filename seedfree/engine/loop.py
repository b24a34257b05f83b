"""One event loop on a daemon thread, so that blocking calls work inside a notebook's own loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import cache
from typing import Any, TypeVar

__all__ = ["run_async", "run_sync", "side_by_side", "spread"]

_T = TypeVar("_T")
_In = TypeVar("_In")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="seedfree", daemon=True).start()
    return loop


def run_sync(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result. Ctrl-C cancels it, and is raised once it has put its files in order."""
    settled = threading.Event()

    async def work() -> _T:
        try:
            return await coroutine
        finally:
            settled.set()

    future = asyncio.run_coroutine_threadsafe(work(), _loop())
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        settled.wait()  # another Ctrl-C ends the wait
        raise


async def run_async(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result, for callers with a loop of their own; the work stays on the background loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, _loop()))


async def side_by_side(coroutines: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All results in order. Where some raise, the others are waited for first: what they do may be paid for."""
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def spread(fn: Callable[[_In], Awaitable[None]], items: Iterable[_In], width: int) -> None:
    """Calls `fn` on every item, in order of starting, at most `width` at a time."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await fn(item)

    await side_by_side(worker() for _ in range(width))
