from collections import Counter
from typing import Any

import pytest

from seedfree.languages import Language
from seedfree.records import Context, Instruction, Prompt, Topic
from seedfree.tasks.classification import Classification
from tests.tasks.conftest import Confirm

FIELDS = {"instruction": "จำแนกข้อความนี้", "text": "อาหารช้ามาก", "reason": "บ่นเรื่องรอนาน"}
THAI = Language.load("th")


def test_every_class_of_every_scheme_is_equally_often_the_answer() -> None:
    pairs = [(scheme.name, label) for scheme in THAI.schemes for label in scheme.labels]
    prompts = [
        Classification().prompt(Context(topic=Topic("ฝน"), position=i), THAI)
        for i in range(5 * len(pairs))
    ]
    drawn = Counter((prompt.facets["scheme"], prompt.facets["label"]) for prompt in prompts)
    assert drawn == dict.fromkeys(pairs, 5)
    assert all(prompt.facets["label"] in prompt.user for prompt in prompts)


def test_the_class_is_the_answer_and_the_text_stands_beside() -> None:
    task = Classification()
    rows: list[Instruction] = []
    for position in range(8):
        context = Context(topic=Topic("ฝน"), language="th", position=position)
        label = task.prompt(context, THAI).facets["label"]
        (row,) = task.instructions(task.Fields.model_validate(FIELDS), context)
        assert row.input == FIELDS["text"] and row.output.split("\n\n")[0] == label
        rows.append(row)
    # Half of the answers give a reason.
    assert sum(FIELDS["reason"] in row.output for row in rows) == 4


def test_a_row_on_which_the_model_agrees_with_itself_is_kept(confirm: Confirm) -> None:
    label = Classification().prompt(Context(topic=Topic("ฝน"), language="th"), THAI).facets["label"]
    row, (prompt,) = confirm(Classification(), FIELDS, lambda _: {"label": f" {label} "})
    assert isinstance(row, Instruction)
    assert FIELDS["text"] in prompt.user and FIELDS["reason"] not in prompt.user


@pytest.mark.parametrize("answer", [{"label": "-"}, {"label": "อื่น"}, None])
def test_any_other_is_dropped(confirm: Confirm, answer: Any) -> None:
    def asked(_: Prompt) -> Any:
        return answer

    assert confirm(Classification(), FIELDS, asked)[0] == "classification: a second answer differs"
