"""The durable record of a run: what was asked and what came back, before anything reads it.

One SQLite file, only ever appended to. A row's number has no gaps and its checksum covers the row before it, so
that a row which is missing or changed is noticed when the file is opened; `status.json` keeps the length, so that a
missing end is noticed too. Commits are grouped: whatever waits while one commit reaches the disk goes into the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import queue
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from seedfree.engine.clock import Clock
from seedfree.errors import ConfigError, LedgerDamagedError, LedgerError, LedgerLockedError, StopRunError

__all__ = ["Entry", "Ledger"]

_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    n INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL,
    status INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL, checksum BLOB NOT NULL
) STRICT
"""
_COLUMNS = "n, kind, key, at, status, headers, body, checksum"
# What answers a key; the other kinds ("config", "request") are for the record.
_ANSWERS = frozenset({"reply", "fetch"})


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

    def checksum(self, before: bytes) -> bytes:
        digest = hashlib.blake2b(before, digest_size=16)
        for part in (self.n, self.kind, self.key, self.at, self.status, _dump(self.headers)):
            digest.update(f"{part}\x1f".encode())
        digest.update(self.body)
        return digest.digest()


def _dump(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), ensure_ascii=False, sort_keys=True)


def _entry(row: tuple[int, str, str, str, int, str, bytes, bytes]) -> Entry:
    n, kind, key, at, status, headers, body, _ = row
    return Entry(kind, key, body, status, json.loads(headers), at, n)


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    done: asyncio.Future[Entry]


class Ledger:
    """A run folder's `ledger.sqlite`, opened by this process alone. Close it, or use it in a `with` block.

    Args:
        folder: The run folder; made (mode 0700) where it is missing.
        clock: Gives the time that entries carry.
        entries: The least number of entries that the file must hold.

    Raises:
        ConfigError: The folder cannot be made or written.
        LedgerLockedError: Another process has it open.
        LedgerDamagedError: Entries are missing or changed.
    """

    def __init__(self, folder: str | Path, *, clock: Clock | None = None, entries: int = 0) -> None:
        self.folder = Path(folder)
        self._clock = clock or Clock()
        self._answers: dict[str, int] = {}
        self._length = 0
        self._chain = b""
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._broken: LedgerError | None = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".lock", mode=0o600)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LedgerLockedError(
                f"Another process has {folder} open", hint="Wait for it, or choose another folder."
            ) from None
        except OSError as error:
            raise ConfigError(f"Cannot write to {folder}: {error.strerror}", hint="Choose another folder.") from error
        try:
            self._open(entries)
        except BaseException:
            self._lock.release()
            raise
        self._writer = threading.Thread(target=self._write, name="seedfree-ledger", daemon=True)
        self._writer.start()

    def _open(self, entries: int) -> None:
        path = self.folder / "ledger.sqlite"
        try:
            path.touch(mode=0o600)
            self._writes = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                self._writes.execute(f"PRAGMA {pragma}")
            self._writes.execute(_TABLE)
            self._reads = sqlite3.connect(path, check_same_thread=False)
            for entry, checksum in _rows(self._reads):
                if entry.n != self._length or checksum != entry.checksum(self._chain):
                    raise LedgerDamagedError(f"Entry {self._length} of {path} is missing or changed", hint=_SALVAGE)
                self._note(entry, checksum)
        except sqlite3.DatabaseError as error:
            raise LedgerDamagedError(f"{path} cannot be read: {error}", hint=_SALVAGE) from error
        except OSError as error:
            raise ConfigError(f"Cannot write {path}: {error.strerror}", hint="Choose another folder.") from error
        if self._length < entries:
            raise LedgerDamagedError(f"{path} holds {self._length} of {entries} entries", hint=_SALVAGE)

    def _note(self, entry: Entry, checksum: bytes) -> None:
        self._length, self._chain = entry.n + 1, checksum
        if entry.kind in _ANSWERS:
            self._answers[entry.key] = entry.n

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
        row = self._reads.execute(f"SELECT {_COLUMNS} FROM entries WHERE n = ?", (n,)).fetchone()
        return _entry(row)

    def config(self) -> Entry | None:
        """The entry that says what the run was made with: always the first."""
        return self._read(0) if self._length else None

    def entries(self, kind: str) -> Iterator[Entry]:
        """Entries of a kind in the order in which they were kept."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE kind = ? ORDER BY n"
        for row in self._reads.execute(query, (kind,)):
            yield _entry(row)

    async def append(self, entry: Entry) -> Entry:
        """Returns the entry with its number and time once it is safe on disk.

        Raises:
            StopRunError: The disk is full or gone; the ledger takes nothing more.
        """
        self.check()
        done: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(entry, done))
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
            waiting = [w for w in batch if w is not None]
            if waiting:
                self._commit(waiting)

    def _commit(self, waiting: list[_Waiting]) -> None:
        done: list[Entry] = []
        error = self._broken
        if error is None:
            try:
                done = self._insert([w.entry for w in waiting])
            except Exception as cause:  # whatever it is, those who wait must hear of it
                error = self._broken = LedgerError(f"Cannot write to {self.folder}/ledger.sqlite: {cause}")
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Entry], Entry | None]]] = {}
        for i, each in enumerate(waiting):
            loops.setdefault(each.done.get_loop(), []).append((each.done, done[i] if error is None else None))
        for loop, results in loops.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed while it waited
                loop.call_soon_threadsafe(_settle, results, error)

    def _insert(self, entries: list[Entry]) -> list[Entry]:
        n, chain, at, rows, done = self._length, self._chain, self._clock.now(), [], []
        for entry in entries:
            kept = Entry(entry.kind, entry.key, entry.body, entry.status, entry.headers, entry.at or at, n)
            chain = kept.checksum(chain)
            rows.append((n, kept.kind, kept.key, kept.at, kept.status, _dump(kept.headers), kept.body, chain))
            done.append(kept)
            n += 1
        self._writes.execute("BEGIN IMMEDIATE")
        try:
            self._writes.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._writes.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._writes.execute("ROLLBACK")
            raise
        for kept, row in zip(done, rows, strict=True):
            self._note(kept, row[-1])
        return done

    def close(self) -> None:
        """Writes what waits and lets others open the run."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
        self._reads.close()
        self._writes.close()
        self._lock.release()

    @staticmethod
    def answers(folder: str | Path) -> Iterator[Entry]:
        """Replies and fetched values of a run that no process has open, for another run to take over.

        Raises:
            ConfigError: The folder holds no ledger.
        """
        if not (Path(folder) / "ledger.sqlite").exists():
            raise ConfigError(f"{folder} holds no ledger.sqlite", hint="Name the folder of an earlier run.")
        with Ledger(folder) as ledger:
            for kind in sorted(_ANSWERS):
                yield from ledger.entries(kind)


_SALVAGE = "Start a new run with reuse=[a copy of this folder made before], or delete the folder to start anew."


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[Entry, bytes]]:
    for row in connection.execute(f"SELECT {_COLUMNS} FROM entries ORDER BY n"):
        yield _entry(row), row[-1]


def _stopped(error: LedgerError) -> StopRunError:
    return StopRunError(error.message, hint="Make room on the disk and run it again; what was kept is safe.")


def _settle(results: list[tuple[asyncio.Future[Entry], Entry | None]], error: LedgerError | None) -> None:
    for future, entry in results:
        if future.done():
            continue
        if entry is None:
            future.set_exception(error or LedgerError("The ledger is closed"))
        else:
            future.set_result(entry)
