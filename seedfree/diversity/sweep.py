"""What a semantic filter would have kept of a run at other thresholds, and how varied that is.

All of it from the vectors that the run keeps: nothing is encoded or asked for again.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike

from seedfree._plots import new_figure, save_figure
from seedfree._seeds import seeded
from seedfree._views import Shown, Table, View, aligned
from seedfree.diversity.index import greedy_select, held_vectors
from seedfree.diversity.semantic import Threshold, as_threshold, limits_of
from seedfree.diversity.store import VectorStore
from seedfree.diversity.vectors import Ints, Singles, UnitRows, parts
from seedfree.engine.places import published
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction, Selection
from seedfree.text import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "RunVectors",
    "SweepRow",
    "Threshold",
    "ThresholdSweep",
    "distinct",
    "mean_nearest",
    "threshold_sweep",
    "vectors_in",
    "vendi",
]


def threshold_sweep(
    folder: Path,
    rows: Iterable[Instruction],
    thresholds: Iterable[Threshold],
    *,
    language: str | Language | None = None,
    tokens: int = 100_000,
    seed: int = 0,
) -> ThresholdSweep:
    """Does what `Run.threshold_sweep` says.

    Args:
        folder: Where the vectors are kept.
        rows: Every row of the run, kept and dropped.
    """
    wanted = _checked(thresholds)
    known = {row.id: row for row in rows}
    own, other = vectors_in(folder)
    if not own.ids or not known.keys() >= set(own.ids):
        raise ConfigError(
            f"The vectors in {folder} are not those of the published rows",
            hint="Run the pipeline to its end.",
        )
    items = [known[name] for name in own.ids]
    tasks = [item.task for item in items]
    selections = [
        greedy_select(own.vectors, limits_of(threshold, tasks).tolist(), against=own.held)
        for threshold in wanted
    ]
    # Every measure moves with the number of rows, so that all thresholds are measured on as many as
    # the strictest keeps: the first of those that each keeps, in one seeded order.
    measured = min(len(selection.kept) for selection in selections)
    order = np.array(seeded("sweep", seed).sample(range(len(items)), len(items)))
    samples = [np.sort(order[np.isin(order, each.kept)][:measured]) for each in selections]

    @cache
    def words(number: int) -> list[str]:
        item = items[number]
        text = f"{item.instruction}\n{item.output}"
        return Language.load(language or item.language).segment(text)

    texts = [_Words(sample, words) for sample in samples]
    budget = min(each.count_up_to(tokens) for each in texts)
    made = []
    for threshold, selection, sample, text in zip(wanted, selections, samples, texts, strict=True):
        vectors = other.vectors[sample]
        made.append(
            SweepRow(
                threshold,
                len(selection.kept),
                _counts(tasks, selection),
                _counts([item.topic_kind for item in items], selection),
                mean_nearest(vectors),
                vendi(vectors),
                distinct(text, 1, budget, seed) if budget else math.nan,
                distinct(text, 2, budget, seed) if budget else math.nan,
                selection.index,
            )
        )
    names = published(own.identity), published(other.identity)
    return ThresholdSweep(tuple(made), len(items), len(own.held), measured, budget, *names)


@dataclass(frozen=True)
class SweepRow:
    """One threshold.

    Attributes:
        threshold: A cosine, or cosines by task.
        kept: Rows that the filter keeps.
        by_task, by_topic_kind: The same by name; 0 for those of which none is kept.
        mean_nearest, vendi, distinct_1, distinct_2: See the functions of these names; NaN for too
            few rows.
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
        """Returns the threshold in words: `0.95`, or `conversation 0.97, * 0.95`."""
        if isinstance(self.threshold, Mapping):
            return shown(", ".join(f"{task} {value:g}" for task, value in self.threshold.items()))
        return f"{self.threshold:g}"


_MEASURES = {
    "mean_nearest": "mean nearest",
    "vendi": "Vendi score",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
}
_DIGITS = {"mean_nearest": 4, "vendi": 1, "distinct_1": 4, "distinct_2": 4}


@dataclass(frozen=True, repr=False)
class ThresholdSweep(Shown, Sequence[SweepRow]):
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

    def __str__(self) -> str:
        tables = ["\n".join(aligned(table)) for table in self._tables()]
        return "\n\n".join([*tables, self._note()])

    def _view(self, full: bool) -> View:
        counts, measures = self._tables()
        # By task and kind of topic there are too many columns for a terminal.
        kept = [line[1:3] for line in counts]
        short = [[line[0], *n, *line[1:]] for line, n in zip(measures, kept, strict=True)]
        tables = [Table(counts), Table(measures)] if full else [Table(short)]
        return View(f"ThresholdSweep({len(self)} thresholds)", tables=tables, notes=[self._note()])

    def to_json(self) -> str:
        """Returns all of it as a JSON object; null for what is NaN."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        value["own_encoder"] = self.measured_by == self.encoder
        value["rows"] = [
            {name: None if _is_nan(cell) else cell for name, cell in asdict(row).items()}
            for row in self.rows
        ]
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def plot(self, path: str | Path) -> None:
        """Draws rows kept and the measures over the thresholds; the file's ending says the format.

        Raises:
            ConfigError: matplotlib is not installed, it knows no such format, or the file cannot be
                written.
        """
        save_figure(self._figure(), path)

    def _figure(self) -> Figure:
        figure = new_figure(12, 8)
        (kept, nearest), (score, words) = figure.subplots(2, 2)
        self._draw(kept, "all", [row.kept for row in self.rows])
        for task in self.rows[0].by_task:
            self._draw(kept, shown(task), [row.by_task[task] for row in self.rows])
        places = dict(zip(_MEASURES, (nearest, score, words, words), strict=True))
        for measure, name in _MEASURES.items():
            self._draw(places[measure], name, [getattr(row, measure) for row in self.rows])
        for axes, title in (
            (kept, f"Rows kept of {self.entered}"),
            (nearest, f"Mean nearest similarity ({self.measured} rows)"),
            (score, f"Vendi score ({self.measured} rows)"),
            (words, f"Different words and pairs of words ({self.tokens} words)"),
        ):
            axes.set_title(title)
            labels = [_plain(row.label.replace(", ", "\n")) for row in self.rows]
            axes.set_xticks(range(len(self)), labels, size="small")
            axes.set_xlabel("threshold")
            axes.grid(alpha=0.3)
        kept.legend()
        words.legend()
        return figure

    def _draw(self, axes: Axes, name: str, values: list[float]) -> None:
        # A line leads from cosine to cosine; thresholds by task stand alone.
        by_task = [isinstance(row.threshold, Mapping) for row in self.rows]
        line = [math.nan if alone else y for alone, y in zip(by_task, values, strict=True)]
        (drawn,) = axes.plot(range(len(self)), line, marker="o", label=_plain(name))
        axes.plot(range(len(self)), values, "o", color=drawn.get_color())

    def _tables(self) -> tuple[list[list[str]], list[list[str]]]:
        tasks, kinds = self.rows[0].by_task, self.rows[0].by_topic_kind
        names = [*map(shown, tasks), *(shown(kind) or "no topic" for kind in kinds)]
        counts = [["threshold", "kept", "share", *names]]
        measures = [["threshold", *_MEASURES.values()]]
        for row in self.rows:
            share, by_name = row.kept / self.entered, [row.by_task, row.by_topic_kind]
            numbers = [str(n) for by in by_name for n in by.values()]
            counts.append([row.label, str(row.kept), f"{share:.1%}", *numbers])
            values = [(getattr(row, name), digits) for name, digits in _DIGITS.items()]
            measures.append([row.label, *(_number(value, digits) for value, digits in values)])
        return counts, measures

    def _note(self) -> str:
        against = how = ""
        by = f"another, {self.measured_by}"
        if self.against:
            against = f" and were compared with {self.against} that were there already"
        if self.measured_by == self.encoder:
            by = "the filter's own encoder, since no other's vectors are there"
        if any(row.index == "hnsw" for row in self.rows):
            how = " Duplicates were looked up in an approximate graph."
        return shown(
            f"{self.entered} rows reached the filter ({self.encoder}){against}. At each threshold "
            f"the measures are of {self.measured} rows and {self.tokens} words; mean nearest and "
            f"Vendi score are by {by}.{how}"
        )


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _plain(text: str) -> str:
    # Between two dollar signs matplotlib reads a formula.
    return text.replace("$", r"\$")


_BLOCK = 2048  # Rows whose cosines are held at a time, with as many others.


def mean_nearest(vectors: ArrayLike) -> float:
    """Returns the mean, over rows, of the highest cosine with another row; lower is more varied.

    (1 / n) * sum over i of max over j != i of cos(i, j): -1 to 1, NaN for fewer than two rows. The
    products are of float32, so that it is right to 1e-5. It takes n * (4 d + 700) bytes and 16 MB
    for a block; n * n is never held.

    Source: the nearest-neighbour similarity by which near-duplicates are dropped (arXiv 2411.15484,
    section 3.4), over all rows that are there.

    Args:
        vectors: Shape [n, d], rows of length 1.

    Raises:
        EncoderError: Vectors that have no cosine; see `greedy_select`.
    """
    rows = UnitRows.of(vectors)
    if len(rows) < 2:
        return float("nan")
    blocks = list(parts(np.arange(len(rows)), _BLOCK))
    highest = np.full(len(rows), -np.inf, np.float32)
    for i, left in enumerate(blocks):
        mine = rows.single(left)
        scores = mine @ mine.T
        np.fill_diagonal(scores, -np.inf)
        highest[left] = np.maximum(highest[left], scores.max(axis=1))
        # Each pair once: the product of two blocks serves the rows of both.
        for right in blocks[i + 1 :]:
            scores = mine @ rows.single(right).T
            highest[left] = np.maximum(highest[left], scores.max(axis=1))
            highest[right] = np.maximum(highest[right], scores.max(axis=0))
    return float(np.clip(highest, -1, 1).mean(dtype=np.float64))


def vendi(vectors: ArrayLike) -> float:
    """Returns the Vendi score, with the cosine as kernel; higher is more varied.

    It says as how many wholly different rows the rows count: exp(-sum of p * ln p) over the
    eigenvalues p of K / n, where K[i, j] = cos(i, j). It is 1 where all rows are equal, n where
    each is orthogonal to all others, d at most, and NaN for no rows. X.T @ X / n of the rows X has
    the same eigenvalues but for zeros, so that d * d numbers are held and never n * n.

    Source: Friedman and Dieng, The Vendi Score, TMLR 2023 (arXiv 2210.02410).

    Args:
        vectors: Shape [n, d], rows of length 1.

    Raises:
        EncoderError: Vectors that have no cosine; see `greedy_select`.
    """
    rows = UnitRows.of(vectors)
    if not len(rows):
        return float("nan")
    total = np.zeros((rows.dimensions, rows.dimensions))
    for part in parts(np.arange(len(rows)), _BLOCK):
        wide = rows.double(part)
        total += wide.T @ wide
    shares = np.linalg.eigvalsh(total / len(rows))
    shares = shares[shares > 0]  # zeros come out as small numbers of either sign
    return float(np.exp(-(shares * np.log(shares)).sum()))


def distinct(texts: Sequence[Sequence[str]], n: int, budget: int, seed: int = 0) -> float:
    """Returns distinct-n: different n-grams over the number of words; higher is more varied.

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
    given = f"The texts have {budget - left} words, fewer than the budget of {budget}"
    raise ConfigError(given, hint="Lower it.")


@dataclass(frozen=True)
class RunVectors:
    """One encoder's vectors of a run.

    Attributes:
        ids: Of the rows that the filter saw, in its order.
        vectors: Of these rows.
        held: Of the rows that were there already.
    """

    identity: str
    ids: list[str]
    vectors: Singles
    held: Singles


def vectors_in(folder: Path) -> tuple[RunVectors, RunVectors]:
    """Returns the filter's vectors, and those to measure by: another encoder's if there are any.

    Raises:
        ConfigError: The folder holds none.
    """
    stores = VectorStore.open_all(folder)
    # Only a filter's own vectors have an index. Of several filters the first saw the most rows.
    stores.sort(key=lambda store: (not store.path("index.npz").exists(), -len(store.rows()[0])))
    known = []
    for store in stores:
        if store.path("rows.json").exists():
            ids, vectors = store.rows()
            held = held_vectors(store)
            known.append(RunVectors(store.identity, ids, vectors[:], held[:]))
    if not known:
        raise ConfigError(
            f"{folder} holds no vectors",
            hint="They are kept by a run with diversity=sf.SemanticDiversityFilter().",
        )
    # Measures of other rows could not be compared.
    return known[0], next((each for each in known[1:] if each.ids == known[0].ids), known[0])


def _checked(thresholds: Iterable[Threshold]) -> list[Threshold]:
    hint = "Give a list, such as [0.90, 0.95]."
    if isinstance(thresholds, (str, Mapping)) or not isinstance(thresholds, Iterable):
        raise ConfigError(f"thresholds is {thresholds!r}", hint=hint)
    checked = list(map(as_threshold, thresholds))
    if not checked:
        raise ConfigError("There are no thresholds", hint=hint)
    return checked


def _counts(names: Sequence[str], selection: Selection) -> dict[str, int]:
    kept = Counter(names[row] for row in selection.kept)
    return {name: kept[name] for name in sorted(set(names))}


@dataclass(frozen=True)
class _Words(Sequence[list[str]]):
    """The words of some rows, cut when they are looked at."""

    rows: Ints
    words: Callable[[int], list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.words(int(self.rows[index]))

    def count_up_to(self, most: int) -> int:
        """Counts the words, or as far as `most`: a text costs a pass of the segmenter."""
        total = 0
        for words in self:
            total += len(words)
            if total >= most:
                return most
        return total
