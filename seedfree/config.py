"""A pipeline from a YAML file: the same words as in Python.

    language: th
    generator: anthropic/claude-haiku-5-5
    contexts: [{use: WikipediaSource, contact: me@uni.example}, WrittenContexts]
    tasks: [ClosedQA, {use: Conversation, turns: 3}]
    run: {size: 5000, out: runs/th, budget_usd: 20}

A component is the name of a class of `seedfree`, or a mapping with `use` and the class's settings.
A generator may also be a word for a model, or `{use: OpenAICompatibleGenerator, ...}` for more.
No other code is imported, so that a file from somebody else can be run. API keys belong into the
environment.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import seedfree
from seedfree._files import utf8_text
from seedfree.errors import ConfigError, did_you_mean
from seedfree.languages import Language
from seedfree.pipeline import Pipeline

__all__ = ["Config"]

# What a file may hold, lists and mappings counted too. A few lines of YAML that refer to
# themselves, or to each other, hold more than fits into memory.
_MOST_VALUES = 1_000_000
_DEEPEST = 50
# The arguments of `Pipeline.run` that a file may set.
_RUN = (
    *("size", "out", "seed", "concurrency", "budget_usd", "reuse", "shrink", "mode"),
    *("batch", "wait_for_quota"),
)


@dataclass(frozen=True)
class Config:
    """What a YAML file says.

    Attributes:
        run: Keyword arguments of `Pipeline.run`.
    """

    pipeline: Pipeline
    run: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path, *, generator: str | None = None) -> Config:
        """Reads a YAML file.

        Args:
            generator: A word for a model that takes the place of the file's.

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
        if run.get("out") is not None:
            run["out"] = str(run["out"])  # YAML reads 2026 as a number
        if "mode" in run:
            run["mode"] = _mode(run["mode"])
        if generator is not None:
            data["generator"] = generator
        return cls(_pipeline(data, path), run)


class _Loader(yaml.SafeLoader):
    """Makes plain values alone, and takes words as most people mean them.

    Only `true`, `false`, `null` and plain numbers have a meaning of their own, as in YAML 1.2. In
    YAML 1.1 `no` and `on` are truth values, `010` is 8 and `1:30` is 90.
    """

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            # The safe loader would keep the last.
            if str(key.value) in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: {key.value!r} stands there twice")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        is_whole = node.value.lstrip("+-").isdigit()
        return int(node.value) if is_whole else float(node.value)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("number", r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), _first
    )
_Loader.add_constructor("tag:yaml.org,2002:number", _Loader.construct_number)


def _read(path: Path) -> dict[str, Any]:
    text = utf8_text(path)
    try:
        data = _Loader(text).get_single_data()
    # ValueError: a number with thousands of digits. RecursionError: thousands of brackets.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no settings", hint="See the example in docs/cli.md.")
    _check_extent(data, path)
    return data


def _check_extent(data: object, path: Path) -> None:
    left, values = [(data, 0)], 0
    while left:
        value, depth = left.pop()
        values += 1
        if values > _MOST_VALUES or depth > _DEEPEST:
            hint = "Look at its aliases (*name)."
            raise ConfigError(f"{path} holds itself, or too much to be settings", hint=hint)
        if isinstance(value, dict):
            left += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            left += [(each, depth + 1) for each in value]


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


def _mode(value: object) -> object:
    """Reads `770`, `0770` and `0o770` as the octal number that file modes are written as."""
    text = str(value)
    return int(text, 8) if re.fullmatch(r"(0o?)?7[0-7]{2}", text) else value


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
            hint=did_you_mean(name, seedfree.__all__) or "See the example in docs/cli.md.",
        )
    # Files are shared and committed.
    for secret in settings.keys() & {"api_key", "token"}:
        raise ConfigError(
            f"{name}: {secret} stands in the file", hint="Set it in the environment, not in a file."
        )
    try:
        return component(**settings)
    except TypeError as error:
        _check_names(settings, inspect.signature(component).parameters, name)
        # Python's own words for a missing argument, without the name of the method.
        raise ConfigError(f"{name}: {str(error).rpartition('__init__() ')[2]}") from error


def _check_names(given: Iterable[str], known: Collection[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{name!r} is not a setting of {what}",
                hint=f"{did_you_mean(str(name), known)}Known: {', '.join(known)}.",
            )
