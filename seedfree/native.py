"""A test for any language that people write: their own passages, as answers to what an LLM asks.

Few languages have a benchmark, and many have an encyclopedia. A passage of it is a person's answer,
word for word; an LLM writes only the request that it answers (MURI, arXiv 2409.12958). How likely a
model finds the passage after its own request, and after another one, says what it knows of the
language and of answering (`likelihood.py`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from seedfree._seeds import digest
from seedfree.dataset import Dataset
from seedfree.diversity.contamination import Overlaps
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.pipeline import Pipeline
from seedfree.protocols import Benchmark, ContextSource, Generator
from seedfree.records import Context, Instruction, Prompt, Question, Topic
from seedfree.run.folder import Run
from seedfree.tasks.reverse_instruction import ReverseInstruction

__all__ = ["NativeTest", "Without", "native_test"]


class NativeTest:
    """The benchmark that `native_test` made.

    Args:
        folder: Its `out`.

    Raises:
        ConfigError: The folder holds none.
    """

    def __init__(self, folder: str | Path) -> None:
        self._run = Run(Path(folder))
        if not self._run.dataset:
            hint = "See its dropped.jsonl, and give other texts or another model."
            raise ConfigError(f"{folder} holds no passages to ask for", hint=hint)
        self.language: str = self._run.dataset[0].language
        self.name = f"native-{self.language}"

    def questions(self) -> list[Question]:
        """Returns a question for each passage, of the task `"native"`."""
        return _questions(self._run.dataset, "native")

    def prompt(self, question: Question) -> Prompt:
        """Returns the request as it is."""
        return Prompt(question.question)


class Without:
    """A source of texts that leaves out those of a benchmark, or of rows.

    A text is left out if it is of a page that they are from, or holds half of a question, an answer
    or a passage of theirs (docs/contamination.md). All else is as in the source.

    Args:
        source: Any source.
        apart_from: Such as a `NativeTest`, so that no row is made from its passages.

    Raises:
        ConfigError: The benchmark cannot be read.
    """

    def __init__(self, source: ContextSource, apart_from: Benchmark | Dataset) -> None:
        self.source = source
        if not isinstance(apart_from, Dataset | Benchmark):
            what = f"Without(..., {type(apart_from).__name__}) leaves out nothing that is known"
            raise ConfigError(what, hint="Give a benchmark, or a data set.")
        if isinstance(apart_from, Dataset):
            self._asked = _questions(apart_from, "")
        else:
            self._asked = list(apart_from.questions())
        # Part of a run's settings: with another benchmark, other texts are left out.
        self.apart_from = digest(sorted(each.id for each in self._asked))

    def __getattr__(self, name: str) -> Any:
        # What a run asks of a source beside `contexts`: share, sections, topics, bind, close.
        if name.startswith("_") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    async def contexts(self, topic: Topic) -> list[Context]:
        """Returns the source's texts that are not asked about."""
        given: Any
        if inspect.iscoroutinefunction(self.source.contexts):
            given = self.source.contexts(topic)
        else:
            given = await asyncio.to_thread(self.source.contexts, topic)
        if inspect.isawaitable(given):
            given = await given
        return [context for context in given if not self._is_asked(context)]

    @cached_property
    def _overlaps(self) -> Overlaps:
        return Overlaps(self._asked)

    def _is_asked(self, context: Context) -> bool:
        row = Instruction("text", "", context.text, source=context.source)
        return bool(self._overlaps.hits(row))


def native_test(
    language: str | Language,
    source: ContextSource,
    generator: str | Generator,
    out: str | Path,
    *,
    n: int = 200,
    topics: Sequence[str] | None = None,
    apart_from: Dataset | None = None,
    seed: int = 0,
    **options: Any,
) -> NativeTest:
    """Makes a test of passages that people wrote, or goes on with it.

    Make it before the rows, and the rows from `Without(source, test)`; or give the rows as
    `apart_from`. Then evaluate with `measure="likelihood"`.

    Args:
        source: Of texts by people: Wikipedia, or documents.
        generator: Writes the requests, and says which passages stand alone.
        out: A folder for this test alone.
        n: Passages, at least 1.
        topics: As in `Pipeline`.
        options: Of `Pipeline.run`, such as `budget_usd`.

    Raises:
        ConfigError: As in `Pipeline` and `Pipeline.run`; or no passage was found.
    """
    pipeline = Pipeline(
        language,
        generator,
        contexts=[source if apart_from is None else Without(source, apart_from)],
        tasks=[ReverseInstruction()],
        # Passages of different pages are no near-duplicates.
        diversity=None,
        topics=topics,
    )
    pipeline.run(size=n, out=out, seed=seed, **options)
    return NativeTest(out)


def _questions(rows: Dataset, task: str) -> list[Question]:
    return [
        Question(
            row.id,
            task or row.task,
            row.instruction,
            row.output,
            context=row.input,
            source=row.source.url or row.source.title or "",
        )
        for row in rows
    ]
