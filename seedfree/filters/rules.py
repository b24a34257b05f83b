"""Drops rows that can be seen to be broken without knowing what they say.

Everything works on characters, so that languages written without spaces need no segmenter. The
limits are set so that of paragraphs of Thai Wikipedia, taken as answers, less than one in two
hundred is dropped.

`RuleFilter` is at the top. Below it stand its checks in the order in which a text meets them, each
with the expressions and limits that belong to it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby

from seedfree.errors import ConfigError, check_types
from seedfree.filters.copies import VALUES, Copies, bare, parsed
from seedfree.filters.endings import cut_off
from seedfree.filters.refusals import refuses, speaks_as_model
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import fold, outside_code, pieces

__all__ = ["RuleFilter"]


@dataclass
class RuleFilter:
    """Drops rows with a turn that is broken, leaked, copied or cut off, or that refuses.

    Attributes:
        instruction_chars, output_chars: Fewest and most characters of each turn.
        distinct: Least share (0 to 1) of different 12-character pieces among all of a text's. Prose
            has more than 0.9, a song with its refrain more than 0.5, a loop next to 0.
    """

    instruction_chars: tuple[int, int] = (6, 8_000)
    output_chars: tuple[int, int] = (2, 16_000)
    distinct: float = 0.35
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)
    _copies: dict[str, Copies] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("instruction_chars", "output_chars"):
            fewest, most = getattr(self, name)
            if not 0 <= fewest <= most:
                raise ConfigError(
                    f"RuleFilter({name}={(fewest, most)}) is no range", hint="Give (fewest, most)."
                )
        if not 0 <= self.distinct <= 1:
            raise ConfigError(
                f"RuleFilter(distinct={self.distinct!r}) is not a share", hint="Use 0 to 1."
            )

    def bind(self, session: Session) -> None:
        self._language = session.language
        # Here and not at the first row, where every thread would build its own.
        self._copies = {session.language.code: Copies(session.language)}

    def check(self, item: Instruction) -> str | None:
        """Returns the first reason to drop a row."""
        language = language_of(item, self._language)
        if language.code not in self._copies:
            self._copies[language.code] = Copies(language)
        for text in item.questions:
            if reason := self._flaw(text, self.instruction_chars, language):
                return f"rules: {reason} (instruction)"
        for text in item.answers:
            if reason := self._flaw(text, self.output_chars, language):
                return f"rules: {reason} (output)"
        # A user may say what a model may not: refuse, or end in the middle.
        for text in item.answers:
            if refuses(text, language):
                return "rules: refusal"
            if bare(text) == bare(item.instruction):
                return "rules: answer repeats the question"
            if ending := cut_off(text, language):
                return f"rules: cut off ({ending})"
        return None

    def _flaw(self, text: str, limits: tuple[int, int], language: Language) -> str | None:
        """Names what neither a question nor an answer may have."""
        if reason := _size(text, limits):
            return reason
        if _has_broken_characters(text):
            return "broken characters"
        if reason := _leak(text):
            return reason
        if _has_markup(text):
            return "markup"
        if reason := self._copies[language.code].find(text):
            return reason
        return "repetition" if _repeats(text, self.distinct) else None


def _size(text: str, limits: tuple[int, int]) -> str | None:
    fewest, most = limits
    if not any(char.isalnum() for char in text):
        return "empty"
    length = len(text.strip())
    if length < fewest:
        return "too short"
    if length > most:
        return "too long"
    return None


def _has_broken_characters(text: str) -> bool:
    """Finds replacement, private and control characters, and marks that nobody could have typed.

    Such marks stand without a letter, three times the same, or seven on one letter.
    """
    # A class with ranges beyond U+FFFF is searched range by range, forty times slower.
    wide = max(text, default="") > "\uffff"
    return _broken_pattern(wide).search(text) is not None


@cache
def _broken_pattern(wide: bool) -> re.Pattern[str]:
    last = sys.maxunicode if wide else 0xFFFF
    category = [unicodedata.category(chr(code)) for code in range(last + 1)]
    mark, bad = _ranges(category, {"Mn", "Me"}), _ranges(category, {"Co", "Cs"})
    control = r"\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    return re.compile(rf"[{control}{bad}]|\A[{mark}]|[\n\t ][{mark}]|([{mark}])\1\1|[{mark}]{{7}}")


def _ranges(category: list[str], wanted: set[str]) -> str:
    """Writes the code points of some categories as the inside of a character class."""
    ranges = []
    for inside, run in groupby(range(len(category)), lambda code: category[code] in wanted):
        if inside:
            codes = list(run)
            ranges.append(f"\\U{codes[0]:08x}-\\U{codes[-1]:08x}")
    return "".join(ranges)


_LEAKED = re.compile(
    # The reply's JSON, whole or as headings.
    r'["“”](?:instruction|output|evidence|rationale|explanation|wrong|pairs|turns)["“”]\s*:'
    r"|^\W{0,4}(?:instruction|evidence|rationale|response)\W{0,3}:"
    # Placeholders that a prompt should have filled in, and the frame around a context.
    rf"|\$(?:{VALUES})\b|\$?\{{\s*(?:{VALUES})\s*\}}"
    r"|</?document\b"
    # Tokens of chat templates.
    r"|<\|[\w ]{1,40}\|?>|<｜[^<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|</s>|</?think>"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask|unused\d+)>",
    re.IGNORECASE | re.MULTILINE,
)
# Every leak has one of these. Most texts have none, and are done with one quick look.
_LEAK_SIGN = re.compile(r"[:$<{[]")


def _leak(text: str) -> str | None:
    """Names what a text should not show: schema, placeholders, chat tokens, the model itself."""
    if text.lstrip().startswith("{") and isinstance(parsed(text), dict):
        return "prompt leaked"
    prose = outside_code(text)
    if _LEAK_SIGN.search(prose) and _LEAKED.search(prose):
        return "prompt leaked"
    return "speaks as a model" if speaks_as_model(prose) else None


_TAGS = (
    "a|abbr|b|big|blockquote|body|br|center|cite|code|dd|del|div|dl|dt|em|font|footer|gallery"
    "|h[1-6]|head|header|hr|html|i|iframe|img|ins|li|link|math|meta|nav|noinclude|nowiki|ol|p|pre"
    "|ref|references|s|script|section|small|span|strong|style|sub|sup|table|tbody|td|th|thead|tr|tt"
    "|u|ul"
)
_MARKUP = re.compile(
    rf"</?(?:{_TAGS})(?:\s[^<>]{{0,300}})?/?>|&(?:nbsp|amp|lt|gt|quot|ndash|mdash|\#\d{{2,6}});"
    r"|\[\[|\]\]|\{\{|\}\}|^\{\||^\|\}|'''|\{\\displaystyle|^={2,6}[^=\n]+={2,6}\s*$",
    re.IGNORECASE | re.MULTILINE,
)
# As with leaks, one quick look tells most texts to be without.
_MARKUP_SIGN = re.compile(r"[<&[\]{}|'=]")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)


def _has_markup(text: str) -> bool:
    """Finds HTML, wiki markup or half a code fence. Markdown may stand, with code in its marks."""
    if len(_FENCE.findall(text)) % 2 == 1:
        return True
    return bool(_MARKUP_SIGN.search(text) and _MARKUP.search(outside_code(text)))


_GRAM = 12
_ONE_CHAR = re.compile(r"([^\W\d_]|[!?])\1{14,}")
_LOOP = re.compile(r"(.{2,80}?)\1{5,}", re.DOTALL)
# A loop of 40 characters or more has at least 24 pieces of 12 characters that came before.
_LOOP_CHARS, _LOOP_PIECES = 40, 24
_DOTS = re.compile(r"([^\w\s])\1{3,}")


def _repeats(text: str, distinct: float) -> bool:
    # Rows of dots and dashes draw a line or a table, and repeat nothing that was said.
    folded = _DOTS.sub(r"\1\1\1", fold(outside_code(text)))
    total = max(len(folded) - _GRAM + 1, 0)
    different = len(set(pieces(folded, _GRAM)))
    # The share says little of a shorter text.
    if total >= 5 * _GRAM and different < distinct * total:
        return True
    if _ONE_CHAR.search(folded):
        return True
    # The search for loops is slow, and most texts have too few repeated pieces to hold one.
    if total - different < _LOOP_PIECES:
        return False
    # Rules of a table repeat without saying anything twice, so a loop has a letter in it.
    return any(
        len(loop[0]) >= _LOOP_CHARS and any(char.isalpha() for char in loop[1])
        for loop in _LOOP.finditer(folded)
    )
