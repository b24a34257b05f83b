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

_KINDS = (".csv", ".jsonl", ".json", ".parquet")


def questions_of(benchmark: Benchmark) -> tuple[Question, ...]:
    """Returns the benchmark's questions.

    Raises:
        ConfigError: It is not a benchmark, or a class of one. Or it holds something else than
            questions, or two of one id.
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
    for question in questions:
        if not isinstance(question, Question):
            kind = type(question).__name__
            raise ConfigError(f"{benchmark.name} holds {kind}", hint="Make each a sf.Question.")
    for name, times in Counter(question.id for question in questions).items():
        if times > 1:
            raise ConfigError(
                f"{benchmark.name} has two questions with the id {name!r}",
                hint="Give each its own.",
            )
    return questions


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Reads the rows of a CSV, JSONL or JSON (one list) file, also gzipped, or of a Parquet file.

    Raises:
        ConfigError: The file cannot be read, is of another kind, or holds no rows. The message
            names it, and the line.
    """
    path = Path(path).expanduser()
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix not in _KINDS or (plain.suffix == ".parquet" and plain != path):
        hint = "Give a .csv, .jsonl, .json or .parquet file."
        raise ConfigError(f"{path} is of a kind that cannot be read", hint=hint)
    rows = _read(path, plain.suffix)
    if not rows:
        raise ConfigError(f"{path} holds no rows")
    return rows


def _read(path: Path, kind: str) -> list[dict[str, Any]]:
    if kind == ".parquet":
        return _parquet(path)
    text = file_text(path)
    if kind != ".csv":
        return [row for _, row in json_rows(path, text, whole=kind == ".json")]
    rows = [cells for _, cells in csv_rows(path, text)]
    # A row may be shorter than the header; it has every column all the same.
    return [dict.fromkeys(rows[0]) | dict(zip(rows[0], cells, strict=False)) for cells in rows[1:]]


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise missing_extra("pyarrow", "hub") from error
    try:
        rows: list[dict[str, Any]] = read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot read {path}: {reason}") from error
    return rows


def hub_rows(name: str, split: str, config: str | None = None) -> list[dict[str, Any]]:
    """Loads the rows of a data set on the hub, from its cache if they were fetched before.

    Raises:
        ConfigError: `datasets` is missing, or the hub does not give it.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise missing_extra("datasets", "hub") from error
    try:
        return [dict(row) for row in load_dataset(name, config, split=split)]
    except Exception as error:  # The client raises what its HTTP library does, and that changes.
        reason = f"{type(error).__name__}: {error}"[:200]
        command = f"hf download --repo-type dataset {name}"
        hint = f"Fetch it where there is a network ({command}), and give path=..."
        raise ConfigError(f"The hub does not give {name}: {reason}", hint=hint) from error


def text_of(value: Any) -> str:
    """Returns a cell as text, stripped. An empty cell (`None`, NaN) is empty text."""
    return "" if absent(value) else str(value).strip()


def unique(ids: Iterable[str]) -> Iterator[str]:
    """Yields the ids. One that came before gets a number after it: `a`, `a-2`, `a-3`."""
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    for name in ids:
        distinct = name
        # The numbered name may be another row's own id.
        while distinct in seen:
            numbers[name] = numbers.get(name, 1) + 1
            distinct = f"{name}-{numbers[name]}"
        seen.add(distinct)
        yield distinct


def missing(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    """Returns those of the names that no row has."""
    known = {name for row in rows for name in row}
    return [name for name in names if name not in known]
