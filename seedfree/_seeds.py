"""Random draws and names that depend on what they are given alone, on any machine."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["balanced", "digest", "row_id", "seeded"]

T = TypeVar("T")


def seeded(*parts: object) -> random.Random:
    """A generator of random numbers that depends on `parts` alone, on any machine."""
    return random.Random(int(digest(*parts), 16))


def digest(*parts: object) -> str:
    """16 hexadecimal digits that depend on `parts` alone."""
    return hashlib.sha256(
        "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    ).hexdigest()[:16]


def balanced(items: Sequence[T], position: int, *salt: object) -> T:
    """The item for a position, so that any `len(items)` positions from a multiple of it get every item once.

    Raises:
        IndexError: There are no items.
    """
    if not items:
        raise IndexError("nothing to choose from")
    cycle, place = divmod(position, len(items))
    return items[_order(len(items), cycle, *salt)[place]]


@functools.lru_cache(4096)
def _order(n: int, cycle: int, *salt: object) -> list[int]:
    order = list(range(n))
    seeded("balanced", cycle, *salt).shuffle(order)
    return order


def row_id(*parts: object) -> str:
    """16 hexadecimal digits that depend on `parts` alone."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
