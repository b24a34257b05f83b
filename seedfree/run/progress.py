"""What a run shows while it works: rows, requests, the price so far and in all, the time left."""

from __future__ import annotations

from typing import Any

from seedfree.engine.loop import Clock
from seedfree.engine.progress import Display

__all__ = ["Progress", "forecast"]


class Progress:
    """Rows kept out of rows wanted.

    Args:
        total: Rows wanted.
        show: See `Display`.

    Attributes:
        expected: See `forecast`.
    """

    def __init__(self, total: int, *, show: bool | None = None, clock: Clock | None = None) -> None:
        self._clock, self._total = clock or Clock(), total
        self._before, self._since = 0, self._clock.monotonic()
        self.expected = forecast(0, total, None, 0, 0.0)
        self._display = Display("seedfree", "rows", total, show=show, clock=clock)

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
        # One task may have more than its share while another is still short of it.
        shown = min(rows, self._total)
        now = self._clock.monotonic()
        if not sent:  # all of it was kept before: this is where its own work begins
            self._before, self._since = jobs, now
            self._display.start(shown)
        self.expected = forecast(jobs, needed, usd, self._before, now - self._since)
        facts: dict[str, object] = {"jobs": f"{jobs}/{needed}", "requests": requests}
        # A model on this machine costs nothing, and a price of 0 would be one word too many.
        for name, price in (("usd", usd), ("usd_in_all", self.expected["projected_usd"])):
            if price:
                facts[name] = f"{price:.4f}"
        # Before the first row, nothing says how many jobs a row takes.
        self._display.update(shown, facts, self.expected["seconds_left"] if rows else None)

    def close(self) -> None:
        self._display.close()


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
