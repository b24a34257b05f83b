"""Rows of a data set that hold questions of a benchmark."""

from __future__ import annotations

__all__: list[str] = []
