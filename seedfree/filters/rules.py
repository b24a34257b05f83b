"""Drops rows that can be seen to be broken, and doubts those that look so, by their form alone.

Everything but the last word of a Thai answer works on characters, so that languages written without
spaces need no segmenter. The limits are set so that of paragraphs of Thai Wikipedia, taken as
answers, hardly one in a hundred is dropped or doubted.

`RuleFilter` is at the top. Below it stand its checks in the order in which a text meets them, each
with the expressions and limits that belong to it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby

from seedfree.errors import ConfigError, check_types
from seedfree.filters.copies import Copies, bare, copies_example
from seedfree.filters.endings import cut_off
from seedfree.filters.labels import choices_of, mislabelled
from seedfree.filters.leaks import is_leak, markup_in, possible_leak
from seedfree.filters.refusals import refusal_in, self_reference_in
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Example, Instruction, Suspicion
from seedfree.text import fold, outside_code, pieces

__all__ = ["RuleFilter"]


@dataclass
class RuleFilter:
    """Drops rows with a turn that is empty, broken or leaked, or that is its own question.

    What only a reader can decide is a `Suspicion`: a turn that is short, cut off or copied, repeats
    itself, has markup, refuses, speaks as a model or has a slip of the language.

    Attributes:
        instruction_chars, output_chars: Fewest and most characters of each turn. A single sign may
            be a whole answer ("B", "5") and counts as two.
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

    def check(self, item: Instruction) -> str | list[Suspicion] | None:
        """Returns the first fact for which a row is dropped, or else all that is doubted of it."""
        language = language_of(item, self._language)
        if language.code not in self._copies:
            self._copies[language.code] = Copies(language)
        copies = self._copies[language.code]
        questions = [("instruction", text, self.instruction_chars) for text in item.questions]
        answers = [("output", text, self.output_chars) for text in item.answers]
        for where, text, (_, most) in (*questions, *answers):
            if fact := _fact(text, most, language, copies):
                return f"rules: {fact} ({where})"
        if any(bare(text) == bare(item.instruction) for text in item.answers):
            return "rules: answer repeats the question"
        if mislabelled(item):
            return "rules: a choice under the label of another"
        doubts = [
            Suspicion(f"rules: {phrase}", where, (words,))
            for where, text, (fewest, _) in (*questions, *answers)
            for phrase, words in self._doubts(text, fewest, language, item.examples)
        ]
        # A user may say what a model may not: refuse, slip, or end in the middle.
        for text in item.answers:
            doubts += _doubts_of_answer(text, language, item)
        return doubts or None

    def _doubts(
        self, text: str, fewest: int, language: Language, examples: Iterable[Example]
    ) -> Iterator[tuple[str, str]]:
        """Yields what neither a question nor an answer should have, each with the words."""
        prose, opening = outside_code(text), text.strip()[:_SHOWN]
        if max(len(text.strip()), 2) < fewest:
            yield "too short", opening
        if leaked := possible_leak(prose):
            yield "prompt leaked", leaked
        if line := self_reference_in(text, language):
            yield "speaks as a model", line
        if markup := markup_in(prose):
            yield "markup", markup
        if copies_example(text, examples):
            yield "copied example", opening
        if _repeats(text, self.distinct):
            yield "repetition", opening


# Most of what a reader is shown of a text, and of its end.
_SHOWN, _END = 300, 60
_FENCE = re.compile(r"^\s*```", re.MULTILINE)


def _fact(text: str, most: int, language: Language, copies: Copies) -> str | None:
    """Names what drops a row whatever it says."""
    if not any(char.isalnum() or unicodedata.category(char) in _SYMBOLS for char in text):
        return "empty"
    if len(text.strip()) > most:
        return "too long"
    if _has_broken_characters(text):
        return "broken characters"
    if is_leak(text, language) or copies.has(text):
        return "prompt leaked"
    # Markdown may stand, with code in its marks, but not half a code block.
    return "markup" if len(_FENCE.findall(text)) % 2 == 1 else None


# Signs that answer a question: `+`, `€`, an emoji.
_SYMBOLS = frozenset({"Sm", "Sc", "So"})


def _doubts_of_answer(text: str, language: Language, item: Instruction) -> Iterator[Suspicion]:
    if line := refusal_in(text, language):
        yield Suspicion("rules: refusal", "output", (line,))
    context = item.context.text if item.context else ""
    given = "\n".join([*item.questions, item.input, context])
    # An answer that ends with one of the choices ends as the choice does.
    ends_with_choice = text.rstrip().endswith(tuple(choices_of(item).values()))
    # What a text does not say is an empty field of what is extracted from it.
    ending = cut_off(text, language, given, fields=item.task == "extract")
    if ending and not ends_with_choice:
        yield Suspicion("rules: cut off", f"{ending}, output", (text.rstrip()[-_END:],))
    if slips := _slips(language.slips, text):
        yield Suspicion("rules: wrong particle", "output", slips)


def _slips(patterns: tuple[str, ...], text: str) -> tuple[str, ...]:
    return tuple(slip[0].strip() for pattern in patterns for slip in re.finditer(pattern, text))


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


_GRAM = 12
_ONE_CHAR = re.compile(r"([^\W\d_]|[!?])\1{14,}")
_LOOP = re.compile(r"(.{2,80}?)\1{5,}", re.DOTALL)
# A loop of 40 characters or more has at least 24 pieces of 12 characters that came before.
_LOOP_CHARS, _LOOP_PIECES = 40, 24
# The last three are signs that say a word again (Thai, Lao, Khmer), of which laughter has many.
_DOTS = re.compile(r"([^\w\s]|[\u0e46\u0ec6\u17d7])\1{3,}")


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
