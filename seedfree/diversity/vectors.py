"""Rows of length 1: checked when they come in, read where they lie, exact in float64."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedfree.errors import EncoderError

__all__ = [
    "AT_ONCE",
    "Fault",
    "Floats",
    "Ints",
    "Singles",
    "UnitRows",
    "matrix",
    "parts",
    "unit_fault",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Fault = Literal["not finite", "zero", "not unit"]

AT_ONCE = 2048  # Rows or pairs in float64 at one time: 16 MB at 1,024 dimensions.
_TOLERANCE = 1e-2  # How far from 1 a row's length may be. Half precision stays within 1e-3.
_SAMPLE = 16  # Rows whose bytes tell whether restored vectors are the same again.


class UnitRows:
    """Rows of length 1 in two precisions, numbered in the order in which they came.

    Attributes:
        lengths: Shape [n], float64.
        twins: Shape [n]: for each row the first row that holds the same bytes, -1 where it is
            itself the first.
    """

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        self._starts = np.empty(0, np.int64)
        self._seen: dict[bytes, int] = {}
        self.lengths: Floats = np.empty(0)
        self.twins: Ints = np.empty(0, np.int64)

    @classmethod
    def of(cls, *vectors: ArrayLike) -> UnitRows:
        """Makes rows of arrays, one behind the other; see `add`."""
        made = cls()
        for array in vectors:
            made.add(matrix(array))
        return made

    @classmethod
    def checked(cls, arrays: Iterable[tuple[NDArray[Any], Floats]]) -> UnitRows:
        """Makes rows of arrays that other `UnitRows` gave, each with its lengths.

        They are not checked again, and equal rows are not known.
        """
        made = cls()
        made._arrays, lengths = map(list, zip(*arrays, strict=True))
        made._starts = np.cumsum([0, *map(len, made._arrays[:-1])])
        made.lengths = np.concatenate(lengths)
        return made

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dimensions(self) -> int:
        """Returns how many numbers a row has; 0 while there are no rows."""
        return int(self._arrays[0].shape[1]) if self._arrays else 0

    @property
    def margin(self) -> float:
        """Returns how far a float32 product of two rows can be from their cosine, at least 1e-6.

        In any order of summation the error of d products is at most d units of rounding (Higham,
        Accuracy and Stability of Numerical Algorithms, 3.1). The rows' own rounding and scaling
        adds six.
        """
        units = (self.dimensions + 8) * 2.0**-24
        return 1e-6 + units / (1 - units)

    def add(self, vectors: NDArray[Any]) -> None:
        """Takes in the rows of an array, which must not change from now on.

        A memory-mapped file is read in parts.

        Raises:
            EncoderError: Rows that have no cosine, or of other dimensions than those before.
        """
        n, first = len(vectors), len(self)
        if not n:
            return
        if self._arrays and vectors.shape[1] != self.dimensions:
            raise EncoderError(
                f"The vectors have {vectors.shape[1]} dimensions, "
                f"those already there {self.dimensions}",
                hint="Compare vectors of one encoder alone.",
            )
        lengths, twins = np.empty(n), np.full(n, -1, np.int64)
        # Apart from those before, so that rows that are refused leave nothing behind.
        seen: dict[bytes, int] = {}
        for part in parts(np.arange(n), AT_ONCE):
            rows = np.ascontiguousarray(vectors[part[0] : part[-1] + 1])
            wide = rows.astype(np.float64)
            with np.errstate(over="ignore"):  # the length is then infinite, and refused
                lengths[part] = np.sqrt((wide * wide).sum(axis=1))
            for place, content in zip(part.tolist(), rows, strict=True):
                digest, number = _digest(content), first + place
                earlier = self._seen.get(digest)
                if earlier is None:
                    earlier = seen.setdefault(digest, number)
                if earlier < number:
                    twins[place] = earlier
        _check(lengths)
        # A pair that stands exactly at the threshold must not be moved by the last bit of a length.
        lengths[np.abs(lengths - 1) < 1e-12] = 1.0
        self._seen.update(seen)
        self._starts = np.append(self._starts, first)
        self._arrays.append(vectors)
        self.lengths = np.concatenate([self.lengths, lengths])
        self.twins = np.concatenate([self.twins, twins])

    def cut(self, n: int) -> None:
        """Forgets all rows from number n on."""
        keep = int(np.searchsorted(self._starts, n))
        self._starts, self._arrays = self._starts[:keep], self._arrays[:keep]
        if keep:
            self._arrays[-1] = self._arrays[-1][: n - self._starts[-1]]
        self.lengths, self.twins = self.lengths[:n], self.twins[:n]
        self._seen = {digest: number for digest, number in self._seen.items() if number < n}

    def digests(self) -> NDArray[np.uint8]:
        """Returns what `restore` knows equal rows by, shape [distinct rows, 24].

        Each row holds a digest (16 bytes) and the number of the first row that has it (8 bytes).
        """
        numbers = np.fromiter(self._seen.values(), np.int64, len(self._seen))
        digests = np.frombuffer(b"".join(self._seen), np.uint8).reshape(-1, 16)
        return np.hstack([digests, numbers.view(np.uint8).reshape(-1, 8)])

    def restore(
        self, vectors: NDArray[Any], lengths: Floats, twins: Ints, digests: NDArray[np.uint8]
    ) -> None:
        """Takes in rows that were checked before.

        Raises:
            ValueError: They are other rows. A sample of them is looked at.
        """
        if not len(vectors):
            return
        self._arrays, self._starts = [vectors], np.zeros(1, np.int64)
        self.lengths, self.twins = lengths, twins
        numbers = np.ascontiguousarray(digests[:, 16:]).view(np.int64).ravel().tolist()
        self._seen = dict(zip((row.tobytes() for row in digests[:, :16]), numbers, strict=True))
        for number in np.linspace(0, len(vectors) - 1, _SAMPLE).astype(int).tolist():
            first = self._seen.get(_digest(np.ascontiguousarray(vectors[number])))
            if first != (number if twins[number] < 0 else twins[number]):
                raise ValueError(f"row {number} is another")

    def single(self, rows: Ints) -> Singles:
        """Returns rows, scaled to length 1 in float32, shape [len(rows), d]."""
        taken: Singles = self.raw(rows).astype(np.float32, copy=False)
        taken *= (1 / self.lengths[rows]).astype(np.float32)[:, None]
        return taken

    def double(self, rows: Ints) -> Floats:
        """Returns rows, scaled to length 1 in float64, shape [len(rows), d]."""
        taken: Floats = self.raw(rows).astype(np.float64)
        taken /= self.lengths[rows, None]
        return taken

    def cosines(self, left: Ints, right: Ints) -> Floats:
        """Returns the cosines of pairs of rows.

        Each is a sum of its own, not part of a matrix product. So it depends on its two rows
        alone, to the last bit, whatever stands beside them.
        """
        out = np.empty(len(left))
        for part in parts(np.arange(len(left)), AT_ONCE):
            out[part] = (self.double(left[part]) * self.double(right[part])).sum(axis=1)
        return np.clip(out, -1, 1)

    def raw(self, rows: Ints) -> NDArray[Any]:
        """Returns a copy of rows as they came, shape [len(rows), d]."""
        if len(self._arrays) == 1:
            return self._arrays[0][rows]
        source = np.searchsorted(self._starts, rows, side="right") - 1
        taken = np.empty((len(rows), self.dimensions), np.result_type(*self._arrays))
        for i in np.unique(source):
            taken[source == i] = self._arrays[i][rows[source == i] - self._starts[i]]
        return taken


def matrix(vectors: ArrayLike) -> NDArray[Any]:
    """Returns the vectors as an array of floats, shape [n, d]; [0, 0] where there are none.

    Raises:
        EncoderError: They are no array of real numbers, or not one row a text.
    """
    try:
        array = np.asarray(vectors)
        if array.shape[:1] == (0,):
            return np.empty((0, 0), np.float32)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"dtype {array.dtype}")
    except (TypeError, ValueError) as error:
        raise EncoderError(f"The vectors are not an array of real numbers: {error}") from error
    if array.ndim != 2:
        raise EncoderError(
            f"The vectors have shape {list(array.shape)}", hint="Give one row a text: [n, d]."
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def parts(numbers: Ints, size: int) -> Iterator[Ints]:
    """Yields the numbers, `size` at a time."""
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def unit_fault(lengths: Floats) -> tuple[Fault, Ints] | None:
    """Finds what keeps rows from having a cosine, by their lengths.

    Returns:
        The first fault that some rows have, and the places of these rows; `None` where all rows
        have length 1.
    """
    faults: dict[Fault, NDArray[np.bool_]] = {
        "not finite": ~np.isfinite(lengths),
        "zero": lengths == 0,
        "not unit": np.abs(lengths - 1) > _TOLERANCE,
    }
    for fault, rows in faults.items():
        if rows.any():
            return fault, np.flatnonzero(rows)
    return None


_WORDS: dict[Fault, str] = {
    "not finite": "holds NaN or infinity",
    "zero": "is all zeros",
    "not unit": "does not have length 1",
}


def _check(lengths: Floats) -> None:
    problem = unit_fault(lengths)
    if problem is not None:
        fault, rows = problem
        raise EncoderError(
            f"Row {rows[0]} of the vectors {_WORDS[fault]} ({len(rows)} of {len(lengths)} rows do)",
            hint="Divide each row by its length, and look at the texts or the encoder "
            "where there is none.",
        )


def _digest(row: NDArray[Any]) -> bytes:
    # 128 bits: two different rows of a data set will never share one by chance.
    return hashlib.blake2b(row.data, digest_size=16).digest()
