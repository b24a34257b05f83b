"""Bootstrap intervals, paired tests and the agreement of two raters.

Rows made from one source are not independent, so whole clusters (sources) are drawn. They are drawn
within their group (task), so that every resample has every task.

- Interval: percentile bootstrap, 1,000 resamples (Efron and Tibshirani 1993, section 13; for corpus
  BLEU, Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation").
- Paired test: approximate randomization (Riezler and Maxwell 2005, "On Some Pitfalls in Automatic
  Evaluation and Significance Testing for MT", who find it less ready to call a difference
  significant than the bootstrap). The two systems' outputs of a cluster are exchanged with
  probability 1/2. p is the share of exchanges with a difference at least as large as the one seen,
  either way.
- Agreement: Cohen's kappa, Spearman's rank correlation, the share of equal marks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedfree._files import absent
from seedfree.errors import ConfigError

__all__ = [
    "RESAMPLES",
    "Interval",
    "Strata",
    "Weights",
    "bootstrap",
    "interval_around",
    "kappa",
    "marked_by_both",
    "mean_interval",
    "p_value",
    "paired_p",
    "raw_agreement",
    "spearman",
]

RESAMPLES = 1000
_BLOCK = 4_000_000  # Cells of one block of draws: 32 MB.
_TIE = 1e-12  # Differences that only rounding sets apart.

Weights = Literal["linear", "quadratic"] | None
_POWERS = {"linear": 1, "quadratic": 2}

_Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """From `low` to `high`, in the units of what it is about."""

    low: float
    high: float


def mean_interval(
    values: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns the interval of the mean of one number a row.

    Raises:
        ConfigError: No values, values that are not finite numbers, or groups or clusters of another
            length.
    """
    numbers = _finite_numbers(values)
    strata = Strata.of(len(numbers), groups, clusters, seed)
    # Clusters differ in size, so the number of rows is drawn along with their sum.
    by_group = strata.resampled(np.stack([numbers, np.ones_like(numbers)], 1))
    sums = np.sum(list(by_group.values()), axis=0)
    return interval_around(sums[:, 0] / sums[:, 1], float(numbers.mean()), level)


def paired_p(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> float:
    """Returns p of the difference of two means over the same rows, by approximate randomization.

    Raises:
        ConfigError: As in `mean_interval`, or unequal lengths.
    """
    a, b = _finite_numbers(first), _finite_numbers(second)
    if len(a) != len(b):
        raise ConfigError(
            f"{len(a)} values against {len(b)}", hint="A paired test needs the same rows in both."
        )
    n, difference = len(a), (b - a)[:, None]
    total = float(difference.sum())
    # To exchange a row's two values turns the sign of its difference.
    turned = Strata.of(n, groups, clusters, seed).exchanged(difference)
    return p_value(total / n, (total - 2 * turned) / n)


def bootstrap(
    statistic: Callable[[Sequence[Any], Sequence[Any]], float],
    a: Sequence[Any],
    b: Sequence[Any],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns the percentile interval of a statistic of two raters.

    Items are drawn again, with both marks. Draws in which the statistic is undefined are left out.

    Args:
        clusters: What each item was made from; these are drawn instead.

    Returns:
        NaN twice where no draw defines the statistic.
    """
    score = statistic(a, b)
    values = []
    if len(a):
        for rows in Strata.of(len(a), clusters=clusters, seed=seed).redrawn():
            value = statistic([a[i] for i in rows], [b[i] for i in rows])
            if not math.isnan(value):
                values.append(value)
    if not values:
        return Interval(math.nan, math.nan)
    return interval_around(np.array(values), score, level)


def interval_around(samples: _Floats, score: float, level: float = 0.95) -> Interval:
    """Returns the middle `level` of the samples, widened to hold the score.

    The score can lie outside with few clusters or skewed samples.

    Raises:
        ConfigError: A level outside 0 to 1.
    """
    if not 0 < level < 1:
        raise ConfigError(
            f"level={level} is no share", hint="Give one between 0 and 1, such as 0.95."
        )
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(min(float(low), score), max(float(high), score))


def p_value(seen: float, exchanged: _Floats) -> float:
    """Returns a two-sided p, from 1/(resamples + 1) to 1.

    The exchange that was seen counts as one of them, so p is never 0.
    """
    as_large = np.sum(np.abs(exchanged) >= abs(seen) - _TIE)
    return float((as_large + 1) / (len(exchanged) + 1))


@dataclass(frozen=True)
class Strata:
    """Rows by group and, within it, by cluster.

    Attributes:
        rows: For each group, the numbers of its rows, ascending.
        clusters: For each group, the cluster of each of these rows, from 0 on in the order of
            appearance.
        seed: The same seed, groups and clusters give the same draws.
    """

    rows: dict[str, NDArray[np.intp]]
    clusters: dict[str, NDArray[np.intp]]
    seed: int

    @classmethod
    def of(
        cls,
        n: int,
        groups: Sequence[str] | None = None,
        clusters: Sequence[Hashable] | None = None,
        seed: int = 0,
    ) -> Strata:
        """Returns the strata of `n` rows.

        Without groups all are one. A blank or missing cluster is a cluster of its own.

        Raises:
            ConfigError: `groups` or `clusters` has another length.
        """
        for name, given in (("groups", groups), ("clusters", clusters)):
            if given is not None and len(given) != n:
                raise ConfigError(
                    f"{len(given)} {name} for {n} rows", hint="Give one for each row."
                )
        rows: dict[str, list[int]] = {}
        labels: dict[str, list[int]] = {}
        known: dict[str, dict[Hashable, int]] = {}
        for i in range(n):
            group = "" if groups is None else str(groups[i])
            # A pair, so that no cluster's own name is that of a row without one.
            cluster: Hashable = ("row", i)
            if clusters is not None and not _blank(clusters[i]):
                cluster = ("cluster", clusters[i])
            numbers = known.setdefault(group, {})
            rows.setdefault(group, []).append(i)
            labels.setdefault(group, []).append(numbers.setdefault(cluster, len(numbers)))
        return cls(_as_arrays(rows), _as_arrays(labels), seed)

    def only(self, group: str) -> Strata:
        """Returns the strata of the rows of one group, numbered anew."""
        rows = np.arange(len(self.rows[group]), dtype=np.intp)
        return Strata({group: rows}, {group: self.clusters[group]}, self.seed)

    def resampled(self, statistics: _Floats) -> dict[str, _Floats]:
        """Sums the rows' statistics in each resample, by group: `[n, k]` to `[resamples, k]`."""
        return {name: self._drawn(name, statistics, "bootstrap") for name in self.rows}

    def exchanged(self, difference: _Floats) -> _Floats:
        """Sums `difference` over the clusters that are exchanged: `[n, k]` to `[resamples, k]`.

        Args:
            difference: Second less first.
        """
        drawn = [self._drawn(name, difference, "exchange") for name in self.rows]
        return np.asarray(np.sum(drawn, axis=0))

    def redrawn(self) -> Iterator[NDArray[np.intp]]:
        """Yields the numbers of the rows of one group in each resample.

        This is for statistics that no sum over rows can give.
        """
        ((name, rows),) = self.rows.items()
        labels = self.clusters[name]
        for block in self._times(name, "bootstrap"):
            yield from (np.repeat(rows, times) for times in block[:, labels])

    def _drawn(self, group: str, statistics: _Floats, how: str) -> _Floats:
        labels = self.clusters[group]
        sums = np.zeros((labels.max() + 1, statistics.shape[1]))
        np.add.at(sums, labels, statistics[self.rows[group]])
        return np.concatenate([times @ sums for times in self._times(group, how)])

    def _times(self, group: str, how: str) -> Iterator[NDArray[np.int64]]:
        """Yields how often each cluster is in each resample, in blocks `[resamples, clusters]`."""
        n = self.clusters[group].max() + 1
        # From the group's name, so that a group alone is drawn as it is among the others.
        draws = np.random.default_rng([self.seed, crc32(group.encode()), crc32(how.encode())])
        step = max(1, _BLOCK // n)
        for start in range(0, RESAMPLES, step):
            size = min(step, RESAMPLES - start)
            if how == "bootstrap":
                yield draws.multinomial(n, np.full(n, 1 / n), size=size)
            else:
                yield draws.integers(0, 2, (size, n))


def _as_arrays(numbers: dict[str, list[int]]) -> dict[str, NDArray[np.intp]]:
    return {name: np.array(members, np.intp) for name, members in numbers.items()}


def _blank(cluster: Hashable) -> bool:
    """Tells whether it is None, NaN (an empty cell of a table) or no text."""
    return cluster == "" or absent(cluster)


def _finite_numbers(values: ArrayLike) -> _Floats:
    numbers = np.asarray(values, float)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ConfigError(
            "The values are not a list of finite numbers",
            hint="Give one number a row, at least one.",
        )
    return numbers


def kappa(a: Sequence[Hashable], b: Sequence[Hashable], weights: Weights = None) -> float:
    """Measures how far two raters agree beyond chance, as Cohen's kappa.

    It is 1 at best, 0 as by chance, negative below that.

    Args:
        a: Marks of the first rater, one an item. `None` or NaN for no mark leaves the item out.
        b: Marks of the second rater, in the same order.
        weights: How bad a disagreement is: all alike (`None`, for any labels), or by the distance
            of the two marks or its square (for numbers). The distance is that of the values: 1 and
            4 are 3 apart, whether or not a rater used what lies between.

    Returns:
        NaN where it is undefined: for no pairs, and where both raters gave every item one and the
            same mark, so that chance alone would agree as well.

    Raises:
        ConfigError: The lengths differ, no such weights, or weights for marks that are not finite
            numbers.
    """
    a, b = marked_by_both(a, b)
    if weights is not None and weights not in _POWERS:
        raise ConfigError(
            f"Unknown weights {weights!r}", hint=f"Known: None, {', '.join(map(repr, _POWERS))}."
        )
    place = {mark: number for number, mark in enumerate(dict.fromkeys([*a, *b]))}
    counts = np.zeros((len(place), len(place)))
    np.add.at(counts, ([place[mark] for mark in a], [place[mark] for mark in b]), 1)
    distance = 1 - np.eye(len(place))
    if weights is not None:
        values = _finite_marks(list(place))
        distance = np.abs(values[:, None] - values) ** _POWERS[weights]
    by_chance = float((distance * np.outer(counts.sum(1), counts.sum(0))).sum())
    if not by_chance:
        return math.nan
    return 1 - len(a) * float((distance * counts).sum()) / by_chance


def spearman(a: Sequence[float | None], b: Sequence[float | None]) -> float:
    """Measures Spearman's rank correlation, -1 to 1, ties at their mean rank.

    Args:
        a: One number an item; `None` or NaN leaves the item out.
        b: The other numbers, in the same order.

    Returns:
        NaN where it is undefined: for fewer than two pairs, and where one side has a single value
            throughout.

    Raises:
        ConfigError: The lengths differ, or a value is not a finite number.
    """
    x, y = (_centred_ranks(_finite_marks(side)) for side in marked_by_both(a, b))
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread else math.nan


def raw_agreement(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Measures the share (0 to 1) of the pairs with equal marks; NaN for no pairs."""
    a, b = marked_by_both(a, b)
    if not a:
        return math.nan
    return sum(bool(x == y) for x, y in zip(a, b, strict=True)) / len(a)


def marked_by_both(a: Sequence[Any], b: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Returns both raters' marks of the items that both marked, not with `None` or NaN.

    Raises:
        ConfigError: The lengths differ.
    """
    if len(a) != len(b):
        raise ConfigError(
            f"{len(a)} marks against {len(b)}",
            hint="Both raters mark the same items, in one order.",
        )
    both = [(x, y) for x, y in zip(a, b, strict=True) if not (absent(x) or absent(y))]
    return [x for x, _ in both], [y for _, y in both]


def _finite_marks(marks: Sequence[Any]) -> _Floats:
    try:
        values = np.array(marks, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([math.nan])
    if not np.isfinite(values).all():
        raise ConfigError(
            "Marks are not finite numbers", hint="Give numbers, or kappa without weights."
        )
    return values


def _centred_ranks(values: _Floats) -> _Floats:
    """Returns twice the ranks' distances from their mean.

    These are whole numbers, so that equal orders correlate with exactly 1.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((2 * ends - counts - len(values))[inverse], dtype=np.float64)
