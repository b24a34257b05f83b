"""A language's words of numbers, and words that stand beside numbers, ready to be looked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from seedfree.filters.figures import FIGURES
from seedfree.languages import Language
from seedfree.languages.checks import NUMBER_KEY
from seedfree.text import fold

__all__ = ["LETTER", "SIGN", "NumberWord", "NumberWords", "number_words"]

LETTER = r"[^\W\d_]"
# Ethiopic figures are no decimal digits: each has its value, and the last two multiply.
SIGN = "[\u1369-\u137c]"
_NEVER = re.compile(r"(?!)")


class NumberWord(NamedTuple):
    """A word of numbers: its value, and which neighbour it multiplies."""

    value: Decimal
    multiplies_before: bool = False
    multiplies_after: bool = False


@dataclass(frozen=True)
class NumberWords:
    """The words of numbers of a language, ready to be looked for in folded text."""

    values: Mapping[str, NumberWord]
    token: re.Pattern[str]
    word: re.Pattern[str]
    joints: frozenset[str]
    months: tuple[re.Pattern[str], ...]
    beside: Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]]
    is_spaced: bool


def number_words(language: Language) -> NumberWords:
    """Returns the words of a language, compiled once."""
    # A language holds mappings and has no hash.
    table = tuple((kind, tuple(words)) for kind, words in language.numbers.items())
    return _compiled(table, language.segmenter == "space")


@lru_cache(maxsize=32)
def _compiled(table: tuple[tuple[str, tuple[str, ...]], ...], is_spaced: bool) -> NumberWords:
    values: dict[str, NumberWord] = {}
    lists: dict[str, list[str]] = {}
    for kind, words in table:
        key = NUMBER_KEY.fullmatch(kind)
        folded = list(map(fold, words))
        if key is None:
            lists[kind] = folded
            continue
        values |= dict.fromkeys(folded, NumberWord(Decimal(key[2]), bool(key[1]), bool(key[3])))
    joints = frozenset(f" {joint} " for joint in lists.get("joint", ()))
    if not is_spaced:
        joints |= frozenset(lists.get("joint", ()))
    start, end = (f"(?<!{LETTER})", r"(?![^\W_])") if is_spaced else ("", "")
    any_word = f"(?:{_any(values)})"
    tokens = [FIGURES, SIGN]
    if lists.get("lookalikes"):
        other = _any(lists["lookalikes"])
        any_word = f"(?!{other}){any_word}"
        tokens.append(f"(?P<other>{other})")
    if values:
        tokens.append(f"(?P<word>{start}(?:{any_word})++{end})")
    return NumberWords(
        values=values,
        is_spaced=is_spaced,
        token=re.compile("|".join(tokens)),
        word=re.compile(any_word) if values else _NEVER,
        joints=joints,
        months=tuple(
            re.compile(f"{start}(?:{_any(names.split('|'))}){end}")
            for names in lists.get("months", ())
        ),
        beside={
            kind: _beside(kind, lists.get(kind, []), start, end)
            for kind in ("dates", "units", "counted", "years", "hours")
        },
    )


def _any(words: Mapping[str, object] | list[str]) -> str:
    """Writes an expression for any of the words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _beside(
    kind: str, words: list[str], start: str, end: str
) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Writes expressions for the words of a kind before and after a number."""
    if not words:
        return _NEVER, _NEVER
    any_word = _any(words)
    # Between two numbers a word of a date belongs to the second ("7 in 2020"), any other to the
    # first: in "3 kg 5 people" the 5 is no weight.
    first, last = r"(?<!\d)(?<!\d )", ""
    if kind == "dates":
        first, last = "", r"(?![ .]*\d)"
    return (
        re.compile(f"{first}{start}(?:{any_word})[ .:(]*$"),
        re.compile(f"[ .)'/-]*({any_word}){end}{last}"),
    )
