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
from tests.crash.test_disk import _run
from tests.crash.worker import CONCURRENCY, pipeline
from tests.fakes import FakeClock, thai


class _Live:
    """A run that has begun and goes no further until it is let go."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.asked = 0
        self._go, self._held = threading.Event(), threading.Event()
        self._run: sf.Run | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        assert self._held.wait(60)

    def _answer(self, prompt: Prompt) -> Reply:
        self.asked += 1
        if self.asked >= 20:
            self._held.set()
            self._go.wait()
        return thai(prompt)

    def _work(self) -> None:
        llm = sf.FunctionGenerator(self._answer, name="thai")
        self._run = pipeline(llm).run(24, self.out, concurrency=CONCURRENCY, clock=FakeClock(), progress=False)

    def end(self) -> str:
        self._go.set()
        self._thread.join(60)
        return self._run.status if self._run else "failed"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[_Live]:
    live = _Live(tmp_path / "run")
    yield live
    live.end()


def _refused(out: Path) -> None:
    told = _run(out)
    assert told["kind"] == "LedgerLockedError" and told["asked"] == 0 and "\n" not in told["error"]
    # Waiting for the lock would take as long as the run: here for ever.
    assert told["seconds"] < 1


def test_a_second_process_is_refused_at_once(live: _Live) -> None:
    _refused(live.out)
    assert live.end() == "complete"


def test_reading_the_folder_in_the_same_process_leaves_the_lock_in_force(live: _Live, tmp_path: Path) -> None:
    """Closing any file drops the POSIX locks that the process holds on it."""
    files = [path for path in live.out.iterdir() if path.is_file()]
    assert {"ledger.sqlite", "ledger.sqlite-wal", ".lock"} <= {path.name for path in files}
    for path in files:
        hashlib.sha256(path.read_bytes())
    shutil.copytree(live.out, tmp_path / "copy")
    _refused(live.out)
    assert live.end() == "complete"
    asked = live.asked
    _run(tmp_path / "whole")
    told = _run(live.out)
    assert told["status"] == "complete" and told["asked"] == 0 and asked >= 40
    for name in ("dataset.jsonl", "dropped.jsonl", "README.md", "manifest.json"):
        assert (live.out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_copy_of_a_live_folder_can_be_reused(live: _Live, tmp_path: Path) -> None:
    shutil.copytree(live.out, tmp_path / "copy")
    asked = live.asked
    assert live.end() == "complete"
    told = _run(tmp_path / "copy")
    assert told["status"] == "complete" and told["asked"] <= live.asked - asked + CONCURRENCY
