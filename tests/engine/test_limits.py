"""How much is sent at once: slots, caps by the minute, and what providers say they have left."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedfree.engine.limits import Limits
from seedfree.engine.resets import exhausted_until
from seedfree.errors import RetryableError, StopRunError
from tests.fakes import VirtualClock


def _crowded(**wait: float) -> RetryableError:
    return RetryableError("slow down", status=429, **wait)


async def _refused(
    limits: Limits, clock: VirtualClock, error: RetryableError, attempt: int = 0
) -> int:
    """Sends a request that is refused after half a second; returns the number of the next try."""
    try:
        async with limits.slot() as slot:
            await clock.sleep(0.5)
            raise error
    except RetryableError:
        return await limits.fault(error, slot, attempt, "key")


class Provider:
    """A provider that answers after a second of virtual time and remembers when it was asked."""

    def __init__(self, clock: VirtualClock, limits: Limits, *, seconds: float = 1.0) -> None:
        self.clock, self.limits, self.seconds = clock, limits, seconds
        self.sent: list[float] = []
        self.order: list[int] = []
        self.most = 0

    async def ask(self, i: int, tokens: int = 0, used: int = 0) -> None:
        async with self.limits.slot(tokens) as slot:
            self.sent.append(self.clock.monotonic())
            self.order.append(i)
            self.most = max(self.most, self.limits.in_flight)
            await self.clock.sleep(self.seconds)
            self.limits.succeeded(slot, used)


def _together(*work: Coroutine[Any, Any, None]) -> None:
    async def all_() -> None:
        await asyncio.gather(*work)

    asyncio.run(all_())


def test_slots_are_given_in_order_and_never_more_than_the_users_figure() -> None:
    clock = VirtualClock()
    provider = Provider(clock, Limits(7, clock=clock))
    _together(*(provider.ask(i) for i in range(50)))
    assert provider.order == list(range(50)) and provider.most == 7
    assert clock.seconds - 1000 == pytest.approx(8)  # 50 requests, 7 at once, a second each


def test_a_burst_of_refusals_halves_once_and_success_raises_it_to_the_users_figure_again() -> None:
    clock = VirtualClock()
    limits = Limits(64, clock=clock)

    async def work() -> None:
        await asyncio.gather(*(_refused(limits, clock, _crowded()) for _ in range(64)))
        assert limits.allowed == 32 and limits.retries == 64
        provider = Provider(clock, limits)
        await asyncio.gather(*(provider.ask(i) for i in range(40)))
        # A whole round of successes raises it by one.
        assert 32 < limits.allowed < 34 and provider.most <= 33
        await asyncio.gather(*(provider.ask(i) for i in range(5000)))
        assert limits.allowed == 64 and provider.most == 64

    asyncio.run(work())


def test_refusals_one_after_another_lower_it_to_one_and_no_further() -> None:
    clock = VirtualClock()
    limits = Limits(64, clock=clock, attempts=99)

    async def work() -> None:
        # Six halve 64 to one; the others find nothing to halve.
        for i in range(12):
            await _refused(limits, clock, _crowded(), i)
        assert limits.allowed == 1
        provider = Provider(clock, limits)
        await asyncio.gather(provider.ask(0), provider.ask(1))
        assert provider.most == 1

    asyncio.run(work())


@pytest.mark.parametrize("status", [500, 503, None])
def test_faults_that_are_no_crowding_leave_it_as_it_is(status: int | None) -> None:
    clock = VirtualClock()
    limits = Limits(8, clock=clock)
    assert asyncio.run(_refused(limits, clock, RetryableError("down", status=status))) == 1
    assert limits.allowed == 8


def test_the_whole_provider_waits_as_long_as_it_says() -> None:
    clock = VirtualClock()
    limits = Limits(4, clock=clock)
    provider = Provider(clock, limits)

    async def refused() -> None:
        await _refused(limits, clock, _crowded(retry_after=30.0))

    _together(refused(), *(provider.ask(i) for i in range(20)))
    # The clock starts at 1,000 s, and the refusal comes half a second later. The other three
    # slots were given out before it.
    early = [at for at in provider.sent if at < 1000.5]
    assert len(early) == 3 and min(set(provider.sent) - set(early)) == pytest.approx(1030.5)


def test_a_longer_wait_than_the_cap_stops_the_run() -> None:
    clock = VirtualClock()
    limits = Limits(4, clock=clock, longest_wait=60)
    with pytest.raises(StopRunError, match="3600 s.*again later"):
        asyncio.run(_refused(limits, clock, _crowded(retry_after=3600.0)))


# Fewer examples than usual: each is a simulation of hundreds of requests.
@settings(max_examples=40)
@given(st.integers(1, 4000), st.integers(1, 300), st.integers(0, 2**32))
@example(1, 3, 0)
@example(60, 300, 0)
@example(600, 300, 0)
def test_no_minute_holds_more_requests_than_the_cap(cap: int, width: int, seed: int) -> None:
    clock, rng = VirtualClock(), random.Random(seed)
    limits = Limits(width, clock=clock, requests_per_minute=cap)
    provider = Provider(clock, limits, seconds=rng.uniform(0.01, 3))
    n = min(400, 3 * cap)
    _together(*(provider.ask(i) for i in range(n)))
    for first, after in zip(provider.sent, provider.sent[cap:], strict=False):
        assert after - first >= 60 - 1e-6  # times are sums of floats
    # The cap, or the slots, and not some lesser rate decide how long it takes.
    least = max(60 * n / cap, n / width * provider.seconds)
    assert provider.sent[-1] - 1000 <= 1.05 * least + provider.seconds


@settings(max_examples=30)
@given(st.integers(1000, 200_000), st.integers(0, 2**32))
def test_no_minute_holds_more_tokens_than_the_cap(cap: int, seed: int) -> None:
    clock, rng = VirtualClock(), random.Random(seed)
    provider = Provider(clock, Limits(50, clock=clock, tokens_per_minute=cap))
    sizes = [rng.randint(1, 1000) for _ in range(200)]
    _together(*(provider.ask(i, tokens=n, used=n) for i, n in enumerate(sizes)))
    for i, start in enumerate(provider.sent):
        window = [sizes[k] for k in range(i, 200) if provider.sent[k] - start < 60 - 1e-6]
        assert sum(window) <= cap


def test_tokens_that_a_reply_did_not_use_are_given_back() -> None:
    clock = VirtualClock()
    provider = Provider(clock, Limits(8, clock=clock, tokens_per_minute=60_000))
    _together(*(provider.ask(i, tokens=2000, used=100) for i in range(200)))
    assert provider.sent[-1] - 1000 < 60  # 200 x 2000 tokens alone would take 400 s


NOW = 1_000_000_000.0
SOON = datetime.fromtimestamp(NOW + 20, UTC).isoformat().replace("+00:00", "Z")


def _anthropic(resource: str, remaining: str) -> dict[str, str]:
    head = f"anthropic-ratelimit-{resource}"
    return {f"{head}-remaining": remaining, f"{head}-reset": SOON}


def _openai(resource: str, remaining: str, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-remaining-{resource}": remaining,
        f"x-ratelimit-reset-{resource}": reset,
    }


def _others(remaining: str, reset: str) -> dict[str, str]:
    return {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}


HOUR_LATER = datetime.fromtimestamp(NOW + 3600, UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (_anthropic("requests", "0"), 20),
        ({name.title(): value for name, value in _anthropic("output-tokens", "90").items()}, 20),
        (_anthropic("requests", "5"), 0),
        (_openai("requests", "0", "6m0.5s"), 360.5),
        # The next request needs 100 tokens.
        (_openai("tokens", "99", "17ms"), 0.017),
        (_openai("tokens", "100", "17ms"), 0),
        (_openai("requests", "0", "1h2m3s"), 3723),
        # A time in milliseconds, a time in seconds, and a span in seconds.
        (_others("0", f"{(NOW + 7) * 1000:.0f}"), 7),
        (_others("0", f"{NOW + 7:.0f}"), 7),
        (_others("0", "12"), 12),
        (_others("0", "soon"), 0),
        (_others("0", "nan"), 0),
        (_others("none", "12"), 0),
        ({"x-ratelimit-remaining": "0"}, 0),
        # Numbers of thousands of digits say nothing.
        (_others("9" * 5000, "12"), 0),
        (_others("0" * 5000, "9" * 5000), 0),
        (_openai("tokens", "0", "9" * 5000 + "h"), 0),
        # The server's clock is an hour ahead of this machine's.
        ({**_others("0", f"{NOW + 3607:.0f}"), "date": format_datetime(HOUR_LATER, True)}, 7),
        ({"x-ratelimit-limit-requests": "0", "content-type": "text/html"}, 0),
    ],
)
def test_what_providers_say_is_left(headers: dict[str, str], seconds: float) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert exhausted_until(raw, 100, NOW) == pytest.approx(seconds)


@given(
    st.sampled_from(
        ["x-ratelimit-reset", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"]
    ),
    st.text(),
)
def test_a_reset_is_a_finite_time_whatever_a_server_sends(name: str, value: str) -> None:
    left = name.replace("reset", "remaining")
    raw = [(name.encode(), value.encode("utf-8", "replace")), (left.encode(), b"0")]
    assert 0 <= exhausted_until(raw, 100, NOW) < float("inf")


def test_nothing_is_sent_while_the_provider_has_nothing_left() -> None:
    clock = VirtualClock()
    limits = Limits(2, clock=clock)
    sent = []

    async def ask() -> None:
        async with limits.slot() as slot:
            sent.append(clock.monotonic())
            left = b"0" if len(sent) == 4 else b"9"
            headers = [(b"x-ratelimit-remaining", left), (b"x-ratelimit-reset", b"40")]
            limits.succeeded(slot, 0, headers)

    _together(*(ask() for _ in range(10)))
    # The fourth answer says that nothing is left for 40 s.
    assert sent == pytest.approx([1000] * 4 + [1040] * 6)


def test_a_provider_that_refuses_most_requests_for_long_makes_steady_progress() -> None:
    """The provider takes five requests a second, and refuses the rest until the second is over."""
    clock = VirtualClock()
    limits = Limits(64, clock=clock)
    taken: Counter[int] = Counter()
    done, early, closed_until = [], [], 0.0

    async def ask(i: int) -> None:
        nonlocal closed_until
        attempt = 0
        while True:
            try:
                async with limits.slot() as slot:
                    if clock.monotonic() < closed_until - 1e-9:
                        early.append(i)
                    await clock.sleep(0.05)
                    second = int(clock.monotonic())
                    taken[second] += 1
                    if taken[second] > 5:
                        raise _crowded(retry_after=second + 1 - clock.monotonic())
                    limits.succeeded(slot, 0)
                    done.append(clock.monotonic())
                    return
            except RetryableError as error:
                assert error.retry_after is not None
                closed_until = max(closed_until, clock.monotonic() + error.retry_after)
                attempt = await limits.fault(error, slot, attempt, str(i))

    _together(*(ask(i) for i in range(400)))
    assert len(done) == 400 and not early
    # 80 seconds is the least that it could take.
    assert done[-1] - 1000 < 1.3 * 80
    # Less than one refusal for each request.
    assert limits.retries < 400


def test_a_provider_that_refuses_everything_fails_after_the_last_attempt() -> None:
    clock = VirtualClock()
    limits = Limits(4, clock=clock)

    async def work() -> None:
        attempt = 0
        while True:
            attempt = await _refused(limits, clock, _crowded(retry_after=1.0), attempt)

    with pytest.raises(RetryableError, match="slow down"):
        asyncio.run(work())
    assert limits.retries == 7  # eight attempts in all
