"""HTML: the main text of a page, by Trafilatura (github.com/adbar/trafilatura)."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from seedfree.contexts.formats import Parsed, real_title
from seedfree.contexts.sections import Block
from seedfree.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    from lxml.etree import _Element

__all__ = ["blocks_of", "read_html", "tree_of"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Within so many bytes a page says its encoding (HTML standard, 13.2.3.2; writers are less strict).
_HEAD = 4096
_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?\s{0,9}([\w.:-]{2,40})""", re.I
)

_SKIPPED = frozenset(
    "aside audio button canvas datalist dialog embed figcaption footer head iframe input map menu "
    "nav noscript object rp rt script select style svg template textarea title video".split()
)
_BESIDE = frozenset({"navigation", "banner", "contentinfo", "complementary", "search", "menu"})
_BLOCKS = frozenset(
    "address article blockquote body caption center dd details div dl dt fieldset figure "
    "form header hr html li main ol p pre section summary table tbody tfoot thead tr ul".split()
)
# Links side by side that make a menu.
_MENU = 3
# The depths of all elements of a page, added up: above, Trafilatura takes minutes.
_DEEPEST = 300_000
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")


def read_html(data: bytes, name: str) -> Parsed:
    """Reads a web page.

    Raises:
        ConfigError: It is not in the encoding that it names (UTF-8 where it names none).
    """
    try:
        import trafilatura
        from trafilatura.settings import use_config
    except ImportError as error:
        raise missing_extra("trafilatura", "documents") from error

    tree = tree_of(_decoded(data, name))
    if tree is None:
        return Parsed("", [])
    title = real_title("".join(tree.xpath("string((//title)[1])")))
    links = tree.xpath("//link[@rel='canonical']/@href")
    url = next((str(link) for link in links if urlsplit(link).scheme in ("http", "https")), "")
    blocks = list(blocks_of(tree))
    # Of a page without menus, Trafilatura would leave out short texts and headings.
    if _has_menu(tree) and _depth(tree) <= _DEEPEST:
        config = use_config()
        for key in ("MIN_EXTRACTED_SIZE", "MIN_OUTPUT_SIZE"):
            config.set("DEFAULT", key, "1")
        main = trafilatura.extract(
            tree, output_format="html", include_comments=False, fast=True, config=config
        )
        blocks = list(blocks_of(tree_of(main))) if main else blocks
    return Parsed(title, blocks, url)


def _has_menu(tree: _Element) -> bool:
    """Tells whether links stand side by side, or in a list, with no words between them."""
    counts: Counter[_Element | None] = Counter()
    for link in tree.iter("a"):
        box = link.getparent()
        if box is not None and not any(map(str.isalpha, f"{box.text or ''}{link.tail or ''}")):
            counts[box.getparent() if box.tag == "li" and len(box) == 1 else box] += 1
    return any(count >= _MENU for count in counts.values())


def _depth(tree: _Element) -> int:
    from lxml import etree

    level = total = 0
    for event, _ in etree.iterwalk(tree, events=("start", "end")):
        level += 1 if event == "start" else -1
        total += level
    return total // 2


def _decoded(data: bytes, name: str) -> str:
    declared = _CHARSET.search(data[:_HEAD])
    label = declared[1].decode().lower().replace("windows-", "cp") if declared else "utf-8"
    encoding = next((known for mark, known in _MARKS if data.startswith(mark)), label)
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
        raise ConfigError(
            f"{name}: not in {encoding.upper()}, which it should be", hint="Save it as UTF-8."
        ) from error


def tree_of(text: str) -> _Element | None:
    """Parses HTML. Nothing is loaded or run."""
    try:
        from lxml import etree, html
    except ImportError as error:
        raise missing_extra("lxml", "documents") from error

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return html.document_fromstring(text.encode(), parser=parser)
    except etree.ParserError:
        return None


class _Reader:
    """Turns the events of a walk through a tree into blocks."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.lead = ""
        self.last = ""
        self.cells: list[str] | None = None
        self.row: _Element | None = None
        self.verbatim = 0

    def add(self, text: str | None) -> None:
        if text:
            self.words.append(text if self.verbatim else _SPACE.sub(" ", text))

    def block(self, level: int = 0) -> Iterator[Block]:
        """Ends a paragraph or heading."""
        lines = "".join(self.words).split("\n")
        # White space at an end is markup's own.
        text = "\n".join(line.rstrip() if self.verbatim else line.strip() for line in lines)
        text = text.strip("\n")
        self.words.clear()
        if not text.strip():
            return
        if self.cells is not None:
            # In a table's cell.
            self.words.append(" ".join(text.split()) + " ")
            return
        kind, self.lead = self.lead, ""
        yield Block(kind + text, "\n" if kind and self.last == kind else "\n\n", level)
        self.last = kind

    def start(self, element: _Element, tag: str) -> Iterator[Block]:
        if tag == "br":
            self.words.append("\n")
        if tag in _BLOCKS or tag in _HEADINGS:
            yield from self.block()
        if tag == "li" and self.cells is None:
            self.lead = "- "
        if tag == "tr" and self.row is None:
            cells = [child for child in element if _tag(child) in ("td", "th")]
            # A row of one cell is a frame around a text.
            if len(cells) > 1:
                self.row, self.cells = element, []
        self.verbatim += tag == "pre"
        self.add(element.text)

    def end(self, element: _Element, tag: str) -> Iterator[Block]:
        if self.cells is not None and tag in ("td", "th") and element.getparent() is self.row:
            self.cells.append(" ".join("".join(self.words).split()))
            self.words.clear()
        elif element is self.row:
            cells, self.row, self.cells = self.cells, None, None
            self.words.clear()
            if any(cells or []):
                text = f"| {' | '.join(cells or [])} |"
                yield Block(text, "\n" if self.last == "|" else "\n\n")
                self.last = "|"
        elif tag in _BLOCKS or tag in _HEADINGS:
            yield from self.block(_HEADINGS.get(tag, 0) if self.cells is None else 0)
            if tag == "li":
                self.lead = ""
        self.verbatim -= tag == "pre"


def _tag(element: _Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def blocks_of(tree: _Element | None) -> Iterator[Block]:
    """Yields the headings, paragraphs, list items and table rows of a tree of HTML or XHTML.

    A row of a table is a line of Markdown. Navigation, forms, scripts and marks of notes are left
    out.
    """
    if tree is None:
        return
    from lxml import etree

    reader, skipped = _Reader(), None
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        tag = _tag(element)
        if skipped is None and event == "start":
            if _is_beside(element, tag):
                skipped = element
                if tag in _BLOCKS:
                    yield from reader.block()
            else:
                yield from reader.start(element, tag)
        elif event == "end" and (skipped is None or element is skipped):
            if skipped is None:
                yield from reader.end(element, tag)
            skipped = None
            if element is not tree:
                reader.add(element.tail)
    yield from reader.block()


def _is_beside(element: _Element, tag: str) -> bool:
    if tag in _SKIPPED or element.get("role") in _BESIDE or element.get("hidden") is not None:
        return True
    # "1" above the line that leads to a note.
    return tag == "sup" and any(
        "#" in (child.get("href") or "") for child in element if _tag(child) == "a"
    )
