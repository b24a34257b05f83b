"""An LLM that marks answers from 1 to 10, rationale first.

Single-answer marking as in Zheng et al. 2023 ("Judging LLM-as-a-Judge with MT-Bench and Chatbot
Arena", arXiv 2306.05685), with the reasons asked for before the mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from seedfree.engine.batch import generate_all
from seedfree.engine.schema import parse
from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.filters.judge import Verdict, judge_prompt, texts_to_judge, warn_of_kin
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Instruction, Prompt, Question

__all__ = ["Asked", "Judge", "Marks", "asked", "by_task", "texts"]

_Verdict = TypeVar("_Verdict", bound=BaseModel)


@dataclass(frozen=True)
class Asked:
    """What a judge is shown beside the answers, and what its verdicts are grouped by.

    Attributes:
        own: The answer that the row itself brings; `None` for a question.
        writer: Identity of the model that wrote the row; empty for a question.
        source: Items of one source are not independent.
    """

    instruction: str
    input: str = "-"
    task: str = ""
    source: str = ""
    own: str | None = None
    writer: str = ""


def asked(questions: Iterable[Question | Instruction | str], language: Language) -> list[Asked]:
    """Questions, rows or plain texts in one form; choices are labelled as the language labels them.

    Raises:
        ConfigError: An item is something else, or has more choices than the language has labels.
    """
    if isinstance(questions, str):
        raise ConfigError("questions is one text", hint="Give a list.")
    return [_asked(i, item, language) for i, item in enumerate(questions)]


def _asked(i: int, item: object, language: Language) -> Asked:
    alone = f"#{i}"
    if isinstance(item, str):
        return Asked(item, source=alone)
    if isinstance(item, Instruction):
        shown = texts_to_judge(item)
        source = item.source.url or item.source.title or alone
        return Asked(
            shown["instruction"], shown["input"], item.task, source, shown["output"], item.generator
        )
    if isinstance(item, Question):
        text = item.question
        if item.choices:
            if len(item.choices) > len(language.labels):
                raise ConfigError(
                    f"Question {item.id} has {len(item.choices)} choices",
                    hint=f"{language.name} has {len(language.labels)} labels; add some to its file.",
                )
            labelled = zip(language.labels, item.choices, strict=False)
            lines = "\n".join(f"{label}. {choice}" for label, choice in labelled)
            text = language.text("multiple_choice_question", question=text, choices=lines)
        return Asked(text, item.context or "-", item.task, item.source or alone)
    raise ConfigError(
        f"Question {i} is {type(item).__name__}", hint="Give sf.Question, sf.Instruction or str."
    )


def texts(name: str, values: Sequence[str], n: int) -> list[str]:
    """The values, one for each of n questions.

    Raises:
        ConfigError: Not so many, or not texts.
    """
    if isinstance(values, str) or len(values) != n:
        count = "one text" if isinstance(values, str) else str(len(values))
        raise ConfigError(
            f"{name}: {count} for {n} questions", hint="Give one text a question, in order."
        )
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise ConfigError(
                f"{name}[{i}] is {type(value).__name__}", hint='Give text, "" for no answer.'
            )
    return list(values)


def by_task(tasks: Sequence[str]) -> dict[str, list[int]]:
    """Places of each task's items, tasks in the order of their first; empty where no item has a task."""
    places: dict[str, list[int]] = {}
    for i, task in enumerate(tasks):
        places.setdefault(task, []).append(i)
    return places if any(places) else {}


@dataclass(frozen=True, repr=False)
class Marks:
    """What a judge said of n answers.

    Attributes:
        scores: 1 to 10, in the order of the answers; `None` for no verdict. `kappa` takes them as
            they are.
        rationales: The judge's reasons; `None` for no verdict.
        errors: Why there is no verdict (`"refused"`, `"invalid: ..."`); `None` where there is one.
        sources: What intervals take as one draw.
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
        """Answers without a verdict; mean and interval leave them out."""
        return self.scores.count(None)

    @property
    def mean(self) -> float:
        """Over all answers with a verdict; NaN for none."""
        found = [score for score in self.scores if score is not None]
        return sum(found) / len(found) if found else math.nan

    @property
    def macro(self) -> float:
        """Mean of the tasks' means, tasks without a verdict left out; the mean itself where there are no tasks."""
        means = [mean for marks in self.tasks.values() if not math.isnan(mean := marks.mean)]
        return sum(means) / len(means) if means else self.mean

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of the mean, drawn again within tasks and by source; NaN twice for no verdict."""
        rows = [
            (s, t, c)
            for s, t, c in zip(self.scores, self.task_names, self.sources, strict=True)
            if s is not None
        ]
        if not rows:
            return Interval(math.nan, math.nan)
        scores, tasks, sources = zip(*rows, strict=True)
        return mean_interval(scores, groups=tasks, clusters=sources, seed=self.seed)

    @cached_property
    def tasks(self) -> Mapping[str, Marks]:
        """Marks of each task; empty where the questions have none."""
        return {task: self._only(places) for task, places in by_task(self.task_names).items()}

    def _only(self, places: Sequence[int]) -> Marks:
        return Marks(
            tuple(self.scores[i] for i in places),
            tuple(self.rationales[i] for i in places),
            tuple(self.errors[i] for i in places),
            ("",) * len(places),  # the parts of one task have no tasks of their own
            tuple(self.sources[i] for i in places),
            self.seed,
        )

    def __repr__(self) -> str:
        low, high = self.interval.low, self.interval.high
        return f"Marks(mean={self.mean:.2f} [{low:.2f}, {high:.2f}], n={len(self)}, missing={self.missing})"


@dataclass
class Judge:
    """An LLM that marks answers, and compares them (`pairwise.compare_answers`).

    Attributes:
        generator: Another model than those that it judges, best of another family; it says so where
            it is not.
        language: Of the answers.
        prompts: The language that the judge is asked in; `None`: that of the answers, where its
            file has the prompts (Thai and English have all), otherwise English.
        concurrency: Requests under way at most.
        seed: For sampling seeds and intervals.
    """

    generator: Generator
    language: str | Language = "th"
    prompts: str | Language | None = None
    concurrency: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.generator, Generator):
            raise ConfigError(
                f"generator is {type(self.generator).__name__}", hint="Give a generator."
            )

    def mark(
        self,
        questions: Iterable[Question | Instruction | str],
        answers: Sequence[str] | None,
        out: str | Path,
        *,
        references: Sequence[str] | None = None,
        generators: Iterable[object] = (),
    ) -> Marks:
        """A mark for each answer. Run again, it asks only for what `out` does not hold.

        Args:
            questions: Of a benchmark, rows of a data set, or plain texts.
            answers: One a question, `""` for none; `None` for the rows' own, all turns of a
                conversation.
            out: Folder whose `ledger.sqlite` keeps the verdicts. An invalid one is asked for again,
                3 times in all.
            references: Answers known to be good, shown to the judge, one a question.
            generators: What wrote the answers (generators, trained models, identities): for the
                warning alone.

        Raises:
            ConfigError: Lengths differ, an item has the wrong type, or the language has no such
                prompt.
            StopRunError: No request can succeed: a wrong key, spent budget, full disk.
        """
        language = Language.load(self.language)
        items = asked(questions, language)
        if answers is None:
            for i, item in enumerate(items):
                if item.own is None:
                    raise ConfigError(
                        f"Question {i} brings no answer of its own", hint="Pass answers."
                    )
            said = [item.own or "" for item in items]
        else:
            said = texts("answers", answers, len(items))
        known = (
            [None] * len(items)
            if references is None
            else texts("references", references, len(items))
        )
        self.warn(items, generators)
        pack = self.pack("judge", *["judge_reference"] * (references is not None))

        def prompts() -> Iterable[Prompt]:
            for item, answer, reference in zip(items, said, known, strict=True):
                shown = {"instruction": item.instruction, "input": item.input, "output": answer}
                yield judge_prompt(
                    "judge",
                    Verdict,
                    shown,
                    language=language,
                    prompts=pack,
                    reference=reference,
                    seed=self.seed,
                )

        found = self.verdicts(prompts(), Verdict, out)
        return Marks(
            tuple(each.score if isinstance(each, Verdict) else None for each in found),
            tuple(each.rationale if isinstance(each, Verdict) else None for each in found),
            tuple(None if isinstance(each, Verdict) else each for each in found),
            tuple(item.task for item in items),
            tuple(item.source for item in items),
            self.seed,
        )

    def pack(self, *names: str) -> Language:
        """The language that the judge is asked in, with all the prompts of these names.

        Raises:
            ConfigError: The one that was asked for has them not.
        """
        wanted = Language.load(self.language if self.prompts is None else self.prompts)
        needed = (
            names if wanted.code == Language.load(self.language).code else (*names, "judge_persona")
        )
        lacking = [name for name in needed if name not in wanted.prompts]
        if lacking and self.prompts is not None:
            raise ConfigError(
                f"{wanted.name} has no prompt {lacking[0]!r}", hint='Use prompts="en" or "th".'
            )
        return Language.load("en") if lacking else wanted

    def warn(self, items: Iterable[Asked], generators: Iterable[object]) -> None:
        """Logs a warning where the judge is akin to what it judges."""
        if isinstance(generators, str) or not isinstance(generators, Iterable):
            generators = (generators,)
        warn_of_kin(self.generator, [*dict.fromkeys(item.writer for item in items), *generators])

    def verdicts(
        self, prompts: Iterable[Prompt], verdict: type[_Verdict], out: str | Path
    ) -> list[_Verdict | str]:
        """Verdicts in the order of the prompts, or why there is none; nothing is made up for a missing one."""
        replies = generate_all(
            self.generator,
            prompts,
            out,
            concurrency=self.concurrency,
            seed=self.seed,
            language=self.language,
        )
        found: list[_Verdict | str] = []
        for reply in replies:
            try:
                found.append(reply.error if reply.error is not None else parse(reply.text, verdict))
            except InvalidReplyError as error:
                found.append(f"invalid: {error.message}")
        return found
