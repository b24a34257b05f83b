"""A greedy selection that goes on: rows that come in the same order as before are not compared again."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import ConfigError
from seedfree.filters.index import DiversityIndex
from seedfree.filters.vectors import Floats, Ints, Singles
from seedfree.records import Selection

__all__ = ["Ongoing"]

Keys = NDArray[np.uint8]
_BY_ROW = ("keys", "limits", "similarity", "duplicate_of")


class Ongoing:
    """What was decided so far, about rows that are known by their keys.

    A row's fate depends on the rows before it alone. So the longest beginning that rows have in
    common with those of an earlier call keeps its answer, and the rest is decided anew.

    Args:
        index: See `greedy_select`.
    """

    def __init__(self, index: str) -> None:
        self._wanted = index
        self._start(0)

    def _start(self, held: int) -> None:
        self._index, self._held = DiversityIndex(self._wanted), held
        self._keys: Keys = np.empty((0, 32), np.uint8)
        self._limits: Floats = np.empty(0)
        self._of: Ints = np.empty(0, np.int64)
        self._similarity: Floats = np.empty(0)
        self._recall: float | None = None
        self._saved = 0

    def __len__(self) -> int:
        """Rows decided so far, with those held."""
        return len(self._of)

    def select(
        self, held: int, keys: Keys, limits: Floats, vectors: Callable[[slice], Singles]
    ) -> Selection:
        """Decides over rows.

        Args:
            held: How many of the rows, from the first on, are there already and stay.
            keys: Shape [held + n, 32]: names each row's vector.
            limits: Thresholds, shape [held + n].
            vectors: Gives the unit rows of a slice of all rows.

        Returns:
            A selection of the n rows; a duplicate of held row j has `duplicate_of` n + j.

        Raises:
            ConfigError, EncoderError: See `greedy_select`.
        """
        total, known = len(keys), self._known(held, keys, limits)
        if not known:
            self._start(held)
        if len(self._index) > len(self):  # a call that failed on its way
            self._cut(len(self))
        if known < min(total, len(self)):
            self._cut(known)
        if known < held:
            self._index.hold(vectors(slice(known, held)))
            self._note(
                keys[:held], limits[:held], np.full(held - known, -1), np.full(held - known, np.nan)
            )
            known = held
        if known < total:
            found = self._index.add(vectors(slice(known, total)), limits[known:].tolist())
            self._recall = _joined(self._recall, known - held, found.recall, total - known)
            self._note(keys, limits, found.duplicate_of, found.similarity)
        n, of = total - held, self._of[held:total]
        of = np.where(of < 0, -1, np.where(of < held, n + of, of - held))
        return Selection(
            np.flatnonzero(of < 0),
            of,
            self._similarity[held:total],
            self._index.index,
            self._recall,
        )

    def _known(self, held: int, keys: Keys, limits: Floats) -> int:
        """How many rows, from the first on, are those of an earlier call."""
        if held != self._held:
            return 0
        n = min(len(self), len(keys))
        other = (self._keys[:n] != keys[:n]).any(axis=1) | (self._limits[:n] != limits[:n])
        return int(other.argmax()) if other.any() else n

    def _cut(self, n: int) -> None:
        self._index.cut(n)
        self._keys, self._limits = self._keys[:n], self._limits[:n]
        self._of, self._similarity = self._of[:n], self._similarity[:n]
        self._saved = min(self._saved, n)

    def _note(self, keys: Keys, limits: Floats, of: Ints, similarity: Floats) -> None:
        self._keys, self._limits = keys, limits
        self._of = np.append(self._of, of)
        self._similarity = np.append(self._similarity, similarity)

    def save(self, path: Path, *, growth: float = 0.0) -> None:
        """Writes index and answers, for `load`, in one step.

        Args:
            growth: Share of new rows below which nothing is written.

        Raises:
            ConfigError: The file can't be written.
        """
        if len(self) - self._saved <= growth * len(self):
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        state: dict[str, Any] = {
            "keys": self._keys,
            "limits": self._limits,
            "similarity": self._similarity,
            "held": np.array(self._held),
            "recall": np.array(np.nan if self._recall is None else self._recall),
        }
        try:
            try:
                os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
                self._index.save(temporary)
                with zipfile.ZipFile(temporary, "a") as file:
                    for name, array in state.items():
                        with file.open(f"{name}.npy", "w", force_zip64=True) as part:
                            np.lib.format.write_array(part, array, allow_pickle=False)
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            hint = "Make room on the disk, or the folder writable, and run it again."
            raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error
        self._saved = len(self)

    @classmethod
    def load(cls, path: Path, index: str, vectors: Callable[[Keys], Singles | None]) -> Ongoing:
        """Goes on where `save` stopped; from nothing where there is no such file, or not of these vectors.

        Args:
            vectors: Gives the unit rows of keys, or `None` where they are not there.
        """
        made = cls(index)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                state = {name: kept[name] for name in (*_BY_ROW, "held", "recall")}
            rows = vectors(state["keys"])
            if rows is None or len({len(state[name]) for name in _BY_ROW}) != 1:
                return made
            loaded = DiversityIndex.load(path, rows)
        except (ConfigError, OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
            # a cache: made again
            return made
        if index in ("auto", loaded.index):
            made._index, made._held = loaded, int(state["held"])
            made._keys, made._limits = state["keys"], state["limits"]
            made._of, made._similarity = state["duplicate_of"], state["similarity"]
            made._recall = None if np.isnan(state["recall"]) else float(state["recall"])
            made._saved = len(made)
        return made


def _joined(first: float | None, n: int, second: float | None, m: int) -> float | None:
    """The recall of n and m rows together."""
    return second if first is None or second is None else (n * first + m * second) / (n + m)
