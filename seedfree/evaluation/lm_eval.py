"""A benchmark in the form of lm-evaluation-harness."""

from __future__ import annotations

__all__: list[str] = []
