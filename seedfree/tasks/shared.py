"""What the tasks of this folder share: the ranges of their settings and the schema of a list."""

from __future__ import annotations

from typing import Any

from seedfree.errors import ConfigError
from seedfree.protocols import TaskTemplate

__all__ = ["VISITS", "check_range", "check_temperature", "list_schema"]

# How often a question about one text is asked for. A section of a few hundred words has a few
# points to ask about, and each visit after the last of them is paid for nothing.
VISITS = 4


def check_range(task: TaskTemplate, setting: str, value: float, low: int, high: int) -> None:
    """Checks that a setting of a task lies between `low` and `high`, both included.

    Raises:
        ConfigError: It does not.
    """
    # Written so that NaN, which compares false with everything, is out of range, too.
    if not low <= value <= high:
        raise ConfigError(
            f"{type(task).__name__}({setting}={value!r}) is out of range",
            hint=f"Use {low} to {high}.",
        )


def check_temperature(task: TaskTemplate, temperature: float) -> None:
    """Checks that a task's temperature is one that a provider takes.

    Raises:
        ConfigError: It is not between 0 and 2, the range of OpenAI's API.
    """
    check_range(task, "temperature", temperature, 0, 2)


def list_schema(name: str, items: dict[str, Any], count: int) -> dict[str, Any]:
    """Returns the JSON schema of an object whose only key `name` holds exactly `count` items.

    Args:
        items: The schema of one item.
    """
    # The order of the keys is part of the request, and with it of the ledger's key.
    several = {"type": "array", "items": items, "minItems": count, "maxItems": count}
    return {"type": "object", "properties": {name: several}, "required": [name]}
