"""Rows of a benchmark, from a file or from the Hugging Face hub."""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError, missing_extra

__all__ = ["hub_rows", "missing", "read_rows", "text_of", "unique"]

_HINT = "Give a .csv, .jsonl, .json or .parquet file."
# A cell of a CSV file may hold a whole article; the module's own limit is 131,072 characters.
_CELL = min(sys.maxsize, 2**31 - 1)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV, JSONL, JSON (one list) or Parquet file; all but the last also gzipped.

    Raises:
        ConfigError: The file cannot be read, is of another kind, or holds no rows; the message names it, and the line.
    """
    path = Path(path).expanduser()
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".jsonl", ".json", ".parquet"):
        raise ConfigError(f"{path} is of a kind that cannot be read", hint=_HINT)
    try:
        rows = _parquet(path) if kind == ".parquet" else list(_parsed(path, kind))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, EOFError) as error:
        raise ConfigError(f"{path} is not whole, or not UTF-8 text") from error
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    return rows


def _parsed(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        if kind == ".csv":
            limit = csv.field_size_limit(_CELL)
            try:
                yield from csv.DictReader(file)
            except csv.Error as error:
                raise ConfigError(f"{path}: {error}") from error
            finally:
                csv.field_size_limit(limit)
            return
        texts = enumerate(file, 1) if kind == ".jsonl" else [(1, file.read())]
        for line, text in texts:
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path}, line {line}: {error}") from None
            for row in value if isinstance(value, list) else [value]:
                if not isinstance(row, dict):
                    raise ConfigError(f"{path}, line {line}: not a JSON object")
                yield row


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]
        from pyarrow.parquet import read_table  # type: ignore[import-untyped]
    except ImportError as error:
        raise missing_extra("pyarrow", "train") from error
    try:
        rows: list[dict[str, Any]] = read_table(path).to_pylist()
    except ArrowException as error:
        raise ConfigError(f"Cannot read {path}: {error}") from error
    return rows


def hub_rows(name: str, split: str, config: str | None = None) -> list[dict[str, Any]]:
    """The rows of a data set on the hub, from its cache where it was fetched before.

    Raises:
        ConfigError: `datasets` is missing, or the hub does not give it.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise missing_extra("datasets", "train") from error
    command = f"hf download --repo-type dataset {name}"
    try:
        return [dict(row) for row in load_dataset(name, config, split=split)]
    except Exception as error:  # the client raises what its HTTP library does, and that changes
        said = f"{type(error).__name__}: {error}"[:200]
        hint = f"Fetch it where there is a network ({command}), and give path=..."
        raise ConfigError(f"The hub does not give {name}: {said}", hint=hint) from error


def text_of(value: Any) -> str:
    """A cell as text, stripped; empty for what stands for nothing (`None`, NaN)."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return ""
    return str(value).strip()


def unique(ids: Iterable[str]) -> Iterator[str]:
    """The ids, each later one of the same name with a number after it."""
    seen: set[str] = set()
    for one in ids:
        name, number = one, 1
        while name in seen:
            number += 1
            name = f"{one}-{number}"
        seen.add(name)
        yield name


def missing(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    """Those of the names that no row has."""
    known = {name for row in rows for name in row}
    return [name for name in names if name not in known]
