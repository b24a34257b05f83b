"""Drops rows that are not in the language.

Where a script belongs to one language, the script tells. Where many share it, identification does:
py3langid (140 languages, its model in its wheel). On sixty sentences of 25 to 60 letters in
Vietnamese, Indonesian, Malay, Turkish, Swahili and English it gives the right language, together
with those it cannot tell apart, a probability of at least 0.53, and a wrong one 0.006 at most
(tests/filters/test_language.py). Zawgyi, an encoding of Burmese on Unicode's code points, is found
by Google's myanmartools, its model in its wheel too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language, language_of
from seedfree.languages.detectors import identifier, zawgyi_probability
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import count_scripts, outside_code, script_of

__all__ = ["LanguageFilter"]

# Scripts that many languages share. In the others the script alone decides.
_SHARED = frozenset({"Latin", "Cyrillic", "Arabic", "Devanagari", "Hebrew", "Ethiopic", "Han"})
# Shorter texts, a name or a number with its unit, say too little of their language.
_ID_LETTERS = 20
# Both lie between what was measured for the right language and for a wrong one.
_OWN_AT_MOST, _OTHER_AT_LEAST = 0.05, 0.5
_SENTENCE_LETTERS = 30
_ZAWGYI = 0.95
# How much of another script may stand together: a title or a name in full has fewer words.
_RUN_WORDS, _SENTENCE_WORDS, _RUN_LETTERS = 8, 5, 25
_ASIDE = 2

_WORD = re.compile(r"[^\W\d_]+(?:['’\-\u0300-\u036f][^\W\d_]*)*")
_LINK = re.compile(r"(?:https?://|www\.)\S+|[\w.+-]{1,64}@[\w.-]{1,255}")
_IN_BRACKETS_OR_QUOTES = re.compile(
    r"\([^()\n]*\)|\[[^\[\]\n]*\]|（[^（）\n]*）"
    r"|\"[^\"\n]*\"|“[^“”\n]*”|‘[^‘’\n]*’|«[^«»\n]*»|「[^「」\n]*」"
)
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_FULL_STOP = re.compile(r"[\s\d]*[.!?](?!\w)")


@dataclass
class LanguageFilter:
    """Drops questions and answers in another script, language or encoding, or with passages of one.

    A row's input is not judged.

    Attributes:
        min_share: More than this share of the letters (0 to 1) must be of the language's script, in
            the instruction and in the output each.
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

    def check(self, item: Instruction) -> str | None:
        """Returns the reason to drop a row: few letters of the script, another language, Zawgyi."""
        language = language_of(item, self._language)
        if not language.script:
            return None
        for where, texts in (("instruction", item.questions), ("output", item.answers)):
            for text in texts:
                if reason := self._check(text, where, language):
                    return f"language: {reason}"
        return None

    def _check(self, text: str, where: str, language: Language) -> str | None:
        counts = count_scripts(text)
        total, own = sum(counts.values()), counts.get(language.script, 0)
        if total and own <= self.min_share * total:
            return f"few {language.script} letters ({100 * own // total} % of the {where})"
        if language.script == "Myanmar" and _is_zawgyi(text):
            return f"Zawgyi encoding ({where})"
        prose = _LINK.sub(" ", outside_code(text))
        if language.script in _SHARED:
            if other := _other_language(prose, language):
                return f"another language ({other}, {where})"
            if _has_other_sentence(prose, language):
                return f"a sentence in another language ({where})"
        # Fewer foreign letters than a sentence has words are none, and most texts have no more.
        if total - own >= _SENTENCE_WORDS and _switches(prose, language.script):
            return f"a passage in another script ({where})"
        return None


def _other_language(text: str, language: Language) -> str | None:
    """Names the language that a text is surely in, if it is not this one or close to it."""
    if sum(count_scripts(text).values()) < _ID_LETTERS:
        return None
    if language.code not in identifier().labels:
        return None
    ranked = identifier().rank(text)
    own = sum(p for code, p in ranked if code == language.code or code in language.close)
    other, probability = ranked[0]
    is_sure = own < _OWN_AT_MOST and probability >= _OTHER_AT_LEAST
    return str(other) if is_sure else None


def _has_other_sentence(prose: str, language: Language) -> bool:
    """Finds a sentence in another language that is not quoted and not in brackets."""
    for sentence in _SENTENCE_END.split(_IN_BRACKETS_OR_QUOTES.sub(" ", prose)):
        letters = count_scripts(sentence).get(language.script, 0)
        if letters >= _SENTENCE_LETTERS and _other_language(sentence, language):
            return True
    return False


def _switches(text: str, script: str) -> bool:
    """Finds a sentence of another script among the language's own.

    Names and titles may stand. What is quoted or in brackets may be twice as long.
    """
    asides = [match.span() for match in _IN_BRACKETS_OR_QUOTES.finditer(text)]
    for run in _foreign_runs(text, script):
        first, last = run[0].start(), run[-1].end()
        is_aside = any(start <= first and last <= end for start, end in asides)
        room = _ASIDE if is_aside else 1
        words = [match[0] for match in run]
        if not any(word[0].islower() or word[0].isupper() for word in words):
            # Letters and not words: a script without case may write no spaces either.
            if sum(map(len, words)) >= _RUN_LETTERS * room:
                return True
            continue
        is_sentence = words[0][0].isupper() and _FULL_STOP.match(text, last)
        fewest = _SENTENCE_WORDS if is_sentence else _RUN_WORDS
        # Where most words have a capital, it is a name or a title.
        small = sum(word[0].islower() for word in words)
        if len(words) >= fewest * room and 2 * small >= len(words):
            return True
    return False


def _foreign_runs(text: str, script: str) -> Iterator[list[re.Match[str]]]:
    """Yields words of other scripts that stand side by side on a line."""
    run: list[re.Match[str]] = []
    for word in _WORD.finditer(text):
        if run and "\n" in text[run[-1].end() : word.start()]:
            yield run
            run = []
        if not any(script_of(char) == script for char in word[0]):
            run.append(word)
            continue
        if run:
            yield run
        run = []
    if run:
        yield run


def _is_zawgyi(text: str) -> bool:
    return zawgyi_probability(text) > _ZAWGYI
