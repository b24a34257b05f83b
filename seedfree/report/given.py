"""What a report reads of a run.

`seedfree.run.folder.Run` has it. Its room imports this one, so this one cannot name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.outcome import Dropped, Stats, Variety

__all__ = ["Reported", "settings_of", "variety_of"]


class Reported(Protocol):
    """A run, finished or not, with what it published; see `seedfree.run.folder.Run`."""

    @property
    def path(self) -> Path: ...
    @property
    def status(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def dataset(self) -> Dataset: ...
    @property
    def dropped(self) -> Sequence[Dropped]: ...
    @property
    def variety(self) -> Variety: ...
    @property
    def manifest(self) -> Mapping[str, Any]: ...


def variety_of(run: Reported) -> Variety | None:
    """Returns how varied the rows are; `None` where the language is a file of the user's own."""
    try:
        return run.variety
    except ConfigError:
        return None


def settings_of(run: Reported) -> Mapping[str, Any]:
    """Returns the settings in the manifest; none where it holds something else."""
    settings = run.manifest.get("settings")
    return settings if isinstance(settings, dict) else {}
