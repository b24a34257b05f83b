"""Damage to a ledger's files gives the right data or one error, and what is whole comes back."""

from __future__ import annotations

import operator
import random
import shutil
from pathlib import Path

import pytest

from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.salvage import salvage
from seedfree.errors import ConfigError, LedgerDamagedError, LedgerError
from tests.engine.ledgers import append

CASES = 200
BLOCK = 4096  # a page of SQLite, and a block of most file systems


def _body(i: int) -> bytes:
    """Returns some bytes, and for every twelfth entry some pages of them."""
    draw = random.Random(i)
    if i % 12:
        return draw.randbytes(draw.choice([30, 200, 900, 1500, 3000]))
    return draw.randbytes(draw.randrange(5_000, 30_000))


def _entry(i: int) -> Entry:
    if i == 0:
        return Entry("config", "key 0 ข้าว", _body(0), 200)
    if i % 2:
        return Entry("reply", f"key {i} ข้าว", _body(i), 200, {"request-id": f"r{i}"})
    return Entry("request", f"key {i} ข้าว", _body(i), 200)


def _append(ledger: Ledger, numbers: range) -> None:
    """Commits entries, up to seven at a time, as a run with some concurrency does."""
    for start in range(0, len(numbers), 7):
        append(ledger, *map(_entry, numbers[start : start + 7]))


def _content(ledger: Ledger) -> list[Entry]:
    kinds = ("config", "request", "reply")
    entries = [entry for kind in kinds for entry in ledger.entries(kind)]
    return sorted(entries, key=lambda entry: entry.n)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Entry]]:
    """A folder with a closed ledger and one that was killed, and the entries of both."""
    folder = tmp_path_factory.mktemp("whole")
    with Ledger(folder / "live") as ledger:
        _append(ledger, range(110))
    # Its second process is killed: the log still holds what that one wrote.
    with Ledger(folder / "live") as ledger:
        _append(ledger, range(110, 200))
        shutil.copytree(folder / "live", folder / "killed")
        entries = _content(ledger)
    (folder / "live").rename(folder / "closed")
    log = folder / "killed" / "ledger.sqlite-wal"
    assert log.stat().st_size > 40 * BLOCK
    return folder, entries


def _damage(folder: Path, draw: random.Random) -> str:
    """Damages one file of a ledger in one way, and returns what was done."""
    path = draw.choice(sorted(p for p in folder.iterdir() if p.name.startswith("ledger.")))
    data = bytearray(path.read_bytes())
    kind = draw.choice(["flip", "flip", "flips", "zero", "cut", "delete", "append"])
    match kind:
        case "flip" | "flips":
            for _ in range(1 if kind == "flip" else 20):
                # Half of them in the first bytes, where the headers are.
                reach = draw.choice([min(len(data), 120), len(data)])
                data[draw.randrange(reach)] ^= draw.randrange(1, 256)
        case "zero":
            # Sectors that were never written.
            start = draw.randrange(0, len(data), 512)
            end = min(start + draw.choice([512, BLOCK]), len(data))
            data[start:end] = bytes(end - start)
        case "cut":
            del data[draw.randrange(len(data)) :]
        case "append":
            data += draw.randbytes(draw.choice([1, 100, BLOCK]))
    path.unlink()
    if kind != "delete":
        path.write_bytes(data)
    return f"{kind} of {path.name}"


def _same(saved: list[Entry], entries: list[Entry]) -> bool:
    """Whether all saved entries are originals, in their order, with their times."""
    numbers = [int(entry.key.split()[1]) for entry in saved]
    originals = {entry.key: entry for entry in entries}
    # Everything but the number in the file, which salvage gives anew.
    content = operator.attrgetter("kind", "body", "status", "headers", "at")
    return numbers == sorted(set(numbers)) and all(
        content(entry) == content(originals[entry.key]) for entry in saved
    )


def _salvaged(folder: Path, out: Path, entries: list[Entry]) -> float:
    """Salvages a ledger; returns the share that came back, and nothing else may."""
    try:
        counts = salvage(folder, out)
    except (ConfigError, LedgerError):
        return 0.0
    with Ledger(out) as ledger:
        saved = _content(ledger)
    assert len(saved) == counts.entries and _same(saved, entries)
    # Without a readable head nobody knows how many there were.
    assert counts.lost in (None, len(entries) - len(saved))
    return len(saved) / len(entries)


@pytest.mark.parametrize("case", range(CASES))
def test_right_data_or_one_error_and_salvage(
    case: int, whole: tuple[Path, list[Entry]], tmp_path: Path
) -> None:
    source, entries = whole
    draw = random.Random(case)
    shutil.copytree(source / draw.choice(["closed", "killed", "killed"]), tmp_path / "run")
    damage = _damage(tmp_path / "run", draw)
    try:
        with Ledger(tmp_path / "run") as ledger:
            assert _content(ledger) == entries, damage
            _append(ledger, range(200, 210))  # and it takes more without harm
    except LedgerDamagedError as error:
        assert "Run: seedfree salvage" in str(error)
        _salvaged(tmp_path / "run", tmp_path / "out", entries)
        return
    with Ledger(tmp_path / "run") as ledger:
        entries = _content(ledger)
    assert len(entries) == 210
    assert _salvaged(tmp_path / "run", tmp_path / "out", entries) == 1.0, damage


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_of_one_bad_block_nine_tenths_come_back(
    state: str, whole: tuple[Path, list[Entry]], tmp_path: Path
) -> None:
    source, entries = whole
    shares = []
    paths = [source / state / name for name in ("ledger.sqlite", "ledger.sqlite-wal")]
    for path in filter(Path.exists, paths):  # a closed ledger has no log
        blocks = -(-path.stat().st_size // BLOCK)
        # The first ones, with the headers, and five others.
        for block in sorted({0, 1, 2, *random.Random(blocks).sample(range(blocks), 5)}):
            run = tmp_path / f"{path.name}-{block}"
            shutil.copytree(source / state, run)
            data = bytearray(path.read_bytes())
            data[block * BLOCK : (block + 1) * BLOCK] = random.Random(block).randbytes(BLOCK)
            (run / path.name).write_bytes(data)
            shares.append(_salvaged(run, tmp_path / f"{path.name}-{block}-out", entries))
    assert sum(shares) / len(shares) >= 0.9 and min(shares) > 0.8, shares
