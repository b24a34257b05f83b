import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.filters.grounding import GroundingFilter
from seedfree.languages import Language
from seedfree.records import Context, Instruction
from tests.fakes import reason

THAI = Language(
    code="th", name="Thai", native="ไทย", script="Thai", persona="", era_offset=543,
    digits="๐๑๒๓๔๕๖๗๘๙", labels=("ก", "ข", "ค", "ง"),
    name_markers=("นาย", "นาง", "จังหวัด", "อำเภอ", "ประเทศ", "วัด", "แม่น้ำ", "พระ"),
    segmenter="newmm", numbers=Language.load("th").numbers,
)  # fmt: skip
ENGLISH = Language(code="en", name="English", native="English", script="Latin", persona="")
TURKISH = Language(code="tr", name="Turkish", native="Türkçe", script="Latin", persona="")

TEXT = (
    "สะพานพระพุทธยอดฟ้าเปิดใช้เมื่อวันที่ 6 เมษายน พ.ศ. 2475 ในวาระครบ 150 ปีของกรุงรัตนโกสินทร์ "
    "บริษัทดอร์แมนลอง (Dorman Long) จากอังกฤษเป็นผู้สร้าง ตัวสะพานยาว 678 เมตร "
    "กว้าง 16.68 เมตร ใช้เงินราว 4,000,000 บาท แม่น้ำเจ้าพระยาช่วงนี้ลึกมาก ช่างต้องตอกเสาเข็มสามแถว "
    "นายช่างใหญ่ชื่อนายเซบาสเตียนเรียกงานนี้ว่า “สะพานแห่งพระนคร” "
    "ปัจจุบันรถยนต์ผ่านร้อยละ ๔๒ ของทั้งย่าน"
)


def check(
    output,
    text=TEXT,
    task="closed_qa",
    language=THAI,
    instruction="สะพานนี้เปิดใช้เมื่อใด",
    evidence="",
    **more,
):
    each = GroundingFilter(**more)
    each.bind(type("Session", (), {"language": language, "grounded_tasks": None}))
    item = Instruction(
        task, instruction, output, evidence=evidence, context=Context(text=text, title="สะพานพุทธ")
    )
    return reason(each.check(item))


@pytest.mark.parametrize(
    "output",
    [
        "เปิดใช้เมื่อวันที่ 6 เมษายน พ.ศ. 2475",
        "เปิดใช้เมื่อวันที่ ๖ เมษายน พ.ศ. ๒๔๗๕",
        "เปิดใช้ใน ค.ศ. 1932",
        "ยาว 678 เมตร และกว้าง 16.68 เมตร",
        "ใช้เงินประมาณ 4000000 บาท",
        "ใช้เงินประมาณ ๔,๐๐๐,๐๐๐ บาท",
        "ผู้สร้างคือบริษัท Dorman Long",
        "มีรถผ่าน 42% ของทั้งย่าน",
        'งานนี้ได้ชื่อว่า "สะพานแห่งพระนคร"',
        "ข้อมูลที่ควรรู้มี 3 อย่าง\n1. ยาว 678 เมตร\n2. เปิดใช้ในปี 2475\n12) ตอกเสาเข็ม 3 แถว",
        "นายเซบาสเตียนเป็นผู้คุมงาน",
        "สะพานข้ามแม่น้ำนี้ เป็นงานของนายช่าง และประเทศอื่นก็รู้จัก",
    ],
)
def test_what_stands_in_the_context_passes(output):
    assert check(output) is None


@pytest.mark.parametrize(
    "output, detail",
    [
        ("เปิดใช้เมื่อ พ.ศ. 2476", "number not in the context (2476)"),
        ("เปิดใช้เมื่อ ค.ศ. 1933", "number not in the context (1933)"),
        ("ยาว 687 เมตร", "number not in the context (687)"),
        ("กว้าง 16.86 เมตร", "number not in the context (16.86)"),
        ("ใช้เงิน ๕,๐๐๐,๐๐๐ บาท", "number not in the context (5,000,000)"),
        ("เปิดใช้วันที่ 9 เมษายน", "number not in the context (9)"),
        ("ผู้สร้างคือบริษัท Sumitomo", "name not in the context (Sumitomo)"),
        ("งานนี้เรียกว่า “สะพานสองฝั่ง”", "name not in the context (สะพานสองฝั่ง)"),
        ("สะพานอยู่ในจังหวัดนนทบุรี", "name not in the context (นนทบุรี)"),
        ("ผู้คุมงานคือ นายวิชิต", "name not in the context (วิชิต)"),
    ],
)
def test_what_does_not_stand_there_is_dropped(output, detail):
    assert check(output) == f"grounding: {detail}"


@pytest.mark.parametrize(
    "context, answer, grounded",
    [
        ("เกิดเมื่อ 12 มกราคม พ.ศ. 2472", "เกิดในเดือนมกราคม ค.ศ. 1930", True),
        ("เกิดเมื่อ 12 มกราคม พ.ศ. 2472", "เกิดในปี ค.ศ. 1930", True),
        ("เกิดเมื่อ 12 มกราคม ค.ศ. 1930", "เกิดในเดือนมกราคม พ.ศ. 2472", True),
        ("เกิดเมื่อ 12 มกราคม ค.ศ. 1930", "เกิดในเดือนมกราคม พ.ศ. 2473", False),
        ("เกิดเมื่อ 12 มกราคม ค.ศ. 1955", "เกิดในเดือนมกราคม พ.ศ. 2498", True),
        ("เกิดเมื่อ 12 มกราคม ค.ศ. 1955", "เกิดในเดือนมกราคม พ.ศ. 2497", False),
        ("เกิดเมื่อ 12 กรกฎาคม ค.ศ. 1930", "เกิดในเดือนกรกฎาคม พ.ศ. 2473", True),
        ("เกิดใน ค.ศ. 1930", "เกิดใน พ.ศ. 2473", True),
    ],
)
def test_years_of_the_buddhist_era(context, answer, grounded):
    assert (check(answer, context) is None) is grounded


def test_years_have_one_era_where_the_language_has_one():
    assert (
        check("Built in 1932.", "It was built in 2475.", language=ENGLISH)
        == "grounding: number not in the context (1932)"
    )


@pytest.mark.parametrize(
    "context, answer, grounded",
    [
        ("It weighs 1.234 kg.", "The stone weighs 1,234 grams or so.", True),
        ("Luasnya 5.180.053 km².", "Luasnya 5,180,053 km².", True),
        ("It opens at 10.30.", "The doors open at 10:30.", True),
        ("Version 2.4.1 came out.", "That was version 2.4.1.", True),
        ("It grew by 0.50 percent.", "The growth was 0.5 %.", True),
        ("It grew by 0.50 percent.", "The growth was 0.05 %.", False),
        ("Three temples stand there.", "There are 3 temples.", True),
        ("4 temples stand there.", "There are 3 temples.", False),
        ("Some 40 temples stand there.", "There are 50 temples.", False),
    ],
)
def test_numbers_are_compared_by_value(context, answer, grounded):
    assert (check(answer, context, language=ENGLISH) is None) is grounded


@pytest.mark.parametrize(
    "language, answer, name",
    [
        (ENGLISH, "The city of Sukhothai lies on the Yom.", None),
        (ENGLISH, "Then Sukhothai's kings moved. Nobody knows why.", None),
        (ENGLISH, "Its first ruler was Ramkhamhaeng.", "Ramkhamhaeng"),
        (ENGLISH, "- Potters work there\n- Weavers too", None),
        (ENGLISH, "It was said that I might go.", None),
        (TURKISH, "Kent Sukhothai'nin Yom kıyısındadır.", None),
        (TURKISH, "Kentin ilk kralı Ramkhamhaeng'di.", "Ramkhamhaeng'di"),
    ],
)
def test_names_in_languages_with_capitals(language, answer, name):
    expected = name and f"grounding: name not in the context ({name})"
    assert (
        check(answer, "The old city of Sukhothai stands by the river Yom.", language=language)
        == expected
    )


@pytest.mark.parametrize(
    "code, page, evidence",
    [
        ("th", "ท่ีวัดนี้มีต้นโพธ์ิใหญ่อายุร้อยปี", "ที่วัดนี้มีต้นโพธิ์ใหญ่อายุร้อยปี"),
        ("lo", "ຢູ່ທ່ີນ້ີມີຫນັງສື", "ຢູ່ທີ່ນີ້ມີໜັງສື"),
        ("km", "ប្រជាជនខែ្មរបេីកទ្វារ", "ប្រជាជនខ្មែរបើកទ្វារ"),
        ("my", "ရန်ကုန်မြုိ့သည် အကြီးဆုံးမြုိ့ ဖြစ်သည်။", "ရန်ကုန်မြို့သည် အကြီးဆုံးမြို့ ဖြစ်သည်။"),
    ],
)
def test_evidence_is_found_however_the_page_is_typed(code, page, evidence):
    language = Language.load(code)
    assert check("—", page, language=language, evidence=evidence) is None


@pytest.mark.parametrize(
    "evidence, verbatim",
    [
        ("ตัวสะพานยาว 678 เมตร", True),
        (" ตัวสะพาน ยาว๖๗๘\nเมตร ", True),
        ("“ตัวสะพานยาว 678 เมตร”", True),
        ("ตัวสะพานยาวถึง 678 เมตร", False),
        ("ตัวสะพานยาว 6.78 เมตร", False),
        ("", True),
    ],
)
def test_evidence_is_verbatim(evidence, verbatim):
    expected = None if verbatim else "grounding: evidence not in the context"
    assert check("ยาว 678 เมตร", evidence=evidence) == expected


def test_copies_are_their_own_reason():
    copies = "grounding: copies the context"
    assert check(TEXT) == copies
    assert check(TEXT.replace(" ", "\n")) == copies
    assert check(f"คำตอบคือ {TEXT[: int(len(TEXT) * 0.9)]}") == copies
    assert check("ยาวห้าเมตร", "ยาวห้าเมตร") == copies
    assert check("ตัวสะพานยาว 678 เมตร กว้าง 16.68 เมตร ใช้เงินราว 4,000,000 บาท") is None


def test_a_summary_is_no_excerpt():
    text = TEXT + " " + "คนในย่านเล่าว่าเมื่อก่อนมีตลาดดอกไม้ริมน้ำ ขายกันตั้งแต่ตีสองจนสว่าง " * 8
    assert check(TEXT[:260], text, task="summarization").startswith("grounding: half of a")
    assert check(TEXT[:260], text, task="closed_qa") is None
    assert check(TEXT[:120], text, task="summarization") is None


QUESTION = "สะพานเปิดใช้ในปีใด\nก. พ.ศ. 2465\nข. พ.ศ. 2475\nค. พ.ศ. 2485\nง. พ.ศ. 2495"


@pytest.mark.parametrize(
    "output, number",
    [
        ("เอกสารบอกว่าเปิดในปีนั้น ไม่ใช่ พ.ศ. 2465 หรือ พ.ศ. 2495\n\nคำตอบที่ถูกต้องคือ ข. พ.ศ. 2475", None),
        ("เอกสารบอกว่าเปิดใน พ.ศ. 2475\n\nคำตอบที่ถูกต้องคือ ค. พ.ศ. 2485", "2485"),
        ("เปิดในรัชกาลที่ 7 พ.ศ. 2477\n\nคำตอบที่ถูกต้องคือ ข. พ.ศ. 2475", "2477"),
        ("คำตอบคือ ข. พ.ศ. 2475 เพราะเอกสารบอกไว้ ส่วน พ.ศ. 2465 กับ พ.ศ. 2495 ไม่มีในเอกสาร", None),
        ("คำตอบคือ ค. พ.ศ. 2485 เพราะเอกสารบอกไว้ ไม่ใช่ พ.ศ. 2475", "2485"),
    ],
)
def test_wrong_choices_may_be_named(output, number):
    expected = number and f"grounding: number not in the context ({number})"
    assert check(output, task="multiple_choice", instruction=QUESTION) == expected


def test_a_choice_that_an_explanation_quotes_is_no_unknown_name():
    question = "ตลาดอยู่จังหวัดใด\nก. ราชบุรี\nข. สมุทรสงคราม\nค. นครปฐม"
    answer = 'ข. สมุทรสงคราม ส่วน "นครปฐม" กับจังหวัดราชบุรีนั้น เอกสารไม่ได้กล่าวถึง'
    text = "ตลาดแห่งนี้อยู่ในจังหวัดสมุทรสงคราม"
    assert check(answer, text, task="multiple_choice", instruction=question) is None
    taken = "คำตอบที่ถูกต้องคือ ก. ราชบุรี"
    assert "ราชบุรี" in check(taken, text, task="multiple_choice", instruction=question)
    other = answer.replace("ราชบุรี", "ระนอง")
    assert "ระนอง" in check(other, text, task="multiple_choice", instruction=question)


def test_only_tasks_that_promise_it_are_checked():
    assert check("ยาว 9999 เมตร", task="brainstorming") is None
    assert (
        check("ยาว 9999 เมตร", task="brainstorming", tasks=frozenset({"brainstorming"})) is not None
    )
    assert check("ยาว 9999 เมตร", tasks=frozenset({"brainstorming"})) is None
    assert check("ยาว 9999 เมตร", text=" ") is None
    assert GroundingFilter().check(Instruction("closed_qa", "ยาวเท่าใด", "ยาว 9999 เมตร")) is None
    with pytest.raises(ConfigError, match="one word"):
        GroundingFilter(tasks="closed_qa")


@pytest.mark.parametrize(
    "promised, dropped",
    [(frozenset({"riddle"}), True), (frozenset({"closed_qa"}), False), (None, False)],
)
def test_the_run_tells_which_tasks_promise_it(promised, dropped):
    each = GroundingFilter()
    each.bind(type("Session", (), {"language": THAI, "grounded_tasks": promised}))
    item = Instruction("riddle", "ยาวเท่าใด", "ยาว 9999 เมตร", context=Context(text=TEXT))
    assert (each.check(item) is not None) is dropped


@given(st.text(min_size=1, max_size=300), st.data())
def test_a_piece_of_the_context_is_never_unknown(noise, data):
    text = f"{TEXT} {noise} Jan 1930 “เก้า” 12.5% {noise}"
    start = data.draw(st.integers(0, len(text) - 1))
    piece = text[start : data.draw(st.integers(start + 1, len(text)))]
    for language in (THAI, ENGLISH):
        assert check(piece, text, language=language) in (None, "grounding: copies the context")
