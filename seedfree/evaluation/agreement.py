"""Agreement of two raters on the same items: Cohen's kappa, rank correlation, intervals by bootstrap.

Sources: Cohen (1960, 1968) for kappa and its weights; Spearman (1904) with the mean rank for ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np

from seedfree.errors import ConfigError
from seedfree.evaluation.resample import Interval, Strata, interval_around
from seedfree.evaluation.rows import absent

__all__ = ["Weights", "bootstrap", "kappa", "pairs", "raw_agreement", "spearman"]

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
        values = _numbers(list(place))
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
    x, y = (_centred_ranks(_numbers(side)) for side in pairs(a, b))
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


def _numbers(marks: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
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
