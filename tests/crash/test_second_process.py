"""A run that is under way belongs to one process, whatever else reads its folder."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.records import Prompt, Reply
from tests.crash.lives import Life, Undisturbed, Workers, undisturbed, wrong
from tests.crash.worker import CONCURRENCY, pipeline
from tests.fakes import FakeClock, thai

LIMIT = 60


class _Live:
    """A run in this process that stops half way, until `end` lets it go on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.status, self.asked = folder, "", 0
        self._go, self._held = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        assert self._held.wait(LIMIT)

    def _answer(self, prompt: Prompt) -> Reply:
        self.asked += 1
        if self.asked >= 20:
            self._held.set()
            self._go.wait()
        return thai(prompt)

    def _work(self) -> None:
        out, llm = self.folder / "out", sf.FunctionGenerator(self._answer, name="thai")
        run = pipeline(llm).run(24, out, concurrency=CONCURRENCY, clock=FakeClock(), progress=False)
        self.status = run.status

    def end(self) -> str:
        self._go.set()
        self._thread.join(LIMIT)
        return self.status


@pytest.fixture
def live(folder: Path) -> Iterator[_Live]:
    live = _Live(folder / "live")
    yield live
    live.end()


@pytest.fixture
def whole(workers: Workers, folder: Path) -> Undisturbed:
    return undisturbed(workers, "long", folder / "whole")


def _another(workers: Workers, folder: Path) -> Life:
    with workers.free() as worker:
        return worker.live("long", folder)


def _assert_refused(life: Life) -> None:
    assert life.kind == "LedgerLockedError" and "\n" not in life.error
    # If it waited for the run, it would be killed as a life that hangs.
    assert life.exit == 0 and life.asked == 0


def test_a_second_process_is_refused_at_once(workers: Workers, live: _Live) -> None:
    _assert_refused(_another(workers, live.folder))
    assert live.end() == "complete"


def test_reading_the_folder_in_the_same_process_leaves_the_lock_in_force(
    workers: Workers, live: _Live, whole: Undisturbed, folder: Path
) -> None:
    """Closing any file drops the POSIX locks that the process holds on it."""
    files = [path for path in (live.folder / "out").iterdir() if path.is_file()]
    assert {"ledger.sqlite", "ledger.sqlite-wal", ".lock"} <= {path.name for path in files}
    for path in files:
        hashlib.sha256(path.read_bytes())
    shutil.copytree(live.folder, folder / "copy")
    _assert_refused(_another(workers, live.folder))
    assert live.end() == "complete" and live.asked == whole.calls
    again = _another(workers, live.folder)
    assert again.asked == 0
    shutil.copy(folder / "whole" / "calls", live.folder / "calls")
    assert not wrong(again, live.folder, whole, ends=0)


def test_a_copy_of_a_live_folder_is_a_run_that_goes_on(
    workers: Workers, live: _Live, whole: Undisturbed
) -> None:
    copy = live.folder.with_name("copy")
    shutil.copytree(live.folder, copy)
    asked = live.asked
    life = _another(workers, copy)
    assert life.result == "complete" and life.asked <= whole.calls - asked + CONCURRENCY
    assert live.end() == "complete"
    datasets = [folder / "out" / "dataset.jsonl" for folder in (copy, live.folder)]
    assert datasets[0].read_bytes() == datasets[1].read_bytes()
