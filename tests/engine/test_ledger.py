"""The ledger keeps what it was given, and notices whatever was changed, cut off or lost since."""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seedfree.engine.ledger import Entry, Ledger
from seedfree.errors import (
    ConfigError,
    LedgerDamagedError,
    LedgerError,
    LedgerLockedError,
    StopRunError,
)
from tests.engine.ledgers import append, execute, fill

# What a disk writes at once: after a loss of power each sector is there or not.
SECTOR = 512


def test_an_entry_is_read_again_by_another_ledger(tmp_path: Path) -> None:
    fill(tmp_path)
    with Ledger(tmp_path) as ledger:
        entry = ledger.get("k7")
        assert entry is not None and entry.body == b"body 7" and entry.status == 200
        assert len(ledger) == 20 and "k20" not in ledger and ledger.get("k20") is None


def test_entries_are_numbered_without_gaps_in_the_order_of_appending(tmp_path: Path) -> None:
    fill(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert [e.n for e in ledger.entries("reply")] == list(range(20))
        assert [e.key for e in ledger.entries("reply")] == [f"k{i}" for i in range(20)]


def test_the_last_answer_of_a_key_counts(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with Ledger(tmp_path) as ledger:
        append(ledger, Entry("reply", "k0", b"later", 200))
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
    fill(tmp_path)
    execute(tmp_path, damage)
    with pytest.raises(LedgerDamagedError, match="missing or changed"):
        Ledger(tmp_path)


@pytest.mark.parametrize("damage", ["DELETE FROM entries WHERE n > 17", "DELETE FROM entries"])
def test_a_cut_end_is_noticed(tmp_path: Path, damage: str) -> None:
    fill(tmp_path)
    execute(tmp_path, damage)
    with pytest.raises(LedgerDamagedError, match="of 20 entries"):
        Ledger(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(LedgerDamagedError):
        Ledger(tmp_path)
    (tmp_path / "ledger.sqlite").unlink()
    Ledger(tmp_path).close()  # the refusal released the lock


def test_a_file_that_only_claims_to_be_read_only_is_damaged(tmp_path: Path) -> None:
    fill(tmp_path)
    data = bytearray((tmp_path / "ledger.sqlite").read_bytes())
    data[18] = 9  # SQLite's "write version": with an unknown one a file can only be read
    (tmp_path / "ledger.sqlite").write_bytes(data)
    with pytest.raises(LedgerDamagedError):
        Ledger(tmp_path)


def test_a_second_process_is_turned_away_and_a_copy_of_the_lock_file_changes_nothing(
    tmp_path: Path,
) -> None:
    code = f"from seedfree.engine.ledger import Ledger; Ledger({str(tmp_path)!r})"
    command = [sys.executable, "-c", code]
    with Ledger(tmp_path):
        # A process that closes any file drops the POSIX locks that it holds on that file.
        shutil.copy(tmp_path / ".lock", tmp_path / "copy")
        (tmp_path / ".lock").read_bytes()
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "LedgerLockedError" in second.stderr
        with pytest.raises(LedgerLockedError):
            Ledger(tmp_path)
    assert subprocess.run(command, check=False).returncode == 0


def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    for _ in range(2):  # as it is made, and as it is opened again
        with Ledger(tmp_path) as ledger:
            synchronous, journal = (
                ledger._writes.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("synchronous", "journal_mode")
            )
            assert synchronous == 2 and journal == "wal"  # 2 is FULL


def test_a_loss_of_power_within_a_commit_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """Any sectors of the last commit may be missing, and the head may be that of the commit before.

    Nobody was told of the last commit yet, so it may be lost; the five before it may not.
    """

    def entry(i: int, size: int) -> Entry:
        return Entry("reply", f"k{i}", random.Random(i).randbytes(size), 200)

    with Ledger(tmp_path / "live") as ledger:
        for i in range(5):
            append(ledger, entry(i, 3000))
        shutil.copytree(tmp_path / "live", tmp_path / "before")
        append(ledger, entry(5, 9000))
        shutil.copytree(tmp_path / "live", tmp_path / "after")
    before, after = (
        (tmp_path / state / "ledger.sqlite-wal").read_bytes() for state in ("before", "after")
    )
    assert after.startswith(before)
    sectors = range(len(before), len(after), SECTOR)
    cut = [after[:at] for at in sectors]
    holed = [after[:at] + bytes(SECTOR) + after[at + SECTOR :] for at in sectors]
    for i, log in enumerate([after, *cut, *holed]):
        run = tmp_path / str(i)
        shutil.copytree(tmp_path / "before", run)
        (run / "ledger.sqlite-wal").write_bytes(log)
        with Ledger(run) as ledger:
            keys = [entry.key for entry in ledger.entries("reply")]
        # A sector that was to hold zeros is none the worse for not having been written.
        whole = log == after
        assert keys == [f"k{n}" for n in range(6 if whole else 5)]


def test_after_a_failed_commit_nothing_more_is_taken(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    # Every statement that writes an entry fails from here on.
    ledger._writes.execute("DROP TABLE entries")

    async def work() -> None:
        for _ in range(2):
            with pytest.raises(StopRunError, match="Cannot write"):
                await ledger.append(Entry("reply", "k", b""))

    asyncio.run(work())
    ledger.close()


def test_a_folder_that_is_a_file_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="choose another folder"):
        Ledger(tmp_path / "run")


def test_the_folder_and_every_file_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Ledger(folder) as ledger:
        append(ledger, Entry("reply", "k", b""))
        assert folder.stat().st_mode & 0o777 == 0o700
        modes = {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()}
    names = {".lock", "ledger.head", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"}
    assert modes == dict.fromkeys(names, 0o600)
    assert {p.name for p in folder.iterdir()} == {".lock", "ledger.head", "ledger.sqlite"}
    # A copy or a backup may have opened the file to others.
    (folder / "ledger.sqlite").chmod(0o644)
    fill(folder, 1)
    assert (folder / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


def test_the_database_alone_is_a_whole_ledger_and_a_wrong_head_is_not(tmp_path: Path) -> None:
    fill(tmp_path)
    # Somebody copied the database and nothing else.
    (tmp_path / "ledger.head").unlink()
    fill(tmp_path, 3)
    with Ledger(tmp_path) as ledger:
        assert len(ledger) == 23
    (tmp_path / "ledger.head").write_bytes(b"")
    with pytest.raises(LedgerDamagedError, match="ledger.head"):
        Ledger(tmp_path)


def test_a_head_behind_the_ledger_is_that_of_a_killed_run(tmp_path: Path) -> None:
    fill(tmp_path)
    before = (tmp_path / "ledger.head").read_bytes()
    fill(tmp_path, 5)
    (tmp_path / "ledger.head").write_bytes(before)
    with Ledger(tmp_path) as ledger:
        assert len(ledger) == 25
    assert (tmp_path / "ledger.head").read_bytes() != before


def test_another_history_of_the_same_length_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with Ledger(tmp_path / "b") as ledger:
        for i in range(20):
            append(ledger, Entry("reply", f"other{i}", b""))
    shutil.copy(tmp_path / "b" / "ledger.sqlite", tmp_path / "a")
    with pytest.raises(LedgerDamagedError, match="changed"):
        Ledger(tmp_path / "a")


def test_the_head_is_there_before_those_who_wait_are_told(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for i in range(3):
            append(ledger, Entry("reply", f"k{i}", b""))
            # The head begins with the number of entries.
            assert int.from_bytes((tmp_path / "ledger.head").read_bytes()[:8]) == i + 1


def test_a_failed_head_stops_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger._head.close()
    with pytest.raises(StopRunError, match="Cannot write"):
        append(ledger, Entry("reply", "k", b""))
    ledger.close()


def test_a_folder_in_place_of_a_file_are_settings(tmp_path: Path) -> None:
    (tmp_path / "a" / "ledger.sqlite").mkdir(parents=True)
    (tmp_path / "b" / "ledger.head").mkdir(parents=True)
    for name in "ab":
        with pytest.raises(ConfigError, match="choose another folder"):
            Ledger(tmp_path / name)


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN]
)
def test_a_full_or_read_only_disk_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def connect(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr("seedfree.engine.ledger.connect", connect)
    # A file that could be written and is "read-only" all the same would count as damaged.
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigError, match="Cannot write"):
        Ledger(tmp_path)


def test_a_closed_ledger_takes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.close()
    ledger.close()  # a second time does no harm
    with pytest.raises(StopRunError, match="closed"):
        append(ledger, Entry("reply", "k", b""))


def test_a_reader_needs_no_lock_and_any_thread_may_read(tmp_path: Path) -> None:
    reader = Ledger.reader(tmp_path)  # before there is a ledger
    with pytest.raises(LedgerError, match="Entry 3"):
        reader.read(3)
    with Ledger(tmp_path) as ledger:
        append(ledger, Entry("config", "", b"{}"))
        kept = asyncio.run(ledger.append(Entry("reply", "k", "ไทย".encode(), 200, {"a": "ข"})))
        assert reader.read(1) == kept
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(reader.read, [0, 1] * 20))[1::2] == [kept] * 20
    with pytest.raises(LedgerError, match="Entry 2 .* is not there"):
        reader.read(2)
    reader.close()
    assert {p.name for p in tmp_path.iterdir()} == {".lock", "ledger.head", "ledger.sqlite"}
    execute(tmp_path, "UPDATE entries SET body = x'00' WHERE n = 1")
    with pytest.raises(LedgerError, match="was changed"):
        reader.read(1)


def test_answers_of_a_run_are_read_for_another(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    assert {e.key for e in Ledger.answers(tmp_path)} == {"k0", "k1", "k2"}
    with pytest.raises(ConfigError, match="holds no ledger"):
        list(Ledger.answers(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (sqlite3.SQLITE_PROTOCOL, "locking protocol"),
        (sqlite3.SQLITE_BUSY, "database is locked"),
        (sqlite3.SQLITE_IOERR_SHMOPEN, "disk I/O error"),
        (sqlite3.SQLITE_IOERR_LOCK, "disk I/O error"),
    ],
)
def test_a_file_system_that_cannot_hold_a_log_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    def connect(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr("seedfree.engine.ledger.connect", connect)
    with pytest.raises(ConfigError, match=r"Nothing is lost.*write-ahead log.*local disk"):
        Ledger(tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()]
)
def test_a_file_system_without_locks_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("seedfree.engine.ledger.FileLock.acquire", acquire)
    with pytest.raises(ConfigError, match=r"cannot lock files.*local disk"):
        Ledger(tmp_path)


def test_a_commit_waits_for_a_program_that_holds_the_file(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger, sqlite3.connect(tmp_path / "ledger.sqlite") as foreign:
        (patience,) = ledger._writes.execute("PRAGMA busy_timeout").fetchone()
        assert patience >= 60_000
        foreign.execute("BEGIN IMMEDIATE")

        async def work() -> Entry:
            waiting = asyncio.ensure_future(ledger.append(Entry("reply", "k", b"paid", 200)))
            await asyncio.sleep(0)
            foreign.rollback()
            return await waiting

        assert asyncio.run(work()).n == 0
    foreign.close()


def test_a_lock_that_stays_is_no_full_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger, sqlite3.connect(tmp_path / "ledger.sqlite") as foreign:
        ledger._writes.execute("PRAGMA busy_timeout=0")
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StopRunError, match="locked") as caught:
            append(ledger, Entry("reply", "k", b"paid", 200))
        assert "room" not in str(caught.value) and "Close whatever else" in str(caught.value)
    foreign.close()
