"""A pipeline from a YAML file: the same words as in Python.

    language: th
    generator: {use: ClaudeGenerator, model: claude-haiku-5-5}
    contexts: [{use: WikipediaSource, contact: me@uni.example}, WrittenContexts]
    tasks: [ClosedQA, {use: Conversation, turns: 3}]
    run: {size: 5000, out: runs/th, budget_usd: 20}

A component is the name of a class of `seedfree`, or a mapping with `use` and the class's settings.
Nothing else is imported, and keys belong into the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seedfree
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.pipeline import Pipeline

__all__ = ["Config"]

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
        import yaml

        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Cannot read {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not YAML: {error}") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{path} holds no settings", hint="See the example in docs/cli.md.")
        run = data.pop("run", None) or {}
        if not isinstance(run, dict):
            raise ConfigError(
                f"{path}: run is not a mapping", hint="Write run: {size: 5000, out: runs/th}."
            )
        run = {name: str(value) if name == "out" else value for name, value in run.items()}
        _known(run, _RUN, "run")
        _known(data, Pipeline.__dataclass_fields__, "the pipeline")
        for name in ("language", "generator"):
            if name not in data:
                raise ConfigError(f"{path} names no {name}", hint=f"Add a line '{name}: ...'.")
        settings = {
            name: value if name in ("topics", "filters") else _component(value)
            for name, value in data.items()
        }
        settings["language"] = _language(data["language"], Path(path).parent)
        if isinstance(data.get("filters"), list):
            settings["filters"] = _component(data["filters"])
        return cls(Pipeline(**settings), run)


def _language(value: Any, folder: Path) -> Language:
    text = str(value)
    return Language.from_file(folder / text) if text.endswith(".toml") else Language.load(text)


def _component(value: Any) -> Any:
    """The value with every component in it made."""
    if isinstance(value, list):
        return [_component(each) for each in value]
    if isinstance(value, str) and value in seedfree.__all__:
        return _make(value, {})
    if isinstance(value, dict) and "use" in value:
        settings = {name: _component(each) for name, each in value.items() if name != "use"}
        return _make(str(value["use"]), settings)
    return value


def _make(name: str, settings: dict[str, Any]) -> Any:
    made = getattr(seedfree, name, None) if name in seedfree.__all__ else None
    if not isinstance(made, type):
        raise ConfigError(
            f"{name!r} is not a component of seedfree",
            hint=f"Known: {', '.join(seedfree.__all__)}.",
        )
    if "api_key" in settings:
        raise ConfigError(
            f"{name}: api_key stands in the file", hint="Set it in the environment, not in a file."
        )
    try:
        return made(**settings)
    except TypeError as error:
        raise ConfigError(f"{name}: {str(error).rpartition('__init__() ')[2]}") from error


def _known(given: Mapping[str, Any], known: Any, what: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ConfigError(
            f"{unknown[0]!r} is not a setting of {what}", hint=f"Known: {', '.join(known)}."
        )
