import gzip
import json
from pathlib import Path

import pytest

from seedfree.errors import ConfigError
from seedfree.filters.rules import RuleFilter
from seedfree.languages import FormatExample, Language
from seedfree.records import Example, Instruction, Message, Suspicion

ARTICLES = Path(__file__).parents[3] / "shared" / "thaiwiki" / "articles.jsonl.gz"
LEADS = ("rules: cut off (conjunction, output)", "rules: cut off (open punctuation, output)")
QUESTION = "แกงไตปลาของภาคใต้มีวิธีทำอย่างไร"
ANSWER = (
    "เริ่มจากโขลกพริกแห้ง ตะไคร้ ขมิ้น และกะปิให้ละเอียด แล้วต้มไตปลากับน้ำจนเดือด กรองเอาแต่น้ำ "
    "จากนั้นใส่เครื่องแกง ปลาย่าง หน่อไม้ มะเขือเปราะ และถั่วฝักยาว เคี่ยวต่ออีกสิบห้านาที ชิมให้ออกรสเค็มเผ็ด "
    "ก่อนยกลงให้ฉีกใบมะกรูดโรยหน้า"
)


def check(output=ANSWER, instruction=QUESTION, language="th", rules=None, **more):
    """Returns the fact, or the reason of the first doubt."""
    row = Instruction("closed_qa", instruction, output, language=language, **more)
    finding = (rules or RuleFilter()).check(row)
    return finding[0].reason if isinstance(finding, list) else finding


GOOD = {
    "prose": ANSWER,
    "short answer": "พ.ศ. 2325",
    "one word": "ใช่",
    "list": "\n".join(
        f"{i}. จังหวัด{name} มีตลาดนัดทุกวันเสาร์"
        for i, name in enumerate(
            ["ตรัง", "พัทลุง", "สตูล", "กระบี่", "พังงา", "ระนอง", "ยะลา", "ปัตตานี"], 1
        )
    ),
    "markdown": (
        "**วัตถุดิบ**\n- กะทิ 2 ถ้วย\n- น้ำตาลปี๊บ 1 ถ้วย\n\n"
        "| ขนม | ราคา |\n|---|---|\n| ขนมครก | 20 |\n| ขนมชั้น | 25 |"
    ),
    "numbers": "\n".join(f"{y} {y * 17 % 1000}" for y in range(2530, 2570)),
    "refrain": (
        "ฝนตกพรำพรำบนหลังคาบ้านเรา\nลูกน้อยนอนเปลฟังเสียงเขียดร้อง\n"
        "โอ้ละเห่ นอนเสียเถิดคนดี\nนอนเสียเถิดคนดีของแม่\n\n"
        "ลมพัดเย็นเย็นผ่านทุ่งนาสีทอง\nพ่อยังไม่กลับจากเกี่ยวข้าวกลางหนอง\n"
        "โอ้ละเห่ นอนเสียเถิดคนดี\nนอนเสียเถิดคนดีของแม่\n\n"
        "ดาวขึ้นเต็มฟ้าหมาเห่าไกลไกล\nแม่จะร้องกล่อมจนเจ้าหลับใหล\n"
        "โอ้ละเห่ นอนเสียเถิดคนดี\nนอนเสียเถิดคนดีของแม่"
    ),
    "laughing": "มุกนี้ตลกจริง 5555555555 เพื่อนทั้งห้องหัวเราะกันจนครูต้องเดินมาดู ฮ่าฮ่าฮ่า",
    "code": 'ใช้แท็กนี้ครับ\n```html\n<div class="a">{{ topic }}</div>\n```\nแล้วบันทึกไฟล์',
    "inline code": "คำสั่ง `<br>` ใช้ขึ้นบรรทัดใหม่ ส่วน `$context` เป็นตัวแปร",
    "quoted refusal": (
        "ประโยค “ขออภัย ฉันไม่สามารถช่วยเรื่องนี้ได้” เป็นคำปฏิเสธที่สุภาพ เหมาะใช้กับลูกค้า "
        "แต่ถ้าพูดกับเพื่อนควรใช้คำที่เป็นกันเองกว่านี้ เช่น เราคงช่วยไม่ได้นะ ขอโทษด้วย"
    ),
    "list labels": "เลือกได้สองทาง\na) นั่งเรือจากท่าน้ำ\nb) ขับรถอ้อมเขา",
    "question word": "คนโบราณเชื่ออย่างนั้นจริงหรือ เรื่องนี้ยังไม่มีใครตอบได้",
    "smaller and larger": "ถ้า 3 < 5 และ 5 > 3 แล้วจะได้ว่า a < b เสมอ",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_answers_pass(name):
    assert check(GOOD[name]) is None


BAD = {
    "empty": ["", "   \n", "...", "\u200b", "—"],
    "too long": ["ขนมไทยมีหลายชนิด " * 2000],
    "broken characters": [
        "ข้าวเหนียว\ufffdมะม่วง",
        "ข้าว\ue000เหนียว",
        "น้ำ่่่่พริก",
        "\u0e48 ลาบ",
        "Z\u0336\u0321\u0322\u0323\u0324\u0325\u0326\u0327algo",
        "ข้าว\x00มันไก่",
    ],
    "prompt leaked": [
        '{"instruction": "ถามอะไร", "output": "ตอบอะไร"}',
        'คำตอบคือ "output": "ผัดไทย"',
        "เมื่อ $context กล่าวถึงเรื่องนี้",
        "ตอบเป็นภาษา {language} เท่านั้น",
        "เนื้อหาใน <document id=7f3a> บอกไว้",
        "ผัดไทยเป็นอาหารจานเส้น<|im_end|>",
        "[INST] ช่วยอธิบาย [/INST] ได้ครับ",
        "Instruction: จงอธิบาย\nผัดไทยคืออาหารจานเส้น",
        "</think> ผัดไทยคืออาหารจานเส้น",
    ],
    "speaks as a model": [
        "ในเรื่องการเลือกตั้งครั้งนี้ซึ่งมีหลายพรรคเข้าแข่งขันกัน ในฐานะโมเดลภาษา ผมไม่มีความเห็นทางการเมือง",
        "เรื่องนี้พูดยาก เพราะฉันเป็นปัญญาประดิษฐ์ที่ไม่มีความรู้สึก จึงบอกไม่ได้ว่าต้มยำร้านไหนอร่อยกว่ากัน",
        "The soup at the market is good, I hear, but as an AI language model I have eaten none.",
    ],
    "markup": [
        "วัดนี้สร้างเมื่อ<br/>พ.ศ. 2325",
        "[[วัดอรุณ]]ตั้งอยู่ริมน้ำ",
        "{{ต้องการอ้างอิง}} วัดนี้เก่าแก่",
        "== ประวัติ ==\nวัดนี้เก่าแก่",
        "ราคา&nbsp;20 บาท",
        "```python\nprint(1)",
        'สูง 80 เมตร<ref name="a">หนังสือ</ref>',
    ],
    "refusal": [
        "ขออภัยค่ะ ดิฉันไม่สามารถให้ข้อมูลในเรื่องนี้ได้",
        "ต้องขอโทษด้วย ไม่สามารถตอบคำถามนี้ได้",
        "I'm sorry, but I can't help with that request.",
        "I’m sorry, but I cannot write this.",
    ],
    "repetition": [
        "ข้าวเหนียวมะม่วง " * 12,
        "ไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไปไป",
        "อร่อยมากกกกกกกกกกกกกกกกกกกกกกกกกกก",
        ANSWER + " " + ANSWER + " " + ANSWER + " " + ANSWER,
    ],
    "cut off": [
        "ส่วนผสมมีกะทิ น้ำตาลปี๊บ และ",
        "ภาคเหนือมีอาหารหลายอย่าง เช่น",
        "น้ำพริกหนุ่มทำจากพริกหนุ่ม กระเทียม,",
        "วัดนี้ (สร้างในรัชกาลที่ 3",
        "ชาวบ้านนิยมทำขนมแ",
        "ชาวสวนปลูกทุเรียน เพราะปลูกมานาน โดย",
        "เครื่องแกงมีดังนี้:",
    ],
    "answer repeats the question": [QUESTION, f" {QUESTION}? ", QUESTION.replace("น", "\u200bน")],
}


@pytest.mark.parametrize("phrase, text", [(p, t) for p, texts in BAD.items() for t in texts])
def test_broken_answers_are_dropped_with_their_reason(phrase, text):
    assert (check(text) or "").partition(" (")[0] == f"rules: {phrase}"


def test_a_user_may_say_what_a_model_may_not():
    assert check(instruction="ขออภัย ฉันไม่สามารถไปงานแต่งได้ ช่วยเขียนข้อความบอกเพื่อนให้หน่อย") is None


FACTS = {"empty", "too long", "broken characters", "prompt leaked", "answer repeats the question"}


@pytest.mark.parametrize("phrase, text", [(p, t) for p, texts in BAD.items() for t in texts])
def test_a_fact_drops_and_anything_else_is_for_a_reader(phrase, text):
    finding = RuleFilter().check(Instruction("closed_qa", QUESTION, text, language="th"))
    if phrase in FACTS or "```" in text:
        # What fills no placeholder may be what the text is about.
        assert isinstance(finding, str) or "$context" in text or "{language}" in text
        return
    assert all(isinstance(doubt, Suspicion) for doubt in finding)
    assert all("".join(doubt.words) in text for doubt in finding)


def test_all_that_is_doubted_is_named_with_where_it_stands():
    finding = RuleFilter().check(
        Instruction(
            "closed_qa", "[[วัด]]คือ", "ในฐานะโมเดลภาษา ผมไม่ทราบว่า<br>ใครสร้าง และ", language="th"
        )
    )
    assert [(doubt.rule, doubt.detail) for doubt in finding] == [
        ("rules: markup", "instruction"),
        ("rules: speaks as a model", "output"),
        ("rules: markup", "output"),
        ("rules: cut off", "conjunction, output"),
    ]
    assert [doubt.words for doubt in finding[:3]] == [
        ("[[วัด]]",), ("ในฐานะโมเดลภาษา ผมไม่ทราบว่า<br>ใครสร้าง และ",), ("<br>",)
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["ก", "5", "๗", "B", "+", "€", "🐘"])
def test_one_sign_may_be_an_answer(text):
    assert check(text) is None
    longer = RuleFilter(output_chars=(3, 100))
    assert check(text, rules=longer) == "rules: too short (output)"


@pytest.mark.parametrize(
    "text, slip",
    [
        ("พี่จะไปวันไหน ไปด้วยกันไหมค่ะ", "ไหมค่ะ"),
        ("ลองชิมดูก่อนนะค่ะ", "นะค่ะ"),
        ("สวัสดีคะ ร้านเปิดเก้าโมง", "สวัสดีคะ"),
        ("ปกติแล้ว ทำอย่างไรค่ะ", "ทำอย่างไรค่ะ"),
        ("ไม่มีอะไรค่ะ ขอบคุณค่ะ", None),
        ("ไปด้วยกันไหมคะ แล้วเจอกันนะคะ", None),
        ("ไม่ว่าอย่างไรค่ะ เราก็จะไป", None),
    ],
)
def test_a_particle_that_does_not_fit_is_doubted(text, slip):
    finding = RuleFilter().check(Instruction("closed_qa", QUESTION, text, language="th"))
    expected = slip and [Suspicion("rules: wrong particle", "output", (slip,))]
    assert finding == expected


@pytest.mark.parametrize(
    "code, text, ending",
    [
        ("en", "The market opens at dawn, and boats arrive because", "conjunction"),
        ("vi", "Chợ họp từ sáng sớm, người bán mang theo rau và", "conjunction"),
        ("tr", "Pazar sabah erken kurulur ve", "conjunction"),
        ("sw", "Soko hufunguliwa alfajiri na", "conjunction"),
        ("id", "Pasar dibuka pada pagi hari dan", "conjunction"),
        ("en", "The market opens at dawn. " * 2 + "Boats arrive from the villages upstream with"
         " fruit, rice, fish and flowers for the temple near the old brid", "no full stop"),
        ("en", "- the market at dawn\n- the boats from the villages upstream", None),
        ("en", "Tea. Then bread", None),
    ],
)  # fmt: skip
def test_ends_in_languages_with_full_stops(code, text, ending):
    reason = ending and f"rules: cut off ({ending}, output)"
    assert check(text, "What happens at the market?", code) == reason


def test_examples_and_prompts_must_not_come_back():
    answer = "ขนมครกทำจากแป้งข้าวเจ้ากับกะทิ หยอดลงเบ้าหลุมบนเตาถ่าน กินตอนร้อน"
    example = json.dumps({"instruction": "ขนมครกคืออะไร", "output": answer})
    language = Language(
        code="xx", name="X", native="X", script="Thai",
        persona="คุณเป็นครูสอนทำอาหารที่เขียนหนังสือเก่งและตอบเป็นภาษาไทยที่อ่านง่ายเสมอ",
        format_examples={"closed_qa": (FormatExample("ขนมไทย", example),)},
    )  # fmt: skip
    rules = RuleFilter()
    rules.bind(type("S", (), {"language": language}))
    shown = (Example("ขนมไทย", example),)
    question, told = "ขนมครก คืออะไร ?", f"เล่าให้ฟังนะ {answer} อร่อยมาก"
    copied = "rules: copied example"
    assert check(instruction=question, rules=rules, examples=shown) == f"{copied} (instruction)"
    assert check(told, rules=rules, examples=shown) == f"{copied} (output)"
    assert check(instruction=question, rules=rules) is check(told, rules=rules) is None
    assert (
        check("คุณเป็นครูสอนทำอาหารที่เขียนหนังสือเก่งและตอบเป็นภาษาไทยที่อ่านง่าย", rules=rules)
        == "rules: prompt leaked (output)"
    )
    assert check("ขนมครกเป็นขนมไทยที่หากินได้ตามตลาดเช้า", rules=rules, examples=shown) is None


def test_every_turn_is_checked():
    turns = [
        ("user", QUESTION),
        ("assistant", ANSWER),
        ("user", "แล้วใช้ปลาอะไร"),
        ("assistant", "ใช้ปลา<br>ทู"),
    ]
    messages = tuple(Message(role, content) for role, content in turns)
    assert check(messages=messages) == "rules: markup (output)"
    assert check(messages=messages[:2]) is None


def test_limits_are_settings():
    assert check("สั้น", rules=RuleFilter(output_chars=(20, 100))) == "rules: too short (output)"
    with pytest.raises(ConfigError, match="no range"):
        RuleFilter(output_chars=(5, 2))
    with pytest.raises(ConfigError, match="share"):
        RuleFilter(distinct=2)


@pytest.mark.skipif(not ARTICLES.exists(), reason="no articles here")
def test_hardly_any_paragraph_of_thai_wikipedia_is_dropped():
    rules, flagged, names, seen = RuleFilter(), [], 0, 0
    for line in gzip.open(ARTICLES, "rt", encoding="utf-8").readlines()[:400]:
        paragraphs = [p for p in json.loads(line)["text"].split("\n") if len(p.strip()) >= 40]
        for i, paragraph in enumerate(paragraphs):
            reason, seen = check(paragraph, "เล่าเรื่องนี้ให้ฟังหน่อย", rules=rules), seen + 1
            # A line that leads to a list is no answer, and dropped rightly.
            leads = i + 1 < len(paragraphs) and reason in LEADS
            # Foreign names look like the beginnings of words.
            if reason == "rules: cut off (half a word, output)":
                names += 1
            elif reason and not leads:
                flagged.append((reason, paragraph))
    assert seen > 1000
    assert len(flagged) < 0.005 * seen, flagged
    assert names < 0.01 * seen


@pytest.mark.parametrize("text", ["BİR DİL MODELİ OLARAK", "Bir dil modeli olarak"])
def test_a_turkish_refusal_in_capitals_is_one(text):
    reason = check(f"{text} bunu yapamam.", "Bana yardım et.", "tr")
    assert reason.startswith(("rules: refusal", "rules: speaks as"))
