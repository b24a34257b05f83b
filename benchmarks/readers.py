"""Counts what readers found in rows that they read blind.

python benchmarks/readers.py

`benchmarks/readings.jsonl` has a line for each row and reader: the sets that the row is in, its
task and source, and for each question of the rubric 1 for yes. Two readers read every row; a third
one read those whose marks (good, poor, bad) differ, and the middle one of the three marks counts.

The sets: `old` (75 rows of a run of before), `first` (the pilot), `now` (the pilot once more, after
the prompts were mended by what the readers of the first had seen; rows whose text did not change
keep their readings), `tried` (rows of prompts and rules that were tried between the two and given
up), `old again` (old rows that were mixed under the later ones), and `wide` (five rows or fewer of
each of the other tasks).

Prints the marks by set and task, the differences to the old rows, how far the first two readers
agree, how often each question was answered with no, and one line of JSON. Intervals (95 %) are
bootstrapped over sources, because rows from one text are not independent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedfree.evaluation.statistics import bootstrap, kappa, mean_interval
from seedfree.filters.rubric import marks
from seedfree.languages import Language

READINGS = Path(__file__).parent / "readings.jsonl"
RUBRIC = Language.load("th").rubric_known
MARKS = ("bad", "poor", "good")


def mark(yes: Sequence[int]) -> str:
    wrong = [each for each, answer in zip(RUBRIC, yes, strict=True) if not answer]
    return min(marks(wrong).values(), key=MARKS.index)


SETS = ("old", "first", "now", "tried", "old again", "wide")


def difference(good: Sequence[Any], sets: Sequence[Any]) -> float:
    """Returns the share of good rows, that of the old ones taken away."""
    pairs = list(zip(good, sets, strict=True))
    old, new = ([each for each, of in pairs if (of == "old") is old] for old in (True, False))
    return sum(new) / len(new) - sum(old) / len(old) if new and old else float("nan")


def shares(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    good = [float(row["mark"] == "good") for row in rows]
    low, high = mean_interval(good, clusters=[row["source"] for row in rows])
    found = {name: sum(row["mark"] == name for row in rows) for name in MARKS}
    return {"rows": len(rows), **found, "good share": [sum(good) / len(good), low, high]}


def read() -> list[dict[str, Any]]:
    by_row = defaultdict(list)
    for line in READINGS.read_text("utf-8").splitlines():
        reading = json.loads(line)
        by_row[reading["sets"][0], reading["row"]].append(reading)
    rows = []
    for readings in by_row.values():
        given = [mark(reading["yes"]) for reading in sorted(readings, key=lambda r: r["reader"])]
        middle = sorted(given, key=MARKS.index)[1] if len(given) == 3 else given[0]
        rows.append({**readings[0], "given": given, "mark": middle, "readings": readings})
    return rows


def compared(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    both = [row for row in rows if name in row["sets"] or "old" in row["sets"]]
    good = [row["mark"] == "good" for row in both]
    sets = ["old" if "old" in row["sets"] else name for row in both]
    interval = bootstrap(difference, good, sets, clusters=[row["source"] for row in both])
    return [difference(good, sets), *interval]


def main() -> None:
    rows = read()
    tasks = ("all", *sorted({row["task"] for row in rows}))
    report: dict[str, Any] = {"benchmark": "readers", "rows": len(rows)}
    for name in SETS:
        of_set = [row for row in rows if name in row["sets"]]
        parts = {task: [row for row in of_set if task in ("all", row["task"])] for task in tasks}
        report[name] = {task: shares(part) for task, part in parts.items() if part}
        answers = [reading["yes"] for row in of_set for reading in row["readings"]]
        report[name]["no"] = {
            each.name: sum(1 - yes[i] for yes in answers) for i, each in enumerate(RUBRIC)
        }
    report["difference"] = {
        name: {
            task: compared([row for row in rows if task in ("all", row["task"])], name)
            for task in tasks
        }
        for name in ("first", "now")
    }
    first, second = ([row["given"][i] == "good" for row in rows] for i in (0, 1))
    report["agreement"] = {
        "same mark": sum(row["given"][0] == row["given"][1] for row in rows) / len(rows),
        "both good or neither": sum(map(bool.__eq__, first, second)) / len(rows),
        "kappa": kappa(first, second),
        "read by a third": sum(len(row["given"]) == 3 for row in rows),
    }
    show(report, tasks)
    print(json.dumps(report, ensure_ascii=False))


def show(report: dict[str, Any], tasks: Sequence[str]) -> None:
    for name in SETS:
        print(name)
        for task in tasks:
            if task not in report[name]:
                continue
            r = report[name][task]
            share, low, high = (round(100 * value) for value in r["good share"])
            counts = f"{r['good']} good, {r['poor']} poor, {r['bad']} bad"
            line = f"  {task:16} {counts} of {r['rows']}; good {share} % ({low} to {high})"
            if name in report["difference"]:
                points, low, high = (round(100 * v) for v in report["difference"][name][task])
                line += f"; {points:+} points beside old ({low:+} to {high:+})"
            print(line)
        print("  no to:", report[name]["no"])
    print("agreement:", {k: round(v, 2) for k, v in report["agreement"].items()})


if __name__ == "__main__":
    main()
