"""The installed version of the library."""

from __future__ import annotations

from importlib import metadata

__all__ = ["__version__"]

try:
    __version__ = metadata.version("seedfree")
except metadata.PackageNotFoundError:  # it runs from a folder that is not installed
    __version__ = "unknown"
