"""The run's stream of contexts: a topic goes to one source, chosen by share, then to the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import TypeAdapter

from seedfree._seeds import seeded
from seedfree.engine.loop import side_by_side
from seedfree.engine.session import RunSession
from seedfree.errors import RequestError, SeedfreeError
from seedfree.protocols import ContextSource
from seedfree.records import Context, Topic, altered

__all__ = ["ContextStream", "Topics"]

# Topics that are taken to the sources side by side.
_WIDTH = 64
# After so many topics in a row without a single text, the sources are taken to have none.
_BARREN = 96
_LIST = TypeAdapter(list[Context])
# Multiples of it, modulo 1, are spread more evenly than those of any other number.
_GOLDEN = 0.6180339887498949


class Topics(Protocol):
    """A stream of topics."""

    async def take(self, n: int) -> Sequence[Topic]: ...


class ContextStream:
    """Yields contexts in the order of their topics, whatever the order in which sources answer.

    Args:
        sources: Each with its settings, which are part of the key of what it gave.
    """

    def __init__(
        self,
        sources: Sequence[tuple[ContextSource, Any]],
        topics: Topics,
        session: RunSession,
    ) -> None:
        self._sources, self._topics, self._session = list(sources), topics, session
        self._start = seeded(session.seed, "sources").random()
        self._contexts: list[Context] = []
        self._texts: set[str] = set()
        self._used = self._bare = self._barren = 0
        self._dry = not self._sources
        # A source that brought a topic along is asked about it first.
        self._owners = {
            topic.text: n
            for n, (source, _) in enumerate(self._sources)
            if hasattr(source, "topics")
            for topic in source.topics()
        }

    @property
    def topics(self) -> int:
        """Returns how many topics were used so far."""
        return max(self._used, self._bare)

    async def take(self, n: int) -> Sequence[Context]:
        """Returns the first n contexts, or as many as the topics give."""
        while len(self._contexts) < n and not self._dry:
            step = min(_WIDTH, n - len(self._contexts))
            topics = (await self._topics.take(self._used + step))[self._used :]
            self._dry = len(topics) < step
            self._used += len(topics)
            for contexts in await side_by_side(self._about(topic) for topic in topics):
                self._barren = 0 if contexts else self._barren + 1
                self._add(contexts)
            self._dry = self._dry or self._barren >= _BARREN
        return self._contexts[:n]

    async def bare(self, n: int) -> Sequence[Context]:
        """Returns the first n topics as contexts without text, for tasks that work from a topic."""
        session = self._session
        topics = (await self._topics.take(n))[:n]
        self._bare = max(self._bare, len(topics))
        code, seed = session.language.code, session.seed
        return [
            Context(topic=topic, language=code, seed=seed, position=i)
            for i, topic in enumerate(topics)
        ]

    def _add(self, contexts: Sequence[Context]) -> None:
        for context in contexts:
            if context.text.strip() and context.text not in self._texts:
                self._texts.add(context.text)
                self._contexts.append(altered(context, position=len(self._contexts)))

    async def _about(self, topic: Topic) -> list[Context]:
        """Returns what the first source that knows the topic has of it."""
        session = self._session
        for source, settings in self._order(topic):
            key = [settings, session.seed, topic.position, topic.text]
            name = f"contexts:{json.dumps(key, ensure_ascii=False)}"

            async def ask(source: ContextSource = source) -> Any:
                try:
                    contexts = await session.call(source.contexts, topic)
                    return _LIST.dump_python(contexts, mode="json")
                except SeedfreeError:
                    raise
                except Exception as error:
                    raised = f"raised {type(error).__name__}: {error}"
                    raise RequestError(f"{type(source).__name__} {raised}") from error

            value = await session.fetch(name, ask)
            if value:
                at = session.fetched_at(name)
                contexts = _LIST.validate_python(value)
                return [self._filled(context, topic, at, source) for context in contexts]
        return []

    def _filled(self, context: Context, topic: Topic, at: str, by: ContextSource) -> Context:
        source = context.source
        if source.kind == "topic":  # a user's source that says nothing of itself
            source = altered(source, kind=type(by).__name__)
        if source.retrieved_at is None:
            source = altered(source, retrieved_at=at)
        return altered(
            context,
            topic=context.topic or topic,
            language=context.language or self._session.language.code,
            source=source,
            seed=self._session.seed,
        )

    def _order(self, topic: Topic) -> list[tuple[ContextSource, Any]]:
        """Returns the source whose turn it is, then the others.

        Turns follow a golden-ratio sequence, so that the shares hold early on.
        """
        shares = [float(getattr(source, "share", 1.0)) for source, _ in self._sources]
        point = (self._start + topic.position * _GOLDEN) % 1.0 * sum(shares)
        first = 0
        while first < len(shares) - 1 and point >= shares[first]:
            point -= shares[first]
            first += 1
        first = self._owners.get(topic.text, first)
        return [self._sources[first], *self._sources[:first], *self._sources[first + 1 :]]
