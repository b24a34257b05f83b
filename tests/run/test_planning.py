"""Which jobs are asked hangs on what the jobs gave, never on the order in which they gave it."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedfree.run.planning import Balance, Plan

Job = tuple[int, int]


@dataclass
class World:
    """What jobs give, by a seed: the rows of each that pass, and which are duplicates."""

    seed: int
    rows: list[int]
    chances: list[float]
    duplicates: float = 0.0
    ends: list[float] = field(default_factory=list)
    _known: dict[Job, tuple[int, int]] = field(default_factory=dict)

    def job(self, task: int, job: int) -> tuple[int, int]:
        """Returns how many rows of a job pass, and how many of these are kept."""
        if (task, job) not in self._known:
            rng = random.Random(hash((self.seed, task, job)))
            passed = sum(rng.random() < self.chances[task] for _ in range(self.rows[task]))
            kept = sum(rng.random() >= self.duplicates for _ in range(passed))
            self._known[task, job] = passed, kept
        return self._known[task, job]

    def end(self, task: int) -> float:
        return self.ends[task] if self.ends else float("inf")


@dataclass
class Outcome:
    blocks: dict[Job, int]
    decisions: list[tuple[int | None, tuple[int, ...]]]
    complete: bool
    steps: int


def worked(world: World, size: int, balance: Balance, width: int, order: int) -> Outcome:
    """Works a plan off, `width` jobs at a time, each ending at a random moment."""
    plan, rng = Plan(size, world.rows, balance), random.Random(order)
    ready: deque[Job] = deque()
    flying: list[Job] = []
    settled: dict[Job, int] = {}
    outcome = Outcome({}, [], False, 0)

    def kept(block: int | None) -> tuple[int, ...]:
        sums = [0] * len(world.rows)
        for (task, job), number in settled.items():
            if block is None or number <= block:
                sums[task] += world.job(task, job)[1]
        outcome.decisions.append((block, tuple(sums)))
        return tuple(sums)

    while True:
        for task, job in plan.start():
            if job >= world.end(task):
                plan.end(task, int(world.end(task)))
            else:
                ready.append((task, job))
                outcome.blocks[task, job] = plan.block(task, job)
        while ready and len(flying) < width:
            flying.append(ready.popleft())
        due = plan.due
        # A decision takes its time, too: other jobs may end before it.
        if due is not None and (not flying or rng.random() < 0.5):
            plan.decide(kept(due))
        elif flying:
            place = rng.randrange(len(flying))
            flying[place], flying[-1] = flying[-1], flying[place]
            task, job = flying.pop()
            settled[task, job] = outcome.blocks[task, job]
            plan.settle(task, job, world.job(task, job)[0])
        elif plan.go_on(kept(None)):
            outcome.steps += 1
            assert outcome.steps < 1000
        else:
            outcome.complete = plan.complete
            return outcome


WIDTHS = ((1, 0), (7, 1), (64, 2), (10_000, 3), (10_000, 4))


@settings(max_examples=100)
@given(st.data())
def test_the_jobs_and_the_decisions_are_the_same_at_any_width(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 5))
    each = {"min_size": n, "max_size": n}
    world = World(
        seed=data.draw(st.integers(0, 999)),
        rows=data.draw(st.lists(st.sampled_from([1, 1, 1, 5]), **each)),
        chances=data.draw(st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.7, 0.95, 1.0]), **each)),
        duplicates=data.draw(st.sampled_from([0.0, 0.01, 0.2, 0.6])),
        ends=data.draw(st.lists(st.sampled_from([float("inf"), 0, 5, 47, 150]), **each)),
    )
    size = data.draw(st.sampled_from([1, 3, 7, 20, 100]))
    balance: Balance = data.draw(st.sampled_from(["fill", "strict"]))
    outcomes = [worked(world, size, balance, width, order) for width, order in WIDTHS]
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.parametrize("size", [1, 4, 20])
def test_a_small_run_asks_no_job_too_many_and_takes_one_step(size: int) -> None:
    outcome = worked(World(0, [1] * 4, [1.0] * 4), size, "fill", 100, 0)
    assert len(outcome.blocks) == size and outcome.complete and outcome.steps == 0


def test_tasks_give_equally_many_rows_to_within_one() -> None:
    for size, tasks in ((10, 4), (11, 4), (3, 5)):
        quotas = Plan(size, [1] * tasks).quotas
        assert sum(quotas) == size and max(quotas) - min(quotas) <= 1


def test_few_jobs_more_are_asked_than_are_needed() -> None:
    world = World(0, [1] * 4, [0.9] * 4, duplicates=0.02)
    jobs = len(worked(world, 2000, "fill", 128, 0).blocks)
    assert jobs <= 1.04 * 2000 / (0.9 * 0.98)


def test_a_job_that_gives_several_rows_counts_as_several() -> None:
    outcome = worked(World(0, [5], [1.0]), 100, "fill", 1000, 0)
    assert len(outcome.blocks) == 20


@pytest.mark.parametrize(("chance", "jobs"), [(0.0, 240), (0.01, 496)])
def test_a_task_that_gives_next_to_nothing_is_closed_and_the_others_fill_up(
    chance: float, jobs: int
) -> None:
    outcome = worked(World(0, [1] * 3, [1.0, chance, 1.0]), 3000, "fill", 64, 0)
    assert outcome.complete
    assert sum(task == 1 for task, _ in outcome.blocks) <= jobs


def test_tasks_that_give_nothing_one_after_the_other_cost_no_more_each() -> None:
    outcome = worked(World(0, [1] * 5, [0.0] * 5), 1, "fill", 64, 0)
    assert not outcome.complete and outcome.steps < 10
    assert max(sum(task == t for task, _ in outcome.blocks) for t in range(5)) <= 240


def test_equal_shares_stay_equal_where_that_is_wanted() -> None:
    outcome = worked(World(0, [1] * 3, [1.0, 0.0, 1.0]), 300, "strict", 64, 0)
    assert not outcome.complete
    assert [sum(task == t for task, _ in outcome.blocks) for t in (0, 2)] == [100, 100]


def test_what_a_task_without_further_contexts_cannot_give_the_others_give() -> None:
    world = World(0, [1] * 2, [1.0] * 2, ends=[5, float("inf")])
    outcome = worked(world, 40, "fill", 64, 0)
    assert outcome.complete and sum(task == 1 for task, _ in outcome.blocks) == 35


def test_a_block_waits_for_all_but_the_two_before_it() -> None:
    plan = Plan(1000, [1])
    assert len(plan.start()) == 16 + 32 + 64
    for job in range(15):
        plan.settle(0, job, 1)
    assert plan.start() == [] and plan.due is None
    plan.settle(0, 15, 1)
    assert plan.due == 0 and plan.start() == []
    plan.decide([16])
    assert len(plan.start()) == 128


def test_a_slow_job_holds_back_what_hangs_on_it_alone() -> None:
    plan = Plan(100, [1, 1])
    jobs = plan.start()
    assert len(jobs) == 100
    for task, job in jobs[1:]:
        plan.settle(task, job, 1)
    assert plan.needed == 100 and plan.start() == []
