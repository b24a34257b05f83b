"""Which of many texts stand in another one, whole or in part: by their runs of n characters.

A run is known by a 64-bit hash, the sum of its characters' codes each times a random odd number of its place
(multilinear hashing; Lemire and Kaser, Strongly universal string hashing is fast, 2014). That 4 million runs looked for
among 5 million others meet by chance happens less than once in 1,000 times, and excerpts are compared as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "Shingles", "runs"]

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Found:
    """A text of which enough stands in another: its number, the share of its runs, and a piece that both hold."""

    number: int
    share: float
    excerpt: str


class Shingles:
    """Texts by their runs of `size` characters; a shorter one is a single run.

    Args:
        texts: None empty.
        groups, times: Of each text: which group it is of, and how often it occurs there. A run that occurs more often
            than `common` in a group, each text counted once for each of its times, is not looked for.
    """

    def __init__(
        self, texts: Sequence[str], groups: Sequence[int], times: Sequence[int], *, size: int, common: int
    ) -> None:
        self._texts, self._size = texts, size
        self._factors: Words = np.random.default_rng(size).integers(0, 2**63, size, np.uint64) * np.uint64(
            2
        ) + np.uint64(1)
        self._lengths = frozenset(min(len(text), size) for text in texts)
        each = [np.unique(self._hashes(text, min(len(text), size))) for text in texts]
        hashes = np.concatenate([*each, np.empty(0, np.uint64)])
        owners = np.repeat(np.arange(len(texts), dtype=np.int32), [len(one) for one in each])
        of, weights = np.asarray(groups, np.int32)[owners], np.asarray(times, np.int64)[owners]
        order = np.lexsort((owners, of, hashes))
        hashes, owners, of, weights = hashes[order], owners[order], of[order], weights[order]
        new = np.ones(len(hashes), bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (of[1:] != of[:-1])
        starts = np.flatnonzero(new)
        rare = np.add.reduceat(weights, starts) <= common if len(starts) else np.empty(0, bool)
        kept = np.repeat(rare, np.diff(np.append(starts, len(hashes))))
        hashes, self._owners = hashes[kept], owners[kept]
        self._totals = np.bincount(self._owners, minlength=len(texts))
        self._known, starts = np.unique(hashes, return_index=True)
        self._starts = np.append(starts, len(hashes))
        # Most runs are unknown, and a bit of a table says so sooner than a search.
        bits = min(max(len(self._known).bit_length() + 4, 8), 26)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[self._known >> self._shift] = True

    def find(self, text: str, least: float, longest: int = 100) -> list[Found]:
        """The texts of whose runs at least the share `least` stands in `text`, by number.

        Args:
            longest: Characters of an excerpt, where it can be more than a run.
        """
        runs_at = [self._at(hashes) for hashes in self._all(text)]
        if not any(len(ids) for ids, _ in runs_at):
            return []
        ids, first = np.unique(np.concatenate([ids for ids, _ in runs_at]), return_index=True)
        places = np.concatenate([at for _, at in runs_at])[first]
        counts = self._starts[ids + 1] - self._starts[ids]
        ends = np.cumsum(counts)
        spread = np.arange(ends[-1]) + np.repeat(self._starts[ids] - (ends - counts), counts)
        numbers, where, held = np.unique(self._owners[spread], return_inverse=True, return_counts=True)
        place = np.full(len(numbers), len(text))
        np.minimum.at(place, where, np.repeat(places, counts))
        shares = held / self._totals[numbers]
        return [
            Found(number, share, excerpt)
            for number, share, at in zip(numbers.tolist(), shares.tolist(), place.tolist(), strict=True)
            if share >= least and (excerpt := self._excerpt(text, at, self._texts[number], longest))
        ]

    def _excerpt(self, text: str, at: int, known: str, longest: int) -> str:
        end = at + min(len(known), self._size)
        if text[at:end] not in known:
            return ""
        while end < min(len(text), at + longest) and text[at : end + 1] in known:
            end += 1
        return text[at:end]

    def _at(self, hashes: Words) -> tuple[NDArray[Any], NDArray[Any]]:
        """Numbers of the known runs among hashes, and their places."""
        near = np.flatnonzero(self._table[hashes >> self._shift])
        ids = np.minimum(np.searchsorted(self._known, hashes[near]), max(len(self._known) - 1, 0))
        same = self._known[ids] == hashes[near] if len(self._known) else np.zeros(len(near), bool)
        return ids[same], near[same]

    def _all(self, text: str) -> Iterator[Words]:
        return runs(text, self._lengths, self._factors)

    def _hashes(self, text: str, length: int) -> Words:
        return next(runs(text, frozenset((length,)), self._factors)).copy()


def runs(text: str, lengths: frozenset[int], factors: Words) -> Iterator[Words]:
    """Hashes of all runs of each length in a text, shortest first; each array holds until the next is asked for."""
    # No code is 0, so that a run and a longer one never have the same hash for that.
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64) + np.uint64(1)
    total = np.zeros(len(codes), np.uint64)
    for k in range(min(max(lengths, default=0), len(codes))):
        total = total[: len(codes) - k]
        total += codes[k:] * factors[k]
        if k + 1 in lengths:
            yield total
