"""Escaped HTML: texts, links to the browser's filters, tables, and numbers as people read them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from seedfree.text import shown

__all__ = ["code", "duration", "filtered", "rows_of", "share", "short", "table", "text"]

_LONGEST = 500


def text(value: object) -> str:
    """Escapes a text of unknown origin, and cuts it at 500 characters.

    What would turn its direction is shown as an escape.
    """
    line = shown(str(value))
    return html.escape(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")


def code(sentence: str) -> str:
    """Escapes a sentence of the library's own, in which backticks mark code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(sentence))


def rows_of(count: int) -> str:
    """Says how many rows, in words."""
    return "1 row" if count == 1 else f"{count:,} rows"


def filtered(name: str, value: str, label: str) -> str:
    """Links to the rows that have a value. Without the script it leads to the browser."""
    wanted = html.escape(value[:2_000])
    return f'<a href="#rows" data-filter="{name}" data-value="{wanted}">{text(label)}</a>'


def table(
    caption: str,
    head: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    words: int = 1,
    quiet: bool = False,
) -> str:
    """Writes a table.

    Args:
        lines: Cells that are HTML. The first of each names the line.
        words: Columns, from the left, that are no numbers.
        quiet: Leaves the caption to screen readers, where a heading above says the same.
    """
    top = "".join(
        f'<th scope="col"{_kind(cell, i, words)}>{cell}</th>' for i, cell in enumerate(head)
    )
    body = "".join(f"<tr>{_cells(line, words)}</tr>" for line in lines)
    unseen = ' class="unseen"' if quiet else ""
    return (
        f'<div class="table"><table><caption{unseen}>{text(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(line: Sequence[str], words: int) -> str:
    first, *others = line
    cells = (f"<td{_kind(cell, i, words)}>{cell}</td>" for i, cell in enumerate(others, 1))
    return f'<th scope="row">{first}</th>{"".join(cells)}'


def _kind(cell: str, column: int, words: int) -> str:
    if cell.startswith("<svg"):
        return ' class="drawn"'
    return ' class="number"' if column >= words else ""


def share(part: float, whole: float, digits: int = 0) -> str:
    """Returns a share in per cent; empty where there is no whole."""
    return f"{part / whole:.{digits}%}" if whole else ""


def short(n: float) -> str:
    """Returns a large number in three digits: `1.53 M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:,.0f}"


def duration(seconds: float) -> str:
    """Returns a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
