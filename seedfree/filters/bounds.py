"""An upper bound of many cosines at once, for an eighth of their price, that cannot be wrong.

Rotate the rows so that a few leading coordinates hold as much of their length as any can (principal
components). The cosine of two rows is the product of their leading parts plus the product of the
rest, and that is at most the product of the two rests' lengths (Cauchy and Schwarz). With the
length of the rest as one more coordinate, the bound is itself a product of rows, of k + 1 numbers
in place of d. Only pairs whose bound passes the threshold need the whole product.
"""

from __future__ import annotations

import numpy as np

from seedfree.filters.vectors import Floats, Ints, Rows, Singles, parts

__all__ = ["FEWEST", "Bounds"]

FEWEST = 8192  # Rows below which the whole product costs less than a rotation.
_SAMPLE = 4096  # Rows that the rotation is learned from.
_TRIAL = 512  # Rows whose pairs the number of coordinates is chosen by.
_WIDTHS = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256)
# What scoring one pair in float64 costs, in coordinates of a pair's bound: measured, 4 us against
# 0.02 ns.
_PAIR = 200_000


class Bounds:
    """`left @ right.T` of two sets of features is, within `margin`, at least the cosines of their rows.

    Attributes:
        axes: Shape [d, k], float64, orthonormal columns; `None` where the features are the rows themselves.
        margin: What rounding may take from the bound.
        tight: Whether the bound is the cosine itself.
    """

    def __init__(self, rows: Rows, axes: Floats | None = None) -> None:
        self._rows, self.axes = rows, axes

    @classmethod
    def learn(cls, rows: Rows, threshold: float) -> Bounds:
        """Learns the rotation from a sample of the rows, and takes as many coordinates as make the search cheapest."""
        if len(rows) < FEWEST:
            return cls(rows)
        sample = np.linspace(0, len(rows) - 1, _SAMPLE + 2 * _TRIAL).astype(np.int64)
        order = np.random.default_rng(0).permutation(len(sample))
        trial, sample = sample[order[: 2 * _TRIAL]], sample[order[2 * _TRIAL :]]
        wide = rows.double(sample)
        axes = _leading(wide.T @ wide, _WIDTHS[-1])
        spread = rows.double(trial) @ axes
        left, right = spread[:_TRIAL], spread[_TRIAL:]
        near = left @ right.T > threshold
        # the rows themselves, where little would be gained
        costs = {rows.dimensions: 0.9 * rows.dimensions}
        for k in (k for k in _WIDTHS if k < rows.dimensions):
            bound = left[:, :k] @ right[:, :k].T + np.outer(_rest(left[:, :k]), _rest(right[:, :k]))
            costs[k] = k + _PAIR * float(((bound >= threshold - 1e-5) & ~near).mean())
        best = min(costs, key=costs.__getitem__)
        return cls(rows, np.ascontiguousarray(axes[:, :best]) if best < rows.dimensions else None)

    @property
    def width(self) -> int:
        """Numbers a feature has."""
        return self._rows.dimensions if self.axes is None else self.axes.shape[1] + 1

    @property
    def tight(self) -> bool:
        return self.axes is None

    @property
    def margin(self) -> float:
        if self.axes is None:
            return self._rows.margin
        units = float(self.axes.shape[1] + 8) * 2.0**-24
        return 1e-6 + units / (1 - units)

    def features(self, numbers: Ints) -> Singles:
        """Shape [len(numbers), k + 1], or [len(numbers), d] where the bound is tight."""
        if self.axes is None:
            return self._rows.single(numbers)
        k = self.axes.shape[1]
        out = np.empty((len(numbers), k + 1), np.float32)
        for part in parts(np.arange(len(numbers)), 2048):
            # in float64: rounding must not shorten the rest
            leading = self._rows.double(numbers[part]) @ self.axes
            out[part, :k], out[part, k] = leading, _rest(leading)
        return out


def _leading(covariance: Floats, k: int) -> Floats:
    """About the k leading eigenvectors, in descending order, by subspace iteration (Halko et al. 2011, 4.4).

    A full decomposition takes seconds at 1,024 dimensions. What these axes lack in accuracy makes the bound looser,
    never wrong.
    """
    axes = np.random.default_rng(0).standard_normal((len(covariance), min(k, len(covariance))))
    for _ in range(4):
        axes = np.linalg.qr(covariance @ axes)[0]
    small = np.linalg.eigh(axes.T @ covariance @ axes)[1][:, ::-1]
    found: Floats = np.linalg.qr(axes @ small)[0]
    return found


def _rest(leading: Floats) -> Floats:
    """The length of what the leading coordinates leave of a row of length 1, and what rounding may have taken of it.

    A length within 1e-12 of 1 is taken as 1, and the square root makes up to 1.5e-6 of that.
    """
    rest: Floats = np.sqrt(np.maximum(1 - (leading * leading).sum(axis=1), 0)) + 2e-6
    return rest
