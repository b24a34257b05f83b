from typing import Any

import pytest

from seedfree.records import Instruction, Prompt
from seedfree.tasks.open_qa import OpenQA
from tests.tasks.conftest import Confirm

FIELDS = {"instruction": "ฝนเกิดจากอะไร", "output": "ไอน้ำที่กลั่นตัวเป็นหยด"}


def answers(prompt: Prompt, agree: bool) -> Any:
    assert prompt.json_schema is not None
    if "agree" in prompt.json_schema["properties"]:
        return {"difference": "-", "agree": agree}
    assert FIELDS["output"] not in prompt.user, "the second answer must not see the first"
    return {"output": "ไอน้ำในเมฆ"}


def test_a_row_whose_two_answers_agree_is_kept(confirm: Confirm) -> None:
    row, asked = confirm(OpenQA(), FIELDS, lambda prompt: answers(prompt, True))
    assert isinstance(row, Instruction) and (row.output, row.input) == (FIELDS["output"], "")
    assert len(asked) == 2 and "ไอน้ำในเมฆ" in asked[1].user


def test_a_row_whose_two_answers_differ_is_dropped(confirm: Confirm) -> None:
    reason, _ = confirm(OpenQA(), FIELDS, lambda prompt: answers(prompt, False))
    assert reason == "open_qa: two answers differ"


@pytest.mark.parametrize("refused", [0, 1])
def test_a_row_that_nobody_answers_again_is_dropped(confirm: Confirm, refused: int) -> None:
    count = iter(range(2))
    reason, _ = confirm(
        OpenQA(), FIELDS, lambda p: None if next(count) == refused else answers(p, True)
    )
    assert reason.startswith("open_qa: ")
