"""Agreement of two raters: against values worked out by hand, and against scikit-learn and SciPy."""

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.evaluation.statistics import bootstrap, kappa, marked_by_both, raw_agreement, spearman

MARKS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)
YES_NO = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15


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
