"""Blocking and awaited calls, from every place where a user may make them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.engine.loop import Threads
from seedfree.errors import ConfigError
from seedfree.records import Prompt, Reply
from tests.fakes import small_pipeline, thai, thai_llm


class _Slow:
    """A model that answers `quick` prompts and no more; `waits` is set once three others wait."""

    def __init__(self, quick: int) -> None:
        self.left, self.waits = quick, threading.Event()
        self.llm = sf.FunctionGenerator(self._answer, name="thai")

    async def _answer(self, prompt: Prompt) -> Reply:
        self.left -= 1
        if self.left < 0:
            if self.left == -3:
                self.waits.set()
            await asyncio.Event().wait()
        return thai(prompt)


def test_a_blocking_call_in_an_async_component_is_an_error_and_not_a_deadlock(
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    class Nested:
        """A generator that starts a run of its own and blocks."""

        identity = "nested"

        async def generate(self, prompt: Prompt) -> Reply:
            with pytest.raises(ConfigError, match=r"await pipeline\.arun") as caught:
                small_pipeline().run(size=2, out=tmp_path / "inner")
            seen.append(str(caught.value))
            return thai(prompt)

    assert small_pipeline(Nested()).run(size=2, out=tmp_path / "outer").status == "complete"
    assert seen and "\n" not in seen[0] and not (tmp_path / "inner").exists()


def test_what_the_error_advises_works(tmp_path: Path) -> None:
    class Awaits:
        """A generator that awaits a run of its own."""

        identity = "awaits"

        async def generate(self, prompt: Prompt) -> Reply:
            await small_pipeline().arun(size=2, out=tmp_path / f"{prompt.seed}", concurrency=1)
            return thai(prompt)

    class Plain:
        """A generator that blocks, too, in a thread."""

        identity = "plain"

        def generate(self, prompt: Prompt) -> Reply:
            small_pipeline().run(size=2, out=tmp_path / f"plain-{prompt.seed}")
            return thai(prompt)

    for llm in (Awaits(), Plain()):
        out = tmp_path / llm.identity
        assert small_pipeline(llm).run(size=2, out=out, concurrency=1).status == "complete"


def test_a_cancelled_arun_has_put_its_files_in_order(tmp_path: Path) -> None:
    slow, out = _Slow(quick=12), tmp_path / "cut"

    async def caller() -> None:
        task = asyncio.create_task(small_pipeline(slow.llm).arun(size=40, out=out, concurrency=3))
        await asyncio.to_thread(slow.waits.wait)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(caller())
    cut = sf.Run.open(tmp_path / "cut")
    assert cut.status == "stopped" and "interrupted" in cut.message and 0 < len(cut.dataset) < 40
    assert cut.manifest["rows"] == len(cut.dataset)
    again, whole = thai_llm(), thai_llm()
    assert small_pipeline(again).run(size=40, out=tmp_path / "cut").status == "complete"
    assert small_pipeline(whole).run(size=40, out=tmp_path / "whole").status == "complete"
    assert len(again.calls) < len(whole.calls)


def test_a_time_out_waits_for_the_files_too(tmp_path: Path) -> None:
    slow = _Slow(quick=12)

    async def caller() -> str:
        loop = asyncio.get_running_loop()

        def time_out() -> None:
            """Lets the time be up once the requests wait."""
            slow.waits.wait()
            loop.call_soon_threadsafe(limit.reschedule, loop.time())

        try:
            async with asyncio.timeout(None) as limit:
                threading.Thread(target=time_out).start()
                await small_pipeline(slow.llm).arun(size=40, out=tmp_path, concurrency=3)
        except TimeoutError:
            return sf.Run.open(tmp_path).status
        return "no time-out"

    assert asyncio.run(caller()) == "stopped"


def test_a_second_cancellation_ends_the_wait(tmp_path: Path) -> None:
    """The run that stops still asks its diversity filter, which holds up the first cancellation."""
    slow, stuck, go = _Slow(quick=12), threading.Event(), threading.Event()

    class Stuck:
        def select(self, items: object) -> sf.Selection:
            stuck.set()
            go.wait()
            raise RuntimeError("too late to matter")

    async def caller() -> bool:
        pipeline = small_pipeline(slow.llm, diversity=Stuck())
        task = asyncio.create_task(pipeline.arun(size=40, out=tmp_path, concurrency=3))
        await asyncio.to_thread(slow.waits.wait)
        task.cancel()
        await asyncio.to_thread(stuck.wait)
        held_up = not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return held_up

    assert asyncio.run(caller())
    go.set()


def test_a_forked_child_has_a_loop_of_its_own(tmp_path: Path) -> None:
    """Runs in a fresh process: this one has threads, and a fork copies the locks they hold."""
    code = f"""
import os, sys
from pathlib import Path
from tests.fakes import small_pipeline
out = Path({str(tmp_path)!r})
assert small_pipeline().run(size=2, out=out / "before").status == "complete"
child = os.fork()
if child == 0:
    status = small_pipeline().run(size=2, out=out / "child").status
    os._exit(0 if status == "complete" else 1)
_, status = os.waitpid(child, 0)
assert small_pipeline().run(size=2, out=out / "after").status == "complete"
sys.exit(os.waitstatus_to_exitcode(status))
"""
    # Python warns of any fork where threads run, which is what this test is about.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    process = os.posix_spawn(sys.executable, command, {**os.environ}, setpgroup=0)
    # A deadlock in the child would hold the test up for ever.
    timer = threading.Timer(30, os.killpg, (process, signal.SIGKILL))
    timer.start()
    try:
        _, status = os.waitpid(process, 0)
    finally:
        timer.cancel()
    assert os.waitstatus_to_exitcode(status) == 0
    datasets = [sf.Run.open(tmp_path / name).dataset for name in ("before", "child", "after")]
    assert [len(dataset) for dataset in datasets] == [2, 2, 2]


@pytest.mark.parametrize("wrong", [SystemExit(3), KeyboardInterrupt()])
def test_a_component_that_exits_ends_its_call_and_not_the_loop(
    tmp_path: Path, wrong: BaseException
) -> None:
    def leave(prompt: Prompt) -> Reply:
        raise wrong

    with pytest.raises(type(wrong)):
        small_pipeline(sf.FunctionGenerator(leave)).run(size=2, out=tmp_path / "left")
    assert small_pipeline().run(size=2, out=tmp_path / "next").status == "complete"


@pytest.mark.parametrize(
    "signal_of_asyncio",
    [StopIteration, StopAsyncIteration, GeneratorExit, asyncio.CancelledError, CancelledError],
)
def test_what_steers_generators_and_tasks_is_an_error_like_every_other(
    tmp_path: Path, signal_of_asyncio: type[BaseException]
) -> None:
    def plain(prompt: Prompt) -> Reply:
        raise signal_of_asyncio("no more")

    replies = sf.generate_all(sf.FunctionGenerator(plain), [Prompt("a"), Prompt("b")], tmp_path)
    assert [signal_of_asyncio.__name__ in str(reply.error) for reply in replies] == [True, True]


def test_a_coroutine_that_cancels_itself_is_an_error_like_every_other(tmp_path: Path) -> None:
    async def cancelled(prompt: Prompt) -> Reply:
        raise asyncio.CancelledError("no more")

    (reply,) = sf.generate_all(sf.FunctionGenerator(cancelled), [Prompt("a")], tmp_path)
    assert "CancelledError" in str(reply.error)


@pytest.mark.parametrize(("end", "status"), [("sys.exit(7)", 7), ("1 / 0", 1), ("pass", 0)])
def test_a_child_that_a_component_forks_ends(tmp_path: Path, end: str, status: int) -> None:
    """Runs in a fresh process: this one has threads, and a fork copies the locks they hold."""
    code = f"""
import os, sys
import seedfree as sf
def forks(prompt):
    child = os.fork()
    if child == 0:
        {end}
        return ""
    return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
(reply,) = sf.generate_all(sf.FunctionGenerator(forks), [sf.Prompt("a")], {str(tmp_path)!r})
print(reply.text)
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(status), done.stderr


def test_calls_that_never_end_leave_a_thread_to_those_that_follow() -> None:
    async def both() -> str:
        threads, stuck = Threads(2), threading.Semaphore(0)
        end = threading.Event()

        def wait() -> None:
            stuck.release()
            end.wait()

        # Some have to queue before two of them are stuck.
        await asyncio.gather(*(threads.call(time.monotonic) for _ in range(8)))
        slow = [asyncio.ensure_future(threads.call(wait)) for _ in range(2)]
        for _ in slow:
            await asyncio.to_thread(stuck.acquire)
        for call in slow:
            call.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        try:
            return str(await asyncio.wait_for(threads.call(lambda: "done"), 10))
        finally:
            end.set()
            threads.close()

    assert asyncio.run(both()) == "done"
