from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from seedfree.engine.ledger import Entry, Ledger
from seedfree.errors import ConfigError, LedgerDamagedError, LedgerLockedError, StopRunError


def _fill(folder: Path, n: int = 20) -> None:
    with Ledger(folder) as ledger:

        async def work() -> None:
            await asyncio.gather(*(ledger.append(Entry("reply", f"k{i}", b"body %d" % i, 200)) for i in range(n)))

        asyncio.run(work())


def test_an_entry_is_read_again_by_another_ledger(tmp_path: Path) -> None:
    _fill(tmp_path)
    with Ledger(tmp_path) as ledger:
        entry = ledger.get("k7")
        assert entry is not None and entry.body == b"body 7" and entry.status == 200
        assert len(ledger) == 20 and "k20" not in ledger and ledger.get("k20") is None


def test_entries_are_numbered_without_gaps_in_the_order_of_appending(tmp_path: Path) -> None:
    _fill(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert [e.n for e in ledger.entries("reply")] == list(range(20))
        assert [e.key for e in ledger.entries("reply")] == [f"k{i}" for i in range(20)]


def test_the_last_answer_of_a_key_counts(tmp_path: Path) -> None:
    _fill(tmp_path, 1)
    with Ledger(tmp_path) as ledger:
        asyncio.run(ledger.append(Entry("reply", "k0", b"later", 200)))
        entry = ledger.get("k0")
        assert entry is not None and entry.body == b"later"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET body = x'00' WHERE n = 3",
        "UPDATE entries SET at = 'later' WHERE n = 0",
        "UPDATE entries SET status = 500 WHERE n = 19",
        "DELETE FROM entries WHERE n = 5",
        "DELETE FROM entries WHERE n = 0",
    ],
)
def test_a_changed_or_missing_entry_is_noticed(tmp_path: Path, damage: str) -> None:
    _fill(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(LedgerDamagedError, match="missing or changed"):
        Ledger(tmp_path)


def test_a_cut_end_is_noticed_by_the_expected_length(tmp_path: Path) -> None:
    _fill(tmp_path)
    with pytest.raises(LedgerDamagedError, match="20 of 21"):
        Ledger(tmp_path, entries=21)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(LedgerDamagedError):
        Ledger(tmp_path)
    (tmp_path / "ledger.sqlite").unlink()
    Ledger(tmp_path).close()  # the refusal released the lock


def test_a_second_process_is_turned_away_and_a_copy_of_the_lock_file_changes_nothing(tmp_path: Path) -> None:
    code = f"from seedfree.engine.ledger import Ledger; Ledger({str(tmp_path)!r})"
    with Ledger(tmp_path):
        shutil.copy(tmp_path / ".lock", tmp_path / "copy")
        (tmp_path / ".lock").read_bytes()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "LedgerLockedError" in done.stderr
        with pytest.raises(LedgerLockedError):
            Ledger(tmp_path)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_after_a_failed_commit_nothing_more_is_taken(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger._writes.execute("DROP TABLE entries")

    async def work() -> None:
        for _ in range(2):
            with pytest.raises(StopRunError, match="Cannot write"):
                await ledger.append(Entry("reply", "k", b""))

    asyncio.run(work())
    ledger.close()


def test_a_folder_that_is_a_file_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="Choose another folder"):
        Ledger(tmp_path / "run")


def test_the_folder_and_the_ledger_are_private(tmp_path: Path) -> None:
    _fill(tmp_path / "run", 1)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


def test_answers_of_a_run_are_read_for_another(tmp_path: Path) -> None:
    _fill(tmp_path, 3)
    assert {e.key for e in Ledger.answers(tmp_path)} == {"k0", "k1", "k2"}
    with pytest.raises(ConfigError, match="holds no ledger"):
        list(Ledger.answers(tmp_path / "nowhere"))
