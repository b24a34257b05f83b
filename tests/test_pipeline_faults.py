"""What goes wrong in a run: settings, keys, servers, and parts that users wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

import seedfree as sf
from seedfree.engine.http import Transport
from seedfree.errors import ConfigError, StopRunError, TopicsExhaustedError
from seedfree.records import Context, Instruction, Prompt, Reply, Topic
from tests.fakes import LetterEncoder, thai, thai_llm
from tests.test_pipeline import Riddle, _pipeline


class _Llm:
    """Fails the test when it is asked."""

    identity = "none"

    def generate(self, prompt: Prompt) -> Reply:
        raise AssertionError("something was paid for")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda out: sf.Pipeline("thay", _Llm()), r"Unknown language 'thay'.*thai"),
        (lambda out: sf.Pipeline("th", "gpt"), "str is not a Generator"),
        (lambda out: sf.Pipeline("th", sf.ClaudeGenerator), "ClaudeGenerator()"),
        (lambda out: _pipeline(_Llm()).run(size=0, out=out), "size is 0"),
        (lambda out: _pipeline(_Llm()).run(size=3, out=out, concurrency=0), "concurrency is 0"),
        (lambda out: _pipeline(_Llm()).run(size=3, out=out, budget_usd=5), "price"),
        (lambda out: _pipeline(_Llm(), tasks=[]), "tasks are"),
        (lambda out: _pipeline(_Llm(), tasks=[Riddle(), Riddle()]), "name of its own"),
        (lambda out: _pipeline(_Llm(), cultural_share=1.5), "cultural_share is 1.5"),
        (lambda out: _pipeline(_Llm(), topics=[]), "topics"),
        (lambda out: _pipeline(_Llm(), filters="all"), "filters is 'all'"),
        (lambda out: sf.SemanticDiversityFilter(threshold=1.5), "threshold"),
        (lambda out: sf.WikipediaSource(contact=None) and _wiki(out), "contact"),
        (lambda out: sf.DocumentSource(out / "nothing"), "nothing"),
        (lambda out: sf.LlamaCppGenerator(model=out / "no.gguf").ready(), r"no\.gguf"),
        (lambda out: sf.Run.open(out / "nowhere"), "holds no run"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_paid_for(
    tmp_path: Path, make: Any, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)


def _wiki(out: Path) -> sf.Run:
    return _pipeline(_Llm(), contexts=[sf.WikipediaSource()], tasks=[sf.Summarization()]).run(
        size=2, out=out
    )


def test_a_missing_key_is_said_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        _pipeline(sf.ClaudeGenerator()).run(size=3, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_replies_under_way_when_a_run_stops_are_kept(tmp_path: Path) -> None:
    """Three requests are under way when the fourth is refused: they are paid for, so the ledger has them."""
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
    stopped = _pipeline(llm, tasks=[Riddle()]).run(size=16, out=tmp_path, concurrency=4)
    assert (
        stopped.status == "stopped" and "no more" in stopped.message and len(stopped.dataset) == 6
    )
    again = thai_llm()
    assert _pipeline(again, tasks=[Riddle()]).run(size=16, out=tmp_path).status == "complete"
    assert not {p.user for p in again.calls} & set(asked[:3])


def test_a_task_that_raises_gives_dropped_rows_and_one_without_a_prompt_is_refused(
    tmp_path: Path,
) -> None:
    class Broken(Riddle):
        name = "broken"

        def instructions(self, fields: Any, context: Context) -> list[Instruction]:
            raise IndexError("empty")

    run = _pipeline(tasks=[Riddle(), Broken()]).run(size=12, out=tmp_path / "a")
    assert run.status == "complete" and {r.task for r in run.dataset} == {"riddle"}
    assert run.stats.drops["reply: invalid"] >= 50

    class Silent(Riddle):
        def prompt(self, context: Context, language: sf.Language) -> Any:
            return None

    with pytest.raises(ConfigError, match=r"Task riddle: prompt\(\) fails"):
        _pipeline(_Llm(), tasks=[Silent()]).run(size=2, out=tmp_path / "b")


def test_a_row_belongs_to_the_task_that_asked_for_it(tmp_path: Path) -> None:
    class Misnamed(Riddle):
        def instructions(self, fields: Any, context: Context) -> list[Instruction]:
            return [Instruction("other", fields.question, fields.answer)]

    assert {r.task for r in _pipeline(tasks=[Misnamed()]).run(size=3, out=tmp_path).dataset} == {
        "riddle"
    }


def test_a_filter_that_raises_stops_the_run_resumably(tmp_path: Path) -> None:
    class Faulty:
        def check(self, item: Instruction) -> None:
            raise OSError("no dictionary")

    run = _pipeline(filters=[Faulty()]).run(size=4, out=tmp_path)
    assert run.status == "stopped" and "Faulty raised OSError: no dictionary" in run.message


def test_a_source_that_raises_stops_the_run_resumably(tmp_path: Path) -> None:
    class Faulty:
        def contexts(self, topic: Topic) -> list[Context]:
            raise KeyError("shelf")

    run = _pipeline(contexts=[Faulty()]).run(size=4, out=tmp_path)
    assert run.status == "stopped" and "Faulty raised KeyError" in run.message


def test_an_encoder_that_fails_leaves_the_folder_free(tmp_path: Path) -> None:
    class Failing(LetterEncoder):
        def encode(self, texts: Sequence[str]) -> Any:
            raise RuntimeError("no model")

    llm = _Llm()
    with pytest.raises(Exception, match="no model"):
        _pipeline(llm, diversity=sf.SemanticDiversityFilter(encoder=Failing())).run(
            size=2, out=tmp_path
        )
    assert _pipeline(diversity=None).run(size=2, out=tmp_path).status == "complete"


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
        _pipeline(_Llm(), **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"concurrency": "8"}, {"budget_usd": float("nan")}, {"size": 1.5}]
)
def test_options_of_the_wrong_kind_are_one_line(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        _pipeline(_Llm()).run(**{"size": 2, "out": tmp_path, **options})


def test_a_rejection_in_a_preview_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    llm = sf.OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
    rejecting = Transport(transport=httpx.MockTransport(lambda _: httpx.Response(400)))
    with pytest.raises(TopicsExhaustedError):
        _pipeline(llm).preview(2, transport=rejecting)
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        body = json.loads(request.content)
        schema = body["response_format"]["json_schema"]["schema"]
        reply = thai(Prompt(body["messages"][-1]["content"], schema=schema, seed=1))
        return httpx.Response(
            200, json={"choices": [{"message": {"content": reply.text}, "finish_reason": "stop"}]}
        )

    run = _pipeline(llm).run(
        size=2, out=tmp_path / "run", transport=Transport(transport=httpx.MockTransport(answer))
    )
    assert run.status == "complete" and seen
