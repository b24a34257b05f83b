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
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seedfree._files import is_file, mode_in, sync_folder, write_atomic
from seedfree.engine.ledger_errors import (
    LOCAL_DISK,
    damaged,
    explained,
    is_of_locking,
    stopped,
    unlockable,
)
from seedfree.engine.loop import Clock
from seedfree.engine.names import upgraded
from seedfree.errors import (
    ConfigError,
    LedgerError,
    LedgerLockedError,
)

__all__ = [
    "COLUMNS",
    "FILES",
    "PAGE",
    "START",
    "TABLE",
    "Entry",
    "Ledger",
    "LedgerReader",
    "check_schema",
    "connect",
    "entry_of",
    "folder_lock",
    "head_of",
]

# By one of these a folder is known to hold a ledger, though a damaged one.
FILES = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.head")
# What SQLite keeps beside its file. A ledger has no journal, but SQLite would read one.
_BESIDE = ("", "-wal", "-shm", "-journal")
# Bytes of a page of the file.
PAGE = 4096
TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    n INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL,
    status INTEGER NOT NULL, headers TEXT NOT NULL, checksum BLOB NOT NULL, body BLOB NOT NULL
) STRICT
"""
COLUMNS = "n, kind, key, at, status, headers, checksum, body"
# As SQLite records it.
_SCHEMA = [("table", "entries", TABLE.lstrip().replace("IF NOT EXISTS ", ""))]
_ALL_ROWS = f"SELECT {COLUMNS} FROM entries ORDER BY n"
# What the first row's checksum covers in place of a row before it.
START = bytes(16)
# What answers a key. The other kinds ("config", "request") are for the record.
_ANSWERS = frozenset({"reply", "fetch"})
# Bytes of answers kept from the reading at the start until they are first asked for: a resumed run
# asks for them all.
_WARM = 64 * 2**20
# Entries that one transaction takes at most.
_COMMIT = 4096
# Rows of one INSERT statement: a statement holds the interpreter's lock for its parameters alone,
# so the event loop goes on meanwhile. A statement a row would wait for that lock at every row.
# SQLite takes 32,766 parameters.
_ROWS = 500
# Seconds that a commit waits for another program, such as a backup or a viewer, to let go of the
# file. Replies that were paid for wait with it.
_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger.

    Attributes:
        kind: "config", "request", "reply" or "fetch".
        status: HTTP status of a reply; 200 from backends that are not HTTP.
        headers: A few of the reply's headers.
        at: When it was kept, ISO 8601 in UTC; empty until then.
        n: Its number, from 0; -1 until it is kept.
    """

    kind: str
    key: str
    body: bytes
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    at: str = ""
    n: int = -1


_Waiting = tuple[Entry, asyncio.Future[Entry]]
# Device and inode: which file a name leads to.
_Place = tuple[int, int]


class Ledger:
    """A run folder's `ledger.sqlite`, open in this process alone. Close it, or use it in `with`.

    Args:
        folder: The run folder; made (mode 0700) where it is missing. A relative one is resolved.
        clock: Gives the time that entries carry.

    Raises:
        ConfigError: The folder cannot be made or written.
        LedgerLockedError: Another process has it open.
        LedgerDamagedError: Entries are missing or changed.
    """

    def __init__(self, folder: str | Path, *, clock: Clock | None = None) -> None:
        self.folder = Path(folder).absolute()
        self._path = self.folder / "ledger.sqlite"
        self._files: dict[Path, _Place | None] = {}
        self._clock = clock or Clock()
        self._answers: dict[str, int] = {}
        self._warm: dict[int, Entry] = {}
        self._length, self._chain = 0, START
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._broken: LedgerError | None = None
        self._moved: LedgerError | None = None
        try:
            if not self.folder.exists():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(self.folder.parent)
        except OSError as error:
            raise explained(self.folder, error) from error
        with contextlib.ExitStack() as stack:
            stack.enter_context(folder_lock(self.folder))
            try:
                self._open(stack)
            except Exception as error:
                # Damaged bytes make SQLite and Python raise almost anything.
                raise explained(self._path, error) from error
            self._opened = stack.pop_all()
        self._writer = threading.Thread(target=self._write, name="seedfree-ledger", daemon=True)
        self._writer.start()

    def _open(self, stack: contextlib.ExitStack) -> None:
        path = self.folder / "ledger.head"
        # No head: a new ledger, or one whose other file alone was copied. What stands there is then
        # taken as whole.
        kept = head_of(path.read_bytes()) if is_file(path) else None
        there = is_file(self._path)
        if not _size(self._path) and (kept or _size(self.folder / "ledger.sqlite-wal")):
            # Opening an empty file would now delete the log.
            raise damaged(self._path, f"{self._path} is missing")
        if not there:
            self._path.touch(mode=0o600)
        # A connection that writes would, when it is closed, change the files of a ledger that is
        # then refused.
        writes = None if kept else self._connect_writing(stack)
        self._reads = connect(self._path, "ro")
        stack.callback(self._reads.close)
        check_schema(self._reads, self._path)
        self._verify(*(kept or (0, START)))
        self._writes = writes or self._connect_writing(stack)
        head = _head(self._length, self._chain)
        if not kept:
            # Whole or absent. Later writes over it need no space and change no length.
            write_atomic(path, [head], private=True)
        self._head = stack.enter_context(path.open("r+b", buffering=0))
        # A process that was killed may have committed more than its head says.
        self._head.write(head)
        self._writes.execute(f"PRAGMA busy_timeout={_PATIENCE * 1000}")
        for suffix in _BESIDE:  # SQLite gives new ones the mode of the main file
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.chmod(f"{self._path}{suffix}", mode_in(self.folder))
        log = self.folder / "ledger.sqlite-wal"
        self._files = {each: _place(each) for each in (self._path, log, path) if each.exists()}

    def _connect_writing(self, stack: contextlib.ExitStack) -> sqlite3.Connection:
        connection = connect(self._path, "rw")
        stack.callback(connection.close)
        check_schema(connection, self._path)
        # The page size comes first: it is fixed once the file is in WAL mode or has a table.
        for setting in (f"page_size={PAGE}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")
        # Where the mode cannot be changed, SQLite may say so or just leave it.
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            raise unlockable(self._path, f"its journal stays {mode!r}")
        connection.execute(TABLE)
        # Changes nothing, and fails where nothing could be changed.
        connection.execute("DELETE FROM entries WHERE n < 0")
        return connection

    def _verify(self, least: int, chain_there: bytes) -> None:
        """Reads every row, and the structure that new rows would go into.

        Args:
            least, chain_there: The number of rows, and the last one's checksum, by the head.

        Raises:
            LedgerDamagedError: A row or the structure is not as it was written.
        """
        length, chain, warm = 0, START, _WARM
        changed = "Entry {} of {} is missing or changed"
        for row in self._reads.execute(_ALL_ROWS):
            n, kind, key, at, status, headers, checksum, body = row
            if n != length or _checksum(chain, n, kind, key, at, status, headers, body) != checksum:
                raise damaged(self._path, changed.format(length, self._path))
            length, chain = n + 1, checksum
            if length == least and chain != chain_there:
                raise damaged(self._path, changed.format(n, self._path))
            if kind in _ANSWERS:
                self._answers[upgraded(key)] = n
                if warm > 0:
                    warm -= len(body)
                    self._warm[n] = _unchecked(row)
        if length < least:
            raise damaged(self._path, f"{self._path} holds {length} of {least} entries")
        (state,) = self._reads.execute("PRAGMA quick_check(1)").fetchone()
        # A ledger never has this on, so the header is damaged, and SQLite would lay out new pages
        # in another way.
        (vacuum,) = self._reads.execute("PRAGMA auto_vacuum").fetchone()
        if vacuum:
            state = "header"
        if state != "ok":
            raise damaged(self._path, f"{self._path} cannot be written safely: {state}")
        self._length, self._chain = length, chain

    def __len__(self) -> int:
        """Returns how many entries are safe on disk."""
        return self._length

    def __contains__(self, key: object) -> bool:
        return key in self._answers

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> Entry | None:
        """Returns the last reply or fetched value of a key."""
        n = self._answers.get(key)
        return None if n is None else self._read(n)

    def _read(self, n: int) -> Entry:
        try:
            return self._warm.pop(n, None) or _read_entry(self._reads, n)
        except Exception as error:
            raise explained(self._path, error) from error

    def config(self) -> Entry | None:
        """Returns the entry that says what the run was made with: always the first."""
        return self._read(0) if self._length else None

    def entries(self, *kinds: str) -> Iterator[Entry]:
        """Yields the entries of some kinds in the order in which they were kept."""
        before = START
        try:
            for row in self._reads.execute(_ALL_ROWS):
                if row[1] in kinds:
                    yield entry_of(row, before)
                before = row[6]
        except Exception as error:
            raise explained(self._path, error) from error

    async def append(self, entry: Entry) -> Entry:
        """Returns the entry with its number and time once it is safe on disk.

        Raises:
            StopRunError: The disk is full or gone. The ledger takes nothing more.
        """
        if self._broken:
            raise stopped(self._broken)
        done: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._queue.put((entry, done))
        try:
            return await done
        except LedgerError as error:
            raise stopped(error) from error

    def check(self) -> None:
        """Raises `StopRunError` if a commit has failed, or found the folder moved or removed.

        What is under way is still appended: in a folder that was only renamed it is not lost.
        """
        error = self._broken or self._moved
        if error:
            raise stopped(error)

    @property
    def in_place(self) -> bool:
        """Returns whether the open files are still those that their names lead to."""
        return all(_place(path) == place for path, place in self._files.items())

    def check_place(self) -> None:
        """Raises `LedgerError` if the folder was moved, removed or replaced since it was opened."""
        if not self.in_place:
            raise self._misplaced()

    def _misplaced(self) -> LedgerError:
        message = f"{self.folder} was moved, removed or replaced while the run was on"
        return LedgerError(message, hint="Put it back and run it again.")

    def _write(self) -> None:
        """Commits what waits, until it is told to close. Runs in a thread of its own."""
        closing = False
        while not closing:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _COMMIT:
                    batch.append(self._queue.get_nowait())
            closing = None in batch
            waiting = [each for each in batch if each is not None]
            if waiting:
                self._commit(waiting)

    def _commit(self, waiting: list[_Waiting]) -> None:
        entries, error = [entry for entry, _ in waiting], self._broken
        if error is None:
            try:
                entries = self._insert(entries)
            except Exception as cause:  # whatever it is, those who wait must hear of it
                hint = LOCAL_DISK if is_of_locking(cause) else None
                error = LedgerError(f"Cannot write to {self._path}: {cause}", hint=hint)
                self._broken = error
        # Waking a loop from another thread costs a system call: once for each loop, and not for
        # each entry.
        loops: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        for entry, (_, future) in zip(entries, waiting, strict=True):
            loops.setdefault(future.get_loop(), []).append((entry, future))
        for loop, results in loops.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed while it waited
                loop.call_soon_threadsafe(_settle, results, error)

    def _insert(self, entries: list[Entry]) -> list[Entry]:
        """Commits entries, and returns them with their numbers and times."""
        n, chain, now = self._length, self._chain, self._clock.now()
        kept: list[Entry] = []
        values: list[Any] = []
        for entry in entries:
            kind, key, body, status = entry.kind, entry.key, entry.body, entry.status
            # A salvaged entry, or one of another run, brings its time.
            at, headers = entry.at or now, "{}"
            if entry.headers:
                headers = json.dumps(dict(entry.headers), ensure_ascii=False, sort_keys=True)
            chain = _checksum(chain, n, kind, key, at, status, headers, body)
            values += (n, kind, key, at, status, headers, chain, body)
            kept.append(Entry(kind, key, body, status, entry.headers, at, n))
            n += 1
        self._execute(values)
        # Only now: a head that is behind its ledger is accepted, one ahead of it means damage.
        os.pwrite(self._head.fileno(), _head(n, chain), 0)
        for entry in kept:
            if entry.kind in _ANSWERS:
                self._answers[entry.key] = entry.n
        self._length, self._chain = n, chain
        if not self.in_place:  # a request is committed before it is sent
            self._moved = self._misplaced()
        return kept

    def _execute(self, values: list[Any]) -> None:
        """Inserts rows, given as all their values in a line, in one transaction."""
        step = _ROWS * 8
        # Each statement gives the interpreter's lock away and has to get it back from a busy event
        # loop: one that is a transaction of its own is a third of three.
        if len(values) <= step:
            self._writes.execute(_insert_statement(len(values) // 8), values)
            return
        with self._writes:  # commits, or rolls back
            self._writes.execute("BEGIN IMMEDIATE")
            for i in range(0, len(values), step):
                part = values[i : i + step]
                self._writes.execute(_insert_statement(len(part) // 8), part)

    def close(self) -> None:
        """Writes what waits, and lets others open the run."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
            self._broken = self._broken or LedgerError(f"{self._path} is closed")
            with contextlib.suppress(sqlite3.Error):
                # An open reader would keep SQLite from doing it below.
                self._writes.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._warm.clear()
        # The last to close removes the log, which a connection that only reads cannot.
        self._reads.close()
        self._opened.close()

    @staticmethod
    def answers(folder: str | Path) -> Iterator[Entry]:
        """Yields the replies and fetched values of a run that no process has open, for another.

        Raises:
            ConfigError: The folder holds no ledger.
        """
        if not is_file(Path(folder) / "ledger.sqlite"):
            raise ConfigError(
                f"{folder} holds no ledger.sqlite", hint="Name the folder of an earlier run."
            )
        with Ledger(folder) as ledger:
            for entry in ledger.entries(*_ANSWERS):
                yield replace(entry, key=upgraded(entry.key))

    @staticmethod
    def reader(folder: str | Path) -> LedgerReader:
        """Returns a reader of single entries, whether or not a ledger has the folder open."""
        return LedgerReader(folder)


class LedgerReader:
    """Reads entries by number, from any thread, without the folder's lock."""

    def __init__(self, folder: str | Path) -> None:
        self._one_at_a_time = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._path = Path(folder) / "ledger.sqlite"

    def read(self, n: int) -> Entry:
        """Returns the entry with a number, from 0 on. The first call opens the file.

        Raises:
            LedgerError: The file or the entry is not there any more, or was changed.
        """
        try:
            with self._one_at_a_time:
                if self._connection is None:
                    # Not "ro": the last to close a ledger must be able to put its files in order.
                    self._connection = connect(self._path, "rw")
                    check_schema(self._connection, self._path)
                return _read_entry(self._connection, n)
        except Exception as error:
            raise LedgerError(
                f"Entry {n} of {self._path} cannot be read: {error}",
                hint="The folder of its run must stay as it was.",
            ) from error

    def close(self) -> None:
        """Lets go of the file. A later `read` opens it again."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keeps every other process, and every other ledger, out of a run folder.

    Raises:
        LedgerLockedError: One has it open.
    """
    is_file(folder / ".lock")
    lock = FileLock(folder / ".lock", mode=mode_in(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        hint = "Wait for it, or choose another folder."
        raise LedgerLockedError(f"Another process has {folder} open", hint=hint) from None
    except (OSError, NotImplementedError) as error:  # the second where flock is missing
        raise explained(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Opens a connection for any thread, "ro" or "rw", that begins no transaction of its own.

    Raises:
        ConfigError: A link or something else that is no file stands in a file's place. SQLite
            would follow it.
    """
    for suffix in _BESIDE:
        is_file(Path(f"{path}{suffix}"))
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Compares what a database says it holds with a ledger, before anything is read from it.

    A trigger could swallow replies, and a view in the table's place could be read without end.

    Raises:
        LedgerDamagedError: It holds something else. An empty database passes.
    """
    schema = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(2)
    if schema not in ([], _SCHEMA):
        raise damaged(path, f"{path} holds something else than a ledger")


def _read_entry(connection: sqlite3.Connection, n: int) -> Entry:
    """Reads the entry with a number. Damaged bytes may raise almost anything."""
    before: tuple[bytes] | None = (START,)
    if n:
        before = connection.execute("SELECT checksum FROM entries WHERE n = ?", (n - 1,)).fetchone()
    row = connection.execute(f"SELECT {COLUMNS} FROM entries WHERE n = ?", (n,)).fetchone()
    if row is None or before is None:
        raise ValueError("it is not there")
    return entry_of(row, before[0])


def entry_of(row: Sequence[Any], before: bytes) -> Entry:
    """Returns the entry in a row of `COLUMNS`, given the checksum of the row before.

    Raises:
        TypeError, ValueError: The row's checksum does not agree with it.
    """
    n, kind, key, at, status, headers, checksum, body = row
    if _checksum(before, n, kind, key, at, status, headers, body) != checksum:
        raise ValueError("it was changed")
    return _unchecked(row)


def _unchecked(row: Sequence[Any]) -> Entry:
    n, kind, key, at, status, headers, _, body = row
    # Most rows have no headers, and do without the JSON reader.
    fields = {} if headers == "{}" else json.loads(headers)
    return Entry(kind, key, body, status, fields, at, n)


def _checksum(
    before: bytes, n: int, kind: str, key: str, at: str, status: int, headers: str, body: bytes
) -> bytes:
    """Returns a row's checksum, 16 bytes, which covers that of the row before."""
    # Each value is followed by the unit separator of ASCII, so that nothing can move from one
    # value into the next. A value of another type is written otherwise, or raises.
    text = f"{n}\x1f{kind}\x1f{key}\x1f{at}\x1f{status}\x1f{headers}\x1f"
    return hashlib.blake2b(before + text.encode() + body, digest_size=16).digest()


@functools.lru_cache(_ROWS)
def _insert_statement(rows: int) -> str:
    return f"INSERT INTO entries ({COLUMNS}) VALUES {','.join(['(?,?,?,?,?,?,?,?)'] * rows)}"


def _head(length: int, chain: bytes) -> bytes:
    """Packs `ledger.head`: 8 bytes of length, 16 of the last checksum, 8 of a digest of both."""
    record = length.to_bytes(8) + chain
    return record + hashlib.blake2b(record, digest_size=8).digest()


def head_of(record: bytes) -> tuple[int, bytes]:
    """Unpacks `ledger.head` into the number of entries and the last one's checksum.

    Raises:
        ValueError: The bytes are no head.
    """
    length, chain = int.from_bytes(record[:8]), record[8:24]
    # Packing it again compares the digest and the length of the file in one.
    if record != _head(length, chain):
        raise ValueError("ledger.head is damaged")
    return length, chain


def _settle(results: list[_Waiting], error: LedgerError | None) -> None:
    for entry, future in results:
        if future.done():  # whoever waited was cancelled
            continue
        if error is None:
            future.set_result(entry)
        else:
            future.set_exception(error)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _place(path: Path) -> _Place | None:
    """Returns which file stands there; `None` for none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
