"""One event loop on a daemon thread, so that blocking calls work inside a notebook's own loop; and time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from seedfree.errors import ConfigError

__all__ = ["Clock", "Threads", "busy", "run_async", "run_sync", "side_by_side", "spread"]


class Clock:
    """The machine's clock. Tests subclass it; nothing else in the library asks for the time or sleeps."""

    def now(self) -> str:
        """ISO 8601 in UTC, to the second."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def timestamp(self) -> float:
        """Seconds since 1970, for `Retry-After` dates."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_T = TypeVar("_T")
_In = TypeVar("_In")

# By process: a forked child has the parent's loop, but not the thread that ran it.
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _loop() -> asyncio.AbstractEventLoop:
    pid = os.getpid()
    if pid not in _loops:
        new = _new_loop()
        if _loops.setdefault(pid, new) is new:
            threading.Thread(target=_serve, args=(new,), name="seedfree", daemon=True).start()
        else:
            new.close()
    return _loops[pid]


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            # asyncio lets these out of the loop; they belong to the caller, whose task has them too
            continue


class _Work(Generic[_T]):
    """A coroutine on the background loop; `future` is done once it has ended, cancelled or not."""

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self.future: Future[_T] = Future()
        self._coroutine, self._loop = coroutine, _loop()
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[_T]) -> None:
        if task.cancelled():
            self.future.cancel()
            self.future.set_running_or_notify_cancel()  # what `wait` waits for
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())

    def cancel(self) -> None:
        """Asks the coroutine to end."""
        self._loop.call_soon_threadsafe(lambda: self._task.cancel())


def run_sync(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result. Ctrl-C cancels it, and is raised once it has put its files in order.

    Raises:
        ConfigError: Called on the background loop itself, which would wait for itself for ever.
    """
    if asyncio._get_running_loop() is _loop():
        coroutine.close()
        raise ConfigError(
            "A blocking call in an async component would stop its own run",
            hint="Use await pipeline.arun(...) there, or a plain def.",
        )
    work = _Work(coroutine)
    try:
        return work.future.result()
    except KeyboardInterrupt:
        work.cancel()
        wait([work.future])  # another Ctrl-C ends the wait
        raise


async def run_async(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result, for callers with a loop of their own; the work stays on the background loop.

    Cancelling the caller cancels the work, and takes effect once that has put its files in order.
    """
    work = _Work(coroutine)
    result = asyncio.wrap_future(work.future)
    try:
        await asyncio.wait([result])
    except asyncio.CancelledError:
        # nobody will ask for it
        result.add_done_callback(lambda r: r.cancelled() or r.exception())
        work.cancel()
        await asyncio.wait([result])  # another cancellation ends the wait
        raise
    return result.result()


_running, _threshold = 0, gc.get_threshold()
_counting = threading.Lock()


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """While at least one such block lasts, Python looks for cyclic garbage less often.

    A thousand requests under way are a hundred thousand objects, all in use: by default they are
    walked through so often that it takes a sixth of a run's time.
    """
    global _running, _threshold
    with _counting:
        if not _running:
            _threshold = gc.get_threshold()
            gc.set_threshold(max(100_000, _threshold[0]), *_threshold[1:])
        _running += 1
    try:
        yield
    finally:
        with _counting:
            _running -= 1
            if not _running:
                gc.set_threshold(*_threshold)


class Threads:
    """Runs plain functions beside an event loop, in threads that do not keep the process alive when it wants to end.

    Args:
        most: Threads at once; they are made as they are needed.
    """

    def __init__(self, most: int) -> None:
        self._most, self._made = most, 0
        self._open = 0  # calls that have not ended
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[
            tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None
        ]
        self._jobs = queue.SimpleQueue()

    async def call(self, fn: Callable[..., _T], *args: Any) -> Any:
        """What the function returns, awaited where it is awaitable."""
        future: Future[Any] = Future()
        self._jobs.put((future, fn, args))
        with self._lock:
            self._open += 1
            more = self._made < min(self._open, self._most)
            self._made += more
        if more:
            threading.Thread(target=self._work, name="seedfree-call", daemon=True).start()
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_discard)
            self._most += future.running()  # it may never end, and what follows needs a thread
            raise
        return await result if inspect.isawaitable(result) else result

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, fn, args = job
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del job, future, fn, args  # nothing is held while it waits
            with self._lock:
                self._open -= 1

    def close(self) -> None:
        """Ends the threads, each after the call that it is at."""
        for _ in range(self._made):
            self._jobs.put(None)


def _discard(future: Future[Any]) -> None:
    """Closes a coroutine that a call gave for nobody to await."""
    if (
        not future.cancelled()
        and future.exception() is None
        and inspect.iscoroutine(result := future.result())
    ):
        result.close()


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
