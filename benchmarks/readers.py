"""Counts what readers found in rows that they read blind.

python benchmarks/readers.py

`benchmarks/readings.jsonl` has a line for each row and reader: the row's set, task and source, and
for each question of the rubric 1 for yes. Two readers read every row; a third one read those whose
marks (good, poor, bad) differ, and the middle one of the three marks counts.

Prints the marks by set and task, the difference between the two sets, how far the first two readers
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


def difference(good: Sequence[Any], sets: Sequence[Any]) -> float:
    pairs = list(zip(good, sets, strict=True))
    new, old = ([each for each, of in pairs if of == name] for name in ("new", "old"))
    return sum(new) / len(new) - sum(old) / len(old) if new and old else float("nan")


def shares(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    good = [float(row["mark"] == "good") for row in rows]
    low, high = mean_interval(good, clusters=[row["source"] for row in rows])
    found = {name: sum(row["mark"] == name for row in rows) for name in MARKS}
    return {"rows": len(rows), **found, "good share": [sum(good) / len(good), low, high]}


def main() -> None:
    by_row = defaultdict(list)
    for line in READINGS.read_text("utf-8").splitlines():
        reading = json.loads(line)
        by_row[reading["set"], reading["row"]].append(reading)
    rows = []
    for readings in by_row.values():
        given = [mark(reading["yes"]) for reading in sorted(readings, key=lambda r: r["reader"])]
        middle = sorted(given, key=MARKS.index)[1] if len(given) == 3 else given[0]
        rows.append({**readings[0], "given": given, "mark": middle, "readings": readings})
    first, second = ([row["given"][i] == "good" for row in rows] for i in (0, 1))
    tasks = sorted({row["task"] for row in rows})
    report: dict[str, Any] = {"benchmark": "readers", "rows": len(rows)}
    for name in ("new", "old"):
        of_set = [row for row in rows if row["set"] == name]
        report[name] = {"all": shares(of_set)} | {
            task: shares([row for row in of_set if row["task"] == task]) for task in tasks
        }
        answers = [reading["yes"] for row in of_set for reading in row["readings"]]
        report[name]["no"] = {
            each.name: sum(1 - yes[i] for yes in answers) for i, each in enumerate(RUBRIC)
        }
    report["difference"] = {}
    for task in ("all", *tasks):
        of_task = [row for row in rows if task in ("all", row["task"])]
        good, sets = [row["mark"] == "good" for row in of_task], [row["set"] for row in of_task]
        sources = [row["source"] for row in of_task]
        low, high = bootstrap(difference, good, sets, clusters=sources)
        report["difference"][task] = [difference(good, sets), low, high]
    report["agreement"] = {
        "same mark": sum(r["given"][0] == r["given"][1] for r in rows) / len(rows),
        "both good or neither": sum(map(bool.__eq__, first, second)) / len(rows),
        "kappa": kappa(first, second),
        "read by a third": sum(len(row["given"]) == 3 for row in rows),
    }
    show(report, tasks)
    print(json.dumps(report, ensure_ascii=False))


def show(report: dict[str, Any], tasks: Sequence[str]) -> None:
    for task in ("all", *tasks):
        for name in ("new", "old"):
            r = report[name][task]
            share, low, high = (round(100 * value) for value in r["good share"])
            counts = f"{r['good']} good, {r['poor']} poor, {r['bad']} bad"
            print(f"{task:16} {name}: {counts} of {r['rows']}; good {share} % ({low} to {high})")
        points, low, high = (round(100 * value) for value in report["difference"][task])
        print(f"{task:16} new - old: {points:+} points ({low:+} to {high:+})")
    print("no to:", {name: report[name]["no"] for name in ("new", "old")})
    print("agreement:", {k: round(v, 2) for k, v in report["agreement"].items()})


if __name__ == "__main__":
    main()
