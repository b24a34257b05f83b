"""A full disk and a folder that cannot be written: real failures, in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.lives import Life, Undisturbed, Workers, undisturbed, wrong
from tests.crash.worker import CONCURRENCY


@pytest.fixture
def whole(workers: Workers, folder: Path) -> Undisturbed:
    return undisturbed(workers, "long", folder / "whole")


def _lives(workers: Workers, folder: Path, *lives: tuple[str, str]) -> Life:
    """Lives several lives, each with its work and its fault, and returns the last."""
    folder.mkdir(exist_ok=True)
    with workers.free() as worker:
        return [worker.live(work, folder, fault=fault) for work, fault in lives][-1]


def _goes_on(workers: Workers, folder: Path, whole: Undisturbed, ends: int = 1) -> None:
    """Checks that the run, once the fault is mended, ends as the undisturbed one did."""
    (folder / "out").chmod(0o700)
    why = wrong(_lives(workers, folder, ("long", "")), folder, whole, ends)
    assert not why, why


@pytest.mark.parametrize("room", [90_000, 150_000, 400_000])
def test_nothing_is_sent_once_a_commit_has_failed(
    workers: Workers, folder: Path, whole: Undisturbed, room: int
) -> None:
    life = _lives(workers, folder / "cut", ("long", f"full:{room}"))
    assert life.result == "stopped" and 0 < life.asked < whole.calls - CONCURRENCY
    assert life.asked_after_failure <= CONCURRENCY
    assert "Make room on the disk" in life.message and "\n" not in life.message
    _goes_on(workers, folder / "cut", whole)


@pytest.mark.parametrize(
    ("lives", "most"),
    [
        ([("long", "shut:0")], 0),
        # A hasty clock has the status written after every reply. Without it, publishing would be
        # the first to fail.
        ([("hasty", "shut:1")], 1 + CONCURRENCY),
        ([("hasty", "shut:20")], 20 + CONCURRENCY),
        ([("long", "shut:20")], 99),
        ([("long", "full:150000"), ("long", "shut:5")], 99),
    ],
)
def test_a_folder_that_cannot_be_written_is_an_error_in_one_line(
    workers: Workers, folder: Path, whole: Undisturbed, lives: list[tuple[str, str]], most: int
) -> None:
    life = _lives(workers, folder / "cut", *lives)
    assert life.asked <= most
    why = life.error or life.message
    assert "Permission denied. " in why and "\n" not in why
    _goes_on(workers, folder / "cut", whole, ends=len(lives))


def test_a_disk_that_is_full_at_the_start_is_no_damage(
    workers: Workers, folder: Path, whole: Undisturbed
) -> None:
    life = _lives(workers, folder / "cut", ("long", "full:150000"), ("long", "full:1000"))
    why = life.error or life.message
    assert life.asked == 0 and life.kind != "LedgerDamagedError"
    assert "room" in why and "delete" not in why and "\n" not in why
    _goes_on(workers, folder / "cut", whole)


def test_a_ledger_that_could_not_be_tidied_up_is_whole(
    workers: Workers, folder: Path, whole: Undisturbed
) -> None:
    """A run ends with a long write-ahead log, and in the next the database itself cannot grow."""
    _lives(workers, folder / "cut", ("hasty", "shut:20"))
    (folder / "cut" / "out").chmod(0o700)
    life = _lives(workers, folder / "cut", ("long", "full:60000"))
    # One entry or another may still fit.
    assert life.result == "stopped" and life.asked_after_failure <= CONCURRENCY
    assert life.asked < whole.calls - CONCURRENCY
    _goes_on(workers, folder / "cut", whole, ends=2)
