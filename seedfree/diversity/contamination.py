"""Rows of a data set that hold questions of a benchmark.

A model that learned the questions by heart gets scores that measure nothing.
docs/contamination.md says what counts.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from seedfree.dataset import Dataset, check_rows
from seedfree.diversity.calibration import judge_tokens, judge_vectors, unit_rows
from seedfree.diversity.index import check_threshold
from seedfree.diversity.search import Block, Bounds, ExactSearch
from seedfree.diversity.shingles import Shingles, page_names, row_names
from seedfree.diversity.vectors import UnitRows, parts
from seedfree.errors import ConfigError
from seedfree.protocols import Benchmark, Encoder
from seedfree.records import Instruction, Question
from seedfree.text import shown, squeeze

__all__ = ["Contamination", "Hit", "Overlaps", "contamination", "overlaps"]

_LOG = logging.getLogger("seedfree")
_LEAST = 0.5  # Share of a text's shingles that a row holds, from which it counts.
_COMMON = 3  # In more questions than this, a phrase is how the benchmark asks, not what.
_SHORT = 12  # A question of fewer characters ("ใช่หรือไม่") is asked by everyone.
_EXCERPT = 100
_BLOCK = 1024
Kind = Literal["exact", "shingles", "page", "semantic"]


@dataclass(frozen=True)
class Hit:
    """What a row shares with a benchmark.

    Attributes:
        field: What of the benchmark was found: `"question"`, `"answer"`, `"context"` or `"source"`.
        questions: Ids of the questions that have it. More than one share a passage or a page.
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
        """Returns the share of the data set's rows that have hits, 0 to 1; 0 for no rows."""
        return len(self.rows) / max(1, len(self.dataset))

    @property
    def by_kind(self) -> dict[str, int]:
        """Counts the rows that have hits of each kind; a row can have several."""
        kinds = [{hit.kind for hit in hits} for hits in self.rows.values()]
        return {kind: sum(kind in each for each in kinds) for kind in get_args(Kind)}

    @cached_property
    def questions(self) -> frozenset[str]:
        """Returns the ids of the benchmark's questions that some row overlaps with."""
        shared = {hit.questions for hits in self.rows.values() for hit in hits}
        return frozenset[str]().union(*shared)

    @cached_property
    def clean(self) -> Dataset:
        """Returns the data set without the rows that have hits."""
        return Dataset(item for number, item in enumerate(self.dataset) if number not in self.rows)

    def report(self, rows: int = 10) -> str:
        """Returns a few lines: how many rows by kind, and the first `rows` of them."""
        total = f"{len(self.rows):,} of {len(self.dataset):,} rows ({self.share:.1%})"
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in self.by_kind.items() if n)
        head = f"{total} overlap with {self.benchmark}"
        lines = [f"{head}: {kinds}." if kinds else f"{head}."]
        for number, hits in list(self.rows.items())[:rows]:
            hit = hits[0]
            more = f" and {len(hit.questions) - 1} more" if len(hit.questions) > 1 else ""
            what = f"{hit.kind} {hit.field} of {hit.questions[0]}{more}, {hit.share:.2f}"
            lines.append(f"  row {number}: {what}: {hit.excerpt}")
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
    """Finds the rows that overlap with a benchmark.

    docs/contamination.md says what counts, and what cannot be found. Texts are compared without
    white space, case, invisible characters and typing variants.

    Args:
        encoder: For overlap in meaning; without one there are no hits of that kind.
        threshold: Cosine of a row's instruction and input with a question and its context, above
            which it counts.
        shingle: Characters, at least 12.

    Raises:
        ConfigError: An argument is out of its range, or the benchmark cannot be had.
        EncoderError: The encoder does not know the language, or returns something else than unit
            vectors.
    """
    if isinstance(shingle, bool) or not isinstance(shingle, int) or shingle < _SHORT:
        hint = f"It is a number of characters, at least {_SHORT}."
        raise ConfigError(f"shingle is {shingle!r}", hint=hint)
    check_rows(dataset)
    threshold = check_threshold(threshold)
    name, asked = _asked(benchmark)
    overlapping = Overlaps(asked, shingle)
    hits = [overlapping.hits(item) for item in dataset]
    if encoder is not None and len(dataset) and asked:
        for number, hit in _semantic_hits(dataset, asked, encoder, threshold):
            hits[number].append(hit)
    return Contamination(
        dataset, name, {number: tuple(each) for number, each in enumerate(hits) if each}
    )


def overlaps(
    dataset: Dataset, benchmarks: Sequence[Benchmark], *, silent: bool = False
) -> dict[str, int]:
    """Counts the rows that overlap with each benchmark, by its name.

    Each benchmark that has some is warned about unless `silent`.
    """
    counts = {}
    for benchmark in benchmarks:
        overlap = contamination(dataset, benchmark)
        counts[overlap.benchmark] = len(overlap.rows)
        if overlap.rows and not silent:
            _LOG.warning(
                "%d of %d rows overlap with the benchmark %s: its scores will be too high; "
                "train on contamination(dataset, benchmark).clean",
                len(overlap.rows),
                len(dataset),
                shown(overlap.benchmark),
            )
    return counts


def _asked(benchmark: Benchmark | Sequence[Question]) -> tuple[str, list[Question]]:
    """Returns a benchmark's name and questions."""
    if isinstance(benchmark, type):
        name = benchmark.__name__
        raise ConfigError(f"benchmark is the class {name}", hint=f"Make one of it: {name}().")
    given: object = benchmark
    if isinstance(benchmark, _Asks):
        given = benchmark.questions()
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        kind = type(benchmark).__name__
        raise ConfigError(f"benchmark is {kind}", hint="Give a Benchmark, or a list of Question.")
    asked = list(given)
    wrong = next((item for item in asked if not isinstance(item, Question)), None)
    if wrong is not None:
        kind = type(wrong).__name__
        raise ConfigError(f"The benchmark holds {kind}", hint="Make each a sf.Question.")
    return str(benchmark.name) if isinstance(benchmark, Benchmark) else "the benchmark", asked


@runtime_checkable
class _Asks(Protocol):
    """All that is needed here of a `Benchmark`."""

    def questions(self) -> Sequence[Question]: ...


class Overlaps:
    """Finds what single rows share with questions.

    Args:
        shingle: Characters, at least 12.
    """

    def __init__(self, asked: Sequence[Question], shingle: int = 30) -> None:
        self._pages = _questions_by_page(asked)
        self._texts = _Texts(asked, shingle)

    def hits(self, item: Instruction) -> list[Hit]:
        """Returns what a row shares: exact texts, then parts of texts, then its page."""
        return [*self._texts.hits(item), *_page_hits(item, self._pages)]


class _Texts:
    """What of a benchmark is looked for in the texts of rows."""

    def __init__(self, asked: Sequence[Question], shingle: int) -> None:
        # Each text with the items that it belongs to: one that several share says little of any of
        # them.
        items: dict[tuple[str, str], dict[tuple[object, ...], None]] = defaultdict(dict)
        ids: dict[tuple[str, str], list[str]] = defaultdict(list)
        for each in asked:
            question, answer, context = map(squeeze, (each.question, each.answer, each.context))
            whole = (question, answer, context, each.choices)
            alone = len(question) >= _SHORT and not context and not each.choices
            for name, text, item, counts in (
                ("question", question, whole, alone or len(question) >= shingle),
                ("answer", answer, whole, len(answer) >= shingle),
                ("context", context, (context,), len(context) >= shingle),
            ):
                if counts:
                    items[name, text][item] = None
                    ids[name, text].append(each.id)
        self._fields = [name for name, _ in items]
        self._texts = [text for _, text in items]
        self._ids = [tuple(dict.fromkeys(ids[key])) for key in items]
        times = [len(sharing) for sharing in items.values()]
        self._whole = {key: number for number, key in enumerate(items) if times[number] <= _COMMON}
        groups = [("question", "answer", "context").index(name) for name in self._fields]
        self._shingles = Shingles(self._texts, groups, times, size=shingle, common=_COMMON)

    def hits(self, item: Instruction) -> list[Hit]:
        """Returns what a row shares, exact texts first, each by falling share."""
        turns = [("question", text) for text in item.questions]
        turns += [("answer", text) for text in item.answers]
        keys = [(name, squeeze(text)) for name, text in turns]
        equal = {self._whole[key] for key in keys if key in self._whole}
        hits = [
            self._hit("exact", number, 1.0, self._texts[number][:_EXCERPT])
            for number in sorted(equal)
        ]
        parts = self._shingles.find(_text(item), _LEAST, _EXCERPT)
        for part in sorted(parts, key=lambda part: (-part.share, part.number)):
            # What is equal holds all of its own shingles, too.
            if part.number not in equal:
                hits.append(self._hit("shingles", part.number, part.share, part.excerpt))
        return hits

    def _hit(self, kind: Kind, number: int, share: float, excerpt: str) -> Hit:
        return Hit(kind, self._fields[number], self._ids[number], share, excerpt)


def _text(item: Instruction) -> str:
    """Returns all of a row that is published, each text on a line of its own.

    No run of a benchmark's text has a line end, so none is found across two texts.
    """
    turns = list(dict.fromkeys(message.content for message in item.messages))
    columns = (item.instruction, item.input, item.output, item.evidence, item.topic)
    others = [text for text in columns if not any(text in turn for turn in turns)]
    return "\n".join(map(squeeze, [*turns, *others]))


def _questions_by_page(asked: Iterable[Question]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Returns ids of questions by the names of their pages."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for question in asked:
        by_source[question.source].append(question.id)
    by_name: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    for source, ids in by_source.items():
        for name in page_names(source):
            by_name[name].update(dict.fromkeys(ids))
    return {name: tuple(ids) for name, ids in by_name.items()}


def _page_hits(item: Instruction, pages: Mapping[tuple[str, ...], tuple[str, ...]]) -> list[Hit]:
    shared = [pages[name] for name in sorted(row_names(item.source)) if name in pages]
    if not shared:
        return []
    # The rows of one page hold one and the same tuple: a page may have many of both.
    ids = shared[0]
    if len(set(shared)) > 1:
        ids = tuple(dict.fromkeys(question for ids in shared for question in ids))
    place = item.source.url or item.source.title or item.source.revision or ""
    return [Hit("page", "source", ids, 1.0, place[:_EXCERPT])]


def _semantic_hits(
    dataset: Dataset, asked: Sequence[Question], encoder: Encoder, threshold: float
) -> Iterator[tuple[int, Hit]]:
    """Yields for each row the nearest question above the threshold, the first of equally near ones.

    Unlike among rows, the questions are all kept, so each row can be searched for on its own.
    """
    theirs = [_joined(question.question, question.context) for question in asked]
    mine = [_joined(item.instruction, item.input) for item in dataset]
    judge_tokens(encoder, mine)
    vectors = UnitRows.of(unit_rows(encoder, theirs))
    new = unit_rows(encoder, mine, vectors.dimensions)
    limits = np.full(len(mine), threshold)
    origins = [(item.topic, item.source.url or "") for item in dataset]
    judge_vectors(encoder, mine, new, limits, origins)
    vectors.add(new)
    search = ExactSearch(vectors, Bounds(vectors))
    kept = np.arange(len(theirs))
    search.add(kept, search.bounds.features(kept))
    for part in parts(np.arange(len(mine)), _BLOCK):
        rows = part + len(theirs)
        nearest = search.nearest(Block(rows, limits[part], search.bounds.features(rows)))
        for number, question, cosine in zip(
            part.tolist(), nearest.rows.tolist(), nearest.cosines.tolist(), strict=True
        ):
            if question >= 0 and cosine > threshold:
                ids, excerpt = (asked[question].id,), dataset[number].instruction[:_EXCERPT]
                yield number, Hit("semantic", "question", ids, cosine, excerpt)


def _joined(first: str, second: str) -> str:
    return f"{first}\n\n{second}" if second else first
