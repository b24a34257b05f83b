"""The durable record of a run: what was asked and what came back, before anything reads it.

One SQLite file, only ever appended to. A row's number has no gaps and its checksum covers the row
before it, so that a row which is missing or changed is noticed when the file is opened.
`ledger.head` holds the length and the last checksum, written over after every commit, so that a
missing end is noticed too: SQLite itself drops whatever follows a damaged frame of the write-ahead
log without a word. Commits are grouped: whatever waits while one commit reaches the disk goes into
the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import queue
import re
import shlex
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seedfree.engine.loop import Clock
from seedfree.errors import (
    ConfigError,
    LedgerDamagedError,
    LedgerError,
    LedgerLockedError,
    SeedfreeError,
    StopRunError,
)

__all__ = [
    "COLUMNS",
    "Entry",
    "Ledger",
    "LedgerReader",
    "PAGE",
    "START",
    "TABLE",
    "connect",
    "current",
    "damaged",
    "entry_of",
    "folder_lock",
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


# What answers a key; the other kinds ("config", "request") are for the record.
_ANSWERS = frozenset({"reply", "fetch"})
# Bytes of answers kept from the reading at the start until they are first asked for: a resumed run
# asks for them all.
_WARM = 64 * 2**20
# Rows of one INSERT statement: a statement holds the interpreter's lock for its parameters alone,
# so the event loop goes on meanwhile; a statement a row would wait for that lock at every row.
# SQLite takes 32,766 parameters.
_ROWS = 500


class Ledger:
    """A run folder's `ledger.sqlite`, opened by this process alone. Close it, or use it in a `with` block.

    Args:
        folder: The run folder; made (mode 0700) where it is missing.
        clock: Gives the time that entries carry.

    Raises:
        ConfigError: The folder cannot be made or written.
        LedgerLockedError: Another process has it open.
        LedgerDamagedError: Entries are missing or changed.
    """

    def __init__(self, folder: str | Path, *, clock: Clock | None = None) -> None:
        self.folder = Path(folder)
        self._path = self.folder / "ledger.sqlite"
        self._clock = clock or Clock()
        self._answers: dict[str, int] = {}
        self._warm: dict[int, Entry] = {}
        self._length = 0
        self._chain = START
        self._queue: queue.SimpleQueue[tuple[Entry, asyncio.Future[Entry]] | None] = (
            queue.SimpleQueue()
        )
        self._broken: LedgerError | None = None
        try:
            if not self.folder.exists():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync(self.folder.parent)
        except OSError as error:
            raise unusable(self.folder, error) from error
        with contextlib.ExitStack() as stack:
            stack.enter_context(folder_lock(self.folder))
            try:
                self._open(stack)
            except Exception as error:
                # damaged bytes make SQLite and Python raise almost anything
                raise unusable(self._path, error) from error
            self._opened = stack.pop_all()
        self._writer = threading.Thread(target=self._write, name="seedfree-ledger", daemon=True)
        self._writer.start()

    def _open(self, stack: contextlib.ExitStack) -> None:
        path = self.folder / "ledger.head"
        # No head: a new ledger, or one whose other file alone was copied. What stands there is then
        # taken as whole.
        kept = head_of(path.read_bytes()) if path.exists() else None
        size, log = (
            f.stat().st_size if f.exists() else 0
            for f in (self._path, self.folder / "ledger.sqlite-wal")
        )
        if not size and (kept or log):
            # SQLite would now delete the log
            raise damaged(self._path, f"{self._path} is missing")
        self._path.touch(mode=0o600)
        for suffix in ("", "-wal", "-shm"):  # SQLite gives new ones the mode of the main file
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.chmod(f"{self._path}{suffix}", 0o600)
        # A connection that writes would, when it is closed, change the files of a ledger that is
        # then refused.
        writes = None if kept else self._connect_writing(stack)
        self._reads = connect(self._path, "ro")
        stack.callback(self._reads.close)
        self._verify(*(kept or (0, START)))
        self._writes = writes or self._connect_writing(stack)
        if not kept:
            _write_durably(path, head(self._length, self._chain))
        self._head = stack.enter_context(path.open("r+b", buffering=0))
        self._head.write(head(self._length, self._chain))

    def _connect_writing(self, stack: contextlib.ExitStack) -> sqlite3.Connection:
        connection = connect(self._path, "rw")
        stack.callback(connection.close)
        settings = [
            f"PRAGMA {setting}"
            for setting in (f"page_size={PAGE}", "journal_mode=WAL", "synchronous=FULL")
        ]
        # The last changes nothing, and fails where nothing could be changed.
        for statement in (*settings, TABLE, "DELETE FROM entries WHERE n < 0"):
            connection.execute(statement)
        return connection

    def _verify(self, least: int, chain_there: bytes) -> None:
        """Reads every row; raises where a row, or the structure that new rows would go into, is not as written."""
        length, chain, answers, warm = 0, START, self._answers, _WARM
        changed = "Entry {} of {} is missing or changed"
        for n, kind, key, at, status, headers, checksum, body in self._reads.execute(
            f"SELECT {COLUMNS} FROM entries ORDER BY n"
        ):
            if n != length or seal(chain, n, kind, key, at, status, headers, body) != checksum:
                raise damaged(self._path, changed.format(length, self._path))
            length, chain = n + 1, checksum
            if length == least and chain != chain_there:
                raise damaged(self._path, changed.format(n, self._path))
            if kind in _ANSWERS:
                answers[current(key)] = n
                if warm > 0:
                    warm -= len(body)
                    self._warm[n] = Entry(
                        kind,
                        key,
                        body,
                        status,
                        {} if headers == "{}" else json.loads(headers),
                        at,
                        n,
                    )
        if length < least:
            raise damaged(self._path, f"{self._path} holds {length} of {least} entries")
        (state,) = self._reads.execute("PRAGMA quick_check(1)").fetchone()
        (moving,) = self._reads.execute("PRAGMA auto_vacuum").fetchone()
        if state != "ok" or moving:
            raise damaged(
                self._path,
                f"{self._path} cannot be written safely: {state if moving == 0 else 'header'}",
            )
        self._length, self._chain = length, chain

    def __len__(self) -> int:
        """Entries that are safe on disk."""
        return self._length

    def __contains__(self, key: object) -> bool:
        return key in self._answers

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> Entry | None:
        """The last reply or fetched value of a key."""
        n = self._answers.get(key)
        return None if n is None else self._read(n)

    def _read(self, n: int) -> Entry:
        try:
            return self._warm.pop(n, None) or read_entry(self._reads, n)
        except Exception as error:
            raise unusable(self._path, error) from error

    def config(self) -> Entry | None:
        """The entry that says what the run was made with: always the first."""
        return self._read(0) if self._length else None

    def entries(self, kind: str) -> Iterator[Entry]:
        """Entries of a kind in the order in which they were kept."""
        before = START
        try:
            for row in self._reads.execute(f"SELECT {COLUMNS} FROM entries ORDER BY n"):
                if row[1] == kind:
                    yield entry_of(row, before)
                before = row[6]
        except Exception as error:
            raise unusable(self._path, error) from error

    async def append(self, entry: Entry) -> Entry:
        """Returns the entry with its number and time once it is safe on disk.

        Raises:
            StopRunError: The disk is full or gone; the ledger takes nothing more.
        """
        self.check()
        done: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._queue.put((entry, done))
        try:
            return await done
        except LedgerError as error:
            raise _stopped(error) from error

    def check(self) -> None:
        """Raises `StopRunError` where a commit has failed."""
        if self._broken:
            raise _stopped(self._broken)

    def _write(self) -> None:
        closing = False
        while not closing:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < 4096:
                    batch.append(self._queue.get_nowait())
            closing = None in batch
            waiting = [each for each in batch if each is not None]
            if waiting:
                self._commit(waiting)

    def _commit(self, waiting: list[tuple[Entry, asyncio.Future[Entry]]]) -> None:
        done: list[Entry] = []
        error = self._broken
        if error is None:
            try:
                done = self._insert([entry for entry, _ in waiting])
            except Exception as cause:  # whatever it is, those who wait must hear of it
                error = self._broken = LedgerError(f"Cannot write to {self._path}: {cause}")
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Entry], Entry]]] = {}
        for (_, future), kept in zip(waiting, done or [e for e, _ in waiting], strict=True):
            loops.setdefault(future.get_loop(), []).append((future, kept))
        for loop, results in loops.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed while it waited
                loop.call_soon_threadsafe(_settle, results, error)

    def _insert(self, entries: list[Entry]) -> list[Entry]:
        n, chain, now, done = self._length, self._chain, self._clock.now(), []
        rows: list[list[Any]] = []
        for i, entry in enumerate(entries):
            if i % _ROWS == 0:
                rows.append([])
            kind, key, body, status, at = (
                entry.kind,
                entry.key,
                entry.body,
                entry.status,
                entry.at or now,
            )
            headers = (
                json.dumps(dict(entry.headers), ensure_ascii=False, sort_keys=True)
                if entry.headers
                else "{}"
            )
            chain = seal(chain, n, kind, key, at, status, headers, body)
            rows[-1] += (n, kind, key, at, status, headers, chain, body)
            done.append(Entry(kind, key, body, status, entry.headers, at, n))
            n += 1
        inserts = [(_insert(len(values) // 8), values) for values in rows]
        # Each statement gives the interpreter's lock away and has to get it back from a busy event
        # loop: one that is a transaction of its own is a third of three.
        if len(inserts) == 1:
            self._writes.execute(*inserts[0])
        else:
            self._insert_all(inserts)
        os.pwrite(self._head.fileno(), head(n, chain), 0)
        for kept in done:
            if kept.kind in _ANSWERS:
                self._answers[kept.key] = kept.n
        self._length, self._chain = n, chain
        return done

    def _insert_all(self, inserts: list[tuple[str, list[Any]]]) -> None:
        self._writes.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in inserts:
                self._writes.execute(statement, values)
            self._writes.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._writes.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Writes what waits and lets others open the run."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
            self._broken = self._broken or LedgerError(f"{self._path} is closed")
            with contextlib.suppress(sqlite3.Error):
                # an open reader would keep SQLite from doing it below
                self._writes.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._warm.clear()
        # the last to close removes the log, which a connection that only reads cannot
        self._reads.close()
        self._opened.close()

    @staticmethod
    def answers(folder: str | Path) -> Iterator[Entry]:
        """Replies and fetched values of a run that no process has open, for another run to take over.

        Raises:
            ConfigError: The folder holds no ledger.
        """
        if not (Path(folder) / "ledger.sqlite").exists():
            raise ConfigError(
                f"{folder} holds no ledger.sqlite", hint="Name the folder of an earlier run."
            )
        with Ledger(folder) as ledger:
            for kind in sorted(_ANSWERS):
                yield from (
                    replace(entry, key=current(entry.key)) for entry in ledger.entries(kind)
                )

    @staticmethod
    def reader(folder: str | Path) -> LedgerReader:
        """Reads single entries, whether or not a ledger has the folder open; opens nothing yet."""
        return LedgerReader(folder)


@functools.lru_cache(_ROWS)
def _insert(rows: int) -> str:
    return f"INSERT INTO entries ({COLUMNS}) VALUES {','.join(['(?,?,?,?,?,?,?,?)'] * rows)}"


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keeps every other process, and every other ledger, out of a run folder.

    Raises:
        LedgerLockedError: One has it open.
    """
    lock = FileLock(folder / ".lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        hint = "Wait for it, or choose another folder."
        raise LedgerLockedError(f"Another process has {folder} open", hint=hint) from None
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _write_durably(path: Path, data: bytes) -> None:
    """Makes a file that is whole or absent; later writes over it need no space and change no length."""
    new = path.with_name(path.name + ".new")
    with open(new, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Makes the names in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stopped(error: LedgerError) -> StopRunError:
    return StopRunError(
        error.message, hint="Make room on the disk and run it again; what was kept is safe."
    )


def _settle(results: list[tuple[asyncio.Future[Entry], Entry]], error: LedgerError | None) -> None:
    for future, entry in results:
        if not future.done():
            if error is None:
                future.set_result(entry)
            else:
                future.set_exception(error)
