from __future__ import annotations

import json
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.cli import main
from seedfree.cli.doctor import language_checkup
from seedfree.config import Config
from seedfree.errors import ConfigError
from seedfree.run.estimate import health
from tests.fakes import thai_llm

CONFIG = """
language: th
generator: {use: OpenAICompatibleGenerator, base_url: "http://127.0.0.1:1", model: m}
contexts: [{use: WrittenContexts, share: 2}, {use: WikipediaSource, contact: me@uni.example}]
tasks: [ClosedQA, {use: Conversation, turns: 3}]
filters: [RuleFilter]
diversity: null
topics: [ข้าว, ปลา]
run: {size: 6, out: runs/th, seed: 3}
"""


HEAD = "language: th\ngenerator: ClaudeGenerator\n"
# Ten lists, each of ten of the one before.
LAUGHS = "l0: &l0 [x]\n" + "".join(
    f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


def _write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_says_what_python_would(tmp_path: Path) -> None:
    config = Config.load(_write(tmp_path, CONFIG))
    same = sf.Pipeline(
        "th",
        sf.OpenAICompatibleGenerator("http://127.0.0.1:1", "m"),
        contexts=[sf.WrittenContexts(share=2), sf.WikipediaSource(contact="me@uni.example")],
        tasks=[sf.ClosedQA(), sf.Conversation(turns=3)],
        filters=[sf.RuleFilter()],
        diversity=None,
        topics=["ข้าว", "ปลา"],
    )
    assert config.pipeline.settings() == same.settings()
    assert config.run == {"size": 6, "out": "runs/th", "seed": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no settings"),
        ("language: [", "not YAML"),
        ("language: th", "names no generator"),
        ("generator: ClaudeGenerator", "names no language"),
        ("language: th\ngenerator: {use: os.system}", "not a component"),
        (
            "language: th\ngenerator: {use: ClaudeGenerator, modell: x}",
            "'modell' is not a setting of ClaudeGenerator. Did you mean 'model'?",
        ),
        ("language: th\ngenerator: {use: ClaudeGenerator, api_key: x}", "environment"),
        (
            "language: th\ngenerator: ClaudeGenerator\nsize: 4",
            "'size' is not a setting of the pipeline",
        ),
        (
            "language: th\ngenerator: ClaudeGenerator\nrun: {rows: 4}",
            "'rows' is not a setting of run",
        ),
        ("language: th\ngenerator: gpt", "'gpt' is no Generator"),
        (f"{HEAD}tasks: [ClosedQa]", "'ClosedQa' is no TaskTemplate. Did you mean 'ClosedQA'?"),
        (f"{HEAD}tasks: [closed_qa]", "Did you mean 'ClosedQA'?"),
        (f"{HEAD}tasks: [{{ClosedQA: {{pairs: 2}}}}]", "{use: Name, ...}"),
        (f"{HEAD}filters: [{{use: RulesFilter}}]", "Did you mean 'RuleFilter'?"),
        (f"{HEAD}taks: [ClosedQA]", "Did you mean 'tasks'?"),
        (f"{HEAD}run: {{bugdet_usd: 4}}", "Did you mean 'budget_usd'?"),
        (HEAD.replace("th", "thia"), "Did you mean 'Thai'?"),
        (HEAD, "does not say how many rows"),
        (f"{HEAD}run: {{out: x}}", "does not say how many rows"),
        (f"{HEAD}topics: [2475, ขนม]", "holds 2475. Put the topic in quotes"),
        (f"{HEAD}topics: [{{ขนม: ของหวาน}}]", "Put the topic in quotes"),
        ("language: th\ngenerator: {use: ClaudeGenerator, model: 4.10}", "model is 4.1. Give text"),
        (f"{HEAD}tasks: []\ntasks: []", "line 4: 'tasks' stands there twice"),
        ("a: &a [*a]", "holds itself"),
        (LAUGHS, "holds itself, or too much"),
        (f"language: {'[' * 5000}", "not YAML"),
        (f"language: th\nsize: {'9' * 5000}", "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    assert main(["run", _write(tmp_path, text)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match="no-such.yaml"):
        Config.load("no-such.yaml")


@pytest.fixture
def faked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration whose LLM is the fake one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        sf, "OpenAICompatibleGenerator", type("Fake", (), {"__new__": lambda *_, **__: thai_llm()})
    )
    config = CONFIG.replace("runs/th", str(tmp_path / "run")).replace(
        "[{use: WrittenContexts, share: 2}, {use: WikipediaSource, contact: me@uni.example}]",
        "[WrittenContexts]",
    )
    return _write(tmp_path, config.replace("topics: [ข้าว, ปลา]", ""))


def test_run_writes_a_run_folder_and_says_so(
    faked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", faked, "--size", "4"]) == 0
    assert "4 of 4 kept" in capsys.readouterr().out
    assert len(sf.Run.open(tmp_path / "run").dataset) == 4


def test_preview_shows_rows_and_what_they_cost(
    faked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", faked, "-n", "2"]) == 0
    out = capsys.readouterr().out
    assert "requests paid for" in out and out.count("->") == 2


def test_estimate_prints_a_price_with_an_interval(
    faked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", faked, "--size", "1000"]) == 0
    assert "1,000 rows" in capsys.readouterr().out


def test_doctor_tells_what_is_there_and_never_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary-222")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "canary" not in out
    assert "ANTHROPIC_API_KEY    set" in out and "OPENAI_API_KEY       not set" in out


def test_doctor_says_what_a_file_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    text = "language: th\ngenerator: ClaudeGenerator\ndiversity: null"
    assert main(["doctor", _write(tmp_path, text)]) == 1
    assert "ANTHROPIC_API_KEY" in capsys.readouterr().out.splitlines()[-1]
    assert main(["doctor", _write(tmp_path, CONFIG)]) == 1
    assert "does not answer" in capsys.readouterr().out


def test_doctor_measures_a_model_at_a_language(faked: str) -> None:
    lines, good = language_checkup("th", faked)
    assert "20 rows kept" in lines[0] or "rows kept of" in lines[0]
    # The shares know nothing of sense: whoever decides by them is shown what was written.
    assert "only a reader can say" in lines[6] and " -> " in lines[7]
    assert isinstance(good, bool) and any("could be read" in line for line in lines)


def test_health_is_measured_by_what_was_dropped() -> None:
    sick = health(10, {"reply: invalid": 6, "language: script": 4, "surplus": 0})
    assert sick.parsed == 0.7 and sick.in_language == 1 - 4 / 14 and len(sick.below()) == 2
    assert health(10, {"diversity: near-duplicate": 90}).below() == []
    assert json.dumps(sick.below())


def test_words_of_a_file_mean_what_they_look_like(tmp_path: Path) -> None:
    topics = "topics: [on, no, 1:30 น., '2475']"
    run = "run: {size: 010, out: 2026, budget_usd: 1e1, shrink: true}"
    config = Config.load(_write(tmp_path, f"{HEAD}diversity: ~\n{topics}\n{run}"))
    assert config.pipeline.topics == ["on", "no", "1:30 น.", "2475"]
    assert config.run == {"size": 10, "out": "2026", "budget_usd": 10.0, "shrink": True}


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"seedfree {sf.__version__}\n"


def test_a_mistyped_name_is_answered_by_the_nearest() -> None:
    mistyped = "closedqa"
    with pytest.raises(AttributeError, match="'closedqa'. Did you mean 'ClosedQA'?"):
        getattr(sf, mistyped)
