from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from seedfree._seeds import balanced, seeded
from seedfree.records import Context, Instruction, Message, Prompt, Reply, Topic, altered


def test_a_model_class_becomes_its_schema_at_once() -> None:
    class Fields(BaseModel):
        answer: str

    assert (
        Prompt("q", schema=Fields).schema
        == Fields.model_json_schema()
        == Prompt("q", schema=Fields).json_schema
    )


@given(st.text(alphabet=st.characters(categories=["Cs", "L"]), max_size=30))
def test_replies_hold_no_surrogates_that_a_file_could_not(text: str) -> None:
    Reply(text).text.encode("utf-8")


def test_surrogate_pairs_are_joined_rather_than_lost() -> None:
    assert Reply("\ud83d\ude00\ud83d").text == "😀\ufffd"


def test_messages_are_made_from_the_alpaca_form() -> None:
    row = Instruction("t", "สรุป", "สั้น", input="ยาว")
    assert row.messages == (Message("user", "สรุป\n\nยาว"), Message("assistant", "สั้น"))
    turns = (Message("user", "a"), Message("assistant", "b"))
    assert Instruction("t", "a", "b", messages=turns).messages == turns


def test_questions_and_answers_are_each_told_once_and_without_the_input() -> None:
    turns = [("user", "สรุป\n\nยาว"), ("assistant", "สั้น"), ("user", "สั้นอีก"), ("assistant", "สั้น")]
    messages = tuple(Message(role, text) for role, text in turns)  # type: ignore[arg-type]
    row = Instruction("t", "สรุป", "สั้น", input="ยาว", messages=messages)
    assert row.questions == ["สรุป", "สั้นอีก"]
    assert row.answers == ["สั้น"]
    assert Instruction("t", "สรุป", "สั้น", input="ยาว").questions == ["สรุป"]


def test_an_altered_record_has_a_name_of_its_own() -> None:
    context = Context(text="ก")
    name = context.id
    other = altered(context, text="ข")
    assert other == Context(text="ข")
    assert other.id == Context(text="ข").id != name


def test_records_cannot_be_changed_or_made_wrong() -> None:
    with pytest.raises(AttributeError):
        Topic("ข้าว").text = "ปลา"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Topic("ข้าว", kind="other")  # type: ignore[arg-type]


@given(st.integers(1, 12), st.integers(0, 5), st.integers())
def test_balanced_gives_every_item_once_a_cycle(n: int, cycle: int, salt: int) -> None:
    drawn = Counter(balanced(range(n), cycle * n + i, salt) for i in range(n))
    assert drawn == Counter(range(n))


def test_randomness_belongs_to_the_place_alone() -> None:
    a, b = Context(seed=1, position=2), Context(text="x", seed=1, position=2)
    assert a.random("s").random() == b.random("s").random() != a.random("t").random()
    assert seeded(1, 23).random() != seeded(12, 3).random()
