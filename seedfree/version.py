"""The installed version of the library."""

from __future__ import annotations

from importlib import metadata

__all__ = ["version"]


def version() -> str:
    """Such as `"0.1.0"`; `"unknown"` where the library runs from a folder that is not installed."""
    try:
        return metadata.version("seedfree")
    except metadata.PackageNotFoundError:
        return "unknown"
