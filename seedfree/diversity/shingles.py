"""What a row and a benchmark's question may share: runs of characters, and the page they are from.

`Shingles` finds which of many texts stand in another one, whole or in part, by their runs of n
characters. A run is known by a 64-bit hash (Karp and Rabin 1987: a polynomial, here of a random
number for each character), which takes the same time for any length. Excerpts are compared as text.

`page_names` and `row_names` say under which names a page may be known; pages with a name in common
are the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from seedfree.records import Source
from seedfree.text import squeeze

__all__ = ["Overlap", "Shingles", "page_names", "row_names"]

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]
Name = tuple[str, ...]

_BASE = 0x9E3779B97F4A7C15  # Any odd number whose powers repeat late.
_BITS = 24  # Of a hash, those that it is looked up by: 64 MB at most.


@dataclass(frozen=True)
class Overlap:
    """A text of which enough stands in another one.

    Attributes:
        number: The text's.
        share: Of its runs, those that stand there.
        excerpt: A piece that both hold.
    """

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
        runs = [np.unique(_Runs(text).of(min(len(text), size))) for text in texts]
        hashes: Hashes = np.concatenate([*runs, np.empty(0, np.uint64)])
        owners = np.repeat(np.arange(len(texts)), [len(each) for each in runs])
        del runs  # `hashes` holds them all once more
        known, inverse = np.unique(hashes, return_inverse=True)
        rare = self._rare(inverse, owners, groups, times, common)
        rare = rare[np.argsort(inverse[rare], kind="stable")]
        # Each known run with its texts: `_owners` from `_starts[i]` to `_starts[i + 1]`.
        self._owners = owners[rare]
        self._totals = np.bincount(self._owners, minlength=len(texts))
        ids, starts = np.unique(inverse[rare], return_index=True)
        self._known: Hashes = known[ids]
        self._starts = np.append(starts, len(rare))
        # A hash is looked up by its leading bits, and from there one after another.
        bits = min(len(ids).bit_length() + 1, _BITS)
        self._shift = np.uint64(64 - bits)
        buckets = np.bincount((self._known >> self._shift).astype(np.intp), minlength=1 << bits)
        self._first = np.concatenate([[0], np.cumsum(buckets)]).astype(np.int32)

    @staticmethod
    def _rare(
        inverse: Indices,
        owners: Indices,
        groups: Sequence[int],
        times: Sequence[int],
        common: int,
    ) -> Indices:
        """Returns which runs occur in their group no more often than `common`."""
        spans = max(groups, default=0) + 1
        place = inverse * spans + np.asarray(groups, np.intp)[owners]
        often = np.bincount(place, np.asarray(times, np.float64)[owners])
        return np.flatnonzero(often[place] <= common)

    def find(self, text: str, least: float, longest: int) -> list[Overlap]:
        """Returns the texts of whose runs at least the share `least` stands in `text`, by number.

        Args:
            longest: Characters of an excerpt at most, unless a run is longer.
        """
        runs = _Runs(text)
        lookups = [self._look_up(runs.of(n)) for n in self._lengths if n <= len(text)]
        if not any(len(ids) for ids, _ in lookups):
            return []
        ids, first = np.unique(np.concatenate([ids for ids, _ in lookups]), return_index=True)
        places = np.concatenate([places for _, places in lookups])[first]
        # All pairs of a run that stands in `text` and a text that holds it.
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
        columns = [array[enough].tolist() for array in (numbers, shares, place)]
        return [
            Overlap(number, share, excerpt)
            for number, share, at in zip(*columns, strict=True)
            # Two runs may have one hash: then there is nothing to show.
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

    def _look_up(self, hashes: Hashes) -> tuple[Indices, Indices]:
        """Returns the numbers of the known runs among hashes, and their places."""
        bucket = (hashes >> self._shift).astype(np.intp)
        at, end = self._first[bucket], self._first[bucket + 1]
        places = np.flatnonzero(at < end)
        at, end, wanted = at[places], end[places], hashes[places]
        ids, held = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
        # One step in all buckets at once: most hold a single run.
        while len(places):
            same = self._known[at] == wanted
            ids.append(at[same].astype(np.intp))
            held.append(places[same])
            at += 1
            left = ~same & (at < end)
            places, at, end, wanted = places[left], at[left], end[left], wanted[left]
        return np.concatenate(ids), np.concatenate(held)


class _Runs:
    """The hashes of all runs of one text.

    Each is a sum of its characters' numbers times powers of the base, taken from prefix sums, and
    divided by the power at which it begins. All of it is modulo 2 ** 64, as NumPy's integers are.
    """

    def __init__(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        powers, self._inverse = _powers(1 << len(codes).bit_length())
        self._sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(_characters()[codes] * powers[: len(codes)], out=self._sums[1:])

    def of(self, length: int) -> Hashes:
        """Returns those of the runs of a length, at most the text's, by where they begin."""
        sums = self._sums[length:] - self._sums[: len(self._sums) - length]
        sums *= self._inverse[: len(sums)]
        return sums


@lru_cache(1)
def _characters() -> Hashes:
    return np.random.default_rng(0).integers(0, 2**64, 0x110000, np.uint64)


@lru_cache(4)
def _powers(n: int) -> tuple[Hashes, Hashes]:
    """Returns `_BASE ** i` and its inverse, modulo 2 ** 64, for i below n + 1."""
    tables = []
    for base in (_BASE, pow(_BASE, -1, 2**64)):
        powers = np.full(n + 1, base, np.uint64)
        powers[0] = 1
        tables.append(np.multiply.accumulate(powers))
    return tables[0], tables[1]


_ADDRESS = re.compile(r"(?:https?:)?//|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?/", re.IGNORECASE)
# A number of a wiki, or the hash of a document.
_REVISION = re.compile(r"\d{6,}|[0-9a-f]{16,}")
# What says how a page is shown or who sent the reader, not which page it is.
_VIEW = re.compile(
    r"utm_\w+|fbclid|gclid|oldid|diff|action|section|useskin|variant|uselang|mobileaction|redirect"
)


def page_names(text: str) -> set[Name]:
    """Returns the names of the page that the source of a question gives.

    It may be an address, a title, or a revision's id. A title may be any wiki's, and any kind of
    page's, so that it has several names.
    """
    text = text.strip()
    if not text:
        return set()
    if _ADDRESS.match(text):
        names = _address(text)
        return names | {("title", name[-1]) for name in names if name[0] == "wiki"}
    names = {("file", text), ("title", _title(text)), ("named", _title(text))}
    if _REVISION.fullmatch(text):
        names.add(("revision", text))
    return names


def row_names(source: Source) -> set[Name]:
    """Returns the names of a row's page; none of a text that was written, whose title is its style.

    Not the page that `CapDiversityFilter` counts by: that is the same if all that is recorded of
    it is; this one is looked for in what others wrote about it.
    """
    if source.kind in ("written", "topic"):
        return set()
    url = (source.url or "").strip()
    is_address = _ADDRESS.match(url) is not None
    names = _address(url) if is_address else set()
    names |= {("named", name[-1]) for name in names if name[0] == "wiki"}
    if source.revision:
        hosts = [host for _, host, *_ in names]
        names |= {("revision", host, source.revision) for host in hosts}
        names.add(("revision", source.revision))
    if source.title:
        # A title alone may be any wiki's; beside an address it answers a question that names the
        # title alone.
        names.add(("named" if url else "title", _title(source.title)))
    elif url and not is_address:
        # The documents of one file share its name, so that where they have titles it says too
        # little.
        names.add(("file", url))
    return names


def _title(text: str) -> str:
    return squeeze(text.replace("_", " "))


def _address(url: str) -> set[Name]:
    """Returns the names of an address.

    `("url", host, path)`, or `("wiki", host, title)` for a wiki's page, and the id of an old
    revision.
    """
    try:
        # Only with "//" does `urlsplit` take what comes first for the host.
        parsed = urlsplit(url if "//" in url[:8] else f"//{url}")
        host = _host(parsed)
    except ValueError:
        return {("file", url)}
    query = {key: value for key, value in parse_qsl(parsed.query) if value}
    path = unquote(parsed.path).rstrip("/")
    names: set[Name] = set()
    if "oldid" in query:
        names.add(("revision", host, query["oldid"]))
    title = path.partition("/wiki/")[2]
    if path.endswith(("index.php", "/w", "/wiki")):
        title = query.pop("title", "")
    if title:
        return names | {("wiki", host, _title(title))}
    rest = sorted((key, value) for key, value in query.items() if not _VIEW.fullmatch(key))
    if path.endswith("index.php") and not rest:
        # A bare index.php is every page of its wiki.
        return names
    place = squeeze(path) + "".join(f"&{key}={value}" for key, value in rest)
    return names | {("url", host, place)}


def _host(parsed: SplitResult) -> str:
    """Returns the host without what says how the page is shown: `www`, the mobile site, the port.

    Raises:
        ValueError: The port is no number.
    """
    labels = (parsed.hostname or "").rstrip(".").split(".")
    # The last two labels are the site's own name, even if that is "m.example".
    before = ".".join(label for label in labels[:-2] if label not in ("www", "m", "mobile"))
    host = ".".join(filter(None, [before, *labels[-2:]]))
    return host if parsed.port in (None, 80, 443) else f"{host}:{parsed.port}"
