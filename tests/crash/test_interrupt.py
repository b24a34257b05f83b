"""Ctrl-C in a terminal and the stop button of a notebook, both real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from tests.fakes import fill, published

LIMIT = 20.0
CTRL_C = b"\x03"
# Makes standard input the process's terminal, as a shell would, and becomes the command that
# follows.
TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, sys.argv[1:])
"""


class _Server(ThreadingHTTPServer):
    """A server that answers chat completions, and from request `hold` on none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hold = sys.maxsize
        self.asked: list[bytes] = []
        self.held, self.end = threading.Event(), threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(body)
        # The client goes away meanwhile, so nothing is sent after the wait.
        if len(self.server.asked) >= self.server.hold:
            self.server.held.set()
            self.server.end.wait()
            return
        schema = json.loads(body)["response_format"]["json_schema"]["schema"]
        text = json.dumps(fill(schema, "", sha256(body).hexdigest()), ensure_ascii=False)
        answer = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.end.set()
        server.shutdown()
        thread.join()


class _Terminal:
    """A Python command in its own terminal."""

    def __init__(self, *command: str) -> None:
        self._master, slave = os.openpty()
        # The fault handler shows where a process hangs, see `end`.
        python = [sys.executable, "-c", TERMINAL, sys.executable, "-X", "faulthandler"]
        self._process = subprocess.Popen(
            [*python, *command], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.shown = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._master, 4096):
                with self._news:
                    self.shown += data.decode("utf-8", "replace")
                    self._news.notify_all()

    def wait_for(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: text in self.shown, LIMIT), self.shown

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def end(self) -> int:
        """Waits for the exit code. A process that hangs is aborted and shows where it hangs."""
        try:
            return self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            return self._process.wait()
        finally:
            self._reader.join()
            os.close(self._master)


def _config(folder: Path, server: _Server, name: str) -> str:
    """Writes a configuration file and returns its path."""
    url = f"http://127.0.0.1:{server.server_address[1]}"
    path = folder / f"{name}.yaml"
    path.write_text(
        f"""
language: th
generator: {{use: OpenAICompatibleGenerator, base_url: "{url}", model: m, identity: fake}}
contexts: [WrittenContexts]
tasks: [Summarization, MultipleChoice]
filters: []
diversity: null
run: {{size: 12, out: "{folder / name}", concurrency: 4}}
"""
    )
    return str(path)


def _timeless(folder: Path) -> dict[str, bytes]:
    """Returns the published files without the times of retrieval, in which two runs differ."""
    time = re.compile(rb"20\d\d-[\d-]+T[\d:]+Z")
    return {name: time.sub(b"TIME", data) for name, data in published(folder).items()}


def test_ctrl_c_in_a_terminal_ends_the_command_and_the_next_one_goes_on(
    tmp_path: Path, server: _Server
) -> None:
    whole, cut = _config(tmp_path, server, "whole"), _config(tmp_path, server, "cut")
    assert _Terminal("-m", "seedfree.cli", "run", whole).end() == 0
    needed = len(server.asked)

    server.asked.clear()
    server.hold = 20
    terminal = _Terminal("-m", "seedfree.cli", "run", cut)
    assert server.held.wait(LIMIT)
    terminal.press(CTRL_C)
    assert terminal.end() == 130, terminal.shown
    assert "Traceback" not in terminal.shown
    stopped = sf.Run.open(tmp_path / "cut")
    assert f"interrupted; {len(stopped.dataset)} of 12 rows are safe in" in terminal.shown
    assert "run it again to go on" in terminal.shown
    assert stopped.status == "stopped" and 0 < len(stopped.dataset) < 12
    assert stopped.manifest["rows"] == len(stopped.dataset)

    server.hold = sys.maxsize
    assert _Terminal("-m", "seedfree.cli", "run", cut).end() == 0
    assert _timeless(tmp_path / "cut") == _timeless(tmp_path / "whole")
    # The four that were in flight are asked again.
    assert len(server.asked) <= needed + 4 and len(set(server.asked)) == needed


def test_a_second_ctrl_c_ends_the_wait_for_the_first(tmp_path: Path) -> None:
    """The run that stops still asks its diversity filter, which holds up the first Ctrl-C."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import asyncio, os, sys, threading
import seedfree as sf
from tests.fakes import small_pipeline, thai

asked = []

async def answer(prompt):
    asked.append(prompt)
    if len(asked) > 14:
        print("waiting", flush=True)
        await asyncio.Event().wait()
    return thai(prompt)

class Stuck:
    def select(self, items):
        print("held up", flush=True)
        threading.Event().wait()

pipeline = small_pipeline(sf.FunctionGenerator(answer, name="thai"), diversity=Stuck())
try:
    pipeline.run(size=40, out={str(tmp_path / "run")!r}, concurrency=3)
except KeyboardInterrupt:
    os._exit(7)
""")
    terminal = _Terminal(str(script))
    terminal.wait_for("waiting")
    terminal.press(CTRL_C)
    terminal.wait_for("held up")
    terminal.press(CTRL_C)
    assert terminal.end() == 7, terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_function_that_does_not_answer_does_not_hold_the_terminal(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import threading
import seedfree as sf
from tests.fakes import small_pipeline, thai

asked = []

def answer(prompt):
    asked.append(prompt)
    if len(asked) > 14:
        print("waiting", flush=True)
        threading.Event().wait()
    return thai(prompt)

pipeline = small_pipeline(sf.FunctionGenerator(answer, name="thai"))
try:
    pipeline.run(size=40, out={str(tmp_path / "run")!r}, concurrency=3)
except KeyboardInterrupt:
    print("interrupted", flush=True)
""")
    terminal = _Terminal(str(script))
    terminal.wait_for("waiting")
    terminal.press(CTRL_C)
    assert terminal.end() == 0 and "interrupted" in terminal.shown
    assert sf.Run.open(tmp_path / "run").status == "stopped"
