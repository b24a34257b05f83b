"""Drops rows whose answer is not in their context, or is the context.

Only what can be checked without understanding is checked: numbers, years in either era, and names.
A name that the context has in another wording is dropped too. That is the price of keeping invented
ones out. Numbers are read in words and figures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from seedfree.errors import ConfigError, check_types
from seedfree.filters.names import unknown_names
from seedfree.filters.numbers import unknown_numbers
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import fold, pieces, squeeze

__all__ = ["GroundingFilter"]

_GROUNDED = frozenset({"closed_qa", "multiple_choice", "summarization"})
_LONG = 200
_PIECE = 20


@dataclass
class GroundingFilter:
    """Drops answers whose evidence, numbers or names are not in the context, or that copy it.

    Attributes:
        tasks: The tasks whose answers must stand in their context. `None` takes those of the run,
            and outside a run the built-in ones.
        most_copied: An answer that holds this share (0 to 1) of a context of 200 characters or more
            copies it.
    """

    tasks: frozenset[str] | None = None
    most_copied: float = 0.8
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)
    _grounded: frozenset[str] = field(default=_GROUNDED, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        if isinstance(self.tasks, str):
            raise ConfigError(
                f"GroundingFilter(tasks={self.tasks!r}) is one word",
                hint="Give a set of task names.",
            )
        if not 0 < self.most_copied <= 1:
            raise ConfigError(
                f"GroundingFilter(most_copied={self.most_copied!r}) is not a share",
                hint="Use 0 to 1.",
            )

    def bind(self, session: Session) -> None:
        self._language = session.language
        promised = session.grounded_tasks
        self._grounded = _GROUNDED if promised is None else frozenset(promised)

    def check(self, item: Instruction) -> str | None:
        """Returns the reason to drop a row. Other tasks and rows without a context pass."""
        tasks = self._grounded if self.tasks is None else self.tasks
        context = item.context
        if item.task not in tasks or context is None or not context.text.strip():
            return None
        evidence = squeeze(item.evidence).strip("\"'")
        if item.evidence.strip() and evidence not in squeeze(context.text):
            return "grounding: evidence not in the context"
        if self._copied(item.output, context.text, item.task):
            return "grounding: copies the context"
        # Wrong choices are false on purpose, and an explanation may name them.
        allowed = "\n".join(filter(None, [context.text, context.title, *_wrong_choices(item)]))
        if squeeze(item.output) in squeeze(allowed):
            return None
        language = language_of(item, self._language)
        for number in unknown_numbers(item.output, allowed, language):
            return f"grounding: number not in the context ({number})"
        for name in unknown_names(item.output, allowed, language):
            return f"grounding: name not in the context ({name})"
        return None

    def _copied(self, output: str, context: str, task: str) -> bool:
        answer, source = squeeze(output), squeeze(context)
        if answer == source:
            return True
        if len(source) < _LONG:
            return False
        if self._holds_most(answer, source):
            return True
        return task == "summarization" and _is_excerpt(answer, source)

    def _holds_most(self, answer: str, source: str) -> bool:
        if len(answer) < self.most_copied * len(source):
            return False
        wanted = set(pieces(source, _PIECE))
        return len(wanted.intersection(pieces(answer, _PIECE))) >= self.most_copied * len(wanted)


def _is_excerpt(answer: str, source: str) -> bool:
    """Finds a summary that is half copied, and at least 200 characters, in one piece."""
    run = max(_LONG, len(answer) // 2)
    # Every piece of that length holds a whole block of half of it, and blocks are few.
    block = (run + 1) // 2
    starts = range(0, len(answer) - block + 1, block)
    if not any(answer[i : i + block] in source for i in starts):
        return False
    return not set(pieces(source, run)).isdisjoint(pieces(answer, run))


_CHOICE = re.compile(r"^\s*\(?\w{1,2}[.):]\s*(\S.*)$", re.MULTILINE)


def _wrong_choices(item: Instruction) -> list[str]:
    """Lists the choices of a multiple-choice question but the one that the answer names last."""
    choices = _CHOICE.findall(item.instruction)
    if len(choices) < 2:
        return []
    answer = fold(item.output)
    # The last one is the answer. Of two that end at one place, the longer is meant.
    ends = [
        (answer.rfind(fold(choice)) + len(fold(choice)), len(choice), choice)
        for choice in choices
        if fold(choice) in answer
    ]
    right = max(ends)[2] if ends else ""
    return [choice for choice in choices if choice != right]
