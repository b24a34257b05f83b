"""Syllables that were typed in several ways are one, wherever texts are compared."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedfree.evaluation.words import normalize
from seedfree.text import fold, letters_and_digits, squeeze
from seedfree.text.typed import one_typing

ALPHABETS = {
    "Thai": "กทนฤเแะาำๅัิีึืฺุู็่้๊๋์ํ๎๑\u200b ",
    "Lao": "ກຫນມລໜເແະາຳັິີຶືຸູົຼ່້໊໋໌ໍ\u200b ",
    "Khmer": "កបសងដតរញឲ្្\u17b4\u17dd\u200c " + "".join(map(chr, range(0x17B6, 0x17D4))),
    "Burmese": "ကငနဝသစဥဉဩရ၀၁၄၇္0.,1 " + "".join(map(chr, range(0x102B, 0x103F))),
}
# A letter with the marks of one syllable in the order of Unicode: each other order is the same.
SYLLABLES = [
    "ที่", "กู้", "น้ำ", "ธิ์", "ก็", "กึ้", "ທີ່", "ນ້ຳ", "ກົ້", "ຫຼິ້", "ស៊ី", "ម៉ែ", "កុំ", "កាំ", "ប៉ុ", "កើ",
    "ខ្មែ", "ស្រុំ", "ព៌្វា", "ကျွ", "နု်", "မြို့", "လှို", "က်ျား", "ချော်", "နွှဲ့", "ပုံ့", "ဂျ်",
]  # fmt: skip


def orders(syllable):
    """Draws an order of what stands behind the first letter. Letters below keep their sign."""
    marks, pieces = syllable[1:], []
    for char in marks:
        if pieces and pieces[-1] == "\u17d2":
            pieces[-1] += char
        else:
            pieces.append(char)
    return st.permutations(pieces).map(lambda drawn: syllable[0] + "".join(drawn))


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("มๅ", "มา"), ("ฤาษี", "ฤๅษี"), ("สิทธ์ิ", "สิทธิ์"), ("ท่ี", "ที่"), ("นำ้", "น้ำ"), ("นํ้า", "น้ำ"),
        ("น\u0e4d\u0e32", "นำ"), ("\u0e40\u0e40ม่", "แม่"), ("ที่่", "ที่"), ("มา้", "ม้า"), ("กิํ", "กึ"),
        ("ທ່ີ", "ທີ່"), ("ຫນັງສື", "ໜັງສື"), ("ຫມາ", "ໝາ"), ("ຫລວງ", "ຫຼວງ"),
        ("ນໍ້າ", "ນ້ຳ"), ("\u0ec0\u0ec0ມ່", "ແມ່"),
        ("ខែ្មរ", "ខ្មែរ"), ("បេីក", "បើក"), ("កេាះ", "កោះ"), ("កណ្ដាល", "កណ្តាល"), ("ស្រ្តី", "ស្ត្រី"),
        ("ឲ្យ", "ឱ្យ"), ("សុី", "ស៊ី"), ("មុឺន", "ម៉ឺន"), ("ធមី្ម", "ធម្មី"), ("កំា", "កាំ"), ("ធម៌្ម", "ធម៌្ម"),
        ("ខုိ", "ខို"), ("ခုိ", "ခို"), ("၀န်", "ဝန်"), ("ဘ၀", "ဘဝ"), ("ဥ်", "ဉ်"), ("ဥာဏ်", "ဉာဏ်"),
        ("ပဥ္စ", "ပဉ္စ"), ("ဉီး", "ဦး"), ("သြဂုတ်", "ဩဂုတ်"), ("ဩော်", "ဪ"), ("ပြသ္သနာ", "ပြဿနာ"),
        ("စျေး", "ဈေး"),
        ("၄င်း", "၎င်း"), ("မြုိ့", "မြို့"), ("မြို့့", "မြို့"), ("ခ့ဲ", "ခဲ့"), ("န်ု", "နု်"), ("၁ဝဝ", "၁၀၀"),
        ("၅,ဝဝဝ", "၅,၀၀၀"), ("ယောကျာ်း", "ယောက်ျား"), ("ချ်", "ခ်ျ"), ("၇န်ကုန်", "ရန်ကုန်"),
        ("အဂ္င်္လိပ်", "အဂ္င်္လိပ်"), ("အင္်ဂလိပ်", "အင်္ဂလိပ်"),
    ],
)  # fmt: skip
def test_ways_to_type_a_syllable_are_one(typed, meant):
    assert normalize(typed) == normalize(meant)
    assert fold(typed) == fold(meant)
    assert letters_and_digits(f"{typed}ก") == letters_and_digits(f"{meant}ก")


@pytest.mark.parametrize(
    "text",
    [
        "ฤๅษีที่น้ำตกก็เป็นสิทธิ์", "ນ້ຳໃນໜັງສືທີ່ຫຼິ້ນ", "ស្ត្រីខ្មែរប៉ុន្តែស៊ីចំណីកុំបើកោះសៅរ៍ធម៌",
        "ကျွန်ုပ်သည် ယောက်ျား ဖြစ်၍ မြို့သို့ သွားခဲ့သော် အင်္ဂလိပ်စာ သင်ရန် ဝန်ထမ်း ၁၀ ဦး ရှိသည်။", "၅ရက် ၁၀ထပ် ၂၀၀၇ခု ၅ဝန်း",
    ],
)  # fmt: skip
def test_what_is_typed_well_stays(text):
    assert one_typing(text) == normalize(text) == text


@pytest.mark.parametrize("syllable", SYLLABLES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_the_order_of_marks_makes_no_difference(syllable, data):
    drawn = data.draw(orders(syllable))
    assert normalize(drawn) == normalize(syllable)
    assert fold(drawn) == fold(syllable)


@pytest.mark.parametrize("fold_again", [fold, squeeze, normalize])
@pytest.mark.parametrize("script", ALPHABETS)
@given(data=st.data())
@settings(deadline=None)
def test_to_fold_again_changes_nothing(script, fold_again, data):
    text = data.draw(st.text(st.sampled_from(ALPHABETS[script]), max_size=12))
    once = fold_again(text)
    assert fold_again(once) == once
    form = "NFC" if fold_again is normalize else "NFKC"
    assert fold_again(unicodedata.normalize(form, once)) == once


@pytest.mark.parametrize("run", ["่ิ", "ุ", "ໍ່", "ុ", "៉ុ", "្ត", "ិ្ត", "ုိ", "ာ်", "ဝ", "၀", "၁,ဝ", "ံ့်"])
def test_the_longest_run_of_marks_takes_no_time(run):
    text = run * 30_000
    assert len(fold(f"ក{text}ិ")) <= len(text) + 2


def test_digits_of_a_number_stay_digits():
    assert fold("၂၀၂၄ ခုနှစ်၊ ၀.၅ ၊ အခန်း၇ ၊ ၁၀၀ကျပ် ၊ ၅ရာ") == fold(
        "2024 ခုနှစ်၊ 0.5 ၊ အခန်း7 ၊ 100ကျပ် ၊ 5ရာ"
    )
