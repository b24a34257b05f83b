"""Near-duplicates in wording, and caps by page and topic: what needs no model.

diversity=[sf.ExactDiversityFilter(), sf.LexicalDiversityFilter(), sf.SemanticDiversityFilter(),
sf.CapDiversityFilter(per_page=20)]
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from seedfree.diversity.vectors import Ints
from seedfree.errors import ConfigError, check_types, missing_extra
from seedfree.records import Instruction, Selection
from seedfree.text import squeeze

__all__ = ["CapDiversityFilter", "ExactDiversityFilter", "LexicalDiversityFilter", "check_fields"]

_FIELDS = ("instruction", "input", "output", "evidence", "topic")
_HASHES = 128  # Of a MinHash sketch at most.
# Of pairs exactly at the threshold, the share that the bands of hashes must find.
_RECALL = 0.99
_LOWEST = 0.1  # Below it nearly every pair would be a candidate.


@dataclass
class ExactDiversityFilter:
    """Drops a row whose text is that of an earlier row.

    Two texts are the same if only case, white space, kinds of quotation marks, dashes and digits,
    invisible characters or typing variants of the same letters tell them apart. A row without text
    in the fields is kept.

    Attributes:
        fields: Texts of a row that count, all of which must be the same.
    """

    fields: tuple[str, ...] = ("instruction", "output")

    reason: ClassVar[str] = "same text"

    def __post_init__(self) -> None:
        check_types(self)
        self.fields = check_fields(self.fields)

    def select(self, items: Sequence[Instruction]) -> Selection:
        first: dict[str, int] = {}
        of = np.full(len(items), -1, np.int64)
        for row, text in enumerate(_texts(items, self.fields)):
            if text and (earlier := first.setdefault(text, row)) < row:
                of[row] = earlier
        return _selection(of, np.ones(len(items)), "exact")


@dataclass
class LexicalDiversityFilter:
    """Drops a row whose wording is nearly that of an earlier kept row.

    The similarity of two texts is the share of their character n-grams that both hold (Jaccard).
    Characters need no word segmenter. Case, white space and whatever else `ExactDiversityFilter`
    overlooks is left out first. Candidates come from MinHash in bands (Broder 1997; Leskovec et
    al., Mining of Massive Datasets, 3.4; the library datasketch), and each is then compared in
    full, so a row is never dropped at or below the threshold. Of the pairs just above it at most
    1 % go unnoticed, of the nearer ones hardly any. The answer is the same every time. It takes 0.5
    to 1 ms a row.

    Attributes:
        threshold: Jaccard similarity above which a row is dropped, 0.1 to 1.
        fields: Texts of a row that count, joined by line breaks. A row without text in them is
            kept.
        size: Characters of an n-gram.
    """

    threshold: float = 0.8
    fields: tuple[str, ...] = ("instruction", "output")
    size: int = 5

    reason: ClassVar[str] = "near-duplicate in wording"

    def __post_init__(self) -> None:
        check_types(self)
        self.fields = check_fields(self.fields)
        given = f"threshold is {self.threshold!r}"
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, (int, float)):
            raise ConfigError(given, hint="Use a number such as 0.8.")
        if not _LOWEST <= self.threshold <= 1:
            raise ConfigError(given, hint=f"It lies between {_LOWEST} and 1.")
        if not _is_count(self.size):
            hint = "It is a number of characters, at least 1."
            raise ConfigError(f"size is {self.size!r}", hint=hint)

    def ready(self) -> None:
        """Raises `ConfigError` where datasketch is missing."""
        if find_spec("datasketch") is None:
            raise missing_extra("datasketch", "embed")

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides over all rows, in order.

        Raises:
            ConfigError: datasketch is missing.
        """
        self.ready()
        from datasketch import MinHash, MinHashLSH

        texts = list(_texts(items, self.fields))
        # The last 4,096 that were asked for, so that memory does not grow with the rows.
        grams = lru_cache(4096)(lambda row: _grams(texts[row], self.size))
        bands, hashes = _bands(self.threshold)
        kept = MinHashLSH(num_perm=bands * hashes, params=(bands, hashes))
        # CRC-32 is quick and, unlike Python's hash, the same in every process.
        empty = MinHash(num_perm=bands * hashes, seed=1, hashfunc=zlib.crc32)
        of = np.full(len(items), -1, np.int64)
        similarity = np.full(len(items), float(self.threshold))
        for row, text in enumerate(texts):
            if not text:
                continue
            mine = grams(row)
            sketch = empty.copy()
            sketch.update_batch([gram.encode("utf-8", "surrogatepass") for gram in mine])
            # In ascending order, so that the earliest row wins a tie.
            for other in sorted(kept.query(sketch)):
                both = len(mine & grams(other))
                jaccard = both / (len(mine) + len(grams(other)) - both)
                if jaccard > similarity[row]:
                    of[row], similarity[row] = other, jaccard
            if of[row] < 0:
                kept.insert(row, sketch, check_duplication=False)
        return _selection(of, similarity, "minhash")


@dataclass
class CapDiversityFilter:
    """Keeps the first rows of each source page and of each topic.

    It counts the rows that it keeps, so it stands last in a list of filters. A page is known by its
    URL and title, in any revision; a text that the LLM wrote by itself is known by its words. Rows
    without a text, or without a topic, are not capped there.

    Attributes:
        per_page, per_topic: Rows at most; `None` for no limit. At least one is set.
    """

    per_page: int | None = None
    per_topic: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.per_page is None and self.per_topic is None:
            raise ConfigError("CapDiversityFilter has no limit", hint="Set per_page or per_topic.")
        for name, limit in (("per_page", self.per_page), ("per_topic", self.per_topic)):
            if limit is not None and not _is_count(limit):
                hint = "It is a number of rows, at least 1, or None."
                raise ConfigError(f"{name} is {limit!r}", hint=hint)

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides over all rows, in order.

        `duplicate_of` is the last row that was kept of the full page or topic.
        """
        kept: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        of, reasons = np.full(len(items), -1, np.int64), [""] * len(items)
        for row, item in enumerate(items):
            groups = list(self._groups(item))
            for group, limit, reason in groups:
                if len(kept[group]) >= limit:
                    of[row], reasons[row] = kept[group][-1], reason
                    break
            else:
                # Only now: a row that one cap drops is not counted by the other.
                for group, _, _ in groups:
                    kept[group].append(row)
        return _selection(of, np.full(len(items), np.nan), "", reasons)

    def _groups(self, item: Instruction) -> Iterator[tuple[tuple[str, ...], int, str]]:
        """Yields what a row counts for, how many rows may, and the reason to drop more."""
        page, topic = _page(item), squeeze(item.topic)
        if page and self.per_page is not None:
            yield page, self.per_page, "enough from the page"
        if topic and self.per_topic is not None:
            yield ("topic", topic), self.per_topic, "enough on the topic"


def check_fields(fields: str | Sequence[str], or_else: str = "") -> tuple[str, ...]:
    """Returns the names of texts of a row, one or several, as a tuple.

    Args:
        or_else: What else could have been given, for the hint.

    Raises:
        ConfigError: They are none, or other than the texts that a row has.
    """
    fields = (fields,) if isinstance(fields, str) else tuple(fields)
    if not fields or not set(fields) <= set(_FIELDS):
        hint = f"Use {or_else}one or more of {', '.join(_FIELDS)}."
        raise ConfigError(f"fields is {fields!r}", hint=hint)
    return fields


def _page(item: Instruction) -> tuple[str, ...]:
    """Returns what names the page of a row, in any revision; empty where it has none."""
    source, context = item.source, item.context
    # A written text has its style for a title, which is no page.
    if source.kind != "written" and (source.url or source.title):
        # Both: the documents of a .jsonl file share its name as their URL.
        return "page", source.kind, source.document or "", source.title or ""
    return ("context", context.id) if context is not None and context.text else ()


def _texts(items: Sequence[Instruction], fields: Sequence[str]) -> Iterator[str]:
    """Yields what is compared of each row; empty for a row without text."""
    for item in items:
        texts = [squeeze(getattr(item, name)) for name in fields]
        # Squeezing leaves no line break, so that one tells where a field ends.
        yield "\n".join(texts) if any(texts) else ""


def _grams(text: str, size: int) -> frozenset[str]:
    # A shorter text is its one n-gram.
    return frozenset(text[i : i + size] for i in range(max(1, len(text) - size + 1)))


def _bands(threshold: float) -> tuple[int, int]:
    """Returns how many bands, and how many hashes a band.

    The more hashes a band has, the fewer candidates there are. It has as many as still find pairs
    at the threshold: such a pair agrees in a hash with the probability `threshold`, in a band of r
    hashes with `threshold**r`, and is found if it agrees in one band at least.
    """
    for hashes in range(_HASHES // 2, 1, -1):
        bands = _HASHES // hashes
        if 1 - (1 - threshold**hashes) ** bands >= _RECALL:
            return bands, hashes
    return _HASHES, 1


def _selection(
    of: Ints, similarity: ArrayLike, index: str, reasons: Sequence[str] | None = None
) -> Selection:
    kept = of < 0
    shown = np.where(kept, np.nan, similarity)
    return Selection(np.flatnonzero(kept), of, shown, index, reasons=reasons)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
