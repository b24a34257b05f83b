"""Vectors of texts, kept on disk: an encoder reads no text twice, now or in a later process.

A folder holds these files for each encoder, `<name>` being 16 hexadecimal digits of the SHA-256 of
its identity:

| file | what it holds |
|---|---|
| `<name>.json` | `identity` and `dimensions` |
| `<name>.keys` | SHA-256 of each text's UTF-8, 32 bytes a row |
| `<name>.f32` | the vectors, float32, little endian, a row a key |
| `<name>.rows.json` | `[row id, place in .f32]` of all rows that a diversity filter saw, in order |
| `<name>.index.npz` | what the filter decided; see `index.py` |

`.keys` and `.f32` only grow, vectors before keys, so that whatever stands in both is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree._files import is_file, make_folder, mode_in, write_atomic
from seedfree.diversity.vectors import Ints, Singles, unit_fault
from seedfree.errors import ConfigError

__all__ = ["StoredVectors", "VectorStore"]

_KEY = 32
_KINDS = ("json", "keys", "f32", "rows.json", "index.npz")
_BATCH = 1024  # Texts whose vectors a crash may cost.
_SAMPLE = 16  # Vectors whose lengths tell whether a file holds what it says.

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
        self._places: dict[bytes, int] = {}
        self._whole: Singles = np.empty((0, 0), np.float32)
        self._room: Singles = self._whole
        if self.folder is not None:
            self._check_files(self.folder)
            if self.path("json").exists():
                self._read()

    @classmethod
    def open_all(cls, folder: str | Path) -> list[VectorStore]:
        """Opens every encoder's vectors in a folder, such as `RUN/vectors`; none without a folder.

        Raises:
            ConfigError: As for one store.
        """
        paths = sorted(Path(folder).glob("*.json"))
        paths = [path for path in paths if not path.name.endswith(".rows.json")]
        stores = [cls(folder, _described(path)[0]) for path in paths]
        for path, store in zip(paths, stores, strict=True):
            if path.stem != store.name:
                raise _wrong(path, "is not named after its identity")
        return stores

    def __len__(self) -> int:
        return len(self._keys)

    def path(self, kind: str) -> Path:
        """Returns the file that ends in `kind`, such as `"rows.json"`."""
        assert self.folder is not None
        return self.folder / f"{self.name}.{kind}"

    def _check_files(self, folder: Path) -> None:
        """Raises `ConfigError` for links, pipes and devices in the places of the store's files."""
        if folder.is_symlink():
            raise _wrong(folder, "is a link")
        for kind in _KINDS:
            is_file(self.path(kind))

    def vectors(self, texts: Iterable[str], encode: Encode) -> StoredVectors:
        """Returns the vectors of texts. Only texts that are missing are encoded.

        Args:
            encode: Gives unit rows [n, d] for at most 1,024 texts. What it raises passes through,
                and the texts before stay encoded.

        Raises:
            ConfigError: The vectors have other dimensions than those in the store, or can't be
                written.
        """
        keys = [(_key(text), text) for text in texts]
        missing = {key: text for key, text in keys if key not in self._places}
        for batch in _batches(list(missing)):
            self._append(batch, np.asarray(encode([missing[key] for key in batch])))
        return self._at([self._places[key] for key, _ in keys])

    def find(self, keys: NDArray[np.uint8]) -> StoredVectors | None:
        """Returns the vectors of keys [n, 32]; `None` where one is missing."""
        places = [self._places.get(key.tobytes(), -1) for key in keys]
        return None if -1 in places else self._at(places)

    def adopt(self, other: VectorStore, texts: Iterable[str]) -> None:
        """Copies what another store of the same encoder holds of the texts."""
        keys = dict.fromkeys(map(_key, texts))
        new = [key for key in keys if key not in self._places and key in other._places]
        for batch in _batches(new):
            self._append(batch, other._at([other._places[key] for key in batch])[:])

    def keep_rows(self, ids: Iterable[str], vectors: StoredVectors) -> None:
        """Writes which data-set rows the vectors belong to, in order; nothing without a folder."""
        if self.folder is not None:
            places = vectors.places.tolist()
            pairs = [[name, place] for name, place in zip(ids, places, strict=True)]
            write_atomic(self.path("rows.json"), [json.dumps(pairs)], private=True)

    def rows(self) -> tuple[list[str], StoredVectors]:
        """Returns the ids of the data-set rows in the filter's order, and their vectors.

        Raises:
            ConfigError: The list of rows can't be read, or speaks of vectors that are not there.
        """
        if self.folder is None or not self.path("rows.json").exists():
            return [], self._at([])
        path = self.path("rows.json")
        try:
            pairs = json.loads(path.read_bytes())
            ids = [str(name) for name, _ in pairs]
            vectors = self._at([place for _, place in pairs])
        except (OSError, ValueError, TypeError) as error:
            raise _wrong(path, "is not a list of row ids and numbers") from error
        places = vectors.places
        if len(places) and not 0 <= places.min() <= places.max() < len(self):
            raise _wrong(path, f"names rows beyond the {len(self)} vectors")
        return ids, vectors

    def array(self) -> Singles:
        """Returns all vectors, shape [n, d]; memory-mapped where they lie in a file."""
        if self.folder is not None and len(self._whole) != len(self) > 0:
            shape = (len(self), self.dimensions)
            self._whole = np.memmap(self.path("f32"), "<f4", "r", shape=shape)
        return self._whole

    def keys(self, places: Ints) -> NDArray[np.uint8]:
        """Returns the keys at places, shape [n, 32]."""
        keys = b"".join(self._keys[place] for place in places)
        return np.frombuffer(keys, np.uint8).reshape(-1, _KEY)

    def _at(self, places: Sequence[int]) -> StoredVectors:
        return StoredVectors(self, np.array(places, np.int64))

    def _read(self) -> None:
        identity, self.dimensions = _described(self.path("json"))
        if identity != self.identity:
            raise _wrong(self.path("json"), f"is of {identity!r}, not of {self.identity!r}")
        try:
            keys = self.path("keys").read_bytes() if self.path("keys").exists() else b""
            size = self.path("f32").stat().st_size if self.path("f32").exists() else 0
        except OSError as error:
            raise ConfigError(f"Cannot read {self.folder}: {error.strerror}") from error
        # What a crash tore off at the end of one file or the other does not count.
        n = min(len(keys) // _KEY, size // (4 * self.dimensions))
        self._keys = [keys[at : at + _KEY] for at in range(0, n * _KEY, _KEY)]
        self._places = {key: place for place, key in enumerate(self._keys)}
        sample = np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)
        with np.errstate(all="ignore"):  # other bytes may make any number
            lengths = np.linalg.norm(self.array()[sample].astype(np.float64), axis=1)
        if unit_fault(lengths) is not None:
            what = f"does not hold vectors of length 1 in {self.dimensions} dimensions"
            raise _wrong(self.path("f32"), what)

    def _append(self, keys: list[bytes], vectors: NDArray[Any]) -> None:
        if vectors.ndim != 2 or len(vectors) != len(keys) or not vectors.shape[1]:
            raise ConfigError(
                f"The encoder gave vectors of shape {list(vectors.shape)} for {len(keys)} texts",
                hint="encode(texts) returns one row a text.",
            )
        if self.dimensions not in (0, vectors.shape[1]):
            place = self.path("f32") if self.folder is not None else "The store"
            given = f"but the encoder gives {vectors.shape[1]}"
            raise _wrong(place, f"holds {self.dimensions} dimensions, {given}")
        rows = np.ascontiguousarray(vectors, "<f4")
        if self.folder is None:
            self._remember(rows)
        else:
            self._write(self.folder, keys, rows)
        self.dimensions = rows.shape[1]
        self._places.update(zip(keys, range(len(self), len(self) + len(keys)), strict=True))
        self._keys += keys

    def _remember(self, rows: Singles) -> None:
        """Puts rows into memory.

        Those before stay where they are while there is room: others hold them too.
        """
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
            # Without parents: where the run's own folder has gone, nothing takes its place.
            make_folder(folder)
            if not self.dimensions:
                described = {"identity": self.identity, "dimensions": rows.shape[1]}
                write_atomic(self.path("json"), [json.dumps(described)], private=True)
            _extend(self.path("f32"), len(self) * 4 * rows.shape[1], rows.tobytes())
            _extend(self.path("keys"), len(self) * _KEY, b"".join(keys))
        except OSError as error:
            hint = "Make room on the disk, or the folder writable, and run it again."
            raise ConfigError(f"Cannot write {folder}: {error.strerror}", hint=hint) from error


class StoredVectors:
    """The vectors of some texts, in the texts' order. `vectors[rows]` reads them, shape [n, d].

    Attributes:
        places: Shape [n]: where each stands in the store. Equal texts share a place.
    """

    def __init__(self, store: VectorStore, places: Ints) -> None:
        self._store, self.places = store, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice | Ints) -> Singles:
        """Returns a view of the file where rows stand in it one after another, else a copy."""
        places, array = self.places[rows], self._store.array()
        if len(places) and (np.diff(places) == 1).all():
            return array[places[0] : places[-1] + 1]
        return array[places]

    def __add__(self, others: StoredVectors) -> StoredVectors:
        """Puts those of the same store behind these."""
        return StoredVectors(self._store, np.append(self.places, others.places))

    @property
    def keys(self) -> NDArray[np.uint8]:
        """Returns what names each text, shape [n, 32]."""
        return self._store.keys(self.places)


def _batches(keys: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(keys), _BATCH):
        yield keys[at : at + _BATCH]


def _extend(path: Path, at: int, data: bytes) -> None:
    """Puts data at a place of a file and ends the file there, on the disk itself."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        with contextlib.suppress(PermissionError):  # another member of the group made it
            os.fchmod(file.fileno(), mode_in(path.parent))
        file.truncate(at)  # a torn piece of an earlier process
        file.seek(at)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _described(path: Path) -> tuple[str, int]:
    """Returns identity and dimensions in a `<name>.json`."""
    try:
        if not is_file(path):
            raise FileNotFoundError(path)
        value = json.loads(path.read_bytes())
        identity, dimensions = value["identity"], value["dimensions"]
        if not isinstance(identity, str) or type(dimensions) is not int or dimensions < 1:
            raise ValueError
    except ConfigError:
        raise
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _wrong(path, "does not describe vectors") from error
    return identity, dimensions


def _wrong(what: Path | str, why: str) -> ConfigError:
    return ConfigError(
        f"{what} {why}", hint="Delete the folder of vectors: the texts are then encoded again."
    )
