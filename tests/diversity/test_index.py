"""Every decision of `greedy_select` against a loop that does what the definition says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.diversity.index import greedy_select
from seedfree.errors import ConfigError, EncoderError
from tests.diversity.planted import unit


def naive(vectors, threshold):
    rows = unit(vectors)
    kept, duplicate_of, similarity = [], [], []
    for i, row in enumerate(rows):
        cosines = np.minimum((rows[kept] * row).sum(axis=1), 1.0)
        if kept and cosines.max() > threshold:
            duplicate_of.append(kept[int(cosines.argmax())])
            similarity.append(cosines.max())
        else:
            kept.append(i)
            duplicate_of.append(-1)
            similarity.append(np.nan)
    return np.array(kept, np.int64), np.array(duplicate_of, np.int64), np.array(similarity)


def assert_same(selection, vectors, threshold):
    kept, duplicate_of, similarity = naive(vectors, threshold)
    np.testing.assert_array_equal(selection.kept, kept)
    np.testing.assert_array_equal(selection.duplicate_of, duplicate_of)
    np.testing.assert_allclose(selection.similarity, similarity, rtol=0, atol=1e-12)


def near(rows, cosine, rng):
    """Rows at the given cosine from `rows`."""
    noise = rng.normal(size=rows.shape)
    noise -= (noise * rows).sum(axis=1, keepdims=True) * rows
    return cosine[:, None] * rows + np.sqrt(1 - cosine[:, None] ** 2) * unit(noise)


def distributions(n=300, d=32):
    rng = np.random.default_rng(0)
    isotropic = unit(rng.normal(size=(n, d)))
    planted = isotropic.copy()
    copies, of = np.arange(1, n, 4), rng.integers(0, np.arange(1, n, 4))
    planted[copies] = near(planted[of], rng.uniform(0.9, 1.0, len(copies)), rng)
    exact = planted.copy()
    exact[2::5] = exact[rng.integers(0, n // 2, len(exact[2::5]))]
    centres = unit(rng.normal(size=(9, d)))
    return {
        "isotropic": isotropic,
        "planted": planted,
        "clustered": unit(centres[rng.integers(0, 9, n)] + rng.normal(scale=0.05, size=(n, d))),
        "nearly collinear": unit(np.ones(d) + rng.normal(scale=0.02, size=(n, d))),
        "collinear to 1e-5": unit(np.ones(d) + rng.normal(scale=1e-5, size=(n, d))),
        "all equal": np.tile(unit(rng.normal(size=(1, d))), (n, 1)),
        "all distinct": np.eye(n),
        "exact duplicates": exact,
        "a chain": unit([[np.cos(a), np.sin(a)] for a in np.arange(n) * 0.05]),
    }


@pytest.mark.parametrize("name", distributions())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [7, 64, 2048])
def test_exact_is_the_definition(name, dtype, block):
    vectors = distributions()[name].astype(dtype)
    for threshold in (0.0, 0.5, 0.95, 0.9995, 0.9999999, 1.0):
        assert_same(greedy_select(vectors, threshold, "exact", block=block), vectors, threshold)


@pytest.mark.parametrize(
    "name", ["isotropic", "planted", "clustered", "all equal", "exact duplicates", "a chain"]
)
def test_hnsw_finds_planted_duplicates_and_invents_none(name):
    vectors = distributions()[name].astype(np.float32)
    exact = greedy_select(vectors, 0.95, "exact")
    for block in (50, 2048):
        graph = greedy_select(vectors, 0.95, "hnsw", block=block)
        again = greedy_select(vectors, 0.95, "hnsw", block=block)
        np.testing.assert_array_equal(graph.duplicate_of, again.duplicate_of)
        assert np.count_nonzero((graph.duplicate_of < 0) != (exact.duplicate_of < 0)) <= 2
        dropped = np.flatnonzero(graph.duplicate_of >= 0)
        cosines = (unit(vectors)[dropped] * unit(vectors)[graph.duplicate_of[dropped]]).sum(axis=1)
        np.testing.assert_allclose(graph.similarity[dropped], cosines, atol=1e-12)
        assert (cosines > 0.95).all()
        assert np.isin(graph.duplicate_of[dropped], graph.kept).all()


def test_hnsw_makes_room_for_more_rows_than_it_began_with():
    vectors = unit(np.random.default_rng(1).normal(size=(5000, 8))).astype(np.float32)
    assert len(greedy_select(vectors, 0.9999, "hnsw").kept) > 4096


def test_a_block_boundary_between_two_duplicates_changes_nothing():
    vectors = distributions()["planted"]
    whole = greedy_select(vectors, 0.95)
    for block in range(1, 40):
        split = greedy_select(vectors, 0.95, "exact", block=block)
        np.testing.assert_array_equal(split.duplicate_of, whole.duplicate_of)
        np.testing.assert_array_equal(split.similarity, whole.similarity)


def test_order_matters():
    a, between, b = [[np.cos(x), np.sin(x)] for x in (0.0, 0.2, 0.4)]
    assert greedy_select([a, between, b], 0.95).kept.tolist() == [0, 2]
    assert greedy_select([between, a, b], 0.95).kept.tolist() == [0]


def test_a_dropped_row_drops_nothing():
    chain = [[np.cos(x), np.sin(x)] for x in (0.0, 0.3, 0.6)]
    selection = greedy_select(chain, 0.95)
    assert selection.duplicate_of.tolist() == [-1, 0, -1]
    assert selection.similarity[1] == pytest.approx(np.cos(0.3), abs=1e-12)
    assert selection.ratio == pytest.approx(2 / 3)


@pytest.mark.parametrize("block", [1, 2, 3, 9])
def test_the_lowest_number_wins_a_tie(block):
    a, b, middle = [0.6, 0.8], [0.6, -0.8], [1.0, 0.0]
    assert greedy_select([a, b, middle], 0.5, block=block).duplicate_of.tolist() == [-1, -1, 0]
    four = greedy_select([b, a, middle, middle], 0.5, block=block)
    assert four.duplicate_of.tolist() == [-1, -1, 0, 0]
    other = [0.0, 0.0, 1.0]
    rows = [other, [*a, 0.0], [*b, 0.0], [*middle, 0.0]]
    assert greedy_select(rows, 0.5, block=block).duplicate_of.tolist() == [-1, -1, -1, 1]


@pytest.mark.parametrize("step", [-1e-7, -2e-9, -1e-13, 0.0, 1e-13, 2e-9, 1e-7])
@pytest.mark.parametrize("size", [2, 1024])
def test_a_pair_at_the_threshold_is_decided_in_float64(step, size):
    rows = np.zeros((2, size))
    rows[0, 0] = 1.0
    rows[1, :2] = 0.95 + step, np.sqrt(1 - (0.95 + step) ** 2)
    assert greedy_select(rows, 0.95).duplicate_of.tolist() == [-1, 0 if step > 0 else -1]


def test_a_pair_exactly_at_the_threshold_is_kept():
    for threshold in np.linspace(0.01, 0.99, 99):
        rows = [[1.0, 0.0], [threshold, np.sqrt(1 - threshold**2)]]
        assert greedy_select(rows, threshold).kept.tolist() == [0, 1]


@given(
    st.integers(1, 3).flatmap(
        lambda d: st.lists(
            st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any),
            min_size=1,
            max_size=24,
        )
    ),
    st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.8, 0.9, 0.95, 1.0]),
    st.integers(1, 30),
)
def test_small_vectors_full_of_ties(vectors, threshold, block):
    rows = unit(vectors)
    selection = greedy_select(rows, threshold, "exact", block=block)
    assert_same(selection, rows, threshold)
    assert (np.diff(selection.kept) > 0).all()
    assert np.isnan(selection.similarity[selection.kept]).all()


@given(st.integers(0, 2**32), st.sampled_from([0.9, 0.95, 0.99]), st.integers(1, 40))
def test_pairs_planted_around_the_threshold(seed, threshold, block):
    rng = np.random.default_rng(seed)
    base = unit(rng.normal(size=(12, 16)))
    around = threshold + rng.choice([-1e-6, -3e-7, -1e-8, 1e-8, 3e-7, 1e-6], size=12)
    vectors = np.concatenate([base, near(base, around, rng)])
    selection = greedy_select(vectors, threshold, "exact", block=block)
    assert_same(selection, vectors, threshold)
    singles = vectors.astype(np.float32)
    assert_same(greedy_select(singles, threshold, block=block), singles, threshold)


def test_types_and_lengths_of_the_answer():
    selection = greedy_select(distributions()["planted"], 0.95)
    assert selection.kept.dtype == np.int64
    assert selection.duplicate_of.dtype == np.int64
    assert selection.similarity.dtype == np.float64
    assert len(selection.duplicate_of) == len(selection.similarity) == 300
    assert len(selection.kept) + np.count_nonzero(selection.duplicate_of >= 0) == 300


@pytest.mark.parametrize("index", ["auto", "exact", "hnsw"])
@pytest.mark.parametrize("empty", [[], np.empty((0, 5)), np.empty((0, 0), np.float32)])
def test_no_rows(empty, index):
    selection = greedy_select(empty, 0.95, index)
    assert not len(selection.kept)
    assert len(selection.duplicate_of) == len(selection.similarity) == 0
    assert selection.ratio == 1.0


@pytest.mark.parametrize("index", ["auto", "exact", "hnsw"])
def test_one_row(index):
    assert greedy_select([[0.0, 1.0]], 0.0, index).kept.tolist() == [0]


def test_other_number_types_are_taken_as_they_are():
    whole = np.eye(3, dtype=np.int8)[[0, 1, 0]]
    assert greedy_select(whole, 0.5).duplicate_of.tolist() == [-1, -1, 0]
    half = distributions()["planted"].astype(np.float16)
    assert_same(greedy_select(half, 0.95), half, 0.95)
    assert half.dtype == np.float16


def test_the_input_is_not_changed():
    vectors = distributions()["planted"].astype(np.float32) * np.float32(1.005)
    before = vectors.copy()
    assert_same(greedy_select(vectors, 0.95), vectors, 0.95)
    np.testing.assert_array_equal(vectors, before)


def test_rows_may_lie_in_a_file(tmp_path):
    vectors = distributions()["planted"].astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    assert_same(
        greedy_select(np.load(tmp_path / "vectors.npy", mmap_mode="r"), 0.95, block=50),
        vectors,
        0.95,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.nan, "NaN or infinity"),
        (np.inf, "NaN or infinity"),
        (0.0, "all zeros"),
        (3.0, "does not have length 1"),
    ],
)
def test_a_row_without_a_cosine(change, message):
    vectors = np.eye(4)
    vectors[2, 2] = change
    with pytest.raises(EncoderError, match=message) as caught:
        greedy_select(vectors, 0.95)
    assert "Row 2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        np.ones(3),
        np.ones((2, 2, 2)),
        3.0,
        [["a"]],
        [[1.0], [1.0, 0.0]],
        [[1j]],
        [[None]],
        np.empty((3, 0)),
    ],
)
def test_what_is_no_matrix_of_numbers(wrong):
    with pytest.raises(EncoderError) as caught:
        greedy_select(wrong, 0.95)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threshold", [-0.01, 1.01, float("nan"), "0.95", None, True])
def test_a_threshold_that_is_no_cosine(threshold):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        greedy_select(np.eye(2), threshold)


def test_an_unknown_index():
    with pytest.raises(ConfigError, match="'auto', 'exact', 'hnsw'"):
        greedy_select(np.eye(2), 0.95, "faiss")
    with pytest.raises(ConfigError, match="block"):
        greedy_select(np.eye(2), 0.95, block=0)


def test_without_hnswlib(monkeypatch):
    monkeypatch.setattr("seedfree.diversity.index.find_spec", lambda name: None)
    monkeypatch.setattr("seedfree.diversity.index._CROSSOVER", 1)
    selection = greedy_select(np.eye(3), 0.95, "auto")
    assert (
        selection.kept.tolist() == [0, 1, 2]
        and selection.index == "exact"
        and selection.recall is None
    )
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[graph\]'"):
        greedy_select(np.eye(3), 0.95, "hnsw")


def test_auto_looks_up_many_rows_in_the_graph(monkeypatch):
    pytest.importorskip("hnswlib")
    monkeypatch.setattr("seedfree.diversity.index._CROSSOVER", 1)
    selection = greedy_select(np.eye(3)[[0, 1, 0]], 0.95)
    assert (
        selection.duplicate_of.tolist() == [-1, -1, 0]
        and selection.index == "hnsw"
        and selection.recall == 1.0
    )
