import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.contexts.sections import (
    Section,
    cut_point,
    fit,
    markdown_sections,
    opening,
    wiki_sections,
)

PAGE = "บทนำ\n\n\n== ประวัติ ==\nเก่าแก่\n=== ยุคแรก ===\nนานมาแล้ว\n== ดูเพิ่ม ==\nลิงก์\n== หลังจบ ==\nไม่เอา"

marks = st.sampled_from(
    [
        "== ก ==",
        "== See also ==",
        "=== ข ===",
        "====",
        "# ค",
        "## ง",
        "```",
        "\n",
        "\n\n",
        " ",
        "เ",
        "\u0e33",
    ]
)
texts = st.lists(
    st.one_of(marks, st.text(max_size=30), st.text("กขเแ่้ำะ ๆ", max_size=60)), max_size=25
).map("\n".join)
# Code points that are letters to Unicode and still belong to their neighbour, as the Thai and Lao
# standards have it.
AFTER, BEFORE = set("ะัาำๆະາຳ"), set("เแโใไເແໂໃໄ")


def test_cuts_at_second_level_headings_and_stops_at_the_end_section():
    assert wiki_sections(PAGE, ["ดูเพิ่ม"]) == [
        Section("", "บทนำ"),
        Section("ประวัติ", "เก่าแก่\nยุคแรก\nนานมาแล้ว"),
    ]


def test_end_sections_are_matched_in_any_case():
    for heading in ("SEE Also", "See\u200b also", "see also:"):
        sections = wiki_sections(f"a\n== {heading} ==\nb", ["See also"])
        assert [section.text for section in sections] == ["a"]
    assert len(wiki_sections("a\n== DIŞ BAĞLANTILAR ==\nb", ["Dış bağlantılar"])) == 1
    assert len(wiki_sections("a\n== See also in art ==\nb", ["See also"])) == 2


@pytest.mark.parametrize(
    "typed, known",
    [
        ("DIŞ BAĞLANTILAR", "Dış bağlantılar"), ("เช่ือมโยง", "เชื่อมโยง"), ("ຫນັງສື", "ໜັງສື"),
        ("ឯកសារយោង៖", "ឯកសារយេាង"), ("ကုိးကား", "ကိုးကား"),
    ],
)  # fmt: skip
def test_end_sections_are_matched_however_they_are_typed(typed, known):
    assert wiki_sections(f"ก\n== {typed} ==\nข", [known]) == [Section("", "ก")]


def test_equations_are_no_headings():
    text = "a = b\n== \n==== ====\n= x =\n== y"
    assert [s.title for s in wiki_sections(text)] == [""]


def test_markdown_headings_inside_a_fence_are_text():
    text = "# ชื่อ\nบทนำ\n```\n# ไม่ใช่หัวข้อ\n~~~\n```\n## ส่วน ##\nเนื้อหา\n### ย่อย\n#แท็ก"
    assert markdown_sections(text) == [
        Section("ชื่อ", "บทนำ\n```\n# ไม่ใช่หัวข้อ\n~~~\n```"),
        Section("ส่วน", "เนื้อหา\nย่อย\n#แท็ก"),
    ]


def test_short_sections_join_the_one_before():
    sections = [Section("", "x" * 30), Section("สั้น", "y" * 5), Section("ยาว", "z" * 20)]
    assert fit(sections, 20, 100) == [
        Section("", "x" * 30 + "\n\nสั้น\n" + "y" * 5),
        Section("ยาว", "z" * 20),
    ]


def test_short_sections_add_up_and_a_short_first_one_is_dropped():
    assert [s.text for s in fit([Section("", "x" * 12), Section("", "y" * 12)], 20, 100)] == [
        "x" * 12 + "\n\n" + "y" * 12
    ]
    assert fit([Section("", "x" * 5), Section("ก", "y" * 30)], 20, 100) == [Section("ก", "y" * 30)]
    assert fit([Section("", "x" * 5)], 20, 100) == []


def test_a_long_section_is_cut_between_paragraphs_then_words():
    paragraphs = "\n".join("ก" * 30 for _ in range(5))
    assert [s.text for s in fit([Section("t", paragraphs)], 5, 70)] == [
        "ก" * 30 + "\n" + "ก" * 30
    ] * 2 + ["ก" * 30]
    words = "abcdefg " * 20
    for section in fit([Section("t", words)], 5, 30):
        assert set(section.text.split()) == {"abcdefg"}


def test_a_cut_without_spaces_keeps_letters_and_marks_together():
    for word in ("กำ", "เก", "แก้", "ก๊", "น้ำ", "ກຳ", "ក្ក", "က္က", "é", "👍🏽"):
        text = word * 50
        for limit in range(len(word), len(text)):
            assert cut_point(text, limit) % len(word) == 0, (word, limit)


def test_opening_is_the_beginning_of_the_first_line():
    assert opening("  ข้าวไทย\nอื่น") == "ข้าวไทย"
    assert opening("one two three four", 12) == "one two"
    assert opening("") == ""


@given(texts, st.integers(1, 40), st.integers(0, 60))
def test_sections_hold_nothing_but_the_page(text, min_chars, more):
    for split in (wiki_sections, markdown_sections):
        sections = fit(split(text), min_chars, min_chars + more)
        position = 0
        for section in sections:
            assert min_chars <= len(section.text) <= min_chars + more
            for line in filter(str.strip, section.text.split("\n")):
                position = text.find(line.strip(), position)
                assert position >= 0, "a line that is not in the page, or not in its order"
                position += len(line.strip())


@given(st.text("กขเแโ่้ำะๆ\u0300a", min_size=2, max_size=80), st.data())
def test_cuts_are_within_the_limit_and_between_letters(text, data):
    limit = data.draw(st.integers(1, len(text) - 1))
    point = cut_point(text, limit)
    assert 1 <= point <= limit

    def torn(i):
        following = text[i]
        return unicodedata.combining(following) or following in AFTER or text[i - 1] in BEFORE

    assert not torn(point) or all(torn(i) for i in range(1, limit + 1))


def test_long_lines_take_no_long_time():
    for text in (
        "== " + " " * 200_000 + "x",
        "=" * 200_000,
        "`" * 200_000,
        "ก" + "\u0e48" * 20_000,
    ):
        fit(wiki_sections(text), 250, 4000)
        fit(markdown_sections(text), 250, 4000)
