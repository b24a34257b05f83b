"""A pipeline from a YAML file: the same words as in Python.

    language: th
    generator: {use: ClaudeGenerator, model: claude-haiku-5-5}
    contexts: [{use: WikipediaSource, contact: me@uni.example}, WrittenContexts]
    tasks: [ClosedQA, {use: Conversation, turns: 3}]
    run: {size: 5000, out: runs/th, budget_usd: 20}

A component is the name of a class of `seedfree`, or a mapping with `use` and the class's settings.
No other code is imported, so that a file from somebody else can be run. API keys belong into the
environment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import seedfree
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.pipeline import Pipeline

__all__ = ["Config"]

# The arguments of `Pipeline.run` that a file may set.
_RUN = ("size", "out", "seed", "concurrency", "budget_usd", "reuse", "shrink")


@dataclass(frozen=True)
class Config:
    """What a YAML file says.

    Attributes:
        run: Keyword arguments of `Pipeline.run`.
    """

    pipeline: Pipeline
    run: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Reads a YAML file.

        Raises:
            ConfigError: No such file, not YAML, an unknown word, or a secret in it.
        """
        path = Path(path)
        data = _read(path)
        run = data.pop("run", None) or {}
        if not isinstance(run, dict):
            raise ConfigError(
                f"{path}: run is not a mapping", hint="Write run: {size: 5000, out: runs/th}."
            )
        _check_names(run, _RUN, "run")
        if "out" in run:
            run["out"] = str(run["out"])  # YAML reads 2026 as a number
        return cls(_pipeline(data, path), run)


def _read(path: Path) -> dict[str, Any]:
    try:
        # "safe" makes plain values alone. The other loaders run what a file names.
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no settings", hint="See the example in docs/cli.md.")
    return data


def _pipeline(data: Mapping[str, Any], path: Path) -> Pipeline:
    _check_names(data, Pipeline.__dataclass_fields__, "the pipeline")
    for name in ("language", "generator"):
        if name not in data:
            raise ConfigError(f"{path} names no {name}", hint=f"Add a line '{name}: ...'.")
    settings = {name: _component(value) for name, value in data.items()}
    settings["language"] = _language(str(data["language"]), path.parent)
    # A topic may be spelled like a class.
    if "topics" in data:
        settings["topics"] = data["topics"]
    return Pipeline(**settings)


def _language(name: str, folder: Path) -> Language:
    if name.endswith(".toml"):
        return Language.from_file(folder / name)
    return Language.load(name)


def _component(value: Any) -> Any:
    """Returns the value with every component in it made."""
    if isinstance(value, list):
        return [_component(each) for each in value]
    if isinstance(value, str) and value in seedfree.__all__:
        return _make(value, {})
    if isinstance(value, dict) and "use" in value:
        settings = {name: _component(each) for name, each in value.items() if name != "use"}
        return _make(str(value["use"]), settings)
    return value


def _make(name: str, settings: dict[str, Any]) -> Any:
    # Public names are loaded when they are first asked for, so that no table of classes is needed.
    component = getattr(seedfree, name) if name in seedfree.__all__ else None
    if not isinstance(component, type):
        raise ConfigError(
            f"{name!r} is not a component of seedfree",
            hint=f"Known: {', '.join(seedfree.__all__)}.",
        )
    # Files are shared and committed.
    if "api_key" in settings:
        raise ConfigError(
            f"{name}: api_key stands in the file", hint="Set it in the environment, not in a file."
        )
    try:
        return component(**settings)
    except TypeError as error:
        # Python's own words for a wrong keyword, without the name of the method.
        raise ConfigError(f"{name}: {str(error).rpartition('__init__() ')[2]}") from error


def _check_names(given: Iterable[str], known: Collection[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{name!r} is not a setting of {what}", hint=f"Known: {', '.join(known)}."
            )
