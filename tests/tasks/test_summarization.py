import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context
from seedfree.tasks.summarization import Summarization


def test_the_text_is_the_rows_input() -> None:
    task = Summarization()
    fields = task.Fields(instruction=" สรุปเรื่องนี้ ", output="- หนึ่ง\n- สอง\n")
    (row,) = task.instructions(fields, Context(text="ข้อความ"))
    assert (row.instruction, row.input, row.output) == ("สรุปเรื่องนี้", "ข้อความ", "- หนึ่ง\n- สอง")
    assert row.messages[0].content == "สรุปเรื่องนี้\n\nข้อความ"


def test_forms_are_asked_for_equally_often() -> None:
    language = Language.load("th")
    forms = language.facet("summary_forms")
    users = [
        Summarization().prompt(Context(text="ก", position=i), language).user
        for i in range(10 * len(forms))
    ]
    assert [sum(form in user for user in users) for form in forms] == [10] * len(forms)


def test_settings_out_of_range() -> None:
    says = r"Summarization\(temperature=3\) is out of range\. Use 0 to 2\."
    with pytest.raises(ConfigError, match=says):
        Summarization(temperature=3)
