"""Rows that come bit by bit, against others, with thresholds of their own; an index that misses."""

import numpy as np
import pytest

from seedfree.diversity import index, search
from seedfree.diversity.index import DiversityIndex, greedy_select
from seedfree.diversity.search import ExactSearch, HnswSearch, Nearest
from seedfree.errors import ConfigError, EncoderError
from tests.diversity.planted import unit
from tests.diversity.test_index import assert_same, distributions, naive

NAMES = ["planted", "clustered", "nearly collinear", "all equal", "exact duplicates", "a chain"]


@pytest.fixture(params=["rows", "coordinates"])
def rotated(request, monkeypatch):
    """Bounds from leading coordinates only come with thousands of rows; here they come with any."""
    if request.param == "coordinates":
        monkeypatch.setattr(search, "FEWEST", 8)
        monkeypatch.setattr(index, "FEWEST", 8)
        monkeypatch.setattr(search, "_WIDTHS", (8,))
        monkeypatch.setattr(search, "_PAIR", 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [(300,), (1, 299), (100, 100, 100), (150, 0, 150)])
def test_rows_that_come_bit_by_bit_are_decided_as_all_at_once(name, steps, rotated):
    vectors = distributions()[name].astype(np.float32)
    made, of, similarity = DiversityIndex("exact", block=32), [], []
    for start, n in zip(np.cumsum((0, *steps)), steps, strict=False):
        part = made.add(vectors[start : start + n], 0.95)
        of, similarity = [*of, *part.duplicate_of], [*similarity, *part.similarity]
        assert all(start <= k < start + n for k in part.kept)
    whole = greedy_select(vectors, 0.95, "exact")
    np.testing.assert_array_equal(of, whole.duplicate_of)
    np.testing.assert_array_equal(similarity, whole.similarity)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
@pytest.mark.parametrize("n", [0, 1, 37, 299])
def test_what_was_cut_off_never_was(n, kind, rotated):
    if kind == "hnsw":
        pytest.importorskip("hnswlib")
    vectors = distributions()["exact duplicates"].astype(np.float32)
    made = DiversityIndex(kind, block=50)
    made.add(vectors[::-1], 0.95)
    made.cut(0)
    made.add(vectors, 0.95)
    made.cut(n)
    assert len(made) == n
    again, expected = made.add(vectors[n:], 0.95), greedy_select(vectors, 0.95, kind)
    np.testing.assert_array_equal(again.duplicate_of, expected.duplicate_of[n:])


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_index_goes_on(name, tmp_path, rotated):
    vectors = distributions()[name].astype(np.float32)
    first = DiversityIndex("exact", block=64)
    first.add(vectors[:200], 0.95)
    first.save(tmp_path / "index.npz")
    again = DiversityIndex.load(tmp_path / "index.npz", vectors[:200], block=64)
    assert len(again) == 200 and again.index == "exact"
    expected, selection = first.add(vectors[200:], 0.95), again.add(vectors[200:], 0.95)
    np.testing.assert_array_equal(selection.duplicate_of, expected.duplicate_of)
    np.testing.assert_array_equal(selection.similarity, expected.similarity)


@pytest.mark.parametrize("content", [b"", b"no index", b"PK\x03\x04 cut off", None])
def test_a_file_that_is_no_index_of_these_vectors_is_refused(tmp_path, content):
    path = tmp_path / "index.npz"
    if content is None:
        made = DiversityIndex()
        made.add(np.eye(4), 0.95)
        made.save(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"index\.npz holds no index of these vectors"):
        DiversityIndex.load(path, np.eye(3))


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_there_already_stay_and_come_first(name, rotated):
    vectors = distributions()[name].astype(np.float32)
    there, new = vectors[:120], vectors[120:]
    selection = greedy_select(new, 0.95, "exact", against=there, block=32)
    rows = unit(vectors)
    kept = list(range(120))
    for i in range(120, 300):
        cosines = np.minimum((rows[kept] * rows[i]).sum(axis=1), 1.0)
        of = kept[int(cosines.argmax())]
        if cosines.max() > 0.95:
            assert selection.duplicate_of[i - 120] == (of - 120 if of >= 120 else len(new) + of)
        else:
            kept.append(i)
            assert selection.duplicate_of[i - 120] == -1
    assert selection.kept.tolist() == [k - 120 for k in kept[120:]]


def test_against_rows_of_another_encoder():
    with pytest.raises(EncoderError, match="2 dimensions, those already there 3"):
        greedy_select(np.eye(2), 0.95, against=np.eye(3))


def test_each_row_may_have_a_threshold_of_its_own(rotated):
    vectors = distributions()["planted"].astype(np.float32)
    limits = np.where(np.arange(300) % 2, 0.92, 0.99)
    limits[5::7] = 1.0
    selection, rows, kept = greedy_select(vectors, limits, "exact", block=64), unit(vectors), []
    for i, limit in enumerate(limits):
        cosines = np.minimum((rows[kept] * rows[i]).sum(axis=1), 1.0) if kept else np.array([-1.0])
        assert (selection.duplicate_of[i] >= 0) == (cosines.max() > limit)
        if cosines.max() <= limit:
            kept.append(i)
    same = np.full(300, 0.95)
    assert_same(greedy_select(vectors, same, "exact"), vectors, 0.95)
    with pytest.raises(ConfigError, match="2 thresholds for 300 rows"):
        greedy_select(vectors, [0.9, 0.9])
    with pytest.raises(ConfigError, match=r"threshold is 1\.5"):
        greedy_select(np.eye(2), [0.9, 1.5])


def test_an_index_that_misses_duplicates_says_how_many(monkeypatch):
    pytest.importorskip("hnswlib")
    vectors = distributions()["planted"].astype(np.float32)
    exact = greedy_select(vectors, 0.95, "hnsw", block=16)
    assert exact.recall == 1.0 and exact.index == "hnsw"
    monkeypatch.setattr(HnswSearch, "nearest", lambda self, block: Nearest.unknown(len(block)))
    blind = greedy_select(vectors, 0.95, "hnsw", block=16)
    _, duplicate_of, _ = naive(vectors, 0.95)
    should, dropped = (np.count_nonzero(of >= 0) for of in (duplicate_of, blind.duplicate_of))
    assert blind.recall == pytest.approx(dropped / should) and blind.recall < 0.5


def test_vectors_in_a_file_are_read_where_they_lie(tmp_path):
    vectors = distributions()["planted"].astype(np.float32)
    vectors.tofile(tmp_path / "vectors.f32")
    mapped = np.memmap(tmp_path / "vectors.f32", np.float32, "r", shape=vectors.shape)
    assert_same(greedy_select(mapped, 0.95, block=64), vectors, 0.95)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_many_copies_among_those_already_there_change_nothing(kind, rotated):
    if kind == "hnsw":
        pytest.importorskip("hnswlib")
    vectors = distributions()["planted"].astype(np.float32)
    there = np.concatenate([np.repeat(vectors[:1], 2000, axis=0), vectors[:40]])
    many = greedy_select(vectors[40:], 0.95, kind, against=there)
    few = greedy_select(vectors[40:], 0.95, kind, against=vectors[:40])
    np.testing.assert_array_equal(many.kept, few.kept)
    np.testing.assert_allclose(many.similarity, few.similarity, atol=1e-12)


def test_among_equal_cosines_the_earliest_row_wins_though_a_copy_stands_later():
    assert greedy_select([[1, 0]], 0.9, against=[[1.001, 0], [1, 0]]).duplicate_of.tolist() == [1]
    selection = greedy_select([[1.001, 0], [1, 0], [1, 0]], [0.9, 1, 0.9])
    assert selection.duplicate_of.tolist() == [-1, -1, 0]


def test_an_interrupted_step_never_was(monkeypatch):
    vectors = distributions()["planted"].astype(np.float32)
    made = DiversityIndex("exact", block=50)
    made.add(vectors[:100], 0.95)
    nearest, asked = ExactSearch.nearest, []

    def interrupted(self, *args):
        asked.append(args)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return nearest(self, *args)

    monkeypatch.setattr(ExactSearch, "nearest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.add(vectors[100:], 0.95)
    assert len(made) == 100
    expected = greedy_select(vectors, 0.95, "exact").duplicate_of[100:]
    np.testing.assert_array_equal(made.add(vectors[100:], 0.95).duplicate_of, expected)


def test_a_row_of_infinite_length_and_a_threshold_that_is_no_number_are_refused():
    with pytest.raises(EncoderError, match="NaN or infinity"):
        greedy_select([[1e200, 1e200]], 0.9)
    for wrong in ("abc", None, [0.9]):
        with pytest.raises(ConfigError, match="threshold is"):
            greedy_select(np.eye(2), [wrong, wrong])


def test_recall_counts_no_pair_at_the_threshold_as_missed():
    pytest.importorskip("hnswlib")
    assert greedy_select([[1, 0], [0.6, 0.8]], 0.6, "hnsw").recall == 1.0
    vectors = distributions()["collinear to 1e-5"].astype(np.float32)
    exact, graph = (greedy_select(vectors, 0.9999999, kind) for kind in ("exact", "hnsw"))
    wrong = np.count_nonzero((exact.duplicate_of < 0) != (graph.duplicate_of < 0))
    assert graph.recall >= 1 - 3 * max(wrong, 1) / 300


def test_no_rows_were_searched_exactly():
    assert greedy_select([], 0.9).index == "exact"
