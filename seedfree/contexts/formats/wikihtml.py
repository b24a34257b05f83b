"""The HTML of a wiki's page, as ZIM files have it, as the text that its wikitext would give."""

from __future__ import annotations

from seedfree.contexts.formats.web import blocks_of, tree_of
from seedfree.contexts.formats.wikitext import Wikitext

__all__ = ["read_wikihtml"]

# What TextExtracts leaves out, and what MediaWiki puts around an article.
_TAGS = ("table", "figure", "style", "sup[@class]")
_CLASSES = (
    "reference", "references", "reflist", "mw-references-wrap", "mw-editsection", "gallery",
    "navbox", "infobox", "thumb", "hatnote", "metadata", "noprint", "noexcerpt", "error", "toc",
)  # fmt: skip
_LEAD = "- "


def read_wikihtml(source: str) -> Wikitext:
    """Reads a page. Nothing is loaded or run.

    Raises:
        ConfigError: lxml is not installed.
    """
    tree = tree_of(source)
    if tree is None:
        return Wikitext()
    body = next(iter(tree.xpath("//*[@id='mw-content-text']")), tree)
    classes = (f"contains(concat(' ', @class, ' '), ' {name} ')" for name in _CLASSES)
    gone = [f".//{tag}" for tag in _TAGS] + [f".//*[{' or '.join(classes)}]"]
    for element in body.xpath(" | ".join(gone)):
        element.drop_tree()
    parts: list[str] = []
    listed = total = 0
    for block in blocks_of(body):
        text = block.text.removeprefix(_LEAD)
        if block.level:
            # The title of the page is none of its headings.
            marks = "=" * block.level
            parts.append(f"\n\n{marks} {text} {marks}" if block.level > 1 else "")
            continue
        parts += ["\n", text]
        listed += len(text) * (text != block.text)
        total += len(text)
    return Wikitext("".join(parts).strip(), listed / total if total else 0.0)
