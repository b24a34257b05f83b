"""A ledger's rows on disk: how they are sealed, read and found damaged."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError, LedgerDamagedError, LedgerError, SeedfreeError

__all__ = [
    "COLUMNS",
    "PAGE",
    "START",
    "TABLE",
    "Entry",
    "LedgerReader",
    "connect",
    "current",
    "damaged",
    "entry_of",
    "head",
    "head_of",
    "named",
    "read_entry",
    "seal",
    "unusable",
]

# Up to 0.1.0 a component went by the path of its class, `{"kind":
# "seedfree.contexts.wikipedia.WikipediaSource"`.
_PATH = re.compile(r'(?<="kind": ")[^"\\.]+\.[^"\\]+(?=")')
# Bytes of a page of the file.
PAGE = 4096
TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    n INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL,
    status INTEGER NOT NULL, headers TEXT NOT NULL, checksum BLOB NOT NULL, body BLOB NOT NULL
) STRICT
"""
COLUMNS = "n, kind, key, at, status, headers, checksum, body"
# What the first row's checksum covers in place of a row before it.
START = bytes(16)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `status` is the HTTP status of a reply (200 for other backends), `headers` a few of its headers."""

    kind: str
    key: str
    body: bytes
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    at: str = ""
    n: int = -1


def named(kind: type) -> str:
    """The name of a class in whatever is recorded, wherever its code lies: `own:` marks one that is not seedfree's."""
    return _named(f"{kind.__module__}.{kind.__qualname__}")


def current(text: str) -> str:
    """Recorded settings, or a key that holds some, with each class under the name that `named` gives it."""
    return _PATH.sub(lambda path: _named(path[0]), text) if '"kind": "' in text else text


def _named(path: str) -> str:
    first, *_, name = path.split(".")
    if not (first.isidentifier() and name.isidentifier()):  # some setting that is called "kind"
        return path
    return name if first == "seedfree" else f"own:{name}"


def seal(
    before: bytes, n: int, kind: str, key: str, at: str, status: int, headers: str, body: bytes
) -> bytes:
    """A row's checksum, 16 bytes, after that of the row before; another type in any place gives another one.

    Raises:
        TypeError, ValueError: No such row can have been written.
    """
    head = f"{n}\x1f{kind}\x1f{key}\x1f{at}\x1f{status}\x1f{headers}\x1f"
    return hashlib.blake2b(before + head.encode() + body, digest_size=16).digest()


class LedgerReader:
    """Reads entries by number, from any thread, without the folder's lock."""

    def __init__(self, folder: str | Path) -> None:
        self._one_at_a_time = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._path = Path(folder) / "ledger.sqlite"

    def read(self, n: int) -> Entry:
        """The entry with a number, from 0 on, checked against its checksum.

        Raises:
            LedgerError: The file or the entry is not there any more, or was changed.
        """
        try:
            with self._one_at_a_time:
                if self._connection is None:
                    # Not "ro": the last to close a ledger must be able to put its files in order.
                    self._connection = connect(self._path, "rw")
                return read_entry(self._connection, n)
        except Exception as error:
            raise LedgerError(
                f"Entry {n} of {self._path} cannot be read: {error}",
                hint="The folder of its run must stay as it was.",
            ) from error

    def close(self) -> None:
        """Lets go of the file; a later `read` opens it again."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection for any thread, "ro" or "rw", that begins no transaction of its own."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)


def read_entry(connection: sqlite3.Connection, n: int) -> Entry:
    """An entry that its checksum agrees with.

    Raises:
        Exception: Any; damaged bytes make SQLite and Python raise almost anything.
    """
    before: tuple[bytes] | None = (START,)
    if n:
        before = connection.execute("SELECT checksum FROM entries WHERE n = ?", (n - 1,)).fetchone()
    row = connection.execute(f"SELECT {COLUMNS} FROM entries WHERE n = ?", (n,)).fetchone()
    if row is None or before is None:
        raise ValueError("it is not there")
    return entry_of(row, before[0])


def entry_of(row: Sequence[Any], before: bytes) -> Entry:
    """The entry in a row of `COLUMNS`; ValueError or TypeError where its checksum does not agree with it."""
    n, kind, key, at, status, headers, checksum, body = row
    if seal(before, n, kind, key, at, status, headers, body) != checksum:
        raise ValueError("it was changed")
    return Entry(kind, key, body, status, {} if headers == "{}" else json.loads(headers), at, n)


def head(length: int, chain: bytes) -> bytes:
    """The 32 bytes of `ledger.head`."""
    record = length.to_bytes(8) + chain
    return record + hashlib.blake2b(record, digest_size=8).digest()


def head_of(record: bytes) -> tuple[int, bytes]:
    """Number of entries and the last one's checksum; ValueError where the bytes are no head."""
    length, chain = int.from_bytes(record[:8]), record[8:24]
    if record != head(length, chain):
        raise ValueError("ledger.head is damaged")
    return length, chain


def damaged(path: Path, message: str) -> LedgerDamagedError:
    """The error for a ledger at `path`, with what to do about it."""
    return LedgerDamagedError(
        message, hint=f"Run: seedfree salvage {shlex.quote(str(path.parent))} NEW_FOLDER"
    )


# SQLite's primary codes for what is wrong with the machine: no permission, busy, locked, read-only,
# input or output, full, cannot open. Reading errors among them (short read, failed read, corrupt
# file system) are damage.
_MACHINE = frozenset({3, 5, 6, 8, 10, 13, 14})
_UNREADABLE = frozenset({266, 522, 8458})
_READONLY = 8


def unusable(path: Path, error: Exception) -> SeedfreeError:
    """What an error at a ledger's files means for the one who opened it."""
    if isinstance(error, SeedfreeError):
        return error
    code = getattr(error, "sqlite_errorcode", None) or 0
    # A header with a flipped version number is "read-only" too.
    flipped = (
        code & 255 == _READONLY and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    )
    if isinstance(error, OSError) or (
        code & 255 in _MACHINE and code not in _UNREADABLE and not flipped
    ):
        why = (isinstance(error, OSError) and error.strerror) or error
        hint = "Make room on the disk and the folder writable, or choose another folder."
        return ConfigError(f"Cannot write to {path}: {why}", hint=hint)
    return damaged(path, f"{path} cannot be read: {error or type(error).__name__}")
