"""Word segmenters by name. Each is a kept library that is imported when it is first used."""

from __future__ import annotations

import re
from collections.abc import Callable

from seedfree.errors import ConfigError, missing_extra

__all__ = ["segment"]

_WORD = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]")


def segment(text: str, segmenter: str) -> list[str]:
    """Words and punctuation of a text, in order, without white space.

    Args:
        segmenter: `"space"`, `"newmm"` (PyThaiNLP), `"laonlp"`, `"khmernltk"`.

    Raises:
        ConfigError: Unknown name, or its package is not installed.
    """
    try:
        cut = _SEGMENTERS[segmenter]
    except KeyError:
        raise ConfigError(f"Unknown segmenter {segmenter!r}", hint=f"Known: {', '.join(_SEGMENTERS)}.") from None
    return [word for word in map(str.strip, cut(text)) if word]


def _space(text: str) -> list[str]:
    return _WORD.findall(text)


def _newmm(text: str) -> list[str]:
    try:
        from pythainlp.tokenize import word_tokenize
    except ImportError as error:
        raise missing_extra("pythainlp", "eval") from error
    return list(word_tokenize(text, engine="newmm", keep_whitespace=False, join_broken_num=True))


def _laonlp(text: str) -> list[str]:
    try:
        from laonlp.tokenize import word_tokenize
    except ImportError as error:
        raise missing_extra("laonlp", "eval") from error
    return list(word_tokenize(text))


def _khmer(text: str) -> list[str]:
    try:
        from khmernltk import word_tokenize
    except ImportError as error:
        raise missing_extra("khmer-nltk", "eval") from error
    return list(word_tokenize(text))


_SEGMENTERS: dict[str, Callable[[str], list[str]]] = {
    "space": _space,
    "newmm": _newmm,
    "laonlp": _laonlp,
    "khmernltk": _khmer,
}
