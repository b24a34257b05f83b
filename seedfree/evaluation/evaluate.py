"""`evaluate`: a model's predictions on a benchmark, and their scores."""

from __future__ import annotations

__all__: list[str] = []
