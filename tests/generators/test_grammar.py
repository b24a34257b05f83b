"""The grammars admit what the schema admits, in compact form, and nothing else."""

import json
import re
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from seedfree.errors import ConfigError
from seedfree.generators.grammar import grammar

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{\d+,\d+\}|[a-z0-9]+|[()|?]|\s+')
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)", re.DOTALL)


def _char(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] == "x" and len(code) == 3 else code


def _as_regex(gbnf: str) -> re.Pattern[str]:
    """Reads a grammar as a regular expression, which it is, because ours know no recursion."""
    rules = dict(line.split(" ::= ", 1) for line in gbnf.strip().splitlines())

    def convert(body: str) -> str:
        parts, at = [], 0
        while at < len(body):
            token = _TOKEN.match(body, at)
            assert token, body[at : at + 20]
            at, text = token.end(), token[0]
            if text[0] == '"':
                parts.append(f"(?:{re.escape(_ESCAPE.sub(_char, text[1:-1]))})")
            elif text in ("(", ")", "|", "?") or text[0] in "[{":
                parts.append("(?:" if text == "(" else text)
            elif not text.isspace():
                parts.append(f"(?:{convert(rules[text])})")
        return "".join(parts)

    return re.compile(convert(rules["root"]))


class _Colour(Enum):
    RED = "แดง"
    QUOTED = 'a "b" \\ c'


_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.just((str, Field())),
    st.tuples(st.integers(0, 3), st.integers(0, 6)).map(
        lambda n: (str, Field(min_length=n[0], max_length=sum(n)))
    ),
    st.tuples(st.integers(-30, 30), st.integers(0, 40)).map(
        lambda n: (int, Field(ge=n[0], lt=n[0] + n[1] + 1))
    ),
    st.sampled_from(
        [(int, Field(ge=0)), (int, Field(gt=0)), (int, Field()), (float, Field()), (bool, Field())]
    ),
    st.sampled_from(
        [(str | None, Field()), (_Colour, Field()), (Literal["a\nb", 1, True], Field())]
    ),
)


def _model(fields: dict[str, Any]) -> Any:
    return create_model("Model", **{f"field{i}": value for i, value in enumerate(fields.values())})


def _models(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    model = st.lists(children, min_size=1, max_size=3).map(lambda c: _model(dict(enumerate(c))))
    lists = st.tuples(model, st.integers(0, 2), st.integers(0, 2)).map(
        lambda m: (list[m[0]], Field(min_length=m[1], max_length=m[1] + m[2]))
    )
    return (
        model.map(lambda m: (m, Field()))
        | model.map(lambda m: (m | None, Field(default=None)))
        | lists
    )


_SCHEMAS = st.lists(st.recursive(_LEAVES, _models, max_leaves=4), min_size=1, max_size=3).map(
    lambda children: _model(dict(enumerate(children)))
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(_SCHEMAS, st.data())
def test_what_the_grammar_admits_is_valid_and_compact(
    model: type[BaseModel], data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(_as_regex(grammar(model.model_json_schema())), fullmatch=True))
    model.model_validate_json(text)
    assert not re.search(r"[\x00-\x1f]", text)
    assert not re.search(r"\s", re.sub(r'"(?:\\.|[^"\\])*"', "", text))


class _Turn(BaseModel):
    user: str
    assistant: str = Field(max_length=2000)


class _Talk(BaseModel):
    turns: list[_Turn] = Field(min_length=1, max_length=3)
    score: int = Field(ge=1, le=10)
    mood: _Colour | None


@settings(max_examples=60)
@given(
    st.builds(
        _Talk,
        turns=st.lists(
            st.builds(_Turn, user=st.text(max_size=400), assistant=st.text(max_size=600)),
            min_size=1,
            max_size=3,
        ),
    )
)
def test_a_valid_value_in_compact_form_is_admitted_unless_a_text_holds_controls(
    talk: _Talk,
) -> None:
    texts = [text for turn in talk.turns for text in (turn.user, turn.assistant)]
    plain = not any(
        re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]|\A[\s\x00-\x20\x7f-\xa0]", text) for text in texts
    )
    admitted = _as_regex(grammar(_Talk.model_json_schema())).fullmatch(talk.model_dump_json())
    assert bool(admitted) == plain


@settings(max_examples=60)
@given(st.sets(st.text('กขค"\\\n ', max_size=6), min_size=21, max_size=60), st.data())
def test_many_texts_to_choose_from_are_a_tree_of_just_these(
    texts: set[str], data: st.DataObject
) -> None:
    pattern = _as_regex(grammar(_object({"x": {"type": "string", "enum": sorted(texts)}})))
    for text in texts:
        assert pattern.fullmatch(json.dumps({"x": text}, ensure_ascii=False, separators=(",", ":")))
    assert json.loads(data.draw(st.from_regex(pattern, fullmatch=True)))["x"] in texts


def test_texts_that_end_alike_share_their_rules() -> None:
    # As many as a sentence of 60 words has stretches.
    words = [f"w{i} " for i in range(60)]
    spans = ["".join(words[i:j]) for i in range(60) for j in range(i + 1, 61)]
    made = grammar(_object({"x": {"type": "string", "enum": spans}}))
    assert len(spans) == 1830 and len(made) < 60 * 60 < sum(map(len, spans)) / 10


def test_order_of_keys_is_the_schemas() -> None:
    pattern = _as_regex(grammar(_Turn.model_json_schema()))
    assert pattern.fullmatch('{"user":"ก","assistant":"ข"}')
    assert not pattern.fullmatch('{"assistant":"ข","user":"ก"}')
    assert not pattern.fullmatch('{ "user":"ก","assistant":"ข"}')


def test_a_number_has_few_digits() -> None:
    pattern = _as_regex(grammar(_object({"x": {"type": "number"}})))
    assert pattern.fullmatch('{"x":-12.5}') and not pattern.fullmatch('{"x":0.33333333}')


def test_a_longest_text_holds_unless_the_schema_asks_for_more() -> None:
    text = {"type": "string", "maxLength": 50}
    pattern = _as_regex(grammar(_object({"x": text, "y": text | {"minLength": 5}}), longest=3))
    assert pattern.fullmatch('{"x":"กกก","y":"กกกกก"}')
    assert not pattern.fullmatch('{"x":"กกกก","y":"กกกกก"}')
    assert not pattern.fullmatch('{"x":"","y":"กกกกกก"}')


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize("length", [1, 1999, 2000, 2001, 2002, 3001, 4500, 8000])
def test_what_must_be_repeated_is_never_longer_than_llama_takes(length: int) -> None:
    text = {"type": "string", "minLength": length, "maxLength": length}
    made = grammar(_object({"a": text}))
    (rule,) = re.findall(r"root ::= .*", made)
    repeats = [[int(n) for n in r.split(",")] for r in re.findall(r"char\{([\d,]+)\}", rule)]
    assert all(repeat[0] < 2000 for repeat in repeats)
    assert 1 + sum(repeat[0] for repeat in repeats) == length
    assert 1 + sum(repeat[-1] for repeat in repeats) == length


def test_an_open_or_recursive_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves its keys open"):
        grammar({"type": "object", "properties": {}})
