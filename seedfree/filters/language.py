"""Drops rows that are not in the language: by script where the script tells, by language identification where not.

Identification is py3langid's (140 languages, its model in its wheel). On sixty sentences of 25 to 60 letters in
Vietnamese, Indonesian, Malay, Turkish, Swahili and English it gives the right language, with those it cannot tell
apart, a probability of at least 0.53, and a wrong one 0.006 at most (tests/filters/test_language.py).
Zawgyi, an encoding of Burmese on Unicode's code points, is told by Google's myanmartools, its model in its wheel too.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

from seedfree.errors import ConfigError
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import count_scripts, outside_code, script_of

__all__ = ["LanguageFilter"]

# Scripts that many languages share; in the others the script alone decides.
_SHARED = frozenset({"Latin", "Cyrillic", "Arabic", "Devanagari", "Hebrew", "Ethiopic", "Han"})
_ID_LETTERS = 20
_OWN_AT_MOST, _OTHER_AT_LEAST = 0.05, 0.5
_ZAWGYI = 0.95
_RUN_WORDS, _SENTENCE_WORDS, _RUN_LETTERS = 8, 5, 25
_ASIDE = 2
_SENTENCE_LETTERS = 30

_WORD = re.compile(r"[^\W\d_]+(?:['’\-\u0300-\u036f][^\W\d_]*)*")
_LINK = re.compile(r"(?:https?://|www\.)\S+|[\w.+-]{1,64}@[\w.-]{1,255}")
_INSIDE = re.compile(
    r"\([^()\n]*\)|\[[^\[\]\n]*\]|（[^（）\n]*）|\"[^\"\n]*\"|“[^“”\n]*”|‘[^‘’\n]*’|«[^«»\n]*»|「[^「」\n]*」"
)
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
_FULL_STOP = re.compile(r"[\s\d]*[.!?](?!\w)")
_LOCK = Lock()


@dataclass
class LanguageFilter:
    """Script, language, encoding and code-switching of what the row asks and answers; its input is not judged.

    Attributes:
        min_share: More than this share of the letters (0 to 1) must be of the language's script, in the instruction
            and in the output each.
    """

    min_share: float = 0.5
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.min_share < 1:
            raise ConfigError(
                f"LanguageFilter(min_share={self.min_share!r}) is not a share",
                hint="Use 0 to below 1.",
            )

    def bind(self, session: Session) -> None:
        self._language = session.language

    def check(self, item: Instruction) -> str | None:
        """The reason to drop a row: few letters of the script, another language, or Zawgyi."""
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
        if language.script == "Myanmar" and _zawgyi(text):
            return f"Zawgyi encoding ({where})"
        prose = _LINK.sub(" ", outside_code(text))
        if language.script in _SHARED:
            if other := _identify(prose, language):
                return f"another language ({other}, {where})"
            for sentence in _SENTENCE.split(_INSIDE.sub(" ", prose)):
                long = count_scripts(sentence).get(language.script, 0) >= _SENTENCE_LETTERS
                if long and _identify(sentence, language):
                    return f"a sentence in another language ({where})"
        if total - own < _SENTENCE_WORDS:
            return None
        return (
            f"a passage in another script ({where})" if _switches(prose, language.script) else None
        )


def _identify(text: str, language: Language) -> str | None:
    """The code of the language that a text is surely in, where it is not `language` or close to it."""
    if sum(count_scripts(text).values()) < _ID_LETTERS:
        return None
    identifier = _identifier()
    if language.code not in identifier.labels:
        return None
    ranked = identifier.rank(text)
    own = sum(p for code, p in ranked if code == language.code or code in language.close)
    other, p = ranked[0]
    return str(other) if own < _OWN_AT_MOST and p >= _OTHER_AT_LEAST else None


def _switches(text: str, script: str) -> bool:
    """A sentence of another script among the language's own. Names and titles may stand; asides may be longer."""
    aside = [(m.start(), m.end()) for m in _INSIDE.finditer(text)]
    for run in _foreign_runs(text, script):
        first, last = run[0].start(), run[-1].end()
        room = _ASIDE if any(a <= first and last <= b for a, b in aside) else 1
        words = [m[0] for m in run]
        if any(w[0].islower() or w[0].isupper() for w in words):
            whole = words[0][0].isupper() and _FULL_STOP.match(text, last)
            fewest = _SENTENCE_WORDS if whole else _RUN_WORDS
            if len(words) >= fewest * room and 2 * sum(w[0].islower() for w in words) >= len(words):
                return True
        elif sum(map(len, words)) >= _RUN_LETTERS * room:
            return True
    return False


def _foreign_runs(text: str, script: str) -> Iterator[list[re.Match[str]]]:
    """Words of other scripts that stand side by side on a line."""
    run: list[re.Match[str]] = []
    for match in _WORD.finditer(text):
        if run and "\n" in text[run[-1].end() : match.start()]:
            yield run
            run = []
        if any(script_of(char) == script for char in match[0]):
            if run:
                yield run
            run = []
        else:
            run.append(match)
    if run:
        yield run


def _zawgyi(text: str) -> bool:
    return bool(_zawgyi_detector().get_zawgyi_probability(text) > _ZAWGYI)


def _identifier() -> Any:
    with _LOCK:
        return _load_identifier()


@cache
def _load_identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _zawgyi_detector() -> Any:
    with _LOCK:
        return _load_zawgyi()


@cache
def _load_zawgyi() -> Any:
    from myanmartools import ZawgyiDetector

    with warnings.catch_warnings():
        # It reads its model through a function of importlib.resources that Python 3.11 and 3.12
        # call deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return ZawgyiDetector()
