"""Where previews keep their replies, for later previews and runs to take over instead of paying."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from seedfree._files import claim_folder, is_file
from seedfree.engine.ledger import FILES
from seedfree.errors import ConfigError

__all__ = ["is_ours", "preview_folders"]

_LOG = logging.getLogger("seedfree")


def preview_folders(name: str) -> Iterator[Path]:
    """Yields the folders of previews with some settings. Where one is of no use, the next serves.

    Args:
        name: Of the settings and the seed.
    """
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "seedfree" / "previews" / name
    yield folder
    for n in count(2):
        yield folder.with_name(f"{name}-{n}")


def is_ours(folder: Path) -> bool:
    """Tells whether previews may write into a folder: somebody else may have put files there."""
    try:
        claim_folder(folder, FILES)
        for name in FILES:
            is_file(folder / name)
    except ConfigError as error:
        _LOG.warning("%s: this preview goes into another folder", error.message)
        return False
    return True
