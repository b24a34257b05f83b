"""Numbers in figures: groups, decimals, times, dates, versions, telephone numbers.

Of what can be read in two ways (`1.234` is a thousand in some languages and one and a bit in
others) every reading is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["FIGURES", "YEARS", "Numeral", "Values", "read_figures"]

Values = frozenset[Decimal]
YEARS = range(1000, 3000)
# Possessive, so that no long row of digits is read twice. Spaces join groups of three.
FIGURES = r"\d++(?:[.,:'٫٬،/-]\d++|\x20\d{3}(?!\d))*+"
_SPACED = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?:[.,٫]\d+)?")
_WESTERN_GROUPS = re.compile(r"[1-9]\d{0,2}(?:\|\d{3})+")
_INDIAN_GROUPS = re.compile(r"[1-9]\d?(?:\|\d{2})*\|\d{3}")
# Arithmetic with more digits than exponents can have would fail.
_LONGEST = 400
_MARK = re.compile("[.,:'٫٬،]")
_DECIMAL_MARKS = ".,٫،"


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number of a text, with what stands beside it.

    Attributes:
        written: The folded text of it.
        values: What it may mean.
        parts: Of a date, a version, a time or the like: its numbers in order. Its only value is
            that of all digits together.
        mark: What stands between the parts.
        time: Hour and minute, if it may be a time of the day.
        words: How many words of numbers it has. 0 for figures alone.
        is_sure: Whether it is certain that its words are numbers.
        scale: What a word after the figures multiplies them by ("million"), otherwise 1.
        separate: For figures that a space may join or part: each of them alone.
        before: The 5 characters before it, spaces left out. Empty if there are fewer.
        unit: The word of a unit after it, otherwise the first 3 letters or a sign of percent or
            degree.
        month: The month named beside it, 1 to 12, or 0.
        is_dated: Whether a word beside it says that it is a day, a month or a year.
        is_measured: Whether a unit, a currency or a percent sign stands beside it.
        is_counted: Whether it is measured, or a counted thing stands beside it.
        is_age: Whether a word beside it says that years are counted.
        is_hour: Whether a word beside it says that it is an hour.
        is_followed: Whether a word follows it.
    """

    start: int
    end: int
    written: str
    values: Values
    parts: tuple[int, ...] = ()
    mark: str = ""
    time: tuple[int, int] | None = None
    words: int = 0
    is_sure: bool = True
    scale: Decimal = Decimal(1)
    separate: tuple[Numeral, ...] = ()
    before: str = ""
    unit: str = ""
    month: int = 0
    is_dated: bool = False
    is_measured: bool = False
    is_counted: bool = False
    is_age: bool = False
    is_hour: bool = False
    is_followed: bool = False

    @property
    def year(self) -> int:
        """Returns the number as a year from 1000 to 2999, or 0 where it is written otherwise."""
        if len(self.written) == 4 and self.written.isdigit() and int(self.written) in YEARS:
            return int(self.written)
        return 0


def read_figures(text: str, start: int) -> Iterator[Numeral]:
    """Reads what `FIGURES` matches, which stands at `start`."""
    sides = list(re.finditer("[^/-]+", text))
    if len(sides) >= 3 and all(side[0].isdecimal() for side in sides):
        # A date, a telephone number or another code.
        yield _whole(text, start, [side[0] for side in sides], "-")
        return
    for side in sides:
        yield from _spaced_figures(side[0], start + side.start())


def _spaced_figures(text: str, start: int) -> Iterator[Numeral]:
    if " " not in text:
        yield from _figures(text, start)
        return
    separate = tuple(
        numeral
        for group in re.finditer("[^ ]+", text)
        for numeral in _figures(group[0], start + group.start())
    )
    if not _SPACED.fullmatch(text):
        yield from separate
        return
    whole = text.replace(" ", "")
    value = _decimal(_MARK.sub(".", whole))
    yield Numeral(start, start + len(text), text, frozenset({value}), separate=separate)


def _figures(text: str, start: int) -> Iterator[Numeral]:
    """Reads figures with the marks between them: groups, a decimal, a time, a date, a list."""
    numbers, marks = _MARK.split(text), _MARK.findall(text)
    end = start + len(text)
    if ":" in marks:
        yield _whole(text, start, numbers, ":")
        return
    if values := _values(numbers, marks):
        is_time = marks == ["."] and len(numbers[1]) == 2
        time = _time(numbers) if is_time else None
        yield Numeral(start, end, text, values, time=time)
        return
    if set(marks) == {"."}:
        yield _whole(text, start, numbers, ".")
        return
    for number in re.finditer(r"\d+", text):
        value = frozenset({_decimal(number[0])})
        yield Numeral(start + number.start(), start + number.end(), number[0], value)


def _whole(text: str, start: int, numbers: list[str], mark: str) -> Numeral:
    # Decimal and not int: the digits may be more than Python reads at once.
    parts = tuple(int(number[-18:]) for number in numbers)
    value = frozenset({_decimal("".join(numbers))})
    time = _time(numbers) if mark == ":" else None
    return Numeral(start, start + len(text), text, value, parts, mark, time)


def _time(numbers: list[str]) -> tuple[int, int] | None:
    hour, minute = numbers[0], numbers[1]
    if len(hour) <= 2 and len(minute) == 2 and int(hour) <= 24 and int(minute) < 60:
        return int(hour), int(minute)
    return None


def _values(numbers: list[str], marks: list[str]) -> Values:
    """Reads a number in each way that a language may mean it. Empty if it is not one number."""
    if not marks:
        return frozenset({_decimal(numbers[0])})
    readings = set()
    if len(set(marks)) == 1 and marks[0] != "٫" and _are_groups(numbers):
        readings.add(_decimal("".join(numbers)))
    *grouping, last = marks
    if last in _DECIMAL_MARKS and last not in grouping and len(set(grouping)) <= 1:
        is_list = last == "," and all(len(n) == 4 and int(n) in YEARS for n in numbers)
        # Read so, `1.000` would be the number 1 as well.
        is_thousand = bool(readings) and numbers[-1] == "000"
        if (not grouping or _are_groups(numbers[:-1])) and not is_list and not is_thousand:
            readings.add(_decimal(f"{''.join(numbers[:-1])}.{numbers[-1]}"))
    return frozenset(readings)


def _are_groups(numbers: list[str]) -> bool:
    """Tells whether numbers are groups of digits: 1,234,567 or, in South Asia, 12,34,567."""
    joined = "|".join(numbers)
    return bool(_WESTERN_GROUPS.fullmatch(joined) or _INDIAN_GROUPS.fullmatch(joined))


def _decimal(digits: str) -> Decimal:
    return Decimal(digits[:_LONGEST])
