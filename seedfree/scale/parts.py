"""Rows in Parquet, in parts: what a worker reads at one time, and writes in one step.

What is made of a part is a file with the number of its first row for a name. So the order of the
files is that of the rows, whatever worker wrote which, and a part is done once its file is there.

Places are paths of a file system that all machines share, or addresses that Arrow knows, such as
`s3://bucket/rows`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedfree._files import write_atomic
from seedfree.errors import ConfigError, ConfigMismatchError, missing_extra
from seedfree.run.settings import differing, fingerprint

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Part", "Rows", "claim", "missing", "parts_of", "split", "without", "write"]

Rows = str | Path | Sequence[str | Path]

# Readers of Parquet pass over such names.
_SETTINGS = "_settings.json"


@dataclass(frozen=True)
class Part:
    """Some rows of a Parquet file.

    Attributes:
        groups: Numbers of the file's row groups that hold them; `None` for all.
        first: The number of the first of them among all rows.
        rows: How many they are.
    """

    path: str
    groups: tuple[int, ...] | None
    first: int
    rows: int

    @property
    def name(self) -> str:
        """Returns the name of the file of what is made of them."""
        return f"{self.first:012}.parquet"

    def read(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """Reads the rows, or those of some columns that the file has."""
        from pyarrow import parquet

        system, path = _place(self.path)
        with system.open_input_file(path) as opened:
            file = parquet.ParquetFile(opened)
            if columns is not None:
                columns = [name for name in columns if name in file.schema_arrow.names]
            if self.groups is None:
                return file.read(columns)
            return file.read_row_groups(list(self.groups), columns=columns)


def parts_of(rows: Rows, size: int, columns: Iterable[str]) -> list[Part]:
    """Cuts rows into parts, by what stands at the ends of their files.

    Args:
        rows: A Parquet file; a folder, whose files are taken in the order of their names; or a list
            of these.
        size: Rows of a part. A row group is never cut, so a part may have more.
        columns: What each file must have.

    Raises:
        ConfigError: There is no row, a file cannot be read, or a column is missing.
    """
    if type(size) is not int or size < 1:
        raise ConfigError(f"part_rows is {size!r}", hint="Use a whole number from 1.")
    given = [rows] if isinstance(rows, (str, Path)) else rows
    parts: list[Part] = []
    first = 0
    for path in (path for each in given for path in _files_at(str(each))):
        counts = _row_groups(path, columns)
        start = 0
        for end in range(1, len(counts) + 1):
            if end == len(counts) or sum(counts[start : end + 1]) > size:
                count = sum(counts[start:end])
                parts += [Part(path, tuple(range(start, end)), first, count)] if count else []
                first, start = first + count, end
    if not parts:
        raise ConfigError("There are no rows", hint="Give Parquet files, or a folder of them.")
    return parts


def claim(out: str, stage: str, parts: Sequence[Part], settings: Mapping[str, Any]) -> None:
    """Makes a folder the one of a stage and its settings, or goes on in it.

    Raises:
        ConfigMismatchError: It was made with others, or of other rows.
        ConfigError: It holds files of something else.
    """
    rows = fingerprint([asdict(part) for part in parts])
    now = {"stage": stage, "rows": rows, **settings}
    names = [name for name in _names_in(out) if not name.startswith(".")]
    if _SETTINGS in names:
        system, path = _place(f"{out}/{_SETTINGS}")
        with system.open_input_file(path) as file:
            was = json.loads(file.read())
        if fields := differing(was, json.loads(json.dumps(now))):
            what = f"{out} was made with other settings ({', '.join(fields[:5])})"
            hint = "Use those again, or another folder."
            raise ConfigMismatchError(what, fields=fields, hint=hint)
    elif names:
        hint = "Choose an empty or a new folder."
        raise ConfigError(f"{out} holds files of something else", hint=hint)
    else:
        _publish(f"{out}/{_SETTINGS}", json.dumps(now, ensure_ascii=False, indent=2).encode())


def missing(parts: Iterable[Part], folder: str) -> list[Part]:
    """Returns the parts that are not done in a folder."""
    there = set(_names_in(folder))
    return [part for part in parts if part.name not in there]


def without(table: pyarrow.Table, *names: str) -> pyarrow.Table:
    """Returns a table without some columns, which need not be there."""
    return table.drop_columns([name for name in names if name in table.column_names])


def write(table: pyarrow.Table, folder: str, part: Part) -> None:
    """Writes what was made of a part, whole or not at all."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    _publish(f"{folder}/{part.name}", sink.getvalue().to_pybytes())


def split(table: pyarrow.Table, out: str, part: Part, beside: Mapping[str, Any]) -> None:
    """Writes the rows without a reason into `out/kept`, and the others into `out/dropped`.

    A part is done once its `kept` is there, so that is written last.

    Args:
        beside: Further columns of what is dropped. One is the `reason`, null for a kept row.
    """
    from pyarrow import compute

    kept = compute.is_null(beside["reason"])
    dropped = without(table, *beside)
    for name, column in beside.items():
        dropped = dropped.append_column(name, column)
    write(dropped.filter(compute.invert(kept)), f"{out}/dropped", part)
    write(without(table, *beside).filter(kept), f"{out}/kept", part)


def _publish(place: str, content: bytes) -> None:
    if "://" not in place:
        write_atomic(place, [content])
        return
    # Object stores show a file once all of it is there.
    system, path = _place(place)
    with system.open_output_stream(path) as file:
        file.write(content)


def _place(place: str) -> tuple[Any, str]:
    """Returns the file system of a place, and its path there."""
    try:
        from pyarrow import fs
    except ImportError as error:
        raise missing_extra("pyarrow", "ray") from error
    if "://" not in place:
        return fs.LocalFileSystem(), str(Path(place).absolute())
    try:
        system, path = fs.FileSystem.from_uri(place)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{place} cannot be reached: {error}") from error
    return system, path


def _files_at(place: str) -> list[str]:
    from pyarrow import fs

    system, path = _place(place)
    if system.get_file_info(path).type == fs.FileType.Directory:
        names = sorted(name for name in _names_in(place) if name.endswith(".parquet"))
        return [f"{place.rstrip('/')}/{name}" for name in names if not name.startswith(".")]
    return [place]


def _names_in(folder: str) -> list[str]:
    system, path = _place(folder)
    from pyarrow import fs

    infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return [info.base_name for info in infos]


def _row_groups(path: str, columns: Iterable[str]) -> list[int]:
    """Counts the rows of each row group of a file."""
    import pyarrow
    from pyarrow import parquet

    system, inner = _place(path)
    try:
        with system.open_input_file(inner) as opened:
            file = parquet.ParquetFile(opened)
            there, footer = file.schema_arrow.names, file.metadata
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ConfigError(f"Cannot read {path}: {error}") from error
    if absent := [name for name in columns if name not in there]:
        hint = f"It has {', '.join(there)}."
        raise ConfigError(f"{path} has no column {absent[0]}", hint=hint)
    return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
