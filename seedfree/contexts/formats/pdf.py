"""PDF, by PDFium (github.com/pypdfium2-team/pypdfium2): lines of text become paragraphs again.

PDFium says which letter stands where. It sorts them by their places, which doubles Thai letters
with marks above them, so here they stay in the order in which the file draws them.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple
from unicodedata import category

from seedfree.contexts.formats import Parsed, damaged, encrypted, real_title
from seedfree.contexts.sections import Block
from seedfree.errors import missing_extra
from seedfree.text import clean, is_code, squeeze

__all__ = ["read_pdf"]

# PDFium knows no threads.
_ONE_AT_A_TIME = Lock()
# Forms within forms, as deep as PDFium goes.
_DEPTH = 15
# Thai fonts of before OpenType have forms of marks at code points of their own.
_THAI_FORMS = dict(
    enumerate(
        "\u0e10\u0e34\u0e35\u0e36\u0e37\u0e48\u0e49\u0e4a\u0e4b\u0e4c\u0e48\u0e49\u0e4a\u0e4b\u0e4c"
        "\u0e0d\u0e31\u0e4d\u0e47\u0e48\u0e49\u0e4a\u0e4b\u0e4c\u0e38\u0e39\u0e3a",
        start=0xF700,
    )
)
# PDFium's sign for a hyphen at a line's end, and letters that the file has no code point for.
_SIGNS = {0x02: "-", 0xFFFE: "-", 0xAD: "-", 0x00: "\ufffd"}
# Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana and Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"
)
_HYPHENATED = re.compile(r"([^\W\d_]+)[-\u2010]$")
_COMPOUND = re.compile(r"[^\W\d_]+[-\u2010][^\W\d_]+")
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")

# In widths of the letter M: gaps of a word's and of a column's width, and lines of one height.
_WORD_GAP, _COLUMN_GAP, _LEVEL = 0.15, 3.0, 0.5
# From so many times the size of most letters on, a line is a heading.
_LARGE = 1.2
_LONGEST_HEADING = 200
# Of a page's first and last lines, how many may be running heads; on how many pages they stand.
_EDGE = 2
_FEWEST_HEADS, _MOST_PAGES = 3, 0.3
_LONGEST_HEAD = 60
# A line that ends before this share of its column ends a paragraph; so does more than this many
# times the usual distance of lines.
_SHORT, _APART = 0.8, 1.4
_INDENT = 0.8
_ITEM = re.compile(r"\s*(?:[•●○▪■◦‣–—*-]\s|\w{1,3}[.)]\s)")


class _Letter(NamedTuple):
    text: str
    left: float
    right: float
    base: float
    size: float


@dataclass
class _Line:
    text: str
    left: float
    right: float
    base: float
    size: float
    page: int

    def takes(self, letter: _Letter) -> bool:
        """Tells whether a letter stands on the line."""
        size = max(self.size, letter.size)
        on_level = abs(letter.base - self.base) <= _LEVEL * size
        return (on_level and letter.left > self.right - _COLUMN_GAP * size) or (
            # A mark belongs to the letter before it, wherever it stands.
            category(letter.text[0])[0] == "M"
        )

    def add(self, letter: _Letter) -> None:
        gap = letter.left - self.right
        spaced = self.text.endswith(" ") or letter.text[0].isspace()
        if gap > _WORD_GAP * self.size and not spaced and category(letter.text[0])[0] != "M":
            self.text += " "
        self.text += letter.text
        self.right = max(self.right, letter.right)
        self.size = max(self.size, letter.size)


def read_pdf(data: bytes, name: str) -> Parsed:
    """Reads the text that a file has as text; pictures of text are counted and left out.

    Columns come in the order in which the file draws them.

    Raises:
        ConfigError: It is damaged or encrypted.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise missing_extra("pypdfium2", "documents") from error

    with _ONE_AT_A_TIME:
        try:
            with pypdfium2.PdfDocument(data) as document:
                pages, pictures = _pages(document)
                title = document.get_metadata_value("Title")
        except pypdfium2.PdfiumError as error:
            locked = "password" in str(error).lower() or "security" in str(error).lower()
            raise encrypted(name) if locked else damaged(name, "a PDF file") from error
    unread = f"{pictures} of {len(pages)} pages are pictures without text" if pictures else ""
    return Parsed(real_title(title), _blocks(_without_heads(pages)), unread=unread)


def _pages(document: Any) -> tuple[list[list[_Line]], int]:
    """Returns the lines of each page, and how many pages hold pictures alone."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    pages, pictures = [], 0
    for number in range(len(document)):
        page = document[number]
        lines = _lines(_letters(page), number + 1)
        if not lines:
            pictures += next(page.get_objects([FPDF_PAGEOBJ_IMAGE], _DEPTH), None) is not None
        pages.append(lines)
        page.close()
    return pages, pictures


def _letters(page: Any) -> Iterator[_Letter]:
    """Yields a page's letters in the order in which they are drawn.

    What a file says that a group of signs reads (`ActualText`) comes once, with the first of them.
    """
    from pypdfium2 import raw

    textpage = page.get_textpage()
    by_object = _letters_by_object(textpage.raw, raw)
    if not by_object:
        return
    read: set[int] = set()
    for thing in page.get_objects([raw.FPDF_PAGEOBJ_TEXT], _DEPTH):
        letters = by_object.get(_address(thing.raw), [])
        span = _span(thing.raw, raw)
        if not span:
            yield from letters
            continue
        # Each sign has its own place, and PDFium spreads the whole text over the first one's.
        left, _, right, _ = thing.get_bounds()
        if letters and span not in read:
            read.add(span)
            text = "".join(letter.text for letter in letters)
            yield letters[0]._replace(text=text, right=right)
        elif letters or span in read:
            yield _Letter("", left, right, 0.0, 0.0)


def _letters_by_object(textpage: Any, raw: Any) -> dict[int, list[_Letter]]:
    found: dict[int, list[_Letter]] = defaultdict(list)
    sizes: dict[int, float] = {}
    left, base = ctypes.c_double(), ctypes.c_double()
    box, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
    for i in range(raw.FPDFText_CountChars(textpage)):
        thing = raw.FPDFText_GetTextObject(textpage, i)
        # Spaces and line ends that PDFium adds belong to no object.
        if not thing or raw.FPDFText_IsGenerated(textpage, i) == 1:
            continue
        address = _address(thing)
        if address not in sizes:
            raw.FPDFText_GetMatrix(textpage, i, matrix)
            scale = (matrix.c**2 + matrix.d**2) ** 0.5
            sizes[address] = raw.FPDFText_GetFontSize(textpage, i) * scale
        raw.FPDFText_GetCharOrigin(textpage, i, left, base)
        raw.FPDFText_GetLooseCharBox(textpage, i, box)
        code = raw.FPDFText_GetUnicode(textpage, i)
        text = _SIGNS.get(code) or _THAI_FORMS.get(code) or chr(code)
        found[address].append(_Letter(text, left.value, box.right, base.value, sizes[address]))
    return found


def _address(pointer: Any) -> int:
    return ctypes.addressof(pointer.contents)


def _span(thing: Any, raw: Any) -> int:
    """Returns the address of the mark that says what an object reads, 0 for none."""
    length = ctypes.c_ulong()
    for i in range(raw.FPDFPageObj_CountMarks(thing)):
        mark = raw.FPDFPageObj_GetMark(thing, i)
        if raw.FPDFPageObjMark_GetParamStringValue(mark, b"ActualText", None, 0, length):
            return _address(mark)
    return 0


def _lines(letters: Iterable[_Letter], page: int) -> list[_Line]:
    lines: list[_Line] = []
    for letter in letters:
        if not letter.text:
            if lines:
                lines[-1].right = max(lines[-1].right, letter.right)
        elif lines and lines[-1].takes(letter):
            lines[-1].add(letter)
        else:
            lines.append(_Line(*letter, page))
    for line in lines:
        # PDFium gives the two halves of a character beyond U+FFFF.
        line.text = clean(line.text)
    return [line for line in lines if line.text.strip()]


def _without_heads(pages: Sequence[list[_Line]]) -> list[_Line]:
    """Returns the lines of all pages without running heads, which stand on many of them."""
    edges = [_edge(lines) for lines in pages]
    counts = Counter(key for edge in edges for key in {_key(line) for line in edge})
    least = max(_FEWEST_HEADS, _MOST_PAGES * sum(map(bool, pages)))
    heads = {key for key, count in counts.items() if count >= least}
    kept: list[_Line] = []
    for lines, edge in zip(pages, edges, strict=True):
        gone = {id(line) for line in edge if _key(line) in heads}
        kept += [line for line in lines if id(line) not in gone]
    return kept


def _edge(lines: list[_Line]) -> list[_Line]:
    by_height = sorted(lines, key=lambda line: line.base)
    edge = by_height if len(lines) <= 2 * _EDGE else by_height[:_EDGE] + by_height[-_EDGE:]
    return [line for line in edge if len(line.text) <= _LONGEST_HEAD]


def _key(line: _Line) -> str:
    return _NUMBER.sub("0", squeeze(line.text))


class _Stretch(NamedTuple):
    """Lines below each other at the usual distance.

    Attributes:
        goes_on: Whether its first line may go on with the paragraph before it, in the column or on
            the page before.
    """

    lines: list[_Line]
    goes_on: bool

    def ends(self, line: _Line) -> bool:
        """Tells whether a line ends a paragraph, because it leaves room."""
        left = min(each.left for each in self.lines)
        right = max(each.right for each in self.lines)
        is_short = line.right < left + _SHORT * (right - left)
        return is_short and not _HYPHENATED.search(line.text)


def _stretches(lines: Sequence[_Line]) -> Iterator[_Stretch]:
    steps = Counter(
        round((a.base - b.base) / b.size, 1) for a, b in pairwise(lines) if _is_below(b, a)
    )
    # The smaller of two that are as frequent: more is the distance of paragraphs.
    usual = max(steps, key=lambda step: (steps[step], -step), default=0.0)
    stretch, goes_on = list(lines[:1]), False
    for before, line in pairwise(lines):
        below = _is_below(line, before)
        if not below or before.base - line.base > _APART * usual * line.size:
            yield _Stretch(stretch, goes_on)
            stretch, goes_on = [], not below
        stretch.append(line)
    if stretch:
        yield _Stretch(stretch, goes_on)


def _is_below(line: _Line, before: _Line) -> bool:
    overlap = line.left < before.right and before.left < line.right
    return line.page == before.page and line.base <= before.base and overlap


def _begins(line: _Line, before: _Line) -> bool:
    """Tells whether a line looks like the first of a paragraph."""
    indented = line.left - before.left > _INDENT * line.size and not _ITEM.match(before.text)
    return indented or _ITEM.match(line.text) is not None


def _blocks(lines: Sequence[_Line]) -> list[Block]:
    """Joins lines to paragraphs. A line in larger letters than most is a heading."""
    letters = Counter[float]()
    for line in lines:
        letters[round(line.size, 1)] += len(line.text)
    usual = max(letters, key=lambda size: (letters[size], size), default=0.0)
    compounds = {word for line in lines for word in _COMPOUND.findall(line.text.lower())}
    blocks: list[Block] = []
    if not lines:
        return blocks
    last, ended = lines[0], True
    for stretch in _stretches(lines):
        ended = ended or not stretch.goes_on
        for line in stretch.lines:
            text, place = line.text.strip(), f"page={line.page}"
            is_large = line.size >= _LARGE * usual and len(text) <= _LONGEST_HEADING
            level = 2 if is_large and not is_code(text) else 0
            if line is not stretch.lines[0]:
                ended = ended or _begins(line, last)
            if ended or level != blocks[-1].level:
                blocks.append(Block(text, level=level, place=place))
            else:
                start, glue = _joint(blocks[-1].text, last.text, text, compounds)
                # A heading is one block, and each line of a paragraph has its page.
                blocks[-1] = blocks[-1]._replace(text=start + glue + text if level else start)
                if not level:
                    blocks.append(Block(text, glue, place=place))
            last, ended = line, stretch.ends(line)
    return blocks


def _joint(start: str, last: str, text: str, compounds: Collection[str]) -> tuple[str, str]:
    """Returns what was read so far and what stands between it and the next line.

    Args:
        last: The line that ends there, with the white space at its end.
        compounds: Words with hyphens that stand within a line, in lower case.
    """
    hyphen, word = _HYPHENATED.search(start), _WORD.match(text)
    if hyphen and word:
        first, rest = hyphen[1].lower(), word[0].lower()
        # Indonesian and others double words: "anak-anak".
        is_compound = first == rest or f"{first}-{rest}" in compounds
        keeps = is_compound or not text[0].islower()
        return (start if keeps else start[:-1]), ""
    spaced = last[-1:].isspace() or not (_UNSPACED.match(last[-1]) and _UNSPACED.match(text))
    return start, " " if spaced else ""
