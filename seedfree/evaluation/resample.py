"""Bootstrap intervals and paired tests on per-row statistics, within tasks and by source."""

from __future__ import annotations

__all__: list[str] = []
