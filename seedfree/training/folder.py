"""The folder of a training: what it says of itself, whether it is the same one, how far it is."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from os.path import exists
from pathlib import Path
from typing import Any

from seedfree._files import read_json, write_atomic
from seedfree.dataset import Dataset
from seedfree.errors import ConfigError, ConfigMismatchError, missing_extra

__all__ = [
    "Loss",
    "check_same",
    "digest",
    "last_checkpoint",
    "plot",
    "read_info",
    "read_log",
    "versions",
    "write_info",
]


@dataclass(frozen=True)
class Loss:
    """Cross-entropy in nats a token, after a step.

    Attributes:
        step: From 0, which is before the first.
        training: Of the step's own rows; `None` where none was taken.
        validation: Of the rows held out, as the mean over them; `None` where it was not measured.
    """

    step: int
    training: float | None = None
    validation: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def read_log(history: Iterable[Mapping[str, Any]]) -> tuple[Loss, ...]:
    """The losses in the `log_history` of transformers' `TrainerState`; of a step that was taken twice, the last."""
    found: dict[int, dict[str, float]] = {}
    for line in history:
        for key, name in (("loss", "training"), ("eval_loss", "validation")):
            if key in line:
                found.setdefault(int(line["step"]), {})[name] = float(line[key])
    return tuple(
        Loss(step, values.get("training"), values.get("validation"))
        for step, values in sorted(found.items())
    )


def plot(losses: Sequence[Loss], path: Path) -> None:
    """Draws training and validation loss over the steps, as PNG.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, style in (("training", "-"), ("validation", "o-")):
        points = [
            (one.step, getattr(one, name)) for one in losses if getattr(one, name) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=4)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    write_atomic(path, [image.getvalue()])


_PACKAGES = ("seedfree", "torch", "transformers", "trl", "peft", "bitsandbytes", "datasets")


def read_info(folder: Path) -> dict[str, Any] | None:
    """What `training.json` in a folder says; `None` where there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    path = folder / "training.json"
    if not exists(path):
        return None
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("base"), dict) or "config" not in info:
        raise ConfigError(f"{path} is not that of a training")
    return info


def digest(dataset: Dataset) -> str:
    """SHA-256 of the tasks, languages and messages of the rows, in their order."""
    found = hashlib.sha256()
    for one in dataset:
        messages = [[m.role, m.content] for m in one.messages]
        found.update(json.dumps([one.task, one.language, messages], ensure_ascii=True).encode())
    return found.hexdigest()


def check_same(was: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises `ConfigMismatchError` with the fields in which two trainings differ."""
    fields = [
        name for name in ("base_model", "dataset", "validation") if was.get(name) != now[name]
    ]
    old = was.get("config", {})
    fields += [
        name for name in {**old, **now["config"]} if old.get(name) != now["config"].get(name)
    ]
    if fields:
        hint = "Give the same again, or a new folder."
        raise ConfigMismatchError(
            f"{folder} was begun with another {', '.join(fields)}", fields=fields, hint=hint
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The last that is whole: its state is written at its end."""
    for path in sorted(
        folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True
    ):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def versions() -> dict[str, str]:
    """Of the packages that train, by name."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Writes `training.json`, all or nothing."""
    write_atomic(folder / "training.json", [json.dumps(info, ensure_ascii=False, indent=1)])
