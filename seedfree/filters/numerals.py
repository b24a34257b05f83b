"""Numbers as a text writes them: in figures of any script, in words of the language, in both.

Of what can be read in two ways (`1.234` is a thousand in some languages and one and a bit in
others) every reading is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from seedfree.languages import Language
from seedfree.languages.checks import NUMBER_KEY
from seedfree.text import fold

__all__ = ["Numeral", "read_numerals"]

_Values = frozenset[Decimal]

_YEARS = range(1000, 3000)
_LETTER = r"[^\W\d_]"
# A month may have a day and the name of an era between itself and the year.
_NEAR = 20
_BESIDE = 16
# Words between a number and "half": a unit, as in "two years and a half".
_HALF_WITHIN = 14
_SHARED_WITHIN = 8
# The end of an ordinal and a short word, as in "the 12th of March".
_FILLER = re.compile(rf"{_LETTER}{{0,3}} {_LETTER}{{1,3}} ")
_PAUSE = re.compile("[|,;:.]")

# Possessive, so that no long row of digits is read twice. Spaces join groups of three.
_FIGURES = r"\d++(?:[.,:'٫٬،/-]\d++|\x20\d{3}(?!\d))*+"
# Ethiopic figures are no decimal digits: each has its value, and the last two multiply.
_ETHIOPIC = "[\u1369-\u137c]"
_SPACED = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?:[.,٫]\d+)?")
_WESTERN_GROUPS = re.compile(r"[1-9]\d{0,2}(?:\|\d{3})+")
_INDIAN_GROUPS = re.compile(r"[1-9]\d?(?:\|\d{2})*\|\d{3}")
_MARK = re.compile("[.,:'٫٬،]")
_DECIMAL_MARKS = ".,٫،"
# Exponents, indices and marks of footnotes would become digits of the number before them.
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089]")
_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")


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
    values: _Values
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
        if len(self.written) == 4 and self.written.isdigit() and int(self.written) in _YEARS:
            return int(self.written)
        return 0


def read_numerals(text: str, language: Language) -> list[Numeral]:
    """Reads the numbers of a text in order."""
    words = _words_of(language)
    # The bar keeps a number at the end of a line from having the next line's word for its unit.
    text = fold(_FRACTION.sub(_as_decimal, _RAISED.sub(" ", text.replace("\n", " | "))))
    numerals: list[Numeral] = []
    for run in _runs(_tokens(text, words), text, words):
        numerals.extend(_Reader(text, words).read(run))
    numerals = [_with_neighbours(numeral, text, words) for numeral in numerals]
    numerals = _with_halves(_with_shared_units(numerals, text), text)
    return sorted(numerals, key=lambda numeral: numeral.start)


def _as_decimal(fraction: re.Match[str]) -> str:
    value = f"{unicodedata.numeric(fraction[0]):g}"
    whole = fraction.start() and fraction.string[fraction.start() - 1].isdecimal()
    return value.removeprefix("0") if whole else value


class _Word(NamedTuple):
    """A word of numbers: its value, and which neighbour it multiplies."""

    value: Decimal
    multiplies_before: bool = False
    multiplies_after: bool = False


@dataclass(frozen=True)
class _Words:
    """The words of numbers of a language, ready to be looked for in folded text."""

    values: Mapping[str, _Word]
    token: re.Pattern[str]
    word: re.Pattern[str]
    joints: frozenset[str]
    months: tuple[re.Pattern[str], ...]
    beside: Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]]
    is_spaced: bool


_GAPS = frozenset({"", " ", "-"})
_NEVER = re.compile(r"(?!)")


def _words_of(language: Language) -> _Words:
    table = tuple((kind, tuple(words)) for kind, words in language.numbers.items())
    return _compiled(table, language.segmenter == "space")


@lru_cache(maxsize=32)
def _compiled(table: tuple[tuple[str, tuple[str, ...]], ...], is_spaced: bool) -> _Words:
    values: dict[str, _Word] = {}
    lists: dict[str, list[str]] = {}
    for kind, words in table:
        key = NUMBER_KEY.fullmatch(kind)
        folded = list(map(fold, words))
        if key is None:
            lists[kind] = folded
            continue
        values |= dict.fromkeys(folded, _Word(Decimal(key[2]), bool(key[1]), bool(key[3])))
    joints = frozenset(f" {joint} " for joint in lists.get("joint", ()))
    if not is_spaced:
        joints |= frozenset(lists.get("joint", ()))
    start, end = (f"(?<!{_LETTER})", r"(?![^\W_])") if is_spaced else ("", "")
    any_word = f"(?:{_any(values)})"
    tokens = [_FIGURES, _ETHIOPIC]
    if lists.get("lookalikes"):
        other = _any(lists["lookalikes"])
        any_word = f"(?!{other}){any_word}"
        tokens.append(f"(?P<other>{other})")
    if values:
        tokens.append(f"(?P<word>{start}(?:{any_word})++{end})")
    return _Words(
        values=values,
        is_spaced=is_spaced,
        token=re.compile("|".join(tokens)),
        word=re.compile(any_word) if values else _NEVER,
        joints=joints,
        months=tuple(
            re.compile(f"{start}(?:{_any(names.split('|'))}){end}")
            for names in lists.get("months", ())
        ),
        beside={
            kind: _beside(kind, lists.get(kind, []), start, end)
            for kind in ("dates", "units", "counted", "years", "hours")
        },
    )


def _any(words: Mapping[str, object] | list[str]) -> str:
    """Writes an expression for any of the words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _beside(
    kind: str, words: list[str], start: str, end: str
) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Writes expressions for the words of a kind before and after a number."""
    if not words:
        return _NEVER, _NEVER
    any_word = _any(words)
    # A word of a date between two numbers belongs to the second: "7 in 2020".
    last = r"(?![ .]*\d)" if kind == "dates" else ""
    return (
        re.compile(f"{start}(?:{any_word})[ .:(]*$"),
        re.compile(f"[ .)'/-]*({any_word}){end}{last}"),
    )


class _Token(NamedTuple):
    """Figures or a word of numbers. A sign is a figure that is read as a word is."""

    start: int
    end: int
    figures: Numeral | None
    word: _Word = _Word(Decimal(0))
    is_sign: bool = False


def _tokens(text: str, words: _Words) -> Iterator[_Token]:
    at = 0
    while match := words.token.search(text, at):
        at = match.end()
        kind = match.lastgroup
        if kind == "other":
            continue
        if kind is None:
            yield from _figure_tokens(match)
            continue
        # In scripts that write no spaces a vowel sign or tone mark makes it another word.
        if unicodedata.category(text[at : at + 1] or " ")[0] == "M":
            last = list(words.word.finditer(match[0]))[-1]
            at = match.start() + last.start() or at
            if at == match.start():
                at += 1
                continue
            yield from _word_tokens(text, match.start(), at, words)
            at += 1
            continue
        yield from _word_tokens(text, match.start(), at, words)


def _word_tokens(text: str, start: int, end: int, words: _Words) -> Iterator[_Token]:
    for word in words.word.finditer(text, start, end):
        yield _Token(word.start(), word.end(), None, words.values[word[0]])


def _figure_tokens(match: re.Match[str]) -> Iterator[_Token]:
    text, start = match[0], match.start()
    if re.fullmatch(_ETHIOPIC, text):
        value = Decimal(int(unicodedata.numeric(text)))
        yield _Token(start, match.end(), None, _Word(value, value >= 100), is_sign=True)
        return
    sides = list(re.finditer("[^/-]+", text))
    if len(sides) >= 3 and all(side[0].isdecimal() for side in sides):
        # A date, a telephone number or another code.
        yield _Token(start, match.end(), _whole(text, start, [side[0] for side in sides], "-"))
        return
    for side in sides:
        for numeral in _spaced_figures(side[0], start + side.start()):
            yield _Token(numeral.start, numeral.end, numeral)


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
    value = Decimal(_MARK.sub(".", whole))
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
        value = frozenset({Decimal(number[0])})
        yield Numeral(start + number.start(), start + number.end(), number[0], value)


def _whole(text: str, start: int, numbers: list[str], mark: str) -> Numeral:
    # Decimal and not int: the digits may be more than Python reads at once.
    parts = tuple(int(number[-18:]) for number in numbers)
    value = frozenset({Decimal("".join(numbers))})
    time = _time(numbers) if mark == ":" else None
    return Numeral(start, start + len(text), text, value, parts, mark, time)


def _time(numbers: list[str]) -> tuple[int, int] | None:
    hour, minute = numbers[0], numbers[1]
    if len(hour) <= 2 and len(minute) == 2 and int(hour) <= 24 and int(minute) < 60:
        return int(hour), int(minute)
    return None


def _values(numbers: list[str], marks: list[str]) -> _Values:
    """Reads a number in each way that a language may mean it. Empty if it is not one number."""
    if not marks:
        return frozenset({Decimal(numbers[0])})
    readings = set()
    if len(set(marks)) == 1 and marks[0] != "٫" and _are_groups(numbers):
        readings.add(Decimal("".join(numbers)))
    *grouping, last = marks
    if last in _DECIMAL_MARKS and last not in grouping and len(set(grouping)) <= 1:
        is_list = last == "," and all(len(n) == 4 and int(n) in _YEARS for n in numbers)
        # Read so, `1.000` would be the number 1 as well.
        is_thousand = bool(readings) and numbers[-1] == "000"
        if (not grouping or _are_groups(numbers[:-1])) and not is_list and not is_thousand:
            readings.add(Decimal(f"{''.join(numbers[:-1])}.{numbers[-1]}"))
    return frozenset(readings)


def _are_groups(numbers: list[str]) -> bool:
    """Tells whether numbers are groups of digits: 1,234,567 or, in South Asia, 12,34,567."""
    joined = "|".join(numbers)
    return bool(_WESTERN_GROUPS.fullmatch(joined) or _INDIAN_GROUPS.fullmatch(joined))


def _runs(tokens: Iterator[_Token], text: str, words: _Words) -> Iterator[list[_Token]]:
    """Groups tokens that stand side by side."""
    run: list[_Token] = []
    for token in tokens:
        if run:
            if not _join(run[-1], token, text[run[-1].end : token.start], words):
                yield run
                run = []
        run.append(token)
    if run:
        yield run


def _join(last: _Token, token: _Token, gap: str, words: _Words) -> bool:
    if gap == " " and last.figures is None and token.figures is None:
        # Where words are not spaced, a space ends the number. So it does between other figures.
        return words.is_spaced and not last.is_sign
    return gap in _GAPS or gap in words.joints


class _Piece(NamedTuple):
    """A part of a number that is added to the others: the 300 of 2,305."""

    values: _Values
    scale: Decimal
    is_figures: bool


class _Reader:
    """Reads the numbers of words and figures that stand side by side."""

    def __init__(self, text: str, words: _Words) -> None:
        self._text, self._words = text, words
        self._pieces: list[_Piece] = []
        self._start = self._end = self._count = 0
        self._more: set[Decimal] = set()
        self._numerals: list[Numeral] = []

    def read(self, run: list[_Token]) -> list[Numeral]:
        taken = -1
        for i, token in enumerate(run):
            if i <= taken:
                continue
            following = run[i + 1] if i + 1 < len(run) else None
            if token.figures is not None:
                self._add_figures(token, token.figures, following)
            elif token.word.multiplies_after and not self._smaller(token.word.value):
                taken = self._multiply_after(run, i)
            elif token.word.multiplies_before:
                self._multiply(token)
            else:
                self._add(token, token.word.value)
        self._finish()
        years = list(self._years_of_two())
        return [*self._numerals, *self._spelled(run), *years]

    def _add_figures(self, token: _Token, figures: Numeral, following: _Token | None) -> None:
        is_scaled = following is not None and following.word.multiplies_before
        if figures.parts or not is_scaled:
            self._finish()
            self._numerals.append(figures)
            return
        last = self._pieces[-1] if self._pieces else None
        # "3 million 200 thousand" is one number. The 200 after a number in words is another.
        goes_on = last is not None and self._pieces[0].is_figures and last.scale >= 1000
        if not goes_on or max(figures.values) >= self._pieces[-1].scale:
            self._finish()
        self._put(token, _Piece(figures.values, Decimal(1), is_figures=True))

    def _add(self, token: _Token, value: Decimal) -> None:
        """Adds a word to the number so far, or begins another: "twenty two", "two" "two"."""
        if self._pieces:
            last = self._pieces[-1]
            if value < 1 and value and last.scale > 1:
                # "Two million and a half" is half a million more.
                self._more |= {v + value * last.scale for v in self._sum(self._pieces)}
            if not self._has_room(last, value):
                self._finish()
        self._put(token, _Piece(frozenset({value}), Decimal(1), is_figures=False))

    def _has_room(self, last: _Piece, value: Decimal) -> bool:
        if last.is_figures and last.scale == 1:
            return False
        if value < 1:
            return bool(value)
        room = Decimal(10) ** (value.adjusted() + 1)
        return all(v > value and v < 10**18 and v % room == 0 for v in last.values)

    def _smaller(self, value: Decimal) -> list[_Piece]:
        """Returns the pieces at the end that a multiplying word takes."""
        taken: list[_Piece] = []
        for piece in reversed(self._pieces):
            if piece.scale >= value or (not piece.is_figures and max(piece.values) >= value):
                break
            taken.append(piece)
            if piece.is_figures:
                break
        return taken[::-1]

    def _multiply(self, token: _Token) -> None:
        value = token.word.value
        taken = self._smaller(value)
        if taken:
            del self._pieces[len(self._pieces) - len(taken) :]
            values = frozenset(v * value for v in self._sum(taken))
            is_figures = taken[0].is_figures
        else:
            if self._pieces and not self._has_room(self._pieces[-1], value):
                self._finish()
            values, is_figures = frozenset({value}), False
        self._put(token, _Piece(values, value, is_figures))

    def _multiply_after(self, run: list[_Token], i: int) -> int:
        """Multiplies what follows the word, as Swahili does: "elfu mbili" is 2 thousand."""
        token, following = run[i], run[i + 1] if i + 1 < len(run) else None
        value = token.word.value
        if self._pieces and not self._has_room(self._pieces[-1], value):
            self._finish()
        if following is None or not self._is_factor(token, following):
            self._put(token, _Piece(frozenset({value}), value, is_figures=False))
            return i
        factor = following.word
        factors = frozenset({factor.value})
        if following.figures is not None:
            factors = following.figures.values
        values = frozenset(v * value for v in factors)
        if not self._pieces:
            self._start = token.start
        base = self._sum(self._pieces) or {Decimal(0)}
        unit = run[i + 2].word.value if i + 2 < len(run) else Decimal(0)
        if value >= 1000 and factor.value >= 10 and 0 < unit < 10:
            # "Elfu kumi na mbili" is 12,000 as well as 10,002.
            self._more |= {b + v + unit * value for b in base for v in values}
        self._count += 1
        self._put(following, _Piece(values, value, is_figures=following.figures is not None))
        return i + 1

    def _is_factor(self, token: _Token, following: _Token) -> bool:
        if self._text[token.end : following.start] in self._words.joints:
            return False
        if following.figures is not None:
            return not following.figures.parts
        factor = following.word
        return factor.value < token.word.value and not factor.multiplies_after

    def _put(self, token: _Token, piece: _Piece) -> None:
        if not self._count:
            self._start = token.start
        self._pieces.append(piece)
        self._end = token.end
        self._count += 1

    def _sum(self, pieces: list[_Piece]) -> set[Decimal]:
        sums = {Decimal(0)} if pieces else set()
        for piece in pieces:
            sums = {total + value for total in sums for value in list(piece.values)[:3]}
        return sums

    def _finish(self) -> None:
        """Ends the number so far."""
        if not self._pieces:
            return
        values = self._sum(self._pieces) | self._more
        *others, last = self._pieces
        if others and last.scale == 1:
            # The last word may belong to what is counted: Vietnamese "năm" is five, and year.
            values |= self._sum(others)
        is_figures = self._pieces[0].is_figures
        scale = last.scale if is_figures else Decimal(1)
        written = self._text[self._start : self._end]
        words = self._count - is_figures
        self._numerals.append(
            Numeral(self._start, self._end, written, frozenset(values), words=words, scale=scale)
        )
        self._pieces, self._count, self._more = [], 0, set()

    def _spelled(self, run: list[_Token]) -> Iterator[Numeral]:
        """Yields numbers that are read digit by digit: "one six six nine"."""
        digits: list[_Token] = []
        for token in [*run, None]:
            if token is not None and token.figures is None and token.word.value in _DIGITS:
                digits.append(token)
                continue
            if len(digits) > 1:
                start, end = digits[0].start, digits[-1].end
                value = Decimal("".join(str(digit.word.value) for digit in digits))
                written = self._text[start:end]
                yield Numeral(
                    start, end, written, frozenset({value}), words=len(digits), is_sure=False
                )
            digits = []

    def _years_of_two(self) -> Iterator[Numeral]:
        """Yields years that are read as two numbers: "nineteen eighty-four"."""
        for i in range(len(self._numerals) - 1):
            first, second = self._numerals[i : i + 2]
            if not first.words or not second.words or second.start - first.end > 1:
                continue
            years = frozenset(
                a * 100 + b
                for a in first.values
                for b in second.values
                if 10 <= a < 30 and 10 <= b < 100
            )
            if not years:
                continue
            # Neither of the two is a number by itself then.
            self._numerals[i] = replace(first, is_sure=False)
            self._numerals[i + 1] = replace(second, is_sure=False)
            written = self._text[first.start : second.end]
            yield Numeral(first.start, second.end, written, years, words=2, is_sure=False)


_DIGITS = frozenset(map(Decimal, range(10)))


def _with_neighbours(numeral: Numeral, text: str, words: _Words) -> Numeral:
    start, end = numeral.start, numeral.end
    before = text[max(0, start - _BESIDE) : start]
    after = text[end : end + _BESIDE]
    near = text[max(0, start - _NEAR) : start].rpartition("|")[2]
    month, follows = _month(near, after, words)
    beside = {
        kind: (bool(words_before.search(before)), bool(words_after.match(after)))
        for kind, (words_before, words_after) in words.beside.items()
    }
    dated = words.beside["dates"][1].match(after)
    named = [words.beside[kind][1].match(after) for kind in ("units", "counted", "years")]
    unit = next((match[1] for match in named if match), _unit(after[:8].lstrip()))
    # A word of a date may begin like a word for what is counted.
    follows = follows or bool(dated and all(m is None or m.end() < dated.end() for m in named))
    sign = unicodedata.category(before.rstrip()[-1:] or " ")
    is_measured = any(beside["units"]) or unit in ("%", "°") or sign == "Sc"
    # Years after a number are counted. Before one they may be its age or its name.
    is_counted = is_measured or any(beside["counted"]) or beside["years"][1]
    is_dated = beside["dates"][0] or follows
    if not is_counted:
        is_dated = is_dated or bool(month) or beside["dates"][1]
    # What follows words without spaces may be the rest of another word.
    is_open = after[:1].isalpha() and not any(named)
    values = numeral.values
    if is_open and numeral.scale > 1:
        values |= {value / numeral.scale for value in values}
    squeezed = text[max(0, start - 12) : start].replace(" ", "")[-5:]
    return replace(
        numeral,
        values=values,
        before=squeezed if len(squeezed) == 5 else "",
        unit=unit,
        month=month,
        is_dated=is_dated,
        is_measured=is_measured,
        is_counted=is_counted and not is_dated,
        is_age=any(beside["years"]),
        is_hour=any(beside["hours"]),
        is_followed=after.lstrip()[:1].isalpha(),
        is_sure=numeral.is_sure and not (numeral.words and is_open),
    )


def _month(near: str, after: str, words: _Words) -> tuple[int, bool]:
    """Finds the month beside a number, and tells whether it follows."""
    behind = [after.lstrip(" .-/")]
    if filler := _FILLER.match(after):
        behind.append(after[filler.end() :])
    for i, month in enumerate(words.months, start=1):
        if any(map(month.match, behind)):
            return i, True
    ends = [
        (match.end(), i)
        for i, month in enumerate(words.months, start=1)
        for match in month.finditer(near)
    ]
    return (max(ends)[1] if ends else 0), False


def _unit(after: str) -> str:
    if after[:1].isalpha():
        return after[:3]
    return after[:1] if after.startswith(("%", "°")) else ""


def _with_shared_units(numerals: list[Numeral], text: str) -> list[Numeral]:
    """Gives the first number of a range the unit of the second.

    Reads "5 to 6 million" as 5 million too, and as 5 all the same.
    """
    result = list(numerals)
    for i in range(len(result) - 2, -1, -1):
        this, following = result[i], result[i + 1]
        gap = text[this.end : following.start]
        if this.words or this.parts or len(gap) > _SHARED_WITHIN or "|" in gap:
            continue
        if gap.strip() == "-" and not this.unit:
            this = replace(
                this,
                unit=following.unit,
                is_measured=following.is_measured,
                is_counted=following.is_counted,
                is_age=following.is_age,
            )
        if following.scale > 1 and this.scale == 1:
            values = this.values | {v * following.scale for v in this.values}
            this = replace(this, values=values)
        result[i] = this
    return result


def _with_halves(numerals: list[Numeral], text: str) -> list[Numeral]:
    """Reads "two years and a half" as two and a half too."""
    result = list(numerals)
    for i, (this, following) in enumerate(zip(numerals, numerals[1:], strict=False)):
        gap = text[this.end : following.start]
        is_half = following.words == 1 and 0 < max(following.values) < 1
        if is_half and not this.parts and len(gap) <= _HALF_WITHIN and not _PAUSE.search(gap):
            halves = {a + b for a in this.values for b in following.values}
            result[i] = replace(this, values=this.values | halves)
    return result
