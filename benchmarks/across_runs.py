"""Times new rows on an index that an earlier run left behind; prints one JSON line.

python benchmarks/across_runs.py [rows there] [dimensions] [new rows]
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from diversity import THRESHOLD, planted

from seedfree.diversity.index import DiversityIndex, RunIndex, greedy_select
from seedfree.diversity.store import VectorStore


def timed(fn: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    value = fn()
    return value, round(time.perf_counter() - start, 3)


def main(n: int = 100_000, d: int = 256, new: int = 1000) -> None:
    vectors, total = planted(n + new, d), n + new
    greedy_select(vectors[:500], THRESHOLD)  # Loads the libraries.
    limits = np.full(total, THRESHOLD)
    with tempfile.TemporaryDirectory() as folder:
        store, texts = VectorStore(folder, "planted"), list(map(str, range(total)))

        def encode(part: list[str]) -> np.ndarray:
            return vectors[list(map(int, part))]

        rows, there = store.vectors(texts, encode), store.vectors(texts[:n], encode)
        nothing = store.vectors([], encode)
        first = RunIndex(store, "auto")
        first.select(nothing, there, limits[:n])
        _, saving = timed(first.save)
        size = store.path("index.npz").stat().st_size
        second, loading = timed(lambda: RunIndex(store, "auto"))
        assert len(second) == n
        grown, adding = timed(lambda: second.select(nothing, rows, limits))
        _, alone = timed(lambda: greedy_select(vectors[n:], THRESHOLD))
        whole, anew = timed(lambda: greedy_select(vectors, THRESHOLD))
        held = DiversityIndex()
        _, holding = timed(lambda: held.hold(there[:]))
        _, against = timed(lambda: held.add(rows[n:], THRESHOLD))
    line = {
        "rows_there": n,
        "new_rows": new,
        "dimensions": d,
        "index": grown.index,
        "seconds": {
            "load": loading,
            "new rows on the loaded index": adding,
            "new rows alone": alone,
            "all rows anew": anew,
            "save": saving,
            "take rows in as already there": holding,
            "new rows against them": against,
        },
        "on_loaded_over_alone_and_load": round((loading + adding) / (loading + alone), 3),
        "on_loaded_over_anew": round((loading + adding) / anew, 3),
        "megabytes": round(size / 1e6, 1),
        "decisions_that_differ": int((whole.duplicate_of != grown.duplicate_of).sum()),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
