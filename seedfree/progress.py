"""Progress for whoever watches: a bar in a terminal or a notebook, a line now and then in a log file."""

from __future__ import annotations

import logging
import sys
from typing import Any

from seedfree.engine.clock import Clock

__all__ = ["Progress"]

_EVERY = 30.0
_LOG = logging.getLogger("seedfree")


class Progress:
    """Rows kept out of rows wanted.

    Args:
        show: `None` decides by what standard error is: a bar for a terminal or a notebook, log lines otherwise.
    """

    def __init__(self, total: int, *, show: bool | None = None, clock: Clock | None = None) -> None:
        self._clock, self._total = clock or Clock(), total
        self._next = self._clock.monotonic() + _EVERY
        self._bar: Any = None
        self._log = show is not False
        if show or (show is None and (sys.stderr.isatty() or _notebook())):
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit="row", desc="seedfree", dynamic_ncols=True)

    def update(self, rows: int, **facts: object) -> None:
        """Shows how far it is: `facts` such as `requests=120, usd="0.03"` stand behind the bar."""
        if self._bar is not None:
            self._bar.n = min(rows, self._total)
            self._bar.set_postfix(facts)
        elif self._log and self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + _EVERY
            _LOG.info("%d of %d rows; %s", rows, self._total, ", ".join(f"{k} {v}" for k, v in facts.items()))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _notebook() -> bool:
    """Whether the process is a Jupyter kernel."""
    return "ipykernel" in sys.modules
