"""Word documents, by way of HTML (Mammoth, github.com/mwilliamson/python-mammoth)."""

from __future__ import annotations

import io
from typing import Any

from seedfree.contexts.formats import Parsed, damaged, real_title
from seedfree.contexts.formats.packed import Archive
from seedfree.contexts.formats.web import blocks_of, tree_of
from seedfree.errors import missing_extra

__all__ = ["read_docx"]

_WHAT = "a Word document"
# Tables of contents are left out.
_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name^='toc '] => !
p[style-name^='TOC '] => !
"""
# What Mammoth puts at the end of the page and into its text for notes.
_NOTES = "//*[starts-with(@id, 'footnote-') or starts-with(@id, 'endnote-')]"


def read_docx(data: bytes, name: str) -> Parsed:
    """Reads a document with the changes that were tracked in it; headers and footers are left out.

    Raises:
        ConfigError: It is damaged, encrypted or too large.
    """
    try:
        import mammoth
    except ImportError as error:
        raise missing_extra("mammoth", "documents") from error

    archive = Archive(data, name, _WHAT)
    if "word/document.xml" not in archive.names:
        raise damaged(name, _WHAT)
    # Word allows no document type, and entities need one (ECMA-376, part 2, 9.1.4).
    if any(b"<!DOCTYPE" in archive.read(part)[:_HEAD] for part in archive.names if _is_xml(part)):
        raise damaged(name, _WHAT)
    try:
        page = mammoth.convert_to_html(
            io.BytesIO(data), style_map=_STYLES, convert_image=_no_picture
        ).value
    except Exception as error:
        # Of the kinds that XML, zip and Mammoth's own code raise none says more.
        raise damaged(name, _WHAT) from error
    tree = tree_of(page) if page else None
    if tree is not None:
        for note in tree.xpath(_NOTES):
            note.drop_tree()
    properties = archive.xml("docProps/core.xml")
    title = "" if properties is None else properties.findtext("{*}title")
    return Parsed(real_title(title), list(blocks_of(tree)))


# A document type stands before the first element.
_HEAD = 2**16


def _is_xml(part: str) -> bool:
    return part.endswith((".xml", ".rels"))


def _no_picture(image: Any) -> list[Any]:
    return []
