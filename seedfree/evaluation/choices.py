"""Answer accuracy: which choice or label an answer means, how often it is the right one, how often none can be told."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from seedfree.errors import ConfigError
from seedfree.evaluation.answers import listed, stated
from seedfree.evaluation.predictions import Prediction
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.evaluation.words import as_texts
from seedfree.languages import Language
from seedfree.records import Question
from seedfree.text import squeeze

__all__ = ["CHOSEN", "Accuracy", "accuracy", "offered"]

CHOSEN = ("multiple_choice", "classification")
"""Tasks whose answer is one of a few, whether the benchmark lists them or not."""

_ENDS = " .,;:!?\"'()[]*`“”‘’。၊။៕។"


@dataclass(frozen=True)
class Accuracy:
    """How often the right answer was given.

    Attributes:
        correct: Share of the n rows, 0 to 1; an answer that means no choice is a wrong one.
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
    """Accuracy of multiple choice and of classification.

    With `choices`, or with references that all begin with a label ("ข", "คำตอบที่ถูกต้องคือ ข.
    ..."), answers are read as choices (`stated.py` says how). Other references are classes: an
    answer is right that is the reference, or that names it and no other class of the file; upper
    and lower case, white space and closing marks do not count.

    Args:
        references: The right label, the right choice's text, or an answer that begins by saying it.
        choices: By row, the texts of the choices in order, without labels; empty for a row that has
            none.
        sources: What each question was made from; the interval then resamples sources, not rows.

    Raises:
        ConfigError: Unequal lengths, no rows, something else than text, or no reference that says
            what is right.
    """
    predictions, references = (
        as_texts(predictions, "predictions"),
        as_texts(references, "references"),
    )
    _check(predictions, references, choices, sources)
    offered = choices or [()] * len(predictions)
    pairs = list(zip(references, offered, strict=True))
    right: list[int | str | None] = [
        stated(text, given, language, reference=True) for text, given in pairs
    ]
    said: list[int | str | None]
    if any(offered) or all(
        place is not None for place, text in zip(right, references, strict=True) if text.strip()
    ):
        said = [
            stated(text, given, language) for text, given in zip(predictions, offered, strict=True)
        ]
    else:
        right = [_bare(text) or None for text in references]
        classes = {name for name in right if isinstance(name, str)}
        said = [_named(text, classes) for text in predictions]
    rows = [i for i, answer in enumerate(right) if answer is not None]
    if not rows:
        raise ConfigError(
            "No reference says which answer is right",
            hint="Look at the answers, or give the choices.",
        )
    hits = tuple(said[i] == right[i] for i in rows)
    interval = mean_interval(
        [float(hit) for hit in hits], clusters=sources and [sources[i] for i in rows], seed=seed
    )
    unparsed = sum(said[i] is None for i in rows) / len(rows)
    return Accuracy(
        sum(hits) / len(rows), unparsed, len(rows), interval, hits, len(right) - len(rows)
    )


def offered(row: Question | Prediction, language: Language | str = "th") -> tuple[str, ...]:
    """A row's choices: its own, or for multiple choice those that stand in its context, else in its question."""
    if row.choices or row.task != "multiple_choice":
        return row.choices
    return listed(row.context, language) or listed(row.question, language)


def _check(
    predictions: Sequence[str],
    references: Sequence[str],
    choices: Sequence[Sequence[str]] | None,
    sources: Sequence[str] | None,
) -> None:
    if not predictions and not references:
        raise ConfigError("There are no predictions to score")
    for name, values in (
        ("references", references),
        ("lists of choices", choices),
        ("sources", sources),
    ):
        if values is not None and len(values) != len(predictions):
            raise ConfigError(f"{len(predictions)} predictions and {len(values)} {name}")


def _bare(text: str) -> str:
    return squeeze(text).strip(_ENDS)


def _named(text: str, classes: Set[str]) -> str | None:
    """The one class that a text is or names; of "ไม่สุภาพ" and "สุภาพ" the longer, where it stands."""
    said = _bare(text)
    if said in classes:
        return said
    rest, found = said, set()
    for name in sorted(classes, key=len, reverse=True):
        if name in rest:
            found.add(name)
            rest = rest.replace(name, "\0")
    return found.pop() if len(found) == 1 else None
