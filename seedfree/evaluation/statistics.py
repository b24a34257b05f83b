"""Bootstrap intervals and paired tests on per-row statistics, within groups (tasks) and by cluster (source).

Rows made from one source are not independent, so whole clusters are drawn. They are drawn within their group, so that
every resample has every task.

- Interval: percentile bootstrap, 1,000 resamples (Efron and Tibshirani 1993, section 13; for corpus BLEU, Koehn 2004,
  "Statistical Significance Tests for Machine Translation Evaluation").
- Paired test: approximate randomization (Riezler and Maxwell 2005, "On Some Pitfalls in Automatic Evaluation and
  Significance Testing for MT", who find it less ready to call a difference significant than the bootstrap): the two
  systems' outputs of a cluster are exchanged with probability 1/2; p is the share of exchanges with a difference at
  least as large as the one seen, either way.
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
    "Interval",
    "RESAMPLES",
    "Strata",
    "Weights",
    "bootstrap",
    "interval_around",
    "kappa",
    "mean_interval",
    "p_value",
    "paired_p",
    "pairs",
    "raw_agreement",
    "spearman",
]

Weights = Literal["linear", "quadratic"] | None
_POWERS = {"linear": 1, "quadratic": 2}


def pairs(a: Sequence[Any], b: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Both raters' marks of the items that both marked: pairs with `None` or NaN in them are left out.

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


def raw_agreement(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Share (0 to 1) of the pairs with equal marks; NaN for no pairs."""
    a, b = pairs(a, b)
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a) if a else math.nan


def kappa(a: Sequence[Hashable], b: Sequence[Hashable], weights: Weights = None) -> float:
    """Cohen's kappa: how far two raters agree beyond chance, 1 at best, 0 as by chance, negative below that.

    Args:
        a: Marks of the first rater, one an item; `None` or NaN where there is none, which leaves the item out.
        b: Marks of the second rater, in the same order.
        weights: How bad a disagreement is: all alike (`None`, for any labels), or by the distance of the two marks
            or its square (for numbers). The distance is that of the values: 1 and 4 are 3 apart, used or not what
            lies between.

    Returns:
        NaN where it is undefined: for no pairs, and where both raters gave every item one and the same mark, so that
        chance alone would agree as well.

    Raises:
        ConfigError: The lengths differ, no such weights, or weights for marks that are no finite numbers.
    """
    a, b = pairs(a, b)
    if weights is not None and weights not in _POWERS:
        raise ConfigError(
            f"Unknown weights {weights!r}", hint=f"Known: None, {', '.join(map(repr, _POWERS))}."
        )
    place = {mark: number for number, mark in enumerate(dict.fromkeys([*a, *b]))}
    table = np.zeros((len(place), len(place)))
    np.add.at(table, ([place[mark] for mark in a], [place[mark] for mark in b]), 1)
    if weights is None:
        distance = 1 - np.eye(len(place))
    else:
        values = _finite_marks(list(place))
        distance = np.abs(values[:, None] - values) ** _POWERS[weights]
    by_chance = float((distance * np.outer(table.sum(1), table.sum(0))).sum())
    return 1 - len(a) * float((distance * table).sum()) / by_chance if by_chance else math.nan


def spearman(a: Sequence[float | None], b: Sequence[float | None]) -> float:
    """Spearman's rank correlation, -1 to 1, ties at their mean rank.

    Args:
        a: One number an item; `None` or NaN leaves the item out.
        b: The other numbers, in the same order.

    Returns:
        NaN where it is undefined: for fewer than two pairs, and where one side has a single value
            throughout.

    Raises:
        ConfigError: The lengths differ, or a value is no finite number.
    """
    x, y = (_centred_ranks(_finite_marks(side)) for side in pairs(a, b))
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread else math.nan


def bootstrap(
    statistic: Callable[[Sequence[Any], Sequence[Any]], float],
    a: Sequence[Any],
    b: Sequence[Any],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of two raters; items are drawn again, with both marks.

    Draws in which the statistic is undefined are left out.

    Args:
        clusters: What each item was made from; these are drawn instead.

    Returns:
        NaN twice where no draw defines the statistic.
    """
    score = statistic(a, b)
    drawn = Strata.of(len(a), clusters=clusters, seed=seed).redrawn() if len(a) else ()
    found = [statistic([a[i] for i in rows], [b[i] for i in rows]) for rows in drawn]
    values = np.array([value for value in found if not math.isnan(value)])
    return interval_around(values, score, level) if len(values) else Interval(math.nan, math.nan)


def _finite_marks(marks: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        values = np.array(marks, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([math.nan])
    if not np.isfinite(values).all():
        raise ConfigError(
            "Marks are not finite numbers", hint="Give numbers, or kappa without weights."
        )
    return values


def _centred_ranks(
    values: np.ndarray[Any, np.dtype[np.float64]],
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Twice the ranks' distances from their mean: whole numbers, so that equal orders give exactly 1."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((2 * ends - counts - len(values))[inverse], dtype=np.float64)


RESAMPLES = 1000
_BLOCK = 4_000_000  # Cells of one block of draws: 32 MB.
_TIE = 1e-12  # Differences that only rounding sets apart.

_Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """From `low` to `high`, in the units of what it is about."""

    low: float
    high: float


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
        """Strata of `n` rows. Without groups all are one; a blank or missing cluster is a cluster of its own.

        Raises:
            ConfigError: `groups` or `clusters` has another length.
        """
        for name, given in (("groups", groups), ("clusters", clusters)):
            if given is not None and len(given) != n:
                raise ConfigError(
                    f"{len(given)} {name} for {n} rows", hint="Give one for each row."
                )
        rows: dict[str, list[int]] = {}
        for i in range(n):
            rows.setdefault("" if groups is None else str(groups[i]), []).append(i)
        labels = {}
        for name, members in rows.items():
            known: dict[Hashable, int] = {}
            own = (
                ("row", i) if clusters is None or _blank(clusters[i]) else ("cluster", clusters[i])
                for i in members
            )
            labels[name] = np.array([known.setdefault(key, len(known)) for key in own], np.intp)
        return cls(
            {name: np.array(members, np.intp) for name, members in rows.items()}, labels, seed
        )

    def only(self, group: str) -> Strata:
        """The strata of the rows of one group, numbered anew."""
        rows = np.arange(len(self.rows[group]), dtype=np.intp)
        return Strata({group: rows}, {group: self.clusters[group]}, self.seed)

    def resampled(self, statistics: _Floats) -> dict[str, _Floats]:
        """For each group, the sums of its rows' statistics in each resample: `[n, k]` to `[resamples, k]`."""
        return {
            name: self._drawn(name, self._summed(name, statistics), "bootstrap")
            for name in self.rows
        }

    def exchanged(self, difference: _Floats) -> _Floats:
        """The sum of `difference` (second less first, `[n, k]`) over the clusters exchanged: `[resamples, k]`."""
        drawn = [
            self._drawn(name, self._summed(name, difference), "exchange") for name in self.rows
        ]
        return np.asarray(np.sum(drawn, axis=0))

    def _summed(self, group: str, statistics: _Floats) -> _Floats:
        labels = self.clusters[group]
        sums = np.zeros((labels.max() + 1, statistics.shape[1]))
        np.add.at(sums, labels, statistics[self.rows[group]])
        return sums

    def redrawn(self) -> Iterator[NDArray[np.intp]]:
        """The numbers of the rows of one group in each resample, for statistics that are no function of sums."""
        ((name, rows),) = self.rows.items()
        for block in self._times(name, self.clusters[name].max() + 1, "bootstrap"):
            yield from (np.repeat(rows, times) for times in block[:, self.clusters[name]])

    def _drawn(self, group: str, sums: _Floats, how: str) -> _Floats:
        return np.concatenate([times @ sums for times in self._times(group, len(sums), how)])

    def _times(self, group: str, n: int, how: str) -> Iterator[NDArray[np.int64]]:
        """How often each of n clusters is in each resample, block by block."""
        draws = np.random.default_rng([self.seed, crc32(group.encode()), crc32(how.encode())])
        step = max(1, _BLOCK // n)
        for start in range(0, RESAMPLES, step):
            size = min(step, RESAMPLES - start)
            if how == "bootstrap":
                yield draws.multinomial(n, np.full(n, 1 / n), size=size)
            else:
                yield draws.integers(0, 2, (size, n))


def interval_around(samples: _Floats, score: float, level: float = 0.95) -> Interval:
    """The middle `level` of the samples, widened to the score where it lies outside (few clusters, skewed scores).

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
    """Two-sided, from 1/(resamples + 1) to 1: a p of 0 is not to be had from so many resamples."""
    return float((np.sum(np.abs(exchanged) >= abs(seen) - _TIE) + 1) / (len(exchanged) + 1))


def mean_interval(
    values: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of one number a row.

    Raises:
        ConfigError: No values, values that are not finite numbers, or groups or clusters of another
            length.
    """
    numbers = _numbers(values)
    strata = Strata.of(len(numbers), groups, clusters, seed)
    sums = np.sum(
        list(strata.resampled(np.stack([numbers, np.ones_like(numbers)], 1)).values()), axis=0
    )
    return interval_around(sums[:, 0] / sums[:, 1], float(numbers.mean()), level)


def paired_p(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> float:
    """P of the difference of two means over the same rows, by approximate randomization.

    Raises:
        ConfigError: As in `mean_interval`, or unequal lengths.
    """
    a, b = _numbers(first), _numbers(second)
    if len(a) != len(b):
        raise ConfigError(
            f"{len(a)} values against {len(b)}", hint="A paired test needs the same rows in both."
        )
    difference = (b - a)[:, None]
    total = float(difference.sum())
    return p_value(
        total / len(a),
        (total - 2 * Strata.of(len(a), groups, clusters, seed).exchanged(difference)) / len(a),
    )


def _blank(cluster: Hashable) -> bool:
    """None, NaN (an empty cell of a table) or no text."""
    return cluster == "" or absent(cluster)


def _numbers(values: ArrayLike) -> _Floats:
    numbers = np.asarray(values, float)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ConfigError(
            "The values are not a list of finite numbers",
            hint="Give one number a row, at least one.",
        )
    return numbers
