"""EPUB books (w3.org/TR/epub-33): the chapters of the archive in the order of its spine."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from seedfree.contexts.formats import Parsed, damaged, encrypted, real_title
from seedfree.contexts.formats.packed import Archive, xml
from seedfree.contexts.formats.web import blocks_of
from seedfree.contexts.sections import Block

if TYPE_CHECKING:
    from lxml.etree import _Element

__all__ = ["read_epub"]

_WHAT = "an EPUB book"
_CONTAINER, _LOCKS = "META-INF/container.xml", "META-INF/encryption.xml"
_NCX = "application/x-dtbncx+xml"
_TYPE = "{http://www.idpf.org/2007/ops}type"
_PAGES = ("application/xhtml+xml", "text/html")
_ENTITY = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,30});")


def read_epub(data: bytes, name: str) -> Parsed:
    """Reads a book. Each chapter begins a section, with its heading or its entry in the contents.

    Raises:
        ConfigError: It is damaged, encrypted or too large.
    """
    archive = Archive(data, name, _WHAT)
    root = archive.xml(_CONTAINER)
    path = "" if root is None else next((e.get("full-path") for e in root.iter("{*}rootfile")), "")
    package = archive.xml(path or "")
    if package is None:
        raise damaged(name, _WHAT)
    locks = archive.xml(_LOCKS)
    locked = set() if locks is None else {e.get("URI") for e in locks.iter("{*}CipherReference")}
    items = {item.get("id"): item for item in package.iter("{*}item")}
    contents = _contents(archive, path, items.values())
    blocks: list[Block] = []
    for reference in package.iter("{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or not _is_chapter(item, reference):
            continue
        part = _part(path, item.get("href"))
        # Fonts may be scrambled in any book.
        if part in locked:
            raise encrypted(name)
        blocks += _chapter(archive.read(part), contents.get(part, ""), quote(part))
    title = next((e.text for e in package.iter("{http://purl.org/dc/elements/1.1/}title")), "")
    return Parsed(real_title(title), blocks)


def _is_chapter(item: _Element, reference: _Element) -> bool:
    contents = "nav" in (item.get("properties") or "").split()
    return not contents and item.get("media-type") in _PAGES and reference.get("linear") != "no"


def _part(base: str, href: str | None) -> str:
    """Returns the name in the archive that a link leads to. One that leads out names no part."""
    path = unquote(urlsplit(href or "").path)
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path))


def _chapter(data: bytes, label: str, place: str) -> Iterator[Block]:
    # XML knows five entities, and the book's document type, which knows the others, is not loaded.
    text = _ENTITY.sub(lambda entity: _plain(entity[0].decode()).encode(), data)
    blocks = [block._replace(place=place) for block in blocks_of(xml(text))]
    if blocks and not 1 <= blocks[0].level <= 2:
        yield Block(label, level=1, place=place)
    yield from blocks


def _plain(entity: str) -> str:
    return html.escape(html.unescape(entity))


def _contents(archive: Archive, base: str, items: Iterable[_Element]) -> dict[str, str]:
    """Returns the chapters that the book's contents name, with their titles there."""
    titles: dict[str, str] = {}
    for item in items:
        if "nav" in (item.get("properties") or "").split() or item.get("media-type") == _NCX:
            part = _part(base, item.get("href"))
            tree = archive.xml(part)
            for href, label in () if tree is None else _entries(tree):
                titles.setdefault(_part(part, href), " ".join(label.split()))
    return titles


def _entries(tree: _Element) -> Iterator[tuple[str, str]]:
    for nav in tree.iter("{*}nav"):
        if nav.get(_TYPE) == "toc":
            yield from ((link.get("href"), "".join(link.itertext())) for link in nav.iter("{*}a"))
    # The form before EPUB 3.
    for point in tree.iter("{*}navPoint"):
        if (content := point.find("{*}content")) is not None:
            yield content.get("src"), point.findtext("{*}navLabel/{*}text", "")
