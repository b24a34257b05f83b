"""A run in a process of its own, on a machine with a fault: `python -m tests.crash.faulty OUT FAULT`.

Faults: `none`; `full:N`, no file grows beyond N bytes; `shut:N`, the run folder cannot be written from call N on
(0: from the start); `late:N`, the same, with a status that is written so rarely that publishing is the first to fail.
Prints one JSON object: how it went and how many calls there were.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import seedfree as sf
from seedfree.errors import SeedfreeError
from seedfree.records import Prompt, Reply
from tests.crash.worker import CONCURRENCY, pipeline, warm
from tests.fakes import FakeClock, thai


class _Hasty(FakeClock):
    """Ten seconds pass whenever it is looked at, so that the status is written after every reply."""

    def monotonic(self) -> float:
        self.seconds += 10
        return self.seconds


def _shut(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    if os.geteuid() == 0:  # whom no mode keeps out
        os.setegid(65534)
        os.seteuid(65534)


def _main() -> None:
    out, (fault, _, number) = Path(sys.argv[1]), sys.argv[2].partition(":")
    asked: list[Prompt] = []
    failed: list[int] = []
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        """Notes how many calls there were when a statement failed."""

        def execute(self, *args: Any) -> Any:
            return self._noting(super().execute, *args)

        def executemany(self, *args: Any) -> Any:
            return self._noting(super().executemany, *args)

        def _noting(self, fn: Any, *args: Any) -> Any:
            try:
                return fn(*args)
            except sqlite3.Error:
                failed.append(len(asked))
                raise

    def answer(prompt: Prompt) -> Reply:
        asked.append(prompt)
        if fault in ("shut", "late") and len(asked) == int(number):
            _shut(out)
        return thai(prompt)

    warm()  # what is imported later could not be read by the user without rights
    sqlite3.connect = lambda *args, **options: connect(*args, **{"factory": Connection, **options})
    if fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), resource.RLIM_INFINITY))
    if fault == "shut" and number == "0":
        _shut(out)
    started = time.perf_counter()
    told = {"status": "", "message": "", "error": "", "kind": ""}
    try:
        run = pipeline(sf.FunctionGenerator(answer, name="thai")).run(
            24, out, concurrency=CONCURRENCY, progress=False, clock=_Hasty() if fault == "shut" else FakeClock()
        )
        told |= {"status": run.status, "message": run.message}
    except SeedfreeError as error:
        told |= {"error": str(error), "kind": type(error).__name__}
    seconds = time.perf_counter() - started
    print(json.dumps({**told, "asked": len(asked), "failed_at": failed[:1], "seconds": seconds}))


if __name__ == "__main__":
    _main()
