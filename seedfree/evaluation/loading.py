"""Rows of a benchmark, from a file or from the Hugging Face hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seedfree._files import absent, csv_rows, file_text, json_rows
from seedfree.errors import ConfigError, missing_extra
from seedfree.protocols import Benchmark
from seedfree.records import Question

__all__ = ["hub_rows", "missing", "questions_of", "read_rows", "text_of", "unique"]


def questions_of(benchmark: Benchmark) -> tuple[Question, ...]:
    """The benchmark's questions.

    Raises:
        ConfigError: It is no benchmark, or a class of one; it holds something else than questions,
            or two of one id.
    """
    if isinstance(benchmark, type):
        name = benchmark.__name__
        raise ConfigError(f"benchmark is the class {name}", hint=f"Make one of it: {name}().")
    if not isinstance(benchmark, Benchmark):
        raise ConfigError(
            f"benchmark is {type(benchmark).__name__}",
            hint="Give a Benchmark, such as Belebele('th').",
        )
    questions = tuple(benchmark.questions())
    wrong = next((one for one in questions if not isinstance(one, Question)), None)
    if wrong is not None:
        raise ConfigError(
            f"{benchmark.name} holds {type(wrong).__name__}", hint="Make each a sf.Question."
        )
    twice = [one for one, n in Counter(one.id for one in questions).items() if n > 1]
    if twice:
        raise ConfigError(
            f"{benchmark.name} has two questions with the id {twice[0]!r}",
            hint="Give each its own.",
        )
    return questions


_HINT = "Give a .csv, .jsonl, .json or .parquet file."


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV, JSONL, JSON (one list) or Parquet file; all but the last also gzipped.

    Raises:
        ConfigError: The file cannot be read, is of another kind, or holds no rows; the message
            names it, and the line.
    """
    path = Path(path).expanduser()
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".jsonl", ".json", ".parquet"):
        raise ConfigError(f"{path} is of a kind that cannot be read", hint=_HINT)
    rows = _parquet(path) if kind == ".parquet" else _parsed(path, kind)
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    return rows


def _parsed(path: Path, kind: str) -> list[dict[str, Any]]:
    text = file_text(path)
    if kind != ".csv":
        return [row for _, row in json_rows(path, text, whole=kind == ".json")]
    rows = [cells for _, cells in csv_rows(path, text)]
    return [dict.fromkeys(rows[0]) | dict(zip(rows[0], cells, strict=False)) for cells in rows[1:]]


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise missing_extra("pyarrow", "train") from error
    try:
        rows: list[dict[str, Any]] = read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise ConfigError(
            f"Cannot read {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
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
    return "" if absent(value) else str(value).strip()


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
