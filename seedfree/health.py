"""Whether a model is good enough at a language to be worth a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

__all__ = ["FLOOR", "Health", "code", "health"]


@dataclass(frozen=True)
class Health:
    """Shares of what a model wrote, 0 to 1.

    Attributes:
        parsed: Replies that could be read.
        in_language: Rows whose text is in the language, of the rows that got as far as that check.
        unrepeated: Rows without loops.
        uncopied: Rows that copy neither a format example nor their context.
        rows: Rows and unreadable replies that it was measured on.
    """

    parsed: float
    in_language: float
    unrepeated: float
    uncopied: float
    rows: int

    def below(self) -> list[str]:
        """What lies below the floor, as `"parsed 62 % (at least 80 %)"`."""
        values = asdict(self)
        return [
            f"{n} {values[n]:.0%} (at least {floor:.0%})"
            for n, floor in FLOOR.items()
            if values[n] < floor
        ]


# Below these, more than every second request is paid for nothing, or what is kept needs a native
# reader row by row.
FLOOR: Mapping[str, float] = {"parsed": 0.8, "in_language": 0.9, "unrepeated": 0.8, "uncopied": 0.8}


def code(reason: str) -> str:
    """The part of a reason by which drops are counted: without the details in brackets."""
    return reason.partition(" (")[0]


def health(rows: int, drops: Mapping[str, int]) -> Health:
    """Measures a run by what was dropped from it.

    Args:
        rows: Rows kept.
        drops: Dropped rows by reason.
    """
    by = Counter(drops)
    total = rows + sum(by.values())

    def count(part: str) -> int:
        return sum(n for reason, n in by.items() if part in reason)

    def share(part: str, of: int) -> float:
        return 1 - count(part) / of if of else 0.0

    read = total - count("reply:")
    checked = read - count("rules:")  # the rules come before the language
    return Health(
        share("reply:", total),
        share("language:", checked),
        share("repeti", read),
        share("cop", read),
        total,
    )
