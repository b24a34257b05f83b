"""What people write as options: checks of their types, and the name that a mistyped one meant."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from seedfree.errors import ConfigError

__all__ = ["check_types", "did_you_mean"]

_WANTED = {
    "bool": "True or False",
    "float": "a number",
    "int": "a whole number",
    "str": "text (in YAML: in quotes)",
    "tuple[int, int]": "two whole numbers",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the question whether the nearest of the known names was meant, or `""`."""
    by_letters = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), by_letters, n=1)
    return "".join(f"Did you mean {by_letters[letters]!r}? " for letters in near)


def check_types(component: Any) -> None:
    """Checks the settings of a data class that are text, numbers, switches or pairs of numbers.

    Others have values that a class of its own or a check of the component looks at.

    Raises:
        ConfigError: One has another type, or is not a finite number. The message names it.
    """
    for field in dataclasses.fields(component):
        # The annotation as it is written: it may name a class that is imported for type checkers.
        kind, _, none = str(field.type).partition(" | ")
        if not field.init or kind not in _WANTED or none not in ("", "None"):
            continue
        value = getattr(component, field.name)
        if not (_fits(value, kind) or (none and value is None)):
            wanted = " or ".join(filter(None, [_WANTED[kind], none]))
            what = f"{type(component).__name__}: {field.name} is {value!r}"
            raise ConfigError(what, hint=f"Give {wanted}.")


def _fits(value: object, kind: str) -> bool:
    if kind == "tuple[int, int]":
        # YAML has lists alone.
        is_pair = isinstance(value, (tuple, list)) and len(value) == 2
        return is_pair and all(_fits(each, "int") for each in value)  # type: ignore[attr-defined]
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int)
    return isinstance(value, (int, float)) and math.isfinite(value)
