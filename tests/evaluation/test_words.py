import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.evaluation.words import content, normalize, paper_cutter, segmented_cutter
from seedfree.languages import Language

THAI = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"
LETTERS = "กทนำํา่้ีึุเแ\u200b\u0ead\u0ecd\u0eb2\u0eb3\u0ec8\u0eb4e\u0301é \n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("น\u0e4d\u0e32", "นำ"),
        ("น\u0e49\u0e4d\u0e32", "น้ำ"),
        ("น\u0e4d\u0e49\u0e32", "น้ำ"),
        ("\u0e40\u0e40ม่", "แม่"),
        ("ท\u0e48\u0e35", "ที่"),
        ("\u0e99\u0ec9\u0ecd\u0eb2", "\u0e99\u0ec9\u0eb3"),
        ("cafe\u0301", "café"),
        ("ខ្មែរ\u200bយើង\ufeff", "ខ្មែរយើង"),
        ("\u2067กรุงเทพ\u2069 \u202bเมือง\u202c", "กรุงเทพ เมือง"),
    ],
)
def test_letters_typed_in_two_ways_are_one(typed, meant):
    assert normalize(typed) == normalize(meant) == meant


@given(st.text(st.sampled_from(LETTERS)))
def test_normalizing_again_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


def test_segmented_words_stand_between_spaces_and_lines_stay():
    cut = segmented_cutter("th").cut
    assert cut("ฉันกินข้าว 10,000 บาท\n\nดี") == "ฉัน กินข้าว 10,000 บาท\n\nดี"


@pytest.mark.parametrize(
    ("language", "text"),
    [("th", THAI), ("lo", "ຂ້ອຍຮັກປະເທດລາວ"), ("km", "ខ្ញុំស្រឡាញ់ប្រទេសកម្ពុជា"), ("my", "မြန်မာနိုင်ငံကိုချစ်တယ်")],
)
def test_scripts_without_spaces_are_cut_into_words(language, text):
    words = segmented_cutter(language).cut(text).split()
    assert len(words) >= 3 and "".join(words) == text


def test_the_paper_cuts_over_lines_and_keeps_the_text_as_it_was():
    cutter = paper_cutter("th")
    assert cutter.cut("ฉันกินข้าว\nดี").split() == ["ฉัน", "กินข้าว", "ดี"] and "\n" not in cutter.cut(
        "ดี\nมาก"
    )
    assert cutter.clean("น\u0e4d\u0e32\u200b") == "น\u0e4d\u0e32\u200b"


def test_signatures_name_segmenter_dictionary_and_version():
    assert segmented_cutter("th").signature.startswith("newmm pythainlp ")
    assert (
        "|dict:62" in segmented_cutter("th").signature and " words " in paper_cutter("th").signature
    )
    assert segmented_cutter("lo").signature.startswith("icu icu4py ")
    assert segmented_cutter("sw").signature == "space|norm:nfc"


@pytest.mark.parametrize(
    "language", ["am", "bo", Language("xx", "X", "X", "Latin", "", segmenter="")]
)
def test_without_a_segmenter_words_are_unicode_s(language):
    cutter = segmented_cutter(language)
    assert not cutter.known and cutter.signature.startswith("none (Unicode words: icu ")
    assert cutter.cut("ሰላም ለሁሉም።").split() == ["ሰላም", "ለሁሉም", "።"]


@pytest.mark.parametrize("code", ["th-TH", "th_TH", "TH", "Thai"])
def test_a_region_changes_nothing(code):
    assert segmented_cutter(code).language == "th" and segmented_cutter(code).known


@pytest.mark.parametrize("wrong", ["Thaii", "", "klingon", None])
def test_no_language_at_all_is_an_error(wrong):
    with pytest.raises(ConfigError, match="Unknown language"):
        segmented_cutter(wrong)


def test_an_unknown_segmenter_is_an_error():
    with pytest.raises(ConfigError, match="segmenter: 'nope' is unknown"):
        segmented_cutter(Language("xx", "X", "X", "Latin", "", segmenter="nope"))


def test_content_leaves_out_case_and_punctuation_unless_nothing_else_is_there():
    assert content("Hello , ๆ !\n- 10") == [["hello", "ๆ"], ["10"]]
    assert content("? !") == [["?", "!"]]
    assert [content(segmented_cutter("th").cut(text)) for text in ("ก", "ก.", "ข.")] == [
        [["ก"]],
        [["ก"]],
        [["ข"]],
    ]
