"""Topics: what the data set is about (paper section 3.1).

The LLM is asked for topics in waves. The default model takes no temperature, so variety is put into
the question: every request asks about one cell of the language's facets, and shows topics that are
there already as what to avoid.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field

from seedfree._seeds import balanced, seeded
from seedfree.engine.loop import side_by_side
from seedfree.engine.schema import parse
from seedfree.errors import TopicsExhaustedError
from seedfree.protocols import Session
from seedfree.records import Prompt, Topic
from seedfree.text import letters_and_digits, shown

__all__ = ["GivenTopics", "TopicStream"]

# As in the paper's code.
PER_REQUEST = 20
# Requests of a wave at most. They do not see each other's topics, so that a wider wave repeats
# itself more.
_WIDEST = 16
# Topics that a request shows as what to avoid.
_AVOID = 20
# After so many waves in a row with less than a new topic a request, the model has no more.
_DRY_WAVES = 3
# Two topics that share this much of their character trigrams (Jaccard) are one.
_NEAR = 0.6


class Topics(BaseModel):
    """What the LLM must answer."""

    topics: list[Annotated[str, Field(max_length=120)]] = Field(
        min_length=1, max_length=PER_REQUEST
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
    def cue(self) -> str:
        """Returns the short form that a base model continues."""
        first, second = self.words.values()
        # Who asks a general question says nothing about its topic.
        return f"{first} ({second})" if self.kind is _CULTURAL else first


class GivenTopics:
    """Gives the user's own topics as a stream. Repeated ones count once."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        unique: dict[str, Topic] = {}
        for topic in topics:
            unique.setdefault(letters_and_digits(topic.text), topic)
        unique.pop("", None)  # of a topic without a letter
        self._topics = [Topic(topic.text, topic.kind, i) for i, topic in enumerate(unique.values())]

    async def take(self, n: int) -> Sequence[Topic]:
        """Returns the first n topics, or all there are."""
        return self._topics[:n]


class TopicStream:
    """Gives an endless list of generated topics that depends on the seed and the replies alone.

    Wave w sends min(2^w, 16) requests side by side. Each sees only the topics of earlier waves.
    Small runs thus pay little, and large ones seldom wait.

    Args:
        cultural_share: Share of the requests that ask about the culture, 0 to 1.
        limit: The most topics. `None` for as many as the run needs.
        temperature: Sent if the model takes one (paper: 0.85 to 0.95).
    """

    def __init__(
        self,
        session: Session,
        *,
        cultural_share: float = 0.5,
        limit: int | None = None,
        temperature: float = 0.95,
    ) -> None:
        self._session, self._share = session, cultural_share
        self._limit, self._temperature = math.inf if limit is None else limit, temperature
        self._topics: list[Topic] = []
        # By the first facet of the request that gave them.
        self._near: defaultdict[str, list[str]] = defaultdict(list)
        self._seen = _Seen()
        self._asked = self._wave = self._dry = 0
        self._why = "it repeats itself"

    async def take(self, n: int) -> Sequence[Topic]:
        """Returns the first n topics, or as many as there are.

        Raises:
            TopicsExhaustedError: There is not a single one.
        """
        wanted = min(n, self._limit)
        while len(self._topics) < wanted and self._dry < _DRY_WAVES:
            await self._ask()
        if not self._topics and wanted:
            raise TopicsExhaustedError(
                f"{self._asked} requests gave no topic: {self._why}",
                hint="Try a stronger model, or pass topics=[...] of your own.",
            )
        return self._topics[: int(wanted)]

    async def _ask(self) -> None:
        """Asks the next wave."""
        width = min(2**self._wave, _WIDEST)
        positions = range(self._asked, self._asked + width)
        self._asked, self._wave = self._asked + width, self._wave + 1
        cells = [self._cell(position) for position in positions]
        replies = await side_by_side(map(self._request, positions, cells))
        before = len(self._topics)
        # In the order of the requests, not of the answers: the same replies give the same topics.
        for cell, texts in zip(cells, replies, strict=True):
            for text in texts:
                if len(self._topics) < self._limit and self._seen.add(text):
                    self._topics.append(Topic(text, cell.kind.name, len(self._topics)))
                    self._near[cell.first].append(text)
        self._dry += 1
        if len(self._topics) - before >= width:
            self._dry = 0

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

    async def _request(self, position: int, cell: _Cell) -> list[str]:
        language = self._session.language
        rng = seeded(self._session.seed, "topics", position)
        avoid = ", ".join(self._avoid(cell.first, position)) or "-"
        name = f"topics_{cell.kind.name}"
        prompt = Prompt(
            user=language.text(name, count=PER_REQUEST, avoid=avoid, **cell.words),
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

    def _avoid(self, facet: str, position: int) -> list[str]:
        """Returns topics to avoid: the last ones of the same facet, then any others."""
        near = self._near[facet][-_AVOID:]
        known = set(near)
        rest = [topic.text for topic in self._topics if topic.text not in known]
        count = min(_AVOID - len(near), len(rest))
        return near + seeded(self._session.seed, "avoid", position).sample(rest, count)


def _line(text: str) -> str:
    """Returns a topic on one line, with unseen characters as escapes."""
    # White space first: `shown` would make an escape of a carriage return.
    return shown(" ".join(text.split()))


class _Seen:
    """Remembers the topics so far by their trigrams."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._sizes: list[int] = []
        # For each trigram the numbers of the topics that have it: a new topic is compared with
        # those alone that share one with it.
        self._holders: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, text: str) -> bool:
        """Remembers a topic, if it is usable and new, and tells whether it is."""
        folded = letters_and_digits(text)
        # A single letter is no topic. Providers that do not enforce lengths send longer ones.
        if not 2 <= len(folded) <= 120 or folded in self._keys:
            return False
        grams = {folded[i : i + 3] for i in range(max(1, len(folded) - 2))}
        shared = Counter(n for gram in grams for n in self._holders.get(gram, ()))
        for n, common in shared.items():
            if common / (len(grams) + self._sizes[n] - common) >= _NEAR:
                return False
        self._keys.add(folded)
        for gram in grams:
            self._holders[gram].append(len(self._sizes))
        self._sizes.append(len(grams))
        return True
