import json

import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context
from seedfree.tasks.closed_qa import ClosedQA

PAIR = {"evidence": "ทำจากปลากะตัก", "instruction": "น้ำบูดูทำจากปลาอะไร", "output": "ปลากะตัก"}
CONTEXT = Context(text="น้ำบูดูทำจากปลากะตักหมักกับเกลือ", language="th", position=5)


def test_a_row_carries_its_text_and_keeps_the_evidence_apart() -> None:
    task = ClosedQA()
    (row,) = task.instructions(task.Fields.model_validate(PAIR), CONTEXT)
    assert (row.instruction, row.input, row.output) == (
        PAIR["instruction"],
        CONTEXT.text,
        "ปลากะตัก",
    )
    assert row.evidence == PAIR["evidence"]
    assert all(PAIR["evidence"] not in m.content.replace(CONTEXT.text, "") for m in row.messages)


def test_five_pairs_as_in_the_paper() -> None:
    task = ClosedQA(pairs=5)
    prompt = task.prompt(CONTEXT, Language.load("th"))
    single = ClosedQA().prompt(CONTEXT, Language.load("th"))
    assert task.rows == 5 and prompt.max_tokens > single.max_tokens
    assert isinstance(prompt.schema, dict) and prompt.schema["properties"]["pairs"]["minItems"] == 5
    assert [list(json.loads(e.reply)) for e in prompt.examples] == [["pairs"], ["pairs"]]
    answer = {"pairs": [{**PAIR, "instruction": f"ข้อ {i}"} for i in range(7)]}
    rows = list(task.instructions(task.Fields.model_validate(answer), CONTEXT))
    assert [r.instruction for r in rows] == [f"ข้อ {i}" for i in range(5)]


def test_a_single_pair_is_accepted_where_five_were_asked_for() -> None:
    task = ClosedQA(pairs=5)
    assert len(list(task.instructions(task.Fields.model_validate(PAIR), CONTEXT))) == 1


def test_askers_and_lengths_are_drawn_equally_often() -> None:
    language = Language.load("th")
    askers, lengths = language.facet("askers"), language.facet("lengths")
    users = [
        ClosedQA().prompt(Context(text="ก", position=i), language).user
        for i in range(len(askers) * len(lengths))
    ]
    assert {sum(length in user for user in users) for length in lengths} == {len(askers)}
    assert {sum(f"อย่างที่{asker}น่าจะถาม" in user for user in users) for asker in askers} == {
        len(lengths)
    }


@pytest.mark.parametrize(
    "settings", [{"pairs": 0}, {"pairs": 11}, {"temperature": -0.1}, {"temperature": 2.5}]
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        ClosedQA(**settings)  # type: ignore[arg-type]
