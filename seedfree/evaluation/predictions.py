"""Prediction files: CSV or JSONL, plain or gzipped, with `question, context, answer, id, prediction`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

from seedfree._files import absent, csv_rows, file_text, json_rows
from seedfree.errors import ConfigError
from seedfree.languages import Language

__all__ = [
    "COLUMNS",
    "PARTS",
    "TASKS",
    "CutOff",
    "Prediction",
    "Predictions",
    "cut_off",
    "named",
    "read_predictions",
]

COLUMNS = ("question", "context", "answer", "id", "prediction")
# The task types of WangchanThaiInstruct, and its halves as the paper's files name them ("yes": of
# Thai culture).
TASKS = (
    "brainstorming",
    "classification",
    "closed_qa",
    "creative_writing",
    "multiple_choice",
    "open_qa",
    "summarization",
)
PARTS = {
    "culture": "culture",
    "thai_culture": "culture",
    "general": "general",
    "yes": "culture",
    "no": "general",
}
_KINDS = re.compile(r"\.(csv|jsonl)(\.gz)?$")
_NAME = re.compile(r"(?P<model>.+)\.(?P<task>[^.]+)\.(?P<part>[^.]+)")
_AUTHORS_NAME = re.compile(r"(?P<task>.+)_(?P<part>yes|no)_eval")
_NOTHING = ("", "nan", "NaN")
_LIMIT = ("max_tokens", "length")
# What no text ends with: a comma, an open bracket, a Thai or Lao vowel that is written before its
# consonant.
_OPEN_END = re.compile(r"[,;(\[{\u0e40-\u0e44\u0ec0-\u0ec4]\Z")


@dataclass(frozen=True)
class Prediction:
    """One answer of a model beside its question and its reference; texts are as the file has them.

    Attributes:
        answer: The reference.
        prediction: Empty where the model said nothing.
        stop_reason: Why the model stopped; empty where the file doesn't say.
        task: The row's own, where the file has the column; else that of the file's name.
        part: Likewise; `"culture"` or `"general"`.
        source: What the question was made from; questions of one source are not independent.
        choices: Of JSONL rows that have them, the possible answers in order.
    """

    question: str
    context: str
    answer: str
    id: str
    prediction: str
    stop_reason: str = ""
    task: str = ""
    part: str = ""
    source: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predictions:
    """A prediction file.

    Attributes:
        model: From the file's name, as `named` reads it; of another name, all of it.
    """

    path: Path
    rows: tuple[Prediction, ...]
    model: str

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    @property
    def predictions(self) -> list[str]:
        """What the model said, row by row."""
        return [row.prediction for row in self.rows]

    @property
    def references(self) -> list[str]:
        """The right answers, row by row."""
        return [row.answer for row in self.rows]


class CutOff(NamedTuple):
    """Share of the answers (0 to 1) that reached their token limit; `known` is false for a lower bound."""

    share: float
    known: bool


def cut_off(rows: Sequence[Prediction], language: Language | str = "th") -> CutOff:
    """How many answers were cut off.

    Known where every row has a stop reason. Elsewhere the share of texts that cannot have ended
    where they end: after a comma or an open bracket, in an open code block, or inside a word (the
    last word, by the language's segmenter, is a single consonant). Most cut texts end at a word's
    end and are not noticed.
    """
    if not rows:
        return CutOff(0.0, known=False)
    if all(row.stop_reason for row in rows):
        return CutOff(sum(row.stop_reason in _LIMIT for row in rows) / len(rows), known=True)
    spoken = Language.load(language)
    return CutOff(
        sum(_breaks_off(row.prediction.rstrip(), spoken) for row in rows) / len(rows), known=False
    )


def _breaks_off(text: str, language: Language) -> bool:
    if _OPEN_END.search(text) or text.count("```") % 2:
        return True
    last = text.split()[-1] if text and language.segmenter != "space" else ""
    words = language.segment(last) if last and last[-1].isalpha() else []
    return len(words) > 1 and len(words[-1]) == 1 and category(words[-2][-1])[0] in "LM"


def named(path: str | Path) -> tuple[str, str, str] | None:
    """Model, task and part of a file's name, `None` where they do not stand there.

    `<model>.<task>.<part>.csv` (a model's name may hold dots), or as the paper's authors have it
    `<model>/<task>_yes_eval.csv`.
    """
    path = Path(path)
    name = _KINDS.sub("", path.name)
    found = _NAME.fullmatch(name) or _AUTHORS_NAME.fullmatch(name)
    if found is None or found["task"] not in TASKS or found["part"] not in PARTS:
        return None
    return (
        found.groupdict().get("model") or path.absolute().parent.name,
        found["task"],
        PARTS[found["part"]],
    )


def read_predictions(path: str | Path) -> Predictions:
    """Reads a `.csv` or `.jsonl` file, with or without `.gz`. Cells that are empty or NaN are empty text.

    Raises:
        ConfigError: The file cannot be read, is of another kind, lacks a column or has no rows; the message names the
            column or the line.
    """
    path = Path(path)
    kind = _KINDS.search(path.name)
    if kind is None:
        raise ConfigError(
            f"{path} is no prediction file", hint="Use .csv or .jsonl, as it is or with .gz."
        )
    text = file_text(path)
    if not text.strip():
        raise ConfigError(f"{path} is empty")
    lines = _csv(path, text) if kind[1] == "csv" else _jsonl(path, text)
    model, task, part = named(path) or (_KINDS.sub("", path.name), "", "")
    rows = tuple(_row(path, line, row, task, part) for line, row in lines)
    if not rows:
        raise ConfigError(f"{path} has no rows")
    return Predictions(path, rows, model)


def _csv(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    (_, header), *rows = csv_rows(path, text)
    _check(path, header)
    for line, cells in rows:
        if len(cells) != len(header):
            raise ConfigError(
                f"{path}, line {line}: {len(cells)} cells, where the header has {len(header)}"
            )
        yield line, dict(zip(header, cells, strict=True))


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, row in json_rows(path, text):
        _check(f"{path}, line {line}", row)
        yield line, row


def _check(where: object, columns: Any) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        hint = f"The columns are {', '.join(COLUMNS)}."
        raise ConfigError(
            f"{where}: no column {' and no column '.join(map(repr, missing))}", hint=hint
        )


def _row(path: Path, line: int, row: Mapping[str, Any], task: str, part: str) -> Prediction:
    try:
        own = {
            name: _cell(name, row.get(name))
            for name in (*COLUMNS, "stop_reason", "task", "part", "source")
        }
        given = row.get("choices")
        choices = tuple(_cell("choices", one) for one in given) if isinstance(given, list) else ()
    except ConfigError as error:
        raise ConfigError(f"{path}, line {line}: {error.message}") from None
    found = Prediction(**own, choices=choices)
    return replace(found, task=found.task or task, part=PARTS.get(found.part, found.part) or part)


def _cell(name: str, value: Any) -> str:
    if absent(value):
        return ""
    if isinstance(value, dict | list):
        raise ConfigError(f"{name} is not text")
    text = str(value)
    return "" if text in _NOTHING else text
