"""An LLM that marks answers from 1 to 10, rationale first.

Single-answer marking as in Zheng et al. 2023 ("Judging LLM-as-a-Judge with MT-Bench and Chatbot
Arena", arXiv 2306.05685), with the reasons asked for before the mark. `pairwise.py` has the same
judge compare two answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from seedfree.engine.batch import generate_all
from seedfree.engine.providers import named_generator
from seedfree.engine.schema import parse
from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.filters.judge import Verdict, judge_prompt, texts_to_judge, warn_of_kin
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Instruction, Prompt, Question, Reply

__all__ = [
    "Judge",
    "JudgedQuestion",
    "Marks",
    "average",
    "by_task",
    "drawn_interval",
    "judged_questions",
    "references_for",
    "texts_for",
]

_Verdict = TypeVar("_Verdict", bound=BaseModel)


@dataclass
class Judge:
    """An LLM that marks answers, and compares them (`pairwise.compare_answers`).

    Attributes:
        generator: Another model than those that it judges, best of another family; an object or a
            word such as `"ollama/qwen3:8b"`. A warning is logged where it is of the same family.
        language: Of the answers.
        prompts: The language that the judge is asked in. `None` for that of the answers, where its
            file has the prompts (Thai and English have all), otherwise English.
        concurrency: Requests under way at most.
        seed: For sampling seeds and intervals.
    """

    generator: str | Generator
    language: str | Language = "th"
    prompts: str | Language | None = None
    concurrency: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        self.generator = named_generator(self.generator)
        if not isinstance(self.generator, Generator):
            name = type(self.generator).__name__
            raise ConfigError(f"generator is {name}", hint="Give a generator.")

    def mark(
        self,
        questions: Iterable[Question | Instruction | str],
        answers: Sequence[str] | None,
        out: str | Path,
        *,
        references: Sequence[str] | None = None,
        generators: Iterable[object] = (),
    ) -> Marks:
        """Marks each answer. Run again, it asks only for what `out` does not hold.

        Args:
            questions: Of a benchmark, rows of a data set, or plain texts.
            answers: An answer for each question, `""` for none. `None` for the rows' own answers,
                which are all turns of a conversation.
            out: Folder whose `ledger.sqlite` keeps the verdicts. An invalid one is asked for again,
                3 times in all.
            references: Answers known to be good, shown to the judge, one for each question.
            generators: What wrote the answers (generators, trained models, identities). They are
                used for the warning alone.

        Raises:
            ConfigError: Lengths differ, an item has the wrong type, or the language has no such
                prompt.
            StopRunError: No request can succeed: a wrong key, spent budget, full disk.
        """
        language = Language.load(self.language)
        asked = judged_questions(questions, language)
        if answers is None:
            given = [_own_answer(i, question) for i, question in enumerate(asked)]
        else:
            given = texts_for("answers", answers, len(asked))
        known = references_for(references, len(asked))
        self.warn(asked, generators)
        needed = ["judge"] if references is None else ["judge", "judge_reference"]
        pack = self.pack(*needed)
        prompts = (
            judge_prompt(
                "judge",
                Verdict,
                {"instruction": question.instruction, "input": question.input, "output": answer},
                language=language,
                prompts=pack,
                reference=reference,
                seed=self.seed,
            )
            for question, answer, reference in zip(asked, given, known, strict=True)
        )
        marks = [_mark(verdict) for verdict in self.verdicts(prompts, Verdict, out)]
        return Marks(
            tuple(mark.score for mark in marks),
            tuple(mark.rationale for mark in marks),
            tuple(mark.error for mark in marks),
            tuple(question.task for question in asked),
            tuple(question.source for question in asked),
            self.seed,
        )

    def pack(self, *names: str) -> Language:
        """Returns the language that the judge is asked in. It has all prompts of these names.

        Raises:
            ConfigError: `prompts` asks for a language that lacks one of them.
        """
        judged = Language.load(self.language)
        if self.prompts is None:
            pack = judged
        else:
            pack = Language.load(self.prompts)
        # A judge who is asked in another language has to be told which one it judges.
        needed = names if pack.code == judged.code else (*names, "judge_persona")
        lacking = [name for name in needed if name not in pack.prompts]
        if not lacking:
            return pack
        if self.prompts is not None:
            hint = 'Use prompts="en" or "th".'
            raise ConfigError(f"{pack.name} has no prompt {lacking[0]!r}", hint=hint)
        return Language.load("en")

    def warn(self, questions: Iterable[JudgedQuestion], generators: Iterable[object]) -> None:
        """Logs a warning where the judge is akin to what it judges."""
        # A single writer need not be in a list. A name is iterable too, but letter by letter.
        if isinstance(generators, str) or not isinstance(generators, Iterable):
            generators = (generators,)
        writers = dict.fromkeys(question.writer for question in questions)
        warn_of_kin(self.generator, [*writers, *generators])

    def verdicts(
        self, prompts: Iterable[Prompt], verdict: type[_Verdict], out: str | Path
    ) -> list[_Verdict | str]:
        """Asks the judge, and returns its verdicts in the order of the prompts.

        Where there is no verdict, the reason stands in its place. None is ever made up.
        """
        replies = generate_all(
            self.generator,
            prompts,
            out,
            concurrency=self.concurrency,
            seed=self.seed,
            language=self.language,
        )
        return [_verdict(reply, verdict) for reply in replies]


@dataclass(frozen=True, repr=False)
class Marks:
    """A judge's marks of n answers.

    Attributes:
        scores: 1 to 10, in the order of the answers. `None` for no verdict. `kappa` takes them as
            they are.
        rationales: The judge's reasons. `None` for no verdict.
        errors: Why there is no verdict (`"refused"`, `"invalid: ..."`). `None` for a verdict.
        task_names: Each answer's task. Empty for none.
        sources: What each question was made from. An interval draws these, not single answers.
        seed: Of the intervals.
    """

    scores: tuple[int | None, ...]
    rationales: tuple[str | None, ...]
    errors: tuple[str | None, ...]
    task_names: tuple[str, ...]
    sources: tuple[str, ...]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def missing(self) -> int:
        """Counts the answers without a verdict, which mean and interval leave out."""
        return self.scores.count(None)

    @property
    def mean(self) -> float:
        """Returns the mean over all answers with a verdict. NaN for none."""
        return average([score for score in self.scores if score is not None])

    @property
    def macro(self) -> float:
        """Returns the mean of the tasks' means, or the mean itself without tasks.

        Tasks without a verdict are left out.
        """
        means = [marks.mean for marks in self.tasks.values() if marks.missing < len(marks)]
        return average(means) if means else self.mean

    @cached_property
    def interval(self) -> Interval:
        """Returns the 95 % interval of the mean, drawn within tasks and by source."""
        rows = zip(self.scores, self.task_names, self.sources, strict=True)
        judged = [(score, task, source) for score, task, source in rows if score is not None]
        return drawn_interval(judged, self.seed)

    @cached_property
    def tasks(self) -> Mapping[str, Marks]:
        """Returns the marks of each task. Empty where the questions have none."""
        return {task: self._only(places) for task, places in by_task(self.task_names).items()}

    def _only(self, places: Sequence[int]) -> Marks:
        return Marks(
            tuple(self.scores[i] for i in places),
            tuple(self.rationales[i] for i in places),
            tuple(self.errors[i] for i in places),
            # Without names: the marks of a single task are not divided again.
            ("",) * len(places),
            tuple(self.sources[i] for i in places),
            self.seed,
        )

    def __repr__(self) -> str:
        low, high = self.interval
        interval = f"[{low:.2f}, {high:.2f}]"
        return f"Marks(mean={self.mean:.2f} {interval}, n={len(self)}, missing={self.missing})"


class _Mark(NamedTuple):
    score: int | None
    rationale: str | None
    error: str | None


def _mark(verdict: Verdict | str) -> _Mark:
    if isinstance(verdict, str):
        return _Mark(None, None, verdict)
    return _Mark(verdict.score, verdict.rationale, None)


def _verdict(reply: Reply, verdict: type[_Verdict]) -> _Verdict | str:
    if reply.error is not None:
        return reply.error
    try:
        return parse(reply.text, verdict)
    except InvalidReplyError as error:
        return f"invalid: {error.message}"


# The rest is shared with `pairwise`, except for the helpers that begin with an underscore.


@dataclass(frozen=True)
class JudgedQuestion:
    """A question as a judge is shown it, and what the verdicts are grouped by.

    Attributes:
        task: Empty for none.
        source: Questions of one source are not independent.
        answer: The answer that a row of a data set brings. `None` for a question.
        writer: Identity of the model that wrote the row. Empty for a question.
    """

    instruction: str
    input: str = "-"
    task: str = ""
    source: str = ""
    answer: str | None = None
    writer: str = ""


def judged_questions(
    questions: Iterable[Question | Instruction | str], language: Language
) -> list[JudgedQuestion]:
    """Brings questions, rows or plain texts into one form.

    Choices get the labels of the language.

    Raises:
        ConfigError: An item is something else, or has more choices than the language has labels.
    """
    if isinstance(questions, str):
        raise ConfigError("questions is one text", hint="Give a list.")
    return [_judged_question(i, item, language) for i, item in enumerate(questions)]


def _judged_question(i: int, item: object, language: Language) -> JudgedQuestion:
    # An item that names no source counts as a source of its own.
    alone = f"#{i}"
    if isinstance(item, str):
        return JudgedQuestion(item, source=alone)
    if isinstance(item, Instruction):
        shown = texts_to_judge(item)
        return JudgedQuestion(
            shown["instruction"],
            shown["input"],
            item.task,
            item.source.document or item.source.title or alone,
            shown["output"],
            item.generator,
        )
    if isinstance(item, Question):
        return JudgedQuestion(
            _with_choices(item, language), item.context or "-", item.task, item.source or alone
        )
    hint = "Give sf.Question, sf.Instruction or str."
    raise ConfigError(f"Question {i} is {type(item).__name__}", hint=hint)


def _with_choices(question: Question, language: Language) -> str:
    if not question.choices:
        return question.question
    if len(question.choices) > len(language.labels):
        hint = f"{language.name} has {len(language.labels)} labels; add some to its file."
        raise ConfigError(f"Question {question.id} has {len(question.choices)} choices", hint=hint)
    labelled = zip(language.labels, question.choices, strict=False)
    choices = "\n".join(f"{label}. {choice}" for label, choice in labelled)
    return language.text("multiple_choice_question", question=question.question, choices=choices)


def _own_answer(i: int, question: JudgedQuestion) -> str:
    if question.answer is None:
        raise ConfigError(f"Question {i} brings no answer of its own", hint="Pass answers.")
    return question.answer


def texts_for(name: str, values: Sequence[str], n: int) -> list[str]:
    """Returns the values, checked to be a text for each of n questions.

    Raises:
        ConfigError: There is another number of them, or they are not texts.
    """
    if isinstance(values, str) or len(values) != n:
        count = "one text" if isinstance(values, str) else str(len(values))
        hint = "Give one text a question, in order."
        raise ConfigError(f"{name}: {count} for {n} questions", hint=hint)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            hint = 'Give text, "" for no answer.'
            raise ConfigError(f"{name}[{i}] is {type(value).__name__}", hint=hint)
    return list(values)


def references_for(references: Sequence[str] | None, n: int) -> Sequence[str | None]:
    """Returns a reference for each of n questions. `None` for each where none are given.

    Raises:
        ConfigError: There is another number of them, or they are not texts.
    """
    if references is None:
        return [None] * n
    return texts_for("references", references, n)


def by_task(tasks: Sequence[str]) -> dict[str, list[int]]:
    """Returns the places of each task, in order of appearance. Empty where no item has a task."""
    places: dict[str, list[int]] = {}
    for i, task in enumerate(tasks):
        places.setdefault(task, []).append(i)
    return places if any(places) else {}


def average(values: Sequence[float]) -> float:
    """Returns the mean. NaN for no values."""
    return sum(values) / len(values) if values else math.nan


def drawn_interval(rows: Sequence[tuple[float, str, str]], seed: int) -> Interval:
    """Returns the 95 % interval of a mean, drawn within tasks and by source.

    Args:
        rows: The value, task and source of each.
        seed: Of the draws.

    Returns:
        NaN twice for no rows.
    """
    if not rows:
        return Interval(math.nan, math.nan)
    values, tasks, sources = zip(*rows, strict=True)
    return mean_interval(values, groups=tasks, clusters=sources, seed=seed)
