"""Prediction files: every form that is read, and a clear line for every form that is not."""

import csv
import gzip
import json

import pytest

from seedfree.errors import ConfigError
from seedfree.evaluation.predictions import Prediction, cut_off, read_name, read_predictions

HEADER = "question,context,answer,id,prediction\n"
LONG = "ก" * 200_000


def write(path, text):
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(
        gzip.compress(data) if path.suffix == ".gz" and not data.startswith(b"\x1f\x8b") else data
    )
    return path


@pytest.mark.parametrize("name", ["m.open_qa.culture.csv", "m.open_qa.culture.csv.gz"])
def test_csv(tmp_path, name):
    text = (
        "\ufeff"
        + HEADER
        + 'ถามว่า,,"บรรทัดแรก\n\nบรรทัดที่สาม",7,"เขาพูดว่า ""ดี"", แล้วไป"\nnan,NaN,,8,nan\n'
    )
    file = read_predictions(write(tmp_path / name, text + f'x,"a\r\nb",{LONG},9,ข\n'))
    first, second, third = file
    assert first == Prediction(
        "ถามว่า",
        "",
        "บรรทัดแรก\n\nบรรทัดที่สาม",
        "7",
        'เขาพูดว่า "ดี", แล้วไป',
        task="open_qa",
        part="culture",
    )
    assert (second.question, second.context, second.answer, second.prediction) == ("", "", "", "")
    assert (third.context, third.answer) == ("a\r\nb", LONG)
    assert file.model == "m" and len(file) == 3
    assert file.predictions == [first.prediction, "", "ข"] and file.references[2] == LONG


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_spreadsheet_may_separate_by_other_marks(tmp_path, mark):
    text = f'{HEADER}ถาม,,"ตอบ, สอง; สาม",1,ตอบ\n'.replace(",", mark).replace(
        f"ตอบ{mark} ", "ตอบ, "
    )
    (row,) = read_predictions(write(tmp_path / "a.csv", text))
    assert (row.question, row.answer, row.prediction) == ("ถาม", "ตอบ, สอง; สาม", "ตอบ")


def test_the_limit_on_csv_fields_is_put_back(tmp_path):
    before = csv.field_size_limit()
    read_predictions(write(tmp_path / "a.csv", HEADER + "1,2,3,4,5\n"))
    assert csv.field_size_limit() == before


def test_nan_is_a_word_where_nothing_can_be_null(tmp_path):
    row = {"question": "نانی", "context": "", "answer": "nan", "id": 1, "prediction": "nan"}
    file = read_predictions(write(tmp_path / "m.jsonl", json.dumps(row)))
    assert (file.predictions, file.references) == (["nan"], ["nan"])


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
def test_jsonl(tmp_path, name):
    row = {
        "question": "ถาม",
        "context": None,
        "answer": "ก\u2028ข",
        "id": 7,
        "prediction": float("nan"),
    }
    more = {
        "task": "open_qa",
        "part": "thai_culture",
        "stop_reason": "max_tokens",
        "choices": ["ก", "ข"],
        "other": {},
    }
    file = read_predictions(
        write(
            tmp_path / name, f"{json.dumps(row)}\n\n{json.dumps(row | more, ensure_ascii=False)}\n"
        )
    )
    first, second = file
    assert first == Prediction("ถาม", "", "ก\u2028ข", "7", "")
    assert (second.task, second.part, second.stop_reason, second.choices) == (
        "open_qa",
        "culture",
        "max_tokens",
        ("ก", "ข"),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama3.open_qa.culture.csv", ("llama3", "open_qa", "culture")),
        ("typhoon-v1.5-8b.closed_qa.general.csv.gz", ("typhoon-v1.5-8b", "closed_qa", "general")),
        ("a.b.c.summarization.thai_culture.jsonl", ("a.b.c", "summarization", "culture")),
        ("m.translation.culture.csv", None),
        ("m.open_qa.other.csv", None),
        ("open_qa.culture.csv", None),
        ("m.csv", None),
    ],
)
def test_names(name, expected):
    assert read_name(name) == expected


def test_a_name_of_another_form_is_the_model(tmp_path):
    file = read_predictions(write(tmp_path / "my.model.csv", HEADER + "1,2,3,4,5\n"))
    assert (file.model, file.rows[0].task, file.rows[0].part) == ("my.model", "", "")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "\ufeff \n", "is empty"),
        ("a.csv", HEADER, "has no rows"),
        ("a.csv", "question,context,answer,id\n1,2,3,4\n", "no column 'prediction'"),
        (
            "a.csv",
            "id,prediction\n1,2\n",
            "no column 'question' and no column 'context' and no column 'answer'",
        ),
        ("a.csv", HEADER + '1,2,3,4,"5\n', "line 2: not CSV"),
        ("a.csv", HEADER + '1,2,"3\n3",4,5\n1,"2"x,3,4,5\n', "line 4: not CSV"),
        ("a.csv", HEADER + "1,2,3,4,5\n1,2,3\n", "line 3: 3 cells, where the header has 5"),
        ("a.csv", HEADER + "1,2,3,4,5,6\n", "line 2: 6 cells"),
        ("a.csv", b"\xff\xfe\x00", "is not UTF-8 text"),
        ("a.csv.gz", gzip.compress(HEADER.encode(), mtime=0)[:-9], "not a whole gzip file"),
        ("a.jsonl", '{"question": ""}\n', "line 1: no column 'context'"),
        ("a.jsonl", "\n[1]\n", "line 2: not a JSON object"),
        ("a.jsonl", "{]\n", "line 1: not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        (
            "a.jsonl",
            '{"question": {}, "context": "", "answer": "", "id": "", "prediction": ""}',
            "question is not text",
        ),
        ("a.txt", "x", "is no prediction file"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_predictions(write(tmp_path / name, text))
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_bad_places(tmp_path):
    (tmp_path / "plain.csv.gz").write_text(HEADER)
    for path in (tmp_path / "plain.csv.gz", tmp_path / "none.csv", tmp_path / "folder.csv"):
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=path.name):
            read_predictions(path)


def rows(*texts, stop=""):
    return [Prediction("", "", "ก", str(i), text, stop_reason=stop) for i, text in enumerate(texts)]


def test_cut_off_is_known_from_stop_reasons():
    known = [*rows("a", "b", stop="end"), *rows("c", stop="max_tokens"), *rows("d", stop="length")]
    assert cut_off(known) == (0.5, True)
    assert cut_off([*known, *rows("e")]).known is False


@pytest.mark.parametrize(
    "text",
    ["ข้อแรก, ข้อสอง,", "ดังนี้ (", "```python\nx = 1", "ในโลกแ", "เพื่อให้ทุกคนได้รับสิ่งท", "แม้ว่าความค"],
)
def test_texts_that_cannot_end_so(text):
    assert cut_off(rows(text, "จบแล้วครับ")) == (0.5, False)


@pytest.mark.parametrize(
    "text",
    ["", "ข", "ตอบ ข", "ข้อ ข.", "นาย ก", "จบแล้วครับ", "x = 1", "```\nx\n```", "ปี 2566", "ฯลฯ"],
)
def test_texts_that_may_end_so(text):
    assert cut_off(rows(text)).share == 0


def test_cut_off_of_nothing():
    assert cut_off([]) == (0, False)
