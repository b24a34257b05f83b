"""Which rows are near-duplicates of an earlier one, by cosine.

Rows come in order. Row i is dropped if a kept row j < i has a cosine above the threshold; it is
then a duplicate of the kept row with the highest cosine, the lowest number on a tie.

`DiversityIndex` walks through the rows in blocks. For each block a search finds the nearest rows
among those kept so far, `_settle` decides the block row by row, and what was kept goes into the
search. `greedy_select` does this once. `RunIndex` keeps the index beside a run's vectors, so that a
later process goes on from it.

A row has one number, its place among all rows that came, those of `against` first. Only a
`Selection` counts from the rows that were asked about.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from seedfree._files import mode_in, temporary_for
from seedfree.diversity.search import (
    DENSE,
    FEWEST,
    Block,
    Bounds,
    ExactSearch,
    HnswSearch,
    Nearest,
    Search,
)
from seedfree.diversity.store import StoredVectors, VectorStore
from seedfree.diversity.vectors import Floats, Ints, UnitRows, matrix, parts
from seedfree.errors import ConfigError, missing_extra
from seedfree.records import Selection

__all__ = [
    "DiversityIndex",
    "RunIndex",
    "check_index",
    "check_threshold",
    "greedy_select",
    "held_vectors",
]

INDEXES = ("auto", "exact", "hnsw")
# Rows times numbers a bound takes, above which a graph is quicker: `benchmarks/diversity.py`, see
# docs/diversity.md.
_CROSSOVER, _OVERHEAD = 200_000_000, 24
_RECALL = 500  # Rows that recall is measured on.
_BY_ROW = ("lengths", "duplicate_of", "similarity", "first")  # In a file, an entry a row.
# What goes wrong with a file that is cut off, or is another one.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile)


def greedy_select(
    vectors: ArrayLike,
    threshold: float | Sequence[float],
    index: str = "auto",
    *,
    against: ArrayLike | None = None,
    block: int = 1024,
) -> Selection:
    """Keeps each row that has no kept row before it with a cosine above the threshold.

    Decisions and similarities are those of float64, whatever the precision of the products that
    lead to them.

    | input | answer |
    |---|---|
    | no rows | nothing kept, nothing dropped |
    | one row | kept |
    | threshold 1 | every row kept, since no cosine is above 1 |
    | threshold 0 | a row is dropped as soon as a kept row has a positive cosine |
    | float16, float64, integers, nested lists | taken as the numbers they are |
    | NaN, infinity, a zero row, a length that is not 1 within 0.01 | `EncoderError` |
    | not two dimensions; `against` of other dimensions | `EncoderError` |

    Args:
        vectors: Shape [n, d], rows of length 1. A memory-mapped file may be given.
        threshold: 0 to 1; or one for each row.
        index: `"exact"` compares every row with every kept one, at the price of a few leading
            coordinates for most pairs (`search.py`). `"hnsw"` looks neighbours up in an approximate
            graph of the kept rows (hnswlib), and measures its recall on a sample: it may miss a
            neighbour and keep a duplicate, or name a neighbour that is not the very nearest. Its
            graph is built by one thread, so equal input gives an equal answer. `"auto"` is exact
            unless rows times coordinates pass the measured crossover and hnswlib is installed. The
            answer's `index` says which it was.
        against: Shape [m, d]: rows that are there already, such as an earlier data set. All stay,
            whatever their cosines, and they come first. A row dropped for row j of them has
            `duplicate_of` n + j.
        block: Rows decided at a time. Takes about block * (10 block + 4,096 + 20 d) bytes, 36 MB at
            1,024 and d = 1,024, beside 700 bytes a row.

    Raises:
        ConfigError: A threshold outside 0 to 1, an unknown index, or hnswlib missing for `"hnsw"`.
        EncoderError: Vectors that have no cosine; see the table.
    """
    chosen = DiversityIndex(index, block=block)
    if against is not None:
        chosen.hold(against)
    held = len(chosen)
    return _renumbered(chosen.add(vectors, threshold), held)


def _renumbered(selection: Selection, held: int) -> Selection:
    """Counts n rows from 0 that stand behind `held` others; row j of these becomes n + j."""
    of, n = selection.duplicate_of, len(selection.duplicate_of)
    of = np.where(of < 0, -1, np.where(of < held, n + of, of - held))
    return Selection(
        selection.kept - held, of, selection.similarity, selection.index, selection.recall
    )


class DiversityIndex:
    """`greedy_select` for rows that come bit by bit: what is there already is not compared again.

    Args:
        index, block: See `greedy_select`. `"auto"` chooses with the first rows that it is given.
        search: Makes a search for rows and a threshold, in place of the index's own.
    """

    def __init__(
        self,
        index: str = "auto",
        *,
        block: int = 1024,
        search: Callable[[UnitRows, float], Search] | None = None,
    ) -> None:
        check_index(index)
        if block < 1:
            raise ConfigError(f"block is {block}", hint="Use a whole number from 1.")
        self._wanted, self._block, self._make = index, block, search
        self._vectors = UnitRows()
        self._search: Search | None = None
        # What each row duplicates: -1 and NaN for those that are kept.
        self._duplicates = Nearest.unknown(0)
        # Rows that no earlier kept row has a cosine of 1 with, if they were kept: what equals such
        # a row duplicates it.
        self._first: NDArray[np.bool_] = np.empty(0, bool)
        self._chosen_at = 0  # Rows there were when the search was chosen.

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def index(self) -> str:
        """Returns `"exact"` or `"hnsw"`; `"auto"` while it is not chosen."""
        return self._search.name if self._search else self._wanted

    def hold(self, vectors: ArrayLike) -> None:
        """Takes in rows that stay, without comparing them.

        Raises:
            EncoderError: See `greedy_select`.
        """
        start = len(self)
        self._vectors.add(matrix(vectors))
        # Not compared, so an earlier row may have a cosine of 1 with any of them.
        self._enter(np.zeros(len(self) - start, bool))
        if self._search is not None:
            self._take_in(self._search, start)

    def add(self, vectors: ArrayLike, threshold: float | Sequence[float]) -> Selection:
        """Decides over further rows.

        Args:
            threshold: 0 to 1; or one for each of the rows.

        Returns:
            A selection of the new rows, in the numbers of all rows so far.

        Raises:
            ConfigError, EncoderError: See `greedy_select`.
        """
        array = matrix(vectors)
        limits = _row_limits(threshold, len(array))
        start, recall = len(self), None
        try:
            self._vectors.add(array)
            self._enter(limits < 1)
            if len(limits):
                recall = self._add(start, limits)
        except BaseException:
            # Ctrl-C too: rows that nobody decided about must not count as kept.
            self.cut(start)
            raise
        return self.selection(start, len(self), recall)

    def selection(self, start: int, end: int, recall: float | None) -> Selection:
        """Returns what was decided about the rows from `start` to `end`.

        The selection is in the numbers of all rows so far.
        """
        of = self._duplicates.rows[start:end].copy()
        similarity = self._duplicates.cosines[start:end].copy()
        # Without a single row nothing was chosen, and nothing can have been missed.
        index = "exact" if self.index == "auto" else self.index
        return Selection(np.flatnonzero(of < 0) + start, of, similarity, index, recall)

    def cut(self, n: int) -> None:
        """Forgets all rows from number n on, as if they had never come."""
        self._vectors.cut(n)
        self._duplicates, self._first = self._duplicates[:n], self._first[:n]
        if not n:
            self._search = None
        elif self._search is not None and not self._search.cut(n):
            self._search = HnswSearch(self._vectors)
            self._take_in(self._search, 0)

    def save(self, file: str | Path | IO[bytes], **beside: NDArray[Any]) -> None:
        """Writes all but the vectors as an `.npz` file.

        Args:
            beside: Further arrays that go into the same file.
        """
        state: dict[str, Any] = {
            "index": np.array(self.index),
            "duplicate_of": self._duplicates.rows,
            "similarity": self._duplicates.cosines,
            "first": self._first,
            "lengths": self._vectors.lengths,
            "twins": self._vectors.twins,
            "digests": self._vectors.digests(),
            **beside,
        }
        if isinstance(self._search, ExactSearch):
            state |= self._search.state()
        np.savez(file, **state)

    @classmethod
    def load(cls, path: str | Path, vectors: ArrayLike, *, block: int = 1024) -> DiversityIndex:
        """Reads what `save` wrote.

        Args:
            vectors: The same rows again, such as a memory-mapped file. They are read only where
                they are compared.

        Raises:
            ConfigError: The file does not hold an index of so many rows.
        """
        array = matrix(vectors)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
                state = {name: kept[name] for name in kept.files}
            made = cls(str(state["index"]), block=block)
            counts = {len(state[name]) for name in _BY_ROW}
            if counts != {len(array)}:
                raise ValueError(f"it is of {len(state['lengths'])} rows, not {len(array)}")
            made._vectors.restore(array, state["lengths"], state["twins"], state["digests"])
            made._duplicates = Nearest(state["duplicate_of"], state["similarity"])
            made._first = state["first"]
            made._chosen_at = len(array)
            # Without features the next rows choose a search, and take in what was kept.
            if "features" in state:
                made._search = ExactSearch.restore(made._vectors, state)
        except _DAMAGE as error:
            raise ConfigError(
                f"{path} holds no index of these vectors: {error}", hint="Delete it."
            ) from error
        return made

    def _enter(self, first: NDArray[np.bool_]) -> None:
        """Enters rows as kept, which they are until something else is decided."""
        self._first = np.append(self._first, first)
        none, nan = np.full(len(first), -1), np.full(len(first), np.nan)
        duplicates = self._duplicates
        self._duplicates = Nearest(
            np.append(duplicates.rows, none), np.append(duplicates.cosines, nan)
        )

    def _add(self, start: int, limits: Floats) -> float | None:
        """Decides over the rows from `start` on; returns the recall of an index that has one."""
        # The search has a thread for each core; see `ExactSearch.nearest`.
        with threadpool_limits(1, "blas"):
            search = self._current_search(float(limits.min()), start)
            for rows in parts(np.arange(start, len(self)), self._block):
                self._decide(search, rows, limits[rows - start])
            return self._recall(start, limits) if search.name == "hnsw" else None

    def _current_search(self, threshold: float, start: int) -> Search:
        """Returns a search that holds what was kept of the rows before `start`."""
        search = self._search
        # What was too few rows to learn bounds from may have become enough.
        grown = len(self) >= max(FEWEST, 2 * self._chosen_at)
        if search is not None and not (grown and search.name == "exact" and search.bounds.tight):
            return search
        self._chosen_at = len(self)
        self._search = search = self._new_search(threshold)
        self._take_in(search, 0, start)
        return search

    def _new_search(self, threshold: float) -> Search:
        if self._make is not None:
            return self._make(self._vectors, threshold)
        if self._wanted == "hnsw":
            return HnswSearch(self._vectors)
        bounds = Bounds.learn(self._vectors, threshold)
        large = len(self) * (bounds.width + _OVERHEAD) > _CROSSOVER
        if large and self._wanted == "auto" and find_spec("hnswlib") is not None:
            return HnswSearch(self._vectors)
        return ExactSearch(self._vectors, bounds)

    def _take_in(self, search: Search, start: int, end: int | None = None) -> None:
        kept = np.flatnonzero(self._duplicates.rows[start:end] < 0) + start
        for rows in parts(kept[self._distinct(kept)], self._block):
            search.add(rows, search.bounds.features(rows))

    def _distinct(self, kept: Ints) -> NDArray[np.bool_]:
        """Returns which of some kept rows are not copies of a kept row.

        Many copies spoil a graph, and tie everywhere.
        """
        twins = self._vectors.twins[kept]
        return (twins < 0) | (self._duplicates.rows[twins] >= 0)

    def _decide(self, search: Search, rows: Ints, limits: Floats) -> None:
        """Decides over a block, and adds what it keeps to the search."""
        duplicates = self._duplicates
        # A copy of a row that was kept before the block duplicates it, and needs no search.
        twins = self._vectors.twins[rows].copy()
        twins[(twins >= rows[0]) | (limits >= 1)] = -1
        # If its twin was dropped, or has an equal before it, another row is the nearest. (Here the
        # -1 of a row without a twin looks at the last row of all, and stays -1 either way.)
        twins[~self._first[twins] | (duplicates.rows[twins] >= 0)] = -1
        copies, others = np.flatnonzero(twins >= 0), np.flatnonzero(twins < 0)
        duplicates[rows[copies]] = Nearest(twins[copies], np.ones(len(copies)))
        if not others.size:
            return
        features = search.bounds.features(rows[others])
        block = Block(rows[others], limits[others], features)
        nearest = search.nearest(block)
        kept = _settle(self._vectors, search.bounds, block, nearest)
        nearest.rows[kept], nearest.cosines[kept] = -1, np.nan
        duplicates[block.rows] = nearest
        new = np.flatnonzero(kept)
        new = new[self._distinct(block.rows[new])]
        search.add(block.rows[new], features[new])

    def _recall(self, start: int, limits: Floats) -> float:
        """Measures the share of the duplicates that was found, decided in float64.

        It looks at a sample of the rows from `start` on, and compares them with all kept rows.
        """
        n = len(limits)
        sample = np.sort(np.random.default_rng(0).choice(n, min(n, _RECALL), replace=False))
        rows, vectors = sample + start, self._vectors
        dropped = self._duplicates.rows[rows] >= 0
        highest, nearest, wide = np.full(len(rows), -1.0), rows.copy(), vectors.single(rows)
        for kept in parts(np.flatnonzero(self._duplicates.rows < 0), self._block):
            scores = wide @ vectors.single(kept).T
            scores[kept[None, :] >= rows[:, None]] = -1
            top = scores.argmax(axis=1)
            better = scores[np.arange(len(rows)), top] > highest
            highest[better], nearest[better] = scores[better, top[better]], kept[top[better]]
        near = vectors.cosines(rows, nearest) > limits[sample]
        # A row that is still its own nearest has no kept row before it.
        missed = int((near & (nearest < rows) & ~dropped).sum())
        noticed = int(dropped.sum())
        return noticed / (noticed + missed) if noticed + missed else 1.0


def _settle(vectors: UnitRows, bounds: Bounds, block: Block, nearest: Nearest) -> NDArray[np.bool_]:
    """Decides a block in order, given its nearest kept rows before the block.

    Args:
        nearest: Is improved by the rows that the block itself keeps.

    Returns:
        Which rows are kept, shape [n].
    """
    rows, limits = block.rows, block.limits
    kept = nearest.cosines <= limits
    scores: NDArray[Any] = block.features @ block.features.T
    margin, tight = bounds.margin, bounds.tight
    earlier = np.tri(len(block), k=-1, dtype=bool)
    floor = np.maximum(nearest.cosines, limits)
    near = earlier & (scores >= (floor - margin).astype(np.float32)[:, None])
    if np.count_nonzero(near) > DENSE * len(block):
        wide = vectors.double(rows)
        scores, margin, tight = wide @ wide.T, 1e-9, True
        near = earlier & (scores >= (floor - margin)[:, None])
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    for place in np.flatnonzero(near.any(axis=1)):
        twin = place_of.get(int(vectors.twins[rows[place]]))
        if twin is not None and kept[twin] and limits[twin] < 1:
            # A copy. No kept row before the twin has a cosine of 1, or the twin would be dropped.
            nearest.rows[place], nearest.cosines[place] = rows[twin], 1.0
        else:
            columns = np.flatnonzero(near[place] & kept)
            if columns.size:
                if tight:
                    best = scores[place, columns].max()
                    columns = columns[scores[place, columns] >= best - 2 * margin]
                places = np.full(len(columns), place)
                nearest.improve(vectors, rows, places, rows[columns])
        kept[place] = nearest.cosines[place] <= limits[place]
    return kept


class RunIndex:
    """The index that a run keeps beside its vectors: rows that come again are not compared again.

    A row's fate depends on the rows before it alone. So the longest beginning that rows have in
    common with those of an earlier call keeps its answer, and the rest is decided anew. Rows are
    the same if their texts and thresholds are.

    Args:
        store: Where the vectors are kept. Its folder keeps the index too; what an earlier process
            left there is taken up, and made again where it is damaged or of other vectors.
        index: See `greedy_select`.
    """

    def __init__(self, store: VectorStore, index: str) -> None:
        self._store, self._wanted = store, index
        self._start(0)
        if store.folder is not None:
            self._load()

    def _start(self, held: int) -> None:
        self._index, self._held = DiversityIndex(self._wanted), held
        self._keys: NDArray[np.uint8] = np.empty((0, 32), np.uint8)
        self._limits: Floats = np.empty(0)
        self._recall: float | None = None
        self._saved = 0

    def __len__(self) -> int:
        """Returns how many rows were decided so far, with those held."""
        return len(self._keys)

    def select(self, held: StoredVectors, new: StoredVectors, limits: Floats) -> Selection:
        """Decides over rows.

        Args:
            held: Rows that are there already, and stay.
            new: The n rows that are decided over.
            limits: Their thresholds, shape [n].

        Returns:
            A selection of the n rows; a duplicate of held row j has `duplicate_of` n + j.

        Raises:
            ConfigError, EncoderError: See `greedy_select`.
        """
        rows, total = held + new, len(held) + len(new)
        keys, limits = rows.keys, np.append(np.ones(len(held)), limits)
        known = self._known(len(held), keys, limits)
        if not known:
            self._start(len(held))
        if len(self._index) > len(self):
            # Of a call that failed on its way.
            self._cut(len(self))
        if known < min(total, len(self)):
            self._cut(known)
        if known < len(held):
            self._index.hold(rows[known : len(held)])
            known = len(held)
            self._keys, self._limits = keys[:known], limits[:known]
        if known < total:
            decided = self._index.add(rows[known:total], limits[known:].tolist())
            before, after = known - len(held), total - known
            self._recall = _pooled(self._recall, before, decided.recall, after)
            self._keys, self._limits = keys, limits
        return _renumbered(self._index.selection(len(held), total, self._recall), len(held))

    def _known(self, held: int, keys: NDArray[np.uint8], limits: Floats) -> int:
        """Counts the rows, from the first on, that are those of an earlier call."""
        if held != self._held:
            return 0
        n = min(len(self), len(keys))
        other = (self._keys[:n] != keys[:n]).any(axis=1) | (self._limits[:n] != limits[:n])
        return int(other.argmax()) if other.any() else n

    def _cut(self, n: int) -> None:
        self._index.cut(n)
        self._keys, self._limits = self._keys[:n], self._limits[:n]
        self._saved = min(self._saved, n)

    def save(self, *, growth: float = 0.0) -> None:
        """Writes the index into the store's folder, in one step; nothing where there is none.

        Args:
            growth: Share of new rows below which nothing is written.

        Raises:
            ConfigError: The file can't be written.
        """
        if self._store.folder is None or len(self) - self._saved <= growth * len(self):
            return
        path = self._store.path("index.npz")
        temporary = temporary_for(path)
        beside: dict[str, NDArray[Any]] = {
            "keys": self._keys,
            "limits": self._limits,
            "held": np.array(self._held),
            "recall": np.array(self._recall, np.float64),  # NaN for None
        }
        try:
            try:
                # `write_atomic` takes bytes, and would hold a copy of arrays that may be large.
                with open(temporary, "wb", opener=_private) as file:
                    self._index.save(file, **beside)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            hint = "Make room on the disk, or the folder writable, and run it again."
            raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error
        self._saved = len(self)

    def _load(self) -> None:
        """Goes on where `save` stopped, if the store has all vectors of that time."""
        path = self._store.path("index.npz")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as state:
                keys, limits = state["keys"], state["limits"]
                held, recall = int(state["held"]), float(state["recall"])
            vectors = self._store.find(keys)
            if vectors is None or len(limits) != len(keys):
                return
            index = DiversityIndex.load(path, vectors[:])
        except (ConfigError, *_DAMAGE):
            # Only a cache: whatever is wrong with it, it is made again.
            return
        if self._wanted in ("auto", index.index):
            self._index, self._held = index, held
            self._keys, self._limits = keys, limits
            self._recall = None if np.isnan(recall) else recall
            self._saved = len(self)


def _private(path: str, flags: int) -> int:
    handle = os.open(path, flags, 0o600)
    os.fchmod(handle, mode_in(Path(path).parent))
    return handle


def held_vectors(store: VectorStore) -> StoredVectors:
    """Returns the vectors that the index beside them holds as there already; none without one."""
    vectors = None
    # A cache, which another version may have made.
    with contextlib.suppress(*_DAMAGE):
        with np.load(store.path("index.npz"), allow_pickle=False) as state:
            vectors = store.find(state["keys"][: int(state["held"])])
    return StoredVectors(store, np.empty(0, np.int64)) if vectors is None else vectors


def _pooled(first: float | None, n: int, second: float | None, m: int) -> float | None:
    """Returns the recall of n and m rows together."""
    if first is None or second is None:
        return second
    return (n * first + m * second) / (n + m)


def check_index(index: str) -> None:
    """Raises `ConfigError` for an unknown index, or for one whose package is not installed."""
    if index not in INDEXES:
        names = ", ".join(map(repr, INDEXES))
        raise ConfigError(f"index is {index!r}", hint=f"Use one of {names}.")
    if index == "hnsw" and find_spec("hnswlib") is None:
        raise missing_extra("hnswlib", "graph")


def check_threshold(threshold: object) -> float:
    """Returns the threshold as a float.

    Raises:
        ConfigError: It is not a number from 0 to 1.
    """
    if isinstance(threshold, Real) and not isinstance(threshold, bool):
        cosine = float(threshold)
        if 0 <= cosine <= 1:
            return cosine
    hint = "Use a cosine from 0 to 1, such as 0.95."
    raise ConfigError(f"threshold is {threshold!r}", hint=hint)


def _row_limits(threshold: Any, n: int) -> Floats:
    """Returns the threshold of each of n rows, given one for all or for each."""
    if np.ndim(threshold) == 0:
        return np.full(n, check_threshold(threshold))
    limits = list(map(check_threshold, threshold))
    if len(limits) != n:
        hint = "Give one, or one for each row."
        raise ConfigError(f"There are {len(limits)} thresholds for {n} rows", hint=hint)
    return np.array(limits, np.float64)
