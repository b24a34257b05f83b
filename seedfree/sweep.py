"""What a semantic filter would have kept of a run at other thresholds, from the vectors that the run keeps."""

from __future__ import annotations

import html
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from seedfree.dataset import write_atomic
from seedfree.errors import ConfigError, missing_extra
from seedfree.filters.index import check_threshold, greedy_select
from seedfree.filters.measures import distinct, mean_nearest, vendi
from seedfree.languages import Language
from seedfree.records import Instruction, Selection, seeded
from seedfree.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SweepRow", "Threshold", "ThresholdSweep", "threshold_sweep"]

Threshold = float | Mapping[str, float]

_MEASURES = {
    "mean_nearest": "mean nearest",
    "vendi": "Vendi score",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
}


@dataclass(frozen=True)
class SweepRow:
    """One threshold.

    Attributes:
        threshold: A cosine, or cosines by task.
        kept: Rows that the filter keeps.
        by_task, by_topic_kind: The same by name; 0 for those of which none is kept.
        mean_nearest, vendi, distinct_1, distinct_2: See `filters/measures.py`; NaN where there is too little to measure.
        index: What found the neighbours; see `greedy_select`.
    """

    threshold: Threshold
    kept: int
    by_task: Mapping[str, int]
    by_topic_kind: Mapping[str, int]
    mean_nearest: float
    vendi: float
    distinct_1: float
    distinct_2: float
    index: str

    @property
    def label(self) -> str:
        """The threshold in words: `0.95`, or `conversation 0.97, * 0.95`."""
        if isinstance(self.threshold, Mapping):
            return shown(", ".join(f"{task} {value:g}" for task, value in self.threshold.items()))
        return f"{self.threshold:g}"


@dataclass(frozen=True, repr=False)
class ThresholdSweep(Sequence[SweepRow]):
    """A list of `SweepRow`, in the order of the thresholds asked for; print it for a table.

    Attributes:
        entered: Rows that reached the filter.
        measured: Rows that mean nearest and Vendi score are of, at every threshold.
        tokens: Words that distinct-1 and distinct-2 are of, at every threshold.
        encoder: Identity of the filter's encoder.
        measured_by: Identity of the encoder that mean nearest and Vendi score are under.
    """

    rows: tuple[SweepRow, ...]
    entered: int
    measured: int
    tokens: int
    encoder: str
    measured_by: str

    @overload
    def __getitem__(self, index: int) -> SweepRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SweepRow, ...]: ...
    def __getitem__(self, index: int | slice) -> SweepRow | tuple[SweepRow, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return "\n\n".join([*map(_aligned, self._tables()), self._note()])

    def _repr_html_(self) -> str:
        return "".join([*map(_html, self._tables()), f"<p>{html.escape(self._note())}</p>"])

    def to_json(self) -> str:
        """All of it as a JSON object; null for what is NaN."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        rows = [{name: _value(each) for name, each in asdict(row).items()} for row in self.rows]
        own = self.measured_by == self.encoder
        return json.dumps({**value, "own_encoder": own, "rows": rows}, ensure_ascii=False, allow_nan=False)

    def plot(self, path: str | Path) -> None:
        """Draws rows kept and the measures over the thresholds; the file's ending says the format.

        Raises:
            ConfigError: matplotlib is not installed, it knows no such format, or the file cannot be written.
        """
        path, image = Path(path), io.BytesIO()
        try:
            self._figure().savefig(image, format=path.suffix[1:] or "png")
        except ValueError as error:
            raise ConfigError(f"Cannot draw {path.name}: {error}", hint="Name it .png, .svg or .pdf.") from error
        write_atomic(path, [image.getvalue()])

    def _figure(self) -> Figure:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing_extra("matplotlib", "report") from error
        figure = Figure(figsize=(10, 7), layout="constrained")
        (kept, nearest), (score, words) = figure.subplots(2, 2)
        lines: list[tuple[Any, str, list[float]]] = [(kept, "all", [row.kept for row in self.rows])]
        lines += [(kept, shown(task), [row.by_task[task] for row in self.rows]) for task in self.rows[0].by_task]
        places = dict(zip(_MEASURES, (nearest, score, words, words), strict=True))
        lines += [(places[n], name, [getattr(row, n) for row in self.rows]) for n, name in _MEASURES.items()]
        for axes, name, values in lines:
            axes.plot(range(len(self)), values, marker="o", label=name.replace("$", r"\$"))
        for axes, title in (
            (kept, f"Rows kept of {self.entered}"),
            (nearest, f"Mean nearest similarity ({self.measured} rows)"),
            (score, f"Vendi score ({self.measured} rows)"),
            (words, f"Different words and pairs of words ({self.tokens} words)"),
        ):
            axes.set_title(title)
            axes.set_xticks(range(len(self)), [row.label.replace(", ", "\n") for row in self.rows])
            axes.set_xlabel("threshold")
            axes.grid(alpha=0.3)
        kept.legend()
        words.legend()
        return figure

    def _tables(self) -> tuple[list[list[str]], list[list[str]]]:
        tasks, kinds = self.rows[0].by_task, self.rows[0].by_topic_kind
        counts = [["threshold", "kept", "share", *map(shown, tasks), *(shown(kind) or "no topic" for kind in kinds)]]
        for row in self.rows:
            by = [*row.by_task.values(), *row.by_topic_kind.values()]
            counts.append([row.label, str(row.kept), f"{row.kept / self.entered:.1%}", *map(str, by)])
        measures = [["threshold", *_MEASURES.values()]]
        for row in self.rows:
            values = [row.mean_nearest, row.vendi, row.distinct_1, row.distinct_2]
            measures.append([row.label, *("" if math.isnan(v) else f"{v:.{d}f}" for v, d in zip(values, (4, 1, 4, 4), strict=True))])
        return counts, measures

    def _note(self) -> str:
        own = self.measured_by == self.encoder
        by = "the filter's own encoder, no other being stored" if own else f"another encoder, {self.measured_by}"
        return shown(
            f"{self.entered} rows reached the filter ({self.encoder}). At each threshold the measures are of "
            f"{self.measured} rows and {self.tokens} words; mean nearest and Vendi score are by {by}."
        )


@dataclass(frozen=True)
class _Stored:
    """The rows that one encoder's vectors are kept of, in the order in which the filter saw them."""

    identity: str
    ids: list[str]
    vectors: NDArray[np.float32]


def threshold_sweep(
    folder: Path,
    rows: Iterable[Instruction],
    thresholds: Iterable[Threshold],
    *,
    language: str | Language | None = None,
    tokens: int = 100_000,
    seed: int = 0,
) -> ThresholdSweep:
    """See `Run.threshold_sweep`.

    Args:
        folder: Where the vectors are kept.
        rows: Every row of the run, kept and dropped.
    """
    wanted = _checked(thresholds)
    known = {row.id: row for row in rows}
    own, other = _stored(folder)
    if not own.ids or not known.keys() >= set(own.ids):
        raise ConfigError(
            f"The vectors in {folder} are not those of the published rows", hint="Run the pipeline to its end."
        )
    items = [known[name] for name in own.ids]
    found = [_select(own.vectors, items, threshold) for threshold in wanted]
    measured = min(len(selection.kept) for selection in found)
    order = np.array(seeded("sweep", seed).sample(range(len(items)), len(items)))
    first = [np.sort(order[np.isin(order, selection.kept)][:measured]) for selection in found]

    @cache
    def words(number: int) -> list[str]:
        item = items[number]
        return Language.load(language or item.language).segment(f"{item.instruction}\n{item.output}")

    texts = [_Texts(numbers, words) for numbers in first]
    budget = min(_count(each, tokens) for each in texts)
    made = []
    for threshold, selection, numbers, each in zip(wanted, found, first, texts, strict=True):
        vectors = other.vectors[numbers]
        made.append(
            SweepRow(
                threshold,
                len(selection.kept),
                _counts([item.task for item in items], selection),
                _counts([item.topic_kind for item in items], selection),
                mean_nearest(vectors),
                vendi(vectors),
                distinct(each, 1, budget, seed) if budget else math.nan,
                distinct(each, 2, budget, seed) if budget else math.nan,
                selection.index,
            )
        )
    return ThresholdSweep(tuple(made), len(items), measured, budget, own.identity, other.identity)


def _checked(thresholds: Iterable[Threshold]) -> list[Threshold]:
    if isinstance(thresholds, (str, Mapping)) or not isinstance(thresholds, Iterable):
        raise ConfigError(f"thresholds is {thresholds!r}", hint="Give a list, such as [0.90, 0.95].")
    checked: list[Threshold] = [
        {str(task): check_threshold(value) for task, value in one.items()}
        if isinstance(one, Mapping)
        else check_threshold(one)
        for one in thresholds
    ]
    if not checked:
        raise ConfigError("There are no thresholds", hint="Give a list, such as [0.90, 0.95].")
    return checked


def _select(vectors: NDArray[np.float32], items: Sequence[Instruction], threshold: Threshold) -> Selection:
    if not isinstance(threshold, Mapping):
        return greedy_select(vectors, threshold)
    missing = {item.task for item in items} - threshold.keys()
    if missing and "*" not in threshold:
        raise ConfigError(f"There is no threshold for {', '.join(sorted(missing))}", hint="Give it, or one for '*'.")
    return greedy_select(vectors, [threshold[item.task if item.task in threshold else "*"] for item in items])


def _counts(names: Sequence[str], selection: Selection) -> dict[str, int]:
    kept = Counter(names[i] for i in selection.kept)
    return {name: kept[name] for name in sorted(set(names))}


def _stored(folder: Path) -> tuple[_Stored, _Stored]:
    """The filter's vectors, and those to measure by: of another encoder where there is one."""
    lists = sorted(folder.glob("*.rows.json"), key=lambda path: (not _index(path).exists(), path))
    if not lists:
        raise ConfigError(
            f"{folder} holds no vectors", hint="They are kept by a run with diversity=sf.SemanticDiversityFilter()."
        )
    own = _read(lists[0])
    return own, next((other for other in map(_read, lists[1:]) if other.ids == own.ids), own)


def _index(path: Path) -> Path:
    return path.with_name(path.name.replace(".rows.json", ".index.npz"))


def _read(path: Path) -> _Stored:
    stem = path.name.removesuffix(".rows.json")
    try:
        rows = json.loads(path.read_text("utf-8"))
        about = json.loads(path.with_name(f"{stem}.json").read_text("utf-8"))
        file, width = path.with_name(f"{stem}.f32"), int(about["dimensions"])
        ids, numbers = [str(name) for name, _ in rows], np.array([int(number) for _, number in rows], np.int64)
        count = file.stat().st_size // (4 * width)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
            raise ValueError(f"{file.name} has {count} rows")
        if not numbers.size:
            return _Stored(str(about["identity"]), [], np.empty((0, width), np.float32))
        vectors = np.memmap(file, "<f4", "r", shape=(count, width))
        straight = np.array_equal(numbers, np.arange(len(numbers)))
        return _Stored(str(about["identity"]), ids, vectors[: len(numbers)] if straight else vectors[numbers])
    except (OSError, ValueError, LookupError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(f"{path} and its vectors cannot be read: {error}", hint="Run the pipeline again.") from error


@dataclass(frozen=True)
class _Texts(Sequence[list[str]]):
    """The words of some rows, cut when they are looked at."""

    numbers: Sequence[int] | NDArray[np.int64]
    words: Callable[[int], list[str]]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return self.words(int(self.numbers[index]))


def _count(texts: Sequence[list[str]], most: int) -> int:
    total = 0
    for words in texts:
        total += len(words)
        if total >= most:
            return most
    return total


def _value(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _html(table: list[list[str]]) -> str:
    head, *body = [[html.escape(cell) for cell in row] for row in table]
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    top = "".join(f"<th>{cell}</th>" for cell in head)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
