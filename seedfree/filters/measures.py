"""How varied rows are. Each measure moves with the number of rows or words: compare it at equal numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from seedfree.errors import ConfigError
from seedfree.filters.vectors import Rows, matrix, parts
from seedfree.records import seeded

__all__ = ["distinct", "mean_nearest", "vendi"]

_BLOCK = 2048  # Rows whose cosines are held at a time, with as many others.


def mean_nearest(vectors: ArrayLike) -> float:
    """The mean, over rows, of the highest cosine with another row; lower is more varied.

    (1 / n) * sum over i of max over j != i of cos(i, j): -1 to 1, NaN for fewer than two rows. The
    products are of float32, so that it is right to 1e-5. Takes n * (4 d + 700) bytes and 16 MB for
    a block; n * n is never held.

    Source: the nearest-neighbour similarity by which near-duplicates are dropped (arXiv 2411.15484,
    section 3.4), over all rows that are there.

    Args:
        vectors: Shape [n, d], rows of length 1.

    Raises:
        EncoderError: Vectors that have no cosine; see `greedy_select`.
    """
    rows = _rows(vectors)
    if len(rows) < 2:
        return float("nan")
    blocks = list(parts(np.arange(len(rows)), _BLOCK))
    highest = np.full(len(rows), -np.inf, np.float32)
    for i, left in enumerate(blocks):
        wide = rows.single(left)
        for right in blocks[i:]:
            scores = wide @ (wide if right is left else rows.single(right)).T
            if right is left:
                np.fill_diagonal(scores, -np.inf)
            highest[left] = np.maximum(highest[left], scores.max(axis=1))
            highest[right] = np.maximum(highest[right], scores.max(axis=0))
    return float(np.clip(highest, -1, 1).mean(dtype=np.float64))


def vendi(vectors: ArrayLike) -> float:
    """The Vendi score with the cosine as kernel: as how many wholly different rows they count; higher is more varied.

    exp(-sum of p * ln p) over the eigenvalues p of K / n, where K[i, j] = cos(i, j): 1 where all rows are equal, n
    where each is orthogonal to all others, d at most; NaN for no rows. X.T @ X / n of the rows X has the same
    eigenvalues but for zeros, so that d * d numbers are held and never n * n.

    Source: Friedman and Dieng, The Vendi Score, TMLR 2023 (arXiv 2210.02410).

    Args:
        vectors: Shape [n, d], rows of length 1.

    Raises:
        EncoderError: Vectors that have no cosine; see `greedy_select`.
    """
    rows = _rows(vectors)
    if not len(rows):
        return float("nan")
    total = np.zeros((rows.dimensions, rows.dimensions))
    for part in parts(np.arange(len(rows)), _BLOCK):
        wide = rows.double(part)
        total += wide.T @ wide
    shares = np.linalg.eigvalsh(total / len(rows))
    shares = shares[shares > 0]  # Zeros come out as small numbers of either sign.
    return float(np.exp(-(shares * np.log(shares)).sum()))


def distinct(texts: Sequence[Sequence[str]], n: int, budget: int, seed: int = 0) -> float:
    """Distinct-n: the number of different n-grams over the number of words; higher is more varied.

    0 to 1. The words are the first `budget` of the texts in a seeded order, since the measure falls
    as texts grow more. No n-gram goes across two texts.

    Source: Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models,
    NAACL 2016, which divides by words too, and counts all of them.

    Args:
        texts: The words of each. Only those that are needed are looked at.
        budget: Words; at least 1.

    Raises:
        ConfigError: The texts have fewer words than the budget, or a number is below 1.
    """
    if n < 1 or budget < 1:
        raise ConfigError(f"n is {n} and budget is {budget}", hint="Both are whole numbers from 1.")
    order, left = list(range(len(texts))), budget
    seeded("distinct", seed).shuffle(order)
    seen: set[tuple[str, ...]] = set()
    for number in order:
        words = texts[number][:left]
        seen.update(zip(*(words[i:] for i in range(n)), strict=False))
        left -= len(words)
        if not left:
            return len(seen) / budget
    raise ConfigError(
        f"The texts have {budget - left} words, fewer than the budget of {budget}", hint="Lower it."
    )


def _rows(vectors: ArrayLike) -> Rows:
    rows = Rows()
    rows.add(matrix(vectors))
    return rows
