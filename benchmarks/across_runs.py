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
from pathlib import Path
from typing import Any

import numpy as np
from diversity import THRESHOLD, planted

from seedfree.diversity.index import DiversityIndex, Ongoing, greedy_select


def timed(fn: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = fn()
    return found, round(time.perf_counter() - start, 3)


def main(n: int = 100_000, d: int = 256, new: int = 1000) -> None:
    vectors, total = planted(n + new, d), n + new
    greedy_select(vectors[:500], THRESHOLD)  # Loads the libraries.
    keys = np.random.default_rng(1).integers(0, 256, (total, 32), np.uint8)
    limits = np.full(total, THRESHOLD)
    with tempfile.TemporaryDirectory() as folder:
        path, file = Path(folder) / "index.npz", Path(folder) / "vectors.f32"
        vectors.tofile(file)
        there = np.memmap(file, np.float32, "r", shape=vectors.shape)
        first = Ongoing("auto")
        first.select(0, keys[:n], limits[:n], lambda rows: there[rows])
        _, saving = timed(lambda: first.save(path))
        size = path.stat().st_size
        second, loading = timed(
            lambda: Ongoing.load(path, "auto", lambda known: there[: len(known)])
        )
        assert len(second) == n
        grown, adding = timed(lambda: second.select(0, keys, limits, lambda rows: there[rows]))
        _, alone = timed(lambda: greedy_select(vectors[n:], THRESHOLD))
        whole, anew = timed(lambda: greedy_select(vectors, THRESHOLD))
        held = DiversityIndex()
        _, holding = timed(lambda: held.hold(there[:n]))
        _, against = timed(lambda: held.add(there[n:], THRESHOLD))
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
