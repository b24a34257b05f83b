"""What is shown of a piece of work: a bar in a terminal, lines elsewhere, and never an error."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from seedfree.engine.batch import generate_all
from seedfree.engine.loop import Clock
from seedfree.engine.progress import Display, heartbeat
from seedfree.errors import ConfigError
from seedfree.generators.function import FunctionGenerator
from seedfree.records import Prompt
from tests.fakes import FakeClock


def _ask(folder: Path, **options: object) -> None:
    llm = FunctionGenerator(lambda prompt: "text", name="text")
    prompts = [Prompt(f"p{i}") for i in range(5)]
    generate_all(llm, prompts, folder, clock=FakeClock(), **options)  # type: ignore[arg-type]


def test_a_pipe_gets_a_line_at_the_start_and_one_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _ask(tmp_path / "a")
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "seedfree: 0/5 replies"
    assert last.startswith("seedfree: 5/5 replies") and "ended after" in last
    _ask(tmp_path / "b", progress=False)
    assert capsys.readouterr().err == ""


def test_lines_come_at_growing_intervals_and_time_left_is_measured() -> None:
    clock, stream = FakeClock(), io.StringIO()
    display = Display("work", "rows", 2000, clock=clock, stream=stream)
    times, start = [], clock.monotonic()
    for done in range(300):
        before = len(stream.getvalue())
        display.update(done, left=display.left(done))
        if len(stream.getvalue()) > before:
            times.append(clock.monotonic() - start)
        clock.seconds += 1
    display.close()
    assert times == [1, 3, 7, 15, 31, 63, 123, 183, 243]
    lines = stream.getvalue().splitlines()
    assert lines[0] == "work: 0/2000 rows"
    assert lines[1] == "work: 1/2000 rows, 60 a minute, left 0:33:19"
    assert lines[-1] == "work: 299/2000 rows, 59.8 a minute, ended after 0:05:00"


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class _BrokenTerminal(_Broken):
    def isatty(self) -> bool:
        return True


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("show", [None, True])
@pytest.mark.parametrize("stream", [None, _closed(), _Broken(), _BrokenTerminal(), object()])
def test_no_stream_makes_the_work_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: object, show: bool | None
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        _ask(tmp_path, progress=show)


def test_an_ascii_stream_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Display("งาน", "rows", 1, stream=stream).close()
    assert raw.getvalue().startswith(b"\\u0e07\\u0e32\\u0e19: 0/1 rows\n")


def test_a_terminal_shows_a_bar() -> None:
    code = (
        "from seedfree.engine.progress import Display\n"
        "display = Display('work', 'rows', 4)\n"
        "display.update(4)\n"
        "display.close()"
    )
    outer, inner = pty.openpty()
    try:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        subprocess.run(
            [sys.executable, "-c", code], stderr=inner, env=environment, check=True, timeout=60
        )
        shown = os.read(outer, 10_000).decode()
    finally:
        os.close(inner)
        os.close(outer)
    assert "work: 100%|" in shown and "4/4" in shown


def test_a_long_wait_is_no_silence() -> None:
    beats: list[int] = []

    async def wait(clock: Clock | None) -> int:
        before = len(beats)
        async with heartbeat(lambda: beats.append(1), clock, seconds=0):
            for _ in range(5):
                await asyncio.sleep(0)
        during = len(beats) - before
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(beats) == before + during, "it ends with the work"
        return during

    assert asyncio.run(wait(None)) > 0
    # An injected clock says when time passes, and nothing else does.
    assert asyncio.run(wait(FakeClock())) == 0


def test_what_cannot_be_shown_stops_no_work() -> None:
    def fail() -> None:
        raise ConfigError("The disk is full")

    async def wait() -> None:
        async with heartbeat(fail, None, seconds=0):
            for _ in range(3):
                await asyncio.sleep(0)

    asyncio.run(wait())
