from collections import Counter

import pytest

from seedfree.languages import Language
from seedfree.records import Context
from seedfree.tasks.rewrite import Rewrite

THAI = Language.load("th")
TEXT = "ฝนตกเพราะไอน้ำในเมฆกลั่นตัวเป็นหยดน้ำแล้วหนักจนลอยไม่ได้"


def test_forms_are_drawn_equally_often() -> None:
    names = [each.name for each in THAI.rewritings]
    contexts = [Context(TEXT, position=i) for i in range(4 * len(names))]
    drawn = [Rewrite().prompt(context, THAI).facets["rewriting"] for context in contexts]
    assert Counter(drawn) == dict.fromkeys(names, 4)


def test_the_answer_is_the_new_text_or_what_people_wrote() -> None:
    task, changed = Rewrite(), "ฝนตกเพราะไอน้ำกลายเป็นหยดน้ำ"
    fields = task.Fields(instruction="เขียนใหม่", text=changed)
    mistakes = {each.name: each.mistakes for each in THAI.rewritings}
    for position in range(len(mistakes)):
        context = Context(TEXT, language="th", position=position)
        (row,) = task.instructions(fields, context)
        name = task.prompt(context, THAI).facets["rewriting"]
        expected = (changed, TEXT) if mistakes[name] else (TEXT, changed)
        assert (row.input, row.output) == expected


def test_a_text_that_is_not_changed_is_invalid() -> None:
    task = Rewrite()
    with pytest.raises(ValueError, match="passage itself"):
        list(task.instructions(task.Fields(instruction="เขียนใหม่", text=f" {TEXT} "), Context(TEXT)))
