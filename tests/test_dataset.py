import csv
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree._files import json_line, write_atomic
from seedfree.dataset import KEYS, SOURCE_KEYS, Dataset, check_rows, from_row, to_row
from seedfree.errors import ConfigError
from seedfree.records import Context, Instruction, Message, Source

WIKI = Source(
    "wikipedia",
    "ต้มยำ",
    "https://th.wikipedia.org/wiki/ต้มยำ",
    "123",
    "CC-BY-SA-4.0",
    "2026-11-01T00:00:00Z",
)
FULL = Instruction(
    task="conversation",
    instruction="ต้มยำคืออะไร",
    output="แกงรสเปรี้ยวเผ็ด",
    input="บริบท",
    messages=(
        Message("system", "ตอบเป็นภาษาไทย"),
        Message("user", "ต้มยำคืออะไร"),
        Message("assistant", "แกงรสเปรี้ยวเผ็ด"),
    ),
    id="0a1b",
    language="th",
    topic="อาหาร",
    topic_kind="cultural",
    source=WIKI,
    generator="function:fake",
    evidence="แกง",
    context=Context(text="ไม่เผยแพร่"),
)
text = st.text(st.characters(codec="utf-8"), max_size=30)
instructions = st.builds(
    Instruction,
    task=text,
    instruction=text,
    output=text,
    input=text,
    id=text,
    topic=text,
    evidence=text,
    source=st.builds(
        Source,
        kind=text,
        title=st.none() | text,
        url=st.none() | text,
        retrieved_at=st.none() | text,
        page_id=st.none() | text,
    ),
    messages=st.lists(
        st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=text),
        max_size=3,
    ).map(tuple),
)


def rows(n, task="closed_qa", **fields):
    return [
        Instruction(task=task, instruction=f"i{k}", output=f"o{k}", id=f"{task}{k}", **fields)
        for k in range(n)
    ]


def test_sequence():
    data = Dataset(rows(3) + rows(1, "summarization"))
    assert len(data) == 4 and data[-1].task == "summarization" and data[0] in data
    assert isinstance(data[1:3], Dataset) and [i.id for i in data[1:3]] == [
        "closed_qa1",
        "closed_qa2",
    ]
    assert (
        data == Dataset(list(data)) and hash(data) == hash(Dataset(list(data))) and data != data[:3]
    )
    assert repr(data).startswith("Dataset(4 rows: closed_qa 3, summarization 1)\n")
    assert repr(Dataset()) == "Dataset(0 rows)"
    assert data.by_task == {"closed_qa": 3, "summarization": 1} and data.by_topic_kind == {"": 4}
    with pytest.raises(IndexError):
        data[4]


def test_two_data_sets_add_up_to_all_rows_of_both():
    thai, lao = Dataset(rows(2, language="th")), Dataset(rows(1, "open_qa", language="lo"))
    both = thai + lao
    assert isinstance(both, Dataset) and list(both) == [*thai, *lao]
    # As lists do, it keeps what stands in both.
    assert [row.id for row in thai + thai] == [row.id for row in thai] * 2
    assert sum([thai, lao], Dataset()) == both and len(thai) == 2
    with pytest.raises(TypeError):
        thai + list(lao)


def test_a_pandas_table_has_a_column_for_each_key():
    table = Dataset([FULL, *rows(1)]).to_pandas()
    keys = [key for key in KEYS if key != "source"]
    assert list(table.columns) == [*keys, *(f"source.{key}" for key in SOURCE_KEYS)]
    assert table["instruction"].tolist() == [FULL.instruction, "i0"]
    assert table["source.kind"].tolist() == [FULL.source.kind, "topic"]
    assert table["facets"][0] == dict(FULL.facets)
    assert table["messages"][1][0] == {"role": "user", "content": "i0"}
    assert list(Dataset().to_pandas().columns) == list(table.columns)


def test_without_pandas_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[hub\]'"):
        Dataset(rows(1)).to_pandas()


def test_row_has_the_published_keys_in_order_and_no_context():
    published = to_row(FULL)
    assert tuple(published) == KEYS
    assert list(published["source"]) == [
        "kind",
        "title",
        "url",
        "revision",
        "license",
        "retrieved_at",
        "fictional",
        "page_id",
    ]
    assert published["messages"][0] == {"role": "system", "content": "ตอบเป็นภาษาไทย"}
    assert "ไม่เผยแพร่" not in json_line(published)


@given(instructions)
def test_row_round_trip(item):
    line = json_line(to_row(item))
    assert from_row(json.loads(line)) == item
    assert line.splitlines() == [line[:-1]], "a reader that ends lines at U+2028 sees one line"


def test_item_takes_the_least_and_ignores_the_rest():
    item = from_row(
        {
            "task": "t",
            "instruction": "i",
            "output": "o",
            "input": None,
            "source": None,
            "reason": "x",
        }
    )
    assert item == Instruction(task="t", instruction="i", output="o")
    assert item.messages[1].content == "o"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"task": "t", "instruction": "i"},
        {"task": "t", "instruction": "i", "output": 3},
        {
            "task": "t",
            "instruction": "i",
            "output": "o",
            "messages": [{"role": "robot", "content": "x"}],
        },
        {"task": "t", "instruction": "i", "output": "o", "source": "wikipedia"},
        {"task": "t", "instruction": "i", "output": "o", "source": {"title": "no kind", "kind": 7}},
    ],
)
def test_item_refuses_what_is_no_row(bad):
    with pytest.raises(ConfigError):
        from_row(bad)


def test_jsonl_round_trip(tmp_path):
    data = Dataset([FULL, *rows(2)])
    path = tmp_path / "new" / "data.jsonl"
    data.to_jsonl(path)
    assert Dataset.from_jsonl(path) == data
    assert "ต้มยำ" in path.read_text(encoding="utf-8"), "text stays readable"
    first = path.read_bytes()
    data.to_jsonl(path)
    assert path.read_bytes() == first and [p.name for p in path.parent.iterdir()] == ["data.jsonl"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_from_jsonl_takes_files_from_elsewhere(tmp_path, end):
    path = tmp_path / "data.jsonl"
    line = json.dumps({"task": "t", "instruction": "i", "output": "a\u2028b"}, ensure_ascii=False)
    path.write_bytes(("\ufeff" + line + end + end + line).encode())
    assert [i.output for i in Dataset.from_jsonl(path)] == ["a\u2028b"] * 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"task": "t"}', "line 1: instruction"),
        (b'\n{"task": ', "line 2"),
        (b"[1]", "line 1: not a JSON object"),
        (b"[" * 100_000, "line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_from_jsonl_says_what_is_wrong_in_one_line(tmp_path, content, says):
    path = tmp_path / "data.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as error:
        Dataset.from_jsonl(path)
    assert "data.jsonl" in str(error.value) and "\n" not in str(error.value)


def test_exports(tmp_path):
    data = Dataset([FULL])
    assert data.to_alpaca() == [
        {"instruction": FULL.instruction, "input": "บริบท", "output": FULL.output}
    ]
    assert [m["role"] for m in data.to_messages()[0]["messages"]] == ["system", "user", "assistant"]
    assert data.to_sharegpt()[0]["conversations"] == [
        {"from": "system", "value": "ตอบเป็นภาษาไทย"},
        {"from": "human", "value": FULL.instruction},
        {"from": "gpt", "value": FULL.output},
    ]
    for form, expected in [
        ("alpaca", data.to_alpaca()),
        ("messages", data.to_messages()),
        ("rows", [to_row(FULL)]),
    ]:
        data.to_jsonl(tmp_path / form, form=form)
        assert [
            json.loads(line) for line in (tmp_path / form).read_text("utf-8").splitlines()
        ] == expected
    with pytest.raises(ConfigError, match="Known: rows, alpaca, messages, sharegpt"):
        data.to_jsonl(tmp_path / "x", form="csv")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "data.jsonl"
    write_atomic(path, ["old"])

    def parts():
        yield "new"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomic(path, parts())
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="Cannot write"):
        write_atomic(path / "below a file", ["x"])


def test_a_published_file_is_synced_before_its_name_and_its_name_before_the_next(
    tmp_path, monkeypatch
):
    calls = []
    sync, rename = os.fsync, os.replace

    def fsync(handle):
        calls.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        sync(handle)

    def replace(self, target):
        calls.append(f"rename {target.name}")
        rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_atomic(tmp_path / "rows.jsonl", ["text"])
    # The folder's own sync keeps the name.
    temporary = calls.pop(0)
    assert re.fullmatch(r"sync \.rows\.jsonl\.\w+\.tmp", temporary)
    assert calls == ["rename rows.jsonl", f"sync {tmp_path.name}"]


def test_processes_of_two_machines_with_one_number_write_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "rows.jsonl"

    def parts():
        yield "one "
        write_atomic(path, ["another"])
        assert path.read_text() == "another"
        yield "more"

    write_atomic(path, parts())
    assert path.read_text() == "one more" and list(tmp_path.iterdir()) == [path]


def test_to_hf():
    pytest.importorskip("datasets")
    data = Dataset([FULL, *rows(2)])
    hf = data.to_hf()
    assert hf.num_rows == 3 and tuple(hf.column_names) == KEYS
    assert Dataset(from_row(row) for row in hf) == data
    assert data[1:].to_hf().features == hf.features == Dataset().to_hf().features, (
        "nulls do not change the types"
    )


def test_to_hf_without_the_package_names_the_pip_command():
    code = (
        "import sys; sys.modules['datasets'] = None; "
        "from seedfree.dataset import Dataset; Dataset().to_hf()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.rstrip().endswith(
        "datasets is not installed. Run: pip install 'seedfree[hub]'"
    )


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("gc"), st.integers(0, 9), st.booleans()),
        max_size=60,
    ),
    st.sampled_from([0.01, 0.125, 0.3, 0.5, 0.99]),
    st.integers(0, 3),
)
def test_split_is_complete_disjoint_stratified_and_repeatable(cells, share, seed):
    data = Dataset(
        Instruction(
            task=task,
            instruction="i",
            output="o",
            id=str(k),
            topic=f"t{page}",
            topic_kind=kind,
            source=Source("wikipedia", url=f"u{page}" if has_url else None),
        )
        for k, (task, kind, page, has_url) in enumerate(cells)
    )
    train, test = data.split(share, seed=seed)
    assert (train, test) == data.split(share, seed=seed)
    assert sorted([*train, *test], key=lambda i: int(i.id)) == list(data)
    for side in (train, test):
        assert [int(i.id) for i in side] == sorted(int(i.id) for i in side)
    assert abs(len(test) - share * len(data)) <= 0.5 + 1e-9
    held = Counter((i.task, i.topic_kind) for i in test)
    for stratum, n in Counter((i.task, i.topic_kind) for i in data).items():
        assert abs(held[stratum] - share * n) < 1 + 1e-9


def test_split_keeps_pages_together():
    pages = [f"https://th.wikipedia.org/wiki/{k}" for k in range(80)]
    data = Dataset(
        item
        for k, url in enumerate(pages)
        for item in rows(5, topic=f"t{k % 7}", source=Source("wikipedia", url=url))
    )
    train, test = data.split()
    assert len(test) == 50 and not {i.source.url for i in train} & {i.source.url for i in test}
    odd_train, odd_test = data.split(test=0.128)
    both = {i.source.url for i in odd_train} & {i.source.url for i in odd_test}
    assert len(odd_test) == 51 and len(both) == 1, "only the row left over splits a page"
    assert data.split(seed=1)[1] != test


def test_split_of_one_topic_still_splits():
    train, test = Dataset(rows(16, topic="same")).split()
    assert (len(train), len(test)) == (14, 2)


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_split_refuses_what_is_no_share(share):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        Dataset(rows(4)).split(test=share)


@pytest.mark.parametrize(
    "rows", ["rows.jsonl", Path("rows.jsonl"), [{"instruction": "ก"}], {"a": 1}, None]
)
def test_what_is_no_data_set_is_told_before_it_is_read(rows):
    with pytest.raises(
        ConfigError,
        match=r"^The data set (is|holds) \w+\. Give a data set: .*from_jsonl\(path\)\.$",
    ):
        check_rows(rows)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a;=1+1", "a;'=1+1"), ("ข้อ\n=1+1\n@x", "ข้อ\n'=1+1\n'@x"), ("a\t+1", "a\t'+1"),
        ("=1", "'=1"), ("a = b; c - d", "a = b; c - d"), (";;-1", ";;'-1"), ("a;\u2060=1", None),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula_whatever_separates(tmp_path, text, cell):
    Dataset([Instruction("closed_qa", "ถาม", text, id="a")]).to_csv(tmp_path / "a.csv")
    written = (tmp_path / "a.csv").read_bytes().decode("utf-8-sig")
    (row,) = list(csv.DictReader(io.StringIO(written, newline="")))
    assert cell is None or row["output"] == cell
    for piece in re.split(r"[;,\t\r\n]", written):
        assert not re.match(r'[\s"]*[=+@-]', piece)
