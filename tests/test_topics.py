from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.engine.pool import Pool
from seedfree.errors import ConfigError, TopicsExhaustedError
from seedfree.languages import Language
from seedfree.records import Prompt, Reply, Topic
from seedfree.text import is_code, letters_and_digits
from seedfree.topics import DrawnTopics, GivenTopics, TopicStream
from tests.fakes import FakeClock, Library, sentence, small_pipeline, thai


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


def _take(session: FakeSession, n: int, width: int = 8, **settings: Any) -> list[Topic]:
    async def work() -> list[Topic]:
        pool = Pool(width)
        stream = TopicStream(session, pool, **settings)
        stream.want(n)
        await pool.drain()
        return stream.topics[:n]

    return asyncio.run(work())


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


def test_which_topics_come_hangs_neither_on_the_width_nor_on_when_more_are_wanted() -> None:
    async def in_steps(session: FakeSession) -> list[Topic]:
        pool = Pool(3)
        stream = TopicStream(session, pool)
        for n in (1, 30, 31, 300):
            stream.want(n)
            await pool.drain()
        return stream.topics

    sessions = [FakeSession(_fresh) for _ in range(3)]
    streams = [_take(sessions[0], 999, width=1), _take(sessions[1], 999, width=100)]
    wanted = [FakeSession(_fresh), FakeSession(_fresh)]
    steps = asyncio.run(in_steps(wanted[0]))
    assert streams[0] == streams[1] and steps[:300] == streams[0][:300]
    _take(wanted[1], 300)
    asked = [sorted(prompt.user for prompt in session.prompts) for session in wanted]
    assert asked[0] == asked[1], "the same requests, whether wanted at once or bit by bit"


def test_a_wave_sees_the_topics_up_to_the_one_before_the_last() -> None:
    session = FakeSession(_fresh)
    # Of one field, so that every topic there is worth avoiding.
    one_field = {**session.language.facets, "culture": ("ผ้าทอ",)}
    session.language = replace(session.language, facets=one_field)
    topics = _take(session, 200, cultural_share=1.0)
    waves = [session.prompts[start:stop] for start, stop in ((0, 4), (4, 8), (8, 12))]
    texts = [[topic.text for topic in topics[i : i + 80]] for i in (0, 80)]
    seen = [
        [sum(text in prompt.user for text in part) for part in texts for prompt in wave]
        for wave in waves
    ]
    assert not any(seen[0]) and not any(seen[1])
    assert all(seen[2][:4]) and not any(seen[2][4:])


def test_the_first_topics_are_about_several_cells() -> None:
    topics = _take(FakeSession(lambda *at: _fresh(*at)[:5]), 80)
    assert len({topic.cell for topic in topics[:4]}) == 4
    assert len({topic.cell for topic in topics}) >= 16
    assert all(" · " in topic.cell for topic in topics)


def test_every_facet_is_met_before_one_is_met_again() -> None:
    session = FakeSession(_fresh)
    _take(session, 700, cultural_share=1.0)
    facets = session.language.facet("culture")
    first = [str(p.cue).rpartition(" (")[0] for p in session.prompts[: len(facets)]]
    assert sorted(first) == sorted(facets)


def test_prompts_show_what_is_there_as_what_to_avoid() -> None:
    session = FakeSession(_fresh)
    topics = _take(session, 1400)
    shown = [(p, t) for p in session.prompts for t in topics[:40] if t.text in p.user]
    # Of the same field alone: what is known of another prevents nothing.
    assert shown and all(topic.cell.partition(" · ")[0] in prompt.user for prompt, topic in shown)
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


def test_of_topics_that_share_three_fifths_of_their_trigrams_the_first_is_taken() -> None:
    rng, made, taken = seeded("topics"), list[str](), list[str]()
    for _ in range(400):
        text = list(rng.choice(made) if made and rng.random() < 0.7 else rng.choices("ກຂຄງ", k=25))
        for _ in range(rng.randint(0, 4)):
            text[rng.randrange(len(text))] = rng.choice("ກຂຄງຈ")
        made.append("".join(text)[: rng.randint(2, 30)])

    def trigrams(text: str) -> set[str]:
        return {text[i : i + 3] for i in range(max(1, len(text) - 2))}

    for new in made:
        shared = [(trigrams(new) & trigrams(old), trigrams(new) | trigrams(old)) for old in taken]
        if all(len(both) < 0.6 * len(either) for both, either in shared):
            taken.append(new)
    # Each request gives one of them, and one that is like no other, so that the stream goes on.
    session = FakeSession(lambda _, n: [*made[n : n + 1], sentence(n, words=8)])
    found = [topic.text for topic in _take(session, 700) if topic.text[0] in "ກຂຄງຈ"]
    assert found == taken and 50 < len(taken) < 350


def test_a_model_that_repeats_itself_ends_the_stream_soon() -> None:
    session = FakeSession(lambda *_: ["มวยไทย"])
    assert len(_take(session, 1000)) == 1
    assert len(session.prompts) <= 31


def test_no_topic_at_all_is_a_clear_error() -> None:
    session = FakeSession(lambda *_: ["?"])
    with pytest.raises(TopicsExhaustedError, match=r"requests gave no topic.*topics=\["):
        _take(session, 10)
    assert len(session.prompts) == 12


def test_the_limit_holds() -> None:
    assert len(_take(FakeSession(_fresh), 500, limit=45)) == 45


@pytest.mark.parametrize(
    "typed", [("ท่ีวัด", "ที่วัด"), ("ខែ្មរ", "ខ្មែរ"), ("ခုိ", "ခို"), ("ISPARTA", "Isparta", "ısparta")]
)
def test_a_topic_typed_in_several_ways_counts_once(typed: tuple[str, ...]) -> None:
    assert len(GivenTopics([Topic(text) for text in typed]).topics) == 1


def test_given_topics_count_once() -> None:
    stream = GivenTopics([Topic("ข้าว"), Topic("ปลา"), Topic(" ข้าว"), Topic("...")])
    assert [(t.text, t.position, t.kind) for t in stream.topics] == [
        ("ข้าว", 0, "given"),
        ("ปลา", 1, "given"),
    ]


CODES = [
    "00",
    "IMG_2031",
    "DSC01234",
    "scan-004",
    "00.txt",
    "1932",
    "๒๔๗๕",
    "",
    "—",
    "Q1234",
    "007",
]
NAMES = ["ข้าว", "พ.ศ. 2475", "COVID-19", "ISO 9001", "5G", "H1N1", "Windows 11", "Expo 2020"]


@pytest.mark.parametrize("text", CODES)
def test_a_code_or_a_number_is_no_topic(text: str) -> None:
    assert is_code(text)


@pytest.mark.parametrize("text", NAMES)
def test_a_name_with_a_number_is_one(text: str) -> None:
    assert not is_code(text)


def test_generated_codes_are_left_out() -> None:
    topics = _take(FakeSession(lambda *_: [*CODES, *NAMES]), 40)
    assert [topic.text for topic in topics] == NAMES


def test_codes_that_a_source_brings_are_left_out(tmp_path: Path) -> None:
    class Shelf(Library):
        def topics(self) -> list[Topic]:
            return [Topic(text) for text in [*CODES, "ข้าว"]]

    run = small_pipeline(contexts=[Shelf()]).run(4, tmp_path, progress=False)
    assert {row.topic for row in run.dataset} == {"ข้าว"}


def test_ones_own_codes_are_named_and_a_year_may_be_meant() -> None:
    with pytest.raises(ConfigError, match=r"'IMG_2031', '00', ''"):
        small_pipeline(topics=["ข้าว", "IMG_2031", "00", ""])
    assert small_pipeline(topics=["1932", "๒๔๗๕", "ข้าว"]).topics


class Drawing:
    """A session whose calls are made in a thread."""

    async def call(self, fn: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.to_thread(fn, *given)


def test_titles_are_drawn_as_they_are_wanted() -> None:
    taken: list[str] = []

    def titles() -> Iterator[str]:
        for title in ("ข้าว", "ข้าว!", "แม่น้ำ", "ภูเขา"):
            taken.append(title)
            yield title

    async def draw(*wanted: int, limit: int | None = None) -> DrawnTopics:
        pool = Pool(1)
        topics = DrawnTopics(titles(), cast(Any, Drawing()), pool, limit=limit)
        for n in wanted:
            topics.want(n)
            await pool.drain()
            assert len(topics.topics) <= n
        return topics

    first = asyncio.run(draw(1))
    # A title more, which tells that there are more; and as that was the same one, another.
    assert [topic.text for topic in first.topics] == ["ข้าว"] and taken == ["ข้าว", "ข้าว!", "แม่น้ำ"]
    assert not first.ended
    for wanted in ((9,), (1, 2, 3), (1, 9)):
        topics = asyncio.run(draw(*wanted))
        assert topics.topics == [Topic("ข้าว", ""), Topic("แม่น้ำ", "", 1), Topic("ภูเขา", "", 2)]
        assert topics.ended
    few = asyncio.run(draw(9, limit=1))
    assert [topic.text for topic in few.topics] == ["ข้าว"] and few.ended


class Shelf(Library):
    """Has so many pages, and knows of each whether its title was drawn on an event loop."""

    def __init__(self, pages: int = 10_000, delay: Callable[[int], None] = lambda n: None) -> None:
        self._pages, self._delay = pages, delay
        self._on_loop: list[bool] = []

    def titles(self, seed: int) -> Iterator[str]:
        for n in range(self._pages):
            self._on_loop.append(asyncio._get_running_loop() is not None)
            self._delay(n)
            yield f"{sentence(seed, n)} {n}"


def test_titles_are_drawn_beside_the_loop_and_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seedfree.topics._SLICE", 20)
    used = threading.Event()

    def wait(n: int) -> None:
        # Jobs of the first titles are done while further ones are drawn.
        assert n < 60 or used.wait(20)

    def answer(prompt: Prompt) -> Any:
        used.set()
        return thai(prompt)

    llm = sf.FunctionGenerator(answer, name="thai")
    shelf = Shelf(delay=wait)
    pipeline = small_pipeline(llm, contexts=[shelf], topics="pages")
    run = pipeline.run(300, tmp_path, progress=False)
    assert run.status == "complete" and len(shelf._on_loop) > 60
    assert not any(shelf._on_loop)


@pytest.mark.parametrize("pages", [16, 47, 48, 49])
def test_titles_that_end_give_the_same_rows_in_any_slices(
    pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = set()
    for slice_, concurrency in ((1, 1), (1, 64), (5, 64), (256, 64)):
        monkeypatch.setattr("seedfree.topics._SLICE", slice_)
        pipeline = small_pipeline(contexts=[Shelf(pages)], topics="pages")
        out = tmp_path / f"{slice_} {concurrency}"
        run = pipeline.run(200, out, concurrency=concurrency, progress=False, clock=FakeClock())
        assert run.status == "short" and run.stats.topics == pages
        rows.add((out / "dataset.jsonl").read_bytes())
    assert len(rows) == 1
