"""Documents of formats that are not plain text, through `DocumentSource`."""

import io
import logging
import sys
import zipfile
from pathlib import Path

import docx
import fontpkg_noto_sans_thai
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from fpdf import FPDF
from fpdf.enums import AccessPermission
from PIL import Image

from seedfree.card import dataset_card
from seedfree.contexts.documents import DocumentSource
from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction

RICE = (
    "ข้าวหอมมะลิปลูกมากที่ทุ่งกุลาร้องไห้ในภาคอีสานของประเทศไทย ชาวนาทำนาปีละครั้ง เพราะน้ำในนาต้องพอดี "
    "เก็บเกี่ยวในเดือนพฤศจิกายน ผู้ซื้อให้ราคาสูงกว่าข้าวอื่น"
)
SILK = (
    "ผ้าไหมมัดหมี่ทอด้วยมือโดยช่างทอในจังหวัดขอนแก่น ลวดลายเกิดจากการมัดเส้นไหมก่อนย้อมสี แม่สอนลูกสาวทอผ้าตั้งแต่ยังเล็ก "
    "ผืนหนึ่งใช้เวลาหนึ่งถึงสามเดือน"
)
BREAD = "Bread is made of flour, water, salt and yeast, and rises for two hours before it is baked."
THAI_FONT = next(Path(fontpkg_noto_sans_thai.__file__).parent.rglob("*.ttf"))


def contexts(folder, **settings):
    """Returns the context of each topic, in order."""
    source = DocumentSource(folder, **{"min_chars": 20, **settings})
    return [source.contexts(topic)[0] for topic in source.topics()]


def titles(folder, **settings):
    return [context.title for context in contexts(folder, **settings)]


def pdf(*pages, title=None, width=120, size=12, password=None):
    """Writes a PDF of lines, each page a list of them; `(size, line)` for another size."""
    document = FPDF(format=(width + 40, 200))
    document.add_font("Thai", fname=THAI_FONT)
    document.set_auto_page_break(False)
    document.set_margin(20)
    if title:
        document.set_title(title)
    if password:
        document.set_encryption(password, password, permissions=AccessPermission.none())
    for lines in pages:
        document.add_page()
        for line in lines:
            points, text = line if isinstance(line, tuple) else (size, line)
            document.set_font("Thai" if not text.isascii() else "Helvetica", size=points)
            document.cell(0, 0.6 * points, text, new_x="LMARGIN", new_y="NEXT")
    return bytes(document.output())


def words(document):
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def book(chapters, *, spine=None, metadata="", manifest="", files=()):
    """Writes an EPUB of chapters by their names in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        items = "".join(
            f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>'
            for n, name in enumerate(chapters)
        )
        order = spine if spine is not None else range(len(chapters))
        references = "".join(f'<itemref idref="c{n}"/>' for n in order)
        archive.writestr(
            "OPS/book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata><manifest>'
            f"{items}{manifest}</manifest><spine>{references}</spine></package>",
        )
        for name, body in chapters.items():
            archive.writestr(f"OPS/{name}", xhtml(body))
        for name, data in files:
            archive.writestr(name, data)
    return file.getvalue()


def xhtml(body):
    return (
        '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">'
        f"<head><title/></head><body>{body}</body></html>"
    )


# PDF


def broken(text, *ends):
    """Cuts a text behind each of these."""
    lines = []
    for end in ends:
        line, _, text = text.partition(end)
        lines.append(line + end)
    return [*lines, text]


def test_lines_of_a_thai_pdf_become_its_paragraphs_again(tmp_path):
    rice = broken(RICE, "ภาคอีสานของ", "เพราะน้ำใน", "พฤศจิกายน ")
    silk = broken(SILK, "จังหวัด", "ย้อมสี ", "ผืนหนึ่งใช้")
    data = pdf([(20, "ของดีอีสาน"), *rice, (20, "ผ้าไหม"), *silk], title="ของดีอีสาน")
    (tmp_path / "a.pdf").write_bytes(data)
    first, second = contexts(tmp_path)
    assert (first.title, second.title) == ("ของดีอีสาน", "ของดีอีสาน: ผ้าไหม")
    assert (first.text, second.text) == (RICE, SILK)


def test_each_section_of_a_pdf_names_its_page(tmp_path):
    pages = [[(20, f"Part {n}"), f"In {n}, {BREAD[:60]}", f"{n} {BREAD[60:]}"] for n in "ABC"]
    (tmp_path / "a.pdf").write_bytes(pdf(*pages, title="Bread"))
    found = contexts(tmp_path, license="MIT")
    assert [c.source.url for c in found] == [f"a.pdf#page={n}" for n in (1, 2, 3)]
    assert {c.source.document for c in found} == {"a.pdf"}
    assert {(c.source.title, c.source.license) for c in found} == {("Bread", "MIT")}
    # The card names the document once.
    rows = [Instruction("qa", c.text, "", c.text, source=c.source) for c in found]
    assert "(3 rows)" in dataset_card(Dataset(rows), language=Language.load("en"), generator="fake")


def test_a_long_text_is_cut_and_each_piece_names_the_page_on_which_it_begins(tmp_path):
    lines = [f"Loaf {n} has a crust as hard as the crust of the loaf before it," for n in range(60)]
    (tmp_path / "a.pdf").write_bytes(pdf(*(lines[i : i + 10] for i in range(0, 60, 10))))
    found = contexts(tmp_path, min_chars=100, max_chars=400)
    for context in found:
        number = int(context.text.partition("Loaf ")[2].split()[0])
        page = int(context.source.url.rpartition("=")[2])
        assert page in (number // 10 + 1, (number - 1) // 10 + 1)
    assert len({context.source.url for context in found}) == 6


def test_words_that_were_divided_are_joined_and_others_keep_their_hyphens(tmp_path):
    lines = [
        "The north-eastern provinces are in the way of the mon-",
        "soon, and a well-known rice has the smell of the leaf. Well-",
        "known kinds are sold as anak-anak and as buku-",
        "buku, and from Nord-",
        "Korea to the south of the whole wide land of the old kings",
    ]
    (tmp_path / "a.pdf").write_bytes(pdf(lines))
    (context,) = contexts(tmp_path)
    assert "the monsoon, and" in context.text
    assert "Well-known kinds" in context.text
    assert "buku-buku, and" in context.text
    assert "Nord-Korea to" in context.text


def test_cyrillic_is_joined_like_latin_and_chinese_without_spaces(tmp_path):
    # Burmese, Khmer and Chinese need fonts; the signs themselves say what they read.
    cyrillic = spans(
        ["Хлеб пекут из муки, воды, соли и дрож-", "жей, и тесто поднимается два часа."]
    )
    chinese = spans(
        ["面包由面粉、水、盐和酵母制成，烘烤前需要", "发酵两个小时，然后在热炉子里烤三十分钟。"]
    )
    (tmp_path / "a.pdf").write_bytes(cyrillic)
    (tmp_path / "b.pdf").write_bytes(chinese)
    one, two = contexts(tmp_path)
    assert "дрожжей, и" in one.text
    assert "需要发酵" in two.text


def spans(lines, *, order=None):
    """Writes a PDF whose lines say what they read (`ActualText`), in groups of letters and marks.

    So browsers and LibreOffice do for Thai and Khmer. The second sign of a group is drawn behind
    the next group's first.
    """
    drawn = []
    for row, line in enumerate(lines):
        for column, group in enumerate(clusters(line)):
            x, y = 40 + 7 * column, 700 - 16 * row
            text = group.encode("utf-16-be").hex()
            second = f"1 0 0 1 {x + 7.1} {y} Tm (i) Tj" if len(group) > 1 else ""
            drawn.append(
                f"/Span <</ActualText <FEFF{text}>>> BDC 1 0 0 1 {x} {y} Tm (n) Tj {second} EMC"
            )
    stream = ("BT /F 12 Tf " + "\n".join(drawn) + " ET").encode()
    return bare(
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 800]/Contents 5 0 R"
        b"/Resources<</Font<</F 4 0 R>>>>>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Courier>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
    )


def clusters(line):
    groups = []
    for char in line:
        if groups and char in "ัิีึืุู็่้๊๋์ำ":
            groups[-1] += char
        else:
            groups.append(char)
    return groups


def bare(*objects, kids=b"3 0 R", count=1):
    """Writes a PDF of objects from number 3 on."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids),
        *objects,
    )
    data, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return bytes(data) + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (size, table, size, len(data))
    )


def test_marks_that_are_drawn_aside_neither_double_nor_move_letters(tmp_path):
    lines = broken(RICE, "ภาคอีสานของ", "เพราะน้ำใน", "พฤศจิกายน ")
    (tmp_path / "a.pdf").write_bytes(spans(lines))
    (context,) = contexts(tmp_path)
    assert context.text == RICE


def test_thai_forms_of_old_fonts_are_read_as_the_letters_that_they_are(tmp_path):
    forms = {0x0E38: 0xF718, 0x0E39: 0xF719, 0x0E49: 0xF70B, 0x0E48: 0xF705, 0x0E34: 0xF701}
    lines = broken(SILK, "จังหวัด", "ย้อมสี ", "ผืนหนึ่งใช้")
    (tmp_path / "a.pdf").write_bytes(spans([line.translate(forms) for line in lines]))
    (context,) = contexts(tmp_path)
    assert context.text == SILK


def test_running_heads_and_page_numbers_go_away(tmp_path):
    body = "Bakers of the {} street rise at {} and knead the dough for a long while, they say."
    pages = [
        ["THE BOOK OF BREAD", body.format(n, n + 3), "It is so.", f"- {n} -"] for n in range(1, 7)
    ]
    (tmp_path / "a.pdf").write_bytes(pdf(*pages))
    text = "\n".join(context.text for context in contexts(tmp_path))
    assert "BOOK" not in text and "- 3 -" not in text
    assert all(body.format(n, n + 3) in text for n in range(1, 7))


def test_columns_come_in_the_order_in_which_they_are_drawn(tmp_path):
    document = FPDF(format=(200, 200))
    document.set_font("Helvetica", size=11)
    document.add_page()
    left = [
        "Flour and water are mixed on the",
        "evening before, and the bowl is",
        "left near the stove",
    ]
    right = [
        "until the morning, when salt and",
        "yeast are added and all of it is",
        "kneaded well.",
    ]
    for x, lines in ((10, left), (110, right)):
        for row, line in enumerate(lines):
            document.text(x, 30 + 6 * row, line)
    (tmp_path / "a.pdf").write_bytes(bytes(document.output()))
    (context,) = contexts(tmp_path)
    assert context.text.startswith("Flour and water are mixed on the evening before, and the bowl")
    assert context.text.endswith(
        "until the morning, when salt and yeast are added and all of it is kneaded well."
    )


def scan(*, pages=2, text=""):
    document = FPDF()
    document.set_font("Helvetica", size=12)
    for _ in range(pages):
        document.add_page()
        document.image(Image.new("L", (40, 40), 128), 10, 10, 100)
    if text:
        document.add_page()
        document.multi_cell(0, 6, text)
    return bytes(document.output())


def test_a_folder_of_scans_alone_is_refused(tmp_path):
    (tmp_path / "a.pdf").write_bytes(scan())
    with pytest.raises(ConfigError, match=r"a\.pdf: 2 of 2 pages are pictures.*OCR") as caught:
        DocumentSource(tmp_path).ready()
    assert "\n" not in str(caught.value)


def test_beside_other_texts_a_scan_is_named_and_left_out(tmp_path, caplog):
    (tmp_path / "a.pdf").write_bytes(scan())
    (tmp_path / "b.pdf").write_bytes(scan(pages=1, text=BREAD * 2))
    with caplog.at_level(logging.WARNING, "seedfree"):
        found = contexts(tmp_path)
    assert [context.source.url for context in found] == ["b.pdf#page=2"]
    assert [record.message.split(". ")[0] for record in caplog.records] == [
        "a.pdf: 2 of 2 pages are pictures without text",
        "b.pdf: 1 of 2 pages are pictures without text",
    ]


def test_many_empty_pages_are_passed_over(tmp_path):
    count = 5000
    kids = b" ".join(b"%d 0 R" % n for n in range(3, count + 3))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
    (tmp_path / "a.pdf").write_bytes(bare(*[page] * count, kids=kids, count=count))
    (tmp_path / "b.txt").write_text(f"Bread\n\n{BREAD}")
    assert titles(tmp_path) == ["Bread"]


# Word


def test_a_word_document_is_cut_at_its_headings(tmp_path):
    document = docx.Document()
    document.core_properties.title = "Microsoft Word - final2.docx"
    document.sections[0].header.paragraphs[0].text = "HEADER"
    document.add_heading("ของดีอีสาน", 0)
    document.add_paragraph(RICE)
    document.add_heading("ผ้าไหม", 1)
    document.add_paragraph(SILK)
    document.add_heading("ขั้นตอน", 3)
    document.add_paragraph("มัดเส้นไหม", style="List Bullet")
    document.add_paragraph("ย้อมสี", style="List Bullet")
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ["ลาย", "ราคา", "ลายนาค", "2,500"], strict=True):
        cell.text = text
    (tmp_path / "a.docx").write_bytes(words(document))
    first, second = contexts(tmp_path)
    assert (first.title, first.text) == ("ของดีอีสาน", RICE)
    assert second.title == "ของดีอีสาน: ผ้าไหม"
    assert second.text == (
        f"{SILK}\n\nขั้นตอน\n\n- มัดเส้นไหม\n- ย้อมสี\n\n| ลาย | ราคา |\n| ลายนาค | 2,500 |"
    )
    assert second.source.url == "a.docx"


def test_the_text_of_controls_and_of_accepted_changes_is_read(tmp_path):
    document = docx.Document()
    document.core_properties.title = "Bread"
    paragraph = document.add_paragraph(BREAD)
    run = "<w:r><w:{0}>{1}</w:{0}></w:r>"
    paragraph._p.append(parse_xml(f"<w:ins {nsdecls('w')}>{run.format('t', ' Added.')}</w:ins>"))
    paragraph._p.append(
        parse_xml(f"<w:del {nsdecls('w')}>{run.format('delText', 'Gone.')}</w:del>")
    )
    paragraph._p.addnext(
        parse_xml(
            f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p>{run.format('t', 'In a control.')}</w:p>"
            "</w:sdtContent></w:sdt>"
        )
    )
    (tmp_path / "a.docx").write_bytes(words(document))
    (context,) = contexts(tmp_path)
    assert (context.title, context.text) == ("Bread", f"{BREAD} Added.\n\nIn a control.")


# HTML

PAGE = f"""<!doctype html><html><head><meta charset="utf-8"><title>ผ้าไหม | เว็บบ้านเรา</title>
<link rel="canonical" href="https://baan.example/silk"><script>if (1 < 2) alert("งู")</script></head>
<body><div class="top"><ul><li><a href="/">หน้าแรก</a></li><li><a href="/n">ข่าว</a></li>
<li><a href="/s">ร้านค้า</a></li></ul></div>
<div id="content"><h1>ผ้าไหม</h1><p>{SILK}<sup><a href="#n1">[1]</a></sup></p>
<h2>การย้อม</h2><p>ช่างย้อมด้วย<b>ครั่ง</b>และคราม<br>ได้สีแดงและน้ำเงินเข้ม ผู้สวมใส่ภูมิใจในลายของหมู่บ้าน</p></div>
<div class="sidebar"><ul><li><a href="/a">ปลาร้า</a></li><li><a href="/b">ข้าวหอม</a></li></ul></div>
</body></html>"""


def test_of_a_web_page_the_main_text_is_read(tmp_path):
    (tmp_path / "a.html").write_text(PAGE, "utf-8")
    first, second = contexts(tmp_path)
    assert (first.title, first.text) == ("ผ้าไหม", SILK)
    assert second.title == "ผ้าไหม: การย้อม"
    assert "ด้วยครั่งและคราม" in second.text
    text = first.text + second.text
    assert not [word for word in ("งู", "ข่าว", "ปลาร้า", "[1]") if word in text]
    assert second.source.url == "https://baan.example/silk"


def test_a_plain_page_keeps_its_short_texts_and_lists(tmp_path):
    rows = "<tr><td>Rye</td><td>3</td></tr><tr><td colspan=2>Sold on Mondays</td></tr>"
    (tmp_path / "a.htm").write_text(
        f"<nav><a href=/>Home</a></nav><h1>Bread</h1><p>{BREAD}</p><h2>Steps</h2>"
        f"<ol><li><p>Mix</p></li><li>Bake</li></ol><table>{rows}</table><pre>a\n  b</pre>"
    )
    first, second = contexts(tmp_path)
    assert (first.title, first.text) == ("Bread", BREAD)
    assert second.title == "Bread: Steps"
    assert second.text == "- Mix\n- Bake\n\n| Rye | 3 |\n\nSold on Mondays\n\na\n  b"


@pytest.mark.parametrize("label", ["windows-874", "TIS-620"])
def test_a_page_in_an_encoding_that_it_names_is_read(tmp_path, label):
    data = f"<meta http-equiv='Content-Type' content='text/html; charset={label}'><p>{SILK}</p>"
    (tmp_path / "a.html").write_bytes(data.encode("cp874"))
    assert [context.text for context in contexts(tmp_path)] == [SILK]


# EPUB


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path):
    chapters = {
        "ch 2.xhtml": f"<h1>ผ้าไหม</h1><p>{SILK}</p>",
        "ch1.xhtml": f"<p>{RICE}&nbsp;&lt;จบ&gt;</p>",
        "note.xhtml": f"<p>{BREAD}</p>",
    }
    contents = (
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'
        '<body><nav epub:type="toc"><ol><li><a href="ch1.xhtml#top">ข้าว</a></li></ol></nav>'
        "</body></html>"
    )
    data = book(
        chapters,
        spine=[1, 0],
        metadata="<dc:title>ของดีอีสาน</dc:title>",
        manifest='<item id="n" href="nav.xhtml" properties="nav"/>',
        files=[("OPS/nav.xhtml", contents)],
    )
    (tmp_path / "a.epub").write_bytes(data)
    first, second = contexts(tmp_path)
    assert (first.title, first.text) == ("ของดีอีสาน: ข้าว", f"{RICE} <จบ>")
    assert (second.title, second.text) == ("ของดีอีสาน: ผ้าไหม", SILK)
    assert (first.source.url, second.source.url) == (
        "a.epub#OPS/ch1.xhtml",
        "a.epub#OPS/ch%202.xhtml",
    )
    assert first.source.document == "a.epub"


def test_links_that_lead_out_of_a_book_are_passed_over(tmp_path):
    (tmp_path / "secret.xhtml").write_text(xhtml(f"<p>{SILK}</p>"))
    (tmp_path / "books").mkdir()
    out = [
        "../../secret.xhtml",
        "/etc/passwd",
        "https://e.example/x.xhtml",
        "%2e%2e/%2e%2e/x",
        "//",
    ]
    manifest = "".join(
        f'<item id="c{n}" href="{href}" media-type="application/xhtml+xml"/>'
        for n, href in enumerate(out, 1)
    )
    data = book({"a.xhtml": f"<p>{RICE}</p>"}, spine=range(len(out) + 1), manifest=manifest)
    (tmp_path / "books" / "a.epub").write_bytes(data)
    assert [context.text for context in contexts(tmp_path / "books")] == [RICE]


# Files that are none, and hostile ones


def packed(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


LOCKED = book(
    {"a.xhtml": "<p>x</p>"},
    files=[
        (
            "META-INF/encryption.xml",
            '<encryption><EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><CipherData>'
            '<CipherReference URI="OPS/a.xhtml"/></CipherData></EncryptedData></encryption>',
        )
    ],
)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.pdf", b"no PDF", r"a\.pdf: not a PDF file that can be read"),
        ("a.pdf", pdf([BREAD])[:400], r"a\.pdf: not a PDF"),
        ("a.pdf", pdf([BREAD], password="secret"), r"a\.pdf is encrypted"),
        ("x/a.docx", b"no zip", r"x/a\.docx: not a Word document"),
        ("a.docx", b"\xd0\xcf\x11\xe0old", r"a\.docx is encrypted"),
        ("a.docx", packed(a="b"), r"a\.docx: not a Word document"),
        ("a.docx", packed(**{"word/document.xml": "<w"}), r"a\.docx: not a Word document"),
        ("a.epub", packed(a="b"), r"a\.epub: not an EPUB book"),
        ("a.epub", LOCKED, r"a\.epub is encrypted"),
        ("a.html", b"<p>\xff\xfa", r"a\.html: not in UTF-8"),
        ("a.html", b"<meta charset=none-such>", r"a\.html: not in NONE-SUCH"),
        ("a.html", b"", "No file in .* holds a text"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path, name, data, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=words) as caught:
        DocumentSource(tmp_path).ready()
    assert "\n" not in str(caught.value)


def bomb(data, part, size):
    """Makes an archive say that a part of it unpacks to so many bytes."""
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part, b"\0" * 100)
        info = archive.getinfo(part)
        info.file_size = size
        archive.filelist[archive.filelist.index(info)] = info
        archive._didModify = True
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.docx", "a.epub"])
@pytest.mark.parametrize(
    ("part", "size", "words"),
    [("x.bin", 2**30, "unpacks to more than 1 GiB"), ("x.xml", 2**28, "more than 128 MiB")],
)
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, name, part, size, words):
    (tmp_path / name).write_bytes(bomb(book({"a.xhtml": f"<p>{RICE}</p>"}), part, size))
    with pytest.raises(ConfigError, match=words):
        DocumentSource(tmp_path).ready()


LAUGHS = '<!DOCTYPE html [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "{}">]>'


def test_entities_are_neither_expanded_nor_loaded(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_text("SECRET")
    page = LAUGHS.format(secret.as_uri()) + xhtml(f"<p>{RICE} &b; &f;</p>").partition("?>")[2]
    data = book({}, files=[("OPS/a.xhtml", page)], spine=[0], manifest=
        '<item id="c0" href="a.xhtml" media-type="application/xhtml+xml"/>')  # fmt: skip
    (tmp_path / "a.epub").write_bytes(data)
    (tmp_path / "b.html").write_text(page, "utf-8")
    for context in contexts(tmp_path):
        assert RICE in context.text
        assert "haha" not in context.text and "SECRET" not in context.text
    (tmp_path / "c.docx").write_bytes(packed(**{"word/document.xml": LAUGHS + "<w/>"}))
    with pytest.raises(ConfigError, match="not a Word document"):
        DocumentSource(tmp_path).ready()


def test_a_page_that_is_nested_without_end_is_read_as_a_whole(tmp_path):
    links = '<a href="/x">Home</a> ' * 10_000
    (tmp_path / "a.html").write_text("<div>" * 200 + f"{links}<p>{BREAD}</p>")
    assert BREAD in "\n".join(context.text for context in contexts(tmp_path, max_chars=10**6))


def test_a_page_of_a_thousand_levels_is_read(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 5000 + f"<p>{BREAD}</p>")
    (tmp_path / "b.txt").write_text(f"Rye\n\n{BREAD}")
    assert "Rye" in titles(tmp_path)


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.pdf", "pypdfium2"), ("a.docx", "mammoth"), ("a.html", "trafilatura"), ("a.epub", "lxml")],
)
def test_a_missing_package_names_the_command(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    data = {"a.epub": book({"a.xhtml": "<p>x</p>"})}.get(name, b"<p>x</p>")
    (tmp_path / name).write_bytes(data)
    source = DocumentSource(tmp_path)
    with pytest.raises(ConfigError, match=rf"{package} .* pip install 'seedfree\[documents\]'"):
        source.ready()
    (tmp_path / name).unlink()
    (tmp_path / "a.txt").write_text(f"Bread\n\n{BREAD}")
    assert titles(tmp_path) == ["Bread"]


@pytest.mark.parametrize(
    "title",
    ["Microsoft Word - a b.docx", "untitled", "Document1", "thesis final.tex", "(anonymous)"],
)
def test_a_title_that_a_program_made_up_is_none(tmp_path, title):
    (tmp_path / "a.pdf").write_bytes(pdf([(20, "Bread of the north"), BREAD], title=title))
    assert titles(tmp_path) == ["Bread of the north"]
