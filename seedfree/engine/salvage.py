"""What can still be read of a damaged ledger, as a new one.

An entry counts where its checksum agrees with its content and with the stored checksum of the entry
before; so one that is damaged costs at most itself and the next. Where SQLite cannot read the whole
file, every leaf page of the table is read as a table of its own, in a copy with a sound first page.
File formats: https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedfree.engine.ledger import (
    COLUMNS,
    PAGE,
    START,
    TABLE,
    Entry,
    Ledger,
    connect,
    entry_of,
    folder_lock,
    head_of,
)
from seedfree.engine.loop import run_sync
from seedfree.errors import ConfigError, LedgerError

__all__ = ["Salvaged", "salvage"]

_LEAF = 0x0D
# Pages beyond the file's end that a log may name; more is a damaged number.
_NEAR = 65_536
# Of a write-ahead log, and of each page in it.
_LOG_HEADER, _FRAME_HEADER = 32, 24
_SCRATCH = "PRAGMA synchronous=OFF"
_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Counts of entries; `lost` is `None` where nothing says how many there were."""

    entries: int
    lost: int | None


def salvage(folder: str | Path, out: str | Path) -> Salvaged:
    """Copies every entry that is whole into a new run folder, with its time; changes nothing in the old one.

    Where entry 0 is whole, the run goes on in `out`; else a new run takes over its replies with `reuse=[out]`.

    Raises:
        ConfigError: `folder` holds no ledger, `out` is not empty or cannot be written.
        LedgerLockedError: A process has the run open.
        LedgerError: Nothing can be read.
    """
    folder, out = Path(folder), Path(out)
    names = [name for name in ("ledger.sqlite", "ledger.sqlite-wal") if (folder / name).is_file()]
    if not names:
        raise ConfigError(
            f"{folder} holds no ledger.sqlite", hint="Name the folder of a damaged run."
        )
    try:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} is not empty", hint="Name a new folder.")
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        with folder_lock(folder), tempfile.TemporaryDirectory(dir=out) as scratch:
            for name in names:
                shutil.copyfile(folder / name, Path(scratch) / name)
            length, chain = _head(folder)
            entries, whole = _read(Path(scratch), length or 0, chain)
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
    return Salvaged(
        len(entries), None if length is None else max(length, entries[-1].n + 1) - len(entries)
    )


async def _append(ledger: Ledger, entries: list[Entry]) -> None:
    for i in range(0, len(entries), 1000):
        await asyncio.gather(*map(ledger.append, entries[i : i + 1000]))


def _head(folder: Path) -> tuple[int | None, bytes]:
    with contextlib.suppress(OSError, ValueError):
        return head_of((folder / "ledger.head").read_bytes())
    return None, START


def _read(scratch: Path, length: int, chain: bytes) -> tuple[list[Entry], bool]:
    """Whole entries in order, and whether these are all."""
    path = scratch / "ledger.sqlite"
    file = path.read_bytes() if path.exists() else b""
    log = path.with_name("ledger.sqlite-wal")
    pages = _logged(log.read_bytes()) if log.exists() else {}
    rows, complete = _select(path, ["entries"]) if file else ([], False)
    entries = _whole(rows)
    if (
        complete
        and len(entries) == len(rows) >= length
        and (not length or rows[length - 1][6] == chain)
    ):
        return entries, True
    for image in [file, _with(file, pages)] if pages else [file]:
        rows += _leaves(scratch, image)
    return _whole(rows), False


def _whole(rows: Iterable[_Row]) -> list[Entry]:
    by_number: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        by_number[row[0]].append(row)
    entries = []
    for n in sorted(by_number):
        before = {row[6] for row in by_number.get(n - 1, ())} if n else {START}
        found = (_entry(row, chain) for row in by_number[n] for chain in before)
        entries += [entry for entry in found if entry is not None][:1]
    return entries


def _entry(row: _Row, before: bytes) -> Entry | None:
    n, kind, key, at, status, headers, checksum, body = row
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        texts = kind.decode(), key.decode(), at.decode(), status, headers.decode()
        return entry_of((n, *texts, checksum, body), before)
    return None


def _select(path: Path, tables: Iterable[str]) -> tuple[list[_Row], bool]:
    """Rows of all tables, texts as bytes, and whether none failed; what stands around a bad row is read."""
    rows, complete = [], True
    with contextlib.closing(connect(path, "rw")) as connection:
        connection.text_factory = bytes
        for table in tables:
            for order in ("ASC", "DESC"):
                try:
                    for row in connection.execute(
                        f"SELECT {COLUMNS} FROM {table} ORDER BY n {order}"
                    ):
                        rows.append(row)
                    break
                except (sqlite3.Error, MemoryError):
                    complete = False
    return rows, complete


def _leaves(scratch: Path, image: bytes) -> Iterator[_Row]:
    """Rows of every leaf page of a database file whose first page may be anything."""
    fresh, path = scratch / "fresh", scratch / "image"
    for file in (fresh, path):
        file.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(fresh)) as connection:
        for statement in (f"PRAGMA page_size={PAGE}", _SCRATCH, TABLE):
            connection.execute(statement)
    first = fresh.read_bytes()[:PAGE]
    count = max(2, -(-len(image) // PAGE))
    image = image.ljust(count * PAGE, b"\0")
    path.write_bytes(first[:28] + count.to_bytes(4) + first[32:] + image[PAGE:])
    columns = COLUMNS.replace("n,", "n INTEGER PRIMARY KEY,", 1)
    leaves = [n for n in range(2, count + 1) if image[(n - 1) * PAGE] == _LEAF]
    with contextlib.closing(connect(path, "rw")) as connection:
        for statement in (_SCRATCH, "PRAGMA writable_schema=ON", "BEGIN"):
            connection.execute(statement)
        for n in leaves:
            values = (f"p{n}", f"p{n}", n, f"CREATE TABLE p{n} ({columns})")
            connection.execute("INSERT INTO sqlite_master VALUES ('table', ?, ?, ?, ?)", values)
        connection.execute("COMMIT")
    yield from _select(path, [f"p{n}" for n in leaves])[0]


def _logged(log: bytes) -> dict[int, bytes]:
    """The last version of each page in a write-ahead log, also after a frame that SQLite stops at."""
    frames = range(_LOG_HEADER, len(log), _FRAME_HEADER + PAGE)
    # Frames of an earlier use of the log have other salts. A bad block spoils two of these three
    # places at most.
    salts = {log[16:24], *(log[at + 8 : at + 16] for at in frames[:2])}
    pages = {}
    for at in frames:
        page = log[at + _FRAME_HEADER : at + _FRAME_HEADER + PAGE]
        if log[at + 8 : at + 16] in salts and len(page) == PAGE:
            pages[int.from_bytes(log[at : at + 4])] = page
    return pages


def _with(file: bytes, pages: dict[int, bytes]) -> bytes:
    image = bytearray(file)
    most = len(file) // PAGE + _NEAR
    for n, page in sorted(pages.items()):
        if 0 < n <= most:
            image.extend(bytes(max(0, n * PAGE - len(image))))
            image[(n - 1) * PAGE : n * PAGE] = page
    return bytes(image)
