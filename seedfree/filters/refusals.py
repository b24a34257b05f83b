"""A model that speaks of itself or declines."""

from __future__ import annotations

import re
from functools import cache

from seedfree.languages import Language
from seedfree.text import fold, outside_code

__all__ = ["refusal_in", "self_reference_in"]

# Room for an apology before the phrase.
_OPENING = 40
# Most of what a reader is shown of a line.
_SHOWN = 300


def self_reference_in(text: str, language: Language) -> str | None:
    """Returns the line in which a model speaks of itself, but for what is quoted or code."""
    folded = fold(outside_code(text))
    phrase = _pattern(language.self_references + _english().self_references).search(folded)
    if phrase is None or _in_quotes(folded, phrase.start()):
        return None
    return _line_with(phrase[0], text)


def refusal_in(text: str, language: Language) -> str | None:
    """Returns the line of a refusal at the start, or of one that is a third of the text.

    One that is quoted or stands further inside does not count: a good answer may speak of refusals,
    or be a letter that declines.
    """
    folded = fold(text)
    phrase = _pattern(language.refusals + _english().refusals).search(folded)
    if phrase is None or _in_quotes(folded, phrase.start()):
        return None
    # A letter greets on its first line and declines on another.
    on_first_line = phrase.end() <= len(fold(text.strip().split("\n", 1)[0]))
    opens = on_first_line and phrase.start() <= _OPENING
    if opens or 3 * len(phrase[0]) >= len(folded):
        return _line_with(phrase[0], text)
    return None


def _english() -> Language:
    # Models fall back to English, whatever language they are asked in.
    return Language.load("en")


@cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    # Folded like the text: both have the same form of letters that can be typed in two ways.
    return re.compile("|".join(f"(?:{fold(pattern)})" for pattern in patterns))


def _in_quotes(folded: str, position: int) -> bool:
    # Folding has made all double quotes the same, so an odd number of them leaves one open.
    return folded.count('"', 0, position) % 2 == 1


def _line_with(phrase: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if phrase in fold(line)), text.strip())[:_SHOWN]
