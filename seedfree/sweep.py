"""What a semantic filter would have kept of a run at other thresholds, from the vectors that the run keeps."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import ConfigError
from seedfree.filters.index import check_threshold, greedy_select
from seedfree.filters.measures import distinct, mean_nearest, vendi
from seedfree.languages import Language
from seedfree.records import Instruction, Selection, seeded
from seedfree.thresholds import SweepRow, Threshold, ThresholdSweep

__all__ = ["threshold_sweep"]


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
