"""How likely a model finds people's answers: a measure that needs no generated text.

Scores of overlap grow with the length of an answer, right or wrong. What a model has learnt of
answering shows in two numbers instead: the bits that a byte of a person's answer costs it after its
own question, and after another question of the same task. The first falls with whatever is learnt
of the language and its style; what the two differ by, only with what is learnt of answering.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from seedfree._files import file_text, json_line, json_rows, write_atomic
from seedfree._seeds import seeded
from seedfree._views import Shown, Table, View
from seedfree.engine.progress import Display
from seedfree.errors import ConfigError
from seedfree.evaluation.answers import meant_choice
from seedfree.evaluation.choices import offered
from seedfree.evaluation.results import read_info
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.protocols import Benchmark, Generator
from seedfree.records import Likelihood, Message, Question

__all__ = ["Likelihoods", "Likely", "TaskLikelihood", "measure"]

_FILE = "likelihoods.jsonl"


@runtime_checkable
class Likely(Protocol):
    """A model that tells how likely it finds answers, such as a `TrainedModel`."""

    def likelihoods(
        self, asked: Sequence[tuple[Sequence[Message], str]], *, max_tokens: int = 200
    ) -> list[Likelihood]:
        """Returns one for each conversation, which ends with the user's turn, and its answer."""
        ...

    def as_generator(self, *, batch_size: int = 8) -> Generator:
        """Wraps the model as a generator, whose identity names it."""
        ...


@dataclass(frozen=True)
class TaskLikelihood:
    """The questions of one task, in bits a byte; intervals are 95 %.

    Attributes:
        n: How many questions.
        own: After its own question.
        other: After another question of the task.
        gained: `other - own`: what the question tells the model of its answer.
    """

    n: int
    own: float
    own_interval: Interval
    other: float
    other_interval: Interval
    gained: float
    gained_interval: Interval


@dataclass(frozen=True, repr=False)
class Likelihoods(Shown):
    """A model's likelihoods of the answers of a benchmark, from the folder of `evaluate`.

    Attributes:
        folder: It holds `likelihoods.jsonl` and `evaluation.json`.
        info: What `evaluation.json` says.
        rows: A line for each question: `id`, `task`, `own` and `other` in bits a byte, `chosen`
            and `right` where it has choices.
    """

    folder: Path
    info: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]

    @classmethod
    def open(cls, folder: str | Path) -> Likelihoods:
        """Opens a finished measurement, and measures nothing.

        Raises:
            ConfigError: The folder holds none, or one that is not finished.
        """
        folder = Path(folder)
        info, path = read_info(folder), folder / _FILE
        if info is None or not path.exists():
            hint = 'Give the out folder of evaluate(..., measure="likelihood").'
            raise ConfigError(f"{folder} holds no likelihoods", hint=hint)
        known, asked = _known(path), info.get("asked") or ()
        if not asked or not set(asked) <= set(known):
            hint = "Run it again; it goes on."
            raise ConfigError(f"The measurement in {folder} is not finished", hint=hint)
        return cls(folder, info, tuple(known[name] for name in asked))

    @cached_property
    def own(self) -> tuple[float, ...]:
        """Returns the bits a byte of each answer after its own question, for a paired test."""
        return tuple(row["own"] for row in self.rows)

    @cached_property
    def gained(self) -> tuple[float, ...]:
        """Returns what each question tells of its answer, for a paired test."""
        return tuple(row["other"] - row["own"] for row in self.rows)

    @cached_property
    def hits(self) -> tuple[bool, ...]:
        """Tells of each question with choices whether the right one is the likeliest."""
        return tuple(row["chosen"] == row["right"] for row in self.rows if "chosen" in row)

    @cached_property
    def tasks(self) -> Mapping[str, TaskLikelihood]:
        """Returns the means by task, in alphabetical order, and of `"all"`."""
        names = sorted({row["task"] for row in self.rows})
        parts = {name: [row for row in self.rows if row["task"] == name] for name in names}
        return {name: _summed_up(rows) for name, rows in [*parts.items(), ("all", self.rows)]}

    def _view(self, full: bool) -> View:
        lines = [["task", "n", "own", "other", "gained", "95 %"]]
        for name, task in self.tasks.items():
            low, high = task.gained_interval
            values = [f"{value:.3f}" for value in (task.own, task.other, task.gained)]
            lines.append([name, f"{task.n:,}", *values, f"{low:.3f} to {high:.3f}"])
        notes = ["in bits a byte"]
        if self.hits:
            low, high = mean_interval(self.hits)
            right = f"{sum(self.hits):,} of {len(self.hits):,} choices right"
            notes.append(f"{right} ({low:.0%} to {high:.0%})")
        title = f"Likelihoods({self.info['model']} on {self.info['benchmark']})"
        return View(title, {"folder": str(self.folder)}, [Table(lines)], notes)


def measure(
    model: Likely,
    benchmark: Benchmark,
    questions: Sequence[Question],
    folder: Path,
    info: Mapping[str, Any],
    *,
    seed: int,
    batch_size: int,
    show: bool | None,
) -> Likelihoods:
    """Measures what is not yet in the folder, and sums all of it up.

    Args:
        show: See `Display`.
    """
    path = folder / _FILE
    known = _known(path)
    others = _others(questions, seed)
    left = [place for place, question in enumerate(questions) if question.id not in known]
    display = Display("likelihoods", "questions", len(questions), show=show)
    display.start(len(known))
    write_atomic(path, map(json_line, known.values()))
    with path.open("a", encoding="utf-8") as file:
        for at in range(0, len(left), batch_size):
            places = left[at : at + batch_size]
            asked = [(questions[place], questions[others[place]]) for place in places]
            for row in _measured(model, benchmark, asked):
                known[row["id"]] = row
                file.write(json_line(row))
            file.flush()
            display.update(len(known), {}, None)
    display.close()
    return Likelihoods(folder, info, tuple(known[question.id] for question in questions))


def _known(path: Path) -> dict[str, Mapping[str, Any]]:
    """Reads what is measured, by question."""
    if not path.exists():
        return {}
    # A kill may have left half a line, which is measured again.
    whole = file_text(path).rpartition("\n")[0]
    return {row["id"]: row for _, row in json_rows(path, whole)}


def _measured(
    model: Likely, benchmark: Benchmark, asked: Sequence[tuple[Question, Question]]
) -> Iterator[dict[str, Any]]:
    pairs: list[tuple[list[Message], str]] = []
    chances = [_choices(question, benchmark.language) for question, _ in asked]
    for (question, another), (choices, _) in zip(asked, chances, strict=True):
        for given in (question, another):
            pairs.append((_messages(benchmark, given), question.answer))
        for choice in choices:
            pairs += [(_messages(benchmark, question), choice), ([Message("user", "")], choice)]
    found = iter(model.likelihoods(pairs))
    for (question, _), (choices, right) in zip(asked, chances, strict=True):
        own, other = next(found), next(found)
        row = {
            "id": question.id,
            "task": question.task,
            "own": own.bits_per_byte,
            "other": other.bits_per_byte,
            "size": own.size,
        }
        if choices:
            # What a choice gains by the question: a common word is likely after anything.
            after = [(next(found), next(found)) for _ in choices]
            gains = [without.nats - asked_for.nats for asked_for, without in after]
            row["chosen"] = gains.index(max(gains))
            row["right"] = right
        yield row


def _choices(question: Question, language: str) -> tuple[tuple[str, ...], int]:
    """Returns a question's choices and the place of the right one; none where that is unknown."""
    if question.choices:
        return question.choices, question.choices.index(question.answer)
    choices = offered(question, language)
    right = meant_choice(question.answer, choices, language, reference=True) if choices else None
    return (choices, right) if isinstance(right, int) else ((), 0)


def _messages(benchmark: Benchmark, question: Question) -> list[Message]:
    prompt = benchmark.prompt(question)
    system = [] if prompt.system is None else [Message("system", prompt.system)]
    return [*system, Message("user", prompt.user)]


def _others(questions: Sequence[Question], seed: int) -> list[int]:
    """Returns for each question the place of another one of its task, each taken once."""
    by_task: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        by_task.setdefault(question.task, []).append(place)
    others = list(range(len(questions)))
    for task, places in by_task.items():
        if len(places) < 2:
            hint = "Ask two or more of each task, or all."
            raise ConfigError(f"There is one question of the task {task!r}", hint=hint)
        seeded(seed, "others", task).shuffle(places)
        for place, other in zip(places, [*places[1:], places[0]], strict=True):
            others[place] = other
    return others


def _summed_up(rows: Sequence[Mapping[str, Any]]) -> TaskLikelihood:
    own, other = [row["own"] for row in rows], [row["other"] for row in rows]
    gained = [b - a for a, b in zip(own, other, strict=True)]
    own_mean, other_mean, mean = (sum(each) / len(rows) for each in (own, other, gained))
    return TaskLikelihood(
        n=len(rows),
        own=own_mean,
        own_interval=mean_interval(own),
        other=other_mean,
        other_interval=mean_interval(other),
        gained=mean,
        gained_interval=mean_interval(gained),
    )
