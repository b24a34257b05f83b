"""Texts that end in the middle, and texts that only look so."""

from __future__ import annotations

import pytest

from seedfree.filters.endings import cut_off
from seedfree.languages import Language

WHOLE = {
    "en": [
        "Vitamin A", "He was first in class, in row A", "the conjunction and", "B", "The End",
        "She said: “Come with me.”", "Blood type O +", "The interval is [0, 1).", "C++",
        "The parts are at https://parts.example/bolts-and", "Send it to help@parts.example",
        "He shrugged :-(", "Prof. Dr. Ahmad Dahlan, founder of a movement in Yogyakarta",
        "- the market at dawn\n- the boats from the villages upstream", "Tea. Then bread",
        "It is free to use. The form can be had at https://village.example/the/form",
    ],
    "vi": ["Khuê Văn Các", "Có tiền mà vẫn tiếc của", "rau thì là"],
    "sw": ["Alama ya kikemia ya dhahabu ni Au", "Alama ya sodiamu ni Na"],
    "id": [
        "Ia pemegang sabuk hitam Dan", "beberapa tahun kemudian", "Ia datang minggu lalu",
        "Selang setengah terbuka ditulis [0, 5) karena 5 tidak ikut.", "Jawabannya ]0, 1[",
        "Pendaftaran dibuka sampai hari Jumat pukul empat sore di kantor desa. "
        "Formulirnya dapat diunduh dari laman https://desa.example.id/formulir",
    ],
    "tr": ["Başlık »Yeni Gün« olarak seçildi.", "Kitabın adı „Yeni Gün“", "Kalem ile"],
    "th": [
        "โต๊ะหนึ่งนั่งได้ 12 ที่", "คำสันธานในประโยคนี้คือคำว่า และ", "และ", "ก", "เลือกข้อ ก", "สระ แ",
        "วันนี้ฝนตกทั้งวันเลยค่ะ เปียกไปหมด :(", "ช่วง [a, b) เป็นช่วงครึ่งเปิด",
        "เวลา 10.00 น.", "ใช้คำสั่ง `print(`", "กิโลเมตร (กม.)", "อ่านต่อที่ www.example.com/ก",
    ],
    "lo": ["ໂຕະໜຶ່ງນັ່ງໄດ້ 12 ທີ່", "ກ"],
    "km": ["ពាក្យនោះគឺពាក្យ និង", "ក"],
    "my": ["က", "၁၉၄၈"],
}  # fmt: skip
CUT = {
    "en": [
        "The market opens at dawn, and",
        "The temple was built in 1820. It was later restored by the king and his archite",
        "1. Wash the rice.\n2. Boil the water.\n3. Add the ri",
        "The market (built in 1820",
    ],
    "vi": [
        "Tháng mười hai se lạnh. Bạn nên đặt phòng trước vì cuối năm đông khách va\u0300",
        "Chợ họp từ sáng sớm. Người bán mang theo rau, cá và hoa quả từ các làng ven sô",
    ],
    "sw": [
        "Kanda unga kwa maji ya uvuguvugu, chumvi na mafuta, kisha",
        "Soko hufunguliwa alfajiri. Wakulima huleta mboga, samaki na matunda kutoka vijij",
    ],
    "id": [
        "Rebus kedelai sampai empuk, kemudian",
        "Pasar dibuka pada pagi hari. Para petani membawa sayur dan ikan dari desa-des",
    ],
    "tr": [
        "Pazar sabah erken kurulur ve",
        "Pazar sabah erken kurulur. Köylüler sebze, balık ve meyve getirir, öğleye doğ",
    ],
    "th": [
        "ต้มถั่วจนนุ่ม แล้วก็",
        "ชาวบ้านนิยมทำขนมแ",
        "ชาวบ้านนิยมปลูกข้าวและเลี้ยงสั",
        "พ่อค้าขี่มื",
        "ส่วนผสมมี “กะทิ",
    ],
    "lo": ["ຊາວບ້ານນິຍົມປູກເຂົ້າ ແລະ", "ຊາວບ້ານນິຍົມລ້ຽງສັ", "ຊາວບ້ານເຮັດເຂົ້າໜົມແ"],
    "km": ["ផ្សារបើកពីព្រឹក ហើយលក់បន្លែ និង", "អ្នកភូមិធ្វើនំព្"],
    "my": ["ဈေးမှာ ဟင်းသီးဟင်းရွက် နှင့်", "ရွာသားတွေက သမ္"],
}


@pytest.mark.parametrize("code, text", [(code, t) for code in WHOLE for t in WHOLE[code]])
def test_whole_texts_pass(code: str, text: str) -> None:
    assert cut_off(text, Language.load(code)) is None


@pytest.mark.parametrize("code, text", [(code, t) for code in CUT for t in CUT[code]])
def test_cut_texts_are_found(code: str, text: str) -> None:
    assert cut_off(text, Language.load(code))


def test_a_field_without_a_value_is_no_cut_where_fields_are_listed() -> None:
    text, english = "Name: Lantern Bridge\nLength: 57 metres\nCost:", Language.load("en")
    assert cut_off(text, english, fields=True) is None
    assert cut_off(text, english) == "open punctuation"
    assert cut_off("The reasons are as follows:", english, fields=True) == "open punctuation"


WORDS = [
    "ขนมชั้นทำจากแป้งข้าวเจ้า กะทิ และน้ำตาล โดยเริ่มจากการนวดแป้งกับกะทิให้เข้ากันจนเนีย",
    "การประชุมเริ่มตั้งแต่เช้าจนถึงเย็นวันศุก",
    "แม่ค้าขายขนมที่ตล",
]


@pytest.mark.parametrize("text", WORDS)
def test_a_thai_word_is_found_cut_by_the_segmenters_dictionary(
    text: str,
) -> None:
    thai = Language.load("th")
    assert cut_off(text, thai) == "half a word"
    assert cut_off(f"{text} ก", thai) is None
    assert cut_off(text, thai, given=f"ชื่อ{text} ไทย") is None
    assert cut_off(text, thai, given=f"{text}น{text}ด") == "half a word"


@pytest.mark.parametrize("text", ["และโรงเรียนของนิโคลัส", "แม่ค้าขายขนมที่ตลาด", "เมืองโวโรนอย"])
def test_a_whole_thai_word_or_a_foreign_name_is_not_cut(text: str) -> None:
    assert cut_off(text, Language.load("th")) is None


@pytest.mark.parametrize("sign", ["(", "„", "»", ":", "1.", "a ", "`", "[0,", "กิ", "\n- a"])
def test_long_texts_take_no_longer_than_they_are(sign: str) -> None:
    for code in ("en", "th", "km"):
        cut_off(sign * 20_000, Language.load(code))
