"""The labelled choices of a multiple-choice question, and an answer that labels one wrongly."""

from __future__ import annotations

import re

from seedfree.records import Instruction
from seedfree.text import fold

__all__ = ["choices_of", "mislabelled"]

_CHOICE = re.compile(r"^\s*\(?(\w{1,2})[.):]\s*(\S.*)$", re.MULTILINE)


def choices_of(item: Instruction) -> dict[str, str]:
    """Returns the choices of a row's instruction by label; none where there are fewer than two."""
    choices = {label: text.strip() for label, text in _CHOICE.findall(item.instruction)}
    return choices if len(choices) > 1 else {}


def mislabelled(item: Instruction) -> bool:
    """Finds a choice in the answer that stands under the label of another one."""
    choices = choices_of(item)
    labels = {fold(text): fold(label) for label, text in choices.items()}
    if len(labels) < len(choices):
        return False
    # Of two choices that begin alike, the longer is looked for first.
    texts = sorted(labels, key=len, reverse=True)
    known = "|".join(map(re.escape, texts)) or r"(?!)"
    names = "|".join(re.escape(fold(label)) for label in choices) or r"(?!)"
    pairs = re.findall(rf"(?<!\w)({names})[.):]\s*({known})", fold(item.output))
    return any(labels[text] != label for label, text in pairs)
