"""Drops rows whose answer is their context or quotes what is not there, and doubts invented ones.

Numbers and names that are not in the context are doubts: only a reader can say whether the context
has them in other words. Numbers are read in words and figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedfree.errors import ConfigError, check_types
from seedfree.filters.labels import choices_of
from seedfree.filters.names import unknown_names
from seedfree.filters.numbers import unknown_numbers
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction, Suspicion
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

    def check(self, item: Instruction) -> str | list[Suspicion] | None:
        """Returns the reason to drop a row, or what is suspected.

        Other tasks and rows without a context pass.
        """
        tasks = self._grounded if self.tasks is None else self.tasks
        context = item.context
        if item.task not in tasks or context is None or not context.text.strip():
            return None
        evidence = squeeze(item.evidence).strip("\"'")
        if item.evidence.strip() and evidence not in squeeze(context.text):
            return "grounding: evidence not in the context"
        answer, source = squeeze(item.output), squeeze(context.text)
        if answer == source or self._holds_most(answer, source):
            return "grounding: copies the context"
        suspicions = []
        if item.task == "summarization" and (excerpt := _excerpt(answer, source)):
            suspicions.append(_doubt("half of a summary is copied", [excerpt], answer))
        # Wrong choices are false on purpose, and an explanation may name them.
        allowed = "\n".join(filter(None, [context.text, context.title, *_wrong_choices(item)]))
        if answer in squeeze(allowed):
            return suspicions or None
        language = language_of(item, self._language)
        if numbers := list(unknown_numbers(item.output, allowed, language)):
            suspicions.append(_doubt("number not in the context", numbers, answer))
        # A wrong choice that an explanation quotes is quoted from the question.
        choices = {squeeze(choice) for choice in _wrong_choices(item)}
        names = [
            name
            for name in unknown_names(item.output, allowed, language)
            if squeeze(name) not in choices
        ]
        if names:
            suspicions.append(_doubt("name not in the context", names, answer))
        return suspicions or None

    def _holds_most(self, answer: str, source: str) -> bool:
        if len(source) < _LONG or len(answer) < self.most_copied * len(source):
            return False
        wanted = set(pieces(source, _PIECE))
        return len(wanted.intersection(pieces(answer, _PIECE))) >= self.most_copied * len(wanted)


def _doubt(phrase: str, words: Sequence[str], answer: str) -> Suspicion:
    different = list(dict.fromkeys(words))
    # Of a number such as ½ the value is known, which may stand nowhere.
    shown = tuple(word for word in different if squeeze(word) in answer)
    return Suspicion(f"grounding: {phrase}", ", ".join(different), shown, settled_by="context")


def _excerpt(answer: str, source: str) -> str:
    """Returns the beginning of what a summary copies in one piece: half of it, 200 letters or more.

    The text is empty where it copies less.
    """
    run = max(_LONG, len(answer) // 2)
    # Every piece of that length holds a whole block of half of it, and blocks are few.
    block = (run + 1) // 2
    starts = range(0, len(answer) - block + 1, block)
    if not any(answer[i : i + block] in source for i in starts):
        return ""
    copied = set(pieces(source, run))
    return next((piece[:_PIECE] for piece in pieces(answer, run) if piece in copied), "")


def _wrong_choices(item: Instruction) -> list[str]:
    """Lists the choices of a multiple-choice question but the one that the answer takes.

    That is the one that stands behind its label, or the one that is named last.
    """
    choices = choices_of(item)
    answer = fold(item.output)
    labelled = [
        text for label, text in choices.items() if re.search(_labelled(label, text), answer)
    ]
    # Of two that end at one place, the longer is meant.
    ends = [
        (answer.rfind(fold(text)) + len(fold(text)), len(text), text)
        for text in choices.values()
        if fold(text) in answer
    ]
    right = labelled[0] if len(labelled) == 1 else max(ends)[2] if ends else ""
    return [text for text in choices.values() if text != right]


def _labelled(label: str, text: str) -> str:
    return rf"(?<!\w){re.escape(fold(label))}[.):]\s*{re.escape(fold(text))}"
