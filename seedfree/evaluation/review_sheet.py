"""One HTML file in which a native speaker judges rows, and what comes back.

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

from seedfree._files import csv_rows, file_text, json_line, write_atomic
from seedfree._seeds import seeded
from seedfree.dataset import apportion, check_rows
from seedfree.errors import ConfigError
from seedfree.evaluation.reviews import QUESTIONS, Review, Reviews
from seedfree.languages import Language
from seedfree.records import Instruction
from seedfree.text import clean

__all__ = ["read_reviews", "review_sheet"]

_COLUMNS = ("sheet", "item", "reviewer", *QUESTIONS)
_TEMPLATE = Path(__file__).with_name("review.html")
_FORMULA = re.compile(r"\A'(?=[\x00-\x1f\x7f\ufeff]*[=+\-@]|[\t\r'])")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
# What ends a script element or a line of JavaScript, wherever it stands.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}

Rows = Sequence[Instruction]


def review_sheet(
    dataset: Rows | Mapping[str, Rows],
    n: int = 50,
    out: str | Path = "review.html",
    *,
    seed: int = 0,
    language: str | Language | None = None,
) -> Path:
    """Writes a page for native speakers to mark rows from 1 to 5 for fluency, culture and correctness.

    The page works offline and alone; beside it comes `<name>.key.json`, which stays with you. Each task keeps its
    share of the rows. Of several data sets each gives as many rows, if it has them.

    Args:
        dataset: Rows, or several sets of rows by name, which the reviewer cannot tell apart.
        n: Rows on the page; all rows where there are fewer.
        out: The page.
        seed: Another seed draws other rows in another order.
        language: Of the page's own words: Thai in Thai, English otherwise; `None` for the rows' language.

    Returns:
        `out` as a path.

    Raises:
        ConfigError: No rows, or something else, `n` below 1, the key of another sheet stands there, or a file cannot be
            written.
    """
    path = Path(out)
    sets = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    for given in sets.values():
        check_rows(given)
    if n < 1 or not any(map(len, sets.values())):
        raise ConfigError(
            "No rows to review", hint="Give a data set with rows, and n of at least 1."
        )
    drawn = _drawn(sets, n, seed)
    items = [sets[name][row] for name, row in drawn]
    ids = [f"r{number:0{len(str(len(items)))}}" for number in range(1, len(items) + 1)]
    rows = [{"id": id_, **_shown(item)} for id_, item in zip(ids, items, strict=True)]
    sheet = "s" + hashlib.sha256(_json(rows).encode()).hexdigest()[:12]
    code = language.code if isinstance(language, Language) else language
    code = _tag(code or Counter(item.language for item in items).most_common(1)[0][0]) or "en"
    origins = {
        id_: {
            "dataset": name,
            "row": row,
            "id": item.id,
            "task": item.task,
            "source": item.source.url or item.topic or item.id or f"{name} {row}",
        }
        for id_, (name, row), item in zip(ids, drawn, items, strict=True)
    }
    key = path.with_suffix(".key.json")
    if key.exists() and _read_key(key)["sheet"] != sheet:
        hint = "Give another out, or delete the key if no marks are to come back."
        raise ConfigError(f"{key} is the key of another sheet", hint=hint)
    sizes = {name: len(one) for name, one in sets.items()}
    write_atomic(key, [json_line({"sheet": sheet, "sizes": sizes, "items": origins})])
    write_atomic(path, [_page({"id": sheet, "rows": rows}, code)])
    return path


def _drawn(sets: Mapping[str, Rows], n: int, seed: int) -> list[tuple[str, int]]:
    """Names and row numbers of what is on the page, in the page's order."""
    counts: Counter[str] = Counter()
    for _ in range(min(n, sum(map(len, sets.values())))):
        counts[
            min((name for name in sets if counts[name] < len(sets[name])), key=counts.__getitem__)
        ] += 1
    drawn = []
    for name, count in counts.items():
        tasks: dict[str, list[int]] = {}
        for row, item in enumerate(sets[name]):
            tasks.setdefault(item.task, []).append(row)
        shares = apportion(
            Counter({task: len(rows) for task, rows in tasks.items()}), count / len(sets[name])
        )
        for task, rows in tasks.items():
            drawn += [
                (name, row) for row in seeded("review", seed, name, task).sample(rows, shares[task])
            ]
    seeded("review order", seed).shuffle(drawn)
    return drawn


def _shown(item: Instruction) -> dict[str, Any]:
    """What the reviewer sees of a row; a text that the first turn repeats is shown once, apart."""
    text = item.input or (item.context.text if item.context else "")
    joined = f"{item.instruction}\n\n{item.input}"
    turns = [
        [m.role, item.instruction if item.input and m.content == joined else m.content]
        for m in item.messages
    ]
    return {"lang": _tag(item.language), "material": text, "turns": turns}


def _tag(language: str) -> str:
    return language if _LANGUAGE.fullmatch(language) else ""


def _json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False)).translate(_ESCAPES)


def _page(sheet: Mapping[str, Any], language: str) -> str:
    page = _TEMPLATE.read_text("utf-8")
    hashes = {}
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes[tag] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    parts = {
        "LANGUAGE": html.escape(language),
        "POLICY": f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "SHEET": _json(sheet),
    }
    # In one pass: a row may hold such a mark itself.
    return re.sub("@@([A-Z]+)@@", lambda found: parts[found[1]], page)


def read_reviews(*paths: str | Path, key: str | Path = "review.key.json") -> Reviews:
    """Reads the files that reviewers sent back, also after a spreadsheet saved them anew.

    Args:
        paths: CSV files in UTF-8, with commas, semicolons or tabs; one or more of each reviewer.
        key: The key file that was written beside the sheet.

    Raises:
        ConfigError: A file cannot be read, lacks a column, is of another sheet, or holds a mark
            that is none; or two files give different marks under one name.
    """
    wrong = next((path for path in paths if not isinstance(path, str | Path)), None)
    if wrong is not None:
        hint = 'Give paths one after the other: read_reviews("a.csv", "b.csv", key=...).'
        raise ConfigError(f"A path is {type(wrong).__name__}", hint=hint)
    known = _read_key(Path(key))
    found: dict[tuple[str, str], Review] = {}
    for path in map(Path, paths):
        for line, row in _read_csv(path):
            where = f"{path}, line {line}"
            if row["sheet"] != known["sheet"]:
                raise ConfigError(
                    f"{where}: sheet {row['sheet']!r}, not {known['sheet']!r}",
                    hint="Give its own key.",
                )
            if row["item"] not in known["items"]:
                raise ConfigError(f"{where}: the sheet has no item {row['item']!r}")
            if not row["reviewer"]:
                raise ConfigError(
                    f"{where}: no reviewer", hint="Fill in the column reviewer, one name a file."
                )
            fluency, culture, correctness = (
                _mark(row[question], question, where) for question in QUESTIONS
            )
            said = (fluency, culture, correctness, row.get("comment", ""))
            review = Review(row["item"], row["reviewer"], *said, **known["items"][row["item"]])
            if found.setdefault((review.reviewer, review.item), review) != review:
                hint = "Give each reviewer a name of their own, and of two files by one reviewer the later alone."
                raise ConfigError(
                    f"{where}: {review.reviewer} marked {review.item} twice, differently", hint=hint
                )
    order = {item: number for number, item in enumerate(known["items"])}
    names = list(dict.fromkeys(name for name, _ in found))
    rows = sorted(found.values(), key=lambda r: (names.index(r.reviewer), order[r.item]))
    return Reviews(tuple(rows), known["sizes"])


def _mark(cell: str, question: str, where: str) -> int | None:
    if not cell:
        return None
    try:
        mark = float(cell)
    except ValueError:
        mark = math.nan
    if mark not in (1, 2, 3, 4, 5):
        raise ConfigError(f"{where}: {question} is {cell[:40]!r}, not a mark from 1 to 5")
    return int(mark)


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and cells by column, without the apostrophe that keeps a cell from being a formula."""
    text = file_text(path)
    header = text.partition("\n")[0]
    lines = csv_rows(path, text, max(",;\t", key=header.count))
    columns = [name.strip().lower() for name in lines[0][1]] if lines else []
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise ConfigError(
            f"{path} lacks the column {missing[0]}", hint=f"It needs {', '.join(_COLUMNS)}."
        )
    for line, cells in lines[1:]:
        if any(map(str.strip, cells)):
            row = dict(
                zip(
                    columns,
                    (_FORMULA.sub("", cell, count=1).strip() for cell in cells),
                    strict=False,
                )
            )
            yield line, dict.fromkeys(columns, "") | row


def _read_key(path: Path) -> dict[str, Any]:
    try:
        key = json.loads(path.read_text("utf-8"))
        whole = isinstance(key["sheet"], str) and all(
            isinstance(size, int) for size in key["sizes"].values()
        )
        fields = {"dataset": str, "row": int, "id": str, "task": str, "source": str}
        for origin in key["items"].values():
            whole = whole and {name: type(value) for name, value in origin.items()} == fields
    except OSError as error:
        hint = "Give key=: the file that was written beside the sheet."
        raise ConfigError(f"Cannot read {path}: {error.strerror}", hint=hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ConfigError(
            f"{path} is not the key of a sheet", hint="It is written beside it, as NAME.key.json."
        )
    return dict(key)
