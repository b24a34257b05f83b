"""A test of people's own passages, and sources that leave them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from tests.fakes import FakeClock

TOPICS = [f"บึงที่ {i}" for i in range(12)]


class Encyclopedia:
    """Has one page for each topic, whose paragraphs differ in all but a few letters."""

    share = 2.0

    def contexts(self, topic: sf.Topic) -> list[sf.Context]:
        number = int(topic.text.split()[-1])
        words = " ".join(f"ฝั่งที่ {n * 7 + number * 1000} มีต้นกกและนกเป็ดน้ำ" for n in range(20))
        url = f"https://w.example/{number}"
        return [sf.Context(f"{topic.text}\n{words}", source=sf.Source("wikipedia", url=url))]


def reverse(prompt: sf.Prompt) -> str:
    number = prompt.user.partition("บึงที่ ")[2].split()[0]
    reply = {"stands_alone": True, "instruction": f"ช่วยเล่าถึงบึงหมายเลข {number} และสัตว์ที่พบหน่อย"}
    return json.dumps(reply, ensure_ascii=False)


def made(folder: Path, **settings: Any) -> sf.NativeTest:
    llm = sf.FunctionGenerator(reverse, name="asker")
    settings = {"n": 5, "topics": TOPICS, "clock": FakeClock(), **settings}
    return sf.native_test("th", Encyclopedia(), llm, folder, **settings)


def urls(source: Any) -> set[str]:
    import asyncio

    async def all_of() -> set[str]:
        given = [await source.contexts(sf.Topic(text)) for text in TOPICS]
        return {context.source.url for contexts in given for context in contexts}

    return asyncio.run(all_of())


def test_questions_are_requests_and_their_answers_people_s_words(tmp_path: Path) -> None:
    test = made(tmp_path / "test")
    questions = test.questions()
    assert test.name == "native-th" and test.language == "th" and len(questions) == 5
    assert isinstance(test, sf.Benchmark)
    for question in questions:
        topic = f"บึงที่ {question.source.rpartition('/')[2]}"
        (context,) = Encyclopedia().contexts(sf.Topic(topic))
        assert question.answer in context.text and test.prompt(question).user == question.question
    again = sf.NativeTest(tmp_path / "test")
    assert again.questions() == questions


def test_no_row_is_made_from_a_passage_of_the_test(tmp_path: Path) -> None:
    test = made(tmp_path / "test")
    asked = {question.source for question in test.questions()}
    source = sf.Without(Encyclopedia(), test)
    assert source.share == 2.0 and not hasattr(source, "topics")
    left = urls(source)
    assert len(left) == len(TOPICS) - len(asked) and not left & asked


def test_a_test_is_made_from_what_rows_left(tmp_path: Path) -> None:
    made(tmp_path / "rows")
    first = sf.Run(tmp_path / "rows")
    second = made(tmp_path / "test", apart_from=first.dataset)
    taken = {row.source.url for row in first.dataset}
    assert second.questions() and not {each.source for each in second.questions()} & taken


def test_another_benchmark_is_another_run(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two", n=4)
    both = [sf.Without(Encyclopedia(), each) for each in (one, two)]
    assert both[0].apart_from != both[1].apart_from


def test_a_folder_without_a_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sf.ConfigError):
        sf.NativeTest(tmp_path)
