"""What a text copies from the prompt that asked for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from seedfree.languages import Language
from seedfree.records import Example
from seedfree.text import pieces, squeeze

__all__ = ["VALUES", "Copies", "bare", "copies_example", "parsed"]

# Names that stand for a value in prompts.
VALUES = (
    "asker|avoid|choice|choices|context|count|culture|document|domain|explanation|form|input"
    "|instruction|label|language|length|output|question|region|register|request|topic|turns|wrong"
)
# Fields of a format example whose text is itself a question or an answer.
_SPOKEN = frozenset(
    {"instruction", "output", "question", "explanation", "user", "assistant", "text"}
)
_PLACEHOLDER = re.compile(rf"\n|\$\{{?(?:{VALUES})\}}?")
# Punctuation at the ends of a text.
_SIGNS = ".,:;?!…។៕*_\"'"
_WINDOW, _WHOLE, _INSIDE = 40, 12, 24
# Wherever 24 characters begin, 12 of them begin at a multiple of 13: one look in 13 rules out most
# texts.
_PART = 12


class Copies:
    """Texts that a model may repeat instead of writing: a language's prompts.

    A text is a copy if it has 40 characters in a row with a prompt. White space does not count.
    """

    def __init__(self, language: Language) -> None:
        self._windows: set[str] = set()
        self._parts: set[str] = set()
        self._add(language.persona)
        for name, prompt in language.prompts.items():
            # The wording of a multiple-choice question and of its answer is meant to be published.
            if "choice_" not in name:
                self._add(prompt)

    def _add(self, prompt: str) -> None:
        # What is filled in differs from prompt to prompt, so only the text between is known.
        for line in _PLACEHOLDER.split(prompt):
            squeezed = squeeze(line)
            self._windows.update(pieces(squeezed, _WINDOW))
            self._parts.update(pieces(squeezed, _PART))

    def has(self, text: str) -> bool:
        """Tells whether a text copies a prompt."""
        squeezed = squeeze(text)
        looks = range(0, len(squeezed), _PART + 1)
        if self._parts.isdisjoint(squeezed[i : i + _PART] for i in looks):
            return False
        return not self._windows.isdisjoint(pieces(squeezed, _WINDOW))


def copies_example(text: str, examples: Iterable[Example]) -> bool:
    """Tells whether a text repeats an example.

    It does if it is a spoken field of an example (12 characters or more), holds one
    (24 or more), or has 40 characters in a row with one. White space does not count.
    """
    squeezed, own = squeeze(text), bare(text)
    for example in examples:
        for key, field in (("", example.given), *_strings(parsed(example.reply))):
            spoken = bare(field) if key in _SPOKEN else ""
            if len(spoken) >= _WHOLE and spoken == own:
                return True
            if len(spoken) >= _INSIDE and spoken in squeezed:
                return True
            if not set(pieces(squeeze(field), _WINDOW)).isdisjoint(pieces(squeezed, _WINDOW)):
                return True
    return False


def _strings(value: object, key: str = "text") -> Iterator[tuple[str, str]]:
    """Yields the texts in a JSON value, each with the key that it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)


def parsed(text: str) -> object:
    """Returns the value of a JSON text, and any other text as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def bare(text: str) -> str:
    """Squeezes a text and strips punctuation from its ends, to ask whether two are the same."""
    # Not the signs of `evaluation.choices`, which strips brackets too: there a text may be `(A)`.
    return squeeze(text).strip(_SIGNS)
