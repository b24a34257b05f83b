"""What the word lists of a segmenter's package know of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from threading import Lock

from seedfree.languages.segment import import_pythainlp

__all__ = ["Lexicon", "lexicon"]

# Of the Thai National Corpus's words of this frequency or more, hardly one is only a name. It has
# no Thai place names, and those of famous cities abroad stay below 1,000.
_FREQUENT = 500
# Above this a short word hardly ever is a piece of a transliterated name.
_VERY_FREQUENT = 5000
_SELDOM = 100
# Shorter Thai names ("Tak", "Kaew") are common words or parts of them.
_LONG = 4
_LONG_PLACE = 5
# The sign of a letter that is not spoken. Words with it that are hardly used are foreign names.
_SILENT = "\N{THAI CHARACTER THANTHAKHAT}"


@dataclass(frozen=True)
class Lexicon:
    """Word lists of a language that shows names neither by capitals nor by spaces.

    Attributes:
        words: The words that its segmenter knows.
        frequent: Those that are used so often that they are ordinary words also behind a title.
        very_frequent: Those of them that hardly ever are a piece of a longer name.
        surely: Names of places and people that are no other word.
        names: Titles of encyclopedia articles and names of people. Ordinary words are among them.
    """

    words: frozenset[str]
    frequent: frozenset[str]
    very_frequent: frozenset[str]
    surely: frozenset[str]
    names: frozenset[str]


def lexicon(segmenter: str) -> Lexicon | None:
    """Returns the word lists that come with a segmenter, or `None` if it has none."""
    load = _LEXICONS.get(segmenter)
    if load is None:
        return None
    # `cache` alone would let every thread of the first rows load the lists.
    with _LOCK:
        return load()


@cache
def _thai() -> Lexicon:
    import_pythainlp()
    from pythainlp.corpus import (
        countries,
        get_corpus,
        provinces,
        thai_family_names,
        thai_female_names,
        thai_male_names,
        thai_words,
    )
    from pythainlp.corpus.tnc import unigram_word_freqs

    words = frozenset(thai_words())
    places = frozenset(provinces() | countries())
    people = frozenset(thai_family_names() | thai_female_names() | thai_male_names())
    # Not `thai_wikipedia_titles`, which would keep a second copy.
    titles = frozenset(get_corpus("wikipedia_titles_th.txt", comments=False))
    times = unigram_word_freqs()
    frequent = {word for word, n in times.items() if n >= _FREQUENT}
    foreign = {word for word in words & titles if _SILENT in word and times.get(word, 0) < _SELDOM}
    # Two ordinary words put together, such as "fragrance", are a given name too.
    compounds = {
        name
        for name in people | foreign
        if any(name[:i] in frequent and name[i:] in frequent for i in range(2, len(name) - 1))
    }
    return Lexicon(
        words=words,
        frequent=frozenset(frequent - places),
        very_frequent=frozenset(word for word in frequent if times[word] >= _VERY_FREQUENT),
        surely=frozenset(
            name
            # "Conquer" and "demonstrate" are given names, too.
            for name in (places | (people - words | foreign) - compounds) - frequent
            if len(name) >= _LONG
        )
        | {place for place in places if len(place) >= _LONG_PLACE},
        names=titles | people | places,
    )


_LOCK = Lock()
_LEXICONS: dict[str, Callable[[], Lexicon]] = {"newmm": _thai}
