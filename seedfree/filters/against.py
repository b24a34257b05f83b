"""Rows that are there already: an earlier run, a data set, a list of texts. See `SemanticDiversityFilter`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.records import Instruction

__all__ = ["Against"]

_PATH = re.compile(r"[\w.~\\:-]*[/\\][\w./~\\:-]*", re.ASCII)
_COMPARED = ("id", "instruction", "input", "output", "evidence", "topic")


class Against:
    """Rows in the order in which they are given.

    Args:
        given: A run's folder, a `Run`, a `Dataset`, an `Instruction`, the path of a JSONL file of
            rows; or any number of these and of plain texts.

    Attributes:
        rows: How many there are.
        digest: Names them; it stands in the settings of a run in place of the rows.

    Raises:
        ConfigError: Something else is given, or a path cannot be read.
    """

    def __init__(self, given: Any) -> None:
        self._items: list[Instruction | str] = []
        self._folders: list[Path] = []
        if isinstance(given, str):
            given = Path(given)
        one = isinstance(given, (Path, Instruction)) or hasattr(given, "dataset")
        for each in [given] if one else _iterated(given):
            self._add(each)
        forms = [
            [getattr(i, name) for name in _COMPARED] if isinstance(i, Instruction) else i
            for i in self._items
        ]
        contexts = [i.context.text for i in self._items if isinstance(i, Instruction) and i.context]
        self.rows = len(self._items)
        self.digest = hashlib.sha256(json.dumps([forms, contexts]).encode()).hexdigest()[:16]

    @property
    def ids(self) -> list[str]:
        """`against:<id>` for each row, its number without one; the run's own rows may have the same ids."""
        found = (getattr(item, "id", "") for item in self._items)
        return [f"against:{name or number}" for number, name in enumerate(found)]

    @property
    def folders(self) -> list[Path]:
        """The runs among what was given: their vectors may be there already."""
        return self._folders

    def texts(self, text_of: Callable[[Instruction], str]) -> list[str]:
        """What is compared of each row."""
        return [item if isinstance(item, str) else text_of(item) for item in self._items]

    def _add(self, each: Any) -> None:
        if isinstance(each, str):
            if _PATH.fullmatch(each) or os.path.isfile(os.path.join(each, "dataset.jsonl")):
                each = Path(each)
            else:
                self._items.append(each)
                return
        if isinstance(each, Path):
            if each.is_dir():
                self._folders.append(each)
                each = each / "dataset.jsonl"
            self._items += Dataset.from_jsonl(each)
        elif isinstance(each, Instruction):
            self._items.append(each)
        elif isinstance(each, Dataset):
            self._items += each
        elif isinstance(getattr(each, "dataset", None), Dataset):
            self._folders.append(Path(each.path))
            self._items += each.dataset
        else:
            raise ConfigError(f"against holds {type(each).__name__}", hint=_HINT)


_HINT = "Use run folders, data sets, instructions or texts, such as against=['runs/th', sf.Dataset.from_jsonl(path)]."


def _iterated(given: Any) -> Iterable[Any]:
    if not isinstance(given, Iterable) or isinstance(given, (bytes, dict)):
        raise ConfigError(f"against is {type(given).__name__}", hint=_HINT)
    return given
