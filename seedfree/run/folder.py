"""A run folder: what a pipeline publishes, and how it is read again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedfree._files import file_text, is_file, json_rows
from seedfree.dataset import Dataset, from_row, to_row
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction
from seedfree.run.variety import Variety, variety
from seedfree.text import shown

if TYPE_CHECKING:
    from seedfree.diversity.sweep import Threshold, ThresholdSweep

__all__ = ["Dropped", "Run", "Stats", "code", "dropped_row"]

# What a dropped row has beside the keys of a kept one.
_WHY = ("reason", "duplicate_of", "similarity", "repaired_by")


@dataclass(frozen=True)
class Dropped(Instruction):
    """A row that was dropped, and why.

    Attributes:
        reason: The filter's word, a colon, what it found; details in brackets.
        duplicate_of: Id of the row that it resembles most, of those that this diversity filter
            kept.
        similarity: Of the two, in the diversity filter's measure (a cosine, -1 to 1, for the
            semantic one); `None` where it measures none.
        repaired_by: Id of the row that was asked for in its place and passed the filters.
    """

    reason: str = ""
    duplicate_of: str | None = None
    similarity: float | None = None
    repaired_by: str | None = None

    @classmethod
    def of(
        cls,
        item: Instruction,
        reason: str,
        duplicate_of: str | None = None,
        similarity: float | None = None,
        repaired_by: str | None = None,
    ) -> Dropped:
        """Makes a dropped row of a row that is known to be valid, without checking it again."""
        dropped = object.__new__(cls)
        why = dict(zip(_WHY, (reason, duplicate_of, similarity, repaired_by), strict=True))
        dropped.__dict__.update(vars(item), **why)
        return dropped


@dataclass(frozen=True)
class Stats:
    """What a run took.

    Requests, tokens and price count every reply that the ledger holds, whenever it was paid for,
    and failures that were billed.

    Attributes:
        rows: Published rows.
        jobs: Prompts of tasks that were answered.
        price_usd: `None` where the price of a model is not known.
        drops: Dropped rows by reason, without the details in brackets.
        checks: By rule, how often a row was doubted (`raised`), and how many of these doubts the
            LLM did not settle (`upheld`) and settled (`overturned`).
        stages: By stage, pieces of work `asked`, `got` and `lost` (by reason), and the requests,
            tokens and `usd` that the ledger holds of it. `reused`: those of other runs.
        models: By model, requests, tokens and `usd`.
        retries, seconds: Of the last process that worked on it.
    """

    rows: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    price_usd: float | None = None
    topics: int = 0
    contexts: int = 0
    jobs: int = 0
    retries: int = 0
    seconds: float = 0.0
    drops: Mapping[str, int] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Returns the published rows over the seconds of the last process."""
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
        # Absolute, so that the rows are still found when the working directory has changed.
        self.path = Path(path).absolute()
        state = self._json("status.json")
        stats = state.get("stats")
        if not isinstance(stats, dict) or not isinstance(state.get("status"), str):
            raise self._unreadable("status.json")
        self.status: str = state["status"]
        self.message: str = str(state.get("message", ""))
        # Other versions counted other things, too.
        names = Stats.__dataclass_fields__
        self.stats = Stats(**{name: stats[name] for name in names if name in stats})

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Reads a run folder; asks and sends nothing.

        Raises:
            ConfigError: The folder holds no run.
        """
        return cls(path)

    def _json(self, name: str) -> dict[str, Any]:
        path = self._file(name)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise self._unreadable(name) from error
        if not isinstance(value, dict):
            raise self._unreadable(name)
        return value

    def _file(self, name: str) -> Path:
        """Returns the path of a file. The run may be a stranger's.

        Raises:
            ConfigError: It is not there, or is a link, a pipe or a device.
        """
        path = self.path / name
        if not is_file(path):
            raise self._unreadable(name)
        return path

    def _unreadable(self, name: str) -> ConfigError:
        return ConfigError(f"{self.path} holds no run", hint=f"Its {name} cannot be read.")

    @cached_property
    def dataset(self) -> Dataset:
        """Returns the published rows, with the run's card for whoever uploads them."""
        rows, card = Dataset.from_jsonl(self._file("dataset.jsonl")), self.path / "README.md"
        return Dataset(rows, card=file_text(card) if is_file(card) else "")

    @cached_property
    def dropped(self) -> Sequence[Dropped]:
        """Returns every dropped row with its reason, in the run's order."""
        path = self._file("dropped.jsonl")
        rows = []
        for line, row in json_rows(path, file_text(path)):
            try:
                rows.append(_dropped(row))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise ConfigError(f"{path}, line {line}: not a dropped row") from error
        return rows

    @cached_property
    def variety(self) -> Variety:
        """Measures how varied the rows are, beside what the language's file wants.

        Raises:
            ConfigError: The run's language is not a ready-made one; see `run.variety.variety`.
        """
        codes = Counter(row.language for row in self.dataset)
        code = codes.most_common(1)[0][0] if codes else "en"
        return variety(self.dataset, Language.load(code), self.stats.drops)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Returns settings, counts and the SHA-256 of every published file."""
        return self._json("manifest.json")

    def threshold_sweep(
        self,
        thresholds: Iterable[Threshold],
        *,
        language: str | Language | None = None,
        seed: int = 0,
    ) -> ThresholdSweep:
        """Says what the semantic diversity filter keeps at each threshold, and how varied that is.

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
        from seedfree.diversity.sweep import threshold_sweep

        rows = [*self.dataset, *self.dropped]
        return threshold_sweep(
            self.path / "vectors", rows, thresholds, language=language, seed=seed
        )

    def __repr__(self) -> str:
        drops = ", ".join(f"{n} {why}" for why, n in Counter(self.stats.drops).most_common(4))
        why = f" ({self.message})" if self.message else ""
        rows = f"{self.stats.rows} rows from {self.stats.requests} requests"
        return shown(
            f"Run({str(self.path)!r}: {self.status}{why}, {rows}; dropped: {drops or 'none'})"
        )


def code(reason: str) -> str:
    """Returns the part of a reason by which drops are counted: without the details in brackets."""
    return reason.partition(" (")[0]


def dropped_row(dropped: Dropped) -> dict[str, Any]:
    """Returns the published form of a dropped row: that of a row, then why it was dropped."""
    why = {name: getattr(dropped, name) for name in _WHY}
    return {**to_row(dropped), **why}


def _dropped(data: dict[str, Any]) -> Dropped:
    extra = {name: data.pop(name, None) for name in _WHY}
    kept = from_row(data)
    return Dropped(
        **{name: getattr(kept, name) for name in Instruction.__dataclass_fields__}, **extra
    )
