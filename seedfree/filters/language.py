"""Drops rows that are not in the language, and doubts those with something of another one.

A text mostly in another script, or in Zawgyi, is a fact. What a reader has to decide is whether a
word, a sentence or a text of another language belongs where it stands. Where a script belongs to
one language, the script tells. Where many share it, statistics do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from seedfree.errors import ConfigError, check_types
from seedfree.filters.foreign import (
    asides_left_out,
    foreign_passages,
    is_passage,
    own_share,
    prose_of,
    strange_words,
)
from seedfree.languages import Language, language_of
from seedfree.languages.identification import is_zawgyi, lacks_marks, other_language
from seedfree.protocols import Session
from seedfree.records import Instruction, Suspicion

__all__ = ["LanguageFilter"]

# Scripts that many languages share. In the others the script alone decides.
_SHARED = frozenset({"Latin", "Cyrillic", "Arabic", "Devanagari", "Hebrew", "Ethiopic", "Han"})
_SCRIPT_RULES = ("a passage in another script", "letters of another script")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")


@dataclass
class LanguageFilter:
    """Drops texts in another script or encoding, and doubts what seems to be in another language.

    Questions and answers are judged, a row's input is not. Code, links, formulas, names,
    quotations and what is in brackets may be in any script.

    Attributes:
        min_share: More than this share of the letters (0 to 1) must be of the language's script, in
            the instruction and in the output each. A question with some of them is only doubted:
            people ask about a foreign title in three words.
    """

    min_share: float = 0.5
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.min_share < 1:
            raise ConfigError(
                f"LanguageFilter(min_share={self.min_share!r}) is not a share",
                hint="Use 0 to below 1.",
            )

    def bind(self, session: Session) -> None:
        self._language = session.language

    def check(self, item: Instruction) -> str | list[Suspicion] | None:
        """Returns the reason to drop a row (few letters of the script, Zawgyi), or suspicions.

        A suspicion names letters of another script in `words`, or the passage, sentence or text
        that seems to be in another language or to lack the language's marks.
        """
        language = language_of(item, self._language)
        if not language.script:
            return None
        texts = [("instruction", text) for text in item.questions]
        texts += [("output", text) for text in item.answers]
        for where, text in texts:
            if reason := self._fact(text, where, language):
                return f"language: {reason}"
        suspicions = [
            Suspicion(f"language: {rule}", detail, tuple(words))
            for where, text in texts
            for rule, detail, words in self._all_doubts(text, where, language)
        ]
        return suspicions or None

    def _fact(self, text: str, where: str, language: Language) -> str | None:
        share = own_share(prose_of(text), language.script)
        if share <= self.min_share and (share == 0 or where == "output"):
            return f"few {language.script} letters ({int(100 * share)} % of the {where})"
        if language.script == "Myanmar" and is_zawgyi(text):
            return f"Zawgyi encoding ({where})"
        return None

    def _all_doubts(
        self, text: str, where: str, language: Language
    ) -> Iterator[tuple[str, str, list[str]]]:
        found = list(_doubts(text, where, language))
        if own_share(prose_of(text), language.script) <= self.min_share:
            # The whole is doubted in place of its parts.
            found = [each for each in found if each[0] not in _SCRIPT_RULES]
            yield _SCRIPT_RULES[0], where, [text.strip()]
        yield from found


def _doubts(text: str, where: str, language: Language) -> Iterator[tuple[str, str, list[str]]]:
    """Yields what may be of another language: the rule, the detail and the words."""
    prose = prose_of(text)
    strange = _words(text, strange_words(prose, language.script, language.code))
    passages = [words for words in strange if is_passage(words, language.script)]
    if language.script != "Latin":
        passages += _words(text, foreign_passages(prose))
    if passages:
        yield _SCRIPT_RULES[0], where, passages
    if letters := [words for words in strange if words not in passages]:
        yield _SCRIPT_RULES[1], where, letters
    if language.script not in _SHARED:
        return
    if other := other_language(prose, language):
        yield "another language", f"{other}, {where}", [text.strip()]
        return
    rest = asides_left_out(prose)
    sentences = list(_sentences(rest))
    others = [span for span in sentences if other_language(rest[slice(*span)], language)]
    if others:
        yield "a sentence in another language", where, _words(text, others)
    bare = [span for span in sentences if lacks_marks(rest[slice(*span)], language)]
    if bare := [span for span in bare if span not in others]:
        yield "written without its marks", where, _words(text, bare)


def _words(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    return list(dict.fromkeys(text[start:end].strip() for start, end in spans))


def _sentences(prose: str) -> Iterator[tuple[int, int]]:
    """Yields start and end of each sentence, or of each line that is none."""
    start = 0
    for end in _SENTENCE_END.finditer(prose):
        yield start, end.start()
        start = end.end()
    yield start, len(prose)
