"""Numbered points in a process's life at which it can be killed, counted from outside the library.

A point stands before and after every statement that changes a SQLite file, every sync, rename and
removal, every opening of a file for writing, and wherever the caller puts one (`points("asked")`).
"""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

__all__ = ["Points"]

_CALLS = (
    "fsync",
    "fdatasync",
    "replace",
    "rename",
    "unlink",
    "remove",
    "pwrite",
    "mkdir",
    "ftruncate",
)


class Points:
    """Counts the points of this process from now on, and kills it at one of them.

    Args:
        folder: Only files opened in it count.
        kill_at: The number of the last point, from 1; 0 for none.
        tell: File descriptor that hears what the last point was, before the kill.
    """

    def __init__(self, folder: Path, kill_at: int = 0, tell: int = -1) -> None:
        self.seen: list[str] = []
        self._folder, self._kill_at, self._tell = str(folder), kill_at, tell
        self._lock = threading.Lock()
        for name in _CALLS:
            setattr(os, name, self._around(name, getattr(os, name)))
        opened = self._opening(io.open)
        io.open = builtins.open = opened
        connect = sqlite3.connect
        points = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *args: Any) -> Any:
                return points._statement(sql, super().execute, sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                return points._statement(sql, super().executemany, sql, *args)

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> Any:
                return points._statement(sql, super().execute, sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                return points._statement(sql, super().executemany, sql, *args)

            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def commit(self) -> None:
                points._around("commit", super().commit)()

            def close(self) -> None:
                points._around("close", super().close)()

        sqlite3.connect = lambda *args, **options: connect(
            *args, **{"factory": Connection, **options}
        )

    def __call__(self, what: str) -> None:
        with self._lock:
            self.seen.append(what)
            if len(self.seen) == self._kill_at:
                os.write(self._tell, json.dumps({"points": self.seen}).encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def _around(self, what: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def counted(*args: Any, **options: Any) -> Any:
            named = (
                f"{what} {Path(args[0]).name}"
                if args and isinstance(args[0], (str, Path))
                else what
            )
            self(f"before {named}")
            result = fn(*args, **options)
            self(f"after {named}")
            return result

        return counted

    def _statement(self, sql: str, fn: Callable[..., Any], *args: Any) -> Any:
        if sql.lstrip()[:6].upper() == "SELECT":
            return fn(*args)
        what = " ".join(sql.split()[:3])
        self(f"before {what}")
        try:
            result = fn(*args)
        except sqlite3.Error:
            self(f"failed {what}")
            raise
        self(f"after {what}")
        return result

    def _opening(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not (set(mode) & set("wxa+") and str(file).startswith(self._folder)):
                return fn(file, mode, *args, **options)
            self(f"before opening {Path(file).name}")
            result = fn(file, mode, *args, **options)
            self(f"after opening {Path(file).name}")
            return result

        return opened
