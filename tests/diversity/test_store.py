"""Vectors on disk: nothing is encoded twice, whatever happens, and wrong files are named."""

import json
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.diversity import store as module
from seedfree.diversity.store import VectorStore
from seedfree.errors import ConfigError

TEXTS = [f"text {i}" for i in range(10)]


class Encoder:
    """Random directions; notes its texts, and fails at the call `fails_at`."""

    def __init__(self, d=4, fails_at=None):
        self.d, self.fails_at, self.calls, self.seen = d, fails_at, 0, []

    def __call__(self, texts):
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("the machine is gone")
        self.seen += texts
        return np.stack([direction(text, self.d) for text in texts])


def direction(text, d=4):
    vector = np.random.default_rng(list(text.encode("utf-8", "surrogatepass"))).normal(size=d)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


EXPECTED = [direction(text) for text in TEXTS]


def filled(folder, texts=TEXTS, identity="letters"):
    made = VectorStore(folder, identity)
    made.vectors(texts, Encoder())
    return made


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    return VectorStore(tmp_path / "vectors" if request.param == "disk" else None, "letters")


def test_vectors_are_those_of_the_encoder_in_the_order_of_the_texts(store):
    encoder = Encoder()
    for texts in (
        TEXTS[:3],
        [*TEXTS[5:2:-1], TEXTS[0], TEXTS[0]],
        TEXTS,
        ["ข้าวซอย", "\ud800", ""],
        TEXTS[2:7],
    ):
        vectors = store.vectors(texts, encoder)[:]
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, [direction(text) for text in texts])
    assert sorted(encoder.seen) == sorted([*TEXTS, "ข้าวซอย", "\ud800", ""])
    assert (len(store), store.dimensions) == (13, 4)


def test_no_texts_need_no_encoder(store):
    assert len(store.vectors([], Encoder(fails_at=1))) == len(store) == 0


def test_a_later_process_encodes_nothing_again(tmp_path):
    filled(tmp_path)
    encoder = Encoder()
    texts = [*TEXTS, "new"]
    vectors = VectorStore(tmp_path, "letters").vectors(texts, encoder)
    np.testing.assert_array_equal(vectors[:], [direction(text) for text in texts])
    assert encoder.seen == ["new"]


def test_what_was_encoded_before_a_crash_is_not_encoded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 3)
    with pytest.raises(RuntimeError, match="gone"):
        VectorStore(tmp_path, "letters").vectors(TEXTS, Encoder(fails_at=3))
    encoder = Encoder()
    vectors = VectorStore(tmp_path, "letters").vectors(TEXTS, encoder)
    np.testing.assert_array_equal(vectors[:], EXPECTED)
    assert encoder.seen == TEXTS[6:]


@given(st.data())
def test_a_torn_tail_is_ignored_and_overwritten(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("torn")
    store = filled(folder)
    whole = {}
    for kind, size in (("f32", 16), ("keys", 32)):
        keep = data.draw(st.integers(0, len(TEXTS) * size), kind)
        whole[kind] = keep // size
        path = store.path(kind)
        path.write_bytes(path.read_bytes()[:keep])
    left = min(whole.values())
    encoder = Encoder()
    again = VectorStore(folder, "letters")
    assert len(again) == left
    np.testing.assert_array_equal(again.vectors(TEXTS, encoder)[:], EXPECTED)
    assert encoder.seen == TEXTS[left:]
    last = VectorStore(folder, "letters")
    np.testing.assert_array_equal(last.vectors(TEXTS, Encoder(fails_at=1))[:], EXPECTED)
    assert [last.path(kind).stat().st_size for kind in ("f32", "keys")] == [160, 320]


def test_encoders_stand_beside_each_other(tmp_path):
    filled(tmp_path, identity="a")
    other = VectorStore(tmp_path, "b")
    other.vectors(TEXTS[:2], Encoder(d=7))
    opened = {store.identity: store for store in VectorStore.open_all(tmp_path)}
    assert {name: (len(store), store.dimensions) for name, store in opened.items()} == {
        "a": (10, 4),
        "b": (2, 7),
    }
    assert VectorStore.open_all(tmp_path / "nothing") == []


def test_rows_name_the_vectors_of_the_data_set(tmp_path):
    store = VectorStore(tmp_path, "letters")
    store.keep_rows(["x", "y", "z"], store.vectors(["b", "a", "b"], Encoder()))
    (opened,) = VectorStore.open_all(tmp_path)
    ids, vectors = opened.rows()
    assert ids == ["x", "y", "z"]
    assert isinstance(vectors[:2], np.memmap)
    np.testing.assert_array_equal(vectors[:], [direction(text) for text in "bab"])
    assert json.loads(opened.path("rows.json").read_text()) == [["x", 0], ["y", 1], ["z", 0]]
    assert filled(tmp_path, identity="no rows").rows()[0] == []


def test_neighbours_in_the_file_are_not_copied(tmp_path):
    vectors = filled(tmp_path).vectors(TEXTS, Encoder(fails_at=1))
    assert isinstance(vectors[np.arange(3, 7)], np.memmap)
    np.testing.assert_array_equal(vectors[np.array([7, 3])], [EXPECTED[7], EXPECTED[3]])
    assert vectors[:0].shape == (0, 4)


def test_vectors_of_another_store_are_taken_over(tmp_path):
    there = filled(tmp_path / "a", TEXTS[:6])
    here = VectorStore(tmp_path / "b", "letters")
    here.vectors(TEXTS[:2], Encoder())
    here.adopt(there, [*TEXTS[:4], "not there"])
    encoder = Encoder()
    np.testing.assert_array_equal(here.vectors(TEXTS, encoder)[:], EXPECTED)
    assert encoder.seen == TEXTS[4:]


def test_the_files_are_their_owners_alone(tmp_path):
    store = filled(tmp_path / "vectors")
    store.keep_rows(["x"], store.vectors(TEXTS[:1], Encoder()))
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "vectors").iterdir()
    }
    assert modes == dict.fromkeys(
        [f"{store.name}.{kind}" for kind in ("json", "keys", "f32", "rows.json")], 0o600
    )
    assert stat.S_IMODE((tmp_path / "vectors").stat().st_mode) == 0o700


def damage_json(store, text):
    store.path("json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: damage_json(s, "{"), "does not describe vectors"),
        (lambda s: damage_json(s, "[]"), "does not describe vectors"),
        (
            lambda s: damage_json(s, '{"identity": "letters", "dimensions": 0}'),
            "does not describe vectors",
        ),
        (
            lambda s: damage_json(s, '{"identity": "letters", "dimensions": "4"}'),
            "does not describe vectors",
        ),
        (
            lambda s: damage_json(s, '{"identity": "others", "dimensions": 4}'),
            "is of 'others', not of 'letters'",
        ),
        (
            lambda s: damage_json(s, '{"identity": "letters", "dimensions": 3}'),
            "length 1 in 3 dimensions",
        ),
        (lambda s: s.path("f32").write_bytes(b"\xff" * 160), "length 1 in 4 dimensions"),
        (lambda s: s.path("f32").write_bytes(b"\0" * 160), "length 1 in 4 dimensions"),
    ],
)
def test_wrong_files_are_one_line(tmp_path, damage, message):
    damage(filled(tmp_path))
    for use in (lambda: VectorStore(tmp_path, "letters"), lambda: VectorStore.open_all(tmp_path)):
        if message.startswith("is of"):
            message = "is of 'others'|is not named after its identity"
        with pytest.raises(ConfigError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value) and "encoded again" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{", "[[1]]", "3", '[["x", "first"]]', '[["x", 10]]', '[["x", -1]]']
)
def test_a_wrong_list_of_rows_is_one_line(tmp_path, text):
    store = filled(tmp_path)
    store.path("rows.json").write_text(text)
    with pytest.raises(
        ConfigError, match=r"rows\.json (is not a list|names rows beyond)"
    ) as caught:
        store.rows()
    assert "\n" not in str(caught.value)


def test_vectors_of_another_width_are_refused(store):
    store.vectors(TEXTS[:2], Encoder())
    with pytest.raises(ConfigError, match="4 dimensions, but the encoder gives 5"):
        store.vectors(TEXTS, Encoder(d=5))
    for wrong in (
        lambda texts: np.ones(4),
        lambda texts: np.ones((1, 4)),
        lambda texts: np.ones((8, 0)),
    ):
        with pytest.raises(ConfigError, match="of shape"):
            store.vectors(TEXTS, wrong)
    np.testing.assert_array_equal(store.vectors(TEXTS, Encoder())[:], EXPECTED)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write") as caught:
        filled(tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_vectors_that_were_given_out_stay_as_they_are(store):
    given_out = []
    for i in range(40):
        texts = TEXTS[: i % 10 + 1]
        given_out.append((texts, store.vectors(texts, Encoder())[:]))
        store.vectors([f"more {i} {j}" for j in range(i)], Encoder())
    for texts, vectors in given_out:
        np.testing.assert_array_equal(vectors, [direction(text) for text in texts])
