"""What a threshold sweep found: a table for terminals and notebooks, a plot, JSON."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from seedfree.dataset import write_atomic
from seedfree.errors import ConfigError, missing_extra
from seedfree.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SweepRow", "Threshold", "ThresholdSweep"]

Threshold = float | Mapping[str, float]

_MEASURES = {
    "mean_nearest": "mean nearest",
    "vendi": "Vendi score",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
}


@dataclass(frozen=True)
class SweepRow:
    """One threshold.

    Attributes:
        threshold: A cosine, or cosines by task.
        kept: Rows that the filter keeps.
        by_task, by_topic_kind: The same by name; 0 for those of which none is kept.
        mean_nearest, vendi, distinct_1, distinct_2: See `filters/measures.py`; NaN for too few
            rows.
        index: What found the neighbours; see `greedy_select`.
    """

    threshold: Threshold
    kept: int
    by_task: Mapping[str, int]
    by_topic_kind: Mapping[str, int]
    mean_nearest: float
    vendi: float
    distinct_1: float
    distinct_2: float
    index: str

    @property
    def label(self) -> str:
        """The threshold in words: `0.95`, or `conversation 0.97, * 0.95`."""
        if isinstance(self.threshold, Mapping):
            return shown(", ".join(f"{task} {value:g}" for task, value in self.threshold.items()))
        return f"{self.threshold:g}"


@dataclass(frozen=True, repr=False)
class ThresholdSweep(Sequence[SweepRow]):
    """A list of `SweepRow`, in the order of the thresholds asked for; print it for a table.

    Attributes:
        entered: Rows that reached the filter.
        against: Rows that were there already and were compared with.
        measured: Rows that mean nearest and Vendi score are of, at every threshold.
        tokens: Words that distinct-1 and distinct-2 are of, at every threshold.
        encoder: Identity of the filter's encoder.
        measured_by: Identity of the encoder that mean nearest and Vendi score are under.
    """

    rows: tuple[SweepRow, ...]
    entered: int
    against: int
    measured: int
    tokens: int
    encoder: str
    measured_by: str

    @overload
    def __getitem__(self, index: int) -> SweepRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SweepRow, ...]: ...
    def __getitem__(self, index: int | slice) -> SweepRow | tuple[SweepRow, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return "\n\n".join([*map(_aligned, self._tables()), self._note()])

    def _repr_html_(self) -> str:
        return "".join([*map(_html, self._tables()), f"<p>{html.escape(self._note())}</p>"])

    def to_json(self) -> str:
        """All of it as a JSON object; null for what is NaN."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        rows = [{name: _value(each) for name, each in asdict(row).items()} for row in self.rows]
        own = self.measured_by == self.encoder
        return json.dumps(
            {**value, "own_encoder": own, "rows": rows}, ensure_ascii=False, allow_nan=False
        )

    def plot(self, path: str | Path) -> None:
        """Draws rows kept and the measures over the thresholds; the file's ending says the format.

        Raises:
            ConfigError: matplotlib is not installed, it knows no such format, or the file cannot be
                written.
        """
        path, image = Path(path), io.BytesIO()
        try:
            self._figure().savefig(image, format=path.suffix[1:] or "png")
        except ValueError as error:
            raise ConfigError(
                f"Cannot draw {path.name}: {error}", hint="Name it .png, .svg or .pdf."
            ) from error
        write_atomic(path, [image.getvalue()])

    def _figure(self) -> Figure:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing_extra("matplotlib", "report") from error
        figure = Figure(figsize=(12, 8), layout="constrained")
        (kept, nearest), (score, words) = figure.subplots(2, 2)
        lines: list[tuple[Any, str, list[float]]] = [(kept, "all", [row.kept for row in self.rows])]
        lines += [
            (kept, shown(task), [row.by_task[task] for row in self.rows])
            for task in self.rows[0].by_task
        ]
        places = dict(zip(_MEASURES, (nearest, score, words, words), strict=True))
        lines += [
            (places[n], name, [getattr(row, n) for row in self.rows])
            for n, name in _MEASURES.items()
        ]
        by_task = [isinstance(row.threshold, Mapping) for row in self.rows]
        for axes, name, values in lines:
            # A line leads from cosine to cosine; thresholds by task stand alone.
            line = [
                math.nan if alone else value for alone, value in zip(by_task, values, strict=True)
            ]
            (drawn,) = axes.plot(range(len(self)), line, marker="o", label=name.replace("$", r"\$"))
            axes.plot(range(len(self)), values, "o", color=drawn.get_color())
        for axes, title in (
            (kept, f"Rows kept of {self.entered}"),
            (nearest, f"Mean nearest similarity ({self.measured} rows)"),
            (score, f"Vendi score ({self.measured} rows)"),
            (words, f"Different words and pairs of words ({self.tokens} words)"),
        ):
            axes.set_title(title)
            labels = [row.label.replace(", ", "\n").replace("$", r"\$") for row in self.rows]
            axes.set_xticks(range(len(self)), labels, size="small")
            axes.set_xlabel("threshold")
            axes.grid(alpha=0.3)
        kept.legend()
        words.legend()
        return figure

    def _tables(self) -> tuple[list[list[str]], list[list[str]]]:
        tasks, kinds = self.rows[0].by_task, self.rows[0].by_topic_kind
        counts = [
            [
                "threshold",
                "kept",
                "share",
                *map(shown, tasks),
                *(shown(kind) or "no topic" for kind in kinds),
            ]
        ]
        for row in self.rows:
            by = [*row.by_task.values(), *row.by_topic_kind.values()]
            counts.append(
                [row.label, str(row.kept), f"{row.kept / self.entered:.1%}", *map(str, by)]
            )
        measures = [["threshold", *_MEASURES.values()]]
        for row in self.rows:
            values = [
                (row.mean_nearest, 4),
                (row.vendi, 1),
                (row.distinct_1, 4),
                (row.distinct_2, 4),
            ]
            measures.append(
                [row.label, *("" if math.isnan(value) else f"{value:.{n}f}" for value, n in values)]
            )
        return counts, measures

    def _note(self) -> str:
        own = self.measured_by == self.encoder
        by = (
            "the filter's own encoder, since no other's vectors are there"
            if own
            else f"another, {self.measured_by}"
        )
        graph = any(row.index == "hnsw" for row in self.rows)
        how = " Duplicates were looked up in an approximate graph." if graph else ""
        against = (
            f" and were compared with {self.against} that were there already"
            if self.against
            else ""
        )
        return shown(
            f"{self.entered} rows reached the filter ({self.encoder}){against}. At each threshold the measures are of "
            f"{self.measured} rows and {self.tokens} words; mean nearest and Vendi score are by {by}.{how}"
        )


def _value(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _html(table: list[list[str]]) -> str:
    head, *body = [[html.escape(cell) for cell in row] for row in table]
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    top = "".join(f"<th>{cell}</th>" for cell in head)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
