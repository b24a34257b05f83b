"""What a semantic filter would have kept of a run at other thresholds, from the vectors that the run keeps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import ConfigError
from seedfree.filters.index import check_threshold, greedy_select
from seedfree.filters.measures import distinct, mean_nearest, vendi
from seedfree.filters.store import VectorStore
from seedfree.filters.vectors import Singles
from seedfree.languages import Language
from seedfree.records import Instruction, Selection, seeded
from seedfree.thresholds import SweepRow, Threshold, ThresholdSweep

__all__ = ["threshold_sweep"]


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
