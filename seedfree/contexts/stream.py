"""The run's stream of contexts: a topic goes to one source, chosen by share, then to the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from pydantic import TypeAdapter

from seedfree._seeds import seeded
from seedfree.contexts.condition import cleaned, fault, without_end
from seedfree.engine.gate import piece
from seedfree.engine.pool import Pool
from seedfree.engine.session import RunSession
from seedfree.errors import ConfigError, RequestError, SeedfreeError
from seedfree.languages import Language
from seedfree.protocols import ContextSource
from seedfree.records import Context, Topic, altered

__all__ = ["BARREN", "ContextStream", "Topics"]

# Topics of the first block; each later block has twice as many. A block is begun once all but the
# one before it are settled, so that sources without any text are noticed early. The first three
# are begun at once: a small run must not wait for the slowest topic of sixteen.
_FIRST_BLOCK = 16
_FIRST_BLOCKS = 7 * _FIRST_BLOCK
# After so many topics in a row without a new text, the sources are taken to have no more.
BARREN = 96
_LIST = TypeAdapter(list[Context])
# Multiples of it, modulo 1, are spread more evenly than those of any other number.
_GOLDEN = 0.6180339887498949


class Topics(Protocol):
    """A stream of topics.

    Attributes:
        topics: Those that are there, in order; it only grows.
        ended: Whether no more will come.
    """

    @property
    def topics(self) -> Sequence[Topic]: ...

    @property
    def ended(self) -> bool: ...

    def want(self, n: int) -> None:
        """Has topics made until there are n, or as many as there can be."""
        ...


class ContextStream:
    """Looks contexts up side by side, and gives them in the order of their topics.

    Which topics are looked up depends on what those before gave, never on the order of arrival:
    topic i is looked up once i lies below the maximum, over all settled prefixes of q topics, of q
    and the topics that the missing contexts take at least.

    Args:
        sources: Each with its settings, which are part of the key of what it gave.
        pool: Takes the lookups as work.
        changed: Called when there are more contexts, or their end is known.

    Attributes:
        contexts: Those that are there, in order; it only grows.
    """

    def __init__(
        self,
        sources: Sequence[tuple[ContextSource, Any]],
        topics: Topics,
        session: RunSession,
        pool: Pool,
        changed: Callable[[], None],
    ) -> None:
        self._sources, self._topics, self._session = _numbered(sources), topics, session
        self._pool, self._changed = pool, changed
        self._turn = seeded(session.seed, "sources").random()
        self.contexts: list[Context] = []
        self._texts: set[str] = set()
        self._wanted = self._started = self._settled = self._bare = self._barren = 0
        self._waiting: dict[int, list[Context]] = {}
        self._block, self._stop = 0, _FIRST_BLOCK
        self._given_up = False
        # The most contexts that a topic gives, as far as is known; and by it, over the settled
        # prefixes, the highest of what `_goal` adds to the contexts wanted.
        self._most = max([getattr(source, "sections", 1) for source, _ in sources], default=1)
        self._early, self._late = (self._most, 0), dict[int, int]()
        # The sources that brought a topic along, by its text.
        self._owners: dict[str, list[int]] = {}
        for n, (source, _, _) in enumerate(self._sources):
            if hasattr(source, "topics"):
                for topic in source.topics():
                    self._owners.setdefault(topic.text, []).append(n)

    @property
    def topics(self) -> int:
        """Returns how many topics were used so far."""
        return max(self._started, self._bare)

    @property
    def ended(self) -> bool:
        """Returns whether no more contexts will come."""
        if not self._sources or (self._given_up and self._settled == self._last):
            return True
        return self._topics.ended and self._settled == len(self._topics.topics)

    @property
    def barren(self) -> bool:
        """Returns whether the sources were given up although there may be more topics."""
        return self._given_up

    def want(self, n: int) -> None:
        """Has topics looked up until there are n contexts, or as many as there can be."""
        self._wanted = max(self._wanted, n)
        self.advance()

    def advance(self) -> None:
        """Looks up the topics that are needed and there."""
        goal = self._goal()
        self._topics.want(goal)
        while self._started < min(goal, len(self._topics.topics)):
            work = partial(self._look_up, self._started)
            self._pool.submit((1, self._started), "contexts", work)
            self._started += 1

    def visited(self, n: int) -> Context:
        """Returns the context of a task's job n: once all were used, the first comes again.

        Its position is then beyond those of all contexts, so that other facets are drawn for it and
        its prompt is another one.
        """
        context = self.contexts[n % len(self.contexts)]
        return context if n < len(self.contexts) else altered(context, position=n)

    def bare(self, i: int) -> Context:
        """Returns topic i as a context without text, for tasks that work from a topic."""
        self._bare = max(self._bare, i + 1)
        session = self._session
        topic = self._topics.topics[i]
        return Context(topic=topic, language=session.language.code, seed=session.seed, position=i)

    def _goal(self) -> int:
        """Returns how many topics to look up, as far as the settled ones tell."""
        n = self._wanted if self._sources else 0
        # Until the first block is settled, what a topic really gives is not known.
        most, weight = self._early
        goal = min(-(-(n + weight) // most), _FIRST_BLOCKS) if n else 0
        for most, weight in self._late.items():
            goal = max(goal, -(-(n + weight) // most))
        return min(goal, self._last)

    @property
    def _last(self) -> int:
        """Returns the first topic after the blocks that may be under way."""
        return max(self._stop + (_FIRST_BLOCK << self._block + 1), _FIRST_BLOCKS)

    async def _look_up(self, i: int) -> None:
        topic = self._topics.topics[i]
        contexts = self._waiting[i] = await self._about(topic)
        piece().got = True
        if not contexts:
            piece().lose("without a usable text", topic.text)
        before = self._settled
        while self._settled in self._waiting:
            self._settle(self._waiting.pop(self._settled))
        if self._settled > before:
            self.advance()
            self._changed()

    def _settle(self, contexts: Sequence[Context]) -> None:
        """Takes in what the next topic in order gave."""
        before = len(self.contexts)
        for context in contexts:
            if context.text.strip() and context.text not in self._texts:
                self._texts.add(context.text)
                self.contexts.append(altered(context, position=len(self.contexts)))
        new = len(self.contexts) - before
        self._barren = 0 if new else self._barren + 1
        self._settled += 1
        if self._settled == self._stop and not self._given_up:  # at the end of a block
            # The blocks after it go on: part of them may have begun before this was known.
            self._given_up = self._barren >= BARREN
            if not self._given_up:
                self._block += 1
                self._stop += _FIRST_BLOCK << self._block
        if self._settled < _FIRST_BLOCK:
            most, weight = self._early
            self._early = (most, max(weight, most * self._settled - len(self.contexts)))
            return
        self._most = max(self._most, new)
        weight = self._most * self._settled - len(self.contexts)
        self._late[self._most] = max(self._late.get(self._most, weight), weight)

    async def _about(self, topic: Topic) -> list[Context]:
        """Returns what the first source that knows the topic has of it.

        Sources that brought it along, such as two folders with texts of one title, all give theirs.
        """
        order, owners = self._order(topic)
        contexts: list[Context] = []
        for asked, n in enumerate(order, 1):
            contexts += await self._of(n, topic)
            if contexts and asked >= owners:
                break
        return contexts

    async def _of(self, n: int, topic: Topic) -> list[Context]:
        """Returns what one source has of a topic."""
        session, (source, settings, number) = self._session, self._sources[n]
        key = [settings, session.seed, topic.position, topic.text, *[number] * (number > 0)]
        name = f"contexts:{json.dumps(key, ensure_ascii=False)}"

        async def ask() -> Any:
            skipped = piece().skipped
            skipped.clear()
            try:
                contexts = await session.call(source.contexts, topic)
                _check(contexts)
                value = _LIST.dump_python(contexts, mode="json")
            except SeedfreeError:
                raise
            except Exception as error:
                raised = f"raised {type(error).__name__}: {error}"
                raise RequestError(f"{type(source).__name__} {raised}") from error
            # Kept too, so that a run that is resumed counts the same.
            return {"contexts": value, "skipped": list(skipped)} if skipped else value

        value = await session.fetch(name, ask)
        if not value:
            return []
        if not isinstance(value, dict):
            value = {"contexts": value, "skipped": []}
        for reason in value["skipped"]:
            self._leave_out(reason, topic.text)
        at = session.fetched_at(name)
        return [
            self._filled(context, topic, at, source)
            for context in map(self._cleaned, _LIST.validate_python(value["contexts"]))
            if self._is_usable(context)
        ]

    def _cleaned(self, context: Context) -> Context:
        text = cleaned(context.text)
        # Whoever wrote a text for the run wrote no bibliography, but may well end with a note.
        if context.source.kind != "written":
            text = without_end(text, self._language(context).end_sections)
        return altered(context, text=text)

    def _language(self, context: Context) -> Language:
        """Returns the language that a text is in, as far as its source says so."""
        language = self._session.language
        if context.language in ("", language.code):
            return language
        try:
            return Language.load(context.language)
        except ConfigError:
            return altered(language, script="", end_sections=())

    def _is_usable(self, context: Context) -> bool:
        """Looks at a text, and counts it."""
        reason = fault(context.text, self._language(context), context.title or "")
        if reason:
            self._leave_out(reason, context.text)
        else:
            self._session.gate.count("texts")
        return not reason

    def _leave_out(self, reason: str, example: str) -> None:
        self._session.gate.count("texts", reason)
        # It stands if no other text of the topic is usable.
        piece().lose(reason, example)

    def _filled(self, context: Context, topic: Topic, at: str, by: ContextSource) -> Context:
        source, title = context.source, context.title
        # Without its title nothing says of whom "He was born in 1932" speaks. A style or a file's
        # name is none.
        if title is None and source.kind not in ("written", "document"):
            title = source.title
        if source.kind == "topic":  # a user's source that says nothing of itself
            source = altered(source, kind=type(by).__name__)
        if source.retrieved_at is None:
            source = altered(source, retrieved_at=at)
        return altered(
            context,
            title=title,
            topic=context.topic or topic,
            language=context.language or self._session.language.code,
            source=source,
            seed=self._session.seed,
        )

    def _order(self, topic: Topic) -> tuple[list[int], int]:
        """Returns the sources by number in the order to ask them, and how many own the topic.

        Its owners come first, or else the source whose turn it is, and then the others. Turns
        follow a golden-ratio sequence, so that the shares hold early on.
        """
        shares = [float(getattr(source, "share", 1.0)) for source, _, _ in self._sources]
        point = (self._turn + topic.position * _GOLDEN) % 1.0 * sum(shares)
        first = 0
        while first < len(shares) - 1 and point >= shares[first]:
            point -= shares[first]
            first += 1
        owners = self._owners.get(topic.text, [])
        before = owners or [first]
        return [*before, *(n for n in range(len(shares)) if n not in before)], len(owners)


def _check(contexts: object) -> None:
    if not isinstance(contexts, list):
        raise TypeError(f"contexts() returned {type(contexts).__name__}, not a list of sf.Context")
    for context in contexts:
        if not isinstance(context, Context):
            kind = type(context).__name__
            raise TypeError(f"contexts() returned a list with {kind}, not of sf.Context")


def _numbered(
    sources: Sequence[tuple[ContextSource, Any]],
) -> list[tuple[ContextSource, Any, int]]:
    """Adds to each source how many with the same settings stand before it.

    Two folders of documents have the same settings, and each needs keys of its own.
    """
    settings = [each for _, each in sources]
    return [(source, each, settings[:i].count(each)) for i, (source, each) in enumerate(sources)]
