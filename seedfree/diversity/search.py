"""The kept rows, and the search for the nearest of them to each row of a block.

`ExactSearch` compares a block with all kept rows, most of them by a few numbers alone (`Bounds`).
`HnswSearch` looks in a graph. Both only propose pairs: `Nearest.improve` scores these in float64,
so that a search can miss a neighbour but never invent one.

A row is known here by its number in `UnitRows`. A place is where it stands in a block.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from seedfree.diversity.vectors import AT_ONCE, Floats, Ints, Singles, UnitRows, parts

__all__ = [
    "Block",
    "Bounds",
    "DENSE",
    "ExactSearch",
    "FEWEST",
    "HnswSearch",
    "Nearest",
    "Search",
]

_THREADS = os.cpu_count() or 1
DENSE = 16  # Pairs a row above which one whole product costs less than the pairs one by one.
_TILE = 1024  # Kept rows that a block is compared with at one time.


@dataclass(frozen=True)
class Block:
    """Rows that are searched for together.

    Attributes:
        rows: Shape [n], ascending.
        limits: Shape [n]: the threshold of each row.
        features: Shape [n, k]: what `Bounds.features` makes of them.
    """

    rows: Ints
    limits: Floats
    features: Singles

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Ints) -> Block:
        return Block(self.rows[places], self.limits[places], self.features[places])


@dataclass(frozen=True)
class Nearest:
    """For each of n rows the nearest kept row, as far as it is known.

    Attributes:
        rows: Shape [n]; -1 where none is known.
        cosines: Shape [n], float64; -1 where none is known.
    """

    rows: Ints
    cosines: Floats

    @classmethod
    def unknown(cls, n: int) -> Nearest:
        """Begins with nothing."""
        return cls(np.full(n, -1, np.int64), np.full(n, -1.0))

    @classmethod
    def joined(cls, shares: Sequence[Nearest]) -> Nearest:
        """Puts the shares of several threads one behind the other."""
        return cls(
            np.concatenate([share.rows for share in shares]),
            np.concatenate([share.cosines for share in shares]),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Ints | slice) -> Nearest:
        return Nearest(self.rows[places], self.cosines[places])

    def __setitem__(self, places: Ints | slice, others: Nearest) -> None:
        self.rows[places], self.cosines[places] = others.rows, others.cosines

    def improve(self, vectors: UnitRows, rows: Ints, places: Ints, others: Ints) -> None:
        """Takes over those of some pairs that are nearer than what is known so far.

        The lowest row wins a tie, as long as later calls bring higher ones.

        Args:
            rows: Shape [n]: the rows whose nearest these are.
            places: Shape [pairs]: for each pair, which of the n rows is its left side.
            others: Shape [pairs]: the kept row on its right side.
        """
        cosines = vectors.cosines(rows[places], others)
        order = np.lexsort((others, -cosines, places))
        places, others, cosines = places[order], others[order], cosines[order]
        best = np.flatnonzero(np.diff(places, prepend=-1))
        best = best[cosines[best] > self.cosines[places[best]]]
        self.rows[places[best]], self.cosines[places[best]] = others[best], cosines[best]


class Search(Protocol):
    """The kept rows, in a form in which the nearest are found quickly.

    Attributes:
        name: As in `greedy_select`.
        bounds: Makes the features that the search works on.
    """

    name: ClassVar[str]
    bounds: Bounds

    def nearest(self, block: Block) -> Nearest:
        """Finds the kept row with the highest cosine; unknown where none is near the limit."""

    def add(self, rows: Ints, features: Singles) -> None:
        """Takes in kept rows, in ascending order."""

    def cut(self, n: int) -> bool:
        """Forgets all rows from number n on; returns False where it can't."""


class ExactSearch:
    """Products of a block's features with those of all kept rows, tile by tile.

    Args:
        threads: Each has rows of its own.
    """

    name: ClassVar[str] = "exact"

    def __init__(self, vectors: UnitRows, bounds: Bounds, *, threads: int = _THREADS) -> None:
        self._vectors, self.bounds, self._threads = vectors, bounds, threads
        self._kept: Ints = np.empty(0, np.int64)
        # Stays empty where the bound is tight: the features are then the rows themselves, which
        # are read again rather than held twice.
        self._features: Singles = np.empty((0, 0 if bounds.tight else bounds.width), np.float32)
        self._count = 0

    def nearest(self, block: Block) -> Nearest:
        # A thread for each core with its own rows, each product in one thread: BLAS's own threads
        # wait for each other.
        shares = np.array_split(np.arange(len(block)), self._threads)
        shares = [share for share in shares if share.size]
        with ThreadPoolExecutor(self._threads) as pool:
            return Nearest.joined(list(pool.map(lambda share: self._nearest(block[share]), shares)))

    def _nearest(self, block: Block) -> Nearest:
        nearest = Nearest.unknown(len(block))
        # Written over by each tile's product, rather than allocated for each.
        room = np.empty(len(block) * _TILE, np.float32)
        for start in range(0, self._count, _TILE):
            kept = self._kept[start : min(start + _TILE, self._count)]
            scores = room[: len(block) * len(kept)].reshape(len(block), len(kept))
            np.matmul(block.features, self._features_of(kept, start).T, out=scores)
            floor = np.maximum(nearest.cosines, block.limits) - self.bounds.margin
            near = np.flatnonzero(scores.max(axis=1) >= floor)
            if near.size:
                self._score(block, near, kept, scores[near], nearest)
        return nearest

    def _features_of(self, kept: Ints, start: int) -> Singles:
        if self.bounds.tight:
            return self._vectors.single(kept)
        return self._features[start : start + len(kept)]

    def _score(
        self, block: Block, near: Ints, kept: Ints, scores: NDArray[Any], nearest: Nearest
    ) -> None:
        """Scores in float64 what may raise the nearest of some places, and nothing else.

        Args:
            near: Places of the block, shape [m].
            scores: Bounds of their cosines with the kept rows, shape [m, len(kept)].
        """
        margin, tight = self.bounds.margin, self.bounds.tight
        floor = np.maximum(nearest.cosines[near], block.limits[near])
        candidates = scores >= (floor - margin)[:, None].astype(np.float32)
        if not tight and np.count_nonzero(candidates) > DENSE * len(near):
            vectors = self._vectors
            scores = vectors.single(block.rows[near]) @ vectors.single(kept).T
            margin, tight = vectors.margin, True
            candidates = scores >= (floor - margin)[:, None].astype(np.float32)
        if tight:
            # The highest cosine is among the pairs whose score is within two margins of the highest
            # score.
            candidates &= scores >= (scores.max(axis=1, keepdims=True) - np.float32(2 * margin))
            if np.count_nonzero(candidates) > DENSE * len(near):
                wide = self._vectors.double(block.rows[near]) @ self._vectors.double(kept).T
                candidates &= wide >= wide.max(axis=1, keepdims=True) - 1e-9
        left, right = np.nonzero(candidates)
        nearest.improve(self._vectors, block.rows, near[left], kept[right])

    def add(self, rows: Ints, features: Singles) -> None:
        count = self._count + len(rows)
        if count > len(self._kept):
            # Half as much again, so that many small steps copy each row a few times in all.
            room = max(4096, count + count // 2)
            self._kept = _grown(self._kept, room)
            if not self.bounds.tight:
                self._features = _grown(self._features, room)
        self._kept[self._count : count] = rows
        if not self.bounds.tight:
            self._features[self._count : count] = features
        self._count = count

    def cut(self, n: int) -> bool:
        self._count = int(np.searchsorted(self._kept[: self._count], n))
        return True

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that `restore` takes; none where the features are the rows."""
        if self.bounds.axes is None:
            return {}
        features, numbers = self._features[: self._count], self._kept[: self._count]
        return {"axes": self.bounds.axes, "features": features, "numbers": numbers}

    @classmethod
    def restore(cls, vectors: UnitRows, state: dict[str, NDArray[Any]]) -> ExactSearch:
        """Goes on from what `state` returned."""
        made = cls(vectors, Bounds(vectors, state["axes"]))
        made.add(state["numbers"], state["features"])
        return made


class HnswSearch:
    """The kept rows in an hnswlib graph.

    One thread builds it, from a fixed seed: more threads build another one each time.
    """

    name: ClassVar[str] = "hnsw"
    _NEIGHBOURS = 8

    def __init__(self, vectors: UnitRows) -> None:
        import hnswlib

        self._vectors, self._count, self._room = vectors, 0, 4096
        self.bounds = Bounds(vectors)
        self._graph = hnswlib.Index(space="ip", dim=vectors.dimensions)
        # The first two as in hnswlib's own example. Its ef of 50 is quicker, and misses more.
        self._graph.init_index(max_elements=self._room, M=16, ef_construction=200, random_seed=0)
        self._graph.set_ef(128)

    def nearest(self, block: Block) -> Nearest:
        nearest = Nearest.unknown(len(block))
        if not self._count:  # hnswlib crashes when an empty graph is asked
            return nearest
        try:
            k = min(self._NEIGHBOURS, self._count)
            kept = self._graph.knn_query(block.features, k=k, num_threads=_THREADS)[0]
        except RuntimeError:  # fewer than k rows can be reached from somewhere
            kept = self._graph.knn_query(block.features, k=1, num_threads=_THREADS)[0]
        places = np.repeat(np.arange(len(block)), kept.shape[1])
        nearest.improve(self._vectors, block.rows, places, kept.ravel().astype(np.int64))
        return nearest

    def add(self, rows: Ints, features: Singles) -> None:
        if not rows.size:
            return
        self._count += len(rows)
        if self._count > self._room:
            self._room = 2 * self._count
            self._graph.resize_index(self._room)
        self._graph.add_items(features, rows, num_threads=1)

    def cut(self, n: int) -> bool:
        # A graph that rows were deleted from is another than one that never held them.
        return False


FEWEST = 8192  # Rows below which the whole product costs less than a rotation.
_SAMPLE = 4096  # Rows that the rotation is learned from.
_TRIAL = 512  # Rows whose pairs the number of coordinates is chosen by.
_WIDTHS = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256)
# What scoring one pair in float64 costs, in coordinates of a pair's bound: measured, 4 us against
# 0.02 ns.
_PAIR = 200_000


class Bounds:
    """What bounds the cosines of rows from above, at a fraction of their price.

    The product of two rows is that of their leading coordinates, after a rotation, plus that of
    the rest, and the second is at most the product of the rests' lengths. So the features of a row
    are its leading coordinates and the length of its rest: within `margin`, `left @ right.T` of
    two sets of features is at least the cosines of their rows.

    Attributes:
        axes: Shape [d, k], float64, orthonormal columns; `None` where the features are the rows
            themselves.
    """

    def __init__(self, vectors: UnitRows, axes: Floats | None = None) -> None:
        self._vectors, self.axes = vectors, axes

    @classmethod
    def learn(cls, vectors: UnitRows, threshold: float) -> Bounds:
        """Learns the rotation from a sample, and as many coordinates as make the search cheapest.

        Any sample gives a bound that holds. A poor one makes the search slower, never wrong.
        """
        n, d = len(vectors), vectors.dimensions
        if n < FEWEST:
            return cls(vectors)
        sample = np.linspace(0, n - 1, _SAMPLE + 2 * _TRIAL).astype(np.int64)
        order = np.random.default_rng(0).permutation(len(sample))
        trial, sample = sample[order[: 2 * _TRIAL]], sample[order[2 * _TRIAL :]]
        wide = vectors.double(sample)
        axes = _leading(wide.T @ wide, _WIDTHS[-1])
        spread = vectors.double(trial) @ axes
        left, right = spread[:_TRIAL], spread[_TRIAL:]
        near = left @ right.T > threshold
        # The rows themselves, where little would be gained.
        costs = {d: 0.9 * d}
        for k in (k for k in _WIDTHS if k < d):
            bound = left[:, :k] @ right[:, :k].T + np.outer(_rest(left[:, :k]), _rest(right[:, :k]))
            # A pair costs k products, and one in float64 where only the bound is near.
            costs[k] = k + _PAIR * float(((bound >= threshold - 1e-5) & ~near).mean())
        best = min(costs, key=costs.__getitem__)
        if best == d:
            return cls(vectors)
        return cls(vectors, np.ascontiguousarray(axes[:, :best]))

    @property
    def width(self) -> int:
        """Returns how many numbers a feature has."""
        return self._vectors.dimensions if self.axes is None else self.axes.shape[1] + 1

    @property
    def tight(self) -> bool:
        """Returns whether the bound is the cosine itself."""
        return self.axes is None

    @property
    def margin(self) -> float:
        """Returns what rounding may take from the bound; see `UnitRows.margin`."""
        if self.axes is None:
            return self._vectors.margin
        units = float(self.axes.shape[1] + 8) * 2.0**-24
        return 1e-6 + units / (1 - units)

    def features(self, rows: Ints) -> Singles:
        """Returns shape [len(rows), k + 1], or [len(rows), d] where the bound is tight."""
        if self.axes is None:
            return self._vectors.single(rows)
        k = self.axes.shape[1]
        out = np.empty((len(rows), k + 1), np.float32)
        for part in parts(np.arange(len(rows)), AT_ONCE):
            # In float64: rounding must not shorten the rest.
            leading = self._vectors.double(rows[part]) @ self.axes
            out[part, :k], out[part, k] = leading, _rest(leading)
        return out


def _leading(covariance: Floats, k: int) -> Floats:
    """Returns about the k leading eigenvectors, in descending order.

    By subspace iteration (Halko et al. 2011, 4.4): a full decomposition takes seconds at 1,024
    dimensions. What these axes lack in accuracy makes the bound looser, never wrong.
    """
    axes = np.random.default_rng(0).standard_normal((len(covariance), min(k, len(covariance))))
    for _ in range(4):
        axes = np.linalg.qr(covariance @ axes)[0]
    small = np.linalg.eigh(axes.T @ covariance @ axes)[1][:, ::-1]
    turned: Floats = np.linalg.qr(axes @ small)[0]
    return turned


def _rest(leading: Floats) -> Floats:
    """Returns the length of what the leading coordinates leave of a row of length 1.

    It includes what rounding may have taken: a length within 1e-12 of 1 is taken as 1, and the
    square root makes up to 1.5e-6 of that.
    """
    rest: Floats = np.sqrt(np.maximum(1 - (leading * leading).sum(axis=1), 0)) + 2e-6
    return rest


def _grown(array: NDArray[Any], room: int) -> NDArray[Any]:
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
