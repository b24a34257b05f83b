"""Which numbers of an answer its text does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from seedfree.languages import Language
from seedfree.text import fold

__all__ = ["unknown_numbers"]

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_POINT = re.compile("[.,:]")
# Numbers at the beginning of lines count the lines of a list.
_NUMBERING = re.compile(
    r"^\s*(?:[-*•#>]+\s*)?\**\(?\d{1,3}(?:[.):]\**(?=\s|\D)|\)\**)", re.MULTILINE
)
_COUNTS = frozenset(map(str, range(11)))
_YEARS = range(1000, 3000)
# Until 1940 the Thai year began on 1 April: a date before that in the year belongs to the era's
# year before.
_EARLY = re.compile(
    r"มกราคม|ม\.ค\.|กุมภาพันธ์|ก\.พ\.|มีนาคม|มี\.ค\.|ມັງກອນ|ກຸມພາ|ມີນາ|មករា|កុម្ភៈ|មីនា"
    r"|ဇန်နဝါရီ|ဖေဖော်ဝါရီ|မတ်လ|january|february|march|\bjan\b|\bfeb\b|\bmar\b"
)
_APRIL_NEW_YEAR_TO = 1940
_NEAR = 20


class _Number(NamedTuple):
    """A number as written, with the values it may have and what stands on either side of it.

    Attributes:
        before: The 5 characters before it, spaces left out. Empty if there are fewer.
        unit: The first 3 letters after it, or a sign of percent or degree.
    """

    digits: str
    values: set[str]
    before: str
    unit: str


def unknown_numbers(answer: str, context: str, language: Language) -> Iterator[str]:
    """Yields numbers of an answer that its text does not have, as written, digits folded."""
    numbers = list(_numbers(_NUMBERING.sub("\n", answer), language.era_offset, both_eras=True))
    if not numbers:
        return
    known = list(_numbers(context, language.era_offset, both_eras=False))
    values = set().union(*(number.values for number in known))
    befores = {number.before for number in known if number.before}
    units = {number.unit for number in known if number.unit}
    for number in numbers:
        if not values.isdisjoint(number.values):
            continue
        # A small whole number may be a count, unless the context counts the same thing otherwise.
        counted = number.before in befores or number.unit in units
        if number.digits not in _COUNTS or counted:
            yield number.digits


def _numbers(text: str, era: int, *, both_eras: bool) -> Iterator[_Number]:
    # The bar keeps a number at the end of a line from having the next line's word for its unit.
    text = fold(text.replace("\n", " | "))
    for match in _NUMBER.finditer(text):
        digits, start = match[0], match.start()
        values = _values(digits)
        if era and len(digits) == 4 and digits.isdigit() and int(digits) in _YEARS:
            early = bool(_EARLY.search(text, max(0, start - _NEAR), start))
            if both_eras or early:
                values |= _eras(int(digits), era, early=early)
        before = text[max(0, start - 12) : start].replace(" ", "")[-5:]
        if len(before) < 5:
            before = ""
        yield _Number(digits, values, before, _unit(text[match.end() : match.end() + 8].lstrip()))


def _unit(after: str) -> str:
    if after[:1].isalpha():
        return after[:3]
    return after[:1] if after.startswith(("%", "°")) else ""


def _values(number: str) -> set[str]:
    """Reads a number in each way that a language may mean it.

    `1.234` is a thousand in some and one and a bit in others. Of a date or version each part
    counts.
    """
    parts = _POINT.split(number)
    values = set()
    if all(len(part) == 3 for part in parts[1:]):
        values.add(_plain("".join(parts)))
    # Read so, `1.000` would be the number 1 as well.
    if len(parts) == 2 and parts[1] != "000":
        values.add(f"{_plain(parts[0])}.{parts[1].rstrip('0')}".rstrip("."))
    return values or set(map(_plain, parts))


def _plain(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _eras(year: int, era: int, *, early: bool) -> set[str]:
    """Gives the year in the other era, whichever of the two this one is.

    `early` says that a month from January to March stands before it.
    """
    local = year + era
    if early and year <= _APRIL_NEW_YEAR_TO:
        local -= 1
    gregorian = year - era
    if early and gregorian < _APRIL_NEW_YEAR_TO:
        gregorian += 1
    return {str(local), str(gregorian)}
