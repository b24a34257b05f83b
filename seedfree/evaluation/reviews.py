"""Native speakers' marks of rows: means with intervals, agreement with each other and a judge."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from seedfree.errors import ConfigError
from seedfree.evaluation.statistics import (
    Interval,
    bootstrap,
    kappa,
    mean_interval,
    raw_agreement,
    spearman,
)
from seedfree.text import shown

__all__ = ["QUESTIONS", "Agreement", "Mean", "Review", "Reviews", "Scored"]

QUESTIONS = ("fluency", "culture", "correctness")
_STATISTICS: dict[str, Callable[[Sequence[Any], Sequence[Any]], float]] = {
    "raw": raw_agreement,
    "kappa": kappa,
    "linear": functools.partial(kappa, weights="linear"),
    "quadratic": functools.partial(kappa, weights="quadratic"),
    "spearman": spearman,
}


@dataclass(frozen=True)
class Reviews:
    """The marks that came back.

    Attributes:
        rows: One for each reviewer and row of the sheet, in the order of reviewers, then of the
            sheet.
        sizes: Rows of each data set that the sheet was drawn from, by name.
    """

    rows: tuple[Review, ...]
    sizes: Mapping[str, int]

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Returns the reviewers' names, in the order of the files."""
        return tuple(dict.fromkeys(row.reviewer for row in self.rows))

    def mean(
        self,
        question: str,
        *,
        dataset: str | None = None,
        task: str | None = None,
        level: float = 0.95,
    ) -> Mean:
        """Returns the mean over rows of the reviewers' mean mark.

        The interval is a bootstrap within data set and task, clustered by source.

        Args:
            question: One of `QUESTIONS`.
            dataset: Take the rows of this data set alone. `None` for all.
            task: Take the rows of this task alone. `None` for all.
            level: Of the interval, between 0 and 1.

        Raises:
            ConfigError: There is no such question.
        """
        _check_known(question, QUESTIONS)
        marked = [
            row
            for row in self.rows
            if dataset in (None, row.dataset)
            and task in (None, row.task)
            and row.mark(question) is not None
        ]
        means = _by_item(marked, question)
        if not means:
            return Mean(math.nan, Interval(math.nan, math.nan), 0, 0)
        origins = _origins(marked)
        interval = mean_interval(
            list(means.values()),
            # Groups are texts. No name holds the character between the two.
            groups=[f"{origins[item].dataset}\x1f{origins[item].task}" for item in means],
            clusters=[origins[item].source for item in means],
            level=level,
        )
        return Mean(sum(means.values()) / len(means), interval, len(means), len(marked))

    def agreement(
        self, question: str, first: str | None = None, second: str | None = None
    ) -> Agreement:
        """Returns the agreement of two reviewers on a question.

        Args:
            question: One of `QUESTIONS`.
            first: Name of a reviewer. May be left out where there are two in all.
            second: Name of the other one.

        Raises:
            ConfigError: There is no such reviewer or question, or not two reviewers.
        """
        _check_known(question, QUESTIONS)
        if first is None or second is None:
            if len(self.reviewers) != 2:
                hint = "Read two files."
                if len(self.reviewers) > 2:
                    hint = f"Name two of: {', '.join(self.reviewers)}."
                raise ConfigError(f"{len(self.reviewers)} reviewers", hint=hint)
            first, second = self.reviewers
        by_first, by_second = self._marks(first, question), self._marks(second, question)
        both = [item for item in by_first if item in by_second]
        marks = tuple(tuple(int(side[item]) for item in both) for side in (by_first, by_second))
        origins = _origins(self.rows)
        sources = tuple(origins[item].source for item in both)
        return Agreement(marks[0], marks[1], marks[0], marks[1], sources)

    def agreement_with(
        self,
        marks: Sequence[float | None] | Mapping[str, Any] | Scored,
        question: str | None = None,
    ) -> Agreement:
        """Returns the agreement of the reviewers with a judge who marks from 1 to 10.

        The reviewers' mark of a row is their mean. For kappa it is rounded, and the judge's 1 to 10
        become 1 to 5 by pairs: 1 and 2 are 1, 9 and 10 are 5.

        Args:
            marks: The judge's marks of all rows of the data set, in its order, or an object with
                these marks as `scores`. Or marks by the id of the row, or by its name on the sheet.
                For several data sets: such marks by name of the data set.
            question: The mark to compare with. `None` for the mean of the three.

        Raises:
            ConfigError: There is no such question, the marks are of another number of rows, or one
                is outside 1 to 10.
        """
        if question is not None:
            _check_known(question, QUESTIONS)
        if not isinstance(marks, Mapping) and len(self.sizes) > 1:
            message = f"The sheet is of {len(self.sizes)} data sets, the marks of one"
            raise ConfigError(message, hint=f"Give them by name: {', '.join(self.sizes)}.")
        origins = _origins(self.rows)
        humans: list[float] = []
        judges: list[float] = []
        sources: list[str] = []
        for item, human in _by_item(self.rows, question).items():
            judged = self._judged(marks, origins[item])
            if judged is not None:
                humans.append(human)
                judges.append(judged)
                sources.append(origins[item].source)
        bad = [judged for judged in judges if not 1 <= judged <= 10]
        if bad:
            hint = "Bring the judge's marks to that scale."
            raise ConfigError(f"A mark of {bad[0]} is not from 1 to 10", hint=hint)
        return Agreement(
            tuple(humans),
            tuple(judges),
            # Half up, as people round. `round` would take 4.5 to 4.
            tuple(int(human + 0.5) for human in humans),
            tuple(int((judged + 1) // 2) for judged in judges),
            tuple(sources),
        )

    def table(self) -> str:
        """Shows means with intervals, and the agreement of each pair of reviewers, in Markdown.

        The means are over all rows, by data set where there are several, and by task.
        """
        # Not `card.table`: this one is read in a terminal, where escapes of Markdown would be in
        # the way of every figure.
        lines = [f"| | rows | {' | '.join(QUESTIONS)} |", f"|---|---|{'---|' * len(QUESTIONS)}"]
        lines.append(self._line("all"))
        if len(self.sizes) > 1:
            datasets = sorted({row.dataset for row in self.rows})
            lines += [self._line(name, dataset=name) for name in datasets]
        lines += [self._line(task, task=task) for task in sorted({row.task for row in self.rows})]
        for first, second in itertools.combinations(self.reviewers, 2):
            lines += ["", f"{shown(first)} and {shown(second)}:", ""]
            lines += [
                f"- {question}: {self.agreement(question, first, second)}" for question in QUESTIONS
            ]
        return "\n".join(lines)

    def _line(self, title: str, *, dataset: str | None = None, task: str | None = None) -> str:
        means = [self.mean(question, dataset=dataset, task=task) for question in QUESTIONS]
        # A bar would end the cell.
        name = shown(title).replace("|", "/")
        return f"| {name} | {max(mean.items for mean in means)} | {' | '.join(map(_cell, means))} |"

    def _marks(self, reviewer: str, question: str) -> dict[str, float]:
        _check_known(reviewer, self.reviewers)
        return _by_item([row for row in self.rows if row.reviewer == reviewer], question)

    def _judged(self, marks: Any, row: Review) -> float | None:
        """Returns the judge's mark of a row. `None` where there is none."""
        if isinstance(marks, Mapping):
            within = marks.get(row.dataset)
            # A number under the name of a data set is a mark of a row whose id is that name.
            if within is not None and not isinstance(within, int | float):
                return self._judged(within, row)
            mark = marks.get(row.item, marks.get(row.id))
        else:
            scores = marks.scores if isinstance(marks, Scored) else marks
            size = self.sizes[row.dataset]
            if len(scores) != size:
                hint = (
                    "Give a mark or None for every row of the data set that the sheet was drawn "
                    "from, in its order."
                )
                raise ConfigError(f"{len(scores)} marks for {size} rows", hint=hint)
            mark = scores[row.row]
        return None if mark is None or math.isnan(mark) else float(mark)


@dataclass(frozen=True)
class Review:
    """One reviewer's marks of one row.

    Attributes:
        item: The row's name on the sheet.
        reviewer: The name that the reviewer gave.
        fluency, culture, correctness: 1 (worst) to 5. `None` for no mark.
        comment: Free text. Empty for none.
        dataset: Name of the row's data set. Empty where there was one alone.
        row: Its number in the data set, from 0.
        id: Its id in the data set.
        task: Its task.
        source: Its page, or its topic: rows of one source are not independent.
    """

    item: str
    reviewer: str
    fluency: int | None
    culture: int | None
    correctness: int | None
    comment: str
    dataset: str
    row: int
    id: str
    task: str
    source: str

    def mark(self, question: str | None) -> float | None:
        """Returns the mark for a question; for `None` the mean of the three, if all are given."""
        marks = dict(zip(QUESTIONS, (self.fluency, self.culture, self.correctness), strict=True))
        if question is not None:
            return marks[question]
        given = [mark for mark in marks.values() if mark is not None]
        return sum(given) / len(given) if len(given) == len(marks) else None


@dataclass(frozen=True)
class Mean:
    """A mean mark, 1 to 5, with its interval. NaN for no marks.

    Attributes:
        value: The mean.
        interval: Of the mean.
        items: Rows with a mark.
        marks: Marks on them by all reviewers.
    """

    value: float
    interval: Interval
    items: int
    marks: int


@dataclass(frozen=True)
class Agreement:
    """The agreement of two raters on the items that both marked.

    Attributes:
        first, second: Their marks as given, by which `spearman` ranks.
        first_marks, second_marks: The same on the scale from 1 to 5, for all else.
        sources: What each item was made from.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    first_marks: tuple[int, ...]
    second_marks: tuple[int, ...]
    sources: tuple[str, ...] = field(repr=False)

    @property
    def n(self) -> int:
        """Counts the items that both marked."""
        return len(self.first)

    @property
    def raw(self) -> float:
        """Returns the share of the items with equal marks, 0 to 1."""
        return self._value("raw")

    @property
    def kappa(self) -> float:
        """Returns Cohen's kappa without weights: a disagreement by 1 counts as much as one by 4."""
        return self._value("kappa")

    @property
    def linear(self) -> float:
        """Returns Cohen's kappa, weighted by distance."""
        return self._value("linear")

    @property
    def quadratic(self) -> float:
        """Returns Cohen's kappa, weighted by squared distance."""
        return self._value("quadratic")

    @property
    def spearman(self) -> float:
        """Returns the rank correlation, -1 to 1."""
        return self._value("spearman")

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Returns the bootstrap interval of a statistic, over sources.

        Args:
            name: `raw`, `kappa`, `linear`, `quadratic` or `spearman`.
            level: Between 0 and 1.

        Raises:
            ConfigError: There is no such statistic.
        """
        _check_known(name, _STATISTICS)
        return bootstrap(_STATISTICS[name], *self._sides(name), clusters=self.sources, level=level)

    def _value(self, name: str) -> float:
        return _STATISTICS[name](*self._sides(name))

    def _sides(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # Ranks need no common scale, and rounding would only make ties.
        if name == "spearman":
            return self.first, self.second
        return self.first_marks, self.second_marks

    def __str__(self) -> str:
        low, high = self.interval("quadratic")
        return (
            f"n {self.n}, equal {self.raw:.0%}, kappa {self.kappa:.2f}, linear {self.linear:.2f}, "
            f"quadratic {self.quadratic:.2f} [{low:.2f}, {high:.2f}], "
            f"rank correlation {self.spearman:.2f}"
        )


@runtime_checkable
class Scored(Protocol):
    """What a judge returns."""

    @property
    def scores(self) -> Sequence[float | None]:
        """Returns marks from 1 to 10 in the order of the rows. `None` for no verdict."""
        ...


def _cell(mean: Mean) -> str:
    if not mean.items:
        return "–"
    # Resamples that are all alike, as those of one row, say nothing of how sure a mean is.
    if mean.interval.low == mean.interval.high:
        return f"{mean.value:.2f} [?]"
    return f"{mean.value:.2f} [{mean.interval.low:.2f}, {mean.interval.high:.2f}]"


def _check_known(name: str, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        raise ConfigError(f"Unknown {name!r}", hint=f"Known: {', '.join(names)}.")


def _by_item(rows: Sequence[Review], question: str | None) -> dict[str, float]:
    """Returns the reviewers' mean mark of each item; items without a mark are left out."""
    marks: dict[str, list[float]] = {}
    for row in rows:
        mark = row.mark(question)
        if mark is not None:
            marks.setdefault(row.item, []).append(mark)
    return {item: sum(given) / len(given) for item, given in marks.items()}


def _origins(rows: Sequence[Review]) -> dict[str, Review]:
    """Returns a review of each item, for what all reviews of it say alike: where it is from."""
    return {row.item: row for row in rows}
