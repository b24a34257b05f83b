"""Numbers as a text writes them: in figures of any script, in words of the language, in both."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from seedfree.filters.figures import Numeral, Values, read_figures
from seedfree.filters.number_words import LETTER, SIGN, NumberWord, NumberWords, number_words
from seedfree.languages import Language
from seedfree.text import fold

__all__ = ["read_numerals"]

# A month may have a day and the name of an era between itself and the year.
_NEAR = 20
_BESIDE = 16
# Words between a number and "half": a unit, as in "two years and a half".
_HALF_WITHIN = 14
_SHARED_WITHIN = 8
# The end of an ordinal and a short word, as in "the 12th of March".
_FILLER = re.compile(rf"{LETTER}{{0,3}} {LETTER}{{1,3}} ")
_PAUSE = re.compile("[|,;:.]")
# Exponents, indices and marks of footnotes would become digits of the number before them.
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089]")
_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")
_SIGNS = ("%", "٪", "°")
_GAPS = frozenset({"", " ", "-"})
_DIGITS = frozenset(map(Decimal, range(10)))


def read_numerals(text: str, language: Language) -> list[Numeral]:
    """Reads the numbers of a text in order."""
    words = number_words(language)
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


class _Token(NamedTuple):
    """Figures or a word of numbers. A sign is a figure that is read as a word is."""

    start: int
    end: int
    figures: Numeral | None
    word: NumberWord = NumberWord(Decimal(0))
    is_sign: bool = False


def _tokens(text: str, words: NumberWords) -> Iterator[_Token]:
    at = 0
    while match := words.token.search(text, at):
        at = match.end()
        kind = match.lastgroup
        if kind == "other":
            continue
        if kind is None:
            yield from _figure_tokens(match)
            continue
        # In scripts that write no spaces a vowel sign or a tone mark makes it another word.
        if unicodedata.category(text[at : at + 1] or " ")[0] == "M":
            last = list(words.word.finditer(text, match.start(), at))[-1]
            at = last.start()
        yield from _word_tokens(text, match.start(), at, words)
        at = max(at, match.start() + 1)


def _word_tokens(text: str, start: int, end: int, words: NumberWords) -> Iterator[_Token]:
    for word in words.word.finditer(text, start, end):
        yield _Token(word.start(), word.end(), None, words.values[word[0]])


def _figure_tokens(match: re.Match[str]) -> Iterator[_Token]:
    text, start = match[0], match.start()
    if re.fullmatch(SIGN, text):
        value = Decimal(int(unicodedata.numeric(text)))
        yield _Token(start, match.end(), None, NumberWord(value, value >= 100), is_sign=True)
        return
    for numeral in read_figures(text, start):
        yield _Token(numeral.start, numeral.end, numeral)


def _runs(tokens: Iterator[_Token], text: str, words: NumberWords) -> Iterator[list[_Token]]:
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


def _join(last: _Token, token: _Token, gap: str, words: NumberWords) -> bool:
    if gap == " " and last.figures is None and token.figures is None:
        # Where words are not spaced, a space ends the number. So it does between other figures.
        return words.is_spaced and not last.is_sign
    return gap in _GAPS or gap in words.joints


class _Piece(NamedTuple):
    """A part of a number that is added to the others: the 300 of 2,305."""

    values: Values
    scale: Decimal
    is_figures: bool


class _Reader:
    """Reads the numbers of words and figures that stand side by side."""

    def __init__(self, text: str, words: NumberWords) -> None:
        self._text, self._words = text, words
        self._pieces: list[_Piece] = []
        self._start = self._end = self._count = 0
        self._more: set[Decimal] = set()
        self._has_factor = False
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
        self._has_factor = True
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
        self._has_factor = True
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
        self._has_factor = True
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
        self._numerals.append(
            Numeral(
                self._start,
                self._end,
                written,
                frozenset(values),
                words=self._count - is_figures,
                # "Thousands of people" is no number that a text must have.
                is_sure=self._has_factor,
                scale=scale,
            )
        )
        self._pieces, self._count, self._more, self._has_factor = [], 0, set(), False

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


def _with_neighbours(numeral: Numeral, text: str, words: NumberWords) -> Numeral:
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
    is_measured = any(beside["units"]) or unit in _SIGNS or sign == "Sc"
    # Years after a number are counted. Before one they may be its age or its name.
    is_counted = is_measured or any(beside["counted"]) or beside["years"][1]
    is_dated = beside["dates"][0] or follows
    is_followed = after.lstrip()[:1].isalpha()
    if not is_counted:
        # "In March 25 ferries ran" has no 25 March.
        is_after_month = bool(month) and bool(numeral.year or not is_followed)
        is_dated = is_dated or is_after_month or beside["dates"][1]
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
        is_followed=is_followed,
        is_sure=numeral.is_sure and not (numeral.words and is_open),
    )


def _month(near: str, after: str, words: NumberWords) -> tuple[int, bool]:
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
    return after[:1] if after.startswith(_SIGNS) else ""


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
