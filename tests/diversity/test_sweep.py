"""What a run's vectors say about other thresholds."""

import hashlib
import html
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import seedfree as sf
from seedfree._files import json_line
from seedfree.diversity.sweep import mean_nearest, vendi
from seedfree.errors import ConfigError
from seedfree.outcome import Dropped, dropped_row
from seedfree.records import Instruction
from tests.fakes import LetterEncoder, sentence, thai_llm

WORDS = ["one", "two three", "four five six seven", "eight nine ten one two three"]


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def items(n, **changes):
    tasks, kinds = ("closed_qa", "riddle"), ("cultural", "general", "general")
    rows = [
        Instruction(
            task=tasks[i % 2],
            instruction=WORDS[i % 4],
            output="so",
            id=f"{i:016x}",
            language="en",
            topic_kind=kinds[i % 3],
        )
        for i in range(n)
    ]
    return [replace(row, messages=(), **changes) for row in rows]


def store(folder, identity, vectors, ids, numbers=None):
    """The files of a vector store, as their format is described."""
    folder.mkdir(exist_ok=True)
    name = folder / hashlib.sha256(identity.encode()).hexdigest()[:16]
    about = {"identity": identity, "dimensions": vectors.shape[1]}
    name.with_suffix(".json").write_text(json.dumps(about))
    name.with_suffix(".f32").write_bytes(vectors.astype("<f4").tobytes())
    keys = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(len(vectors)))
    name.with_suffix(".keys").write_bytes(keys)
    numbers = range(len(ids)) if numbers is None else map(int, numbers)
    pairs = [list(pair) for pair in zip(ids, numbers, strict=True)]
    name.with_suffix(".rows.json").write_text(json.dumps(pairs))
    return name


def folder_of(path, rows, vectors, kept=None, **also):
    """A published run; `also`: vectors by the identity of other encoders."""
    kept = len(rows) // 2 if kept is None else kept
    path.mkdir(exist_ok=True)
    (path / "status.json").write_text(json.dumps({"status": "complete", "stats": {"rows": kept}}))
    sf.Dataset(rows[:kept]).to_jsonl(path / "dataset.jsonl")
    lost = [dropped_row(Dropped.of(row, "surplus")) for row in rows[kept:]]
    (path / "dropped.jsonl").write_text("".join(map(json_line, lost)))
    name = store(path / "vectors", "own", vectors, [row.id for row in rows])
    np.savez(name.with_suffix(".index.npz"), keys=np.zeros((0, 32), np.uint8), held=np.array(0))
    for identity, others in also.items():
        store(path / "vectors", identity, others, [row.id for row in rows])
    return sf.Run.open(path)


def clustered(n, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 4 + 1, 16))[rng.integers(0, n // 4 + 1, n)]
    return unit(centres + rng.uniform(0.1, 0.6, (n, 1)) * rng.normal(size=(n, 16)))


def naive(vectors, limits):
    kept = []
    for i, row in enumerate(vectors.astype(np.float64)):
        if not kept or (vectors[kept].astype(np.float64) @ row).max() <= limits[i]:
            kept.append(i)
    return kept


def test_each_threshold_keeps_what_the_definition_keeps(tmp_path):
    rows, vectors = items(120), clustered(120)
    thresholds = [0.8, 0.9, 0.95, {"riddle": 0.7, "*": 1.0}]
    sweep = folder_of(tmp_path, rows, vectors).threshold_sweep(thresholds)
    by_task = [{"riddle": 0.7}.get(item.task, 1.0) for item in rows]
    for row, limits in zip(sweep, ([0.8] * 120, [0.9] * 120, [0.95] * 120, by_task), strict=True):
        kept = [rows[i] for i in naive(vectors, limits)]
        assert row.kept == len(kept)
        for counts, name in ((row.by_task, "task"), (row.by_topic_kind, "topic_kind")):
            values = sorted({getattr(item, name) for item in rows})
            assert counts == {
                value: sum(getattr(item, name) == value for item in kept) for value in values
            }
    assert sweep[0].kept < sweep[1].kept < sweep[2].kept < 120
    assert sweep[3].by_task["closed_qa"] == 60 > sweep[3].by_task["riddle"]
    assert len(sweep) == 4 and sweep.entered == 120 and sweep[1:3] == sweep.rows[1:3]
    assert sweep.encoder == sweep.measured_by == "own"


def test_what_is_measured_is_of_equal_size(tmp_path):
    rows, vectors = items(80), clustered(80)
    run = folder_of(tmp_path, rows, vectors)
    sweep = run.threshold_sweep([0.8, 0.95, 1.0])
    assert sweep.measured == sweep[0].kept < sweep[1].kept < 80
    kept = naive(vectors, [0.8] * 80)
    assert sweep[0].mean_nearest == pytest.approx(mean_nearest(vectors[kept]), abs=1e-6)
    assert sweep[0].vendi == pytest.approx(vendi(vectors[kept]), rel=1e-6)
    assert sweep[0].vendi > sweep[2].vendi and sweep[0].mean_nearest < sweep[2].mean_nearest
    alone = run.threshold_sweep([1.0])
    assert alone.measured == 80 and alone[0].vendi != sweep[2].vendi
    assert alone[0].vendi == pytest.approx(vendi(vectors), rel=1e-6)
    assert sweep[2] == run.threshold_sweep([0.8, 1.0])[1]
    assert sweep[2] != run.threshold_sweep([0.8, 1.0], seed=1)[1]


def test_the_measures_are_by_another_encoder_where_one_is_kept(tmp_path):
    rows, vectors = items(60), clustered(60)
    sweep = folder_of(tmp_path, rows, vectors, other=np.eye(60)).threshold_sweep([0.8, 0.95])
    assert sweep.encoder == "own" and sweep.measured_by == "other"
    assert "another, other" in str(sweep)
    assert sweep[0].kept == len(naive(vectors, [0.8] * 60))
    for row in sweep:
        assert row.mean_nearest == 0 and row.vendi == pytest.approx(sweep.measured)


def test_an_encoder_that_has_not_seen_all_rows_measures_nothing(tmp_path):
    rows, vectors = items(20), clustered(20)
    run = folder_of(tmp_path, rows, vectors)
    store(tmp_path / "vectors", "other", np.eye(20), [row.id for row in rows[:-1]], range(19))
    sweep = run.threshold_sweep([0.9])
    assert sweep.measured_by == "own" and "no other's vectors are there" in str(sweep)


def test_of_two_filters_the_first_is_swept(tmp_path):
    rows = items(20)
    for second in "abcd":  # some of their files come before the first filter's, some after
        run = folder_of(tmp_path / second, rows, unit(np.eye(20)))
        ids = [row.id for row in rows[:9]]
        name = store(tmp_path / second / "vectors", second, clustered(9), ids)
        np.savez(name.with_suffix(".index.npz"), keys=np.zeros((0, 32), np.uint8), held=np.array(0))
        sweep = run.threshold_sweep([0.9])
        assert sweep.encoder == sweep.measured_by == "own" and sweep.entered == 20


def test_equal_texts_share_a_vector(tmp_path):
    rows, vectors, numbers = items(6), unit(np.eye(3)), [0, 1, 0, 2, 1, 0]
    run = folder_of(tmp_path, rows, unit(np.eye(6)))
    store(tmp_path / "vectors", "own", vectors, [row.id for row in rows], numbers)
    assert run.threshold_sweep([0.9])[0].kept == 3


def test_rows_that_were_there_already(tmp_path):
    rows, vectors = items(6), unit(np.eye(8))
    run = folder_of(tmp_path, rows, vectors[[0, 1, 2, 3, 4, 5, 1, 3]])
    name = next((tmp_path / "vectors").glob("*.index.npz"))
    keys = b"".join(hashlib.sha256(str(i).encode()).digest() for i in (6, 7, 0))
    np.savez(name, keys=np.frombuffer(keys, np.uint8).reshape(3, 32), held=np.array(2))
    sweep = run.threshold_sweep([0.9])
    assert sweep[0].kept == 4 and sweep.against == 2
    assert "with 2 that were there already" in str(sweep)
    name.write_bytes(b"not an index")
    sweep = run.threshold_sweep([0.9])
    assert sweep[0].kept == 6 and sweep.against == 0 and "already" not in str(sweep)


def test_distinct_words_are_of_equally_many_words(tmp_path):
    vectors = unit(np.eye(40))
    rows = items(40, instruction="a b c", output="d")
    same = folder_of(tmp_path / "same", rows, vectors).threshold_sweep([0.9, 1])
    assert same.tokens == 160 and [row.distinct_1 for row in same] == [4 / 160] * 2
    assert same[0].distinct_2 == 3 / 160  # the line break between the two texts is no word
    other = [Instruction("t", f"w{i} x{i}", f"y{i}", id=str(i), language="en") for i in range(40)]
    twice = vectors[[*range(20), *range(20)]]
    apart = folder_of(tmp_path / "apart", other, twice).threshold_sweep([0.9, 1])
    assert apart[0].kept == 20 and apart.tokens == 60
    assert [row.distinct_1 for row in apart] == [1, 1]
    rows = items(4, instruction="", output=" ")
    silent = folder_of(tmp_path / "silent", rows, vectors[:4]).threshold_sweep([0.9])
    assert silent.tokens == 0 and np.isnan(silent[0].distinct_1) and "nan" not in repr(silent)


def test_the_language_may_be_given(tmp_path):
    rows = items(4, language="xx", instruction="a b")
    run = folder_of(tmp_path, rows, unit(np.eye(4)))
    with pytest.raises(ConfigError, match="'xx'"):
        run.threshold_sweep([0.9])
    assert run.threshold_sweep([0.9], language="en").tokens == 12


def test_the_table_is_aligned_and_harmless(tmp_path):
    rows = items(8, task="<script>alert(1)</script>\x1b[31m")
    sweep = folder_of(tmp_path, rows, clustered(8)).threshold_sweep([0.5, 0.95, {"*": 0.9}])
    tables = str(sweep).split("\n\n")
    assert len(tables) == 3 and [len(table.splitlines()) for table in tables] == [4, 4, 1]
    for table in tables[:2]:
        assert len({len(line) for line in table.splitlines()}) == 1
    assert [line.split()[0] for line in tables[0].splitlines()] == ["threshold", "0.5", "0.95", "*"]
    assert "\x1b" not in f"{sweep} {sweep!r}" and len(repr(sweep).splitlines()) == 7
    shown = sweep._repr_html_()
    assert "<script>" not in shown and html.escape("<script>") in shown and shown.count("<tr>") == 8


def test_json_holds_all_of_it(tmp_path):
    sweep = folder_of(tmp_path, items(1), clustered(1)).threshold_sweep([0.9, {"closed_qa": 0.5}])
    value = json.loads(sweep.to_json())
    first, second = value["rows"]
    assert first["mean_nearest"] is None and first["vendi"] == pytest.approx(1)
    assert value["own_encoder"] is True and value["entered"] == value["measured"] == 1
    assert second["threshold"] == {"closed_qa": 0.5} and second["by_task"] == {"closed_qa": 1}


def test_the_plot(tmp_path):
    pytest.importorskip("matplotlib")
    run = folder_of(tmp_path, items(40), clustered(40))
    sweep = run.threshold_sweep([0.9, 0.95, {"riddle": 0.9, "*": 0.8}])
    sweep.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    sweep.plot(str(tmp_path / "a.svg"))
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(ConfigError, match="a.doc"):
        sweep.plot(tmp_path / "a.doc")
    assert not (tmp_path / "a.doc").exists()


def test_the_plot_names_the_package_that_is_missing(tmp_path, monkeypatch):
    sweep = folder_of(tmp_path, items(4), clustered(4)).threshold_sweep([0.9])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[report\]'"):
        sweep.plot(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ([], "no thresholds"),
        (0.95, "Give a list"),
        ("0.95", "Give a list"),
        ({"*": 0.95}, "Give a list"),
        ([0.9, 1.5], "from 0 to 1"),
        ([{"*": "high"}], "from 0 to 1"),
        ([{"riddle": 0.9}], "closed_qa"),
        ([{}], "closed_qa, riddle"),
    ],
)
def test_thresholds_that_are_none(tmp_path, thresholds, message):
    run = folder_of(tmp_path, items(4), clustered(4))
    with pytest.raises(ConfigError, match=message) as caught:
        run.threshold_sweep(thresholds)
    assert "\n" not in str(caught.value)


def test_a_run_without_vectors(tmp_path):
    rows = items(4)
    run = folder_of(tmp_path, rows, clustered(4))
    store(tmp_path / "vectors", "own", clustered(4), ["of", "a", "later", "round"])
    with pytest.raises(ConfigError, match="Run the pipeline to its end"):
        run.threshold_sweep([0.9])
    for path in (tmp_path / "vectors").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="SemanticDiversityFilter"):
        run.threshold_sweep([0.9])


class Other(LetterEncoder):
    """Letters alone, without their order."""

    identity = "single letters"

    def encode(self, texts):
        return super().encode(["".join(c + " " for c in text) for text in texts])


class Pages:
    def contexts(self, topic):
        return [sf.Context(text=sentence(topic.text, words=40))]


def made(out, **filtered):
    semantic = sf.SemanticDiversityFilter(0.86, encoder=LetterEncoder(), **filtered)
    tasks = [sf.Brainstorming(), sf.Summarization()]
    pipeline = sf.Pipeline(
        "th", thai_llm(), contexts=[Pages()], tasks=tasks, filters=[], diversity=semantic
    )
    return pipeline.run(30, out)


def decided(run):
    """Rows that the filter of a run passed, and those that it dropped."""
    near = [row for row in run.dropped if row.reason == "diversity: near-duplicate"]
    return [*run.dataset, *(row for row in run.dropped if row.reason == "surplus")], near


def test_a_real_run_from_its_folder_alone(tmp_path, monkeypatch):
    made(tmp_path, measured_by=Other())

    def refuse(*arguments, **options):
        raise AssertionError("something was encoded or asked for")

    for encoder in (LetterEncoder, Other):
        monkeypatch.setattr(encoder, "encode", refuse)
    monkeypatch.setattr("seedfree.engine.ledger.Ledger.__init__", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run = sf.Run.open(tmp_path)
    sweep = run.threshold_sweep([0.86, 0.5, 1.0])
    kept, near = decided(run)
    assert near and sweep[0].kept == len(kept)
    assert sweep.entered == sweep[2].kept == len(kept) + len(near)
    assert 0 < sweep[1].kept == sweep.measured < sweep[0].kept
    assert sweep[0].by_task == {
        name: sum(row.task == name for row in kept) for name in run.dataset.by_task
    }
    assert (sweep.encoder, sweep.measured_by) == ("letters", "single letters")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_real_run_against_rows_that_were_there_already(tmp_path):
    first = made(tmp_path / "first")
    run = made(tmp_path / "second", against=first.dataset[:5])
    kept, near = decided(run)
    sweep = run.threshold_sweep([0.86, 1.0])
    assert {row.id for row in first.dataset[:5]} <= {row.id for row in near}
    assert sweep[0].kept == len(kept) and sweep.entered == sweep[1].kept == len(kept) + len(near)
