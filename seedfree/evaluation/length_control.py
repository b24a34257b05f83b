"""Win rate at equal length: what is left of a preference when longer answers are not liked for being longer.

After the length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475). A logistic regression explains the
outcome of pair i by the difference in length of its two answers, d_i = len(first_i) - len(second_i) in characters:

    P(first is preferred in pair i) = sigmoid(theta + phi * tanh(d_i / s)),    s = sqrt(mean(d_i ** 2))

A tie counts half. Fitted by Newton's method to the summed cross-entropy plus the weak ridge (0.1 / 2) phi ** 2;
theta bears none, so that without a length effect the rate is the plain win rate. The result is sigmoid(theta).

Two things differ from the paper: its third term, the difficulty of each instruction, is estimated from many models'
results and is left out; and s is the root mean square where the paper has the standard deviation, which makes tanh
the same for all pairs where one side is longer throughout.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from seedfree.evaluation.resample import Interval

__all__ = ["length_controlled"]

_RIDGE = 0.1
_STEPS = 100
_NONE = (math.nan, Interval(math.nan, math.nan))
_Array = np.ndarray[Any, np.dtype[np.float64]]


def length_controlled(
    outcomes: Sequence[float],
    differences: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> tuple[float, Interval]:
    """Win rate of the first (0 to 1) were the answers of every pair equally long, and its interval.

    Args:
        outcomes: 1 (the first is preferred), 0.5 (tie) or 0, one a pair.
        differences: Length of the first answer minus that of the second, one a pair.
        clusters: Pairs of one cluster are not independent; each by itself where not given.

    Returns:
        The interval is that of theta by the cluster-robust (sandwich) variance. NaN for no pairs,
        and where one side is longer in every pair: what equal length would give is then not in the
        data. Where all outcomes are wins (or losses) the rate is 1 (or 0) with no width, as the
        plain rate's.
    """
    y, d = np.asarray(outcomes, dtype=float), np.asarray(differences, dtype=float)
    if not len(y) or d.min() > 0 or d.max() < 0:
        return _NONE
    if y.min() == y.max() and y[0] in (0, 1):
        return float(y[0]), Interval(float(y[0]), float(y[0]))
    scale = math.sqrt(float((d**2).mean()))
    x = np.stack([np.ones(len(d)), np.tanh(d / scale) if scale else d], axis=1)
    theta = _fit(x, y)
    p, hessian = _at(theta, x)
    owners = list(range(len(y))) if clusters is None else list(clusters)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(owners))}
    sums = np.zeros((len(numbers), 2))
    np.add.at(sums, [numbers[name] for name in owners], x * (y - p)[:, None])
    bread = np.linalg.inv(hessian)
    variance = max(float((bread @ sums.T @ sums @ bread)[0, 0]), 0.0)
    variance *= len(numbers) / max(len(numbers) - 1, 1)
    if _separated(y, d):
        # The residuals are next to nothing, and so would be their variance; the curvature tells how
        # little is known.
        variance = max(variance, float(bread[0, 0]))
    width = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    middle = float(theta[0])
    return _sigmoid(middle), Interval(_sigmoid(middle - width), _sigmoid(middle + width))


def _separated(y: _Array, d: _Array) -> bool:
    """Whether a length tells wins from losses without an error."""
    wins, losses = d[y == 1], d[y == 0]
    if len(wins) + len(losses) < len(d) or not (len(wins) and len(losses)):
        return False
    return bool(wins.min() > losses.max() or wins.max() < losses.min())


def _fit(x: _Array, y: _Array) -> _Array:
    """Newton's method with halved steps: the loss is convex, and strictly so by the ridge."""
    theta = np.zeros(2)
    loss = _loss(theta, x, y)
    for _ in range(_STEPS):
        p, hessian = _at(theta, x)
        gradient = x.T @ (y - p) - np.array([0.0, _RIDGE * theta[1]])
        step = np.linalg.solve(hessian, gradient)
        while (trial := _loss(theta + step, x, y)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        if trial > loss:
            break
        theta, loss = theta + step, trial
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _loss(theta: _Array, x: _Array, y: _Array) -> float:
    z = x @ theta
    return float((np.logaddexp(0, z) - y * z).sum() + _RIDGE / 2 * theta[1] ** 2)


def _at(theta: _Array, x: _Array) -> tuple[_Array, _Array]:
    """Probabilities and the loss's second derivative."""
    p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
    return p, (x * (p * (1 - p))[:, None]).T @ x + np.diag([0.0, _RIDGE])


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0
