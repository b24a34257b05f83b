"""Cuts texts into sections of a useful length, without adding a word.

A page is cut at its headings. A section that is too short joins the one before it or is dropped.
One that is too long is cut between paragraphs, else between words, and never between a letter and
the marks that belong to it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from seedfree.contexts.condition import fault, is_end_heading
from seedfree.engine.gate import piece
from seedfree.errors import ConfigError
from seedfree.languages import Language

__all__ = [
    "Block",
    "Section",
    "block_sections",
    "check_lengths",
    "cut_point",
    "fit",
    "markdown_sections",
    "opening",
    "usable",
    "wiki_sections",
]

# Thai and Lao vowels written before their consonant, and the code points that make the next
# consonant a subscript.
_LEANS_ON_NEXT = re.compile("[\u0e40-\u0e44\u0ec0-\u0ec4\u1039\u17d2\u200d]")
# Thai and Lao vowels (and the Thai repetition mark) that are letters to Unicode, yet belong to what
# stands before them.
_LEANS_ON_LAST = re.compile(
    "[\u0e30-\u0e33\u0e45\u0e46\u0eb0-\u0eb3\u0ebd\u0ec6\u200c\u200d\U0001f3fb-\U0001f3ff]"
)
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
# Characters: a longer line that looks like a heading is none.
_LONGEST_HEADING = 300


class Section(NamedTuple):
    """A piece of a page.

    Attributes:
        title: Its heading, empty for what stands before the first one.
        places: Where its parts stand in the document, as (offset in `text`, fragment of an
            address), in order.
    """

    title: str
    text: str
    places: tuple[tuple[int, str], ...] = ()

    @property
    def place(self) -> str:
        """Returns where it begins, if that is known."""
        return self.places[0][1] if self.places else ""

    def part(self, start: int, text: str) -> Section:
        """Returns a part of it, which begins at an offset of its text."""
        before = [place for offset, place in self.places if offset <= start] or [self.place]
        return Section(self.title, text, ((0, before[-1]),) if before[-1] else ())

    def titled(self, page: str) -> str:
        """Returns the title of the page, if it has one, and of the section, if it has one."""
        return ": ".join(filter(None, [page, self.title]))


class Block(NamedTuple):
    """A heading or a piece of text of a format that tells them apart.

    Attributes:
        glue: What stands between the text before it and this one.
        level: Of a heading, 1 to 6; 0 for text.
        place: Where it stands in its document, as the fragment of an address.
    """

    text: str
    glue: str = "\n\n"
    level: int = 0
    place: str = ""


def check_lengths(min_chars: int, max_chars: int) -> None:
    """Checks the bounds of a source's sections.

    Raises:
        ConfigError: They are not positive or not in order.
    """
    if not 1 <= min_chars <= max_chars:
        raise ConfigError(f"min_chars={min_chars}, max_chars={max_chars}", hint="1 <= min <= max.")


def wiki_sections(text: str, end: Collection[str] = ()) -> list[Section]:
    """Cuts a plain-text extract, whose headings read `== Heading ==`, at its second level.

    Args:
        end: Headings, in any case, at which the article's text ends ("See also"). Deeper ones end
            at the next heading of their level.
    """
    headings = (_wiki_heading(line) for line in text.split("\n"))
    return _sections(text, headings, end)


def markdown_sections(text: str) -> list[Section]:
    """Cuts a Markdown text at `#` and `##`. What looks like a heading in a code fence is none."""
    return _sections(text, _markdown_headings(text), frozenset())


def block_sections(blocks: Iterable[Block]) -> list[Section]:
    """Cuts a text at the headings of its first two levels, as `markdown_sections` does.

    A heading without words begins a section without a title.
    """
    sections = [_Growing("")]
    for block in blocks:
        if 1 <= block.level <= 2:
            sections.append(_Growing(block.text))
        else:
            sections[-1].add(block)
    return [section.grown() for section in sections if section.parts]


class _Growing:
    """A section that is being put together."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[str] = []
        self.places: list[tuple[int, str]] = []
        self.length = 0

    def add(self, block: Block) -> None:
        parts = [block.glue, block.text] if self.parts else [block.text]
        self.parts += parts
        self.length += sum(map(len, parts))
        if block.place and block.place != (self.places[-1][1] if self.places else ""):
            self.places.append((self.length - len(block.text), block.place))

    def grown(self) -> Section:
        return Section(self.title, "".join(self.parts), tuple(self.places))


def _wiki_heading(line: str) -> tuple[int, str] | None:
    line = line.strip()
    level = len(line) - len(line.lstrip("="))
    # Equals signs alone, or on one side, are part of a formula.
    if not 2 <= level <= 6 or not line.endswith("=" * level) or len(line) > _LONGEST_HEADING:
        return None
    title = line[level:-level].strip()
    return (level, title) if title else None


def _markdown_headings(text: str) -> Iterator[tuple[int, str] | None]:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        # Only the mark that opened a fence closes it: the other one is text inside.
        if mark and not fence:
            fence = mark[1]
        elif mark and fence == mark[1]:
            fence = ""
        yield None if fence else _markdown_heading(line)


def _markdown_heading(line: str) -> tuple[int, str] | None:
    level = len(line) - len(line.lstrip("#"))
    # Without white space behind it, `#` begins a tag.
    if not 1 <= level <= 6 or line[level : level + 1] not in (" ", "\t"):
        return None
    title = line[level:].strip().rstrip("#").rstrip()
    return (level, title) if title and len(line) <= _LONGEST_HEADING else None


def _sections(
    text: str, headings: Iterable[tuple[int, str] | None], end: Collection[str]
) -> list[Section]:
    pieces: list[tuple[str, list[str]]] = [("", [])]
    # The level of the end heading whose lines are passed over.
    left_out = 0
    for line, heading in zip(text.split("\n"), headings, strict=True):
        level, title = heading or (0, "")
        if heading is not None and (not left_out or level <= left_out):
            left_out = level if is_end_heading(title, end) else 0
        # Both formats cut at 2: Markdown's first level is the document's own title.
        if left_out and left_out <= 2:
            break
        if left_out:
            continue
        if heading is None:
            pieces[-1][1].append(line)
        elif level > 2:
            pieces[-1][1].append(title)
        else:
            pieces.append((title, []))
    sections = (
        Section(title, _BLANK.sub("\n\n", "\n".join(lines)).strip()) for title, lines in pieces
    )
    return [section for section in sections if section.text]


def fit(sections: Iterable[Section], min_chars: int, max_chars: int) -> list[Section]:
    """Returns sections of `min_chars` to `max_chars` code points.

    Short ones join the one before or are dropped, as in the paper.
    """
    joined: list[Section] = []
    for section in sections:
        if not joined or len(section.text) >= min_chars:
            joined.append(section)
            continue
        # The heading stays with its text: inside another section nothing else would say it.
        text = f"{section.title}\n{section.text}" if section.title else section.text
        last = joined[-1]
        whole = f"{last.text}\n\n{text}"
        by = len(whole) - len(section.text)
        moved = tuple((offset + by, place) for offset, place in section.places)
        joined[-1] = Section(last.title, whole, last.places + moved)
    pieces = (piece for section in joined for piece in _pieces(section, max_chars))
    # Again: the first section has none before it, and the end of a long one may be short.
    return [piece for piece in pieces if len(piece.text) >= min_chars]


def _pieces(section: Section, max_chars: int) -> Iterator[Section]:
    text = section.text
    while len(text) > max_chars:
        point = cut_point(text, max_chars)
        yield section.part(len(section.text) - len(text), text[:point].rstrip())
        text = text[point:].lstrip()
    yield section.part(len(section.text) - len(text), text)


def usable(
    sections: Iterable[Section], language: Language, min_chars: int, max_chars: int
) -> list[Section]:
    """Returns the sections of a useful length that a run can ask about, and counts the others."""
    good = []
    for section in fit(sections, min_chars, max_chars):
        reason = fault(section.text, language)
        if reason is None:
            good.append(section)
        else:
            piece().skipped.append(reason)
    return good


def cut_point(text: str, limit: int) -> int:
    """Returns where to cut a text that is longer than `limit`: an index from 1 to `limit`.

    The first of these that there is: the end of the last paragraph or line in the second half, the
    last white space, the last place between two letters.
    """
    # One more than the limit: a cut at the limit looks at what follows it.
    window = text[: limit + 1]
    for mark in ("\n\n", "\n"):
        point = window.rfind(mark, limit // 2)
        if 0 < point <= limit:
            return point
    for point in range(limit, 0, -1):
        if window[point].isspace():
            return point
    for point in range(limit, 0, -1):
        if _between(window[point - 1], window[point]):
            return point
    return limit


def _between(last: str, following: str) -> bool:
    """Tells whether a text may be cut between two code points."""
    belongs = unicodedata.category(following).startswith("M") or _LEANS_ON_LAST.match(following)
    return not (belongs or _LEANS_ON_NEXT.match(last))


def opening(text: str, limit: int = 60) -> str:
    """Returns the beginning of a text's first line, as a title for what has none."""
    line = text.strip().split("\n", 1)[0].strip()
    return line if len(line) <= limit else line[: cut_point(line, limit)].rstrip()
