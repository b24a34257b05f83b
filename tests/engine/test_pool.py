"""Work begins by urgency, and a failure lets what is under way come to its end."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from seedfree.engine.pool import Pool


def test_the_most_urgent_begins_first_and_no_more_than_the_width() -> None:
    begun: list[str] = []
    most = 0

    async def run() -> None:
        nonlocal most
        pool = Pool(2)

        def work(name: str):
            async def go() -> None:
                nonlocal most
                begun.append(name)
                most = max(most, sum(pool.under_way.values()))
                await asyncio.sleep(0)

            return go

        for priority, name in ((2, "c"), (1, "b"), (2, "d"), (0, "a")):
            pool.submit((priority,), "stage", work(name))
        await pool.drain()

    asyncio.run(run())
    assert begun == ["a", "b", "c", "d"] and most == 2


def test_work_may_submit_more() -> None:
    async def run() -> int:
        pool, done = Pool(3), 0

        async def go() -> None:
            nonlocal done
            done += 1
            if done < 50:
                pool.submit((done,), "stage", go)

        pool.submit((0,), "stage", go)
        await pool.drain()
        return done

    assert asyncio.run(run()) == 50


def test_after_a_failure_nothing_begins_and_what_is_under_way_ends() -> None:
    ended: list[str] = []

    async def run() -> None:
        pool = Pool(2)

        async def slow() -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append("slow")

        async def bad() -> None:
            raise ValueError("first")

        async def never() -> None:
            ended.append("never")

        for number, work in enumerate((slow, bad, never, never)):
            pool.submit((number,), "stage", work)
        await pool.drain()

    with pytest.raises(ValueError, match="first"):
        asyncio.run(run())
    assert ended == ["slow"]


def test_who_waits_is_cancelled_with_the_work() -> None:
    state: list[str] = []

    async def run() -> None:
        pool = Pool(1)

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                state.append("ended")

        pool.submit((0,), "stage", forever)
        waiting = asyncio.create_task(pool.drain())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())
    assert state == ["ended"]


def test_it_says_what_is_under_way_by_stage() -> None:
    async def run() -> dict[str, int]:
        pool, gate = Pool(5), asyncio.Event()
        for stage in ("topics", "contexts", "contexts"):
            pool.submit((0,), stage, gate.wait)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        shown = dict(pool.under_way)
        gate.set()
        await pool.drain()
        return shown

    assert asyncio.run(run()) == {"topics": 1, "contexts": 2}


def test_nothing_begins_after_an_interruption() -> None:
    begun: list[int] = []

    async def work(n: int) -> None:
        begun.append(n)
        await asyncio.Event().wait()

    async def main() -> None:
        pool = Pool(2)
        for n in range(5):
            pool.submit((n,), "stage", partial(work, n))
        task = asyncio.ensure_future(pool.drain())
        for _step in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert not pool.under_way

    asyncio.run(main())
    assert begun == [0, 1]
