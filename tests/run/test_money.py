"""What a run costs: said before, shown while, held to after."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.records import Prompt, Reply, Usage
from seedfree.run.progress import forecast
from tests.fakes import FakeClock, thai
from tests.test_pipeline import _pipeline


def _moody(prompt: Prompt) -> Reply:
    """Three of ten replies to anything but topics cannot be read, and are paid for all the same."""
    reply = thai(prompt)
    spoilt = "topics" not in str(prompt.schema) and seeded(prompt.user, "mood").random() < 0.3
    return Reply("no", reply.usage) if spoilt else reply


def test_the_interval_of_an_estimate_holds_the_price_of_nine_runs_in_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    for seed in range(20):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        llm = sf.FunctionGenerator(_moody, name="moody", price=(1.0, 5.0))
        estimate = _pipeline(llm).estimate(150, seed=seed)
        run = _pipeline(llm).run(150, tmp_path / f"run {seed}", seed=seed)
        assert (
            estimate.low_usd is not None
            and estimate.high_usd is not None
            and run.stats.price_usd is not None
        )
        held.append(estimate.low_usd <= run.stats.price_usd <= estimate.high_usd)
    assert 17 <= sum(held) < 20


def test_an_estimate_is_told_by_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    estimate = _pipeline(sf.FunctionGenerator(_moody, name="moody")).estimate(150)
    tokens_in, tokens_out = estimate.tokens_per_row
    assert tokens_in == estimate.input_tokens / 150 and f"{tokens_out:,.0f} a row" in repr(estimate)


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_a_budget_holds_to_within_the_requests_in_flight_and_the_run_goes_on(
    tmp_path: Path, concurrency: int
) -> None:
    def dollar(prompt: Prompt) -> Reply:
        return Reply(thai(prompt).text, Usage(1_000_000, 0))

    def run(budget: float | None) -> sf.Run:
        llm = sf.FunctionGenerator(dollar, name="dollar", price=(1.0, 0.0))
        run = _pipeline(llm).run(
            60, tmp_path, budget_usd=budget, concurrency=concurrency, clock=FakeClock()
        )
        calls.append(len(llm.calls))
        return run

    calls: list[int] = []
    first = run(20)
    assert first.status == "stopped" and "budget" in first.message
    assert 20 <= calls[0] <= 20 + concurrency - 1 and first.stats.price_usd == calls[0]
    second = run(20)
    assert second.status == "stopped" and calls[1] == 0
    assert run(None).status == "complete"


def test_the_users_price_overrides_the_list() -> None:
    from seedfree.generators.prices import price_of

    listed, own = price_of(sf.ClaudeGenerator()), price_of(sf.ClaudeGenerator(price=(7.0, 8.0)))
    assert (
        listed is not None
        and listed.checked >= "2026"
        and (listed.input, listed.output) == (0.10, 0.50)
    )
    assert own is not None and (own.input, own.output) == (7.0, 8.0)


def test_a_forecast_scales_what_was_kept_since_the_work_began() -> None:
    assert forecast(0, 100, 0.0, 0, 5.0) == {"projected_usd": None, "seconds_left": None}
    assert forecast(25, 100, 1.0, 0, 10.0) == {"projected_usd": 4.0, "seconds_left": 30}
    assert forecast(75, 100, 3.0, 50, 10.0) == {"projected_usd": 4.0, "seconds_left": 10}
    assert forecast(50, 100, None, 50, 10.0) == {"projected_usd": None, "seconds_left": None}
    assert forecast(120, 100, 3.0, 0, 10.0) == {"projected_usd": 3.0, "seconds_left": 0}


class _Ticking(FakeClock):
    """A second passes whenever somebody looks."""

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def test_the_price_so_far_in_all_and_the_time_left_are_shown_and_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states = []

    def watched(prompt: Prompt) -> Reply:
        if (tmp_path / "status.json").exists():
            states.append(json.loads((tmp_path / "status.json").read_text()))
        return thai(prompt)

    llm = sf.FunctionGenerator(watched, name="watched", price=(1.0, 5.0))
    with caplog.at_level(logging.INFO, "seedfree"):
        run = _pipeline(llm).run(40, tmp_path, concurrency=1, progress=None, clock=_Ticking())
    last = states[len(states) // 2]
    assert last["status"] == "running" and last["seconds_left"] > 0
    assert 0 < last["stats"]["price_usd"] < last["projected_usd"]
    assert run.stats.price_usd == pytest.approx(last["projected_usd"], rel=0.5)
    shown = [r.getMessage() for r in caplog.records if "of 40 rows" in r.getMessage()]
    assert any("usd_in_all" in line and "left" in line for line in shown)
    final = json.loads((tmp_path / "status.json").read_text())
    assert final["seconds_left"] == 0 and final["projected_usd"] == pytest.approx(
        run.stats.price_usd
    )
