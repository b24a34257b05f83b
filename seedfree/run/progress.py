"""Progress for whoever watches: a bar in a terminal or a notebook, lines in a log file."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import Any

from seedfree.engine.loop import Clock

__all__ = ["Progress", "forecast"]

_EVERY = 30.0
_LOG = logging.getLogger("seedfree")


class Progress:
    """Rows kept out of rows wanted.

    Args:
        total: Rows wanted.
        show: `None` decides by what standard error is: a bar for a terminal or a notebook, log
            lines otherwise.

    Attributes:
        expected: See `forecast`.
    """

    def __init__(self, total: int, *, show: bool | None = None, clock: Clock | None = None) -> None:
        self._clock, self._total = clock or Clock(), total
        self._before, self._since = 0, self._clock.monotonic()
        self._next = self._since + _EVERY
        self.expected = forecast(0, total, None, 0, 0.0)
        self._bar: Any = None
        self._log = show is not False
        if show or (show is None and (sys.stderr.isatty() or _notebook())):
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit="row", desc="seedfree", dynamic_ncols=True)

    def update(
        self, rows: int, *, jobs: int, needed: int, requests: int, usd: float | None, sent: int
    ) -> None:
        """Shows how far it is.

        Args:
            rows: Kept so far.
            jobs: Settled so far, of those `needed` in all as far as that is known.
            requests: Answered so far, whenever they were paid for.
            usd: Their price; `None` where it is not known.
            sent: Requests that this process sent.
        """
        now = self._clock.monotonic()
        if not sent:  # all of it was kept before: this is where its own work begins
            self._before, self._since = jobs, now
        self.expected = forecast(jobs, needed, usd, self._before, now - self._since)
        facts: dict[str, object] = {"requests": requests}
        if usd is not None:
            facts["usd"] = f"{usd:.4f}"
        if self.expected["projected_usd"] is not None:
            facts["usd_in_all"] = f"{self.expected['projected_usd']:.4f}"
        if self.expected["seconds_left"] is not None:
            facts["left"] = str(timedelta(seconds=self.expected["seconds_left"]))
        if self._bar is not None:
            self._bar.n = min(rows, self._total)
            self._bar.set_postfix(facts)
        elif self._log and now >= self._next:
            self._next = now + _EVERY
            shown = ", ".join(f"{name} {value}" for name, value in facts.items())
            # One task may have more than its share while another is still short of it.
            _LOG.info("%d of %d rows; %s", min(rows, self._total), self._total, shown)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def forecast(
    done: int, needed: int, usd: float | None, before: int, seconds: float
) -> dict[str, Any]:
    """Says what a run will have cost, and how long it still takes, if it goes on as it went.

    Args:
        done: Jobs settled so far, `before` of them without asking.
        needed: Jobs that the run takes in all.
        usd: Spent so far; `None` where the price is not known.
        seconds: Since the first request.

    Returns:
        `projected_usd` and `seconds_left`, each `None` where nothing can be said yet.
    """
    done = min(done, needed)
    new = done - before
    return {
        "projected_usd": usd * needed / done if usd is not None and done else None,
        "seconds_left": round((needed - done) * seconds / new) if new > 0 else None,
    }


def _notebook() -> bool:
    """Returns whether the process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
