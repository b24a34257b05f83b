"""A test of people's own passages, and sources that leave them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from tests.fakes import FakeClock, small_pipeline

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


def test_with_another_benchmark_a_run_does_not_go_on(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        pipeline = small_pipeline(
            sf.FunctionGenerator(reverse, name="asker"),
            contexts=[sf.Without(Encyclopedia(), made(tmp_path / name, n=4 + number))],
            tasks=[sf.ReverseInstruction()],
            topics=TOPICS,
        )
        if number == 0:
            pipeline.run(size=3, out=tmp_path / "rows", clock=FakeClock())
        else:
            with pytest.raises(sf.ConfigMismatchError, match="contexts"):
                pipeline.run(size=3, out=tmp_path / "rows", clock=FakeClock())


def test_documents_are_left_out_in_a_run(tmp_path: Path) -> None:
    test, texts = made(tmp_path / "test"), tmp_path / "texts"
    texts.mkdir()
    for number, topic in enumerate(TOPICS):
        (context,) = Encyclopedia().contexts(sf.Topic(topic))
        (texts / f"{number}.txt").write_text(context.text, "utf-8")
    run = small_pipeline(
        sf.FunctionGenerator(reverse, name="asker"),
        contexts=[sf.Without(sf.DocumentSource(texts), test)],
        tasks=[sf.ReverseInstruction()],
    ).run(size=12, out=tmp_path / "rows", clock=FakeClock())
    answers = {question.answer for question in test.questions()}
    assert len(run.dataset) == len(TOPICS) - len(answers)
    assert not answers & {row.output for row in run.dataset}


def test_a_test_without_passages_is_an_error(tmp_path: Path) -> None:
    def refuse(prompt: sf.Prompt) -> str:
        return json.dumps({"stands_alone": False, "instruction": ""})

    llm = sf.FunctionGenerator(refuse, name="asker")
    with pytest.raises(sf.ConfigError, match="no passages"):
        sf.native_test("th", Encyclopedia(), llm, tmp_path, topics=TOPICS, clock=FakeClock())
    no_benchmark: Any = "test"
    with pytest.raises(sf.ConfigError, match="a benchmark, or a data set"):
        sf.Without(Encyclopedia(), no_benchmark)


def test_a_folder_without_a_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sf.ConfigError):
        sf.NativeTest(tmp_path)
