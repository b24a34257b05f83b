"""Rows that filters drop, and rows that they doubt."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seedfree.dataset import from_row
from seedfree.errors import ConfigError
from seedfree.filters import default_filters
from seedfree.languages import Language
from seedfree.protocols import Filter
from seedfree.records import Context, Instruction, Suspicion, altered
from seedfree.run.settings import describe
from seedfree.scale.parts import Part, Rows, claim, missing, parts_of, split
from seedfree.scale.work import PART_ROWS, check_keyless, do_parts

__all__ = ["filter_rows"]


def filter_rows(
    rows: Rows,
    out: str | Path,
    filters: Literal["default"] | Sequence[Filter] = "default",
    *,
    language: str | Language,
    doubted: Literal["kept", "dropped"] = "kept",
    part_rows: int = PART_ROWS,
    **options: Any,
) -> None:
    """Checks rows on the workers of a Ray cluster.

    `out/kept` gets the rows that no fact speaks against, and `out/dropped` the others, with the
    `reason`. Both have a column `doubts`, a list of `rule`, `detail` and `words`: what a filter
    suspects (`Suspicion`), and what an LLM would be asked about in a run. No worker asks one.

    The files are in the order of the rows. The call returns when all parts are there; made again,
    it does those that are missing.

    Args:
        rows: Parquet files, or folders of them, with at least the columns `task`, `instruction` and
            `output` of a data set. A column `context` is the text that a row was written from.
        out: A folder that all machines can write to, or an address that Arrow knows.
        filters: As in `Pipeline`. None may ask an LLM or hold a key.
        language: A code, or a `Language`.
        doubted: Where rows with doubts go. `"dropped"` is what a run without an appeal does.
        part_rows: Rows that a worker reads at a time. Row groups stay whole.
        options: Of Ray Data's `map_batches`, such as `concurrency=8`.

    Raises:
        ConfigError: An argument is wrong, a file cannot be read, or a filter needs an LLM or a key.
        ConfigMismatchError: `out` was made with other settings.
        RequestError: A filter raises.
    """
    if doubted not in ("kept", "dropped"):
        raise ConfigError(f"doubted is {doubted!r}", hint="Use 'kept' or 'dropped'.")
    chosen = default_filters() if filters == "default" else list(filters)
    for each in chosen:
        if isinstance(each, (str, type)) or not isinstance(each, Filter):
            hint = "Give a list of objects such as sf.RuleFilter()."
            raise ConfigError(f"filters holds {each!r}", hint=hint)
        if inspect.iscoroutinefunction(each.check):
            raise _asks(each)
    check_keyless(chosen)
    language = Language.load(language) if isinstance(language, str) else language
    parts = parts_of(rows, part_rows, ("task", "instruction", "output"))
    settings = {"filters": describe(chosen), "language": describe(language), "doubted": doubted}
    claim(str(out), "filter_rows", parts, settings)
    work = _Filtering(str(out), chosen, language, doubted)
    do_parts(missing(parts, f"{out}/kept"), work, options)


def _asks(component: object) -> ConfigError:
    hint = "Leave it out here, and pass it to Pipeline(filters=[...])."
    return ConfigError(f"{type(component).__name__} may ask an LLM, as no worker can", hint=hint)


@dataclass(frozen=True)
class _Keyless:
    """The session of filters in a worker: a language, and nobody to ask."""

    language: Language
    seed: int = 0
    tasks: tuple[str, ...] = ()
    grounded_tasks: frozenset[str] | None = None
    folder: Path | None = None

    async def generate(self, *given: Any, **more: Any) -> Any:
        raise ConfigError("There is no LLM in a worker", hint="Leave out the filter that asks it.")

    fetch = paid = generate


@dataclass(frozen=True)
class _Filtering:
    """Work: checks rows."""

    out: str
    filters: Sequence[Filter]
    language: Language
    doubted: str

    def ready(self) -> None:
        for each in self.filters:
            if bind := getattr(each, "bind", None):
                _at_once(each, bind(_Keyless(self.language)))

    def do(self, part: Part) -> None:
        import pyarrow

        table = part.read()
        findings = [self._findings(part.first + i, row) for i, row in enumerate(table.to_pylist())]
        text = pyarrow.string()
        doubt = pyarrow.struct({"rule": text, "detail": text, "words": pyarrow.list_(text)})
        doubts = [
            [{"rule": d.rule, "detail": d.detail, "words": list(d.words)} for d in suspicions]
            for _, suspicions in findings
        ]
        if "doubts" in table.column_names:
            table = table.drop_columns("doubts")
        table = table.append_column("doubts", pyarrow.array(doubts, pyarrow.list_(doubt)))
        reasons = pyarrow.array([reason for reason, _ in findings], text)
        split(table, self.out, part, {"reason": reasons})

    def _findings(self, number: int, row: Mapping[str, Any]) -> tuple[str | None, list[Suspicion]]:
        """Returns why a row is dropped, and what is suspected of it where no fact drops it."""
        try:
            item = _instruction(row)
        except ConfigError as error:
            raise ConfigError(f"Row {number}: {error.message}") from error
        doubts: list[Suspicion] = []
        for each in self.filters:
            found = _at_once(each, each.check(item))
            if isinstance(found, str):
                return found, []
            doubts += [found] if isinstance(found, Suspicion) else found or []
        return doubts[0].reason if doubts and self.doubted == "dropped" else None, doubts


def _instruction(row: Mapping[str, Any]) -> Instruction:
    item = from_row(row)
    text = row.get("context")
    return altered(item, context=Context(text=text)) if isinstance(text, str) else item


def _at_once(component: object, value: Any) -> Any:
    """Returns a value that need not be awaited."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody awaited it
        raise _asks(component)
    return value
