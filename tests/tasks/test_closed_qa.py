import json
from collections import Counter

import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context, Instruction, Source
from seedfree.tasks.closed_qa import ClosedQA
from tests.tasks.conftest import Confirm

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


def test_forms_and_lengths_are_drawn_in_their_shares() -> None:
    language = Language.load("th")
    task = ClosedQA(unanswerable=0.0)
    prompts = [task.prompt(Context(text="ก", position=i), language) for i in range(100)]
    for name, shares in (("form", language.request_forms), ("length", language.answer_lengths)):
        drawn = Counter(prompt.facets[name] for prompt in prompts)
        assert drawn == {each.text: each.share for each in shares}
    assert all(f": {p.facets[name]}" in p.user for p in prompts for name in ("form", "length"))


def test_what_a_text_does_not_say_is_said_briefly() -> None:
    task, language = ClosedQA(unanswerable=1.0), Language.load("th")
    prompts = [task.prompt(Context(text="ก", position=i), language) for i in range(20)]
    assert {p.facets["length"] for p in prompts} == {language.answer_lengths[0].text}


def test_nobody_in_particular_asks_about_an_encyclopedia() -> None:
    language = Language.load("th")
    askers = language.facet("askers")
    for kind, least in (("wikipedia", 0), ("document", 2)):
        context = Context(text="ก", source=Source(kind))
        user = ClosedQA().prompt(context, language).user
        assert sum(asker in user for asker in askers) >= least
        assert bool(least) == any(asker in user for asker in askers)
        assert "\n\n\n" not in user


@pytest.mark.parametrize(
    "settings", [{"pairs": 0}, {"pairs": 11}, {"temperature": -0.1}, {"temperature": 2.5}]
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        ClosedQA(**settings)  # type: ignore[arg-type]


PAGE = Context(text="ตลาดน้ำเปิดวันเสาร์ มีเรือขายขนม", language="th")
MISSING = {
    "evidence": "ตลาดน้ำเปิดวันเสาร์",
    "instruction": "ปิดกี่โมง",
    "output": "เอกสารไม่ได้กล่าวถึงเวลาปิด",
}


def test_one_question_in_ten_has_no_answer() -> None:
    language = Language.load("th")
    for share, wanted in ((0.1, 10), (0.0, 0), (1.0, 100)):
        task = ClosedQA(unanswerable=share)
        prompts = [task.prompt(Context(text="ก", position=i), language) for i in range(100)]
        assert sum(prompt.facets.get("answerable") == "no" for prompt in prompts) == wanted
    assert "answerable" not in ClosedQA(pairs=5, unanswerable=1.0).prompt(PAGE, language).facets


def test_a_question_that_the_text_answers_after_all_is_dropped(confirm: Confirm) -> None:
    task = ClosedQA(unanswerable=1.0)
    row, (prompt,) = confirm(task, MISSING, lambda _: {"quotation": "-"}, PAGE)
    assert isinstance(row, Instruction) and MISSING["instruction"] in prompt.user
    found = confirm(task, MISSING, lambda _: {"quotation": "เปิดวันเสาร์"}, PAGE)[0]
    assert found == "closed_qa: the text answers it"
    # A quotation that does not stand there proves nothing.
    invented = confirm(task, MISSING, lambda _: {"quotation": "ปิดหกโมงเย็น"}, PAGE)[0]
    assert isinstance(invented, Instruction)
    assert confirm(task, MISSING, lambda _: None, PAGE)[0].startswith("closed_qa: ")


def test_other_questions_are_not_looked_up(confirm: Confirm) -> None:
    row, asked = confirm(ClosedQA(unanswerable=0.0), MISSING, lambda _: None, PAGE)
    assert isinstance(row, Instruction) and asked == []
