"""WangchanThaiInstruct: the benchmark of the paper."""

from __future__ import annotations

__all__: list[str] = []
