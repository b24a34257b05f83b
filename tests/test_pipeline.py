from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import BaseModel

import seedfree as sf
from seedfree.engine.http import Transport
from seedfree.errors import (
    ConfigMismatchError,
    LedgerDamagedError,
    TopicsExhaustedError,
)
from seedfree.records import Context, Instruction, Prompt, Reply, Topic
from tests.fakes import FakeClock, LetterEncoder, sentence, thai, thai_llm


class Riddle(sf.TaskTemplate):
    """A task of one's own: two rows a prompt."""

    name: ClassVar[str] = "riddle"
    rows = 2
    needs_context: ClassVar[bool] = False

    class Fields(BaseModel):
        question: str
        answer: str

    def prompt(self, context: Context, language: sf.Language) -> Prompt:
        assert context.topic is not None
        return Prompt(f"riddle {context.topic.text}", system=language.persona)

    def instructions(self, fields: Any, context: Context) -> list[Instruction]:
        return [
            Instruction("riddle", fields.question, fields.answer),
            Instruction("riddle", fields.answer, fields.question),
        ]


class Folder:
    """A source of one's own."""

    def contexts(self, topic: Topic) -> list[Context]:
        return [Context(text=sentence(topic.text, i, words=40)) for i in range(2)]


def _pipeline(llm: Any = None, **changes: Any) -> sf.Pipeline:
    settings = {
        "contexts": [Folder()],
        "filters": [],
        "diversity": None,
        "tasks": [Riddle(), sf.Summarization()],
    }
    return sf.Pipeline("th", llm or thai_llm(), **{**settings, **changes})


def _files(out: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.glob("*"))
        if p.suffix in (".jsonl", ".md")
    }


def test_a_run_gives_exactly_the_size_in_equal_parts(tmp_path: Path) -> None:
    run = _pipeline().run(size=31, out=tmp_path)
    assert run.status == "complete" and len(run.dataset) == 31 == run.stats.rows
    counts = Counter(row.task for row in run.dataset)
    assert abs(counts["riddle"] - counts["summarization"]) == 1
    assert len({row.id for row in run.dataset}) == 31


def test_every_row_carries_its_origin(tmp_path: Path) -> None:
    run = _pipeline().run(size=20, out=tmp_path)
    for row in run.dataset:
        assert row.language == "th" and row.topic and row.topic_kind in ("general", "cultural")
        assert row.generator == "function:thai" and row.messages[-1].content == row.output
    summary = next(row for row in run.dataset if row.task == "summarization")
    assert summary.source.retrieved_at and summary.input


def test_same_bytes_at_any_concurrency(tmp_path: Path) -> None:
    pipeline = dict(
        filters="default", diversity=sf.SemanticDiversityFilter(encoder=LetterEncoder())
    )
    for n in (1, 7, 64):
        _pipeline(**pipeline).run(size=25, out=tmp_path / str(n), concurrency=n, clock=FakeClock())
    assert _files(tmp_path / "1") == _files(tmp_path / "7") == _files(tmp_path / "64")


@pytest.mark.parametrize(("concurrency", "order"), [(64, 1), (64, 2), (7, 3)])
def test_same_bytes_whatever_the_order_of_completion(
    tmp_path: Path, concurrency: int, order: int
) -> None:
    """The model answers in an order of its own, by letting others go first for a number of turns."""
    rng, answered = random.Random(order), []

    async def whenever(prompt: Prompt) -> Reply:
        for _ in range(rng.randrange(60)):
            await asyncio.sleep(0)
        answered.append(prompt.user)
        return thai(prompt)

    _pipeline(filters="default").run(size=25, out=tmp_path / "a", concurrency=1, clock=FakeClock())
    llm = sf.FunctionGenerator(whenever, name="thai")
    _pipeline(llm, filters="default").run(
        size=25, out=tmp_path / "b", concurrency=concurrency, clock=FakeClock()
    )
    assert [p.user for p in llm.calls] != answered
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_another_seed_gives_other_rows(tmp_path: Path) -> None:
    a = _pipeline().run(size=10, out=tmp_path / "a", seed=0)
    b = _pipeline().run(size=10, out=tmp_path / "b", seed=1)
    assert {r.id for r in a.dataset}.isdisjoint(r.id for r in b.dataset)


def test_a_finished_run_is_opened_without_asking_anything(tmp_path: Path) -> None:
    _pipeline().run(size=12, out=tmp_path, clock=FakeClock())
    before, llm = _files(tmp_path), thai_llm()
    again = _pipeline(llm).run(size=12, out=tmp_path, clock=FakeClock())
    assert llm.calls == [] and _files(tmp_path) == before
    assert [r.id for r in sf.Run.open(tmp_path).dataset] == [r.id for r in again.dataset]


def test_rows_are_judged_again_only_where_code_or_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seedfree.filters.rules import RuleFilter

    judged: list[str] = []

    def picky(self: RuleFilter, item: Instruction) -> str | None:
        judged.append(item.id)
        return "rules: odd" if len(item.output) % 2 else None

    def run(size: int = 12) -> tuple[int, dict[str, str]]:
        judged.clear()
        made = _pipeline(tasks=[sf.Summarization()], filters=[RuleFilter()])
        made.run(size, tmp_path, clock=FakeClock())
        return len(judged), _files(tmp_path)

    monkeypatch.setattr(RuleFilter, "check", picky)
    all_of_them, before = run()
    assert all_of_them > 12 and run() == (0, before)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "code": "another"}))
    assert run() == (all_of_them, before)
    (tmp_path / "dropped.jsonl").write_text(
        (tmp_path / "dropped.jsonl").read_text().replace("rules: odd", "even")
    )
    assert run() == (all_of_them, before)
    more, _ = run(20)
    assert 0 < more < all_of_them
    (tmp_path / "manifest.json").write_text("[]")
    assert run() == (all_of_them, before)


def test_a_larger_size_goes_on_and_pays_only_for_what_is_new(tmp_path: Path) -> None:
    small = thai_llm()
    _pipeline(small).run(size=10, out=tmp_path)
    more, whole = thai_llm(), thai_llm()
    run = _pipeline(more).run(size=40, out=tmp_path)
    _pipeline(whole).run(size=40, out=tmp_path / "whole")
    assert len(run.dataset) == 40 and len(more.calls) + len(small.calls) <= len(whole.calls) + 2


def test_a_stopped_run_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    _pipeline().run(size=30, out=tmp_path / "whole", clock=FakeClock())
    left = iter(range(13))

    def failing(prompt: Prompt) -> Reply:
        if next(left, None) is None:
            raise RuntimeError("down")
        return thai(prompt)

    stopped = _pipeline(sf.FunctionGenerator(failing, name="thai")).run(
        size=30, out=tmp_path / "cut", concurrency=3
    )
    assert stopped.status == "stopped" and "down" in stopped.message
    assert 0 < len(stopped.dataset) < 30
    assert all(isinstance(row.output, str) for row in stopped.dataset)
    resumed = _pipeline().run(size=30, out=tmp_path / "cut", clock=FakeClock())
    assert resumed.status == "complete" and _files(tmp_path / "cut")[
        "dataset.jsonl"
    ] == _rows_without_time(tmp_path)


def _rows_without_time(tmp_path: Path) -> str:
    """The hash of the whole run's rows, with the times that the cut run's ledger kept."""
    kept = {r.id: r.source.retrieved_at for r in sf.Run.open(tmp_path / "cut").dataset}
    rows = []
    for line in (tmp_path / "whole" / "dataset.jsonl").read_text().splitlines():
        row = json.loads(line)
        row["source"]["retrieved_at"] = kept[row["id"]]
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def test_settings_that_decide_the_data_cannot_change_in_a_folder(tmp_path: Path) -> None:
    _pipeline().run(size=4, out=tmp_path)
    llm = thai_llm()
    with pytest.raises(ConfigMismatchError) as caught:
        _pipeline(llm, cultural_share=0.1).run(size=4, out=tmp_path, seed=3)
    assert set(caught.value.fields) == {"cultural_share", "seed"} and llm.calls == []
    assert "reuse" in str(caught.value)


def test_replies_of_another_run_are_taken_over(tmp_path: Path) -> None:
    _pipeline().run(size=10, out=tmp_path / "a")
    llm = thai_llm()
    run = _pipeline(llm).run(size=10, out=tmp_path / "b", reuse=[tmp_path / "a"])
    assert llm.calls == [] and len(run.dataset) == 10


def test_a_preview_is_paid_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    llm = thai_llm()
    preview = _pipeline(llm).preview(4)
    assert len(preview) == 4 and f"{preview.run.stats.requests} requests paid for" in repr(preview)
    paid = len(llm.calls)
    _pipeline(llm).run(size=4, out=tmp_path / "run")
    assert len(llm.calls) == paid


def test_an_estimate_grows_with_the_size_and_has_an_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    llm = sf.FunctionGenerator(thai, name="thai", price=(1.0, 2.0))
    small, large = (_pipeline(llm).estimate(n) for n in (100, 1000))
    assert large.requests == pytest.approx(10 * small.requests, rel=0.01)
    assert small.low_usd is not None and small.price_usd is not None and small.high_usd is not None
    assert 0 < small.low_usd < small.price_usd < small.high_usd


def test_filters_and_the_diversity_filter_say_why(tmp_path: Path) -> None:
    class Odd:
        def check(self, item: Instruction) -> str | None:
            return "odd: first letter (ข)" if item.instruction.startswith("ข") else None

    class Twins:
        def select(self, items: Sequence[Instruction]) -> sf.Selection:
            import numpy as np

            kept = np.arange(0, len(items), 2)
            of = np.array([i - 1 if i % 2 else -1 for i in range(len(items))])
            return sf.Selection(kept, of, np.where(of >= 0, 0.97, np.nan))

    run = _pipeline(filters=[Odd()], diversity=Twins()).run(size=20, out=tmp_path)
    assert len(run.dataset) == 20 and {"odd: first letter", "diversity: near-duplicate"} <= set(
        run.stats.drops
    )
    twin = next(d for d in run.dropped if d.reason.startswith("diversity"))
    known = {r.id for r in run.dataset} | {d.id for d in run.dropped}
    assert twin.duplicate_of in known and twin.similarity == 0.97
    assert sum(run.stats.drops.values()) == len(run.dropped)


def test_a_reply_that_cannot_be_used_is_a_dropped_row(tmp_path: Path) -> None:
    def moody(prompt: Prompt) -> Reply:
        turn = hash_of(prompt.user) % 4 if prompt.user.startswith("riddle") else 3
        return [Reply("no", stop_reason="refusal"), Reply("{"), thai(prompt), thai(prompt)][turn]

    run = _pipeline(sf.FunctionGenerator(moody)).run(size=30, out=tmp_path)
    assert (
        run.status == "complete"
        and run.stats.drops["reply: refused"]
        and run.stats.drops["reply: invalid"]
    )


def hash_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def test_topics_that_run_dry_end_a_run_short(tmp_path: Path) -> None:
    run = _pipeline(topics=["ข้าว", "ปลา", "วัด"]).run(size=100, out=tmp_path)
    assert run.status == "short" and "topics ran dry" in run.message and 0 < len(run.dataset) < 100
    assert {r.topic_kind for r in run.dataset} == {"given"}


def test_a_barren_task_is_closed_and_the_others_fill_its_place(tmp_path: Path) -> None:
    class Barren(Riddle):
        name = "barren"

        def instructions(self, fields: Any, context: Context) -> list[Instruction]:
            return []

    run = _pipeline(tasks=[Riddle(), Barren()]).run(size=30, out=tmp_path)
    assert run.status == "complete" and {r.task for r in run.dataset} == {"riddle"}


def test_a_model_without_topics_is_an_error(tmp_path: Path) -> None:
    silent = sf.FunctionGenerator(lambda _: "{}", name="silent")
    with pytest.raises(TopicsExhaustedError):
        _pipeline(silent).run(size=5, out=tmp_path)


def test_the_budget_holds(tmp_path: Path) -> None:
    llm = sf.FunctionGenerator(thai, name="thai", price=1000.0)
    run = _pipeline(llm).run(size=500, out=tmp_path, budget_usd=2.0, concurrency=2)
    assert run.status == "stopped" and "budget" in run.message
    price = thai(llm.calls[-1]).usage
    assert run.stats.price_usd is not None
    assert (
        2.0
        <= run.stats.price_usd
        <= 2.0 + 2 * 2 * (price.input_tokens + price.output_tokens) / 1000
    )


def test_a_failing_server_stops_the_run_resumably(tmp_path: Path) -> None:
    llm = sf.OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
    transport = Transport(transport=httpx.MockTransport(lambda _: httpx.Response(503)))
    run = _pipeline(llm).run(size=5, out=tmp_path, clock=FakeClock(), transport=transport)
    assert run.status == "stopped" and "503" in run.message and len(run.dataset) == 0


def test_a_cut_ledger_is_noticed(tmp_path: Path) -> None:
    import sqlite3

    _pipeline().run(size=8, out=tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM entries WHERE n > 10")
    connection.close()
    with pytest.raises(LedgerDamagedError):
        _pipeline().run(size=8, out=tmp_path)


def test_the_manifest_names_every_file_by_its_hash(tmp_path: Path) -> None:
    run = _pipeline().run(size=6, out=tmp_path)
    assert run.manifest["files"] == _files(tmp_path) and run.manifest["rows"] == 6
    assert "function\\:thai" in (tmp_path / "README.md").read_text()


def test_async_callers_and_notebooks(tmp_path: Path) -> None:
    async def inside_a_loop() -> tuple[sf.Run, sf.Run]:
        awaited = await _pipeline().arun(size=4, out=tmp_path / "a")
        return awaited, _pipeline().run(size=4, out=tmp_path / "b")

    a, b = asyncio.run(inside_a_loop())
    assert [r.id for r in a.dataset] == [r.id for r in b.dataset]


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """The generator interrupts its own process, as a terminal would, once some rows are there."""
    code = f"""
import os, signal, sys
from tests.test_pipeline import _pipeline, sf, thai
asked = []
def fn(prompt):
    asked.append(prompt)
    if len(asked) == 14:
        os.kill(os.getpid(), signal.SIGINT)
    return thai(prompt)
try:
    _pipeline(sf.FunctionGenerator(fn, name="thai")).run(size=40, out={str(tmp_path)!r}, concurrency=2)
except KeyboardInterrupt:
    sys.exit(130)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    stopped = sf.Run.open(tmp_path)
    assert (
        stopped.status == "stopped"
        and "interrupted" in stopped.message
        and 0 < len(stopped.dataset) < 40
    )
    llm = thai_llm()
    assert _pipeline(llm).run(size=40, out=tmp_path).status == "complete"
    whole = thai_llm()
    _pipeline(whole).run(size=40, out=tmp_path / "whole")
    assert len(llm.calls) < len(whole.calls)


def test_the_papers_pipeline_has_the_papers_numbers() -> None:
    paper = sf.Pipeline.paper("th", thai_llm(), contact="me@uni.example")
    settings = paper.settings()
    assert paper.topic_limit == 2000 and paper.cultural_share == 0.5 and paper.filters == []
    assert settings["diversity"]["threshold"] == 0.95 and settings["diversity"]["fields"] == "paper"
    assert (
        settings["contexts"][0]["results"] == 15
        and settings["contexts"][0]["random_fallback"] is True
    )
    temperatures = {t["kind"].rpartition(".")[2]: t["temperature"] for t in settings["tasks"]}
    assert temperatures == {
        "ClosedQA": 0.3,
        "Summarization": 0.35,
        "Conversation": 0.8,
        "MultipleChoice": 0.4,
        "Brainstorming": 0.8,
    }
    assert settings["tasks"][0]["pairs"] == 5
