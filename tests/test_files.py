"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seedfree._files import write_atomic


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
