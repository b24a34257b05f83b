"""Contexts from a Wikipedia that was downloaded: no request, no limit, no network."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from seedfree._seeds import seeded
from seedfree.contexts.condition import without_end
from seedfree.contexts.dump_files import fingerprint
from seedfree.contexts.dump_index import DumpIndex, IndexedPage
from seedfree.contexts.sections import Section, check_lengths, usable, wiki_sections
from seedfree.engine.gate import piece
from seedfree.engine.http import check_positive
from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language
from seedfree.protocols import Session
from seedfree.records import Context, Source, Topic
from seedfree.text import is_code

__all__ = ["WikipediaDump"]

# Pages looked at for one topic, as with the wiki's API.
_PAGES = 4
# Words of a topic that are searched.
_WORDS = 30
# Letters of a word at least, where the search knows letters by threes alone.
_SHORTEST_WORD = 3
# Share of a topic's words, the longest, that a page must hold where none holds all.
_MOST_WORDS = 0.6
_COUNTS = ("name", "pages", "kept", "skipped", "share_skipped")


@dataclass
class WikipediaDump:
    """Searches a downloaded wiki for the topic and cuts the page it picks into sections.

    It reads an XML dump (`pages-articles`, plain or `.bz2`, or a folder of its parts), Parquet or
    JSONL files in the form of the data set `wikimedia/wikipedia` (one, or a folder of them) and ZIM
    files. The first use builds an index beside it, which takes minutes to hours; a build that was
    stopped goes on where it was. XML and Parquet need `seedfree[dump]`, ZIM files `seedfree[zim]`.

    A page whose title is the topic, or redirects to it, comes first. Of the others the run's seed
    picks one. Left out are pages that are nearly empty, in another script, mostly lists, only lists
    of other pages, or copies: above 60 % of their text stands in many pages. If a page gives
    nothing, the next one is tried.

    `Pipeline(topics="pages")` takes titles of usable pages as topics, in the order that the run's
    seed gives: one of each category, then a second one of each, and so on. So every topic meets its
    own article, and no category that a bot filled takes all places. Their kind is empty, as that of
    a random page.

    Attributes:
        path: The dump: a file, or a folder with the files of one dump.
        cache: Folder for the index. By default that of the dump.
        language: Code or `Language`. By default the run's.
        share: Weight among the run's sources, above 0.
        sections: The most sections of a page to use, at least 1.
        min_chars: Shorter sections join the one before or are dropped. In code points.
        max_chars: Longer sections are cut.
        results: Search hits to pick from, 1 to 50.
        categories: As topics, only pages in one of these categories, without the word "Category:".
            All pages if there are none. An XML dump alone names categories.
        page_chars: As topics, only pages of this length, from and to, in code points.
        random_fallback: Use a random page if the search finds nothing usable. Its title is then the
            topic.
        license: SPDX identifier of the wiki's text.

    Raises:
        ConfigError: A setting is wrong, or there is no such dump.
    """

    path: str | Path
    cache: str | Path | None = None
    language: str | Language | None = None
    share: float = 1.0
    sections: int = 2
    min_chars: int = 250
    max_chars: int = 4000
    results: int = 15
    categories: Sequence[str] = ()
    page_chars: tuple[int, int] = (0, 200_000)
    random_fallback: bool = False
    license: str | None = "CC-BY-SA-4.0"
    operational: ClassVar[frozenset[str]] = frozenset({"path", "cache"})
    _fingerprint: str = field(default="", init=False, repr=False, compare=False)
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _index: DumpIndex | None = field(default=None, init=False, repr=False, compare=False)
    _opening: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(share=self.share)
        if self.sections < 1 or not 1 <= self.results <= 50:
            raise ConfigError(
                f"sections={self.sections}, results={self.results}",
                hint="At least 1; results to 50.",
            )
        check_lengths(self.min_chars, self.max_chars)
        self.page_chars = (self.page_chars[0], self.page_chars[1])
        if not 0 <= self.page_chars[0] <= self.page_chars[1]:
            raise ConfigError(f"page_chars is {self.page_chars}", hint="Give the least, the most.")
        if isinstance(self.categories, str) or not all(
            isinstance(name, str) for name in self.categories
        ):
            raise ConfigError(
                f"categories is {self.categories!r}", hint="Give a list of their names."
            )
        self.categories = tuple(self.categories)
        self._fingerprint = fingerprint(Path(self.path))

    @property
    def identity(self) -> str:
        """Names the dump by what is in it, wherever it lies."""
        return f"dump {self._fingerprint}"

    def ready(self) -> None:
        """Builds the index where there is none.

        Raises:
            ConfigError: The dump is damaged, a package for it is missing, or the index cannot be
                kept.
        """
        self._load()

    def bind(self, session: Session) -> None:
        """Takes language and seed from a run."""
        self._session = session

    def contexts(self, topic: Topic) -> list[Context]:
        language, seed = self._pack(), self._session.seed if self._session else 0
        index = self._load()
        # All that is drawn for a topic comes from this one generator, in this order: another order
        # would pick other pages in a run that is resumed.
        rng = seeded(seed, topic.position, topic.text)
        for tried, (page_id, is_random) in enumerate(self._candidates(topic, language, rng)):
            if tried == _PAGES:
                break
            page = index.page(page_id)
            if page is None:
                continue
            about = Topic(page.title, "", topic.position) if is_random else None
            sections = self._cut(page, language)
            if sections and not (about and is_code(about.text)):
                picked = sorted(rng.sample(range(len(sections)), min(self.sections, len(sections))))
                return [self._context(page, sections[i], about) for i in picked]
        return []

    def titles(self, seed: int) -> Iterator[str]:
        """Yields titles of usable pages as topics, each drawn once: see the class."""
        index, language = self._load(), self._pack()
        pages = index.usable(self.categories, self.page_chars)
        seeded(seed, "pages").shuffle(pages)
        turns = Counter[str]()
        rounds: list[array[int]] = []
        for page_id, category in pages:
            turn = turns[category]
            turns[category] += 1
            if turn == len(rounds):
                rounds.append(array("q"))
            rounds[turn].append(page_id)
        for page_id in chain.from_iterable(rounds):
            page = index.page(page_id)
            if page and not is_code(page.title) and self._cut(page, language):
                yield page.title

    def counts(self) -> dict[str, Any]:
        """Returns how many pages the dump has, are kept, and are left out by reason."""
        about = self._load().about
        return {name: about[name] for name in _COUNTS}

    def close(self) -> None:
        """Closes the index and forgets the run."""
        index, self._index, self._session = self._index, None, None
        if index is not None:
            index.close()

    def _load(self) -> DumpIndex:
        with self._opening:
            if self._index is None:
                cache = Path(self.cache) if self.cache is not None else None
                self._index = DumpIndex.of(Path(self.path), cache)
            return self._index

    def _pack(self) -> Language:
        if self.language is not None:
            return Language.load(self.language)
        if self._session is None:
            raise ConfigError(
                "WikipediaDump has no language", hint="Outside a run, pass language='th'."
            )
        return self._session.language

    def _candidates(
        self, topic: Topic, language: Language, rng: Random
    ) -> Iterator[tuple[int, bool]]:
        """Gives ids of pages, and whether they are random: titled so, other hits, the rest."""
        index = self._load()
        titled = index.titled(topic.text)
        for page_id in titled:
            yield page_id, False
        hits = [page_id for page_id in self._search(topic, language) if page_id not in titled]
        for page_id in rng.sample(hits, len(hits)):
            yield page_id, False
        if self.random_fallback:
            for _ in range(_PAGES):
                if (drawn := index.draw(rng)) is not None:
                    yield drawn, True

    def _search(self, topic: Topic, language: Language) -> list[int]:
        index = self._load()
        words = [word for word in language.segment(topic.text) if any(map(str.isalnum, word))]
        if index.unspaced:
            long = [word for word in words if len(word) >= _SHORTEST_WORD]
            words = long or [part for part in topic.text.split() if len(part) >= _SHORTEST_WORD]
        words = list(dict.fromkeys(words))[:_WORDS]
        hits = index.search(words, self.results)
        if not hits and len(words) > 1:
            longest = sorted(words, key=len, reverse=True)
            hits = index.search(longest[: ceil(_MOST_WORDS * len(words))], self.results)
        return hits

    def _cut(self, page: IndexedPage, language: Language) -> list[Section]:
        if page.reason:
            piece().skipped.append(page.reason)
            return []
        if self._load().headed:
            sections = wiki_sections(page.text, language.end_sections)
        else:
            sections = [Section("", without_end(page.text, language.end_sections))]
        return usable(sections, language, self.min_chars, self.max_chars)

    def _context(self, page: IndexedPage, section: Section, about: Topic | None) -> Context:
        source = Source(
            "wikipedia",
            page.title,
            page.url or None,
            page.revision,
            self.license,
            page_id=page.page_id or None,
        )
        # A wiki in another language than the run's says so.
        language = Language.load(self.language).code if self.language else ""
        return Context(section.text, section.titled(page.title), about, language, source)
