"""A task's fields as a JSON schema that every provider takes, and replies read back into them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from seedfree.engine.schema import CONSTRAINTS, closed_schema, find_json, parse
from seedfree.errors import ConfigError, InvalidReplyError

Schema = dict[str, Any]


class Scored(BaseModel):
    title: str
    score: int = Field(3, ge=1, le=5)


class Nested(BaseModel):
    pairs: list[Scored] = Field(min_length=2, description="Two.")
    form: Literal["a", "b"]
    best: Scored | None = None


class Tree(BaseModel):
    children: list[Tree]


class Open(BaseModel):
    words: dict[str, int]


class Anything(BaseModel):
    value: object


class Fixed(BaseModel):
    both: tuple[int, str]


class Bare(BaseModel):
    items: list


def test_references_are_resolved_and_field_names_that_are_keywords_survive() -> None:
    scored = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "score": {"type": "integer", "description": "(maximum 5, minimum 1)"},
        },
        "required": ["title", "score"],
        "additionalProperties": False,
    }
    assert closed_schema(Nested.model_json_schema()) == {
        "type": "object",
        "properties": {
            "pairs": {"type": "array", "items": scored, "description": "Two. (minItems 2)"},
            "form": {"type": "string", "enum": ["a", "b"]},
            "best": {"anyOf": [scored, {"type": "null"}]},
        },
        "required": ["pairs", "form", "best"],
        "additionalProperties": False,
    }


def _field(schema: object) -> Schema:
    return {"type": "object", "properties": {"x": schema}}


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        (Tree.model_json_schema(), "refers to itself"),
        (_field({"$ref": "#"}), "refers to itself"),
        (_field({"$ref": "#/$defs/X"}), "does not hold"),
        (_field({"$ref": "https://x.example/s"}), "does not hold"),
        (Open.model_json_schema(), "words leaves its keys open"),
        (Anything.model_json_schema(), "value accepts anything"),
        (Fixed.model_json_schema(), "both uses prefixItems"),
        (Bare.model_json_schema(), "items"),
        ({"type": "array", "items": {"type": "string"}}, "not an object"),
        (_field(True), "x is not an object"),
        (_field({"allOf": [True]}), "x uses allOf"),
        (_field({"allOf": [None]}), "x uses allOf"),
        ({}, "accepts anything"),
    ],
)
def test_what_no_provider_takes_is_a_clear_error(schema: Schema, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        closed_schema(schema)


# Schemas of any shape, whose fields may be named like keywords of JSON Schema.
names = st.sampled_from(["title", "default", "minimum", "properties", "$ref", "evidence", "คำถาม"])
texts = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(3, 9),
        "pattern": st.just("."),
        "title": st.text(max_size=3),
        "default": st.just(""),
        "description": st.text(max_size=5),
    },
)
numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={"minimum": st.integers(), "multipleOf": st.just(2)},
)
choices = st.fixed_dictionaries({"enum": st.just(["a", None, 1])})
nullable = st.fixed_dictionaries(
    {"type": st.just(["string", "null"])}, optional={"maxLength": st.just(3)}
)


def _objects(fields: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(names, fields, min_size=1, max_size=3)
    return properties.map(lambda p: {"type": "object", "properties": p, "title": "T"})


def _grow(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    some = st.lists(inner, min_size=1, max_size=3)
    length = {"minItems": st.integers(0, 4)}
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional=length),
        some.map(lambda options: {"anyOf": options}),
        some.map(lambda options: {"oneOf": options}),
        inner.map(lambda schema: {"allOf": [schema]}),
        _objects(inner),
    )


leaves = st.one_of(texts, numbers, choices, nullable)
schemas = _objects(st.recursive(leaves, _grow, max_leaves=8))


def _nodes(schema: Schema) -> Iterator[Schema]:
    """Yields every schema inside a schema, but not the maps of fields."""
    yield schema
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        yield from _nodes(inner)
    if "items" in schema:
        yield from _nodes(schema["items"])


ALLOWED = set(
    "type enum const description anyOf properties required additionalProperties items".split()
)


@given(schemas)
def test_every_closed_schema_holds_only_what_providers_take(schema: Schema) -> None:
    before = copy.deepcopy(schema)
    closed = closed_schema(schema)
    assert schema == before
    jsonschema.Draft202012Validator.check_schema(closed)
    for node in _nodes(closed):
        assert set(node) <= ALLOWED
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
    assert closed_schema(closed) == closed


@given(schemas)
def test_constraints_that_a_server_takes_stay(schema: Schema) -> None:
    for node in _nodes(closed_schema(schema, keep=CONSTRAINTS)):
        assert set(node) <= ALLOWED | CONSTRAINTS


class Pair(BaseModel):
    question: str
    answer: str


GOOD = Pair(question="อะไร", answer="ข้าว")


@pytest.mark.parametrize(
    "around",
    [
        "JSON",
        "```json\nJSON\n```",
        "Here you are: JSON I hope it helps {really}",
        '<think>maybe {"question": 1}</think>JSON',
        "In {curly} words: JSON",
        "\ufeff  JSON",
        '<thinking>{"question": 1}</thinking>JSON',
        'Such as {"question": "...", "answer": "..."}: JSON',
        'JSON\n{"done": true}',
    ],
)
def test_an_object_is_found_in_whatever_stands_around_it(around: str) -> None:
    reply = json.dumps(GOOD.model_dump(), ensure_ascii=False)
    assert parse(around.replace("JSON", reply), Pair) == GOOD


@pytest.mark.parametrize(
    ("slip", "answer"),
    [
        ('{"question": "q", "answer": "ข้าว",}', "ข้าว"),
        ('{"question": "q", "answer": "ข้าว" , \n}', "ข้าว"),
        ("{“question”: “q”, “answer”: “เรียก “ข้าว” ก็ได้”}", "เรียก “ข้าว” ก็ได้"),
        ('{"question": "q", "answer": "ข้อ 1\nข้อ 2\tจบ"}', "ข้อ 1\nข้อ 2\tจบ"),
        (r'{"question": "q", "answer": "มุม \alpha กับ \beta",}', r"มุม \alpha กับ \beta"),
        (r'{"question": "q", "answer": "$a \neq b$ $\nu \to \tau$"}', r"$a \neq b$ $\nu \to \tau$"),
        (r'{"question": "q", "answer": "\frac{1}{2} \times \theta"}', r"\frac{1}{2} \times \theta"),
        (r'{"question": "q", "answer": "\\frac{1}{2} C:\\temp"}', r"\frac{1}{2} C:\temp"),
        (r'{"question": "q", "answer": "$5\nand $6\nto\tpay\nu"}', "$5\nand $6\nto\tpay\nu"),
        ('{"question": "q", "answer": "a, ] b,}"}', "a, ] b,}"),
    ],
)
def test_slips_that_leave_no_doubt_are_mended(slip: str, answer: str) -> None:
    assert parse(slip, Pair) == Pair(question="q", answer=answer)


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
        assert isinstance(find_json(text, dict), dict)
    except InvalidReplyError:
        pass


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.lists(st.booleans())),
    st.text(alphabet="ก \n`"),
)
def test_every_object_comes_back_as_it_was(value: dict[str, object], around: str) -> None:
    assert find_json(around + json.dumps(value) + around, dict) == value
