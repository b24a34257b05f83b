"""Collects the rows that readers called good, for `examples/proof_thai.py`.

python benchmarks/good_rows.py rows.jsonl runs/pilot runs/before [--labels labels.jsonl]

Takes from the runs' data sets the rows that `benchmarks/readings.jsonl` marks good, and those of
which a line of `--labels` (`id`, `label`) says so. Prints how many by run and task.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import seedfree as sf
from benchmarks.readers import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--labels")
    options = parser.parse_args()
    marks = {row["row"]: row["mark"] for row in read()}
    if options.labels:
        for line in Path(options.labels).read_text("utf-8").splitlines():
            label = json.loads(line)
            marks.setdefault(label["id"], label["label"])
    good = []
    for run in options.runs:
        rows = sf.Dataset.from_jsonl(Path(run) / "dataset.jsonl")
        kept = [row for row in rows if marks.get(row.id) == "good"]
        good += kept
        print(json.dumps({"run": run, "rows": len(kept), "tasks": Counter(r.task for r in kept)}))
    sf.Dataset(good).to_jsonl(options.out)


if __name__ == "__main__":
    main()
