"""The bound that prunes never costs a decision: every way in, against the definition's loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.diversity.index import DiversityIndex, greedy_select
from seedfree.diversity.search import Bounds
from seedfree.diversity.vectors import UnitRows
from tests.diversity.planted import unit


@pytest.fixture(autouse=True)
def rotated(monkeypatch):
    """The rotation from 8 rows on, learned from few rows; small tiles, and few pairs a row."""
    _rotate(monkeypatch, 2)


def _rotate(monkeypatch, width, dense=2):
    for name, value in {
        "FEWEST": 8,
        "_SAMPLE": 16,
        "_TRIAL": 8,
        "_WIDTHS": (width,),
        "_PAIR": 0,
    }.items():
        monkeypatch.setattr(f"seedfree.diversity.search.{name}", value)
    monkeypatch.setattr("seedfree.diversity.search._TILE", 13)
    monkeypatch.setattr("seedfree.diversity.search.DENSE", dense)
    monkeypatch.setattr("seedfree.diversity.index.DENSE", dense)


def naive(vectors, thresholds, held=0):
    """`duplicate_of` and `similarity`; the first `held` rows stay.

    A row whose length is 1 but for the last bits is taken as it is: scaling it would move exact
    ties.
    """
    rows = np.asarray(vectors, np.float64)
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    rows = rows / np.where(np.abs(lengths - 1) < 1e-12, 1, lengths)
    kept, of, cosine = list(range(held)), [], []
    for i in range(held, len(rows)):
        cosines = np.minimum((rows[kept] * rows[i]).sum(axis=1), 1.0)
        limit = np.broadcast_to(thresholds, len(rows) - held)[i - held]
        if kept and cosines.max() > limit:
            of.append(kept[int(cosines.argmax())])
            cosine.append(cosines.max())
        else:
            kept.append(i)
            of.append(-1)
            cosine.append(np.nan)
    return np.array(of, np.int64), np.array(cosine)


def assert_same(selection, wanted):
    of, cosine = wanted
    np.testing.assert_array_equal(selection.duplicate_of, of)
    np.testing.assert_allclose(selection.similarity, cosine, rtol=0, atol=1e-12)


KINDS = {
    "isotropic": lambda n, d, rng: rng.normal(size=(n, d)),
    "low rank": lambda n, d, rng: rng.normal(size=(n, min(3, d))) @ rng.normal(size=(min(3, d), d)),
    "low rank, nearly": lambda n, d, rng: (
        rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 1e-4 * rng.normal(size=(n, d))
    ),
    "clustered": lambda n, d, rng: (
        rng.normal(size=(4, d))[rng.integers(0, 4, n)] + 0.05 * rng.normal(size=(n, d))
    ),
    "nearly collinear": lambda n, d, rng: np.ones(d) + 1e-3 * rng.normal(size=(n, d)),
    "collinear to the last bits": lambda n, d, rng: np.ones(d) + 1e-7 * rng.normal(size=(n, d)),
    "all equal": lambda n, d, rng: np.tile(rng.normal(size=(1, d)), (n, 1)),
    "all distinct": lambda n, d, rng: np.eye(max(n, d))[rng.permutation(max(n, d))[:n]],
    "exact duplicates": lambda n, d, rng: rng.normal(size=(n, d))[
        rng.integers(0, max(n // 3, 1), n)
    ],
    "few values": lambda n, d, rng: (
        rng.integers(-1, 2, size=(n, d)) + 2 * np.eye(d)[rng.integers(0, d, n)]
    ),
}
THRESHOLDS = (0.0, 1e-9, 0.5, 0.9, 0.999, 0.9999999, 1 - 1e-12, 1.0)
SHAPES = [
    (60, 12, np.float16), (60, 12, np.float32), (60, 12, np.float64), (60, 1, np.float32),
    (60, 2, np.float64), (10, 24, np.float32), (8, 5, np.float64), (7, 5, np.float64),
]  # fmt: skip


def rows_of(kind, n=60, d=12, seed=0):
    return unit(KINDS[kind](n, d, np.random.default_rng(seed)))


def rotates(vectors):
    return Bounds.learn(UnitRows.of(vectors), 0.9).axes is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "dtype"), SHAPES)
def test_every_decision_is_that_of_the_definition(kind, n, d, dtype):
    vectors = rows_of(kind, n, d).astype(dtype)
    assert rotates(vectors) == (len(vectors) >= 8 and vectors.shape[1] > 2)
    for threshold in THRESHOLDS:
        wanted = naive(vectors, threshold)
        for block in (1, 9, 2048):
            assert_same(greedy_select(vectors, threshold, "exact", block=block), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 10])
@pytest.mark.parametrize("dense", [0, 1000])
def test_with_any_number_of_coordinates_and_pairs(kind, width, dense, monkeypatch):
    _rotate(monkeypatch, width, dense)
    vectors = rows_of(kind, 80).astype(np.float32)
    assert rotates(vectors)
    for threshold in THRESHOLDS:
        assert_same(greedy_select(vectors, threshold, "exact", block=11), naive(vectors, threshold))


@given(
    st.sampled_from(list(KINDS)),
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.integers(1, 16),
    st.data(),
)
def test_a_threshold_for_each_row_and_lengths_near_1(kind, seed, block, d, data):
    vectors = rows_of(kind, data.draw(st.integers(1, 50)), d, seed)
    rng = np.random.default_rng(seed)
    vectors = vectors * rng.uniform(0.9901, 1.0099, size=(len(vectors), 1))
    limits = rng.choice([t for t in THRESHOLDS if t < 1], size=len(vectors))
    assert_same(
        greedy_select(vectors, limits.tolist(), "exact", block=block), naive(vectors, limits)
    )


@given(
    st.sampled_from(list(KINDS)),
    st.integers(0, 2**32),
    st.integers(3, 16),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_pairs_around_the_threshold(kind, seed, d, threshold):
    rng = np.random.default_rng([seed, 1])
    base = rows_of(kind, 20, d, seed)
    side = rng.normal(size=base.shape)
    side = unit(side - (side * base).sum(axis=1, keepdims=True) * base)
    cosine = threshold + rng.choice([-3e-6, -1e-6, -1e-9, 1e-9, 1e-6, 3e-6], size=(20, 1))
    vectors = np.concatenate([base, cosine * base + np.sqrt(1 - cosine**2) * side])
    assert_same(greedy_select(vectors, threshold, "exact", block=7), naive(vectors, threshold))
    vectors = vectors.astype(np.float32)
    assert_same(greedy_select(vectors, threshold, "exact", block=2048), naive(vectors, threshold))


@given(st.sampled_from(list(KINDS)), st.integers(0, 2**32), st.integers(0, 30), st.integers(1, 40))
def test_against_rows_that_stay(kind, seed, held, block):
    vectors = rows_of(kind, 50, 6, seed)
    rng = np.random.default_rng(seed)
    vectors = vectors[rng.permutation(50)]
    for threshold in (0.0, 0.9):
        selection = greedy_select(
            vectors[held:], threshold, "exact", against=vectors[:held], block=block
        )
        of, cosine = naive(vectors, threshold, held)
        # The number of a held row follows those of the rows that are decided.
        np.testing.assert_array_equal(
            selection.duplicate_of,
            np.where(of < 0, -1, np.where(of < held, len(of) + of, of - held)),
        )
        np.testing.assert_allclose(selection.similarity, cosine, rtol=0, atol=1e-12)


@given(
    st.sampled_from(list(KINDS)),
    st.integers(0, 2**32),
    st.lists(st.integers(0, 60), min_size=1, max_size=6),
    st.data(),
)
def test_rows_that_come_bit_by_bit_are_cut_and_come_again(kind, seed, cuts, data):
    vectors = rows_of(kind, 60, 5, seed)
    growing = DiversityIndex("exact", block=data.draw(st.integers(1, 70)))
    of, cosine = np.empty(0, int), np.empty(0)
    for to in [*cuts, 60]:
        if to < len(growing):
            growing.cut(to)
            of, cosine = of[:to], cosine[:to]
        else:
            more = growing.add(vectors[len(growing) : to], 0.9)
            of, cosine = np.append(of, more.duplicate_of), np.append(cosine, more.similarity)
    wanted = naive(vectors, 0.9)
    np.testing.assert_array_equal(of, wanted[0])
    np.testing.assert_allclose(cosine, wanted[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_goes_on_from_a_file_with_rows_in_a_file(kind, tmp_path):
    vectors = rows_of(kind).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    for n in (1, 5, 30, 60):
        first = DiversityIndex("exact", block=7)
        before = first.add(mapped[:n], 0.9)
        first.save(tmp_path / "index.npz")
        second = DiversityIndex.load(tmp_path / "index.npz", mapped[:n], block=7)
        if n == 30:
            second.cut(20)
            before, n = type(before)(None, before.duplicate_of[:20], before.similarity[:20]), 20
        after = second.add(mapped[n:], 0.9)
        of, cosine = naive(vectors, 0.9)
        np.testing.assert_array_equal(np.append(before.duplicate_of, after.duplicate_of), of)
        np.testing.assert_allclose(
            np.append(before.similarity, after.similarity), cosine, rtol=0, atol=1e-12
        )


@given(st.sampled_from(list(KINDS)), st.integers(0, 2**32), st.integers(3, 24), st.integers(1, 23))
def test_no_bound_is_below_its_cosine(kind, seed, d, width):
    """The claim itself, for axes that have nothing to do with the rows too."""
    rng = np.random.default_rng(seed)
    rows = UnitRows.of(rows_of(kind, 40, d, seed))
    turned = np.linalg.qr(rng.normal(size=(rows.dimensions,) * 2))[0][:, : min(width, d - 1)]
    for bounds in (Bounds.learn(rows, 0.9), Bounds(rows, turned)):
        numbers = np.arange(len(rows))
        features = bounds.features(numbers)
        wide = rows.double(numbers)
        assert (features @ features.T + bounds.margin >= wide @ wide.T).all()


def test_where_the_rotation_begins(monkeypatch):
    """As it is set for real data: one row fewer, the same number, one more."""
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(700, 40)) * np.geomspace(1, 0.01, 40)
    vectors = unit(centres[rng.integers(0, 700, 8194)] + 0.003 * rng.normal(size=(8194, 40)))
    of, cosine = naive(vectors, 0.98)
    for n in (8191, 8192, 8193, 8194):
        assert rotates(vectors[:n]) == (n >= 8192)
        selection = greedy_select(vectors[:n], 0.98, "exact")
        np.testing.assert_array_equal(selection.duplicate_of, of[:n])
        np.testing.assert_allclose(selection.similarity, cosine[:n], rtol=0, atol=1e-12)
