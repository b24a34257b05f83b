"""The kept rows, and the nearest of them to each row of a block."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from seedfree.diversity.vectors import Floats, Ints, Rows, Singles, parts

__all__ = ["Bounds", "ExactSearch", "FEWEST", "HnswSearch", "Search", "THREADS", "improve"]

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


THREADS = os.cpu_count() or 1
_COLUMNS = 1024  # Kept rows that a block is compared with at a time.
_DENSE = 16  # Pairs a row above which a whole product costs less than the pairs one by one.


class Search(Protocol):
    """Attributes: name: as in `greedy_select`; bounds: makes the features that the search works on."""

    name: ClassVar[str]
    bounds: Bounds

    def nearest(self, numbers: Ints, features: Singles, limits: Floats) -> tuple[Floats, Ints]:
        """The highest cosine with a row added so far, and that row; -1 and -1 where none is near the limit."""

    def add(self, numbers: Ints, features: Singles) -> None:
        """Takes in kept rows, in ascending order."""

    def cut(self, n: int) -> bool:
        """Forgets all rows from number n on; False where it can't."""


class ExactSearch:
    """Products of features with those of all kept rows, in tiles."""

    name: ClassVar[str] = "exact"

    def __init__(self, rows: Rows, bounds: Bounds) -> None:
        self._rows, self.bounds = rows, bounds
        self._numbers: Ints = np.empty(0, np.int64)
        # Where the bound is tight the features are the rows, which are read again rather than held
        # twice.
        self._features: Singles = np.empty((0, 0 if bounds.tight else bounds.width), np.float32)
        self._count = 0

    def nearest(self, numbers: Ints, features: Singles, limits: Floats) -> tuple[Floats, Ints]:
        # A thread for each core with its own rows, each product in one thread: BLAS's own threads
        # wait for each other.
        shares = [share for share in np.array_split(np.arange(len(numbers)), THREADS) if share.size]
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(
                pool.map(lambda at: self._nearest(numbers[at], features[at], limits[at]), shares)
            )
        best, which = zip(*found, strict=True)
        return np.concatenate(best), np.concatenate(which)

    def _nearest(self, numbers: Ints, features: Singles, limits: Floats) -> tuple[Floats, Ints]:
        best, which = np.full(len(numbers), -1.0), np.full(len(numbers), -1, np.int64)
        room = np.empty((len(numbers), _COLUMNS), np.float32)
        for start in range(0, self._count, _COLUMNS):
            columns = self._numbers[start : min(start + _COLUMNS, self._count)]
            there = (
                self._rows.single(columns)
                if self.bounds.tight
                else self._features[start : start + len(columns)]
            )
            scores = np.matmul(features, there.T, out=room if len(columns) == _COLUMNS else None)
            near = np.flatnonzero(
                scores.max(axis=1) >= np.maximum(best, limits) - self.bounds.margin
            )
            if near.size:
                self._raise(numbers, columns, near, scores[near], limits, best, which)
        return best, which

    def _raise(
        self,
        numbers: Ints,
        columns: Ints,
        near: Ints,
        scores: NDArray[Any],
        limits: Floats,
        best: Floats,
        which: Ints,
    ) -> None:
        margin, tight = self.bounds.margin, self.bounds.tight
        floor = np.maximum(best[near], limits[near]) - margin
        found = scores >= floor[:, None].astype(np.float32)
        if not tight and np.count_nonzero(found) > _DENSE * len(near):
            scores = self._rows.single(numbers[near]) @ self._rows.single(columns).T
            margin, tight = self._rows.margin, True
            floor = np.maximum(best[near], limits[near]) - margin
            found = scores >= floor[:, None].astype(np.float32)
        if tight:
            # The highest cosine is among the pairs whose score is within two margins of the highest
            # score.
            found &= scores >= (scores.max(axis=1, keepdims=True) - np.float32(2 * margin))
            if np.count_nonzero(found) > _DENSE * len(near):
                wide = self._rows.double(numbers[near]) @ self._rows.double(columns).T
                found &= wide >= wide.max(axis=1, keepdims=True) - 1e-9
        row, column = np.nonzero(found)
        improve(self._rows, numbers, near[row], columns[column], best, which)

    def add(self, numbers: Ints, features: Singles) -> None:
        count = self._count + len(numbers)
        if count > len(self._numbers):
            room = max(4096, count + count // 2)
            self._numbers = (
                np.resize(self._numbers, room) if len(self._numbers) else np.zeros(room, np.int64)
            )
            grown = np.zeros(
                (0 if self.bounds.tight else room, self._features.shape[1]), np.float32
            )
            grown[: len(self._features)] = self._features[: len(grown)]
            self._features = grown
        self._numbers[self._count : count] = numbers
        if not self.bounds.tight:
            self._features[self._count : count] = features
        self._count = count

    def cut(self, n: int) -> bool:
        self._count = int(np.searchsorted(self._numbers[: self._count], n))
        return True

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays that `restore` takes."""
        if self.bounds.axes is None:
            return {}
        features, numbers = self._features[: self._count], self._numbers[: self._count]
        return {"axes": self.bounds.axes, "features": features, "numbers": numbers}

    @classmethod
    def restore(cls, rows: Rows, state: dict[str, NDArray[Any]]) -> ExactSearch:
        made = cls(rows, Bounds(rows, state["axes"]))
        made.add(state["numbers"], state["features"])
        return made


class HnswSearch:
    """The kept rows in an hnswlib graph. One thread builds it, from a fixed seed: more build another each time."""

    name: ClassVar[str] = "hnsw"
    _NEIGHBOURS = 8

    def __init__(self, rows: Rows) -> None:
        import hnswlib

        self._rows, self._count, self._room = rows, 0, 4096
        self.bounds = Bounds(rows)
        self._graph = hnswlib.Index(space="ip", dim=rows.dimensions)
        self._graph.init_index(max_elements=self._room, M=16, ef_construction=200, random_seed=0)
        self._graph.set_ef(128)

    def nearest(self, numbers: Ints, features: Singles, limits: Floats) -> tuple[Floats, Ints]:
        best, which = np.full(len(numbers), -1.0), np.full(len(numbers), -1, np.int64)
        if self._count:  # hnswlib crashes when an empty graph is asked.
            try:
                k = min(self._NEIGHBOURS, self._count)
                labels = self._graph.knn_query(features, k=k, num_threads=THREADS)[0]
            except RuntimeError:  # Fewer than k rows can be reached from somewhere.
                labels = self._graph.knn_query(features, k=1, num_threads=THREADS)[0]
            row, column = np.divmod(np.arange(labels.size), labels.shape[1])
            improve(self._rows, numbers, row, labels[row, column].astype(np.int64), best, which)
        return best, which

    def add(self, numbers: Ints, features: Singles) -> None:
        if not numbers.size:
            return
        self._count += len(numbers)
        if self._count > self._room:
            self._room = 2 * self._count
            self._graph.resize_index(self._room)
        self._graph.add_items(features, numbers, num_threads=1)

    def cut(self, n: int) -> bool:
        return False


def improve(rows: Rows, numbers: Ints, at: Ints, right: Ints, best: Floats, which: Ints) -> None:
    """Raises `best[at]` and `which[at]` by the cosines of the pairs (numbers[at], right)."""
    exact = rows.cosines(numbers[at], right)
    order = np.lexsort((right, -exact, at))
    at, right, exact = at[order], right[order], exact[order]
    first = np.flatnonzero(np.diff(at, prepend=-1))
    first = first[exact[first] > best[at[first]]]
    best[at[first]], which[at[first]] = exact[first], right[first]
