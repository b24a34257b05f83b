"""What comes back from a damaged ledger, and how a run goes on with it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.cli import main
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.salvage import Salvaged, salvage
from seedfree.errors import ConfigError, LedgerDamagedError, LedgerError, LedgerLockedError
from seedfree.generators.function import FunctionGenerator
from seedfree.records import Prompt
from tests.engine.ledgers import append, execute, fill
from tests.fakes import FakeClock, published, small_pipeline, thai_llm

PAGE = 4096


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def _keys(folder: Path) -> set[str]:
    with Ledger(folder) as ledger:
        return {entry.key for entry in ledger.entries("reply")}


def _run(llm: FunctionGenerator, out: Path, reuse: Sequence[Path] = ()) -> sf.Run:
    pipeline = small_pipeline(llm, tasks=[sf.Summarization(), sf.ClosedQA()])
    return pipeline.run(size=30, out=out, clock=FakeClock(), concurrency=1, reuse=reuse)


def test_a_damaged_run_goes_on_in_the_new_folder_and_asks_only_for_what_was_lost(
    tmp_path: Path,
) -> None:
    whole = thai_llm()
    _run(whole, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "bad")
    ledger = tmp_path / "bad" / "ledger.sqlite"
    data = bytearray(ledger.read_bytes())
    # Three pages in the middle, away from the header.
    middle = len(data) // PAGE // 2 * PAGE
    data[middle : middle + 3 * PAGE] = bytes(3 * PAGE)
    ledger.write_bytes(data)
    with pytest.raises(LedgerDamagedError) as caught:
        _run(thai_llm(), tmp_path / "bad")
    assert f"Run: seedfree salvage {tmp_path / 'bad'} NEW_FOLDER" in str(caught.value)

    saved = salvage(tmp_path / "bad", tmp_path / "new")
    assert saved.lost is not None and 0 < saved.lost < saved.entries
    lost = len(_keys(tmp_path / "whole")) - len(_keys(tmp_path / "new"))
    assert 0 < lost < len(whole.calls)
    shutil.copytree(tmp_path / "new", tmp_path / "copy")
    for out, reuse in ((tmp_path / "new", []), (tmp_path / "other", [tmp_path / "copy"])):
        again = thai_llm()
        run = _run(again, out, reuse)
        assert run.status == "complete" and len(again.calls) == lost
        assert published(out) == published(tmp_path / "whole")


def test_generate_all_goes_on_too(tmp_path: Path) -> None:
    prompts = [Prompt(f"prompt {i}") for i in range(30)]
    # The replies themselves are let go: they would keep the database open.
    texts = [r.text for r in sf.generate_all(thai_llm(), prompts, tmp_path / "a", concurrency=1)]
    execute(tmp_path / "a", "DELETE FROM entries WHERE n = 21")
    saved = salvage(tmp_path / "a", tmp_path / "b")
    # Each prompt has a request and a reply. One reply is gone, and the entry after it cannot be
    # checked.
    assert saved == Salvaged(58, 2)
    llm = thai_llm()
    again = sf.generate_all(llm, prompts, tmp_path / "b", concurrency=1)
    assert [r.text for r in again] == texts and len(llm.calls) == 1


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ("UPDATE entries SET body = x'00' WHERE n = 7", {"k7"}),
        ("UPDATE entries SET checksum = x'00' WHERE n = 7", {"k7", "k8"}),
        ("DELETE FROM entries WHERE n = 7", {"k7", "k8"}),
        ("DELETE FROM entries WHERE n > 36", {"k37", "k38", "k39"}),
        ("UPDATE entries SET kind = 'fetch', key = 'x' WHERE n = 0", {"k0"}),
    ],
)
def test_a_damaged_entry_costs_at_most_itself_and_the_next(
    tmp_path: Path, damage: str, lost: set[str]
) -> None:
    fill(tmp_path / "a", 40)
    execute(tmp_path / "a", damage)
    before = _bytes(tmp_path / "a")
    assert salvage(tmp_path / "a", tmp_path / "b") == Salvaged(40 - len(lost), len(lost))
    assert _keys(tmp_path / "b") == {f"k{i}" for i in range(40)} - lost
    assert _bytes(tmp_path / "a") == before
    with Ledger(tmp_path / "b") as ledger:
        assert {e.at for e in ledger.entries("reply")} == {FakeClock().now()}


def test_a_sound_ledger_is_copied_and_what_was_lost_may_be_unknown(tmp_path: Path) -> None:
    fill(tmp_path / "a", 40)
    (tmp_path / "a" / "ledger.head").unlink()
    assert salvage(tmp_path / "a", tmp_path / "b") == Salvaged(40, 0)
    execute(tmp_path / "a", "DELETE FROM entries WHERE n = 7")
    (tmp_path / "c").mkdir()
    assert salvage(tmp_path / "a", tmp_path / "c") == Salvaged(38, None)


def test_a_log_is_read_past_its_damaged_frame(tmp_path: Path) -> None:
    with Ledger(tmp_path / "live") as ledger:
        for i in range(60):
            append(ledger, Entry("reply", f"k{i}", bytes(3000), 200))
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    log = tmp_path / "killed" / "ledger.sqlite-wal"
    data = bytearray(log.read_bytes())
    # One bit of the tenth frame or so: SQLite itself reads a log up to the first bad frame.
    data[10 * PAGE] ^= 1
    log.write_bytes(data)
    with pytest.raises(LedgerDamagedError, match="of 60 entries"):
        Ledger(tmp_path / "killed")
    assert log.read_bytes() == data  # the refusal left it as it was
    assert salvage(tmp_path / "killed", tmp_path / "out").entries >= 58


def test_what_cannot_be_salvaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no ledger"):
        salvage(tmp_path / "nowhere", tmp_path / "out")
    fill(tmp_path / "a", 40)
    with pytest.raises(ConfigError, match="files of something else"):
        salvage(tmp_path / "a", tmp_path / "a")
    with Ledger(tmp_path / "a"), pytest.raises(LedgerLockedError):
        salvage(tmp_path / "a", tmp_path / "out")
    (tmp_path / "a" / "ledger.sqlite").write_bytes(b"nothing" * 5000)
    with pytest.raises(LedgerError, match="No entry"):
        salvage(tmp_path / "a", tmp_path / "out")


def test_the_command_says_what_was_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "a", 40)
    execute(tmp_path / "a", "DELETE FROM entries WHERE n = 39")
    assert main(["salvage", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    report = capsys.readouterr().out
    assert "39 entries saved" in report and "1 lost" in report
    assert main(["salvage", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "files of something else" in capsys.readouterr().err
