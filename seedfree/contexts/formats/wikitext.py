"""Wikitext: what a reader of the page sees as text, by mwparserfromhell (github.com/earwig).

The text is that of MediaWiki's TextExtracts (`explaintext`), as far as wikitext alone can say it:
templates are not expanded. Headings read `== Heading ==`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, NamedTuple

from seedfree.errors import missing_extra

__all__ = ["Namespaces", "Wikitext", "read_template", "read_wikitext"]

# Their contents are no text, or not the page's own. TextExtracts leaves `div` out, too.
_GONE = frozenset(
    "ref references gallery table div script style templatestyles timeline score imagemap graph "
    "mapframe maplink indicator hiero inputbox categorytree chem ce audio video img".split()
)
# Each of these begins a list item, where it comes from a mark at the beginning of a line.
_ITEMS = frozenset({"li", "dt", "dd"})
# Stands in a line that is an item of a list. No page holds it: MediaWiki drops control characters.
_ITEM = "\x01"
_FILE = re.compile(r"[^:\[\]|]{1,60}:[^|\[\]]*\.[A-Za-z0-9]{3,4}\Z")
_INTERWIKI = re.compile(r"[a-z]{2,3}(?:-[a-z-]{2,12})?\Z|simple\Z")
_SWITCH = re.compile(r"__(?:[A-Z]{2,30}|[^\x00-\x7f\s_]{2,30})__")
_STYLE = re.compile("'{2,5}")
_HEADING = re.compile(r"={2,6} .* ={2,6}\s*\Z")
_RULE = re.compile(r"^-{4,}", re.MULTILINE)
_REDIRECT = re.compile(r"\s*#[^\s\[:#]{2,30}\s{0,9}:?\s{0,9}\[\[([^\[\]|]+)(?:\|[^\[\]]*)?\]\]")
# Shows how a template is used, and is no part of it.
_SHOWN = re.compile(r"<noinclude\b[^<>]*>.*?(?:</noinclude>|\Z)", re.DOTALL | re.IGNORECASE)
_USED = re.compile(r"\{\{\s{0,9}([^{}|\n#:<>]{1,120}?)\s{0,9}(?=[|}\n])")
# What begins something, what ends it, and tags.
_MARK = re.compile(
    r"(?P<begin>\{\{|\[\[|\{\||\[(?=\w*:?//)|<!--)|(?P<end>\}\}|\]\]|\|\}(?!\})|\]|-->)"
    r"|<(?P<slash>/?)(?P<tag>[A-Za-z]\w*)(?P<rest>[^<>]*>?)"
)
_BEGIN_OF = {"}}": "{{", "]]": "[[", "|}": "{|", "]": "[", "-->": "<!--"}
# Tags that nothing has to end.
_SINGLE = frozenset("br wbr hr meta link img li dt dd th td tr".split())
# So many things in one another, or without an end, are no page that people wrote.
_DEEPEST = 100


class Namespaces(NamedTuple):
    """Names of a wiki's namespaces, in lower case; those that every wiki knows come with it."""

    files: frozenset[str] = frozenset({"file", "image", "media"})
    categories: frozenset[str] = frozenset({"category"})

    def with_names(self, files: Iterable[str], categories: Iterable[str]) -> Namespaces:
        """Adds the names that a wiki has in its own language."""
        return Namespaces(
            self.files.union(name.casefold() for name in files if name),
            self.categories.union(name.casefold() for name in categories if name),
        )


class Wikitext(NamedTuple):
    """What the source of a page says.

    Attributes:
        text: For readers.
        listed: Share of the text that stands in items of lists, 0 to 1.
        categories: In order, without the namespace.
        templates: Names as they are written.
        target: Of a redirect; then the rest is empty.
        broken: Whether its marks are so tangled that it was not read.
    """

    text: str = ""
    listed: float = 0.0
    categories: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    target: str = ""
    broken: bool = False


def read_wikitext(source: str, names: Namespaces | None = None) -> Wikitext:
    """Reads the source of a page. Nothing is expanded, fetched or run."""
    if redirect := _REDIRECT.match(source):
        return Wikitext(target=redirect[1].partition("#")[0].strip())
    if _is_tangled(source):
        return Wikitext(broken=True)
    reader = _Reader(names or Namespaces())
    # Marks of style are left in the text: where one is not closed, the parser would take what
    # follows for plain text, templates too.
    reader.add(_parser().parse(_RULE.sub("", source), skip_style_tags=True).nodes)
    text, listed = _lines("".join(reader.parts))
    return Wikitext(text, listed, tuple(reader.categories), tuple(reader.templates))


def read_template(source: str) -> tuple[bool, tuple[str, ...]]:
    """Tells whether a template marks disambiguation pages, and which templates it uses."""
    source = _SHOWN.sub("", source)
    return "__DISAMBIG__" in source, tuple(dict.fromkeys(_USED.findall(source)))


def _is_tangled(source: str) -> bool:
    """Tells whether much is begun and not ended: the parser's time grows with its square."""
    depth = Counter[str]()
    for mark in _MARK.finditer(source):
        tag, rest = (mark["tag"] or "").casefold(), mark["rest"] or ""
        if mark["end"] or mark["slash"]:
            name = _BEGIN_OF.get(mark["end"], tag)
            depth[name] = max(depth[name] - 1, 0)
        elif not (rest.endswith("/>") or (tag in _SINGLE and rest.endswith(">"))):
            name = mark["begin"] or tag
            depth[name] += 1
            if depth[name] > _DEEPEST:
                return True
    return False


@cache
def _parser() -> Any:
    try:
        from mwparserfromhell.parser import Parser
    except ImportError as error:
        raise missing_extra("mwparserfromhell", "dump") from error
    return Parser()


class _Reader:
    """Walks through the nodes of a page."""

    def __init__(self, names: Namespaces) -> None:
        self._names = names
        self.parts: list[str] = []
        self.categories: dict[str, None] = {}
        self.templates: dict[str, None] = {}

    def add(self, nodes: Collection[Any]) -> None:
        for node in nodes:
            # By name: a visitor with a method a class would be longer, and an import as well.
            match type(node).__name__:
                case "Text":
                    self.parts.append(node.value)
                case "Wikilink":
                    self._link(node)
                case "Tag":
                    self._tag(node)
                case "Template":
                    self.templates[str(node.name).strip()] = None
                case "ExternalLink":
                    self._address(node)
                case "HTMLEntity":
                    self.parts.append(_entity(node))
                case "Heading":
                    self._heading(node)

    def _heading(self, node: Any) -> None:
        start = len(self.parts)
        self.add(node.title.nodes)
        title = "".join(self.parts[start:]).strip()
        marks = "=" * node.level
        self.parts[start:] = [f"{marks} {title} {marks}"]

    def _link(self, node: Any) -> None:
        title = str(node.title).strip()
        prefix, colon, rest = title.partition(":")
        prefix = prefix.strip().casefold()
        if colon and prefix in self._names.categories:
            self.categories[rest.strip()] = None
        elif not (colon and self._is_hidden(title, prefix)):
            if node.text is None:
                self.parts.append(title.removeprefix(":"))
            else:
                self.add(node.text.nodes)

    def _is_hidden(self, title: str, prefix: str) -> bool:
        if prefix in self._names.files or _FILE.match(title):
            return True
        # Links to the same article elsewhere stand beside the page.
        return bool(_INTERWIKI.match(prefix))

    def _address(self, node: Any) -> None:
        if not node.brackets:
            self.parts.append(str(node.url))
        elif node.title is not None:
            self.add(node.title.nodes)

    def _tag(self, node: Any) -> None:
        name = str(node.tag).strip().casefold()
        if name in _ITEMS and node.wiki_markup:
            self.parts.append(_ITEM)
        elif name == "math":
            # As the wiki writes it, so that a section with formulas is known by them.
            self.parts.append(f"{{\\displaystyle {node.contents}}}")
        elif name in ("nowiki", "pre", "syntaxhighlight", "source"):
            self.parts.append(str(node.contents or ""))
        elif name not in _GONE and node.contents is not None:
            self.add(node.contents.nodes)


def _entity(node: Any) -> str:
    try:
        return str(node.normalize()).replace("\xa0", " ")
    except (ValueError, OverflowError):  # no character has this number
        return str(node)


def _lines(text: str) -> tuple[str, float]:
    """Returns a text with its paragraphs as lines, and the share of it that is in lists.

    Lines stand as in the wiki's own extracts: a blank line ends a paragraph and is not seen, unless
    a second one follows, a heading, or lines that a space at the beginning keeps as they are.
    """
    parts: list[str] = []
    listed = total = blank = 0
    kept_before = False
    for line in _STYLE.sub(_marks, _SWITCH.sub("", text)).split("\n"):
        if not line.strip():
            blank += 1
            continue
        is_item, is_kept = line.startswith(_ITEM), line.startswith(" ")
        if is_item:
            line = line.replace(_ITEM, "").strip()
        elif is_kept:
            line = line[1:]
        is_apart = blank > 1 - is_kept or is_kept != kept_before or _HEADING.match(line)
        parts += ["\n\n" if is_apart else "\n", line]
        listed += len(line) * is_item
        total += len(line)
        blank, kept_before = 0, is_kept
    return "".join(parts).strip(), listed / total if total else 0.0


def _marks(quotes: re.Match[str]) -> str:
    # Two to five of them are marks; of four, the first one is an apostrophe.
    return "'" if len(quotes[0]) == 4 else ""
