"""The one place where files are read and written: text, CSV, JSON and JSONL, whole or not at all.

Readers give errors that name the file and the line. Writers leave the old file or the new one.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import secrets
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError
from seedfree.text import clean

__all__ = [
    "absent",
    "begins_with",
    "claim_file",
    "claim_folder",
    "csv_line",
    "csv_rows",
    "file_text",
    "give_mode",
    "is_file",
    "json_line",
    "json_rows",
    "make_folder",
    "mode_in",
    "read_json",
    "sync_folder",
    "temporary_for",
    "utf8_text",
    "write_atomic",
    "write_json",
]

# A cell may hold a whole article. The csv module's own limit is 131,072 characters.
_LONGEST_CELL = 2**31 - 1
# JSON lets these stand unescaped in a string, but many line readers end a line at them.
_LINE_ENDS = {c: f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}


def utf8_text(path: str | Path) -> str:
    r"""Reads a UTF-8 file, with or without a byte order mark. Line ends become `\n`.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error


def file_text(path: Path) -> str:
    """Reads a UTF-8 file that a person made, also gzipped, with or without a byte order mark.

    Line ends stay as they are, unlike in `utf8_text`: a cell of a CSV file may hold any of them.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Spreadsheets save CSV in the encoding of the machine unless they are asked otherwise.
        hint = "Save it as CSV UTF-8." if path.suffix == ".csv" else None
        raise ConfigError(f"{path} is not UTF-8 text", hint=hint) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(f"Cannot read {path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}") from error


def csv_rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Returns the rows that have cells, the header too, each with the line on which it begins.

    Lines are counted from 1. Cells stand between commas, semicolons or tabs, by what the header has
    most of: spreadsheets write the one that the machine's language asks for.

    Raises:
        ConfigError: A quote is out of place. The message names the line.
    """
    # Excel lets a file say so in a line before the header.
    named = re.match(r'\s*"?sep=([,;\t])"?\r?\n', text, re.IGNORECASE)
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = named[1] if named else max(",;\t", key=header.count)
    # The limit holds for the whole process, so it is put back for whoever else reads CSV there.
    limit = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if cells and not (named and not rows and cells[0].lower().startswith("sep=")):
                rows.append((line, cells))
            # `line_num` is the last line of the row that was read: a cell may hold several.
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{path}, line {line}: not CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def csv_line(cells: Iterable[str]) -> str:
    """Returns one row of a CSV file, with its line end."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        ConfigError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(utf8_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        # Too many brackets end the parser's recursion.
        raise ConfigError(f"{path} is not JSON: {error}") from None


def json_rows(
    path: Path, text: str, *, whole: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the objects of a JSONL text, each with its line, from 1.

    Of a list on one line it yields the objects in it.

    Args:
        whole: The text is one JSON value, not one a line.

    Raises:
        ConfigError: A line is not JSON, or not an object. The message names it.
    """
    # Not splitlines(), which also ends a line at U+2028: that may stand in a JSON string.
    lines = [text] if whole else text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: not JSON: {error}") from None
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            if not isinstance(row, dict):
                raise ConfigError(f"{path}, line {number}: not a JSON object")
            yield number, row


def json_line(value: Mapping[str, Any]) -> str:
    """Returns a line of a JSONL file, with its end: the same bytes on any machine."""
    line = clean(json.dumps(value, ensure_ascii=False, allow_nan=False))
    for end, escape in _LINE_ENDS.items():
        line = line.replace(end, escape)
    return line + "\n"


def absent(value: object) -> bool:
    """Tells whether a value is what tables have for an empty cell: `None`, NaN, pandas' NA."""
    # By name, so that pandas need not be imported. Of numbers, NaN alone differs from itself.
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, Number) and bool(value != value)


def is_file(path: str | Path) -> bool:
    """Tells whether a file stands in a place where the library alone writes.

    Raises:
        ConfigError: Something else does. A link would lead out of the folder, and a pipe or a
            device would never end.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    if not stat.S_ISREG(mode):
        hint = "Remove it, or choose another folder."
        raise ConfigError(f"{path} is not a plain file", hint=hint)
    return True


def begins_with(path: Path, text: str) -> bool:
    """Tells whether a file is there that begins with a text, by which one of our own is known."""
    try:
        with path.open("rb") as file:
            return file.read(len(text.encode())) == text.encode()
    except OSError:
        return False


def claim_file(path: Path, mark: str) -> None:
    """Makes sure that a file written there lies over none but one of our own.

    Args:
        mark: The text with which ours begin.

    Raises:
        ConfigError: Another file stands there, or a link, a folder, a pipe or a device.
    """
    if is_file(path) and not begins_with(path, mark):
        raise ConfigError(f"{path} is there already, and is not ours", hint="Give another out.")


def claim_folder(folder: Path, marks: Iterable[str] = ()) -> None:
    """Makes sure that nothing written into a folder can lie over somebody else's files.

    Args:
        folder: Missing, empty but for hidden files, or one of our own.
        marks: Names of files by which one of our own is known; without any it must be new.

    Raises:
        ConfigError: It holds other files, or is a file.
    """
    hint = "Choose an empty or a new folder."
    try:
        names = {name for name in os.listdir(folder) if not name.startswith(".")}
    except NotADirectoryError:
        raise ConfigError(f"{folder} is no folder", hint=hint) from None
    except OSError:
        return  # whoever writes there says why it cannot
    if names and names.isdisjoint(marks):
        raise ConfigError(f"{folder} holds files of something else", hint=hint)


def mode_in(folder: Path) -> int:
    """Returns the mode of a run's own files in a folder: 0600, or what the folder gives its group.

    A folder is shared with its group by the setgid bit (`g+s`) alone, which `give_mode` sets. Many
    systems make each new folder writable by the group, and nobody chose that.
    """
    mode = folder.stat().st_mode
    return 0o600 | (mode & 0o060 if mode & stat.S_ISGID else 0)


def make_folder(folder: Path) -> None:
    """Makes a folder in a run's own: for the owner alone, or for the group as the run's is."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        if group := mode_in(folder.parent) & 0o060:
            # The umask would take bits from the mode of mkdir().
            folder.chmod(stat.S_ISGID | 0o700 | group | (group & 0o020) >> 1 | (group & 0o040) >> 2)


def give_mode(folder: Path, mode: int) -> None:
    """Gives a run folder, and what stands in it, a mode. A missing folder is made.

    Args:
        mode: 0700 for the owner alone; 0750 and 0770 let the group read, and write.

    Raises:
        ConfigError: It cannot be made, or is somebody else's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # New files get the folder's group, and not the main group of whoever makes them.
        shared = stat.S_ISGID if mode & 0o070 else 0
        paths = [folder]
        for place, folders, files in os.walk(folder):  # follows no links
            paths += [Path(place, name) for name in folders + files]
        for path in paths:
            kind = path.lstat().st_mode
            if stat.S_ISDIR(kind):
                path.chmod(mode | shared)
            elif stat.S_ISREG(kind):
                path.chmod(mode & 0o660)
    except OSError as error:
        hint = "Its owner can change it, or choose another folder."
        raise ConfigError(
            f"Cannot give {folder} the mode {mode:o}: {error.strerror}", hint=hint
        ) from error


def temporary_for(path: Path) -> Path:
    """Names a file beside one that is to be written, `.{name}.*.tmp`, as nobody else does.

    On a shared folder the number of a process does not tell those of two machines apart.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def write_atomic(path: str | Path, parts: Iterable[str | bytes], *, private: bool = False) -> None:
    """Writes UTF-8 text so that a reader, or a power loss, meets the old file or the whole new one.

    Args:
        private: A run's own file, with the mode of `mode_in`, in a folder that is there. For others
            the umask decides, and missing folders are made.

    Raises:
        ConfigError: The file cannot be written. An old one is unharmed.
    """
    path = Path(path)
    temporary = temporary_for(path)
    mode = 0o600 if private else 0o666
    try:
        if not private:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(handle, "wb") as file:
                if private:
                    os.fchmod(handle, mode_in(path.parent))
                file.writelines(map(_encoded, parts))
                file.flush()
                # The bytes must be on the disk before the name leads to them.
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        hint = "Make room on the disk, or the folder writable, and run it again."
        raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error


def _encoded(part: str | bytes) -> bytes:
    return part if isinstance(part, bytes) else part.encode()


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file of a run, whole or not at all."""
    text = clean(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True))
    write_atomic(path, [text, "\n"], private=True)
