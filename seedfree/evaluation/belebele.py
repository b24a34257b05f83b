"""Belebele: 900 questions on the same passages in 122 languages."""

from __future__ import annotations

__all__: list[str] = []
