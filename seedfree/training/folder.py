"""The folder of a training: what it says of itself, whether it is the same one, how far it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from os.path import exists
from pathlib import Path
from typing import Any

from seedfree.dataset import Dataset, read_json, write_atomic
from seedfree.errors import ConfigError, ConfigMismatchError

__all__ = ["check_same", "digest", "last_checkpoint", "read_info", "versions", "write_info"]

_PACKAGES = ("seedfree", "torch", "transformers", "trl", "peft", "bitsandbytes", "datasets")


def read_info(folder: Path) -> dict[str, Any] | None:
    """What `training.json` in a folder says; `None` where there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    path = folder / "training.json"
    if not exists(path):
        return None
    info = read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("base"), dict) or "config" not in info:
        raise ConfigError(f"{path} is not that of a training")
    return info


def digest(dataset: Dataset) -> str:
    """SHA-256 of the tasks, languages and messages of the rows, in their order."""
    found = hashlib.sha256()
    for one in dataset:
        messages = [[m.role, m.content] for m in one.messages]
        found.update(json.dumps([one.task, one.language, messages], ensure_ascii=True).encode())
    return found.hexdigest()


def check_same(was: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises `ConfigMismatchError` with the fields in which two trainings differ."""
    fields = [
        name for name in ("base_model", "dataset", "validation") if was.get(name) != now[name]
    ]
    old = was.get("config", {})
    fields += [
        name for name in {**old, **now["config"]} if old.get(name) != now["config"].get(name)
    ]
    if fields:
        hint = "Give the same again, or a new folder."
        raise ConfigMismatchError(
            f"{folder} was begun with another {', '.join(fields)}", fields=fields, hint=hint
        )


def last_checkpoint(folder: Path) -> Path | None:
    """The last that is whole: its state is written at its end."""
    for path in sorted(
        folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True
    ):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def versions() -> dict[str, str]:
    """Of the packages that train, by name."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Writes `training.json`, all or nothing."""
    write_atomic(folder / "training.json", [json.dumps(info, ensure_ascii=False, indent=1)])
