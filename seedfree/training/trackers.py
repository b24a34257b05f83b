"""Where the losses of a training are shown: TensorBoard, Trackio or Weights & Biases.

transformers has a callback for each. What is here chooses names and places, and keeps what would
be uploaded on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from seedfree.errors import ConfigError

__all__ = ["Tracker", "check_tracker", "tracked", "tracker_arguments"]

Tracker = Literal["tensorboard", "trackio", "wandb"]

_PROJECT = "seedfree"


def check_tracker(tracker: object) -> None:
    """Sees that a tracker is known and installed.

    Raises:
        ConfigError: It is neither. The hint is the pip command.
    """
    known = get_args(Tracker)
    if tracker is None:
        return
    if tracker not in known:
        hint = f"Known: {', '.join(known)}; or None."
        raise ConfigError(f"tracker is {tracker!r}", hint=hint)
    if find_spec(str(tracker)) is None:
        raise ConfigError(f"{tracker} is not installed", hint=f"Run: pip install {tracker}")


def tracker_arguments(tracker: Tracker | None, folder: Path) -> dict[str, Any]:
    """Returns a tracker's arguments of `SFTConfig`.

    Args:
        folder: Of the training; its name is the run's.
    """
    if tracker is None:
        return {"report_to": "none"}
    return {
        "report_to": tracker,
        "run_name": folder.absolute().name,
        "project": _PROJECT,
        # Otherwise Trackio's callback ends a training by publishing its project as a Space.
        "trackio_static_space_id": False,
    }


@contextmanager
def tracked(tracker: Tracker | None, folder: Path) -> Iterator[None]:
    """Names, while a training goes on, what callbacks read from the environment alone.

    What the user has set there stays, and so does a run of Weights & Biases that the user began.
    """
    own_run = tracker == "wandb" and _wandb_run() is not None
    names = {
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": str(folder.absolute() / "tensorboard")},
        "wandb": {"WANDB_PROJECT": _PROJECT, "WANDB_DIR": str(folder.absolute())},
    }
    added = {k: v for k, v in names.get(tracker or "", {}).items() if k not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        # Its callback leaves the run open, and the next training would go on in it.
        if tracker == "wandb" and not own_run and (run := _wandb_run()) is not None:
            run.finish()
        for name in added:
            os.environ.pop(name, None)


def _wandb_run() -> Any:
    import wandb

    return wandb.run
