import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.evaluation.pairwise import length_controlled


def planted(theta, bias, mean, n=4000, seed=0):
    """Outcomes of a judge whose liking is `theta`, plus `bias` for each unit of tanh(d / s)."""
    rng = np.random.default_rng(seed)
    d = rng.normal(mean, 300, n).round()
    z = theta + bias * np.tanh(d / math.sqrt((d**2).mean()))
    return (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float), d


@pytest.mark.parametrize("theta", [-1.0, 0.0, 0.8])
@pytest.mark.parametrize("mean", [-300, 0, 300])
def test_planted_length_bias_is_taken_out(theta, mean):
    outcomes, d = planted(theta, 2.0, mean)
    true = 1 / (1 + math.exp(-theta))
    rate, (low, high) = length_controlled(outcomes, d)
    assert rate == pytest.approx(true, abs=0.04) and low < true < high
    if mean:
        assert abs(outcomes.mean() - true) > 0.09


@pytest.mark.parametrize("mean", [0, 300])
def test_without_bias_the_rate_is_the_plain_one(mean):
    outcomes, d = planted(0.8, 0.0, mean)
    rate, (low, high) = length_controlled(outcomes, d)
    assert rate == pytest.approx(outcomes.mean(), abs=0.02) and low < outcomes.mean() < high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    true = 1 / (1 + math.exp(-0.5))
    intervals = [length_controlled(*planted(0.5, 1.0, 100, n=200, seed=i))[1] for i in range(300)]
    assert 0.91 <= sum(low <= true <= high for low, high in intervals) / 300 <= 0.98


def test_copies_of_a_source_do_not_narrow_the_interval():
    outcomes, d = planted(0.3, 1.0, 100, n=100)
    rate, alone = length_controlled(outcomes, d)
    copied, clustered = length_controlled(
        np.tile(outcomes, 4), np.tile(d, 4), clusters=list(range(100)) * 4
    )
    _, naive = length_controlled(np.tile(outcomes, 4), np.tile(d, 4))
    assert copied == pytest.approx(rate, abs=0.01) and clustered == pytest.approx(alone, abs=0.02)
    assert naive[1] - naive[0] < 0.6 * (clustered[1] - clustered[0])


@pytest.mark.parametrize(
    "outcomes, differences, expected",
    [
        ([1, 1, 1], [-3, 0, 5], 1),
        ([0, 0], [-3, 5], 0),
        ([0.5] * 4, [-3, 0, 5, 9], 0.5),
        ([1, 1, 0, 0.5], [0, 0, 0, 0], 0.625),
        ([1, 0], [10, -10], 0.5),  # length tells all: what is left is even
        ([1, 0] * 50, [1e6, -1e6] * 50, 0.5),
        ([1], [0], 1),
        ([], [], math.nan),
        ([1, 0, 1], [5, 1, 9], math.nan),  # the first is always longer
        ([1, 0], [-5, -1], math.nan),
    ],
)
def test_edges(outcomes, differences, expected):
    rate, (low, high) = length_controlled(outcomes, differences)
    assert rate == pytest.approx(expected, nan_ok=True)
    assert math.isnan(rate) == math.isnan(low) == math.isnan(high)
    assert math.isnan(rate) or low <= rate <= high


def test_where_length_tells_every_outcome_the_interval_owns_to_knowing_nothing():
    """Between the longest loss and the shortest win any rate at equal length fits."""
    _, (low, high) = length_controlled([1] * 80 + [0] * 40, [40] * 80 + [-40] * 40)
    assert low < 0.25 and high > 0.75


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(-10_000, 10_000)),
        min_size=1,
        max_size=30,
    )
)
def test_the_rate_is_a_share_and_turns_with_the_sides(pairs):
    outcomes, d = zip(*pairs, strict=True)
    rate, (low, high) = length_controlled(outcomes, d)
    turned, _ = length_controlled([1 - y for y in outcomes], [-x for x in d])
    assert math.isnan(rate) or 0 <= low <= rate <= high <= 1
    assert turned == pytest.approx(1 - rate, abs=1e-6, nan_ok=True)
