"""Which of many texts stand in another one, whole or in part: by their runs of n characters.

A run is known by a 64-bit hash (Karp and Rabin 1987: a polynomial, here of a random number for each
character), which takes the same time for any length. Excerpts are compared as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from seedfree.records import Source
from seedfree.text import squeeze

__all__ = ["Found", "Shingles", "page_names", "row_names"]

_ADDRESS = re.compile(r"(?:https?:)?//|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?/", re.IGNORECASE)
_REVISION = re.compile(r"\d{6,}|[0-9a-f]{16,}")
# What says how a page is shown or who sent the reader, not which page it is.
_VIEW = re.compile(
    r"utm_\w+|fbclid|gclid|oldid|diff|action|section|useskin|variant|uselang|mobileaction|redirect"
)

Name = tuple[str, ...]


def page_names(text: str) -> set[Name]:
    """What the source of a question says: an address, a title, or a revision's id; each as names that can be equal."""
    text = text.strip()
    if not text:
        return set()
    if _ADDRESS.match(text):
        names = _address(text)
        return names | {("title", name[-1]) for name in names if name[0] == "wiki"}
    names = {("file", text), ("title", _title(text)), ("named", _title(text))}
    return names | {("revision", text)} if _REVISION.fullmatch(text) else names


def row_names(source: Source) -> set[Name]:
    """The names of a row's page; none of a text that was written, whose title is its style."""
    if source.kind in ("written", "topic"):
        return set()
    url = (source.url or "").strip()
    names = _address(url) if _ADDRESS.match(url) else set()
    names |= {("named", name[-1]) for name in names if name[0] == "wiki"}
    if source.revision:
        names |= {("revision", host, source.revision) for _, host, *_ in names} | {
            ("revision", source.revision)
        }
    if source.title:
        # A title alone may be any wiki's; beside an address it answers a question that names the
        # title alone.
        names.add(("named" if url else "title", _title(source.title)))
    elif url and not _ADDRESS.match(url):
        # The documents of one file share its name, so that where they have titles it says too
        # little.
        names.add(("file", url))
    return names


def _title(text: str) -> str:
    return squeeze(text.replace("_", " "))


def _address(url: str) -> set[Name]:
    """`("url", host, path)`; of a wiki's page also `("wiki", host, title)`, and of an old revision its id."""
    try:
        parsed = urlsplit(url if "//" in url[:8] else f"//{url}")
        port = parsed.port
    except ValueError:
        return {("file", url)}
    labels = (parsed.hostname or "").rstrip(".").split(".")
    host = ".".join(label for label in labels[:-2] if label not in ("www", "m", "mobile"))
    host = ".".join(filter(None, [host, *labels[-2:]])) + (
        f":{port}" if port not in (None, 80, 443) else ""
    )
    query = {key: value for key, value in parse_qsl(parsed.query) if value}
    path = unquote(parsed.path).rstrip("/")
    names: set[Name] = set()
    if "oldid" in query:
        names.add(("revision", host, query["oldid"]))
    title = (
        query.pop("title", "")
        if path.endswith(("index.php", "/w", "/wiki"))
        else path.partition("/wiki/")[2]
    )
    if title:
        return names | {("wiki", host, _title(title))}
    rest = sorted((key, value) for key, value in query.items() if not _VIEW.fullmatch(key))
    place = squeeze(path) + "".join(f"&{key}={value}" for key, value in rest)
    # A bare index.php is every page of its wiki.
    return names if path.endswith("index.php") and not rest else names | {("url", host, place)}


Words = NDArray[np.uint64]
Ints = NDArray[np.intp]

_BASE = 0x9E3779B97F4A7C15  # Any odd number whose powers repeat late.
_BITS = 24  # Of a hash, those that it is looked up by: 64 MB at most.


@dataclass(frozen=True)
class Found:
    """A text of which enough stands in another: its number, the share of its runs, and a piece that both hold."""

    number: int
    share: float
    excerpt: str


class Shingles:
    """Texts by their runs of `size` characters; a shorter one is a single run.

    Args:
        texts: None empty.
        groups, times: Of each text: which group it is of (from 0), and how often it occurs there. A
            run that occurs in a group more often than `common` is not looked for; each text counts
            once for each of its times.
    """

    def __init__(
        self,
        texts: Sequence[str],
        groups: Sequence[int],
        times: Sequence[int],
        *,
        size: int,
        common: int,
    ) -> None:
        self._texts, self._size = texts, size
        self._lengths = sorted({min(len(text), size) for text in texts})
        each = [np.unique(_Runs(text).of(min(len(text), size))) for text in texts]
        hashes: Words = np.concatenate([*each, np.empty(0, np.uint64)])
        owners = np.repeat(np.arange(len(texts)), [len(one) for one in each])
        del each
        known, inverse = np.unique(hashes, return_inverse=True)
        spans = max(groups, default=0) + 1
        place = inverse * spans + np.asarray(groups, np.intp)[owners]
        often = np.bincount(
            place, np.asarray(times, np.float64)[owners], minlength=len(known) * spans
        )
        rare = np.flatnonzero(often[place] <= common)
        rare = rare[np.argsort(inverse[rare], kind="stable")]
        self._owners = owners[rare]
        self._totals = np.bincount(self._owners, minlength=len(texts))
        ids, starts = np.unique(inverse[rare], return_index=True)
        self._known: Words = known[ids]
        self._starts = np.append(starts, len(rare))
        bits = min(len(ids).bit_length() + 1, _BITS)
        self._shift = np.uint64(64 - bits)
        buckets = np.bincount((self._known >> self._shift).astype(np.intp), minlength=1 << bits)
        self._first = np.concatenate([[0], np.cumsum(buckets)]).astype(np.int32)

    def find(self, text: str, least: float, longest: int) -> list[Found]:
        """The texts of whose runs at least the share `least` stands in `text`, by number.

        Args:
            longest: Characters of an excerpt at most, unless a run is longer.
        """
        runs = _Runs(text)
        found = [self._at(runs.of(length)) for length in self._lengths if length <= len(text)]
        if not any(len(ids) for ids, _ in found):
            return []
        ids, first = np.unique(np.concatenate([ids for ids, _ in found]), return_index=True)
        places = np.concatenate([at for _, at in found])[first]
        counts = self._starts[ids + 1] - self._starts[ids]
        ends = np.cumsum(counts)
        spread = np.arange(ends[-1]) + np.repeat(self._starts[ids] - (ends - counts), counts)
        numbers, where, held = np.unique(
            self._owners[spread], return_inverse=True, return_counts=True
        )
        shares = held / self._totals[numbers]
        place = np.full(len(numbers), len(text))
        np.minimum.at(place, where, np.repeat(places, counts))
        enough = np.flatnonzero(shares >= least)
        return [
            Found(number, share, excerpt)
            for number, share, at in zip(
                numbers[enough].tolist(),
                shares[enough].tolist(),
                place[enough].tolist(),
                strict=True,
            )
            if (excerpt := self._excerpt(text, at, self._texts[number], longest))
        ]

    def _excerpt(self, text: str, at: int, known: str, longest: int) -> str:
        length = min(len(known), self._size)
        start = known.find(text[at : at + length])
        if start < 0:
            return ""
        most = min(len(text) - at, len(known) - start, max(longest, length))
        while length < most and text[at + length] == known[start + length]:
            length += 1
        return text[at : at + length]

    def _at(self, hashes: Words) -> tuple[Ints, Ints]:
        """Numbers of the known runs among hashes, and their places."""
        bucket = (hashes >> self._shift).astype(np.intp)
        at, end = self._first[bucket], self._first[bucket + 1]
        places = np.flatnonzero(at < end)
        at, end, wanted = at[places], end[places], hashes[places]
        found: list[tuple[Any, Any]] = [(np.empty(0, np.intp), np.empty(0, np.intp))]
        while len(places):
            same = self._known[at] == wanted
            found.append((at[same].astype(np.intp), places[same]))
            at += 1
            left = ~same & (at < end)
            places, at, end, wanted = places[left], at[left], end[left], wanted[left]
        return np.concatenate([ids for ids, _ in found]), np.concatenate(
            [each for _, each in found]
        )


class _Runs:
    """The hashes of all runs of one text: sums of its characters' numbers times powers, from prefix sums of these."""

    def __init__(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        powers, self._inverse = _powers(1 << len(codes).bit_length())
        self._sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(_characters()[codes] * powers[: len(codes)], out=self._sums[1:])

    def of(self, length: int) -> Words:
        """Of the runs of a length, at most the text's, by where they begin."""
        sums = self._sums[length:] - self._sums[: len(self._sums) - length]
        sums *= self._inverse[: len(sums)]
        return sums


@lru_cache(1)
def _characters() -> Words:
    return np.random.default_rng(0).integers(0, 2**64, 0x110000, np.uint64)


@lru_cache(4)
def _powers(n: int) -> tuple[Words, Words]:
    """`_BASE ** i` and its inverse, modulo 2 ** 64, for i below n + 1."""
    made = []
    for base in (_BASE, pow(_BASE, -1, 2**64)):
        powers = np.full(n + 1, base, np.uint64)
        powers[0] = 1
        made.append(np.multiply.accumulate(powers))
    return made[0], made[1]
