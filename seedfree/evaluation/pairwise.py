"""An LLM that says which of two answers is better, asked in both orders."""

from __future__ import annotations

__all__: list[str] = []
