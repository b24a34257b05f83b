import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.evaluation.statistics import (
    RESAMPLES,
    Strata,
    interval_around,
    mean_interval,
    p_value,
    paired_p,
)

VALUES = np.random.default_rng(0).normal(5, 2, 400)
NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)


def test_the_interval_of_a_mean_is_the_textbook_s():
    low, high = mean_interval(VALUES)
    error = 1.96 * VALUES.std() / 20
    assert low == pytest.approx(VALUES.mean() - error, abs=0.05)
    assert high == pytest.approx(VALUES.mean() + error, abs=0.05)


def test_rows_of_one_source_are_one_draw():
    copies = np.repeat(VALUES[:50], 8)
    alone, together = (
        mean_interval(copies),
        mean_interval(copies, clusters=np.repeat(np.arange(50), 8).tolist()),
    )
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(
        8**0.5, rel=0.15
    )
    assert together == pytest.approx(mean_interval(VALUES[:50]), rel=1e-12)


def test_groups_are_drawn_within():
    values, groups = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert mean_interval(values, groups=groups) == (0.5, 0.5)
    assert mean_interval(values)[1] > 0.55


def test_a_blank_cluster_is_one_of_its_own():
    blank = ["", None, float("nan"), ""] * 100
    assert mean_interval(VALUES, clusters=blank) == mean_interval(VALUES)
    assert mean_interval(VALUES, clusters=[0] * 400) == pytest.approx(
        (VALUES.mean(), VALUES.mean())
    )


@given(NUMBERS, st.floats(0.05, 0.99), st.integers(0, 5))
def test_the_interval_holds_the_mean_and_is_repeatable(values, level, seed):
    low, high = mean_interval(values, level=level, seed=seed)
    assert low <= float(np.mean(values)) <= high
    assert (low, high) == mean_interval(values, level=level, seed=seed)


def test_blocks_draw_what_one_draw_would(monkeypatch):
    other = VALUES + np.random.default_rng(3).normal(0.1, 1, 400)
    whole = [*mean_interval(VALUES), paired_p(VALUES, other)]
    monkeypatch.setattr("seedfree.evaluation.statistics._BLOCK", 400 * 7)
    assert 0.002 < whole[2] < 0.5 and [
        *mean_interval(VALUES),
        paired_p(VALUES, other),
    ] == pytest.approx(whole)


def test_coverage():
    draws = np.random.default_rng(1)
    held = [
        low <= 0 <= high
        for low, high in (mean_interval(draws.normal(size=60), seed=i) for i in range(200))
    ]
    assert 0.89 <= np.mean(held) <= 0.99


def test_p_is_small_for_a_difference_and_even_without_one():
    assert paired_p(VALUES, VALUES + 0.5) == 1 / (RESAMPLES + 1)
    assert paired_p(VALUES, VALUES) == 1.0
    draws = np.random.default_rng(2)
    ps = [paired_p(draws.normal(size=40), draws.normal(size=40), seed=i) for i in range(200)]
    assert 0.01 <= np.mean(np.array(ps) < 0.05) <= 0.1 and 0.4 < np.mean(ps) < 0.6


def test_p_of_few_rows_is_that_of_all_exchanges():
    # 3 differences of one sign: 2 of 8 exchanges are as far out.
    assert paired_p([0, 0, 0], [1, 2, 3]) == pytest.approx(0.25, abs=0.04)
    assert paired_p([0] * 30, [1] * 30, clusters=["one"] * 30) == 1.0


def test_p_is_never_zero():
    assert p_value(1.0, np.zeros(999)) == 0.001


@pytest.mark.parametrize("wrong", [[], [1.0, float("nan")], [[1.0]], 3.0])
def test_what_is_not_a_list_of_numbers_is_an_error(wrong):
    with pytest.raises(ConfigError, match="list of finite numbers"):
        mean_interval(wrong)


def test_other_lengths_and_levels_are_errors():
    with pytest.raises(ConfigError, match="1 groups for 2 rows"):
        mean_interval([1, 2], groups=["a"])
    with pytest.raises(ConfigError, match="3 clusters for 2 rows"):
        paired_p([1, 2], [1, 2], clusters=["a"] * 3)
    with pytest.raises(ConfigError, match="2 values against 1"):
        paired_p([1, 2], [1])
    for level in (0, 1, 95):
        with pytest.raises(ConfigError, match="level="):
            interval_around(np.zeros(3), 0.0, level)


def test_a_group_alone_is_drawn_as_in_the_whole():
    rows = VALUES[:, None]
    strata = Strata.of(400, ["a", "b"] * 200, None, 3)
    alone = strata.only("b").resampled(rows[1::2])["b"]
    assert np.array_equal(alone, strata.resampled(rows)["b"])
