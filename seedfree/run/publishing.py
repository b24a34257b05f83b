"""Rows to files: the data set, what was dropped, the card, the manifest and the status."""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from seedfree._files import is_file, json_line, write_atomic, write_json
from seedfree.dataset import to_row
from seedfree.errors import ConfigError
from seedfree.outcome import Dropped, Stats, code, dropped_row
from seedfree.records import Instruction
from seedfree.run.jobs import Row

__all__ = ["Publication", "known_verdicts", "publish", "published_rows", "pure", "write_status"]

# Filters and tasks that give the same for the same row whenever they are asked.
_PURE = (
    "seedfree.tasks.",
    "seedfree.filters.rules",
    "seedfree.filters.language",
    "seedfree.filters.grounding",
)
# A published row begins with its id: {"id": "0123456789abcdef", ...
_ID = slice(8, 24)
# Within a text its quotation marks would be escaped.
_UNDOUBTED = b'"checks": []'


class Publication:
    """The rows of a run, divided into those that are kept and those that are dropped.

    Args:
        rows: In the run's order.
        quotas: Rows that each task gives at most; what a task has beyond is surplus.
        fill: Where the quotas give fewer rows than this, the surplus fills them up, in order.

    Attributes:
        kept: In the run's order.
        dropped: In the run's order, each with its reason.
    """

    def __init__(self, rows: Sequence[Row], quotas: Mapping[str, int], fill: int = 0) -> None:
        left = dict(quotas)
        good = [row for row in rows if row.rejected is None and row.duplicate is None]
        for each in good:
            each.surplus = left[each.item.task] <= 0
            left[each.item.task] -= 1
        missing = fill - sum(not each.surplus for each in good)
        for each in [each for each in good if each.surplus][: max(missing, 0)]:
            each.surplus = False
        self.kept: list[Instruction] = [each.item for each in rows if each.kept]
        self.dropped: list[Dropped] = [_dropped(each) for each in rows if not each.kept]

    @property
    def drops(self) -> dict[str, int]:
        """Returns how many rows were dropped by reason, without the details in brackets."""
        return dict(sorted(Counter(code(each.reason) for each in self.dropped).items()))


def _dropped(row: Row) -> Dropped:
    if row.rejected is not None:
        return Dropped.of(row.item, row.rejected, repaired_by=row.repaired_by)
    if row.duplicate is not None:
        why = f"diversity: {row.duplicate.reason}"
        return Dropped.of(row.item, why, row.duplicate.of, row.duplicate.similarity)
    return Dropped.of(row.item, "surplus")


def publish(folder: Path, publication: Publication, card: str, manifest: Mapping[str, Any]) -> None:
    """Writes files so that each is whole or absent; the manifest comes last and is the end.

    Raises:
        ConfigError: A file cannot be written.
    """
    try:
        (folder / "manifest.json").unlink(missing_ok=True)
    except OSError as error:
        hint = "Make the folder writable and run it again."
        raise ConfigError(f"Cannot write {folder}: {error.strerror}", hint=hint) from error
    # A million rows are some GB of text, so each line is made as it is written.
    files: dict[str, Iterable[str]] = {
        "dataset.jsonl": map(json_line, map(to_row, publication.kept)),
        "dropped.jsonl": map(json_line, map(dropped_row, publication.dropped)),
        "README.md": [card],
    }
    hashes = {}
    for name, texts in files.items():
        digest = hashlib.sha256()
        write_atomic(folder / name, _hashed(texts, digest), private=True)
        hashes[name] = digest.hexdigest()
    counts = {"rows": len(publication.kept), "dropped": len(publication.dropped)}
    whole = {**manifest, **counts, "drops": publication.drops, "code": _code_digest()}
    write_json(folder / "manifest.json", {**whole, "files": hashes})


def _hashed(texts: Iterable[str], digest: hashlib._Hash) -> Iterator[bytes]:
    for text in texts:
        data = text.encode()
        digest.update(data)
        yield data


def write_status(
    folder: Path,
    status: str,
    message: str,
    stats: Stats,
    **facts: Any,
) -> None:
    """Writes `status.json`, for whoever watches the run.

    Args:
        facts: What else stands in it: the size wanted, entries of the ledger, the forecast.
    """
    state = {"status": status, "message": message, **facts, "stats": asdict(stats)}
    write_json(folder / "status.json", state)


def published_rows(folder: Path) -> int:
    """Returns how many rows a folder's data set holds; 0 where none is published."""
    try:
        return int(json.loads(_bytes(folder / "manifest.json"))["rows"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return 0


def is_finished(folder: Path, size: int) -> bool:
    """Returns whether a folder holds a complete data set of that size, as it was published."""
    manifest = _published(folder)
    return manifest.get("status") == "complete" and manifest.get("rows") == size


def _published(folder: Path) -> dict[str, Any]:
    """Reads a folder's manifest; nothing where the rows there are not those that it names."""
    try:
        manifest: dict[str, Any] = json.loads(_bytes(folder / "manifest.json"))
        for name in ("dataset.jsonl", "dropped.jsonl"):
            with _opened(folder / name) as file:
                if manifest["files"][name] != hashlib.file_digest(file, "sha256").hexdigest():
                    return {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}  # nothing was published, or by something else
    return manifest


def _bytes(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read()


def _opened(path: Path) -> BufferedReader:
    # Of a link, a pipe or a device nothing is read: whatever is there is published anew.
    if not is_file(path):
        raise FileNotFoundError(path)
    return path.open("rb")


def known_verdicts(folder: Path) -> dict[str, str | None]:
    """Reads what the filters said of a folder's published rows, by row id.

    Nothing is known unless this very code published them.
    """
    if _published(folder).get("code") != _code_digest():
        return {}
    verdicts: dict[str, str | None] = {}
    # A row that was doubted rests on replies, which are counted when they are read again.
    with _opened(folder / "dataset.jsonl") as kept:
        verdicts.update((line[_ID].decode(), None) for line in kept if _UNDOUBTED in line)
    with _opened(folder / "dropped.jsonl") as dropped:
        for lost in (from_json(line) for line in dropped if _UNDOUBTED in line):
            passed = lost["reason"] == "surplus" or lost["reason"].startswith("diversity: ")
            verdicts[lost["id"]] = None if passed else lost["reason"]
    return verdicts


def pure(components: Sequence[object]) -> bool:
    """Returns whether components are the library's own, whose answers never change."""
    return all(type(each).__module__.startswith(_PURE) for each in components)


@functools.cache
def _code_digest() -> str:
    """Hashes what decides what a reply becomes: the library's files, Python's Unicode data."""
    digest = hashlib.sha256(unicodedata.unidata_version.encode())
    for path in sorted(Path(__file__).parents[1].rglob("*")):
        if path.suffix in (".py", ".toml", ".json"):
            digest.update(path.read_bytes())
    return digest.hexdigest()
