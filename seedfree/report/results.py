"""What became of the rows: the losses of a training, the scores of an evaluation."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from seedfree._files import read_json
from seedfree.errors import ConfigError
from seedfree.report.charts import curves
from seedfree.text import shown

__all__ = ["evaluation_tables", "training_curves"]

# What `scores.json` says of a part beside its metrics.
_FACTS = ("n", "length", "unanswered", "cut_off", "macro", "tasks")

_Table = tuple[str, list[str], list[list[str]]]


def training_curves(folder: str | Path) -> str:
    """Draws the losses in a trained model's folder, as HTML.

    Raises:
        ConfigError: It holds no training.
    """
    path = Path(folder) / "training.json"
    info = read_json(path)
    losses = info.get("losses") if isinstance(info, dict) else None
    if not isinstance(losses, list):
        raise ConfigError(f"{path} is not that of a training", hint="Give a model's folder.")
    series: dict[str, Sequence[tuple[float, float]]] = {
        name: [
            (float(loss["step"]), float(loss[name]))
            for loss in losses
            if isinstance(loss, dict)
            and _is_number(loss.get(name))
            and _is_number(loss.get("step"))
        ]
        for name in ("training", "validation")
    }
    base = info.get("base")
    name = str(base.get("name", "")) if isinstance(base, dict) else ""
    # Of a path its last part: the folders before it are nobody's business.
    return curves(f"Loss of {shown(Path(name).name or 'the model')}", series, "nats a token")


def evaluation_tables(folder: str | Path) -> Iterator[_Table]:
    """Yields the tables of an evaluation's folder: caption, head and lines of escaped cells.

    Raises:
        ConfigError: It holds no finished evaluation.
    """
    path = Path(folder) / "scores.json"
    scores, info = read_json(path), read_json(Path(folder) / "evaluation.json")
    if not isinstance(scores, dict) or not isinstance(scores.get("all"), dict):
        raise ConfigError(
            f"{path} is not that of an evaluation", hint="Give an evaluation's folder."
        )
    whole: Mapping[str, Any] = scores["all"]
    names = [name for name, value in whole.items() if name not in _FACTS and _is_interval(value)]
    parts = scores.get("parts")
    parts = parts if isinstance(parts, dict) else {}
    lines = []
    for part, values in [*parts.items(), ("all", whole)]:
        tasks = values.get("tasks") if isinstance(values, dict) else None
        for task, within in tasks.items() if isinstance(tasks, dict) else ():
            lines.append(_line(f"{part}, {task}", within, names))
        lines.append(_line(str(part), values, names))
    model, benchmark = (
        info.get(name, "") if isinstance(info, dict) else "" for name in ("model", "benchmark")
    )
    head = ["part", "rows", *map(_text, names), "unanswered", "cut off"]
    yield f"{model} on {benchmark}", head, lines
    accuracy = scores.get("accuracy")
    if isinstance(accuracy, dict) and _is_number(accuracy.get("correct")):
        low, high = accuracy["interval"]
        line = [f"{accuracy['n']:,}", f"{accuracy['correct']:.1%}", f"{low:.1%} to {high:.1%}"]
        unparsed = f"{accuracy['unparsed']:.1%}"
        yield (
            "Accuracy over choices",
            ["questions", "right", "interval", "unread"],
            [[*line, unparsed]],
        )


def _line(name: str, values: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    shares = [values.get(name) for name in ("unanswered", "cut_off")]
    return [
        _text(name),
        f"{values.get('n', 0):,}",
        *(_score(values.get(metric)) for metric in metrics),
        *(f"{share:.1%}" if _is_number(share) else "" for share in shares),
    ]


def _score(value: Any) -> str:
    if not _is_interval(value):
        return ""
    score, low, high = value
    digits = 1 if max(abs(score), abs(high)) > 1 else 3
    return f"{score:.{digits}f} <small>{low:.{digits}f} to {high:.{digits}f}</small>"


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _text(text: str) -> str:
    return html.escape(shown(text))
