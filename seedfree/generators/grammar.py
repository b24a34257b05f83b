"""Grammars for llama.cpp, made from JSON schemas.

The language is GBNF (llama.cpp/grammars/README.md). A grammar admits compact JSON alone: keys in
the schema's order, every string and list bounded, no free white space. A small model that may put
white space between the tokens drifts off in it and never closes the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from os.path import commonprefix
from typing import Any

from seedfree.engine.schema import CONSTRAINTS, closed_schema

__all__ = ["grammar"]

# Where the schema sets no bound: a small model seldom ends a text or a list by itself.
_CHARS = 400
_ITEMS = 20
# However long a text the schema allows.
_LONGEST = 8000
# A grammar cannot compare numbers. Integers of a range up to this size are listed one by one.
_LISTED = 1000
# Characters of a clause at least, and clauses at most: each is an alternative in the grammar.
_CLAUSE = 30
_MOST_CLAUSES = 40
# More options than this are written as a tree: each of them alone would be tried at every token.
_FEW = 20
# llama.cpp refuses what must be repeated more than 2,000 times. It is put together of blocks.
_REPEATED, _BLOCK = 2000, 1000
_COMMA = ' "," '

_COMMON = r"""
first ::= [^"\\\x00-\x20\x7f-\xa0] | escaped
char ::= [^"\\\x00-\x1f\x7f-\x9f] | escaped | "\\n"
escaped ::= "\\" ["\\]
"""


def grammar(
    schema: Mapping[str, Any], *, longest: int = _LONGEST, most: int = _ITEMS, quoted: str = ""
) -> str:
    r"""Returns the grammar of the replies that fit a schema.

    What it admits is valid, except for what no small grammar can hold: `pattern`, `format`,
    `multipleOf`, `uniqueItems`, bounds of fractions, and bounds of integers other than 0, 1, or two
    that are at most 1,000 apart. Strings without `maxLength` end after 400 characters, lists
    without `maxItems` after 20. No string begins with white space. Only `\"`, `\\` and `\n` are
    escaped.

    Args:
        schema: The JSON schema of an object.
        longest: Characters after which every string ends that need not be longer.
        most: Items after which every list ends that need not be longer.
        quoted: A text. A string of the format "verbatim" can only be one of its clauses.

    Raises:
        ConfigError: The schema has a form that `closed_schema` refuses.
    """
    writer = _Writer(longest, most, _clauses(quoted))
    root = writer.value(closed_schema(schema, keep=CONSTRAINTS))
    items = [f"item{n} ::= {item}" for n, item in enumerate(writer.items)]
    return "\n".join([f"root ::= {root}", *items, *writer.rules]) + _COMMON


@dataclass
class _Writer:
    """Writes the rules of one grammar.

    Attributes:
        items: The rules of the lists' items, by number.
        trees: The names of the rules for texts to choose from.
        rules: These rules.
    """

    longest: int
    most: int
    clauses: list[str]
    items: list[str] = field(default_factory=list)
    trees: dict[tuple[str, ...], str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)

    def value(self, node: Mapping[str, Any]) -> str:
        if "anyOf" in node:
            return _any(*map(self.value, node["anyOf"]))
        if "enum" in node:
            return self._one_of(node["enum"])
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
                # Of the bounds only the sign is kept, because fractions cannot be listed. At most
                # six digits of a fraction: a small model would write digits without end.
                low = node.get("minimum", node.get("exclusiveMinimum", -1))
                return f'{_integer({"minimum": min(low, 0)})} ("." [0-9]{{1,6}})?'
            case "boolean":
                return '("true" | "false")'
            case _:
                return '"null"'

    def _one_of(self, values: Sequence[object]) -> str:
        if len(values) <= _FEW:
            return _any(*map(_literal, values))
        return self._tree(tuple(sorted({_json(value) for value in values})))

    def _tree(self, texts: tuple[str, ...]) -> str:
        """Writes texts as a tree of what they have in common from the front.

        Ends that several of them share are one rule.

        Args:
            texts: Sorted, without repetition.
        """
        if texts == ("",):
            return '""'
        if texts not in self.trees:
            # Taken first, so that the rules within get other numbers.
            name = self.trees[texts] = f"tree{len(self.trees)}"
            branches = [list(group) for _, group in groupby(texts, lambda text: text[:1])]
            parts = []
            for branch in branches:
                shared = commonprefix(branch)
                ends = tuple(text.removeprefix(shared) for text in branch)
                parts.append(
                    f"{_quoted(shared)} {self._tree(ends)}" if any(ends) else _quoted(shared)
                )
            self.rules.append(f"{name} ::= {' | '.join(parts)}")
        return self.trees[texts]

    def _list(self, node: Mapping[str, Any]) -> str:
        # llama.cpp limits what may be repeated by its size. A reference to a rule is small,
        # whatever the rule holds.
        self.items.append(self.value(node["items"]))
        item = f"item{len(self.items) - 1}"
        low, high = node.get("minItems", 0), min(node.get("maxItems", _ITEMS), self.most)
        return f'"[" {_times(item, f"({_COMMA}{item})", low, high)} "]"'


def _clauses(text: str) -> list[str]:
    """Cuts a text into stretches of at least 30 characters.

    It is cut at white space, which is where Thai clauses end.
    """
    clauses: list[str] = []
    for word in text.split():
        if clauses and (len(clauses[-1]) < _CLAUSE or len(word) < _CLAUSE // 3):
            clauses[-1] += f" {word}"
        else:
            clauses.append(word)
    return list(dict.fromkeys(clauses))[:_MOST_CLAUSES]


def _any(*options: str) -> str:
    return f"({' | '.join(options)})"


def _literal(value: object) -> str:
    return _quoted(_json(value))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _times(head: str, tail: str, low: int, high: int) -> str:
    """Writes `head` and then `tail` so often that there are `low` to `high` of both."""
    high = max(low, high)
    if high == 0:
        return ""
    several, least, most = head, max(low - 1, 0), high - 1
    while least >= _REPEATED:
        several += f" {tail}{{{_BLOCK}}}"
        least, most = least - _BLOCK, most - _BLOCK
    if most > 0:
        several += f" {tail}{{{least},{most}}}"
    return several if low else f"({several})?"


def _integer(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if "exclusiveMinimum" in node:
        low = node["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in node:
        high = node["exclusiveMaximum"] - 1
    if low is not None and high is not None and 0 <= high - low <= _LISTED:
        return _any(*(f'"{number}"' for number in range(int(low), int(high) + 1)))
    sign, zero = '"-"? ', '"0" | '
    if low is not None and low >= 0:
        sign = ""
    if low is not None and low > 0:
        zero = ""
    # At most nine digits: the number stays below 2^31.
    return f"{sign}({zero}[1-9] [0-9]{{0,8}})"
