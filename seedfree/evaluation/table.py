"""The paper's Table 2 from prediction files: `python -m seedfree.evaluation.table DIR`."""

from __future__ import annotations

__all__: list[str] = []
