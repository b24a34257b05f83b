"""What looks like a leak or like markup, and what only looks so."""

from __future__ import annotations

import pytest

from seedfree.filters.rules import RuleFilter
from seedfree.records import Instruction, Suspicion


def check(text: str, language: str = "th") -> object:
    return RuleFilter().check(
        Instruction("closed_qa", "What is it about?", text, language=language)
    )


@pytest.mark.parametrize(
    "text",
    [
        "เซต A = {1, 2, {3}} มีสมาชิกสามตัว",
        "ให้ B = {{1}, {2}} และ C = {{x, y}, {z}}",
        "เมทริกซ์เอกลักษณ์ขนาดสองคือ [[1, 0], [0, 1]] ครับ",
        "เมทริกซ์การหมุนคือ [[cos x, -sin x], [sin x, cos x]] ครับ",
        'ตัวอย่าง {"a": {"b": 1}} เป็นออบเจ็กต์ซ้อนกัน',
        '{"ชื่อ": "ส้ม", "ราคา": {"บาท": 20}}',
        "ถ้า i<s และ s>0 ให้หาค่า i ถ้า a <b และ c> d ให้หยุด",
        "ชนิด List<a> และ Option<i> เป็นชนิดที่รับชนิด เช่นเดียวกับ Set<s> ครับ",
        r"เปิดไฟล์ด้วย \usepackage[thai]{language} แล้ว \begin{document}",
        "แท็ก <b> ใช้ทำตัวหนา ส่วนแท็ก <p> ใช้ขึ้นย่อหน้าใหม่",
        "แท็ก <br> ใช้ขึ้นบรรทัดใหม่ และแท็ก “</b>” ปิดตัวหนา",
        "อนุพันธ์อันดับสาม f'''(x) = 6 และ g'''(x) = 0",
        r"ประสิทธิภาพคือ \frac{output}{input} และ $\text{length}$ คือความยาว",
        r"ตัวแปร x_{a_{1}} กับ \mathbf{{AB}} ในสูตร",
        "ให้ $label$ เป็นเวกเตอร์",
        "ตลกมากเลยค่ะ ฮ่าๆๆๆๆๆๆๆๆๆๆๆๆๆๆๆๆ",
        "ตลกมาก ฮ่า" + "ๆ" * 60,
    ],
)
def test_formulas_types_and_tags_that_are_named_pass(text: str) -> None:
    assert check(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Response: people answered the call within an hour and filled four lorries with rice.",
        "Evidence: the skull was found in 1924.\n\nExplanation: it lay in a quarry.",
        "The token <pad> fills a batch, and <think> opens a thought.",
    ],
)
def test_english_words_that_a_prompt_has_too_pass(text: str) -> None:
    assert check(text, "en") is None


@pytest.mark.parametrize(
    "text, markup",
    [
        ("วัด (; ) นี้สร้างเมื่อร้อยปีก่อน", "(; )"),
        ("ข้อความ<b>หนา</b>ในย่อหน้า", "<b>"),
        ("a word<b>bold</b>", "<b>"),
        ("<p>ย่อหน้า</p>", "<p>"),
        ("{{ต้องการอ้างอิง|วัด}} วัดนี้เก่าแก่", "{{ต้องการอ้างอิง|วัด}}"),
        ("{{Infobox\n| name = วัด", "{{Infobox"),
        ("[[ไฟล์:วัด.jpg|thumb]]", "[[ไฟล์:วัด.jpg|thumb]]"),
    ],
)
def test_markup_of_a_page_is_doubted(text: str, markup: str) -> None:
    finding = check(text)
    assert isinstance(finding, list)
    assert Suspicion("rules: markup", "output", (markup,)) in finding


@pytest.mark.parametrize(
    "text, language",
    [
        ("### Response:\nPad thai is a dish of noodles.", "en"),
        ("Instruction: explain it.\nPad thai is a dish of noodles.", "en"),
        ("Response: ผัดไทยเป็นอาหารจานเส้น", "th"),
        ("Pad thai is a dish. <|im_end|>", "en"),
        ("<think>\nPad thai", "en"),
        ("Pad thai is a dish.<eos>", "en"),
        ("<s>Pad thai is a dish.", "en"),
        ("Pad thai is a dish.</s>", "en"),
    ],
)
def test_a_leak_that_nobody_could_have_meant_is_a_fact(text: str, language: str) -> None:
    assert check(text, language) == "rules: prompt leaked (output)"


@pytest.mark.parametrize(
    "text, words",
    [
        ("แม่แบบใช้ <|im_end|> ปิดแต่ละรอบ", "<|im_end|>"),
        ("เมื่อ $context กล่าวถึงเรื่องนี้", "$context"),
        ("ตอบเป็นภาษา {language} เท่านั้น", "{language}"),
    ],
)
def test_a_leak_that_may_be_meant_is_doubted(text: str, words: str) -> None:
    assert check(text) == [Suspicion("rules: prompt leaked", "output", (words,))]
