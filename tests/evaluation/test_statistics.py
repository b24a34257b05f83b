"""Intervals and paired tests against textbooks; agreement against values by hand and libraries."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.evaluation.statistics import (
    RESAMPLES,
    Strata,
    bootstrap,
    interval_around,
    kappa,
    marked_by_both,
    mean_interval,
    p_value,
    paired_p,
    raw_agreement,
    spearman,
)

VALUES = np.random.default_rng(0).normal(5, 2, 400)
NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)
MARKS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)
YES_NO = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15


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
    assert paired_p([0] * 30, [1] * 30, clusters=["page"] * 30) == 1.0


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


def same(a, b):
    return math.isnan(a) and math.isnan(b) or a == pytest.approx(b, abs=1e-12)


def test_kappa_of_a_table_worked_out_by_hand():
    # Observed 35/50; by chance (25 * 30 + 25 * 20) / 50² = 0.5.
    assert kappa(*YES_NO) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert raw_agreement(*YES_NO) == 0.7
    labels = {0: "no", 1: "yes"}
    assert kappa(*([labels[m] for m in side] for side in YES_NO)) == kappa(*YES_NO)


def test_weights_go_by_the_distance_of_the_values():
    # 1, 2, 5 against 1, 5, 5: one disagreement at distance 3. By chance, the mean of all nine
    # distances: 1-1 0, 1-5 4, 1-5 4, 2-1 1, 2-5 3, 2-5 3, 5-1 4, 5-5 0, 5-5 0, which is 19/9;
    # squared 67/9.
    assert kappa([1, 2, 5], [1, 5, 5], "linear") == pytest.approx(1 - (3 / 3) / (19 / 9))
    assert kappa([1, 2, 5], [1, 5, 5], "quadratic") == pytest.approx(1 - (9 / 3) / (67 / 9))


def test_what_is_defined_to_be_what():
    assert kappa([1, 2, 3], [1, 2, 3]) == kappa([1, 2, 3], [1, 2, 3], "quadratic") == 1
    assert kappa([1, 2], [2, 1]) == -1
    assert kappa([1, 2, 1, 2], [3, 3, 3, 3]) == 0
    assert math.isnan(kappa([], [])) and math.isnan(kappa([4, 4], [4, 4], "linear"))
    assert math.isnan(raw_agreement([None], [3])) and raw_agreement([4, 4], [4, 4]) == 1
    assert (
        math.isnan(spearman([1], [2]))
        and math.isnan(spearman([1, 2], [3, 3]))
        and math.isnan(spearman([], []))
    )
    assert spearman([1, 2, 3], [10, 20, 90]) == 1 and spearman([1, 2, 3], [3, 2, 1]) == -1
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(22.5))


def test_items_that_one_rater_left_out_do_not_count():
    a, b = [1, None, 3, 4, math.nan], [1, 2, None, 3, 5]
    assert marked_by_both(a, b) == ([1, 4], [1, 3])
    assert same(kappa(a, b, "linear"), kappa([1, 4], [1, 3], "linear"))
    assert spearman(a, b) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kappa([1], [1, 2]), "1 marks against 2"),
        (lambda: spearman([1], [1, 2]), "1 marks against 2"),
        (lambda: kappa([1], [1], "cubic"), "Unknown weights 'cubic'"),
        (lambda: kappa(["a", "b"], ["b", "a"], "linear"), "not finite numbers"),
        (lambda: kappa([1, math.inf], [1, 2], "linear"), "not finite numbers"),
        (lambda: spearman(["x", "y"], [1, 2]), "not finite numbers"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
@given(marks=MARKS)
def test_kappa_is_scikit_learns(weights, marks):
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = ([pair[side] for pair in marks] for side in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.cohen_kappa_score(a, b, weights=weights, labels=[1, 2, 3, 4, 5])
    assert same(kappa(a, b, weights), float(expected))


@given(marks=MARKS)
def test_spearman_is_scipys(marks):
    stats = pytest.importorskip("scipy.stats")
    a, b = ([pair[side] for pair in marks] for side in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = stats.spearmanr(a, b).statistic if len(a) > 1 else math.nan
    assert same(spearman(a, b), float(expected))


@given(marks=MARKS)
def test_raters_can_be_swapped(marks):
    a, b = ([pair[side] for pair in marks] for side in (0, 1))
    for weights in (None, "linear", "quadratic"):
        assert same(kappa(a, b, weights), kappa(b, a, weights))


def test_the_interval_holds_the_value_and_narrows_with_more_items():
    few, many = bootstrap(kappa, *YES_NO), bootstrap(kappa, *(side * 16 for side in YES_NO))
    assert few[0] < 0.4 < few[1] and many[0] < 0.4 < many[1]
    # Cohen's standard error, sqrt(0.7 * 0.3 / 50) / (1 - 0.5), is 0.13; a quarter of it for 16
    # times the items.
    assert few[1] - few[0] == pytest.approx(2 * 1.96 * 0.13, rel=0.15)
    assert many[1] - many[0] == pytest.approx((few[1] - few[0]) / 4, rel=0.2)
    assert bootstrap(kappa, *YES_NO) == few != bootstrap(kappa, *YES_NO, seed=1)
    copies = (
        [mark for mark in YES_NO[0] for _ in range(16)],
        [mark for mark in YES_NO[1] for _ in range(16)],
    )
    assert bootstrap(kappa, *copies, clusters=[i // 16 for i in range(800)]) == pytest.approx(few)
    assert all(map(math.isnan, [*bootstrap(kappa, [], []), *bootstrap(kappa, [2, 2], [2, 2])]))
