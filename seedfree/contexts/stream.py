"""The run's stream of contexts: a topic goes to one source, chosen by share, and to the next if it has nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import TypeAdapter

from seedfree._seeds import seeded
from seedfree.engine.loop import side_by_side
from seedfree.engine.runner import Runner
from seedfree.engine.session import RunSession
from seedfree.errors import RequestError, SeedfreeError
from seedfree.protocols import ContextSource
from seedfree.records import Context, Topic, altered

__all__ = ["ContextStream", "Topics"]

_WIDTH = 64
# So many topics in a row without a single text, and the sources are taken to have none.
_BARREN = 96
_LIST = TypeAdapter(list[Context])
_GOLDEN = 0.6180339887498949


class Topics(Protocol):
    """A stream of topics."""

    async def take(self, n: int) -> Sequence[Topic]: ...


class ContextStream:
    """Contexts in the order of their topics, whatever the order in which the sources answer.

    Args:
        sources: Each with what the ledger knows it by.
    """

    def __init__(
        self,
        sources: Sequence[tuple[ContextSource, Any]],
        topics: Topics,
        session: RunSession,
        runner: Runner,
    ) -> None:
        self._sources, self._topics = list(sources), topics
        self._session, self._runner = session, runner
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
        """Topics used so far."""
        return max(self._used, self._bare)

    async def take(self, n: int) -> Sequence[Context]:
        """The first n contexts, or as many as the topics give."""
        while len(self._contexts) < n and not self._dry:
            step = min(_WIDTH, n - len(self._contexts))
            topics = (await self._topics.take(self._used + step))[self._used :]
            self._dry = len(topics) < step
            self._used += len(topics)
            for found in await side_by_side(self._of(topic) for topic in topics):
                self._barren = 0 if found else self._barren + 1
                for context in found:
                    if context.text.strip() and context.text not in self._texts:
                        self._texts.add(context.text)
                        self._contexts.append(altered(context, position=len(self._contexts)))
            self._dry = self._dry or self._barren >= _BARREN
        return self._contexts[:n]

    async def bare(self, n: int) -> Sequence[Context]:
        """The first n topics as contexts without text, for tasks that work from a topic alone."""
        session = self._session
        topics = (await self._topics.take(n))[:n]
        self._bare = max(self._bare, len(topics))
        return [
            Context(topic=t, language=session.language.code, seed=session.seed, position=i)
            for i, t in enumerate(topics)
        ]

    async def _of(self, topic: Topic) -> list[Context]:
        for source, known_as in self._order(topic):
            name = json.dumps(
                [known_as, self._session.seed, topic.position, topic.text], ensure_ascii=False
            )

            async def ask(source: ContextSource = source) -> Any:
                try:
                    return _LIST.dump_python(
                        await self._runner.call(source.contexts, topic), mode="json"
                    )
                except SeedfreeError:
                    raise
                except Exception as error:
                    raise RequestError(
                        f"{type(source).__name__} raised {type(error).__name__}: {error}"
                    ) from error

            value, at = await self._session.fetch_at(f"contexts:{name}", ask)
            if value:
                return [
                    self._filled(context, topic, at, source)
                    for context in _LIST.validate_python(value)
                ]
        return []

    def _filled(self, context: Context, topic: Topic, at: str, by: ContextSource) -> Context:
        source = context.source
        if source.kind == "topic":  # a user's source that says nothing of itself
            source = altered(source, kind=type(by).__name__)
        if source.retrieved_at is None:
            source = altered(source, retrieved_at=at)
        language = context.language or self._session.language.code
        return altered(
            context,
            topic=context.topic or topic,
            language=language,
            source=source,
            seed=self._session.seed,
        )

    def _order(self, topic: Topic) -> list[tuple[ContextSource, Any]]:
        """The source whose turn it is, then the others. Turns follow a golden-ratio sequence: shares hold early on."""
        shares = [float(getattr(source, "share", 1.0)) for source, _ in self._sources]
        point = (self._start + topic.position * _GOLDEN) % 1.0 * sum(shares)
        first = 0
        while first < len(shares) - 1 and point >= shares[first]:
            point -= shares[first]
            first += 1
        first = self._owners.get(topic.text, first)
        return [self._sources[first], *self._sources[:first], *self._sources[first + 1 :]]
