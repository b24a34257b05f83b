"""Each metric as statistics of a row, and what they add up to."""

from __future__ import annotations

__all__: list[str] = []
