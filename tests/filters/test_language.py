import re

import pytest

from seedfree.errors import ConfigError
from seedfree.filters.language import LanguageFilter
from seedfree.languages import Language
from seedfree.languages.identification import identifier
from seedfree.records import Instruction, Message, Suspicion

SENTENCES = {
    "vi": [
        "Hôm nay trời mưa to nên tôi ở nhà nấu canh chua.", "Hà Nội là thủ đô của Việt Nam.",
        "Bạn nên ngâm gạo nếp trước khi nấu xôi.", "Chợ nổi Cái Răng họp từ sáng sớm.",
        "Mẹ tôi bán bánh mì ở đầu ngõ.", "Cà phê sữa đá được pha bằng phin nhôm.",
        "Vì sao lá cây chuyển màu vàng vào mùa thu?",
        "Tết Nguyên đán thường rơi vào cuối tháng Giêng.",
        "Xe máy là phương tiện đi lại phổ biến nhất.", "Sông Mê Kông chảy qua sáu nước.",
    ],
    "id": [
        "Hari ini hujan deras sehingga saya memasak di rumah.",
        "Jakarta pernah menjadi ibu kota Indonesia.",
        "Sebaiknya kamu mencuci beras sebelum menanaknya.", "Pasar terapung itu buka sejak subuh.",
        "Ibu saya berjualan gorengan di depan gang.",
        "Kenapa daun berubah warna ketika musim kemarau?",
        "Batik dibuat dengan malam dan canting.",
        "Gunung Merapi meletus beberapa kali pada abad lalu.",
        "Sepeda motor bisa dipinjam di kantor kelurahan.", "Rendang berasal dari Sumatera Barat.",
    ],
    "ms": [
        "Hari ini hujan lebat jadi saya memasak di rumah sahaja.",
        "Kuala Lumpur ialah ibu negara Malaysia.",
        "Anda perlu membasuh beras sebelum menanaknya.",
        "Pasar malam itu dibuka mulai pukul enam petang.",
        "Emak saya berniaga kuih di tepi jalan.",
        "Mengapakah daun bertukar warna pada musim kering?",
        "Wau bulan diperbuat daripada buluh dan kertas.",
        "Beliau bersara daripada perkhidmatan awam tahun lepas.",
        "Kereta itu boleh disewa di pejabat pos.",
        "Nasi lemak dihidangkan dengan sambal dan telur.",
    ],
    "tr": [
        "Bugün çok yağmur yağdığı için evde çorba pişirdim.", "Ankara Türkiye'nin başkentidir.",
        "Pirinci pilavdan önce yıkamalısın.", "Semt pazarı salı günleri kurulur.",
        "Annem köşe başında simit satıyor.", "Yapraklar sonbaharda neden sararır?",
        "Türk kahvesi bakır cezvede pişirilir.", "Kızılırmak ülkenin en uzun nehridir.",
        "Otobüs kartını iskeleden alabilirsiniz.", "Bayramda çocuklar büyüklerin elini öper.",
    ],
    "sw": [
        "Leo mvua imenyesha sana kwa hiyo nimepika nyumbani.", "Dodoma ni mji mkuu wa Tanzania.",
        "Inafaa kuosha mchele kabla ya kuupika.", "Soko la samaki hufunguliwa alfajiri.",
        "Mama yangu huuza maandazi barabarani.", "Kwa nini majani hubadilika rangi?",
        "Kahawa ya mkoa wa Kilimanjaro inajulikana sana.",
        "Ziwa Viktoria ni kubwa kuliko maziwa yote ya Afrika.",
        "Unaweza kupanda basi kituo kikuu cha mabasi.", "Watoto hucheza bao chini ya mwembe.",
    ],
    "en": [
        "It rained hard today, so I cooked soup at home.", "Canberra is the capital of Australia.",
        "You should rinse the rice before cooking it.", "The floating market opens at dawn.",
        "My mother sells bread on the corner.", "Why do leaves turn yellow in autumn?",
        "The coffee is brewed in a copper pot.", "The Mekong flows through six countries.",
        "You can borrow a bicycle at the town hall.", "Children fly kites on the dry rice fields.",
    ],
}  # fmt: skip
PACK = {
    code: Language(code=code, name=code, native=code, script="Latin", persona="")
    for code in SENTENCES
}
PACK["id"] = Language(code="id", name="id", native="id", script="Latin", persona="", close=("ms",))
PACK["ms"] = Language(code="ms", name="ms", native="ms", script="Latin", persona="", close=("id",))
for _code, _script in (("th", "Thai"), ("lo", "Lao"), ("km", "Khmer"), ("my", "Myanmar")):
    PACK[_code] = Language(code=_code, name=_script, native="", script=_script, persona="")
STRING = re.compile(r'"([^"\\]{20,})"')
PAIRS = [(spoken, wanted) for spoken in SENTENCES for wanted in SENTENCES]


def check(code, output, instruction=None, **more):
    each = LanguageFilter(**more)
    each.bind(type("Session", (), {"language": PACK[code]}))
    return each.check(Instruction(task="t", instruction=instruction or output, output=output))


def reason(answer):
    """The reason of a fact, or of the first suspicion."""
    return answer[0].reason if isinstance(answer, list) else answer


def phrase(answer):
    return answer and reason(answer).partition(" (")[0]


@pytest.mark.parametrize("spoken, wanted", PAIRS)
def test_short_sentences_in_latin_letters(spoken, wanted):
    alike = spoken == wanted or {spoken, wanted} == {"id", "ms"}
    for sentence in SENTENCES[spoken]:
        expected = None if alike else "language: another language"
        assert phrase(check(wanted, sentence)) == expected, sentence


THAI = "วัดโพธิ์เป็นวัดเก่าแก่ที่มีพระพุทธไสยาสน์องค์ใหญ่ และเป็นที่รู้จักเรื่องการนวดแผนโบราณ"


@pytest.mark.parametrize(
    "code, text",
    [
        ("th", THAI),
        ("th", "พ.ศ. 2325"),
        ("th", "555"),
        (
            "th",
            "สหภาพสากลเพื่อการอนุรักษ์ (International Union for Conservation of Nature) "
            "ตั้งขึ้นที่ประเทศฝรั่งเศสหลังสงครามโลก",
        ),
        ("th", "ปลากัด (Betta splendens) เป็นปลาน้ำจืดที่คนไทยเลี้ยงมานาน"),
        ("th", "วง Queen of the South ออกอัลบั้ม It was written เมื่อปีก่อน และมีแฟนเพลงชาวไทยจำนวนมาก"),
        ("th", f"ดูที่ https://example.org/this/is/a/long/path/to/some/page/about/temples ก่อน {THAI}"),
        ("th", 'เขาร้องว่า "I want to hold your hand" ให้คนทั้งร้านฟังจนทุกคนปรบมือ'),
        (
            "th",
            "พิมพ์คำสั่ง `print the whole list of all temples in the city` แล้วกดปุ่มตกลง "
            "เครื่องจะแสดงรายชื่อวัดทั้งหมดออกมาให้",
        ),
        ("lo", "ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ ຕັ້ງຢູ່ແຄມແມ່ນ້ຳຂອງ"),
        ("km", "ប្រាសាទអង្គរវត្តជានិមិត្តសញ្ញារបស់ប្រទេសកម្ពុជា"),
        ("my", "မြန်မာနိုင်ငံ၏ မြို့တော်သည် နေပြည်တော် ဖြစ်သည်"),
        ("my", "မင်္ဂလာပါ ကျွန်တော် နေကောင်းပါတယ်"),
        ("id", "Candi Borobudur, Prambanan, Mendut, Pawon"),
        ("vi", "Wikipedia"),
        ("en", "Som tam (ส้มตำ) is pounded in a mortar and served with sticky rice."),
        ("en", "Yasothon, Ubon Ratchathani, Nong Bua Lamphu"),
    ],
)
def test_what_is_in_the_language_passes(code, text):
    assert check(code, text) is None


@pytest.mark.parametrize(
    "code, text, expected",
    [
        (
            "th",
            "The reclining Buddha is 46 metres long.",
            "few Thai letters (0 % of the instruction)",
        ),
        ("th", "วัดโพธิ์ the reclining Buddha temple", "few Thai letters (17 % of the output)"),
        ("th", "ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ", "few Thai letters (0 % of the instruction)"),
        ("lo", THAI, "few Lao letters (0 % of the instruction)"),
        (
            "th",
            '{"a": "An object of English values alone"}',
            "few Thai letters (0 % of the instruction)",
        ),
        ("vi", THAI, "few Latin letters (0 % of the instruction)"),
        ("my", "ျမန္မာႏိုင္ငံ၏ ၿမိဳ႕ေတာ္သည္ ေနျပည္ေတာ္ ျဖစ္သည္", "Zawgyi encoding (instruction)"),
        ("my", "မဂၤလာပါ ကၽြန္ေတာ္ ေနေကာင္းပါတယ္", "Zawgyi encoding (instruction)"),
        (
            "th",
            f"{THAI} The temple was built in 1350. {THAI}",
            "a passage in another script (instruction)",
        ),
        (
            "th",
            f"{THAI} it is one of the oldest temples of the city {THAI}",
            "a passage in another script (instruction)",
        ),
        (
            "th",
            f"{THAI} ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ ຕັ້ງຢູ່ແຄມແມ່ນ້ຳຂອງ {THAI}",
            "a passage in another script (instruction)",
        ),
        (
            "th",
            f"{THAI} 这座寺庙是城里最古老的寺庙之一有一尊很大的卧佛像游客很多 {THAI}",
            "a passage in another script (instruction)",
        ),
        (
            "vi",
            "Chùa này có từ thời Lý. It was rebuilt by the king in the last century. "
            "Sân chùa có một cây bồ đề lớn.",
            "a sentence in another language (instruction)",
        ),
    ],
)
def test_what_is_not_in_the_language_is_dropped_or_doubted(code, text, expected):
    assert reason(check(code, text)) == f"language: {expected}"


@pytest.mark.parametrize(
    "code, question, answer",
    [
        ("th", "fear the walking dead เรื่องย่อ กี่ซีซัน", "ซีรีส์นี้มีแปดซีซัน"),
        ("lo", "machine learning ແມ່ນຫຍັງ", "ແມ່ນການໃຫ້ຄອມພິວເຕີຮຽນຈາກຂໍ້ມູນ"),
        ("my", "machine learning ဆိုတာ ဘာလဲ", "ကွန်ပျူတာက ဒေတာမှ သင်ယူခြင်း ဖြစ်သည်"),
    ],
)
def test_a_question_with_a_foreign_title_is_only_doubted(code, question, answer):
    found = check(code, answer, question)
    assert found is None or all(isinstance(each, Suspicion) for each in found)
    mixed = check(code, answer, f"machine learning deep learning {question}")
    assert mixed and all(isinstance(each, Suspicion) for each in mixed)
    # In another script from end to end, it is a fact.
    assert isinstance(check(code, answer, "What is machine learning about?"), str)


def rules(answer):
    return [each.rule.removeprefix("language: ") for each in answer or []]


@pytest.mark.parametrize(
    "code, text, words",
    [
        ("th", "แกงนี้ใส่ขมิ้น 非常好吃。 แล้วตักใส่ถ้วย", ("非常好吃",)),
        ("th", "ขอบคุณครับ とても美味しいです แล้วเจอกัน", ("とても美味しいです",)),
        ("th", "แกงนี้ใส่ขมิ้นສดกับกะปิ", ("ສ",)),
        ("th", "กິนข้าวกับเพื่อน", ("ິ",)),
        ("th", "เขาพูดว่า мир แล้วเดินออกไป", ("мир",)),
        ("th", "เปิดเว็บ Fаcebook แล้วกดปุ่มเข้าสู่ระบบ", ("Fаcebook",)),
        ("lo", "ແກງນີ້ใส่ขมิ้นກັບກະປິ", ("ใส่ขมิ้น",)),
        ("km", "សម្លនេះมีรสชาติដាក់រមៀតស្រស់", ("มีรสชาติ",)),
        ("my", "ဘာသာ ၵၢတ်ႇ စကား", ("ၵၢ", "ႇ")),
        ("my", "မြန်မာ ၚ စကား", ("ၚ",)),
        ("id", "Sup ini enak sekali جدا dan cocok dimakan dengan nasi.", ("جدا",)),
        ("id", "Sаya makan nasi goreng setiap hari.", ("Sаya",)),
        ("vi", "Tôi ăn 饭 mỗi ngày với gia đình.", ("饭",)),
        ("sw", "Ninapenda kusοma vitabu kila siku.", ("kusοma",)),
    ],
)
def test_a_few_letters_of_another_script_are_doubted(code, text, words):
    (doubt,) = check(code, text, instruction=text)[:1]
    assert doubt.rule == "language: letters of another script"
    assert doubt.words == words and all(each in text for each in words)


@pytest.mark.parametrize(
    "code, text",
    [
        ("th", "รังสี α และ β ต่างกันที่ประจุ"), ("th", "ติ่มซำ (點心) เป็นอาหารจีน"),
        ("th", 'คำว่า "ありがとう" แปลว่าขอบคุณ'), ("th", "สวัสดี😀👍🏽 ครับ ราคา 5 €"),
        ("sw", "Ng’ombe hunywa maji. Ngʼombe ni mnyama."),
        ("id", "Masjid (مسجد) adalah tempat ibadah."),
        ("tr", "Sudut ∠ABC 30° ve β açısıdır."), ("my", "ဗုဒ္ဓဘာသာ ဝိနည်းပိဋကတ်"),
        ("en", "5 µmol, ΔT, 3 Å"),
    ],
)  # fmt: skip
def test_symbols_and_originals_in_brackets_are_not_doubted(code, text):
    assert check(code, text) is None


CODE = (
    "```python\ndef add(first_number, second_number):\n    return first_number + second_number\n```"
)


@pytest.mark.parametrize(
    "code, text",
    [
        ("th", f"ฟังก์ชันนี้บวกเลข\n{CODE}"), ("my", f"ပေါင်းပေးသည်။\n{CODE.replace('```', '~~~')}"),
        ("km", "តើ Facebook Messenger ជាអ្វី?"), ("th", "Google Classroom คืออะไร"),
        ("my", "Microsoft Excel ဆိုတာ ဘာလဲ"), ("lo", "iPhone 15 Pro Max ແມ່ນຫຍັງ"),
        ("th", "รุ่น XR-500B กับ A320neo"), ("th", "แปล “The floating market opens at dawn” ให้หน่อย"),
        ("th", "หา $\\frac{first}{second}$ และ \\(x_{total}\\)"), ("th", "E = mc^2 คือ"),
        ("th", "เปิด settings/config.yaml ก่อน"), ("th", "<strong>วัด</strong>"),
        ("th", "ดู https://example.org/a/long/path"),
        ("th", '{"length_km": 57.09, "country": "สวิตเซอร์แลนด์", "cost": null, "open": true}'),
        ("th", '[{"สินค้า": "รองเท้าลุยน้ำ", "ราคา": 14, "ผู้ซื้อ": null}]'),
        ("lo", '{"term_lo": "ການເອີ້ນຊ້ຳຂອງຄະນິດສາດ", "term_en": "recursion"}'),
    ],
)  # fmt: skip
def test_code_names_formulas_and_originals_do_not_count_against_the_script(code, text):
    assert check(code, text) is None


@pytest.mark.parametrize("code", ["id", "sw", "tr", "vi"])
@pytest.mark.parametrize(
    "text",
    ["What is tempe?", "Yes, of course.", "Write an essay.", "Thank you very much.", "I am sorry."],
)
def test_short_texts_in_english_are_doubted(code, text):
    assert rules(check(code, text))[0] == "another language"


@pytest.mark.parametrize(
    "code, text",
    [
        ("id", "Apa itu tempe?"), ("id", "Ya, tentu saja."), ("id", "Candi Borobudur"),
        ("sw", "Ugali ni nini?"), ("sw", "Ndiyo, bila shaka."), ("tr", "Evet, elbette."),
        ("tr", "Simit nedir?"), ("vi", "Có."), ("vi", "Anh ta tên là John Smith."),
        ("vi", "Em ăn cơm chưa?"), ("en", "Pho is a soup."),
    ],
)  # fmt: skip
def test_short_texts_of_the_language_are_not(code, text):
    assert check(code, text) is None


@pytest.mark.parametrize(
    "code, text, words",
    [
        ("vi", "Trời đẹp. Toi di hoc bang xe may va ve nha.", "Toi di hoc bang xe may va ve nha."),
        (
            "tr",
            "Bugun hava cok guzel oldugu icin disari ciktik ve parkta uzun bir yuruyus yaptik, "
            "sonra eve donup yemek yaptik.",
            None,
        ),
    ],
)
def test_a_sentence_without_the_marks_of_its_language_is_doubted(code, text, words):
    language = Language.load(code)
    (doubt, *_) = LanguageFilter().check(Instruction("t", text, text, language=language.code))
    assert doubt.rule == "language: written without its marks"
    assert doubt.words == (words or text,)


@pytest.mark.parametrize(
    "text",
    [
        "ေ၀့", "ျမန္မာ", "ရန်ကုန်မြို့သည် အကြီးဆုံးမြို့ ဖြစ်သည်။ ေရႊတိဂံုဘုရား ရွိသည္။", "ဘာသာစကား ကၽြန္ေတာ္ ဘာသာစကား",
    ],
)  # fmt: skip
def test_zawgyi_is_found_in_short_and_in_mixed_texts(text):
    assert phrase(check("my", text)) == "language: Zawgyi encoding"


@pytest.mark.parametrize(
    "text", ["ကျော်", "ဘာသာစကား", "အခြားဘာသာစကား", "ကိုးကားစာစု", "ဟု", "ကယား", "ေမာင် ဖြစ်သည်"]
)
def test_short_names_and_slips_are_not_zawgyi(text):
    assert check("my", text) is None


PLANTED = (
    "It was rebuilt by the king.",
    "这座寺庙很古老。",
    "Here is the answer.",
    "Chùa này rất cổ kính.",
)


@pytest.mark.parametrize("code", ["th", "lo", "km", "my", "id", "tr", "sw", "en", "vi"])
def test_a_planted_sentence_is_doubted_and_stands_in_the_row_as_the_doubt_says(code):
    examples = [each for group in Language.load(code).format_examples.values() for each in group]
    texts = [text for each in examples for text in STRING.findall(each.reply)]
    if code not in ("th", "lo"):
        texts = [text for text in texts if text[-1] in ".?។။"]
    assert len(texts) > 5
    for text in texts:
        row = {"task": "t", "instruction": text, "language": code}
        assert LanguageFilter().check(Instruction(**row, output=text)) is None
        for sentence in PLANTED:
            # "en" and "vi" have sentences of their own among the planted ones.
            if (code, sentence[:2]) in {("en", "It"), ("en", "He"), ("vi", "Ch")}:
                continue
            output = f"{text} {sentence} {text}"
            doubts = LanguageFilter().check(Instruction(**row, output=output))
            assert doubts and all(words in output for each in doubts for words in each.words)


def test_facts_come_before_doubts():
    assert reason(check("my", "ဘာသာစကား 饭 ကၽြန္ေတာ္")) == "language: Zawgyi encoding (instruction)"


def test_the_output_counts_as_much_as_the_instruction():
    assert (
        check("th", "Wat Pho", "วัดใดมีพระพุทธไสยาสน์")
        == "language: few Thai letters (0 % of the output)"
    )


def test_half_of_the_letters_is_not_more_than_half():
    assert phrase(check("th", "กขคงabcd")) == "language: few Thai letters"
    assert check("th", "กขคงabc") is None
    assert phrase(check("th", "กขคงabc", min_share=0.6)) == "language: few Thai letters"


def test_every_turn_is_judged():
    turns = (
        Message("user", THAI),
        Message("assistant", THAI),
        Message("user", "Why?"),
        Message("assistant", THAI),
    )
    item = Instruction(
        task="conversation", instruction=THAI, output=THAI, messages=turns, language="th"
    )
    assert phrase(LanguageFilter().check(item)) == "language: few Thai letters"


def test_outside_a_run_the_row_names_its_language():
    row = {"task": "t", "instruction": "Where is it?", "output": "It is at the river."}
    assert (
        phrase(LanguageFilter().check(Instruction(**row, language="th")))
        == "language: few Thai letters"
    )
    assert LanguageFilter().check(Instruction(**row, language="tlh")) is None
    assert LanguageFilter().check(Instruction(**row)) is None


def test_a_language_that_the_identifier_does_not_know_is_judged_by_script_alone():
    PACK["qqq"] = Language(code="qqq", name="Q", native="Q", script="Latin", persona="")
    assert check("qqq", SENTENCES["tr"][0]) is None
    assert phrase(check("qqq", THAI)) == "language: few Latin letters"


def test_identifier_separates_as_its_limits_say():
    ranked = {s: dict(identifier().rank(s)) for sentences in SENTENCES.values() for s in sentences}
    for spoken, wanted in PAIRS:
        codes = {wanted, *PACK[wanted].close}
        for sentence in SENTENCES[spoken]:
            share = sum(ranked[sentence][code] for code in codes)
            assert share > 0.5 if spoken in codes else share < 0.01


def test_share_is_a_share():
    with pytest.raises(ConfigError, match="not a share"):
        LanguageFilter(min_share=1.0)
