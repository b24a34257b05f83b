"""A run folder: what a pipeline publishes, and how it is read again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedfree._files import file_text, is_file, json_rows
from seedfree._views import Shown, View, price
from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.outcome import Dropped, Stats, Variety, from_dropped_row
from seedfree.run.variety import variety
from seedfree.text import shown

if TYPE_CHECKING:
    from seedfree.diversity.sweep import Threshold, ThresholdSweep
    from seedfree.report.diagnosis import Finding

__all__ = ["Run", "after_interrupt", "rows_kept"]

# What to do about a run that is not complete, by its status.
_NEXT = {
    "stopped": "run it again to go on; nothing is paid for twice",
    "running": "it is under way, or was killed: then run it again to go on",
    "failed": "mend what failed, and run it again to go on",
    "short": "give more topics or contexts, or ask for fewer rows",
}


class Run(Shown):
    """A finished or stopped run: `Run.open("runs/th")`.

    Attributes:
        path: Its folder.
        status: `"complete"`, `"short"` (topics or tasks ran dry) or `"stopped"` (run it again to go
            on).
        size: Rows wanted; `None` where a version before did not say.
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
        size = state.get("size")
        self.size: int | None = size if isinstance(size, int) else None
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
                rows.append(from_dropped_row(row))
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

    def diagnose(self) -> list[Finding]:
        """Lists what is weak in the run, in the order to mend it; nothing for a healthy one.

        Each finding names the property, the rows that it shows in and a remedy. The limits stand,
        with their reasons, in `seedfree/report/diagnosis.py`.

        Raises:
            ConfigError: The run's files cannot be read.
        """
        from seedfree.report.diagnosis import diagnose

        return diagnose(self)

    def report(
        self,
        out: str | Path | None = None,
        *,
        model: str | Path | None = None,
        evaluation: str | Path | None = None,
    ) -> Path:
        """Writes one HTML file that shows the whole run: figures, charts and every row.

        The file works offline. Nothing is encoded and no request is sent.

        Args:
            out: The file; `None` for `report.html` in the run's folder.
            model: The folder of a model that was trained on the rows, for its losses.
            evaluation: The folder of its evaluation, for the scores.

        Returns:
            The file.

        Raises:
            ConfigError: The run's files or a given folder cannot be read, the file cannot be
                written, or another one that is no report stands there.
        """
        from seedfree.report.page import write_report

        return write_report(self, out, model=model, evaluation=evaluation)

    def _view(self, full: bool) -> View:
        stats = self.stats
        drops = Counter(stats.drops)
        why = ", ".join(f"{n:,} {reason}" for reason, n in drops.most_common(10 if full else 3))
        facts = {
            "folder": str(self.path),
            "rows": f"{rows_kept(self)} kept, {drops.total():,} dropped"
            + (f" ({why})" if why else ""),
            "price": f"{price(stats.price_usd)} for {stats.requests:,} requests",
        }
        if self.message:
            facts["why"] = self.message
        if self.status in _NEXT:
            facts["next"] = _NEXT[self.status]
        return View(f"Run({self.status})", facts)


def rows_kept(run: Run) -> str:
    """Says how many rows a run has of those that were wanted, such as `"120 of 5,000"`."""
    return f"{run.stats.rows:,}" if run.size is None else f"{run.stats.rows:,} of {run.size:,}"


def after_interrupt(path: str | Path) -> str:
    """Says in one line what is safe of a run that was interrupted, and how to go on."""
    again = "run it again to go on"
    try:
        run = Run.open(path)
    except ConfigError:  # it had not begun
        return f"nothing was asked yet; {again}"
    safe = f"{rows_kept(run)} rows are safe"
    if run.status == "running":  # a second interrupt ended the wait
        safe = "all replies are safe"
    return shown(f"{safe} in {str(path)!r} (sf.Run.open); {again}")
