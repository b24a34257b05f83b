"""How the loss went: rows of a training's log, and the picture of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seedfree.dataset import write_atomic
from seedfree.errors import missing_extra

__all__ = ["Loss", "plot", "read_log"]


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
