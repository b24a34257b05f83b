"""Contexts from a folder of the user's own texts, in the formats that people write in."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, Field

from seedfree.contexts.condition import cleaned, fault
from seedfree.contexts.formats import Parsed
from seedfree.contexts.formats.docx import read_docx
from seedfree.contexts.formats.epub import read_epub
from seedfree.contexts.formats.pdf import read_pdf
from seedfree.contexts.formats.web import read_html
from seedfree.contexts.sections import (
    Section,
    block_sections,
    check_lengths,
    fit,
    markdown_sections,
    opening,
)
from seedfree.engine.http import check_positive
from seedfree.engine.schema import parse
from seedfree.errors import ConfigError, InvalidReplyError, check_types
from seedfree.protocols import Session
from seedfree.records import Context, Prompt, Source, Topic
from seedfree.text import is_code, letters_and_digits, shown

__all__ = ["DocumentSource"]

_LOG = logging.getLogger("seedfree")
_FRONT_MATTER = "---"
# Bytes of a file at most: it is read into memory as a whole, and its text takes up to five times as
# much there.
_LARGEST = 2**30
# Characters of a title that a document gives itself. Titles become topics, and topics prompts.
_LONGEST_TITLE = 200
# Characters that the LLM is shown of a text without a title.
_READ_FOR_TITLE = 1500
# Where a text says its title, in the order of trust. A first line is one if it is short, ends no
# sentence and stands alone.
_TITLES = (
    re.compile(r"<title\b[^<>]*>(.{0,400}?)</title>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<h1\b[^<>]*>(.{0,400}?)</h1>", re.DOTALL | re.IGNORECASE),
    re.compile(r"^# +([^\n]{1,200}?)[ #]*$", re.MULTILINE),
    re.compile(r"\A\s*((?![#>|*`!<\[-])[^\n]{1,80})(?<![.!?。！？។။;:,])\n[ \t]*\n(?=\s*\S)"),
)


class Title(BaseModel):
    """What the LLM must answer."""

    title: str = Field(min_length=2, max_length=120)


class _Document(NamedTuple):
    """A document; its title is empty where it has none."""

    title: str
    sections: list[Section]
    source: Source


@dataclass
class DocumentSource:
    """Gives sections of the documents in a folder and its subfolders.

    A `.txt` file is one document. A `.md` file is cut at its headings. Both may begin with front
    matter (`title`, `url`, `license`). Each line of a `.jsonl` file is a document, an object with
    `text` and optionally `title`, `url` and `license`. Files that end in `.pdf`, `.docx`, `.html`,
    `.htm`, `.xhtml` or `.epub` need `seedfree[documents]` and are cut at their headings, too; the
    source of a section names its page (`a.pdf#page=3`) or chapter (`b.epub#ch2.xhtml`). Documents
    come in the order of the files' names.

    A document's title is the one it is given, else its first heading, else a short first line with
    a blank line behind it. A file's name is none. For a text without a title the run's LLM is asked
    for one, just before its instructions are.

    The source brings a topic for every section, so a run over documents alone generates none. The
    topic of a row is the title of its text. For another topic the source gives the sections that
    share most of the topic's character trigrams, or nothing.

    Attributes:
        folder: Is read when it is first needed. Files and folders that begin with a dot are left
            out. A link to a file outside it is refused, and so is a file above 1 GiB.
        share: Weight among the run's sources, above 0.
        sections: The most sections to give for a topic from elsewhere, at least 1.
        min_chars: Shorter sections join the one before or are dropped. In code points.
        max_chars: Longer sections are cut.
        resemblance: The share of another topic's trigrams, above 0 to 1 and weighted by rarity,
            that a section must hold.
        license: SPDX identifier for documents that name none.

    Raises:
        ConfigError: A setting is wrong, or the folder holds no such file.
    """

    folder: str | Path
    share: float = 1.0
    sections: int = 2
    min_chars: int = 100
    max_chars: int = 4000
    resemblance: float = 0.6
    license: str | None = None
    operational: ClassVar[frozenset[str]] = frozenset({"folder"})
    _files: list[Path] = field(default_factory=list, init=False, repr=False, compare=False)
    _others: list[Path] = field(default_factory=list, init=False, repr=False, compare=False)
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _library: dict[str, Context] | None = field(default=None, init=False, repr=False, compare=False)
    _folded: list[tuple[str, Context]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(share=self.share)
        if self.sections < 1 or not 0 < self.resemblance <= 1:
            raise ConfigError(
                f"sections={self.sections}, resemblance={self.resemblance}",
                hint="sections is at least 1, resemblance above 0 and at most 1.",
            )
        check_lengths(self.min_chars, self.max_chars)
        folder = Path(self.folder)
        if not folder.is_dir():
            raise ConfigError(
                f"There is no folder {folder}", hint=f"Give a folder of {_KINDS} files."
            )
        self._files, self._others = _readable(folder)
        if not self._files:
            raise ConfigError(f"{folder} holds no {_KINDS} file", hint="Put documents there.")

    def ready(self) -> None:
        """Reads the documents.

        Raises:
            ConfigError: A file cannot be read, a package for it is missing, or none holds a text.
        """
        self._load()

    def topics(self) -> list[Topic]:
        return [Topic(text, "given", i) for i, text in enumerate(self._load())]

    def bind(self, session: Session) -> None:
        """Takes the LLM that is asked for titles from a run."""
        self._session = session

    def contexts(self, topic: Topic) -> list[Context] | Awaitable[list[Context]]:
        own = self._load().get(topic.text)
        if own is None:
            contexts, about = self._resembling(topic.text), None
        else:
            contexts, about = [own], Topic(own.title or topic.text, "given", topic.position)
        contexts = [replace(context, topic=about) for context in contexts]
        if self._session is None or all(context.title for context in contexts):
            return contexts
        return self._titled(contexts, self._session)

    def close(self) -> None:
        """Forgets the run."""
        self._session = None

    async def _titled(self, contexts: Sequence[Context], session: Session) -> list[Context]:
        """Asks for the titles that are missing. One that cannot be had stays out."""
        titled = []
        for context in contexts:
            # A text that is of no use is not paid for.
            if context.title is None and fault(context.text, session.language) is None:
                context = await self._with_title(context, session)
            titled.append(context)
        return titled

    async def _with_title(self, context: Context, session: Session) -> Context:
        language = session.language
        # The beginning of a text says what it is about.
        start = Context(text=context.text[:_READ_FOR_TITLE], seed=session.seed)
        prompt = Prompt(
            language.text("title", context=start.block()),
            system=language.persona,
            schema=Title,
            max_tokens=256,
        )
        reply = await session.generate(prompt, check=_read_title)
        if reply.error is not None:
            return context
        title = _read_title(reply.text)
        topic = context.topic and replace(context.topic, text=title)
        source = replace(context.source, title=title)
        return replace(context, title=title, topic=topic, source=source)

    def _load(self) -> dict[str, Context]:
        """Returns the contexts by the topics that lead to them."""
        if self._library is None:
            library = self._read()
            self._folded = [
                (letters_and_digits(f"{name} {context.text}"), context)
                for name, context in library.items()
            ]
            self._library = library
        return self._library

    def _read(self) -> dict[str, Context]:
        library: dict[str, Context] = {}
        taken: set[str] = set()
        numbers: dict[str, int] = {}
        unread: list[str] = []
        for document in self._documents(unread):
            for section in fit(document.sections, self.min_chars, self.max_chars):
                title = section.titled(document.title)
                source = document.source
                if section.place:
                    source = replace(source, url=f"{source.url}#{section.place}")
                context = Context(section.text, title or None, source=source)
                name = title or _beginning(section.text)
                library[_unused(name, taken, numbers)] = context
        if not library and unread:
            raise ConfigError("; ".join(unread), hint=_RECOGNIZE)
        if not library:
            raise ConfigError(
                f"No file in {self.folder} holds a text of at least {self.min_chars} characters",
                hint="Lower min_chars, or add documents.",
            )
        for what in unread:
            _LOG.warning("%s. %s", what, _RECOGNIZE)
        if others := Counter(path.suffix.lower() for path in self._others):
            kinds = ", ".join(f"{kind or 'without an ending'} ({n})" for kind, n in others.items())
            _LOG.warning("Files of other formats are left out: %s", shown(kinds))
        return library

    def _documents(self, unread: list[str]) -> Iterator[_Document]:
        """Yields the documents, and adds to `unread` what they hold beside text."""
        for path in self._files:
            name, suffix = path.relative_to(self.folder).as_posix(), path.suffix.lower()
            data = _content(path, name)
            revision = hashlib.sha256(data).hexdigest()[:16]
            # Attribution may name the file, if there is nothing better; a topic never does.
            source = Source("document", path.stem, name, revision, self.license)
            if suffix in _TEXTS:
                yield from _TEXTS[suffix](_text(data, name), source)
                continue
            parsed = _FORMATS[suffix](data, name)
            if parsed.unread:
                unread.append(f"{name}: {parsed.unread}")
            yield _parsed(parsed, source)

    def _resembling(self, text: str) -> list[Context]:
        folded = letters_and_digits(text)
        if not folded:
            return []
        grams = {folded[i : i + 3] for i in range(max(1, len(folded) - 2))}
        total, scores = 0.0, [0.0] * len(self._folded)
        # Sorted because the order of a set changes from process to process, and with it the last
        # digits of a sum.
        for gram in sorted(grams):
            holders = [i for i, (held, _) in enumerate(self._folded) if gram in held]
            weight = math.log(1 + len(self._folded) / max(1, len(holders)))
            total += weight
            for i in holders:
                scores[i] += weight
        # Equal scores go to the section that speaks of the topic most often, then to the earlier
        # one.
        best = sorted(
            range(len(scores)), key=lambda i: (-scores[i], -self._folded[i][0].count(folded), i)
        )
        good = [i for i in best if scores[i] >= self.resemblance * total]
        return [self._folded[i][1] for i in good[: self.sections]]


def _readable(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the documents of a folder and its subfolders in the order of their names.

    Files of other formats come second.

    The order is by code points, the same in every locale and file system.

    Raises:
        ConfigError: One of them is a link to a file outside the folder.
    """
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    seen = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    seen.sort(key=Path.as_posix)
    known = {**_TEXTS, **_FORMATS}
    documents = [name for name in seen if name.suffix.lower() in known]
    inside = folder.resolve()
    for name in documents:
        # What is read is sent to a model and published.
        if not (folder / name).resolve().is_relative_to(inside):
            raise ConfigError(
                f"{name} is a link that leads out of {folder}", hint="Put the file itself there."
            )
    others = [name for name in seen if name.suffix.lower() not in known]
    return [folder / name for name in documents], others


def _content(path: Path, name: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{name} is larger than 1 GiB", hint="Divide it into several files.")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Cannot read {name}: {error.strerror}", hint="Mend or remove the file."
        ) from error


def _text(data: bytes, name: str) -> str:
    """Returns the text of a file.

    Raises:
        ConfigError: It is not UTF-8.
    """
    try:
        # Editors on Windows write a byte order mark and two characters at the end of a line.
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}, line {line}: not UTF-8", hint="Save the file as UTF-8."
        ) from error


def _unused(title: str, taken: set[str], numbers: dict[str, int]) -> str:
    """Returns the topic for a title: the title itself, or with a number if that is taken.

    Args:
        taken: Topics in letters and digits alone, by which a run tells them apart. The new one is
            added.
        numbers: The last number of each title. Counting from 1 for each of many equal titles would
            take for ever.
    """
    # As a topic will hold it, so that a topic finds its context.
    wanted = name = Topic(title).text
    while letters_and_digits(name) in taken:
        numbers[wanted] = numbers.get(wanted, 1) + 1
        name = f"{wanted} ({numbers[wanted]})"
    taken.add(letters_and_digits(name))
    return name


def _named(source: Source, title: str, about: Mapping[str, Any]) -> Source:
    """Returns the document's source, with what the document says of itself."""
    values = {key: about.get(key) for key in ("url", "license")}
    own = {key: text for key, text in values.items() if isinstance(text, str) and text.strip()}
    url, license = own.get("url", source.url), own.get("license", source.license)
    return replace(source, title=title or source.title, url=url, license=license)


def _read_title(text: str) -> str:
    """Returns the title of a reply.

    Raises:
        InvalidReplyError: There is none, or it names nothing.
    """
    title = _title(parse(text, Title).title)
    if not title:
        raise InvalidReplyError("The title is a number or a code")
    return title


def _title(text: object) -> str:
    """Returns a title on one line, or nothing for what is none."""
    if not isinstance(text, str):
        return ""
    line = opening(" ".join(cleaned(text).split("\n", 1)[0].split()), _LONGEST_TITLE)
    return "" if is_code(line) else line


def _beginning(text: str) -> str:
    """Returns how the first line that says something begins: a topic until there is a title."""
    lines = (opening(line) for line in text.split("\n"))
    return next((line for line in lines if not is_code(line)), opening(text))


def _own_title(text: str) -> tuple[str, str]:
    """Returns the title that a text gives itself, if any, and the text without it."""
    for pattern in _TITLES:
        match = pattern.search(text)
        if match and (title := _title(match[1])):
            return title, text[: match.start()] + text[match.end() :]
    return "", text


def _read_text(text: str, source: Source) -> Iterator[_Document]:
    about, text = _front_matter(text)
    title, text = _title(about.get("title")), text.strip()
    if not title:
        title, text = _own_title(text)
    yield _Document(title, [Section("", cleaned(text).strip())], _named(source, title, about))


def _read_markdown(text: str, source: Source) -> Iterator[_Document]:
    about, text = _front_matter(text)
    title, text = _title(about.get("title")), text.strip()
    first = text.split("\n", 1)[0]
    if not title and first.startswith("# "):
        title = _title(first[2:])
    if not title:
        title, text = _own_title(text)
    sections = _untitled(markdown_sections(cleaned(text)), title)
    yield _Document(title, sections, _named(source, title, about))


def _untitled(sections: Sequence[Section], title: str) -> list[Section]:
    """Takes the headings away that say the document's title once more."""
    return [
        section._replace(title="") if section.title == title else section for section in sections
    ]


def _parsed(parsed: Parsed, source: Source) -> _Document:
    blocks = [
        block._replace(text=_title(block.text) if block.level else cleaned(block.text).strip())
        for block in parsed.blocks
    ]
    blocks = [block for block in blocks if block.text or block.level]
    first = next((block.text for block in blocks if block.level and block.text), "")
    title = _title(parsed.title)
    # Web pages add the name of the site to their titles.
    if not title or (first and (first in title or title in first)):
        title = first
    sections = _untitled(block_sections(blocks), title)
    if not title and sections:
        title, rest = _own_title(sections[0].text)
        if title:
            sections[0] = sections[0].part(len(sections[0].text) - len(rest.lstrip()), rest.strip())
    return _Document(title, sections, _named(source, title, {"url": parsed.url}))


def _read_lines(text: str, source: Source) -> Iterator[_Document]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{source.url}, line {number}: not JSON", hint="One object a line."
            ) from error
        body = value.get("text") if isinstance(value, dict) else None
        if not isinstance(body, str):
            raise ConfigError(
                f"{source.url}, line {number}: no text", hint='A line reads {"text": "..."}.'
            )
        title, body = _title(value.get("title")), body.strip()
        if not title:
            title, body = _own_title(body)
        yield _Document(title, [Section("", cleaned(body).strip())], _named(source, title, value))


_TEXTS = {".jsonl": _read_lines, ".md": _read_markdown, ".txt": _read_text}
_FORMATS: dict[str, Callable[[bytes, str], Parsed]] = {
    ".docx": read_docx,
    ".epub": read_epub,
    ".htm": read_html,
    ".html": read_html,
    ".pdf": read_pdf,
    ".xhtml": read_html,
}
_KINDS = ".txt, .md, .jsonl, .pdf, .docx, .html or .epub"
_RECOGNIZE = "Recognize their text (OCR), for example with OCRmyPDF, and put the result there."


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """Returns the `key: value` lines between two `---` at the beginning, and the rest.

    They are read line by line: as YAML, `title: no` would be false.
    """
    lines = text.split("\n")
    marks = [i for i, line in enumerate(lines) if line.rstrip() == _FRONT_MATTER]
    # Without an end, what begins with the mark is text with a rule above it.
    if len(marks) < 2 or marks[0] != 0:
        return {}, text
    pairs = (line.split(":", 1) for line in lines[1 : marks[1]] if ":" in line)
    about = {key.strip(): value.strip().strip("\"'") for key, value in pairs}
    return about, "\n".join(lines[marks[1] + 1 :])
