"""Money is counted once, from the ledger, and a stage that only loses stops the run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.engine.ledger import Ledger
from seedfree.engine.loop import Clock, run_sync
from seedfree.engine.session import RunSession
from seedfree.engine.usage import token_count, usage_in, usage_of
from seedfree.generators.prices import TokenPrice
from seedfree.languages import Language
from seedfree.records import Context, Prompt, Reply, Topic, Usage
from tests.diversity.test_http_encoder import serving
from tests.engine.provider import LLM, transport
from tests.fakes import FakeClock, Library, Riddle, small_pipeline, thai


def _priced(fn: Callable[[Prompt], Reply] = thai, **settings: Any) -> sf.FunctionGenerator:
    return sf.FunctionGenerator(fn, name="thai", price=(1.0, 1.0), **settings)


def test_a_budget_starts_from_all_that_the_ledger_holds(tmp_path: Path) -> None:
    before = small_pipeline(_priced()).run(size=40, out=tmp_path, concurrency=8)
    spent = before.stats.price_usd
    assert spent
    llm = _priced()
    run = small_pipeline(llm).run(size=200, out=tmp_path, budget_usd=spent, concurrency=8)
    assert run.status == "stopped" and "budget" in run.message and llm.calls == []
    assert run.stats.price_usd == pytest.approx(spent)
    assert run.stats.requests == before.stats.requests


def test_stages_and_models_add_up_to_the_whole(tmp_path: Path) -> None:
    run = small_pipeline(_priced()).run(size=12, out=tmp_path)
    stages, models = run.stats.stages, run.stats.models
    assert {"topics", "contexts", "riddle", "summarization"} <= set(stages)
    for parts in (stages, models):
        for name in ("requests", "input_tokens", "output_tokens"):
            assert sum(part.get(name, 0) for part in parts.values()) == getattr(run.stats, name)
        assert sum(part.get("usd", 0) for part in parts.values()) == pytest.approx(
            run.stats.price_usd
        )
    # The stages are in the ledger: a finished run that is opened again says the same of them.
    assert small_pipeline(_priced()).run(size=12, out=tmp_path).stats.stages == stages
    assert json.loads((tmp_path / "status.json").read_text())["stats"]["stages"] == stages


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(7, 7), (7.0, 7), (7.5, 0), ("7", 0), (True, 0), (-7, 0), (float("inf"), 0), (None, 0)],
)
def test_a_count_is_a_whole_number(value: object, tokens: int) -> None:
    assert token_count(value) == tokens


def test_absurd_counts_are_capped_and_reasoning_is_output() -> None:
    most = Usage(10_000_000, 10_000_000)
    assert usage_of({"input_tokens": 10**400, "output_tokens": 10**4000}) == most
    total = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 100}
    assert usage_of(total) == Usage(10, 90)
    cached = {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3}
    assert usage_of(cached) == Usage(3, 3)
    assert usage_in(b"no JSON") == usage_in(b"[]") == usage_in(b'{"usage": 3}') == Usage()


def _tally(tmp_path: Path, *bodies: dict[str, Any]) -> Any:
    """Asks once of a server that answers with each body in turn; returns what that cost."""
    left = list(bodies)

    async def work() -> Any:
        with Ledger(tmp_path, clock=FakeClock()) as ledger:
            session = RunSession(
                ledger,
                LLM,
                Language.load("th"),
                clock=FakeClock(),
                transport=transport(lambda _: httpx.Response(200, json=left.pop(0))),
                price_of=lambda _: TokenPrice(1e6, 1e6),
            )
            await session.generate(Prompt("a question"))
            again = RunSession(
                ledger, LLM, Language.load("th"), price_of=lambda _: TokenPrice(1e6, 1e6)
            )
            again.accounts.count_kept([])
            assert again.accounts.tally == session.accounts.tally
            await session.close([])
            await again.close([])
            return session.accounts.tally

    return run_sync(work())


def _answer(usage: object) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": "an answer"}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage}


@pytest.mark.parametrize(
    "usage", [None, {}, [], {"prompt_tokens": "9", "completion_tokens": "9"}, {"total_tokens": -1}]
)
def test_a_request_without_usage_is_unpriced_and_not_free(
    tmp_path: Path, usage: object, caplog: pytest.LogCaptureFixture
) -> None:
    tally = _tally(tmp_path, _answer(usage))
    assert tally.price_usd is None and tally.usd > 3
    assert caplog.text.count("estimated from bytes") == 2  # once for each session


def test_a_count_that_is_left_out_is_estimated(tmp_path: Path) -> None:
    tally = _tally(tmp_path, _answer({"prompt_tokens": 9.0}))
    assert tally.usd == 9 + 3 and tally.price_usd is None


@pytest.mark.parametrize(
    "failure",
    [
        {"error": {"message": "no", "code": 500}},
        {"choices": []},
        {"choices": [{"message": {"content": ""}, "finish_reason": "error"}]},
    ],
)
def test_failures_that_were_billed_count(tmp_path: Path, failure: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 0}
    paid = _tally(tmp_path, {**failure, "usage": usage}, _answer({**usage, "completion_tokens": 2}))
    assert (paid.requests, paid.price_usd) == (2, 62)


def _losing(field: str, reply: Reply) -> tuple[sf.FunctionGenerator, Counter[str]]:
    """Returns an LLM that loses every prompt whose schema has a field, and its calls by field."""
    calls: Counter[str] = Counter()

    def answer(prompt: Prompt) -> Reply:
        names = (prompt.json_schema or {})["properties"]
        calls["lost" if field in names else "others"] += 1
        return reply if field in names else thai(prompt)

    return _priced(answer), calls


REFUSAL = Reply("I will not write of this.", Usage(5, 5), stop_reason="refusal")


@pytest.mark.parametrize("concurrency", [1, 8, 64])
@pytest.mark.parametrize("topics", [None, [f"หัวข้อ {i}" for i in range(500)]])
@pytest.mark.parametrize(
    ("field", "stage", "changes"),
    [
        ("text", "contexts", {"contexts": [sf.WrittenContexts()]}),
        ("question", "riddle", {}),
        ("score", "filters", {"filters": [sf.JudgeFilter()], "tasks": [Riddle()]}),
    ],
)
def test_a_stage_that_only_loses_stops_the_run_after_twenty(
    tmp_path: Path, field: str, stage: str, changes: dict[str, Any], topics: Any, concurrency: int
) -> None:
    llm, calls = _losing(field, REFUSAL)
    pipeline = small_pipeline(llm, topics=topics, **changes)
    run = pipeline.run(size=400, out=tmp_path, concurrency=concurrency)
    assert run.status == "stopped"
    assert f"{stage}: 20 requests in a row gave nothing, 20 of them refused" in run.message
    assert "I will not write of this" in run.message
    assert calls["lost"] == 20
    assert run.stats.stages[stage]["lost"] == {"refused": 20}
    assert "| refused | 20 |" in (tmp_path / "README.md").read_text("utf-8")


def test_texts_that_are_too_short_stop_the_run(tmp_path: Path) -> None:
    class Short:
        def contexts(self, topic: Topic) -> list[Context]:
            return []

    run = small_pipeline(contexts=[Short()]).run(size=100, out=tmp_path)
    assert run.status == "stopped"
    assert "20 of them without a usable text" in run.message


def test_one_success_lets_a_stage_go_on(tmp_path: Path) -> None:
    asked: list[str] = []

    class Rare(Library):
        def contexts(self, topic: Topic) -> list[Context]:
            asked.append(topic.text)
            return super().contexts(topic) if topic.position % 15 == 14 else []

    topics = [f"หัวข้อ {i}" for i in range(60)]
    pipeline = small_pipeline(contexts=[Rare()], topics=topics, tasks=[sf.Summarization()])
    run = pipeline.run(size=50, out=tmp_path, concurrency=16)
    assert run.status == "short" and len(asked) == 60 and len(run.dataset) == 8
    assert "the topics ran dry; contexts: 4 of 60 gave something (56 without" in run.message


def test_the_topics_ran_dry_only_where_they_did(tmp_path: Path) -> None:
    class Same:
        def contexts(self, topic: Topic) -> list[Context]:
            return Library().contexts(Topic("one page"))

    pipeline = small_pipeline(contexts=[Same()], tasks=[sf.Summarization()])
    run = pipeline.run(size=50, out=tmp_path)
    assert run.status == "short" and "topics gave no new text" in run.message
    assert "ran dry" not in run.message and run.stats.stages["contexts"]["asked"] <= 240


def test_no_verdict_on_a_language_where_nothing_was_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    llm, _ = _losing("question", REFUSAL)
    small_pipeline(llm, tasks=[Riddle()]).run(size=10, out=tmp_path)
    assert "below the floor" not in caplog.text


def test_what_waits_for_a_stage_that_failed_does_not_begin(tmp_path: Path) -> None:
    asked: list[str] = []

    class Faulty:
        def contexts(self, topic: Topic) -> list[Context]:
            asked.append(topic.text)
            raise KeyError("shelf")

    run = small_pipeline(contexts=[Faulty()]).run(size=400, out=tmp_path, concurrency=64)
    assert run.status == "stopped" and "Faulty raised KeyError" in run.message
    assert len(asked) <= 20


def _embeddings(**usage: int) -> Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]:
    """Returns an embeddings API that reports this usage for each text; none without it."""

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        texts = body["input"]
        vectors = ([seeded(text, i).gauss(0, 1) for i in range(64)] for text in texts)
        data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        used = {name: tokens * len(texts) for name, tokens in usage.items()}
        return 200, {"data": data, **({"usage": used} if used else {})}

    return answer


def _run_with_encoder(url: str, out: Path, size: int = 6, **options: Any) -> sf.Run:
    price = options.pop("price", 1000.0)
    encoder = sf.OpenAICompatibleEncoder(url, "vectors", batch_size=4, price=price)
    diversity = sf.SemanticDiversityFilter(encoder=encoder)
    run = small_pipeline(_priced(), diversity=diversity).run(size, out, **options)
    assert encoder._session is None, "nothing holds on to a run that is over"
    return run


@pytest.mark.parametrize("usage", [{"prompt_tokens": 7, "total_tokens": 7}, {"total_tokens": 7}])
def test_paid_vectors_count_by_stage_and_model_and_once(
    tmp_path: Path, usage: dict[str, int]
) -> None:
    with serving(_embeddings(**usage)) as (url, asked):
        run = _run_with_encoder(url, tmp_path)
        texts = sum(len(body["input"]) for _, body, _ in asked)
        used = run.stats.stages["diversity"]
        assert used["requests"] == len(asked) > 1 and used["input_tokens"] == 7 * texts
        assert used["usd"] == pytest.approx(7 * texts * 1000 / 1e6)
        name = "openai-compatible a private server vectors"
        assert run.stats.models[name]["usd"] == pytest.approx(used["usd"])
        assert run.stats.price_usd == pytest.approx(
            sum(model["usd"] for model in run.stats.models.values())
        )
        stats = json.loads((tmp_path / "status.json").read_text())["stats"]
        assert stats["stages"]["diversity"] == used
        # Run again it asks for nothing, and knows from the ledger what was paid.
        already = len(asked)
        again = _run_with_encoder(url, tmp_path)
        assert len(asked) == already and again.stats.models == run.stats.models
        more = _run_with_encoder(url, tmp_path, 12)
        assert more.stats.stages["diversity"]["requests"] == len(asked) > already


def test_paid_vectors_count_towards_the_budget(tmp_path: Path) -> None:
    with serving(_embeddings(prompt_tokens=10)) as (url, _):
        paid = _run_with_encoder(url, tmp_path).stats
        assert paid.price_usd
        run = _run_with_encoder(url, tmp_path, 200, budget_usd=paid.price_usd)
    assert run.status == "stopped" and "budget" in run.message
    assert run.stats.price_usd == pytest.approx(paid.price_usd)


def test_vectors_without_usage_are_unpriced_and_estimated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(_embeddings()) as (url, _):
        for _ in range(2):
            run = _run_with_encoder(url, tmp_path)
            used = run.stats.stages["diversity"]
            assert used["input_tokens"] == 0 < used["usd"] and run.stats.price_usd is None
    assert "vectors reports no usage" in caplog.text and "127.0.0.1" not in caplog.text


def test_an_encoder_without_a_known_price_is_said_to_be_unpriced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedfree.generators.prices.is_loopback", lambda url: False)
    with serving(_embeddings(prompt_tokens=10)) as (url, _):
        run = _run_with_encoder(url, tmp_path, price=None, budget_usd=50.0)
    assert run.status == "complete" and run.stats.price_usd is None
    assert run.stats.stages["diversity"]["input_tokens"] > 0
    assert "vectors has no known price: the budget does not count it" in caplog.text


def test_vectors_of_this_machine_cost_nothing(tmp_path: Path) -> None:
    with serving(_embeddings()) as (url, _):
        run = _run_with_encoder(url, tmp_path, price=None)
    assert run.stats.price_usd is not None and run.stats.stages["diversity"]["usd"] == 0


def test_a_failure_of_an_encoder_that_was_billed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(self: Clock, seconds: float) -> None: ...

    monkeypatch.setattr(Clock, "sleep", sleep)
    good, fails = _embeddings(prompt_tokens=10), iter([True])

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if next(fails, False):
            return 200, {"error": {"code": 503}, "usage": {"prompt_tokens": 5000}}
        return good(body)

    with serving(answer) as (url, asked):
        run = _run_with_encoder(url, tmp_path)
    texts = sum(len(body["input"]) for _, body, _ in asked[1:])
    assert run.stats.stages["diversity"]["input_tokens"] == 5000 + 10 * texts
