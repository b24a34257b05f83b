"""The rows of the page's browser: plain data, in which equal texts stand once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from seedfree._seeds import seeded
from seedfree.outcome import Dropped, code
from seedfree.records import Instruction
from seedfree.report.trace import Asked
from seedfree.text import clean

__all__ = ["MOST_ROWS", "as_json", "browser_rows", "chosen", "web_address"]

# Rows in the page: 5,000 are some 30 MB, which a phone still opens.
MOST_ROWS = 5_000
# Characters of one text, and of a name, an address or a reason. Longer ones are degenerate: their
# end says nothing more, and a browser takes minutes to break a line of 100,000 Thai letters.
_LONGEST, _LONGEST_NAME = 20_000, 2_000
# What ends a script element or a line of JavaScript, wherever it stands.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def as_json(value: Any) -> str:
    """Returns JSON that no script element ends in, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return clean(text).translate(_ESCAPES)


def web_address(url: str | None) -> str:
    """Returns an address that a link may lead to: of the web, without a name and a password."""
    try:
        parts = urlsplit(url or "")
        web = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        return ""
    return url if url and web and len(url) <= _LONGEST_NAME else ""


def chosen(rows: Sequence[Instruction], first: set[str]) -> list[Instruction]:
    """Returns the rows for the browser, in their order: all, or `first` and a drawn part."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    places = [i for i, row in enumerate(rows) if row.id in first][:MOST_ROWS]
    others = [i for i, row in enumerate(rows) if row.id not in first]
    places += seeded("browser").sample(others, MOST_ROWS - len(places))
    return [rows[i] for i in sorted(places)]


def browser_rows(
    rows: Iterable[Instruction],
    asked: Mapping[str, Asked],
    findings: Mapping[str, Sequence[int]],
    points: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Returns what `browser.js` shows.

    Args:
        asked: By row id, its prompt.
        findings: By row id, the numbers of the findings that name it.
        points: By row id, its place on the map.

    Returns:
        `texts`, and `rows`, which name long texts by their place among `texts`.
    """
    texts = _Texts()
    return {"rows": [_row(row, texts, asked, findings, points) for row in rows], "texts": texts.all}


class _Texts:
    """Texts, each once: many rows share a source or a system prompt."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Returns where a text stands; -1 for an empty one."""
        if not text:
            return -1
        if text not in self._places:
            self._places[text] = len(self.all)
            self.all.append(_cut(text))
        return self._places[text]


def _row(
    row: Instruction,
    texts: _Texts,
    asked: Mapping[str, Asked],
    findings: Mapping[str, Sequence[int]],
    points: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    prompt = asked.get(row.id)
    before, document, after = prompt.parts if prompt else ("", "", "")
    source = row.source
    shown: dict[str, Any] = {
        "id": row.id,
        "task": row.task,
        "lang": row.language,
        "kind": row.topic_kind,
        "topic": _name(row.topic),
        "turns": [[turn.role, _cut(_turn(row, turn.content))] for turn in row.messages],
        "input": texts.place(row.input),
        "text": texts.place(document if document != row.input else ""),
        "evidence": _cut(row.evidence),
        "source": [_name(part) for part in (source.kind, source.title, source.url, source.license)],
        "web": web_address(source.url),
        "fictional": source.fictional,
        "checks": [[check.rule, _name(check.detail), check.verdict] for check in row.checks],
        "facets": [[_name(name), _name(value)] for name, value in row.facets.items()],
        "model": _name(row.generator),
        "findings": findings.get(row.id, []),
    }
    if prompt:
        parts = [prompt.system, before, document, after]
        shown["prompt"] = [texts.place(part) for part in parts]
    if row.id in points:
        shown["at"] = [round(share, 3) for share in points[row.id]]
    if isinstance(row, Dropped):
        shown["reason"], shown["code"] = _name(row.reason), _name(code(row.reason))
        shown["of"], shown["similarity"] = row.duplicate_of, row.similarity
        shown["repaired"] = row.repaired_by
    return {name: value for name, value in shown.items() if not _is_nothing(value)}


def _is_nothing(value: Any) -> bool:
    return value is None or value is False or value in ("", [], -1)


def _turn(row: Instruction, text: str) -> str:
    # The first turn repeats the input, which is shown apart.
    return row.instruction if row.input and text == f"{row.instruction}\n\n{row.input}" else text


def _name(text: str | None) -> str:
    return _cut(text or "", _LONGEST_NAME)


def _cut(text: str, longest: int = _LONGEST) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest:,} more characters)"
