"""The measures against their definitions, written out the slow way."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.diversity.sweep import distinct, mean_nearest, vendi
from seedfree.errors import ConfigError, EncoderError

shapes = {"seed": st.integers(0, 2**32), "n": st.integers(1, 30), "d": st.integers(1, 12)}


def rows(seed, n, d):
    """Unit rows of no particular spread, some of them equal."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, d)) + rng.normal(size=d) * rng.choice([0, 1, 5])
    vectors[rng.random(n) < 0.2] = vectors[0]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def whole_kernel(vectors):
    """The Vendi score as it is defined, by the n x n kernel."""
    shares = np.linalg.eigvalsh(vectors @ vectors.T / len(vectors))
    return math.exp(-sum(p * math.log(p) for p in shares if p > 1e-15))


def rotation(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


@given(**shapes)
def test_vendi_is_the_definition(seed, n, d):
    vectors = rows(seed, n, d)
    assert vendi(vectors) == pytest.approx(whole_kernel(vectors), rel=1e-6)
    assert 1 - 1e-9 <= vendi(vectors) <= min(n, d) + 1e-9


@given(**shapes)
def test_vendi_and_mean_nearest_know_neither_rotation_nor_order(seed, n, d):
    vectors, rng = rows(seed, n, d), np.random.default_rng(seed)
    turned = rng.permutation(vectors) @ rotation(rng, d)
    assert vendi(turned) == pytest.approx(vendi(vectors), rel=1e-6)
    assert mean_nearest(turned) == pytest.approx(mean_nearest(vectors), abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_vendi_counts_what_is_wholly_different(n):
    rng = np.random.default_rng(n)
    assert vendi(rotation(rng, 64)[:n]) == pytest.approx(n, rel=1e-9)
    assert vendi(np.tile(rotation(rng, 64)[:1], (n, 1))) == pytest.approx(1, abs=1e-9)
    assert vendi(np.tile(rotation(rng, 64)[:3], (n, 1))) == pytest.approx(3, rel=1e-9)


@given(**shapes, block=st.integers(1, 31))
def test_mean_nearest_is_the_definition_in_blocks_of_any_size(seed, n, d, block):
    vectors = rows(seed, n, d)
    cosines = vectors @ vectors.T
    highest = [max((cosines[i, j] for j in range(n) if j != i), default=math.nan) for i in range(n)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("seedfree.diversity.sweep._BLOCK", block)
        assert mean_nearest(vectors.astype(np.float32)) == pytest.approx(
            np.mean(highest), abs=1e-5, nan_ok=True
        )
        assert vendi(vectors) == pytest.approx(whole_kernel(vectors), rel=1e-6)


def test_a_row_is_not_its_own_neighbour():
    assert mean_nearest(np.eye(5)) == 0
    assert mean_nearest([[1.0, 0.0], [-1.0, 0.0]]) == -1
    assert mean_nearest(np.eye(3)[[0, 0, 1]]) == pytest.approx(2 / 3)


def test_rows_may_lie_in_a_file_and_stray_from_length_1(tmp_path):
    vectors = rows(3, 40, 8).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors * np.float32(1.005))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert mean_nearest(mapped) == pytest.approx(mean_nearest(vectors), abs=1e-6)
    assert vendi(mapped) == pytest.approx(vendi(vectors), rel=1e-6)


@pytest.mark.parametrize("measure", [mean_nearest, vendi])
def test_what_has_no_measure(measure):
    assert math.isnan(measure([]))
    assert math.isnan(mean_nearest([[1.0, 0.0]])) and vendi([[1.0, 0.0]]) == pytest.approx(1)
    for wrong in ([[0.0, 0.0]], [[3.0, 0.0]], [[math.nan, 1.0]], [1.0, 0.0]):
        with pytest.raises(EncoderError):
            measure(wrong)


words = st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=5)


@given(words, st.integers(1, 3), st.integers(1, 40), st.integers(0, 3))
def test_distinct_is_a_count(texts, n, budget, seed):
    if budget > sum(map(len, texts)):
        with pytest.raises(ConfigError, match="fewer than the budget"):
            distinct(texts, n, budget, seed)
        return
    # Which texts come first is the seed's affair: the count is that of one of all orders.
    share = distinct(texts, n, budget, seed)
    assert share == distinct(texts, n, budget, seed)
    assert any(share == naive(order, n, budget) for order in permutations(texts))
    if budget == sum(map(len, texts)):
        assert share == naive(texts, n, budget)


def naive(texts, n, budget):
    grams, used = [], 0
    for text in texts:
        text = text[: budget - used]
        used += len(text)
        grams += ["".join(text[i : i + n]) for i in range(len(text) - n + 1)]
    return len(set(grams)) / budget


def test_distinct_by_hand():
    assert distinct([["a", "b", "a", "b"]], 1, 4) == 2 / 4
    assert distinct([["a", "b", "a", "b"]], 2, 4) == 2 / 4
    assert distinct([["a", "b"], ["b", "a"]], 2, 4) == 2 / 4  # none across the texts
    assert distinct([["a", "b", "c"]], 2, 2) == 1 / 2
    seen = {distinct([["a"] * 5, ["b", "c", "d", "e", "f"]], 1, 5, seed) for seed in range(20)}
    assert seen == {1 / 5, 1.0}


def test_distinct_looks_only_at_the_texts_that_it_needs():
    class Once(list):
        looked = 0

        def __getitem__(self, i):
            Once.looked += 1
            return super().__getitem__(i)

    distinct(Once([["a"] * 10] * 50), 1, 35)
    assert Once.looked == 4


@pytest.mark.parametrize(("n", "budget"), [(0, 5), (1, 0), (-1, 5)])
def test_numbers_that_make_no_sense(n, budget):
    with pytest.raises(ConfigError, match="from 1"):
        distinct([["a"] * 9], n, budget)
