"""Small ledgers, and a way to change one behind its back."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from seedfree.engine.ledger import Entry, Ledger
from tests.fakes import FakeClock

__all__ = ["append", "execute", "fill"]


def append(ledger: Ledger, *entries: Entry) -> None:
    """Commits entries; those of one call may share a commit."""

    async def work() -> None:
        await asyncio.gather(*map(ledger.append, entries))

    asyncio.run(work())


def fill(folder: Path, n: int = 20) -> None:
    """Appends replies with the keys k0, k1, ... to the ledger of a folder."""
    with Ledger(folder, clock=FakeClock()) as ledger:
        append(ledger, *(Entry("reply", f"k{i}", b"body %d" % i, 200) for i in range(n)))


def execute(folder: Path, statement: str) -> None:
    """Runs a statement on the database itself."""
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute(statement)
    connection.close()
