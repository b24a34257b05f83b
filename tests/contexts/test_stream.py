"""Sources side by side give one stream of contexts, in the order of the topics, by their shares."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seedfree.contexts.stream import ContextStream
from seedfree.engine.ledger import Ledger
from seedfree.engine.pool import Pool
from seedfree.engine.session import RunSession
from seedfree.languages import Language
from seedfree.records import Context, Source, Topic
from seedfree.topics import GivenTopics
from tests.fakes import FakeClock, thai_llm

TOPICS = [Topic(f"topic {i}") for i in range(100)]
BODY = "ชาวบ้านทอผ้าไหมมัดหมี่ด้วยกี่พื้นเมืองและย้อมสีจากเปลือกไม้ทุกปี"


def _text(name: str) -> str:
    return f"{name} {BODY}"


class Shelf:
    """A source with `n` texts on each topic that it knows; a late one answers out of order."""

    def __init__(
        self,
        name: str,
        share: float = 1.0,
        n: int = 1,
        knows: Any = lambda _: True,
        late: bool = False,
    ) -> None:
        self.name, self.share, self._n, self._knows, self._late = name, share, n, knows, late
        self._asked: list[str] = []

    async def contexts(self, topic: Topic) -> list[Context]:
        self._asked.append(topic.text)
        if self._late and topic.position % 2:
            await asyncio.sleep(0)
        if not self._knows(topic):
            return []
        return [Context(text=_text(f"{self.name} {topic.text} {i}")) for i in range(self._n)]


def _take(
    tmp_path: Path,
    sources: Sequence[Any],
    n: int,
    topics: Sequence[Topic] = TOPICS,
    seed: int = 0,
    width: int = 4,
) -> list[Context]:
    """Takes the first half of n contexts from a new stream, and then all n."""

    async def work() -> list[Context]:
        with Ledger(tmp_path, clock=FakeClock()) as ledger:
            session = RunSession(ledger, thai_llm(), Language.load("th"), seed, concurrency=4)
            pool, named = Pool(width), [(source, source.name) for source in sources]
            stream = ContextStream(named, GivenTopics(topics), session, pool, lambda: None)
            stream.want(n // 2)
            await pool.drain()
            first = stream.contexts[: n // 2]
            stream.want(n)
            await pool.drain()
            assert stream.contexts[: n // 2] == first
            assert stream.ended or len(stream.contexts) >= n
            await session.close([])
            return stream.contexts[:n]

    return asyncio.run(work())


def test_contexts_come_in_the_order_of_their_topics_with_their_place(tmp_path: Path) -> None:
    contexts = _take(tmp_path, [Shelf("a", n=2, late=True)], 30)
    assert [c.text for c in contexts] == [_text(f"a topic {i // 2} {i % 2}") for i in range(30)]
    assert [c.position for c in contexts] == list(range(30))
    assert {c.language for c in contexts} == {"th"}
    assert {c.source.retrieved_at for c in contexts} == {"2026-01-01T00:00:00Z"}


def test_sources_without_new_texts_are_given_up_soon(tmp_path: Path) -> None:
    class Same(Shelf):
        async def contexts(self, topic: Topic) -> list[Context]:
            self._asked.append(topic.text)
            return [Context(text=_text("the same"))]

    many, asked = [Topic(f"topic {i}") for i in range(5000)], []
    for width in (1, 64):
        shelf = Same("a")
        assert len(_take(tmp_path / str(width), [shelf], 1000, topics=many, width=width)) == 1
        asked.append(sorted(shelf._asked))
    assert asked[0] == asked[1] and len(asked[0]) <= 240


@pytest.mark.parametrize("n", [1, 2, 5])
def test_which_topics_are_looked_up_hangs_on_no_width(tmp_path: Path, n: int) -> None:
    many, asked = [Topic(f"topic {i}") for i in range(500)], []
    for width in (1, 7, 500):
        shelf = Shelf("a", n=n, late=True)
        _take(tmp_path / str(width), [shelf], 200, topics=many, width=width)
        asked.append(sorted(shelf._asked))
    assert asked[0] == asked[1] == asked[2]
    assert len(asked[0]) <= max(200 // n + 16, 112)


def test_shares_hold_early_on(tmp_path: Path) -> None:
    contexts = _take(tmp_path, [Shelf("a", share=3), Shelf("b", share=1)], 40)
    counts = Counter(c.text.split()[0] for c in contexts)
    assert 28 <= counts["a"] <= 32


def test_a_topic_goes_on_to_the_next_source(tmp_path: Path) -> None:
    odd = Shelf("a", knows=lambda topic: topic.position % 2)
    contexts = _take(tmp_path, [odd, Shelf("b")], 40)
    even = [c for c in contexts if c.topic and c.topic.position % 2 == 0]
    assert len(contexts) == 40 and even and all(c.text.startswith("b") for c in even)


def test_the_ledger_answers_the_second_time(tmp_path: Path) -> None:
    first, second = Shelf("a"), Shelf("a")
    assert _take(tmp_path, [first], 20) == _take(tmp_path, [second], 20)
    assert first._asked and not second._asked


def test_topics_that_run_out_give_what_there_is(tmp_path: Path) -> None:
    assert len(_take(tmp_path, [Shelf("a", knows=lambda topic: topic.position < 5)], 50)) == 5
    assert _take(tmp_path / "none", [Shelf("a", n=0)], 50) == []


def test_a_text_is_used_once(tmp_path: Path) -> None:
    class Same(Shelf):
        async def contexts(self, topic: Topic) -> list[Context]:
            return [Context(text=_text("the same"))]

    assert len(_take(tmp_path, [Same("a")], 10)) == 1


def test_a_source_is_asked_first_about_the_topics_it_brought(tmp_path: Path) -> None:
    class Owner(Shelf):
        def topics(self) -> list[Topic]:
            return TOPICS[:10]

    contexts = _take(tmp_path, [Shelf("a"), Owner("b", share=0.01)], 10, topics=TOPICS[:10])
    assert {c.text.split()[0] for c in contexts} == {"b"}


@pytest.mark.parametrize(
    ("given", "kind"), [(Source(), "Quiet"), (Source("archive", retrieved_at="2020"), "archive")]
)
def test_where_a_text_comes_from_is_kept_or_filled_in(
    tmp_path: Path, given: Source, kind: str
) -> None:
    class Quiet(Shelf):
        async def contexts(self, topic: Topic) -> list[Context]:
            return [Context(text=_text(topic.text), source=given)]

    (context,) = _take(tmp_path, [Quiet("q")], 1)
    assert context.source.kind == kind
    assert context.source.retrieved_at == (given.retrieved_at or "2026-01-01T00:00:00Z")
