"""Which language, and which encoding of Burmese, a text is in.

py3langid knows 140 languages, its model in its wheel. On sixty sentences of 25 to 60 letters in
Vietnamese, Indonesian, Malay, Turkish, Swahili and English it gives the right language, together
with those it cannot tell apart, a probability of at least 0.53, and a wrong one 0.006 at most
(tests/filters/test_language.py). Zawgyi, an encoding of Burmese on Unicode's code points, is found
by Google's myanmartools, its model in its wheel too.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from threading import Lock
from typing import Any

from seedfree.languages import Language
from seedfree.text import count_scripts

__all__ = ["identifier", "is_zawgyi", "lacks_marks", "other_language"]

# Shorter texts say less of their language, and the shortest say nothing.
_LETTERS, _FEWEST_LETTERS = 20, 8
# Both lie between what was measured for the right language and for a wrong one.
_OWN_AT_MOST, _OTHER_AT_LEAST = 0.05, 0.5
_OWN_IN_SHORT, _OTHER_IN_SHORT = 0.005, 0.8
# A short text is also English if that is likely, and far likelier than the language. Of 2,100
# phrases of 8 to 19 letters in the Indonesian, Swahili, Turkish and Vietnamese language files none
# is taken for another language. Of 20 in English one to three are missed.
_ENGLISH_AT_LEAST, _ENGLISH_TIMES = 0.1, 10
# A text of a language has at least one letter beyond ASCII, where it should have so many.
_MARKED = 5
# Too little for a word with the marks of Zawgyi, and too little for one without them.
_ZAWGYI, _ZAWGYI_IN_ALL = 0.95, 0.5

# What Unicode never has and Zawgyi mostly: the vowel E or the medial RA before its letter, VIRAMA
# with nothing below it, and the code points of its own.
_ZAWGYI_SIGNS = re.compile(
    "(?<![\u1000-\u102a\u103b-\u103f\u1050-\u1055\u105a-\u1060\u1065\u1075-\u1081\uaa60-\uaa7a])"
    "\u1031"
    "|\u1039(?![\u1000-\u1021])|(?<![\u1000-\u102a\u103a\u103f\u1075-\u1081])\u103b|[\u1060-\u1097]"
)
_BURMESE = re.compile("[\u1000-\u1049\u104c-\u109f]+")


def other_language(text: str, language: Language) -> str | None:
    """Names the language that a text is surely in, if it is not this one or close to it."""
    letters = sum(count_scripts(text).values())
    if letters < _FEWEST_LETTERS:
        return None
    known = identifier()
    if language.code not in known.labels:
        return None
    ranked = known.rank(text)
    own = sum(p for code, p in ranked if code == language.code or code in language.close)
    if letters >= _LETTERS:
        other, probability = ranked[0]
        is_sure = own < _OWN_AT_MOST and probability >= _OTHER_AT_LEAST
        return str(other) if is_sure else None
    if _is_name(text):
        return None
    other, probability = ranked[0]
    if own < _OWN_IN_SHORT and probability >= _OTHER_IN_SHORT:
        return str(other)
    english = dict(ranked)["en"]
    is_sure = english >= _ENGLISH_AT_LEAST and english >= _ENGLISH_TIMES * own
    return "en" if is_sure else None


def _is_name(text: str) -> bool:
    words = text.split()
    return 2 * sum(word[0].islower() for word in words) < len(words)


def lacks_marks(text: str, language: Language) -> bool:
    """Finds a text in ASCII letters alone, where the language would have others in it.

    How many it should have is told by the language's own texts: Vietnamese in three letters of ten.
    """
    letters = [char for char in text if char.isalpha()]
    if language.script != "Latin" or any(char > "\x7f" for char in letters) or _is_name(text):
        return False
    return len(letters) * _marked_share(language.persona) >= _MARKED


@lru_cache(maxsize=64)
def _marked_share(text: str) -> float:
    letters = [char for char in text if char.isalpha()]
    return sum(char > "\x7f" for char in letters) / max(1, len(letters))


def is_zawgyi(text: str) -> bool:
    """Finds Zawgyi in a Burmese text, if only in one of its words.

    Signs and statistics must agree: many a name is the same in both encodings, and a letter typed
    too early is no other encoding.
    """
    if not _ZAWGYI_SIGNS.search(text):
        return False
    probability = _zawgyi_detector().get_zawgyi_probability
    if probability(text) > _ZAWGYI_IN_ALL:
        return True
    words = filter(_ZAWGYI_SIGNS.search, _BURMESE.findall(text))
    return any(probability(word) > _ZAWGYI for word in words)


def _loaded_once(load: Callable[[], Any]) -> Callable[[], Any]:
    lock, kept = Lock(), cache(load)

    def model() -> Any:
        # `cache` alone would let every thread of the first rows load a model of its own.
        with lock:
            return kept()

    return model


@_loaded_once
def identifier() -> Any:
    """Returns py3langid's model, whose probabilities sum to 1."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@_loaded_once
def _zawgyi_detector() -> Any:
    from myanmartools import ZawgyiDetector

    with warnings.catch_warnings():
        # It reads its model through a function of importlib.resources that Python 3.11 and 3.12
        # call deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return ZawgyiDetector()
