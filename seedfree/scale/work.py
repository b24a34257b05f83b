"""Workers: each has one piece of work, and does it part by part.

What fails in a worker comes back as words, not as an exception of Ray, which would hold a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from seedfree import errors
from seedfree.engine.providers import providers
from seedfree.errors import ConfigError, RequestError, SeedfreeError, missing_extra
from seedfree.run.settings import secrets_of
from seedfree.scale.parts import Part

__all__ = ["PART_ROWS", "Work", "check_keyless", "connected", "do_parts", "without_keys"]


PART_ROWS = 10_000  # A few seconds of filters, or 40 MB of vectors of 1,024 dimensions.


class Work(Protocol):
    """What is done with each part of some rows."""

    def ready(self) -> None:
        """Prepares a worker, once."""

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


def without_keys() -> dict[str, Any]:
    """Returns the environment of workers, in which the keys of all known providers are empty."""
    keys = {each.key: "" for each in providers().values() if each.key}
    return {"env_vars": keys}


def check_keyless(components: Sequence[object]) -> None:
    """Raises `ConfigError` where a component holds a key, which would travel to the workers."""
    for each in components:
        if names := secrets_of(each):
            raise ConfigError(
                f"{type(each).__name__} holds a secret in {names[0]}, and workers get none",
                hint="Use a component that needs none, or do this on one machine.",
            )


def do_parts(parts: Sequence[Part], work: Work, options: Mapping[str, Any]) -> None:
    """Has workers do parts, in any order. A part whose worker dies is done by another.

    Args:
        options: Of Ray Data's `map_batches`.

    Raises:
        SeedfreeError: What the work raised first. Parts that are done stay done.
    """
    if not parts:
        return
    ray = connected()
    numbers = ray.data.range(len(parts), override_num_blocks=len(parts))
    done = numbers.map_batches(
        _Worker,
        fn_constructor_args=(list(parts), work),
        batch_size=1,
        batch_format="numpy",
        **{"runtime_env": without_keys(), **options},
    )
    for row in done.iter_rows():
        if row["kind"]:
            kind = getattr(errors, row["kind"], RequestError)
            raise kind(row["message"], hint=row["hint"] or None)


class _Worker:
    """Does the parts whose numbers come."""

    def __init__(self, parts: list[Part], work: Work) -> None:
        self._parts, self._work, self._ready = parts, work, False

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        told = [self._told(self._parts[int(number)]) for number in batch["id"]]
        return {name: [each[name] for each in told] for name in told[0]}

    def _told(self, part: Part) -> dict[str, str]:
        """Does a part, and tells what went wrong."""
        try:
            if not self._ready:
                self._work.ready()
                self._ready = True
            self._work.do(part)
        except SeedfreeError as error:
            plain = type(error).__init__ is SeedfreeError.__init__
            kind = type(error).__name__ if plain else "RequestError"
            return {"kind": kind, "message": error.message, "hint": error.hint or ""}
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            where = f"rows {part.first} to {part.first + part.rows - 1} of {part.path}"
            return {"kind": "RequestError", "message": f"{where}: {words}", "hint": ""}
        return {"kind": "", "message": "", "hint": ""}
