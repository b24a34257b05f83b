"""Previews and estimates: what a run will cost, measured on a few of its own rows."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.engine.http import Transport
from seedfree.errors import TopicsExhaustedError
from seedfree.generators.prices import price_of
from seedfree.records import Prompt, Reply
from tests.fakes import small_pipeline, thai, thai_llm


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps previews inside the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _moody(prompt: Prompt) -> Reply:
    """Answers three of ten prompts, topics aside, with a text that is paid for and unreadable."""
    reply = thai(prompt)
    asks_for_topics = "topics" in str(prompt.schema)
    if asks_for_topics or seeded(prompt.user, "mood").random() >= 0.3:
        return reply
    return Reply("no", reply.usage)


def test_a_preview_is_paid_for_once(tmp_path: Path) -> None:
    llm = thai_llm()
    preview = small_pipeline(llm).preview(4)
    assert len(preview) == 4 and f"{preview.run.stats.requests} requests paid for" in repr(preview)
    paid = len(llm.calls)
    small_pipeline(llm).run(size=4, out=tmp_path / "run")
    assert len(llm.calls) == paid


def test_a_rejection_in_a_preview_is_not_taken_over(tmp_path: Path) -> None:
    llm = sf.OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
    rejecting = Transport(transport=httpx.MockTransport(lambda _: httpx.Response(400)))
    with pytest.raises(TopicsExhaustedError):
        small_pipeline(llm).preview(2, transport=rejecting)
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        body = json.loads(request.content)
        schema = body["response_format"]["json_schema"]["schema"]
        reply = thai(Prompt(body["messages"][-1]["content"], schema=schema, seed=1))
        choice = {"message": {"content": reply.text}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice]})

    answering = Transport(transport=httpx.MockTransport(answer))
    run = small_pipeline(llm).run(size=2, out=tmp_path / "run", transport=answering)
    assert run.status == "complete" and seen


def test_an_estimate_grows_with_the_size_and_has_an_interval() -> None:
    llm = sf.FunctionGenerator(thai, name="thai", price=(1.0, 2.0))
    small, large = (small_pipeline(llm).estimate(n) for n in (100, 1000))
    assert large.requests == pytest.approx(10 * small.requests, rel=0.01)
    assert small.low_usd is not None and small.price_usd is not None and small.high_usd is not None
    assert 0 < small.low_usd < small.price_usd < small.high_usd


def test_topics_that_a_preview_leaves_over_are_not_scaled(tmp_path: Path) -> None:
    llm = sf.FunctionGenerator(thai, name="thai", price=(1.0, 2.0))
    tasks = [sf.Summarization(), sf.Brainstorming()]
    pipeline = sf.Pipeline(
        "th", llm, contexts=[sf.WrittenContexts()], tasks=tasks, filters=[], diversity=None
    )
    estimate, run = pipeline.estimate(400), pipeline.run(400, tmp_path / "run")
    assert estimate.requests == pytest.approx(run.stats.requests, rel=0.1)
    assert estimate.price_usd == pytest.approx(run.stats.price_usd, rel=0.1)


def test_an_estimate_after_a_larger_preview_is_none_the_higher() -> None:
    llm = sf.FunctionGenerator(thai, name="thai", price=(1.0, 2.0))
    before = small_pipeline(llm).estimate(1000, sample=8)
    small_pipeline(llm).preview(80)
    after = small_pipeline(llm).estimate(1000, sample=8)
    assert after.requests == pytest.approx(before.requests, rel=0.05)
    assert after.price_usd == pytest.approx(before.price_usd, rel=0.1)


def test_the_interval_of_an_estimate_holds_the_price_of_nine_runs_in_ten(tmp_path: Path) -> None:
    inside = []
    for seed in range(20):
        llm = sf.FunctionGenerator(_moody, name="moody", price=(1.0, 5.0))
        estimate = small_pipeline(llm).estimate(150, seed=seed)
        run = small_pipeline(llm).run(150, tmp_path / f"run {seed}", seed=seed)
        assert estimate.low_usd is not None and estimate.high_usd is not None
        assert run.stats.price_usd is not None
        inside.append(estimate.low_usd <= run.stats.price_usd <= estimate.high_usd)
    # An interval that held every price would be wider than it says.
    assert 17 <= sum(inside) < 20


def test_an_estimate_is_told_by_the_row() -> None:
    estimate = small_pipeline(sf.FunctionGenerator(_moody, name="moody")).estimate(150)
    tokens_in, tokens_out = estimate.tokens_per_row
    assert tokens_in == estimate.input_tokens / 150 and f"{tokens_out:,.0f} a row" in repr(estimate)


def test_the_users_price_overrides_the_list() -> None:
    listed, own = price_of(sf.ClaudeGenerator()), price_of(sf.ClaudeGenerator(price=(7.0, 8.0)))
    assert listed is not None and listed.checked >= "2026"
    assert (listed.input, listed.output) == (0.10, 0.50)
    assert own is not None and (own.input, own.output) == (7.0, 8.0)
