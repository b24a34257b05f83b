"""The paper's Table 2: published averages, files scored anew, both, and unreadable folders."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.paper_table import SIMILARITY, Key, main, make_table, read_published
from seedfree.errors import ConfigError
from seedfree.evaluation.scores import score

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "paper_table.py"
COLUMNS = ("question", "context", "answer", "id", "prediction")
CHOICES = "ก. แม่น้ำปิง\nข. แม่น้ำวัง\nค. แม่น้ำยม\nง. แม่น้ำน่าน"
POEMS = [
    ("แต่งกลอนเรื่องฝน", "", "ฝนพรำฉ่ำดินถิ่นเรา ข้าวเขียวเต็มนา", "1", "ฝนตกพรำพรำทั่วดินถิ่นเรา"),
    ("แต่งคำขวัญ", "", "ประหยัดน้ำวันนี้ มีใช้วันหน้า", "2", "ประหยัดน้ำ, ประหยัดไฟ,"),
    ("เขียนคำโฆษณา", "", "อร่อยทุกคำ", "3", ""),
]
RIVERS = [
    (
        "แม่น้ำใดไหลผ่านลำปาง",
        CHOICES,
        "คำตอบที่ถูกต้องคือ ข. เพราะไหลผ่านลำปาง",
        "1",
        "แม่น้ำวัง เพราะไหลผ่านลำปาง",
    ),
    ("แม่น้ำใดไหลผ่านเชียงใหม่", CHOICES, "ข้อที่ถูกต้องได้แก่ ก.", "2", "ตอบ A"),
    ("แม่น้ำใดไหลผ่านแพร่", CHOICES, "คำตอบคือ ค.", "3", "ข้อ ก"),
    ("แม่น้ำใดไหลผ่านน่าน", CHOICES, "คำตอบคือ ง.", "4", "ไม่แน่ใจ"),
]


def write(folder, name, rows):
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def entry(model, task, part, **scores):
    return {"model": model, "task": task, "test_set": part, "published": scores}


def similar(value):
    return {"BERTScore": value}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "my-model.v2.creative_writing.culture.csv", POEMS)
    write(tmp_path, "my-model.v2.multiple_choice.culture.csv", RIVERS)
    entries = [
        entry(
            "my-model.v2",
            "creative_writing",
            "thai_culture",
            BLEU=1.0,
            METEOR={"meteor": 0.1},
            **similar(0.5),
        ),
        entry(
            "my-model.v2",
            "multiple_choice",
            "thai_culture",
            BLEU=2.0,
            SQuAD={"exact_match": 3, "f1": 8},
            **similar(0.7),
        ),
        entry(
            "my-model.v2",
            "summarization",
            "general",
            ChrF=20.0,
            ROUGE={"rouge1": 0.2, "rougeLsum": 0.1},
        ),
        entry("other", "summarization", "general", ChrF=30.0),
    ]
    (tmp_path / "published_scores.json").write_text(json.dumps(entries))
    return tmp_path


def test_published_averages_are_means_over_tasks(folder):
    culture, general, other = make_table(folder).averages()
    assert (culture["model"], culture["part"], culture["tasks"]) == ("my-model.v2", "culture", 2)
    assert culture["scores"]["bleu"] == {"mean": 1.5, "tasks": 2}
    assert culture["scores"][SIMILARITY]["mean"] == pytest.approx(0.6)
    assert culture["scores"]["meteor"] == {"mean": 0.1, "tasks": 1}
    assert culture["scores"]["squad_f1"] == {"mean": 8.0, "tasks": 1}
    assert "chrf" not in culture["scores"]
    assert general["scores"] == {
        k: {"mean": v, "tasks": 1} for k, v in (("chrf", 20), ("rouge1", 0.2), ("rougeLsum", 0.1))
    }
    assert other["n"] is None and culture["n"] == 7


def test_files_are_scored_in_both_modes(folder):
    poems, rivers = make_table(folder).rescored
    for file, rows in ((poems, POEMS), (rivers, RIVERS)):
        for mode, scores in file.modes.items():
            expected = score([row[4] for row in rows], [row[2] for row in rows], "th", mode)
            for metric in file.metrics:
                assert getattr(scores, metric) == getattr(expected, metric)
    assert set(rivers.metrics) - set(poems.metrics) == {"squad_em", "squad_f1"}
    assert poems.accuracy is None and poems.published["bleu"] == 1.0
    assert (rivers.accuracy.correct, rivers.accuracy.unparsed, rivers.accuracy.n) == (0.5, 0.25, 4)
    assert poems.cut_off == (pytest.approx(1 / 3), False)


def test_means_of_the_new_scores(folder):
    table = make_table(folder)
    by_mode = {row["mode"]: row for row in table.means()}
    assert list(by_mode) == ["paper", "segmented"]
    for mode, row in by_mode.items():
        poems, rivers = (file.modes[mode] for file in table.rescored)
        assert row["scores"]["chrf"] == {
            "mean": pytest.approx((poems.chrf + rivers.chrf) / 2),
            "tasks": 2,
        }
        assert row["scores"]["squad_f1"] == {"mean": rivers.squad_f1, "tasks": 1}
        assert (row["n"], row["unanswered"], row["accuracy"]) == (
            7,
            pytest.approx(1 / 7),
            {"mean": 0.5, "tasks": 1},
        )
        answers = [row[4] for row in (*POEMS, *RIVERS) if row[4]]
        assert row["length"] == pytest.approx(sum(map(len, answers)) / 6)


def test_the_text_says_what_the_numbers_are(folder):
    text = str(make_table(folder))
    assert 'emb. sim.: embedding similarity (BGE-M3), which the paper calls "BERTScore"' in text
    assert "my-model.v2, multiple_choice, culture" in text
    assert "answer accuracy 0.500" in text and "unparsed 25.0%" in text
    assert "unanswered 33.3%, cut off >=33.3%" in text
    assert "cannot be compared" in text
    assert "mode:paper|" in text and "mode:segmented|" in text
    lines = text.splitlines()
    (poems,) = [
        i for i, line in enumerate(lines) if line.startswith("my-model.v2, creative_writing")
    ]
    bleu = next(line for line in lines[poems:] if line.startswith("BLEU")).split()
    assert bleu[1] == "1.000" and float(bleu[3]) == pytest.approx(float(bleu[2]) - 1, abs=0.0011)


def test_files_alone_and_scores_alone(folder):
    (folder / "published_scores.json").unlink()
    table = make_table(folder, ("segmented",))
    assert table.averages() == [] and not table.rescored[0].published
    assert [row["mode"] for row in table.means()] == ["segmented"]
    assert "Published scores" not in str(table) and "paper" not in table.rescored[0].modes
    for path in folder.glob("*.csv"):
        path.unlink()
    (folder / "own.json").write_text(
        json.dumps({"culture": {"open_qa": entry("", "open_qa", "thai_culture", BLEU=4)}})
    )
    alone = make_table(folder)
    assert [(row["model"], row["n"]) for row in alone.averages()] == [("own", None)]
    assert "Scored anew" not in str(alone)


def test_predictions_of_several_tasks_in_one_file(tmp_path):
    inside = tmp_path / "gemma"
    inside.mkdir()
    rows = [
        dict(zip(COLUMNS, row, strict=True))
        | {"task": task, "part": "culture", "stop_reason": "end"}
        for task, some in (("creative_writing", POEMS), ("multiple_choice", RIVERS))
        for row in some
    ]
    rows[0]["stop_reason"] = "max_tokens"
    rows[-1] |= {
        "context": "",
        "choices": ["แม่น้ำปิง", "แม่น้ำวัง", "แม่น้ำยม", "แม่น้ำน่าน"],
        "prediction": "แม่น้ำน่าน",
    }
    rows.append(rows[0] | {"task": "translation"})
    (inside / "predictions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    table = make_table(inside, ("segmented",))
    poems, rivers = table.rescored
    assert (poems.key.model, poems.cut_off.known, rivers.accuracy.correct) == ("gemma", True, 0.75)
    assert poems.cut_off.share == pytest.approx(1 / 3)
    assert (
        "Left out: 1 rows of predictions.jsonl (task 'translation', part 'culture')." in table.notes
    )


def test_a_folder_as_the_authors_have_it(tmp_path):
    scores = {
        "summarization": {"BLEU": 2.0},
        "open_qa": {"BLEU": 4.0, "SQuAD": {"f1": 8}, "ROUGE": {"rouge1": 0.1}},
    }
    halves = {"yes": scores, "no": {"open_qa": {"BLEU": 1.0}}}
    (tmp_path / "my-model").mkdir()
    write(tmp_path / "my-model", "creative_writing_yes_eval.csv", POEMS)
    (tmp_path / "my-model" / "evaluation_results.json").write_text(json.dumps(halves))
    (tmp_path / "my-model" / "notes.csv").write_text("a,b\n")
    (tmp_path / "evaluation_results.json").write_text(json.dumps({"my-model": halves}))
    (tmp_path / "bert_sims.json").write_text(json.dumps({"my-model": {"yes": {"open_qa": [0.5]}}}))
    for folder in (tmp_path, tmp_path / "my-model"):
        (folder / "notes.csv").unlink(missing_ok=True)  # In a folder inside it is passed over.
        table = make_table(folder)
        assert [(row["model"], row["part"], row["tasks"]) for row in table.averages()] == [
            ("my-model", "culture", 2),
            ("my-model", "general", 1),
        ]
        assert table.averages()[0]["scores"]["bleu"] == {"mean": 3.0, "tasks": 2}
        assert [file.key for file in table.rescored] == [
            ("my-model", "creative_writing", "culture")
        ]


def test_what_cannot_be_said_is_noted(tmp_path):
    write(
        tmp_path,
        "m.classification.general.csv",
        [("a", "", "", "1", "b"), ("a", "", "สุภาพ", "2", "สุภาพ")],
    )
    write(tmp_path, "m.multiple_choice.general.csv", [("a", "", "อธิบายยาว", "1", "b")])
    write(tmp_path, "notes.csv", [("a", "", "b", "1", "b")])
    table = make_table(tmp_path, ("segmented",))
    assert any("1 rows left out" in note for note in table.notes)
    assert any("Left out: 1 rows of notes.csv" in note for note in table.notes)
    assert [file.key.task for file in table.rescored] == ["classification", "multiple_choice"]
    assert all(note in str(table) for note in table.notes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"file": "m.open_qa.culture.csv.gz", "published": {"BLEU": 1}}], None),
        ({"m.open_qa.culture.csv": {"published": {"bleu": 1, "note": "x"}}}, None),
        ({"model": "m", "task": "open_qa", "part": "culture", "published": {"BLEU": 1}}, None),
        ([entry("m", "open_qa", "culture", BLEU=1)] * 2, "two entries for m open_qa culture"),
        ([entry("m", "translation", "culture", BLEU=1)], "task 'translation'"),
        ([entry("m", "open_qa", "north", BLEU=1)], "test_set 'north'"),
        ([entry("m", "open_qa", "culture", other=1)], "no known scores"),
        ("{", "is not JSON"),
    ],
)
def test_forms_of_published_scores(tmp_path, value, message):
    path = tmp_path / "scores.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    if message is None:
        assert read_published(path) == {Key("m", "open_qa", "culture"): {"bleu": 1.0}}
    else:
        with pytest.raises(ConfigError, match=message):
            read_published(path)


def test_json_holds_the_whole_table(folder, capsys):
    assert main([str(folder), "--json", "--mode", "segmented"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"published", "means", "files", "notes"}
    rivers = document["files"][1]
    assert (rivers["model"], rivers["task"], rivers["n"]) == ("my-model.v2", "multiple_choice", 4)
    assert rivers["accuracy"]["correct"] == 0.5 and len(rivers["accuracy"]["interval"]) == 2
    low, high = rivers["modes"]["segmented"]["chrf"]["interval"]
    assert low <= rivers["modes"]["segmented"]["chrf"]["score"] <= high


@pytest.mark.parametrize("name", [None, "empty", "other", "damaged", "twice"])
def test_errors_are_one_line_and_status_2(tmp_path, capsys, name):
    folder = tmp_path / "missing"
    if name:
        folder.mkdir()
    if name == "other":
        (folder / "list.json").write_text("[1, 2]")
        (folder / "notes.txt").write_text("x")
    if name == "damaged":
        (folder / "m.open_qa.culture.csv.gz").write_bytes(b"\x1f\x8b")
    if name == "twice":
        write(folder, "m.open_qa.culture.csv", POEMS)
        write(folder, "m.open_qa.thai_culture.csv", POEMS)
    assert main([str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and str(folder) in printed.err


def test_from_the_shell(folder):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), "--mode", "paper"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    assert done.stdout == str(make_table(folder, ("paper",))) and done.stderr == ""


THAIEVAL = os.environ.get("SEEDFREE_THAIEVAL", "")
NEAR = {"bleu": 0.001, "chrf": 0.001, "meteor": 0.002, "squad_f1": 0.01, "squad_em": 0.01}


@pytest.mark.skipif(
    not THAIEVAL, reason="SEEDFREE_THAIEVAL names no folder with the published prediction files"
)
def test_the_published_scores_come_out_again():
    table = make_table(Path(THAIEVAL), ("paper",))
    assert len(table.rescored) == 6
    for file in table.rescored:
        for metric in file.metrics:
            assert getattr(file.modes["paper"], metric) == pytest.approx(
                file.published[metric], abs=NEAR.get(metric, 0.006)
            )
    assert {row["model"]: row["tasks"] for row in table.averages() if row["part"] == "culture"} == {
        "llama3-typhoon-v1.5-8b": 2,
        "llama3_clsit": 2,
    }
