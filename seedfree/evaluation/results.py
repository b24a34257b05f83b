"""What an evaluation found: answers, scores, accuracy, and the table of them."""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os.path import exists
from pathlib import Path
from typing import Any

from seedfree._files import read_json
from seedfree.errors import ConfigError
from seedfree.evaluation.choices import CHOSEN, Accuracy, accuracy, offered
from seedfree.evaluation.scores import Scores, score
from seedfree.evaluation.statistics import mean_interval
from seedfree.records import Question

__all__ = ["FIXED", "Evaluation", "read_info"]

FIXED = ("benchmark", "language", "questions", "model", "decoding", "seed")
"""What makes two evaluations the same one."""

_LOG = logging.getLogger("seedfree")


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to a benchmark, from the folder that `evaluate` wrote.

    Attributes:
        folder: It holds `predictions.jsonl`, `scores.json`, `evaluation.json` and `ledger.sqlite`.
        info: What `evaluation.json` says: benchmark, model, decoding, settings that the backend
            left out.
        questions: Those that were asked, in the benchmark's order.
        predictions: The answers, one for each question; empty for one that failed or was refused.
        stop_reasons: `"end"`, `"max_tokens"` (cut off), `"refusal"`, `"failed"`, `"rejected"`, or
            the provider's word.
    """

    folder: Path
    info: Mapping[str, Any] = field(repr=False)
    questions: tuple[Question, ...] = field(repr=False)
    predictions: tuple[str, ...] = field(repr=False)
    stop_reasons: tuple[str, ...] = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> Evaluation:
        """Opens a finished evaluation; nothing is asked.

        Raises:
            ConfigError: The folder holds none, or one that is not finished.
        """
        folder = Path(folder)
        info = read_info(folder)
        if info is None:
            raise ConfigError(
                f"{folder} holds no evaluation", hint="Give the out folder of evaluate()."
            )
        path = folder / "predictions.jsonl"
        try:
            rows = [
                json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line
            ]
            questions = tuple(_question(row) for row in rows)
            predictions, stops = (
                tuple(str(row[name]) for row in rows) for name in ("prediction", "stop_reason")
            )
        except FileNotFoundError:
            raise ConfigError(
                f"The evaluation in {folder} is not finished", hint="Run it again; it goes on."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        return cls(folder, info, questions, predictions, stops)

    @property
    def path(self) -> Path:
        """The answers as a file: `question, context, answer, id, prediction` and more."""
        return self.folder / "predictions.jsonl"

    @functools.cached_property
    def scores(self) -> Scores:
        """Over all questions; `.tasks` has each task, `.macro(metric)` their mean."""
        return self._score(range(len(self.questions)))

    @functools.cached_property
    def parts(self) -> Mapping[str, Scores]:
        """The same for each part of the benchmark, where it has parts."""
        names = sorted({one.part for one in self.questions} - {""})
        return {
            name: self._score([i for i, one in enumerate(self.questions) if one.part == name])
            for name in names
        }

    @functools.cached_property
    def accuracy(self) -> Accuracy | None:
        """Over the questions with choices, multiple choice and classification; `None` where there are none."""
        return self._accuracy(range(len(self.questions)))

    def table(self, metrics: Sequence[str] | None = None) -> str:
        """Scores with 95 % intervals by part and task, as text.

        Micro is over all rows, macro the mean over the tasks. Length is in characters, of the
        answered.

        Args:
            metrics: Of `scores.metrics`; `None`: the leading one, chrF, BLEU and ROUGE-L.
        """
        first = dict.fromkeys((self.scores.leading, "chrf", "bleu", "rougeL"))
        names = list(first if metrics is None else metrics)
        if unknown := [name for name in names if name not in self.scores.metrics]:
            raise ConfigError(
                f"Unknown metric {', '.join(unknown)}",
                hint=f"Known: {', '.join(self.scores.metrics)}.",
            )
        chosen = self.accuracy is not None
        head = ["part", "task", "n", *names, *(["accuracy", "unparsed"] if chosen else [])]
        lines = [[*head, "length", "unanswered", "cut off"]]
        parts = dict(self.parts)
        if set(parts) != {one.part for one in self.questions} or len(parts) > 1:
            parts["all"] = self.scores
        for part, scores in parts.items():
            within = [i for i, one in enumerate(self.questions) if part in ("all", one.part)]
            for task, one in scores.tasks.items():
                rows = [i for i in within if self.questions[i].task == task]
                lines.append(
                    self._line(part, task, one, rows, [_cell(one, name) for name in names])
                )
            lines.append(
                self._line(part, "micro", scores, within, [_cell(scores, name) for name in names])
            )
            if len(scores.tasks) > 1:
                macro = [
                    _interval(scores.macro(name), scores.macro_interval(name)) for name in names
                ]
                lines.append(
                    [
                        part,
                        "macro",
                        f"{len(scores.tasks)} tasks",
                        *macro,
                        *([""] * (len(lines[0]) - 3 - len(names))),
                    ]
                )
        return "\n".join([self._title(), *_aligned(lines), f"Signature: {self.scores.signature}"])

    def to_dict(self) -> dict[str, Any]:
        """JSON values: every score with its interval, micro and macro, by part and task, and the accuracy."""
        found = self.accuracy
        return {
            "signature": self.scores.signature,
            "stop_reasons": dict(sorted(Counter(self.stop_reasons).items())),
            "accuracy": None
            if found is None
            else {k: v for k, v in asdict(found).items() if k != "hits"},
            "all": _scores(self.scores),
            "parts": {part: _scores(one) for part, one in self.parts.items()},
        }

    def _title(self) -> str:
        left = ", ".join(self.info.get("left_out", ()))
        settings = ", ".join(
            f"{k} {v}" for k, v in self.info["decoding"].items() if v is not None and k != "system"
        )
        said = f"; the backend leaves out {left}" if left else ""
        return f"{self.info['model']} on {self.info['benchmark']} ({settings}{said})"

    def _line(
        self, part: str, task: str, scores: Scores, rows: Sequence[int], cells: list[str]
    ) -> list[str]:
        found = self._accuracy(rows)
        right = [] if self.accuracy is None else ["", ""]
        if found is not None:
            right = [_interval(found.correct, found.interval), f"{found.unparsed:.1%}"]
        if all(self.questions[i].choices for i in rows):
            # an answer that is a letter shares nothing with the choice's text
            cells = [""] * len(cells)
        rest = [f"{scores.length:.0f}", f"{scores.unanswered:.1%}", f"{scores.cut_off or 0:.1%}"]
        return [part, task, str(len(rows)), *cells, *right, *rest]

    def _score(self, rows: Sequence[int]) -> Scores:
        asked = [self.questions[i] for i in rows]
        return score(
            [self.predictions[i] for i in rows],
            [one.answer for one in asked],
            self.info["language"],
            self.info["mode"],
            tasks=[one.task for one in asked],
            sources=[one.source for one in asked],
            cut_off=[self.stop_reasons[i] == "max_tokens" for i in rows],
            seed=self.info["seed"],
        )

    def _accuracy(self, rows: Iterable[int]) -> Accuracy | None:
        """Each task by itself, since labels and classes are read in different ways; then all as one."""
        tasks: dict[str, list[int]] = {}
        for i in rows:
            if self.questions[i].choices or self.questions[i].task in CHOSEN:
                tasks.setdefault(self.questions[i].task, []).append(i)
        found = {
            task: one for task, at in tasks.items() if (one := self._task_accuracy(at)) is not None
        }
        if len(found) < 2:
            return next(iter(found.values()), None)
        n = sum(one.n for one in found.values())
        hits = tuple(hit for one in found.values() for hit in one.hits)
        groups = [task for task, one in found.items() for _ in one.hits]
        left_out = sum(one.left_out for one in found.values())
        sources = [self._source(i) for task in found for i in tasks[task]]
        return Accuracy(
            correct=sum(hits) / n,
            unparsed=sum(one.unparsed * one.n for one in found.values()) / n,
            n=n,
            # Which rows were left out is not known: without their sources the interval is a little
            # too narrow.
            interval=mean_interval(
                [float(hit) for hit in hits],
                groups=groups,
                clusters=None if left_out else sources,
                seed=self.info["seed"],
            ),
            hits=hits,
            left_out=left_out,
        )

    def _task_accuracy(self, rows: Sequence[int]) -> Accuracy | None:
        asked = [self.questions[i] for i in rows]
        language = self.info["language"]
        choices = [offered(one, language) for one in asked]
        try:
            return accuracy(
                [self.predictions[i] for i in rows],
                [one.answer for one in asked],
                language,
                choices=choices if any(choices) else None,
                sources=[self._source(i) for i in rows],
                seed=self.info["seed"],
            )
        except ConfigError as error:  # no reference says which answer is right
            _LOG.warning("%s has no accuracy: %s", asked[0].task, error.message)
            return None

    def _source(self, row: int) -> str:
        return self.questions[row].source or self.questions[row].id


def read_info(folder: Path) -> dict[str, Any] | None:
    """What `evaluation.json` in a folder says; `None` where there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    path = folder / "evaluation.json"
    if not exists(path):
        return None
    info = read_json(path)
    if not isinstance(info, dict) or not set(FIXED) <= set(info):
        raise ConfigError(f"{path} is not that of an evaluation")
    return info


def _question(row: Mapping[str, Any]) -> Question:
    names = ("id", "task", "question", "answer", "context", "part", "source", "license")
    return Question(**{name: row[name] for name in names}, choices=tuple(row["choices"]))


def _scores(scores: Scores) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: getattr(scores, name) for name in ("n", "unanswered", "cut_off", "length")
    }
    for name in scores.metrics:
        interval = scores.interval(name)
        values[name] = [getattr(scores, name), interval.low, interval.high]
    if scores.tasks:
        values["macro"] = {name: scores.macro(name) for name in scores.metrics}
        values["tasks"] = {task: _scores(one) for task, one in scores.tasks.items()}
    return values


def _cell(scores: Scores, metric: str) -> str:
    return _interval(getattr(scores, metric), scores.interval(metric))


def _interval(value: float, interval: Any) -> str:
    digits = 1 if max(abs(value), abs(interval.high)) > 1 else 3
    return f"{value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
