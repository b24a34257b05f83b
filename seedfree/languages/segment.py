"""Word segmenters by name. Each is a kept library that is imported when it is first used."""

from __future__ import annotations

import re
from collections.abc import Callable
from unicodedata import category

from seedfree.errors import ConfigError, missing_extra

__all__ = ["segment"]

# `\w` leaves out combining accents, which decomposed Vietnamese and lower-cased Turkish have.
_WORD = re.compile(r"\d+(?:[.,]\d+)+|\w[\w\u0300-\u036f]*(?:['’\-]\w[\w\u0300-\u036f]*)*|[^\w\s]")
_NUMBER = re.compile(r"(\d+(?:[.,]\d+)*)")
# What cannot begin a word: a Khmer or Burmese consonant under the one before, and a Burmese
# consonant without a vowel.
_UNDER = ("\u1039", "\u17d2")
_FINAL = re.compile("[\u1000-\u1021][\u103b-\u103e]*\u1037?[\u1039\u103a]")


def segment(text: str, segmenter: str) -> list[str]:
    """Words and punctuation of a text, in order, without white space.

    The words put together are the text less its white space and zero-width spaces (U+200B), which
    writers of Khmer, Lao and Burmese put between words.

    Args:
        segmenter: `"space"`; `"newmm"` (PyThaiNLP), for Thai; `"icu"` (the word boundaries of
            Unicode with ICU's dictionaries), for Lao, Khmer, Burmese and any other script.

    Raises:
        ConfigError: Unknown name, or its package is not installed.
    """
    try:
        cut = _SEGMENTERS[segmenter]
    except KeyError:
        raise ConfigError(
            f"Unknown segmenter {segmenter!r}", hint=f"Known: {', '.join(_SEGMENTERS)}."
        ) from None
    return [word for piece in text.replace("\u200b", " ").split() for word in cut(piece) if word]


def _space(text: str) -> list[str]:
    return _WORD.findall(text)


def _newmm(text: str) -> list[str]:
    try:
        from pythainlp.tokenize import word_tokenize
    except ImportError as error:
        raise missing_extra("pythainlp", "eval") from error
    return list(word_tokenize(text, engine="newmm", keep_whitespace=False, join_broken_num=True))


def _icu(text: str) -> list[str]:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise missing_extra("icu4py", "eval") from error
    words: list[str] = []
    # Where a number stands in a sentence without spaces, ICU leaves it attached to its neighbours;
    # and it cuts words that its dictionaries lack within their syllables.
    for part in (
        part for word in WordBreaker(text, "root") for part in _NUMBER.split(word) if part
    ):
        if words and (
            words[-1].endswith(_UNDER) or _FINAL.match(part) or category(part[0])[0] == "M"
        ):
            words[-1] += part
        else:
            words.append(part)
    return words


_SEGMENTERS: dict[str, Callable[[str], list[str]]] = {"space": _space, "newmm": _newmm, "icu": _icu}
