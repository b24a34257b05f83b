"""What a run shows while it works: the price so far, the price in all, the time left."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.records import Prompt, Reply
from seedfree.run.progress import forecast
from tests.fakes import FakeClock, small_pipeline, thai


def test_a_forecast_scales_what_was_kept_since_the_work_began() -> None:
    assert forecast(0, 100, 0.0, 0, 5.0) == {"projected_usd": None, "seconds_left": None}
    assert forecast(25, 100, 1.0, 0, 10.0) == {"projected_usd": 4.0, "seconds_left": 30}
    assert forecast(75, 100, 3.0, 50, 10.0) == {"projected_usd": 4.0, "seconds_left": 10}
    assert forecast(50, 100, None, 50, 10.0) == {"projected_usd": None, "seconds_left": None}
    assert forecast(120, 100, 3.0, 0, 10.0) == {"projected_usd": 3.0, "seconds_left": 0}


class _Ticking(FakeClock):
    """A clock on which a second passes whenever somebody looks at it."""

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def test_the_price_so_far_in_all_and_the_time_left_are_shown_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    status = tmp_path / "status.json"
    states = []

    def watched(prompt: Prompt) -> Reply:
        if status.exists():
            states.append(json.loads(status.read_text()))
        return thai(prompt)

    llm = sf.FunctionGenerator(watched, name="watched", price=(1.0, 5.0))
    with caplog.at_level(logging.INFO, "seedfree"):
        run = small_pipeline(llm).run(40, tmp_path, concurrency=1, progress=None, clock=_Ticking())
    halfway = states[len(states) // 2]
    assert halfway["status"] == "running" and halfway["seconds_left"] > 0
    assert 0 < halfway["stats"]["price_usd"] < halfway["projected_usd"]
    assert run.stats.price_usd == pytest.approx(halfway["projected_usd"], rel=0.5)
    lines = [line for line in capsys.readouterr().err.splitlines() if "/40 rows" in line]
    assert lines[0] == "seedfree: 0/40 rows"
    assert any("usd_in_all" in line and "left" in line for line in lines)
    assert not any("left" in line for line in lines if ": 0/40" in line)
    assert lines[-1].startswith("seedfree: 40/40 rows") and "ended after" in lines[-1]
    # What the user's own log holds is not said there again.
    assert not [r for r in caplog.records if "/40 rows" in r.getMessage()]
    final = json.loads(status.read_text())
    assert final["seconds_left"] == 0
    assert final["projected_usd"] == pytest.approx(run.stats.price_usd)
