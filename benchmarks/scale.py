"""Times filters, a stand-in encoder and near-duplicates on a Ray cluster of this machine.

The cluster has a head that does no work and two worker nodes of one CPU. The stand-in encoder gives
each text a direction of its own, but for a fifth of the rows, which lie at a cosine of 0.94 to 1
from another. Beside it stand the same filters and encoder in a loop over a sample, and
`greedy_select` over the same vectors with as many threads as the machine has cores. Prints one JSON
line: milliseconds a row, what the cluster takes over one machine, duplicates that it missed,
decisions and cosines that differ, and how often a kept row is held.

python benchmarks/scale.py [rows] [dimensions]

`cells` says how many of 64 partitions by direction a row would have to belong to, so that each pair
above 0.95 meets in one; `python benchmarks/scale.py cells ARTICLES.jsonl.gz [texts]` measures that
on the vectors that USE gives to paragraphs of articles.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_memory_monitor_refresh_ms"] = "0"

import numpy as np
import pyarrow
from pyarrow import parquet

import seedfree as sf
from seedfree.diversity.index import greedy_select
from seedfree.records import Instruction
from seedfree.scale import encode_rows, filter_rows, select_rows, selecting

THRESHOLD, PART, SAMPLE, CELLS = 0.95, 10_000, 2000, 64
SENTENCE = "The market by the river opens early, and people from the villages bring their rice. "


def directions(numbers: np.ndarray, d: int) -> np.ndarray:
    """Returns a unit row for each number: the same for the same number."""
    rows = np.empty((len(numbers), d), np.float32)
    for row, number in zip(rows, numbers.tolist(), strict=True):
        np.random.Generator(np.random.PCG64(number)).standard_normal(d, np.float32, row)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Stand:
    """Reads a direction off a text: `12.` or `12 near 3 by 0.97.`"""

    def __init__(self, d: int) -> None:
        self.d = d

    def encode(self, texts):
        words = [text.split(".", 1)[0].split() for text in texts]
        own = directions(np.array([int(word[1]) for word in words]), self.d)
        near = [i for i, word in enumerate(words) if len(word) > 2]
        if near:
            of = directions(np.array([int(words[i][3]) for i in near]), self.d)
            cosine = np.array([[int(words[i][5]) / 1e6] for i in near], np.float32)
            aside = own[near] - (own[near] * of).sum(axis=1, keepdims=True) * of
            aside /= np.linalg.norm(aside, axis=1, keepdims=True)
            own[near] = cosine * of + np.sqrt(1 - cosine**2) * aside
        return own


def texts(n: int) -> list[str]:
    rng = np.random.default_rng(0)
    lines = []
    for i in range(n):
        near = f" near {rng.integers(0, max(i, 1))} by {rng.integers(940_000, 1_000_000)}"
        lines.append(f"Row {i}{near if i and i % 5 == 0 else ''}. What opens early?")
    return lines


def seconds(call: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def cells(vectors: np.ndarray) -> float:
    """Counts the partitions that a row can meet a near one in, on average over a sample.

    A row belongs to the nearest of some centres, and to that of another one if a row there can be
    within the threshold's angle: if its own angle to the plane between the two is no larger.
    """
    rng = np.random.default_rng(0)
    centres = vectors[rng.choice(len(vectors), CELLS, replace=False)].astype(np.float64)
    rows = vectors[rng.choice(len(vectors), min(len(vectors), SAMPLE), replace=False)]
    scores = rows.astype(np.float64) @ centres.T
    home = scores.argmax(axis=1)
    between = np.linalg.norm(centres[home][:, None] - centres[None], axis=2)
    gap = scores.max(axis=1, keepdims=True) - scores
    near = gap <= np.sin(np.arccos(THRESHOLD)) * between
    return float(near.sum(axis=1).mean())


def copies(ray: Any, shards: list[Any]) -> float:
    """Counts the nodes that hold each shard of kept rows."""
    places = ray.experimental.get_object_locations(shards)
    return float(np.mean([max(1, len(each["node_ids"])) for each in places.values()]))


def start() -> Any:
    import ray
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 200 * 2**20}
    head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, **memory}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, **memory)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray, cluster


def main(n: int, d: int) -> None:
    ray, cluster = start()
    rules, encoder, lines = sf.RuleFilter(), Stand(d), texts(n)
    made: list[Any] = []

    class Search(selecting.RaySearch):
        """Is looked at when the selection is over."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    selecting.RaySearch = Search
    with tempfile.TemporaryDirectory() as folder:
        rows = {
            "id": list(map(str, range(n))),
            "task": ["closed_qa"] * n,
            "instruction": lines,
            "output": [SENTENCE] * n,
        }
        parquet.write_table(pyarrow.table(rows), f"{folder}/rows.parquet", row_group_size=PART)
        took = {}
        took["filter"], _ = seconds(
            lambda: filter_rows(f"{folder}/rows.parquet", f"{folder}/f", [rules], language="en")
        )
        passed = parquet.read_table(f"{folder}/f/kept", columns=["instruction"])
        took["encode"], _ = seconds(
            lambda: encode_rows(f"{folder}/f/kept", f"{folder}/e", encoder, fields=["instruction"])
        )
        took["select"], selection = seconds(
            lambda: select_rows(f"{folder}/e", f"{folder}/s", THRESHOLD)
        )
        held = copies(ray, made[0].shards)
        ray.shutdown()
        cluster.shutdown()
        items = [Instruction("closed_qa", line, SENTENCE, language="en") for line in lines[:SAMPLE]]
        alone = {"filter": seconds(lambda: list(map(rules.check, items)))[0] * n / len(items)}
        some, whole = lines[:SAMPLE], passed["instruction"].to_pylist()
        alone["encode"] = seconds(lambda: encoder.encode(some))[0] * len(whole) / len(some)
        vectors = encoder.encode(whole)
        alone["select"], exact = seconds(lambda: greedy_select(vectors, THRESHOLD, "exact"))
    duplicates = exact.duplicate_of >= 0
    line = {
        "rows": n,
        "dimensions": d,
        "duplicates": int(duplicates.sum()),
        "missed": int((duplicates & (selection.duplicate_of < 0)).sum()),
        "decisions_that_differ": int((selection.duplicate_of != exact.duplicate_of).sum()),
        "cosines_that_differ": int(
            (~np.isclose(selection.similarity, exact.similarity, 0, 0, equal_nan=True)).sum()
        ),
        "ms_a_row": {name: round(1e3 * each / n, 4) for name, each in took.items()},
        "over_one_machine": {name: round(took[name] / alone[name], 2) for name in took},
        "nodes_that_hold_a_kept_row": round(held, 2),
        "cells": round(cells(vectors), 1),
        "cpus": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(line) + "\n")


def real(articles: str, n: int) -> None:
    found = []
    with gzip.open(articles, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            text = max((value for value in row.values() if isinstance(value, str)), key=len)
            found += [part for part in text.split("\n") if 200 <= len(part) <= 1000][:1]
    vectors = sf.USEEncoder().encode(found[:n])
    line = {"texts": len(vectors), "of": CELLS, "cells": round(cells(vectors), 1)}
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["cells"]:
        real(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1000)
    else:
        numbers = list(map(int, sys.argv[1:]))
        n, d = [*numbers, *(200_000, 64)[len(numbers) :]]
        main(n, d)
