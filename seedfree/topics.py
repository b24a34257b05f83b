"""Topics: what the data set is about (paper section 3.1).

The LLM is asked for topics in waves. The default model takes no temperature, so variety is put into
the question: every request asks about one cell of the language's facets, and shows topics that are
there already as what to avoid.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, zip_longest
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from seedfree._seeds import balanced, seeded
from seedfree.engine.pool import Pool
from seedfree.engine.schema import parse
from seedfree.engine.session import RunSession
from seedfree.errors import TopicsExhaustedError
from seedfree.protocols import Session
from seedfree.records import Prompt, Topic
from seedfree.text import is_code, letters_and_digits, shown

__all__ = ["DrawnTopics", "GivenTopics", "TopicStream"]

# Few topics of many cells: the first that a model names of a cell are the most stereotypical, and
# of twenty a small run would use no others. The paper's code asks for 20.
PER_REQUEST = 5
_MOST_PER_REQUEST = 20
# Requests of the first waves, so that a small run meets several cells.
_NARROWEST = 4
# Requests of a wave at most. They do not see each other's topics, so that a wider wave repeats
# itself more.
_WIDEST = 16
# Topics that a request shows as what to avoid.
_AVOID = 20
# After so many waves in a row with less than a new topic a request, the model has no more.
_DRY_WAVES = 3
# Two topics that share this much of their character trigrams (Jaccard) are one.
_NEAR = 0.6
# So many of its rarest trigrams a topic must share before all are compared. With fewer, more pairs
# are compared; with more, there is more to look at first.
_SHARED = 6
# Titles drawn at a time: what is drawn can be used while further ones are.
_SLICE = 256


class Topics(BaseModel):
    """What the LLM must answer."""

    topics: list[Annotated[str, Field(max_length=120)]] = Field(
        min_length=1, max_length=_MOST_PER_REQUEST
    )


class _Kind(NamedTuple):
    """A kind of topic, and the facets that a request for it is about.

    Attributes:
        facets: For each placeholder of the prompt, the language's list that it is drawn from.
    """

    name: Literal["general", "cultural"]
    facets: dict[str, str]


_GENERAL = _Kind("general", {"domain": "domains", "asker": "askers"})
_CULTURAL = _Kind("cultural", {"culture": "culture", "region": "regions"})


class _Cell(NamedTuple):
    """What one request asks about: a kind, and a word for each placeholder of its prompt."""

    kind: _Kind
    words: dict[str, str]

    @property
    def first(self) -> str:
        """Returns the facet that decides which topics are near."""
        return next(iter(self.words.values()))

    @property
    def name(self) -> str:
        """Names the cell."""
        return " · ".join(self.words.values())

    @property
    def cue(self) -> str:
        """Returns the short form that a base model continues."""
        first, second = self.words.values()
        # Who asks a general question says nothing about its topic.
        return f"{first} ({second})" if self.kind is _CULTURAL else first


class GivenTopics:
    """Holds the user's own topics as a stream. Repeated ones count once."""

    ended = True

    def __init__(self, topics: Sequence[Topic]) -> None:
        unique: dict[str, Topic] = {}
        for topic in topics:
            unique.setdefault(letters_and_digits(topic.text), topic)
        unique.pop("", None)  # of a topic without a letter
        self.topics = [Topic(topic.text, topic.kind, i) for i, topic in enumerate(unique.values())]

    def want(self, n: int) -> None:
        """Does nothing: all topics are there."""


class DrawnTopics:
    """Draws titles of pages as topics, as they are wanted. Repeated ones count once.

    Args:
        titles: In the order of the draw. They are drawn in a thread: each may be read from a disk.
        pool: Takes the draws as work.
        changed: Called when there are more topics, or when their end is known.
        limit: The most topics. `None` for as many as the run needs.

    Attributes:
        topics: Those that are there, in order. The list only grows.
    """

    def __init__(
        self,
        titles: Iterator[str],
        session: RunSession,
        pool: Pool,
        changed: Callable[[], None] = lambda: None,
        limit: int | None = None,
    ) -> None:
        self._titles, self._session, self._pool, self._changed = titles, session, pool, changed
        self._last = math.inf if limit is None else limit
        self._seen: set[str] = {""}
        self._drawn: list[Topic] = []
        self._wanted, self._drawing = 0, False
        self.topics: list[Topic] = []

    @property
    def ended(self) -> bool:
        """Returns whether no more topics will come."""
        return len(self.topics) >= self._last

    def want(self, n: int) -> None:
        """Has titles drawn until there are n topics, or as many as there can be."""
        self._wanted = max(self._wanted, n)
        # The last comes with the news that it is the last: what is planned after it must not hang
        # on how long the next draw takes.
        there = len(self._drawn) - (len(self._drawn) < self._last)
        self.topics += self._drawn[len(self.topics) : min(there, self._wanted)]
        if not (self._drawing or self.ended or len(self.topics) >= self._wanted):
            self._drawing = True
            self._pool.submit((0,), "topics", self._draw)

    async def _draw(self) -> None:
        count = int(min(self._wanted + 1, self._last, len(self._drawn) + _SLICE)) - len(self._drawn)
        titles = await self._session.call(list, islice(self._titles, count))
        self._drawing = False
        for title in titles:
            folded = letters_and_digits(title)
            if folded not in self._seen:
                self._seen.add(folded)
                self._drawn.append(Topic(_line(title), "", len(self._drawn)))
        if len(titles) < count:
            self._last = len(self._drawn)
        self.want(0)
        self._changed()


@dataclass
class _Wave:
    """Requests that are sent side by side.

    Attributes:
        first: The number of its first request, over all waves.
        known: How many topics its requests see.
        replies: By place in the wave, what was asked about and the topics that came.
    """

    first: int
    width: int
    known: int
    replies: dict[int, tuple[_Cell, list[str]]] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Returns whether all its replies are there."""
        return len(self.replies) == self.width


class TopicStream:
    """Generates as many topics as are wanted, by the seed and the replies alone.

    Waves send 4, 4, 4, 8 and then 16 requests side by side, so that small runs pay little. Each
    sees the topics of the waves up to the one before the last, so that no wave waits for the
    slowest reply of the one before. The topics of a wave are taken in by turns, one of each
    request, so that the first few of them are about several cells.

    Args:
        pool: Takes the requests as work.
        changed: Called when there are more topics, or when their end is known.
        cultural_share: Share of the requests that ask about the culture, 0 to 1.
        per_request: Topics that a request asks for, 1 to 20.
        limit: The most topics. `None` for as many as the run needs.
        temperature: Sent if the model takes one (paper: 0.85 to 0.95).

    Attributes:
        topics: Those that are there, in order. The list only grows.
    """

    def __init__(
        self,
        session: Session,
        pool: Pool,
        changed: Callable[[], None] = lambda: None,
        *,
        cultural_share: float = 0.5,
        per_request: int = PER_REQUEST,
        limit: int | None = None,
        temperature: float = 0.95,
    ) -> None:
        self._session, self._pool, self._changed = session, pool, changed
        self._share, self._temperature = cultural_share, temperature
        self._per_request = per_request
        self._limit = math.inf if limit is None else limit
        self.topics: list[Topic] = []
        # By the first facet of the request that gave them, their numbers.
        self._near: defaultdict[str, list[int]] = defaultdict(list)
        self._seen = _Seen()
        self._wanted: float = 0
        self._waves: list[_Wave] = []
        # After so many settled waves: topics, and waves in a row that gave too few.
        self._counts, self._dry = [0], [0]
        self._why = "it repeats itself"

    @property
    def ended(self) -> bool:
        """Returns whether no more topics will come."""
        over = self._dry[-1] >= _DRY_WAVES or len(self.topics) >= self._limit
        return over and self._under_way == 0

    @property
    def _under_way(self) -> int:
        return len(self._waves) - (len(self._counts) - 1)

    def want(self, n: int) -> None:
        """Has topics made until there are n, or as many as there can be."""
        self._wanted = max(self._wanted, min(n, self._limit))
        while self._needs_wave():
            self._begin()

    def _needs_wave(self) -> bool:
        topics, dry = self._counts[-1], self._dry[-1]
        if self._under_way > 1:
            return False
        if self._under_way:
            # Whether the next wave is needed must not hang on whether this one is settled yet. It
            # is needed in any case if this one cannot give enough, nor be the last dry one.
            topics += self._waves[-1].width * self._per_request
            dry += 1
        return topics < self._wanted and dry < _DRY_WAVES

    def _begin(self) -> None:
        number = len(self._waves)
        first = sum(wave.width for wave in self._waves)
        width = min(max(2**number, _NARROWEST), _WIDEST)
        wave = _Wave(first, width, self._counts[max(number - 1, 0)])
        self._waves.append(wave)
        for place in range(wave.width):
            self._pool.submit((0, number, place), "topics", partial(self._ask, wave, place))

    async def _ask(self, wave: _Wave, place: int) -> None:
        position = wave.first + place
        cell = self._cell(position)
        wave.replies[place] = (cell, await self._request(position, cell, wave.known))
        under_way = self._under_way
        while self._under_way and self._waves[-self._under_way].settled:
            self._take_in(self._waves[-self._under_way])
        if self._under_way < under_way:
            self.want(0)
            if self.ended and not self.topics:
                asked = sum(wave.width for wave in self._waves)
                raise TopicsExhaustedError(
                    f"{asked} requests gave no topic: {self._why}",
                    hint="Try a stronger model, or pass topics=[...] of your own.",
                )
            self._changed()

    def _take_in(self, wave: _Wave) -> None:
        """Takes in the replies of the next wave."""
        before = len(self.topics)
        # In the order of the requests, not of the answers: the same replies give the same topics.
        replies = [wave.replies[place] for place in sorted(wave.replies)]
        by_turns = zip_longest(*(texts for _, texts in replies))
        for turn in by_turns:
            for (cell, _), text in zip(replies, turn, strict=True):
                if text and len(self.topics) < self._limit and self._seen.add(text):
                    self._near[cell.first].append(len(self.topics))
                    self.topics.append(Topic(text, cell.kind.name, len(self.topics), cell.name))
        enough = len(self.topics) - before >= wave.width
        self._counts.append(len(self.topics))
        self._dry.append(0 if enough else self._dry[-1] + 1)

    def _cell(self, position: int) -> _Cell:
        """Returns what request number `position` asks about."""
        language, seed = self._session.language, self._session.seed
        # This many of the earlier requests ask about the culture. The share thus holds after every
        # request, and not only on average.
        cultural = math.floor(position * self._share)
        kind, place = _GENERAL, position - cultural
        if math.floor((position + 1) * self._share) > cultural:
            kind, place = _CULTURAL, cultural
        # Each facet runs through its own list at its own pace, so that over time all pairs are met.
        words = {
            placeholder: balanced(language.facet(name), place, seed, name)
            for placeholder, name in kind.facets.items()
        }
        return _Cell(kind, words)

    async def _request(self, position: int, cell: _Cell, known: int) -> list[str]:
        """Returns the topics of one reply, or none where it cannot be used.

        Args:
            known: How many topics it sees.
        """
        language = self._session.language
        rng = seeded(self._session.seed, "topics", position)
        avoid = ", ".join(self._avoid(cell.first, known))
        name, count = f"topics_{cell.kind.name}", self._per_request
        prompt = Prompt(
            user=language.text(
                name,
                count=count,
                avoid=avoid and language.text("topics_avoid", avoid=avoid),
                **cell.words,
            ),
            system=language.persona,
            schema=Topics,
            temperature=self._temperature,
            examples=language.draw_examples("topics", rng),
            cue=cell.cue,
        )
        reply = await self._session.generate(
            prompt, sample=position, check=lambda text: parse(text, Topics)
        )
        if reply.error is not None:
            self._why = reply.error
            return []
        return [_line(text) for text in parse(reply.text, Topics).topics]

    def _avoid(self, facet: str, known: int) -> list[str]:
        """Returns topics to avoid: the last ones of the same facet. Those of others are far off."""
        near = self._near[facet]
        end = bisect_left(near, known)
        return [self.topics[i].text for i in near[max(end - _AVOID, 0) : end]]


def _line(text: str) -> str:
    """Returns a topic on one line, with unseen characters as escapes."""
    # White space first: `shown` would make an escape of a carriage return.
    return shown(" ".join(text.split()))


class _Seen:
    """Remembers the topics so far by their trigrams."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._known: set[str] = set()
        # For each trigram the numbers of the topics that have it.
        self._holders: defaultdict[str, array[int]] = defaultdict(partial(array, "I"))

    def add(self, text: str) -> bool:
        """Remembers a topic, if it is usable and new, and tells whether it is."""
        folded = letters_and_digits(text)
        # A single letter is no topic. Providers that do not enforce lengths send longer ones.
        if not 2 <= len(folded) <= 120 or folded in self._known or is_code(text):
            return False
        grams = _trigrams(folded)
        if any(_near(grams, _trigrams(self._texts[n])) for n in self._alike(grams)):
            return False
        for gram in grams:
            self._holders[gram].append(len(self._texts))
        self._texts.append(folded)
        self._known.add(folded)
        return True

    def _alike(self, grams: set[str]) -> Sequence[int]:
        """Returns the topics that may be near one with these trigrams.

        A near one has the share `_NEAR` of them at least, so of any choice of them all but so many.
        To look at the rarest alone keeps the work small where there are 100,000 topics.
        """
        least = math.ceil(_NEAR * len(grams) - 1e-9)
        shared = min(_SHARED, least)
        rare = sorted(grams, key=lambda gram: len(self._holders.get(gram, ())))
        looked_at = [
            np.frombuffer(self._holders[gram], np.uint32)
            for gram in rare[: len(grams) - least + shared]
            if gram in self._holders
        ]
        if not looked_at:
            return []
        numbers, often = np.unique(np.concatenate(looked_at), return_counts=True)
        return [int(n) for n in numbers[often >= shared]]


def _trigrams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def _near(one: set[str], other: set[str]) -> bool:
    common = len(one & other)
    return common / (len(one) + len(other) - common) >= _NEAR
