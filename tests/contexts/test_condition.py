"""Texts are looked at before anything is paid for: cleaned where they can be, else left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.contexts.condition import cleaned, fault, is_end_heading, without_end
from seedfree.contexts.documents import DocumentSource
from seedfree.contexts.sections import wiki_sections
from seedfree.contexts.wikipedia import WikipediaSource
from seedfree.languages import Language
from seedfree.records import Context, Source, Topic
from seedfree.run.folder import Run
from seedfree.tasks.summarization import Summarization
from tests.fakes import small_pipeline, thai_llm

TH = "วัดนี้สร้างโดยช่างพื้นเมืองเมื่อร้อยปีก่อน มีระเบียงไม้สักยาวรอบวิหารและหอไตรกลางน้ำที่ยังใช้อยู่"
MY = "ရန်ကုန်မြို့သည် မြန်မာနိုင်ငံ၏ အကြီးဆုံးမြို့ ဖြစ်သည်။ လူဦးရေ ငါးသန်းကျော် ရှိသည်။ "
EN = "The old temple was built by local craftsmen a hundred years ago and has a long teak veranda. "
VI = "Ngôi chùa cổ này do thợ thủ công địa phương xây cách đây một trăm năm bên bờ sông Hương. "
ID = "Candi tua ini dibangun oleh para tukang setempat seratus tahun yang lalu di tepi sungai. "


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ผ้าไหม (; ) ทอที่นี่[1][2] ชาว", "ผ้าไหม ทอที่นี่ ชาว"),
        (
            "Silk (; Thai: ผ้า; ) is [note 3] woven.[a][2, 3]:12 Here",
            "Silk (Thai: ผ้า) is woven. Here",
        ),
        ("ไหม（）ดี ( , ) มาก ()", "ไหมดี มาก"),
        ("<div class='x'><p>วัดนี้</p><br>เก่า&nbsp;แก่ &amp; ใหญ่</div>", "วัดนี้\n\nเก่า แก่ & ใหญ่"),
        ("ก<ref name='a'>หนังสือ</ref>ข<ref name='b'/><!-- x -->ค<style>p {}</style>", "กขค"),
        ("[[วัด|วัดไทย]] [[ผ้า]] '''หนา''' {{ต้องการอ้างอิง}}[https://a.example ที่นี่]", "วัดไทย ผ้า หนา ที่นี่"),
        ("\ufeffก\u00adข\x00\r\nค\u2028ง\x0c", "กข\nค\nง"),
        ("\uf0b7 ข้าว\n\uf0a7 ปลา", "- ข้าว\n- ปลา"),
        # What only looks like it stays.
        ("print() a < b > c, {1, 2}, x[i], (x), 'a' [link](b) [ ] todo", None),
        ("`<b>[1]` and\n```\n<p>a[1] (; )</p>\n```", None),
        ("5°3''N, AT&T, 2 < 3 และ 4 > 1", None),
    ],
)
def test_what_stripping_left_behind_is_taken_out(text: str, clean: str | None) -> None:
    assert cleaned(text) == (text if clean is None else clean)


@given(st.text(alphabet="กข ab<>br/p&;amp()[]1{}|'\n,`", max_size=60))
def test_a_cleaned_text_stays_as_it_is(text: str) -> None:
    assert cleaned(cleaned(text)) == cleaned(text)


def _misread(text: str, as_: str) -> str:
    return text.encode().decode(as_, "ignore")


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        ("th", TH.replace("พื้น", "\ufffd\ufffd"), "broken characters"),
        ("th", TH.replace("่", "\uf70a"), "broken characters"),
        ("th", f"{TH} {_misread('วัดนี้สร้าง', 'latin-1')}", "broken characters"),
        ("th", f"{TH} {_misread('วัดนี้สร้าง', 'cp1252')}", "read in a wrong encoding"),
        ("th", f"{TH} {_misread('วัดนี้สร้างขึ้น', 'cp874')}", "read in a wrong encoding"),
        ("th", f"{TH} ÇÑ´¹ÕéÊÃéÒ§¢Öé¹", "read in a wrong encoding"),
        ("vi", VI + _misread("Tiếng Việt", "cp1252"), "read in a wrong encoding"),
        ("en", f"{EN} the cafÃ© is open", "read in a wrong encoding"),
        ("en", f"{EN} itâ€™s open", "read in a wrong encoding"),
        ("my", f"{MY} ေရႊတိဂံုဘုရား ရွိသည္။", "Zawgyi encoding"),
        ("th", f"ตำบลนี้ท าขนมและด าเนินการมานาน น ้าตาลโตนด {TH}", "letters torn apart"),
        ("lo", "ບ້ານນີ້ເຮັດເຂົ້າໜົມມາດົນແລ້ວ ແລະ ຕ ່າແຜ່ນແພດ້ວຍມືທຸກໆປີໃນລະດູແລ້ງ", "letters torn apart"),
        ("th", f"{TH} {{{{ก}} [[ข <x-y>", "markup"),
        ("th", rf"{TH} {{\displaystyle x^2}}", "markup"),
        ("th", EN * 3, "another script"),
        ("id", EN * 3, "another language"),
        ("th", "วัดเก่า", "hardly any text"),
        ("th", "1932 - 2475 (45) " * 20, "hardly any text"),
        ("th", "\n".join(f"พ.ศ. {2540 + n} ละครเรื่อง {n}" for n in range(9)), "a list or a table"),
        ("en", "\n".join(f"Name{n}\t{n * 7}\ttown of X" for n in range(9)), "a list or a table"),
        ("id", "\n".join(f"Budi, A. (20{n}). Tenun." for n in range(10, 16)), "a bibliography"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_cleaned_is_named(code: str, text: str, reason: str) -> None:
    assert fault(cleaned(text), Language.load(code)) == reason


POEM = "ฝนเม็ดแรกร่วงมาหน้าบ้านเก่า\nกลิ่นดินเคล้าลมเย็นเป็นความหลัง\nกบเขียดร้องรับกันสนั่นดัง\nพ่อนั่งฟังแล้วยิ้มอิ่มหัวใจ"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("th", TH),
        ("th", POEM),
        ("th", f"{TH} ทุก ๆ ปี ฯลฯ"),
        ("th", f"{TH} (อังกฤษ: café façade “naïve” déjà vu – Øresund, ÉTÉ»)"),
        ("th", "เธอเธอเธอเธอเธอ ฉันรักเธอเธอเธอเธอ คนเดียวเท่านั้นเอง"),
        ("my", MY),
        ("vi", VI),
        ("id", ID),
        (
            "tr",
            "Köylüler yünden halı dokur. ÖĞRETMEN «DÜNYA» dedi; çocuklar güldü, şarkı söyledi.",
        ),
        ("km", "ប្រជាជនត្បាញក្រណាត់ដោយកីប្រពៃណី ហើយជ្រលក់ពណ៌ពីសំបកឈើរៀងរាល់ឆ្នាំនៅក្នុងភូមិ។"),
        ("lo", "ຊາວບ້ານຕ່ຳແຜ່ນແພດ້ວຍມື ແລະ ຍ້ອມສີຈາກເປືອກໄມ້ທຸກໆປີໃນລະດູແລ້ງ."),
    ],
)
def test_a_good_text_is_let_through(code: str, text: str) -> None:
    assert fault(cleaned(text), Language.load(code)) is None


@pytest.mark.parametrize(
    ("code", "heading"),
    [
        ("th", "แหล่งข้อมูล\u200bอื่น"),
        ("th", "อ้างอิง:"),
        ("th", "๕. อ้างอิง"),
        ("th", "หมายเหตุ และอ้างอิง"),
        ("th", "ดูเพิ่ม/อ้างอิง"),
        ("km", "កំណត់\u200bសម្គាល់"),
        ("vi", "Tham khảo và chú thích"),
        ("vi", "THAM KHẢO"),
        ("tr", "DIŞ BAĞLANTILAR"),
        ("tr", "KAYNAKÇA"),
        ("tr", "dış bağlantilar"),
        ("id", "Catatan & Referensi"),
        ("sw", "3) Marejeo"),
        ("en", "IV. References and Notes"),
        ("en", "'''See  also'''"),
        ("lo", "ອ້າງອີງ ແລະ ແຫຼ່ງຂໍ້ມູນ"),
    ],
)
def test_headings_are_compared_as_readers_do(code: str, heading: str) -> None:
    end = Language.load(code).end_sections
    assert is_end_heading(heading, end)
    cut = wiki_sections(f"{TH}\n== {heading} ==\n* หนังสือ ๒๕๕๐", end)
    assert [section.text for section in cut] == [TH]
    # Deeper down it takes its own lines alone.
    deep = f"{TH}\n== ก ==\n{TH}\n=== {heading} ===\nหนังสือ\n==== ข ====\nสอง\n=== ค ===\n{POEM}"
    assert [section.text for section in wiki_sections(deep, end)] == [TH, f"{TH}\nค\n{POEM}"]


@pytest.mark.parametrize(
    ("code", "heading"),
    [("en", "Sources of the river"), ("en", "Notes on a scale"), ("th", "แหล่งข้อมูลของชุมชน")],
)
def test_a_heading_that_holds_the_words_is_none(code: str, heading: str) -> None:
    assert not is_end_heading(heading, Language.load(code).end_sections)


def test_a_plain_text_ends_where_its_sources_begin() -> None:
    end = Language.load("th").end_sections
    assert without_end(f"{TH}\n\nอ้างอิง:\nหนังสือ ๒๕๕๐", end) == TH
    assert without_end(f"{TH}\nหมายเหตุ\n{TH}\n{TH}", end) == f"{TH}\nหมายเหตุ\n{TH}\n{TH}"
    assert without_end(f"{TH} อ้างอิง", end) == f"{TH} อ้างอิง"


def _lost(run: Run) -> dict[str, int]:
    return run.stats.stages["texts"]["lost"]


def test_documents_that_are_broken_cost_nothing_and_are_counted(tmp_path: Path) -> None:
    texts = [TH.replace("พื้น", "\ufffd\ufffd"), EN * 2, TH * 2]
    (tmp_path / "docs").mkdir()
    for i, text in enumerate(texts):
        (tmp_path / "docs" / f"{i}.txt").write_text(f"เรื่องที่ {i}\n\n{text}", encoding="utf-8")
    llm = thai_llm()
    pipeline = small_pipeline(
        llm, contexts=[DocumentSource(tmp_path / "docs", min_chars=20)], tasks=[Summarization()]
    )
    run = pipeline.run(3, tmp_path / "run", progress=False)
    assert {row.topic for row in run.dataset} == {"เรื่องที่ 2"}
    assert all(TH in prompt.user for prompt in llm.calls)
    assert _lost(run) == {"another script": 1, "broken characters": 1}
    assert "broken characters" in (run.path / "README.md").read_text(encoding="utf-8")
    again = pipeline.run(3, tmp_path / "run", progress=False)
    assert _lost(again) == _lost(run)


class Own:
    """A source of a user's own."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def contexts(self, topic: Topic) -> list[Context]:
        return [self._context]


def test_a_source_of_ones_own_is_looked_at_too(tmp_path: Path) -> None:
    text = f"เขาเกิดที่นี่[1] {TH}"
    context = Context(text=text, source=Source("archive", title="หลวงพ่อคูณ"))
    llm = thai_llm()
    pipeline = small_pipeline(llm, contexts=[Own(context)], tasks=[Summarization()], topics=["วัด"])
    pipeline.run(1, tmp_path / "run", progress=False)
    # An opening without its subject gets its title.
    assert f"หลวงพ่อคูณ\n\nเขาเกิดที่นี่ {TH}" in llm.calls[-1].user
    bad = small_pipeline(
        contexts=[Own(Context(text=EN))], tasks=[Summarization()], topics=["วัด"]
    ).run(1, tmp_path / "bad", progress=False)
    assert len(bad.dataset) == 0 and _lost(bad) == {"another script": 1}
    assert "another script" in bad.message


def test_a_page_gives_its_good_sections(wiki, session) -> None:
    broken = TH.replace("พื้น", "\ufffd\ufffd") * 4
    wiki.add(1, "วัด", f"{TH * 4}\n== ผุ ==\n{broken}\n== ดี ==\n{TH * 3}[1] (; )")
    wiki.hits["วัด"] = [1]
    source = wiki.attach(WikipediaSource(api_url=wiki.url, requests_per_minute=None, sections=3))
    source.bind(session())
    contexts = asyncio.run(source.contexts(Topic("วัด")))
    assert [context.text for context in contexts] == [TH * 4, TH * 3]
    assert [context.title for context in contexts] == ["วัด", "วัด: ดี"]


def test_a_random_page_brings_its_own_topic(wiki, session) -> None:
    wiki.add(1, "วัด", TH * 4)
    wiki.random = [1]
    source = wiki.attach(
        WikipediaSource(api_url=wiki.url, requests_per_minute=None, random_fallback=True)
    )
    source.bind(session())
    (context,) = asyncio.run(source.contexts(Topic("ปลาร้า", "cultural", 7)))
    assert context.topic == Topic("วัด", "", 7)


def test_a_row_has_the_topic_and_the_kind_of_its_text(tmp_path: Path) -> None:
    context = Context(text=TH, topic=Topic("หอไตรกลางน้ำ", ""))
    pipeline = small_pipeline(contexts=[Own(context)], tasks=[Summarization()], topics=["ปลาร้า"])
    run = pipeline.run(1, tmp_path, progress=False)
    assert [(row.topic, row.topic_kind) for row in run.dataset] == [("หอไตรกลางน้ำ", "")]
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| task | no kind | all |" in card
