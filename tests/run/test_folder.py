"""A run folder: what may be written into it, what reads it, and what a stranger's may not do."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seedfree as sf
from seedfree.errors import (
    ConfigError,
    LedgerDamagedError,
    LedgerError,
    SeedfreeError,
    StopRunError,
)
from seedfree.records import Prompt, Reply
from tests.engine.ledgers import execute
from tests.fakes import FakeClock, LetterEncoder, published, small_pipeline, thai, thai_llm

SIZE = 12


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "names", [["README.md", "dataset.jsonl"], ["notes.txt"], ["manifest.json"]]
)
def test_a_folder_with_files_of_others_is_refused_and_left_alone(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    llm = thai_llm()
    with pytest.raises(ConfigError, match="holds files of something else"):
        small_pipeline(llm).run(SIZE, tmp_path)
    assert llm.calls == [] and _contents(tmp_path) == dict.fromkeys(names, b"mine")


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE accounts (name, amount)")
    connection.close()
    before = _contents(tmp_path)
    with pytest.raises(LedgerDamagedError, match="something else than a ledger"):
        small_pipeline().run(SIZE, tmp_path)
    assert _contents(tmp_path) | {".lock": b""} == before | {".lock": b""}


def test_hidden_files_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*")
    assert small_pipeline().run(SIZE, tmp_path).status == "complete"


class _Intruding:
    """Answers as `thai`, and does something to the run after some requests."""

    def __init__(self, act: Callable[[], object], after: int = 12) -> None:
        self.asked, self._act, self._after = 0, act, after

    def __call__(self, prompt: Prompt) -> Reply:
        self.asked += 1
        if self.asked == self._after:
            self._act()
        return thai(prompt)


def _replace(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    (folder / "README.md").write_text("mine")


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (shutil.rmtree, None),
        (lambda folder: folder.rename(folder.with_name("away")), None),
        (_replace, {"README.md": b"mine"}),
        (lambda folder: (folder / "ledger.sqlite").unlink(), ...),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_run_whose_folder_goes_stops_before_the_next_request(
    tmp_path: Path, act: Callable[[Path], object], left: Any, concurrency: int
) -> None:
    out = tmp_path / "runs" / "th"
    intruding = _Intruding(lambda: act(out))
    llm = sf.FunctionGenerator(intruding, name="thai")
    diversity = sf.SemanticDiversityFilter(encoder=LetterEncoder())
    with pytest.raises(LedgerError, match="moved, removed or replaced"):
        small_pipeline(llm, diversity=diversity).run(200, out, concurrency=concurrency)
    # Those that were under way with the one that saw it go.
    assert intruding.asked < 12 + concurrency
    if left is not ...:
        assert (_contents(out) if out.exists() else None) == left


def test_of_a_run_that_was_renamed_nothing_is_paid_for_again(tmp_path: Path) -> None:
    out, away = tmp_path / "out", tmp_path / "away"
    intruding = _Intruding(lambda: out.rename(away))
    llm = sf.FunctionGenerator(intruding, name="thai")
    with pytest.raises(LedgerError):
        small_pipeline(llm).run(SIZE * 2, out, concurrency=1, clock=FakeClock())
    before = thai_llm()
    small_pipeline(before).run(SIZE * 2, tmp_path / "whole", concurrency=1, clock=FakeClock())
    again = thai_llm()
    run = small_pipeline(again).run(SIZE * 2, away, concurrency=1, clock=FakeClock())
    assert run.status == "complete"
    assert len(again.calls) == len(before.calls) - intruding.asked
    assert published(away) == published(tmp_path / "whole")


def test_replies_without_a_pipeline_stop_with_their_folder(tmp_path: Path) -> None:
    intruding = _Intruding(lambda: (tmp_path / "out").rename(tmp_path / "away"))
    llm = sf.FunctionGenerator(intruding, name="thai")
    with pytest.raises(StopRunError, match="moved, removed or replaced"):
        sf.generate_all(llm, map(Prompt, "กขคงจฉชซฌญฎฏฐฑฒณ"), tmp_path / "out", concurrency=1)
    assert intruding.asked == 12 and not (tmp_path / "out").exists()


def test_a_change_of_the_working_directory_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    llm = sf.FunctionGenerator(_Intruding(lambda: os.chdir("other")), name="thai")
    diversity = sf.SemanticDiversityFilter(encoder=LetterEncoder())
    run = small_pipeline(llm, diversity=diversity).run(SIZE, "out")
    assert run.status == "complete" and len(run.dataset) == SIZE
    assert list((tmp_path / "other").iterdir()) == []
    assert (tmp_path / "out" / "vectors").is_dir()


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _pipe(path: Path, _: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


OURS = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.head", ".lock")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("put", [_link, _pipe])
@pytest.mark.parametrize("use", ["resume", "reuse"])
def test_a_strangers_folder_leads_nowhere_else(
    tmp_path: Path, name: str, put: Callable[[Path, Path], None], use: str
) -> None:
    folder, victim = tmp_path / "theirs", tmp_path / "victim"
    small_pipeline().run(SIZE, folder)
    victim.write_bytes(b"precious")
    victim.chmod(0o644)
    put(folder / name, victim)
    with pytest.raises(ConfigError, match="not a plain file"):
        if use == "resume":
            small_pipeline().run(SIZE, folder)
        else:
            small_pipeline().run(SIZE, tmp_path / "mine", reuse=[folder])
    assert victim.read_bytes() == b"precious" and victim.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["status.json", "dataset.jsonl", "dropped.jsonl", "manifest.json"])
@pytest.mark.parametrize("put", [_link, _pipe])
def test_a_strangers_run_is_opened_without_links_and_pipes(
    tmp_path: Path, name: str, put: Callable[[Path, Path], None]
) -> None:
    small_pipeline().run(SIZE, tmp_path / "run")
    (tmp_path / "private").write_text("{}")
    put(tmp_path / "run" / name, tmp_path / "private")
    with pytest.raises(ConfigError, match="not a plain file"):
        run = sf.Run.open(tmp_path / "run")
        _ = run.dataset, run.dropped, run.manifest


def test_strangers_vectors_are_not_written_elsewhere(tmp_path: Path) -> None:
    pipeline = small_pipeline(diversity=sf.SemanticDiversityFilter(encoder=LetterEncoder()))
    pipeline.run(SIZE, tmp_path / "run")
    (tmp_path / "run" / "vectors").rename(tmp_path / "elsewhere")
    (tmp_path / "run" / "vectors").symlink_to(tmp_path / "elsewhere")
    before = _contents(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        pipeline.run(2 * SIZE, tmp_path / "run")
    assert _contents(tmp_path / "elsewhere") == before


ENDLESS = "WITH RECURSIVE up(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM up)"


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER swallow BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END"],
        ["CREATE VIEW more AS SELECT 1"],
        ["CREATE INDEX more ON entries (kind)"],
        [
            "ALTER TABLE entries RENAME TO kept",
            f"CREATE VIEW entries AS {ENDLESS} SELECT n, 'reply' AS kind, 'k' AS key, '' AS at, "
            "200 AS status, '{}' AS headers, x'' AS checksum, x'' AS body FROM up",
        ],
    ],
)
def test_a_database_with_anything_but_a_ledger_is_refused_unread(
    tmp_path: Path, statements: list[str]
) -> None:
    folder = tmp_path / "theirs"
    small_pipeline().run(SIZE, folder)
    for statement in statements:
        execute(folder, statement)
    with pytest.raises(LedgerDamagedError, match="something else than a ledger"):
        small_pipeline().run(SIZE * 2, folder)
    with pytest.raises(LedgerDamagedError, match="something else than a ledger"):
        small_pipeline().run(SIZE, tmp_path / "mine", reuse=[folder])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status.json", "[]"),
        ("status.json", "{}"),
        ("status.json", '{"status": 1, "stats": {}}'),
        ("status.json", '{"status": "complete", "stats": [1]}'),
        ("status.json", "[" * 100_000),
        ("manifest.json", "3"),
        ("dropped.jsonl", "nonsense"),
        ("dropped.jsonl", "[1, 2]"),
        ("dropped.jsonl", "{}"),
        ("dropped.jsonl", '{"task": 1, "messages": 2}'),
        ("dropped.jsonl", "\udcff"),
    ],
)
def test_odd_files_of_a_run_are_an_error_in_one_line(tmp_path: Path, name: str, text: str) -> None:
    small_pipeline().run(SIZE, tmp_path)
    (tmp_path / name).write_text(text, errors="surrogateescape")
    with pytest.raises(SeedfreeError, match=str(tmp_path)) as caught:
        run = sf.Run.open(tmp_path)
        _ = run.manifest, run.dropped
    assert "\n" not in str(caught.value)
