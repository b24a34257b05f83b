"""Same text, same wording, too much from one page: what needs no model, for use before the semantic filter.

diversity=[sf.ExactDiversityFilter(), sf.LexicalDiversityFilter(), sf.SemanticDiversityFilter(),
sf.CapDiversityFilter(per_page=20)]
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import ConfigError, missing_extra
from seedfree.records import Instruction, Selection
from seedfree.text import squeeze

__all__ = ["CapDiversityFilter", "ExactDiversityFilter", "LexicalDiversityFilter"]

_FIELDS = ("instruction", "input", "output", "evidence", "topic")
_HASHES = 128
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
        self.fields = _checked(self.fields)

    def select(self, items: Sequence[Instruction]) -> Selection:
        first: dict[str, int] = {}
        of = np.full(len(items), -1, np.int64)
        for number, text in enumerate(_texts(items, self.fields)):
            if text and (earlier := first.setdefault(text, number)) < number:
                of[number] = earlier
        return _selection(of, np.ones(len(items)), "exact")


@dataclass
class LexicalDiversityFilter:
    """Drops a row whose wording is nearly that of an earlier kept row.

    The similarity of two texts is the share of their character n-grams that both hold (Jaccard).
    Characters need no word segmenter; case, white space and whatever else `ExactDiversityFilter`
    overlooks is left out first. Candidates come from MinHash in bands (Broder 1997; Leskovec et
    al., Mining of Massive Datasets, 3.4; the library datasketch), and each is then compared in
    full: a row is never dropped at or below the threshold. Of the pairs just above it at most 1 %
    go unnoticed, of the nearer ones hardly any. The answer is the same every time. It takes 0.5 to
    1 ms a row.

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
        self.fields = _checked(self.fields)
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, (int, float)):
            raise ConfigError(f"threshold is {self.threshold!r}", hint="Use a number such as 0.8.")
        if not _LOWEST <= self.threshold <= 1:
            raise ConfigError(
                f"threshold is {self.threshold!r}", hint=f"It lies between {_LOWEST} and 1."
            )
        if not _whole(self.size):
            raise ConfigError(
                f"size is {self.size!r}", hint="It is a number of characters, at least 1."
            )

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
        grams = lru_cache(4096)(lambda number: _grams(texts[number], self.size))
        bands, rows = _bands(self.threshold)
        near = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
        empty = MinHash(num_perm=bands * rows, seed=1, hashfunc=zlib.crc32)
        of, similarity = (
            np.full(len(items), -1, np.int64),
            np.full(len(items), float(self.threshold)),
        )
        for number, text in enumerate(texts):
            if not text:
                continue
            mine = grams(number)
            sketch = empty.copy()
            sketch.update_batch([gram.encode("utf-8", "surrogatepass") for gram in mine])
            for other in sorted(near.query(sketch)):
                both = len(mine & grams(other))
                jaccard = both / (len(mine) + len(grams(other)) - both)
                if jaccard > similarity[number]:
                    of[number], similarity[number] = other, jaccard
            if of[number] < 0:
                near.insert(number, sketch, check_duplication=False)
        return _selection(of, similarity, "minhash")


@dataclass
class CapDiversityFilter:
    """Keeps the first rows of each source page and of each topic.

    It counts the rows that it keeps, so it stands last in a list of filters. A page is told by its
    URL and title, in any revision; a text that the LLM wrote by itself. Rows without a text, or
    without a topic, are not capped there.

    Attributes:
        per_page, per_topic: Rows at most; `None` for no limit. At least one is set.
    """

    per_page: int | None = None
    per_topic: int | None = None

    def __post_init__(self) -> None:
        if self.per_page is None and self.per_topic is None:
            raise ConfigError("CapDiversityFilter has no limit", hint="Set per_page or per_topic.")
        for name, limit in (("per_page", self.per_page), ("per_topic", self.per_topic)):
            if limit is not None and not _whole(limit):
                raise ConfigError(
                    f"{name} is {limit!r}", hint="It is a number of rows, at least 1, or None."
                )

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides over all rows, in order; `duplicate_of` is the last row kept of the full page or topic."""
        kept: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        of, reasons = np.full(len(items), -1, np.int64), [""] * len(items)
        for number, item in enumerate(items):
            topic = squeeze(item.topic)
            groups = [
                (group, limit, reason)
                for group, limit, reason in (
                    (_page(item), self.per_page, "enough from the page"),
                    (("topic", topic) if topic else None, self.per_topic, "enough on the topic"),
                )
                if group is not None and limit is not None
            ]
            full = next(
                (
                    (kept[group], reason)
                    for group, limit, reason in groups
                    if len(kept[group]) >= limit
                ),
                None,
            )
            if full is not None:
                of[number], reasons[number] = full[0][-1], full[1]
            else:
                for group, _, _ in groups:
                    kept[group].append(number)
        return _selection(of, np.full(len(items), np.nan), "", reasons)


def _page(item: Instruction) -> tuple[str, ...] | None:
    source, context = item.source, item.context
    # A written text has its style for a title, which is no page.
    if source.kind != "written" and (source.url or source.title):
        # Both: the documents of a .jsonl file share its name as their URL.
        return "page", source.kind, source.url or "", source.title or ""
    return ("context", context.id) if context is not None and context.text else None


def _texts(items: Iterable[Instruction], fields: Sequence[str]) -> Iterable[str]:
    """Each row's squeezed texts, joined by line breaks, which squeezing leaves none of; empty if all of them are."""
    for item in items:
        parts = [squeeze(getattr(item, name)) for name in fields]
        yield "\n".join(parts) if any(parts) else ""


def _grams(text: str, size: int) -> frozenset[str]:
    return frozenset(text[i : i + size] for i in range(max(1, len(text) - size + 1)))


def _bands(threshold: float) -> tuple[int, int]:
    """Bands and hashes a band: as many hashes, for few candidates, as still find pairs at the threshold."""
    return next(
        (_HASHES // rows, rows)
        for rows in range(_HASHES // 2, 0, -1)
        if 1 - (1 - threshold**rows) ** (_HASHES // rows) >= _RECALL or rows == 1
    )


def _selection(
    of: NDArray[np.int64], similarity: Any, index: str, reasons: Sequence[str] | None = None
) -> Selection:
    kept = of < 0
    return Selection(
        np.flatnonzero(kept), of, np.where(kept, np.nan, similarity), index, reasons=reasons
    )


def _checked(fields: str | Sequence[str]) -> tuple[str, ...]:
    fields = (fields,) if isinstance(fields, str) else tuple(fields)
    if not fields or not set(fields) <= set(_FIELDS):
        raise ConfigError(f"fields is {fields!r}", hint=f"Use one or more of {', '.join(_FIELDS)}.")
    return fields


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
