"""What a run is given: the parts of its pipeline, and what the call says beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, cast

from seedfree.engine.http import Transport
from seedfree.engine.loop import Clock
from seedfree.engine.names import component_name
from seedfree.engine.pool import Pool
from seedfree.engine.session import RunSession
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.protocols import ContextSource, DiversityFilter, Filter, Generator, TaskTemplate
from seedfree.records import Topic
from seedfree.run.planning import Balance
from seedfree.text import is_code
from seedfree.topics import DrawnTopics, GivenTopics

__all__ = ["Options", "Stages", "check_topics", "titled"]

# The one number that may be meant as a topic, in digits of any script.
_YEAR = re.compile(r"(?!0)\d{3,4}")


@dataclass(frozen=True)
class Stages:
    """A pipeline's parts, checked; `settings` is all that decides the data, as JSON values."""

    language: Language
    generator: Generator
    contexts: Sequence[ContextSource]
    tasks: Sequence[TaskTemplate]
    filters: Sequence[Filter]
    diversity: Sequence[DiversityFilter]
    topics: Sequence[str] | Literal["pages"] | None
    cultural_share: float
    topics_per_request: int
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
        if self.topics == "pages":
            return None
        if self.topics is not None:
            return GivenTopics([Topic(text) for text in self.topics])
        sources = cast("Sequence[Any]", self.contexts)
        if sources and all(hasattr(source, "topics") for source in sources):
            topics = [topic for source in sources for topic in source.topics()]
            return GivenTopics([topic for topic in topics if not is_code(topic.text)])
        return None

    def drawn_topics(
        self, session: RunSession, pool: Pool, changed: Callable[[], None]
    ) -> DrawnTopics | None:
        """Returns titles of the sources' pages, by turns; `None` where others are wanted."""
        if self.topics != "pages":
            return None
        titles = _by_turns(titled(self.contexts), session.seed)
        return DrawnTopics(titles, session, pool, changed, self.topic_limit)

    def counts_of_sources(self) -> list[dict[str, Any]]:
        """Returns what sources say of themselves, each with its place among all."""
        sources = enumerate(cast("Sequence[Any]", self.contexts))
        return [
            {"source": n, "kind": component_name(type(source)), **source.counts()}
            for n, source in sources
            if callable(getattr(source, "counts", None))
        ]

    def most_rows(self) -> int | None:
        """Returns how many rows the topics can give at most; `None` where that is not known."""
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
    batch: bool = False
    wait_for_quota: bool = False
    clock: Clock | None = None
    transport: Transport | None = None


def titled(sources: Sequence[Any]) -> list[Any]:
    """Returns the sources whose pages' titles can be topics."""
    return [source for source in sources if callable(getattr(source, "titles", None))]


def _by_turns(sources: Sequence[Any], seed: int) -> Iterator[str]:
    for turn in zip_longest(*(source.titles(seed) for source in sources)):
        yield from (title for title in turn if title is not None)


def check_topics(topics: Any, sources: Sequence[Any]) -> None:
    """Refuses topics that are no list of strings, or that name nothing to write about.

    Raises:
        ConfigError: They are, or no source has pages to take them from.
    """
    if topics == "pages" and not titled(sources):
        hint = "Pass contexts=[sf.WikipediaDump(...)]."
        raise ConfigError('topics is "pages", and no source has pages', hint=hint)
    if topics in (None, "pages"):
        return
    if isinstance(topics, (str, Mapping)) or not isinstance(topics, Sequence) or not topics:
        hint = 'Pass None to have topics generated, or "pages" for titles of a dump.'
        raise ConfigError("topics is not a list of strings", hint=hint)
    for topic in topics:
        if not isinstance(topic, str):
            what = f"topics is not a list of strings: it holds {topic!r}"
            raise ConfigError(what, hint="Put the topic in quotes.")
    codes = [topic for topic in topics if is_code(topic) and not _YEAR.fullmatch(topic.strip())]
    if codes:
        named = ", ".join(map(repr, codes[:6]))
        what = f"topics holds what names nothing to write about: {named}"
        raise ConfigError(what, hint="Say in a few words what each is about.")
