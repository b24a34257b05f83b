"""What can still be read of a damaged ledger, as a new one.

An entry counts where its checksum agrees with its content and with the stored checksum of the entry
before. So a damaged one costs at most itself and the next. Where SQLite cannot read the whole file,
every leaf page of the table is read as a table of its own, in a copy with a sound first page.
File formats: https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seedfree._files import claim_folder, is_file
from seedfree.engine.ledger import (
    COLUMNS,
    PAGE,
    START,
    TABLE,
    Entry,
    Ledger,
    check_schema,
    connect,
    entry_of,
    folder_lock,
    head_of,
)
from seedfree.engine.loop import run_sync
from seedfree.engine.names import upgraded
from seedfree.errors import ConfigError, LedgerError, SeedfreeError

__all__ = ["Salvaged", "readable_answers", "readable_entries", "salvage"]

_LOG = logging.getLogger("seedfree")
# The first byte of a page that holds rows of a table.
_LEAF = 0x0D
# Pages beyond the file's end that a log may name; more is a damaged number, for which no image of
# gigabytes must be made.
_NEAR = 65_536
# Bytes before the first frame of a write-ahead log, and before the page in each frame.
_LOG_HEADER, _FRAME_HEADER = 32, 24
# Entries that are handed to the new ledger before they are waited for.
_BATCH = 1000
# The copies are thrown away at the end.
_SCRATCH = "PRAGMA synchronous=OFF"
_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Counts of entries. `lost` is `None` where nothing says how many there were."""

    entries: int
    lost: int | None


def salvage(folder: str | Path, out: str | Path) -> Salvaged:
    """Copies every entry that is whole, with its time, into a new run folder.

    Nothing in the old folder changes. If entry 0 is whole, the run goes on in `out`; else a new run
    takes over its replies with `reuse=[out]`.

    Raises:
        ConfigError: `folder` holds no ledger, `out` holds files or cannot be written.
        LedgerLockedError: A process has the run open.
        LedgerError: Nothing can be read.
    """
    folder, out = Path(folder), Path(out)
    names = _names(folder)
    if not names:
        raise ConfigError(
            f"{folder} holds no ledger.sqlite", hint="Name the folder of a damaged run."
        )
    try:
        claim_folder(out)
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        with folder_lock(folder), tempfile.TemporaryDirectory(dir=out) as scratch:
            length, chain = _head(folder)
            entries, whole = _read_copy(folder, names, Path(scratch), length or 0, chain)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"Cannot salvage {folder} to {out}: {error}", hint="Name another folder."
        ) from error
    if not entries and not whole:
        raise LedgerError(
            f"No entry of {folder}/ledger.sqlite can be read", hint="Start the run anew."
        )
    with Ledger(out) as ledger:
        run_sync(_append(ledger, entries))
    if whole:
        return Salvaged(len(entries), 0)
    if length is None:
        return Salvaged(len(entries), None)
    # The head may be behind its ledger, and then the last entry tells the length.
    return Salvaged(len(entries), max(length, entries[-1].n + 1) - len(entries))


def readable_answers(folder: Path) -> list[Entry]:
    """Returns the replies and fetched values that can be read; see `readable_entries`."""
    answers = readable_entries(folder, "reply", "fetch")
    return [replace(entry, key=upgraded(entry.key)) for entry in answers]


def readable_entries(folder: Path, *kinds: str) -> list[Entry]:
    """Returns the entries of some kinds that can be read, and logs where some cannot.

    Neither the folder's lock is needed nor that its ledger is sound, and nothing in it changes.
    """
    entries, whole = list[Entry](), False
    with contextlib.suppress(OSError, sqlite3.Error, SeedfreeError):
        # Before the copy: a process that has the run open may add to it meanwhile.
        length, chain = _head(folder)
        names = _names(folder)
        if not names and length is None:  # nothing was kept yet
            return []
        with tempfile.TemporaryDirectory() as scratch:
            entries, whole = _read_copy(folder, names, Path(scratch), length or 0, chain)
    wanted = [entry for entry in entries if entry.kind in kinds]
    if not whole:
        _LOG.warning("%s is damaged; %d of its replies can be read", folder, len(wanted))
    return wanted


def _names(folder: Path) -> list[str]:
    return [name for name in ("ledger.sqlite", "ledger.sqlite-wal") if is_file(folder / name)]


def _read_copy(
    folder: Path, names: Iterable[str], scratch: Path, length: int, chain: bytes
) -> tuple[list[Entry], bool]:
    """Does what `_read` does. SQLite changes the files that it opens, so it only sees copies."""
    for name in names:
        shutil.copyfile(folder / name, scratch / name)
    return _read(scratch, length, chain)


async def _append(ledger: Ledger, entries: list[Entry]) -> None:
    for i in range(0, len(entries), _BATCH):
        await asyncio.gather(*map(ledger.append, entries[i : i + _BATCH]))


def _head(folder: Path) -> tuple[int | None, bytes]:
    """Reads `ledger.head`; its length is `None` if it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        if is_file(folder / "ledger.head"):
            return head_of((folder / "ledger.head").read_bytes())
    return None, START


def _read(scratch: Path, length: int, chain: bytes) -> tuple[list[Entry], bool]:
    """Returns the whole entries in order, and whether these are all.

    Args:
        length, chain: What the head says.
    """
    path = scratch / "ledger.sqlite"
    # Both are read before SQLite opens them, which may move the log into the file.
    file, log = _bytes(path), _bytes(path.with_name("ledger.sqlite-wal"))
    rows, complete = _select(path, ["entries"]) if file and _is_ledger(path) else ([], False)
    entries = _whole(rows)
    if complete and len(entries) == len(rows) and _ends_as(rows, length, chain):
        return entries, True
    # Without the log, and with it: either may be what is damaged. An entry that is read more than
    # once counts once.
    rows += _leaves(scratch, file)
    if pages := _logged(log):
        rows += _leaves(scratch, _with(file, pages))
    return _whole(rows), False


def _is_ledger(path: Path) -> bool:
    """Tells whether a database holds a ledger's table alone. A view there might have no end."""
    try:
        with contextlib.closing(connect(path, "rw")) as connection:
            check_schema(connection, path)
    except (LedgerError, sqlite3.Error):
        return False
    return True


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _ends_as(rows: list[_Row], length: int, chain: bytes) -> bool:
    """Returns whether the rows are as many as the head says, and the last has its checksum."""
    if length == 0:
        return True
    return len(rows) >= length and rows[length - 1][6] == chain


def _whole(rows: Iterable[_Row]) -> list[Entry]:
    """Returns the entries of the rows that agree with a row before them, in order, each once."""
    by_number: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        by_number[row[0]].append(row)
    entries = []
    for n in sorted(by_number):
        # The row before need not be whole itself: its checksum alone is part of this one's.
        before = {row[6] for row in by_number.get(n - 1, ())} if n else {START}
        candidates = (_entry(row, chain) for row in by_number[n] for chain in before)
        entries += [entry for entry in candidates if entry is not None][:1]
    return entries


def _entry(row: _Row, before: bytes) -> Entry | None:
    n, kind, key, at, status, headers, checksum, body = row
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        texts = kind.decode(), key.decode(), at.decode(), status, headers.decode()
        return entry_of((n, *texts, checksum, body), before)
    return None


def _select(path: Path, tables: Iterable[str]) -> tuple[list[_Row], bool]:
    """Reads the rows of all tables, as far as they can be read.

    Returns:
        The rows, with texts as bytes, and whether none failed.
    """
    rows, complete = [], True
    with contextlib.closing(connect(path, "rw")) as connection:
        # A damaged text that is no UTF-8 would otherwise end the reading of all rows behind it.
        connection.text_factory = bytes
        for table in tables:
            # From both ends, so that only what lies between two bad places is lost.
            for order in ("ASC", "DESC"):
                query = f"SELECT {COLUMNS} FROM {table} ORDER BY n {order}"
                try:
                    for row in connection.execute(query):
                        rows.append(row)
                    break
                except (sqlite3.Error, MemoryError):  # a damaged length may ask for any memory
                    complete = False
    return rows, complete


def _leaves(scratch: Path, image: bytes) -> Iterator[_Row]:
    """Yields the rows of every leaf page of a database file, whose first page may be anything."""
    fresh, path = scratch / "fresh", scratch / "image"
    for file in (fresh, path):
        file.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(fresh)) as connection:
        for statement in (f"PRAGMA page_size={PAGE}", _SCRATCH, TABLE):
            connection.execute(statement)
    first = fresh.read_bytes()[:PAGE]
    # At least two: the first page of the fresh file says that its table begins on page 2. A last
    # page that is cut off is filled up.
    count = max(2, -(-len(image) // PAGE))
    image = image.ljust(count * PAGE, b"\0")
    # Bytes 28 to 31 of the first page are the number of pages; SQLite reads none beyond it.
    path.write_bytes(first[:28] + count.to_bytes(4) + first[32:] + image[PAGE:])
    # A row's number is its rowid and is not in its record: only such a key reads it from there.
    columns = COLUMNS.replace("n,", "n INTEGER PRIMARY KEY,", 1)
    leaves = [n for n in range(2, count + 1) if image[(n - 1) * PAGE] == _LEAF]
    with contextlib.closing(connect(path, "rw")) as connection:
        for statement in (_SCRATCH, "PRAGMA writable_schema=ON", "BEGIN"):
            connection.execute(statement)
        # CREATE TABLE would begin an empty page. A row of the schema that is written by hand can
        # name any page as a table's root, and a leaf is a whole tree of one page.
        for n in leaves:
            values = (f"p{n}", f"p{n}", n, f"CREATE TABLE p{n} ({columns})")
            connection.execute("INSERT INTO sqlite_master VALUES ('table', ?, ?, ?, ?)", values)
        connection.execute("COMMIT")
    yield from _select(path, [f"p{n}" for n in leaves])[0]


def _logged(log: bytes) -> dict[int, bytes]:
    """Returns the last version of each page in a write-ahead log, by the page's number from 1.

    SQLite stops at the first damaged frame; here those behind it count too. A frame begins with
    the page's number, the length of the file, and the two salts of this use of the log.
    """
    frames = range(_LOG_HEADER, len(log), _FRAME_HEADER + PAGE)
    # Frames of an earlier use of the log have other salts. They are in the log's header too, and a
    # bad block spoils two of these three places at most.
    salts = {log[16:24], *(log[at + 8 : at + 16] for at in frames[:2])}
    pages = {}
    for at in frames:
        page = log[at + _FRAME_HEADER : at + _FRAME_HEADER + PAGE]
        if log[at + 8 : at + 16] in salts and len(page) == PAGE:
            pages[int.from_bytes(log[at : at + 4])] = page
    return pages


def _with(file: bytes, pages: dict[int, bytes]) -> bytes:
    """Returns the file with the pages of its log in their places."""
    image = bytearray(file)
    most = len(file) // PAGE + _NEAR
    for n, page in sorted(pages.items()):
        if 0 < n <= most:
            image.extend(bytes(max(0, n * PAGE - len(image))))
            image[(n - 1) * PAGE : n * PAGE] = page
    return bytes(image)
