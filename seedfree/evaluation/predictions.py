"""Prediction files: CSV or JSONL, plain or gzipped, with `question, context, answer, id, prediction`."""

from __future__ import annotations

__all__: list[str] = []
