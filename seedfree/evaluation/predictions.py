"""Prediction files, CSV or JSONL: `question, context, answer, id, prediction`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    "read_name",
    "read_predictions",
]

COLUMNS = ("question", "context", "answer", "id", "prediction")
_TEXTS = (*COLUMNS, "stop_reason", "task", "part", "source")
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
# Some writers of tables put the word in an empty cell. In JSON, which has a null, it is a word.
_NOTHING = ("nan", "NaN")
# The words for a reached token limit: this library's, and that of OpenAI's API.
_LIMIT = ("max_tokens", "length")
# What no text ends with: a comma, an open bracket, a Thai or Lao vowel that is written before its
# consonant.
_OPEN_END = re.compile(r"[,;(\[{\u0e40-\u0e44\u0ec0-\u0ec4]\Z")


@dataclass(frozen=True)
class Prediction:
    """One answer of a model beside its question and its reference, as the file has them.

    Attributes:
        answer: The reference.
        prediction: Empty if the model gave no answer.
        stop_reason: Why the model stopped. Empty if the file doesn't say.
        task: The row's own if the file has the column, else that of the file's name.
        part: `"culture"` or `"general"`, from the same place.
        source: What the question was made from. Questions of one source are not independent.
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
        model: From the file's name, as `read_name` reads it. Of another name it is all of it.
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
        """Returns the model's answers, row by row."""
        return [row.prediction for row in self.rows]

    @property
    def references(self) -> list[str]:
        """Returns the right answers, row by row."""
        return [row.answer for row in self.rows]


def read_predictions(path: str | Path) -> Predictions:
    """Reads a `.csv` or `.jsonl` file, with or without `.gz`. Cells that hold NaN are empty text.

    Raises:
        ConfigError: The file cannot be read, is of another kind, lacks a column or has no rows. The
            message names the column or the line.
    """
    path = Path(path)
    kind = _KINDS.search(path.name)
    if kind is None:
        hint = "Use .csv or .jsonl, as it is or with .gz."
        raise ConfigError(f"{path} is no prediction file", hint=hint)
    text = file_text(path)
    if not text.strip():
        raise ConfigError(f"{path} is empty")
    read = {"csv": _csv, "jsonl": _jsonl}[kind[1]]
    model, task, part = read_name(path) or (_KINDS.sub("", path.name), "", "")
    rows = tuple(_row(path, line, values, task, part) for line, values in read(path, text))
    if not rows:
        raise ConfigError(f"{path} has no rows")
    return Predictions(path, rows, model)


def read_name(path: str | Path) -> tuple[str, str, str] | None:
    """Returns model, task and part from a file's name, or `None` if it does not say them.

    `<model>.<task>.<part>.csv` (a model's name may hold dots), or as the paper's authors have it
    `<model>/<task>_yes_eval.csv`.
    """
    path = Path(path)
    name = _KINDS.sub("", path.name)
    match = _NAME.fullmatch(name) or _AUTHORS_NAME.fullmatch(name)
    if match is None or match["task"] not in TASKS or match["part"] not in PARTS:
        return None
    model = match.groupdict().get("model") or path.absolute().parent.name
    return model, match["task"], PARTS[match["part"]]


def _csv(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    (_, header), *rows = csv_rows(path, text)
    _check_columns(path, header)
    for line, cells in rows:
        if len(cells) != len(header):
            raise ConfigError(
                f"{path}, line {line}: {len(cells)} cells, where the header has {len(header)}"
            )
        present = ("" if cell in _NOTHING else cell for cell in cells)
        yield line, dict(zip(header, present, strict=True))


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, row in json_rows(path, text):
        _check_columns(f"{path}, line {line}", row)
        yield line, row


def _check_columns(where: object, columns: Collection[str]) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        hint = f"The columns are {', '.join(COLUMNS)}."
        raise ConfigError(
            f"{where}: no column {' and no column '.join(map(repr, missing))}", hint=hint
        )


def _row(path: Path, line: int, values: Mapping[str, Any], task: str, part: str) -> Prediction:
    # Only JSON can list them. In CSV they would be text of no known form.
    listed = values.get("choices")
    if not isinstance(listed, list):
        listed = []
    try:
        texts = {name: _cell(name, values.get(name)) for name in _TEXTS}
        choices = tuple(_cell("choices", choice) for choice in listed)
    except ConfigError as error:
        raise ConfigError(f"{path}, line {line}: {error.message}") from None
    texts["task"] = texts["task"] or task
    texts["part"] = PARTS.get(texts["part"], texts["part"]) or part
    return Prediction(**texts, choices=choices)


def _cell(name: str, value: Any) -> str:
    if absent(value):
        return ""
    if isinstance(value, dict | list):
        raise ConfigError(f"{name} is not text")
    return str(value)


class CutOff(NamedTuple):
    """How many answers reached their limit of tokens.

    Attributes:
        share: 0 to 1.
        known: Whether that is the share itself, not a lower bound of it.
    """

    share: float
    known: bool


def cut_off(rows: Sequence[Prediction], language: Language | str = "th") -> CutOff:
    """Measures how many answers were cut off.

    This is known if every row has a stop reason. Otherwise it is the share of texts that cannot
    have ended where they end: after a comma or an open bracket, in an open code block, or inside a
    word (the last word, by the language's segmenter, is a single consonant). Most cut texts end at
    a word's end and are not noticed.
    """
    if not rows:
        return CutOff(0.0, known=False)
    known = all(row.stop_reason for row in rows)
    if known:
        cut = sum(row.stop_reason in _LIMIT for row in rows)
    else:
        spoken = Language.load(language)
        cut = sum(_breaks_off(row.prediction.rstrip(), spoken) for row in rows)
    return CutOff(cut / len(rows), known)


def _breaks_off(text: str, language: Language) -> bool:
    # An odd number of code fences leaves a block open.
    if _OPEN_END.search(text) or text.count("```") % 2:
        return True
    # Where spaces part words, nothing in the text tells whether the last one is whole.
    if not text or not text[-1].isalpha() or language.segmenter == "space":
        return False
    words = language.segment(text.split()[-1])
    return len(words) > 1 and len(words[-1]) == 1 and category(words[-2][-1])[0] in "LM"
