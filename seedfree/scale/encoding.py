"""Vectors of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seedfree.diversity.calibration import identity_of, judge_tokens, unit_rows
from seedfree.errors import ConfigError
from seedfree.protocols import Encoder
from seedfree.scale.parts import Part, Rows, claim, missing, parts_of, without, write
from seedfree.scale.work import PART_ROWS, check_keyless, do_parts

__all__ = ["encode_rows"]


def encode_rows(
    rows: Rows,
    out: str | Path,
    encoder: Encoder,
    *,
    fields: Sequence[str] = ("instruction", "output"),
    part_rows: int = PART_ROWS,
    **options: Any,
) -> None:
    """Turns rows into vectors on the workers of a Ray cluster.

    `out` gets the rows with a column `vector`, lists of float32, in files in the order of the rows.
    The call returns when all parts are there; made again, it does those that are missing, so that
    no part is encoded twice.

    Args:
        rows: Parquet files, or folders of them.
        out: A folder that all machines can write to, or an address that Arrow knows.
        encoder: Each worker loads its own. It may hold no key.
        fields: Columns of texts that count, joined by line breaks.
        part_rows: Rows that a worker reads at a time. Row groups stay whole.
        options: Of Ray Data's `map_batches`, such as `num_gpus=1, concurrency=8`.

    Raises:
        ConfigError: An argument is wrong, a file or the encoder cannot be read, or it holds a key.
        ConfigMismatchError: `out` was made with other settings.
        EncoderError: The encoder does not know the texts, or returns no unit vectors.
    """
    if isinstance(encoder, (str, type)) or not isinstance(encoder, Encoder):
        raise ConfigError(
            f"encoder is {encoder!r}", hint="Use an object such as sf.BGEM3Encoder()."
        )
    if isinstance(fields, str) or not fields:
        raise ConfigError(f"fields is {fields!r}", hint="Give a list of columns.")
    check_keyless([encoder])
    parts = parts_of(rows, part_rows, fields)
    settings = {"encoder": identity_of(encoder), "fields": list(fields)}
    claim(str(out), "encode_rows", parts, settings)
    work = _Encoding(str(out), encoder, tuple(fields))
    do_parts(missing(parts, str(out)), work, options, loads=True)


@dataclass(frozen=True)
class _Encoding:
    """Work: makes vectors."""

    out: str
    encoder: Encoder
    fields: tuple[str, ...]

    def ready(self) -> None:
        """Leaves loading to the encoder, which does it with the first texts."""

    def do(self, part: Part) -> None:
        import pyarrow

        table = part.read()
        columns = [table[name].to_pylist() for name in self.fields]
        texts = ["\n".join(text or "" for text in row) for row in zip(*columns, strict=True)]
        judge_tokens(self.encoder, texts)
        vectors = unit_rows(self.encoder, texts).astype(np.float32, copy=False)
        flat = pyarrow.array(vectors.ravel())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        write(without(table, "vector").append_column("vector", column), self.out, part)
