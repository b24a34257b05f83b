"""JSON schema to GBNF, llama.cpp's grammar language (llama.cpp/grammars/README.md).

The grammar admits compact JSON alone: keys in the schema's order, every string and list bounded, no free white
space. A small model that may put white space between the tokens drifts off in it and never closes the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seedfree.engine.schema import CONSTRAINTS, closed_schema

__all__ = ["grammar"]

_CHARS = 400
_MOST_CHARS = 2000
_ITEMS = 20
_LISTED = 1000

_RULES = r"""
first ::= [^"\\\x00-\x20\x7f-\xa0] | escaped
char ::= [^"\\\x00-\x1f\x7f-\x9f] | escaped | "\\n"
escaped ::= "\\" ["\\]
"""


def grammar(schema: Mapping[str, Any]) -> str:
    r"""The grammar of the replies that fit a schema.

    What it admits is valid, except for what no small grammar can hold: `pattern`, `format`, `uniqueItems`, the
    bounds of fractions and of integers more than 1,000 apart. Strings without `maxLength` end after 400 characters,
    the longest after 2,000; lists without `maxItems` after 20. Only `\"`, `\\` and `\n` are escaped.

    Raises:
        ConfigError: The schema has a form that `closed_schema` refuses.
    """
    items: list[str] = []
    root = _value(closed_schema(schema, keep=CONSTRAINTS), items)
    return "\n".join([f"root ::= {root}", *(f"item{n} ::= {rule}" for n, rule in enumerate(items))]) + _RULES


def _value(node: Mapping[str, Any], items: list[str]) -> str:
    if "anyOf" in node:
        return _any(*(_value(option, items) for option in node["anyOf"]))
    if "enum" in node:
        return _any(*map(_literal, node["enum"]))
    if "const" in node:
        return _literal(node["const"])
    match node["type"]:
        case "object":
            pairs = (f"{_text(json.dumps(key, ensure_ascii=False) + ':')} {_value(value, items)}"
                     for key, value in node["properties"].items())
            return f'"{{" {_JOIN.join(pairs)} "}}"'
        case "array":
            return _list(node, items)
        case "string":
            return _string(node)
        case "integer":
            return _integer(node)
        case "number":
            return f'{_integer({"minimum": node.get("minimum", node.get("exclusiveMinimum"))})} ("." [0-9]{{1,6}})?'
        case "boolean":
            return '("true" | "false")'
        case _:
            return '"null"'


_JOIN = ' "," '


def _any(*options: str) -> str:
    return f"({' | '.join(options)})"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _literal(value: object) -> str:
    return _text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _string(node: Mapping[str, Any]) -> str:
    low = node.get("minLength", 0)
    high = max(low, min(node.get("maxLength", max(_CHARS, low)), _MOST_CHARS))
    if high == 0:
        return r'"\"\""'
    return rf'"\"" {_times("first", "char", low, high)} "\""'


def _list(node: Mapping[str, Any], items: list[str]) -> str:
    low = node.get("minItems", 0)
    high = max(low, node.get("maxItems", _ITEMS))
    if high == 0:
        return '"[]"'
    # A rule of its own: llama.cpp unrolls a repetition, and a repetition of repetitions is soon more than it takes.
    rule = _value(node["items"], items)
    item = f"item{len(items)}"
    items.append(rule)
    some = _times(item, f'("," {item})', low, high)
    return f'"[" {some} "]"'


def _times(head: str, tail: str, low: int, high: int) -> str:
    some = head if high == 1 else f"{head} {tail}{{{max(low - 1, 0)},{high - 1}}}"
    return some if low else f"({some})?"


def _integer(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if "exclusiveMinimum" in node:
        low = node["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in node:
        high = node["exclusiveMaximum"] - 1
    if low is not None and high is not None and 0 <= high - low <= _LISTED:
        return _any(*(f'"{number}"' for number in range(int(low), int(high) + 1)))
    sign = "" if low is not None and low >= 0 else '"-"? '
    zero = "" if low is not None and low > 0 else '"0" | '
    return f"{sign}({zero}[1-9] [0-9]{{0,8}})"
