"""Times `greedy_select` beside a plain blocked product and other libraries.

These are hnswlib and, where installed, usearch, faiss and semhash. All get the same vectors:
isotropic unit rows, a quarter of them planted at a cosine of 0.955 to 1 from a random earlier row.
Prints one JSON line: seconds, over hnswlib's, and decisions that differ from those of the plain
product.

python benchmarks/diversity.py [rows] [dimensions] [contestant ...]

`python benchmarks/diversity.py plot LINES.jsonl CURVES.png` draws what several sizes printed.

With `seedfree-only FILE` as contestants the vectors are written to FILE and read back
memory-mapped, and seedfree runs alone, with its peak of resident memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from seedfree.diversity.index import DiversityIndex, greedy_select

SHARE, THRESHOLD, BLOCK = 0.25, 0.95, 2048


def planted(n: int, d: int, seed: int = 0, path: str | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors: Any = np.empty((n, d), np.float32)
    if path is not None:
        vectors = np.memmap(path, np.float32, "w+", shape=(n, d))
    for start in range(0, n, BLOCK):
        rows = rng.standard_normal((min(BLOCK, n - start), d), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for i in np.flatnonzero(rng.random(len(rows)) < SHARE):
            if start + i:
                of = rng.integers(0, start + i)
                near = rows[of - start] if of >= start else vectors[of]
                aside = rows[i] - (rows[i] @ near) * near
                cosine = rng.uniform(0.955, 1.0)
                rows[i] = cosine * near + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)
        vectors[start : start + len(rows)] = rows
    return vectors


def settle(rows: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Decides a block in order; `dropped` are those with a near row before the block."""
    inside = np.tril(rows @ rows.T, -1) > THRESHOLD
    for i in np.flatnonzero(inside.any(axis=1)):
        dropped[i] |= (inside[i] & ~dropped).any()
    return dropped


def blocked(vectors: np.ndarray, nearest: Callable, add: Callable) -> np.ndarray:
    """Kept rows alone go into an index, a block at a time."""
    dropped = np.zeros(len(vectors), bool)
    for start in range(0, len(vectors), BLOCK):
        rows = vectors[start : start + BLOCK]
        near = nearest(rows) > THRESHOLD if start else np.zeros(len(rows), bool)
        dropped[start : start + BLOCK] = settle(rows, near)
        kept = np.flatnonzero(~dropped[start : start + BLOCK])
        add(rows[kept], kept + start)
    return dropped


def plain(vectors: np.ndarray) -> np.ndarray:
    kept, count = np.empty_like(vectors), 0

    def nearest(rows: np.ndarray) -> np.ndarray:
        tops = [
            (rows @ kept[c : min(c + 8192, count)].T).max(axis=1) for c in range(0, count, 8192)
        ]
        return np.max(tops, axis=0)

    def add(rows: np.ndarray, _: np.ndarray) -> None:
        nonlocal count
        kept[count : count + len(rows)] = rows
        count += len(rows)

    return blocked(vectors, nearest, add)


def hnswlib(vectors: np.ndarray) -> np.ndarray:
    import hnswlib

    graph = hnswlib.Index("ip", vectors.shape[1])
    graph.init_index(len(vectors), M=16, ef_construction=200, random_seed=0)
    graph.set_ef(50)  # these three as in its own example
    return blocked(vectors, lambda rows: 1 - graph.knn_query(rows, 1)[1][:, 0], graph.add_items)


def usearch(vectors: np.ndarray) -> np.ndarray:
    from usearch.index import Index

    graph = Index(ndim=vectors.shape[1], metric="cos", dtype="f16")

    def nearest(rows: np.ndarray) -> np.ndarray:
        return 1 - np.asarray(graph.search(rows, 1).distances)[:, 0]

    return blocked(vectors, nearest, lambda rows, numbers: graph.add(numbers, rows))


def faiss(vectors: np.ndarray) -> np.ndarray:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    return blocked(
        vectors, lambda rows: index.search(rows, 1)[0][:, 0], lambda rows, _: index.add(rows)
    )


def semhash(vectors: np.ndarray) -> np.ndarray:
    from semhash import SemHash

    records = [str(i) for i in range(len(vectors))]
    kept = SemHash.from_embeddings(vectors, records, model=None).self_deduplicate(THRESHOLD)
    dropped = np.ones(len(vectors), bool)
    dropped[[int(record) for record in kept.selected]] = False
    return dropped


def seedfree(vectors: np.ndarray) -> np.ndarray:
    return greedy_select(vectors, THRESHOLD, "exact").duplicate_of >= 0


CONTESTANTS = {f.__name__: f for f in (seedfree, plain, hnswlib, usearch, faiss, semhash)}


def alone(n: int, d: int, path: str) -> None:
    if not Path(path).exists() or Path(path).stat().st_size != 4 * n * d:
        planted(n, d, path=path)
    vectors = np.memmap(path, np.float32, "r", shape=(n, d))
    start, index = time.perf_counter(), DiversityIndex()
    selection = index.add(vectors, THRESHOLD)
    seconds = time.perf_counter() - start
    line = {
        "rows": n,
        "dimensions": d,
        "index": selection.index,
        "recall": selection.recall,
        "dropped": int((selection.duplicate_of >= 0).sum()),
        "minutes": round(seconds / 60, 2),
        "over_20_minutes": round(seconds / 1200, 3),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "cpus": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(line) + "\n")


def main(n: int, d: int, names: list[str]) -> None:
    vectors = planted(n, d)
    seconds, dropped = {}, {}
    for name in names:
        CONTESTANTS[name](vectors[:600])  # loads the libraries
        start = time.perf_counter()
        dropped[name] = CONTESTANTS[name](vectors)
        seconds[name] = round(time.perf_counter() - start, 2)
    ratios, differ = {}, {}
    if "hnswlib" in seconds:
        ratios = {name: round(s / seconds["hnswlib"], 3) for name, s in seconds.items()}
    if "plain" in dropped:
        differ = {name: int((each != dropped["plain"]).sum()) for name, each in dropped.items()}
    line = {
        "rows": n,
        "dimensions": d,
        "dropped": int(dropped[names[0]].sum()),
        "seconds": seconds,
        "over_hnswlib": ratios,
        "decisions_that_differ": differ,
        "cpus": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(line) + "\n")


def plot(lines: str, image: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    runs = list(map(json.loads, Path(lines).read_text().splitlines()))
    runs.sort(key=lambda run: run["rows"])
    curves: dict[str, list[tuple[int, float]]] = {}
    for run in runs:
        seconds = run.get("seconds") or {"seedfree": 60 * run["minutes"]}
        for name, value in seconds.items():
            curves.setdefault(name, []).append((run["rows"], value))
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in curves.items():
        width = 2.5 if name == "seedfree" else 1.2
        axes.loglog(*zip(*points, strict=True), marker="o", label=name, linewidth=width)
    axes.set(xlabel=f"rows of {runs[0]['dimensions']} dimensions", ylabel="seconds on 2 cores")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(image, dpi=110)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    words = [word for word in sys.argv[1:] if not word.isdigit()]
    n, d = [*numbers, *(20_000, 1024)[len(numbers) :]][:2]
    if words[:1] == ["plot"]:
        plot(*words[1:])
    elif words[:1] == ["seedfree-only"]:
        alone(n, d, words[1])
    else:
        here = [name for name in CONTESTANTS if name in ("seedfree", "plain") or find_spec(name)]
        main(n, d, words or here)
