"""Pictures by matplotlib: an empty figure, and a file that is written in one step."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from seedfree._files import write_atomic
from seedfree.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "save_figure"]


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure of a width and a height in inches.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        # Not by pyplot, which keeps every figure in a global list and may look for a display.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure. The file's ending says the format: `.png` (or none), `.svg`, `.pdf`.

    Raises:
        ConfigError: matplotlib knows no such format, or the file cannot be written.
    """
    path, image = Path(path), io.BytesIO()
    form = path.suffix[1:].lower() or "png"
    # matplotlib's version stays out of a PNG, so that the same figure is the same bytes.
    metadata = {"Software": None} if form == "png" else None
    try:
        figure.savefig(image, format=form, metadata=metadata)
    except ValueError as error:
        hint = "Name it .png, .svg or .pdf."
        raise ConfigError(f"Cannot draw {path.name}: {error}", hint=hint) from error
    write_atomic(path, [image.getvalue()])
