"""Times `greedy_select` by each index on the same vectors and counts the decisions that differ; prints one JSON line.

python benchmarks/diversity.py [rows] [dimensions]
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time

import numpy as np

from seedfree.filters.index import greedy_select

SHARE, THRESHOLD = 0.25, 0.95


def planted(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Isotropic unit rows; a quarter of them lie at a cosine of 0.955 to 1 from a random earlier row."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, d), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for i in np.flatnonzero(rng.random(n) < SHARE)[1:]:
        near = vectors[rng.integers(0, i)]
        aside = vectors[i] - (vectors[i] @ near) * near
        cosine = rng.uniform(0.955, 1.0)
        vectors[i] = cosine * near + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)
    return vectors


def main(n: int = 20_000, d: int = 1024) -> None:
    vectors = planted(n, d)
    greedy_select(vectors[:500], THRESHOLD, "hnsw")  # Loads the libraries.
    seconds, answers = {}, {}
    for index in ("exact", "hnsw"):
        start = time.perf_counter()
        answers[index] = greedy_select(vectors, THRESHOLD, index)
        seconds[index] = round(time.perf_counter() - start, 2)
    dropped = {index: answer.duplicate_of >= 0 for index, answer in answers.items()}
    line = {
        "rows": n,
        "dimensions": d,
        "dropped": {index: int(answer.sum()) for index, answer in dropped.items()},
        "seconds": seconds,
        "exact_over_hnsw": round(seconds["exact"] / seconds["hnsw"], 3),
        "decisions_that_differ": int((dropped["exact"] != dropped["hnsw"]).sum()),
        "neighbours_that_differ": int((answers["exact"].duplicate_of != answers["hnsw"].duplicate_of).sum()),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
