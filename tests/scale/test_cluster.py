"""What a cluster makes of rows is what one machine makes of them, also where nodes die."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import seedfree as sf
from seedfree.scale import encode_rows, filter_rows, select_rows
from tests.diversity.planted import direction, same
from tests.scale.cluster import add_node, cluster, ray

# Ray Data warns of its own settings.
pytestmark = pytest.mark.filterwarnings("ignore:::ray")
KEY = "OPENAI_API_KEY"
N, PART, BLOCK = 5000, 250, 1024


@pytest.fixture(scope="module")
def nodes():
    """A cluster of a head and two worker nodes, started where a key is in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, "sk-not-for-workers-0123456789")
        with cluster() as started:
            yield started


@dataclass
class Picky:
    """Drops some rows, doubts others, and sees keys."""

    def check(self, item):
        if os.environ.get(KEY):
            return "picky: a key is here"
        number = int(item.id)
        if number % 9 == 4:
            return "picky: dropped"
        return sf.Suspicion("picky: doubt", words=(item.id,)) if number % 50 == 7 else None


@dataclass
class Deadly:
    """Kills the node that comes to the row in the middle, the first time that one does."""

    flag: str

    def check(self, item):
        if item.id == str(N // 2):
            try:
                Path(self.flag).touch(exist_ok=False)
            except FileExistsError:
                return None
            # A worker is the child of its node's raylet, and goes with it.
            assert b"raylet" in Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
            for process in (os.getppid(), os.getpid()):
                os.kill(process, signal.SIGKILL)
        return None


class Stand:
    """Gives a text a direction of its own; one that says so lies near that of another."""

    identity = "stand-in"

    def encode(self, texts):
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text):
        of = re.search(r"like (\d+) by (\S+)\.", text)
        if not of:
            return direction(text.split("\n")[0], 32)
        base, cosine = direction(f"Question {of[1]}?", 32), float(of[2])
        aside = direction(text, 32)
        aside = aside - (aside @ base) * base
        aside *= np.sqrt(1 - cosine**2) / np.linalg.norm(aside)
        return (cosine * base + aside).astype(np.float32)


def rows_of(n):
    """Rows of which a fifth is near an earlier one, at cosines around the threshold."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(n):
        question = f"Question {i}?"
        if i and i % 5 == 0:
            question = f"It is like {rng.integers(0, i)} by {rng.uniform(0.94, 1):.6f}."
        rows.append({"id": str(i), "task": "closed_qa", "instruction": question, "output": "Yes."})
    return rows


def kept_by_hand(rows):
    kept = [row for row in rows if int(row["id"]) % 9 != 4]
    vectors = Stand().encode([f"{row['instruction']}\n{row['output']}" for row in kept])
    return kept, sf.greedy_select(vectors, 0.95, "exact")


def ids(folder):
    return parquet.read_table(folder)["id"].to_pylist()


def save(rows, path, size=PART):
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=size)
    return path


def test_dead_nodes_change_no_row(nodes, tmp_path, monkeypatch):
    rows = rows_of(N)
    save(rows, tmp_path / "rows.parquet")
    filters = [Picky(), Deadly(str(tmp_path / "killed"))]
    filter_rows(
        tmp_path / "rows.parquet", tmp_path / "filtered", filters, language="en", part_rows=PART
    )
    assert (tmp_path / "killed").exists()
    passed, one_machine = kept_by_hand(rows)
    assert ids(tmp_path / "filtered/kept") == [row["id"] for row in passed]
    dropped = parquet.read_table(tmp_path / "filtered/dropped").to_pylist()
    assert {row["reason"] for row in dropped} == {"picky: dropped"}
    assert [int(row["id"]) for row in dropped] == list(range(4, N, 9))
    (doubt,) = parquet.read_table(tmp_path / "filtered/kept")["doubts"][7 - 1].as_py()
    assert doubt == {"rule": "picky: doubt", "detail": "", "words": ["7"]}

    encode_rows(tmp_path / "filtered/kept", tmp_path / "encoded", Stand(), part_rows=1000)

    another = add_node(nodes)
    monkeypatch.setattr("seedfree.scale.selecting._BLOCK", BLOCK)
    get, calls = ray.get, []

    def get_from_the_dying(tasks, **options):
        """Takes a node away while its tasks are under way, once kept rows are spread out."""
        calls.append(isinstance(tasks, list))
        if sum(calls) == 2:
            nodes.remove_node(another, allow_graceful=False)
        return get(tasks, **options)

    monkeypatch.setattr(ray, "get", get_from_the_dying)
    selection = select_rows(tmp_path / "encoded", tmp_path / "selected", part_rows=1000)
    assert sum(calls) > 2
    same(selection, one_machine)
    kept = [passed[i]["id"] for i in one_machine.kept]
    assert ids(tmp_path / "selected/kept") == kept
    dropped = parquet.read_table(tmp_path / "selected/dropped")
    of = one_machine.duplicate_of[one_machine.duplicate_of >= 0]
    assert len(of) > N // 10
    assert dropped["duplicate_of"].to_pylist() == [passed[i]["id"] for i in of]
    assert set(dropped["reason"].to_pylist()) == {"diversity: near-duplicate"}
    assert "vector" not in dropped.column_names


@dataclass
class Noting:
    """Notes each time that it encodes."""

    notes: str

    def encode(self, texts):
        with open(self.notes, "a") as file:
            file.write(f"{len(texts)}\n")
        return Stand().encode(texts)


def test_a_stage_does_what_is_missing(nodes, tmp_path):
    rows = save(rows_of(400), tmp_path / "rows.parquet", size=100)
    notes, out = tmp_path / "notes", tmp_path / "encoded"
    encode_rows(rows, out, Noting(str(notes)), part_rows=200)
    assert sorted(notes.read_text().split()) == ["200", "200"]
    (out / "000000000200.parquet").unlink()
    encode_rows(rows, out, Noting(str(notes)), part_rows=200)
    assert len(notes.read_text().split()) == 3
    assert ids(out) == [str(i) for i in range(400)]
    with pytest.raises(sf.ConfigMismatchError, match="fields") as caught:
        encode_rows(rows, out, Noting(str(notes)), fields=["output"], part_rows=200)
    assert caught.value.fields == ("fields",)


@dataclass
class Failing:
    def encode(self, texts):
        return np.zeros((len(texts), 4), np.float32)

    def check(self, item):
        raise LookupError("no such word")


def test_what_fails_in_a_worker_is_one_line_here(nodes, tmp_path):
    rows = save(rows_of(20), tmp_path / "rows.parquet")
    with pytest.raises(sf.EncoderError, match="zeros alone"):
        encode_rows(rows, tmp_path / "encoded", Failing())
    with pytest.raises(sf.RequestError, match="LookupError at rows 0 to 19 .*: no such word") as it:
        filter_rows(rows, tmp_path / "filtered", [Failing()], language="en")
    assert "\n" not in str(it.value)


def test_thresholds_by_task_and_rows_without_ids(nodes, tmp_path):
    vectors = np.tile(direction("one", 8), (4, 1))
    tasks = ["closed_qa", "closed_qa", "summarization", "brainstorming"]
    flat = pyarrow.array(vectors.ravel().astype(np.float64))
    table = pyarrow.table(
        {
            "task": tasks,
            "vector": pyarrow.ListArray.from_arrays(list(range(0, 33, 8)), flat),
            "similarity": ["of before"] * 4,
        }
    )
    parquet.write_table(table, tmp_path / "rows.parquet")
    limits = {"summarization": 1.0, "*": 0.9}
    selection = select_rows(tmp_path / "rows.parquet", tmp_path / "selected", limits)
    assert selection.duplicate_of.tolist() == [-1, 0, -1, 0]
    dropped = parquet.read_table(tmp_path / "selected/dropped").to_pylist()
    assert [(row["duplicate_of"], row["similarity"]) for row in dropped] == [("0", 1.0)] * 2
