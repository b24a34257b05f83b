from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from seedfree.engine.schema import find_json, parse
from seedfree.errors import InvalidReplyError


class Pair(BaseModel):
    question: str
    answer: str


GOOD = {"question": "อะไร", "answer": "ข้าว"}


@pytest.mark.parametrize(
    "wrap",
    [
        "{}",
        "```json\n{}\n```",
        "Here you are: {} I hope it helps {{really}}",
        '<think>maybe {{"question": 1}}</think>{}',
        "In {{curly}} words: {}",
        "\ufeff  {}",
    ],
)
def test_an_object_is_found_in_whatever_stands_around_it(wrap: str) -> None:
    text = (
        wrap.replace("{}", json.dumps(GOOD, ensure_ascii=False))
        .replace("{{", "{")
        .replace("}}", "}")
    )
    assert parse(text, Pair) == Pair(question="อะไร", answer="ข้าว")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        '["question"]',
        '{"question": "a"}',
        '{"question": "a", "answer": 1}',
        '{"question": "a", "answer": NaN}',
        '{"question": "a", "answer": "b"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"question": ' + "9" * 10_000 + ', "answer": "b"}',
        "{" * 2_000_000,
    ],
)
def test_anything_else_is_an_invalid_reply(text: str) -> None:
    with pytest.raises(InvalidReplyError) as caught:
        parse(text, Pair)
    assert len(str(caught.value)) < 400


@given(st.text() | st.text(alphabet='{}[]":,\\ntrue0.eE-', max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        assert isinstance(find_json(text), dict)
    except InvalidReplyError:
        pass


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.lists(st.booleans())),
    st.text(alphabet="ก \n`"),
)
def test_every_object_comes_back_as_it_was(value: dict[str, object], around: str) -> None:
    assert find_json(around + json.dumps(value) + around) == value
