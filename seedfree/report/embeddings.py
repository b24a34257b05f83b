"""What the vectors that a run keeps say: how near each row is to another, and a map of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seedfree._seeds import seeded
from seedfree.diversity.sweep import vectors_in
from seedfree.diversity.vectors import Floats, Singles
from seedfree.errors import ConfigError, EncoderError

__all__ = ["Embeddings", "embeddings"]

# Points of the map: more lie on each other, and each costs the page 10 bytes.
_MOST_POINTS = 5_000
# Rows whose nearest row is looked for: enough for a histogram, and a product of 2,000 by 100,000
# rows takes seconds.
_MOST_COMPARED = 2_000
_BLOCK = 256
# Columns and rounds of the subspace iteration.
_SKETCH, _ROUNDS = 12, 12


@dataclass(frozen=True)
class Embeddings:
    """A run's rows as its semantic filter saw them.

    Attributes:
        encoder: Identity of the filter's encoder.
        points: By row id, a place in the plane of the two directions in which the rows differ most;
            each coordinate from 0 to 1.
        explained: Share of the rows' variance that the two directions hold, 0 to 1.
        nearest: For each of at most 2,000 kept rows, the highest cosine with another kept row.
    """

    encoder: str
    points: Mapping[str, tuple[float, float]]
    explained: float
    nearest: Sequence[float]


def embeddings(folder: Path, kept: set[str], wanted: set[str]) -> Embeddings | None:
    """Reads the vectors in a folder; `None` where there are none of at least three rows.

    Args:
        kept: Ids of the rows that were kept.
        wanted: Ids of rows that stay on the map even if it cannot hold all.
    """
    try:
        own, _ = vectors_in(folder)
    except (ConfigError, EncoderError):
        return None
    if len(own.ids) < 3:
        return None
    drawn = _drawn(own.ids, wanted)
    places, explained = _plane(own.vectors[drawn])
    points = {own.ids[i]: (float(x), float(y)) for i, (x, y) in zip(drawn, places, strict=True)}
    remaining = np.array([i for i, name in enumerate(own.ids) if name in kept], np.int64)
    return Embeddings(own.identity, points, explained, _nearest(own.vectors[remaining]))


def _drawn(ids: Sequence[str], wanted: set[str]) -> list[int]:
    first = [i for i, name in enumerate(ids) if name in wanted][:_MOST_POINTS]
    others = [i for i, name in enumerate(ids) if name not in wanted]
    room = min(_MOST_POINTS - len(first), len(others))
    return sorted(first + seeded("map").sample(others, room))


def _plane(vectors: Singles) -> tuple[Floats, float]:
    """Returns principal components scaled to 0 to 1, shape [n, 2], and the variance they hold."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    directions = _directions(centred)
    # A direction and its opposite are the same component: the largest number decides the sign.
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, range(directions.shape[1])])
    places = centred @ directions
    if places.shape[1] < 2:
        places = np.hstack([places, np.zeros_like(places)])
    held, total = (places**2).sum(), (centred**2).sum()
    span = np.ptp(places, axis=0)
    places = (places - places.min(axis=0)) / np.where(span > 0, span, 1)
    return places, float(held / total) if total > 0 else 0.0


def _directions(centred: Floats) -> Floats:
    """Returns the two principal directions, shape [d, 2], by subspace iteration.

    To take the whole d x d matrix apart would take a minute at 4,096 dimensions. Source: Halko,
    Martinsson and Tropp, Finding Structure with Randomness, SIAM Review 2011 (arXiv 0909.4061).
    """
    n, d = centred.shape
    sketch = np.random.default_rng(0).standard_normal((d, min(_SKETCH, n, d)))
    for _ in range(_ROUNDS):
        sketch, _ = np.linalg.qr(centred.T @ (centred @ sketch))
    _, _, rotation = np.linalg.svd(centred @ sketch, full_matrices=False)
    found: Floats = sketch @ rotation[:2].T
    return found


def _nearest(vectors: Singles) -> list[float]:
    n = len(vectors)
    if n < 2:
        return []
    drawn = np.array(sorted(seeded("nearest").sample(range(n), min(n, _MOST_COMPARED))))
    highest: list[float] = []
    for start in range(0, len(drawn), _BLOCK):
        block = drawn[start : start + _BLOCK]
        scores = vectors[block] @ vectors.T
        scores[np.arange(len(block)), block] = -np.inf
        highest += np.clip(scores.max(axis=1), -1, 1).tolist()
    return highest
