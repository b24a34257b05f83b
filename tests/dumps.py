"""A small wiki as its dump: articles written for the tests, and what stands around articles."""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

KRAM = (
    "ผ้าย้อมครามของบ้านหนองใสทอด้วยกี่พื้นเมืองที่ตกทอดกันมาในครัวเรือน ช่างเริ่มจากตัดต้นครามอายุสี่เดือน"
    "ในตอนเช้ามืด แช่น้ำหนึ่งคืนแล้วกวนกับปูนขาวจนขึ้นฟอง น้ำที่ได้เก็บไว้ในโอ่งดินใต้ถุนบ้าน ก่อนย้อมต้องชิมรสและดมกลิ่น"
    "เพื่อดูว่าหม้อครามยังไม่ตาย เส้นฝ้ายจุ่มแล้วบิดสลับกันเก้าครั้งจึงได้สีเข้ม"
)
DYEING = (
    "วิธีย้อมของที่นี่ไม่ใช้สารเคมี น้ำด่างได้จากขี้เถ้าไม้มะขามกรองผ่านผ้าขาวสามชั้น ช่างจะเติมมะขามเปียกและเหล้าขาว"
    "เล็กน้อยเพื่อเลี้ยงหม้อคราม ถ้าอากาศเย็นต้องห่มกระสอบให้โอ่ง ผ้าที่ย้อมเสร็จผึ่งในร่มสองวัน"
    "แล้วซักด้วยน้ำซาวข้าวเพื่อให้สีติดทน ผืนที่งามที่สุดเก็บไว้ใช้ในงานบุญออกพรรษาของหมู่บ้าน"
)
MUSHROOM = (
    "แกงเห็ดป่าของบ้านดอนยางทำในต้นฤดูฝนเมื่อเห็ดระโงกและเห็ดเผาะออกพร้อมกัน แม่ครัวคั้นใบย่านางกับข้าวเบือ"
    "ให้น้ำแกงข้น ใส่ผักหวาน บวบ และชะอมตามลำดับความสุก เกลือสินเธาว์ให้รสเค็มนวล คนเฒ่าสอนว่าต้องต้มเห็ดกับ"
    "ข้าวสารก่อนหนึ่งน้ำ ถ้าข้าวเปลี่ยนเป็นสีดำให้เททิ้งทั้งหม้อ กินกับข้าวเหนียวร้อนและแจ่วพริกแห้ง"
)
BOAT = (
    "เรือหางแมงป่องเป็นเรือแม่น้ำของลุ่มน้ำแสงจันทร์ ท้ายเรือเชิดสูงเหมือนหางแมงป่อง ใช้ขนข้าวเปลือกและเกลือขึ้นล่อง"
    "ในหน้าน้ำ คนถ่อยืนหัวเรือสี่คน ผลัดกันร้องเพลงให้จังหวะ เมื่อถึงแก่งต้องขนของขึ้นบกแล้วลากเรือเปล่าด้วยหวาย"
    "หลังมีถนนเรือเหล่านี้ถูกจอดทิ้ง เหลือเพียงสองลำในศาลาวัดที่เด็กนักเรียนไปวาดรูปทุกปี"
)
MALAY = (
    "Kampung Sungai Lalang terletak di tepi sebatang sungai kecil yang jernih. Penduduknya menanam "
    "padi huma dan menganyam tikar mengkuang pada musim tengkujuh. Setiap petang budak-budak "
    "bermain wau di padang lama dekat surau, manakala orang tua menumbuk sambal untuk kenduri. "
    "Sebuah jambatan gantung menghubungkan kampung itu dengan pekan, dan perahu masih digunakan "
    "apabila air naik."
)
STAR = (
    "ดาวเคราะห์น้อย {n} ลิลา เป็นดาวเคราะห์น้อยในแถบหลักที่ค้นพบเมื่อวันที่ {n} มกราคม พ.ศ. 25{n} โดยหอดูดาวสมมติ"
    "บนเขาไร้นาม มีคาบการโคจรรอบดวงอาทิตย์ {n} ปี และมีความส่องสว่างปรากฏเฉลี่ย {n} "
    "วัดจากแผ่นภาพถ่ายของโครงการสำรวจท้องฟ้า"
    "ชื่อของดาวตั้งตามรายการที่เตรียมไว้ล่วงหน้า ไม่พบวัตถุบริวารและยังไม่ทราบองค์ประกอบทางเคมีของพื้นผิว"
)
CLOTH = f"""{{{{กล่องข้อมูล|ชื่อ=ผ้า}}}}
[[ไฟล์:ผ้า.jpg|thumb|ช่างทอ]]
'''{KRAM[:8]}'''{KRAM[8:]}<ref>{{{{อ้างเว็บ|url=http://x.example}}}}</ref>

== วิธีย้อม ==
{DYEING}

== ดูเพิ่ม ==
* [[ผ้าไหม]]
[[หมวดหมู่:ผ้า]]
"""
# Namespace, title, source, and the page to which it is redirected.
PAGES: list[tuple[int, str, str, str]] = [
    (0, "ผ้าย้อมคราม", CLOTH, ""),
    (0, "แกงเห็ดป่า", f"{MUSHROOM}\n[[หมวดหมู่:อาหาร]]", ""),
    (0, "แกงเห็ด", "#เปลี่ยนทาง [[แกงเห็ดป่า]]", "แกงเห็ดป่า"),
    (0, "เรือหางแมงป่อง", f"{BOAT}\n[[หมวดหมู่:เรือ]]", ""),
    (0, "คราม", "{{กำกวม}}\n* [[ผ้าย้อมคราม]] " + KRAM[:150] + "\n* [[คราม (สี)]] " + DYEING, ""),
    (0, "บ้านร้าง", "บ้านร้างเป็นหมู่บ้าน", ""),
    (0, "Kampung Sungai Lalang", MALAY, ""),
    (0, "รายชื่อวัดสมมติ", "\n".join(f"* วัดสมมติที่ {n} {DYEING[n : n + 40]}" for n in range(30)), ""),
    *[(0, f"ดาวเคราะห์น้อย {n} ลิลา", STAR.format(n=n), "") for n in range(10, 24)],
    (1, "พูดคุย:คราม", KRAM, ""),
    (10, "แม่แบบ:แก้กำกวม", "<div>หน้านี้</div>__DISAMBIG__<noinclude>คู่มือ</noinclude>", ""),
    (10, "แม่แบบ:กำกวม", "#เปลี่ยนทาง [[แม่แบบ:แก้กำกวม]]", "แม่แบบ:แก้กำกวม"),
    (10, "แม่แบบ:กล่องข้อมูล", "<noinclude>__DISAMBIG__</noinclude>{{{ชื่อ}}}", ""),
]
ARTICLES = {title: source for space, title, source, _ in PAGES if space == 0}
_SITE = """<siteinfo><dbname>thwiki</dbname>
<base>https://th.wiki.example/wiki/%E0%B8%AB%E0%B8%99%E0%B9%89%E0%B8%B2</base>
<namespaces><namespace key="0" /><namespace key="6">ไฟล์</namespace>
<namespace key="10">แม่แบบ</namespace><namespace key="14">หมวดหมู่</namespace></namespaces>
</siteinfo>"""
_HEAD = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="th">{_SITE}\n'
_END = "</mediawiki>\n"
_NAME = "thwiki-20260101-pages-articles-multistream"


def page_xml(number: int, space: int, title: str, source: str, target: str) -> str:
    """Returns a page with the id `number` and the revision 100 times that."""
    redirect = f'<redirect title="{escape(target)}" />' if target else ""
    return (
        f"<page><title>{escape(title)}</title><ns>{space}</ns><id>{number}</id>{redirect}"
        f"<revision><id>{number * 100}</id><model>wikitext</model>"
        f"<text>{escape(source)}</text></revision></page>\n"
    )


def _pages(pages: Iterable[tuple[int, str, str, str]]) -> list[str]:
    return [page_xml(number, *page) for number, page in enumerate(pages, 1)]


def write_xml(path: Path, pages: Iterable[tuple[int, str, str, str]] = PAGES) -> Path:
    """Writes a dump, compressed where its name says so."""
    text = "".join([_HEAD, *_pages(pages), _END]).encode()
    path.write_bytes(bz2.compress(text) if path.suffix == ".bz2" else text)
    return path


def write_multistream(folder: Path) -> Path:
    """Writes a multistream dump and its index."""
    path = folder / f"{_NAME}.xml.bz2"
    _write_streams(path, folder / f"{_NAME}-index.txt.bz2", range(len(PAGES)))
    return path


def write_parts(folder: Path, form: str) -> Path:
    """Writes a dump in three parts, which are not in order by their names.

    Args:
        form: `"plain"`, `"bz2"` or `"multistream"`.
    """
    folder = folder / "thai"
    folder.mkdir()
    pages = _pages(PAGES)
    for part, first, last in ((9, 1, 5), (10, 6, 14), (11, 15, len(pages))):
        place = f"-p{first}p{last}"
        path = folder / f"{_NAME}{part}.xml{place}"
        packed = path.with_name(f"{path.name}.bz2")
        if form == "multistream":
            index = folder / f"{_NAME}-index{part}.txt{place}.bz2"
            _write_streams(packed, index, range(first - 1, last))
            continue
        text = "".join([_HEAD, *pages[first - 1 : last], _END]).encode()
        if form == "bz2":
            packed.write_bytes(bz2.compress(text))
        else:
            path.write_bytes(text)
    return folder


def _write_streams(path: Path, index: Path, numbers: Sequence[int], a_stream: int = 3) -> None:
    pages = _pages(PAGES)
    data, lines = bz2.compress(_HEAD.encode()), []
    for start in range(0, len(numbers), a_stream):
        stream = numbers[start : start + a_stream]
        lines += [f"{len(data)}:{number + 1}:{PAGES[number][1]}\n" for number in stream]
        data += bz2.compress("".join(pages[number] for number in stream).encode())
    path.write_bytes(data + bz2.compress(_END.encode()))
    index.write_bytes(bz2.compress("".join(lines).encode()))


def rows() -> list[Mapping[str, str]]:
    """Returns plain articles as the data set wikimedia/wikipedia has them."""
    texts = {
        "ผ้าย้อมคราม": f"{KRAM}\n\nวิธีย้อม\n\n{DYEING}\n\nดูเพิ่ม\nผ้าไหม",
        "แกงเห็ดป่า": MUSHROOM,
        "เรือหางแมงป่อง": BOAT,
    }
    return [
        {"id": str(n), "url": f"https://th.wiki.example/wiki/{n}", "title": title, "text": text}
        for n, (title, text) in enumerate(texts.items(), 1)
    ]


def write_jsonl(path: Path) -> Path:
    """Writes the rows, one a line."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    path.write_text("".join(lines), "utf-8")
    return path
