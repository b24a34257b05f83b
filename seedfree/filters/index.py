"""Which rows are near-duplicates of an earlier one, by cosine.

Rows come in order. Row i is dropped if a kept row j < i has a cosine above the threshold; it is then a duplicate of
the kept row with the highest cosine, the lowest number on a tie.

`greedy_select` walks through the rows in blocks. For each block an index finds the nearest rows among those kept so
far, `_settle` decides the block row by row, and what was kept goes into the index. An index is `search` and `add`;
whatever it finds is scored again in float64, so that an index can miss a neighbour but never invent one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from numbers import Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedfree.errors import ConfigError, EncoderError, missing_extra
from seedfree.records import Selection

__all__ = ["check_index", "check_threshold", "greedy_select"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

INDEXES = ("auto", "exact", "hnsw")
_EXACT_UP_TO = 400_000
_COLUMNS = 4096  # Kept rows that a block is compared with at a time.
_PAIRS = 2048  # Pairs scored in float64 at a time.
_DENSE = 16  # Pairs a row above which one product in float64 costs less than the pairs one by one.
_UNIT = 1e-2  # How far from 1 a row's length may be; half precision stays within 1e-3.


def greedy_select(vectors: ArrayLike, threshold: float, index: str = "auto", *, block: int = 2048) -> Selection:
    """Keeps each row that has no kept row before it with a cosine above the threshold.

    Decisions and similarities are those of float64, whatever the precision of the products that lead to them.

    | input | answer |
    |---|---|
    | no rows | nothing kept, nothing dropped |
    | one row | kept |
    | threshold 1 | every row kept, since no cosine is above 1 |
    | threshold 0 | a row is dropped as soon as a kept row has a positive cosine |
    | float16, float64, integers, nested lists | taken as the numbers they are |
    | NaN, infinity, a zero row, a row whose length is not 1 within 0.01, not two dimensions | `EncoderError` |

    Args:
        vectors: Shape [n, d], rows of length 1. A memory-mapped file may be given.
        threshold: 0 to 1.
        index: `"exact"` compares every row with every kept one: O(n * kept * d). `"hnsw"` looks the neighbours up in
            an approximate graph of the kept rows (hnswlib, one thread, so equal input gives an equal answer): it
            may miss a neighbour and keep a duplicate, or name a neighbour that is not the very nearest. `"auto"` is
            exact up to 400,000 rows, and beyond that hnsw where hnswlib is installed. On 2 cores exact took 0.2 of
            hnsw's time at 20,000 rows and 0.12 at 50,000 (`benchmarks/diversity.py`); extrapolated, the curves meet
            near 400,000.
        block: Rows decided at a time. Takes about block * (block + 8,192 + 20 d) bytes, 110 MB at 2,048 and
            d = 1,024, beside 250 bytes a row.

    Raises:
        ConfigError: A threshold outside 0 to 1, an unknown index, or hnswlib missing for `"hnsw"`.
        EncoderError: Vectors that have no cosine; see the table.
    """
    threshold = check_threshold(threshold)
    check_index(index)
    if block < 1:
        raise ConfigError(f"block is {block}", hint="Use a whole number from 1.")
    rows = _Rows(_matrix(vectors))
    n = len(rows.lengths)
    duplicate_of, similarity = np.full(n, -1, np.int64), np.full(n, -1.0)
    if threshold < 1 and n:
        if index == "auto":
            index = "hnsw" if n > _EXACT_UP_TO and find_spec("hnswlib") else "exact"
        kept: _Index = _Hnsw(rows) if index == "hnsw" else _Exact(rows, threshold)
        twins = rows.twins()
        for start in range(0, n, block):
            numbers = np.arange(start, min(start + block, n))
            known = twins[numbers]
            known[known >= start] = -1
            known[duplicate_of[known] >= 0] = -1  # The twin was itself dropped: search.
            found = known >= 0
            duplicate_of[numbers[found]], similarity[numbers[found]] = known[found], 1.0
            numbers = numbers[~found]
            if numbers.size:
                single = rows.single(numbers)
                best, which = kept.search(numbers, single)
                alive = _settle(rows, twins, threshold, numbers, single, best, which)
                duplicate_of[numbers], similarity[numbers] = np.where(alive, -1, which), best
                kept.add(numbers[alive], single[alive])
    is_kept = duplicate_of < 0
    return Selection(np.flatnonzero(is_kept).astype(np.int64), duplicate_of, np.where(is_kept, np.nan, similarity))


def check_threshold(threshold: float) -> float:
    """The threshold as a float.

    Raises:
        ConfigError: It is not a number from 0 to 1.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= float(threshold) <= 1:
        raise ConfigError(f"threshold is {threshold!r}", hint="Use a cosine from 0 to 1, such as 0.95.")
    return float(threshold)


def check_index(index: str) -> None:
    """Raises `ConfigError` for an unknown index, or for one whose package is not installed."""
    if index not in INDEXES:
        raise ConfigError(f"index is {index!r}", hint=f"Use one of {', '.join(map(repr, INDEXES))}.")
    if index == "hnsw" and find_spec("hnswlib") is None:
        raise missing_extra("hnswlib", "embed")


def _matrix(vectors: ArrayLike) -> NDArray[Any]:
    try:
        array = np.asarray(vectors)
        if array.shape[:1] == (0,):
            return np.empty((0, 0), np.float32)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"dtype {array.dtype}")
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise EncoderError(f"The vectors are not an array of real numbers: {error}") from error


class _Rows:
    """Unit rows in two precisions, read where they lie.

    Attributes:
        lengths: Shape [n], float64.
        margin: How far a float32 product of two rows can be from their cosine: in any order of summation the error of
            d products is at most d units of rounding (Higham, Accuracy and Stability, 3.1), the rows' own rounding
            and scaling adds six, and 1e-6 is the least.
    """

    def __init__(self, vectors: NDArray[Any]) -> None:
        if vectors.ndim != 2:
            raise EncoderError(f"The vectors have shape {list(vectors.shape)}", hint="Give one row a text: [n, d].")
        self._vectors = vectors
        n, d = vectors.shape
        units = (d + 8) * 2.0**-24
        self.margin = 1e-6 + units / (1 - units)
        self.lengths = np.empty(n)
        for part in _parts(np.arange(n), _PAIRS):
            wide = vectors[part].astype(np.float64)
            self.lengths[part] = np.sqrt((wide * wide).sum(axis=1))
        self._check()
        # A pair that stands exactly at the threshold must not be moved by the last bit of a length.
        self.lengths[np.abs(self.lengths - 1) < 1e-12] = 1.0
        self._scale = (1 / self.lengths).astype(np.float32)

    def _check(self) -> None:
        for wrong, what in (
            (~np.isfinite(self.lengths), "holds NaN or infinity"),
            (self.lengths == 0, "is all zeros"),
            (np.abs(self.lengths - 1) > _UNIT, "does not have length 1"),
        ):
            if wrong.any():
                first = int(np.flatnonzero(wrong)[0])
                raise EncoderError(
                    f"Row {first} of the vectors {what} ({int(wrong.sum())} of {len(wrong)} rows do)",
                    hint="Divide each row by its length, and look at the texts or the encoder where there is none.",
                )

    def single(self, numbers: Ints) -> NDArray[np.float32]:
        """Rows of length 1, float32, shape [len(numbers), d]."""
        rows: NDArray[np.float32] = self._vectors[numbers].astype(np.float32, copy=False)
        rows *= self._scale[numbers, None]
        return rows

    def double(self, numbers: Ints) -> Floats:
        """Rows of length 1, float64."""
        rows: Floats = self._vectors[numbers].astype(np.float64) / self.lengths[numbers, None]
        return rows

    def cosines(self, left: Ints, right: Ints) -> Floats:
        """Cosines of pairs of rows; each depends on its two rows alone, to the last bit."""
        out = np.empty(len(left))
        for part in _parts(np.arange(len(left)), _PAIRS):
            out[part] = (self.double(left[part]) * self.double(right[part])).sum(axis=1)
        return np.clip(out, -1, 1)

    def twins(self) -> Ints:
        """For each row the first row that holds the same bytes, -1 where it is itself the first."""
        seen: dict[bytes, int] = {}
        first = np.empty(len(self.lengths), np.int64)
        for number, row in enumerate(self._vectors):
            earlier = seen.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), number)
            first[number] = earlier if earlier < number else -1
        return first


class _Index(Protocol):
    def search(self, numbers: Ints, single: NDArray[np.float32]) -> tuple[Floats, Ints]:
        """The highest cosine with a row added so far, and that row; -1 and -1 where none is near the threshold."""

    def add(self, numbers: Ints, single: NDArray[np.float32]) -> None:
        """Takes in kept rows, in ascending order."""


class _Exact:
    """The kept rows, compared with by blocked matrix products."""

    def __init__(self, rows: _Rows, threshold: float) -> None:
        self._rows, self._threshold = rows, threshold
        self._kept: list[Ints] = []

    def search(self, numbers: Ints, single: NDArray[np.float32]) -> tuple[Floats, Ints]:
        best, which = np.full(len(numbers), -1.0), np.full(len(numbers), -1, np.int64)
        kept = np.concatenate(self._kept) if self._kept else np.empty(0, np.int64)
        for columns in _parts(kept, _COLUMNS):
            scores = single @ self._rows.single(columns).T
            top = scores.max(axis=1)
            near = np.flatnonzero(top >= np.maximum(best, self._threshold) - self._rows.margin)
            if near.size:
                self._raise(numbers, columns, near, scores[near], top[near], best, which)
        return best, which

    def _raise(
        self,
        numbers: Ints,
        columns: Ints,
        near: Ints,
        scores: NDArray[Any],
        top: NDArray[Any],
        best: Floats,
        which: Ints,
    ) -> None:
        # The highest cosine is among the pairs whose score is within two margins of the highest score.
        margin = self._rows.margin
        floor = np.maximum(np.maximum(best[near], self._threshold), top - margin) - margin
        found = scores >= floor[:, None].astype(np.float32)
        if np.count_nonzero(found) > _DENSE * len(near):
            wide = self._rows.double(numbers[near]) @ self._rows.double(columns).T
            found &= wide >= wide.max(axis=1, keepdims=True) - 1e-9
        row, column = np.nonzero(found)
        _improve(self._rows, numbers, near[row], columns[column], best, which)

    def add(self, numbers: Ints, single: NDArray[np.float32]) -> None:
        self._kept.append(numbers)


class _Hnsw:
    """The kept rows in an hnswlib graph. One thread and a fixed seed: more threads build another graph each time."""

    _NEIGHBOURS = 8

    def __init__(self, rows: _Rows) -> None:
        import hnswlib

        self._rows, self._count, self._room = rows, 0, 4096
        self._graph = hnswlib.Index(space="ip", dim=rows.single(np.zeros(1, np.int64)).shape[1])
        self._graph.init_index(max_elements=self._room, M=16, ef_construction=200, random_seed=0)
        self._graph.set_ef(128)

    def search(self, numbers: Ints, single: NDArray[np.float32]) -> tuple[Floats, Ints]:
        best, which = np.full(len(numbers), -1.0), np.full(len(numbers), -1, np.int64)
        if self._count:  # hnswlib crashes when an empty graph is asked.
            k = min(self._NEIGHBOURS, self._count)
            try:
                labels = self._graph.knn_query(single, k=k, num_threads=1)[0]
            except RuntimeError:  # Fewer than k rows can be reached from somewhere.
                labels = self._graph.knn_query(single, k=1, num_threads=1)[0]
            row, column = np.divmod(np.arange(labels.size), labels.shape[1])
            _improve(self._rows, numbers, row, labels[row, column].astype(np.int64), best, which)
        return best, which

    def add(self, numbers: Ints, single: NDArray[np.float32]) -> None:
        if not numbers.size:
            return
        self._count += len(numbers)
        if self._count > self._room:
            self._room = 2 * self._count
            self._graph.resize_index(self._room)
        self._graph.add_items(single, numbers, num_threads=1)


def _settle(
    rows: _Rows,
    twins: Ints,
    threshold: float,
    numbers: Ints,
    single: NDArray[np.float32],
    best: Floats,
    which: Ints,
) -> NDArray[np.bool_]:
    """Decides a block in order, given its nearest kept rows before the block; updates them by those in the block."""
    alive = best <= threshold
    scores: NDArray[Any] = single @ single.T
    margin = rows.margin
    below = np.tri(len(numbers), k=-1, dtype=bool)
    near = below & (scores >= (np.maximum(best, threshold) - margin).astype(np.float32)[:, None])
    if np.count_nonzero(near) > _DENSE * len(numbers):
        wide = rows.double(numbers)
        scores, margin = wide @ wide.T, 1e-9
        near = below & (scores >= (np.maximum(best, threshold) - margin)[:, None])
    place = {int(number): i for i, number in enumerate(numbers)}
    for i in np.flatnonzero(near.any(axis=1)):
        twin = place.get(int(twins[numbers[i]]), -1)
        if twin >= 0 and alive[twin]:
            best[i], which[i] = 1.0, numbers[twin]
        else:
            columns = np.flatnonzero(near[i] & alive)
            if columns.size:
                columns = columns[scores[i, columns] >= scores[i, columns].max() - 2 * margin]
                _improve(rows, numbers, np.full(len(columns), i), numbers[columns], best, which)
        alive[i] = best[i] <= threshold
    return alive


def _improve(rows: _Rows, numbers: Ints, at: Ints, right: Ints, best: Floats, which: Ints) -> None:
    """Raises `best[at]` and `which[at]` by the cosines of the pairs (numbers[at], right)."""
    exact = rows.cosines(numbers[at], right)
    order = np.lexsort((right, -exact, at))
    at, right, exact = at[order], right[order], exact[order]
    first = np.flatnonzero(np.diff(at, prepend=-1))
    first = first[exact[first] > best[at[first]]]
    best[at[first]], which[at[first]] = exact[first], right[first]


def _parts(numbers: Ints, size: int) -> Iterator[Ints]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
