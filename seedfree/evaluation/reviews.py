"""What native speakers said about rows: means with intervals, agreement with each other and with a judge."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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


class Scored(Protocol):
    """What a judge returns."""

    @property
    def scores(self) -> Sequence[float | None]:
        """1 to 10 in the order of the rows, `None` for no verdict."""
        ...


@dataclass(frozen=True)
class Review:
    """What one reviewer said about one row.

    Attributes:
        item: The row's name on the sheet.
        fluency, culture, correctness: 1 (worst) to 5, `None` where there is no mark.
        dataset: Name of its data set; empty where there was one alone.
        row: Its number in the data set, from 0.
        id: Its id in the data set.
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
        """The mark for a question; for `None` the mean of the three, where all are given."""
        marks = dict(zip(QUESTIONS, (self.fluency, self.culture, self.correctness), strict=True))
        if question is not None:
            return marks[question]
        given = [mark for mark in marks.values() if mark is not None]
        return sum(given) / len(given) if len(given) == len(marks) else None


@dataclass(frozen=True)
class Mean:
    """A mean mark, 1 to 5, with its interval; NaN where there are no marks.

    Attributes:
        items: Rows with a mark.
        marks: Marks on them by all reviewers.
    """

    value: float
    interval: Interval
    items: int
    marks: int


@dataclass(frozen=True)
class Agreement:
    """How far two raters agree on the items that both marked.

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
        """Items that both marked."""
        return len(self.first)

    @property
    def raw(self) -> float:
        """Share of the items with equal marks, 0 to 1."""
        return self._value("raw")

    @property
    def kappa(self) -> float:
        """Cohen's kappa without weights; a disagreement by one counts as one by four."""
        return self._value("kappa")

    @property
    def linear(self) -> float:
        """Cohen's kappa, weighted by distance."""
        return self._value("linear")

    @property
    def quadratic(self) -> float:
        """Cohen's kappa, weighted by squared distance."""
        return self._value("quadratic")

    @property
    def spearman(self) -> float:
        """Rank correlation, -1 to 1."""
        return self._value("spearman")

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Bootstrap interval, over sources, of one of `raw`, `kappa`, `linear`, `quadratic`, `spearman`."""
        return bootstrap(
            _known(name, _STATISTICS), *self._sides(name), clusters=self.sources, level=level
        )

    def _value(self, name: str) -> float:
        return _STATISTICS[name](*self._sides(name))

    def _sides(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (
            (self.first, self.second)
            if name == "spearman"
            else (self.first_marks, self.second_marks)
        )

    def __str__(self) -> str:
        low, high = self.interval("quadratic")
        return (
            f"n {self.n}, equal {self.raw:.0%}, kappa {self.kappa:.2f}, linear {self.linear:.2f}, "
            f"quadratic {self.quadratic:.2f} [{low:.2f}, {high:.2f}], rank correlation {self.spearman:.2f}"
        )


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
        """Their names, in the order of the files."""
        return tuple(dict.fromkeys(row.reviewer for row in self.rows))

    def mean(
        self,
        question: str,
        *,
        dataset: str | None = None,
        task: str | None = None,
        level: float = 0.95,
    ) -> Mean:
        """The mean over rows of the reviewers' mean mark, for all rows or those of a data set or task.

        The interval is a bootstrap within data set and task, clustered by source.
        """
        _known(question, dict.fromkeys(QUESTIONS))
        of = [r for r in self.rows if dataset in (None, r.dataset) and task in (None, r.task)]
        marked = [r for r in of if r.mark(question) is not None]
        means = _by_item(marked, question)
        first = {r.item: r for r in reversed(marked)}
        if not means:
            return Mean(math.nan, Interval(math.nan, math.nan), 0, 0)
        groups = [f"{first[item].dataset}\x1f{first[item].task}" for item in means]
        clusters = [first[item].source for item in means]
        interval = mean_interval(
            list(means.values()), groups=groups, clusters=clusters, level=level
        )
        return Mean(sum(means.values()) / len(means), interval, len(means), len(marked))

    def agreement(
        self, question: str, first: str | None = None, second: str | None = None
    ) -> Agreement:
        """Agreement of two reviewers on a question; the two need names where there are more.

        Raises:
            ConfigError: There is no such reviewer or question, or not two reviewers.
        """
        _known(question, dict.fromkeys(QUESTIONS))
        if (first is None or second is None) and len(self.reviewers) != 2:
            hint = (
                f"Name two of: {', '.join(self.reviewers)}."
                if len(self.reviewers) > 2
                else "Read two files."
            )
            raise ConfigError(f"{len(self.reviewers)} reviewers", hint=hint)
        names = self.reviewers if first is None or second is None else (first, second)
        sides = []
        for name in names:
            _known(name, dict.fromkeys(self.reviewers))
            sides.append(_by_item([r for r in self.rows if r.reviewer == name], question))
        both = [item for item in sides[0] if item in sides[1]]
        marks = tuple(tuple(int(side[item]) for item in both) for side in sides)
        source = {row.item: row.source for row in self.rows}
        return Agreement(
            marks[0], marks[1], marks[0], marks[1], tuple(source[item] for item in both)
        )

    def agreement_with(
        self,
        marks: Sequence[float | None] | Mapping[str, Any] | Scored,
        question: str | None = None,
    ) -> Agreement:
        """Agreement of the reviewers with a judge who marks from 1 to 10.

        The reviewers' mark of a row is their mean; for kappa it is rounded, and the judge's 1 to 10
        become 1 to 5 by pairs: 1 and 2 are 1, 9 and 10 are 5.

        Args:
            marks: The judge's marks of all rows of the data set, in its order, or what holds them
                as `scores`; or marks by id of the row, or by its name on the sheet. Of several data
                sets: such marks by name of the data set.
            question: The mark to compare with; `None` for the mean of the three.

        Raises:
            ConfigError: No such question, marks of another number of rows, or outside 1 to 10.
        """
        if question is not None:
            _known(question, dict.fromkeys(QUESTIONS))
        if not isinstance(marks, Mapping) and len(self.sizes) > 1:
            hint = f"Give them by name: {', '.join(self.sizes)}."
            raise ConfigError(
                f"The sheet is of {len(self.sizes)} data sets, the marks of one", hint=hint
            )
        origin = {row.item: row for row in self.rows}
        means = _by_item(self.rows, question).items()
        judged_too = [
            (human, self._judged(marks, origin[item]), origin[item].source) for item, human in means
        ]
        pairs = [
            (human, judged, source) for human, judged, source in judged_too if judged is not None
        ]
        bad = [judged for _, judged, _ in pairs if not 1 <= judged <= 10]
        if bad:
            raise ConfigError(
                f"A mark of {bad[0]} is not from 1 to 10",
                hint="Bring the judge's marks to that scale.",
            )
        return Agreement(
            tuple(human for human, _, _ in pairs),
            tuple(judged for _, judged, _ in pairs),
            tuple(int(human + 0.5) for human, _, _ in pairs),
            tuple(int((judged + 1) // 2) for _, judged, _ in pairs),
            tuple(source for _, _, source in pairs),
        )

    def _judged(self, marks: Any, row: Review) -> float | None:
        if isinstance(marks, Mapping):
            if row.dataset in marks and not isinstance(marks[row.dataset], int | float | None):
                return self._judged(marks[row.dataset], row)
            mark = marks.get(row.item, marks.get(row.id))
        else:
            marks = getattr(marks, "scores", marks)
            if len(marks) != self.sizes[row.dataset]:
                hint = "Give a mark or None for every row of the data set that the sheet was drawn from, in its order."
                raise ConfigError(
                    f"{len(marks)} marks for {self.sizes[row.dataset]} rows", hint=hint
                )
            mark = marks[row.row]
        return None if mark is None or math.isnan(mark) else float(mark)

    def table(self) -> str:
        """Means with intervals, over all and by data set and task, and the agreement of each pair, in Markdown."""
        lines = [f"| | rows | {' | '.join(QUESTIONS)} |", f"|---|---|{'---|' * len(QUESTIONS)}"]
        datasets = list(dict.fromkeys(r.dataset for r in self.rows if len(self.sizes) > 1))
        tasks = sorted({r.task for r in self.rows})
        cuts: list[tuple[str, str | None, str | None]] = [("all", None, None)]
        cuts += [(name, name, None) for name in sorted(datasets)]
        cuts += [(task, None, task) for task in tasks]
        for title, dataset, task in cuts:
            means = [self.mean(q, dataset=dataset, task=task) for q in QUESTIONS]
            cells = [
                f"{m.value:.2f} [{m.interval.low:.2f}, {m.interval.high:.2f}]" if m.items else "–"
                for m in means
            ]
            lines.append(
                f"| {shown(title).replace('|', '/')} | {max(m.items for m in means)} | {' | '.join(cells)} |"
            )
        for first, second in itertools.combinations(self.reviewers, 2):
            lines += ["", f"{shown(first)} and {shown(second)}:", ""]
            lines += [
                f"- {question}: {self.agreement(question, first, second)}" for question in QUESTIONS
            ]
        return "\n".join(lines)


def _known(name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise ConfigError(f"Unknown {name!r}", hint=f"Known: {', '.join(values)}.")
    return values[name]


def _by_item(rows: Sequence[Review], question: str | None) -> dict[str, float]:
    marks: dict[str, list[float]] = {}
    for row in rows:
        mark = row.mark(question)
        if mark is not None:
            marks.setdefault(row.item, []).append(mark)
    return {item: sum(given) / len(given) for item, given in marks.items()}
