"""Any damage to a ledger's files gives the right data or one error; what is whole comes back."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.salvage import salvage
from seedfree.errors import ConfigError, LedgerDamagedError, LedgerError

CASES = 200
BLOCK = 4096


def _body(i: int) -> bytes:
    """Small, and sometimes of many pages."""
    draw = random.Random(i)
    return draw.randbytes(
        draw.choice([30, 200, 900, 1500, 3000]) if i % 12 else draw.randrange(5_000, 30_000)
    )


def _new(i: int) -> Entry:
    kind = "config" if i == 0 else ("request", "reply")[i % 2]
    return Entry(kind, f"key {i} ข้าว", _body(i), 200, {"request-id": f"r{i}"} if i % 2 else {})


def _append(ledger: Ledger, numbers: range) -> None:
    async def work() -> None:
        for start in range(numbers.start, numbers.stop, 7):
            await asyncio.gather(
                *(ledger.append(_new(i)) for i in range(start, min(start + 7, numbers.stop)))
            )

    asyncio.run(work())


def _content(ledger: Ledger) -> list[Entry]:
    return sorted(
        (e for kind in ("config", "request", "reply") for e in ledger.entries(kind)), key=_number
    )


def _number(entry: Entry) -> int:
    return entry.n


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Entry]]:
    """A closed ledger, one that was killed with its log full, and their entries."""
    folder = tmp_path_factory.mktemp("whole")
    with Ledger(folder / "live") as ledger:
        _append(ledger, range(110))
    with Ledger(folder / "live") as ledger:
        _append(ledger, range(110, 200))
        shutil.copytree(folder / "live", folder / "killed")
        entries = _content(ledger)
    (folder / "live").rename(folder / "closed")
    assert (folder / "killed" / "ledger.sqlite-wal").stat().st_size > 40 * BLOCK
    return folder, entries


def _damage(folder: Path, draw: random.Random) -> str:
    path = draw.choice(sorted(p for p in folder.iterdir() if p.name.startswith("ledger.")))
    data = bytearray(path.read_bytes())
    kind = draw.choice(["flip", "flip", "flips", "zero", "cut", "delete", "append"])
    match kind:
        case "flip" | "flips":
            # Half of them in the first bytes, where the headers are.
            for _ in range(1 if kind == "flip" else 20):
                data[draw.randrange(draw.choice([min(len(data), 120), len(data)]))] ^= (
                    draw.randrange(1, 256)
                )
        case "zero":
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
    """Whether all are originals, in their order, with their times."""
    originals = {e.key: e for e in entries}
    keys = [int(e.key.split()[1]) for e in saved]
    return keys == sorted(set(keys)) and all(
        (e.kind, e.body, e.status, e.headers, e.at) == (o.kind, o.body, o.status, o.headers, o.at)
        for e, o in ((e, originals[e.key]) for e in saved)
    )


def _salvaged(folder: Path, out: Path, entries: list[Entry]) -> float:
    """The share that came back; nothing else did."""
    try:
        counts = salvage(folder, out)
    except (ConfigError, LedgerError):
        return 0.0
    with Ledger(out) as ledger:
        saved = _content(ledger)
    assert len(saved) == counts.entries and _same(saved, entries)
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
        right = False
    else:
        right = True
        with Ledger(tmp_path / "run") as ledger:
            entries = _content(ledger)
            assert len(entries) == 210
    share = _salvaged(tmp_path / "run", tmp_path / "out", entries)
    if right:
        assert share == 1.0, damage


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_of_one_bad_block_nine_tenths_come_back(
    state: str, whole: tuple[Path, list[Entry]], tmp_path: Path
) -> None:
    source, entries = whole
    shares = []
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        path = source / state / name
        blocks = -(-path.stat().st_size // BLOCK) if path.exists() else 0
        for block in sorted(
            {0, 1, 2, *random.Random(blocks).sample(range(blocks), 5)} if blocks else ()
        ):
            run = tmp_path / f"{name}-{block}"
            shutil.copytree(source / state, run)
            data = bytearray(path.read_bytes())
            data[block * BLOCK : (block + 1) * BLOCK] = random.Random(block).randbytes(BLOCK)
            (run / name).write_bytes(data)
            shares.append(_salvaged(run, tmp_path / f"{name}-{block}-out", entries))
    assert sum(shares) / len(shares) >= 0.9 and min(shares) > 0.8, shares
