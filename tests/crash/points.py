"""Numbered points in the life of a process, at which it can be killed.

There is a point before and after every statement that changes a SQLite file, every sync, rename and
removal, and every opening of a file for writing. The library knows nothing of them: the functions
of Python that it calls are replaced. A caller adds points of its own (`points("asked")`).
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
from functools import partial, wraps
from pathlib import Path
from typing import Any

__all__ = ["Points"]

# Functions of `os` that change files or sync them.
_CALLS = "fsync fdatasync replace rename unlink remove pwrite mkdir ftruncate".split()


class Points:
    """Counts the points of this process from now on, and kills it at one of them.

    Args:
        folder: Only files opened in it count.
        kill_at: The number of the last point, from 1; 0 for none.
        tell: A file descriptor to which the points are written as JSON before the kill.
    """

    def __init__(self, folder: Path, kill_at: int = 0, tell: int = -1) -> None:
        self.seen: list[str] = []
        self._folder, self._kill_at, self._tell = str(folder), kill_at, tell
        self._lock = threading.Lock()
        for name in _CALLS:
            setattr(os, name, self._around(name, getattr(os, name)))
        # pathlib calls the one, everybody else the other.
        io.open = builtins.open = self._opening(io.open)
        sqlite3.connect = self._connecting(sqlite3.connect)

    def __call__(self, what: str) -> None:
        # Held during the kill, so that no other thread passes a point.
        with self._lock:
            self.seen.append(what)
            if len(self.seen) == self._kill_at:
                os.write(self._tell, json.dumps({"points": self.seen}).encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def _connecting(self, connect: Callable[..., Any]) -> Callable[..., Any]:
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

        return partial(connect, factory=Connection)

    def _around(self, what: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def counted(*args: Any, **options: Any) -> Any:
            # The first argument is a path, a file descriptor, or missing.
            path = args[0] if args and isinstance(args[0], (str, Path)) else ""
            name = f"{what} {Path(path).name}".strip()
            self(f"before {name}")
            result = fn(*args, **options)
            self(f"after {name}")
            return result

        return counted

    def _statement(self, sql: str, fn: Callable[..., Any], *args: Any) -> Any:
        # A read changes nothing, so a kill before it is a kill after the last change.
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
        counted = self._around("opening", fn)

        @wraps(fn)
        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            writes = set(mode) & set("wxa+") and str(file).startswith(self._folder)
            call = counted if writes else fn
            return call(file, mode, *args, **options)

        return opened
