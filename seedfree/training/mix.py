"""Synthetic with human data: the paper leaves open how much of each is best."""

from __future__ import annotations

from collections import Counter
from numbers import Integral, Real

from seedfree.dataset import Dataset, apportion, check_rows
from seedfree.errors import ConfigError
from seedfree.records import Instruction, seeded

__all__ = ["mix"]


def mix(synthetic: Dataset, human: Dataset, *, ratio: float, size: int, seed: int = 0) -> Dataset:
    """Draws rows of both sides and shuffles them.

    Each side keeps the shares of its own tasks to the row (largest remainder). The rows themselves
    stay as they are, so `generator` and `source` tell where each came from.

    Args:
        ratio: Share of human rows, 0 to 1; the row that it leaves over goes to the nearer side, on
            a tie to the human.
        size: Rows in all, at least 1.
        seed: Another seed draws other rows.

    Raises:
        ConfigError: An argument is out of its range, or a side has too few rows.
    """
    for side in (synthetic, human):
        check_rows(side)
    if not isinstance(ratio, Real) or not 0 <= ratio <= 1:
        raise ConfigError(
            f"ratio={ratio!r} is not a share", hint="Give the share of human rows, 0 to 1."
        )
    if not isinstance(size, Integral) or size < 1:
        raise ConfigError(
            f"size={size!r} is no number of rows", hint="Give the number of rows, at least 1."
        )
    of_human = int(size * ratio + 0.5)
    wanted = [("synthetic", synthetic, size - of_human), ("human", human, of_human)]
    for name, side, n in wanted:
        if n > len(side):
            hint = "Lower size, change ratio, or bring more rows."
            raise ConfigError(
                f"{n:,} {name} rows are wanted, and there are {len(side):,}", hint=hint
            )
    rows = [one for name, side, n in wanted for one in _drawn(side, n, name, seed)]
    seeded("mix", seed).shuffle(rows)
    return Dataset(rows)


def _drawn(side: Dataset, n: int, name: str, seed: int) -> list[Instruction]:
    """`n` rows of a side in its order, each task with its share."""
    open_rows = apportion(Counter(one.task for one in side), n / len(side)) if n else Counter[str]()
    numbers = list(range(len(side)))
    seeded("mix", seed, name).shuffle(numbers)
    drawn = []
    for number in numbers:
        if open_rows[side[number].task] > 0:
            open_rows[side[number].task] -= 1
            drawn.append(number)
    return [side[number] for number in sorted(drawn)]
