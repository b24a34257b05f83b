"""One HTML file in which a native speaker judges rows, and the CSV file that comes back.

The page is blinded: which data set a row is from, who wrote it and its id stand in the key file
beside it alone.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from seedfree._files import csv_rows, file_text, json_line, write_atomic
from seedfree._seeds import seeded
from seedfree.dataset import apportion, check_rows
from seedfree.errors import ConfigError
from seedfree.evaluation.reviews import QUESTIONS, Review, Reviews
from seedfree.languages import Language
from seedfree.records import Instruction, Message
from seedfree.text import clean

__all__ = ["read_reviews", "review_sheet"]

_COLUMNS = ("sheet", "item", "reviewer", *QUESTIONS)
_TEMPLATE = Path(__file__).with_name("review.html")
# The apostrophe that the page's script puts before a cell which a spreadsheet would take for a
# formula. The expression is the script's own (`cell` in review.html); change both together.
_FORMULA = re.compile(
    r"\A'(?=[\x00-\x1f\x7f\ufeff]*[=+\-@]|[\t\r'])"
    r"|(?<=[;\t\r\n])'(?=[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]*[=+\-@]|')"
)
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
# What ends a script element or a line of JavaScript, wherever it stands.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}

Rows = Sequence[Instruction]


class _Origin(BaseModel):
    """Where a row of the sheet is from. The fields are those of a `Review`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dataset: str
    row: int
    id: str
    task: str
    source: str


class _Key(BaseModel):
    """What the key file holds: the sheet's name, the sizes of its data sets, its rows' origins."""

    model_config = ConfigDict(strict=True)

    sheet: str
    sizes: dict[str, int]
    items: dict[str, _Origin]


def review_sheet(
    dataset: Rows | Mapping[str, Rows],
    n: int = 50,
    out: str | Path = "review.html",
    *,
    seed: int = 0,
    language: str | Language | None = None,
) -> Path:
    """Writes a page for native speakers to mark rows from 1 to 5 for fluency, culture, correctness.

    The page works offline and alone. Beside it comes `<name>.key.json`, which stays with you. Each
    task keeps its share of the rows. Several data sets give equally many rows, as far as they have
    them.

    Args:
        dataset: Rows, or several sets of rows by name, which the reviewer cannot tell apart.
        n: Rows on the page, or all rows where there are fewer.
        out: The page.
        seed: Another seed draws other rows in another order.
        language: Of the page's own words, which are Thai for Thai and English otherwise. `None` for
            the rows' language.

    Returns:
        `out` as a path.

    Raises:
        ConfigError: There are no rows, they are something else, or `n` is below 1. The key of
            another sheet or another page stands there, or a file cannot be written.
    """
    path = Path(out)
    sets = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    for rows in sets.values():
        check_rows(rows)
    if n < 1 or not any(map(len, sets.values())):
        hint = "Give a data set with rows, and n of at least 1."
        raise ConfigError("No rows to review", hint=hint)
    drawn = _drawn(sets, n, seed)
    items = [sets[name][row] for name, row in drawn]
    # Zeros in front, so that they sort in the page's order.
    width = len(str(len(items)))
    ids = [f"r{number:0{width}}" for number in range(1, len(items) + 1)]
    shown = [{"id": id_, **_shown(item)} for id_, item in zip(ids, items, strict=True)]
    sheet = "s" + hashlib.sha256(_json(shown).encode()).hexdigest()[:12]
    key = path.with_suffix(".key.json")
    if path.exists() and not key.exists():
        hint = "Give another out, or remove it."
        raise ConfigError(f"{path} is there already, and is no sheet of ours", hint=hint)
    # Without its key, what reviewers send back of a sheet is worthless.
    if key.exists() and _read_key(key).sheet != sheet:
        hint = "Give another out, or delete the key if no marks are to come back."
        raise ConfigError(f"{key} is the key of another sheet", hint=hint)
    origins = {
        id_: _origin(name, row, item)
        for id_, (name, row), item in zip(ids, drawn, items, strict=True)
    }
    sizes = {name: len(rows) for name, rows in sets.items()}
    write_atomic(key, [json_line({"sheet": sheet, "sizes": sizes, "items": origins})])
    write_atomic(path, [_page({"id": sheet, "rows": shown}, _page_language(language, items))])
    return path


def _drawn(sets: Mapping[str, Rows], n: int, seed: int) -> list[tuple[str, int]]:
    """Draws what is on the page: names of data sets and row numbers, in the page's order."""
    drawn = []
    for name, count in _counts(sets, n).items():
        tasks: dict[str, list[int]] = {}
        for row, item in enumerate(sets[name]):
            tasks.setdefault(item.task, []).append(row)
        sizes = Counter({task: len(rows) for task, rows in tasks.items()})
        shares = apportion(sizes, count / len(sets[name]))
        for task, rows in tasks.items():
            chosen = seeded("review", seed, name, task).sample(rows, shares[task])
            drawn += [(name, row) for row in chosen]
    # Neither task nor data set may be guessed from the order.
    seeded("review order", seed).shuffle(drawn)
    return drawn


def _counts(sets: Mapping[str, Rows], n: int) -> Counter[str]:
    """Returns how many rows each data set gives: equally many, as far as it has them."""
    counts: Counter[str] = Counter()
    for _ in range(min(n, sum(map(len, sets.values())))):
        unspent = [name for name in sets if counts[name] < len(sets[name])]
        counts[min(unspent, key=counts.__getitem__)] += 1
    return counts


def _origin(name: str, row: int, item: Instruction) -> dict[str, Any]:
    return {
        "dataset": name,
        "row": row,
        "id": item.id,
        "task": item.task,
        "source": item.source.url or item.topic or item.id or f"{name} {row}",
    }


def _shown(item: Instruction) -> dict[str, Any]:
    """Returns what the reviewer sees of a row: its language, its material and its turns."""
    material = item.input or (item.context.text if item.context else "")
    turns = [[message.role, _turn(item, message)] for message in item.messages]
    return {"lang": _tag(item.language), "material": material, "turns": turns}


def _turn(item: Instruction, message: Message) -> str:
    # The first turn repeats the input, which is shown apart.
    if item.input and message.content == f"{item.instruction}\n\n{item.input}":
        return item.instruction
    return message.content


def _page_language(language: str | Language | None, items: Rows) -> str:
    code = language.code if isinstance(language, Language) else language
    if not code:
        ((code, _),) = Counter(item.language for item in items).most_common(1)
    return _tag(code) or "en"


def _tag(language: str) -> str:
    # A row may hold anything, and this goes into an attribute of the page.
    return language if _LANGUAGE.fullmatch(language) else ""


def _json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False)).translate(_ESCAPES)


def _page(sheet: Mapping[str, Any], language: str) -> str:
    page = _TEMPLATE.read_text("utf-8")
    # The policy names the page's own style and script by their hashes: no other one runs.
    hashes = {}
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes[tag] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {"LANGUAGE": html.escape(language), "POLICY": policy, "SHEET": _json(sheet)}
    # In one pass: a row may hold such a mark itself.
    return re.sub("@@([A-Z]+)@@", lambda mark: parts[mark[1]], page)


def read_reviews(*paths: str | Path, key: str | Path = "review.key.json") -> Reviews:
    """Reads the files that reviewers sent back, also after a spreadsheet saved them anew.

    Args:
        paths: CSV files in UTF-8, with commas, semicolons or tabs, one or more of each reviewer.
        key: The key file that was written beside the sheet.

    Raises:
        ConfigError: A file cannot be read, lacks a column or is of another sheet. Or a mark is not
            from 1 to 5, or two files give different marks under one name.
    """
    wrong = next((path for path in paths if not isinstance(path, str | Path)), None)
    if wrong is not None:
        hint = 'Give paths one after the other: read_reviews("a.csv", "b.csv", key=...).'
        raise ConfigError(f"A path is {type(wrong).__name__}", hint=hint)
    known = _read_key(Path(key))
    reviews: dict[tuple[str, str], Review] = {}
    for path in map(Path, paths):
        for line, row in _read_csv(path):
            where = f"{path}, line {line}"
            review = _review(row, known, where)
            # A file that was sent twice is no contradiction.
            if reviews.setdefault((review.reviewer, review.item), review) != review:
                hint = (
                    "Give each reviewer a name of their own, and of two files by one reviewer the "
                    "later alone."
                )
                message = f"{where}: {review.reviewer} marked {review.item} twice, differently"
                raise ConfigError(message, hint=hint)
    names = list(dict.fromkeys(reviewer for reviewer, _ in reviews))
    places = {item: place for place, item in enumerate(known.items)}
    rows = sorted(reviews.values(), key=lambda r: (names.index(r.reviewer), places[r.item]))
    return Reviews(tuple(rows), known.sizes)


def _read_key(path: Path) -> _Key:
    try:
        return _Key.model_validate_json(path.read_bytes())
    except OSError as error:
        hint = "Give key=: the file that was written beside the sheet."
        raise ConfigError(f"Cannot read {path}: {error.strerror}", hint=hint) from error
    # pydantic's ValidationError, for text that is no JSON too.
    except ValueError:
        hint = "It is written beside it, as NAME.key.json."
        raise ConfigError(f"{path} is not the key of a sheet", hint=hint) from None


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Reads line numbers and cells by column.

    The apostrophe that keeps a cell from being a formula is taken away.
    """
    text = file_text(path)
    lines = csv_rows(path, text)
    columns = [name.strip().lower() for name in lines[0][1]] if lines else []
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        hint = f"It needs {', '.join(_COLUMNS)}."
        raise ConfigError(f"{path} lacks the column {missing[0]}", hint=hint)
    for line, cells in lines[1:]:
        if not any(map(str.strip, cells)):
            continue
        # `strict=False`: a spreadsheet may leave out empty cells at the end of a line.
        stripped = (_FORMULA.sub("", cell).strip() for cell in cells)
        yield line, dict.fromkeys(columns, "") | dict(zip(columns, stripped, strict=False))


def _review(row: Mapping[str, str], known: _Key, where: str) -> Review:
    if row["sheet"] != known.sheet:
        message = f"{where}: sheet {row['sheet']!r}, not {known.sheet!r}"
        raise ConfigError(message, hint="Give its own key.")
    if row["item"] not in known.items:
        raise ConfigError(f"{where}: the sheet has no item {row['item']!r}")
    if not row["reviewer"]:
        hint = "Fill in the column reviewer, one name a file."
        raise ConfigError(f"{where}: no reviewer", hint=hint)
    fluency, culture, correctness = (_mark(row[name], name, where) for name in QUESTIONS)
    return Review(
        item=row["item"],
        reviewer=row["reviewer"],
        fluency=fluency,
        culture=culture,
        correctness=correctness,
        comment=row.get("comment", ""),
        **known.items[row["item"]].model_dump(),
    )


def _mark(cell: str, question: str, where: str) -> int | None:
    if not cell:
        return None
    try:
        # Not `int`: a spreadsheet may have saved 4 as 4.0.
        mark = float(cell)
    except ValueError:
        mark = math.nan
    if mark not in (1, 2, 3, 4, 5):
        raise ConfigError(f"{where}: {question} is {cell[:40]!r}, not a mark from 1 to 5")
    return int(mark)
