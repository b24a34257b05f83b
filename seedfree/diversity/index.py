"""Which rows are near-duplicates of an earlier one, by cosine.

Rows come in order. Row i is dropped if a kept row j < i has a cosine above the threshold; it is
then a duplicate of the kept row with the highest cosine, the lowest number on a tie.

`DiversityIndex` walks through the rows in blocks. For each block a search finds the nearest rows
among those kept so far, `_settle` decides the block row by row, and what was kept goes into the
search. Whatever a search finds is scored again in float64, so that it can miss a neighbour but
never invent one.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from seedfree.diversity.search import FEWEST, Bounds, ExactSearch, HnswSearch, Search, improve
from seedfree.diversity.vectors import Floats, Ints, Rows, Singles, matrix, parts
from seedfree.errors import ConfigError, missing_extra
from seedfree.records import Selection

__all__ = ["DiversityIndex", "Ongoing", "check_index", "check_threshold", "greedy_select"]

Keys = NDArray[np.uint8]
_BY_ROW = ("keys", "limits", "similarity", "duplicate_of")


class Ongoing:
    """What was decided so far, about rows that are known by their keys.

    A row's fate depends on the rows before it alone. So the longest beginning that rows have in
    common with those of an earlier call keeps its answer, and the rest is decided anew.

    Args:
        index: See `greedy_select`.
    """

    def __init__(self, index: str) -> None:
        self._wanted = index
        self._start(0)

    def _start(self, held: int) -> None:
        self._index, self._held = DiversityIndex(self._wanted), held
        self._keys: Keys = np.empty((0, 32), np.uint8)
        self._limits: Floats = np.empty(0)
        self._of: Ints = np.empty(0, np.int64)
        self._similarity: Floats = np.empty(0)
        self._recall: float | None = None
        self._saved = 0

    def __len__(self) -> int:
        """Rows decided so far, with those held."""
        return len(self._of)

    def select(
        self, held: int, keys: Keys, limits: Floats, vectors: Callable[[slice], Singles]
    ) -> Selection:
        """Decides over rows.

        Args:
            held: How many of the rows, from the first on, are there already and stay.
            keys: Shape [held + n, 32]: names each row's vector.
            limits: Thresholds, shape [held + n].
            vectors: Gives the unit rows of a slice of all rows.

        Returns:
            A selection of the n rows; a duplicate of held row j has `duplicate_of` n + j.

        Raises:
            ConfigError, EncoderError: See `greedy_select`.
        """
        total, known = len(keys), self._known(held, keys, limits)
        if not known:
            self._start(held)
        if len(self._index) > len(self):  # a call that failed on its way
            self._cut(len(self))
        if known < min(total, len(self)):
            self._cut(known)
        if known < held:
            self._index.hold(vectors(slice(known, held)))
            self._note(
                keys[:held], limits[:held], np.full(held - known, -1), np.full(held - known, np.nan)
            )
            known = held
        if known < total:
            found = self._index.add(vectors(slice(known, total)), limits[known:].tolist())
            self._recall = _joined(self._recall, known - held, found.recall, total - known)
            self._note(keys, limits, found.duplicate_of, found.similarity)
        n, of = total - held, self._of[held:total]
        of = np.where(of < 0, -1, np.where(of < held, n + of, of - held))
        return Selection(
            np.flatnonzero(of < 0),
            of,
            self._similarity[held:total],
            self._index.index,
            self._recall,
        )

    def _known(self, held: int, keys: Keys, limits: Floats) -> int:
        """How many rows, from the first on, are those of an earlier call."""
        if held != self._held:
            return 0
        n = min(len(self), len(keys))
        other = (self._keys[:n] != keys[:n]).any(axis=1) | (self._limits[:n] != limits[:n])
        return int(other.argmax()) if other.any() else n

    def _cut(self, n: int) -> None:
        self._index.cut(n)
        self._keys, self._limits = self._keys[:n], self._limits[:n]
        self._of, self._similarity = self._of[:n], self._similarity[:n]
        self._saved = min(self._saved, n)

    def _note(self, keys: Keys, limits: Floats, of: Ints, similarity: Floats) -> None:
        self._keys, self._limits = keys, limits
        self._of = np.append(self._of, of)
        self._similarity = np.append(self._similarity, similarity)

    def save(self, path: Path, *, growth: float = 0.0) -> None:
        """Writes index and answers, for `load`, in one step.

        Args:
            growth: Share of new rows below which nothing is written.

        Raises:
            ConfigError: The file can't be written.
        """
        if len(self) - self._saved <= growth * len(self):
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        state: dict[str, Any] = {
            "keys": self._keys,
            "limits": self._limits,
            "similarity": self._similarity,
            "held": np.array(self._held),
            "recall": np.array(np.nan if self._recall is None else self._recall),
        }
        try:
            try:
                os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
                self._index.save(temporary)
                with zipfile.ZipFile(temporary, "a") as file:
                    for name, array in state.items():
                        with file.open(f"{name}.npy", "w", force_zip64=True) as part:
                            np.lib.format.write_array(part, array, allow_pickle=False)
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            hint = "Make room on the disk, or the folder writable, and run it again."
            raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error
        self._saved = len(self)

    @classmethod
    def load(cls, path: Path, index: str, vectors: Callable[[Keys], Singles | None]) -> Ongoing:
        """Goes on where `save` stopped; from nothing where there is no such file, or not of these vectors.

        Args:
            vectors: Gives the unit rows of keys, or `None` where they are not there.
        """
        made = cls(index)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                state = {name: kept[name] for name in (*_BY_ROW, "held", "recall")}
            rows = vectors(state["keys"])
            if rows is None or len({len(state[name]) for name in _BY_ROW}) != 1:
                return made
            loaded = DiversityIndex.load(path, rows)
        except (ConfigError, OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
            # a cache: made again
            return made
        if index in ("auto", loaded.index):
            made._index, made._held = loaded, int(state["held"])
            made._keys, made._limits = state["keys"], state["limits"]
            made._of, made._similarity = state["duplicate_of"], state["similarity"]
            made._recall = None if np.isnan(state["recall"]) else float(state["recall"])
            made._saved = len(made)
        return made


def _joined(first: float | None, n: int, second: float | None, m: int) -> float | None:
    """The recall of n and m rows together."""
    return second if first is None or second is None else (n * first + m * second) / (n + m)


INDEXES = ("auto", "exact", "hnsw")
# Rows times numbers a bound takes, above which a graph is quicker: `benchmarks/diversity.py`, see
# docs/diversity.md.
_CROSSOVER, _OVERHEAD = 200_000_000, 24
# Pairs a row above which one product in float64 costs less than the pairs one by one.
_DENSE = 16
_RECALL = 500  # Rows that recall is measured on.


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
    | NaN, infinity, a zero row, a row whose length is not 1 within 0.01, not two dimensions | `EncoderError` |
    | `against` of other dimensions | `EncoderError` |

    Args:
        vectors: Shape [n, d], rows of length 1. A memory-mapped file may be given.
        threshold: 0 to 1; or one for each row.
        index: `"exact"` compares every row with every kept one, at the price of a few leading
            coordinates for most pairs (`bounds.py`). `"hnsw"` looks neighbours up in an approximate
            graph of the kept rows (hnswlib), and measures its recall on a sample: it may miss a
            neighbour and keep a duplicate, or name a neighbour that is not the very nearest. Its
            graph is built by one thread, so equal input gives an equal answer. `"auto"` is exact
            unless rows times coordinates pass the measured crossover and hnswlib is installed; the
            answer's `index` says which it was.
        against: Shape [m, d]: rows that are there already, such as an earlier data set. All stay,
            whatever their cosines, and they come first; a row dropped for row j of them has
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
    first = len(chosen)
    found = chosen.add(vectors, threshold)
    n = len(chosen) - first
    of = found.duplicate_of
    of = np.where(of < 0, -1, np.where(of < first, n + of, of - first))
    return Selection(found.kept - first, of, found.similarity, found.index, found.recall)


class DiversityIndex:
    """`greedy_select` for rows that come bit by bit: what is there already is not compared again.

    Args:
        index, block: See `greedy_select`. `"auto"` chooses with the first rows that it is given.
    """

    def __init__(self, index: str = "auto", *, block: int = 1024) -> None:
        check_index(index)
        if block < 1:
            raise ConfigError(f"block is {block}", hint="Use a whole number from 1.")
        self._wanted, self._block = index, block
        self._rows = Rows()
        self._search: Search | None = None
        self._duplicate_of: Ints = np.empty(0, np.int64)
        # Rows that no earlier kept row has a cosine of 1 with, if they were kept: what equals one
        # duplicates it.
        self._first: NDArray[np.bool_] = np.empty(0, bool)
        self._chosen_at = 0  # rows there were when the search was chosen

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def index(self) -> str:
        """`"exact"` or `"hnsw"`; `"auto"` while it is not chosen."""
        return self._search.name if self._search else self._wanted

    def hold(self, vectors: ArrayLike) -> None:
        """Takes in rows that stay, without comparing them.

        Raises:
            EncoderError: See `greedy_select`.
        """
        first = len(self)
        self._rows.add(matrix(vectors))
        self._duplicate_of = np.append(self._duplicate_of, np.full(len(self) - first, -1))
        self._first = np.append(self._first, np.zeros(len(self) - first, bool))
        if self._search is not None:
            self._take_in(self._search, first)

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
        limits = _limits(threshold, len(array))
        first = len(self)
        try:
            self._rows.add(array)
            return self._add(first, limits)
        except BaseException:
            # Ctrl-C too: rows that nobody decided about must not count as kept
            self.cut(first)
            raise

    def _add(self, first: int, limits: Floats) -> Selection:
        n = len(limits)
        duplicate_of, similarity = np.full(n, -1, np.int64), np.full(n, -1.0)
        self._duplicate_of = np.append(self._duplicate_of, duplicate_of)
        self._first = np.append(self._first, limits < 1)
        recall = None
        if n:
            with threadpool_limits(1, "blas"):
                search = self._searched(float(limits.min()), first)
                for numbers in parts(np.arange(first, first + n), self._block):
                    at = numbers - first
                    duplicate_of[at], similarity[at] = self._decide(search, numbers, limits[at])
                if search.name == "hnsw":
                    recall = self._recall(first, limits, duplicate_of >= 0)
        kept = duplicate_of < 0
        similarity = np.where(kept, np.nan, similarity)
        index = self.index if n or self.index != "auto" else "exact"
        return Selection(np.flatnonzero(kept) + first, duplicate_of, similarity, index, recall)

    def cut(self, n: int) -> None:
        """Forgets all rows from number n on, as if they had never come."""
        self._rows.cut(n)
        self._duplicate_of, self._first = self._duplicate_of[:n], self._first[:n]
        if not n:
            self._search = None
        elif self._search is not None and not self._search.cut(n):
            self._search = HnswSearch(self._rows)
            self._take_in(self._search, 0)

    def save(self, path: str | Path) -> None:
        """Writes all but the vectors to an `.npz` file."""
        state: dict[str, Any] = (
            self._search.state() if isinstance(self._search, ExactSearch) else {}
        )
        state |= {
            "index": np.array(self.index),
            "duplicate_of": self._duplicate_of,
            "lengths": self._rows.lengths,
        }
        state["first"] = self._first
        with open(path, "wb") as file:
            np.savez(file, **state, twins=self._rows.twins, digests=self._rows.digests())

    @classmethod
    def load(cls, path: str | Path, vectors: ArrayLike, *, block: int = 1024) -> DiversityIndex:
        """Reads what `save` wrote.

        Args:
            vectors: The same rows again, such as a memory-mapped file; they are read only where
                they are compared.

        Raises:
            ConfigError: The file does not hold an index of so many rows.
        """
        array = matrix(vectors)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
                state = {name: kept[name] for name in kept.files}
            made = cls(str(state["index"]), block=block)
            if len(state["lengths"]) != len(array):
                raise ValueError(f"it is of {len(state['lengths'])} rows, not {len(array)}")
            made._rows.restore(array, state["lengths"], state["twins"], state["digests"])
            made._duplicate_of, made._first = state["duplicate_of"], state["first"]
            made._chosen_at = len(array)
            if "features" in state:
                made._search = ExactSearch.restore(made._rows, state)
        except (OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile) as error:
            raise ConfigError(
                f"{path} holds no index of these vectors: {error}", hint="Delete it."
            ) from error
        return made

    def _searched(self, threshold: float, first: int) -> Search:
        """The search; where there is none yet, one is chosen and takes in what was kept of the rows before `first`."""
        search = self._search
        # What was too few rows to learn from may have become enough.
        grown = search is not None and len(self) >= max(FEWEST, 2 * self._chosen_at)
        if search is None or (grown and search.name == "exact" and search.bounds.tight):
            self._chosen_at = len(self)
            exact = self._wanted == "exact" or find_spec("hnswlib") is None
            bounds = (
                Bounds(self._rows)
                if self._wanted == "hnsw"
                else Bounds.learn(self._rows, threshold)
            )
            large = len(self._rows) * (bounds.width + _OVERHEAD) > _CROSSOVER
            graph = self._wanted == "hnsw" or (large and not exact)
            search = self._search = (
                HnswSearch(self._rows) if graph else ExactSearch(self._rows, bounds)
            )
            self._take_in(search, 0, first)
        return search

    def _take_in(self, search: Search, start: int, end: int | None = None) -> None:
        kept = np.flatnonzero(self._duplicate_of[start:end] < 0) + start
        for numbers in parts(kept[self._distinct(kept)], self._block):
            search.add(numbers, search.bounds.features(numbers))

    def _distinct(self, kept: Ints) -> NDArray[np.bool_]:
        """Which of some kept rows are not copies of a kept row: many copies spoil a graph, and tie everywhere."""
        twins = self._rows.twins[kept]
        return (twins < 0) | (self._duplicate_of[twins] >= 0)

    def _decide(self, search: Search, numbers: Ints, limits: Floats) -> tuple[Ints, Floats]:
        """For a block, the rows that it duplicates, -1 where it is kept, and the cosines."""
        rows, start = self._rows, numbers[0]
        of, cosine = np.full(len(numbers), -1, np.int64), np.full(len(numbers), -1.0)
        known = rows.twins[numbers].copy()
        known[(known >= start) | (limits >= 1)] = -1
        # it was itself dropped, say: search
        known[~self._first[known] | (self._duplicate_of[known] >= 0)] = -1
        found = known >= 0
        of[found], cosine[found] = known[found], 1.0
        left = np.flatnonzero(~found)
        if left.size:
            features = search.bounds.features(numbers[left])
            best, which = search.nearest(numbers[left], features, limits[left])
            alive = _settle(rows, search.bounds, limits[left], numbers[left], features, best, which)
            of[left], cosine[left] = np.where(alive, -1, which), best
        self._duplicate_of[numbers] = of
        if left.size:
            new = np.flatnonzero(alive)
            new = new[self._distinct(numbers[left[new]])]
            search.add(numbers[left[new]], features[new])
        return of, cosine

    def _recall(self, first: int, limits: Floats, dropped: NDArray[np.bool_]) -> float:
        """Of the duplicates in a sample of rows, the share that was found; decided in float64."""
        n = len(dropped)
        sample = np.sort(np.random.default_rng(0).choice(n, min(n, _RECALL), replace=False))
        kept = np.flatnonzero(self._duplicate_of < 0)
        rows = sample + first
        highest, nearest, wide = np.full(len(rows), -1.0), rows.copy(), self._rows.single(rows)
        for columns in parts(kept, self._block):
            scores = wide @ self._rows.single(columns).T
            scores[columns[None, :] >= rows[:, None]] = -1
            top = scores.argmax(axis=1)
            better = scores[np.arange(len(rows)), top] > highest
            highest[better], nearest[better] = scores[better, top[better]], columns[top[better]]
        near = self._rows.cosines(rows, nearest) > limits[sample]
        missed = int((near & (nearest < rows) & ~dropped[sample]).sum())
        found = int(dropped[sample].sum())
        return found / (found + missed) if found + missed else 1.0


def check_threshold(threshold: object) -> float:
    """The threshold as a float.

    Raises:
        ConfigError: It is not a number from 0 to 1.
    """
    if (
        isinstance(threshold, bool)
        or not isinstance(threshold, Real)
        or not 0 <= float(threshold) <= 1
    ):
        raise ConfigError(
            f"threshold is {threshold!r}", hint="Use a cosine from 0 to 1, such as 0.95."
        )
    return float(threshold)


def check_index(index: str) -> None:
    """Raises `ConfigError` for an unknown index, or for one whose package is not installed."""
    if index not in INDEXES:
        raise ConfigError(
            f"index is {index!r}", hint=f"Use one of {', '.join(map(repr, INDEXES))}."
        )
    if index == "hnsw" and find_spec("hnswlib") is None:
        raise missing_extra("hnswlib", "embed")


def _limits(threshold: float | Sequence[float], n: int) -> Floats:
    if np.ndim(threshold) == 0:
        return np.full(n, check_threshold(threshold))
    limits = [check_threshold(each) for each in cast("Sequence[float]", threshold)]
    if len(limits) != n:
        raise ConfigError(
            f"There are {len(limits)} thresholds for {n} rows",
            hint="Give one, or one for each row.",
        )
    return np.array(limits, np.float64)


def _settle(
    rows: Rows,
    bounds: Bounds,
    limits: Floats,
    numbers: Ints,
    features: Singles,
    best: Floats,
    which: Ints,
) -> NDArray[np.bool_]:
    """Decides a block in order, given its nearest kept rows before the block; updates them by those in the block."""
    alive = best <= limits
    scores: NDArray[Any] = features @ features.T
    margin, tight = bounds.margin, bounds.tight
    below = np.tri(len(numbers), k=-1, dtype=bool)
    near = below & (scores >= (np.maximum(best, limits) - margin).astype(np.float32)[:, None])
    if np.count_nonzero(near) > _DENSE * len(numbers):
        wide = rows.double(numbers)
        scores, margin, tight = wide @ wide.T, 1e-9, True
        near = below & (scores >= (np.maximum(best, limits) - margin)[:, None])
    place = {int(number): i for i, number in enumerate(numbers)}
    for i in np.flatnonzero(near.any(axis=1)):
        twin = place.get(int(rows.twins[numbers[i]]), -1)
        if twin >= 0 and alive[twin] and limits[twin] < 1:
            best[i], which[i] = 1.0, numbers[twin]
        else:
            columns = np.flatnonzero(near[i] & alive)
            if columns.size:
                if tight:
                    columns = columns[scores[i, columns] >= scores[i, columns].max() - 2 * margin]
                improve(rows, numbers, np.full(len(columns), i), numbers[columns], best, which)
        alive[i] = best[i] <= limits[i]
    return alive
