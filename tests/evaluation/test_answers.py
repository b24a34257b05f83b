"""Which choice an answer means: the forms that models write, the traps, what holds for any text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.evaluation.answers import labelled_choices, meant_choice
from seedfree.languages import Language, languages

RIVERS = ("แม่น้ำปิง", "แม่น้ำวัง", "แม่น้ำยม", "แม่น้ำน่าน")
COUNTS = ("5 วิธี", "2 วิธี", "4 วิธี", "3 วิธี")
RULES = (
    "ทำได้ เพราะเป็นที่ดินของตน",
    "ทำได้ แต่ต้องขออนุญาตก่อน",
    "ทำไม่ได้ เพราะเป็นที่สาธารณะ",
    "ทั้ง (ก) และ (ข)",
)


@pytest.mark.parametrize(
    "text",
    """
    ข | ข. | (ข) | ข) | **ข** | ข้อ ข | ข้อ ข. | ตอบ ข | ตอบ: ข | ตอบข้อ ข | ตอบ ข้อ ข.
    คำตอบ: (ข) | คำตอบคือ ข
    คำตอบที่ถูกต้องคือ ข. | คำตอบที่ถูกต้องคือข | คำตอบที่ถูกต้องก็คือ (ข) แม่น้ำวัง
    ข้อที่ถูกต้องได้แก่ ข.
    ตัวเลือกที่ถูกต้องที่สุดคือ "ข" | เฉลย ข
    ข้อ ข ถูกต้อง | ข้อ (ข) จึงเป็นคำตอบที่ถูกต้องที่สุด | ข. แม่น้ำวัง เพราะไหลผ่านลำปาง | ขอเลือกตอบ ข เนื่องจากอยู่ใกล้
    B | b) | (B) | **B)** | B. | Answer: B | The answer is B.
    The correct answer is **(B)** because it is near.
    B is correct
    Final answer: \\boxed{B} | option B | I think the best choice is b, since it is near
    2 | ๒ | ข้อ 2 | ข้อ ๒ | ตอบข้อ 2 | คำตอบคือ 2. | คำตอบที่ถูกต้องคือ 2 เพราะไหลผ่านลำปาง | 2. แม่น้ำวัง
    แม่น้ำวัง | "แม่น้ำวัง" | แม่น้ำวัง เพราะไหลผ่านลำปาง ส่วนแม่น้ำปิงไหลผ่านเชียงใหม่
    คำตอบคือ แม่น้ำวัง | ได้แก่ แม่น้ำวัง ครับ
    ไม่ใช่แม่น้ำปิง แต่คำตอบคือ ข | ข้อ ก ไม่ถูกต้อง คำตอบคือ ข | ตอนแรกคิดว่าคำตอบคือ ก แต่ที่จริงคำตอบคือ ข
    ข ครับ | คำตอบของคำถามข้อนี้คือ ข | ข้อที่ถูกคือข้อ ข | ดังนั้น คำตอบจึงเป็น ข
    I would choose B. | Ans: B | ฉันเลือกข้อ ข ค่ะ
    <think>คำตอบคือ ก หรือ ค</think>ข
    """.replace("\n", "|").split("|"),
)
def test_the_second_choice_in_the_forms_that_models_write(text):
    if text.strip():
        assert meant_choice(text.strip(), RIVERS) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "ไม่ทราบ",
        "ตอบ ก และ ข",
        "คำตอบคือ ก หรือ ข",
        "คำตอบที่ถูกต้องคือ (ก), (ค)",
        "ข้อ (ก-ง) ถูกทั้งหมด",
        "แม่น้ำปิง และ แม่น้ำวัง",
        "ข. แม่น้ำน่าน",
        "ไม่ใช่แม่น้ำวัง",
        "ข้อ ก ไม่ถูกต้อง",
        "กรุงเทพฯ เป็นเมืองหลวง",
        "คำตอบคือ กรุงเทพฯ",
        "ขอบคุณครับ",
        "ค่าเดินทางแพงมาก",
        "A dog is an animal",
        "The answer is a river in the north",
        "คำตอบคือ 2 แม่น้ำที่ไหลมารวมกัน",
        "แม่น้ำ 2 สาย",
        "1. ไหลผ่านลำปาง\n2. ไหลผ่านตาก\n3. ไหลผ่านน่าน",
        "คำตอบคือ ฉ",
        "ก. แม่น้ำปิง\nข. แม่น้ำวัง\nค. แม่น้ำยม\nง. แม่น้ำน่าน",
        "ข้อ ก และข้อ ข ถูกต้อง",
        "ค. แม่น้ำวัง",
        "ถูกทุกข้อ",
        "ตอบ 12",
    ],
)
def test_what_means_no_choice_or_two(text):
    assert meant_choice(text, RIVERS) is None


def test_nothing_and_twice_the_same_are_no_choice():
    assert meant_choice("", ("", "ก")) is None
    assert meant_choice("ฝน", ("ฝน", "แดด", "ฝน")) is None
    assert meant_choice("ข", ("ฝน", "แดด", "ฝน")) == 1


@pytest.mark.parametrize(
    "piece",
    [
        "คำตอบคือ ",
        "แม่น้ำวัง ",
        "ก. ",
        "(ก) และ ",
        "ไม่ใช่",
        "a",
        "1.",
        "\n",
        " ",
        "_",
        ".",
        "-",
        "ข้อ",
        "( [",
        "คำตอบของ",
    ],
)
def test_long_texts_are_read_in_time(piece):
    started = time.perf_counter()
    text = f"a{piece * (200_000 // len(piece))}b"
    meant_choice(text, RIVERS)
    labelled_choices(text)
    assert time.perf_counter() - started < 20  # quadratic readers need minutes


def test_a_number_in_a_choice_is_no_label():
    assert (
        meant_choice("ฟ้องได้ 3 วิธี คือ ยื่นเอง ส่งไปรษณีย์ และยื่นทางเว็บ ดังนั้นคำตอบที่ถูกต้องคือ 3 วิธี", COUNTS) == 3
    )
    assert meant_choice("คำตอบที่ถูกต้องคือ 3.", COUNTS) == 2
    assert meant_choice("2. 2 วิธี", COUNTS) == 1
    assert meant_choice("12 วิธี", COUNTS) is None
    assert meant_choice("2.5 วิธี", COUNTS) is None


def test_the_words_of_a_choice():
    assert meant_choice("ทำได้ แต่ต้องขออนุญาตก่อน ตามกฎหมายที่ดิน", RULES) == 1
    assert meant_choice("ทั้ง (ก) และ (ข) เพราะถูกทั้งคู่", RULES) == 3
    assert meant_choice("คำตอบคือ ทั้ง (ก) และ (ข)", RULES) == 3
    assert meant_choice("ไม่มีอำนาจ เพราะหมดวาระ", ("มีอำนาจ", "ไม่มีอำนาจ")) == 1
    assert meant_choice("เห็นว่าไม่มีอำนาจ", ("มีอำนาจ", "ขึ้นอยู่กับศาล")) is None
    assert meant_choice("ถูกต้องแล้ว", ("ต้อง", "ไม่ต้อง")) is None


def test_wording_copied_with_slips_or_in_part():
    laws = (
        "ผู้ใดพบทรัพย์สินที่มีผู้ทำหาย ต้องส่งมอบให้แก่เจ้าของหรือเจ้าพนักงานตำรวจภายในสามวัน",
        "ผู้เช่าต้องชำระค่าเช่าทุกสิ้นเดือน เว้นแต่จะตกลงกันไว้เป็นอย่างอื่นในสัญญาเช่า",
    )
    assert (
        meant_choice("ผู้ใดพบทรัพย์สินที่มีผู้ทำหาย ตองส่งมอบให้แกเจ้าของหรือเจ้าพนักงานตำรวจภายใน 3 วัน", laws) == 0
    )
    assert meant_choice("ผู้เช่าต้องชำระค่าเช่าทุกสิ้นเดือน", laws) == 1
    assert meant_choice(f"{laws[0][:-4]} และ {laws[1][:-4]}", laws) is None
    assert meant_choice("เจ้าของบ้านต้องซ่อมแซมบ้านให้อยู่ในสภาพดีเสมอ", laws) is None


@pytest.mark.parametrize("code", languages())
def test_the_answer_as_the_language_file_writes_it(code):
    language = Language.load(code)
    for place, label in enumerate(language.labels):
        answer = language.text(
            "multiple_choice_answer", explanation="...", label=label, choice="xyz"
        )
        for text in (answer, answer.removesuffix(". xyz"), label, f"({label})", f"{label}. xyz"):
            assert meant_choice(text, (), code) == place


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "The capital of the UK is London, so the answer is C."),
        ("en", "A is wrong. B is wrong. C is correct."),
        ("en", "**Answer: C. Rome**"),
        ("en", "The answer is A. Wait, the answer is C."),
        ("id", "Jawabannya adalah C"),
        ("sw", "Jibu ni C"),
        ("vi", "Đáp án: C"),
        ("tr", "Doğru cevap: C"),
        ("lo", "ຄຳຕອບທີ່ຖືກຕ້ອງແມ່ນ ຄ."),
        ("lo", "ຕອບ ຄ"),
        ("lo", "ຂໍ້ ຄ"),
        ("lo", "໓"),
        ("km", "ចម្លើយ៖ គ"),
        ("km", "៣"),
        ("my", "အဖြေ - ဂ"),
        ("my", "၃"),
        ("th", "ไม่ใช่ ก แต่เป็น ค"),
        ("en", "not A but C"),
        ("km", "ជម្រើស គ"),
        ("km", "ចម្លើយដែលត្រឹមត្រូវគឺ៖ គ"),
        ("vi", "Đáp án C"),
        ("vi", "Tôi chọn C"),
        ("vi", "Phương án đúng là C"),
        ("vi", "Không phải A mà là C"),
        ("tr", "Doğru cevap C'dir."),
        ("tr", "C şıkkı"),
        ("tr", "C seçeneği doğrudur, A şıkkı yanlış."),
        ("sw", "Chaguo sahihi ni C"),
        ("sw", "Ninachagua C"),
        ("sw", "C ndiyo jibu sahihi"),
        ("id", "Saya pilih C"),
        ("id", "C adalah jawaban yang benar"),
        ("lo", "ຂໍ້ ຄ ຖືກຕ້ອງ"),
    ],
)
def test_the_third_choice_in_other_languages(code, text):
    assert meant_choice(text, ("a1", "b2", "c3", "d4"), code) == 2


@pytest.mark.parametrize(
    ("code", "text"),
    [("tr", "A değil"), ("tr", "A şıkkı yanlış"), ("id", "bukan A"), ("vi", "đáp án không phải A")],
)
def test_a_denied_choice_is_none_in_other_languages(code, text):
    assert meant_choice(text, ("a1", "b2", "c3", "d4"), code) is None


def test_a_choice_in_capitals_with_the_turkish_i():
    choices = ("Ankara", "İzmir", "Iğdır", "Van")
    assert [meant_choice(text, choices, "tr") for text in ("IĞDIR", "iğdır", "İZMİR")] == [2, 2, 1]


def test_choices_are_read_from_labelled_lines():
    assert labelled_choices("เลือกข้อที่ถูก\nก. หนึ่ง\nข.  สอง\n\nค. สาม") == (
        "หนึ่ง",
        " สอง".strip(),
        "สาม",
    )
    assert labelled_choices("(A) one\n(B) two\nand more\n(C) three", "en") == (
        "one",
        "two\nand more",
        "three",
    )
    assert labelled_choices("1. ข้อแรก\n2. ข้อสอง มีดังนี้\n(1) ย่อย\n(2) ย่อย\n3. ข้อสาม") == (
        "ข้อแรก",
        "ข้อสอง มีดังนี้\n(1) ย่อย\n(2) ย่อย",
        "ข้อสาม",
    )
    assert labelled_choices("๑. หนึ่ง\n๒. สอง") == ("หนึ่ง", "สอง")
    assert (
        labelled_choices("ก. มีข้อเดียว")
        == labelled_choices("ไม่มีตัวเลือก")
        == labelled_choices("2. สอง\n3. สาม")
        == ()
    )


def test_a_reference_says_the_choice_first():
    text = "คำตอบคือ ข. เพราะ ข้อ ก. ไม่ถูกต้อง\nสรุป ข้อที่ถูกต้องคือ ค. ตามที่บางคนเข้าใจ"
    assert meant_choice(text, RIVERS, reference=True) == 1
    assert meant_choice("(ค) แม่น้ำยม\n(ก) ผิด", RIVERS, reference=True) == 2


LABELS = ("กขคงจฉ", "ABCDEF", "abcdef", "123456", "๑๒๓๔๕๖")
FORMS = (
    "{}",
    "({})",
    "**{})**",
    "ข้อ {}",
    "ตอบ {}",
    "คำตอบที่ถูกต้องคือ {}. เพราะมีเหตุผล",
    "The answer is ({}).",
)


@given(
    st.text(max_size=80) | st.text("กขค1ABคำตอบคือไม่ข้อ .()\n*", max_size=60),
    st.lists(st.text(max_size=20), max_size=5),
)
def test_any_text_means_one_of_the_choices_or_none(text, choices):
    for reference in (False, True):
        position = meant_choice(text, choices, reference=reference)
        assert position is None or 0 <= position < (len(choices) or 8)
    labelled_choices(text)


@given(st.integers(0, 3), st.sampled_from(LABELS), st.sampled_from(FORMS))
def test_every_way_to_label_means_the_same(place, labels, form):
    assert (
        meant_choice(form.format(labels[place]), RIVERS)
        == meant_choice(form.format(labels[place]))
        == place
    )


@given(
    st.permutations(range(4)),
    st.integers(0, 3),
    st.sampled_from(["{}", "คำตอบคือ {}", "{} เพราะใกล้กว่า"]),
)
def test_another_order_moves_the_answer_with_its_choice(order, place, form):
    assert meant_choice(form.format(RIVERS[place]), [RIVERS[i] for i in order]) == order.index(
        place
    )
