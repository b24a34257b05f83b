"""Contexts from a folder of the user's own texts: `.txt`, `.md` and `.jsonl`."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from seedfree.contexts.sections import Section, fit, markdown_sections, opening
from seedfree.errors import ConfigError
from seedfree.records import Context, Source, Topic

__all__ = ["DocumentSource"]

_SUFFIXES = (".jsonl", ".md", ".txt")
_FRONT_MATTER = "---"


class _Document(NamedTuple):
    title: str
    sections: list[Section]
    source: Source


@dataclass
class DocumentSource:
    """Sections of the documents in a folder and its subfolders, in the order of their names.

    A `.txt` file is one document, titled by its name; a `.md` file is cut at its headings, and may
    begin with front matter (`title`, `url`, `license`); each line of a `.jsonl` file is a document,
    an object with `text` and optionally `title`, `url` and `license`.

    It brings a topic for every section, so a run over documents alone generates none. For another
    topic it gives the sections that share most of the topic's character trigrams, or nothing.

    Attributes:
        folder: Is read when it is first needed; files that begin with a dot are left out.
        share: Weight among the run's sources; above 0.
        sections: Sections to give at most for a topic from elsewhere; at least 1.
        min_chars: Shorter sections join the one before or are dropped. In code points.
        max_chars: Longer sections are cut.
        resemblance: Share (0 to 1) of another topic's trigrams, weighted by rarity, that a section
            must hold.
        license: SPDX identifier for documents that name none.
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
    _library: dict[str, Context] | None = field(default=None, init=False, repr=False, compare=False)
    _folded: list[tuple[str, Context]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not self.share > 0 or self.sections < 1 or not 0 < self.resemblance <= 1:
            raise ConfigError(
                f"share={self.share}, sections={self.sections}, resemblance={self.resemblance}",
                hint="share is above 0, sections at least 1, resemblance above 0 and at most 1.",
            )
        if not 1 <= self.min_chars <= self.max_chars:
            raise ConfigError(
                f"min_chars={self.min_chars}, max_chars={self.max_chars}", hint="1 <= min <= max."
            )
        folder = Path(self.folder)
        if not folder.is_dir():
            raise ConfigError(
                f"There is no folder {folder}", hint="Give a folder of .txt, .md or .jsonl files."
            )
        names = (
            path.relative_to(folder)
            for path in folder.rglob("*")
            if path.suffix.lower() in _SUFFIXES
        )
        shown = (name for name in names if not any(part.startswith(".") for part in name.parts))
        self._files = [
            folder / name for name in sorted(shown, key=Path.as_posix) if (folder / name).is_file()
        ]
        if not self._files:
            raise ConfigError(
                f"{folder} holds no .txt, .md or .jsonl file", hint="Put documents there."
            )

    def ready(self) -> None:
        """Reads the documents.

        Raises:
            ConfigError: A file cannot be read, or none holds a text.
        """
        self._load()

    def topics(self) -> list[Topic]:
        return [Topic(text, "given", i) for i, text in enumerate(self._load())]

    def contexts(self, topic: Topic) -> list[Context]:
        own = self._load().get(topic.text)
        return [own] if own else self._resembling(topic.text)

    def _load(self) -> dict[str, Context]:
        """Contexts by the topic that leads to them."""
        if self._library is None:
            library: dict[str, Context] = {}
            for document in self._documents():
                for section in fit(document.sections, self.min_chars, self.max_chars):
                    title = (
                        f"{document.title}: {section.title}" if section.title else document.title
                    )
                    name, n = Topic(title).text, 1
                    while name in library:
                        n += 1
                        name = f"{Topic(title).text} ({n})"
                    library[name] = Context(text=section.text, title=title, source=document.source)
            if not library:
                raise ConfigError(
                    f"No file in {self.folder} holds a text of at least {self.min_chars} characters",
                    hint="Lower min_chars, or add documents.",
                )
            self._folded = [
                (_fold(f"{name} {context.text}"), context) for name, context in library.items()
            ]
            self._library = library
        return self._library

    def _documents(self) -> Iterator[_Document]:
        for path in self._files:
            name = path.relative_to(self.folder).as_posix()
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ConfigError(
                    f"Cannot read {name}: {error.strerror}", hint="Mend or remove the file."
                ) from error
            try:
                text = data.decode("utf-8-sig").replace("\r\n", "\n")
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                raise ConfigError(
                    f"{name}, line {line}: not UTF-8", hint="Save the file as UTF-8."
                ) from error
            revision = hashlib.sha256(data).hexdigest()[:16]
            source = Source("document", url=name, revision=revision, license=self.license)
            yield from _READERS[path.suffix.lower()](text, path, source)

    def _resembling(self, text: str) -> list[Context]:
        folded = _fold(text)
        grams = {folded[i : i + 3] for i in range(max(1, len(folded) - 2))} if folded else set()
        total, scores = 0.0, [0.0] * len(self._folded)
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
        good = [i for i in best if grams and scores[i] >= self.resemblance * total]
        return [self._folded[i][1] for i in good[: self.sections]]


def _fold(text: str) -> str:
    """Letters, marks and digits alone, so that a topic is found whatever spaces stand in it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")


def _named(source: Source, title: str, about: dict[str, Any]) -> Source:
    """The document's source, with what the document says of itself."""
    values = {
        key: value
        for key in ("url", "license")
        if isinstance(value := about.get(key), str) and value.strip()
    }
    return Source(
        source.kind,
        title,
        values.get("url", source.url),
        source.revision,
        values.get("license", source.license),
    )


def _read_text(text: str, path: Path, source: Source) -> Iterator[_Document]:
    title = _title(path)
    yield _Document(title, [Section("", text.strip())], _named(source, title, {}))


def _read_markdown(text: str, path: Path, source: Source) -> Iterator[_Document]:
    about, text = _front_matter(text)
    sections = markdown_sections(text)
    first = text.lstrip().split("\n", 1)[0]
    heading = first[2:].strip() if first.startswith("# ") else ""
    title = about.get("title") or heading or _title(path)
    # The document's own title needs no repeating before its first section's text.
    sections = [
        Section("" if section.title == title else section.title, section.text)
        for section in sections
    ]
    yield _Document(title, sections, _named(source, title, about))


def _read_lines(text: str, path: Path, source: Source) -> Iterator[_Document]:
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
        given = value.get("title")
        title = (
            opening(given if isinstance(given, str) else "", 200) or opening(body) or _title(path)
        )
        yield _Document(title, [Section("", body.strip())], _named(source, title, value))


_READERS = {".txt": _read_text, ".md": _read_markdown, ".jsonl": _read_lines}


def _title(path: Path) -> str:
    return " ".join(path.stem.replace("_", " ").split())


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    """The `key: value` lines between two `---` at the beginning, and the rest."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FRONT_MATTER:
        return {}, text
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == _FRONT_MATTER), 0)
    pairs = (line.split(":", 1) for line in lines[1:end] if ":" in line)
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}, "\n".join(
        lines[end + 1 if end else 0 :]
    )
