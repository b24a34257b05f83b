"""Which numbers of an answer its text does not support.

A number is supported by the same number in any form, by an era's year for another's, and by the sum
or the difference of two numbers of one unit. A date, a version or a decimal is one number: its
parts support a part of a date at most.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import combinations
from operator import attrgetter

from seedfree.filters.figures import YEARS, Numeral
from seedfree.filters.numerals import read_numerals
from seedfree.languages import Language

__all__ = ["unknown_numbers"]

# Numbers at the beginning of lines count the lines of a list.
_NUMBERING = re.compile(
    r"^(?:[^\S\n]|[-*•#>])*+\(?\d{1,3}(?:[.):]\**+(?=\s|\D)|\)\**+)", re.MULTILINE
)
_ROMAN = re.compile(r"\b(?=[IVXLC]{2})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\b")
_ROMAN_FIGURES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_COUNTS = range(11)
_DAYS = 31
# Until 1940 the Thai year began on 1 April: a date before that in the year belongs to the era's
# year before.
_EARLY = (1, 2, 3)
_APRIL_NEW_YEAR_TO = 1940
# So many years may lie between two years that an answer takes from each other.
_SPAN = 1000
# How far from a result its terms may stand.
_NEAR = 60
# Sums of more numbers would be any number.
_TERMS = 200
_start = attrgetter("start")


def unknown_numbers(answer: str, context: str, language: Language) -> Iterator[str]:
    """Yields numbers of an answer that its text does not support, as written, digits folded."""
    claims = [
        numeral
        for numeral in read_numerals(_NUMBERING.sub("\n", answer), language)
        if _is_claim(numeral)
    ]
    if not claims:
        return
    known = _Known(read_numerals(context, language), language, _roman(context))
    verdicts = list(map(known.supports, claims))
    supported = [
        claim for claim, is_supported in zip(claims, verdicts, strict=True) if is_supported
    ]
    for claim, is_supported in zip(claims, verdicts, strict=True):
        if not is_supported and not _is_worked_out(claim, supported):
            yield claim.written


def _roman(text: str) -> set[Decimal]:
    """Reads the Roman numerals of centuries, kings and volumes. A letter alone may be a name."""
    values = set()
    for numeral in filter(None, _ROMAN.findall(text)):
        figures = [_ROMAN_FIGURES[letter] for letter in numeral]
        pairs = zip(figures, [*figures[1:], 0], strict=True)
        values.add(Decimal(sum(-a if a < b else a for a, b in pairs)))
    return values


def _is_claim(numeral: Numeral) -> bool:
    """Tells whether something is surely a number: figures, or words of a number above ten."""
    if not numeral.words or numeral.scale > 1:
        return True
    if not numeral.is_sure or min(numeral.values) <= _COUNTS[-1]:
        return False
    return numeral.words > 1 or numeral.is_counted or numeral.written[0].isnumeric()


def _is_worked_out(claim: Numeral, supported: list[Numeral]) -> bool:
    """Tells whether an answer gives the two numbers of which this is the sum or the difference."""
    first = bisect_left(supported, claim.start - _NEAR, key=_start)
    last = bisect_right(supported, claim.start + _NEAR, key=_start)
    near = [n for n in supported[first:last] if not n.parts]
    return any(
        _is_result(claim, terms)
        for terms in combinations(near, 2)
        if claim.unit in [term.unit for term in terms]
    )


class _Known:
    """The numbers of a text, by what they may support."""

    def __init__(self, numerals: list[Numeral], language: Language, roman: set[Decimal]) -> None:
        self._era = language.era_offset
        self._has_months = bool(language.numbers.get("months"))
        wholes = [n for n in numerals if n.parts]
        dates = [n for n in wholes if _is_date(n)]
        # A day before its month belongs to a date, as the parts of one in figures do.
        days = [n for n in numerals if _is_day(n)]
        free = [n for n in numerals if not n.parts and not _is_day(n)]
        # "One" is an article as well, and a small word alone says little without what it counts.
        small = [n for n in free if _is_small_word(n)]
        self._values = _union(n.values for n in free if not _is_small_word(n)) | roman
        self._ascending = sorted(self._values)
        self._small_values = _union(n.values for n in small)
        self._small_by_unit = {(value, n.unit) for n in small for value in n.values}
        self._shares = {value * 100 for value in self._small_values if 0 < value < 1}

        self._wholes = {_key(n) for n in wholes}
        self._codes = _union(n.values for n in wholes)
        self._parts = {Decimal(part) for n in dates for part in n.parts}
        self._parts |= _union(n.values for n in days)
        self._months = {n.month for n in numerals if n.month}
        self._years = [n for n in numerals if n.year]
        self._years_of_dates = {part for n in dates for part in n.parts if part in YEARS}
        years = self._years_of_dates | {n.year for n in self._years}
        short_years = {year % 100 for year in years}
        self._date_numbers = self._values.union(
            self._small_values, self._parts, self._months, short_years
        )
        self._times = {n.time for n in numerals if n.time}
        self._hours = {v for v in _union(n.values for n in numerals if n.is_hour) if v <= 24}

        counts = [n for n in numerals if not n.words or n.is_counted]
        self._befores = {n.before for n in counts if n.before}
        self._units = {n.unit for n in counts if n.unit}
        terms = [n for n in free if not _is_small_word(n) or n.is_counted]
        self._results = _results(terms)
        self._span_ends = self._ends_of_spans([n for n in terms if n.is_age and not n.year])

    def supports(self, claim: Numeral) -> bool:
        if claim.separate and all(map(self.supports, claim.separate)):
            return True
        if claim.parts:
            return self._has_whole(claim)
        return (
            not self._values.isdisjoint(claim.values)
            or self._has_small_word(claim)
            or (claim.is_measured and not self._shares.isdisjoint(claim.values))
            or bool(claim.time and self._has_time(claim.time))
            or self._has_hour(claim)
            or self._has_part(claim)
            or self._has_year(claim)
            or self._rounds(claim)
            or self._computes(claim)
            or self._has_code(claim)
            or self._may_count(claim)
        )

    def _may_count(self, claim: Numeral) -> bool:
        """A small whole number may be a count, unless the text counts the same thing otherwise."""
        is_small = claim.written.isdecimal() and min(claim.values) in _COUNTS
        if claim.is_measured or claim.is_dated or claim.is_hour or claim.is_age:
            return False
        return is_small and claim.before not in self._befores and claim.unit not in self._units

    def _has_small_word(self, claim: Numeral) -> bool:
        if not claim.unit:
            return not self._small_values.isdisjoint(claim.values)
        return any((v, u) in self._small_by_unit for v in claim.values for u in (claim.unit, ""))

    def _has_whole(self, claim: Numeral) -> bool:
        if _key(claim) in self._wholes or self._has_code(claim):
            return True
        if claim.time:
            return self._has_time(claim.time)
        if claim.mark == ":":
            return all(Decimal(part) in self._values for part in claim.parts)
        return _is_date(claim) and self._has_date(claim)

    def _has_code(self, claim: Numeral) -> bool:
        """Finds a telephone number, or another row of digits, with other marks."""
        long = {value for value in claim.values if value >= 10**6}
        return not long.isdisjoint(self._codes | self._values)

    def _has_date(self, claim: Numeral) -> bool:
        """Finds the day, the month and the year of a date each."""
        years = {year for part in claim.parts for year in self._in_both_eras(part)}
        rest = [part for part in claim.parts if part not in YEARS]
        return all(part in self._date_numbers for part in rest) and (
            len(rest) == len(claim.parts) or not years.isdisjoint(self._date_numbers)
        )

    def _has_time(self, time: tuple[int, int]) -> bool:
        hour, minute = time
        if any(hour % 12 == h % 12 and minute == m for h, m in self._times):
            return True
        # A clock of 6 hours, as in Thai, and one that begins at dawn, as in Swahili, differ by 6.
        near = any(value % 6 == hour % 6 for value in self._hours if value == int(value))
        halves = {value % 1 * 60 for value in self._hours}
        # A small number is rather something else than the minutes of an hour in words.
        is_known = minute in halves or (minute >= _COUNTS[-1] and minute in self._values)
        return near and (not minute or is_known)

    def _has_hour(self, claim: Numeral) -> bool:
        return claim.is_hour and any(
            not minute and value <= 24 and value % 6 == hour % 6
            for hour, minute in self._times
            for value in claim.values
        )

    def _has_part(self, claim: Numeral) -> bool:
        if claim.is_counted:
            return False
        parts = self._parts
        if claim.year:
            years = {e for year in self._years_of_dates for e in self._in_both_eras(year)}
            parts = parts.union(map(Decimal, years))
        is_beside = claim.is_dated or bool(claim.month) or not claim.is_followed
        return is_beside and not claim.values.isdisjoint(parts)

    def _has_year(self, claim: Numeral) -> bool:
        """Finds a year in the other era. A price or a count is none."""
        if not self._era or not claim.year or claim.is_counted:
            return False
        for year in self._years:
            # One of the two must say that it is a year, where the language has words for that.
            is_named = claim.is_dated or year.is_dated or not self._has_months
            if not is_named or year.is_counted:
                continue
            if claim.year in self._eras(year.year, year.month):
                return True
            if year.year in self._eras(claim.year, claim.month):
                return True
        return False

    def _in_both_eras(self, year: int) -> set[int]:
        if not self._era or year not in YEARS:
            return {year}
        return {year, year + self._era, year - self._era}

    def _eras(self, year: int, month: int) -> set[int]:
        """Gives the year in the other era, whichever of the two this one is."""
        local, gregorian = year + self._era, year - self._era
        if month in _EARLY:
            local -= year <= _APRIL_NEW_YEAR_TO
            gregorian += gregorian < _APRIL_NEW_YEAR_TO
        return {local, gregorian}

    def _rounds(self, claim: Numeral) -> bool:
        """Finds a longer number of which "1.2 million" is the round form."""
        if claim.scale == 1:
            return False
        for value in claim.values:
            exponent = (value / claim.scale).as_tuple().exponent
            step = Decimal(f"1e{exponent}") * claim.scale
            least = bisect_left(self._ascending, value - step / 2)
            if self._ascending[least : least + 1] and self._ascending[least] < value + step / 2:
                return True
        return False

    def _computes(self, claim: Numeral) -> bool:
        """Finds two numbers of which this one is the sum or the difference."""
        if claim.is_age and self._spans(claim):
            return True
        if claim.year and not claim.is_counted and claim.year in self._span_ends:
            return True
        return not self._results.get(claim.unit, set()).isdisjoint(claim.values)

    def _spans(self, claim: Numeral) -> bool:
        """Finds two years that lie so far apart."""
        years = {year.year for year in self._years} | self._years_of_dates
        return any(
            0 < value <= _SPAN and any(int(value) + year in years for year in years)
            for value in claim.values
            if value == int(value)
        )

    def _ends_of_spans(self, ages: list[Numeral]) -> set[Decimal]:
        """Works out years from a year and a number of years beside it."""
        return {
            end
            for year in self._years[:_TERMS]
            for age in ages[:_TERMS]
            if abs(year.start - age.start) <= _NEAR
            for start in self._in_both_eras(year.year)
            for span in age.values
            for end in (start + span, start - span)
        }


def _results(numerals: list[Numeral]) -> dict[str, set[Decimal]]:
    """Returns, by unit, sums and differences of neighbours, and the sum of all."""
    by_unit: dict[str, list[Numeral]] = {}
    for numeral in numerals:
        if numeral.unit:
            by_unit.setdefault(numeral.unit, []).append(numeral)
    results: dict[str, set[Decimal]] = {}
    for unit, terms in by_unit.items():
        values = {
            result
            for first, second in zip(terms, terms[1:], strict=False)
            if second.start - first.start <= 2 * _NEAR
            for a in first.values
            for b in second.values
            for result in (a + b, abs(a - b))
        }
        results[unit] = values | {sum((max(n.values) for n in terms), Decimal(0))}
    return results


def _is_result(claim: Numeral, terms: tuple[Numeral, Numeral]) -> bool:
    first, second = terms
    return any(
        value in (a + b, abs(a - b))
        for value in claim.values
        for a in first.values
        for b in second.values
    )


def _is_small_word(numeral: Numeral) -> bool:
    return numeral.words == 1 and max(numeral.values) <= _COUNTS[-1] and numeral.scale == 1


def _is_day(numeral: Numeral) -> bool:
    """Tells whether a number is the day beside the name of a month."""
    is_beside = bool(numeral.month) and numeral.is_dated and not numeral.parts
    return is_beside and max(numeral.values) <= _DAYS


def _is_date(numeral: Numeral) -> bool:
    """Tells whether three numbers are a day, a month and a year in any order."""
    if len(numeral.parts) != 3 or numeral.mark == ":":
        return False
    years = [part for part in numeral.parts if part in YEARS]
    days = [part for part in numeral.parts if 1 <= part <= _DAYS]
    if len(years) == 1:
        return len(days) == 2 and min(days) <= 12
    # 2.4.12 is a version, 02.04.12 a date.
    is_written_so = numeral.mark != "." or len(numeral.written) == len("02.04.12")
    is_possible = len(days) + (numeral.parts[2] > _DAYS) == 3 and min(numeral.parts[:2]) <= 12
    return is_written_so and is_possible


def _key(numeral: Numeral) -> tuple[int, ...]:
    # A date may be written from either end.
    return tuple(sorted(numeral.parts)) if _is_date(numeral) else numeral.parts


def _union(sets: Iterable[Iterable[Decimal]]) -> set[Decimal]:
    return {value for each in sets for value in each}
