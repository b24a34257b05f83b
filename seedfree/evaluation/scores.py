"""`score` and `compare`: what predictions are worth against references."""

from __future__ import annotations

__all__: list[str] = []
