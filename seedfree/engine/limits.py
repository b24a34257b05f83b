"""How much may be under way at one provider, and how long everyone waits when it asks for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from seedfree.engine.clock import Clock
from seedfree.errors import RetryableError, StopRunError
from seedfree.records import seeded

__all__ = ["Limits"]


class Limits:
    """The slots of one provider.

    Args:
        concurrency: Requests under way at most; at least 1.
        attempts: Times that one request is sent before it has failed.
        longest_wait: Seconds; a provider that asks for more stops the run instead.
    """

    def __init__(
        self, concurrency: int, *, clock: Clock | None = None, attempts: int = 8, longest_wait: float = 900.0
    ) -> None:
        self._clock = clock or Clock()
        self._slots = asyncio.Semaphore(concurrency)
        self._attempts, self._longest = attempts, longest_wait
        self._resume_at = 0.0
        self.retries = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a free slot, and for the end of the provider's pause."""
        async with self._slots:
            while (left := self._resume_at - self._clock.monotonic()) > 0:
                await self._clock.sleep(left)
            yield

    async def fault(self, error: RetryableError, attempt: int, key: str) -> None:
        """Waits before attempt number `attempt` + 1, or gives up.

        Raises:
            RetryableError: `error` itself, after the last attempt.
            StopRunError: The provider asks for a longer wait than `longest_wait`.
        """
        if attempt + 1 >= self._attempts:
            raise error
        self.retries += 1
        if error.retry_after is None:
            # Full jitter, drawn from the key: waits differ between requests and are the same in every test.
            await self._clock.sleep(min(60.0, 2.0**attempt) * seeded(key, attempt).uniform(0.5, 1.0))
            return
        if error.retry_after > self._longest:
            raise StopRunError(
                f"The provider asks to wait {error.retry_after:.0f} s", hint="Run it again later.", status=error.status
            )
        self._resume_at = max(self._resume_at, self._clock.monotonic() + error.retry_after)
