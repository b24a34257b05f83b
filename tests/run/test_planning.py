"""How many contexts each task gets in a round, and how many rows each task is to give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from seedfree.run.planning import TaskPlan, plan, quotas


def _plan(rows: int = 1, **state: Any) -> TaskPlan:
    return TaskPlan(cast(Any, SimpleNamespace(name="t", rows=rows)), **state)


@given(st.integers(1, 10_000), st.integers(1, 9))
def test_quotas_differ_by_one_at_most_and_add_up(size: int, n: int) -> None:
    given_out = quotas(size, [_plan() for _ in range(n)])
    assert sum(given_out) == size and max(given_out) - min(given_out) <= 1


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.booleans(), st.integers(0, 500)), min_size=1, max_size=6),
)
def test_what_a_closed_task_cannot_give_the_open_ones_share(
    size: int, states: list[tuple[bool, int]]
) -> None:
    plans = [_plan(closed=closed, kept=kept) for closed, kept in states]
    given_out = quotas(size, plans)
    still_open = [q for q, p in zip(given_out, plans, strict=True) if not p.closed]
    assert all(q <= p.kept for q, p in zip(given_out, plans, strict=True) if p.closed)
    if still_open:
        assert sum(given_out) == size and max(still_open) - min(still_open) <= 1


def test_the_first_round_is_a_small_pilot_whatever_the_size() -> None:
    assert plan(100_000, [_plan(), _plan(rows=5)]) == [8, 8]
    assert plan(4, [_plan(), _plan(rows=5)]) == [2, 1]


def test_later_rounds_follow_the_yield() -> None:
    state = _plan()
    state.learn(8, 4)
    # 6 rows to go at one row of two contexts, and a tenth to spare
    assert plan(10, [state]) == [14]
    state.learn(14, 10)
    assert plan(10, [state]) == [0]


def test_a_round_is_twice_what_was_asked_before_at_most() -> None:
    state = _plan()
    state.learn(8, 1)
    assert plan(10_000, [state]) == [16]
    barren = _plan()
    barren.learn(8, 0)
    assert plan(10_000, [barren]) == [16]


def test_a_task_that_yields_under_two_percent_of_fifty_contexts_is_closed() -> None:
    state = _plan()
    state.learn(49, 0)
    assert not state.closed
    state.learn(1, 0)
    assert state.closed and plan(10, [state]) == [0]
    good = _plan()
    good.learn(50, 1)
    assert not good.closed


def test_a_task_that_dries_up_later_is_closed_too() -> None:
    state = _plan()
    state.learn(50, 50)
    state.learn(50, 50)  # rows in all: the second fifty contexts gave none
    assert state.closed
