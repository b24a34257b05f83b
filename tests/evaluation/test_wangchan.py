"""WangchanThaiInstruct from files as its releases have them, and from the hub's client."""

import csv
import gzip
import json
import logging
import subprocess
import sys

import pytest

from seedfree.errors import ConfigError
from seedfree.evaluation.wangchan import WangchanThaiInstruct
from tests.evaluation.benchmarks import COLUMNS, wangchan_rows, write_jsonl


@pytest.fixture
def path(tmp_path):
    return write_jsonl(tmp_path / "test.jsonl", wangchan_rows())


def test_every_field_of_a_row_is_in_its_question(path):
    questions = WangchanThaiInstruct(path, noncommercial=True).questions()
    assert [question.id for question in questions] == ["a1", "a2", "a3", "a4", "a5", "a6", "a7"]
    second = questions[1]
    assert (second.task, second.part, second.license) == ("closed_qa", "culture", "cc-by-4.0")
    assert (second.question, second.answer) == ("ตลาดเปิดวันใด", "วันเสาร์และอาทิตย์")
    assert second.context == "ตลาดน้ำเปิดวันเสาร์และอาทิตย์"
    assert {question.task for question in questions} == set(WangchanThaiInstruct.task_names)
    assert questions[6].context == ""


def test_questions_on_one_text_have_one_source(path):
    sources = {question.id: question.source for question in WangchanThaiInstruct(path).questions()}
    assert sources["a2"] == sources["a3"] != sources["a4"]
    assert sources["a1"] == ""


def test_rows_of_non_commercial_licence_are_left_out_and_counted_once(path, caplog):
    with caplog.at_level(logging.WARNING):
        benchmark = WangchanThaiInstruct(path)
        assert [question.id for question in benchmark.questions()] == [
            "a1",
            "a2",
            "a3",
            "a4",
            "a6",
            "a7",
        ]
        benchmark.questions()
    assert benchmark.left_out == 1
    assert [record.getMessage().split(":")[1] for record in caplog.records] == [
        " 1 of 7 rows are left out"
    ]
    assert WangchanThaiInstruct(path, noncommercial=True).left_out == 0


@pytest.mark.parametrize(
    ("licence", "kept"),
    [
        ("cc-by-nc-sa-4.0", False), ("CC BY NC", False), ("cc_by_nc_4.0", False),
        ("CCBYNCSA", False), ("Non-Commercial use", False), ("noncommercial", False),
        ("research-only", False), ("For research use only", False), ("only for\nresearch", False),
        ("Academic", False), ("Academic Free License", True), ("open research", True),
        ("cc-by-sa-4.0", True), ("", True), ("Public domain", True),
        ("cc-by-sa-3.0 (encyclopedia)", True), ("Nectec open licence", True), ("sync_music", True),
    ],
)  # fmt: skip
def test_a_licence_is_non_commercial_by_its_words(tmp_path, licence, kept):
    rows = wangchan_rows()[:2]
    rows[0]["License"] = licence
    questions = WangchanThaiInstruct(write_jsonl(tmp_path / "x.jsonl", rows)).questions()
    assert ("a1" in [question.id for question in questions]) == kept


def test_halves_and_tasks_are_taken_alone(path):
    def ids(**settings):
        return [question.id for question in WangchanThaiInstruct(path, **settings).questions()]

    assert ids(part="culture") == ["a1", "a2", "a3"]
    assert ids(part="general") == ["a4", "a6", "a7"]
    assert ids(tasks=["Closed QA", "open_qa"]) == ["a1", "a2"]
    assert ids(tasks="multiple_choice", part="general") == ["a4"]


# The evaluation set of the paper's authors, and the release without a column of culture.
AUTHORS = ("id", "task_type", "Instruction", "Input", "Output", "thai_specific", "license")
JULY = ("ID", "Task_type", "Instruction", "Input", "Output", "Tags", "License")


def test_both_releases_and_the_authors_file_are_read_alike(path, tmp_path):
    wanted = WangchanThaiInstruct(path).questions()
    authors = write_jsonl(tmp_path / "authors.jsonl", wangchan_rows(AUTHORS))
    assert WangchanThaiInstruct(authors).questions() == wanted
    july = write_jsonl(tmp_path / "july.jsonl", wangchan_rows(JULY))
    assert {question.part for question in WangchanThaiInstruct(july).questions()} == {""}
    with pytest.raises(ConfigError, match="has no column Thai_specific"):
        WangchanThaiInstruct(july, part="culture").questions()


def test_csv_json_gzip_and_parquet_hold_the_same(path, tmp_path):
    wanted = WangchanThaiInstruct(path).questions()
    rows = wangchan_rows()
    with (tmp_path / "test.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    names = ["test.csv", "test.json", "test.jsonl.gz"]
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        pass
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
        names.append("test.parquet")
    for name in names:
        assert WangchanThaiInstruct(tmp_path / name).questions() == wanted, name


def test_a_question_is_asked_as_the_library_trains(path):
    benchmark = WangchanThaiInstruct(path)
    alone, with_text = benchmark.questions()[:2]
    assert benchmark.prompt(alone).user == "ข้าวเหนียวมะม่วงกินในฤดูใด"
    assert benchmark.prompt(with_text).user == "ตลาดเปิดวันใด\n\nตลาดน้ำเปิดวันเสาร์และอาทิตย์"


def test_ids_are_unique_where_the_file_has_none_or_twins(tmp_path):
    rows = wangchan_rows()[:3]
    for row in rows:
        row["ID"] = "same"
    named = WangchanThaiInstruct(write_jsonl(tmp_path / "x.jsonl", rows)).questions()
    assert [question.id for question in named] == ["same", "same-2", "same-3"]
    for row in rows:
        del row["ID"]
    unnamed = [
        WangchanThaiInstruct(write_jsonl(tmp_path / "y.jsonl", rows)).questions() for _ in range(2)
    ]
    assert unnamed[0] == unnamed[1] and len({question.id for question in unnamed[0]}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["translation"]}, "Unknown task translation"),
        ({"part": "thai"}, "part is 'thai'"),
    ],
)
def test_wrong_settings_are_told_at_once(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        WangchanThaiInstruct("nowhere.jsonl", **settings)
    assert "\n" not in str(caught.value)


def broken(**changes):
    return [row | changes for row in wangchan_rows()]


def lacking(*names):
    return [
        {key: value for key, value in row.items() if key not in names} for row in wangchan_rows()
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lacking("Instruction", "Task_type"), "has no column Instruction, Task_type"),
        (lacking("License"), "has no column License.*noncommercial=True"),
        (broken(Task_type="Translation"), "unknown tasks: Translation"),
        (broken(Thai_Specfic="perhaps"), "says 'perhaps' of Thai culture"),
        (broken(License="cc-by-nc-4.0"), "no rows of this part"),
        ([], "holds no rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(tmp_path, rows, message):
    path = write_jsonl(tmp_path / "bad.jsonl", rows)
    with pytest.raises(ConfigError, match=message) as caught:
        WangchanThaiInstruct(path).questions()
    assert "bad.jsonl" in str(caught.value) and "\n" not in str(caught.value)


def test_known_tasks_of_a_file_with_unknown_ones_can_be_asked_for(tmp_path):
    rows = [wangchan_rows()[0] | {"Task_type": "Translation"}, *wangchan_rows()[1:3]]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    questions = WangchanThaiInstruct(path, tasks=WangchanThaiInstruct.task_names).questions()
    assert [question.id for question in questions] == ["a2", "a3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "of a kind that cannot be read"),
        ("x.jsonl", b'{"a": 1}\n{"a"', "line 2"),
        ("x.jsonl", b"[1]", "line 1: not a JSON object"),
        ("x.jsonl", b"\xff\xfe", "not UTF-8"),
        ("x.csv.gz", b"no gzip", "Cannot read"),
        ("x.csv.gz", gzip.compress(b"a,b", mtime=0)[:-9], "not a whole gzip file"),
        ("x.csv", b'a,b\n1,2\n3,"4\n5,6', "line 3: not CSV"),
        ("x.csv", b"", "holds no rows"),
        ("x.jsonl", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        WangchanThaiInstruct(tmp_path / name).questions()


def test_a_parquet_file_that_is_none_says_so(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"Cannot read .*x\.parquet"):
        WangchanThaiInstruct(tmp_path / "x.parquet").questions()


FROM_HUB = """
import sys
from seedfree.errors import ConfigError
from seedfree.evaluation.wangchan import WangchanThaiInstruct
try:
    print(len(WangchanThaiInstruct().questions()))
except ConfigError as error:
    print(error)
"""


def from_hub(folder, **environment):
    """In a process of its own, where `folder` is found before what is installed."""
    done = subprocess.run(
        [sys.executable, "-c", FROM_HUB],
        env={"PYTHONPATH": f"{folder}:{':'.join(filter(None, sys.path))}", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_without_a_path_the_hub_s_test_split_is_loaded(tmp_path):
    rows = wangchan_rows()
    (tmp_path / "datasets.py").write_text(
        "def load_dataset(name, config=None, *, split):\n"
        "    assert (name, config, split) == ('airesearch/WangchanThaiInstruct', None, 'test')\n"
        f"    return {rows!r}\n",
        encoding="utf-8",
    )
    assert from_hub(tmp_path) == "6"


def test_a_hub_out_of_reach_is_one_line_with_the_way_round_it(tmp_path):
    (tmp_path / "datasets.py").write_text(
        "def load_dataset(*a, **k):\n    raise RuntimeError('no\\nnetwork')\n"
    )
    output = from_hub(tmp_path)
    assert output.startswith(
        "The hub does not give airesearch/WangchanThaiInstruct: RuntimeError: no network."
    )
    assert "hf download" in output and "path=" in output and "\n" not in output


def test_the_real_client_offline_says_the_same(tmp_path):
    pytest.importorskip("datasets")
    output = from_hub(tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path), PATH="")
    assert output.startswith("The hub does not give") and "\n" not in output


def test_a_missing_package_names_the_command(tmp_path):
    (tmp_path / "datasets.py").write_text("raise ImportError('none')\n")
    assert "pip install 'seedfree[hub]'" in from_hub(tmp_path)


def test_of_two_spellings_of_a_column_the_data_set_s_own_counts(path, tmp_path):
    rows = [row | {"answer": "อื่น", "question": "อื่น"} for row in wangchan_rows()]
    both = write_jsonl(tmp_path / "both.jsonl", rows)
    assert WangchanThaiInstruct(both).questions() == WangchanThaiInstruct(path).questions()
