"""The page as a file: its numbers are the run's, its texts stay texts, it lies over nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from seedfree.cli import main
from seedfree.errors import ConfigError
from seedfree.records import Instruction, Source
from seedfree.report import browser
from tests.fakes import FakeClock, LetterEncoder, small_pipeline, thai_llm
from tests.report.runs import lost, row, sample, write_run

VOID = {"meta", "link", "input", "br", "hr", "img"}
HOSTILE = [
    "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    "</script ><!-- <script ",
    "@@ROWS@@ @@SCRIPT@@ \\u003c &lt;b&gt; \u2028 \u2029 \x00 \x1b[31m",
    "\u202eกลับ\u2067ด้าน",
    "ก" * 100_000,
    "\ud800 ครึ่ง \udfff",
    "javascript:alert(1)",
]


class Page(HTMLParser):
    """A page read strictly: elements close in order. Keeps the tags, the texts and the data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text("utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(self.html)
        self.close()
        assert not self.open
        self.data: dict[str, Any] = json.loads("".join(self.texts["script"][:1]))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def table(self, caption: str) -> list[list[str]]:
        """Returns the texts of a table's cells by line."""
        (table,) = re.findall(rf"<caption[^>]*>{caption}.*?</table>", self.html, re.DOTALL)
        lines = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
        return [
            [re.sub(r"<.*?>", "", cell) for cell in line if cell[:4] != "<svg"] for line in cells
        ]

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.tags if name == tag]


def test_the_numbers_are_those_of_the_run(tmp_path: Path) -> None:
    kept, dropped = sample(60)
    dropped += [lost(300, "reply: invalid (no JSON)"), lost(301, "surplus")]
    run = write_run(tmp_path, kept, dropped, vectors=True, price_usd=1.25)
    page = Page(run.report())
    assert page.texts["h1"] == ["60 rows in Thai"] and page.texts["title"][0].startswith("60 rows")
    assert ["1.25 USD", "price"] == [page.texts["dd"][1], page.texts["dt"][1]]
    funnel = {line[0]: line[1:] for line in page.table("From topics to rows")[1:]}
    assert funnel["rows read from replies"] == ["66", "−1"]
    assert funnel["left by the filters"] == ["63", "−3"]
    assert funnel["left by the diversity filter"] == ["61", "−2"]
    assert funnel["kept"] == ["60", "−1"]
    drops = {line[0]: int(line[1]) for line in page.table("Dropped rows by reason")[1:]}
    assert drops == run.stats.drops
    tasks = page.table("Kept rows by task and kind of topic")
    assert {line[0]: int(line[-2]) for line in tasks[1:]} == run.dataset.by_task
    pages = page.table("Pages that rows were made from")[1:]
    titles = Counter(each.source.title for each in kept)
    assert {line[0]: int(line[2]) for line in pages} == dict(titles)
    assert [each["id"] for each in page.data["rows"]] == [each.id for each in [*kept, *dropped]]
    alike = [each for each in page.data["rows"] if each.get("of")]
    assert [each["similarity"] for each in alike] == [0.95] * 2


def test_a_real_run_shows_its_prompts_and_its_texts(tmp_path: Path) -> None:
    diversity = sf.SemanticDiversityFilter(threshold=0.9999, encoder=LetterEncoder())
    run = small_pipeline(thai_llm(), diversity=diversity).run(
        12, tmp_path / "run", clock=FakeClock()
    )
    page = Page(run.report())
    assert page.data["rows"] and all("prompt" in each for each in page.data["rows"])
    texts, rows = page.data["texts"], {each["id"]: each for each in page.data["rows"]}
    for each in run.dataset:
        said = "".join(texts[place] for place in rows[each.id]["prompt"][1:] if place >= 0)
        assert each.topic in said or each.input in said
    assert len(texts) == len(set(texts)), "equal texts stand once"
    assert "threshold 0.9999" in page.html and page.html.count("<figure>") >= 5
    stages = {line[0]: line[1] for line in page.table("By stage")[1:]}
    assert stages == {name: f"{n['asked']:,}" for name, n in run.stats.stages.items()}


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    kept, dropped = sample(40)
    run = write_run(tmp_path, kept, dropped, vectors=True)
    first = run.report().read_bytes()
    assert sf.Run.open(tmp_path).report(tmp_path / "two" / "page.html").read_bytes() == first


def test_a_run_without_rows_or_with_nothing_but_rows_has_a_page(tmp_path: Path) -> None:
    assert "0 rows" in Page(write_run(tmp_path / "none", [], status="stopped").report()).html
    own = [replace(row(i), language="nod", source=Source(), messages=()) for i in range(3)]
    page = Page(write_run(tmp_path / "own", own).report())
    assert page.texts["h1"] == ["3 rows"] and 'id="pages"' not in page.html


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    rows = [
        Instruction(
            text[:200],
            text,
            text,
            input=text,
            id=f"{i}{text[:40]}",
            language=text[:40],
            topic=text,
            topic_kind=text[:20],
            source=Source(text[:20], text, text, license=text[:300]),
            generator=text[:300],
            evidence=text,
            facets={text[:30]: text[:300]},
        )
        for i, text in enumerate(HOSTILE)
    ]
    fine = [replace(row(i), messages=()) for i in range(20)]
    dropped = [lost(100 + i, f"{text[:300]} (x)") for i, text in enumerate(HOSTILE)]
    stages = {text[:100]: {"asked": 1, "got": 0, "lost": {text[:100]: 1}} for text in HOSTILE}
    run = write_run(
        tmp_path, [*rows, *fine], dropped, stages=stages, message=HOSTILE[0], status="short"
    )
    page = Page(run.report())
    assert len(page.named("script")) == 2 and not page.named("img")
    assert not [name for _, values in page.tags for name in values if name.startswith("on")]
    assert not page.named("style")[1:] and "\u202e" not in "".join(page.texts["th"])
    for link in page.named("a"):
        assert re.match(r"#|https://th\.example/", link["href"] or "")
        assert (link["href"] or "")[0] == "#" or link["rel"] == "noopener noreferrer"
    shown = page.data["rows"][4]["turns"][1][1]
    assert shown == "ก" * 20_000 + "… (80,000 more characters)"
    assert page.data["rows"][0]["turns"][0][1] == HOSTILE[0]
    assert [each.get("web") for each in page.data["rows"][:7]] == [None] * 7


@pytest.mark.parametrize(
    ("url", "web"),
    [
        ("https://th.wikipedia.org/wiki/เรือ", True),
        ("http://127.0.0.1:8099/x", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://bank.example@evil.example/", False),
        ("//evil.example", False),
        ("http://[::1", False),
        ("", False),
        (None, False),
    ],
)
def test_links_lead_to_the_web_alone(url: str | None, web: bool) -> None:
    assert browser.web_address(url) == (url if web else "")


def test_the_policy_names_style_and_script_by_their_hashes(tmp_path: Path) -> None:
    page = Page(write_run(tmp_path, [row(0)]).report())
    (policy,) = [
        values["content"] or ""
        for values in page.named("meta")
        if values.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for text in ("".join(page.texts["style"]), page.texts["script"][-1]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not [values for _, values in page.tags if "style" in values or "src" in values]


def test_the_page_is_accessible(tmp_path: Path) -> None:
    kept, dropped = sample(40)
    page = Page(write_run(tmp_path, kept, dropped, vectors=True).report())
    tags = [tag for tag, _ in page.tags]
    assert {"header", "main", "nav", "footer"} <= set(tags) and tags.count("h1") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert tags.count("caption") == tags.count("table")
    charts = [values for values in page.named("svg") if values.get("role") == "img"]
    assert charts and all(values["aria-label"] for values in charts)
    assert tags.count("desc") == len(charts)
    hidden = [values for values in page.named("svg") if values.get("aria-hidden") == "true"]
    assert len(hidden) + len(charts) == tags.count("svg")
    ids = [values["id"] for _, values in page.tags if values.get("id")]
    assert len(ids) == len(set(ids))
    own = [(link["href"] or "")[1:] for link in page.named("a") if (link["href"] or "")[0] == "#"]
    rows = {f"row-{each['id']}" for each in page.data["rows"]}
    assert own and set(own) <= {*ids, *rows}


def test_nothing_that_is_not_ours_is_overwritten(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row(0)])
    mine = tmp_path / "mine.html"
    mine.write_text("<!doctype html>\nmine")
    with pytest.raises(ConfigError, match=r"mine.html is there already, and is not ours"):
        run.report(mine)
    (tmp_path / "link.html").symlink_to(mine)
    with pytest.raises(ConfigError, match="not a plain file"):
        run.report(tmp_path / "link.html")
    with pytest.raises(ConfigError, match="not a plain file"):
        run.report(tmp_path)
    assert mine.read_text() == "<!doctype html>\nmine"
    path = run.report()
    assert path == run.path / "report.html" and run.report() == path, "our own is written anew"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_report_is_no_obstacle_to_the_run(tmp_path: Path) -> None:
    run = small_pipeline(thai_llm()).run(8, tmp_path, clock=FakeClock())
    run.report()
    again = thai_llm()
    assert small_pipeline(again).run(8, tmp_path, clock=FakeClock()).status == "complete"
    assert again.calls == []


def test_large_runs_show_a_part_with_the_rows_of_the_findings(monkeypatch: Any) -> None:
    monkeypatch.setattr(browser, "MOST_ROWS", 10)
    rows = [row(i) for i in range(60)]
    some = browser.chosen(rows, {rows[50].id, rows[7].id})
    assert len(some) == 10 and {rows[50], rows[7]} <= set(some)
    assert [rows.index(each) for each in some] == sorted(rows.index(each) for each in some)
    assert browser.chosen(rows[:10], set()) == rows[:10]


def test_training_and_evaluation_are_shown_where_they_are_given(tmp_path: Path) -> None:
    model, scores = tmp_path / "model", tmp_path / "scores"
    model.mkdir()
    scores.mkdir()
    losses = [{"step": i, "training": 2.0 - i / 10, "validation": None} for i in range(1, 9)]
    losses.insert(0, {"step": 0, "training": None, "validation": 2.5})
    losses.append({"step": 8, "training": None, "validation": 1.75})
    info = {"base": {"name": "/home/someone/models/tiny"}, "config": {}, "losses": losses}
    (model / "training.json").write_text(json.dumps(info))
    part = {"n": 40, "unanswered": 0.05, "cut_off": 0.1, "length": 80.0, "chrf": [31.5, 28.0, 35.0]}
    whole = {**part, "tasks": {"open_qa": part}, "macro": {"chrf": 31.5}}
    (scores / "scores.json").write_text(json.dumps({"all": whole, "parts": {}, "accuracy": None}))
    (scores / "evaluation.json").write_text(json.dumps({"model": "<b>", "benchmark": "mine"}))
    run = write_run(tmp_path / "run", [row(0)])
    page = Page(run.report(model=model, evaluation=scores))
    assert "Loss of tiny" in page.html and "someone" not in page.html
    assert "validation from 2.500 to 1.750" in page.html
    lines = page.table("&lt;b&gt; on mine")
    assert lines[1:] == [
        ["all, open_qa", "40", "31.5 28.0 to 35.0", "5.0%", "10.0%"],
        ["all", "40", "31.5 28.0 to 35.0", "5.0%", "10.0%"],
    ]
    for wrong in ({"model": scores}, {"evaluation": model}):
        with pytest.raises(ConfigError):
            run.report(**wrong)


def test_the_command_writes_the_page_and_prints_the_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, _ = sample(40)
    write_run(
        tmp_path / "run", kept, [lost(100 + i, "diversity: near-duplicate") for i in range(10)]
    )
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("near-duplicates: 20%") and out.endswith("page.html\n")
    assert (tmp_path / "page.html").is_file() and not (tmp_path / "run" / "report.html").exists()
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "holds no run" in capsys.readouterr().err
