"""What a run is given: the parts of its pipeline, and what the call says beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from seedfree.engine.http import Transport
from seedfree.engine.loop import Clock
from seedfree.languages import Language
from seedfree.protocols import ContextSource, DiversityFilter, Filter, Generator, TaskTemplate
from seedfree.records import Topic
from seedfree.run.planning import Balance
from seedfree.topics import GivenTopics

__all__ = ["Options", "Stages"]


@dataclass(frozen=True)
class Stages:
    """A pipeline's parts, checked; `settings` is all that decides the data, as JSON values."""

    language: Language
    generator: Generator
    contexts: Sequence[ContextSource]
    tasks: Sequence[TaskTemplate]
    filters: Sequence[Filter]
    diversity: Sequence[DiversityFilter]
    topics: Sequence[str] | None
    cultural_share: float
    topic_limit: int | None
    balance: Balance
    appeal: Literal["same"] | Generator | None
    repair: int
    settings: Mapping[str, Any]

    @property
    def components(self) -> list[object]:
        """Returns every part that may have `bind` and `close`, in the order of binding."""
        lists = (self.contexts, self.tasks, self.filters, self.diversity)
        parts: list[object] = [self.generator, *(each for part in lists for each in part)]
        if self.appealed_to not in (None, self.generator):
            parts.append(self.appealed_to)
        return parts

    def generators(self) -> list[Generator]:
        """Returns the LLM and those that judges bring along."""
        others = [getattr(each, "generator", None) for each in self.filters]
        others += [self.appealed_to] * (self.appealed_to is not self.generator)
        return [self.generator, *(other for other in others if other is not None)]

    @property
    def appealed_to(self) -> Generator | None:
        """Returns the LLM that is asked about doubtful rows."""
        if not isinstance(self.appeal, str):
            return self.appeal
        # A base model continues texts, and cannot be asked.
        return None if getattr(self.generator, "base", False) else self.generator

    def encoders(self) -> list[object]:
        """Returns the encoders of diversity filters."""
        names = ("encoder", "measured_by")
        encoders = [getattr(each, name, None) for each in self.diversity for name in names]
        return [encoder for encoder in encoders if encoder is not None]

    def given_topics(self) -> GivenTopics | None:
        """Returns the user's topics, or those that all sources bring along; `None` for neither."""
        if self.topics is not None:
            return GivenTopics([Topic(text) for text in self.topics])
        sources = cast("Sequence[Any]", self.contexts)
        if sources and all(hasattr(source, "topics") for source in sources):
            return GivenTopics([topic for source in sources for topic in source.topics()])
        return None

    def most_rows(self) -> int | None:
        """Returns how many rows the topics can give at most; `None` where topics are generated."""
        given = self.given_topics()
        if given is None:
            return None
        # A source gives one text for a topic that it brought along itself.
        sections = [getattr(each, "sections", 1) for each in self.contexts if self.topics]
        texts = len(given.topics) * max(sections, default=1)
        return sum(
            task.rows * (texts * task.visits if task.needs_context else len(given.topics))
            for task in self.tasks
        )


@dataclass(frozen=True)
class Options:
    """What a call of `Pipeline.run` says beside the pipeline; see there."""

    size: int
    out: Path
    seed: int = 0
    concurrency: int = 64
    budget_usd: float | None = None
    reuse: Sequence[Path] = ()
    previewed: Sequence[Path] = ()
    shrink: bool = False
    progress: bool | None = None
    mode: int | None = None
    clock: Clock | None = None
    transport: Transport | None = None
