from collections import Counter

import pytest

from seedfree.languages import Language
from seedfree.records import Context
from seedfree.tasks.extract import Extract

TEXT = "ตลาดน้ำเปิดวันเสาร์ เวลา 8.00 น."


def row(output: str) -> tuple[str, str]:
    task = Extract()
    (item,) = task.instructions(task.Fields(instruction="ดึงวัน", output=output), Context(TEXT))
    return item.input, item.output


@pytest.mark.parametrize(
    "output", ['{"day": "เสาร์"}', '[{"day": null}]', "| วัน |\n|---|\n| เสาร์ |"]
)
def test_facts_come_in_a_form_that_can_be_read(output: str) -> None:
    assert row(output) == (TEXT, output)


@pytest.mark.parametrize("output", ['{"day": "เสาร์"', "[1, 2", '{"day": เสาร์}', "[" * 100_000])
def test_what_begins_as_json_must_be_json(output: str) -> None:
    task = Extract()
    with pytest.raises(ValueError):
        list(
            task.instructions(
                task.Fields.model_construct(instruction="ดึงวัน", output=output), Context(TEXT)
            )
        )


def test_forms_are_drawn_equally_often() -> None:
    language = Language.load("th")
    forms = language.facet("extract_forms")
    contexts = [Context(TEXT, position=i) for i in range(3 * len(forms))]
    drawn = Counter(Extract().prompt(context, language).facets["extract"] for context in contexts)
    assert drawn == dict.fromkeys(forms, 3)
