"""A run that is killed anywhere and run again ends as if nothing had happened.

It asks again only what was in flight. What the kernel holds survives a kill, so these tests need no
real disk. They say nothing of a loss of power.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.lives import Workers, torn, undisturbed, wrong


@pytest.mark.parametrize(("work", "least"), [("run", 150), ("map", 60)])
def test_a_kill_at_any_point_costs_no_more_than_what_was_in_flight(
    workers: Workers, folder: Path, work: str, least: int
) -> None:
    whole = undisturbed(workers, work, folder / "whole")

    def kill_at(point: int) -> tuple[bool, str]:
        """Returns whether the life got as far as the point, and what went wrong."""
        place = folder / str(point)
        place.mkdir()
        with workers.free() as worker:
            first = worker.live(work, place, point)
            cut = torn(place, whole)
            last = worker.live(work, place) if first.killed else first
        why = wrong(last, place, whole, ends=1) or ", ".join(cut)
        shutil.rmtree(place)
        return first.killed, why and f"{point} ({first.points[-1]}): {why}"

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(kill_at, range(1, whole.points + 1)))
    failed = [why for _, why in results if why]
    assert not failed, f"{len(failed)} points:\n" + "\n".join(failed)
    # Threads do not take the same turns twice, so a life may end a few points early.
    assert sum(killed for killed, _ in results) >= least


@pytest.mark.parametrize(
    ("work", "more"),
    [("long", 11), ("long", 40), ("long", 101), ("written", 40), ("map", 20), ("map", 30)],
)
def test_killed_again_and_again_a_run_still_ends(
    workers: Workers, folder: Path, work: str, more: int
) -> None:
    """Every life gets `more` points beyond those that a finished run takes to open and publish."""
    whole = undisturbed(workers, work, folder / "whole")
    place, kills = folder / "again", 0
    place.mkdir()
    with workers.free() as worker:
        idle = worker.live(work, folder / "whole")
        assert not wrong(idle, folder / "whole", whole, ends=0)
        reach = len(idle.points) + more
        while (life := worker.live(work, place, reach)).killed:
            kills += 1
            assert kills < 100, f"no progress by {reach} points a life; at {life.points[-1]}"
    why = wrong(life, place, whole, kills)
    assert kills and not why, (kills, why)


def test_a_killed_process_leaves_no_litter_behind(workers: Workers, folder: Path) -> None:
    undisturbed(workers, "run", folder / "whole")
    files = sorted(path.name for path in (folder / "whole" / "out").iterdir())
    with workers.free() as worker:
        points = worker.live("run", folder / "whole").points
        renames = (p.startswith("before replace .dataset.jsonl") for p in points)
        rename = list(renames).index(True) + 1
        assert worker.live("run", folder / "whole", kill_at=rename).killed
        assert worker.live("run", folder / "whole").result == "complete"
    assert sorted(path.name for path in (folder / "whole" / "out").iterdir()) == files
