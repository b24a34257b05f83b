"""A folder of prediction files and published scores: read, and the files scored anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError
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
from seedfree.evaluation.published import Published, read_published
from seedfree.evaluation.scores import Mode, Scores, score

__all__ = ["MODES", "Key", "Rescored", "gather", "pooled", "rescore"]

MODES: tuple[Mode, ...] = ("paper", "segmented")
# Tasks whose answers are short enough for the paper to have scored them as SQuAD is.
_SQUAD = ("open_qa", "closed_qa", "classification", "multiple_choice")

# Model, task, part.
Key = tuple[str, str, str]


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
        return tuple(m for m in METRICS if self.task in _SQUAD or not m.startswith("squad"))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "task": self.task,
            "part": self.part,
            **pooled([self]),
            "modes": {
                mode: {
                    m: {"score": getattr(s, m), "interval": list(s.interval(m))}
                    for m in self.metrics
                }
                | {"signature": s.signature}
                for mode, s in self.modes.items()
            },
            "accuracy": None
            if self.accuracy is None
            else {k: v for k, v in asdict(self.accuracy).items() if k != "hits"},
            "published": dict(self.published),
        }


def gather(
    folder: str | Path,
) -> tuple[dict[Key, Published], dict[Key, list[Prediction]], list[str]]:
    """What a folder holds, and of the folders in it the prediction files: published scores, rows, what was left out.

    Raises:
        ConfigError: No such folder, nothing in it to read, a damaged file, or two files with the same.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    told: dict[Key, Published] = {}
    files: dict[Key, list[Prediction]] = {}
    notes = []
    inside = (
        path
        for path in folder.glob("*/*")
        if path.name.startswith("predictions.jsonl") or read_name(path)
    )
    for path in sorted(path for path in (*folder.iterdir(), *inside) if path.is_file()):
        if path.suffix == ".json":
            told |= {(one.model, one.task, one.part): one for one in read_published(path)}
        elif path.name.removesuffix(".gz").endswith((".csv", ".jsonl")):
            for key, rows in _by_task(read_predictions(path)).items():
                if key[1] not in TASKS or key[2] not in PARTS:
                    why = (
                        f"task {key[1]!r}, part {key[2]!r}"
                        if any(key[1:])
                        else "its name says no known task and part"
                    )
                    notes.append(f"Left out: {len(rows)} rows of {path.name} ({why}).")
                elif key in files:
                    raise ConfigError(
                        f"{path} has what another file of the folder has", hint="Leave one of them."
                    )
                else:
                    files[key] = rows
    if not told and not files:
        hint = "It needs published scores (.json), or files <model>.<task>.<part>.csv, as they are or with .gz."
        raise ConfigError(
            ". ".join([f"{folder} holds nothing to make a table of", *notes]).rstrip("."), hint=hint
        )
    return told, files, notes


def rescore(
    key: Key,
    rows: Sequence[Prediction],
    modes: Sequence[Mode],
    language: str,
    told: Mapping[str, float],
) -> tuple[Rescored, str]:
    """Scores one file, and says what could not be said of it."""
    said, right = [row.prediction for row in rows], [row.answer for row in rows]
    sources = [row.source for row in rows]
    found: Accuracy | None = None
    note = ""
    if key[1] in CHOSEN:
        choices = [offered(row, language) for row in rows]
        try:
            found = accuracy(said, right, language, choices=choices, sources=sources)
        except ConfigError as error:
            note = f"No accuracy for {' '.join(key)}: {error.message}."
        if found and found.left_out:
            note = f"Accuracy of {' '.join(key)}: {found.left_out} rows left out, whose references say no choice."
    scores: dict[str, Scores] = {
        mode: score(said, right, language, mode, sources=sources) for mode in modes
    }
    return Rescored(*key, scores, cut_off(rows, language), found, told), note


def _by_task(read: Predictions) -> dict[tuple[str, str, str], list[Prediction]]:
    model = read.path.resolve().parent.name if read.model == "predictions" else read.model
    found: dict[tuple[str, str, str], list[Prediction]] = {}
    for row in read:
        found.setdefault((model, row.task, row.part), []).append(row)
    return found


def pooled(files: Sequence[Rescored]) -> dict[str, Any]:
    """Rows, characters an answer, unanswered and cut-off shares over files; None where there is none."""
    n = sum(one.scores.n for one in files)
    if not n:
        return {
            "n": None,
            "length": None,
            "unanswered": None,
            "cut_off": None,
            "cut_off_known": False,
        }
    answered = sum(one.scores.n * (1 - one.scores.unanswered) for one in files)
    return {
        "n": n,
        "length": sum(
            one.scores.length * one.scores.n * (1 - one.scores.unanswered) for one in files
        )
        / max(answered, 1),
        "unanswered": 1 - answered / n,
        "cut_off": sum(one.cut_off.share * one.scores.n for one in files) / n,
        "cut_off_known": all(one.cut_off.known for one in files),
    }
