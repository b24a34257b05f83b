"""The rows of a run: reading, splitting and export. `card.py` describes them.

A published row is a JSON object with the keys of `KEYS`, in that order; see `row`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from pydantic import ValidationError

from seedfree._files import json_line, write_atomic
from seedfree._seeds import seeded
from seedfree.errors import ConfigError, missing_extra
from seedfree.readers import read
from seedfree.records import Instruction, Source
from seedfree.text import shown

if TYPE_CHECKING:
    import datasets

__all__ = [
    "ALPACA_SYSTEM",
    "KEYS",
    "Dataset",
    "Form",
    "apportion",
    "check_rows",
    "item",
    "row",
]

# The preamble of Alpaca's rows (Taori et al. 2023), which the paper's training and evaluation kept.
ALPACA_SYSTEM = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
KEYS = (
    "id",
    "task",
    "language",
    "instruction",
    "input",
    "output",
    "messages",
    "topic",
    "topic_kind",
    "source",
    "generator",
    "evidence",
)
K = TypeVar("K", str, tuple[str, str])
Form = Literal["rows", "alpaca", "messages", "sharegpt"]

_SOURCE_KEYS = ("kind", "title", "url", "revision", "license", "retrieved_at")
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
# JSON lets these stand unescaped in a string, but many line readers end a line at them.
_COLUMNS = ("id", "task", "language", "instruction", "input", "output", "topic", "source url")
# What makes a spreadsheet take a cell for a formula; it drops unseen characters before it looks.
_FORMULA = re.compile(r"[\x00-\x1f\x7f\ufeff]*[=+\-@]|[\t\r]")


def row(item: Instruction) -> dict[str, Any]:
    """The published form of an instruction: `KEYS` in order, JSON values only, without the context."""
    values = {key: getattr(item, key) for key in KEYS}
    values["messages"] = [{"role": m.role, "content": m.content} for m in item.messages]
    values["source"] = {key: getattr(item.source, key) for key in _SOURCE_KEYS}
    return values


def item(row: Mapping[str, Any]) -> Instruction:
    """The instruction of a published row; other keys are ignored and nulls count as absent.

    Raises:
        ConfigError: `task`, `instruction` or `output` is missing, or a value has the wrong type.
    """
    values = {key: row[key] for key in KEYS if row.get(key) is not None}
    try:
        if isinstance(values.get("source"), Mapping):
            source = values["source"]
            values["source"] = Source(
                **{key: source[key] for key in _SOURCE_KEYS if source.get(key) is not None}
            )
        return Instruction(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ConfigError(shown(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")) from None


def check_rows(rows: object) -> None:
    """Sees that these are rows: a data set, or a list of instructions.

    Raises:
        ConfigError: They are something else, such as a path.
    """
    hint = "Give a data set: a run's, or sf.Dataset.from_jsonl(path)."
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise ConfigError(f"The data set is {type(rows).__name__}", hint=hint)
    wrong = next((one for one in rows if not isinstance(one, Instruction)), None)
    if wrong is not None:
        raise ConfigError(f"The data set holds {type(wrong).__name__}", hint=hint)


class Dataset(Sequence[Instruction]):
    """Instructions in the run's order; it never changes. A slice is a `Dataset` again."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Instruction] = ()) -> None:
        self._items = tuple(items)

    @classmethod
    def from_jsonl(cls, path: str | Path) -> Dataset:
        """Reads a file of published rows, such as a run's `dataset.jsonl`.

        Raises:
            ConfigError: The file cannot be read, or a line is no row; the message names the line.
        """
        items = []
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
        except OSError as error:
            raise ConfigError(f"Cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8 text") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise ValueError("not a JSON object")
                items.append(item(value))
            except ConfigError as error:
                raise ConfigError(f"{path}, line {number}: {error.message}") from None
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path}, line {number}: {error}") from None
        return cls(items)

    @classmethod
    def from_alpaca(
        cls,
        path: str | Path,
        *,
        task: str = "human",
        language: str = "",
        license: str | None = None,
    ) -> Dataset:
        """Reads what people wrote in the Alpaca form: `instruction`, `output` and maybe `input`; a JSON list or JSONL.

        The rows' generator is `"human"` and their source `human`, with the file's name, unless a row says otherwise
        in `task`, `language`, `generator` or `license`. Its other fields are left out.

        Args:
            task: Of rows that name none.
            language: Code of the language, of rows that name none.
            license: SPDX identifier, of rows that name none.

        Raises:
            ConfigError: The file cannot be read, or something is missing or empty; the message names the line.
        """
        return cls(read(path, "alpaca", task=task, language=language, license=license))

    @classmethod
    def from_messages(
        cls,
        path: str | Path,
        *,
        task: str = "human",
        language: str = "",
        license: str | None = None,
    ) -> Dataset:
        """Reads chat messages: `messages` or `conversations`, a list of `role` and `content`; else as `from_alpaca`.

        After a system message, where there is one, a user and an assistant take turns; the assistant speaks last.
        """
        return cls(read(path, "messages", task=task, language=language, license=license))

    @classmethod
    def from_sharegpt(
        cls,
        path: str | Path,
        *,
        task: str = "human",
        language: str = "",
        license: str | None = None,
    ) -> Dataset:
        """Reads ShareGPT: `conversations`, a list of `from` and `value`; else as `from_messages`."""
        return cls(read(path, "sharegpt", task=task, language=language, license=license))

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> Instruction: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Instruction | Dataset:
        return Dataset(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Dataset) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(i.id for i in self._items))

    def __repr__(self) -> str:
        tasks = ", ".join(f"{shown(task)} {n}" for task, n in self.by_task.items())
        return (
            f"Dataset({len(self)} row{'' if len(self) == 1 else 's'}{': ' if tasks else ''}{tasks})"
        )

    @property
    def by_task(self) -> dict[str, int]:
        """Rows of each task, by name."""
        return dict(sorted(Counter(i.task for i in self._items).items()))

    @property
    def by_topic_kind(self) -> dict[str, int]:
        """Rows of each kind of topic: general, cultural, given."""
        return dict(sorted(Counter(i.topic_kind for i in self._items).items()))

    def split(self, test: float = 0.125, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Splits into training and test rows, both in the order of this data set.

        Every task and kind of topic keeps its share to the row. Within that, rows from one page
        (or, without a page, one topic) stay on one side: whole groups are drawn first, and only
        what they leave open is filled with rows of groups that are then on both sides. Exact shares
        come first because the paper holds out 12.5 % by task, and because rows about a single topic
        could not be split otherwise.

        Args:
            test: Share of the test rows, above 0 and below 1.
            seed: Another seed draws other rows.

        Raises:
            ConfigError: `test` is outside its range.
        """
        if not 0 < test < 1:
            raise ConfigError(
                f"test={test} is not a share", hint="Give a number above 0 and below 1."
            )
        strata = [(i.task, i.topic_kind) for i in self._items]
        open_rows = apportion(Counter(strata), test)
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, one in enumerate(self._items):
            page = one.source.url or one.topic
            groups.setdefault((one.source.url is None, page) if page else (number,), []).append(
                number
            )
        drawn = [
            groups[key] for key in sorted(groups, key=lambda k: seeded("split", seed, *k).random())
        ]
        chosen: set[int] = set()
        for members in drawn:
            if Counter(strata[m] for m in members) <= open_rows:
                chosen.update(members)
                open_rows.subtract(strata[m] for m in members)
        # Large groups first, so that few of them end up on both sides.
        for members in sorted(drawn, key=len, reverse=True):
            for m in members:
                if m not in chosen and open_rows[strata[m]] > 0:
                    chosen.add(m)
                    open_rows[strata[m]] -= 1
        sides: tuple[list[Instruction], list[Instruction]] = ([], [])
        for number, one in enumerate(self._items):
            sides[number in chosen].append(one)
        return Dataset(sides[0]), Dataset(sides[1])

    def to_rows(self) -> list[dict[str, Any]]:
        """Published rows; see `row`."""
        return [row(i) for i in self._items]

    def to_alpaca(self) -> list[dict[str, Any]]:
        """`instruction, input, output`: the form that the paper trained on."""
        return [
            {"instruction": i.instruction, "input": i.input, "output": i.output}
            for i in self._items
        ]

    def to_messages(self) -> list[dict[str, Any]]:
        """Chat messages, one object with `messages` (`role`, `content`) a row."""
        return [{"messages": row(i)["messages"]} for i in self._items]

    def to_sharegpt(self) -> list[dict[str, Any]]:
        """ShareGPT: one object with `conversations` (`from`: system, human or gpt; `value`) a row."""
        return [
            {"conversations": [{"from": _SPEAKERS[m.role], "value": m.content} for m in i.messages]}
            for i in self._items
        ]

    def to_jsonl(self, path: str | Path, form: Form = "rows") -> None:
        """Writes one JSON object a line, in UTF-8, all or nothing.

        Raises:
            ConfigError: No such form, or the file cannot be written.
        """
        forms = {
            "rows": self.to_rows,
            "alpaca": self.to_alpaca,
            "messages": self.to_messages,
            "sharegpt": self.to_sharegpt,
        }
        if form not in forms:
            raise ConfigError(f"Unknown form {form!r}", hint=f"Known: {', '.join(forms)}.")
        write_atomic(path, map(json_line, forms[form]()))

    def to_csv(self, path: str | Path) -> None:
        """Writes a table for review in a spreadsheet: UTF-8 with a byte order mark, all or nothing.

        The columns are id, task, language, instruction, input, output, topic and source url. A cell
        that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front,
        so that no spreadsheet runs it as a formula; control and bidi characters are shown as
        escapes.

        Raises:
            ConfigError: The file cannot be written.
        """
        rows = (
            [*(getattr(i, key) for key in _COLUMNS[:-1]), i.source.url or ""] for i in self._items
        )
        lines = (_csv_line(map(_cell, cells)) for cells in rows)
        write_atomic(path, ["\ufeff", _csv_line(_COLUMNS), *lines])

    def to_hf(self) -> datasets.Dataset:
        """A `datasets.Dataset` of the published rows; every value is text, whatever is null in this data set.

        Raises:
            ConfigError: The `datasets` package is not installed.
        """
        try:
            import datasets
        except ImportError as error:
            raise missing_extra("datasets", "train") from error
        text = datasets.Value("string")
        features: dict[str, Any] = dict.fromkeys(KEYS, text)
        features["messages"] = [{"role": text, "content": text}]
        features["source"] = dict.fromkeys(_SOURCE_KEYS, text)
        rows = self.to_rows()
        columns = {key: [one[key] for one in rows] for key in KEYS}
        return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _cell(text: str) -> str:
    safe = "\r".join(map(shown, text.split("\r")))
    return f"'{safe}" if _FORMULA.match(text) else safe


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def apportion(sizes: Counter[K], share: float) -> Counter[K]:
    """Whole numbers nearest to `share` of each size whose sum is nearest to `share` of all (largest remainder)."""
    exact = {stratum: n * share for stratum, n in sizes.items()}
    counts = Counter({stratum: int(x) for stratum, x in exact.items()})
    rest = int(sum(sizes.values()) * share + 0.5) - counts.total()
    for stratum in sorted(exact, key=lambda s: (counts[s] - exact[s], s))[:rest]:
        counts[stratum] += 1
    return counts
