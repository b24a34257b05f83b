"""One HTML file in which a native speaker judges rows, and what comes back."""

from __future__ import annotations

__all__: list[str] = []
