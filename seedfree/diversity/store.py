"""Vectors of texts, kept on disk: an encoder reads no text twice, in this process or in a later one.

A folder holds these files for each encoder, `<name>` being 16 hexadecimal digits of the SHA-256 of its identity:

| file | what it holds |
|---|---|
| `<name>.json` | `identity` and `dimensions` |
| `<name>.keys` | SHA-256 of each text's UTF-8, 32 bytes a row |
| `<name>.f32` | the vectors, float32, little endian, a row a key |
| `<name>.rows.json` | `[row id, row number in .f32]` of all rows that a diversity filter saw, in its order |

`.keys` and `.f32` only grow, vectors before keys, so that whatever stands in both is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree._files import write_atomic
from seedfree.diversity.vectors import Ints, Singles
from seedfree.errors import ConfigError

__all__ = ["VectorStore"]

_KEY = 32
_BATCH = 1024  # Texts whose vectors a crash may cost.
_LOOK = 16  # Rows whose lengths tell whether a file holds what it says.

Encode = Callable[[list[str]], NDArray[Any]]


class VectorStore:
    """The vectors of one encoder.

    Args:
        folder: Made with the first vectors; `None` to keep them in memory.
        identity: Names the encoder: texts encoded under one identity can be compared.

    Attributes:
        dimensions: 0 while there are no vectors.

    Raises:
        ConfigError: The folder's files can't be read, or hold something else than vectors of length
            1.
    """

    def __init__(self, folder: str | Path | None, identity: str) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.identity, self.dimensions = identity, 0
        self.name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._keys: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._whole: Singles = np.empty((0, 0), np.float32)
        self._room: Singles = self._whole
        if self.folder is not None and self.path("json").exists():
            self._read()

    @classmethod
    def open_all(cls, folder: str | Path) -> list[VectorStore]:
        """Every encoder's vectors in a folder, such as `RUN/vectors`; none where there is no such folder.

        Raises:
            ConfigError: As for one store.
        """
        paths = [
            path
            for path in sorted(Path(folder).glob("*.json"))
            if not path.name.endswith(".rows.json")
        ]
        stores = [cls(folder, _described(path)[0]) for path in paths]
        for path, store in zip(paths, stores, strict=True):
            if path.stem != store.name:
                raise _wrong(path, "is not named after its identity")
        return stores

    def __len__(self) -> int:
        return len(self._keys)

    def path(self, kind: str) -> Path:
        """The file that ends in `kind`, such as `"rows.json"`."""
        assert self.folder is not None
        return self.folder / f"{self.name}.{kind}"

    def vectors(self, texts: Sequence[str], encode: Encode) -> Singles:
        """Shape [n, d], float32. Only texts that are missing are encoded.

        Args:
            encode: Gives unit rows [n, d] for at most 1,024 texts; what it raises passes through,
                and the texts before stay encoded.

        Raises:
            ConfigError: The vectors have other dimensions than those in the store, or can't be
                written.
        """
        return self.take(self.numbers(texts, encode))

    def numbers(self, texts: Iterable[str], encode: Encode) -> Ints:
        """The row of each text; see `vectors`."""
        keys = [(_key(text), text) for text in texts]
        missing = {key: text for key, text in keys if key not in self._numbers}
        for part in _parts(list(missing)):
            self._append(part, np.asarray(encode([missing[key] for key in part])))
        return np.array([self._numbers[key] for key, _ in keys], np.int64)

    def find(self, keys: NDArray[np.uint8]) -> Ints | None:
        """The rows of keys [n, 32]; `None` where one is not there."""
        rows = [self._numbers.get(key.tobytes(), -1) for key in keys]
        return None if -1 in rows else np.array(rows, np.int64)

    def keys(self, numbers: Ints) -> NDArray[np.uint8]:
        """The keys of rows, shape [n, 32]."""
        return np.frombuffer(b"".join(self._keys[number] for number in numbers), np.uint8).reshape(
            -1, _KEY
        )

    def take(self, numbers: Ints) -> Singles:
        """Vectors of rows, shape [n, d]; a view of the file where they stand in it one after another."""
        whole = self._array()
        if len(numbers) and (np.diff(numbers) == 1).all():
            return whole[numbers[0] : numbers[-1] + 1]
        return whole[numbers]

    def adopt(self, other: VectorStore, texts: Iterable[str]) -> None:
        """Copies what another store of the same encoder holds of the texts."""
        keys = dict.fromkeys(map(_key, texts))
        new = [key for key in keys if key not in self._numbers and key in other._numbers]
        for part in _parts(new):
            self._append(
                part, other.take(np.array([other._numbers[key] for key in part], np.int64))
            )

    def keep_rows(self, ids: Iterable[str], numbers: Ints) -> None:
        """Writes which data-set rows the vectors belong to, in the filter's order; nothing without a folder."""
        if self.folder is not None:
            pairs = [[name, number] for name, number in zip(ids, numbers.tolist(), strict=True)]
            write_atomic(self.path("rows.json"), [json.dumps(pairs)], private=True)

    def rows(self) -> tuple[list[str], Singles, Ints]:
        """Ids of the data-set rows in the filter's order, all vectors [n, d] (memory-mapped), and each row's number.

        Raises:
            ConfigError: The list of rows can't be read, or speaks of vectors that are not there.
        """
        if self.folder is None or not self.path("rows.json").exists():
            return [], self._array(), np.empty(0, np.int64)
        path = self.path("rows.json")
        try:
            pairs = json.loads(path.read_bytes())
            ids, numbers = (
                [str(name) for name, _ in pairs],
                np.array([number for _, number in pairs], np.int64),
            )
        except (OSError, ValueError, TypeError) as error:
            raise _wrong(path, "is not a list of row ids and numbers") from error
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise _wrong(path, f"names rows beyond the {len(self)} vectors")
        return ids, self._array(), numbers

    def _read(self) -> None:
        identity, self.dimensions = _described(self.path("json"))
        if identity != self.identity:
            raise _wrong(self.path("json"), f"is of {identity!r}, not of {self.identity!r}")
        try:
            keys = self.path("keys").read_bytes() if self.path("keys").exists() else b""
            size = self.path("f32").stat().st_size if self.path("f32").exists() else 0
        except OSError as error:
            raise ConfigError(f"Cannot read {self.folder}: {error.strerror}") from error
        n = min(len(keys) // _KEY, size // (4 * self.dimensions))
        self._keys = [keys[at : at + _KEY] for at in range(0, n * _KEY, _KEY)]
        self._numbers = {key: number for number, key in enumerate(self._keys)}
        look = (
            self._array()[np.unique(np.linspace(0, n - 1, _LOOK).astype(np.int64))]
            if n
            else self._array()
        )
        with np.errstate(all="ignore"):  # other bytes may make any number
            lengths = np.linalg.norm(look.astype(np.float64), axis=1)
        if not (np.abs(lengths - 1) < 0.01).all():
            raise _wrong(
                self.path("f32"),
                f"does not hold vectors of length 1 in {self.dimensions} dimensions",
            )

    def _array(self) -> Singles:
        """All vectors, shape [n, d]."""
        if self.folder is not None and len(self._whole) != len(self) > 0:
            shape = (len(self), self.dimensions)
            self._whole = np.memmap(self.path("f32"), "<f4", "r", shape=shape)
        return self._whole

    def _append(self, keys: list[bytes], vectors: NDArray[Any]) -> None:
        if vectors.ndim != 2 or len(vectors) != len(keys) or not vectors.shape[1]:
            raise ConfigError(
                f"The encoder gave vectors of shape {list(vectors.shape)} for {len(keys)} texts",
                hint="encode(texts) returns one row a text.",
            )
        if self.dimensions not in (0, vectors.shape[1]):
            place = self.path("f32") if self.folder is not None else "The store"
            raise _wrong(
                place,
                f"holds {self.dimensions} dimensions, but the encoder gives {vectors.shape[1]}",
            )
        rows = np.ascontiguousarray(vectors, "<f4")
        if self.folder is None:
            self._hold(rows)
        else:
            self._write(self.folder, keys, rows)
        self.dimensions = rows.shape[1]
        self._numbers.update(zip(keys, range(len(self), len(self) + len(keys)), strict=True))
        self._keys += keys

    def _hold(self, rows: Singles) -> None:
        """Puts rows into memory; those before stay where they are while there is room: others hold them too."""
        n, total = len(self), len(self) + len(rows)
        if total > len(self._room):
            room = np.empty((max(total, 2 * n), rows.shape[1]), np.float32)
            if n:
                room[:n] = self._whole
            self._room = room
        self._room[n:total] = rows
        self._whole = self._room[:total]

    def _write(self, folder: Path, keys: list[bytes], rows: Singles) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.dimensions:
                described = {"identity": self.identity, "dimensions": rows.shape[1]}
                write_atomic(self.path("json"), [json.dumps(described)], private=True)
            _grow(self.path("f32"), len(self) * 4 * rows.shape[1], rows.tobytes())
            _grow(self.path("keys"), len(self) * _KEY, b"".join(keys))
        except OSError as error:
            hint = "Make room on the disk, or the folder writable, and run it again."
            raise ConfigError(f"Cannot write {folder}: {error.strerror}", hint=hint) from error


def _parts(keys: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(keys), _BATCH):
        yield keys[at : at + _BATCH]


def _grow(path: Path, at: int, data: bytes) -> None:
    """Puts data at a place of a file and ends the file there, on the disk itself."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.truncate(at)
        file.seek(at)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _described(path: Path) -> tuple[str, int]:
    """Identity and dimensions in a `<name>.json`."""
    try:
        value = json.loads(path.read_bytes())
        identity, dimensions = value["identity"], value["dimensions"]
        if not isinstance(identity, str) or type(dimensions) is not int or dimensions < 1:
            raise ValueError
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _wrong(path, "does not describe vectors") from error
    return identity, dimensions


def _wrong(what: Path | str, why: str) -> ConfigError:
    return ConfigError(
        f"{what} {why}", hint="Delete the folder of vectors: the texts are then encoded again."
    )
