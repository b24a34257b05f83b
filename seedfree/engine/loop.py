"""One event loop on a daemon thread, the threads beside it, and the clock.

Blocking calls work inside a notebook, whose own loop is already running, because the library's
loop runs on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from seedfree.errors import ConfigError

__all__ = [
    "Clock",
    "Threads",
    "busy",
    "outcome",
    "run_async",
    "run_sync",
    "side_by_side",
    "spread",
    "time_limit",
]

# Seconds of one step of a time limit, and how late its end may come.
_STEP = 1.0
_STANDSTILL = 0.5
_T = TypeVar("_T")
_In = TypeVar("_In")


def run_sync(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Returns the coroutine's result.

    Ctrl-C cancels the coroutine, and is raised once it has put its files in order.

    Raises:
        ConfigError: Called on the background loop itself, which would wait for itself for ever.
    """
    if asyncio._get_running_loop() is _background_loop():
        # Never awaited, it would warn when it is collected.
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
    """Returns the coroutine's result, for callers with a loop of their own.

    The work is done on the background loop. Cancelling the caller cancels the work, and takes
    effect once the work has put its files in order.
    """
    work = _Work(coroutine)
    result = asyncio.wrap_future(work.future)
    try:
        # `wait` and not `await result`: a cancelled `await` would cancel the future and go on at
        # once, before the work has ended.
        await asyncio.wait([result])
    except asyncio.CancelledError:
        # Nobody will ask for the error, and asyncio logs those that nobody has looked at.
        result.add_done_callback(lambda r: r.cancelled() or r.exception())
        work.cancel()
        await asyncio.wait([result])  # another cancellation ends the wait
        raise
    return result.result()


class _Work(Generic[_T]):
    """A coroutine on the background loop.

    Attributes:
        future: Done once the coroutine has ended. That of `asyncio.run_coroutine_threadsafe` is
            done as soon as it is cancelled, while the coroutine still puts its files in order.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T]) -> None:
        self.future: Future[_T] = Future()
        self._coroutine, self._loop = coroutine, _background_loop()
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[_T]) -> None:
        if task.cancelled():
            self.future.cancel()
            # Only after this does `wait` count a cancelled future as done.
            self.future.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())

    def cancel(self) -> None:
        """Asks the coroutine to end."""
        # The task is looked up on the loop: `_start`, which makes it, may not have run yet.
        self._loop.call_soon_threadsafe(lambda: self._task.cancel())


# By process: a forked child has the parent's loop, but not the thread that ran it.
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _background_loop() -> asyncio.AbstractEventLoop:
    pid = os.getpid()
    if pid not in _loops:
        loop = _new_loop()
        # Two threads may come here at once: the loop of the first one stays.
        if _loops.setdefault(pid, loop) is loop:
            threading.Thread(target=_serve, args=(loop,), name="seedfree", daemon=True).start()
        else:
            loop.close()
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
            # Raised by a component. asyncio lets these two out of the loop, but they belong to the
            # caller, whose task has them too.
            continue


def _leave_child(pid: int, error: BaseException | None) -> None:
    """Ends a process that a component has forked, whose only thread is this one.

    Nobody else waits for the component there.
    """
    if os.getpid() == pid:
        return
    status = 1 if error else 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF)


# What asyncio takes for the end of a loop, of a generator or of its own task. A future that holds
# one of these is never done, or ends the task that waits for it.
_SIGNALS = (
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    asyncio.CancelledError,
    CancelledError,
)


async def outcome(result: Awaitable[_T]) -> _T:
    """Returns what a component's awaitable gives.

    Raises:
        RuntimeError: The component itself has raised an error that cancels tasks.
    """
    try:
        return await result
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _as_error(error) from error


def _as_error(error: BaseException) -> RuntimeError:
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return RuntimeError(f"raised {text}")


async def side_by_side(coroutines: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Returns all results in order.

    If some coroutines raise, the others are waited for first, because what they do may be paid for.
    """
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def spread(fn: Callable[[_In], Awaitable[None]], items: Iterable[_In], width: int) -> None:
    """Calls `fn` on every item, started in order, at most `width` at a time."""
    # All workers draw from the same iterator, so that no item is read before somebody is free.
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await fn(item)

    await side_by_side(worker() for _ in range(width))


_running, _threshold = 0, gc.get_threshold()
_counting = threading.Lock()


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Makes Python look for cyclic garbage less often, while at least one such block lasts.

    A thousand requests under way are a hundred thousand objects, all in use. By default Python
    walks through them so often that it takes a sixth of a run's time.
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
    """Runs plain functions beside an event loop.

    Its threads do not keep the process alive when it wants to end, unlike those of
    `concurrent.futures`.

    Args:
        most: Threads at once. They are made as they are needed.
    """

    def __init__(self, most: int) -> None:
        self._most, self._made = most, 0
        self._open = 0  # calls that have not ended
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

    async def call(self, fn: Callable[..., _T], *args: Any) -> Any:
        """Returns what the function returns, awaited if it is awaitable."""
        future: Future[Any] = Future()
        # In the thread too, a component counts for the piece of work that it was called for.
        self._jobs.put((future, copy_context().run, (fn, *args)))
        with self._lock:
            self._open += 1
            short = self._made < min(self._open, self._most)
            self._made += short
        if short:
            threading.Thread(target=self._work, name="seedfree-call", daemon=True).start()
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_discard)
            if future.running():
                # The call goes on, perhaps for ever, and those that follow need a thread.
                self._most += 1
            raise
        return await outcome(result) if inspect.isawaitable(result) else result

    def _work(self) -> None:
        pid = os.getpid()
        while (job := self._jobs.get()) is not None:
            future, fn, args = job
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args)
                except _SIGNALS as error:
                    _leave_child(pid, error)
                    future.set_exception(_as_error(error))
                except BaseException as error:
                    _leave_child(pid, error)
                    future.set_exception(error)
                else:
                    _leave_child(pid, None)
                    future.set_result(result)
                    del result
            # A thread may wait for long, and must not keep a call's values alive meanwhile.
            del job, future, fn, args
            with self._lock:
                self._open -= 1

    def close(self) -> None:
        """Ends the threads, each after the call that it is at."""
        for _ in range(self._made):
            self._jobs.put(None)


_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


def _discard(future: Future[Any]) -> None:
    """Closes the coroutine that a call returned after its caller was cancelled.

    Never awaited, it would warn when it is collected.
    """
    if future.cancelled() or future.exception() is not None:
        return
    result = future.result()
    if inspect.iscoroutine(result):
        result.close()


class Clock:
    """The machine's clock. Tests put another in its place, so that none of them has to wait."""

    def now(self) -> str:
        """Returns the time as ISO 8601 in UTC, to the second."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def timestamp(self) -> float:
        """Returns the seconds since 1970, for `Retry-After` dates."""
        return time.time()

    def monotonic(self) -> float:
        """Returns the seconds from an arbitrary start, which never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextlib.asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Ends what takes longer than `seconds` in which this process ran.

    A process that was frozen (SIGSTOP, a laptop's lid) finds the limit passed when it wakes, before
    it could read what has arrived meanwhile and is paid for.

    Raises:
        TimeoutError: The time is over.
    """
    loop, left = asyncio.get_running_loop(), seconds
    timer: asyncio.TimerHandle

    def begin() -> asyncio.TimerHandle:
        step = min(left, _STEP)
        return loop.call_later(step, end, loop.time() + step, step)

    def end(due: float, step: float) -> None:
        nonlocal left, timer
        # The process did not run through a step that ends late.
        if loop.time() - due <= _STANDSTILL:
            left -= step
        if left > 0:
            timer = begin()
        else:
            timeout.reschedule(loop.time())

    async with asyncio.timeout(None) as timeout:
        timer = begin()
        try:
            yield
        finally:
            timer.cancel()
