from concurrent.futures import ThreadPoolExecutor

import pytest

from seedfree.filters.names import unknown_names
from seedfree.languages import Language
from seedfree.languages.lexicon import lexicon

MARKET = "ตลาดแห่งนี้อยู่ในจังหวัดสมุทรสงคราม เปิดวันเสาร์และอาทิตย์ ตั้งแต่เช้าถึงเที่ยง"


def names(answer, context, language):
    if isinstance(language, str):
        language = Language.load(language)
    return list(unknown_names(answer, context, language))


@pytest.mark.parametrize(
    "answer, name",
    [
        ("ตลาดอยู่ในจังหวัดพระนครศรีอยุธยา", "พระนครศรีอยุธยา"),
        ("ตลาดอยู่ในจังหวัดราชบุรีซึ่งใกล้กรุงเทพ", "ราชบุรี"),
        ("อำเภอสามพราน", "สามพราน"),
        ("อำเภอจะนะ", "จะนะ"),
        ("อำเภอหลังสวน", "หลังสวน"),
        ("ตลาดนี้ติดถนนพญาไท", "พญาไท"),
        ("เทศบาลมาบตาพุดดูแลตลาดนี้", "มาบตาพุด"),
        ("ตลาดอยู่หน้าวัดพระแก้ว", "พระแก้ว"),
        ("คนคุมงานคือนายวิชิต", "วิชิต"),
        ("ตลาดนี้อยู่ที่เชียงใหม่", "เชียงใหม่"),
        ("คนดูแลคือพิมพ์ชนก", "พิมพ์ชนก"),
        ("ผู้สร้างคืออันเดรอา", "เดร"),
    ],
)
def test_thai_names_end_where_words_end(answer, name):
    assert names(answer, MARKET, "th") == [name]


@pytest.mark.parametrize(
    "answer",
    [
        "จังหวัดสมุทรสงครามมีตลาด",
        "นายช่างบอกว่าเปิดเช้า",
        "จังหวัดใกล้เคียงก็มี อำเภอเล็ก ๆ ก็มี",
        "วัดเก่าแก่ริมน้ำ เมืองใหญ่หลายเมือง",
        "โรงเรียนต้องเปิดเช้า นักวิจัยบอกไว้",
        "นิยมเล่นกันในสังคมที่นิยมต้อนรับ",
        "น้ำตกขนาดใหญ่ โรงพยาบาลประจำจังหวัด",
        "พระสงฆ์เดินมา พระองค์ตรัสว่า นางเอกของเรื่อง",
        "คำตอบที่ถูกต้องคือ ค. เปิดตอนเช้า",
        "มีผู้พิชิตยอดเขานี้ก่อน แล้วสาธิตวิธีขยายพันธุ์ไม้",
    ],
)
def test_ordinary_thai_words_are_no_names(answer):
    assert names(answer, MARKET, "th") == []


@pytest.mark.parametrize(
    "answer, context, expected",
    [
        ("เต็กกลัวซ้งจะลืมตน", "เม่ยหลิงพาอากงซ้งไปพบเต็ก", []),
        ("ผู้วาดคือโมเนต์ (Monet)", "ภาพนี้เป็นของ Monet", []),
        ("ผู้วาดคือโมเนต์ (Monet)", "ภาพนี้เป็นของโมเนต์", []),
        ("ผู้วาดคือมาแน็ง (Manin)", "ภาพนี้เป็นของโมเนต์", ["Manin", "แน็ง"]),
        ("ปรุงให้ชาลส์", "ปรุงให้ชาร์ล", []),
        ("อยู่กรุงเทพมหานคร", "อยู่กรุงเทพฯ", []),
    ],
)
def test_another_spelling_of_a_name_is_the_name(answer, context, expected):
    assert names(answer, context, "th") == expected


GERMAN = Language(code="de", name="German", native="Deutsch", script="Latin", persona="")


@pytest.mark.parametrize(
    "language, context, answer",
    [
        ("id", "Warga desa menenun.", "Setiap hari, kata warga, Bapak dan Ibu menenun."),
        ("id", "Kedelai diperam dua hari.", "1) Kedelai.\n2) Fermentasi dua hari."),
        ("id", "Bahan: kedelai dan ragi.", "**Bahan Utama:** kedelai dan ragi"),
        ("tr", "Köprüyü Ali Usta yaptı.", "Köprüyü yapan, Ali'nin ustasıdır."),
        ("tr", "Sergi İstanbul'da, Iğdır uzakta.", "Sergi İSTANBUL'dadır, IĞDIR'dan uzaktır."),
        ("en", "The ferry leaves at six.", "Yes, I'm told it leaves at six."),
        ("en", "France sent it.", "It was a French gift."),
        ("en", "Italy sent it.", "It was an Italian gift."),
        ("en", "The World Health Organization wrote.", "It was written by the WHO."),
        ("en", "A dam was built.", "People call it the Dam, and a dam it is."),
        ("sw", "Watanzania hutembelea.", "Wageni hutoka Tanzania."),
        (GERMAN, "Der Markt ist am Samstag.", "Auf dem Markt gibt es Gemüse und Brot."),
    ],
)
def test_not_every_capital_is_a_name(language, context, answer):
    assert names(answer, context, language) == []


@pytest.mark.parametrize(
    "language, context, answer, name",
    [
        ("vi", "Chợ nổi ở Cần Thơ.", "Theo bài viết, chợ ở Nẵng.", "Nẵng"),
        ("id", "Tempe dari Purwokerto.", "Makanan ini dari Surabaya.", "Surabaya"),
        ("tr", "Sergi İstanbul'da açıldı.", "Sergi Ankara'da açıldı.", "Ankara'da"),
        ("en", "Dr. Lee built it.", "It was built by Dr. Smith.", "Smith"),
        ("en", "Dorman built it.", "Arthur Smith", "Arthur"),
        ("lo", "ວັດຢູ່ແຂວງຫຼວງພະບາງ", "ວັດນີ້ຢູ່ແຂວງຈຳປາສັກ", "ຈຳປາສັກ"),
        ("km", "ប្រាសាទនៅខេត្តសៀមរាប", "ប្រាសាទនេះនៅខេត្តបាត់ដំបង", "បាត់ដំបង"),
        ("my", "ဒေါ်ခင်မြက ထိန်းသိမ်းသည်။", "ဒေါ်လှရင်က ထိန်းသိမ်းသည်။", "လှ"),
    ],
)
def test_an_invented_name_is_found(language, context, answer, name):
    assert names(answer, context, language)[0] == name


def test_threads_load_the_word_lists_once():
    with ThreadPoolExecutor(8) as pool:
        assert len({id(lists) for lists in pool.map(lexicon, ["newmm"] * 16)}) == 1
