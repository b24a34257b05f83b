"""An LLM that marks answers from 1 to 10, rationale first."""

from __future__ import annotations

__all__: list[str] = []
