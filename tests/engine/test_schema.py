import copy
from typing import Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from seedfree.engine.schema import CONSTRAINTS, closed_schema
from seedfree.errors import ConfigError


class Pair(BaseModel):
    title: str
    score: int = Field(3, ge=1, le=5)


class Pairs(BaseModel):
    pairs: list[Pair] = Field(min_length=2, description="Two.")
    form: Literal["a", "b"]
    best: Pair | None = None


class Tree(BaseModel):
    children: list["Tree"]


def test_references_are_resolved_and_field_names_that_are_keywords_survive():
    pair = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "score": {"type": "integer", "description": "(maximum 5, minimum 1)"},
        },
        "required": ["title", "score"],
        "additionalProperties": False,
    }
    assert closed_schema(Pairs.model_json_schema()) == {
        "type": "object",
        "properties": {
            "pairs": {"type": "array", "items": pair, "description": "Two. (minItems 2)"},
            "form": {"type": "string", "enum": ["a", "b"]},
            "best": {"anyOf": [pair, {"type": "null"}]},
        },
        "required": ["pairs", "form", "best"],
        "additionalProperties": False,
    }


class Open(BaseModel):
    words: dict[str, int]


class Anything(BaseModel):
    value: object


class Fixed(BaseModel):
    both: tuple[int, str]


class Bare(BaseModel):
    items: list


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        (Tree.model_json_schema(), "refers to itself"),
        ({"type": "object", "properties": {"x": {"$ref": "#"}}}, "refers to itself"),
        ({"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}}, "does not hold"),
        ({"type": "object", "properties": {"x": {"$ref": "https://x.example/s"}}}, "does not hold"),
        (Open.model_json_schema(), "words leaves its keys open"),
        (Anything.model_json_schema(), "value accepts anything"),
        (Fixed.model_json_schema(), "both uses prefixItems"),
        (Bare.model_json_schema(), "items"),
        ({"type": "array", "items": {"type": "string"}}, "not an object"),
        ({"type": "object", "properties": {"x": True}}, "x is not an object"),
        ({}, "accepts anything"),
    ],
)
def test_what_no_provider_takes_is_a_clear_error(schema, match):
    with pytest.raises(ConfigError, match=match):
        closed_schema(schema)


names = st.sampled_from(["title", "default", "minimum", "properties", "$ref", "evidence", "คำถาม"])
leaves = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(3, 9),
            "pattern": st.just("."),
            "title": st.text(max_size=3),
            "default": st.just(""),
            "description": st.text(max_size=5),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={"minimum": st.integers(), "multipleOf": st.just(2)},
    ),
    st.fixed_dictionaries({"enum": st.just(["a", None, 1])}),
    st.fixed_dictionaries(
        {"type": st.just(["string", "null"])}, optional={"maxLength": st.just(3)}
    ),
)


def _grow(inner):
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 4)}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"oneOf": options}),
        inner.map(lambda one: {"allOf": [one]}),
        objects(inner),
    )


def objects(inner):
    return st.dictionaries(names, inner, min_size=1, max_size=3).map(
        lambda fields: {"type": "object", "properties": fields, "title": "T"}
    )


schemas = objects(st.recursive(leaves, _grow, max_leaves=8))


def nodes(schema):
    """Every schema inside a schema, but not the maps of fields."""
    yield schema
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        yield from nodes(inner)
    if "items" in schema:
        yield from nodes(schema["items"])


ALLOWED = {
    "type",
    "enum",
    "const",
    "description",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
}


@given(schemas)
def test_every_closed_schema_holds_only_what_providers_take(schema):
    before = copy.deepcopy(schema)
    closed = closed_schema(schema)
    assert schema == before
    jsonschema.Draft202012Validator.check_schema(closed)
    for node in nodes(closed):
        assert set(node) <= ALLOWED
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
    assert closed_schema(closed) == closed


@given(schemas)
def test_constraints_that_a_server_takes_stay(schema):
    for node in nodes(closed_schema(schema, keep=CONSTRAINTS)):
        assert set(node) <= ALLOWED | CONSTRAINTS
