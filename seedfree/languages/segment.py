"""Word segmenters by name. The package of each is imported when it is first used."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from unicodedata import category

from seedfree.errors import ConfigError

__all__ = ["SEGMENTERS", "ends_inside_word", "segment"]

# `\w` leaves out combining accents, which decomposed Vietnamese and lower-cased Turkish have.
# Numbers come first, or their points and commas would be punctuation.
_WORD = re.compile(r"\d+(?:[.,]\d+)+|\w[\w\u0300-\u036f]*(?:['’\-]\w[\w\u0300-\u036f]*)*|[^\w\s]")
_NUMBER = re.compile(r"(\d+(?:[.,]\d+)*)")
# No word ends in a sign that stacks the next consonant (Burmese, Khmer), and none begins with a
# Burmese consonant that has no vowel.
_STACKS_NEXT = ("\u1039", "\u17d2")
_FINAL = re.compile("[\u1000-\u1021][\u103b-\u103e]*\u1037?[\u1039\u103a]")


def segment(text: str, segmenter: str) -> list[str]:
    """Cuts a text into words and punctuation, in order, without white space.

    The words put together are the text less its white space and zero-width spaces (U+200B), which
    writers of Khmer, Lao and Burmese put between words.

    Args:
        segmenter: `"space"`, or `"newmm"` (PyThaiNLP) for Thai, or `"icu"` (the word boundaries of
            Unicode with ICU's dictionaries) for Lao, Khmer, Burmese and any other script.

    Raises:
        ConfigError: Unknown name.
    """
    try:
        cut = SEGMENTERS[segmenter]
    except KeyError:
        raise ConfigError(
            f"Unknown segmenter {segmenter!r}", hint=f"Known: {', '.join(SEGMENTERS)}."
        ) from None
    return [word for piece in text.replace("\u200b", " ").split() for word in cut(piece) if word]


def ends_inside_word(text: str, segmenter: str) -> bool:
    """Tells whether a text's last word is only the beginning of a word of the dictionary.

    `False` where the segmenter has no dictionary that can be read, or its package is missing.
    """
    if segmenter != "newmm":
        return False
    words = _thai_words()
    # A letter alone is a label.
    if not words or not all(map(_is_thai, text[-2:])):
        return False
    *_, before, last = ["", "", *segment(text[-_TAIL:], segmenter)]
    if _is_known(last, words) or not _is_known(before, words):
        return False
    # Short syllables side by side are a foreign name's.
    if 0 < len(before) < _SHORT_WORD and len(last) < _LONG_REST:
        return False
    following = bisect_right(words, last)
    return following < len(words) and words[following].startswith(last)


# Measured on 660 cuts inside a word of good answers, of which 55 % are found, and on 3,273 whole
# paragraphs of Thai Wikipedia, of which 0.6 % are taken for cut.
_SHORT_WORD, _LONG_REST = 3, 4
# More than the longest run of syllables that the segmenter looks at to find a word.
_TAIL = 60


@cache
def _thai_words() -> Sequence[str]:
    import_pythainlp()
    from pythainlp.corpus import thai_words

    return sorted(thai_words())


def _is_known(word: str, words: Sequence[str]) -> bool:
    at = bisect_right(words, word)
    return at > 0 and words[at - 1] == word or not all(map(_is_thai, word))


def _is_thai(char: str) -> bool:
    return "\u0e01" <= char <= "\u0e4e"


def _space(text: str) -> list[str]:
    return _WORD.findall(text)


@cache
def import_pythainlp() -> None:
    """Imports PyThaiNLP without the folder that it makes in the user's home, which stays empty."""
    settings = ("PYTHAINLP_READ_ONLY", "PYTHAINLP_READ_MODE")
    unset = not any(name in os.environ for name in settings)
    if unset:
        os.environ[settings[0]] = "1"
    try:
        import pythainlp.corpus  # noqa: F401
    finally:
        if unset:
            del os.environ[settings[0]]


def _newmm(text: str) -> list[str]:
    import_pythainlp()
    from pythainlp.tokenize import word_tokenize

    return list(word_tokenize(text, engine="newmm", keep_whitespace=False, join_broken_num=True))


def _icu(text: str) -> list[str]:
    from icu4py.breakers import WordBreaker

    # Where a number stands in a sentence without spaces, ICU leaves it attached to its neighbours.
    parts = [part for word in WordBreaker(text, "root") for part in _NUMBER.split(word) if part]
    words: list[str] = []
    for part in parts:
        if words and _continues(words[-1], part):
            words[-1] += part
        else:
            words.append(part)
    return words


def _continues(word: str, part: str) -> bool:
    # ICU cuts words that its dictionaries lack within their syllables.
    return bool(
        word.endswith(_STACKS_NEXT) or _FINAL.match(part) or category(part[0]).startswith("M")
    )


SEGMENTERS: dict[str, Callable[[str], list[str]]] = {"space": _space, "newmm": _newmm, "icu": _icu}
