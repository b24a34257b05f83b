"""Review sheets and what comes back from them, without a browser."""

import base64
import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.evaluation.review_sheet import read_reviews, review_sheet
from seedfree.records import Context, Instruction, Message, Source

HEADER = "sheet,item,reviewer,fluency,culture,correctness,comment"
HOSTILE = (
    "</script><script>alert(1)</script ><!-- <script \u2028&amp;@@SHEET@@@@POLICY@@\u202e\ud800"
)


def row(number, task="closed_qa", **more):
    values = {
        "instruction": f"คำถาม {number}",
        "output": f"คำตอบ {number}",
        "language": "th",
        "topic": f"หัวข้อ {number}",
    }
    values |= {"id": f"id-{number}", "generator": "claude:secret-model"}
    return Instruction(task=task, **values | more)


ROWS = Dataset([*(row(n) for n in range(60)), *(row(n, "summarization") for n in range(60, 100))])


class Page(HTMLParser):
    """The tags of a page, and the texts of its style and script elements, as a browser has them."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(path.read_text("utf-8"))
        (sheet,) = (text for tag, text in self.texts if tag == ("script", "application/json"))
        self.sheet = json.loads(sheet)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("style", "script"):
            self.texts.append(((tag, dict(attrs).get("type")), ""))

    def handle_data(self, data):
        if self.cdata_elem:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)


@pytest.fixture
def sheet(tmp_path):
    """A sheet of ten rows, its key, and a way to write what a reviewer sends back."""

    class Sheet:
        path = review_sheet(ROWS, 10, tmp_path / "review.html")
        key_path = tmp_path / "review.key.json"
        key = json.loads(key_path.read_text("utf-8"))
        id = key["sheet"]

        def write(self, name, marks, header=HEADER, encoding="utf-8-sig", comment=""):
            lines = [
                f"{self.id},{item},{name},{','.join(map(str, given))},{comment}"
                for item, given in marks.items()
            ]
            path = tmp_path / f"{name}.csv"
            path.write_bytes("\r\n".join([header, *lines, ""]).encode(encoding))
            return path

        def read(self, *paths):
            return read_reviews(*paths, key=self.key_path)

    return Sheet()


def test_each_task_keeps_its_share_and_the_seed_decides(tmp_path, sheet):
    origins = sheet.key["items"].values()
    assert Counter(origin["task"] for origin in origins) == {"closed_qa": 6, "summarization": 4}
    assert [ROWS[origin["row"]].id for origin in origins] == [origin["id"] for origin in origins]
    tasks = [origin["task"] for origin in origins]
    assert sum(a != b for a, b in zip(tasks, tasks[1:], strict=False)) > 1, (
        "tasks do not come one after the other"
    )
    page = sheet.path.read_bytes()
    assert review_sheet(ROWS, 10, sheet.path).read_bytes() == page
    assert review_sheet(ROWS, 10, tmp_path / "other.html", seed=1).read_bytes() != page


def test_a_sheet_is_never_written_over_the_key_of_another(sheet):
    with pytest.raises(
        ConfigError, match="review.key.json is the key of another sheet. Give another out"
    ):
        review_sheet(ROWS, 10, sheet.path, seed=1)
    assert json.loads(sheet.key_path.read_text("utf-8")) == sheet.key


def test_a_sheet_is_never_written_over_another_page(tmp_path):
    page = tmp_path / "index.html"
    page.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        review_sheet(ROWS, 10, page)
    assert page.read_text() == "mine" and list(tmp_path.iterdir()) == [page]


def test_several_data_sets_give_as_many_rows_and_cannot_be_told_apart(tmp_path):
    few = [row(n, output=f"ก {n}") for n in range(3)]
    path = review_sheet({"ours-v2": few, "theirs-v1": ROWS, "empty": []}, 20, tmp_path / "r.html")
    key = json.loads((tmp_path / "r.key.json").read_text("utf-8"))
    assert Counter(origin["dataset"] for origin in key["items"].values()) == {
        "ours-v2": 3,
        "theirs-v1": 17,
    }
    assert key["sizes"] == {"ours-v2": 3, "theirs-v1": 100, "empty": 0}
    text = path.read_text("utf-8")
    hidden = ["ours-v2", "theirs-v1", "secret-model", "id-1", "closed_qa", "หัวข้อ", "review.key"]
    assert not [word for word in hidden if word in text]
    shown = Page(path).sheet["rows"]
    assert all(row.keys() == {"id", "lang", "material", "turns"} for row in shown)
    assert [row["id"] for row in shown] == [f"r{n:02}" for n in range(1, 21)] == list(key["items"])


def test_what_is_shown_of_a_row(tmp_path):
    talk = (
        Message("user", "หนึ่ง"),
        Message("assistant", "สอง"),
        Message("user", "สาม"),
        Message("assistant", "สี่"),
    )
    rows = [
        row(0, "a", input="เนื้อเรื่อง"),
        row(
            1,
            "b",
            context=Context(
                "หน้าเว็บ", source=Source("wikipedia", title="Secret", url="https://x.example")
            ),
        ),
        row(2, "c", messages=talk, language='th" onload="alert(1)'),
    ]
    page = Page(review_sheet(rows, 50, tmp_path / "r.html"))
    by_first = {row["turns"][0][1]: row for row in page.sheet["rows"]}
    assert by_first["คำถาม 0"]["material"] == "เนื้อเรื่อง"
    assert by_first["คำถาม 0"]["turns"] == [["user", "คำถาม 0"], ["assistant", "คำตอบ 0"]]
    assert by_first["คำถาม 1"]["material"] == "หน้าเว็บ"
    assert [text for _, text in by_first["หนึ่ง"]["turns"]] == ["หนึ่ง", "สอง", "สาม", "สี่"]
    assert by_first["หนึ่ง"]["lang"] == ""
    assert "x.example" not in (tmp_path / "r.html").read_text("utf-8")


def test_rows_are_data_and_the_page_reaches_nothing(tmp_path, sheet):
    page = Page(
        review_sheet(
            [row(0, instruction=HOSTILE, output=HOSTILE, input=HOSTILE)], 1, tmp_path / "h.html"
        )
    )
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in Page(sheet.path).tags]
    assert not set("<>&\u2028\u2029") & set(dict(page.texts)["script", "application/json"])
    assert page.sheet["rows"][0]["turns"][1][1] == HOSTILE.replace("\ud800", "\ufffd")
    (policy,) = (
        attrs["content"]
        for _, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for (tag, kind), text in page.texts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert kind or rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'" and not {"connect-src", "font-src"} & rules.keys()
    links = [
        attrs[name] for _, attrs in page.tags for name in ("src", "href", "action") if name in attrs
    ]
    assert links == ["data:,"]
    assert not re.search(
        r"https?:|innerHTML|insertAdjacent|document\.write|\beval\b", page.texts[-1][1]
    )


@pytest.mark.parametrize(
    ("language", "rows", "lang"),
    [
        (None, "th", "th"),
        ("en", "th", "en"),
        (None, "sw", "sw"),
        ('"><b>', "th", "en"),
        (None, "", "en"),
    ],
)
def test_the_pages_own_language(tmp_path, language, rows, lang):
    path = review_sheet([row(0, language=rows)], 1, tmp_path / "r.html", language=language)
    assert Page(path).tags[0] == ("html", {"lang": lang})


@pytest.mark.parametrize(("dataset", "n"), [([], 5), ({}, 5), ({"a": []}, 5), (ROWS, 0)])
def test_no_rows(tmp_path, dataset, n):
    with pytest.raises(ConfigError, match="No rows to review"):
        review_sheet(dataset, n, tmp_path / "r.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "dataset", ["rows.jsonl", Path("rows.jsonl"), [1], {"a": ROWS, "b": "rows.jsonl"}, None]
)
def test_what_is_no_data_set(tmp_path, dataset):
    with pytest.raises(ConfigError, match=r"Give a data set"):
        review_sheet(dataset, 5, tmp_path / "r.html")


def test_marks_come_back_with_their_rows(sheet):
    first, second, *_ = sheet.key["items"]
    reviews = sheet.read(sheet.write("A", {second: (2, "", 4), first: (1, 5, 3)}, comment="'=1+1"))
    assert [(r.item, r.fluency, r.culture, r.correctness) for r in reviews.rows] == [
        (first, 1, 5, 3),
        (second, 2, None, 4),
    ]
    assert reviews.reviewers == ("A",) and reviews.rows[0].comment == "=1+1"
    assert reviews.rows[0].id == ROWS[reviews.rows[0].row].id
    assert reviews.rows[0].task == ROWS[reviews.rows[0].row].task


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.lstrip("\ufeff"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t").replace("\r\n", "\n"),
        lambda text: text.replace(",4,", ",4.0,").replace("sheet,item", '"Sheet"," ITEM "'),
        lambda text: text.replace(",5,1,", ",5,1," + "x" * 200_000, 1),
        lambda text: text.replace("comment", "comment,,extra").replace("\r\n", "\r\n,,,,,,\r\n"),
        lambda text: "\r\n".join(line.rpartition(",")[0] for line in text.split("\r\n")),
    ],
)
def test_files_that_a_spreadsheet_saved_anew(sheet, change):
    path = sheet.write("สมชาย", {item: (4, 5, 1) for item in sheet.key["items"]})
    path.write_bytes(change(path.read_bytes().decode()).encode())
    reviews = sheet.read(path)
    assert len(reviews.rows) == 10 and reviews.reviewers == ("สมชาย",)
    assert {(r.fluency, r.culture, r.correctness) for r in reviews.rows} == {(4, 5, 1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("culture", "kultur"), "lacks the column culture"),
        (lambda t: "", "lacks the column sheet"),
        (lambda t: t.replace("4,5,1", "4,6,1", 1), "line 2: culture is '6', not a mark"),
        (lambda t: t.replace("4,5,1", "4,5,2.5", 1), "correctness is '2.5', not a mark"),
        (lambda t: t.replace("4,5,1", "good,5,1", 1), "fluency is 'good', not a mark"),
        (lambda t: t.replace(",A,", ",,", 1), "line 2: no reviewer"),
        (lambda t: re.sub(r"s[0-9a-f]{12},", "s000,", t, count=1), "line 2: sheet 's000', not 's"),
        (lambda t: t.replace(",r01,", ",r99,"), "no item 'r99'"),
        (
            lambda t: t + t.split("\r\n")[1].replace("4,5,1", "4,5,2"),
            "A marked r01 twice, differently",
        ),
        (lambda t: t.replace("4,5,1,", '4,5,1,"', 1), "line 2: not CSV: unexpected end of data"),
        (lambda t: t.encode("utf-16"), "is not UTF-8 text. Save it as CSV UTF-8"),
    ],
)
def test_files_that_cannot_be_right_are_one_line(sheet, change, message):
    path = sheet.write("A", {item: (4, 5, 1) for item in sheet.key["items"]})
    changed = change(path.read_bytes().decode("utf-8-sig"))
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        sheet.read(path)
    assert "\n" not in str(caught.value) and "A.csv" in str(caught.value)


def test_a_missing_or_wrong_key(sheet, tmp_path):
    path = sheet.write("A", {"r01": (4, 5, 1)})
    with pytest.raises(ConfigError, match="Cannot read .*gone.csv"):
        sheet.read(tmp_path / "gone.csv")
    with pytest.raises(ConfigError, match="Cannot read .*none.json"):
        read_reviews(path, key=tmp_path / "none.json")
    for text in (
        "[]",
        "{",
        '{"sheet": 1}',
        '{"sheet": "s", "sizes": {}, "items": {"r01": {"row": "1"}}}',
    ):
        sheet.key_path.write_text(text)
        with pytest.raises(ConfigError, match="is not the key of a sheet"):
            sheet.read(path)


def marks_of(values):
    return {f"r{number:02}": (value, value, value) for number, value in enumerate(values, 1)}


def test_means_and_agreement_of_two_reviewers(sheet):
    a, b = [1, 2, 3, 4, 5, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 4, 4, 4, 1, ""]
    reviews = sheet.read(sheet.write("A", marks_of(a)), sheet.write("B", marks_of(b)))
    mean = reviews.mean("fluency")
    assert (mean.items, mean.marks) == (10, 19)
    assert mean.value == pytest.approx((1 + 2 + 3 + 4 + 5 + 4.5 + 4 + 3.5 + 1.5 + 1) / 10)
    assert mean.interval.low < mean.value < mean.interval.high
    parts = [reviews.mean("fluency", task=task) for task in ("closed_qa", "summarization")]
    assert [part.items for part in parts] == [6, 4]
    assert sum(part.value * part.items for part in parts) == pytest.approx(10 * mean.value)
    none = reviews.mean("culture", task="poetry")
    assert math.isnan(none.value) and math.isnan(none.interval.low) and none.items == 0
    agreement = reviews.agreement("culture")
    assert agreement.n == 9 and agreement.raw == pytest.approx(6 / 9)
    assert agreement.sources == tuple(
        sheet.key["items"][f"r{n:02}"]["source"] for n in range(1, 10)
    )
    assert replace(agreement, sources=("one",) * 9).interval("raw") == pytest.approx((6 / 9, 6 / 9))
    low, high = agreement.interval("quadratic")
    assert agreement.kappa < agreement.linear < agreement.quadratic < agreement.spearman + 0.1
    assert low < agreement.quadratic < high <= 1
    assert reviews.agreement("culture", "B", "A").kappa == pytest.approx(agreement.kappa)
    assert "n 9, equal 67%" in reviews.table() and "| summarization | 4 |" in reviews.table()


def test_agreement_wants_two_known_reviewers(sheet):
    files = [sheet.write(name, marks_of([1, 2, 3])) for name in "ABC"]
    with pytest.raises(ConfigError, match="3 reviewers. Name two of: A, B, C"):
        sheet.read(*files).agreement("culture")
    assert sheet.read(*files).agreement("culture", "A", "C").kappa == 1
    with pytest.raises(ConfigError, match="1 reviewers. Read two files"):
        sheet.read(files[0]).agreement("culture")
    with pytest.raises(ConfigError, match="Unknown 'D'"):
        sheet.read(*files).agreement("culture", "A", "D")
    with pytest.raises(ConfigError, match="Unknown 'style'. Known: fluency"):
        sheet.read(*files).mean("style")
    assert sheet.read().table().count("\n") == 2


def test_a_judges_marks_are_matched_by_place_by_id_and_by_item(sheet):
    human = [1, 2, 3, 4, 5, 5, 4, 3, 2, 1]
    reviews = sheet.read(sheet.write("A", marks_of(human)))
    origins = sheet.key["items"]
    judged = [None] * 100
    for (item, origin), mark in zip(origins.items(), human, strict=True):
        judged[origin["row"]] = 2 * mark - (item < "r06")  # 1 or 2 for 1, 9 or 10 for 5
    agreement = reviews.agreement_with(judged)
    assert agreement.n == 10 and agreement.quadratic == agreement.raw == 1
    assert 0.9 < agreement.spearman < 1
    judged[origins["r01"]["row"]] = None
    by_id = {row.id: mark for row, mark in zip(ROWS, judged, strict=True) if mark}
    assert reviews.agreement_with(by_id).n == reviews.agreement_with(judged, "culture").n == 9
    by_item = {"r01": 9, "r02": 3, "r03": math.nan}
    assert reviews.agreement_with(by_item, "fluency") == reviews.agreement_with(
        {"": {"id-?": 1} | by_item}, "fluency"
    )
    assert reviews.agreement_with(by_item).first_marks == (1, 2)
    assert reviews.agreement_with(by_item).second_marks == (5, 2)
    assert reviews.agreement_with(SimpleNamespace(scores=judged)) == reviews.agreement_with(judged)
    wrong = [
        (judged[:-1], "99 marks for 100 rows"),
        ({"r01": 11}, "11.0 is not from"),
        ({"r01": 0}, "0.0 is not from"),
    ]
    for marks, message in wrong:
        with pytest.raises(ConfigError, match=message):
            reviews.agreement_with(marks)


def test_the_human_mark_is_the_mean_of_whole_reviews(sheet):
    files = [
        sheet.write("A", {"r01": (5, 5, 2), "r02": (5, "", 5), "r03": (1, 1, 1)}),
        sheet.write("B", {"r01": (4, 4, 4)}),
    ]
    agreement = sheet.read(*files).agreement_with({"r01": 8, "r02": 9, "r03": 1})
    assert agreement.first == (4, 1)
    assert agreement.first_marks == (4, 1)
    assert agreement.quadratic == 1
    halves = sheet.read(*files).agreement_with({"r01": 8, "r02": 9, "r03": 1}, "fluency")
    assert halves.first == (4.5, 5, 1) and halves.first_marks == (5, 5, 1)


def test_several_data_sets_are_told_apart_again(tmp_path):
    path = review_sheet({"ours": ROWS[:5], "theirs": ROWS[5:10]}, 10, tmp_path / "r.html")
    key = json.loads(path.with_suffix(".key.json").read_text("utf-8"))
    good = {"ours": 5, "theirs": 2}
    lines = [
        f"{key['sheet']},{i},A,{good[origin['dataset']]},3,3" for i, origin in key["items"].items()
    ]
    (tmp_path / "a.csv").write_text("\n".join([HEADER.removesuffix(",comment"), *lines]), "utf-8")
    reviews = read_reviews(tmp_path / "a.csv", key=path.with_suffix(".key.json"))
    for name, mark in good.items():
        mean = reviews.mean("fluency", dataset=name)
        assert (mean.value, *mean.interval, mean.items) == (mark, mark, mark, 5)
    assert reviews.mean("fluency").value == 3.5
    assert "| ours | 5 | 5.00 [?] |" in reviews.table()
    agreement = reviews.agreement_with({"ours": [9] * 5, "theirs": [4] * 5}, "fluency")
    assert agreement.raw == agreement.spearman == 1
    with pytest.raises(
        ConfigError, match="of 2 data sets, the marks of one. Give them by name: ours, theirs"
    ):
        reviews.agreement_with([9] * 5)


def test_paths_in_a_list_or_for_rows_are_told(tmp_path, sheet):
    with pytest.raises(ConfigError, match="A path is list"):
        sheet.read(["a.csv", "b.csv"])
    with pytest.raises(ConfigError, match="The data set is str"):
        review_sheet("runs/th/dataset.jsonl", out=tmp_path / "other.html")
