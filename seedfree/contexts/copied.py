"""How much of a page many other pages have, too: what bots and templates wrote.

Shingles are 16 characters long, without white space, all digits alike. A sample of them is counted
in a table of fixed size, so that a page is the same whatever pages come later.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shingles"]

_LENGTH = 16
# Cells of the table, a byte each.
_CELLS = 2**26
# Of so many shingles at least one is counted.
_SAMPLE = 8
# Pages that make a shingle common.
_MANY = 10
# A page with fewer counted shingles is too short to tell.
_FEWEST = 8
_SKIPPED = re.compile(r"\s+")
_DIGIT = re.compile(r"\d")
# An odd number with its bits well mixed (Knuth, The Art of Computer Programming, 6.4).
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Shingles:
    """Counts in how many texts each shingle stands.

    Args:
        chars: Characters of all texts, by which the sample is made to fit.
    """

    def __init__(self, chars: int) -> None:
        self._every = np.uint64(max(_SAMPLE, -(-chars // _CELLS)))
        self._counts = np.zeros(min(_CELLS, max(2**20, 1 << chars.bit_length())), np.uint8)

    def count(self, text: str) -> None:
        """Counts a text's shingles, each once."""
        cells = self._cells(text)
        self._counts[cells] = np.minimum(self._counts[cells], 254) + 1

    def common(self, text: str) -> float:
        """Returns the share of a text's shingles, 0 to 1, that many texts have."""
        cells = self._cells(text)
        if len(cells) < _FEWEST:
            return 0.0
        return float((self._counts[cells] >= _MANY).mean())

    def _cells(self, text: str) -> NDArray[np.int64]:
        folded = _DIGIT.sub("0", _SKIPPED.sub("", text)).encode("utf-32-le", "replace")
        points = np.frombuffer(folded, "<u4").astype(np.uint64)
        length = len(points) - _LENGTH + 1
        if length < 1:
            return np.zeros(0, np.int64)
        hashes = np.zeros(length, np.uint64)
        for start in range(_LENGTH):
            hashes = hashes * _FACTOR + points[start : start + length]
        # The low bits of products hang on the low bits of their factors alone.
        hashes = (hashes ^ (hashes >> np.uint64(29))) * _FACTOR
        mixed = hashes ^ (hashes >> np.uint64(32))
        sample = mixed[mixed % self._every == 0] // self._every
        return np.unique(sample % np.uint64(len(self._counts))).astype(np.int64)
