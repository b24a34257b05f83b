"""How a model decodes when it is measured."""

from __future__ import annotations

__all__: list[str] = []
