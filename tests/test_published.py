"""What is written for others names no private server, no folder of its user and no key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import seedfree as sf
from seedfree.engine.places import published
from seedfree.evaluation import evaluate
from seedfree.records import Prompt, Question
from tests.engine.provider import good, transport
from tests.fakes import FakeClock, small_pipeline

PLACES = ("/home/alice/models", "10.9.8.7", "gpu01", "node-7.lab.internal")


def _published_texts(folder: Path) -> str:
    """Returns everything in a folder but what is its owner's alone."""
    private = ("ledger", ".lock")
    files = [path for path in folder.iterdir() if path.is_file()]
    return "\n".join(path.read_text() for path in files if not path.name.startswith(private))


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("silence"),
        httpx.Response(403, json={"error": f"{' and '.join(PLACES[:2])}/key.json are closed"}),
        httpx.Response(400, text="http://node-7.lab.internal:8000/v1 and 10.9.8.7:80 fail"),
    ],
)
def test_why_a_run_stopped_names_no_private_server_or_path(fault: Any, tmp_path: Path) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        if isinstance(fault, Exception):
            raise fault
        return httpx.Response(fault.status_code, content=fault.content)

    llm = sf.OpenAICompatibleGenerator("http://gpu01:8000", "m", allow_http=True)
    topics, tasks = [f"ตลาดที่ {i}" for i in range(60)], [sf.Summarization()]
    pipeline = small_pipeline(llm, topics=topics, tasks=tasks)
    run = pipeline.run(20, tmp_path / "run", clock=FakeClock(), transport=transport(serve))
    assert run.status == "stopped" and run.message
    text = _published_texts(tmp_path / "run")
    assert not [place for place in PLACES if place in text]


def test_the_settings_of_a_run_name_no_folder_of_its_user(tmp_path: Path) -> None:
    class Mine(sf.Summarization):
        def __init__(self) -> None:
            self.model = Path("/home/alice/my models/th.gguf")
            self.notes = "see /home/alice/models/notes.txt and ~/models/x and http://gpu01/v1"
            self.style = "/think"

    small_pipeline(tasks=[Mine()]).run(4, tmp_path / "run")
    (settings,) = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]["tasks"]
    assert settings["model"] == "th.gguf" and settings["style"] == "/think"
    assert settings["notes"] == "see notes.txt and x and a private server"
    assert "alice" not in _published_texts(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.9.8.7: no connection", "a private server: no connection"),
        ("[::1]:8000: closed", "a private server: closed"),
        ("fe80::1: closed", "a private server: closed"),
        ("node-7.lab.internal:80 is closed", "a private server is closed"),
        ("8.8.8.8 and 2001:4860:4860::8888 are public", None),
        ("at 12:30:59, 1/2, and/or, n/a, ก/ข/ค, a::b, org/model 1.2.3.4.5", None),
        ("https://g.example/v1/models: HTTP 404", None),
        ("C:\\Users\\alice\\th.gguf is missing", "th.gguf is missing"),
        ("Cannot write to /home/alice/ledger.sqlite: full", "Cannot write to ledger.sqlite: full"),
    ],
)
def test_places_in_a_text_that_strangers_may_read(text: str, shown: str | None) -> None:
    assert published(text) == (shown or text)


def test_an_evaluation_names_no_private_server_path_or_key(tmp_path: Path) -> None:
    key = "k3y0123456789abcdefgh"

    class Words:
        name, language = "words", "th"

        def questions(self) -> list[Question]:
            return [Question(str(i), "closed_qa", f"q{i}", "ก") for i in range(4)]

        def prompt(self, question: Question) -> Prompt:
            return Prompt(question.question)

    def serve(request: httpx.Request) -> httpx.Response:
        if b'"q1"' in request.content:
            return httpx.Response(400, json={"error": f"{', '.join(PLACES)}/a {request.url.path}"})
        if b'"q2"' in request.content:
            raise httpx.ReadError("reset")
        return good("ก")

    llm = sf.OpenAICompatibleGenerator(f"http://gpu01:8000/{key}/v1", "m", allow_http=True)
    for again in (False, True):
        if again:  # begun by a version that wrote the model's identity as it is
            info = json.loads((tmp_path / "e" / "evaluation.json").read_text())
            (tmp_path / "e" / "evaluation.json").write_text(
                json.dumps({**info, "model": llm.identity})
            )
        options = {"transport": transport(serve), "clock": FakeClock(), "concurrency": 1}
        evaluation = evaluate(llm, Words(), tmp_path / "e", **options)
    assert evaluation.info["model"] == "openai-compatible a private server m"
    assert evaluation.stop_reasons.count("end") == 2
    text = _published_texts(tmp_path / "e") + evaluation.table()
    assert not [secret for secret in (*PLACES, key) if secret in text]
