"""Answer accuracy: how often the right choice was given, and how often none can be told."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from seedfree.errors import ConfigError
from seedfree.evaluation.answers import labelled_choices, meant_choice
from seedfree.evaluation.predictions import Prediction
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.evaluation.words import paired_texts
from seedfree.languages import Language
from seedfree.records import Question
from seedfree.text import squeeze

__all__ = ["CHOSEN", "Accuracy", "accuracy", "accuracy_in_any", "offered"]

CHOSEN = ("multiple_choice", "classification")
"""Tasks whose answer is one of a few, whether the benchmark lists them or not."""

_ENDS = " .,;:!?\"'()[]*`“”‘’。၊။៕។"


@dataclass(frozen=True)
class Accuracy:
    """How often the right answer was given.

    Attributes:
        correct: Share of the n rows, 0 to 1. An answer that means no choice is a wrong one.
        unparsed: Share of the n rows whose answer means no choice, or more than one.
        n: Rows whose reference says which choice is right.
        interval: Of `correct`, at 95 %.
        hits: By row that was counted, for a paired test.
        left_out: Rows whose reference says no choice.
    """

    correct: float
    unparsed: float
    n: int
    interval: Interval
    hits: tuple[bool, ...]
    left_out: int = 0


def accuracy(
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    language: Language | str = "th",
    *,
    choices: Sequence[Sequence[str]] | None = None,
    sources: Sequence[str] | None = None,
    seed: int = 0,
) -> Accuracy:
    """Measures the accuracy of multiple choice and of classification.

    With `choices`, or with references that all begin with a label ("ข", "คำตอบที่ถูกต้องคือ ข.
    ..."), answers are read as choices (`answers.py` says how). Other references are classes. An
    answer is then right if it is the reference, or if it names the reference and no other class of
    the file. Upper and lower case, white space and closing marks do not count.

    Args:
        references: The right label, the right choice's text, or an answer that begins by saying it.
        choices: By row, the texts of the choices in order, without labels; empty for a row that has
            none.
        sources: What each question was made from. The interval then resamples sources, not rows.

    Raises:
        ConfigError: Unequal lengths, no rows, something else than text, no such language, or
            no reference that says what is right.
    """
    if isinstance(language, str):
        Language.load(language)
    return accuracy_in_any(
        predictions, references, language, choices=choices, sources=sources, seed=seed
    )


def accuracy_in_any(
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    language: Language | str,
    *,
    choices: Sequence[Sequence[str]] | None = None,
    sources: Sequence[str] | None = None,
    seed: int = 0,
) -> Accuracy:
    """Does what `accuracy` does, in any language: one without a file is read by English words."""
    answers, wanted = paired_texts(predictions, references)
    for name, values in (("lists of choices", choices), ("sources", sources)):
        if values is not None and len(values) != len(answers):
            raise ConfigError(f"{len(answers)} predictions and {len(values)} {name}")
    given, right = _read(answers, wanted, choices or [()] * len(answers), language)
    # An answer cannot be right where nobody knows what is.
    rows = [i for i, meaning in enumerate(right) if meaning is not None]
    if not rows:
        raise ConfigError(
            "No reference says which answer is right",
            hint="Look at the answers, or give the choices.",
        )
    hits = tuple(given[i] == right[i] for i in rows)
    clusters = sources and [sources[i] for i in rows]
    return Accuracy(
        correct=sum(hits) / len(rows),
        unparsed=sum(given[i] is None for i in rows) / len(rows),
        n=len(rows),
        interval=mean_interval([float(hit) for hit in hits], clusters=clusters, seed=seed),
        hits=hits,
        left_out=len(right) - len(rows),
    )


_Meanings = Sequence[int | str | None]


def _read(
    answers: Sequence[str],
    references: Sequence[str],
    choices: Sequence[Sequence[str]],
    language: Language | str,
) -> tuple[_Meanings, _Meanings]:
    """Returns what answers and references mean: positions of choices, or names of classes."""
    right = [
        meant_choice(text, given, language, reference=True)
        for text, given in zip(references, choices, strict=True)
    ]
    labelled = all(
        position is not None
        for position, text in zip(right, references, strict=True)
        if text.strip()
    )
    if labelled or any(choices):
        pairs = zip(answers, choices, strict=True)
        return [meant_choice(text, given, language) for text, given in pairs], right
    names = [_bare(text) or None for text in references]
    classes = {name for name in names if name is not None}
    return [_named_class(text, classes) for text in answers], names


def _bare(text: str) -> str:
    return squeeze(text).strip(_ENDS)


def _named_class(text: str, classes: Set[str]) -> str | None:
    """Returns the one class that a text is or names."""
    bare = _bare(text)
    if bare in classes:
        return bare
    named = set()
    # The longest first, each taken out of the text: "ไม่สุภาพ" does not name "สุภาพ" as well.
    for name in sorted(classes, key=len, reverse=True):
        if name in bare:
            named.add(name)
            bare = bare.replace(name, "\0")
    return named.pop() if len(named) == 1 else None


def offered(row: Question | Prediction, language: Language | str = "th") -> tuple[str, ...]:
    """Returns a row's choices.

    For multiple choice without any, these are the labelled lines of its context, else of its
    question.
    """
    if row.choices or row.task != "multiple_choice":
        return row.choices
    return labelled_choices(row.context, language) or labelled_choices(row.question, language)
