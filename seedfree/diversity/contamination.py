"""Rows of a data set that hold questions of a benchmark: what was learned by heart measures nothing."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from unicodedata import is_normalized

import numpy as np

from seedfree.dataset import Dataset, check_rows
from seedfree.diversity.calibration import judge_tokens, judge_vectors, unit_rows
from seedfree.diversity.index import check_threshold
from seedfree.diversity.search import Bounds, ExactSearch
from seedfree.diversity.shingles import Shingles, page_names, row_names
from seedfree.diversity.vectors import Rows, parts
from seedfree.errors import ConfigError
from seedfree.protocols import Benchmark, Encoder
from seedfree.records import Instruction, Question
from seedfree.text import shown, squeeze

__all__ = ["Contamination", "Hit", "contamination", "overlaps"]

_LOG = logging.getLogger("seedfree")
_LEAST = 0.5  # Share of a text's shingles that a row holds, from which it counts.
_COMMON = 3  # In more questions than this, a phrase is how the benchmark asks, not what.
_SHORT = 12  # A question of fewer characters ("ใช่หรือไม่") is asked by everyone.
_EXCERPT = 100
_TYPED = re.compile("\u0e40\u0e40|\u0ec0\u0ec0|[\u0e4d\u0ecd][\u0e48-\u0e4b\u0ec8-\u0ecb]")
_BLOCK = 1024
Kind = Literal["exact", "shingles", "page", "semantic"]


@dataclass(frozen=True)
class Hit:
    """What a row shares with a benchmark.

    Attributes:
        field: What of the benchmark was found: `"question"`, `"answer"`, `"context"` or `"source"`.
        questions: Ids of the questions that have it; more than one share a passage or a page.
        share: Of the text's shingles that stand in the row, 0.5 to 1; of `semantic` the cosine; of
            others 1.
        excerpt: At most 100 characters of the row: as compared (no white space, lower case), the
            URL or title of a page, or the beginning of the instruction.
    """

    kind: Kind
    field: str
    questions: tuple[str, ...]
    share: float
    excerpt: str


@dataclass(frozen=True)
class Contamination:
    """What `contamination` found; `print` it.

    Attributes:
        benchmark: Its name.
        rows: Number of each row that has hits, ascending, to these: exact, shingles, page,
            semantic.
    """

    dataset: Dataset = field(repr=False)
    benchmark: str
    rows: Mapping[int, tuple[Hit, ...]] = field(repr=False)

    @property
    def share(self) -> float:
        """Share of the data set's rows that have hits, 0 to 1; 0 for no rows."""
        return len(self.rows) / len(self.dataset) if len(self.dataset) else 0.0

    @property
    def by_kind(self) -> dict[str, int]:
        """Rows that have hits of each kind; a row can have several."""
        kinds = [{hit.kind for hit in hits} for hits in self.rows.values()]
        return {
            kind: sum(kind in each for each in kinds)
            for kind in ("exact", "shingles", "page", "semantic")
        }

    @cached_property
    def questions(self) -> frozenset[str]:
        """Ids of the benchmark's questions that some row overlaps with."""
        shared = {hit.questions for hits in self.rows.values() for hit in hits}
        return frozenset(one for ids in shared for one in ids)

    @cached_property
    def clean(self) -> Dataset:
        """The data set without the rows that have hits."""
        return Dataset(item for number, item in enumerate(self.dataset) if number not in self.rows)

    def report(self, rows: int = 10) -> str:
        """A few lines: how many rows by kind, and the first `rows` of them with what was found."""
        total = f"{len(self.rows):,} of {len(self.dataset):,} rows ({self.share:.1%}) overlap with {self.benchmark}"
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in self.by_kind.items() if n)
        lines = [f"{total}: {kinds}." if kinds else f"{total}."]
        for number, hits in list(self.rows.items())[:rows]:
            hit = hits[0]
            more = f" and {len(hit.questions) - 1} more" if len(hit.questions) > 1 else ""
            found = f"{hit.kind} {hit.field} of {hit.questions[0]}{more}"
            lines.append(f"  row {number}: {found}, {hit.share:.2f}: {hit.excerpt}")
        if len(self.rows) > rows:
            lines.append(f"  and {len(self.rows) - rows:,} more; see .rows")
        return "\n".join(shown(line.replace("\n", " ")) for line in lines)

    def __str__(self) -> str:
        return self.report()


def contamination(
    dataset: Dataset,
    benchmark: Benchmark | Sequence[Question],
    *,
    encoder: Encoder | None = None,
    threshold: float = 0.95,
    shingle: int = 30,
) -> Contamination:
    """Finds the rows that overlap with a benchmark; docs/contamination.md says what counts, and what cannot be found.

    Texts are compared without white space, case, invisible characters and typing variants.

    Args:
        encoder: For overlap in meaning; without one there are no hits of that kind.
        threshold: Cosine of a row's instruction and input with a question and its context, above which it counts.
        shingle: Characters, at least 12.

    Raises:
        ConfigError: An argument is out of its range, or the benchmark cannot be had.
        EncoderError: The encoder does not know the language, or returns something else than unit vectors.
    """
    if isinstance(shingle, bool) or not isinstance(shingle, int) or shingle < _SHORT:
        raise ConfigError(
            f"shingle is {shingle!r}", hint=f"It is a number of characters, at least {_SHORT}."
        )
    check_rows(dataset)
    threshold = check_threshold(threshold)
    check_rows(dataset)
    name, asked = _asked(benchmark)
    pages = _pages(asked)
    texts = _Texts(asked, shingle)
    found = [[*texts.hits(item), *_page(item, pages)] for item in dataset]
    if encoder is not None and len(dataset) and asked:
        for number, hit in _meant(dataset, asked, encoder, threshold):
            found[number].append(hit)
    return Contamination(
        dataset, name, {number: tuple(hits) for number, hits in enumerate(found) if hits}
    )


def overlaps(
    dataset: Dataset, benchmarks: Sequence[Benchmark], *, silent: bool = False
) -> dict[str, int]:
    """Rows that overlap with each benchmark, by its name; each that has some is warned about unless `silent`."""
    counts = {}
    for benchmark in benchmarks:
        found = contamination(dataset, benchmark)
        counts[found.benchmark] = len(found.rows)
        if found.rows and not silent:
            _LOG.warning(
                "%d of %d rows overlap with the benchmark %s: its scores will be too high; "
                "train on contamination(dataset, benchmark).clean",
                len(found.rows),
                len(dataset),
                shown(found.benchmark),
            )
    return counts


def _asked(benchmark: Any) -> tuple[str, list[Question]]:
    if isinstance(benchmark, type):
        name = benchmark.__name__
        raise ConfigError(f"benchmark is the class {name}", hint=f"Make one of it: {name}().")
    ask = getattr(benchmark, "questions", None)
    given = ask() if callable(ask) else benchmark
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ConfigError(
            f"benchmark is {type(benchmark).__name__}",
            hint="Give a Benchmark, or a list of Question.",
        )
    asked = list(given)
    wrong = next((one for one in asked if not isinstance(one, Question)), None)
    if wrong is not None:
        raise ConfigError(
            f"The benchmark holds {type(wrong).__name__}", hint="Make each a sf.Question."
        )
    return str(getattr(benchmark, "name", "the benchmark")), asked


class _Texts:
    """What of a benchmark is looked for in the texts of rows."""

    def __init__(self, asked: Sequence[Question], shingle: int) -> None:
        # Each text with the items that it belongs to: one that several share says little of any of
        # them.
        items: dict[tuple[str, str], dict[tuple[object, ...], None]] = defaultdict(dict)
        ids: dict[tuple[str, str], list[str]] = defaultdict(list)
        for one in asked:
            question, answer, context = (
                _plain(one.question),
                _plain(one.answer),
                _plain(one.context),
            )
            whole = (question, answer, context, one.choices)
            alone = len(question) >= _SHORT and not context and not one.choices
            for name, text, item, counts in (
                ("question", question, whole, alone or len(question) >= shingle),
                ("answer", answer, whole, len(answer) >= shingle),
                ("context", context, (context,), len(context) >= shingle),
            ):
                if counts:
                    items[name, text][item] = None
                    ids[name, text].append(one.id)
        self._fields = [name for name, _ in items]
        self._texts = [text for _, text in items]
        self._ids = [tuple(dict.fromkeys(ids[key])) for key in items]
        times = [len(each) for each in items.values()]
        self._whole = {key: number for number, key in enumerate(items) if times[number] <= _COMMON}
        groups = [("question", "answer", "context").index(name) for name in self._fields]
        self._shingles = Shingles(self._texts, groups, times, size=shingle, common=_COMMON)

    def hits(self, item: Instruction) -> list[Hit]:
        """Exact ones first, each by falling share."""
        equal = {
            self._whole[key]
            for name, texts in (("question", item.questions), ("answer", item.answers))
            for text in texts
            if (key := (name, _plain(text))) in self._whole
        }
        hits = [
            self._hit("exact", number, 1.0, self._texts[number][:_EXCERPT])
            for number in sorted(equal)
        ]
        found = self._shingles.find(_text(item), _LEAST, _EXCERPT)
        found = [one for one in found if one.number not in equal]
        found.sort(key=lambda one: (-one.share, one.number))
        return hits + [self._hit("shingles", one.number, one.share, one.excerpt) for one in found]

    def _hit(self, kind: Kind, number: int, share: float, excerpt: str) -> Hit:
        return Hit(kind, self._fields[number], self._ids[number], share, excerpt)


def _plain(text: str) -> str:
    """What is compared. Letters that white space had kept apart may be one without it."""
    once = squeeze(text)
    return once if is_normalized("NFKC", once) and not _TYPED.search(once) else squeeze(once)


def _text(item: Instruction) -> str:
    """All of a row that is published, each text on a line of its own: no run of a benchmark's text has a line end."""
    turns = list(dict.fromkeys(message.content for message in item.messages))
    others = (item.instruction, item.input, item.output, item.evidence, item.topic)
    return "\n".join(
        map(_plain, [*turns, *(text for text in others if not any(text in turn for turn in turns))])
    )


def _pages(asked: Iterable[Question]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Questions by the names of their pages; those of one page as one and the same tuple."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for one in asked:
        by_source[one.source].append(one.id)
    by_name: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for source, ids in by_source.items():
        for name in page_names(source):
            by_name[name].update(dict.fromkeys(ids))
    return {name: tuple(ids) for name, ids in by_name.items()}


def _page(item: Instruction, pages: Mapping[tuple[str, ...], tuple[str, ...]]) -> list[Hit]:
    shared = [pages[name] for name in sorted(row_names(item.source)) if name in pages]
    if not shared:
        return []
    ids = (
        shared[0]
        if len(set(shared)) == 1
        else tuple(dict.fromkeys(one for each in shared for one in each))
    )
    place = item.source.url or item.source.title or item.source.revision or ""
    return [Hit("page", "source", ids, 1.0, place[:_EXCERPT])]


def _meant(
    dataset: Dataset, asked: Sequence[Question], encoder: Encoder, threshold: float
) -> Iterator[tuple[int, Hit]]:
    """For each row the nearest question above the threshold, the first of equally near ones."""
    texts = [f"{one.question}\n\n{one.context}" if one.context else one.question for one in asked]
    mine = [
        f"{one.instruction}\n\n{one.input}" if one.input else one.instruction for one in dataset
    ]
    judge_tokens(encoder, mine)
    rows = Rows()
    rows.add(unit_rows(encoder, texts))
    vectors = unit_rows(encoder, mine, rows.dimensions)
    limits = np.full(len(mine), threshold)
    origins = [(one.topic, one.source.url or "") for one in dataset]
    judge_vectors(encoder, mine, lambda numbers: vectors[numbers], limits, origins)
    rows.add(vectors)
    bounds = Bounds(rows)
    search = ExactSearch(rows, bounds)
    numbers = np.arange(len(texts))
    search.add(numbers, bounds.features(numbers))
    for part in parts(np.arange(len(mine)), _BLOCK):
        best, which = search.nearest(
            part + len(texts), bounds.features(part + len(texts)), limits[part]
        )
        for number, cosine, nearest in zip(
            part.tolist(), best.tolist(), which.tolist(), strict=True
        ):
            if nearest >= 0 and cosine > threshold:
                excerpt = dataset[number].instruction[:_EXCERPT]
                yield number, Hit("semantic", "question", (asked[nearest].id,), cosine, excerpt)
