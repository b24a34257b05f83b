"""Agreement of two raters on the same items."""

from __future__ import annotations

__all__: list[str] = []
