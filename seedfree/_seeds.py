"""Names and random draws that depend on what they are given alone, the same on any machine."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["balanced", "digest", "seeded"]

T = TypeVar("T")


def digest(*parts: object) -> str:
    """Returns 16 hexadecimal digits that name the parts."""
    # The unit separator of ASCII between them keeps ("ab", "c") and ("a", "bc") apart.
    text = "\x1f".join(map(str, parts))
    # UTF-8 has no lone surrogates. Text of unknown origin may hold some and still needs a name.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def seeded(*parts: object) -> random.Random:
    """Returns a generator of random numbers that depends on the parts alone."""
    return random.Random(int(digest(*parts), 16))


def balanced(items: Sequence[T], position: int, *salt: object) -> T:
    """Draws the item for a position, so that all items are drawn equally often.

    Every run of `len(items)` positions that begins at a multiple of it gets every item once.

    Raises:
        IndexError: There are no items.
    """
    if not items:
        raise IndexError("nothing to choose from")
    cycle, place = divmod(position, len(items))
    return items[_order(len(items), cycle, *salt)[place]]


# Kept, because all positions of a cycle ask for the same order.
@functools.lru_cache(4096)
def _order(n: int, cycle: int, *salt: object) -> list[int]:
    order = list(range(n))
    seeded("balanced", cycle, *salt).shuffle(order)
    return order
