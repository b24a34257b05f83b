"""A run goes on as it was; one of an earlier version opens and gives its replies to a new one."""

import os
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

import seedfree as sf
from tests.fakes import published, thai
from tests.golden.small import asked, pipeline

HERE = Path(__file__).parent
RUN = HERE / "run"
# Made by the version before, which planned in rounds and named classes by module paths.
BEFORE = HERE / "run_before"
LARGE = HERE.parents[2] / "shared" / "runs"


def copied(folder: Path, to: Path) -> Path:
    """Copies a run, as private as its files were when it was made."""
    shutil.copytree(folder, to)
    for path in (to, *to.rglob("*")):
        os.chmod(path, 0o700 if path.is_dir() else 0o600)
    return to


def replayed(folder: Path, **options: object) -> sf.Run:
    never = sf.FunctionGenerator(asked, name="golden")
    return pipeline(never).run(size=5, out=folder, seed=3, progress=False, **options)


def test_a_run_publishes_the_same_bytes_and_asks_nothing(tmp_path: Path) -> None:
    folder = copied(RUN, tmp_path / "run")
    (folder / "manifest.json").unlink()  # so that the filters judge every row again
    assert replayed(folder).status == "complete"
    assert published(folder) == published(RUN)


def test_a_new_run_takes_over_its_replies_and_its_contexts(tmp_path: Path) -> None:
    # The class of one source stood in another module when the run was made.
    run = replayed(tmp_path / "new", reuse=[copied(RUN, tmp_path / "run")])
    assert run.status == "complete"
    assert published(run.path) == published(RUN)


def test_a_run_that_was_planned_in_rounds_opens_but_does_not_go_on(tmp_path: Path) -> None:
    folder = copied(BEFORE, tmp_path / "run")
    run = sf.Run.open(folder)
    assert (run.status, len(run.dataset), len(run.dropped)) == ("complete", 5, 4)
    never = sf.FunctionGenerator(asked, name="golden")
    with pytest.raises(sf.ConfigError, match=r"planned by another version.*reuse=\[this one\]"):
        pipeline(never).run(size=6, out=folder, seed=3, progress=False)
    assert published(folder) == published(BEFORE)


def test_a_finished_run_that_was_planned_in_rounds_is_left_as_it_is(tmp_path: Path) -> None:
    folder = copied(BEFORE, tmp_path / "run")
    assert replayed(folder).status == "complete"
    assert published(folder) == published(BEFORE)
    other = pipeline(sf.FunctionGenerator(asked, name="golden"))
    other.topics = [*other.topics[:-1], "ผ้าทอ"]
    with pytest.raises(sf.ConfigError, match="planned by another version"):
        other.run(size=5, out=folder, seed=3)
    (folder / "dataset.jsonl").write_bytes(b"")
    with pytest.raises(sf.ConfigError, match="planned by another version"):
        replayed(folder)


def test_a_run_that_was_planned_in_rounds_gives_its_replies(tmp_path: Path) -> None:
    # Its keys name classes by module paths, as keys did then.
    llm = sf.FunctionGenerator(thai, name="golden")
    before = copied(BEFORE, tmp_path / "run")
    run = pipeline(llm).run(size=5, out=tmp_path / "new", seed=3, reuse=[before])
    # Its prompts were others; what is the same is not asked for again.
    assert run.status == "complete" and len(llm.calls) <= run.stats.requests


def test_other_settings_are_refused_as_they_are_in_a_new_run(tmp_path: Path) -> None:
    folder = copied(RUN, tmp_path / "run")
    other = pipeline(sf.FunctionGenerator(asked, name="golden"))
    other.topics = [*other.topics[:-1], "ผ้าทอ"]
    other.language = sf.Language.load("th")
    with pytest.raises(sf.ConfigError, match=r"language, topics\.9"):
        other.run(size=5, out=folder, seed=3)


def test_what_a_run_records_names_no_module(tmp_path: Path) -> None:
    llm = sf.FunctionGenerator(thai, name="golden")
    run = pipeline(llm).run(size=5, out=tmp_path / "new", seed=3)
    ledger = sqlite3.connect(run.path / "ledger.sqlite")
    rows = ledger.execute("SELECT key || headers || body FROM entries").fetchall()
    ledger.close()
    text = "\n".join(map(str, rows)) + (run.path / "manifest.json").read_text("utf-8")
    assert not re.findall(r"seedfree\.\w+|tests\.\w+|__main__|\bat 0x", text)
    assert '"kind": "own:Notes"' in text and '"kind": "WrittenContexts"' in text


def test_a_run_of_before_opens_and_serves_as_data() -> None:
    if not LARGE.exists():
        pytest.skip("the run is not beside the checkout")
    run = sf.Run.open(LARGE / "th320")
    assert (run.status, len(run.dataset), run.stats.requests) == ("complete", 320, 395)
