"""How much may be under way at one model of one provider, and how long everyone waits when it asks for that."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from seedfree._seeds import seeded
from seedfree.engine.loop import Clock
from seedfree.errors import RetryableError, StopRunError

__all__ = ["Limits", "Slot", "exhausted_until"]

# What a provider answers when it is asked too much, as opposed to when it is broken.
_CROWDED = frozenset({429, 529})
# platform.claude.com/docs/en/api/rate-limits; platform.openai.com/docs/guides/rate-limits; others
# follow OpenAI.
_HEADER = re.compile(
    rb"(?i)(?:anthropic-ratelimit-(?P<kind>[a-z-]+?)-(?P<what>remaining|reset)"
    rb"|x-ratelimit-(?P<what2>remaining|reset)(?:-(?P<kind2>[a-z-]+))?)"
)
_SPAN = re.compile(
    r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)


@dataclass(slots=True)
class Slot:
    """Leave to send one request.

    Attributes:
        tokens: What it may use at most; then what it used.
        at: When it was given, on the clock.
        cuts, successes: Of the provider, at that moment.
    """

    tokens: int
    at: float
    cuts: int
    successes: int


class _Requests:
    """Lets at most `per_minute` through in any 60 seconds, and a 60th of that at once."""

    def __init__(self, per_minute: float, now: float) -> None:
        self._burst = max(1.0, per_minute / 60)
        self._rate = (per_minute + 1 - self._burst) / 60
        self._level, self._at = self._burst, now

    def wait(self, now: float) -> float:
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        return (1 - self._level) / self._rate if self._level < 1 - 1e-9 else 0.0

    def take(self) -> None:
        self._level -= 1


class _Tokens:
    """Lets at most `per_minute` through in any 60 seconds: what replies used, and what those under way may use."""

    def __init__(self, per_minute: float) -> None:
        self._most, self._sum = per_minute, 0
        self._slots: deque[Slot] = deque()

    def wait(self, cost: int, now: float) -> float:
        while self._slots and self._slots[0].at <= now - 60:
            self._sum -= self._slots.popleft().tokens
        over, wait = self._sum + cost - self._most, 0.0
        for slot in self._slots:
            # one that alone is over the cap goes when nothing else is in the minute
            if over <= 0:
                break
            over -= slot.tokens
            wait = slot.at + 60 - now
        return wait

    def take(self, slot: Slot) -> None:
        self._slots.append(slot)
        self._sum += slot.tokens

    def used(self, slot: Slot, tokens: int) -> None:
        if self._slots and slot.at >= self._slots[0].at:
            self._sum += tokens - slot.tokens
            slot.tokens = tokens


class Limits:
    """The slots of one model at one provider, given out in the order in which they are asked for.

    A crowded provider (429, 529) halves the number under way, once for all requests that were sent
    before it; each success raises it again: by one for a whole round of successes, or by a fiftieth
    where that is more.

    Args:
        concurrency: Requests under way at most; at least 1.
        requests_per_minute, tokens_per_minute: Caps in any 60 seconds; `None` for none.
        attempts: Times that one request is sent before it has failed. Refusals of a crowded
            provider that meanwhile answers other requests do not count.
        longest_wait: Seconds; a provider that asks for more stops the run instead.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Clock | None = None,
        attempts: int = 8,
        longest_wait: float = 900.0,
    ) -> None:
        self._clock = clock or Clock()
        self._most, self.allowed, self.in_flight = concurrency, float(concurrency), 0
        self._requests = (
            _Requests(requests_per_minute, self._clock.monotonic()) if requests_per_minute else None
        )
        self._tokens = _Tokens(tokens_per_minute) if tokens_per_minute else None
        self._attempts, self._longest = attempts, longest_wait
        self._resume_at = 0.0
        self._waiting: deque[tuple[asyncio.Future[Slot], int]] = deque()
        self._timer: asyncio.Task[None] | None = None
        self._cuts = self._successes = 0
        self.retries = 0

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[Slot]:
        """Waits until one more request may be sent. A `RetryableError` in the block is heeded before the slot is free.

        Args:
            tokens: What it may use at most, prompt and reply.
        """
        waiting: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, tokens))
        self._hand_out()
        try:
            slot = await waiting
            yield slot
        except RetryableError as error:
            self._refused(error, slot)  # before the slot is free: nobody may be sent early
            raise
        finally:
            if waiting.done() and not waiting.cancelled():
                self.in_flight -= 1
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives slots to those who wait, as many as there is room for; the others get theirs when there is."""
        while self._waiting and self.in_flight < int(self.allowed):
            waiting, tokens = self._waiting[0]
            if not waiting.done():  # else it was cancelled
                if (left := self._left(tokens)) > 0:
                    if self._timer is None:
                        self._timer = asyncio.create_task(self._later(left))
                    return
                slot = Slot(tokens, self._clock.monotonic(), self._cuts, self._successes)
                if self._requests:
                    self._requests.take()
                if self._tokens:
                    self._tokens.take(slot)
                self.in_flight += 1
                waiting.set_result(slot)
            self._waiting.popleft()

    async def _later(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        self._hand_out()

    def _left(self, tokens: int) -> float:
        now = self._clock.monotonic()
        waits = [self._resume_at - now]
        waits += [self._requests.wait(now)] if self._requests else []
        waits += [self._tokens.wait(tokens, now)] if self._tokens else []
        return max(waits)

    def succeeded(self, slot: Slot, used: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Takes note of an answer.

        Args:
            used: Tokens of the prompt and the reply.
            headers: Of the answer: where they say that nothing is left, everyone waits until it is
                reset.
        """
        self._successes += 1
        self.allowed = min(float(self._most), self.allowed + max(1 / self.allowed, 0.02))
        if (wait := exhausted_until(headers, slot.tokens, self._clock.timestamp())) > 0:
            self._pause(min(wait, self._longest))
        if self._tokens:
            self._tokens.used(slot, used)
        self._hand_out()

    def _refused(self, error: RetryableError, slot: Slot) -> None:
        if error.status in _CROWDED and slot.cuts == self._cuts:
            self._cuts += 1
            self.allowed = max(1.0, min(self.allowed, self.in_flight) / 2)
        if error.retry_after is not None and error.retry_after <= self._longest:
            # else the run stops
            self._pause(error.retry_after)
        if self._tokens:
            self._tokens.used(slot, 0)

    def _pause(self, seconds: float) -> None:
        self._resume_at = max(self._resume_at, self._clock.monotonic() + seconds)

    async def fault(self, error: RetryableError, slot: Slot, attempt: int, key: str) -> int:
        """Waits after attempt number `attempt` (from 0) has failed in its slot; the number of the next, or gives up.

        Raises:
            RetryableError: `error` itself, after the last attempt.
            StopRunError: The provider asks for a longer wait than `longest_wait`.
        """
        if error.retry_after is not None and error.retry_after > self._longest:
            wait = f"The provider asks to wait {error.retry_after:.0f} s"
            raise StopRunError(wait, hint="Run it again later.", status=error.status)
        crowded = error.status in _CROWDED
        following = attempt if crowded and self._successes > slot.successes else attempt + 1
        if following >= self._attempts:
            raise error
        self.retries += 1
        if error.retry_after is None:
            # Full jitter, drawn from the key: waits differ between requests and are the same in
            # every test.
            await self._clock.sleep(
                min(60.0, 2.0**attempt) * seeded(key, attempt).uniform(0.5, 1.0)
            )
        return following


def exhausted_until(headers: Iterable[tuple[bytes, bytes]], tokens: int, now: float) -> float:
    """Seconds until a provider that says how much is left has enough for another request; 0 where it has.

    Args:
        headers: Raw header fields.
        tokens: What a request may use.
        now: Seconds since 1970.
    """
    found: dict[tuple[bytes, bytes], str] = {}
    for name, value in headers:
        if b"ratelimit" in name.lower() and (match := _HEADER.fullmatch(name)):
            kind = match["kind"] or match["kind2"] or b"requests"
            found[kind.lower(), (match["what"] or match["what2"]).lower()] = value.decode(
                "ascii", "replace"
            ).strip()
    waits = [0.0]
    for (kind, what), text in found.items():
        if (
            what == b"remaining"
            and text.isdecimal()
            and int(text) < (1 if kind == b"requests" else max(1, tokens))
        ):
            waits.append(_seconds(found.get((kind, b"reset"), ""), now))
    return max(waits)


def _seconds(text: str, now: float) -> float:
    """A reset as providers write it: RFC 3339, `6m0s`, `17ms`, seconds, or a time since 1970; 0 for nonsense."""
    with contextlib.suppress(ValueError):
        number = float(text)
        # Seconds to come are small; a time since 1970 is not, in milliseconds still less.
        seconds = number if number < 1e8 else (number / 1000 if number > 1e11 else number) - now
        return seconds if math.isfinite(seconds) else 0.0
    if text and (span := _SPAN.fullmatch(text)):
        return sum(
            float(part or 0) * unit
            for part, unit in zip(span.groups(), (3600, 60, 1, 0.001), strict=True)
        )
    try:
        return datetime.fromisoformat(text).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
