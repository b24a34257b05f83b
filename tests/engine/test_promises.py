"""Promises of docs/durability.md that no other test holds, and the names of the tests that it refers to."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import seedfree as sf
from seedfree._files import write_atomic
from seedfree.engine.batch import generate_all
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Entry, Ledger
from seedfree.errors import LedgerError, StopRunError
from seedfree.records import Prompt
from tests.fakes import FakeClock, VirtualClock, thai
from tests.test_pipeline import _pipeline

ROOT = Path(__file__).parents[2]
SECTOR = 512
LLM = sf.OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")


def test_the_page_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "durability.md").read_text("utf-8")))
    written = {
        name
        for f in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", f.read_text())
    }
    assert named and not named - written


def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    for _ in range(2):  # as it is made, and as it is opened again
        with Ledger(tmp_path) as ledger:
            found = [
                ledger._writes.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("synchronous", "journal_mode")
            ]
            assert found == [2, "wal"]  # 2 is FULL


def test_a_loss_of_power_within_a_commit_loses_nothing_that_was_told(tmp_path: Path) -> None:
    """Of the last commit, which nobody was told of yet, any sectors reached the disk; of the head, the one before."""
    with Ledger(tmp_path / "live") as ledger:
        for i in range(5):
            asyncio.run(
                ledger.append(Entry("reply", f"k{i}", random.Random(i).randbytes(3000), 200))
            )
        shutil.copytree(tmp_path / "live", tmp_path / "before")
        asyncio.run(ledger.append(Entry("reply", "k5", random.Random(5).randbytes(9000), 200)))
        shutil.copytree(tmp_path / "live", tmp_path / "after")
    name = "ledger.sqlite-wal"
    told, all_ = ((tmp_path / state / name).read_bytes() for state in ("before", "after"))
    assert all_.startswith(told)
    sectors = range(len(told), len(all_), SECTOR)
    logs = (
        [all_]
        + [all_[:at] for at in sectors]
        + [all_[:at] + bytes(SECTOR) + all_[at + SECTOR :] for at in sectors]
    )
    for i, log in enumerate(logs):
        run = tmp_path / str(i)
        shutil.copytree(tmp_path / "before", run)
        (run / name).write_bytes(log)
        with Ledger(run) as ledger:
            keys = [entry.key for entry in ledger.entries("reply")]
        # A sector that was to hold zeros is none the worse for not having been written.
        assert keys == [f"k{n}" for n in range(6 if log == all_ else 5)]


def test_a_published_file_is_synced_before_its_name_and_its_name_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(handle: int) -> None:
        seen.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        sync(handle)

    def replace(self: Path, target: Path) -> None:
        seen.append(f"rename {target.name}")
        rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_atomic(tmp_path / "rows.jsonl", ["text"])
    assert seen == [
        f"sync .rows.jsonl.{os.getpid()}.tmp",
        "rename rows.jsonl",
        f"sync {tmp_path.name}",
    ]


def test_prompts_are_read_as_requests_are_sent(tmp_path: Path) -> None:
    read: list[int] = []

    def prompts() -> Iterator[Prompt]:
        for i in range(1000):
            read.append(i)
            yield Prompt(str(i))

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401)

    with pytest.raises(StopRunError):
        generate_all(
            LLM,
            prompts(),
            tmp_path,
            concurrency=4,
            transport=Transport(transport=httpx.MockTransport(refuse)),
        )
    assert len(read) < 20


def test_replies_are_read_from_the_folder_when_they_are_asked_for(tmp_path: Path) -> None:
    llm = sf.FunctionGenerator(lambda prompt: prompt.user.upper(), name="upper")
    replies = generate_all(llm, (Prompt(text) for text in "abc"), tmp_path / "run")
    assert [reply.text for reply in replies[1:]] == ["B", "C"] and replies[-1].text == "C"
    with pytest.raises(IndexError):
        replies[3]
    shutil.rmtree(tmp_path / "run")
    again = generate_all(llm, [Prompt("d")], tmp_path / "other")
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(LedgerError, match="must stay as it was"):
        again[0]


def test_a_generators_own_pace_is_kept(tmp_path: Path) -> None:
    clock = VirtualClock()
    sent: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        # on the event loop: no thread races the clock
        sent.append(clock.monotonic())
        return httpx.Response(400)

    llm = sf.OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
    llm.requests_per_minute = 30  # type: ignore[attr-defined]
    transport = Transport(transport=httpx.MockTransport(answer))
    generate_all(
        llm, [Prompt(str(i)) for i in range(10)], tmp_path, clock=clock, transport=transport
    )
    assert len(sent) == 10 and min(b - a for a, b in zip(sent, sent[1:], strict=False)) > 2 - 1e-6


def test_a_wait_beyond_the_cap_stops_everyone_at_once(tmp_path: Path) -> None:
    clock, sent = FakeClock(), []

    def crowded(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(429, headers={"retry-after": "3600"})

    with pytest.raises(StopRunError, match="asks to wait 3600 s"):
        generate_all(
            LLM, [Prompt(str(i)) for i in range(12)], tmp_path, concurrency=4, clock=clock,
            transport=Transport(transport=httpx.MockTransport(crowded)),
        )  # fmt: skip
    assert clock.slept == [] and len(sent) <= 4


def test_a_run_goes_on_at_another_pace(tmp_path: Path) -> None:
    for pace in (None, 600, 900):
        llm = sf.FunctionGenerator(thai, name="thai")
        if pace:
            llm.requests_per_minute = pace  # type: ignore[attr-defined]
        assert _pipeline(llm).run(size=2, out=tmp_path, clock=VirtualClock()).status == "complete"
