"""The two demonstrations: a run recorded once, and the embedded model on the library's texts."""

import json
import re
import socket
from pathlib import Path
from urllib.parse import unquote

import pytest

import seedfree as sf
from seedfree.cli import demo as demos
from seedfree.cli import main, recorded
from seedfree.languages import Language
from seedfree.records import Context, Prompt


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("The recorded demo went to the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


def test_the_recorded_run_is_replayed_without_network_or_model(
    offline: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To record anew: python -m benchmarks.record_demo API_URL (it says how)."""
    assert main(["demo", "--recorded", "--out", str(tmp_path / "run")]) == 0
    run = sf.Run.open(tmp_path / "run")
    assert run.status == "complete" and len(run.dataset) == 50
    pages = [row.source for row in run.dataset if row.source.kind == "wikipedia"]
    assert len(pages) >= 15
    for source in pages:
        title = (source.title or "").replace(" ", "_")
        assert unquote(source.url or "") == f"https://th.wikipedia.org/wiki/{title}"
        assert source.license == "CC-BY-SA-4.0" and source.revision is None
    assert {row.generator for row in run.dataset} == {"recorded:large-model:2026-11-28"}
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "large model gave these replies on 2026-11-28" in text
        assert "82 %" in text and "benchmarks/readers.py" in text
    assert str(tmp_path / "run") in said.out and "usd" not in said.err
    assert "127.0.0.1" not in (tmp_path / "run" / "dataset.jsonl").read_text("utf-8")


def test_without_the_small_encoder_equal_texts_alone_are_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demos, "find_spec", lambda name: None)
    run = demos.recorded_demo(4, tmp_path / "run")
    assert len(run.dataset) == 4
    assert run.manifest["diversity"][0]["filter"] == "ExactDiversityFilter"


def test_prompts_that_changed_since_stop_the_replay_and_say_how_to_record_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thai = Language.load("th")
    changed = sf.Language(
        **{
            **{name: getattr(thai, name) for name in thai.__dataclass_fields__},
            "persona": f"{thai.persona} เขียนสั้น ๆ",
        }
    )
    monkeypatch.setattr(demos.Language, "load", classmethod(lambda cls, code: changed))
    run = demos.recorded_demo(50, tmp_path / "run")
    assert run.status == "stopped" and not run.dataset
    assert "the prompts have changed since" in run.message
    assert "python -m benchmarks.record_demo" in run.message


def test_only_the_numbers_that_delimit_a_text_may_differ() -> None:
    def key(revision: str, text: str = "ข้าวซอย") -> str:
        source = sf.Source("wikipedia", revision=revision)
        return recorded.prompt_key(Prompt(Context(text, source=source).block()))

    assert key("1") == key("2") != key("1", "ข้าวแช่")


def test_more_rows_than_were_recorded_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--recorded", "--rows", "51"]) == 2
    assert "has 50" in capsys.readouterr().err
    assert main(["demo", "--recorded", "--language", "lo"]) == 2
    assert "is Thai" in capsys.readouterr().err


def test_the_small_model_makes_rows_whose_answers_stand_in_the_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["demo", "--rows", "2", "--out", str(out)]) == 0
    rows = sf.Run.open(out).dataset
    assert len(rows) == 2
    for row in rows:
        text = row.input or row.output
        assert row.source.kind == "document" and row.source.license == "Apache-2.0"
        assert row.evidence in text and row.output in text and row.topic in row.instruction + text
    said = capsys.readouterr()
    assert "Gemma 3 270M" in said.err and "usd" not in said.err
    assert f"{out}: dataset.jsonl" in said.out


def test_the_texts_are_short_articles_that_can_be_asked_about() -> None:
    thai = Language.load("th")
    paths = sorted((Path(demos.__file__).parent / "texts" / "th").glob("*.md"))
    source = sf.DocumentSource(paths[0].parent)
    task = sf.ExtractiveQA()
    assert len(paths) == len(source.topics()) == 12
    for path in paths:
        title, text = re.fullmatch(r"# (.+)\n\n(.+)\n", path.read_text("utf-8")).groups()
        assert 400 <= len(text) <= 600 and "  " not in text
        context = Context(text, title=title, language="th")
        assert task.suits(context) and sf.TitledRequest().suits(context)
        asked = {task.prompt(Context(text, title, position=i), thai).cue for i in range(12)}
        assert len(asked) >= 4, path.name


def test_a_language_without_texts_says_which_have_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(prompt: Prompt) -> str:
        return json.dumps({"topics": []})

    model = sf.FunctionGenerator(answer, name="silent")
    monkeypatch.setattr(demos, "LlamaCppGenerator", lambda **_: model)
    assert main(["demo", "--language", "lo", "--out", str(tmp_path / "run")]) == 2
    assert "There are demo texts in: th. In Lao the model writes its own" in capsys.readouterr().err
