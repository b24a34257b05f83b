"""Doubtful rows go to an LLM, whose word counts only with a quotation that stands there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from seedfree.records import Check, Context, Instruction, Prompt, Reply, Selection, Topic, Usage
from tests.fakes import FakeClock, Library, Riddle, published, small_pipeline, thai

Answer = Callable[[Prompt, dict[str, Any]], Any]
RULE = "mine: odd word"


class Doubt:
    """Doubts every row of one task, or all."""

    def __init__(self, *suspicions: sf.Suspicion, task: str = "riddle") -> None:
        self.suspicions, self.task = suspicions, task

    def check(self, item: Instruction) -> list[sf.Suspicion]:
        first = sf.Suspicion(RULE, "odd", (item.output[:12],))
        return list(self.suspicions or [first]) if item.task == self.task else []


def is_appeal(prompt: Prompt) -> bool:
    return "verdicts" in (prompt.json_schema or {}).get("properties", {})


def verdict(prompt: Prompt, *, rule: str = RULE, supported: bool = True, quotation: str) -> Reply:
    verdicts = [{"rule": rule, "quotation": quotation, "supported": supported}]
    return Reply(json.dumps({"verdicts": verdicts}, ensure_ascii=False), Usage(10, 10))


def answer_of(prompt: Prompt) -> str:
    """Returns the answer that an appeal shows, between the last two delimiters."""
    return prompt.user.split("<document id=")[3].partition("\n")[2].partition("\n</document")[0]


def llm(answer: Callable[[Prompt], Reply], **settings: Any) -> sf.FunctionGenerator:
    def reply(prompt: Prompt) -> Reply:
        return answer(prompt) if is_appeal(prompt) else thai(prompt)

    return sf.FunctionGenerator(reply, name="thai", **settings)


def asked_of(generator: sf.FunctionGenerator) -> list[Prompt]:
    return [prompt for prompt in generator.calls if is_appeal(prompt)]


def doubting(generator: Any, **changes: Any) -> sf.Pipeline:
    return small_pipeline(generator, **{"filters": [Doubt()], **changes})


def quoting(prompt: Prompt) -> Reply:
    return verdict(prompt, quotation=answer_of(prompt)[:20])


def test_a_quotation_that_stands_in_the_row_overturns_a_doubt(tmp_path: Path) -> None:
    generator = llm(quoting)
    run = doubting(generator).run(size=8, out=tmp_path)
    riddles = [row for row in run.dataset if row.task == "riddle"]
    assert run.status == "complete" and len(riddles) == 4
    assert all(row.checks == (Check(RULE, "odd", "overturned"),) for row in riddles)
    assert all(row.checks == () for row in run.dataset if row.task != "riddle")
    assert run.stats.checks[RULE]["overturned"] == run.stats.checks[RULE]["raised"] >= 4
    # One request for each doubtful row, counted and named.
    assert run.stats.stages["appeal"]["requests"] == len(asked_of(generator))
    assert "odd word" in (tmp_path / "README.md").read_text("utf-8")


def refused(prompt: Prompt) -> Reply:
    return Reply("ไม่", Usage(10, 10), stop_reason="refusal")


UPHELD: dict[str, Callable[[Prompt], Reply]] = {
    "unsupported": lambda p: verdict(p, supported=False, quotation=answer_of(p)),
    "no quotation": lambda p: verdict(p, quotation=""),
    "invented": lambda p: verdict(p, quotation="ถ้อยคำที่ไม่มีในแถว"),
    "one letter": lambda p: verdict(p, quotation=answer_of(p)[:1]),
    "partly invented": lambda p: verdict(p, quotation=f"{answer_of(p)[:20]}\nไม่มีบรรทัดนี้"),
    "another rule": lambda p: Reply(
        json.dumps(
            {
                "verdicts": [
                    {"rule": "x", "quotation": answer_of(p), "supported": True},
                    {"rule": "y", "quotation": answer_of(p), "supported": True},
                ]
            }
        ),
        Usage(1, 1),
    ),
    "no verdict": lambda p: Reply('{"verdicts": []}', Usage(1, 1)),
    "not JSON": lambda p: Reply("แถวนี้ดี", Usage(1, 1)),
    "refused": refused,
}


@pytest.mark.parametrize("answer", UPHELD.values(), ids=UPHELD)
def test_anything_else_upholds_it(answer: Callable[[Prompt], Reply], tmp_path: Path) -> None:
    run = doubting(llm(answer), tasks=[Riddle(), sf.Summarization()]).run(size=4, out=tmp_path)
    lost = [row for row in run.dropped if row.reason == f"{RULE} (odd)"]
    assert lost and all(row.checks == (Check(RULE, "odd", "upheld"),) for row in lost)
    assert {row.task for row in run.dataset} == {"summarization"}
    assert run.stats.checks[RULE]["upheld"] == run.stats.checks[RULE]["raised"] == len(lost)


def test_all_doubts_of_a_row_go_in_one_request(tmp_path: Path) -> None:
    doubts = [sf.Suspicion("a: b", words=("x",)), sf.Suspicion("c: d"), sf.Suspicion("a: b", "z")]
    generator = llm(UPHELD["no verdict"])
    pipeline = doubting(generator, filters=[Doubt(*doubts[:1]), Doubt(*doubts[1:])])
    run = pipeline.run(size=4, out=tmp_path)
    checks = (Check("a: b", "z", "upheld"), Check("c: d", "", "upheld"))
    lost = [row for row in run.dropped if row.checks]
    assert lost and all(row.checks == checks and row.reason == "a: b (z)" for row in lost)
    assert all("- a: b — " in p.user and "- c: d — " in p.user for p in asked_of(generator))
    assert run.stats.stages["appeal"]["asked"] == len(lost)


def test_a_text_about_the_context_is_settled_by_the_context_alone(tmp_path: Path) -> None:
    def from_row(prompt: Prompt) -> Reply:
        return verdict(prompt, quotation=answer_of(prompt)[:20])

    def from_text(prompt: Prompt) -> Reply:
        text = prompt.user.split("<document id=")[1].partition("\n")[2]
        return verdict(prompt, quotation=text[:20])

    doubt = Doubt(sf.Suspicion(RULE, settled_by="context"), task="summarization")
    for answer, outcome in ((from_row, "upheld"), (from_text, "overturned")):
        run = doubting(llm(answer), filters=[doubt]).run(size=4, out=tmp_path / outcome)
        assert run.stats.checks[RULE][outcome] == run.stats.checks[RULE]["raised"] > 0


class Facts:
    def check(self, item: Instruction) -> str | None:
        return "mine: wrong" if item.task == "riddle" else None


def test_a_fact_drops_a_row_without_a_request(tmp_path: Path) -> None:
    generator = llm(quoting)
    run = doubting(generator, filters=[Doubt(), Facts()]).run(size=4, out=tmp_path)
    assert {row.reason for row in run.dropped if row.task == "riddle"} == {"mine: wrong"}
    assert not asked_of(generator) and not run.stats.checks


def test_without_an_appeal_a_doubt_drops_the_row(tmp_path: Path) -> None:
    generator = llm(quoting)
    asked = []

    class Costly:
        async def check(self, item: Instruction) -> None:
            asked.append(item.task)

    pipeline = doubting(generator, appeal=None, filters=[Doubt(), Costly()])
    run = pipeline.run(size=4, out=tmp_path)
    assert any(row.reason == f"{RULE} (odd)" for row in run.dropped)
    # Filters after the doubt are not asked about a row that is lost.
    assert not asked_of(generator) and set(asked) == {"summarization"}


def test_a_base_model_is_not_asked(tmp_path: Path) -> None:
    generator = llm(quoting)
    generator.base = True  # type: ignore[attr-defined]
    run = doubting(generator).run(size=4, out=tmp_path)
    assert not asked_of(generator) and run.stats.checks[RULE]["upheld"]


def test_another_model_may_be_asked_and_is_counted_by_itself(tmp_path: Path) -> None:
    writer, other = llm(refused, price=1.0), llm(quoting, price=2.0)
    other.identity = "reader"
    run = doubting(writer, appeal=other).run(size=4, out=tmp_path, budget_usd=1.0)
    assert not asked_of(writer) and run.stats.models["reader"]["requests"] == len(other.calls) > 0
    assert run.stats.stages["appeal"]["usd"] == pytest.approx(run.stats.models["reader"]["usd"])


@pytest.mark.parametrize("value", ["other", 3, sf.FunctionGenerator])
def test_a_wrong_appeal_is_refused(value: Any) -> None:
    with pytest.raises(sf.ConfigError, match="appeal"):
        doubting(None, appeal=value)


@pytest.mark.parametrize("value", [2, -1, True, "1"])
def test_a_wrong_number_of_repairs_is_refused(value: Any) -> None:
    with pytest.raises(sf.ConfigError, match="repair is"):
        doubting(None, repair=value)


def test_a_doubt_stands_where_the_budget_is_spent(tmp_path: Path) -> None:
    spent = (
        doubting(llm(quoting, price=1.0))
        .run(clock=FakeClock(), size=4, out=tmp_path / "whole")
        .stats.price_usd
    )
    assert spent
    run = doubting(llm(quoting, price=1.0)).run(
        clock=FakeClock(), size=4, out=tmp_path / "short", budget_usd=spent / 2, concurrency=1
    )
    assert run.status == "stopped"
    again = doubting(llm(quoting, price=1.0)).run(clock=FakeClock(), size=4, out=tmp_path / "short")
    assert published(again.path) == published(tmp_path / "whole")


def test_a_run_that_goes_on_asks_nobody_twice_and_publishes_the_same(tmp_path: Path) -> None:
    first = doubting(llm(quoting)).run(clock=FakeClock(), size=8, out=tmp_path, concurrency=3)
    files = published(tmp_path)
    never = llm(quoting)
    again = doubting(never).run(clock=FakeClock(), size=8, out=tmp_path)
    assert never.calls == [] and published(tmp_path) == files
    assert again.stats.checks == first.stats.checks
    larger = doubting(llm(quoting)).run(clock=FakeClock(), size=16, out=tmp_path)
    assert larger.status == "complete"
    # However it came about, it is the same data set.
    whole = doubting(llm(quoting)).run(
        clock=FakeClock(), size=16, out=tmp_path / "whole", concurrency=64
    )
    assert published(whole.path) == published(tmp_path)


def test_only_rows_that_passed_are_compared(tmp_path: Path) -> None:
    compared = []

    class Compare:
        def select(self, items: Sequence[Instruction]) -> Selection:
            compared.extend(items)
            nothing = [-1] * len(items)
            return Selection(list(range(len(items))), nothing, [float("nan")] * len(items))

    run = doubting(llm(refused), diversity=Compare()).run(size=4, out=tmp_path)
    assert run.stats.checks[RULE]["upheld"]
    assert {item.task for item in compared} == {"summarization"}


def test_a_rule_that_is_mostly_wrong_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "seedfree"):
        doubting(llm(quoting)).run(size=8, out=tmp_path / "few")
        assert RULE not in caplog.text
        doubting(llm(quoting)).run(size=44, out=tmp_path / "many")
    assert f"{RULE}: " in caplog.text and "overturned" in caplog.text


# Numbers.

PAGE = "สร้างเมื่อ พ.ศ. 2475 และรื้อใน พ.ศ. 2500 มีเสาหกต้น ยาว 1,200 เมตร กว้าง 3 เมตร"
NUMBER = "grounding: number not in the context"


class Page:
    def contexts(self, topic: Topic) -> list[Context]:
        return [Context(PAGE)]


@pytest.mark.parametrize(
    ("words", "quotation", "outcome"),
    [
        (["25"], "พ.ศ. 2475 และรื้อใน พ.ศ. 2500\n2500 - 2475 = 25", "overturned"),
        (["25"], "พ.ศ. 2475\nพ.ศ. 2500\n2500 − 2475 = 25", "overturned"),
        (["3600"], "ยาว 1,200 เมตร กว้าง 3 เมตร\n1,200 × 3 = 3600", "overturned"),
        (["6"], "มีเสาหกต้น", "overturned"),
        (["28"], "พ.ศ. 2475 พ.ศ. 2500\nกว้าง 3 เมตร\n2500 - 2475 = 25, 25 + 3 = 28", "upheld"),
        (["28"], "พ.ศ. 2475\nพ.ศ. 2500\nกว้าง 3 เมตร\n2500 - 2475 = 25, 25 + 3 = 28", "overturned"),
        (["1200"], "ยาว 1,200 เมตร", "overturned"),
        (["26"], "พ.ศ. 2475 และรื้อใน พ.ศ. 2500\n2500 - 2475 = 26", "upheld"),
        (["77"], "พ.ศ. 2475 และรื้อใน พ.ศ. 2500", "upheld"),
        (["77"], "ยาว 1,200 เมตร\n80 - 3 = 77", "upheld"),
        (["77"], "2500 - 2423 = 77", "upheld"),
        (["77"], "ยาว 1,200 เมตร\n9 ** 9 ** 9 ** 9 = 77", "upheld"),
        (["77"], "ยาว 1,200 เมตร\n1200 / 0 = 77", "upheld"),
        (["25", "77"], "พ.ศ. 2475 และรื้อใน พ.ศ. 2500\n2500 - 2475 = 25", "upheld"),
    ],
)
def test_a_number_needs_its_passages_and_the_operation(
    words: list[str], quotation: str, outcome: str, tmp_path: Path
) -> None:
    doubt = Doubt(
        sf.Suspicion(NUMBER, words=tuple(words), settled_by="context"), task="summarization"
    )
    generator = llm(lambda prompt: verdict(prompt, rule=NUMBER, quotation=quotation))
    pipeline = doubting(generator, contexts=[Page()], filters=[doubt], tasks=[sf.Summarization()])
    run = pipeline.run(size=1, out=tmp_path)
    assert run.stats.checks[NUMBER][outcome] == run.stats.checks[NUMBER]["raised"] > 0


# Repair.


def repairing(answer: Callable[[Prompt], Reply]) -> sf.FunctionGenerator:
    """Upholds every doubt; `answer` writes the rows that are asked for again."""

    def reply(prompt: Prompt) -> Reply:
        if is_appeal(prompt):
            return refused(prompt)
        return answer(prompt) if RULE in prompt.user else thai(prompt)

    return sf.FunctionGenerator(reply, name="thai")


class Long(Doubt):
    """Doubts riddles that are not mended."""

    def check(self, item: Instruction) -> list[sf.Suspicion]:
        return [] if item.instruction.startswith("ใหม่") else super().check(item)


def mended(prompt: Prompt) -> Reply:
    question = f"ใหม่ {thai(prompt).text[20:60]}"
    return Reply(json.dumps({"question": question, "answer": question[::-1]}), Usage(1, 1))


def test_a_row_whose_doubts_hold_is_asked_for_once_more(tmp_path: Path) -> None:
    generator = repairing(mended)
    pipeline = doubting(generator, filters=[Long()], tasks=[Riddle()], repair=1)
    run = pipeline.run(size=4, out=tmp_path)
    assert run.status == "complete"
    assert all(row.instruction.startswith("ใหม่") for row in run.dataset)
    kept = {row.id for row in run.dataset}
    first = [row for row in run.dropped if row.repaired_by in kept]
    # The pair may serve as a preference: both answer the same request.
    assert len(first) >= len(kept) and all(row.reason == f"{RULE} (odd)" for row in first)
    assert run.stats.stages["repair"]["asked"] >= 4
    asked = [p for p in generator.calls if RULE in p.user and not is_appeal(p)]
    assert all("<document id=" in prompt.user for prompt in asked)
    files, never = published(tmp_path), repairing(mended)
    doubting(never, filters=[Long()], tasks=[Riddle()], repair=1).run(size=4, out=tmp_path)
    assert never.calls == [] and published(tmp_path) == files


@pytest.mark.parametrize("answer", [thai, refused], ids=["doubtful again", "refused"])
def test_a_row_that_cannot_be_mended_is_lost(
    answer: Callable[[Prompt], Reply], tmp_path: Path
) -> None:
    pipeline = doubting(repairing(answer), filters=[Long()], repair=1)
    run = pipeline.run(size=4, out=tmp_path)
    assert {row.task for row in run.dataset} == {"summarization"}
    assert all(row.repaired_by is None for row in run.dropped)


class Finished(Riddle):
    """Makes nothing of a riddle that was mended."""

    def instructions(self, fields: Any, context: sf.Context) -> list[Instruction]:
        return [] if fields.question.startswith("ใหม่") else super().instructions(fields, context)


def test_a_repair_that_gives_no_row_loses_the_row_alone(tmp_path: Path) -> None:
    tasks = [Finished(), sf.Summarization()]
    pipeline = doubting(repairing(mended), filters=[Long()], tasks=tasks, repair=1)
    run = pipeline.run(size=4, out=tmp_path)
    assert {row.task for row in run.dataset} == {"summarization"}
    assert all(row.repaired_by is None for row in run.dropped)


def test_nothing_is_repaired_unless_it_is_asked_for(tmp_path: Path) -> None:
    run = doubting(repairing(mended), filters=[Long()]).run(size=4, out=tmp_path)
    assert "repair" not in run.stats.stages


def test_checks_come_back_from_the_files(tmp_path: Path) -> None:
    run = doubting(llm(quoting), contexts=[Library()]).run(size=4, out=tmp_path)
    path = tmp_path / "copy.jsonl"
    run.dataset.to_jsonl(path)
    assert sf.Dataset.from_jsonl(path) == run.dataset
    assert any(row.checks for row in sf.Dataset.from_jsonl(path))
