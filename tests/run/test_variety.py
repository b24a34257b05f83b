"""What lacks variety is said, and what has it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.languages import Language
from seedfree.outcome import Variety
from seedfree.records import Instruction
from seedfree.run.variety import variety
from tests.fakes import WORDS, sentence, small_pipeline

ENGLISH = Language.load("en")


def row(i: int, question: str = "", answer: str = "", **values: str) -> Instruction:
    question = question or f"{sentence(i)} ?"
    return Instruction("open_qa", question, answer or sentence(i, "a", words=12 + 40 * (i % 8)))


def measured(rows: list[Instruction]) -> Variety:
    return variety(rows, ENGLISH)


def test_varied_rows_have_nothing_to_say() -> None:
    figures = measured([row(i) for i in range(80)])
    assert figures.monotonous == [] and figures.question_marks == 1.0
    assert sum(figures.lengths["open_qa"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [
        ("Please tell me about {i}?", "", "begin with"),
        ("{i} tell me more", "", "question mark"),
        ("I am a weaver from {i}. Why?", "", "introduce themselves"),
        ("{i}?", "yes", "one length"),
    ],
)
def test_what_is_alike_is_named(question: str, answer: str, words: str) -> None:
    rows = [row(i, question.format(i=f"{WORDS[i % 30]}{i}"), answer) for i in range(60)]
    assert any(words in line for line in measured(rows).monotonous)
    # A few rows say nothing yet.
    assert measured(rows[:10]).monotonous == []


def test_a_cell_that_holds_too_much_of_a_large_run_is_named() -> None:
    def rows(n: int, cells: int) -> list[Instruction]:
        return [replace(row(i), facets={"cell": f"cell {i % cells}"}) for i in range(n)]

    assert any("one cell" in line for line in measured(rows(1000, 20)).monotonous)
    assert measured(rows(1000, 40)).monotonous == []
    assert measured(rows(400, 2)).largest_cell == 0.5


def test_repeated_words_are_counted() -> None:
    alike = [row(i, answer="the same few words again and again") for i in range(30)]
    apart = [row(i, answer=" ".join(f"w{i}x{k}" for k in range(7))) for i in range(30)]
    assert measured(alike).repeated[2] > 0.9 and measured(apart).repeated == {2: 0.0, 3: 0.0}


def test_no_rows_have_no_variety() -> None:
    assert measured([]).monotonous == [] and measured([]).rows == 0


def test_a_run_and_its_card_say_it(tmp_path: Path) -> None:
    run = small_pipeline().run(size=44, out=tmp_path)
    assert run.variety.rows == 44 and run.variety.cells >= 4
    assert run.variety.facets["form"]
    lines = run.variety.monotonous
    assert lines and "What lacks variety" in (tmp_path / "README.md").read_text("utf-8")
    assert sf.Run.open(tmp_path).variety == run.variety
