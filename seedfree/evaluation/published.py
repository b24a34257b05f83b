"""Scores that others published, one entry a model, task and half, from JSON files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedfree._files import read_json
from seedfree.errors import ConfigError
from seedfree.evaluation.predictions import PARTS, TASKS, read_name

__all__ = ["SIMILARITY", "Published", "read_published"]

SIMILARITY = "embedding similarity (BGE-M3)"
# The published names, beside the names of the scores here. What the paper calls BERTScore is none.
_NAMES = {
    "bleu": "bleu",
    "chrf": "chrf",
    "meteor": "meteor",
    "rouge1": "rouge1",
    "rouge2": "rouge2",
    "rougel": "rougeL",
    "rougelsum": "rougeLsum",
    "exact_match": "squad_em",
    "f1": "squad_f1",
    "bertscore": SIMILARITY,
}


@dataclass(frozen=True)
class Published:
    """What was published of one prediction file.

    Attributes:
        part: `"culture"` or `"general"`.
        scores: By name as in `Scores`, in the same units; `SIMILARITY`, 0 to 1.
    """

    model: str
    task: str
    part: str
    scores: Mapping[str, float]


def read_published(path: str | Path) -> list[Published]:
    """The entries of a JSON file; none where it holds something else.

    An entry is an object with `published`: names to numbers, nested or not. It says `model`, `task`
    and `test_set`, or `file` (`<model>.<task>.<part>.csv`); the model may also be the name of the
    JSON file. Entries stand in a list, or anywhere in an object. The files of the paper's authors
    are read too: `{model: {"yes": {task: scores}, "no": ...}}`, or without the model, which then is
    the folder's name.

    Raises:
        ConfigError: The file cannot be read or is not JSON, or an entry has another task or part,
            or no numbers.
    """
    path = Path(path)
    value = read_json(path)
    found: dict[tuple[str, str, str], Published] = {}
    for name, entry in _entries(value, ""):
        one = _published(path, name, entry)
        key = (one.model, one.task, one.part)
        if key in found:
            raise ConfigError(f"{path} has two entries for {' '.join(key)}")
        found[key] = one
    return list(found.values())


def _entries(value: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object with `published`, or made one of, with the key under which it stands."""
    if isinstance(value, dict):
        if isinstance(value.get("published"), dict):
            yield name, value
        elif value and value.keys() <= {"yes", "no"}:
            tasks = [
                (part, *one)
                for part, inner in value.items()
                if isinstance(inner, dict)
                for one in inner.items()
            ]
            for part, task, scores in tasks:
                if task in TASKS and isinstance(scores, dict):
                    yield name, {"model": name, "task": task, "part": part, "published": scores}
        else:
            for key, inner in value.items():
                yield from _entries(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner, name)


def _published(path: Path, name: str, entry: Mapping[str, Any]) -> Published:
    file = next(
        (said for said in (entry.get("file"), name) if isinstance(said, str) and read_name(said)), ""
    )
    alone = path.absolute().parent.name if path.stem == "evaluation_results" else path.stem
    model, task, part = read_name(file) or (alone, "", "")
    model, task = str(entry.get("model") or model), str(entry.get("task") or task)
    part = str(entry.get("test_set") or entry.get("part") or part)
    for what, said, known in (("task", task, TASKS), ("test_set", part, PARTS)):
        if said not in known:
            hint = f"Known: {', '.join(known)}."
            raise ConfigError(
                f"{path}: the entry {file or name or model} has {what} {said!r}", hint=hint
            )
    scores = dict(_numbers(entry["published"]))
    if not scores:
        raise ConfigError(f"{path}: the entry {file or name or model} has no known scores")
    return Published(model, task, PARTS[part], scores)


def _numbers(value: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _numbers(inner)
        elif (
            key.casefold() in _NAMES
            and isinstance(inner, int | float)
            and not isinstance(inner, bool)
        ):
            yield _NAMES[key.casefold()], float(inner)
