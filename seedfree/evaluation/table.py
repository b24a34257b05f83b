"""The paper's Table 2 from prediction files: `python -m seedfree.evaluation.table DIR`.

`DIR` holds prediction files (`<model>.<task>.<part>.csv`, also `.gz`, `.jsonl`), JSON files with published scores, or
both. What is printed, and how to read it: docs/paper-table.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from seedfree.errors import ConfigError, SeedfreeError
from seedfree.evaluation.choices import Accuracy, accuracy
from seedfree.evaluation.predictions import PARTS, TASKS, CutOff, Prediction, Predictions, cut_off, read_predictions
from seedfree.evaluation.published import SIMILARITY, Published, read_published
from seedfree.evaluation.scores import Mode, Scores, score
from seedfree.evaluation.stated import listed
from seedfree.text import shown

__all__ = ["Rescored", "Table", "main", "make_table"]

_METRICS = ("bleu", "chrf", "meteor", "rouge1", "rouge2", "rougeL", "rougeLsum", "squad_em", "squad_f1")
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
# Tasks whose answers are short enough for the paper to have scored them as SQuAD is.
_SQUAD = ("open_qa", "closed_qa", "classification", "multiple_choice")
_ACCURACY = ("multiple_choice", "classification")
_MODES: tuple[Mode, ...] = ("paper", "segmented")
_DASH = "-"


@dataclass(frozen=True)
class Rescored:
    """One model's answers to one task and half, scored anew.

    Attributes:
        modes: By mode.
        accuracy: Of multiple choice and classification, where the references say what is right.
        published: What was published of the same file, by the names of `Scores`.
    """

    model: str
    task: str
    part: str
    modes: Mapping[str, Scores]
    cut_off: CutOff
    accuracy: Accuracy | None = None
    published: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> Scores:
        """Of the last mode: what does not depend on it (`n`, `unanswered`, `length`)."""
        return list(self.modes.values())[-1]

    @property
    def metrics(self) -> tuple[str, ...]:
        """SQuAD's two are for the tasks for which the paper has them."""
        return tuple(m for m in _METRICS if self.task in _SQUAD or not m.startswith("squad"))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **_about(self),
            "modes": {
                mode: {m: {"score": getattr(s, m), "interval": list(s.interval(m))} for m in self.metrics}
                | {"signature": s.signature}
                for mode, s in self.modes.items()
            },
            "accuracy": None
            if self.accuracy is None
            else {k: v for k, v in asdict(self.accuracy).items() if k != "hits"},
            "published": dict(self.published),
        }


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
                for name in (SIMILARITY, *_METRICS)
                if (values := [one.scores[name] for one in mine if name in one.scores])
            }
            rows.append({"model": model, "part": part, "tasks": len(mine), **_pooled(files), "scores": means})
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
                    for name in _METRICS
                    if (values := [getattr(one.modes[mode], name) for one in mine if name in one.metrics])
                }
                rows.append(
                    {"model": model, "part": part, "mode": mode, "tasks": len(mine), **_pooled(mine), "scores": means}
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
            parts.append("Published scores, means over tasks\n" + _lines(_published_rows(self.averages())))
        if self.rescored:
            parts.append("Scored anew, means over the tasks that have files\n" + _lines(_mean_rows(self.means())))
            parts += [_file(one) for one in self.rescored]
            signed = {scores.signature: None for one in self.rescored for scores in one.modes.values()}
            parts.append("\n".join(signed))
        return shown("\n\n".join([*parts, *("\n".join(self.notes),) * bool(self.notes)])) + "\n"


def make_table(folder: str | Path, modes: Sequence[Mode] = _MODES, language: str = "th") -> Table:
    """Reads and scores what a folder holds.

    Raises:
        ConfigError: No such folder, nothing in it to read, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    published: dict[tuple[str, str, str], Published] = {}
    files: dict[tuple[str, str, str], list[Prediction]] = {}
    notes = []
    for path in paths:
        if path.suffix == ".json":
            published |= {(one.model, one.task, one.part): one for one in read_published(path)}
        elif path.name.removesuffix(".gz").endswith((".csv", ".jsonl")):
            read = read_predictions(path)
            for key, rows in _by_task(read).items():
                if key[1] not in TASKS or key[2] not in PARTS:
                    said = (
                        f"task {key[1]!r}, part {key[2]!r}"
                        if any(key[1:])
                        else "<model>.<task>.<part> is no part of it"
                    )
                    notes.append(f"Left out: {len(rows)} rows of {path.name} ({said}).")
                elif key in files:
                    raise ConfigError(f"{path} has what another file of the folder has", hint="Leave one of them.")
                else:
                    files[key] = rows
    if not published and not files:
        hint = "It needs published scores (.json), or files <model>.<task>.<part>.csv, as they are or with .gz."
        raise ConfigError(f"{folder} holds nothing to make a table of. {' '.join(notes)}".strip(), hint=hint)
    rescored = []
    for key, rows in sorted(files.items(), key=lambda item: _order(*item[0])):
        right, note = _accuracy(key, rows, language)
        notes += [note] if note else []
        told = published[key].scores if key in published else {}
        rescored.append(Rescored(*key, _scored(rows, modes, language), cut_off(rows, language), right, told))
    return Table(
        tuple(sorted(published.values(), key=lambda p: _order(p.model, p.task, p.part))), tuple(rescored), tuple(notes)
    )


def _order(model: str, task: str, part: str) -> tuple[str, str, str]:
    return model, part, task


def _by_task(read: Predictions) -> dict[tuple[str, str, str], list[Prediction]]:
    model = read.path.resolve().parent.name if read.model == "predictions" else read.model
    found: dict[tuple[str, str, str], list[Prediction]] = {}
    for row in read:
        found.setdefault((model, row.task, row.part), []).append(row)
    return found


def _scored(rows: Sequence[Prediction], modes: Sequence[Mode], language: str) -> dict[str, Scores]:
    said, right = [row.prediction for row in rows], [row.answer for row in rows]
    sources = [row.source for row in rows]
    return {mode: score(said, right, language, mode, sources=sources) for mode in modes}


def _accuracy(key: tuple[str, str, str], rows: Sequence[Prediction], language: str) -> tuple[Accuracy | None, str]:
    if key[1] not in _ACCURACY:
        return None, ""
    choices = None
    if key[1] == "multiple_choice":
        choices = [row.choices or listed(row.context, language) or listed(row.question, language) for row in rows]
    sources = [row.source for row in rows] if any(row.source for row in rows) else None
    try:
        found = accuracy(
            [row.prediction for row in rows], [row.answer for row in rows], language, choices=choices, sources=sources
        )
    except ConfigError as error:
        return None, f"No accuracy for {' '.join(key)}: {error.message}."
    return (
        found,
        f"Accuracy of {' '.join(key)}: {found.left_out} rows left out, their references say no choice."
        * bool(found.left_out),
    )


def _about(one: Rescored) -> dict[str, Any]:
    return {"model": one.model, "task": one.task, "part": one.part, **_pooled([one])}


def _pooled(files: Sequence[Rescored]) -> dict[str, Any]:
    """Rows, characters an answer, unanswered and cut-off shares over files; None where there is none."""
    n = sum(one.scores.n for one in files)
    if not n:
        return {"n": None, "length": None, "unanswered": None, "cut_off": None, "cut_off_known": False}
    answered = sum(one.scores.n * (1 - one.scores.unanswered) for one in files)
    return {
        "n": n,
        "length": sum(one.scores.length * one.scores.n * (1 - one.scores.unanswered) for one in files)
        / max(answered, 1),
        "unanswered": 1 - answered / n,
        "cut_off": sum(one.cut_off.share * one.scores.n for one in files) / n,
        "cut_off_known": all(one.cut_off.known for one in files),
    }


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
    names = [SIMILARITY, *_METRICS]
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
    head = ["model", "half", "mode", "tasks", *_ABOUT, "accuracy", *(_TITLES[name] for name in _METRICS)]
    return [head] + [
        [
            *(row["model"], row["part"], row["mode"], str(row["tasks"]), *_shown(row)),
            f"{row['accuracy']['mean']:.3f} ({row['accuracy']['tasks']})" if row["accuracy"] else _DASH,
            *(_cell(name, row["scores"], row["tasks"]) for name in _METRICS),
        ]
        for row in rows
    ]


def _file(one: Rescored) -> str:
    n, length, unanswered, cut = _shown(_pooled([one]))
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
    return ["paper", "less published", "95 %"] if mode == "paper" else [mode, "95 %"]


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
    parser.add_argument("folder", help="prediction files, JSON files with published scores, or both")
    parser.add_argument("--mode", choices=[*_MODES, "both"], default="both", help="how to score anew (default: both)")
    parser.add_argument("--language", default="th", help="code of the language of the answers (default: th)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args(argv)
    modes = _MODES if given.mode == "both" else (given.mode,)
    try:
        table = make_table(given.folder, modes, given.language)
        text = json.dumps(table.to_dict(), ensure_ascii=False, indent=1) + "\n" if given.json else str(table)
    except SeedfreeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
