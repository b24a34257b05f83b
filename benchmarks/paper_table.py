"""Makes the paper's Table 2 from a folder: `python benchmarks/paper_table.py DIR`.

DIR holds prediction files (`<model>.<task>.<part>.csv`, also `.gz`, `.jsonl`), JSON files with
published scores, or both. What is printed, and how to read it: docs/paper-table.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from seedfree._files import read_json
from seedfree.errors import ConfigError, SeedfreeError
from seedfree.evaluation.choices import CHOSEN, Accuracy, accuracy, offered
from seedfree.evaluation.metrics import METRICS
from seedfree.evaluation.predictions import (
    PARTS,
    TASKS,
    CutOff,
    Prediction,
    Predictions,
    cut_off,
    read_name,
    read_predictions,
)
from seedfree.evaluation.scores import Mode, Scores, score
from seedfree.text import shown

MODES: tuple[Mode, ...] = ("paper", "segmented")
SIMILARITY = "embedding similarity (BGE-M3)"
# The published names, beside the names of the scores here. What the paper calls BERTScore is none.
PUBLISHED_NAMES = {
    "bleu": "bleu",
    "chrf": "chrf",
    "meteor": "meteor",
    "rouge1": "rouge1",
    "rouge2": "rouge2",
    "rougel": "rougeL",
    "rougelsum": "rougeLsum",
    "exact_match": "squad_em",
    "f1": "squad_f1",
    "bertscore": SIMILARITY,
}
# Tasks whose answers are short enough for the paper to have scored them as SQuAD is.
SQUAD_TASKS = ("open_qa", "closed_qa", "classification", "multiple_choice")
TITLES = {
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
PERCENT = ("bleu", "chrf", "squad_em", "squad_f1")
ABOUT = ("n", "length", "unanswered", "cut off")
DASH = "-"


class Key(NamedTuple):
    """What names a prediction file and its published scores: part "culture" or "general"."""

    model: str
    task: str
    part: str

    @property
    def half(self) -> tuple[str, str]:
        """Returns what means are over: a model's tasks of one part."""
        return self.model, self.part


# What was published of one prediction file: by name as in `Scores`, in the same units.
Published = Mapping[str, float]


@dataclass(frozen=True)
class Rescored:
    """One model's answers to one task and half, scored anew.

    Attributes:
        modes: By mode.
        accuracy: Of multiple choice and classification, where the references say what is right.
        published: What was published of the same file.
    """

    key: Key
    modes: Mapping[str, Scores]
    cut_off: CutOff
    accuracy: Accuracy | None = None
    published: Published = field(default_factory=dict)

    @property
    def scores(self) -> Scores:
        """Returns those of the last mode, for what does not depend on it (`n`, `length`)."""
        return list(self.modes.values())[-1]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Returns the metrics that the paper has for the task."""
        if self.key.task in SQUAD_TASKS:
            return METRICS
        return tuple(name for name in METRICS if not name.startswith("squad"))

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        modes: dict[str, Any] = {}
        for mode, scores in self.modes.items():
            modes[mode] = {
                name: {"score": getattr(scores, name), "interval": list(scores.interval(name))}
                for name in self.metrics
            }
            modes[mode]["signature"] = scores.signature
        correct = None
        if self.accuracy is not None:
            correct = asdict(self.accuracy)
            del correct["hits"]
        return {
            **self.key._asdict(),
            **pooled([self]),
            "modes": modes,
            "accuracy": correct,
            "published": dict(self.published),
        }


@dataclass(frozen=True)
class Table:
    """Published averages, tasks scored anew, and what was left out and why."""

    published: Mapping[Key, Published]
    rescored: tuple[Rescored, ...]
    notes: tuple[str, ...]

    def averages(self) -> list[dict[str, Any]]:
        """Returns means of the published scores over tasks, by model and half."""
        rows = []
        for half, keys in _halves(self.published).items():
            files = [file for file in self.rescored if file.key.half == half]
            columns = {
                name: [self.published[key][name] for key in keys if name in self.published[key]]
                for name in (SIMILARITY, *METRICS)
            }
            about = {"model": half[0], "part": half[1], "tasks": len(keys)}
            rows.append(about | pooled(files) | {"scores": _means(columns)})
        return rows

    def means(self) -> list[dict[str, Any]]:
        """Returns means of the new scores over the tasks that have files, by model, half, mode."""
        rows = []
        for half in _halves(file.key for file in self.rescored):
            files = [file for file in self.rescored if file.key.half == half]
            right = [file.accuracy.correct for file in files if file.accuracy]
            for mode in files[0].modes:
                columns = {name: _column(files, mode, name) for name in METRICS}
                about = {"model": half[0], "part": half[1], "mode": mode, "tasks": len(files)}
                correct = _means({"accuracy": right}).get("accuracy")
                scores = {"scores": _means(columns), "accuracy": correct}
                rows.append(about | pooled(files) | scores)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "published": self.averages(),
            "means": self.means(),
            "files": [file.to_dict() for file in self.rescored],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        parts = []
        if self.published:
            parts.append(
                "Published scores, means over tasks (the paper has 7)\n"
                + _aligned(_published_rows(self.averages()))
                + f'\n{TITLES[SIMILARITY]}: {SIMILARITY}, which the paper calls "BERTScore"'
            )
        if self.rescored:
            parts.append(
                "Scored anew, means over the tasks that have files\n"
                + _aligned(_mean_rows(self.means()))
            )
            parts += [_file(file) for file in self.rescored]
            signatures = [
                scores.signature for file in self.rescored for scores in file.modes.values()
            ]
            parts.append("\n".join(dict.fromkeys(signatures)))
        if self.notes:
            parts.append("\n".join(self.notes))
        # Names come from files: no code in them may reach the terminal.
        return shown("\n\n".join(parts)) + "\n"


def _column(files: Sequence[Rescored], mode: str, metric: str) -> list[float]:
    return [getattr(file.modes[mode], metric) for file in files if metric in file.metrics]


def make_table(folder: str | Path, modes: Sequence[Mode] = MODES, language: str = "th") -> Table:
    """Reads and scores what a folder holds.

    Raises:
        ConfigError: No such folder, nothing in it to read, or a file in it is damaged.
    """
    published, files, notes = read_folder(folder)
    rescored = []
    for key in sorted(files, key=_order):
        file, file_notes = rescore(key, files[key], modes, language, published.get(key, {}))
        rescored.append(file)
        notes += file_notes
    published = {key: published[key] for key in sorted(published, key=_order)}
    notes += _differing_tasks(published)
    return Table(published, tuple(rescored), tuple(notes))


def _order(key: Key) -> tuple[str, str, str]:
    return key.model, key.part, key.task


def _halves(keys: Iterable[Key]) -> dict[tuple[str, str], list[Key]]:
    halves: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        halves.setdefault(key.half, []).append(key)
    return halves


def _differing_tasks(keys: Iterable[Key]) -> list[str]:
    """Notes where means are over different tasks, since these cannot be compared."""
    tasks = {half: tuple(key.task for key in own) for half, own in _halves(keys).items()}
    if len(set(tasks.values())) < 2:
        return []
    return ["The means are over different tasks and cannot be compared:"] + [
        f"  {model} {part}: {', '.join(names)}" for (model, part), names in tasks.items()
    ]


def read_folder(
    folder: str | Path,
) -> tuple[dict[Key, Published], dict[Key, list[Prediction]], list[str]]:
    """Returns published scores, rows of predictions, and notes about what was left out.

    Raises:
        ConfigError: No such folder, nothing in it to read, a damaged file, or two files with the
            same.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    published: dict[Key, Published] = {}
    files: dict[Key, list[Prediction]] = {}
    notes = []
    for path in _paths(folder):
        if path.suffix == ".json":
            published |= read_published(path)
            continue
        for key, rows in _by_task(read_predictions(path)).items():
            if key.task not in TASKS or key.part not in PARTS:
                why = "its name says no known task and part"
                if key.task or key.part:
                    why = f"task {key.task!r}, part {key.part!r}"
                notes.append(f"Left out: {len(rows)} rows of {path.name} ({why}).")
            elif key in files:
                raise ConfigError(
                    f"{path} has what another file of the folder has", hint="Leave one of them."
                )
            else:
                files[key] = rows
    if not published and not files:
        lines = [f"{folder} holds nothing to make a table of", *notes]
        raise ConfigError(
            ". ".join(lines).rstrip("."),
            hint="It needs published scores (.json), or files <model>.<task>.<part>.csv, "
            "as they are or with .gz.",
        )
    return published, files, notes


def _paths(folder: Path) -> Iterator[Path]:
    """Yields the files to read. Of the folders inside, these are the prediction files alone."""
    inside = (
        path
        for path in folder.glob("*/*")
        if path.name.startswith("predictions.jsonl") or read_name(path)
    )
    for path in sorted([*folder.iterdir(), *inside]):
        name = path.name.removesuffix(".gz")
        if path.is_file() and (path.suffix == ".json" or name.endswith((".csv", ".jsonl"))):
            yield path


def _by_task(file: Predictions) -> dict[Key, list[Prediction]]:
    model = file.model
    if model == "predictions":  # As `evaluate` writes it, into a folder for each model.
        model = file.path.resolve().parent.name
    tasks: dict[Key, list[Prediction]] = {}
    for row in file:
        tasks.setdefault(Key(model, row.task, row.part), []).append(row)
    return tasks


def read_published(path: str | Path) -> dict[Key, Published]:
    """Returns the entries of a JSON file. There are none if it holds something else.

    An entry is an object with `published`: names to numbers, nested or not. It says `model`, `task`
    and `test_set`, or `file` (`<model>.<task>.<part>.csv`); the model may also be the name of the
    JSON file. Entries stand in a list, or anywhere in an object. The files of the paper's authors
    are read too: `{model: {"yes": {task: scores}, "no": ...}}`, or without the model, which then is
    the folder's name.

    Raises:
        ConfigError: The file cannot be read or is not JSON, or an entry has another task or part,
            or no numbers.
    """
    path = Path(path)
    published: dict[Key, Published] = {}
    for name, entry in _entries(read_json(path), ""):
        key, scores = _published(path, name, entry)
        if key in published:
            raise ConfigError(f"{path} has two entries for {' '.join(key)}")
        published[key] = scores
    return published


def _entries(value: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields every object with `published`, or made one of, with the key under which it stands."""
    if isinstance(value, list):
        for inner in value:
            yield from _entries(inner, name)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("published"), dict):
        yield name, value
    elif value and value.keys() <= {"yes", "no"}:
        yield from _authors_entries(value, name)
    else:
        for key, inner in value.items():
            yield from _entries(inner, key)


def _authors_entries(
    halves: Mapping[str, Any], model: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part, tasks in halves.items():
        if not isinstance(tasks, dict):
            continue
        for task, scores in tasks.items():
            # Another file of theirs has lists of similarities in the place of scores.
            if task in TASKS and isinstance(scores, dict):
                yield model, {"model": model, "task": task, "part": part, "published": scores}


def _published(path: Path, name: str, entry: Mapping[str, Any]) -> tuple[Key, Published]:
    names = [text for text in (entry.get("file"), name) if isinstance(text, str)]
    file = next(filter(read_name, names), "")
    # The authors' file has one name for every model.
    alone = path.absolute().parent.name if path.stem == "evaluation_results" else path.stem
    model, task, part = read_name(file) or (alone, "", "")
    model, task = str(entry.get("model") or model), str(entry.get("task") or task)
    part = str(entry.get("test_set") or entry.get("part") or part)
    where = f"{path}: the entry {file or name or model}"
    for what, value, known in (("task", task, TASKS), ("test_set", part, PARTS)):
        if value not in known:
            raise ConfigError(f"{where} has {what} {value!r}", hint=f"Known: {', '.join(known)}.")
    scores = dict(_numbers(entry["published"]))
    if not scores:
        raise ConfigError(f"{where} has no known scores")
    return Key(model, task, PARTS[part]), scores


def _numbers(value: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _numbers(inner)
            continue
        name = PUBLISHED_NAMES.get(key.casefold())
        # To Python, true and false are numbers.
        if name and isinstance(inner, int | float) and not isinstance(inner, bool):
            yield name, float(inner)


def rescore(
    key: Key,
    rows: Sequence[Prediction],
    modes: Sequence[Mode],
    language: str,
    published: Published,
) -> tuple[Rescored, list[str]]:
    """Scores one file, and notes what could not be said of it."""
    answers, references = [row.prediction for row in rows], [row.answer for row in rows]
    sources = [row.source for row in rows]
    scores: dict[str, Scores] = {
        mode: score(answers, references, language, mode, sources=sources) for mode in modes
    }
    correct, notes = None, []
    if key.task in CHOSEN:
        choices = [offered(row, language) for row in rows]
        try:
            correct = accuracy(answers, references, language, choices=choices, sources=sources)
        except ConfigError as error:
            notes.append(f"No accuracy for {' '.join(key)}: {error.message}.")
    if correct and correct.left_out:
        notes.append(
            f"Accuracy of {' '.join(key)}: {correct.left_out} rows left out, "
            "whose references say no choice."
        )
    return Rescored(key, scores, cut_off(rows, language), correct, published), notes


def pooled(files: Sequence[Rescored]) -> dict[str, Any]:
    """Returns rows, characters an answer, unanswered and cut-off shares; None without files."""
    n = sum(file.scores.n for file in files)
    if not n:
        empty = dict.fromkeys(("n", "length", "unanswered", "cut_off"))
        return empty | {"cut_off_known": False}
    answered = [file.scores.n * (1 - file.scores.unanswered) for file in files]
    characters = [file.scores.length * times for file, times in zip(files, answered, strict=True)]
    return {
        "n": n,
        "length": sum(characters) / max(sum(answered), 1),
        "unanswered": 1 - sum(answered) / n,
        "cut_off": sum(file.cut_off.share * file.scores.n for file in files) / n,
        "cut_off_known": all(file.cut_off.known for file in files),
    }


def _means(columns: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Returns each column's mean with the number of its tasks, but of an empty one nothing."""
    return {
        name: {"mean": fmean(values), "tasks": len(values)}
        for name, values in columns.items()
        if values
    }


def _published_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    names = [SIMILARITY, *METRICS]
    lines = [["model", "half", "tasks", *ABOUT, *(TITLES[name] for name in names)]]
    for row in rows:
        cells = [_mean(name, row["scores"].get(name), row["tasks"]) for name in names]
        lines.append([row["model"], row["part"], str(row["tasks"]), *_about(row), *cells])
    return lines


def _mean_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    titles = [TITLES[name] for name in METRICS]
    lines = [["model", "half", "mode", "tasks", *ABOUT, "accuracy", *titles]]
    for row in rows:
        who = [row["model"], row["part"], row["mode"], str(row["tasks"])]
        correct = DASH
        if row["accuracy"]:
            correct = f"{row['accuracy']['mean']:.3f} ({row['accuracy']['tasks']})"
        cells = [_mean(name, row["scores"].get(name), row["tasks"]) for name in METRICS]
        lines.append([*who, *_about(row), correct, *cells])
    return lines


def _file(file: Rescored) -> str:
    n, length, unanswered, cut = _about(pooled([file]))
    lines = [
        ", ".join(file.key),
        f"n {n}, length {length} characters, unanswered {unanswered}, cut off {cut}",
    ]
    if file.accuracy:
        low, high = file.accuracy.interval
        lines.append(
            f"answer accuracy {file.accuracy.correct:.3f} ({low:.3f} to {high:.3f}), "
            f"unparsed {file.accuracy.unparsed:.1%}, n {file.accuracy.n}"
        )
    heads = {mode: [mode, "95 %"] for mode in file.modes} | {
        "paper": ["paper", "difference", "95 %"]
    }
    head = ["", "published", *(title for mode in file.modes for title in heads[mode])]
    rows = [head]
    if SIMILARITY in file.published:
        cell = _number(SIMILARITY, file.published[SIMILARITY])
        rows.append([TITLES[SIMILARITY], cell, *[DASH] * (len(head) - 2)])
    rows += [_metric_row(file, name) for name in file.metrics]
    return "\n".join([*lines, _aligned(rows)])


def _metric_row(file: Rescored, name: str) -> list[str]:
    published = file.published.get(name)
    row = [TITLES[name], _number(name, published)]
    for mode, scores in file.modes.items():
        value, (low, high) = getattr(scores, name), scores.interval(name)
        row.append(_number(name, value))
        if mode == "paper":
            difference = None if published is None else value - published
            row.append(_number(name, difference, "+"))
        row.append(f"{_number(name, low)} to {_number(name, high)}")
    return row


def _about(row: Mapping[str, Any]) -> list[str]:
    if row["n"] is None:
        return [DASH] * len(ABOUT)
    cut = f"{row['cut_off']:.1%}"
    if not row["cut_off_known"]:
        cut = f">={cut}"
    return [str(row["n"]), f"{row['length']:.0f}", f"{row['unanswered']:.1%}", cut]


def _mean(name: str, mean: Mapping[str, Any] | None, tasks: int) -> str:
    if mean is None:
        return DASH
    number = _number(name, mean["mean"])
    return number if mean["tasks"] == tasks else f"{number} ({mean['tasks']})"


def _number(name: str, value: float | None, sign: str = "") -> str:
    if value is None:
        return DASH
    # One place fewer for what runs to 100, not to 1.
    return f"{value:{sign}.{3 if name in PERCENT else 4}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Returns columns of equal width, words to the left and numbers to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numbers = [any(cell[:1].isdigit() or cell[:1] in "+->" for cell in c[1:]) for c in columns]
    lines = []
    for row in rows:
        cells = zip(row, widths, numbers, strict=True)
        justified = [text.rjust(w) if right else text.ljust(w) for text, w, right in cells]
        lines.append("  ".join(justified).rstrip())
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table. Returns 2 if the folder cannot be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
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
    options = parser.parse_args(argv)
    modes = MODES if options.mode == "both" else (options.mode,)
    try:
        table = make_table(options.folder, modes, options.language)
        if options.json:
            text = json.dumps(table.to_dict(), ensure_ascii=False, indent=1) + "\n"
        else:
            text = str(table)
    except SeedfreeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
