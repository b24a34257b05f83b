"""Topics: what the data set is about, asked of the LLM in waves (paper section 3.1).

The default model takes no temperature, so variety is put into the question: every request asks
about one cell of the language's facets, and shows topics that are there already as what to avoid.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from seedfree._seeds import balanced, seeded
from seedfree.engine.loop import side_by_side
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
    """The user's own topics as a stream; repeated ones count once."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        unique: dict[str, Topic] = {}
        for topic in topics:
            unique.setdefault(key(topic.text), topic)
        unique.pop("", None)
        self._topics = [Topic(t.text, t.kind, i) for i, t in enumerate(unique.values())]

    async def take(self, n: int) -> Sequence[Topic]:
        """The first n topics, or all there are."""
        return self._topics[:n]


class TopicStream:
    """An endless list of generated topics that depends on the seed and the replies alone.

    Wave w asks min(2^w, 16) requests side by side, each seeing only the waves before it, so that
    small runs pay little and large ones wait rarely.

    Args:
        cultural_share: Share of the requests that ask about the culture, 0 to 1.
        limit: Topics at most; `None` for as many as the run needs.
        temperature: Sent where the model takes one (paper: 0.85 to 0.95).
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
        self._cells: defaultdict[str, list[str]] = defaultdict(list)
        self._seen = _Seen()
        self._asked = self._wave = self._dry = 0
        self._why = "it repeats itself"

    async def take(self, n: int) -> Sequence[Topic]:
        """The first n topics, or as many as there are.

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
        return self._topics[: int(min(n, self._limit))]

    async def _ask(self) -> None:
        width = min(2**self._wave, _WIDEST)
        cells = [self._cell(self._asked + i) for i in range(width)]
        self._asked, self._wave = self._asked + width, self._wave + 1
        replies = await side_by_side(
            self._request(i, *cell) for i, cell in enumerate(cells, self._asked - width)
        )
        before = len(self._topics)
        for (kind, facets), texts in zip(cells, replies, strict=True):
            for text in texts:
                if len(self._topics) < self._limit and self._seen.add(text):
                    self._topics.append(
                        Topic(text, "cultural" if kind else "general", len(self._topics))
                    )
                    self._cells[facets[0]].append(text)
        self._dry = 0 if len(self._topics) - before >= width else self._dry + 1

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

    async def _request(self, position: int, cultural: bool, facets: tuple[str, str]) -> list[str]:
        language, (first, second) = self._session.language, facets
        rng = seeded(self._session.seed, "topics", position)
        avoid = self._avoid(first, position)
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

    def _avoid(self, facet: str, position: int) -> list[str]:
        near = self._cells[facet][-_AVOID:]
        known = set(near)
        rest = [t.text for t in self._topics if t.text not in known]
        count = min(_AVOID - len(near), len(rest))
        return near + seeded(self._session.seed, "avoid", position).sample(rest, count)


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
