"""How objects look: a few lines in a terminal, tables in a notebook, and nothing that harms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from seedfree._views import Table, View, Words, aligned, one_line
from seedfree.diversity.sweep import SweepRow, ThresholdSweep
from seedfree.evaluation import Evaluation
from seedfree.evaluation.likelihood import Likelihoods
from seedfree.records import Instruction, Question, Source
from seedfree.run.estimate import Preview
from seedfree.run.variety import variety
from seedfree.training.base_model import BaseModel
from tests.fakes import FakeClock, small_pipeline, thai_llm

HOSTILE = (
    '<script>alert(1)</script><img src="https://x.example/a.png" onerror="a()">\x1b[2J\u202e\n&'
)
ARABIC, LAO = "ما هي عاصمة البلاد؟", "ເມືອງຫຼວງຂອງລາວແມ່ນຫຍັງ"


def columns(line: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in line)
    return len(line) + wide - sum(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in line)


class Reader(HTMLParser):
    """Collects tags, their attributes and the texts between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def row(text: str, task: str = "closed_qa", **fields: Any) -> Instruction:
    return Instruction(task, text, text, input=text, topic=text, **fields)


def hostile_run(folder: Path) -> sf.Run:
    class Task(sf.Summarization):
        name = f"t{HOSTILE}"

        def instructions(self, fields: Any, context: sf.Context) -> Any:
            yield row(HOSTILE, self.name)

    tasks = [Task(), sf.Summarization()]
    pipeline = small_pipeline(tasks=tasks, filters=[Picky()], topics=[f"ข้าว {HOSTILE}"])
    return pipeline.run(2, folder / "<b>run", clock=FakeClock(), progress=False)


class Picky:
    def check(self, item: Instruction) -> str | None:
        return f"picky: {HOSTILE}" if item.task == "summarization" else None


def evaluation(folder: Path) -> Evaluation:
    questions = [
        Question(str(i), task, HOSTILE, answer)
        for i, (task, answer) in enumerate([(HOSTILE, "ก"), ("qa", "ข้าวเหนียว")] * 3)
    ]
    decoding = {"temperature": 0.0}
    info = {"model": HOSTILE, "benchmark": "b", "decoding": decoding, "language": "th"}
    info |= {"mode": "segmented", "seed": 0}
    return Evaluation(folder, info, tuple(questions), ("ก",) * 6, ("end",) * 6)


def likelihoods(folder: Path) -> Likelihoods:
    rows = [
        {"task": HOSTILE, "own": 1.0 + i / 9, "other": 1.5, "chosen": 0, "right": i % 2}
        for i in range(6)
    ]
    return Likelihoods(folder, {"model": "m", "benchmark": HOSTILE}, tuple(rows))


def sweep(_: Path) -> ThresholdSweep:
    by = {HOSTILE: 3, **{f"task number {i}": 2 for i in range(12)}}
    made = SweepRow({HOSTILE: 0.9, "*": 0.8}, 3, by, {"given": 3}, 0.5, 2.0, 0.1, 0.2, "exact")
    return ThresholdSweep((made,) * 9, 9, 0, 3, 40, HOSTILE, "other")


def trained(folder: Path) -> sf.TrainedModel:
    losses = [{"step": 0, "training": None, "validation": 3.25}]
    losses += [{"step": 40, "training": 1.125, "validation": 2.5}]
    info = {"report": {"tasks": {HOSTILE: {"rows": 7}}}, "losses": losses}
    base = object.__new__(BaseModel)
    object.__setattr__(base, "name", f"base {HOSTILE}")
    return sf.TrainedModel(folder, base, info)


def pipeline(_: Path) -> sf.Pipeline:
    return sf.Pipeline(
        "th", sf.FunctionGenerator(str, name=f"m{HOSTILE}"), tasks="wide", topics=["ข้าว"]
    )


OBJECTS: dict[str, Callable[[Path], Any]] = {
    "pipeline": pipeline,
    "run": hostile_run,
    "dataset": lambda _: sf.Dataset(
        [row(f"{HOSTILE} {i}", HOSTILE, language=HOSTILE) for i in range(30)]
    ),
    "no rows": lambda _: sf.Dataset(),
    "preview": lambda folder: Preview(hostile_run(folder)),
    "estimate": lambda _: sf.Estimate(5000, 9000, 8, 9, 12.5, 10, 15, 8, 20),
    "estimate without a price": lambda _: sf.Estimate(5000, 9000, 8, 9, None, None, None, 8),
    "evaluation": evaluation,
    "likelihoods": likelihoods,
    "sweep": sweep,
    "variety": lambda _: variety(
        [row(HOSTILE, HOSTILE, language="th")] * 40, sf.Language.load("th")
    ),
    "trained model": trained,
}
every_object = pytest.mark.parametrize("name", OBJECTS)


@every_object
def test_a_terminal_shows_few_short_lines(name: str, tmp_path: Path) -> None:
    shown = repr(OBJECTS[name](tmp_path))
    lines = shown.splitlines()
    assert 1 <= len(lines) <= 12 and max(map(columns, lines)) <= 100, shown
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", shown)


@every_object
def test_a_notebook_shows_texts_as_texts(name: str, tmp_path: Path) -> None:
    page = OBJECTS[name](tmp_path)._repr_html_()
    reader = Reader(page)
    assert not reader.open
    assert {tag for tag, _ in reader.tags} <= {"div", "p", "strong", "table", "tr", "th", "td"}
    # No colour, no size and no address: only what sets a text and what says its language.
    styles = {value for _, given in reader.tags for key, value in given.items() if key == "style"}
    assert styles <= {"text-align:left", "text-align:right"}
    assert {key for _, given in reader.tags for key in given} <= {"dir", "lang", "style"}
    assert not re.search("[\x00-\x1f\u202e]", page)
    hostile = not name.startswith(("no rows", "estimate"))
    assert ("<script>alert(1)</script>" in reader.text) is hostile


def test_texts_of_rows_say_their_language_and_find_their_direction() -> None:
    data = sf.Dataset([row(ARABIC, language="ar"), row(LAO, language="lo")])
    tags = Reader(data._repr_html_()).tags
    cells = [given for tag, given in tags if tag == "td" and "lang" in given]
    assert [cell["lang"] for cell in cells] == ["ar"] * 3 + ["lo"] * 3
    assert {cell["dir"] for cell in cells} == {"auto"}
    assert "2 rows in ar, lo: closed_qa 2" in repr(data)


def test_a_notebook_shows_more_rows_than_a_terminal() -> None:
    data = sf.Dataset([row(f"คำถาม {i}") for i in range(30)])
    assert [f"คำถาม {i}" in repr(data) for i in (0, 1, 2)] == [True, True, False]
    assert [f"คำถาม {i}<" in data._repr_html_() for i in (4, 5)] == [True, False]


def test_a_pipeline_names_its_parts_on_a_line_each() -> None:
    secret = "sk-canary0123456789abcdef"
    llm = sf.OpenAICompatibleGenerator("https://api.example/v1", "qwen3:8b", api_key=secret)
    shown = repr(sf.Pipeline("th", llm, contexts=[sf.WrittenContexts()], diversity=None))
    assert shown.splitlines() == [
        "Pipeline",
        "  language: Thai (th)",
        "  generator: OpenAICompatibleGenerator qwen3:8b",
        "  topics: generated",
        "  contexts: WrittenContexts",
        "  tasks: closed_qa, summarization, conversation, multiple_choice",
        "  filters: RuleFilter, LanguageFilter, GroundingFilter",
        "  diversity: none",
    ]


def test_a_pipeline_tells_neither_keys_nor_folders(tmp_path: Path) -> None:
    url = "https://gateway.example/sk-canary0123456789/v1"
    (tmp_path / "a.txt").write_text("ข้าว " * 100)
    made = sf.Pipeline(
        "th", sf.FunctionGenerator(str, name=url), contexts=[sf.DocumentSource(tmp_path)]
    )
    for shown in (repr(made), made._repr_html_()):
        assert "canary" not in shown and str(tmp_path.parent) not in shown
        assert tmp_path.name in shown


def test_a_run_says_what_to_do_when_it_is_not_finished(tmp_path: Path) -> None:
    done = small_pipeline().run(4, tmp_path / "done", progress=False)
    assert "4 of 4 kept" in repr(done) and "next:" not in repr(done)
    llm = sf.FunctionGenerator(thai_llm().fn, name="thai", price=1000.0)
    stopped = small_pipeline(llm).run(
        40, tmp_path / "stopped", budget_usd=2.0, concurrency=1, progress=False
    )
    lines = repr(stopped).splitlines()
    assert lines[0] == "Run(stopped)" and f"{len(stopped.dataset)} of 40 kept" in lines[2]
    assert any("budget" in line for line in lines)
    assert lines[-1] == "  next: run it again to go on; nothing is paid for twice"


def test_a_preview_shows_the_text_that_a_question_is_about(tmp_path: Path) -> None:
    class Source:
        def contexts(self, topic: sf.Topic) -> list[sf.Context]:
            return [sf.Context(text="ตลาดนัดริมคลองเปิดทุกวันเสาร์ " * 40)]

    run = small_pipeline(contexts=[Source()], tasks=[sf.Summarization()]).run(
        2, tmp_path / "run", progress=False
    )
    preview = Preview(run)
    for shown in (str(preview), repr(preview), preview._repr_html_()):
        assert "ตลาดนัดริมคลอง" in shown
    about = str(preview).splitlines()[2]
    assert columns(about) < 310 and about.endswith("…")


def test_a_row_without_a_text_says_what_its_page_is() -> None:
    page = Source("wikipedia", title="วัดโพธิ์")
    data = sf.Dataset([Instruction("open_qa", "ถาม", "ตอบ", source=page)])
    assert "วัดโพธิ์" in data._repr_html_()


def test_an_evaluation_without_a_package_is_still_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise sf.ConfigError("sacrebleu is not installed", hint="Run: pip install 'seedfree[eval]'")

    monkeypatch.setattr("seedfree.evaluation.results.score", missing)
    shown = repr(evaluation(tmp_path))
    assert "questions: 6" in shown and "pip install 'seedfree[eval]'" in shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("ab", 2, "ab"),
        ("abc", 2, "a…"),
        ("a\n b\tc", 9, "a b c"),
        ("กำลังกิน", 8, "กำลังกิน"),
        ("ที่นี่ที่นั่น", 4, "ที่นี่ที่…"),
        ("語語語", 6, "語語語"),
        ("語語語", 5, "語語…"),
        ("ก" + "\u0e31" * 999, 4, "ก" + "\u0e31" * 15 + "…"),
    ],
)
def test_a_line_is_measured_in_columns(text: str, width: int, shown: str) -> None:
    assert one_line(text, width) == shown


def test_columns_are_aligned_whatever_their_script() -> None:
    lines = aligned([["task", "n"], ["สรุปที่", "10"], ["語", "5"]], words=1)
    assert len(set(map(columns, lines))) == 1 and lines[1].endswith("  10")


def test_a_long_table_says_what_it_leaves_out() -> None:
    lines = [["n", "text"], *([str(i), Words(f"แถว {i}", "th")] for i in range(20))]
    view = View("title", tables=[Table(lines)])
    assert view.text().splitlines()[-1] == "  … 14 more"
    assert Reader(view.html()).text.count("แถว") == 20
