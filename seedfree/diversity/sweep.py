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
from typing import TYPE_CHECKING, Any, overload
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedfree._files import write_atomic
from seedfree._seeds import seeded
from seedfree.diversity.index import check_threshold, greedy_select
from seedfree.diversity.store import VectorStore
from seedfree.diversity.vectors import Rows, Singles, matrix, parts
from seedfree.errors import ConfigError, missing_extra
from seedfree.languages import Language
from seedfree.records import Instruction, Selection
from seedfree.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SweepRow",
    "Threshold",
    "ThresholdSweep",
    "distinct",
    "mean_nearest",
    "threshold_sweep",
    "vendi",
]

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
        mean_nearest, vendi, distinct_1, distinct_2: See `filters/measures.py`; NaN for too few
            rows.
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
        against: Rows that were there already and were compared with.
        measured: Rows that mean nearest and Vendi score are of, at every threshold.
        tokens: Words that distinct-1 and distinct-2 are of, at every threshold.
        encoder: Identity of the filter's encoder.
        measured_by: Identity of the encoder that mean nearest and Vendi score are under.
    """

    rows: tuple[SweepRow, ...]
    entered: int
    against: int
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
        return json.dumps(
            {**value, "own_encoder": own, "rows": rows}, ensure_ascii=False, allow_nan=False
        )

    def plot(self, path: str | Path) -> None:
        """Draws rows kept and the measures over the thresholds; the file's ending says the format.

        Raises:
            ConfigError: matplotlib is not installed, it knows no such format, or the file cannot be
                written.
        """
        path, image = Path(path), io.BytesIO()
        try:
            self._figure().savefig(image, format=path.suffix[1:] or "png")
        except ValueError as error:
            raise ConfigError(
                f"Cannot draw {path.name}: {error}", hint="Name it .png, .svg or .pdf."
            ) from error
        write_atomic(path, [image.getvalue()])

    def _figure(self) -> Figure:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing_extra("matplotlib", "report") from error
        figure = Figure(figsize=(12, 8), layout="constrained")
        (kept, nearest), (score, words) = figure.subplots(2, 2)
        lines: list[tuple[Any, str, list[float]]] = [(kept, "all", [row.kept for row in self.rows])]
        lines += [
            (kept, shown(task), [row.by_task[task] for row in self.rows])
            for task in self.rows[0].by_task
        ]
        places = dict(zip(_MEASURES, (nearest, score, words, words), strict=True))
        lines += [
            (places[n], name, [getattr(row, n) for row in self.rows])
            for n, name in _MEASURES.items()
        ]
        by_task = [isinstance(row.threshold, Mapping) for row in self.rows]
        for axes, name, values in lines:
            # A line leads from cosine to cosine; thresholds by task stand alone.
            line = [
                math.nan if alone else value for alone, value in zip(by_task, values, strict=True)
            ]
            (drawn,) = axes.plot(range(len(self)), line, marker="o", label=name.replace("$", r"\$"))
            axes.plot(range(len(self)), values, "o", color=drawn.get_color())
        for axes, title in (
            (kept, f"Rows kept of {self.entered}"),
            (nearest, f"Mean nearest similarity ({self.measured} rows)"),
            (score, f"Vendi score ({self.measured} rows)"),
            (words, f"Different words and pairs of words ({self.tokens} words)"),
        ):
            axes.set_title(title)
            labels = [row.label.replace(", ", "\n").replace("$", r"\$") for row in self.rows]
            axes.set_xticks(range(len(self)), labels, size="small")
            axes.set_xlabel("threshold")
            axes.grid(alpha=0.3)
        kept.legend()
        words.legend()
        return figure

    def _tables(self) -> tuple[list[list[str]], list[list[str]]]:
        tasks, kinds = self.rows[0].by_task, self.rows[0].by_topic_kind
        counts = [
            [
                "threshold",
                "kept",
                "share",
                *map(shown, tasks),
                *(shown(kind) or "no topic" for kind in kinds),
            ]
        ]
        for row in self.rows:
            by = [*row.by_task.values(), *row.by_topic_kind.values()]
            counts.append(
                [row.label, str(row.kept), f"{row.kept / self.entered:.1%}", *map(str, by)]
            )
        measures = [["threshold", *_MEASURES.values()]]
        for row in self.rows:
            values = [
                (row.mean_nearest, 4),
                (row.vendi, 1),
                (row.distinct_1, 4),
                (row.distinct_2, 4),
            ]
            measures.append(
                [row.label, *("" if math.isnan(value) else f"{value:.{n}f}" for value, n in values)]
            )
        return counts, measures

    def _note(self) -> str:
        own = self.measured_by == self.encoder
        by = (
            "the filter's own encoder, since no other's vectors are there"
            if own
            else f"another, {self.measured_by}"
        )
        graph = any(row.index == "hnsw" for row in self.rows)
        how = " Duplicates were looked up in an approximate graph." if graph else ""
        against = (
            f" and were compared with {self.against} that were there already"
            if self.against
            else ""
        )
        return shown(
            f"{self.entered} rows reached the filter ({self.encoder}){against}. At each threshold the measures are of "
            f"{self.measured} rows and {self.tokens} words; mean nearest and Vendi score are by {by}.{how}"
        )


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


_BLOCK = 2048  # Rows whose cosines are held at a time, with as many others.


def mean_nearest(vectors: ArrayLike) -> float:
    """The mean, over rows, of the highest cosine with another row; lower is more varied.

    (1 / n) * sum over i of max over j != i of cos(i, j): -1 to 1, NaN for fewer than two rows. The
    products are of float32, so that it is right to 1e-5. Takes n * (4 d + 700) bytes and 16 MB for
    a block; n * n is never held.

    Source: the nearest-neighbour similarity by which near-duplicates are dropped (arXiv 2411.15484,
    section 3.4), over all rows that are there.

    Args:
        vectors: Shape [n, d], rows of length 1.

    Raises:
        EncoderError: Vectors that have no cosine; see `greedy_select`.
    """
    rows = _rows(vectors)
    if len(rows) < 2:
        return float("nan")
    blocks = list(parts(np.arange(len(rows)), _BLOCK))
    highest = np.full(len(rows), -np.inf, np.float32)
    for i, left in enumerate(blocks):
        wide = rows.single(left)
        for right in blocks[i:]:
            scores = wide @ (wide if right is left else rows.single(right)).T
            if right is left:
                np.fill_diagonal(scores, -np.inf)
            highest[left] = np.maximum(highest[left], scores.max(axis=1))
            highest[right] = np.maximum(highest[right], scores.max(axis=0))
    return float(np.clip(highest, -1, 1).mean(dtype=np.float64))


def vendi(vectors: ArrayLike) -> float:
    """The Vendi score with the cosine as kernel: as how many wholly different rows they count; higher is more varied.

    exp(-sum of p * ln p) over the eigenvalues p of K / n, where K[i, j] = cos(i, j): 1 where all rows are equal, n
    where each is orthogonal to all others, d at most; NaN for no rows. X.T @ X / n of the rows X has the same
    eigenvalues but for zeros, so that d * d numbers are held and never n * n.

    Source: Friedman and Dieng, The Vendi Score, TMLR 2023 (arXiv 2210.02410).

    Args:
        vectors: Shape [n, d], rows of length 1.

    Raises:
        EncoderError: Vectors that have no cosine; see `greedy_select`.
    """
    rows = _rows(vectors)
    if not len(rows):
        return float("nan")
    total = np.zeros((rows.dimensions, rows.dimensions))
    for part in parts(np.arange(len(rows)), _BLOCK):
        wide = rows.double(part)
        total += wide.T @ wide
    shares = np.linalg.eigvalsh(total / len(rows))
    shares = shares[shares > 0]  # Zeros come out as small numbers of either sign.
    return float(np.exp(-(shares * np.log(shares)).sum()))


def distinct(texts: Sequence[Sequence[str]], n: int, budget: int, seed: int = 0) -> float:
    """Distinct-n: the number of different n-grams over the number of words; higher is more varied.

    0 to 1. The words are the first `budget` of the texts in a seeded order, since the measure falls
    as texts grow more. No n-gram goes across two texts.

    Source: Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models,
    NAACL 2016, which divides by words too, and counts all of them.

    Args:
        texts: The words of each. Only those that are needed are looked at.
        budget: Words; at least 1.

    Raises:
        ConfigError: The texts have fewer words than the budget, or a number is below 1.
    """
    if n < 1 or budget < 1:
        raise ConfigError(f"n is {n} and budget is {budget}", hint="Both are whole numbers from 1.")
    order, left = list(range(len(texts))), budget
    seeded("distinct", seed).shuffle(order)
    seen: set[tuple[str, ...]] = set()
    for number in order:
        words = texts[number][:left]
        seen.update(zip(*(words[i:] for i in range(n)), strict=False))
        left -= len(words)
        if not left:
            return len(seen) / budget
    raise ConfigError(
        f"The texts have {budget - left} words, fewer than the budget of {budget}", hint="Lower it."
    )


def _rows(vectors: ArrayLike) -> Rows:
    rows = Rows()
    rows.add(matrix(vectors))
    return rows


@dataclass(frozen=True)
class _Stored:
    """One encoder's vectors of the rows that the filter saw, in its order, and of those that were there already."""

    identity: str
    ids: list[str]
    vectors: Singles
    held: Singles


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
            f"The vectors in {folder} are not those of the published rows",
            hint="Run the pipeline to its end.",
        )
    items = [known[name] for name in own.ids]
    found = [_select(own, items, threshold) for threshold in wanted]
    measured = min(len(selection.kept) for selection in found)
    order = np.array(seeded("sweep", seed).sample(range(len(items)), len(items)))
    first = [np.sort(order[np.isin(order, selection.kept)][:measured]) for selection in found]

    @cache
    def words(number: int) -> list[str]:
        item = items[number]
        return Language.load(language or item.language).segment(
            f"{item.instruction}\n{item.output}"
        )

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
    return ThresholdSweep(
        tuple(made), len(items), len(own.held), measured, budget, own.identity, other.identity
    )


def _checked(thresholds: Iterable[Threshold]) -> list[Threshold]:
    if isinstance(thresholds, (str, Mapping)) or not isinstance(thresholds, Iterable):
        raise ConfigError(
            f"thresholds is {thresholds!r}", hint="Give a list, such as [0.90, 0.95]."
        )
    checked: list[Threshold] = [
        {str(task): check_threshold(value) for task, value in one.items()}
        if isinstance(one, Mapping)
        else check_threshold(one)
        for one in thresholds
    ]
    if not checked:
        raise ConfigError("There are no thresholds", hint="Give a list, such as [0.90, 0.95].")
    return checked


def _select(own: _Stored, items: Sequence[Instruction], threshold: Threshold) -> Selection:
    limits: float | list[float]
    if isinstance(threshold, Mapping):
        missing = {item.task for item in items} - threshold.keys()
        if missing and "*" not in threshold:
            raise ConfigError(
                f"No threshold is given for {', '.join(sorted(missing))}", hint="Add it, or '*'."
            )
        limits = [threshold[item.task if item.task in threshold else "*"] for item in items]
    else:
        limits = threshold
    return greedy_select(own.vectors, limits, against=own.held)


def _counts(names: Sequence[str], selection: Selection) -> dict[str, int]:
    kept = Counter(names[i] for i in selection.kept)
    return {name: kept[name] for name in sorted(set(names))}


def _stored(folder: Path) -> tuple[_Stored, _Stored]:
    """The filter's vectors, and those to measure by: of another encoder where there is one."""
    stores = VectorStore.open_all(folder)
    # Only a filter's own vectors have an index. Of several filters the first saw the most rows.
    stores.sort(key=lambda store: (not store.path("index.npz").exists(), -len(store.rows()[0])))
    found = [_read(store) for store in stores if store.path("rows.json").exists()]
    if not found:
        raise ConfigError(
            f"{folder} holds no vectors",
            hint="They are kept by a run with diversity=sf.SemanticDiversityFilter().",
        )
    return found[0], next((other for other in found[1:] if other.ids == found[0].ids), found[0])


def _read(store: VectorStore) -> _Stored:
    ids, vectors, numbers = store.rows()
    return _Stored(store.identity, ids, store.take(numbers) if ids else vectors, _held(store))


def _held(store: VectorStore) -> Singles:
    """The vectors of the rows that the filter was to compare with."""
    try:
        with np.load(store.path("index.npz"), allow_pickle=False) as index:
            numbers = store.find(index["keys"][: int(index["held"])])
    except (OSError, ValueError, LookupError, EOFError, BadZipFile):
        # A cache, which another version may have made.
        numbers = None
    return store.take(np.empty(0, np.int64) if numbers is None else numbers)


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
