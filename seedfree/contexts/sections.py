"""Cuts texts into sections of a useful length, without adding a word.

A page is cut at its headings; a section that is too short joins the one before it or is dropped,
one that is too long is cut between paragraphs, else between words, and never between a letter and
the marks that belong to it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

__all__ = ["Section", "cut_point", "fit", "markdown_sections", "opening", "wiki_sections"]

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
_LONGEST_HEADING = 300


class Section(NamedTuple):
    """A piece of a page; `title` is its heading, empty for what stands before the first."""

    title: str
    text: str


def wiki_sections(text: str, end: Collection[str] = ()) -> list[Section]:
    """The sections of a plain-text extract, whose headings read `== Heading ==`.

    Args:
        text: At its second-level headings it is cut.
        end: Headings, in any case, at which the article's text ends ("See also").
    """
    return _sections(
        text, (_wiki_heading(line) for line in text.split("\n")), {h.casefold() for h in end}
    )


def markdown_sections(text: str) -> list[Section]:
    """The sections of a Markdown text, cut at `#` and `##`; what looks like a heading inside a code fence is none."""
    return _sections(text, _markdown_headings(text), frozenset())


def _wiki_heading(line: str) -> tuple[int, str] | None:
    line = line.strip()
    level = len(line) - len(line.lstrip("="))
    title = line[level:-level].strip() if level else ""
    good = (
        2 <= level <= 6 and line.endswith("=" * level) and title and len(line) <= _LONGEST_HEADING
    )
    return (level, title) if good else None


def _markdown_headings(text: str) -> Iterator[tuple[int, str] | None]:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        level = len(line) - len(line.lstrip("#"))
        title = line[level:].strip().rstrip("#").rstrip()
        good = (
            1 <= level <= 6
            and line[level : level + 1] in (" ", "\t")
            and title
            and len(line) <= _LONGEST_HEADING
        )
        # Both formats cut at 2: Markdown's first level is the document's own title.
        yield (level, title) if good and not fence else None


def _sections(
    text: str, headings: Iterable[tuple[int, str] | None], end: Collection[str]
) -> list[Section]:
    found: list[tuple[str, list[str]]] = [("", [])]
    for line, heading in zip(text.split("\n"), headings, strict=True):
        if heading is None:
            found[-1][1].append(line)
        elif heading[0] > 2:
            found[-1][1].append(heading[1])
        elif heading[1].casefold() in end:
            break
        else:
            found.append((heading[1], []))
    sections = (
        Section(title, _BLANK.sub("\n\n", "\n".join(lines)).strip()) for title, lines in found
    )
    return [section for section in sections if section.text]


def fit(sections: Iterable[Section], min_chars: int, max_chars: int) -> list[Section]:
    """Sections of `min_chars` to `max_chars` code points: short ones join the one before or go, as in the paper."""
    joined: list[Section] = []
    for section in sections:
        if joined and len(section.text) < min_chars:
            last = joined[-1]
            parts = [
                last.text,
                f"{section.title}\n{section.text}" if section.title else section.text,
            ]
            joined[-1] = Section(last.title, "\n\n".join(parts))
        else:
            joined.append(section)
    pieces = (
        Section(section.title, piece)
        for section in joined
        for piece in _pieces(section.text, max_chars)
    )
    return [piece for piece in pieces if len(piece.text) >= min_chars]


def _pieces(text: str, max_chars: int) -> Iterator[str]:
    while len(text) > max_chars:
        point = cut_point(text, max_chars)
        yield text[:point].rstrip()
        text = text[point:].lstrip()
    yield text


def cut_point(text: str, limit: int) -> int:
    """Where to cut a text that is longer than `limit`: an index from 1 to `limit`.

    In order: after the last paragraph or line in the second half; at the last white space; between
        two letters.
    """
    window = text[: limit + 1]
    for mark in ("\n\n", "\n"):
        point = window.rfind(mark, limit // 2)
        if 0 < point <= limit:
            return point
    space = next((i for i in range(limit, 0, -1) if window[i].isspace()), 0)
    if space:
        return space
    return next((i for i in range(limit, 0, -1) if _between(window[i - 1], window[i])), limit)


def _between(last: str, following: str) -> bool:
    belongs = unicodedata.category(following).startswith("M") or _LEANS_ON_LAST.match(following)
    return not (belongs or _LEANS_ON_NEXT.match(last))


def opening(text: str, limit: int = 60) -> str:
    """The beginning of a text's first line, as a title for what has none."""
    line = text.strip().split("\n", 1)[0].strip()
    return line if len(line) <= limit else line[: cut_point(line, limit)].rstrip()
