"""Which choice an answer means, and how often it is the right one."""

from __future__ import annotations

__all__: list[str] = []
