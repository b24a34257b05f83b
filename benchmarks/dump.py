"""Measures how fast a dump is indexed and looked up.

python benchmarks/dump.py [pages]

It writes a dump of invented Thai pages (20,000 by default): words of the twelve texts of `seedfree
demo` in random order, with templates, links, tables and references as articles have them. Prints
one line of JSON, in seconds of this process's CPU, so that a busy machine gives the same:

- `pages_per_s`: pages read, cleaned, measured and indexed in a second; `parse_per_s`: those that
  mwparserfromhell's own `strip_code` alone makes into text; `ratio` is one by the other.
- `contexts_per_s`: contexts given for titles, and for topics of three words that the search finds;
  `scan_ms` is what one topic takes by looking for it in every page, `scan_ratio` how many times
  longer that is than a context of the search; `limit_ratio` the slower of both by 1,000 a second.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.sax.saxutils import escape

import mwparserfromhell

import seedfree as sf
from seedfree.contexts.dump_files import open_dump

PAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
SAMPLE, LOOKUPS, SCANS = 500, 2000, 5
TEXTS = Path(sf.__file__).parent / "cli" / "texts" / "th"
HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><siteinfo>'
    "<base>https://th.wiki.example/wiki/x</base><namespaces>"
    '<namespace key="6">ไฟล์</namespace><namespace key="14">หมวดหมู่</namespace>'
    "</namespaces></siteinfo>\n"
)


def words() -> list[str]:
    thai = sf.Language.load("th")
    texts = (path.read_text("utf-8") for path in sorted(TEXTS.glob("*.md")))
    found = {word for text in texts for word in thai.segment(text) if len(word) > 2}
    return sorted(found)


def page(number: int, vocabulary: list[str]) -> tuple[str, str]:
    """Returns the title and the source of a page."""
    rng = random.Random(number)

    def prose(sentences: int) -> str:
        lines = (" ".join("".join(rng.choices(vocabulary, k=9)) for _ in range(2)) for _ in "." * 9)
        return " ".join(itertools.islice(lines, sentences))

    def linked(text: str) -> str:
        start, word = text[:40], rng.choice(vocabulary)
        return f"{start}[[{word}|{word}ๆ]]<ref>{{{{cite|title={word}|year=2560}}}}</ref>{text[40:]}"

    title = f"{''.join(rng.choices(vocabulary, k=3))} {number}"
    table = "{| class=wikitable\n! ปี !! ค่า\n" + "|-\n| 2560 || {{n|3}}\n" * 6 + "|}\n"
    source = (
        f"{{{{infobox|name={title}|image=x.jpg|a=1|b=2|c=3}}}}\n[[ไฟล์:x.jpg|thumb|{title}]]\n"
        f"'''{title}''' {linked(prose(5))}\n\n{linked(prose(4))}\n\n== {vocabulary[0]} ==\n"
        f"{table}{linked(prose(6))}\n\n== {vocabulary[1]} ==\n* {prose(1)}\n* {prose(1)}\n"
        f"[[หมวดหมู่:{rng.choice(vocabulary)}]]\n"
    )
    return title, source


def write(path: Path, vocabulary: list[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(HEAD)
        for number in range(1, PAGES + 1):
            title, source = page(number, vocabulary)
            file.write(
                f"<page><title>{escape(title)}</title><ns>0</ns><id>{number}</id><revision><id>"
                f"{number}</id><model>wikitext</model><text>{escape(source)}</text></revision>"
                "</page>\n"
            )
        file.write("</mediawiki>\n")


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def looked_up(source: sf.WikipediaDump, topics: list[str]) -> tuple[float, float]:
    """Returns contexts in a second, and the share of the topics that have one."""
    took, found = seconds(
        lambda: [source.contexts(sf.Topic(text, position=i)) for i, text in enumerate(topics)]
    )
    return sum(map(len, found)) / took, sum(map(bool, found)) / len(topics)


def queries(source: sf.WikipediaDump) -> Iterator[str]:
    """Yields topics of three words that stand together at the beginning of some page."""
    thai = sf.Language.load("th")
    for title in source.titles(1):
        found = source.contexts(sf.Topic(title))[0].text
        cut = thai.segment(found[60:200])
        yield "".join(cut[2:5])


def main() -> None:
    vocabulary = words()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pages.xml"
        write(path, vocabulary)
        source = sf.WikipediaDump(path, language="th")
        build, _ = seconds(source.ready)
        raw = [each.source for each in itertools.islice(open_dump(path).pages(), SAMPLE)]
        parse, _ = seconds(lambda: [mwparserfromhell.parse(text).strip_code() for text in raw])
        titles = list(itertools.islice(source.titles(0), LOOKUPS))
        topics = list(itertools.islice(queries(source), LOOKUPS))
        by_title, _ = looked_up(source, titles)
        by_words, found = looked_up(source, topics)
        scan, _ = seconds(
            lambda: [
                [each.id for each in open_dump(path).pages() if topic in each.source]
                for topic in topics[:SCANS]
            ]
        )
        size = (path.with_name("pages.xml.index")).stat().st_size / path.stat().st_size
        source.close()
    pages, parsed = PAGES / build, SAMPLE / parse
    result = {
        "benchmark": "dump",
        "pages": PAGES,
        "pages_per_s": round(pages),
        "parse_per_s": round(parsed),
        "ratio": round(pages / parsed, 2),
        "contexts_per_s": {"titles": round(by_title), "words": round(by_words)},
        "found": round(found, 2),
        "scan_ms": round(1000 * scan / SCANS),
        "scan_ratio": round(scan / SCANS * by_words),
        "limit_ratio": round(min(by_title, by_words) / 1000, 2),
        "index_of_dump": round(size, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
