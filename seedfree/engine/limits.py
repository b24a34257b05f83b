"""How much may be under way at one model of one provider, and how long all requests to it wait."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from seedfree._seeds import seeded
from seedfree.engine.http import UnreachableError
from seedfree.engine.loop import Clock
from seedfree.engine.resets import exhausted_until
from seedfree.errors import RetryableError, StopRunError

__all__ = ["A_DAY", "LONGEST_WAIT", "Limits", "Slot"]

_LOG = logging.getLogger("seedfree")
_T = TypeVar("_T")

# What a provider answers when it is asked too much, as opposed to when it is broken. 529 is
# Anthropic's "overloaded".
_CROWDED = frozenset({429, 529})
# A round of successes raises the number under way by one, so it takes n / 2 rounds to undo a
# halving from n. Above 50 each success counts for more, so that 25 n successes are always enough.
_LEAST_RAISE = 0.02
_LONGEST_BACKOFF = 60.0
# Seconds that a run waits for a provider without being told to, and for the quota of a day.
LONGEST_WAIT, A_DAY = 900.0, 26 * 3600.0
# Seconds until it is asked again for a quota of which nobody says when it comes back.
_UNNAMED = 3600.0
# Seconds of one sleep: what is left is read anew after it, since a laptop may have been closed.
_LONGEST_SLEEP = 300.0
# Attempts to reach a server that has never answered: it is not there, or has another address.
_GREETINGS = 3


@dataclass(slots=True)
class Slot:
    """Permission to send one request.

    Attributes:
        tokens: What the request may use at most. Once it has ended, what it used.
        at: When the slot was given, on the clock.
        cuts, successes: The provider's counts at that moment.
    """

    tokens: int
    at: float
    cuts: int
    successes: int


class Limits:
    """The slots of one model at one provider, given out in the order in which they are asked for.

    A crowded provider (429, 529) halves the number under way, once for all requests that were sent
    before it. Each success raises the number again: by one for a whole round of successes, or by a
    fiftieth if that is more.

    Args:
        concurrency: Requests under way at most; at least 1.
        requests_per_minute, tokens_per_minute: Caps in any 60 seconds; `None` for none.
        attempts: How often one request is sent before it has failed. Refusals do not count while a
            crowded provider answers other requests.
        longest_wait: Seconds. A provider that asks for a longer wait stops the run instead. From
            `A_DAY` on, a quota that is used up without a word of its end is asked for every hour.

    Attributes:
        allowed: Requests that may be under way now. Only whole requests count.
        in_flight: Requests under way.
        retries: Requests that were sent again.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Clock | None = None,
        attempts: int = 8,
        longest_wait: float = LONGEST_WAIT,
    ) -> None:
        self._clock = clock or Clock()
        self._most, self.allowed, self.in_flight = concurrency, float(concurrency), 0
        self._caps: list[_Cap] = []
        if requests_per_minute:
            self._caps.append(_RequestCap(requests_per_minute, self._clock.monotonic()))
        if tokens_per_minute:
            self._caps.append(_TokenCap(tokens_per_minute))
        self._attempts, self._longest = attempts, longest_wait
        # On the monotonic clock, and in seconds since 1970.
        self._resume_at = self._resume_time = 0.0
        self._refused_since: float | None = None
        self._waiting: deque[tuple[asyncio.Future[Slot], int]] = deque()
        self._timer: asyncio.Task[None] | None = None
        self._cuts = self._successes = self._waits = 0
        self._reached = False
        self.retries = 0

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[Slot]:
        """Waits until one more request may be sent.

        A `RetryableError` in the block is heeded before the slot is free again.

        Args:
            tokens: What the request may use at most, prompt and reply.
        """
        waiting: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, tokens))
        self._hand_out()
        try:
            slot = await waiting
            yield slot
        except RetryableError as error:
            # Before the slot is free: the next request must not be sent into the pause that the
            # provider has just asked for.
            self._refused(error, slot)
            raise
        finally:
            # Cancelled while it waited, it has no slot to give back.
            if waiting.done() and not waiting.cancelled():
                self.in_flight -= 1
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives slots to those who wait, first come first served, while there is room."""
        while self._waiting and self.in_flight < int(self.allowed):
            waiting, tokens = self._waiting[0]
            if not waiting.done():  # else it was cancelled
                if (seconds := self._seconds_left(tokens)) > 0:
                    if self._timer is None:
                        self._timer = asyncio.create_task(self._hand_out_later(seconds))
                    return
                slot = Slot(tokens, self._clock.monotonic(), self._cuts, self._successes)
                for cap in self._caps:
                    cap.take(slot)
                self.in_flight += 1
                waiting.set_result(slot)
            self._waiting.popleft()

    async def _hand_out_later(self, seconds: float) -> None:
        await self._clock.sleep(min(seconds, _LONGEST_SLEEP))
        self._timer = None
        self._hand_out()

    def _seconds_left(self, tokens: int) -> float:
        now = self._clock.monotonic()
        return max([self.paused, *(cap.wait(tokens, now) for cap in self._caps)])

    @property
    def paused(self) -> float:
        """Returns the seconds until the provider is asked again, by its own word; 0 for now."""
        clock = self._clock
        # The monotonic clock stands still in a closed laptop, and the other one may be set back.
        left = self._resume_at - clock.monotonic(), self._resume_time - clock.timestamp()
        return max(0.0, min(left))

    def succeeded(self, slot: Slot, used: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Takes note of an answer.

        Args:
            used: Tokens of the prompt and the reply.
            headers: The answer's headers. If they say that nothing is left, all requests wait
                until the reset that they name.
        """
        self._successes += 1
        self._reached, self._refused_since = True, None
        self.allowed = min(float(self._most), self.allowed + max(1 / self.allowed, _LEAST_RAISE))
        if (wait := exhausted_until(headers, slot.tokens, self._clock.timestamp())) > 0:
            self._pause(min(wait, self._longest))
        self._settle(slot, used)
        self._hand_out()

    def _refused(self, error: RetryableError, slot: Slot) -> None:
        self._reached |= not isinstance(error, UnreachableError)
        # Requests sent before the last cut tell nothing about the number since.
        if error.status in _CROWDED and slot.cuts == self._cuts:
            self._cuts += 1
            self.allowed = max(1.0, min(self.allowed, self.in_flight) / 2)
        # A longer wait than that stops the run, in `fault`.
        if error.retry_after is not None and error.retry_after <= self._longest:
            self._pause(error.retry_after)
        self._settle(slot, 0)

    def _settle(self, slot: Slot, used: int) -> None:
        for cap in self._caps:
            cap.settle(slot, used)

    def _pause(self, seconds: float) -> None:
        if seconds > max(LONGEST_WAIT, self.paused):
            _LOG.warning("A quota is used up; it is asked again in %.1f hours", seconds / 3600)
        self._resume_at = max(self._resume_at, self._clock.monotonic() + seconds)
        self._resume_time = max(self._resume_time, self._clock.timestamp() + seconds)

    async def retrying(
        self, send: Callable[[Slot], Awaitable[_T]], key: str, tokens: int = 0
    ) -> _T:
        """Sends a request in a slot, and again where it may then succeed.

        Args:
            send: Sends once. A `RetryableError` is waited for and tried again.
            key: The request's. The length of a wait is drawn from it.
            tokens: What it may use at most, prompt and reply.

        Raises:
            RetryableError: The last attempt's.
            StopRunError: The provider asks for a longer wait than `longest_wait`, or cannot be
                reached and has never answered.
        """
        attempt, waits = 0, self._waits
        while True:
            try:
                async with self.slot(tokens) as slot:
                    if waits < self._waits:  # what failed before a quota's end says nothing now
                        attempt, waits = 0, self._waits
                    return await send(slot)
            except RetryableError as error:
                attempt = await self.fault(error, slot, attempt, key)

    async def fault(self, error: RetryableError, slot: Slot, attempt: int, key: str) -> int:
        """Waits after an attempt that failed, and returns the number of the next.

        Args:
            slot: The slot of the failed attempt.
            attempt: Its number, from 0.
            key: The request's. The length of the wait is drawn from it.

        Raises:
            RetryableError: `error` itself, after the last attempt.
            StopRunError: The provider asks for a longer wait than `longest_wait`, or cannot be
                reached and has never answered.
        """
        if error.retry_after is not None and error.retry_after > self._longest:
            wait = f"The provider asks to wait {error.retry_after:.0f} s"
            hint = "Run it again later, or with wait_for_quota=True."
            raise StopRunError(wait, hint=hint, status=error.status)
        following = attempt + 1
        # It answered others meanwhile, so this request has only been unlucky.
        if error.status in _CROWDED and self._successes > slot.successes:
            following = attempt
        over = following >= self._attempts
        # One refusal tells enough where nothing has been answered since the last such wait.
        if (over or self._refused_since is not None) and self._may_come_back(error):
            self._pause(_UNNAMED)
            self._waits += 1
            return attempt
        if over:
            raise error
        if not self._reached and following >= _GREETINGS:
            raise StopRunError(error.message, hint=error.hint)
        self.retries += 1
        # With a retry-after the wait has been set for everyone, in `_refused`.
        if error.retry_after is None:
            # Jitter: requests that failed together must not come back together. It is drawn from
            # the key, so that waits are the same in every run of a test.
            share = seeded(key, attempt).uniform(0.5, 1.0)
            await self._clock.sleep(min(_LONGEST_BACKOFF, 2.0**attempt) * share)
        return following

    def _may_come_back(self, error: RetryableError) -> bool:
        """Returns whether a quota is used up whose end is worth waiting for."""
        if error.status != 429 or self._longest < A_DAY:
            return False
        now = self._clock.timestamp()
        self._refused_since = self._refused_since or now
        return now - self._refused_since < self._longest


class _Cap(Protocol):
    """A cap on what is sent in any 60 seconds."""

    def wait(self, tokens: int, now: float) -> float:
        """Returns the seconds until a request of so many tokens may be sent."""

    def take(self, slot: Slot) -> None:
        """Takes note of a request that is sent now."""

    def settle(self, slot: Slot, used: int) -> None:
        """Takes note of the tokens that a request has used."""


class _RequestCap:
    """Lets at most `per_minute` requests through in any 60 seconds, and a 60th of that at once.

    It is a token bucket: `_level` is how many requests may be sent now.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self._burst = max(1.0, per_minute / 60)
        # A full bucket and what flows in during 60 seconds make `per_minute` + 1: the request of
        # that number is sent when the first one is just 60 seconds old.
        self._rate = (per_minute + 1 - self._burst) / 60
        self._level, self._at = self._burst, now

    def wait(self, tokens: int, now: float) -> float:
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        # After a wait of just the right length, rounding may leave the level a little below 1.
        if self._level >= 1 - 1e-9:
            return 0.0
        return (1 - self._level) / self._rate

    def take(self, slot: Slot) -> None:
        self._level -= 1

    def settle(self, slot: Slot, used: int) -> None:
        """Does nothing: a request counts whatever came of it."""


class _TokenCap:
    """Lets at most `per_minute` tokens through in any 60 seconds.

    Requests under way count with what they may use, the others with what they used.
    """

    def __init__(self, per_minute: float) -> None:
        self._most, self._sum = per_minute, 0
        # Of the last 60 seconds, the oldest first.
        self._slots: deque[Slot] = deque()

    def wait(self, tokens: int, now: float) -> float:
        while self._slots and self._slots[0].at <= now - 60:
            self._sum -= self._slots.popleft().tokens
        over, wait = self._sum + tokens - self._most, 0.0
        # A request that is over the cap by itself goes when nothing else is in the minute: the
        # loop then ends with `over` still above 0.
        for slot in self._slots:
            if over <= 0:
                break
            over -= slot.tokens
            wait = slot.at + 60 - now
        return wait

    def take(self, slot: Slot) -> None:
        self._slots.append(slot)
        self._sum += slot.tokens

    def settle(self, slot: Slot, used: int) -> None:
        # A slot that is older than the oldest kept one has left the sum already.
        if self._slots and slot.at >= self._slots[0].at:
            self._sum += used - slot.tokens
            slot.tokens = used
