"""Choices that name choices: by their labels, or all of them together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from seedfree.languages import Language
from seedfree.text import fold

__all__ = ["names_label", "speaks_of_others", "speaks_of_text", "without_labels"]

# A label in front of a choice, but not the initials of a name (`A. P. J. Kalam`).
_LABEL = re.compile(r"\(?(\w)[.):]\s+(?!\w\.)")


def without_labels(choices: list[str], labels: Sequence[str]) -> list[str]:
    """Takes the labels off the choices if each has its own.

    Raises:
        ValueError: Only some of them have one.
    """
    marks = [_LABEL.match(choice) for choice in choices]
    names = {mark[1] for mark in marks if mark}
    if len(names) == len(choices):
        return [_LABEL.sub("", choice, count=1) for choice in choices]
    if not names.isdisjoint(labels):
        raise ValueError("a choice has a label")
    return choices


def speaks_of_others(choice: str, language: Language) -> bool:
    """Finds "all of the above" and "A and B"."""
    folded = fold(choice)
    for phrase in map(fold, language.joint_choices):
        # A longer choice only happens to have these words ("all of these rivers flow north").
        if phrase in folded and 2 * len(phrase) > len(folded):
            return True
    joint = _patterns(language.labels, language.label_names)[2]
    return joint.fullmatch(choice.strip().rstrip(".")) is not None


def speaks_of_text(text: str, language: Language) -> bool:
    """Finds words for the text that a question was made from ("the document says")."""
    # Where spaces part words, "the text" is not in "the texture".
    edge = r"\b" if language.segmenter == "space" else ""
    names = "|".join(re.escape(fold(name)) for name in language.text_names)
    return bool(names) and re.search(f"{edge}(?:{names}){edge}", fold(text)) is not None


def names_label(text: str, language: Language) -> bool:
    """Finds a choice that is named by its letter ("option A"), or two that have it in front."""
    named, front, _ = _patterns(language.labels, language.label_names)
    if any(not _goes_on(text, name.end(1)) for name in named.finditer(text)):
        return True
    return len({label[1] for label in front.finditer(text)}) > 1


def _goes_on(text: str, end: int) -> bool:
    # A letter or vowel sign behind makes the label the beginning of a word.
    return unicodedata.category(text[end : end + 1] or " ")[0] in "LMN"


@cache
def _patterns(labels: tuple[str, ...], names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    label = "|".join(map(re.escape, labels))
    before = _one_of(name.partition("$label")[0] for name in names)
    after = _one_of(name.partition("$label")[2] for name in names)
    named = rf"(?:{before}\s?[(\"'“]?|(?<![^\W\d_])(?=(?:{label})\s{after}))({label})"
    front = rf"(?<!\S)\(?({label})[.)](?=\s)"
    # Labels with one word at most between them.
    name = rf"(?:{before}\s?)?(?:{label})(?:\s{after})?"
    joint = rf"{name}(?:\s\S+\s|\s?[,&/+]\s?){name}"
    return re.compile(named), re.compile(front), re.compile(joint)


def _one_of(words: Iterable[str]) -> str:
    known = [re.escape(word.strip()) for word in words if word.strip()]
    # Without a word, an expression that never matches.
    return f"(?i:{'|'.join(known)})" if known else "(?!)"
