"""What a pipeline's run gives, what it asks again, and how it goes on after a stop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import seedfree as sf
from seedfree.engine.http import Transport
from seedfree.errors import ConfigMismatchError, LedgerDamagedError, TopicsExhaustedError
from seedfree.filters.rules import RuleFilter
from seedfree.records import Context, Instruction, Prompt, Reply, Usage
from tests.fakes import (
    FakeClock,
    LetterEncoder,
    Library,
    Riddle,
    VirtualClock,
    published,
    small_pipeline,
    thai,
    thai_llm,
)


def test_a_run_gives_exactly_the_size_in_equal_parts(tmp_path: Path) -> None:
    run = small_pipeline().run(size=31, out=tmp_path)
    assert run.status == "complete" and len(run.dataset) == 31 == run.stats.rows
    counts = Counter(row.task for row in run.dataset)
    assert abs(counts["riddle"] - counts["summarization"]) == 1
    assert len({row.id for row in run.dataset}) == 31


def test_every_row_carries_its_origin(tmp_path: Path) -> None:
    run = small_pipeline().run(size=20, out=tmp_path)
    for row in run.dataset:
        assert row.language == "th" and row.topic and row.topic_kind in ("general", "cultural")
        assert row.generator == "function:thai" and row.messages[-1].content == row.output
    summary = next(row for row in run.dataset if row.task == "summarization")
    assert summary.source.retrieved_at and summary.input


def test_same_bytes_at_any_concurrency(tmp_path: Path) -> None:
    diversity = sf.SemanticDiversityFilter(encoder=LetterEncoder())
    for n in (1, 7, 64):
        pipeline = small_pipeline(filters="default", diversity=diversity)
        pipeline.run(size=25, out=tmp_path / str(n), concurrency=n, clock=FakeClock())
    assert published(tmp_path / "1") == published(tmp_path / "7") == published(tmp_path / "64")


@pytest.mark.parametrize(("concurrency", "order"), [(64, 1), (64, 2), (7, 3)])
def test_same_bytes_whatever_the_order_of_completion(
    tmp_path: Path, concurrency: int, order: int
) -> None:
    """The model answers in its own order: each reply lets the others go first for some turns."""
    rng, answered = random.Random(order), []

    async def whenever(prompt: Prompt) -> Reply:
        for _ in range(rng.randrange(60)):
            await asyncio.sleep(0)
        answered.append(prompt.user)
        return thai(prompt)

    clock, llm = FakeClock(), sf.FunctionGenerator(whenever, name="thai")
    in_order = small_pipeline(filters="default")
    in_order.run(size=25, out=tmp_path / "a", concurrency=1, clock=clock)
    shuffled = small_pipeline(llm, filters="default")
    shuffled.run(size=25, out=tmp_path / "b", concurrency=concurrency, clock=clock)
    assert [p.user for p in llm.calls] != answered
    assert published(tmp_path / "a") == published(tmp_path / "b")


def test_another_seed_gives_other_rows(tmp_path: Path) -> None:
    a = small_pipeline().run(size=10, out=tmp_path / "a", seed=0)
    b = small_pipeline().run(size=10, out=tmp_path / "b", seed=1)
    assert {r.id for r in a.dataset}.isdisjoint(r.id for r in b.dataset)


def test_a_finished_run_is_opened_without_asking_anything(tmp_path: Path) -> None:
    small_pipeline().run(size=12, out=tmp_path, clock=FakeClock())
    before, llm = published(tmp_path), thai_llm()
    again = small_pipeline(llm).run(size=12, out=tmp_path, clock=FakeClock())
    assert llm.calls == [] and published(tmp_path) == before
    assert [r.id for r in sf.Run.open(tmp_path).dataset] == [r.id for r in again.dataset]


def test_rows_are_judged_again_only_where_code_or_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def picky(self: RuleFilter, item: Instruction) -> str | None:
        judged.append(item.id)
        return "rules: odd" if len(item.output) % 2 else None

    def run(size: int = 12) -> tuple[int, dict[str, bytes]]:
        judged.clear()
        pipeline = small_pipeline(tasks=[sf.Summarization()], filters=[RuleFilter()])
        pipeline.run(size, tmp_path, clock=FakeClock())
        return len(judged), published(tmp_path)

    monkeypatch.setattr(RuleFilter, "check", picky)
    manifest, dropped = tmp_path / "manifest.json", tmp_path / "dropped.jsonl"
    all_of_them, before = run()
    assert all_of_them > 12 and run() == (0, before)
    other_code = {**json.loads(manifest.read_text()), "code": "another"}
    manifest.write_text(json.dumps(other_code))
    assert run() == (all_of_them, before)
    dropped.write_text(dropped.read_text().replace("rules: odd", "even"))
    assert run() == (all_of_them, before)
    more, _ = run(20)
    assert 0 < more < all_of_them
    manifest.write_text("[]")
    assert run() == (all_of_them, before)


def test_a_larger_size_goes_on_and_pays_only_for_what_is_new(tmp_path: Path) -> None:
    small = thai_llm()
    small_pipeline(small).run(size=10, out=tmp_path)
    more, whole = thai_llm(), thai_llm()
    run = small_pipeline(more).run(size=40, out=tmp_path)
    small_pipeline(whole).run(size=40, out=tmp_path / "whole")
    # The smaller run may have asked for a little that the larger one needs not.
    assert len(run.dataset) == 40 and len(more.calls) + len(small.calls) <= len(whole.calls) + 2


def test_a_stopped_run_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    small_pipeline().run(size=30, out=tmp_path / "whole", clock=FakeClock())
    left = iter(range(13))  # enough for topics, contexts and some rows

    def failing(prompt: Prompt) -> Reply:
        if next(left, None) is None:
            raise RuntimeError("down")
        return thai(prompt)

    llm = sf.FunctionGenerator(failing, name="thai")
    stopped = small_pipeline(llm).run(size=30, out=tmp_path / "cut", concurrency=3)
    assert stopped.status == "stopped" and "down" in stopped.message
    assert 0 < len(stopped.dataset) < 30
    assert all(isinstance(row.output, str) for row in stopped.dataset)
    resumed = small_pipeline().run(size=30, out=tmp_path / "cut", clock=FakeClock())
    assert resumed.status == "complete"
    # The first part of the cut run had the machine's clock: its ledger kept those times.
    times = {row.id: row.source.retrieved_at for row in resumed.dataset}
    expected = _with_times(tmp_path / "whole" / "dataset.jsonl", times)
    assert (tmp_path / "cut" / "dataset.jsonl").read_text() == expected


def _with_times(dataset: Path, times: dict[str, str | None]) -> str:
    """Returns the text of a published data set with other times of retrieval, by row id."""
    lines = []
    for line in dataset.read_text().splitlines():
        row = json.loads(line)
        row["source"]["retrieved_at"] = times[row["id"]]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def test_settings_that_decide_the_data_cannot_change_in_a_folder(tmp_path: Path) -> None:
    small_pipeline().run(size=4, out=tmp_path)
    llm = thai_llm()
    with pytest.raises(ConfigMismatchError) as caught:
        small_pipeline(llm, cultural_share=0.1).run(size=4, out=tmp_path, seed=3)
    assert set(caught.value.fields) == {"cultural_share", "seed"} and llm.calls == []
    assert "reuse" in str(caught.value)


def test_replies_of_another_run_are_taken_over(tmp_path: Path) -> None:
    small_pipeline().run(size=10, out=tmp_path / "a")
    llm = thai_llm()
    run = small_pipeline(llm).run(size=10, out=tmp_path / "b", reuse=[tmp_path / "a"])
    assert llm.calls == [] and len(run.dataset) == 10


def test_filters_and_the_diversity_filter_say_why(tmp_path: Path) -> None:
    class Odd:
        def check(self, item: Instruction) -> str | None:
            # What stands in brackets is a detail, by which drops are not counted.
            return "odd: first letter (ข)" if item.instruction.startswith("ข") else None

    class Twins:
        """Drops every second row as a duplicate of the one before."""

        def select(self, items: Sequence[Instruction]) -> sf.Selection:
            kept = np.arange(0, len(items), 2)
            of = np.array([i - 1 if i % 2 else -1 for i in range(len(items))])
            return sf.Selection(kept, of, np.where(of >= 0, 0.97, np.nan))

    run = small_pipeline(filters=[Odd()], diversity=Twins()).run(size=20, out=tmp_path)
    assert len(run.dataset) == 20
    assert {"odd: first letter", "diversity: near-duplicate"} <= set(run.stats.drops)
    twin = next(d for d in run.dropped if d.reason.startswith("diversity"))
    known = {r.id for r in run.dataset} | {d.id for d in run.dropped}
    assert twin.duplicate_of in known and twin.similarity == 0.97
    assert sum(run.stats.drops.values()) == len(run.dropped)


def test_a_reply_that_cannot_be_used_is_a_dropped_row(tmp_path: Path) -> None:
    def moody(prompt: Prompt) -> Reply:
        """Refuses a quarter of the riddles and breaks another, by the prompt's hash."""
        if not prompt.user.startswith("riddle"):
            return thai(prompt)
        quarter = hashlib.sha256(prompt.user.encode()).digest()[-1] % 4
        bad = {0: Reply("no", stop_reason="refusal"), 1: Reply("{")}
        return bad.get(quarter) or thai(prompt)

    run = small_pipeline(sf.FunctionGenerator(moody)).run(size=30, out=tmp_path)
    assert run.status == "complete"
    assert run.stats.drops["reply: refused"] and run.stats.drops["reply: invalid"]


def test_topics_that_run_dry_end_a_run_short(tmp_path: Path) -> None:
    run = small_pipeline(topics=["ข้าว", "ปลา", "วัด"]).run(size=100, out=tmp_path)
    assert run.status == "short" and "topics ran dry" in run.message and 0 < len(run.dataset) < 100
    assert {r.topic_kind for r in run.dataset} == {"given"}


def test_a_barren_task_is_closed_and_the_others_fill_its_place(tmp_path: Path) -> None:
    class Barren(Riddle):
        name = "barren"

        def instructions(self, fields: Any, context: Context) -> list[Instruction]:
            return []

    run = small_pipeline(tasks=[Riddle(), Barren()]).run(size=30, out=tmp_path)
    assert run.status == "complete" and {r.task for r in run.dataset} == {"riddle"}


def test_a_model_without_topics_is_an_error(tmp_path: Path) -> None:
    silent = sf.FunctionGenerator(lambda _: "{}", name="silent")
    with pytest.raises(TopicsExhaustedError):
        small_pipeline(silent).run(size=5, out=tmp_path)


def test_the_budget_holds(tmp_path: Path) -> None:
    llm = sf.FunctionGenerator(thai, name="thai", price=1000.0)
    run = small_pipeline(llm).run(size=500, out=tmp_path, budget_usd=2.0, concurrency=2)
    assert run.status == "stopped" and "budget" in run.message
    usage = thai(llm.calls[-1]).usage
    # Two requests, of at most twice the length of the last one, at 1,000 USD a million tokens.
    in_flight = 2 * 2 * (usage.input_tokens + usage.output_tokens) / 1000
    assert run.stats.price_usd is not None
    assert 2.0 <= run.stats.price_usd <= 2.0 + in_flight


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_a_budget_holds_to_within_the_requests_in_flight_and_the_run_goes_on(
    tmp_path: Path, concurrency: int
) -> None:
    def dollar(prompt: Prompt) -> Reply:
        """Answers at the price of one dollar."""
        return Reply(thai(prompt).text, Usage(1_000_000, 0))

    def run(budget: float | None) -> tuple[sf.Run, int]:
        """Runs on with a budget; returns the run and the number of new requests."""
        llm = sf.FunctionGenerator(dollar, name="dollar", price=(1.0, 0.0))
        options = {"concurrency": concurrency, "budget_usd": budget, "clock": FakeClock()}
        return small_pipeline(llm).run(60, tmp_path, **options), len(llm.calls)

    first, paid = run(20)
    assert first.status == "stopped" and "budget" in first.message
    assert 20 <= paid <= 20 + concurrency - 1 and first.stats.price_usd == paid
    second, more = run(20)
    assert second.status == "stopped" and more == 0
    last, _ = run(None)
    assert last.status == "complete"


def test_a_run_goes_on_at_another_pace(tmp_path: Path) -> None:
    for pace in (None, 600, 900):
        llm = thai_llm()
        if pace:
            llm.requests_per_minute = pace  # type: ignore[attr-defined]
        run = small_pipeline(llm).run(size=2, out=tmp_path, clock=VirtualClock())
        assert run.status == "complete"


def test_a_failing_server_stops_the_run_resumably(tmp_path: Path) -> None:
    llm = sf.OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
    transport = Transport(transport=httpx.MockTransport(lambda _: httpx.Response(503)))
    run = small_pipeline(llm).run(size=5, out=tmp_path, clock=FakeClock(), transport=transport)
    assert run.status == "stopped" and "503" in run.message and len(run.dataset) == 0


def test_a_cut_ledger_is_noticed(tmp_path: Path) -> None:
    small_pipeline().run(size=8, out=tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM entries WHERE n > 10")
    connection.close()  # the block above commits, and leaves the connection open
    with pytest.raises(LedgerDamagedError):
        small_pipeline().run(size=8, out=tmp_path)


def test_the_manifest_names_every_file_by_its_hash(tmp_path: Path) -> None:
    run = small_pipeline().run(size=6, out=tmp_path)
    hashes = {name: hashlib.sha256(f).hexdigest() for name, f in published(tmp_path).items()}
    assert run.manifest["files"] == hashes and run.manifest["rows"] == 6
    # The card escapes whatever Markdown might read as its own.
    assert "function\\:thai" in (tmp_path / "README.md").read_text()


def test_async_callers_and_notebooks(tmp_path: Path) -> None:
    async def inside_a_loop() -> tuple[sf.Run, sf.Run]:
        awaited = await small_pipeline().arun(size=4, out=tmp_path / "a")
        return awaited, small_pipeline().run(size=4, out=tmp_path / "b")

    a, b = asyncio.run(inside_a_loop())
    assert [r.id for r in a.dataset] == [r.id for r in b.dataset]


def test_no_run_waits_until_another_is_ready(tmp_path: Path) -> None:
    begun, go = threading.Semaphore(0), threading.Event()

    class Slow(Library):
        def ready(self) -> None:
            begun.release()
            assert go.wait(20)

    async def side_by_side() -> list[sf.Run]:
        slow = [small_pipeline(contexts=[Slow()]) for _ in range(2)]
        waiting = [
            asyncio.create_task(slow[0].arun(4, tmp_path / "a")),
            asyncio.create_task(asyncio.to_thread(slow[1].run, 4, tmp_path / "b")),
        ]
        for _ in slow:
            assert await asyncio.to_thread(begun.acquire, timeout=20)
        done = await small_pipeline().arun(4, tmp_path / "c")
        assert not go.is_set()
        go.set()
        return [done, *await asyncio.gather(*waiting)]

    assert [run.status for run in asyncio.run(side_by_side())] == ["complete"] * 3


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """The generator interrupts its own process, as a terminal would, once some rows are there."""
    code = f"""
import os, signal, sys
import seedfree as sf
from tests.fakes import small_pipeline, thai
asked = []
def fn(prompt):
    asked.append(prompt)
    if len(asked) == 14:
        os.kill(os.getpid(), signal.SIGINT)
    return thai(prompt)
llm = sf.FunctionGenerator(fn, name="thai")
try:
    small_pipeline(llm).run(size=40, out={str(tmp_path)!r}, concurrency=2)
except KeyboardInterrupt:
    sys.exit(130)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    stopped = sf.Run.open(tmp_path)
    assert stopped.status == "stopped" and "interrupted" in stopped.message
    assert 0 < len(stopped.dataset) < 40
    llm = thai_llm()
    assert small_pipeline(llm).run(size=40, out=tmp_path).status == "complete"
    whole = thai_llm()
    small_pipeline(whole).run(size=40, out=tmp_path / "whole")
    assert len(llm.calls) < len(whole.calls)


def test_the_papers_pipeline_has_the_papers_numbers() -> None:
    paper = sf.Pipeline.paper("th", thai_llm(), contact="me@uni.example")
    settings = paper.settings()
    assert paper.topic_limit == 2000 and paper.cultural_share == 0.5 and paper.filters == []
    assert settings["diversity"]["threshold"] == 0.95 and settings["diversity"]["fields"] == "paper"
    wikipedia = settings["contexts"][0]
    assert wikipedia["results"] == 15 and wikipedia["random_fallback"] is True
    temperatures = {task["kind"]: task["temperature"] for task in settings["tasks"]}
    assert temperatures == {
        "ClosedQA": 0.3,
        "Summarization": 0.35,
        "Conversation": 0.8,
        "MultipleChoice": 0.4,
        "Brainstorming": 0.8,
    }
    assert settings["tasks"][0]["pairs"] == 5


def test_a_smaller_size_does_not_rewrite_a_larger_data_set(tmp_path: Path) -> None:
    small_pipeline().run(size=12, out=tmp_path)
    whole = published(tmp_path)
    with pytest.raises(sf.ConfigError, match=r"holds 12 rows, more than size=6.*shrink=True"):
        small_pipeline().run(size=6, out=tmp_path)
    assert published(tmp_path) == whole
    assert len(small_pipeline().run(size=6, out=tmp_path, shrink=True).dataset) == 6


def test_good_rows_of_other_tasks_fill_up_where_one_gives_none(tmp_path: Path) -> None:
    class Mute(Riddle):
        name = "mute"

        def instructions(self, fields: Any, context: sf.Context) -> Any:
            raise ValueError("nothing to say")

    for balance, rows in (("fill", 9), ("strict", 6)):
        pipeline = small_pipeline(
            tasks=[Riddle(), sf.ClosedQA(), Mute()],
            topics=[f"เรื่อง {i}" for i in range(6)],
            balance=balance,
        )
        run = pipeline.run(size=9, out=tmp_path / balance)
        assert (len(run.dataset), run.status) == (rows, "complete" if rows == 9 else "short")


def test_what_the_topics_give_at_most_is_said_before_and_in_the_estimate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    caplog.set_level("INFO", "seedfree")
    pipeline = small_pipeline(tasks=[Riddle(), sf.ClosedQA(pairs=2)], topics=["ข้าว", "ปลา"])
    pipeline.run(size=40, out=tmp_path / "run")
    assert caplog.messages[0] == "2 topics give at most 20 rows; 40 are wanted"
    assert "the topics give at most 20 rows" in repr(pipeline.estimate(40, sample=2))


def test_a_status_says_what_is_under_way(tmp_path: Path) -> None:
    class Hurried(FakeClock):
        def monotonic(self) -> float:
            self.seconds += 2  # so that the status is written at every reply
            return self.seconds

    seen: set[str] = set()

    def watch(prompt: sf.Prompt) -> sf.Reply:
        seen.update(json.loads((tmp_path / "status.json").read_text())["under_way"])
        return thai(prompt)

    llm = sf.FunctionGenerator(watch, name="watch")
    small_pipeline(llm).run(size=8, out=tmp_path, clock=Hurried(), concurrency=1)
    assert seen == {"topics", "riddle", "summarization"}


def test_a_preview_may_be_smaller_than_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pipeline = small_pipeline()
    assert [len(pipeline.preview(n)) for n in (6, 2, 6)] == [6, 2, 6]
