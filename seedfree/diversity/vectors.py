"""Rows of length 1 that have a cosine: checked when they come in, read where they lie, exact in float64."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedfree.errors import EncoderError

__all__ = ["Floats", "Ints", "Rows", "Singles", "matrix", "parts"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_PAIRS = 2048  # Rows or pairs in float64 at a time.
_UNIT = 1e-2  # How far from 1 a row's length may be; half precision stays within 1e-3.


def matrix(vectors: ArrayLike) -> NDArray[Any]:
    """The vectors as an array of floats, shape [n, d]; [0, 0] where there are none.

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


class Rows:
    """Unit rows in two precisions, numbered in the order in which they came.

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

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dimensions(self) -> int:
        """0 while there are no rows."""
        return int(self._arrays[0].shape[1]) if self._arrays else 0

    @property
    def margin(self) -> float:
        """How far a float32 product of two rows can be from their cosine, at least 1e-6.

        In any order of summation the error of d products is at most d units of rounding (Higham,
        Accuracy and Stability of Numerical Algorithms, 3.1); the rows' own rounding and scaling
        adds six.
        """
        units = (self.dimensions + 8) * 2.0**-24
        return 1e-6 + units / (1 - units)

    def add(self, vectors: NDArray[Any]) -> None:
        """Takes in rows of an array, which must not change from now on. A memory-mapped file is read in parts.

        Raises:
            EncoderError: Rows that have no cosine, or of other dimensions than those before.
        """
        n = len(vectors)
        if not n:
            return
        if self._arrays and vectors.shape[1] != self.dimensions:
            raise EncoderError(
                f"The vectors have {vectors.shape[1]} dimensions, those already there {self.dimensions}",
                hint="Compare vectors of one encoder alone.",
            )
        lengths, twins, first = np.empty(n), np.empty(n, np.int64), len(self)
        seen: dict[bytes, int] = {}
        for part in parts(np.arange(n), _PAIRS):
            rows = np.ascontiguousarray(vectors[part[0] : part[-1] + 1])
            wide = rows.astype(np.float64)
            with np.errstate(over="ignore"):  # the length is then infinite, and refused
                lengths[part] = np.sqrt((wide * wide).sum(axis=1))
            for number, row in zip(part.tolist(), rows, strict=True):
                digest = _digest(row)
                earlier = self._seen.get(digest, -1)
                earlier = earlier if earlier >= 0 else seen.setdefault(digest, first + number)
                twins[number] = earlier if earlier < first + number else -1
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
        """Shape [distinct rows, 24]: what `restore` knows equal rows by, a digest and a number each."""
        numbers = np.fromiter(self._seen.values(), np.int64, len(self._seen))
        digests = np.frombuffer(b"".join(self._seen), np.uint8).reshape(-1, 16)
        return np.hstack([digests, numbers.view(np.uint8).reshape(-1, 8)])

    def restore(
        self, vectors: NDArray[Any], lengths: Floats, twins: Ints, digests: NDArray[np.uint8]
    ) -> None:
        """Takes in rows that were checked before.

        Raises:
            ValueError: They are not; some are looked at.
        """
        if not len(vectors):
            return
        self._arrays, self._starts = [vectors], np.zeros(1, np.int64)
        self.lengths, self.twins = lengths, twins
        numbers = np.ascontiguousarray(digests[:, 16:]).view(np.int64).ravel().tolist()
        self._seen = dict(zip((row.tobytes() for row in digests[:, :16]), numbers, strict=True))
        for number in np.linspace(0, len(vectors) - 1, 16).astype(int).tolist():
            first = self._seen.get(_digest(np.ascontiguousarray(vectors[number])), -1)
            if first != (number if twins[number] < 0 else twins[number]):
                raise ValueError(f"row {number} is another")

    def single(self, numbers: Ints) -> Singles:
        """Rows of length 1, float32, shape [len(numbers), d]."""
        rows: Singles = self._take(numbers).astype(np.float32, copy=False)
        rows *= (1 / self.lengths[numbers]).astype(np.float32)[:, None]
        return rows

    def double(self, numbers: Ints) -> Floats:
        """Rows of length 1, float64."""
        rows: Floats = self._take(numbers).astype(np.float64)
        rows /= self.lengths[numbers, None]
        return rows

    def cosines(self, left: Ints, right: Ints) -> Floats:
        """Cosines of pairs of rows; each depends on its two rows alone, to the last bit."""
        out = np.empty(len(left))
        for part in parts(np.arange(len(left)), _PAIRS):
            out[part] = (self.double(left[part]) * self.double(right[part])).sum(axis=1)
        return np.clip(out, -1, 1)

    def _take(self, numbers: Ints) -> NDArray[Any]:
        """A copy of the rows as they came."""
        if len(self._arrays) == 1:
            return self._arrays[0][numbers]
        of = np.searchsorted(self._starts, numbers, side="right") - 1
        taken = np.empty((len(numbers), self.dimensions), np.result_type(*self._arrays))
        for each in np.unique(of):
            taken[of == each] = self._arrays[each][numbers[of == each] - self._starts[each]]
        return taken


def _digest(row: NDArray[Any]) -> bytes:
    return hashlib.blake2b(row.data, digest_size=16).digest()


def _check(lengths: Floats) -> None:
    for wrong, what in (
        (~np.isfinite(lengths), "holds NaN or infinity"),
        (lengths == 0, "is all zeros"),
        (np.abs(lengths - 1) > _UNIT, "does not have length 1"),
    ):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise EncoderError(
                f"Row {first} of the vectors {what} ({int(wrong.sum())} of {len(wrong)} rows do)",
                hint="Divide each row by its length, and look at the texts or the encoder where there is none.",
            )


def parts(numbers: Ints, size: int) -> Iterator[Ints]:
    """The numbers, `size` at a time."""
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
