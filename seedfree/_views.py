"""How objects look: a few lines in a terminal, small tables in a notebook.

A class that derives from `Shown` says in `_view` what there is to see, and gets both. All texts are
of unknown origin: they are cut, put on one line and escaped here.
"""

from __future__ import annotations

import html
import textwrap
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from seedfree.text import shown

__all__ = ["Shown", "Table", "View", "Words", "aligned", "one_line", "price"]

# Columns of a terminal, lines of a table in it, and the least width that a column is cut to.
_WIDTH, _LINES, _NARROW = 100, 6, 8
# Columns of a text and of a language's code in a notebook.
_LONGEST, _CODE = 400, 35


class Words(NamedTuple):
    """A text in a natural language, which browsers then set in its own direction and font."""

    text: str
    language: str


Cell = str | Words


@dataclass(frozen=True)
class Table:
    """A head and lines of as many cells.

    Attributes:
        words: How many columns, from the first, hold words. The others are set to the right.
    """

    lines: Sequence[Sequence[Cell]]
    words: int = 1


@dataclass(frozen=True)
class View:
    """What there is to see of an object."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Returns lines of at most 100 columns."""
        lines = [self.title, *(f"  {name}: {value}" for name, value in self.facts.items())]
        lines = [one_line(line, _WIDTH, indented=True) for line in lines]
        for table in self.tables:
            lines += [f"  {line}" for line in _text(table)]
        for note in self.notes:
            wrapped = textwrap.wrap(one_line(note, 3 * _WIDTH), _WIDTH - 2)
            lines += [f"  {one_line(line, _WIDTH - 2)}" for line in wrapped]
        return "\n".join(lines)

    def html(self) -> str:
        """Returns HTML without colours, scripts or anything from elsewhere."""
        facts = [
            _tags("tr", [_tag("th", name), _tag("td", fact)]) for name, fact in self.facts.items()
        ]
        parts = [_tags("p", [_tag("strong", self.title)])]
        parts += [_tags("table", facts)] * bool(facts)
        parts += map(_html, self.tables)
        parts += [_tag("p", note) for note in self.notes]
        return _tags("div", parts)


class Shown(ABC):
    """Gives a class its forms in terminals and notebooks."""

    __slots__ = ()

    @abstractmethod
    def _view(self, full: bool) -> View:
        """Returns what there is to see.

        Args:
            full: For a notebook. A terminal has room for about ten lines.
        """

    def __repr__(self) -> str:
        return self._view(full=False).text()

    def _repr_html_(self) -> str:
        return self._view(full=True).html()


def one_line(text: str, longest: int, *, indented: bool = False) -> str:
    """Puts a text of unknown origin on one line of at most `longest` columns.

    Args:
        indented: White space at the beginning stays.
    """
    # More characters cannot be seen, even if half of them are marks above or below a letter.
    start = text[: 4 * longest]
    indent = len(start) - len(start.lstrip(" ")) if indented else 0
    line = " " * indent + shown(" ".join(start.split()))
    if len(start) == len(text) and _columns(line) <= longest:
        return line
    columns, end = 0, 0
    for char in line:
        columns += _columns(char)
        if columns >= longest:
            break
        end += 1
    return f"{line[:end].rstrip()}…"


def aligned(table: Sequence[Sequence[str]], words: int = 0) -> list[str]:
    """Returns lines with columns of equal width.

    Args:
        words: How many columns, from the first, are set to the left. The others are set to the
            right, as numbers are.
    """
    widths = [max(map(_columns, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _columns(cell))
            cells.append(cell + space if number < words else space + cell)
        lines.append("  ".join(cells).rstrip())
    return lines


def price(usd: float | None, digits: int = 2) -> str:
    """Says an amount of money."""
    return "price unknown" if usd is None else f"{usd:,.{digits}f} USD"


def _columns(text: str) -> int:
    """Returns how many columns of a terminal a text takes: two for a wide character, such as 語."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in text)


def _text(table: Table) -> list[str]:
    head, *lines = [[_plain(cell) for cell in line] for line in table.lines]
    left_out = len(lines) - _LINES
    # A table that is one line too long is shown whole: the note would take that line, too.
    if left_out > 1:
        lines = lines[:_LINES]
    cells = [head, *lines]
    widths = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
    room = _WIDTH - 2 * len(widths)
    while sum(widths) > room and max(widths) > _NARROW:
        widths[widths.index(max(widths))] -= 1
    cut = [[one_line(c, width) for c, width in zip(line, widths, strict=True)] for line in cells]
    made = aligned(cut, table.words)
    return [*made, f"… {left_out} more"] if left_out > 1 else made


def _plain(cell: Cell) -> str:
    return one_line(cell if isinstance(cell, str) else cell.text, _WIDTH)


def _html(table: Table) -> str:
    head, *lines = table.lines
    rows = [
        _tags("tr", [_tag("th", cell, number < table.words) for number, cell in enumerate(head)])
    ]
    for line in lines:
        cells = [_tag("td", cell, number < table.words) for number, cell in enumerate(line)]
        rows.append(_tags("tr", cells))
    return _tags("table", rows)


def _tag(name: str, cell: Cell, left: bool = True) -> str:
    text, language = (cell, "") if isinstance(cell, str) else cell
    # Notebooks set cells to the right unless they are told otherwise.
    style = f' style="text-align:{"left" if left else "right"}"' if name in ("td", "th") else ""
    lang = f' lang="{html.escape(one_line(language, _CODE))}"' if language else ""
    words = html.escape(one_line(text, _LONGEST))
    return f'<{name}{lang} dir="auto"{style}>{words}</{name}>'


def _tags(name: str, parts: Iterable[str]) -> str:
    return f"<{name}>{''.join(parts)}</{name}>"
