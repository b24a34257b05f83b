import pytest

from seedfree.languages import Language
from seedfree.records import Context
from seedfree.tasks.reverse_instruction import ReverseInstruction
from seedfree.tasks.shared import passage

PARAGRAPH = "ชาวบ้านเก็บเกลือในหน้าแล้ง แล้วหาบไปแลกข้าวกับหมู่บ้านในหุบเขา "
PAGE = "\n\n".join(f"{i} {PARAGRAPH * 6}" for i in range(12))


def rows(context: Context, **fields: object) -> list[tuple[str, str]]:
    task = ReverseInstruction()
    values = {"stands_alone": True, "instruction": "เล่าเรื่องการแลกเกลือ", **fields}
    items = task.instructions(task.Fields.model_validate(values), context)
    return [(item.instruction, item.output) for item in items]


def test_the_answer_is_the_text_word_for_word() -> None:
    for position in range(20):
        context = Context(PAGE, seed=1, position=position)
        ((_, answer),) = rows(context)
        assert 300 <= len(answer) <= 2000
        # Whole paragraphs, in their order.
        assert answer in "\n".join(part.strip() for part in PAGE.split("\n\n"))
        assert answer in ReverseInstruction().prompt(context, Language.load("th")).user
    assert len({passage(Context(PAGE, seed=1, position=i)) for i in range(20)}) > 4


def test_a_passage_that_needs_its_page_gives_no_row() -> None:
    assert rows(Context(PAGE), stands_alone=False, instruction="") == []


@pytest.mark.parametrize("instruction", ["", f"อธิบาย {PARAGRAPH}"], ids=["none", "leak"])
def test_a_request_that_gives_its_answer_away_is_invalid(instruction: str) -> None:
    with pytest.raises(ValueError):
        rows(Context(PAGE), instruction=instruction)


def test_a_short_text_is_taken_whole() -> None:
    assert passage(Context(f"{PARAGRAPH}\n\nจบ")) == f"{PARAGRAPH}\n\nจบ"
