"""Dumps of a wiki as they are downloaded: what stands in them, page by page, and nothing cut yet.

A format is a class with `pages(skip)` and `read(page)`. To add one, copy `_Rows`.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from seedfree.contexts.formats.wikihtml import read_wikihtml
from seedfree.contexts.formats.wikitext import Namespaces, Wikitext, read_wikitext
from seedfree.errors import ConfigError, missing_extra

__all__ = ["Dump", "RawPage", "fingerprint", "open_dump"]

# Bytes.
_CHUNK = 2**20
# Bytes of a page with all around it: more is no article, and would fill the memory.
_LONGEST_PAGE = 2**27
# Blocks of a file that its fingerprint is made of, and their bytes. All of a file below 4 MiB is.
_BLOCKS, _BLOCK = 64, 2**16
# As MediaWiki writes a title into an address.
_UNQUOTED = ";@$!*(),/~:"
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+")
# Characters at the end of an HTML page.
_FOOT = 4000
_REVISION = re.compile(r"[?&;]oldid=(\d+)")
_ROWS = (".parquet", ".jsonl", ".jsonl.gz")
_KNOWN = (".xml", ".xml.bz2", ".zim", *_ROWS)
# As Wikimedia names the parts of a large dump, by the ids of their first and last page.
_PART = re.compile(
    r"(?P<dump>.+?)(?P<number>\d*)\.xml-p(?P<first>\d{1,15})p(?P<last>\d{1,15})(\.bz2)?",
    re.IGNORECASE,
)
_BROKEN = (ParseError, EOFError, OSError, KeyError, ValueError, zlib.error)


class RawPage(NamedTuple):
    """A page as the dump has it.

    Attributes:
        id: No other page has it.
        source: Wikitext, HTML or plain text, by the format.
        url: Empty where nothing says it.
        revision: Its revision id; empty where the dump names none.
        target: Of a redirect.
        page_id: Its id in the wiki; empty where the dump names none.
    """

    id: int
    title: str
    source: str
    url: str = ""
    revision: str = ""
    namespace: int = 0
    target: str = ""
    page_id: str = ""


class Dump(Protocol):
    """A dump of one wiki.

    Attributes:
        headed: Whether its texts have headings, `== Heading ==`.
    """

    headed: bool

    def pages(self, skip: int = 0) -> Iterator[RawPage]:
        """Yields the pages in order, without the first few of them.

        Raises:
            ConfigError: It is damaged, or no such dump.
        """
        ...

    def read(self, page: RawPage) -> Wikitext:
        """Returns what a reader of a page sees."""
        ...


def open_dump(path: Path) -> Dump:
    """Opens a dump by its name.

    Raises:
        ConfigError: There is none, it has another format, or a package for it is missing.
    """
    files = _files(path)
    name = files[0].name.casefold()
    if name.endswith(".zim"):
        return _ZIM(files[0])
    return _Rows(files) if name.endswith(_ROWS) else _XML(files)


def _files(path: Path) -> list[Path]:
    """Returns the files of a dump, in order: one, or those of a folder."""
    if not path.exists():
        raise ConfigError(f"There is no dump {path}", hint="Download it first.")
    dumps: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if name := _dump_of(file):
            dumps.setdefault(name, []).append(file)
    if not dumps:
        hint = f"Its name ends with one of {', '.join(_KNOWN)}."
        raise ConfigError(f"{path} is no dump that can be read", hint=hint)
    if len(dumps) > 1:
        what = f"{path} holds more than one dump: {', '.join(list(dumps)[:3])}"
        raise ConfigError(what, hint="Keep each in a folder of its own.")
    (files,) = dumps.values()
    return _by_pages(files) if _PART.fullmatch(files[0].name) else files


def _dump_of(file: Path) -> str:
    """Names the dump to which a file belongs; empty if that is none."""
    if part := _PART.fullmatch(file.name):
        return part["dump"]
    name = file.name.casefold()
    if name.endswith(_ROWS):
        return "Parquet or JSONL"
    return file.name if name.endswith(_KNOWN) else ""


def _by_pages(parts: Sequence[Path]) -> list[Path]:
    """Sorts the parts of a dump by the ids of their pages.

    Raises:
        ConfigError: One is missing between others, or is there twice.
    """
    places = {}
    for part in parts:
        if match := _PART.fullmatch(part.name):
            places[part] = int(match["first"]), int(match["last"])
    ordered = sorted(parts, key=places.__getitem__)
    for before, after in pairwise(ordered):
        if places[after][0] != places[before][1] + 1:
            what = f"{after.name} does not go on where {before.name} ends"
            hint = "Download the parts in between, and keep each part once."
            raise ConfigError(what, hint=hint)
    return ordered


def fingerprint(path: Path) -> str:
    """Names a dump by its size and by blocks spread over it, in 16 hexadecimal digits.

    Raises:
        ConfigError: There is no such dump, or it cannot be read.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        try:
            size = file.stat().st_size
            digest.update(f"{size} ".encode())
            with file.open("rb") as data:
                step = max((size - _BLOCK) // (_BLOCKS - 1), _BLOCK)
                for start in range(0, size, step):
                    data.seek(start)
                    digest.update(data.read(_BLOCK))
        except OSError as error:
            raise ConfigError(f"Cannot read {file}: {error.strerror}") from error
    return digest.hexdigest()[:16]


@dataclass
class _XML:
    """An XML export (mediawiki.org/wiki/Help:Export), such as `pages-articles`, or its parts.

    A multistream file whose index stands beside it need not be read up to the page wanted.
    """

    files: Sequence[Path]
    headed: bool = field(default=True, init=False)
    _names: Namespaces = field(default_factory=Namespaces, init=False)
    _base: str = field(default="", init=False)

    def pages(self, skip: int = 0) -> Iterator[RawPage]:
        for file in self.files:
            try:
                start, skip = _place(file, skip)
                for element in _elements(file, start):
                    if _tag(element) == "siteinfo":
                        self._about(element)
                    elif skip:
                        skip -= 1
                    else:
                        yield self._page(element)
            except _BROKEN as error:
                what = f"{file.name} is damaged, or no XML dump: {error}"
                raise ConfigError(what, hint="Download it again.") from error

    def read(self, page: RawPage) -> Wikitext:
        return read_wikitext(page.source, self._names)

    def _about(self, site: Element) -> None:
        names: dict[str, list[str]] = {"6": [], "14": []}
        for each in site.iter():
            if _tag(each) == "base" and each.text:
                self._base = f"{each.text.rpartition('/')[0]}/"
            if _tag(each) == "namespace":
                names.get(each.get("key", ""), []).append(each.text or "")
        self._names = Namespaces().with_names(names["6"], names["14"])

    def _page(self, element: Element) -> RawPage:
        parts = {_tag(child): child for child in element}
        # Of a page with its history, the last revision.
        revision = {_tag(child): child.text or "" for child in parts.get("revision", ())}
        title = parts["title"].text or ""
        # Scripts, styles and data are no text.
        is_text = revision.get("model", "wikitext") == "wikitext"
        target = parts["redirect"].get("title", "") if "redirect" in parts else ""
        page_id = _number(parts["id"].text or "")
        return RawPage(
            id=page_id,
            title=title,
            source=revision.get("text", "") if is_text else "",
            url=_address(self._base, title),
            revision=revision.get("id", ""),
            namespace=int(parts["ns"].text or 0) if "ns" in parts else 0,
            target=target,
            page_id=str(page_id),
        )


def _elements(path: Path, start: int) -> Iterator[Element]:
    """Yields the site's description and the pages, each cleared when the next is asked for."""
    parser: Any = XMLPullParser(("start", "end"))
    root: Element | None = None
    unfinished = 0
    for chunk in _chunks(path, start):
        parser.feed(chunk)
        unfinished += len(chunk)
        if unfinished > _LONGEST_PAGE:
            raise ValueError("a page is longer than 128 MiB; histories are not read")
        for event, element in parser.read_events():
            if root is None:
                root = element
            elif event == "end" and _tag(element) in ("siteinfo", "page"):
                yield element
                root.clear()
                unfinished = 0
    parser.close()


def _chunks(path: Path, start: int) -> Iterator[bytes]:
    """Yields the XML, in which the pages before an offset of the file are left out."""
    with path.open("rb") as raw:
        if start:
            # The first stream says what wiki it is.
            yield bz2.BZ2Decompressor().decompress(raw.read(_offsets(path)[0][0]))
            raw.seek(start)
        file: IO[bytes] = raw
        if path.suffix.casefold() == ".bz2":
            file = bz2.BZ2File(raw)
        while chunk := file.read(_CHUNK):
            yield chunk


def _place(path: Path, skip: int) -> tuple[int, int]:
    """Returns where to begin in the file, and how many pages to pass over from there."""
    start = before = 0
    for offset, pages in _offsets(path) if skip else []:
        if pages > skip:
            break
        start, before = offset, pages
    return start, skip - before


def _offsets(path: Path) -> list[tuple[int, int]]:
    """Reads the index: where each stream of pages begins, and how many pages precede it."""
    if part := _PART.fullmatch(path.name):
        name = f"{part['dump']}-index{part['number']}.txt-p{part['first']}p{part['last']}.bz2"
    else:
        name = f"{path.name.removesuffix('.xml.bz2')}-index.txt.bz2"
    index = path.with_name(name)
    if path.suffix != ".bz2" or not index.is_file():
        return []
    offsets: dict[int, int] = {}
    with bz2.open(index, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            offsets.setdefault(int(line.partition(":")[0]), number)
    return list(offsets.items())


def _number(text: str) -> int:
    """Returns the id of a page, which SQLite must be able to keep.

    Raises:
        ValueError: It is none.
    """
    if not text.isdecimal() or len(text) > 15:
        raise ValueError(f"{text[:20]!r} is no id of a page")
    return int(text)


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _address(base: str, title: str) -> str:
    return base and f"{base}{quote(title.replace(' ', '_'), safe=_UNQUOTED)}"


@dataclass
class _Rows:
    """Rows with `id`, `url`, `title` and `text`: the form of the data set wikimedia/wikipedia."""

    files: Sequence[Path]
    headed: bool = field(default=False, init=False)

    def pages(self, skip: int = 0) -> Iterator[RawPage]:
        number = 0
        for file in self.files:
            is_parquet = file.suffix.casefold() == ".parquet"
            rows = _parquet(file) if is_parquet else _json_lines(file)
            for row in rows:
                number += 1
                if number > skip:
                    yield _row(row, number, file)

    def read(self, page: RawPage) -> Wikitext:
        return Wikitext(page.source)


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise missing_extra("pyarrow", "dump") from error

    try:
        with ParquetFile(path) as file:
            wanted = {"id", "url", "title", "text"}.intersection(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=256, columns=sorted(wanted)):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        what = f"{path.name} is damaged, or no Parquet file: {error}"
        raise ConfigError(what, hint="Download it again.") from error


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    opened: Any = gzip.open if path.suffix.casefold() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _object(line, path, number)
    except _BROKEN as error:
        what = f"{path.name} is damaged, or not UTF-8: {error}"
        raise ConfigError(what, hint="Download it again.") from error


def _object(line: str, path: Path, number: int) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        what = f"{path.name}, line {number}: not JSON"
        raise ConfigError(what, hint="One object a line.") from error
    return value if isinstance(value, dict) else {}


def _row(row: Mapping[str, Any], number: int, file: Path) -> RawPage:
    title, text = row.get("title"), row.get("text")
    if not isinstance(title, str) or not isinstance(text, str):
        what = f"{file.name}: row {number} has no title or text"
        raise ConfigError(what, hint="The columns are id, url, title and text.")
    page_id, url = str(row.get("id", "")), row.get("url")
    if not page_id.isdecimal() or len(page_id) > 15:
        page_id = ""
    return RawPage(
        id=int(page_id or number),
        title=title,
        source=text,
        url=url if isinstance(url, str) else "",
        revision=_hashed(text),
        page_id=page_id,
    )


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass
class _ZIM:
    """A file of Kiwix (wiki.openzim.org): pages as HTML, compressed together."""

    path: Path
    headed: bool = field(default=True, init=False)

    def pages(self, skip: int = 0) -> Iterator[RawPage]:
        try:
            from libzim.reader import Archive
        except ImportError as error:
            raise missing_extra("libzim", "zim") from error

        try:
            archive = Archive(self.path)
            for number in range(skip, archive.all_entry_count):
                yield self._page(archive, archive._get_entry_by_id(number), number)
        except (RuntimeError, *_BROKEN) as error:
            what = f"{self.path.name} is damaged, or no ZIM file: {error}"
            raise ConfigError(what, hint="Download it again.") from error

    def read(self, page: RawPage) -> Wikitext:
        return read_wikihtml(page.source)

    def _page(self, archive: Any, entry: Any, number: int) -> RawPage:
        if entry.is_redirect:
            return RawPage(number, entry.title, "", target=entry.get_redirect_entry().title)
        item = entry.get_item()
        if not item.mimetype.startswith("text/html"):
            return RawPage(number, entry.title, "", namespace=-1)
        source = bytes(item.content).decode("utf-8", "replace")
        # At its end a page may name the revision that it shows.
        named = _REVISION.findall(source[-_FOOT:])
        revision = named[-1] if named else _hashed(source)
        keys = archive.metadata_keys
        site = archive.get_metadata("Source").decode() if "Source" in keys else ""
        site = site.removeprefix("https://").rstrip("/")
        name = entry.path.removeprefix("A/").replace("_", " ")
        url = _address(f"https://{site}/wiki/", name) if _HOST.fullmatch(site) else ""
        return RawPage(number, entry.title, source, url, revision)
