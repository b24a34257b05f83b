"""The rows of a run: reading, splitting, export and upload. `card.py` describes them.

A published row is a JSON object with the keys of `KEYS`, in that order. `to_row` makes one of an
instruction, and `from_row` reads it back.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from pydantic import ValidationError

from seedfree import _hub
from seedfree._files import csv_line, file_text, json_line, json_rows, write_atomic
from seedfree._seeds import seeded
from seedfree._views import Shown, Table, View, Words
from seedfree.card import dataset_card
from seedfree.errors import ConfigError, missing_extra
from seedfree.languages import language_or_bare
from seedfree.readers import read
from seedfree.records import KEYS, SOURCE_KEYS, Instruction, Source
from seedfree.text import shown

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = [
    "ALPACA_SYSTEM",
    "KEYS",
    "SOURCE_KEYS",
    "Dataset",
    "Form",
    "apportion",
    "check_rows",
    "from_row",
    "row_table",
    "to_row",
]

# The preamble of Alpaca's rows (Taori et al. 2023), which the paper's training and evaluation kept.
ALPACA_SYSTEM = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request."
)
Form = Literal["rows", "alpaca", "messages", "sharegpt"]

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
_COLUMNS = ("id", "task", "language", "instruction", "input", "output", "topic", "source url")
# What makes a spreadsheet take a cell for a formula. It drops unseen characters before it looks.
# Opened where semicolons or tabs separate, a cell begins behind each of them and on each line.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[\x00-\x1f\x7f\ufeff]*[=+\-@])|^(?=[\t\r])")

K = TypeVar("K", str, tuple[str, str])


def to_row(item: Instruction) -> dict[str, Any]:
    """Returns the published form of an instruction: `KEYS` in order, JSON values, no context."""
    values = {key: getattr(item, key) for key in KEYS}
    values["messages"] = [{"role": m.role, "content": m.content} for m in item.messages]
    values["source"] = {key: getattr(item.source, key) for key in SOURCE_KEYS}
    # As a list, because a table wants the same names in every row.
    values["facets"] = [{"name": name, "value": value} for name, value in item.facets.items()]
    values["checks"] = [
        {"rule": c.rule, "detail": c.detail, "verdict": c.verdict} for c in item.checks
    ]
    return values


def from_row(row: Mapping[str, Any]) -> Instruction:
    """Reads a published row. Other keys are ignored, and nulls count as absent.

    Raises:
        ConfigError: `task`, `instruction` or `output` is missing, or a value has the wrong type.
    """
    values = {key: row[key] for key in KEYS if row.get(key) is not None}
    source = values.get("source")
    try:
        if isinstance(source, Mapping):
            known = {key: source[key] for key in SOURCE_KEYS if source.get(key) is not None}
            values["source"] = Source(**known)
        if isinstance(values.get("facets"), list):
            pairs = [pair for pair in values["facets"] if isinstance(pair, Mapping)]
            values["facets"] = {pair.get("name"): pair.get("value") for pair in pairs}
        return Instruction(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ConfigError(shown(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")) from None


def check_rows(rows: object) -> None:
    """Refuses what is no data set and no list of instructions.

    Raises:
        ConfigError: It is something else, such as a path.
    """
    hint = "Give a data set: a run's, or sf.Dataset.from_jsonl(path)."
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise ConfigError(f"The data set is {type(rows).__name__}", hint=hint)
    for row in rows:
        if not isinstance(row, Instruction):
            raise ConfigError(f"The data set holds {type(row).__name__}", hint=hint)


def row_table(rows: Iterable[Instruction], *, texts: bool = True) -> Table:
    """Shows rows as a table.

    Args:
        texts: Also what an instruction is about: its input, else the title of its source.
    """
    lines: list[list[str | Words]] = [["task", *["about"] * texts, "instruction", "output"]]
    for row in rows:
        said = [row.input or row.source.title or row.topic] * texts + [row.instruction, row.output]
        lines.append([row.task, *(Words(text, row.language) for text in said)])
    return Table(lines, words=len(lines[0]))


class Dataset(Shown, Sequence[Instruction]):
    """Instructions in the run's order. It never changes, and a slice is a `Dataset` again.

    `a + b` has the rows of both, in this order. None is left out, of equal ids either, and they may
    be in different languages.

    Args:
        card: The text that describes these very rows on the hub. Without it, `push_to_hub` makes
            one of the rows alone.
    """

    __slots__ = ("_card", "_items")

    def __init__(self, items: Iterable[Instruction] = (), *, card: str = "") -> None:
        self._items, self._card = tuple(items), card

    @classmethod
    def from_jsonl(cls, path: str | Path) -> Dataset:
        """Reads a file of published rows, such as a run's `dataset.jsonl`.

        Raises:
            ConfigError: The file cannot be read, or a line is no row. The message names the line.
        """
        path, items = Path(path), []
        for line, row in json_rows(path, file_text(path)):
            try:
                items.append(from_row(row))
            except ConfigError as error:
                raise ConfigError(f"{path}, line {line}: {error.message}") from None
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
        """Reads what people wrote in the Alpaca form: `instruction`, `output` and maybe `input`.

        The file is a JSON list or JSONL. The rows' generator is `"human"` and their source `human`,
        with the file's name, unless a row says otherwise in `task`, `language`, `generator` or
        `license`. Its other fields are left out.

        Args:
            task: Of rows that name none.
            language: Code of the language, of rows that name none.
            license: SPDX identifier, of rows that name none.

        Raises:
            ConfigError: The file cannot be read, or something is missing or empty. The message
                names the line.
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
        """Reads chat messages: `messages` or `conversations`, a list of `role` and `content`.

        A user and an assistant take turns, and the assistant speaks last. A system message may
        stand before them. The rest is as in `from_alpaca`.
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
        """Reads ShareGPT: `conversations`, a list of `from` and `value`.

        The rest is as in `from_messages`.
        """
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

    def __add__(self, other: Dataset) -> Dataset:
        return Dataset((*self, *other)) if isinstance(other, Dataset) else NotImplemented

    def _view(self, full: bool) -> View:
        rows = "1 row" if len(self) == 1 else f"{len(self):,} rows"
        languages = ", ".join(sorted({item.language for item in self} - {""}))
        tasks = ", ".join(f"{task} {n:,}" for task, n in self.by_task.items())
        title = f"Dataset({' in '.join(filter(None, [rows, languages]))}{tasks and f': {tasks}'})"
        if not len(self):
            return View(title)
        return View(title, tables=[row_table(self[: 5 if full else 2], texts=full)])

    @property
    def by_task(self) -> dict[str, int]:
        """Counts the rows of each task, by name."""
        return dict(sorted(Counter(item.task for item in self).items()))

    @property
    def by_topic_kind(self) -> dict[str, int]:
        """Counts the rows of each kind of topic: general, cultural, given."""
        return dict(sorted(Counter(item.topic_kind for item in self).items()))

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
        held_out = _held_out(self._items, test, seed)
        sides: tuple[list[Instruction], list[Instruction]] = ([], [])
        for number, item in enumerate(self._items):
            sides[number in held_out].append(item)
        return Dataset(sides[0]), Dataset(sides[1])

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns the published rows; see `to_row`."""
        return [to_row(item) for item in self]

    def to_alpaca(self) -> list[dict[str, Any]]:
        """Returns `instruction, input, output`: the form that the paper trained on."""
        keys = ("instruction", "input", "output")
        return [{key: getattr(item, key) for key in keys} for item in self]

    def to_messages(self) -> list[dict[str, Any]]:
        """Returns chat messages: for each row an object with `messages` (`role`, `content`)."""
        return [{"messages": to_row(item)["messages"]} for item in self]

    def to_sharegpt(self) -> list[dict[str, Any]]:
        """Returns ShareGPT: for each row an object with `conversations` (`from`, `value`).

        The speakers are `system`, `human` and `gpt`.
        """
        return [
            {"conversations": [{"from": _SPEAKERS[m.role], "value": m.content} for m in i.messages]}
            for i in self
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

    def push_to_hub(self, repo_id: str, *, private: bool = True) -> str:
        """Uploads the rows, as `dataset.jsonl`, and their card to the Hugging Face hub.

        Nothing else of a run's folder is uploaded.

        Args:
            repo_id: `name/data-set`. What is there already is replaced, in a commit of its own.

        Returns:
            The address.

        Raises:
            ConfigError: There are no rows, the hub refused, or the repository is public and
                `private` is not `False`.
        """
        if not self:
            raise ConfigError("The data set has no rows", hint="Upload one that has.")
        codes = Counter(item.language for item in self)
        card = self._card or dataset_card(
            self,
            language=language_or_bare(max(codes, key=lambda code: (codes[code], code))),
            generator="",
        )
        with tempfile.TemporaryDirectory() as folder:
            self.to_jsonl(Path(folder, "dataset.jsonl"))
            Path(folder, "README.md").write_text(card, encoding="utf-8")
            return _hub.push(Path(folder), repo_id, kind="dataset", private=private)

    def to_csv(self, path: str | Path) -> None:
        """Writes a table for review in a spreadsheet: UTF-8 with a byte order mark, all or nothing.

        The columns are id, task, language, instruction, input, output, topic and source url. A cell
        that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front,
        so that no spreadsheet runs it as a formula. Control and bidi characters are shown as
        escapes.

        Raises:
            ConfigError: The file cannot be written.
        """
        lines = [csv_line(_COLUMNS)]
        for item in self:
            cells = [*(getattr(item, key) for key in _COLUMNS[:-1]), item.source.url or ""]
            lines.append(csv_line(map(_cell, cells)))
        # Without the mark, spreadsheets take a file for the encoding of their own country.
        write_atomic(path, ["\ufeff", *lines])

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a `pandas.DataFrame`: a line for each row, a column for each key of its form.

        The source has a column for each of its values (`source.kind`, `source.title`). Messages and
        checks are lists of dictionaries, facets a dictionary.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise missing_extra("pandas", "hub") from error
        rows = []
        for item, row in zip(self, self.to_rows(), strict=True):
            source, facets = row.pop("source"), dict(item.facets)
            rows.append(
                {**row, "facets": facets, **{f"source.{k}": source[k] for k in SOURCE_KEYS}}
            )
        columns = [key for key in KEYS if key != "source"]
        # Named, or a data set without rows would have no columns.
        return pandas.DataFrame(rows, columns=[*columns, *(f"source.{key}" for key in SOURCE_KEYS)])

    def to_hf(self) -> datasets.Dataset:
        """Returns a `datasets.Dataset` of the published rows. Every value but `fictional` is text.

        Raises:
            ConfigError: The `datasets` package is not installed.
        """
        try:
            import datasets
        except ImportError as error:
            raise missing_extra("datasets", "hub") from error
        # Named, or a column that is null throughout this data set would get a type of its own.
        text = datasets.Value("string")
        features: dict[str, Any] = dict.fromkeys(KEYS, text)
        features["messages"] = [{"role": text, "content": text}]
        features["facets"] = [{"name": text, "value": text}]
        features["checks"] = [dict.fromkeys(("rule", "detail", "verdict"), text)]
        fictional = datasets.Value("bool")
        features["source"] = {**dict.fromkeys(SOURCE_KEYS, text), "fictional": fictional}
        rows = self.to_rows()
        columns = {key: [row[key] for row in rows] for key in KEYS}
        return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def apportion(sizes: Counter[K], share: float) -> Counter[K]:
    """Takes a share of each size, in whole numbers whose sum is nearest to the share of all.

    Where rounding down loses the most, a row is given back (largest remainder). Equal losses go by
    the order of the names.
    """
    exact = {stratum: n * share for stratum, n in sizes.items()}
    counts = Counter({stratum: int(x) for stratum, x in exact.items()})
    lost = int(sum(sizes.values()) * share + 0.5) - counts.total()
    for stratum in sorted(exact, key=lambda s: (counts[s] - exact[s], s))[:lost]:
        counts[stratum] += 1
    return counts


def _held_out(items: Sequence[Instruction], share: float, seed: int) -> set[int]:
    """Draws the numbers of the test rows; see `Dataset.split`."""
    strata = [(item.task, item.topic_kind) for item in items]
    open_rows = apportion(Counter(strata), share)
    groups = _by_page(items)
    order = sorted(groups, key=lambda key: seeded("split", seed, *key).random())
    drawn = [groups[key] for key in order]
    held_out: set[int] = set()
    for members in drawn:
        needed = Counter(strata[number] for number in members)
        if needed <= open_rows:
            held_out.update(members)
            open_rows.subtract(needed)
    # Large groups first, so that few of them end up on both sides.
    for members in sorted(drawn, key=len, reverse=True):
        for number in members:
            if number not in held_out and open_rows[strata[number]] > 0:
                held_out.add(number)
                open_rows[strata[number]] -= 1
    return held_out


def _by_page(items: Iterable[Instruction]) -> dict[tuple[object, ...], list[int]]:
    """Groups row numbers by page, or topic. A row with neither is a group of its own."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, item in enumerate(items):
        page = item.source.document or item.topic
        # A topic that reads like an address is still no page.
        key = (item.source.url is None, page) if page else (number,)
        groups.setdefault(key, []).append(number)
    return groups


def _cell(text: str) -> str:
    # A carriage return is a line end within a cell, and `shown` would escape it.
    return "\r".join(map(shown, _FORMULA.sub(r"\1'", text).split("\r")))
