"""Orders that code can check: made in every language, and answers that pass or fail."""

import json

import pytest

import seedfree as sf
from seedfree.errors import ConfigError
from seedfree.evaluation import Decoding, Orders, evaluate
from seedfree.languages import languages
from seedfree.records import Question

KINDS = "points numbered line first last json short contains without quoted parts".split()

BOTH = ("word", "other")
SHOWN = {"points": ["count"], "numbered": ["count"], "short": ["count"]}
SHOWN |= {"first": ["word"], "last": ["word"], "contains": BOTH, "without": BOTH}


@pytest.mark.parametrize("code", languages())
def test_every_language_has_120_orders_of_twelve_kinds(code):
    questions = Orders(code).questions()
    assert len({question.question for question in questions}) == len(questions) == 120
    plain = "no_digits" if sf.Language.load(code).script == "Latin" else "no_latin"
    assert {question.task for question in questions} == {*KINDS, plain}
    assert not any("$" in question.question for question in questions)
    for question in questions:
        order = json.loads(question.answer)
        shown = SHOWN.get(question.task, ())
        assert all(str(order[name]) in question.question for name in shown)
    assert questions == Orders(code).questions() != Orders(code, seed=1).questions()


def order(kind, **changes):
    made = {"kind": kind, "count": 2, "word": "day", "other": "water", "words": ["a", "b"]}
    return Question("1", kind, "?", json.dumps({"spaced": True, **made, **changes}))


CASES = [
    ("points", "- one thing\n\n- and another", "- one thing\n- and another\n- a third"),
    ("points", "• one thing\n• and another", "Here they are:\n- one thing\n- another"),
    ("numbered", "1. one thing\n2) and another", "1. one thing\n3. and another"),
    ("numbered", "๑. เรื่องหนึ่ง\n๒. เรื่องที่สอง", "เรื่องหนึ่งและเรื่องที่สอง"),
    ("line", "All of it in one line.", "Two lines\nof a text"),
    ("first", "“Day by day it grows.”", "Every day it grows."),
    ("last", "It grows every day.", "Day by day it grows."),
    ("no_digits", "In nineteen hundred", "In the year 1900"),
    ("no_digits", "ไม่มีตัวเลขใดเลย", "ในปี ๒๕๐๐ นั้นเอง"),
    ("no_latin", "ไม่มีอักษรอังกฤษ 12", "มีคำว่า JSON อยู่ในนี้"),
    ("json", '{"b": 1, "a": [2]}', '{"a": 1, "b": 2, "c": 3}'),
    ("json", '```json\n{"a": 1, "b": 2}\n```', 'Here: {"a": 1, "b": 2}'),
    ("json", '{"a": "x", "b": "y"}', '["a", "b", "c"]'),
    ("contains", "A day without water.", "Today there is water."),
    ("without", "Todays and waterfalls", "One more DAY of it"),
    ("quoted", "“One sentence is here.”", "He said “one sentence”."),
    ("parts", "One part.\n***\nAnother one.", "One part.\nAnother one."),
    ("parts", "One part.\n\n ***\n\nAnother.", "One part here.\n***\n"),
]


@pytest.mark.parametrize(("kind", "good", "bad"), CASES)
def test_an_answer_does_what_was_ordered_or_not(kind, good, bad):
    assert Orders.check(order(kind), good) and not Orders.check(order(kind), bad)


def test_lengths_count_spaces_and_silence_is_no_answer():
    short = order("short", count=12)
    assert Orders.check(short, "twelve chars") and not Orders.check(short, "thirteen chars")
    for kind in ("no_digits", "without", "line", "short"):
        assert not Orders.check(order(kind, count=12), "") and not Orders.check(order(kind), " - ")


def test_where_no_space_parts_words_a_word_counts_wherever_it_stands():
    thai = {"word": "น้ำ", "other": "บ้าน", "spaced": False}
    assert Orders.check(order("contains", **thai), "มีน้ำในบ้านหลังนี้")
    assert not Orders.check(order("without", **thai), "ไม่มีน้ำในที่นี้เลย")


def test_an_evaluation_says_which_orders_were_carried_out(tmp_path):
    def answer(prompt):
        return "- one point here\n- another point" if "points" in prompt.user else "one\ntwo\nthree"

    llm = sf.FunctionGenerator(answer, name="points")
    asked = evaluate(llm, Orders("en", size=36), tmp_path / "a", decoding=Decoding.greedy())
    passed = Orders.passed(asked)
    two = sum("exactly 2 points" in question.question for question in asked.questions)
    assert passed.kinds["points"] == (two, 3) and passed.kinds["numbered"] == (0, 3)
    assert passed.interval.low <= passed.share <= passed.interval.high
    assert f"points {two:7} of 3" in str(passed)
    silent = sf.FunctionGenerator(lambda prompt: "-", name="silent")
    nothing = Orders.passed(
        evaluate(silent, Orders("en", size=36), tmp_path / "b", decoding=Decoding.greedy())
    )
    assert nothing.share == 0 and 0 < passed.p_beside(nothing) < 0.05


def test_a_size_outside_its_range_is_an_error():
    with pytest.raises(ConfigError, match="12 to 360"):
        Orders("th", size=5)
