"""What is refused before a cluster is asked, and how rows are cut into parts."""

import sys
from functools import partial

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import seedfree as sf
from seedfree.diversity.index import DiversityIndex
from seedfree.filters import default_filters
from seedfree.languages import Language, languages
from seedfree.scale import encode_rows, filter_rows, select_rows
from seedfree.scale.parts import parts_of, write
from seedfree.scale.search import RaySearch
from tests.diversity.planted import same, unit
from tests.fakes import LetterEncoder


def save(path, n=3, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"task": "qa", "instruction": "Who?", "output": f"{i}", **columns} for i in range(n)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=3))
def test_parts_hold_each_row_once_and_in_order(tmp_path_factory, groups):
    folder = tmp_path_factory.mktemp("rows")
    number = 0
    for place, sizes in enumerate(groups):
        schema = pyarrow.schema({"n": pyarrow.int64()})
        with parquet.ParquetWriter(folder / f"{place}.parquet", schema) as file:
            for size in sizes:
                numbers = list(range(number, number + size))
                file.write_table(pyarrow.table({"n": numbers}, schema))
                number += size
    parts = parts_of(folder, 5, ["n"])
    rows = [part.read(["n"])["n"].to_pylist() for part in parts]
    assert sum(rows, []) == list(range(number))
    assert [row[0] for row in rows] == [part.first for part in parts]
    assert all(
        len(row) <= 5 or len(part.groups) == 1 for row, part in zip(rows, parts, strict=True)
    )
    assert [part.name for part in parts] == sorted(part.name for part in parts)
    write(parts[-1].read(), f"{folder}/out", parts[-1])
    assert parts_of(f"{folder}/out", 5, [])[0].read()["n"].to_pylist() == rows[-1]


class Keyed(LetterEncoder):
    def __init__(self):
        self.api_key = "sk-0123456789abcdef"


class Client:
    __slots__ = ("api_key", "owner")

    def __init__(self, owner):
        self.api_key, self.owner = "sk-0123456789abcdef", owner


class Calling:
    def __init__(self, **settings):
        self.__dict__.update(settings)
        self.clients = [Client(self)] if not settings else []

    def check(self, item):
        return None


class Asking:
    async def check(self, item):
        return None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rows, out: filter_rows(rows, out, [sf.JudgeFilter()], language="th"), "no worker"),
        (lambda rows, out: filter_rows(rows, out, [Asking()], language="th"), "no worker can"),
        (lambda rows, out: filter_rows(rows, out, ["rules"], language="th"), "holds 'rules'"),
        (lambda rows, out: filter_rows(rows, out, language="th", doubted="x"), "doubted is 'x'"),
        (lambda rows, out: encode_rows(rows, out, Keyed()), "secret in api_key"),
        (
            lambda rows, out: filter_rows(rows, out, [Calling()], language="th"),
            r"in clients\.0\.api",
        ),
        (
            lambda rows, out: filter_rows(
                rows, out, [Calling(headers={"Authorization": "Bearer x"})], language="th"
            ),
            r"in headers\.Authorization",
        ),
        (lambda rows, out: encode_rows(rows, out, "bge-m3"), "encoder is 'bge-m3'"),
        (lambda rows, out: encode_rows(rows, out, LetterEncoder(), fields=["x"]), "no column x"),
        (lambda rows, out: encode_rows(rows, out, LetterEncoder(), part_rows=0), "part_rows is 0"),
        (lambda rows, out: select_rows(rows, out), "no column vector"),
        (lambda rows, out: select_rows(rows, out, 2.0), "threshold is 2.0"),
        (lambda rows, out: select_rows(out.parent / "none", out), "Cannot read"),
        (lambda rows, out: encode_rows([], out, LetterEncoder()), "There are no rows"),
    ],
)
def test_mistakes_are_found_before_anything_is_done(tmp_path, call, words):
    with pytest.raises(sf.ConfigError, match=words):
        call(save(tmp_path / "rows.parquet"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_only_sounds_like_a_key_may_travel(monkeypatch, tmp_path):
    monkeypatch.setattr("seedfree.scale.filtering.do_parts", lambda *given, **more: None)
    parts = {"vectors": np.ones(3), "words": {"key": 7}, "eos_token": "</s>", "key": Calling(x=1)}
    parts["languages"] = [Language.load(code) for code in languages()]
    parts["itself"] = parts
    filters = [*default_filters(), Calling(_parts=parts)]
    filter_rows(save(tmp_path / "rows.parquet"), tmp_path / "out", filters, language="th")


def test_nothing_is_written_over_what_is_not_ours(tmp_path):
    rows = save(tmp_path / "rows/a.parquet")
    with pytest.raises(sf.ConfigError, match="files of something else"):
        encode_rows(rows, tmp_path / "rows", LetterEncoder())


def test_a_missing_ray_names_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(sf.ConfigError, match=r"pip install 'seedfree\[ray\]'"):
        encode_rows(save(tmp_path / "rows.parquet"), tmp_path / "out", LetterEncoder())


class Local:
    """Does at once what Ray does on a cluster."""

    def __init__(self, cpus):
        self.cpus = cpus

    def cluster_resources(self):
        return {"CPU": self.cpus}

    def put(self, value):
        return value

    get = put

    def remote(self, **options):
        def made(function):
            function.remote = function
            return function

        return made


@pytest.mark.parametrize("width", [4, None])
@pytest.mark.parametrize("cpus", [0, 1, 3])
def test_any_number_of_workers_gives_the_same_answer(monkeypatch, width, cpus):
    monkeypatch.setattr("seedfree.scale.search.connected", lambda: Local(cpus))
    if width:
        monkeypatch.setattr("seedfree.diversity.search.FEWEST", 8)
        monkeypatch.setattr("seedfree.diversity.search._WIDTHS", (width,))
        monkeypatch.setattr("seedfree.diversity.search._PAIR", 0)
    rng = np.random.default_rng(cpus)
    vectors = unit(rng.normal(size=(9, 8))[rng.integers(0, 9, 600)])
    vectors = unit(vectors + rng.normal(scale=0.1, size=vectors.shape)).astype(np.float32)
    vectors[::7] = vectors[::-1][::7]  # copies
    limits = rng.choice([0.9, 0.95, 1.0], 600).tolist()
    spread = DiversityIndex(block=32, search=RaySearch).add(vectors, limits)
    same(spread, sf.greedy_select(vectors, limits, "exact"))
    assert 0 < len(spread.kept) < 500


def test_what_was_decided_may_stand_in_several_row_groups(tmp_path, monkeypatch):
    """As pyarrow writes them from 2^20 rows on."""
    few = partial(parquet.write_table, row_group_size=2)
    monkeypatch.setattr(parquet, "write_table", few)
    monkeypatch.setattr("seedfree.scale.search.connected", lambda: Local(1))
    monkeypatch.setattr(
        "seedfree.scale.selecting.do_parts",
        lambda parts, work, options: [work.do(part) for part in parts],
    )
    numbers = [0, 1, 0, 2, 2]
    rows = [{"id": f"r{i}", "vector": np.eye(3)[n].tolist()} for i, n in enumerate(numbers)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    selection = select_rows(tmp_path / "rows.parquet", tmp_path / "out")
    assert selection.duplicate_of.tolist() == [-1, -1, 0, -1, 3]
    dropped = parquet.read_table(tmp_path / "out/dropped")["duplicate_of"].to_pylist()
    assert dropped == ["r0", "r3"]
