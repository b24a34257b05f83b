"""What a later process, or a later run, need not do again; and rows that were there before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import seedfree as sf
from seedfree.diversity.index import DiversityIndex, RunIndex
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.diversity.store import VectorStore
from seedfree.errors import ConfigError, EncoderError
from seedfree.languages import Language
from seedfree.run.settings import describe
from tests.diversity.planted import InRun, Planted, Returns, direction, planted_rows, row, same
from tests.fakes import FakeClock, LetterEncoder, thai_llm

# A run's folder as an earlier version left it.
GOLDEN = Path(__file__).parents[1] / "golden" / "run"


def in_run(folder, encoder, **settings):
    made = SemanticDiversityFilter(encoder=encoder, **settings)
    made.bind(InRun(Language.load("th"), folder=folder))
    encoder.seen.clear()
    return made


@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_a_later_process_goes_on_where_the_rows_are_the_same(tmp_path, monkeypatch, index):
    items, planted = planted_rows(120)
    whole = SemanticDiversityFilter(encoder=Planted(planted), index=index).select(items)
    assert 20 < (whole.duplicate_of >= 0).sum() < 60
    first = in_run(tmp_path, Planted(planted), index=index)
    first.select(items[:50])
    first.select(items[:100])
    compared, add = [], DiversityIndex.add

    def counted(self, vectors, threshold):
        compared.append(len(vectors))
        return add(self, vectors, threshold)

    monkeypatch.setattr(DiversityIndex, "add", counted)
    encoder = Planted(planted)
    second = in_run(tmp_path, encoder, index=index)
    for n, new in ((50, []), (100, []), (120, [20]), (30, [])):
        part = second.select(items[:n])
        np.testing.assert_array_equal(part.duplicate_of, whole.duplicate_of[:n])
        np.testing.assert_array_equal(part.similarity, whole.similarity[:n])
        assert compared == new
        compared.clear()
    assert len(encoder.seen) == 20


def test_the_last_few_rows_are_kept_at_the_end(tmp_path, monkeypatch):
    items, planted = planted_rows(63)
    first = in_run(tmp_path, Planted(planted))
    first.select(items[:60])
    expected = first.select(items)
    first.close()
    monkeypatch.setattr(DiversityIndex, "add", None)
    same(in_run(tmp_path, Planted(planted)).select(items), expected)


def test_rows_in_another_order_are_decided_anew_from_there_on(tmp_path):
    items, planted = planted_rows(60)
    orders = [
        items,
        items[:20] + items[40:] + items[20:40],
        items[::-1],
        items[5:],
        [*items[:7], *items[6:]],
    ]
    growing = SemanticDiversityFilter(encoder=Planted(planted))
    kept = in_run(tmp_path, Planted(planted))
    for order in orders:
        expected = SemanticDiversityFilter(encoder=Planted(planted)).select(order)
        same(growing.select(order), expected)
        same(kept.select(order), expected)
        kept.close()
        same(in_run(tmp_path, Planted(planted)).select(order), expected)


def test_another_threshold_is_noticed(tmp_path):
    items, planted = planted_rows(60)
    first = in_run(tmp_path, Planted(planted), threshold=0.95)
    first.select(items)
    first.close()
    same(
        in_run(tmp_path, Planted(planted), threshold=0.98).select(items),
        SemanticDiversityFilter(0.98, Planted(planted)).select(items),
    )


def test_an_index_of_the_version_before_is_taken_up(monkeypatch):
    (store,) = VectorStore.open_all(GOLDEN / "vectors")
    ids, vectors = store.rows()
    expected = sf.greedy_select(vectors[:], 0.83)
    monkeypatch.setattr(DiversityIndex, "add", None)
    index = RunIndex(store, "auto")
    assert len(index) == len(ids) > 0
    same(index.select(store.vectors([], None), vectors, np.full(len(ids), 0.83)), expected)


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\0" * len(b)]
)
def test_a_damaged_index_is_made_again(tmp_path, damage):
    items, planted = planted_rows(60)
    first = in_run(tmp_path, Planted(planted))
    expected = first.select(items)
    first.close()
    (path,) = (tmp_path / "vectors").glob("*.index.npz")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(damage(path.read_bytes()))
    encoder = Planted(planted)
    same(in_run(tmp_path, encoder).select(items), expected)
    assert encoder.seen == []


def test_an_encoder_that_fails_half_way_goes_on_with_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("seedfree.diversity.store._BATCH", 10)
    items, planted = planted_rows(30)

    class Failing(Planted):
        identity, left = "planted", 1000

        def encode(self, texts):
            if self.left < len(texts):
                raise RuntimeError("out of memory")
            self.left -= len(texts)
            return super().encode(texts)

    failing, encoder = Failing(planted), Failing(planted)
    first = in_run(tmp_path, failing)
    failing.left = 20
    with pytest.raises(EncoderError, match="out of memory"):
        first.select(items)
    again = in_run(tmp_path, encoder)
    same(again.select(items), SemanticDiversityFilter(encoder=Planted(planted)).select(items))
    assert len(encoder.seen) == 10


def test_a_row_may_fail_and_the_next_call_is_right(monkeypatch):
    items, planted = planted_rows(40)
    diversity = SemanticDiversityFilter(encoder=Planted(planted))
    diversity.select(items[:20])
    decide = DiversityIndex._decide

    def fail(self, *arguments):
        raise MemoryError

    monkeypatch.setattr(DiversityIndex, "_decide", fail)
    with pytest.raises(MemoryError):
        diversity.select(items)
    monkeypatch.setattr(DiversityIndex, "_decide", decide)
    same(diversity.select(items), SemanticDiversityFilter(encoder=Planted(planted)).select(items))


def test_the_folder_says_which_vectors_belong_to_which_rows(tmp_path):
    items, planted = planted_rows(30)

    class Other(Planted):
        identity = "another"

        def encode(self, texts):
            self.seen.extend(texts)
            return np.stack([direction(text, 16) for text in texts])

    other = Other()
    diversity = in_run(tmp_path, Planted(planted), measured_by=other)
    diversity.select(items[:10])
    diversity.select(items)
    assert len(other.seen) == 30
    texts = [f"{item.instruction}\n{item.output}" for item in items]
    stores = {store.identity: store for store in VectorStore.open_all(tmp_path / "vectors")}
    assert len(stores) == 2
    for identity, vectors in (
        ("another", [direction(text, 16) for text in texts]),
        ("Planted", Planted(planted).encode(texts)),
    ):
        ids, stored = stores[identity].rows()
        assert ids == [item.id for item in items]
        np.testing.assert_array_equal(stored[:], vectors)
    # It may come and go between two processes.
    assert in_run(tmp_path, Planted(planted)).measured_by is None
    with pytest.raises(EncoderError, match="Other does not know"):
        in_run(tmp_path / "new", Planted(), measured_by=Other(unknown=0.5))


def test_measured_by_is_an_encoder_of_its_own():
    for wrong, message in (
        (Planted(), "own encoder"),
        ("LaBSE", "measured_by is 'LaBSE'"),
        (3, "not an object"),
    ):
        with pytest.raises(ConfigError, match=message):
            SemanticDiversityFilter(encoder=Planted(), measured_by=wrong)


def test_vectors_of_another_width_in_the_folder_are_refused(tmp_path):
    in_run(tmp_path, Planted()).select([row("a", "b")])
    diversity = SemanticDiversityFilter(encoder=Planted())
    diversity.bind(InRun(Language.load("th"), folder=tmp_path))
    diversity.encoder = Returns(lambda texts: np.eye(len(texts), 8, dtype=np.float32))
    with pytest.raises(ConfigError, match="64 dimensions, but the encoder gives 8"):
        diversity.select([row("c", "d")])


def test_a_row_close_to_one_that_was_there_names_it():
    items, planted = planted_rows(40)
    rest, there = items[10:], items[:10]
    diversity = SemanticDiversityFilter(encoder=Planted(planted), against=sf.Dataset(there))
    selection = diversity.select(rest)
    texts = [f"{item.instruction}\n{item.output}" for item in items]
    vectors = Planted(planted).encode(texts)
    same(selection, sf.greedy_select(vectors[10:], 0.95, against=vectors[:10]))
    held = selection.duplicate_of[selection.duplicate_of >= 30] - 30
    assert len(held) and set(held) <= set(range(10))
    assert diversity.against_ids == [f"against:{item.id}" for item in there]
    same(diversity.select(rest[:20]), sf.greedy_select(vectors[10:30], 0.95, against=vectors[:10]))


def test_against_takes_all_forms_in_their_order(tmp_path):
    items, planted = planted_rows(12)
    sf.Dataset(items[:3]).to_jsonl(tmp_path / "rows.jsonl")
    (tmp_path / "run").mkdir()
    sf.Dataset(items[3:6]).to_jsonl(tmp_path / "run" / "dataset.jsonl")
    nameless = replace(items[8], id="")
    given = [
        tmp_path / "rows.jsonl",
        str(tmp_path / "run"),
        sf.Dataset(items[6:8]),
        nameless,
        "a text",
        items[9],
    ]
    diversity = SemanticDiversityFilter(encoder=Planted(planted), against=given)
    names = [item.id for item in items[:8]]
    assert diversity.against_ids == [
        *(f"against:{name}" for name in names),
        "against:8",
        "against:9",
        "against:row 9",
    ]
    assert diversity.select(items[:8]).kept.tolist() == []
    texts = SemanticDiversityFilter(encoder=Planted(), against=["a text", "b"], fields="input")
    twin = row("", "", input="a text")
    assert texts.select([twin]).duplicate_of.tolist() == [1]
    for single in (items[0], tmp_path / "run", str(tmp_path / "run"), sf.Dataset(items[:1])):
        assert SemanticDiversityFilter(encoder=Planted(), against=single).against_ids
    nothing = SemanticDiversityFilter(encoder=Planted(), against=[])
    assert nothing.select(items[:2]).kept.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no/such/run", "Cannot read no/such/run"),
        (["runs/none"], "Cannot read runs/none"),
        ("a text alone", "Cannot read a text alone"),
        (3, "against is int"),
        ([3], "against holds int"),
        ({"runs": 1}, "against is dict"),
    ],
)
def test_what_is_no_row_is_refused_when_the_filter_is_made(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        SemanticDiversityFilter(encoder=Planted(), against=given)
    assert "\n" not in str(caught.value)


def test_a_long_text_is_no_path():
    for text in ("ก" * 5000, "a\0b", "ความเร็ว กิโลเมตร/ชั่วโมง"):
        diversity = SemanticDiversityFilter(encoder=Planted(), against=[text])
        assert diversity.against_ids == ["against:0"]


def test_settings_hold_a_digest_of_what_was_there():
    items, _ = planted_rows(5)

    def described(given):
        return describe(SemanticDiversityFilter(encoder=LetterEncoder(), against=given))["against"]

    assert described(None) is None
    first = described(items)
    assert first["rows"] == 5 and len(first["digest"]) == 16 and "row 0" not in str(first)
    assert described(sf.Dataset(items)) == first
    for other in (
        items[:4],
        items[::-1],
        [*items[:4], replace(items[4], output="else")],
        ["a", *items[1:]],
    ):
        assert described(other)["digest"] != first["digest"]
    made = SemanticDiversityFilter(encoder=LetterEncoder(), against=items)
    assert describe(replace(made, threshold=0.9))["against"] == first


class Counting(LetterEncoder):
    """Counts its texts."""

    def __init__(self):
        self._seen = []

    def encode(self, texts):
        self._seen += texts
        return super().encode(texts)


def pipeline(encoder, **settings):
    diversity = SemanticDiversityFilter(0.999, encoder, **settings)
    topics = [f"topic {i}" for i in range(12)]
    return sf.Pipeline(
        "th", thai_llm(), filters=[], tasks=[sf.Summarization()], topics=topics, diversity=diversity
    )


def published(folder):
    return [(folder / name).read_bytes() for name in ("dataset.jsonl", "dropped.jsonl")]


def test_a_run_that_goes_on_encodes_what_is_new(tmp_path):
    first, second, third = Counting(), Counting(), Counting()
    pipeline(first).run(size=4, out=tmp_path / "a", clock=FakeClock())
    pipeline(second).run(size=9, out=tmp_path / "a", clock=FakeClock())
    pipeline(third).run(size=9, out=tmp_path / "b", clock=FakeClock())
    assert len(set(first._seen)) == len(first._seen) and not set(first._seen) & set(second._seen)
    assert set(first._seen) | set(second._seen) >= set(third._seen)
    assert published(tmp_path / "a") == published(tmp_path / "b")
    (store,) = VectorStore.open_all(tmp_path / "a" / "vectors")
    ids, vectors = store.rows()
    run = sf.Run.open(tmp_path / "a")
    assert set(ids) == {item.id for item in [*run.dataset, *run.dropped]}
    assert len(ids) == len(vectors)


def test_a_run_against_another_drops_its_rows_and_encodes_none_of_them(tmp_path):
    first = pipeline(Counting()).run(size=4, out=tmp_path / "a", clock=FakeClock())
    encoder = Counting()
    second = pipeline(encoder, against=first).run(size=4, out=tmp_path / "b", clock=FakeClock())
    there = {f"against:{item.id}": item.output for item in first.dataset}
    dropped = {d.duplicate_of: d for d in second.dropped if d.reason == "diversity: near-duplicate"}
    assert set(dropped) == set(there) and len(second.dataset) == 4
    assert {name: row.output for name, row in dropped.items()} == there
    assert {row.similarity for row in dropped.values()} == {1}
    texts = {f"{item.instruction}\n{item.output}" for item in first.dataset}
    assert not texts & set(encoder._seen)
    with pytest.raises(ConfigError, match="diversity.against.digest"):
        pipeline(Counting(), against=first.dataset[:2]).run(size=4, out=tmp_path / "b")


def test_a_folder_that_is_gone_at_the_end_is_no_error(tmp_path):
    diversity = in_run(tmp_path, Planted())
    diversity.select(planted_rows(5)[0])
    (tmp_path / "vectors").rename(tmp_path / "elsewhere")
    diversity.close()
    diversity.close()


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path):
    in_run(tmp_path, Planted()).close()
    (tmp_path / "vectors" / ".x.index.npz.1.tmp").write_bytes(b"half")
    in_run(tmp_path, Planted())
    assert not list((tmp_path / "vectors").glob(".*"))
