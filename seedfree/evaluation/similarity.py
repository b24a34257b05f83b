"""Closeness of meaning: embedding similarity and BERTScore, each under its own name."""

from __future__ import annotations

__all__: list[str] = []
