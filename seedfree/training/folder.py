"""The folder of a training: settings and state in `training.json`, checkpoints, losses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from os.path import exists
from pathlib import Path
from typing import Any

from seedfree._files import read_json, write_atomic
from seedfree._plots import new_figure, save_figure
from seedfree.dataset import Dataset
from seedfree.errors import ConfigError, ConfigMismatchError

__all__ = [
    "LOCK",
    "Loss",
    "check_same",
    "dataset_digest",
    "last_checkpoint",
    "plot_losses",
    "read_info",
    "read_log",
    "versions",
    "write_info",
]

LOCK = ".lock"
_PACKAGES = ("seedfree", "torch", "transformers", "trl", "peft", "bitsandbytes", "datasets")


def read_info(folder: Path) -> dict[str, Any] | None:
    """Reads `training.json` in a folder, or returns `None` where there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    path = folder / "training.json"
    # Not `path.exists()`, which raises for a name that no file can have.
    if not exists(path):
        return None
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("base"), dict) or "config" not in info:
        raise ConfigError(f"{path} is not that of a training")
    return info


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Writes `training.json`, all or nothing."""
    write_atomic(folder / "training.json", [json.dumps(info, ensure_ascii=False, indent=1)])


def check_same(was: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Compares the identity of a training with that of the one in its folder.

    Raises:
        ConfigMismatchError: They differ. `fields` says in what.
    """
    differ = [
        name for name in ("base_model", "dataset", "validation") if was.get(name) != now[name]
    ]
    # Settings of either: a version before may have had others.
    old, new = was.get("config", {}), now["config"]
    differ += [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if differ:
        hint = "Give the same again, or a new folder."
        reason = f"{folder} was begun with another {', '.join(differ)}"
        raise ConfigMismatchError(reason, fields=differ, hint=hint)


def dataset_digest(dataset: Dataset) -> str:
    """Returns the SHA-256 of what a training reads of the rows, in their order.

    That is tasks, languages and messages.
    """
    digest = hashlib.sha256()
    for row in dataset:
        messages = [[m.role, m.content] for m in row.messages]
        digest.update(json.dumps([row.task, row.language, messages], ensure_ascii=True).encode())
    return digest.hexdigest()


def last_checkpoint(folder: Path) -> Path | None:
    """Finds the last checkpoint that is whole."""
    paths = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for _, path in sorted(paths.items(), reverse=True):
        try:
            # transformers writes it last, so that a checkpoint with a whole one is whole.
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def versions() -> dict[str, str]:
    """Returns the versions of the packages that train, by name."""
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            # seedfree itself, where it runs from its source
            continue
    return installed


@dataclass(frozen=True)
class Loss:
    """Cross-entropy in nats a token, after a step.

    Attributes:
        step: From 0, which is before the first.
        training: Of the step's own rows, `None` where none was taken.
        validation: Of the rows held out, as the mean over them, `None` where it was not measured.
    """

    step: int
    training: float | None = None
    validation: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return asdict(self)


def read_log(history: Iterable[Mapping[str, Any]]) -> tuple[Loss, ...]:
    """Reads the losses in the `log_history` of transformers' `TrainerState`.

    Of a step that was taken twice, after a stop, the last counts.
    """
    losses: dict[int, dict[str, float]] = {}
    for line in history:
        # Training and validation of one step stand on lines of their own.
        for key, name in (("loss", "training"), ("eval_loss", "validation")):
            if key in line:
                losses.setdefault(int(line["step"]), {})[name] = float(line[key])
    return tuple(Loss(step, **values) for step, values in sorted(losses.items()))


def plot_losses(losses: Sequence[Loss], path: Path) -> None:
    """Draws training and validation loss over the steps, as PNG.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    figure = new_figure(8, 5)
    axes = figure.subplots()
    curves = {
        "training": [(loss.step, loss.training) for loss in losses],
        "validation": [(loss.step, loss.validation) for loss in losses],
    }
    for name, style in (("training", "-"), ("validation", "o-")):
        # Validation is measured at few steps: gaps would leave single points without a line.
        points = [point for point in curves[name] if point[1] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=4)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    # matplotlib warns of a legend without curves.
    if axes.has_data():
        axes.legend()
    save_figure(figure, path)
