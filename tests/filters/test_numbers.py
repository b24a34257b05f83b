"""Numbers of answers and texts: figures, words, dates, eras, sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.filters.numbers import unknown_numbers
from seedfree.languages import Language

UNICODE_ALONE = {
    code: Language(code=code, name=code, native=code, script=script, persona="")
    for code, script in [
        ("hi", "Devanagari"), ("ne", "Devanagari"), ("ckb", "Arabic"), ("am", "Ethiopic"),
    ]
}  # fmt: skip


def unknown(code, answer, text):
    language = UNICODE_ALONE.get(code) or Language.load(code)
    return list(unknown_numbers(answer, text, language))


@pytest.mark.parametrize(
    "code, text, answer",
    [
        ("vi", "Dân số là 12 345 người", "Có 12345 người"),
        ("sw", "Watu 10 000 walikuja", "Walikuja watu 10,000"),
        ("id", "Rp325.000 per orang", "325 000 rupiah"),
        ("tr", "Fiyatı 1.234,56 lira", "1234,56 lira eder"),
        ("tr", "Fiyatı 1\u202f234,56 lira", "1.234,56 lira eder"),
        ("en", "It cost 12,345.60 pounds.", "It cost 12\u00a0345.6 pounds."),
        ("hi", "जनसंख्या 1,23,456 है", "जनसंख्या 123456 है"),
        ("ne", "जनसंख्या १२३,४५६ छ", "जनसंख्या १,२३,४५६ छ"),
        ("ckb", "ژمارەی دانیشتووان ١٢٬٣٤٥ کەسە", "دانیشتووان ١٢٣٤٥ کەسن"),
        ("ckb", "درێژی ١٢٫٥ مەتر", "درێژی 12.5 مەتر"),
        ("am", "፲፱፻፹፬ ዓመት", "1984 ዓመት"),
        ("am", "25 ሰዎች", "፳፭ ሰዎች"),
        ("th", "ประชากร ๑,๒๓๔ คน", "ประชากร 1234 คน"),
        ("km", "ប្រជាជន ១.២៣៤ នាក់", "ប្រជាជន 1234 នាក់"),
        ("my", "လူ ၁,၂၃၄ ဦး", "လူ 1234 ဦး"),
        ("lo", "ປະຊາກອນ ໑.໒໓໔ ຄົນ", "ປະຊາກອນ 1234 ຄົນ"),
        ("en", "It is 2½ km long.", "It is 2.5 km long."),
        ("en", "The field has 35 km² in all.", "The field has 35 square km."),
        ("th", "โทร 02-123-4567", "โทร 021234567"),
    ],
)
def test_figures_are_read_in_every_form(code, text, answer):
    assert unknown(code, answer, text) == []


WORDS = [
    ("th", "ยี่สิบสองคน", "22 คน"),
    ("th", "สองพันห้าร้อยบาท", "2,500 บาท"),
    ("th", "ร้อยยี่สิบเอ็ดคน", "121 คน"),
    ("lo", "ຊາວຫ້າຄົນ", "25 ຄົນ"),
    ("lo", "ສອງພັນຫ້າຮ້ອຍກີບ", "2.500 ກີບ"),
    ("km", "ម្ភៃពីរនាក់", "22 នាក់"),
    ("km", "មួយពាន់ប្រាំបួនរយនាក់", "1900 នាក់"),
    ("my", "နှစ်ဆယ့်ငါးယောက်", "၂၅ ယောက်"),
    ("my", "တစ်ထောင့်ကိုးရာ့ငါးဆယ်ကျပ်", "၁၉၅၀ ကျပ်"),
    ("vi", "hai mươi lăm người", "25 người"),
    ("vi", "một nghìn chín trăm bốn mươi tư người", "1944 người"),
    ("id", "dua puluh lima orang", "25 orang"),
    ("id", "seribu sembilan ratus dua belas orang", "1.912 orang"),
    ("tr", "yirmi iki kişi", "22 kişi"),
    ("tr", "yirmiiki kişi", "22 kişi"),
    ("tr", "bin dokuz yüz yirmi üç kişi", "1.923 kişi"),
    ("sw", "watu ishirini na mbili", "watu 22"),
    ("sw", "watu elfu mbili mia tatu arobaini na tano", "watu 2,345"),
    ("en", "twenty-two people", "22 people"),
    ("en", "two thousand three hundred and five people", "2,305 people"),
]


@pytest.mark.parametrize("code, words, figures", WORDS)
def test_words_and_figures_support_each_other(code, words, figures):
    assert unknown(code, figures, words) == []
    assert unknown(code, words, figures) == []
    changed = figures.translate(str.maketrans("25၂၅", "79၇၉"))
    if changed == figures:
        changed = figures.replace("1", "6").replace("၁", "၆")
    assert len(unknown(code, changed, words)) == 1
    assert len(unknown(code, words, changed)) == 1


@pytest.mark.parametrize(
    "code, text, answer",
    [
        ("th", "โทรหนึ่งหกหกเก้า", "โทร 1669"),
        ("th", "ประชากร 1,200,000 คน", "ราว 1.2 ล้านคน"),
        ("th", "งบ 3 ล้าน 5 แสนบาท", "งบ 3,500,000 บาท"),
        ("th", "ใช้เวลาสองปีครึ่ง", "ใช้เวลา 2.5 ปี"),
        ("th", "ผลิตได้ 5-6 ล้านตัน", "ผลิตได้ 5 ล้านถึง 6 ล้านตัน"),
        ("lo", "2.500.000 ກີບ", "2,5 ລ້ານກີບ"),
        ("km", "២៥០០០០០ រៀល", "២,៥ លានរៀល"),
        ("my", "ကျပ် ၅၀၀၀၀၀", "၅ သိန်းကျပ်"),
        ("my", "ကျပ်သိန်း ၅၀", "၅၀၀၀၀၀၀ ကျပ်"),
        ("vi", "2.500.000 đồng", "2,5 triệu đồng"),
        ("vi", "hai triệu rưỡi đồng", "2.500.000 đồng"),
        ("id", "Rp2.500.000", "2,5 juta rupiah"),
        ("tr", "iki buçuk milyon lira", "2.500.000 lira"),
        ("tr", "150.000 lira", "150 bin lira"),
        ("sw", "shilingi 2,500,000", "shilingi milioni 2.5"),
        ("sw", "shilingi elfu kumi na tano", "shilingi 15,000"),
        ("en", "1,234,567 people", "about 1.2 million people"),
        ("en", "half a million people", "500,000 people"),
        ("en", "born in nineteen eighty-four", "born in 1984"),
        ("en", "3 lakh rupees", "300,000 rupees"),
    ],
)
def test_words_multiply_and_are_spelled(code, text, answer):
    assert unknown(code, answer, text) == []


@pytest.mark.parametrize(
    "code, text, answer, number",
    [
        ("th", "ราว 5 คน", "ราว 5 ล้านคน", "5 ล้าน"),
        ("en", "2.5 million people", "2.6 million people", "2.6 million"),
        ("hi", "जनसंख्या 1,23,456 है", "जनसंख्या 456 है", "456"),
        ("tr", "Fiyatı 1.234,56 lira", "Fiyatı 234 lira", "234"),
        ("en", "It weighs 112.15 kg.", "It weighs 15 kg.", "15"),
        ("id", "Acara pada 12.05.2020 di balai", "Yang datang 2020 orang.", "2020"),
        ("en", "Held on 13/11/2001.", "It had 13 visitors.", "13"),
        ("en", "Held on 13 May 2001.", "It had 13 people.", "13"),
        ("th", "จัดวันที่ 25 เมษายน 2560", "มี 25 คน", "25"),
        ("th", "รุ่น 3.14.15 ออกแล้ว", "มีผู้ใช้ 15 คน", "15"),
        ("th", "สูง 12.3 เมตร", "เปิดเวลา 12:30 น.", "12:30"),
        ("th", "เปิดเวลา 8.30 น.", "เปิดเวลา 9:30 น.", "9:30"),
        ("vi", "ngày 12/11/2020", "có 12 người", "12"),
        ("sw", "tarehe 13/11/2020", "watu 13", "13"),
    ],
)
def test_parts_of_numbers_and_dates_are_no_numbers(code, text, answer, number):
    assert unknown(code, answer, text) == [number]


@pytest.mark.parametrize(
    "code, text, answer",
    [
        ("id", "Acara pada 12.05.2020 di balai", "Acara itu pada tahun 2020."),
        ("id", "Acara pada 12.05.2020 di balai", "Acara itu pada 12 Mei 2020."),
        ("en", "Held on 12 May 2020.", "Held on 2020-05-12."),
        ("en", "Held on 3/11/2001.", "Held on 3 November 2001."),
        ("vi", "ngày 12 tháng 11 năm 2020", "ngày 12/11/2020"),
        ("th", "จัด 25/4/2560", "จัดวันที่ 25 เมษายน พ.ศ. 2560"),
        ("th", "จัด 25/4/2560", "จัดเมื่อ ค.ศ. 2017"),
        ("tr", "29.10.1923 tarihinde", "1923 yılında kuruldu"),
        ("sw", "tarehe 13/11/2020", "mwaka 2020"),
        ("lo", "ວັນທີ 25/4/2017", "ວັນທີ 25 ເມສາ 2017"),
        ("km", "ថ្ងៃទី ២៥/៤/២០១៧", "ថ្ងៃទី ២៥ ខែមេសា ឆ្នាំ ២០១៧"),
        ("my", "၂၅/၄/၂၀၁၇", "၂၀၁၇ ခုနှစ်"),
        ("th", "เปิดเวลา 14:30 น.", "เปิดบ่าย 2:30"),
        ("en", "In March 25 ferries ran.", "There were 25 ferries."),
        ("en", "Held on May 12, 2020.", "Held on the 12th of May 2020."),
        ("th", "เปิดสองทุ่มครึ่ง", "เปิดเวลา 20.30 น."),
    ],
)
def test_dates_and_times_support_their_other_forms(code, text, answer):
    assert unknown(code, answer, text) == []


@pytest.mark.parametrize(
    "text, answer, is_supported",
    [
        ("สร้างปี 2475", "สร้าง ค.ศ. 1932", True),
        ("ครองราชย์ พ.ศ. 2475 - 2480", "ครองราชย์ปี 1932 ถึง 1937", True),
        ("รถเข็นละ 2000 บาท", "รถเข็นละ 2543 บาท", False),
        ("มีคน 2000 คน", "ในปี 2543", False),
        ("ราคา 2475", "ราคา 1932", False),
        ("สร้างปี 2543", "ราคา 2000 บาท", False),
    ],
)
def test_only_years_have_eras(text, answer, is_supported):
    assert (unknown("th", answer, text) == []) is is_supported


@pytest.mark.parametrize(
    "code, text, total, rest",
    [
        ("th", "ชาย 45 คน หญิง 27 คน", "72 คน", "18 คน"),
        ("lo", "ຊາຍ 45 ຄົນ ຍິງ 27 ຄົນ", "72 ຄົນ", "18 ຄົນ"),
        ("km", "ប្រុស ៤៥ នាក់ ស្រី ២៧ នាក់", "៧២ នាក់", "១៨ នាក់"),
        ("my", "ယောက်ျား ၄၅ ယောက် မိန်းမ ၂၇ ယောက်", "၇၂ ယောက်", "၁၈ ယောက်"),
        ("vi", "45 người nam và 27 người nữ", "72 người", "18 người"),
        ("id", "45 orang pria dan 27 orang wanita", "72 orang", "18 orang"),
        ("tr", "45 kişi kadın, 27 kişi erkek", "72 kişi", "18 kişi"),
        ("sw", "kilo: 45 watu, 27 watu", "72 watu", "18 watu"),
        ("en", "45 people came and 27 people left", "72 people", "18 people"),
    ],
)
def test_sums_and_differences_of_one_unit_are_supported(code, text, total, rest):
    assert unknown(code, total, text) == []
    assert unknown(code, rest, text) == []
    shifted = total.replace("2", "3").replace("၂", "၃").replace("២", "៣")
    assert len(unknown(code, shifted, text)) == 1


@pytest.mark.parametrize(
    "code, text, answer",
    [
        ("th", "เกิดปี 2450 ตายปี 2517", "ตายเมื่ออายุ 67 ปี"),
        ("en", "Born in 1907, died in 1974.", "She lived 67 years."),
        ("en", "Born in 1907, she died aged 67.", "She died in 1974."),
        ("th", "ชายสี่คน หญิงห้าคน", "รวม 9 คน"),
        ("th", "เต็ม 25 แม่ได้ 18", "ได้ 18 จาก 25 คะแนน ขาด 7 คะแนน"),
    ],
)
def test_ages_and_results_are_worked_out(code, text, answer):
    assert unknown(code, answer, text) == []


@pytest.mark.parametrize(
    "code, answer",
    [
        ("th", "ห้ามเข้า"),
        ("th", "นั่งเก้าอี้"),
        ("th", "หกล้มแล้วลุก"),
        ("th", "สามารถทำได้"),
        ("th", "สิบหกพันธุ์"),
        ("th", "ล้านนาและร้อยเอ็ด"),
        ("th", "สองสามวัน"),
        ("th", "ยี่สิบกว่า"),
        ("th", "หลายพันคน"),
        ("th", "หลายสิบล้านบาท"),
        ("lo", "ຊາວນາສາມາດ"),
        ("km", "រយៈពេល"),
        ("my", "ရာသီဥတု"),
        ("vi", "mười năm, hai năm"),
        ("tr", "güzel bir yüz"),
        ("sw", "moja kwa moja, mamia ya watu"),
        ("id", "ratusan orang"),
        ("en", "a hundred people, thousands of people, one after another"),
    ],
)
def test_words_of_an_answer_that_need_not_be_numbers_are_none(code, answer):
    assert unknown(code, answer, "...") == []


PIECES = st.sampled_from(
    ["9" * 500, "1", ".", ",", ":", "-", "/", " ", "000", "สิบ", "million ", "โมง", "ปี", "milioni ",
     "½", "፻", "%", "2475", "hai mươi ", "๕", "half", "elfu ", "XIV", "\n", "'", "ครึ่ง", "มกราคม "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join), st.lists(PIECES, max_size=30).map("".join))
def test_any_text_can_be_read(answer, text):
    for code in ("th", "sw", "vi"):
        assert unknown(code, answer, text) is not None
        assert unknown(code, text, text) == []


@pytest.mark.parametrize("code", ["th", "vi", "tr", "my", "en"])
@pytest.mark.parametrize(
    "piece",
    [
        "1", "1.", "123 ", "1-", "สิบ", "on", "yirmi-", "million ", "12:30 ", "5 % ", "2475 ", "*",
        "\n", "- ", "12 May ",
    ],
)  # fmt: skip
def test_long_texts_are_read(code, piece):
    # A reader whose time grows with the square would take minutes.
    text = piece * (50_000 // len(piece))
    assert unknown(code, text, f"{text} 5") == []
