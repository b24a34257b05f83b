"""A quota that is used up: a run stops, or waits for it where it was told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import seedfree as sf
from seedfree.engine.limits import A_DAY, Limits
from seedfree.errors import RetryableError
from tests.engine.batch_server import BatchServer, llm
from tests.engine.provider import transport
from tests.fakes import FakeClock, Library, VirtualClock, small_pipeline

HOURS = 11


class _FreeTier:
    """A server that answers ten requests a day, and says what `word` says once they are used up."""

    def __init__(self, clock: FakeClock, **word: str) -> None:
        self.clock, self.word, self.answered, self.refused = clock, word, 0, 0
        self.model = BatchServer("openai")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.answered >= 10 and self.clock.seconds < 1000 + HOURS * 3600:
            self.refused += 1
            words = {name.replace("_", "-"): value for name, value in self.word.items()}
            return httpx.Response(429, json={"error": "free-models-per-day"}, headers=words)
        self.answered += 1
        return self.model(request)


def _run(out: Path, clock: FakeClock, server: Any, **options: Any) -> sf.Run:
    pipeline = small_pipeline(llm("openai"), tasks=[sf.Summarization()], contexts=[Library()])
    options = {"clock": clock, "transport": transport(server), "concurrency": 4, **options}
    return pipeline.run(size=12, out=out, progress=False, **options)


@pytest.mark.parametrize(
    "word",
    [
        {"retry_after": str(HOURS * 3600)},
        {"x_ratelimit_remaining": "0", "x_ratelimit_reset": f"{HOURS}h0m0s"},
        {},  # nobody says when it comes back
    ],
)
def test_a_daily_quota_is_waited_for_where_the_run_is_told_to(
    word: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shows: list[Callable[[], None]] = []
    seen: set[str | None] = set()

    @asynccontextmanager
    async def heartbeat(show: Callable[[], None], _: object) -> AsyncIterator[None]:
        shows.append(show)
        yield

    class Clock(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            shows[-1]()
            seen.add(json.loads((tmp_path / "status.json").read_text())["waiting_until"])

    monkeypatch.setattr("seedfree.run.execution.heartbeat", heartbeat)
    clock = Clock()
    server = _FreeTier(clock, **word)
    run = _run(tmp_path, clock, server, wait_for_quota=True)
    assert run.status == "complete" and HOURS * 3600 <= clock.seconds - 1000 < (HOURS + 2) * 3600
    at = "1970-01-01T11:16:40Z" if word else "1970-01-01T01:1"
    assert any(each and each.startswith(at) for each in seen) and None in seen
    assert server.refused <= (4 if word else 100)


@pytest.mark.parametrize("fault", [httpx.ReadError("reset"), None])
def test_a_fault_after_a_wait_is_tried_again_like_any_other(
    fault: Exception | None, tmp_path: Path
) -> None:
    clock = VirtualClock()
    server, faults = _FreeTier(clock), iter(range(5))

    def unsteady(request: httpx.Request) -> httpx.Response:
        if clock.seconds > 1000 + 3600 and next(faults, None) is not None:
            if fault is not None:
                raise fault
            return httpx.Response(503)
        return server(request)

    run = _run(tmp_path, clock, unsteady, wait_for_quota=True)
    assert run.status == "complete" and next(faults, None) is None
    assert clock.seconds - 1000 < (HOURS + 2) * 3600 and server.refused < 100


def test_without_that_a_run_stops_and_says_how_to_wait(tmp_path: Path) -> None:
    clock = VirtualClock()
    server = _FreeTier(clock, retry_after=str(HOURS * 3600))
    run = _run(tmp_path, clock, server)
    assert run.status == "stopped" and "wait_for_quota=True" in run.message
    assert clock.seconds < 2000


def test_a_wait_ends_in_time_although_the_laptop_was_closed() -> None:
    """The monotonic clock stands still meanwhile."""

    class Closed(VirtualClock):
        lid = 0.0

        def timestamp(self) -> float:
            return self.seconds + self.lid

        async def sleep(self, seconds: float) -> None:
            self.lid = 8 * 3600.0
            await super().sleep(seconds)

    async def work() -> None:
        limits = Limits(1, clock=clock, longest_wait=A_DAY)
        with pytest.raises(RetryableError):
            async with limits.slot():
                raise RetryableError("crowded", status=429, retry_after=9 * 3600.0)
        async with limits.slot():
            pass

    clock = Closed()
    asyncio.run(work())
    assert 3600 <= clock.seconds - 1000 < 2 * 3600
