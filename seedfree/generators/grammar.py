"""JSON schema to GBNF, llama.cpp's grammar language (llama.cpp/grammars/README.md).

The grammar admits compact JSON alone: keys in the schema's order, every string and list bounded, no
free white space. A small model that may put white space between the tokens drifts off in it and
never closes the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seedfree.engine.schema import CONSTRAINTS, closed_schema

__all__ = ["grammar"]

_CHARS = 400
_LONGEST = 8000
_ITEMS = 20
_LISTED = 1000
_CLAUSE = 30
_MOST_CLAUSES = 40
_COMMA = ' "," '

_COMMON = r"""
first ::= [^"\\\x00-\x20\x7f-\xa0] | escaped
char ::= [^"\\\x00-\x1f\x7f-\x9f] | escaped | "\\n"
escaped ::= "\\" ["\\]
"""


def grammar(
    schema: Mapping[str, Any], *, longest: int = _LONGEST, most: int = _ITEMS, quoted: str = ""
) -> str:
    r"""The grammar of the replies that fit a schema.

    What it admits is valid, except for what no small grammar can hold: `pattern`, `format`,
    `multipleOf`, `uniqueItems`, bounds of fractions, and bounds of integers other than 0, 1, or two
    that are at most 1,000 apart. Strings without `maxLength` end after 400 characters, lists
    without `maxItems` after 20. No string begins with white space; only `\"`, `\\` and `\n` are
    escaped.

    Args:
        schema: Of an object.
        longest: Characters after which every string ends that need not be longer.
        most: Items after which every list ends that need not be longer.
        quoted: A text; a string of the format "verbatim" can only be one of its clauses.

    Raises:
        ConfigError: The schema has a form that `closed_schema` refuses.
    """
    writer = _Writer(longest, most, _clauses(quoted))
    root = writer.value(closed_schema(schema, keep=CONSTRAINTS))
    return (
        "\n".join(
            [f"root ::= {root}", *(f"item{n} ::= {item}" for n, item in enumerate(writer.items))]
        )
        + _COMMON
    )


@dataclass
class _Writer:
    longest: int
    most: int
    clauses: list[str]
    items: list[str] = field(default_factory=list)

    def value(self, node: Mapping[str, Any]) -> str:
        if "anyOf" in node:
            return _any(*map(self.value, node["anyOf"]))
        if "enum" in node:
            return _any(*map(_literal, node["enum"]))
        if "const" in node:
            return _literal(node["const"])
        match node["type"]:
            case "object":
                pairs = (
                    f'{_literal(key)} ":" {self.value(value)}'
                    for key, value in node["properties"].items()
                )
                return f'"{{" {_COMMA.join(pairs)} "}}"'
            case "array":
                return self._list(node)
            case "string" if node.get("format") == "verbatim" and self.clauses:
                return _any(*map(_literal, self.clauses))
            case "string":
                low, high = node.get("minLength", 0), node.get("maxLength", _CHARS)
                return rf'"\"" {_times("first", "char", low, min(high, self.longest))} "\""'
            case "integer":
                return _integer(node)
            case "number":
                low = node.get("minimum", node.get("exclusiveMinimum", -1))
                return f'{_integer({"minimum": min(low, 0)})} ("." [0-9]{{1,6}})?'
            case "boolean":
                return '("true" | "false")'
            case _:
                return '"null"'

    def _list(self, node: Mapping[str, Any]) -> str:
        # llama.cpp limits what may be repeated by its size; a reference to a rule is small whatever
        # the rule holds.
        self.items.append(self.value(node["items"]))
        item = f"item{len(self.items) - 1}"
        low, high = node.get("minItems", 0), min(node.get("maxItems", _ITEMS), self.most)
        return f'"[" {_times(item, f"({_COMMA}{item})", low, high)} "]"'


def _clauses(text: str) -> list[str]:
    """The text in stretches of at least 30 characters, cut at white space, which is where Thai clauses end."""
    found: list[str] = []
    for word in text.split():
        if found and (len(found[-1]) < _CLAUSE or len(word) < _CLAUSE // 3):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return list(dict.fromkeys(found))[:_MOST_CLAUSES]


def _any(*options: str) -> str:
    return f"({' | '.join(options)})"


def _literal(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _times(head: str, tail: str, low: int, high: int) -> str:
    high = max(low, high)
    if high == 0:
        return ""
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
