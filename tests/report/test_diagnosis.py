"""Nothing is found in a healthy run, and in a sick one the sickness alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedfree.records import Check, Source
from tests.report.runs import SETTINGS, TASKS, lost, row, sample, write_run

KEPT, DROPPED = sample(80)


def found(folder: Path, kept: Any = KEPT, dropped: Any = DROPPED, **values: Any) -> list[str]:
    return [each.name for each in write_run(folder, kept, dropped, **values).diagnose()]


def test_a_healthy_run_has_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    few = {"doubt": {"raised": 19, "upheld": 0, "overturned": 19}}
    assert (
        found(tmp_path, checks=few, stages={"appeal": {"asked": 19, "lost": {"invalid": 19}}}) == []
    )


def test_a_handful_of_rows_says_nothing_yet(tmp_path: Path) -> None:
    assert found(tmp_path, KEPT[:4], [lost(i, "rules: repetition") for i in range(15)]) == []


@pytest.mark.parametrize(
    ("reason", "n", "name"),
    [
        ("rules: repetition (output)", 41, "one rule drops much"),
        ("reply: invalid (no JSON)", 21, "unread replies"),
        ("language: another script", 10, "another language"),
        ("rules: cut off (output)", 5, "answers cut off"),
        ("reply: cut off", 5, "answers cut off"),
        ("diversity: near-duplicate", 10, "near-duplicates"),
        ("diversity: same text", 10, "near-duplicates"),
    ],
)
def test_what_is_lost_too_often_is_named_with_its_rows(
    tmp_path: Path, reason: str, n: int, name: str
) -> None:
    many = [lost(100 + i, reason) for i in range(n)]
    (finding,) = write_run(tmp_path, KEPT, many).diagnose()
    assert finding.name == name and list(finding.rows) == [each.id for each in many]
    # A share just below the limit is nothing.
    assert found(tmp_path, KEPT, many[: n - 2]) == []


def test_surplus_and_rows_beyond_a_cap_are_no_finding(tmp_path: Path) -> None:
    for reason in ("surplus", "diversity: more than 5 rows of a page"):
        assert found(tmp_path, KEPT, [lost(100 + i, reason) for i in range(60)]) == []


def test_kept_rows_in_another_script_are_found_without_the_filter(tmp_path: Path) -> None:
    english = [replace(each, output="Only English words.", messages=()) for each in KEPT[:12]]
    assert found(tmp_path, [*english, *KEPT[12:]]) == ["another language"]


def test_doubts_that_are_mostly_overturned_speak_against_the_rule(tmp_path: Path) -> None:
    checks = (Check("grounding: name", "x", "overturned"),)
    doubted = [replace(each, checks=checks, messages=()) for each in KEPT[:15]]
    counts = {"grounding: name": {"raised": 20, "upheld": 5, "overturned": 15}}
    (finding,) = write_run(tmp_path, [*doubted, *KEPT[15:]], checks=counts).diagnose()
    assert finding.name == "doubts mostly overturned" and "grounding: name" in finding.what
    assert list(finding.rows) == [each.id for each in doubted]
    counts = {"grounding: name": {"raised": 20, "upheld": 10, "overturned": 10}}
    assert found(tmp_path, checks=counts) == []


def test_a_task_that_lags_behind_its_share_is_named(tmp_path: Path) -> None:
    # Sizes stay equal: the other tasks fill up.
    short = [each for each in KEPT if each.task != "open_qa"] + KEPT[2:10:4]
    assert found(tmp_path, short) == ["a task has few rows"]
    settings = {**SETTINGS, "tasks": [*SETTINGS["tasks"], {"kind": "own:Riddle"}]}
    assert found(tmp_path, settings=settings) == ["a task has no rows"]


def test_a_kind_of_topic_that_is_missing_is_named(tmp_path: Path) -> None:
    general = [replace(each, topic_kind="general", messages=()) for each in KEPT]
    assert found(tmp_path, general) == ["few cultural rows"]
    for settings in ({**SETTINGS, "cultural_share": 0.0}, {**SETTINGS, "topics": ["เรือ"]}):
        assert found(tmp_path, general, settings=settings) == []


def test_many_rows_from_one_page_are_found_and_written_texts_are_no_page(tmp_path: Path) -> None:
    page = Source("wikipedia", "เรือ", "https://th.example/boat", license="CC-BY-SA-4.0")
    same = [replace(each, source=page, messages=()) for each in KEPT[:24]]
    run = write_run(tmp_path, [*same, *KEPT[24:]])
    (finding,) = run.diagnose()
    assert finding.name == "many rows from one page" and len(finding.rows) == 24
    written = [replace(each, source=Source("written", "a diary"), messages=()) for each in KEPT]
    assert found(tmp_path, written) == []


def test_a_stage_whose_requests_are_lost_is_named(tmp_path: Path) -> None:
    lost_topics = {"topics": {"asked": 40, "got": 30, "lost": {"invalid": 10}}}
    assert found(tmp_path, stages=lost_topics) == ["lost requests"]
    # A search without a page says nothing of the model, and a task's losses are its rows.
    others = {
        "contexts": {"asked": 40, "lost": {"no page": 30}},
        TASKS[0]: {"asked": 40, "lost": {"invalid": 30}},
    }
    assert found(tmp_path, stages=others) == []


@pytest.mark.parametrize(
    ("question", "answer", "name"),
    [
        ("ช่วยอธิบายเรื่องต่อไปนี้ {i} ?", None, "instructions begin alike"),
        ("{i} เรื่องนี้เป็นอย่างไร", None, "few questions"),
        (None, "ใช่", "answers of one length"),
    ],
)
def test_what_is_monotonous_is_named(
    tmp_path: Path, question: str | None, answer: str | None, name: str
) -> None:
    alike = [
        replace(
            each,
            instruction=question.format(i=f"{i:03}") if question else each.instruction,
            output=answer or each.output,
            messages=(),
        )
        for i, each in enumerate(KEPT)
    ]
    findings = write_run(tmp_path, alike).diagnose()
    assert [each.name for each in findings] == [name]
    assert len(findings[0].rows) == (len(alike) if name == "instructions begin alike" else 0)


def test_every_line_of_the_variety_becomes_a_finding(tmp_path: Path) -> None:
    english = [
        replace(
            each, language="en", output="short words", instruction=f"I am a weaver {i}", messages=()
        )
        for i, each in enumerate(KEPT * 13)
    ]
    cells = [replace(each, facets={"cell": "one"}, messages=()) for each in english]
    run = write_run(tmp_path, cells)
    said = " ".join(each.what for each in run.diagnose()).lower()
    assert len(run.variety.monotonous) >= 5
    assert all(line.lower() in said for line in run.variety.monotonous)


@pytest.mark.parametrize(("status", "name"), [("stopped", "stopped"), ("short", "too few rows")])
def test_an_unfinished_run_says_why(tmp_path: Path, status: str, name: str) -> None:
    run = write_run(tmp_path, KEPT, status=status, message="the topics ran dry", size=100)
    (finding,) = run.diagnose()
    assert finding.name == name and "80 of 100 rows: the topics ran dry." in str(finding)


def test_a_finding_prints_its_property_its_remedy_and_some_rows(tmp_path: Path) -> None:
    many = [lost(100 + i, "diversity: near-duplicate", row(0).id) for i in range(20)]
    (finding,) = write_run(tmp_path, KEPT, many).diagnose()
    first, second, third = str(finding).splitlines()
    assert first.startswith("near-duplicates: 20% of the rows") and "topics_per_request" in second
    assert third.startswith(f"  20 rows: {many[0].id}, ") and third.endswith(" …")


def test_a_language_of_the_users_own_is_no_obstacle(tmp_path: Path) -> None:
    own = [replace(each, language="nod", messages=()) for each in KEPT]
    assert found(tmp_path, own, []) == []
