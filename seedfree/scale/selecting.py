"""Near-duplicates: the driver decides, workers compare and write."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seedfree.diversity.index import DiversityIndex
from seedfree.diversity.semantic import Threshold, as_threshold, limits_of
from seedfree.errors import ConfigError
from seedfree.records import Selection
from seedfree.scale.parts import Part, Rows, claim, missing, parts_of, split, without, write
from seedfree.scale.search import RaySearch
from seedfree.scale.work import PART_ROWS, do_parts

if TYPE_CHECKING:
    import pyarrow

__all__ = ["select_rows"]

# Rows decided at a time: enough to keep a cluster busy, and 200 MB of the driver's memory.
_BLOCK = 4096


def select_rows(
    rows: Rows,
    out: str | Path,
    threshold: Threshold = 0.95,
    *,
    part_rows: int = PART_ROWS,
    **options: Any,
) -> Selection:
    """Removes near-duplicates, with the workers of a Ray cluster to search for them.

    The answer is that of `greedy_select` with `index="exact"` over all rows in order. `out/kept`
    gets the kept rows, and `out/dropped` the others, with `reason`, `similarity` and
    `duplicate_of`: the id of the nearest kept row, or its number where rows have no column `id`.
    The column `vector` goes into neither. `out/decisions` holds what was decided of each row.

    The files are in the order of the rows. The call returns when all parts are there; made again,
    it does those that are missing, and decides nothing twice.

    The driver's machine needs room for all vectors in its temporary folder, some 700 bytes of
    memory a row, and the vectors of kept rows in its object store, which Ray spills to disk where
    they are too many. Each machine may come to hold these once.

    Args:
        rows: Parquet files, or folders of them, with a column `vector` as `encode_rows` writes it.
        out: A folder that all machines can write to, or an address that Arrow knows.
        threshold: Cosine, 0 to 1; or one for each task by its name, with `"*"` for all others.
        part_rows: Rows that a worker writes at a time. Row groups stay whole.
        options: Of Ray Data's `map_batches`, for the workers that write.

    Raises:
        ConfigError: An argument is wrong, or a file cannot be read.
        ConfigMismatchError: `out` was made with other settings.
        EncoderError: Vectors that have no cosine.
    """
    threshold = as_threshold(threshold)
    by_task = ["task"] if isinstance(threshold, Mapping) else []
    parts = parts_of(rows, part_rows, ("vector", *by_task))
    claim(str(out), "select_rows", parts, {"threshold": threshold})
    decisions = f"{out}/decisions"
    if missing(parts, decisions):
        _decide(parts, threshold, decisions)
    do_parts(missing(parts, f"{out}/kept"), _Splitting(str(out), decisions), options)
    tables = [_decisions_of(part, decisions) for part in parts]
    of = np.concatenate([table["row"].to_numpy() for table in tables])
    similarity = np.concatenate([table["similarity"].to_numpy() for table in tables])
    return Selection(np.flatnonzero(of < 0), of, similarity, RaySearch.name)


@dataclass(frozen=True)
class _Splitting:
    """Work: puts rows where the driver decided that they belong."""

    out: str
    decisions: str

    def ready(self) -> None:
        """Holds nothing between parts."""

    def do(self, part: Part) -> None:
        import pyarrow
        from pyarrow import compute

        decided = _decisions_of(part, self.decisions)
        near = pyarrow.scalar("diversity: near-duplicate")
        of = decided["duplicate_of"]
        reasons = compute.if_else(compute.is_valid(of), near, None)
        beside = {"reason": reasons, "duplicate_of": of, "similarity": decided["similarity"]}
        split(without(part.read(), "vector"), self.out, part, beside)


def _decisions_of(part: Part, folder: str) -> pyarrow.Table:
    return Part(f"{folder}/{part.name}", None, 0, part.rows).read()


def _decide(parts: Sequence[Part], threshold: Threshold, folder: str) -> None:
    """Decides over all rows in order, and writes what it decided of each part."""
    import pyarrow

    with tempfile.TemporaryDirectory() as scratch:
        vectors, ids, tasks = _read(parts, Path(scratch, "vectors"), threshold)
        limits = limits_of(threshold, tasks)
        selection = DiversityIndex(block=_BLOCK, search=RaySearch).add(vectors, limits.tolist())
        del vectors  # or the file stays on the disk until nobody looks at it
    for part in parts:
        these = slice(part.first, part.first + part.rows)
        of = selection.duplicate_of[these]
        named = pyarrow.array(of, mask=of < 0)
        columns = {
            "row": pyarrow.array(of),
            "duplicate_of": (ids.take(named) if ids else named).cast("string"),
            "similarity": pyarrow.array(selection.similarity[these], from_pandas=True),
        }
        write(pyarrow.table(columns), folder, part)


def _read(
    parts: Sequence[Part], path: Path, threshold: Threshold
) -> tuple[NDArray[Any], pyarrow.ChunkedArray | None, list[str]]:
    """Returns all vectors, in a file of their own; the rows' ids, if they have any; their tasks."""
    import pyarrow

    total = parts[-1].first + parts[-1].rows
    vectors: NDArray[Any] | None = None
    ids: list[Any] = []
    tasks: list[str] = []
    for part in parts:
        table = part.read(["vector", "id", "task"])
        rows = _matrix(table["vector"], part)
        if vectors is None:
            vectors = np.memmap(path, rows.dtype, "w+", shape=(total, rows.shape[1]))
        if rows.shape[1] != vectors.shape[1]:
            given = f"has vectors of {rows.shape[1]} dimensions, others have {vectors.shape[1]}"
            raise ConfigError(f"{part.path} {given}", hint="Compare vectors of one encoder alone.")
        vectors[part.first : part.first + part.rows] = rows
        ids += table["id"].chunks if "id" in table.column_names else []
        by_task = isinstance(threshold, Mapping)
        tasks += table["task"].to_pylist() if by_task else [""] * part.rows
    assert vectors is not None  # there are parts
    whole = sum(map(len, ids)) == total
    return vectors, pyarrow.chunked_array(ids) if whole else None, tasks


def _matrix(column: pyarrow.ChunkedArray, part: Part) -> NDArray[Any]:
    """Returns a column of lists of one length as an array, shape [rows, d]."""
    import pyarrow

    hint = "Make the vectors by encode_rows, or write a list of as many numbers for each row."
    try:
        # Ray's own tensors have their numbers in `storage`.
        lists = [getattr(chunk, "storage", chunk) for chunk in column.chunks]
        widths = {len(row) for each in lists for row in (each[:1], each[-1:]) for row in row}
        flat = np.concatenate([each.flatten().to_numpy() for each in lists])
        return flat.reshape(part.rows, *widths)
    except (AttributeError, TypeError, ValueError, pyarrow.ArrowInvalid) as error:
        raise ConfigError(f"{part.path} has no vectors in the column vector", hint=hint) from error
