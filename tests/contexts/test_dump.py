"""A downloaded wiki: what is read of each format, and what is found, kept and left out."""

from __future__ import annotations

import bz2
import json
import subprocess
import sys

import pytest

import seedfree as sf
from seedfree.contexts.dump import WikipediaDump
from seedfree.contexts.dump_files import open_dump
from seedfree.contexts.dump_index import DumpIndex
from seedfree.contexts.formats.wikihtml import read_wikihtml
from seedfree.contexts.formats.wikitext import Namespaces, read_wikitext
from seedfree.errors import ConfigError
from seedfree.records import Topic
from tests import dumps
from tests.fakes import thai_llm

THAI_NAMES = Namespaces().with_names(["ไฟล์"], ["หมวดหมู่"])


def write_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (folder / "thai").mkdir()
    for n, row in enumerate(dumps.rows()):
        table = pyarrow.Table.from_pylist([row])
        parquet.write_table(table, folder / "thai" / f"train-0000{n}-of-00003.parquet")
    return folder / "thai"


def write_zim(folder):
    writer = pytest.importorskip("libzim.writer")

    class Page(writer.Item):
        def __init__(self, title, html):
            super().__init__()
            self.title, self.html = title, html

        def get_path(self):
            return self.title.replace(" ", "_")

        def get_title(self):
            return self.title

        def get_mimetype(self):
            return "text/html"

        def get_contentprovider(self):
            return writer.StringProvider(self.html)

        def get_hints(self):
            return {writer.Hint.FRONT_ARTICLE: True}

    body = (
        "<html><body><h1>{title}</h1><div id='mw-content-text'><table class='infobox'><tr><td>x"
        "</td></tr></table><p>{lead}<sup class='reference'>[1]</sup></p>{more}</div>"
        "<footer>https://th.wiki.example/?title={title}&amp;oldid=77</footer></body></html>"
    )
    dyeing = f"<details><summary><h2>วิธีย้อม</h2></summary><p>{dumps.DYEING}</p></details>"
    pages = {
        "ผ้าย้อมคราม": (dumps.KRAM, dyeing),
        "แกงเห็ดป่า": (dumps.MUSHROOM, ""),
        "เรือหางแมงป่อง": (dumps.BOAT, ""),
    }
    path = folder / "wiki.zim"
    with writer.Creator(path).config_indexing(False, "tha") as creator:
        for title, (lead, more) in pages.items():
            creator.add_item(Page(title, body.format(title=title, lead=lead, more=more)))
        creator.add_metadata("Source", b"th.wiki.example", "text/plain")
    return path


FORMATS = {
    "xml": lambda folder: dumps.write_xml(folder / "pages.xml"),
    "bz2": lambda folder: dumps.write_xml(folder / "pages.xml.bz2"),
    "multistream": dumps.write_multistream,
    "plain parts": lambda folder: dumps.write_parts(folder, "plain"),
    "bz2 parts": lambda folder: dumps.write_parts(folder, "bz2"),
    "multistream parts": lambda folder: dumps.write_parts(folder, "multistream"),
    "jsonl": lambda folder: dumps.write_jsonl(folder / "thai.jsonl"),
    "parquet": write_parquet,
    "zim": write_zim,
}


@pytest.fixture
def thai(tmp_path):
    return WikipediaDump(dumps.write_xml(tmp_path / "pages.xml"), language="th")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_texts(form, tmp_path):
    source = WikipediaDump(FORMATS[form](tmp_path), language="th", sections=9)
    cloth = source.contexts(Topic("ผ้าย้อมคราม"))
    assert [context.source.title for context in cloth] == ["ผ้าย้อมคราม"] * len(cloth)
    text = "\n".join(context.text for context in cloth)
    assert dumps.KRAM in text and dumps.DYEING in text
    assert "ผ้าไหม" not in text and "[1]" not in text and "{{" not in text
    (boat,) = source.contexts(Topic("เรือหางแมงป่อง"))
    assert boat.text == dumps.BOAT
    assert boat.source.kind == "wikipedia" and boat.source.license == "CC-BY-SA-4.0"
    assert boat.source.url.startswith("https://th.wiki.example/wiki/") and boat.source.revision
    assert boat.source.page_id == {"jsonl": "3", "parquet": "3", "zim": None}.get(form, "4")
    assert source.counts()["kept"] == 3


def test_a_row_names_title_address_and_revision_as_the_api_does(thai):
    lead, dyeing = thai.contexts(Topic("ผ้าย้อมคราม"))
    assert lead.text == dumps.KRAM and dyeing.text == dumps.DYEING
    assert (lead.title, dyeing.title) == ("ผ้าย้อมคราม", "ผ้าย้อมคราม: วิธีย้อม")
    assert (lead.source.revision, lead.source.page_id) == ("100", "1")
    address = "https://th.wiki.example/wiki/%E0%B8%9C%E0%B9%89%E0%B8%B2"
    assert lead.source.url.startswith(address)


@pytest.mark.parametrize(
    ("topic", "title"),
    [
        ("แกงเห็ดป่า", "แกงเห็ดป่า"),
        ("แกง เห็ด!", "แกงเห็ดป่า"),  # a redirect, written otherwise
        ("การขนข้าวเปลือกในลุ่มน้ำแสงจันทร์", "เรือหางแมงป่อง"),
        ("ใบย่านาง", "แกงเห็ดป่า"),
        ("ไม่มีในวิกินี้เลยสักคำเดียว", None),
        ("", None),
    ],
)
def test_a_topic_finds_its_page(thai, topic, title):
    found = {context.source.title for context in thai.contexts(Topic(topic))}
    assert found == ({title} if title else set())


def test_pages_of_no_use_are_counted_by_reason(thai):
    counts = thai.counts()
    assert counts["pages"] == 21 and counts["kept"] == 3
    assert counts["share_skipped"] == pytest.approx(18 / 21, abs=1e-4)
    assert counts["skipped"] == {
        "a list of pages": 1,
        "a list or a table": 1,
        "another script": 1,
        "copied text": 14,
        "hardly any text": 1,
    }
    for title in ("คราม", "รายชื่อวัดสมมติ", "Kampung Sungai Lalang", "ดาวเคราะห์น้อย 12 ลิลา"):
        assert title not in {context.source.title for context in thai.contexts(Topic(title))}


def test_a_random_page_is_a_topic_of_its_own(thai):
    topic = Topic("ไม่มีในวิกินี้เลยสักคำเดียว", position=3)
    thai.random_fallback = True
    contexts = thai.contexts(topic)
    assert contexts and contexts == thai.contexts(topic)
    assert contexts[0].topic == Topic(contexts[0].source.title, "", 3)


def test_scripts_with_spaces_are_searched_by_words(tmp_path):
    pages = [(0, "Sungai Lalang", dumps.MALAY, ""), (0, "Laut", f"Laut. {dumps.MALAY[200:]}", "")]
    source = WikipediaDump(dumps.write_xml(tmp_path / "ms.xml", pages), language="id", min_chars=90)
    assert [c.source.title for c in source.contexts(Topic("padi huma"))] == ["Sungai Lalang"]
    assert source.contexts(Topic("pad hum")) == []


# The index.


def test_the_index_is_built_once_and_names_its_dump(thai, tmp_path, monkeypatch):
    thai.ready()
    path = tmp_path / "pages.xml.index"
    about = DumpIndex(path).about
    assert about["name"] == "pages.xml"
    assert thai.identity == f"dump {about['dump']}"
    monkeypatch.setattr("seedfree.contexts.dump_index.open_dump", None)  # no second build
    again = WikipediaDump(tmp_path / "pages.xml", language="th")
    assert again.contexts(Topic("แกงเห็ดป่า")) == thai.contexts(Topic("แกงเห็ดป่า"))


def test_another_dump_of_that_name_gets_an_index_of_its_own(thai, tmp_path):
    thai.ready()
    dumps.write_xml(tmp_path / "pages.xml", dumps.PAGES[3:])
    changed = WikipediaDump(tmp_path / "pages.xml", language="th")
    assert changed.identity != thai.identity
    assert changed.contexts(Topic("แกงเห็ดป่า")) == []
    assert changed.contexts(Topic("เรือหางแมงป่อง"))


def test_a_copy_of_a_dump_is_the_same_dump(thai, tmp_path):
    (tmp_path / "copy").mkdir()
    copy = WikipediaDump(dumps.write_xml(tmp_path / "copy" / "other.xml"), language="th")
    assert copy.identity == thai.identity


def test_nothing_is_written_over_files_of_others(tmp_path):
    dumps.write_xml(tmp_path / "pages.xml")
    (tmp_path / "pages.xml.index").write_text("my notes")
    with pytest.raises(ConfigError, match="no index of ours"):
        WikipediaDump(tmp_path / "pages.xml", language="th").ready()
    assert (tmp_path / "pages.xml.index").read_text() == "my notes"
    elsewhere = WikipediaDump(tmp_path / "pages.xml", cache=tmp_path / "a" / "b", language="th")
    assert elsewhere.contexts(Topic("แกงเห็ดป่า"))


@pytest.mark.parametrize("form", ["xml", "multistream", "jsonl", "plain parts"])
def test_a_build_that_was_stopped_goes_on(form, tmp_path, monkeypatch):
    path = FORMATS[form](tmp_path)
    whole = DumpIndex.of(path, tmp_path / "whole").about
    monkeypatch.setattr("seedfree.contexts.dump_index._BATCH", 2)
    begun = []

    class Stopped:
        def __init__(self, dump, last):
            self.dump, self.last, self.headed = dump, last, dump.headed

        def pages(self, skip=0):
            begun.append(skip)
            for number, page in enumerate(self.dump.pages(skip), skip + 1):
                if number > self.last:
                    raise KeyboardInterrupt
                yield page

        def read(self, page):
            return self.dump.read(page)

    def stop_after(last):
        monkeypatch.setattr(
            "seedfree.contexts.dump_index.open_dump", lambda path: Stopped(open_dump(path), last)
        )

    for last in (1, 2):
        stop_after(last)
        with pytest.raises(KeyboardInterrupt):
            DumpIndex.of(path, tmp_path / "parts")
        assert not (tmp_path / "parts" / f"{path.name}.index").exists()
    stop_after(10**6)
    assert DumpIndex.of(path, tmp_path / "parts").about == whole
    assert begun == [0, 0, 2]


@pytest.mark.parametrize("form", [form for form in FORMATS if "stream" in form or "parts" in form])
def test_a_dump_is_read_from_any_page_on(form, tmp_path):
    dump = open_dump(FORMATS[form](tmp_path))
    pages = list(dump.pages())
    assert [page.title for page in pages] == [title for _, title, *_ in dumps.PAGES]
    for skip in range(len(pages) + 1):
        assert list(dump.pages(skip)) == pages[skip:]


def test_parts_are_one_dump_in_the_order_of_their_pages(tmp_path):
    folder = dumps.write_parts(tmp_path, "bz2")
    whole = dumps.write_xml(tmp_path / "pages.xml")
    assert list(open_dump(folder).pages()) == list(open_dump(whole).pages())
    first, *_ = sorted(folder.glob("*multistream9*"))
    assert [page.id for page in open_dump(first).pages()] == [1, 2, 3, 4, 5]
    first.unlink()
    assert next(open_dump(folder).pages()).id == 6


def test_a_build_reads_the_parts_that_are_done_no_more_than_needed(tmp_path):
    folder = dumps.write_parts(tmp_path, "multistream")
    first, *_ = sorted(folder.glob("*multistream9*"))
    data = bytearray(first.read_bytes())
    # The second stream holds pages 1 to 3.
    start = data.index(b"BZh", 1)
    data[start : start + 20] = b"x" * 20
    first.write_bytes(data)
    assert next(open_dump(folder).pages(5)).id == 6
    with pytest.raises(ConfigError, match=f"{first.name} is damaged"):
        next(open_dump(folder).pages(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: parts[1].unlink(), "multistream11.* does not go on where .*stream9"),
        (
            lambda parts: parts[0].with_suffix("").write_bytes(b""),
            "does not go on where .*stream9",
        ),
        (
            lambda parts: parts[0].rename(parts[0].with_name("laowiki-1.xml-p1p5.bz2")),
            "more than one dump: laowiki-, thwiki-20260101-pages-articles-multistream",
        ),
        (lambda parts: dumps.write_xml(parts[0].with_name("pages.xml")), "more than one dump"),
        (lambda parts: dumps.write_jsonl(parts[0].with_name("a.jsonl")), "more than one dump"),
    ],
    ids=["missing", "twice", "two wikis", "a whole dump", "rows"],
)
def test_parts_that_are_no_one_dump_are_refused(change, message, tmp_path):
    folder = dumps.write_parts(tmp_path, "bz2")
    change([next(folder.glob(f"*multistream{part}.*")) for part in (9, 10, 11)])
    with pytest.raises(ConfigError, match=message) as raised:
        WikipediaDump(folder)
    assert "\n" not in str(raised.value)


# Each entity is ten of the one before.
BOMB = (
    b"<!DOCTYPE m ["
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b'<!ENTITY a0 "xxxxxxxxxx">]><mediawiki><page><title>&a11;</title></page></mediawiki>'
)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xml", b"<mediawiki><page><title>x"),
        ("a.xml", b"not XML"),
        ("a.xml", b"<mediawiki><page><ns>0</ns></page></mediawiki>"),
        ("a.xml", b"<mediawiki><page><title>x</title><id>-1</id></page></mediawiki>"),
        ("a.xml", b"<mediawiki><page><title>x</title><id>%d</id></page></mediawiki>" % 2**63),
        ("a.xml", BOMB),
        ("a.xml", b'<!DOCTYPE m [<!ENTITY a SYSTEM "a.xml">]><mediawiki>&a;</mediawiki>'),
        ("a.xml.bz2", bz2.compress(b"<mediawiki>" + b"<page/>" * 99)[:-9]),
        ("a.xml.bz2", b"BZh91AY&SY broken"),
        ("a.jsonl", b'{"id": 1}\n'),
        ("a.jsonl", b"no JSON\n"),
        ("a.jsonl.gz", b"no gzip"),
        ("a.parquet", b"no Parquet"),
        ("a.zim", b"no ZIM"),
    ],
)
def test_a_damaged_dump_is_one_line_and_no_index(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as error:
        WikipediaDump(tmp_path / name, language="th").ready()
    assert "a." in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / f"{name}.index").exists()


def test_pages_that_would_take_for_ever_are_cut_or_left_out(tmp_path):
    long = f"{dumps.BOAT}\n\n" + "ก" * 6_000_000
    texts = {"ยาว": long, "ก/ข": dumps.KRAM, "อ้าง": "<ref>" * 10**6, "ซ้อน": "{{ก|" * 10**6}
    pages = [(0, title, text, "") for title, text in texts.items()]
    source = WikipediaDump(dumps.write_xml(tmp_path / "pages.xml", pages), language="th")
    (slash,) = source.contexts(Topic("ก/ข"))
    assert slash.source.url == "https://th.wiki.example/wiki/%E0%B8%81/%E0%B8%82"
    assert source.contexts(Topic("ยาว"))
    assert source.counts()["skipped"] == {"broken markup": 2}


def test_a_page_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("seedfree.contexts.dump_files._CHUNK", 2**10)
    monkeypatch.setattr("seedfree.contexts.dump_files._LONGEST_PAGE", 2**14)
    pages = [(0, "ยาว", "x" * 2**13, "")] * 3
    assert len(list(open_dump(dumps.write_xml(tmp_path / "a.xml", pages)).pages())) == 3
    pages = [(0, "ยาว", "x" * 2**15, "")]
    with pytest.raises(ConfigError, match="histories"):
        list(open_dump(dumps.write_xml(tmp_path / "b.xml.bz2", pages)).pages())


def test_a_wrong_index_of_streams_is_one_line(tmp_path):
    path = dumps.write_multistream(tmp_path)
    (index,) = tmp_path.glob("*index.txt.bz2")
    for lines in (b"x:1:y\n", b"5:1:y\n" * 9):
        index.write_bytes(bz2.compress(lines))
        with pytest.raises(ConfigError, match="damaged"):
            list(open_dump(path).pages(9))


def test_a_dump_that_changes_while_it_is_read_gives_no_index(tmp_path, monkeypatch):
    path = dumps.write_xml(tmp_path / "pages.xml")
    names = iter(["before", "after"])
    monkeypatch.setattr("seedfree.contexts.dump_index.fingerprint", lambda path: next(names))
    with pytest.raises(ConfigError, match="changed while"):
        DumpIndex.of(path)
    assert not (tmp_path / "pages.xml.index").exists()


def test_a_damaged_index_is_one_line(thai, tmp_path):
    thai.ready()
    thai.close()
    path = tmp_path / "pages.xml.index"
    data = bytearray(path.read_bytes())
    data[8192:] = b"x" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged|Cannot keep"):
        thai.contexts(Topic("แกงเห็ดป่า"))


def test_two_processes_build_one_index(tmp_path):
    path = dumps.write_xml(tmp_path / "pages.xml")
    code = (
        "import sys; from pathlib import Path; from seedfree.contexts.dump_index import DumpIndex;"
        "print(DumpIndex.of(Path(sys.argv[1])).about['kept'])"
    )
    command = [sys.executable, "-c", code, str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate()[0] for each in both] == ["3\n", "3\n"]


def test_a_wiki_may_be_written_in_two_scripts(tmp_path):
    pages = [(0, f"Kampung {n}", dumps.MALAY[n:], "") for n in range(3)] + [
        (0, "ไทย", dumps.KRAM, "")
    ]
    source = WikipediaDump(dumps.write_xml(tmp_path / "pages.xml", pages), language="th")
    assert source.contexts(Topic("ไทย")) and source.counts()["kept"] == 4


def test_what_is_no_dump_is_refused_before_a_run(tmp_path):
    with pytest.raises(ConfigError, match="no dump"):
        WikipediaDump(tmp_path / "missing.xml")
    (tmp_path / "a.pdf").write_bytes(b"x")
    for path in (tmp_path / "a.pdf", tmp_path):
        with pytest.raises(ConfigError, match=r"ends with one of \.xml"):
            WikipediaDump(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"sections": 0},
        {"results": 51},
        {"min_chars": 0},
        {"categories": "ผ้า"},
        {"page_chars": (9, 1)},
    ],
)
def test_wrong_settings_are_refused(settings, tmp_path):
    with pytest.raises(ConfigError):
        WikipediaDump(dumps.write_xml(tmp_path / "pages.xml"), **settings)


def test_a_missing_package_names_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "libzim.reader", None)
    (tmp_path / "a.zim").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[zim\]'"):
        WikipediaDump(tmp_path / "a.zim", language="th").ready()


# Topics from the pages.


def run(source, out, **settings):
    pipeline = sf.Pipeline(
        "th",
        thai_llm(),
        contexts=[source],
        tasks=[sf.Summarization()],
        filters=[],
        diversity=None,
        topics="pages",
    )
    return pipeline.run(out=out, progress=False, **settings)


def test_every_topic_meets_its_own_article(thai, tmp_path):
    made = run(thai, tmp_path / "run", size=3)
    assert made.status == "complete"
    assert {row.topic for row in made.dataset} <= {"ผ้าย้อมคราม", "แกงเห็ดป่า", "เรือหางแมงป่อง"}
    assert all(row.topic == row.source.title and row.topic_kind == "" for row in made.dataset)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text("utf-8"))
    (source,) = manifest["sources"]
    assert source["kind"] == "WikipediaDump" and source["skipped"]["copied text"] == 14
    assert str(tmp_path) not in json.dumps(manifest)


def test_titles_come_by_turns_of_their_categories(tmp_path):
    texts = [dumps.KRAM, dumps.DYEING, dumps.MUSHROOM, dumps.BOAT]
    pages = [
        (0, f"หน้า{text[:9]}{n}", f"{text[:280]} {n}\n[[หมวดหมู่:ก{n % 2 if n < 2 else 0}]]", "")
        for n, text in enumerate(texts)
    ]
    source = WikipediaDump(dumps.write_xml(tmp_path / "pages.xml", pages), language="th")
    odd = pages[1][1]
    draws = {seed: list(source.titles(seed)) for seed in range(8)}
    assert all(odd in titles[:2] and len(set(titles)) == 4 for titles in draws.values())
    assert len(set(map(tuple, draws.values()))) > 1
    assert draws[3] == list(source.titles(3))
    source.categories = ("ก1",)
    assert list(source.titles(0)) == [odd]
    source.categories, source.page_chars = (), (1000, 2000)
    assert list(source.titles(0)) == []


def test_pages_as_topics_need_a_source_that_has_some():
    with pytest.raises(ConfigError, match="no source has pages"):
        sf.Pipeline("th", thai_llm(), topics="pages")


def test_a_page_that_is_passed_over_counts_in_the_run(thai, tmp_path):
    pipeline = sf.Pipeline(
        "th",
        thai_llm(),
        contexts=[thai],
        tasks=[sf.Summarization()],
        filters=[],
        diversity=None,
        topics=["คราม", "แกงเห็ด"],
    )
    made = pipeline.run(size=1, out=tmp_path / "run", progress=False)
    assert made.stats.stages["texts"]["lost"]["a list of pages"] == 1


# The text of a page.


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("'''ตัวหนา''' และ ''เอียง'' กับ ''''สี่''''", "ตัวหนา และ เอียง กับ 'สี่'"),
        ("[[ผ้า|ผืนผ้า]]ไทย [[ผ้า]]", "ผืนผ้าไทย ผ้า"),
        ("ก[[ไฟล์:a.jpg|thumb|คำ[[ผ้า]]]]ข [[ภาพ:b.png|คำ]]ค[[File:c.svg]]", "กข ค"),
        ("ก[[หมวดหมู่:ผ้า]]ข[[:หมวดหมู่:ผ้า]] [[en:Cloth]]", "กขหมวดหมู่:ผ้า"),
        ("ก{{แม่แบบ|{{ซ้อน}}\n|x=1}}ข{{{ตัวแปร}}}", "กข"),
        ("ก<ref name=a>อ้าง {{x}}</ref>ข<ref name=a />", "กข"),
        ("ก\n{| class=x\n! ปี\n|-\n| 1 || {{y}}\n|}\nข", "ก\nข"),
        ("<gallery>\nไฟล์:a.jpg|คำ\n</gallery>ก<!-- ข้อความ -->", "ก"),
        ("# หนึ่ง\n#* ย่อย\n: เยื้อง", "หนึ่ง\nย่อย\nเยื้อง"),
        ("ก\n\nข\n\n\nค", "ก\nข\n\nค"),
        (" คงรูป\n อีกบรรทัด\nปกติ", "คงรูป\nอีกบรรทัด\n\nปกติ"),
        ("ก\n== หัว <ref>x</ref>''เอียง'' ==\nข", "ก\n\n== หัว เอียง ==\nข"),
        ("<nowiki>[[ไม่ใช่]]</nowiki> x<sup>2</sup>&nbsp;&ndash;", "[[ไม่ใช่]] x2 –"),
        ("&#x110000;", "&#x110000;"),
        ("[https://x.example หน้า] [https://y.example] https://z.example", "หน้า  https://z.example"),
        ("__NOTOC__ก__ไม่มีสารบัญ__\n----\nข", "ก\nข"),
        ("<math>x</math>", "{\\displaystyle x}"),
        ("{{ไม่ปิด [[ก|ข", "{{ไม่ปิด [[ก|ข"),
        ("", ""),
    ],
)  # fmt: skip
def test_wikitext_becomes_what_a_reader_sees(source, text):
    assert read_wikitext(source, THAI_NAMES).text == text


def test_wikitext_says_what_it_is():
    read = read_wikitext("* ก\n* ข\nคคคค\n{{ต้น}}[[หมวดหมู่:ก|ข]][[หมวดหมู่:ค]]", THAI_NAMES)
    assert read.listed == pytest.approx(2 / 6)
    assert read.categories == ("ก", "ค") and read.templates == ("ต้น",)
    assert read_wikitext("#เปลี่ยนทาง [[ก ข#ค|ง]]").target == "ก ข"
    assert read_wikitext("#REDIRECT[[ก]]").target == "ก"


def test_html_of_a_wiki_becomes_the_same():
    html = (
        "<div id='mw-content-text'><p>ก<sup class='reference'>[1]</sup></p><style>x</style>"
        "<h2>หัว</h2><ul><li>หนึ่ง</li><li>สอง</li></ul><div class='navbox'>ไม่เอา</div></div>"
    )
    read = read_wikihtml(html)
    assert read.text == "ก\n\n== หัว ==\nหนึ่ง\nสอง" and read.listed > 0.5
    assert read_wikihtml("").text == ""
