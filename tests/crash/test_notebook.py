"""A run in a real Jupyter kernel, and its stop button."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.test_interrupt import LIMIT

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

SETUP = """
import asyncio, sys
sys.path.insert(0, {root!r})
import seedfree as sf
from tests.fakes import small_pipeline, thai

asked, hold = [], 14

async def answer(prompt):
    asked.append(prompt)
    if len(asked) > hold:
        with open({bell!r}, "w") as bell:
            bell.write("!")
        await asyncio.Event().wait()
    return thai(prompt)

def pipeline():
    return small_pipeline(sf.FunctionGenerator(answer, name="thai"))

def run():
    return pipeline().run(size=40, out={out!r}, concurrency=3)
"""


class _Notebook:
    """A Jupyter kernel, in which cells are run."""

    def __init__(self) -> None:
        self._manager, self._client = jupyter_client.manager.start_new_kernel(kernel_name="python3")

    def start(self, cell: str) -> str:
        """Starts a cell and returns at once."""
        return str(self._client.execute(cell, store_history=False))

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def result(self, cell: str) -> tuple[str, str]:
        """Waits for a started cell; returns what it printed, and its exception in words."""
        printed = ""
        while True:
            message = self._next(cell, self._client.get_iopub_msg)
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed += content["text"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
        reply = self._next(cell, self._client.get_shell_msg)
        content = reply["content"]
        return printed, f"{content['ename']}: {content['evalue']}" if "ename" in content else ""

    def _next(self, cell: str, receive: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        """Returns the next message of a channel that is about a cell."""
        while True:
            message = receive(timeout=LIMIT)
            if message["parent_header"].get("msg_id") == cell:
                return message

    def run(self, cell: str) -> str:
        """Runs a cell and returns what it prints."""
        printed, error = self.result(self.start(cell))
        assert not error, error
        return printed

    def end(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@pytest.fixture
def notebook() -> Iterator[_Notebook]:
    notebook = _Notebook()
    yield notebook
    notebook.end()


def test_the_stop_button_leaves_a_run_that_the_same_cell_goes_on_with(
    tmp_path: Path, notebook: _Notebook
) -> None:
    bell, out = tmp_path / "bell", tmp_path / "run"
    # The kernel is another process, so a named pipe says when the model waits.
    os.mkfifo(bell)
    notebook.run(SETUP.format(root=str(Path(__file__).parents[2]), bell=str(bell), out=str(out)))
    # Opened for writing too, so that opening waits for nobody.
    waiting = os.open(bell, os.O_RDWR)
    cell = notebook.start("run()")
    assert select.select([waiting], [], [], LIMIT)[0]
    notebook.interrupt()
    error = notebook.result(cell)[1]
    # Not earlier: an answer that rings for nobody would wait for ever, and with it the run's loop.
    os.close(waiting)

    look = f"run_ = sf.Run.open({str(out)!r}); print(run_.status, len(run_.dataset))"
    status, rows = notebook.run(look).split()
    assert status == "stopped" and 0 < int(rows) < 40
    safe = f"{rows} of 40 rows are safe in {str(out)!r} (sf.Run.open); run it again to go on"
    assert error == f"KeyboardInterrupt: {safe}"

    before, status, rows = notebook.run(f"print(len(asked)); hold = 10**9; run()\n{look}").split()
    assert status == "complete" and int(rows) == 40
    after = int(notebook.run("print(len(asked))"))
    # The whole run in another folder, awaited in the kernel's own loop: what was paid for twice
    # was in flight.
    arun = f"await pipeline().arun(size=40, out={str(tmp_path / 'whole')!r}, concurrency=3)"
    whole = int(notebook.run(f"asked.clear(); {arun}; print(len(asked))"))
    assert whole <= after <= whole + 3 and int(before) < after
