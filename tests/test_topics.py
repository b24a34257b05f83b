from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from seedfree.errors import TopicsExhaustedError
from seedfree.languages import Language
from seedfree.records import Prompt, Reply, Topic
from seedfree.text import letters_and_digits
from seedfree.topics import GivenTopics, TopicStream
from tests.fakes import sentence


class FakeSession:
    def __init__(self, answer: Callable[[Prompt, int], list[str]], seed: int = 0) -> None:
        self.language, self.seed = Language.load("th"), seed
        self.prompts: list[Prompt] = []
        self._answer = answer

    async def generate(self, prompt: Prompt, *, sample: int = 0, **_: Any) -> Reply:
        self.prompts.append(prompt)
        await asyncio.sleep(0)
        return Reply(json.dumps({"topics": self._answer(prompt, sample)}, ensure_ascii=False))

    async def fetch(self, key: str, fn: Callable[[], Any]) -> Any:
        raise AssertionError


def _fresh(_: Prompt, sample: int) -> list[str]:
    return [sentence(sample, i, words=5) for i in range(20)]


def _take(session: FakeSession, n: int, **settings: Any) -> list[Topic]:
    return list(asyncio.run(TopicStream(session, **settings).take(n)))


def test_topics_are_of_both_kinds_and_numbered() -> None:
    topics = _take(FakeSession(_fresh), 100)
    assert len(topics) == 100 and [t.position for t in topics] == list(range(100))
    assert {t.kind for t in topics} == {"general", "cultural"}
    assert len({letters_and_digits(t.text) for t in topics}) == 100


@pytest.mark.parametrize(("share", "kinds"), [(0.0, {"general"}), (1.0, {"cultural"})])
def test_the_cultural_share_is_kept(share: float, kinds: set[str]) -> None:
    assert {t.kind for t in _take(FakeSession(_fresh), 60, cultural_share=share)} == kinds


def test_more_topics_begin_with_the_same_ones() -> None:
    assert _take(FakeSession(_fresh), 300)[:50] == _take(FakeSession(_fresh), 50)


def test_every_facet_is_met_before_one_is_met_again() -> None:
    session = FakeSession(_fresh)
    _take(session, 700, cultural_share=1.0)
    facets = session.language.facet("culture")
    first = [str(p.cue).rpartition(" (")[0] for p in session.prompts[: len(facets)]]
    assert sorted(first) == sorted(facets)


def test_prompts_show_what_is_there_as_what_to_avoid() -> None:
    session = FakeSession(_fresh)
    topics = _take(session, 60)
    assert any(topics[0].text in p.user for p in session.prompts[1:])
    sent_with = {(prompt.system, prompt.temperature) for prompt in session.prompts}
    assert sent_with == {(session.language.persona, 0.95)}


def test_exact_and_near_duplicates_are_left_out() -> None:
    same = [
        "การทอผ้าไหมมัดหมี่ของอีสาน",
        "การทอผ้าไหมมัดหมี่ของอีสาน ",
        "การทอผ้าไหมมัดหมี่ในอีสาน",
        "มวยไทยโบราณ",
        "",
        "ก",
    ]
    topics = _take(FakeSession(lambda *_: same), 10)
    assert [t.text for t in topics] == ["การทอผ้าไหมมัดหมี่ของอีสาน", "มวยไทยโบราณ"]


def test_a_model_that_repeats_itself_ends_the_stream_soon() -> None:
    session = FakeSession(lambda *_: ["มวยไทย"])
    assert len(_take(session, 1000)) == 1
    assert len(session.prompts) <= 31


def test_no_topic_at_all_is_a_clear_error() -> None:
    session = FakeSession(lambda *_: ["?"])
    with pytest.raises(TopicsExhaustedError, match=r"requests gave no topic.*topics=\["):
        _take(session, 10)
    assert len(session.prompts) == 7


def test_the_limit_holds() -> None:
    assert len(_take(FakeSession(_fresh), 500, limit=45)) == 45


def test_given_topics_count_once() -> None:
    stream = GivenTopics([Topic("ข้าว"), Topic("ปลา"), Topic(" ข้าว"), Topic("...")])
    assert [(t.text, t.position, t.kind) for t in asyncio.run(stream.take(9))] == [
        ("ข้าว", 0, "given"),
        ("ปลา", 1, "given"),
    ]
