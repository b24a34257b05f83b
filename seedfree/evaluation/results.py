"""An evaluation as it lies in its folder: answers, scores, accuracy, and the table of them."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os.path import exists
from pathlib import Path
from typing import Any

from seedfree._files import file_text, json_rows, read_json
from seedfree._views import Shown, Table, View, aligned
from seedfree.errors import ConfigError
from seedfree.evaluation.choices import CHOSEN, Accuracy, accuracy_in_any, offered
from seedfree.evaluation.scores import Scores, score
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.records import Question

__all__ = ["FIXED", "Evaluation", "read_info"]

FIXED = ("benchmark", "language", "questions", "model", "decoding", "seed", "measure")
"""What must be equal for two evaluations to be the same one."""

_LOG = logging.getLogger("seedfree")


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """A model's answers to a benchmark, from the folder that `evaluate` wrote.

    Attributes:
        folder: It holds `predictions.jsonl`, `scores.json`, `evaluation.json` and `ledger.sqlite`.
        info: The values of `evaluation.json`: benchmark, model, decoding, settings that the backend
            left out.
        questions: Those that were asked, in the benchmark's order.
        predictions: The answers, one for each question. Empty for one that failed or was refused.
        stop_reasons: `"end"`, `"max_tokens"` (cut off), `"refusal"`, `"failed"`, `"rejected"`, or
            the provider's word.
    """

    folder: Path
    info: Mapping[str, Any]
    questions: tuple[Question, ...]
    predictions: tuple[str, ...]
    stop_reasons: tuple[str, ...]

    @classmethod
    def open(cls, folder: str | Path) -> Evaluation:
        """Opens a finished evaluation, and asks nothing.

        Raises:
            ConfigError: The folder holds no evaluation, or one that is not finished.
        """
        folder = Path(folder)
        info = read_info(folder)
        if info is None:
            hint = "Give the out folder of evaluate()."
            raise ConfigError(f"{folder} holds no evaluation", hint=hint)
        path = folder / "predictions.jsonl"
        if not exists(path):
            hint = "Run it again; it goes on."
            raise ConfigError(f"The evaluation in {folder} is not finished", hint=hint)
        rows = [row for _, row in json_rows(path, file_text(path))]
        try:
            questions = tuple(_question(row) for row in rows)
            predictions = tuple(str(row["prediction"]) for row in rows)
            stop_reasons = tuple(str(row["stop_reason"]) for row in rows)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        return cls(folder, info, questions, predictions, stop_reasons)

    @property
    def path(self) -> Path:
        """Names the file of answers: `question, context, answer, id, prediction` and more."""
        return self.folder / "predictions.jsonl"

    @functools.cached_property
    def scores(self) -> Scores:
        """Returns the scores over all questions.

        `.tasks` has those of each task, `.macro(metric)` the mean of the tasks.
        """
        return self._score(range(len(self.questions)))

    @functools.cached_property
    def parts(self) -> Mapping[str, Scores]:
        """Returns the scores of each part of the benchmark. Empty where it has no parts."""
        names = sorted({question.part for question in self.questions} - {""})
        return {name: self._score(self._places(name)) for name in names}

    @functools.cached_property
    def accuracy(self) -> Accuracy | None:
        """Returns the accuracy over multiple choice and classification. `None` without such tasks.

        Questions that bring choices count, whatever their task.
        """
        return self._accuracy(range(len(self.questions)))

    def table(self, metrics: Sequence[str] | None = None) -> str:
        """Shows scores with 95 % intervals by part and task, as text.

        Micro is over all rows, macro is the mean over the tasks. Length is in characters, over the
        answers that are not empty.

        Args:
            metrics: Some of `scores.metrics`. `None` for the leading one, chrF, BLEU and ROUGE-L.

        Raises:
            ConfigError: There is no such metric.
        """
        lines = self._cells(metrics or self._metrics())
        signature = f"Signature: {self.scores.signature}"
        return "\n".join([self._title(), *aligned(lines, words=2), signature])

    def _view(self, full: bool) -> View:
        title = f"Evaluation({self.info['model']} on {self.info['benchmark']})"
        facts = {
            "folder": str(self.folder),
            "questions": f"{len(self.questions):,}",
            "decoding": self._decoding(),
        }
        try:
            lines = self._cells(self._metrics() if full else [self.scores.leading])
        except ConfigError as error:
            # A package that scores is missing, and the answers are there all the same.
            return View(title, facts, notes=[str(error)])
        if not full:
            names = lines[0]
            wanted = [i for i, name in enumerate(names) if name not in ("unparsed", "length")]
            lines = [[line[i] for i in wanted] for line in lines]
        notes = [f"Signature: {self.scores.signature}"] if full else []
        return View(title, facts, [Table(lines, words=2)], notes)

    def _metrics(self) -> list[str]:
        return list(dict.fromkeys((self.scores.leading, "chrf", "bleu", "rougeL")))

    def _cells(self, metrics: Sequence[str]) -> list[list[str]]:
        """Returns the head and the lines of the table."""
        if unknown := [name for name in metrics if name not in self.scores.metrics]:
            hint = f"Known: {', '.join(self.scores.metrics)}."
            raise ConfigError(f"Unknown metric {', '.join(unknown)}", hint=hint)
        head = ["part", "task", "n", *metrics]
        if self.accuracy is not None:
            head += ["accuracy", "unparsed"]
        lines = [[*head, "length", "unanswered", "cut off"]]
        parts = {part: (scores, self._places(part)) for part, scores in self.parts.items()}
        # A single part that every question is in would only be repeated by the whole.
        if len(parts) != 1 or any(not question.part for question in self.questions):
            parts["all"] = self.scores, list(range(len(self.questions)))
        for part, (scores, places) in parts.items():
            lines += self._lines(part, scores, places, metrics)
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Returns scores with intervals, by part and task, and the accuracy, as JSON values."""
        accuracy = None
        if self.accuracy is not None:
            accuracy = asdict(self.accuracy)
            # By row: whoever wants them has the predictions.
            del accuracy["hits"]
        return {
            "signature": self.scores.signature,
            "stop_reasons": dict(sorted(Counter(self.stop_reasons).items())),
            "accuracy": accuracy,
            "all": _score_values(self.scores),
            "parts": {part: _score_values(scores) for part, scores in self.parts.items()},
        }

    def _title(self) -> str:
        return f"{self.info['model']} on {self.info['benchmark']} ({self._decoding()})"

    def _decoding(self) -> str:
        # A system prompt may be as long as a page. It is in `evaluation.json`.
        settings = ", ".join(
            f"{name} {value}"
            for name, value in self.info["decoding"].items()
            if value is not None and name != "system"
        )
        if left_out := self.info.get("left_out"):
            settings += f"; the backend leaves out {', '.join(left_out)}"
        return settings

    def _lines(
        self, part: str, scores: Scores, places: Sequence[int], metrics: Sequence[str]
    ) -> list[list[str]]:
        """Returns the table's lines of one part: a line for each task, micro and macro."""
        lines = []
        for task, task_scores in scores.tasks.items():
            within = [i for i in places if self.questions[i].task == task]
            lines.append(self._line(part, task, task_scores, within, metrics))
        micro = self._line(part, "micro", scores, places, metrics)
        lines.append(micro)
        # Of one task, the macro average is the micro average.
        if len(scores.tasks) > 1:
            macro = [part, "macro", f"{len(scores.tasks)} tasks"]
            macro += [
                _with_interval(scores.macro(name), scores.macro_interval(name)) for name in metrics
            ]
            lines.append(macro + [""] * (len(micro) - len(macro)))
        return lines

    def _line(
        self, part: str, task: str, scores: Scores, rows: Sequence[int], metrics: Sequence[str]
    ) -> list[str]:
        line = [part, task, str(len(rows))]
        if all(self.questions[i].choices for i in rows):
            # An answer that is a letter shares nothing with the choice's text.
            line += [""] * len(metrics)
        else:
            line += [
                _with_interval(getattr(scores, name), scores.interval(name)) for name in metrics
            ]
        # The columns of accuracy are there for all lines, or for none.
        if self.accuracy is not None:
            line += _accuracy_cells(self._accuracy(rows))
        cut_off = scores.cut_off or 0
        return [*line, f"{scores.length:.0f}", f"{scores.unanswered:.1%}", f"{cut_off:.1%}"]

    def _places(self, part: str) -> list[int]:
        return [i for i, question in enumerate(self.questions) if question.part == part]

    def _score(self, rows: Sequence[int]) -> Scores:
        asked = [self.questions[i] for i in rows]
        return score(
            [self.predictions[i] for i in rows],
            [question.answer for question in asked],
            self.info["language"],
            self.info["mode"],
            tasks=[question.task for question in asked],
            sources=[question.source for question in asked],
            cut_off=[self.stop_reasons[i] == "max_tokens" for i in rows],
            seed=self.info["seed"],
        )

    def _accuracy(self, rows: Iterable[int]) -> Accuracy | None:
        """Returns the accuracy over some rows. `None` where none of them has a right choice.

        Each task is read by itself, since labels and classes are read in different ways. The tasks
        are then put together.
        """
        places: dict[str, list[int]] = {}
        for i in rows:
            question = self.questions[i]
            if question.choices or question.task in CHOSEN:
                places.setdefault(question.task, []).append(i)
        tasks: dict[str, Accuracy] = {}
        for task, within in places.items():
            measured = self._task_accuracy(within)
            if measured is not None:
                tasks[task] = measured
        if len(tasks) < 2:
            return next(iter(tasks.values()), None)
        n = sum(each.n for each in tasks.values())
        hits = tuple(hit for each in tasks.values() for hit in each.hits)
        left_out = sum(each.left_out for each in tasks.values())
        clusters = None
        # Which rows were left out is not known. Without their sources the interval is a little too
        # narrow.
        if not left_out:
            clusters = [self._source(i) for task in tasks for i in places[task]]
        interval = mean_interval(
            [float(hit) for hit in hits],
            groups=[task for task, each in tasks.items() for _ in each.hits],
            clusters=clusters,
            seed=self.info["seed"],
        )
        unparsed = sum(each.unparsed * each.n for each in tasks.values()) / n
        return Accuracy(sum(hits) / n, unparsed, n, interval, hits, left_out)

    def _task_accuracy(self, rows: Sequence[int]) -> Accuracy | None:
        asked = [self.questions[i] for i in rows]
        language = self.info["language"]
        choices = [offered(question, language) for question in asked]
        try:
            return accuracy_in_any(
                [self.predictions[i] for i in rows],
                [question.answer for question in asked],
                language,
                choices=choices if any(choices) else None,
                sources=[self._source(i) for i in rows],
                seed=self.info["seed"],
            )
        except ConfigError as error:
            # Some benchmarks have references that say of no question which answer is right: that
            # task has no accuracy, and the other figures stand.
            _LOG.warning("%s has no accuracy: %s", asked[0].task, error.message)
            return None

    def _source(self, row: int) -> str:
        return self.questions[row].source or self.questions[row].id


def read_info(folder: Path) -> dict[str, Any] | None:
    """Reads the `evaluation.json` of a folder. `None` where the folder has none.

    Raises:
        ConfigError: The file cannot be read, or is not that of an evaluation.
    """
    path = folder / "evaluation.json"
    # Not `Path.exists`, which raises where the folder may not be looked into.
    if not exists(path):
        return None
    info = read_json(path)
    if not isinstance(info, dict) or not set(FIXED) <= set(info):
        raise ConfigError(f"{path} is not that of an evaluation")
    return info


def _question(row: Mapping[str, Any]) -> Question:
    return Question(**{each.name: row[each.name] for each in fields(Question)})


def _score_values(scores: Scores) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: getattr(scores, name) for name in ("n", "unanswered", "cut_off", "length")
    }
    for name in scores.metrics:
        interval = scores.interval(name)
        values[name] = [getattr(scores, name), interval.low, interval.high]
    if scores.tasks:
        values["macro"] = {name: scores.macro(name) for name in scores.metrics}
        values["tasks"] = {task: _score_values(within) for task, within in scores.tasks.items()}
    return values


def _accuracy_cells(accuracy: Accuracy | None) -> list[str]:
    if accuracy is None:
        return ["", ""]
    return [_with_interval(accuracy.correct, accuracy.interval), f"{accuracy.unparsed:.1%}"]


def _with_interval(value: float, interval: Interval) -> str:
    # Scores from 0 to 100 (BLEU, chrF) have one decimal, scores from 0 to 1 have three.
    digits = 1 if max(abs(value), abs(interval.high)) > 1 else 3
    # Resamples that are all alike, as those of one row, say nothing of how sure a score is.
    if interval.low == interval.high:
        return f"{value:.{digits}f} [?]"
    return f"{value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
