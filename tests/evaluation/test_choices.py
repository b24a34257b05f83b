"""Answer accuracy, and the parser of answers against a reading of published ones."""

import os
from pathlib import Path

import pytest

from seedfree.errors import ConfigError
from seedfree.evaluation.answers import labelled_choices, meant_choice
from seedfree.evaluation.choices import accuracy
from seedfree.evaluation.predictions import read_predictions

RIVERS = ("แม่น้ำปิง", "แม่น้ำวัง", "แม่น้ำยม", "แม่น้ำน่าน")


def test_accuracy_counts_an_unparsed_answer_as_wrong():
    result = accuracy(
        ["ข", "ค", "ไม่ทราบ", ""], ["ข", "คำตอบคือ ข. เพราะใกล้", "ก", "ก"], choices=[RIVERS] * 4
    )
    assert (result.correct, result.unparsed, result.n, result.left_out) == (0.25, 0.5, 4, 0)
    assert result.hits == (True, False, False, False)
    assert 0 <= result.interval.low <= 0.25 <= result.interval.high <= 1
    assert result == accuracy(
        ["ข", "ค", "ไม่ทราบ", ""], ["ข", "คำตอบคือ ข. เพราะใกล้", "ก", "ก"], choices=[RIVERS] * 4
    )


def test_without_choices_labels_decide():
    result = accuracy(["The answer is B", "ก", "3"], ["ข", "A", "(ค)"])
    assert (result.correct, result.unparsed) == (1.0, 0.0)


def test_references_may_be_the_choices_words():
    result = accuracy(["ข", "แม่น้ำน่าน", "1"], ["แม่น้ำวัง", "แม่น้ำน่าน", "แม่น้ำปิง"], choices=[RIVERS] * 3)
    assert (result.correct, result.unparsed) == (1.0, 0.0)


def test_rows_whose_reference_says_nothing_are_left_out():
    result = accuracy(["ข", "ข"], ["ข", "ไม่มีคำตอบ"], choices=[RIVERS] * 2)
    assert (result.correct, result.n, result.left_out, result.hits) == (1.0, 1, 1, (True,))


def test_classes_are_equal_or_named_alone():
    references = ["สุภาพ", "ไม่สุภาพ", "สุภาพ", "เป็นกลาง", "Positive"]
    answers = ["สุภาพ.", "ข้อความนี้ไม่สุภาพ", "สุภาพหรือเป็นกลาง", "ไม่ทราบ", " POSITIVE "]
    result = accuracy(answers, references)
    assert result.hits == (True, True, False, False, True)
    assert result.unparsed == 0.4


@pytest.mark.parametrize(
    ("answers", "references", "options", "message"),
    [
        ([], [], {}, "no predictions"),
        (["ก"], ["ก", "ข"], {}, "1 predictions and 2 references"),
        (["ก"], ["ก"], {"choices": []}, "1 predictions and 0 lists of choices"),
        (["ก"], ["ก"], {"sources": ["a", "b"]}, "1 predictions and 2 sources"),
        (["ก"], [""], {}, "No reference"),
        (["ก"], ["?"], {"choices": [RIVERS]}, "No reference"),
        (["ก"], ["ก"], {"language": "no language"}, "Unknown language"),
    ],
)
def test_what_cannot_be_scored_is_said(answers, references, options, message):
    with pytest.raises(ConfigError, match=message):
        accuracy(answers, references, **options)


def test_empty_cells_of_a_table_are_empty_answers():
    result = accuracy(["ข", None, float("nan")], ["ข", "ก", "ค"])
    assert result.hits == (True, False, False) and result.unparsed == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match=r"predictions\[0\] is int, not text"):
        accuracy([1], ["ก"])


# Read one by one, not by the parser: the choice, from 1, that each of the first 64 published
# answers means. 0 where it means none or two.
READ = "2222311202434123014401432132411211034110012022224110124411103211"
THAIEVAL = os.environ.get("SEEDFREE_THAIEVAL", "")
FILE = "llama3_clsit.multiple_choice.culture.csv.gz"


@pytest.mark.skipif(
    not THAIEVAL, reason="SEEDFREE_THAIEVAL names no folder with the published prediction files"
)
def test_the_parser_agrees_with_a_reading_of_published_answers():
    rows = read_predictions(Path(THAIEVAL) / FILE).rows
    choices = [labelled_choices(row.context) for row in rows]
    assert {len(texts) for texts in choices} == {4, 5}
    pairs = zip(rows, choices, strict=True)
    parsed = [meant_choice(row.prediction, texts) for row, texts in pairs]
    read = [int(digit) - 1 if digit != "0" else None for digit in READ]
    apart = [i for i, position in enumerate(read) if parsed[i] != position]
    assert len(apart) <= 4
    # One answer copies a choice and then names another: the parser believes the name, the reading
    # none.
    assert [i for i in apart if parsed[i] is not None] == [16]

    result = accuracy(
        [row.prediction for row in rows], [row.answer for row in rows], choices=choices
    )
    assert result.n == 172 and result.left_out == 0
    assert 0.28 < result.correct < 0.36 and 0.15 < result.unparsed < 0.35
