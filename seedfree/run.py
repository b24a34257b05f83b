"""A run folder: what a pipeline publishes, and how it is read again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from seedfree.dataset import Dataset, item, json_line, row, write_atomic
from seedfree.errors import ConfigError
from seedfree.records import Instruction
from seedfree.settings import code_digest
from seedfree.text import clean, shown

if TYPE_CHECKING:
    from seedfree.languages import Language
    from seedfree.thresholds import Threshold, ThresholdSweep

__all__ = [
    "Dropped",
    "Run",
    "Stats",
    "known_verdicts",
    "publish",
    "row_id",
    "rows_of",
    "write_json",
]


# A published row begins with its id: {"id": "0123456789abcdef", ...
_ID = slice(8, 24)


@dataclass(frozen=True)
class Dropped(Instruction):
    """A row that was dropped, and why.

    Attributes:
        reason: The filter's word, a colon, what it found; details in brackets.
        duplicate_of: Id of the row that it resembles most, of those that this diversity filter
            kept.
        similarity: Of the two, in the diversity filter's measure (a cosine, -1 to 1, for the
            semantic one); `None` where it measures none.
    """

    reason: str = ""
    duplicate_of: str | None = None
    similarity: float | None = None

    @classmethod
    def of(
        cls, item: Instruction, reason: str, duplicate_of: str | None, similarity: float | None
    ) -> Dropped:
        """A row with the reason to drop it; the row is known to be valid and not checked again."""
        made = object.__new__(cls)
        made.__dict__.update(
            vars(item), reason=reason, duplicate_of=duplicate_of, similarity=similarity
        )
        return made


@dataclass(frozen=True)
class Stats:
    """What a run took. Requests and tokens count every reply that the data rest on, whenever it was paid for.

    Attributes:
        rows: Published rows.
        price_usd: `None` where the price of a model is not known.
        drops: Dropped rows by reason, without the details in brackets.
        retries, seconds: Of the last process that worked on it.
    """

    rows: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    price_usd: float | None = None
    topics: int = 0
    contexts: int = 0
    rounds: int = 0
    retries: int = 0
    seconds: float = 0.0
    drops: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Published rows over the seconds of the last process."""
        return self.rows / self.seconds if self.seconds else 0.0


class Run:
    """A finished or stopped run: `Run.open("runs/th")`.

    Attributes:
        path: Its folder.
        status: `"complete"`, `"short"` (topics or tasks ran dry) or `"stopped"` (run it again to go
            on).
        message: Why it is short or stopped; empty for a complete one.
        stats: See `Stats`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        state = self._json("status.json")
        self.status: str = state["status"]
        self.message: str = state.get("message", "")
        self.stats = Stats(**state["stats"])

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Reads a run folder; asks and sends nothing.

        Raises:
            ConfigError: The folder holds no run.
        """
        return cls(path)

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.path} holds no run", hint=f"Its {name} cannot be read."
            ) from error

    @cached_property
    def dataset(self) -> Dataset:
        """The published rows."""
        return Dataset.from_jsonl(self.path / "dataset.jsonl")

    @cached_property
    def dropped(self) -> Sequence[Dropped]:
        """Every dropped row with its reason, in the run's order."""
        with (self.path / "dropped.jsonl").open(encoding="utf-8", newline="\n") as lines:
            return [_dropped(json.loads(line)) for line in lines]

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Settings, counts and the SHA-256 of every published file."""
        manifest: Mapping[str, Any] = self._json("manifest.json")
        return manifest

    def threshold_sweep(
        self,
        thresholds: Iterable[Threshold],
        *,
        language: str | Language | None = None,
        seed: int = 0,
    ) -> ThresholdSweep:
        """What the semantic diversity filter keeps at each threshold, and how varied that is.

        Everything is taken from the run's folder: nothing is encoded and no request is sent. The
        rows are all that reached the filter, in the order in which it saw them. Those that it
        passed and that a later diversity filter or the quota of their task (`surplus`) then dropped
        count as kept; those that a filter before it dropped do not count at all. Rows that were
        given as `against=` are compared with as in the run.

        The measures are of equally many rows at each threshold (as many as the strictest keeps,
        drawn by the seed) and of equally many words of their instructions and outputs (at most
        100,000), since all of them move with size. Mean nearest and Vendi score are under the
        vectors of the filter's `measured_by` where it had one, else under those that it filtered by
        itself; the result says which.

        Args:
            thresholds: Cosines, or mappings from a task's name to one (`"*"` for the others).
            language: Cuts the texts into words; by default each row's own, which must then be a
                ready-made one.

        Raises:
            ConfigError: No vectors are kept, a threshold is wrong, or the language's segmenter is
                not installed.
            EncoderError: The stored vectors have no cosine.
        """
        from seedfree.sweep import threshold_sweep

        rows = [*self.dataset, *self.dropped]
        return threshold_sweep(
            self.path / "vectors", rows, thresholds, language=language, seed=seed
        )

    def __repr__(self) -> str:
        drops = ", ".join(f"{n} {why}" for why, n in Counter(self.stats.drops).most_common(4))
        why = f" ({self.message})" if self.message else ""
        return shown(
            f"Run({str(self.path)!r}: {self.status}{why}, {self.stats.rows} rows from {self.stats.requests} requests; "
            f"dropped: {drops or 'none'})"
        )


def _dropped(data: dict[str, Any]) -> Dropped:
    extra = {name: data.pop(name, None) for name in ("reason", "duplicate_of", "similarity")}
    kept = item(data)
    return Dropped(
        **{name: getattr(kept, name) for name in Instruction.__dataclass_fields__}, **extra
    )


def _dropped_row(dropped: Dropped) -> dict[str, Any]:
    extra = {
        "reason": dropped.reason,
        "duplicate_of": dropped.duplicate_of,
        "similarity": dropped.similarity,
    }
    return {**row(dropped), **extra}


def known_verdicts(path: Path) -> dict[str, str | None]:
    """What the filters said of a folder's published rows, by row id; nothing unless this very code published them."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        texts = {name: (path / name).read_bytes() for name in ("dataset.jsonl", "dropped.jsonl")}
        whole = all(
            manifest["files"][name] == hashlib.sha256(text).hexdigest()
            for name, text in texts.items()
        )
        if not whole or manifest["code"] != code_digest():
            return {}
    except (OSError, ValueError, LookupError, TypeError):  # none, or written by something else
        return {}
    kept, dropped = (text.splitlines() for text in texts.values())
    verdicts: dict[str, str | None] = {line[_ID].decode(): None for line in kept}
    for lost in map(from_json, dropped):
        passed = lost["reason"] == "surplus" or lost["reason"].startswith("diversity: ")
        verdicts[lost["id"]] = None if passed else lost["reason"]
    return verdicts


def publish(path: Path, files: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    """Writes files so that each is whole or absent; the manifest comes last and makes the run final.

    Raises:
        ConfigError: A file cannot be written.
    """
    try:
        (path / "manifest.json").unlink(missing_ok=True)
    except OSError as error:
        hint = "Make the folder writable and run it again."
        raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error
    hashes = {}
    for name, text in files.items():
        data = text.encode()
        write_atomic(path / name, [data], private=True)
        hashes[name] = hashlib.sha256(data).hexdigest()
    write_json(path / "manifest.json", {**manifest, "files": hashes})


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file in one step."""
    text = clean(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True))
    write_atomic(path, [text, "\n"], private=True)


def rows_of(items: Iterable[Instruction]) -> str:
    """JSON lines, dropped rows with their reasons."""
    return "".join(json_line(_dropped_row(i) if isinstance(i, Dropped) else row(i)) for i in items)


def row_id(*parts: object) -> str:
    """16 hexadecimal digits that depend on `parts` alone."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
