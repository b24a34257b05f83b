"""The paper's Table 2 from prediction files: `python -m seedfree.evaluation.table DIR`.

`DIR` holds prediction files (`<model>.<task>.<part>.csv`, also `.gz`, `.jsonl`), JSON files with
published scores, or both. What is printed, and how to read it: docs/paper-table.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from seedfree.errors import SeedfreeError
from seedfree.evaluation.metrics import METRICS
from seedfree.evaluation.published import SIMILARITY, Published
from seedfree.evaluation.rescore import MODES, Key, Rescored, gather, pooled, rescore
from seedfree.evaluation.scores import Mode
from seedfree.text import shown

__all__ = ["Table", "main", "make_table"]

_TITLES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "meteor": "METEOR",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
    "squad_em": "SQuAD EM",
    "squad_f1": "SQuAD F1",
    SIMILARITY: "emb. sim.",
}
_HUNDRED = ("bleu", "chrf", "squad_em", "squad_f1")
_DASH = "-"


@dataclass(frozen=True)
class Table:
    """Published averages, tasks scored anew, and what was left out and why."""

    published: tuple[Published, ...]
    rescored: tuple[Rescored, ...]
    notes: tuple[str, ...]

    def averages(self) -> list[dict[str, Any]]:
        """Means of the published scores over tasks, by model and half, with the number of tasks of each."""
        rows = []
        for model, part in _keys(self.published):
            mine = [one for one in self.published if (one.model, one.part) == (model, part)]
            files = [one for one in self.rescored if (one.model, one.part) == (model, part)]
            means = {
                name: {"mean": fmean(values), "tasks": len(values)}
                for name in (SIMILARITY, *METRICS)
                if (values := [one.scores[name] for one in mine if name in one.scores])
            }
            rows.append(
                {"model": model, "part": part, "tasks": len(mine), **pooled(files), "scores": means}
            )
        return rows

    def means(self) -> list[dict[str, Any]]:
        """Means of the new scores over the tasks that have files, by model and half, and by mode."""
        rows = []
        for model, part in _keys(self.rescored):
            mine = [one for one in self.rescored if (one.model, one.part) == (model, part)]
            right = [one.accuracy.correct for one in mine if one.accuracy]
            for mode in mine[0].modes:
                means = {
                    name: {"mean": fmean(values), "tasks": len(values)}
                    for name in METRICS
                    if (
                        values := [
                            getattr(one.modes[mode], name) for one in mine if name in one.metrics
                        ]
                    )
                }
                rows.append(
                    {
                        "model": model,
                        "part": part,
                        "mode": mode,
                        "tasks": len(mine),
                        **pooled(mine),
                        "scores": means,
                    }
                    | {"accuracy": {"mean": fmean(right), "tasks": len(right)} if right else None}
                )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "published": self.averages(),
            "means": self.means(),
            "files": [one.to_dict() for one in self.rescored],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        parts = []
        if self.published:
            said = f'{_TITLES[SIMILARITY]}: {SIMILARITY}, which the paper calls "BERTScore"'
            table = _lines(_published_rows(self.averages()))
            parts.append(f"Published scores, means over tasks (the paper has 7)\n{table}\n{said}")
        if self.rescored:
            parts.append(
                "Scored anew, means over the tasks that have files\n"
                + _lines(_mean_rows(self.means()))
            )
            parts += [_file(one) for one in self.rescored]
            signed = {
                scores.signature: None for one in self.rescored for scores in one.modes.values()
            }
            parts.append("\n".join(signed))
        return shown("\n\n".join([*parts, *("\n".join(self.notes),) * bool(self.notes)])) + "\n"


def make_table(folder: str | Path, modes: Sequence[Mode] = MODES, language: str = "th") -> Table:
    """Reads and scores what a folder holds.

    Raises:
        ConfigError: No such folder, nothing in it to read, or a file in it is damaged.
    """
    told, files, notes = gather(folder)
    made = []
    for key in sorted(files, key=_order):
        scores = told[key].scores if key in told else {}
        one, note = rescore(key, files[key], modes, language, scores)
        made.append(one)
        notes += [note] * bool(note)
    return Table(
        tuple(told[key] for key in sorted(told, key=_order)), tuple(made), (*notes, *_unlike(told))
    )


def _order(key: Key) -> tuple[str, str, str]:
    model, task, part = key
    return model, part, task


def _unlike(told: Iterable[Key]) -> list[str]:
    """Means are over the tasks that there are: where these differ, the means cannot be compared."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for model, task, part in sorted(told, key=_order):
        tasks.setdefault((model, part), []).append(task)
    if len({tuple(mine) for mine in tasks.values()}) < 2:
        return []
    return ["The means are over different tasks and cannot be compared:"] + [
        f"  {model} {part}: {', '.join(mine)}" for (model, part), mine in tasks.items()
    ]


def _keys(rows: Iterable[Published | Rescored]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.model, row.part) for row in rows))


def _shown(pooled: Mapping[str, Any]) -> list[str]:
    if pooled["n"] is None:
        return [_DASH] * 4
    cut = f"{'' if pooled['cut_off_known'] else '>='}{pooled['cut_off']:.1%}"
    return [str(pooled["n"]), f"{pooled['length']:.0f}", f"{pooled['unanswered']:.1%}", cut]


def _cell(name: str, means: Mapping[str, Any], tasks: int) -> str:
    if name not in means:
        return _DASH
    few = f" ({means[name]['tasks']})" if means[name]["tasks"] != tasks else ""
    return _number(name, means[name]["mean"]) + few


def _number(name: str, value: float, sign: str = "") -> str:
    return f"{value:{sign}.{3 if name in _HUNDRED else 4}f}"


_ABOUT = ("n", "length", "unanswered", "cut off")


def _published_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    names = [SIMILARITY, *METRICS]
    head = ["model", "half", "tasks", *_ABOUT, *(_TITLES[name] for name in names)]
    return [head] + [
        [
            row["model"],
            row["part"],
            str(row["tasks"]),
            *_shown(row),
            *(_cell(n, row["scores"], row["tasks"]) for n in names),
        ]
        for row in rows
    ]


def _mean_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    head = [
        "model",
        "half",
        "mode",
        "tasks",
        *_ABOUT,
        "accuracy",
        *(_TITLES[name] for name in METRICS),
    ]
    return [head] + [
        [
            *(row["model"], row["part"], row["mode"], str(row["tasks"]), *_shown(row)),
            f"{row['accuracy']['mean']:.3f} ({row['accuracy']['tasks']})"
            if row["accuracy"]
            else _DASH,
            *(_cell(name, row["scores"], row["tasks"]) for name in METRICS),
        ]
        for row in rows
    ]


def _file(one: Rescored) -> str:
    n, length, unanswered, cut = _shown(pooled([one]))
    title = f"{one.model}, {one.task}, {one.part}"
    about = f"n {n}, length {length} characters, unanswered {unanswered}, cut off {cut}"
    if one.accuracy:
        low, high = one.accuracy.interval
        about += (
            f"\nanswer accuracy {one.accuracy.correct:.3f} ({low:.3f} to {high:.3f}), "
            f"unparsed {one.accuracy.unparsed:.1%}, n {one.accuracy.n}"
        )
    rows = [["", "published", *(c for mode in one.modes for c in _heads(mode))]]
    for name in (SIMILARITY, *one.metrics):
        told = one.published.get(name)
        if name == SIMILARITY and told is None:
            continue
        row = [_TITLES[name], _DASH if told is None else _number(name, told)]
        for mode, scores in one.modes.items():
            if name == SIMILARITY:
                row += [_DASH] * len(_heads(mode))
                continue
            found, (low, high) = getattr(scores, name), scores.interval(name)
            row.append(_number(name, found))
            if mode == "paper":
                row.append(_DASH if told is None else _number(name, found - told, "+"))
            row.append(f"{_number(name, low)} to {_number(name, high)}")
        rows.append(row)
    return f"{title}\n{about}\n{_lines(rows)}"


def _heads(mode: str) -> list[str]:
    return ["paper", "difference", "95 %"] if mode == "paper" else [mode, "95 %"]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, words to the left and numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    words = [
        all(not cell[:1].isdigit() and cell[:1] not in "+->" for cell in column[1:])
        for column in zip(*rows, strict=True)
    ]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, words, strict=True)
        ).rstrip()
        for row in rows
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; 2 where the folder cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m seedfree.evaluation.table", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "folder", help="prediction files, JSON files with published scores, or both"
    )
    parser.add_argument(
        "--mode", choices=[*MODES, "both"], default="both", help="how to score anew (default: both)"
    )
    parser.add_argument(
        "--language", default="th", help="code of the language of the answers (default: th)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args(argv)
    modes = MODES if given.mode == "both" else (given.mode,)
    try:
        table = make_table(given.folder, modes, given.language)
        text = (
            json.dumps(table.to_dict(), ensure_ascii=False, indent=1) + "\n"
            if given.json
            else str(table)
        )
    except SeedfreeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
