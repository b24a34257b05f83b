"""What goes wrong in a run: settings, keys, servers, and parts that users wrote."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

import seedfree as sf
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Ledger
from seedfree.errors import ConfigError, StopRunError
from seedfree.records import Context, Instruction, Prompt, Reply, Topic
from tests.fakes import FakeClock, LetterEncoder, Library, Riddle, small_pipeline, thai, thai_llm
from tests.test_keys import answer


class _Unasked:
    """A generator that fails the test when it is asked."""

    identity = "none"

    def generate(self, prompt: Prompt) -> Reply:
        raise AssertionError("something was paid for")


LLM = _Unasked()


def _run(out: Path, size: int = 3, **options: Any) -> sf.Run:
    return small_pipeline(LLM).run(size, out, **options)


def _wikipedia_run(out: Path) -> sf.Run:
    sources, tasks = [sf.WikipediaSource(contact=None)], [sf.Summarization()]
    return small_pipeline(LLM, contexts=sources, tasks=tasks).run(size=2, out=out)


def _two_models_of_one_name(out: Path) -> sf.Pipeline:
    models = [sf.FunctionGenerator(fn, name="one") for fn in (thai, str)]
    return small_pipeline(LLM, filters=[sf.JudgeFilter(generator=model) for model in models])


class _Silent:
    def generate(self, prompt: Prompt) -> Reply:
        return Reply("")


def _two_models_of_one_class(out: Path) -> sf.Pipeline:
    return small_pipeline(_Silent(), filters=[sf.JudgeFilter(generator=_Silent())])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda out: sf.Pipeline("thay", LLM), r"Unknown language 'thay'.*'Thai'"),
        (lambda out: sf.Pipeline("th", "gpt"), "'gpt' is no Generator"),
        (lambda out: sf.Pipeline("th", sf.ClaudeGenerator), r"ClaudeGenerator\(\)"),
        (lambda out: _run(out, size=0), "size is 0"),
        (lambda out: _run(out, concurrency=0), "concurrency is 0"),
        (lambda out: _run(out, budget_usd=5), "price"),
        (lambda out: small_pipeline(LLM, tasks=[]), "tasks are"),
        (lambda out: small_pipeline(LLM, tasks=[Riddle(), Riddle()]), "name of its own"),
        (lambda out: small_pipeline(LLM, cultural_share=1.5), "cultural_share is 1.5"),
        (lambda out: small_pipeline(LLM, topics=[]), "topics"),
        (lambda out: small_pipeline(LLM, filters="all"), "filters is 'all'"),
        (lambda out: sf.SemanticDiversityFilter(threshold=1.5), "threshold"),
        (_wikipedia_run, "contact"),
        (lambda out: sf.DocumentSource(out / "nothing"), "nothing"),
        (lambda out: sf.LlamaCppGenerator(model=out / "no.gguf").ready(), r"no\.gguf"),
        (lambda out: _run(out, size=True), "size is True"),
        (lambda out: _run(out, size=float("nan")), "size is nan"),
        (lambda out: _run(out, seed=None), "seed is None"),
        (lambda out: _run(out, seed=0.5), "seed is 0.5"),
        (lambda out: _run(out, concurrency=float("nan")), "concurrency is nan"),
        (lambda out: _run(out, budget_usd=float("nan")), "budget_usd is nan"),
        (lambda out: _run(out, reuse=3), "reuse is 3"),
        (lambda out: _run(out, reuse=[None]), "reuse is None"),
        (lambda out: _run(out, shrink="yes"), "shrink is 'yes'"),
        (lambda out: _run(None), "out is None"),
        (lambda out: sf.Pipeline(None, LLM), "language is None"),
        (lambda out: small_pipeline(LLM, cultural_share=float("nan")), "cultural_share is nan"),
        (lambda out: small_pipeline(LLM, topic_limit="9"), "topic_limit is '9'"),
        (lambda out: small_pipeline(LLM, tasks="closed_qa"), "tasks is 'closed_qa'"),
        (lambda out: small_pipeline(LLM, tasks=["closed_qa"]), "Did you mean 'ClosedQA'"),
        (lambda out: small_pipeline(LLM, filters=["rules_filter"]), "Did you mean 'RuleFilter'"),
        (lambda out: sf.RuleFilter(distinct=float("nan")), "distinct is nan. Give a number"),
        (lambda out: sf.RuleFilter(output_chars=5), "output_chars is 5. Give two whole numbers"),
        (lambda out: sf.LanguageFilter(min_share="0.5"), "min_share is '0.5'"),
        (lambda out: sf.JudgeFilter(minimum=None), "minimum is None"),
        (lambda out: sf.ClosedQA(pairs="3"), "pairs is '3'"),
        (lambda out: sf.Conversation(turns=True), "turns is True"),
        (lambda out: sf.Summarization(temperature="hot"), "temperature is 'hot'"),
        (lambda out: sf.WrittenContexts(min_chars=None), "min_chars is None"),
        (lambda out: sf.WikipediaSource(contact=5), "contact is 5"),
        (lambda out: sf.DocumentSource(out, sections=1.5), "sections is 1.5"),
        (lambda out: sf.ClaudeGenerator(model=5), "model is 5"),
        (lambda out: sf.ClaudeGenerator(timeout=float("nan")), "timeout is nan"),
        (lambda out: sf.ClaudeGenerator(price=""), "price '' is not a price"),
        (lambda out: sf.FunctionGenerator(thai, name=3), "name is 3"),
        (lambda out: sf.BGEM3Encoder(batch_size="8"), "batch_size is '8'"),
        (
            lambda out: small_pipeline(LLM, filters=[sf.JudgeFilter(generator="ClaudGenerator")]),
            "Did you mean 'ClaudeGenerator'",
        ),
        (
            lambda out: sf.SemanticDiversityFilter(encoder="BGEM3Encodr"),
            "encoder",
        ),
        (_two_models_of_one_name, "Two different generators are called function:one"),
        (_two_models_of_one_class, "Two different generators are called _Silent"),
        (lambda out: sf.Run.open(out / "nowhere"), "holds no run"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_paid_for(
    tmp_path: Path, make: Any, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_said_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        small_pipeline(sf.ClaudeGenerator()).run(size=3, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def _served(llm: Any, out: Path, serve: Any, **options: Any) -> sf.Run:
    topics, tasks = list("กขคงจฉ"), [sf.Summarization()]
    pipeline = small_pipeline(llm, contexts=[sf.WrittenContexts()], topics=topics, tasks=tasks)
    transport = Transport(transport=httpx.MockTransport(serve))
    return pipeline.run(6, out, transport=transport, clock=FakeClock(), concurrency=2, **options)


@pytest.mark.parametrize("digits", [30, 400, 5_000])
def test_no_number_of_tokens_breaks_a_run_or_its_replay(tmp_path: Path, digits: int) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        body = json.dumps(answer(request))
        assert '_tokens": 9' in body
        return httpx.Response(200, text=body.replace('_tokens": 9', '_tokens": ' + "9" * digits))

    llm = sf.OpenAICompatibleGenerator("https://llm.example", "m", api_key="k" * 20, price=(1, 1))
    runs = [_served(llm, tmp_path, serve) for _ in range(2)]
    assert [run.status for run in runs] == ["complete", "complete"]
    assert runs[0].stats.input_tokens == runs[1].stats.input_tokens > 0


def test_any_byte_of_a_header_leaves_the_reply_good(tmp_path: Path) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        headers = [(b"request-id", b"r\xff\xe0\xb8"), (b"content-type", b"application/json; \xe9")]
        return httpx.Response(200, content=json.dumps(answer(request)), headers=headers)

    llm = sf.OpenAICompatibleGenerator("https://llm.example", "m", api_key="k" * 20)
    for _ in range(2):
        run = _served(llm, tmp_path, serve)
        assert run.status == "complete" and not run.dropped


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("preview", [False, True])
def test_what_rests_on_a_rejection_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, preview: bool
) -> None:
    """Every second request is rejected, until the provider is mended."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    broken, asked = True, 0
    rejection = {"error": {"code": 400, "message": "no such schema"}}

    def serve(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if broken and asked % 2:
            return httpx.Response(status, json=rejection)
        return httpx.Response(200, json=answer(request))

    llm = sf.OpenAICompatibleGenerator("https://llm.example", "m", api_key="k" * 20)
    first = tmp_path / "first"
    if preview:
        topics, tasks = list("กขคงจฉ"), [sf.Summarization()]
        pipeline = small_pipeline(llm, contexts=[sf.WrittenContexts()], topics=topics, tasks=tasks)
        transport = Transport(transport=httpx.MockTransport(serve))
        pipeline.preview(3, transport=transport, clock=FakeClock())
    else:
        assert _served(llm, first, serve).status == "short"
    broken = False
    run = _served(llm, tmp_path / "second", serve, reuse=[] if preview else [first])
    assert run.status == "complete" and len(run.dataset) == 6 and not run.dropped


@pytest.mark.parametrize("harm", ["locked", "damaged"])
def test_previews_that_cannot_be_read_cost_no_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    harm: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pipeline = small_pipeline()
    pipeline.preview(3)
    (cache,) = (tmp_path / "cache").rglob("ledger.sqlite")
    paid = len(pipeline.generator.calls)
    assert paid
    if harm == "damaged":
        cache.write_bytes(b"nonsense" * 1000)
    with Ledger(cache.parent) if harm == "locked" else contextlib.nullcontext():
        run = pipeline.run(6, tmp_path / "out")
    assert run.status == "complete"
    if harm == "locked":
        # Reading needs no lock: what the preview paid for is not paid for again.
        assert len(pipeline.generator.calls) == run.stats.requests
    else:
        assert f"{cache.parent} is damaged; 0 of its replies can be read" in caplog.text


@pytest.mark.parametrize("harm", ["locked", "nonsense", "cut", "missing", "one page", "link"])
def test_a_preview_goes_on_where_an_earlier_one_is_in_use_or_damaged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    harm: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pipeline = small_pipeline()
    rows = list(pipeline.preview(8, clock=FakeClock()).run.dataset)
    (ledger,) = (tmp_path / "cache").rglob("ledger.sqlite")
    data = bytearray(ledger.read_bytes())
    if harm == "nonsense":
        ledger.write_bytes(b"nonsense" * 1000)
    elif harm == "cut":
        ledger.write_bytes(data[: len(data) // 8192 * 4096])
    elif harm == "one page":
        middle = len(data) // 8192 * 4096
        data[middle : middle + 4096] = bytes(4096)
        ledger.write_bytes(data)
    elif harm == "missing":
        ledger.unlink()
    elif harm == "link":
        ledger.rename(tmp_path / "elsewhere")
        ledger.symlink_to(tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in ledger.parent.iterdir()}
    for _ in range(2):
        already = len(pipeline.generator.calls)
        with Ledger(ledger.parent) if harm == "locked" else contextlib.nullcontext():
            assert list(pipeline.preview(8, clock=FakeClock()).run.dataset) == rows
    # The second time, it is there where the first left it.
    assert len(pipeline.generator.calls) == already
    if harm == "locked":
        assert already == pipeline.run(8, tmp_path / "run").stats.requests
        assert "Another process has" in caplog.text
    else:
        assert {path: path.read_bytes() for path in before if path.exists()} == before
        assert "this preview goes into another folder" in caplog.text
    if harm in ("cut", "one page"):  # most of what was paid for is not paid for again
        paid = pipeline.preview(8).run.stats.requests
        assert already - paid < paid
    assert len(list((tmp_path / "cache" / "seedfree" / "previews").iterdir())) == 2


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_preview_leaves_alone_what_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pipeline = small_pipeline()
    rows = list(pipeline.preview(4, clock=FakeClock()).run.dataset)
    (cache,) = (tmp_path / "cache" / "seedfree" / "previews").iterdir()
    cache.rename(tmp_path / "before")
    mine = cache
    if kind == "folder":
        cache.mkdir()
        mine = cache / "dataset.jsonl"
    mine.write_text("mine")
    assert list(pipeline.preview(4, clock=FakeClock()).run.dataset) == rows
    assert pipeline.run(4, tmp_path / "run").status == "complete"
    assert mine.read_text() == "mine"


def test_replies_under_way_when_a_run_stops_are_kept(tmp_path: Path) -> None:
    """Three requests are under way when the fourth is refused; the ledger keeps their replies."""
    asked: list[str] = []
    refused = asyncio.Event()

    async def fn(prompt: Prompt) -> Reply:
        if not prompt.user.startswith("riddle"):
            return thai(prompt)
        asked.append(prompt.user)
        if len(asked) == 4:
            refused.set()
            raise StopRunError("no more")
        await refused.wait()
        return thai(prompt)

    llm = sf.FunctionGenerator(fn, name="thai")
    stopped = small_pipeline(llm, tasks=[Riddle()]).run(size=16, out=tmp_path, concurrency=4)
    assert stopped.status == "stopped" and "no more" in stopped.message
    # Two rows for each of the three replies.
    assert len(stopped.dataset) == 6
    again = thai_llm()
    assert small_pipeline(again, tasks=[Riddle()]).run(size=16, out=tmp_path).status == "complete"
    assert not {p.user for p in again.calls} & set(asked[:3])


def test_a_task_that_raises_gives_dropped_rows_and_one_without_a_prompt_is_refused(
    tmp_path: Path,
) -> None:
    class Broken(Riddle):
        name = "broken"

        def instructions(self, fields: Any, context: Context) -> list[Instruction]:
            raise IndexError("empty")

    run = small_pipeline(tasks=[Riddle(), Broken()]).run(size=12, out=tmp_path / "a")
    assert run.status == "complete" and {r.task for r in run.dataset} == {"riddle"}
    assert run.stats.drops["reply: invalid"] >= 50

    class Silent(Riddle):
        def prompt(self, context: Context, language: sf.Language) -> Any:
            return None

    with pytest.raises(ConfigError, match=r"Task riddle: prompt\(\) fails"):
        small_pipeline(LLM, tasks=[Silent()]).run(size=2, out=tmp_path / "b")


def test_a_row_belongs_to_the_task_that_asked_for_it(tmp_path: Path) -> None:
    class Misnamed(Riddle):
        def instructions(self, fields: Any, context: Context) -> list[Instruction]:
            return [Instruction("other", fields.question, fields.answer)]

    run = small_pipeline(tasks=[Misnamed()]).run(size=3, out=tmp_path)
    assert {row.task for row in run.dataset} == {"riddle"}


def test_a_filter_that_raises_stops_the_run_resumably(tmp_path: Path) -> None:
    class Faulty:
        def check(self, item: Instruction) -> None:
            raise OSError("no dictionary")

    run = small_pipeline(filters=[Faulty()]).run(size=4, out=tmp_path)
    assert run.status == "stopped" and "Faulty raised OSError: no dictionary" in run.message


def test_a_source_that_raises_stops_the_run_resumably(tmp_path: Path) -> None:
    class Faulty:
        def contexts(self, topic: Topic) -> list[Context]:
            raise KeyError("shelf")

    run = small_pipeline(contexts=[Faulty()]).run(size=4, out=tmp_path)
    assert run.status == "stopped" and "Faulty raised KeyError" in run.message


def test_an_encoder_that_fails_leaves_the_folder_free(tmp_path: Path) -> None:
    class Failing(LetterEncoder):
        def encode(self, texts: Sequence[str]) -> Any:
            raise RuntimeError("no model")

    diversity = sf.SemanticDiversityFilter(encoder=Failing())
    with pytest.raises(Exception, match="no model"):
        small_pipeline(LLM, diversity=diversity).run(size=2, out=tmp_path)
    assert small_pipeline(diversity=None).run(size=2, out=tmp_path).status == "complete"


@pytest.mark.parametrize(
    "changes",
    [
        {"contexts": "wiki"},
        {"tasks": Riddle()},
        {"topics": [2541]},
        {"topics": "ข้าว"},
        {"cultural_share": "half"},
    ],
)
def test_settings_of_the_wrong_kind_are_one_line(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        small_pipeline(LLM, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"concurrency": "8"}, {"budget_usd": float("nan")}, {"size": 1.5}]
)
def test_options_of_the_wrong_kind_are_one_line(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        _run(tmp_path, **options)


class _Away:
    """A diversity filter that drops the first row, and whose server is away after some calls."""

    def __init__(self, answers: int) -> None:
        self._answers = answers

    def select(self, items: Sequence[Instruction]) -> sf.Selection:
        self._answers -= 1
        if self._answers < 0:
            raise StopRunError("the encoder is away")
        rest = len(items) - 1
        duplicate_of, similarity = [1, *[-1] * rest], [0.99, *[float("nan")] * rest]
        return sf.Selection(range(1, len(items)), duplicate_of, similarity)


@pytest.mark.parametrize("answers", [0, 1])
def test_a_diversity_filter_that_is_away_stops_the_run(tmp_path: Path, answers: int) -> None:
    tasks = [sf.Summarization()]
    run = small_pipeline(tasks=tasks, diversity=[_Away(answers)]).run(60, tmp_path, progress=False)
    assert (run.status, run.message) == ("stopped", "the encoder is away")
    # Of rows that were not compared none is published, and a decision stands.
    assert (len(run.dataset) > 0) == bool(answers)
    assert len(run.dropped) == answers
    run = small_pipeline(tasks=tasks, diversity=[_Away(99)]).run(60, tmp_path, progress=False)
    assert (run.status, len(run.dataset)) == ("complete", 60)
    assert [row.similarity for row in run.dropped if row.reason != "surplus"] == [0.99]


class _Odd:
    """A filter and a source that return something else than they should."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def check(self, item: Instruction) -> Any:
        return self._answer

    def contexts(self, topic: Topic) -> Any:
        return self._answer

    def select(self, items: Sequence[Instruction]) -> Any:
        return self._answer


@pytest.mark.parametrize(
    ("part", "answer", "says"),
    [
        ("filters", True, r"_Odd raised TypeError: check\(\) returned True"),
        ("filters", False, "returned False"),
        ("filters", "", "returned ''"),
        ("contexts", ["ข้าว"], r"contexts\(\) returned a list with str, not of sf.Context"),
        ("contexts", "ข้าว", "returned str, not a list"),
        ("contexts", None, "returned NoneType"),
        ("diversity", [0, 1], r"_Odd: select\(\) returned list"),
    ],
)
def test_a_part_that_returns_something_else_is_named(
    tmp_path: Path, part: str, answer: Any, says: str
) -> None:
    pipeline = small_pipeline(tasks=[sf.Summarization()], **{part: [_Odd(answer)]})
    run = pipeline.run(2, tmp_path / "run", progress=False)
    assert run.status == "stopped" and re.search(says, run.message)


def test_a_part_that_cannot_be_closed_keeps_nothing_else_open(tmp_path: Path) -> None:
    closed = []

    class Stuck(Library):
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            raise OSError(f"{self.name} is stuck")

    class Connections(Transport):
        async def close(self) -> None:
            closed.append("connections")
            raise OSError("so are they")

    pipeline = small_pipeline(contexts=[Stuck("a"), Stuck("b")])
    with pytest.raises(OSError, match="b is stuck"):
        pipeline.run(size=2, out=tmp_path, transport=Connections())
    assert closed == ["b", "a", "connections"]
    assert sf.Run.open(tmp_path).status == "complete"
