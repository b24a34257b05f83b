"""Time, so that a test can bring its own."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

__all__ = ["Clock"]


class Clock:
    """The machine's clock. Tests subclass it; nothing else in the library asks for the time or sleeps."""

    def now(self) -> str:
        """ISO 8601 in UTC, to the second."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def timestamp(self) -> float:
        """Seconds since 1970, for `Retry-After` dates."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
