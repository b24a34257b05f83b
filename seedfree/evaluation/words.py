"""Texts to tokens, by mode: as the paper's scorer cut them, or into the language's words."""

from __future__ import annotations

__all__: list[str] = []
