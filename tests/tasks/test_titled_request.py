"""Ready-made requests, of which the model chooses one by its number."""

import pytest

from seedfree.languages import Language
from seedfree.records import Context, Source
from seedfree.tasks.titled_request import TitledRequest

THAI = Language.load("th")
TEXT = "ชาวบ้านเก็บเกลือในหน้าแล้ง แล้วหาบไปแลกข้าวกับหมู่บ้านในหุบเขา"


def request(position: int, choice: int = 1) -> str:
    context = Context(TEXT, title="เกลือสินเธาว์", language="th", position=position)
    task = TitledRequest()
    (row,) = task.instructions(task.Fields(choice=choice), context)
    assert row.output == TEXT
    return row.instruction


def test_the_request_names_the_title_and_the_text_answers_it() -> None:
    requests = {request(position, choice) for position in range(8) for choice in (1, 2, 3)}
    assert all("เกลือสินเธาว์" in each and "$" not in each for each in requests)
    assert len(requests) == len(THAI.facet("requests"))


def test_only_what_was_offered_can_be_chosen() -> None:
    with pytest.raises(ValueError):
        request(0, choice=4)


def test_it_asks_about_peoples_texts_that_have_a_title() -> None:
    assert TitledRequest().suits(Context(TEXT, title="เกลือ"))
    assert not TitledRequest().suits(Context(TEXT))
    assert not TitledRequest().suits(Context(TEXT, title="เกลือ", source=Source("written")))
