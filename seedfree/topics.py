"""Topics: what the data set is about, asked of the LLM in waves (paper section 3.1).

The default model takes no temperature, so variety is put into the question: every request asks
about one cell of the language's facets, and shows topics that are there already as what to avoid.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from seedfree._seeds import balanced, seeded
from seedfree.engine.schema import parse
from seedfree.errors import TopicsExhaustedError
from seedfree.protocols import Session
from seedfree.records import Prompt, Topic
from seedfree.text import shown

__all__ = ["GivenTopics", "TopicStream", "key"]

PER_REQUEST = 20
_WIDEST = 16
_AVOID = 20
_DRY_WAVES = 3
# Two topics that share this much of their character trigrams (Jaccard) are one.
_NEAR = 0.6


Kind = Literal["general", "cultural"]


class Topics(BaseModel):
    """What the LLM must answer."""

    topics: list[Annotated[str, Field(max_length=120)]] = Field(
        min_length=1, max_length=PER_REQUEST
    )


def key(text: str) -> str:
    """A topic's letters and digits alone, for comparison."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join([c for c in folded if unicodedata.category(c)[0] in "LMN"])


class GivenTopics:
    """Holds the user's own topics as a stream; repeated ones count once."""

    ended = True

    def __init__(self, topics: Sequence[Topic]) -> None:
        unique: dict[str, Topic] = {}
        for topic in topics:
            unique.setdefault(key(topic.text), topic)
        unique.pop("", None)
        self.topics = [Topic(t.text, t.kind, i) for i, t in enumerate(unique.values())]

    def want(self, n: int) -> None:
        """Does nothing: all topics are there."""


class TopicStream:
    """Generates topics, as many as are wanted, by the seed and the replies alone.

    Wave w asks min(2^w, 16) requests side by side, so that small runs pay little. Each sees the
    topics of the waves up to w - 2, so that no wave waits for the slowest reply of the one before.

    Args:
        submit: Takes work; see `run.pool.Pool.submit`.
        changed: Called when there are more topics, or their end is known.
        cultural_share: Share of the requests that ask about the culture, 0 to 1.
        limit: Topics at most; `None` for as many as the run needs.
        temperature: Sent where the model takes one (paper: 0.85 to 0.95).

    Attributes:
        topics: Those that are there, in order; it only grows.
    """

    def __init__(
        self,
        session: Session,
        submit: Callable[..., None],
        changed: Callable[[], None] = lambda: None,
        *,
        cultural_share: float = 0.5,
        limit: int | None = None,
        temperature: float = 0.95,
    ) -> None:
        self._session, self._submit, self._changed = session, submit, changed
        self._share, self._temperature = cultural_share, temperature
        self._limit = math.inf if limit is None else limit
        self.topics: list[Topic] = []
        # By facet, the numbers of its topics.
        self._cells: defaultdict[str, list[int]] = defaultdict(list)
        self._seen = _Seen()
        self._wanted: float = 0
        # For each wave that was begun, its first request and the replies that are there.
        self._waves: list[_Wave] = []
        # After each number of settled waves: topics, and waves in a row that gave too few.
        self._counts, self._dry = [0], [0]
        self._why = "it repeats itself"

    @property
    def ended(self) -> bool:
        """Returns whether no more topics will come."""
        over = self._dry[-1] >= _DRY_WAVES or len(self.topics) >= self._limit
        return over and len(self._waves) == len(self._counts) - 1

    def want(self, n: int) -> None:
        """Has topics made until there are n, or as many as there can be."""
        self._wanted = max(self._wanted, min(n, self._limit))
        while self._needs_wave():
            self._begin()

    def _needs_wave(self) -> bool:
        settled = len(self._counts) - 1
        count, dry = self._counts[settled], self._dry[settled]
        under_way = len(self._waves) - settled
        if under_way > 1:
            return False
        if under_way:
            # The wave under way may give all that is wanted, or be one too many without enough:
            # only where neither can be is the next one needed whatever it gives.
            count += self._waves[-1].width * PER_REQUEST
            dry += 1
        return count < self._wanted and dry < _DRY_WAVES

    def _begin(self) -> None:
        number = len(self._waves)
        first = self._waves[-1].first + self._waves[-1].width if self._waves else 0
        wave = _Wave(first, min(2**number, _WIDEST), self._counts[max(number - 1, 0)])
        self._waves.append(wave)
        for place in range(wave.width):
            self._submit((0, number, place), "topics", partial(self._ask, wave, place))

    async def _ask(self, wave: _Wave, place: int) -> None:
        position = wave.first + place
        cultural, facets = self._cell(position)
        texts = await self._request(position, cultural, facets, wave.known)
        wave.replies[place] = (cultural, facets[0], texts)
        before = len(self._counts)
        while len(self._counts) <= len(self._waves) and self._waves[len(self._counts) - 1].whole:
            self._settle(self._waves[len(self._counts) - 1])
        if len(self._counts) > before:
            self.want(0)
            if self.ended and not self.topics:
                raise TopicsExhaustedError(
                    f"{wave.first + wave.width} requests gave no topic: {self._why}",
                    hint="Try a stronger model, or pass topics=[...] of your own.",
                )
            self._changed()

    def _settle(self, wave: _Wave) -> None:
        """Takes in the replies of the next wave, in order."""
        before = len(self.topics)
        for _, (cultural, facet, texts) in sorted(wave.replies.items()):
            for text in texts:
                if len(self.topics) < self._limit and self._seen.add(text):
                    self._cells[facet].append(len(self.topics))
                    kind: Kind = "cultural" if cultural else "general"
                    self.topics.append(Topic(text, kind, len(self.topics)))
        enough = len(self.topics) - before >= wave.width
        self._counts.append(len(self.topics))
        self._dry.append(0 if enough else self._dry[-1] + 1)

    def _cell(self, position: int) -> tuple[bool, tuple[str, str]]:
        """Whether request number `position` asks about the culture, and the two facets that it asks about."""
        language, seed = self._session.language, self._session.seed
        before = math.floor(position * self._share)
        cultural = math.floor((position + 1) * self._share) > before
        names, place = (
            (("culture", "regions"), before)
            if cultural
            else (("domains", "askers"), position - before)
        )
        # Each facet runs through its own list at its own pace, so that over time all pairs are met.
        first, second = (balanced(language.facet(name), place, seed, name) for name in names)
        return cultural, (first, second)

    async def _request(
        self, position: int, cultural: bool, facets: tuple[str, str], known: int
    ) -> list[str]:
        """Returns the topics of one reply; none where it cannot be used.

        Args:
            known: How many topics it sees.
        """
        language, (first, second) = self._session.language, facets
        rng = seeded(self._session.seed, "topics", position)
        avoid = self._avoid(first, position, known)
        values = (
            {"culture": first, "region": second} if cultural else {"domain": first, "asker": second}
        )
        name = "topics_cultural" if cultural else "topics_general"
        prompt = Prompt(
            user=language.text(name, count=PER_REQUEST, avoid=", ".join(avoid) or "-", **values),
            system=language.persona,
            schema=Topics,
            temperature=self._temperature,
            examples=language.draw_examples("topics", rng),
            cue=f"{first} ({second})" if cultural else first,
        )
        reply = await self._session.generate(
            prompt, sample=position, check=lambda text: parse(text, Topics)
        )
        if reply.error is not None:
            self._why = reply.error
            return []
        return [
            " ".join(shown(" ".join(text.split())).split())
            for text in parse(reply.text, Topics).topics
        ]

    def _avoid(self, facet: str, position: int, known: int) -> list[str]:
        """Returns topics to avoid: the last of the facet, and some of the others."""
        near = [self.topics[i].text for i in self._cells[facet] if i < known][-_AVOID:]
        shown = set(near)
        rest = [t.text for t in self.topics[:known] if t.text not in shown]
        count = min(_AVOID - len(near), len(rest))
        return near + seeded(self._session.seed, "avoid", position).sample(rest, count)


@dataclass
class _Wave:
    """Requests that are asked side by side.

    Attributes:
        first: The number of its first request, over all waves.
        known: How many topics its requests see.
        replies: By place, whether it was asked about the culture, about which facet, and what came.
    """

    first: int
    width: int
    known: int
    replies: dict[int, tuple[bool, str, list[str]]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return len(self.replies) == self.width


class _Seen:
    """The topics so far, by their trigrams."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._sizes: list[int] = []
        self._holders: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, text: str) -> bool:
        """Whether a topic is usable and new; it is remembered if so."""
        folded = key(text)
        if not 2 <= len(folded) <= 120 or folded in self._keys:
            return False
        grams = {folded[i : i + 3] for i in range(max(1, len(folded) - 2))}
        shared = Counter(n for gram in grams for n in self._holders.get(gram, ()))
        if any(c / (len(grams) + self._sizes[n] - c) >= _NEAR for n, c in shared.items()):
            return False
        self._keys.add(folded)
        for gram in grams:
            self._holders[gram].append(len(self._sizes))
        self._sizes.append(len(grams))
        return True
