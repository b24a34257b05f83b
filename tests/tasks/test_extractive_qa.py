"""Questions that leave a part of a sentence out, and answers that must be that part."""

from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from seedfree.languages import Gap, Language
from seedfree.records import Context
from seedfree.tasks.extractive_qa import ExtractiveQA
from tests.fakes import FakeClock

THAI = Language.load("th")
TEXT = "น้ำบูดูทำจากปลากะตักหมักกับเกลือ ในโอ่งใบหนึ่งหมักได้นาน 12 เดือน คนใต้ไม่กินบูดูสดกับข้าวยำ เพราะรสเค็มจัดเกินไป"
ANSWERS = {
    "น้ำบูดูทำจากอะไร": "ปลากะตักหมักกับเกลือ",
    "ในโอ่งใบหนึ่งหมักได้นานกี่เดือน": "12 เดือน",
    "คนใต้ไม่กินบูดูสดกับข้าวยำ เพราะเหตุใด": "รสเค็มจัดเกินไป",
}


def fields_of(position: int, text: str = TEXT) -> tuple[dict[str, Any], str, Context]:
    """Returns what the model may choose from at a place of the run, the sentence and its text."""
    context = Context(text, title="น้ำบูดู", language="th", position=position)
    prompt = ExtractiveQA().prompt(context, THAI)
    assert prompt.json_schema is not None and prompt.cue is not None
    return prompt.json_schema["properties"], prompt.cue, context


def chosen(context: Context, question: str, answer: str) -> list[sf.Instruction]:
    task = ExtractiveQA()
    return list(task.instructions(task.Fields(instruction=question, output=answer), context))


def test_each_sentence_has_its_questions_and_the_words_they_leave_out() -> None:
    seen: dict[str, str] = {}
    for position in range(3):
        offered, sentence, context = fields_of(position)
        assert sentence in TEXT
        for question, answer in ANSWERS.items():
            if question in offered["instruction"]["enum"]:
                assert answer in offered["output"]["enum"]
                (row,) = chosen(context, question, answer)
                assert row.evidence == sentence and row.input == TEXT and row.output in sentence
                seen[question] = row.output
    assert seen == ANSWERS


def test_a_question_without_the_title_says_what_it_is_about() -> None:
    rows = []
    for position in range(3):
        offered, _, context = fields_of(position)
        for question in set(ANSWERS).intersection(offered["instruction"]["enum"]):
            rows += chosen(context, question, ANSWERS[question])
    assert {"น้ำบูดูทำจากอะไร", "จากข้อความเรื่องน้ำบูดู ในโอ่งใบหนึ่งหมักได้นานกี่เดือน"} <= {
        row.instruction for row in rows
    }


@pytest.mark.parametrize(
    ("question", "answer"), [("น้ำบูดูทำจากอะไร", "เกลือ"), ("น้ำบูดูอร่อยไหม", "ปลากะตักหมักกับเกลือ")]
)
def test_an_answer_to_something_else_is_asked_for_again(question: str, answer: str) -> None:
    _, _, context = fields_of(0, TEXT.split()[0])
    with pytest.raises(ValueError):
        chosen(context, question, answer)


def test_a_text_without_such_a_sentence_is_left_out() -> None:
    assert ExtractiveQA().suits(Context(TEXT, language="th"))
    assert not ExtractiveQA().suits(Context("ฝนตก แดดออก", language="th"))


def test_a_language_with_spaces_has_its_sentences_at_full_stops() -> None:
    made_up = Language(
        "xx",
        "Made up",
        "Xx",
        "Latin",
        persona="",
        gaps=(Gap("is", ("what",)), Gap("", ("how many",))),
    )
    task = ExtractiveQA()
    task._language = made_up
    context = Context("The old town is Lumel. It has exactly 30 wells.")
    found = {}
    for position in range(2):
        place = Context(context.text, position=position)
        for question, answer in task._drawn(place, made_up)[1].items():
            found[question] = answer
    assert found == {"The old town is what": "Lumel", "It has exactly how many wells": "30 wells"}


def test_a_language_without_gaps_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("A text about salt and how people carry it over the hills. " * 4)
    pipeline = sf.Pipeline(
        "en",
        sf.FunctionGenerator(str, name="unused"),
        contexts=[sf.DocumentSource(folder)],
        tasks="small",
        diversity=None,
    )
    with pytest.raises(sf.ConfigError, match="no question words in English.*gaps"):
        pipeline.run(size=1, out=tmp_path / "run", progress=False, clock=FakeClock())
