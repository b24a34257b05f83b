"""What every filter promises, checked on each of them and on one that a user might write."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedfree.filters import (
    GroundingFilter,
    JudgeFilter,
    LanguageFilter,
    RuleFilter,
    default_filters,
)
from seedfree.languages import Language, languages
from seedfree.protocols import Filter
from seedfree.records import Context, Example, Instruction, Reply
from seedfree.text import squeeze


class Mine:
    """A filter without any of the optional parts."""

    def check(self, item):
        return "mine: too polite" if "ขอบพระคุณ" in item.output else None


class Session:
    seed = 3
    grounded_tasks = None

    def __init__(self, code="th"):
        self.language = Language.load(code)

    async def generate(self, prompt, *, sample=0, check=None, generator=None):
        return Reply('{"rationale": "ตอบครบถ้วน", "score": 8}')


MAKERS = [RuleFilter, LanguageFilter, GroundingFilter, JudgeFilter, Mine]
CONTEXT = Context(
    text="วัดอรุณตั้งอยู่ริมแม่น้ำเจ้าพระยา พระปรางค์สูงราว 82 เมตร สร้างเสร็จในรัชกาลที่ 3", title="วัดอรุณ"
)
GOOD = Instruction(
    "closed_qa", "พระปรางค์วัดอรุณสูงเท่าใด", "พระปรางค์สูงประมาณ 82 เมตร", language="th", context=CONTEXT,
    evidence="พระปรางค์สูงราว 82 เมตร",
)  # fmt: skip
HOSTILE = [
    "", " ", "\x00", "\ud800", "\ufffd" * 50, "(" * 5000, "กิ" * 5000, "ก\u0e34" * 40,
    "\u0301" * 100, "a" * 20_000, "```" * 999, '"' * 501, "{" * 3000, "[" * 3000 + "]" * 3000,
    "9" * 6000, "1." * 3000, "၁၉၄၈" * 50, "1\n" * 3000, "\u202e\u200b\ufeff",
    "$context ${x} {0} %s", "A. A\nB. B\nC. C", "İIıi ŉǅ", "٣٫١٤", "²³¹½",
    "<a " * 3000, "👩‍👩‍👧‍👦" * 30, "ก ข " * 4000,
]  # fmt: skip


def verdict(each, item):
    result = each.check(item)
    return asyncio.run(result) if inspect.isawaitable(result) else result


def bound(make, code="th"):
    each = make()
    if hasattr(each, "bind"):
        each.bind(Session(code))
    return each


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def each(request):
    return bound(request.param)


def test_is_a_filter(each):
    assert isinstance(each, Filter)


def test_keeps_a_good_row(each):
    assert verdict(each, GOOD) is None


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_gets_an_answer(each, text):
    for row in (
        replace(GOOD, output=text, messages=()),
        replace(GOOD, instruction=text, evidence=text, messages=()),
        replace(
            GOOD, output=f"ตอบว่า {text}", context=replace(CONTEXT, text=f"ตอบ {text}"), messages=()
        ),
    ):
        finding = verdict(each, row)
        assert finding is None or is_finding(finding, row)
        assert verdict(each, row) == finding


def is_finding(finding, row):
    """A fact is a reason, and what is doubted are words of the row."""
    if isinstance(finding, str):
        return is_reason(finding)
    texts = "\n".join(squeeze(text) for text in [*row.questions, *row.answers])
    return bool(finding) and all(
        # An LLM is told in a sentence what is doubted.
        each.rule in Language.load("en").doubts
        and is_reason(each.rule)
        and all(squeeze(word) in texts for word in each.words)
        for each in finding
    )


def is_reason(reason):
    """A filter's word, a colon and a phrase; what differs by row stands in brackets at the end."""
    if isinstance(reason, list):
        return reason != [] and all(is_reason(suspicion.reason) for suspicion in reason)
    word, colon, rest = reason.partition(": ")
    phrase, bracket, _ = rest.partition(" (")
    return (
        bool(colon)
        and word.isalpha()
        and word.islower()
        and phrase != ""
        and not any(c.isdigit() for c in phrase)
        and (not bracket or reason.endswith(")"))
    )


@pytest.mark.parametrize(
    "make", [RuleFilter, LanguageFilter, GroundingFilter], ids=lambda make: make.__name__
)
@pytest.mark.parametrize("code", ["th", "en"])
@settings(max_examples=60)
@given(text=st.text(max_size=200), other=st.text(max_size=200))
def test_random_text_gets_the_same_answer_again(make, code, text, other):
    item = Instruction(
        "summarization", other, text, evidence=other[:5], context=Context(text=text + other)
    )
    finding = bound(make, code).check(item)
    assert finding is None or is_finding(finding, item)
    assert bound(make, code).check(item) == finding


@pytest.mark.parametrize("make", MAKERS[:-1], ids=lambda make: make.__name__)
def test_settings_are_public_fields_and_nothing_else(make):
    assert is_dataclass(make)
    fresh, used = make(), bound(make)
    verdict(used, GOOD)
    assert fresh == used and repr(fresh) == repr(used)
    assert all(f.init is not f.name.startswith("_") for f in fields(make))


@pytest.mark.parametrize("code", languages())
def test_the_answers_that_native_readers_wrote_pass(code):
    """The languages' own examples are good rows, but for a model that was shown them."""
    rules, language = bound(RuleFilter, code), bound(LanguageFilter, code)
    grounding = bound(GroundingFilter, code)
    pack = Language.load(code)
    for example in pack.format_examples["closed_qa"]:
        reply = json.loads(example.reply)
        row = Instruction("closed_qa", **reply, context=Context(text=example.given))
        assert language.check(row) is None
        assert grounding.check(row) is None
        assert rules.check(row) is None
        shown = Example(example.given, example.reply)
        doubts = rules.check(replace(row, examples=(shown,)))
        assert {doubt.rule for doubt in doubts} == {"rules: copied example"}
    for example in pack.format_examples["multiple_choice"]:
        fields = json.loads(example.reply)
        choices = "\n".join(
            map(". ".join, zip(pack.labels, [*fields["wrong"], fields["correct"]], strict=False))
        )
        right = pack.labels[len(fields["wrong"])]
        row = Instruction(
            "multiple_choice",
            pack.text("multiple_choice_question", question=fields["question"], choices=choices),
            pack.text(
                "multiple_choice_answer",
                explanation=fields["explanation"],
                label=right,
                choice=fields["correct"],
            ),
            evidence=fields["evidence"],
            context=Context(text=example.given),
        )
        assert language.check(row) is None
        assert grounding.check(row) is None


def test_default_is_the_languages_rules_without_the_judge():
    assert [type(f) for f in default_filters()] == [RuleFilter, LanguageFilter, GroundingFilter]
    assert default_filters()[0] is not default_filters()[0]
