import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context, Instruction, Prompt, Reply, Source
from seedfree.tasks.multiple_choice import MultipleChoice
from tests.tasks.conftest import Confirm

ANSWER = {
    "evidence": "แคนทำจากไม้ซาง",
    "question": "แคนทำจากอะไร",
    "correct": "ไม้ซาง",
    "wrong": ["หวาย", "ใบตาล", "ไม้สัก"],
    "explanation": "ลำแคนเป็นไม้ซาง",
}


def row(
    position: int = 0, seed: int = 0, language: str = "th", fictional: bool = False, **changes: Any
) -> Instruction:
    task = MultipleChoice(choices=4)
    source = Source("written", fictional=fictional)
    context = Context(
        text="แคนทำจากไม้ซาง", language=language, seed=seed, position=position, source=source
    )
    return next(task.instructions(task.Fields.model_validate({**ANSWER, **changes}), context))


def choices_of(item: Instruction) -> dict[str, str]:
    lines = item.instruction.split("\n\n")[1].splitlines()
    return dict(line.split(". ") for line in lines)


def place_of(item: Instruction) -> int:
    """Where the right choice stands, which the answer names by its label."""
    (label, _), *_ = [
        (label, choice)
        for label, choice in choices_of(item).items()
        if f"{label}. {choice}" in item.output
    ]
    return list(choices_of(item)).index(label)


def test_the_published_form() -> None:
    for item in map(row, range(12)):
        labelled = choices_of(item)
        assert item.instruction.startswith(ANSWER["question"])
        assert item.input == "แคนทำจากไม้ซาง"  # until the model is known to know it
        assert ANSWER["explanation"] in item.output
        assert sorted(labelled.values()) == sorted(["ไม้ซาง", "หวาย", "ใบตาล", "ไม้สัก"])
        assert list(labelled.values())[place_of(item)] == "ไม้ซาง"


def test_labels_and_the_order_of_the_answer_vary() -> None:
    rows = [row(i) for i in range(80)]
    labels = Counter("".join(choices_of(item)) for item in rows)
    assert labels == {"กขคง": 40, "1234": 20, "ABCD": 20}
    first = sum(item.output.startswith(ANSWER["explanation"]) for item in rows)
    assert first == 40


def test_the_number_of_choices_is_drawn() -> None:
    task, language = MultipleChoice(), Language.load("th")
    wrong = [
        task.prompt(Context(text="แคน", position=i), language).json_schema["properties"]["wrong"]
        for i in range(30)
    ]
    assert Counter(each["maxItems"] for each in wrong) == {2: 10, 3: 10, 4: 10}


@pytest.mark.parametrize("fictional, blinds", [(True, (True, False)), (False, (True,))])
def test_what_was_written_for_the_run_stands_beside_the_question(
    confirm: Confirm, fictional: bool, blinds: tuple[bool, ...]
) -> None:
    context = Context(TEXT, language="th", source=Source("written", fictional=fictional))
    for blind in blinds:
        task = MultipleChoice(choices=4, blind=blind)
        item, asked = confirm(task, ANSWER, lambda _: {"label": "ก"}, context)
        assert item.input == TEXT and asked == []


TEXT = "แคนทำจากไม้ซาง"


class Knows:
    """Answers a blind question by a rule."""

    language = Language.load("th")

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer, self.asked = answer, list[Prompt]()

    async def generate(self, prompt: Prompt, *, sample: int = 0) -> Reply:
        self.asked.append(prompt)
        value = {"label": self.answer(prompt.user)}
        return Reply(json.dumps(value), value=value)


def right(user: str) -> str:
    line = next(line for line in user.splitlines() if line.endswith(". ไม้ซาง"))
    return line.partition(".")[0]


def confirmed(answer: Callable[[str], str], **settings: Any) -> tuple[Instruction, list[Prompt]]:
    task, session = MultipleChoice(choices=4, **settings), Knows(answer)
    context = Context(text="แคนทำจากไม้ซาง", language="th", position=5)
    (item,) = task.instructions(task.Fields.model_validate(ANSWER), context)
    item = replace(item, context=context)
    return asyncio.run(task.confirm(item, session)), session.asked


def test_a_question_that_the_model_can_answer_stands_alone() -> None:
    item, asked = confirmed(right)
    assert item.input == "" and len(asked) == 3
    assert not any("แคนทำจากไม้ซาง" in prompt.user for prompt in asked)
    # Three times in another order, so that a label is not knowledge.
    assert len({prompt.user for prompt in asked}) > 1


def test_a_question_that_speaks_of_its_text_carries_it(confirm: Confirm) -> None:
    context = Context(TEXT, language="th", source=Source("wikipedia"))
    answer = {**ANSWER, "explanation": f"เอกสารบอกว่า{ANSWER['explanation']}"}
    item, asked = confirm(MultipleChoice(choices=4), answer, lambda _: {"label": "ก"}, context)
    assert item.input == TEXT and asked == []


@pytest.mark.parametrize("answer", [lambda _: "-", lambda _: "ก"], ids=["unknown", "guessed"])
def test_a_question_that_needs_its_text_carries_it(answer: Callable[[str], str]) -> None:
    item, _ = confirmed(answer)
    assert item.input == "แคนทำจากไม้ซาง" and item.input in item.messages[0].content


def test_nothing_is_asked_where_it_is_not_wanted() -> None:
    item, asked = confirmed(right, blind=False)
    assert item.input == "" and not asked


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_positions_are_balanced_and_repeatable(seed: int) -> None:
    rows = [row(i, seed) for i in range(400)]
    places = [place_of(item) for item in rows]
    assert Counter(places) == {0: 100, 1: 100, 2: 100, 3: 100}
    for start in range(0, 400, 4):
        assert sorted(places[start : start + 4]) == [0, 1, 2, 3]
    assert len({tuple(places[i : i + 4]) for i in range(0, 400, 4)}) > 12
    assert rows == [row(i, seed) for i in range(400)]


def test_wrong_choices_are_shuffled() -> None:
    orders = Counter(tuple(choices_of(row(i)).values()) for i in range(240))
    assert len(orders) == 24


@pytest.mark.parametrize(
    "wrong",
    [
        ["ไม้ซาง", "หวาย", "ใบตาล"],
        ["หวาย", " หวาย ", "ใบตาล"],
        ["หวาย", "ใบตาล"],
        ["หวาย", "ใบตาล", "?"],
        ["น้ำ", "น้ํา", "ใบตาล"],
        ["1,000 บาท", "1000 บาท", "ใบตาล"],
        ["1.000 บาท", "1000 บาท", "ใบตาล"],
        ["๑,๐๐๐ บาท", "1000 บาท", "ใบตาล"],
        ["หวาย", "ห\u200bวาย", "ใบตาล"],
        ["Hu\u1ebf", "Hue\u0302\u0301", "ใบตาล"],
        ["IĞDIR", "Iğdır", "Van"],
        ["ខែ្មរ", "ខ្មែរ", "ថៃ"],
        ["ခုိ", "ခို", "က"],
    ],
)
def test_choices_that_are_not_distinct_are_invalid(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="different choices"):
        row(wrong=wrong)


def test_a_surplus_choice_is_left_out() -> None:
    assert "ไม้ไผ่" not in row(wrong=[*ANSWER["wrong"], "ไม้ไผ่"]).instruction


def test_other_languages_and_a_language_of_ones_own() -> None:
    assert {"".join(choices_of(row(i, language="en"))) for i in range(4)} == {"ABCD", "1234"}
    own = replace(Language.load("th"), code="tha-x", labels=("๑", "๒", "๓", "๔"))
    task = MultipleChoice(choices=4)
    task.bind(SimpleNamespace(language=own))
    contexts = [Context(text="แคน", language="tha-x", position=i) for i in range(4)]
    fields = task.Fields.model_validate(ANSWER)
    rows = [item for context in contexts for item in task.instructions(fields, context)]
    assert sum("๑. " in item.instruction for item in rows) == 2


def test_a_language_with_too_few_labels() -> None:
    few = replace(Language.load("th"), labels=("ก", "ข", "ค"))
    with pytest.raises(ConfigError, match="3 labels"):
        MultipleChoice().bind(SimpleNamespace(language=few))


@pytest.mark.parametrize("settings", [{"choices": 1}, {"choices": 7}, {"temperature": 9}])
def test_settings_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        MultipleChoice(**settings)


LABELLED = ["หวาย", "ใบตาล", "ไม้สัก"]


@pytest.mark.parametrize("form", ["{}. ", "{}) ", "({}) ", "{}: "])
@pytest.mark.parametrize("labels", ["กขคง", "ABCD", "1234"])
def test_labels_that_a_model_gave_its_choices_are_taken_off(form: str, labels: str) -> None:
    correct, *wrong = (
        form.format(label) + choice
        for label, choice in zip(labels, ["ไม้ซาง", *LABELLED], strict=True)
    )
    assert row(correct=correct, wrong=wrong) == row()


def test_a_label_on_some_of_the_choices_is_invalid() -> None:
    with pytest.raises(ValueError, match="has a label"):
        row(correct="ก. ไม้ซาง")


@pytest.mark.parametrize("correct", ["A. P. J. Abdul Kalam", "A.P.J. Abdul Kalam", "1.5 kg", "B"])
def test_initials_and_numbers_are_no_labels(correct: str) -> None:
    assert correct in row(language="en", correct=correct, wrong=["Tagore", "Nehru", "3 kg"]).output


JOINT = {
    "en": ["All of the above", "None of the above.", "A and B", "Option A and option C"],
    "id": ["Semua jawaban benar", "Semua pilihan di atas", "A dan B"],
    "km": ["ទាំងអស់ខាងលើ", "ក និង ខ"],
    "lo": ["ຖືກທຸກຂໍ້", "ຂໍ້ ກ ແລະ ຂ"],
    "my": ["အထက်ပါအားလုံး", "က နှင့် ခ"],
    "sw": ["Yote hapo juu", "A na B"],
    "th": ["ถูกทุกข้อ", "ไม่มีข้อใดถูก", "ข้อ ก และ ข", "ข้อ ก และข้อ ค"],
    "tr": ["Hepsi", "Yukarıdakilerin hepsi", "Hiçbiri", "A ve B"],
    "vi": ["Tất cả đều đúng", "Tất cả các phương án trên", "A và B"],
}
NAMED = {
    "en": [
        "Option B is wrong.",
        "The answer is right, (choice A) is not.",
        "A. no. B. no. C. yes.",
    ],
    "id": ["Pilihan A salah.", "Jawaban B tidak disebut."],
    "km": ["ជម្រើស ក ខុស"],
    "lo": ["ຂໍ້ ກ ບໍ່ຖືກ"],
    "my": ["ရွေးချယ်စရာ က မှားသည်"],
    "sw": ["Chaguo B si sahihi."],
    "th": ["ข้อ ก ถูกต้อง ส่วนข้อ ข ผิด", "ตัวเลือก (ค) ไม่ใช่", "ก. ผิด ข. ผิด ค. ถูก"],
    "tr": ["A seçeneği yanlıştır.", "B şıkkı doğru değildir."],
    "vi": ["Phương án A sai.", "Đáp án B không đúng."],
}
FREE = {
    "en": [
        "All of these rivers flow to the north.",
        "Vitamins A and D",
        "A letter from the king",
        "ABC",
    ],
    "id": ["Semua sungai di atas bukit"],
    "km": ["ចម្លើយកើតពីបទពិសោធន៍"],
    "lo": ["ຂໍ້ກຳນົດຂອງບ້ານ"],
    "my": ["အဖြေကို ရွာသားများ သိသည်"],
    "sw": ["Jibu la wazee"],
    "th": ["ข้อกำหนดของหมู่บ้าน", "ข้อ ก็ว่ากันไป", "คำตอบง่าย ๆ ของชาวบ้าน"],
    "tr": ["Hepsiburada adlı mağaza köyde"],
    "vi": ["câu ca dao", "Vitamin A và D"],
}


def texts(of: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(code, text) for code in of for text in of[code]]


@pytest.mark.parametrize("code, choice", texts(JOINT))
def test_a_choice_that_speaks_of_the_others_is_invalid(code: str, choice: str) -> None:
    with pytest.raises(ValueError, match="speaks of the other choices"):
        row(language=code, wrong=["หวาย", "ใบตาล", choice])


@pytest.mark.parametrize("code, explanation", texts(NAMED))
def test_an_explanation_that_names_letters_is_invalid(code: str, explanation: str) -> None:
    with pytest.raises(ValueError, match="by its letter"):
        row(language=code, explanation=explanation)


@pytest.mark.parametrize("code, text", texts(FREE))
def test_words_that_only_begin_like_a_label_pass(code: str, text: str) -> None:
    assert text in row(language=code, explanation=text).output
    assert text in row(language=code, wrong=["หวาย", "ใบตาล", text]).instruction
