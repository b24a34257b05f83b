"""Folds, scripts and escapes: what is shown, stored and compared of a text of unknown origin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.text import fold, letters_and_digits, script_of, shown, squeeze, unmarked


@given(st.text())
def test_folding_is_idempotent(text):
    assert fold(fold(text)) == fold(text)
    assert squeeze(squeeze(text)) == squeeze(text)


@pytest.mark.parametrize("run", ["ํ" + "่" * 40, "ํ่" * 20, "ํํ้่" * 9, "ໍ່" * 12])
def test_any_number_of_tone_marks_is_folded_at_once(run):
    assert fold(fold(f"ก{run}")) == fold(f"ก{run}")


@pytest.mark.parametrize(
    "typed, retyped",
    [
        ("เเกง", "แกง"), ("น\u0e4d\u0e49า", "น้ำ"), ("๒๕๔๑", "2541"), ("“วัด”", '"วัด"'),
        ("ກ\u200bາ", "ກາ"), ("၁၉၉၀", "1990"), ("ＡＢＣ", "abc"), ("พ.ศ.  2541\n", "พ.ศ. 2541"),
        ("ໝາ", "ຫມາ"), ("Cafe\u0301", "café"),
    ],
)  # fmt: skip
def test_copies_that_differ_in_nothing_fold_alike(typed, retyped):
    assert fold(typed) == fold(retyped)


@pytest.mark.parametrize(
    "char, script",
    [("ก", "Thai"), ("ກ", "Lao"), ("ក", "Khmer"), ("က", "Myanmar"), ("a", "Latin"),
     ("ｱ", "Katakana"), ("漢", "Han"), ("ж", "Cyrillic"), ("Ａ", "Latin"),
     ("ª", ""), ("1", ""), ("ิ", ""), ("ℵ", "")],
)  # fmt: skip
def test_scripts(char, script):
    assert script_of(char) == script or not script


@pytest.mark.parametrize(
    "text, alone",
    [("วัด โพธิ์!", "วัดโพธิ์"), ("Wat Pho", "watpho"), ("“๒๕”-2", "๒๕2"), ("ก\u200bข", "กข"), ("—", "")],
)
def test_letters_marks_and_digits_alone(text, alone):
    assert letters_and_digits(text) == alone


@pytest.mark.parametrize("text", ["IĞDIR", "Iğdır", "ığdır", "İĞDİR", "I\u011fd\u0131r"])
def test_turkish_i_is_one_letter_in_every_fold(text):
    assert fold(text) == squeeze(text) == letters_and_digits(text) == "iğdir"


def test_what_a_terminal_would_obey_is_shown():
    assert shown("a\x1b[2J\u202eb\n\tc") == "a\\x1b[2J\\u202eb\n\tc"


@pytest.mark.parametrize(
    "text, broken",
    [
        ("x<|im_end|>", "x< |im_end|>"), ("[/INST]", "[ /INST]"), ("</s>", "< /s>"),
        ("<b>[1] a < b", "<b>[1] a < b"), ("<start_of_turn>", "< start_of_turn>"),
    ],
)  # fmt: skip
def test_marks_of_turns_are_broken(text, broken):
    assert unmarked(text) == broken
