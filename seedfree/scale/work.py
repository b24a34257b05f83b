"""Workers: each has one piece of work, and does it part by part.

What fails in a worker comes back as words, not as an exception of Ray, which would hold a page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from seedfree import errors
from seedfree.engine.providers import providers
from seedfree.errors import ConfigError, RequestError, SeedfreeError, missing_extra
from seedfree.run.settings import secrets_of
from seedfree.scale.parts import Part

__all__ = ["PART_ROWS", "Work", "check_keyless", "connected", "do_parts"]


PART_ROWS = 10_000  # A few seconds of filters, or 40 MB of vectors of 1,024 dimensions.


class Work(Protocol):
    """What is done with each part of some rows."""

    def ready(self) -> None:
        """Prepares a worker; called before each part."""

    def do(self, part: Part) -> None:
        """Reads a part, and writes what it makes of it."""


def connected() -> Any:
    """Returns the module `ray`, connected as `ray.init()` does where nobody has done so.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    if not ray.is_initialized():
        ray.init()
    return ray


def check_keyless(components: Sequence[object]) -> None:
    """Raises `ConfigError` where a component holds a key, which would travel to the workers."""
    for each in components:
        if names := secrets_of(each):
            raise ConfigError(
                f"{type(each).__name__} holds a secret in {names[0]}, and workers get none",
                hint="Use a component that needs none, or do this on one machine.",
            )


def do_parts(
    parts: Sequence[Part], work: Work, options: Mapping[str, Any], *, loads: bool = False
) -> None:
    """Has workers do parts, in any order. A part whose worker dies is done by another.

    Args:
        options: Of Ray Data's `map_batches`.
        loads: Whether the work holds much between parts, such as a model. Its workers then last.

    Raises:
        SeedfreeError: What the work raised first. Parts that are done stay done.
    """
    if not parts:
        return
    ray = connected()
    numbers = ray.data.from_items(list(range(len(parts))), override_num_blocks=len(parts))
    of = (list(parts), work)
    given = {"fn_constructor_args": of} if loads else {"fn_args": of}
    how = _Worker if loads else _do
    done = numbers.map_batches(how, batch_size=1, batch_format="numpy", **given, **options)
    for row in done.iter_rows():
        if row["kind"]:
            kind = getattr(errors, row["kind"], RequestError)
            raise kind(row["message"], hint=row["hint"] or None)


def _do(batch: Mapping[str, Any], parts: Sequence[Part], work: Work) -> dict[str, list[str]]:
    """Does the parts whose numbers came, and tells what went wrong."""
    # A cluster that was started where keys are has them in the environment of its workers.
    for provider in providers().values():
        os.environ.pop(provider.key, None)
    told: dict[str, list[str]] = {"kind": [], "message": [], "hint": []}
    for number in batch["item"].tolist():
        for name, text in _told(parts[number], work).items():
            told[name].append(text)
    return told


def _told(part: Part, work: Work) -> dict[str, str]:
    try:
        work.ready()
        work.do(part)
    except SeedfreeError as error:
        # The words alone make an error of most kinds.
        plain = type(error).__init__ is SeedfreeError.__init__
        kind = type(error).__name__ if plain else "RequestError"
        return {"kind": kind, "message": error.message, "hint": error.hint or ""}
    except Exception as error:
        where = f"rows {part.first} to {part.first + part.rows - 1} ({part.path})"
        words = f"{type(error).__name__} at {where}: {error}"
        return {"kind": "RequestError", "message": words, "hint": ""}
    return {"kind": "", "message": "", "hint": ""}


class _Worker:
    """Does parts as long as it is there."""

    def __init__(self, parts: Sequence[Part], work: Work) -> None:
        self._parts, self._work = parts, work

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        return _do(batch, self._parts, self._work)
