from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context, Instruction
from seedfree.tasks.multiple_choice import MultipleChoice

ANSWER = {
    "evidence": "แคนทำจากไม้ซาง",
    "question": "แคนทำจากอะไร",
    "correct": "ไม้ซาง",
    "wrong": ["หวาย", "ใบตาล", "ไม้สัก"],
    "explanation": "ลำแคนเป็นไม้ซาง",
}


def row(position: int = 0, seed: int = 0, language: str = "th", **changes: Any) -> Instruction:
    task = MultipleChoice()
    context = Context(text="แคนทำจากไม้ซาง", language=language, seed=seed, position=position)
    return next(task.instructions(task.Fields.model_validate({**ANSWER, **changes}), context))


def test_the_published_form() -> None:
    item = row()
    question, choices = item.instruction.split("\n\n")
    explanation, answer = item.output.split("\n\n")
    labelled = dict(line.split(". ") for line in choices.splitlines())
    assert (question, explanation) == (ANSWER["question"], ANSWER["explanation"])
    assert item.input == ""
    assert list(labelled) == ["ก", "ข", "ค", "ง"]
    assert sorted(labelled.values()) == sorted(["ไม้ซาง", "หวาย", "ใบตาล", "ไม้สัก"])
    label = next(k for k, v in labelled.items() if v == "ไม้ซาง")
    assert answer == f"คำตอบที่ถูกต้องคือ {label}. ไม้ซาง"


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_positions_are_balanced_and_repeatable(seed: int) -> None:
    rows = [row(i, seed) for i in range(400)]
    places = [
        r.instruction.split("\n\n")[1].splitlines().index(r.output.rpartition("คือ ")[2])
        for r in rows
    ]
    assert Counter(places) == {0: 100, 1: 100, 2: 100, 3: 100}
    for start in range(0, 400, 4):
        assert sorted(places[start : start + 4]) == [0, 1, 2, 3]
    assert len({tuple(places[i : i + 4]) for i in range(0, 400, 4)}) > 12
    assert rows == [row(i, seed) for i in range(400)]


def test_wrong_choices_are_shuffled() -> None:
    orders = Counter(row(i).instruction.split("\n\n")[1] for i in range(240))
    assert len(orders) == 24


@pytest.mark.parametrize(
    "wrong",
    [
        ["ไม้ซาง", "หวาย", "ใบตาล"],
        ["หวาย", " หวาย ", "ใบตาล"],
        ["หวาย", "ใบตาล"],
        ["หวาย", "ใบตาล", "?"],
        ["น้ำ", "น้ํา", "ใบตาล"],
        ["1,000 บาท", "1000 บาท", "ใบตาล"],
        ["หวาย", "ห\u200bวาย", "ใบตาล"],
        ["Hu\u1ebf", "Hue\u0302\u0301", "ใบตาล"],
        ["IĞDIR", "Iğdır", "Van"],
        ["ខែ្មរ", "ខ្មែរ", "ថៃ"],
        ["ခုိ", "ခို", "က"],
    ],
)
def test_choices_that_are_not_distinct_are_invalid(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="different choices"):
        row(wrong=wrong)


def test_a_surplus_choice_is_left_out() -> None:
    assert "ไม้ไผ่" not in row(wrong=[*ANSWER["wrong"], "ไม้ไผ่"]).instruction


def test_other_languages_and_a_language_of_ones_own() -> None:
    assert row(language="en").instruction.split("\n\n")[1].startswith("A. ")
    own = replace(Language.load("th"), code="tha-x", labels=("๑", "๒", "๓", "๔"))
    task = MultipleChoice()
    task.bind(SimpleNamespace(language=own))
    (item,) = task.instructions(
        task.Fields.model_validate(ANSWER), Context(text="แคน", language="tha-x")
    )
    assert "๑. " in item.instruction


def test_a_language_with_too_few_labels() -> None:
    few = replace(Language.load("th"), labels=("ก", "ข", "ค"))
    with pytest.raises(ConfigError, match="3 labels"):
        MultipleChoice().prompt(Context(text="แคน"), few)
    with pytest.raises(ConfigError, match="3 labels"):
        MultipleChoice().bind(SimpleNamespace(language=few))


@pytest.mark.parametrize("settings", [{"choices": 1}, {"choices": 7}, {"temperature": 9}])
def test_settings_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        MultipleChoice(**settings)
