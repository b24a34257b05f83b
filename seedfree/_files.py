"""Rows of files that people make and edit, CSV or JSON, and what stands for nothing in them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError
from seedfree.text import clean

__all__ = [
    "absent",
    "csv_rows",
    "file_text",
    "json_line",
    "json_rows",
    "read_json",
    "sync_folder",
    "write_atomic",
    "write_json",
]

# A cell may hold a whole article; the module's own limit is 131,072 characters.
_CELL = 2**31 - 1


def file_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark, unpacked where its name ends with `.gz`.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "Save it as CSV UTF-8." if path.suffix == ".csv" else None
        raise ConfigError(f"{path} is not UTF-8 text", hint=hint) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(f"Cannot read {path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}") from error


def csv_rows(path: Path, text: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """The rows that have cells, the header among them, each with the line, from 1, on which it begins.

    Raises:
        ConfigError: A quote is out of place; the message names the line.
    """
    limit = csv.field_size_limit(_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if cells:
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{path}, line {line}: not CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def json_rows(
    path: Path, text: str, *, whole: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects with the line, from 1, on which each stands; of a list on one line, its objects.

    Args:
        whole: The text is one value, not one a line.

    Raises:
        ConfigError: A line is no JSON, or no object; the message names it.
    """
    for line, said in enumerate([text] if whole else text.split("\n"), 1):
        if not said.strip():
            continue
        try:
            value = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {line}: not JSON: {error}") from None
        for row in value if isinstance(value, list) else [value]:
            if not isinstance(row, dict):
                raise ConfigError(f"{path}, line {line}: not a JSON object")
            yield line, row


def absent(value: object) -> bool:
    """Whether it is what tables have for an empty cell: `None`, NaN, pandas' NA."""
    nothing = value is None or type(value).__name__ == "NAType"
    return nothing or isinstance(value, Number) and bool(value != value)


_LINE_ENDS = {c: f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}


def json_line(value: Mapping[str, Any]) -> str:
    """One line of a JSONL file, with its line end; the same bytes for the same value on any machine."""
    line = clean(json.dumps(value, ensure_ascii=False, allow_nan=False))
    for end, escape in _LINE_ENDS.items():
        line = line.replace(end, escape)
    return line + "\n"


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ConfigError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None


def write_atomic(path: str | Path, parts: Iterable[str | bytes], *, private: bool = False) -> None:
    """Writes UTF-8 text so that a reader, or a machine that loses power, has the old file or the whole new one.

    Args:
        private: For the owner alone (mode 0600); otherwise as the umask says.

    Raises:
        ConfigError: The file cannot be written; an old one is unharmed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # of a process that was killed and had the same number
            temporary.unlink(missing_ok=True)
            handle = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666
            )
            with open(handle, "wb") as file:
                file.writelines(
                    part if isinstance(part, bytes) else part.encode() for part in parts
                )
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        hint = "Make room on the disk, or the folder writable, and run it again."
        raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file in one step."""
    text = clean(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True))
    write_atomic(path, [text, "\n"], private=True)
