"""One way to type what looks alike in Thai, Lao, Khmer and Burmese.

A syllable of these scripts may be typed in several orders and with several code points that readers
cannot tell apart. The orders are those of Unicode (chapter 16), of its technical note 11 for
Burmese, and of SIL's Khmer normalizer (github.com/sillsdev/khmer-character-specification).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["one_typing"]


def one_typing(text: str) -> str:
    """Returns a text with each syllable typed one way. To do it again changes nothing.

    Marks stand in one order and once, a letter that was typed in parts is one code point, and a
    digit that stands in a Burmese word is the letter that looks like it.

    Args:
        text: In NFC or NFKC, and without unseen characters.
    """
    if text.isascii():
        return text
    for looked_for, retyped in _SCRIPTS:
        if looked_for.search(text):
            text = retyped(text)
    return text


def _sorted_marks(marks: Sequence[str], place: Callable[[str], float]) -> list[str]:
    """Returns each mark once, by its place and then by its code point."""
    return sorted(dict.fromkeys(marks), key=lambda mark: (place(mark), mark))


def _side_by_side(*pairs: tuple[str, str]) -> re.Pattern[str]:
    """Compiles a pattern for one of the first characters of a pair before one of the second.

    They are the pairs that may have to change. Most texts have none, and to look for one is far
    quicker than to sort.
    """
    firsts = "".join(first for first, _ in pairs)
    tests = "|".join(f"[{second}](?<=[{first}].)" for first, second in pairs)
    # Beginning with a set of characters makes the search many times faster.
    return re.compile(f"[{firsts}](?:{tests})")


def _late(places: Sequence[str]) -> list[tuple[str, str]]:
    """Lists the marks of each place behind marks of the same place or a later one."""
    return [("".join(places[i:]), marks) for i, marks in enumerate(places)]


# Thai and Lao. The marks of Lao stand 128 code points behind those of Thai. It has two more: the
# vowel MAI KON and the sign LO below a letter.
_THAI_PLACES = (
    "\u0ebc",
    "\u0e31\u0e34\u0e35\u0e36\u0e37\u0e47\u0eb1\u0eb4\u0eb5\u0eb6\u0eb7\u0ebb",
    # Below the letter. Unicode's own order has PHINTHU before the vowels.
    "\u0e3a\u0eba",
    "\u0e38\u0e39\u0eb8\u0eb9",
    "\u0e4d\u0ecd",
    "\u0e48\u0e49\u0e4a\u0e4b\u0ec8\u0ec9\u0eca\u0ecb",
    "\u0e4c\u0e4e\u0ecc\u0ece",
)
_THAI_PLACE = {mark: place for place, marks in enumerate(_THAI_PLACES) for mark in marks}
_NIKHAHITS, _AFTER = "\u0e4d\u0ecd", "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
_LO, _VOWELS, _PHINTHU, _BELOW_VOWELS, _, _TONES, _SILENT = _THAI_PLACES
_THAI_MARKS = re.compile(f"[{''.join(_THAI_PLACES)}{_AFTER}]{{2,}}")
_THAI_ORDER = _side_by_side(
    (f"{_TONES}{_SILENT}{_AFTER}", "".join(_THAI_PLACES)),
    (_NIKHAHITS, "".join(_THAI_PLACES[:5])),
    (f"{_VOWELS}{_PHINTHU}{_BELOW_VOWELS}", f"{_VOWELS}{_LO}{_PHINTHU}"),
    (_LO, _LO),
    (_BELOW_VOWELS, _BELOW_VOWELS),
    ("\u0e34\u0eb4", _NIKHAHITS),
    (f"{_AFTER}{_NIKHAHITS}", "\u0e33\u0eb3"),
)
# What may have to change although no two marks side by side say so. Looked for only where runs of
# marks are in order, and therefore short.
_THAI_OTHERS = re.compile(f"[{_NIKHAHITS}][{_TONES}{_SILENT}]+[{_AFTER}]")
_PARTS = str.maketrans({"\u0e33": "\u0e4d\u0e32", "\u0eb3": "\u0ecd\u0eb2"})
# LAKKHANGYAO looks like SARA AA and belongs to RU and LU alone.
_LONG = re.compile("(?<![ฤฦ])\u0e45")
_THAI_WHOLE = (
    ("\u0e4d\u0e32", "\u0e33"),
    ("\u0ecd\u0eb2", "\u0eb3"),
    ("ฤ\u0e32", "ฤ\u0e45"),
    ("ฦ\u0e32", "ฦ\u0e45"),
    ("\u0e40\u0e40", "\u0e41"),
    ("\u0ec0\u0ec0", "\u0ec1"),
    ("\u0eab\u0e99", "\u0edc"),
    ("\u0eab\u0ea1", "\u0edd"),
)


def _thai(text: str) -> str:
    # HO LO has a sign of its own, and is as often written with two letters.
    text = text.replace("\u0eab\u0ea5", "\u0eab\u0ebc")
    whole = text.replace("\u0e4d\u0e32", "\u0e33").replace("\u0ecd\u0eb2", "\u0eb3")
    if _THAI_ORDER.search(whole) or _THAI_OTHERS.search(whole):
        text = _THAI_MARKS.sub(lambda run: _thai_run(run[0]), text.translate(_PARTS))
    text = _LONG.sub("\u0e32", text)
    for parts, whole in _THAI_WHOLE:
        text = text.replace(parts, whole)
    return text


# Texts have few different runs of marks, so that nearly all are known.
@lru_cache(maxsize=4096)
def _thai_run(run: str) -> str:
    vowels = "".join(char for char in run if char in _AFTER)

    def place(mark: str) -> float:
        # NIKHAHIT before SARA AA is one vowel with it, and the tone mark stands before both.
        if mark in _NIKHAHITS and vowels:
            return len(_THAI_PLACES)
        return _THAI_PLACE[mark]

    marks = "".join(_sorted_marks([char for char in run if char not in _AFTER], place))
    if vowels:
        return marks + vowels
    return marks.replace("\u0e34\u0e4d", "\u0e36").replace("\u0eb4\u0ecd", "\u0eb6")


_KHMER_PLACES = (
    "\u17cc",  # ROBAT
    "\u17d2",  # letters below
    "\u17c9\u17ca",  # shifters of the series
    "\u17c1\u17c2\u17c3\u17c4\u17c5",
    "\u17bb\u17bc\u17bd",
    "\u17b7\u17b8\u17b9\u17ba\u17be\u17bf\u17c0",
    "\u17b6",
    "\u17c6\u17cb\u17cd\u17ce\u17cf\u17d0\u17d1\u17d3",
    "\u17c7\u17c8",
)
_KHMER_PLACE = {mark: place for place, marks in enumerate(_KHMER_PLACES) for mark in marks}
_KHMER_LETTERS = "\u1780-\u17b3"
_COENG_RO = "\u17d2\u179a"
_KHMER_UNIT = re.compile(f"\u17d2[{_KHMER_LETTERS}]|[\u17b6-\u17d1\u17d3]")
_KHMER_SYLLABLE = re.compile(f"([{_KHMER_LETTERS}]?)((?:{_KHMER_UNIT.pattern})+)")
# Vowels that a reader sees as one sign, whichever way they were typed.
_KHMER_VOWELS = (("\u17c1\u17b8", "\u17be"), ("\u17c1\u17b6", "\u17c4"))
# Above a letter with one of these, both shifters take the form of the vowel U below it.
_ABOVE = frozenset("\u17b7\u17b8\u17b9\u17ba\u17be\u17d0")
_BELOW = frozenset("\u17bb\u17c9\u17ca")
# The letters of the first series that TRIISAP shifts. BA is left out: it mostly has MUUSIKATOAN.
_FIRST_SERIES = frozenset("កខចឆដឋណតថផសហឡអ")
# Letters and signs that Unicode gave up, and the second form of the independent vowel OO.
_KHMER_LETTER = str.maketrans(
    {"\u17a3": "\u17a2", "\u17a4": "\u17a2\u17b6", "\u17b2": "\u17b1", "\u17dd": "\u17d1"}
)
_KHMER_GIVEN_UP = re.compile("[\u17a3\u17a4\u17b2\u17dd]")
_COENG, _ROBAT = "\u17d2", "\u17cc"
_KHMER_MARK = "\u17b6-\u17d1\u17d3"
_KHMER_ORDER = _side_by_side(
    ("".join(_KHMER_PLACES[2:]), _ROBAT + _COENG),
    (_ROBAT, _ROBAT),
    ("\u17c1", "\u17b6-\u17c0"),
    *_late(_KHMER_PLACES[2:]),
)
# As in Thai.
_KHMER_OTHERS = re.compile(
    f"[{_COENG}\u17bb\u17c9\u17ca](?:\u178a|\u179a{_COENG}|[{_KHMER_LETTERS}]{_ROBAT}"
    f"|(?<!{_COENG})[{_KHMER_MARK}]*(?:[{''.join(sorted(_ABOVE))}]|\u17b6\u17c6))"
)


def _khmer(text: str) -> str:
    if _KHMER_GIVEN_UP.search(text):
        text = text.translate(_KHMER_LETTER)
    if not _KHMER_ORDER.search(text) and not _KHMER_OTHERS.search(text):
        return text
    return _KHMER_SYLLABLE.sub(lambda syllable: _khmer_syllable(syllable[1], syllable[2]), text)


@lru_cache(maxsize=4096)
def _khmer_syllable(letter: str, run: str) -> str:
    units = _KHMER_UNIT.findall(run.replace("\u17d2\u178a", "\u17d2\u178f"))
    # Letters below keep their order, but RO comes last: it is written around the others.
    below = [unit for unit in units if len(unit) == 2]
    below.sort(key=_COENG_RO.__eq__)
    marks = {unit for unit in units if len(unit) == 1}
    for parts, whole in _KHMER_VOWELS:
        if marks.issuperset(parts):
            marks = marks.difference(parts) | {whole}
    if marks & _BELOW and (marks & _ABOVE or marks.issuperset("\u17b6\u17c6")):
        shifter = "\u17ca" if letter in _FIRST_SERIES else "\u17c9"
        marks = marks - _BELOW | {shifter}
    placed = _sorted_marks(sorted(marks), _KHMER_PLACE.__getitem__)
    robat = _ROBAT if _ROBAT in marks else ""
    return letter + robat + "".join(below) + "".join(placed).removeprefix(_ROBAT)


_ASAT, _E = "\u103a", "\u1031"
_BURMESE_PLACES = (
    "",  # ASAT before SIGN AA
    "\u103b",
    "\u103c",
    "\u103d",
    "\u103e",
    "\u103a",
    "\u1031",
    "\u102d\u102e\u1032\u1033\u1034\u1035",
    "\u102f\u1030",
    "\u102b\u102c",
    "",  # ASAT of the vowel AW
    "\u1036",
    "\u1037",
    "\u1038",
)
_BURMESE_PLACE = {mark: place for place, marks in enumerate(_BURMESE_PLACES) for mark in marks}
_BURMESE_LETTERS = "\u1000-\u102a\u103f"
# VIRAMA behind ASAT is part of a KINZI, which stands above the next letter.
_BURMESE_UNIT = re.compile(
    f"\u1039[{_BURMESE_LETTERS}]|\u103a(?!\u1039)|[\u102b-\u1038\u103b-\u103e]"
)
_KINZI = re.compile(f"\u1039\u103a(?=[{_BURMESE_LETTERS}])")
_LOST_VIRAMA = re.compile(f"\u1039(?![{_BURMESE_LETTERS}])")
_BURMESE_MARKS = re.compile(f"(?:{_BURMESE_UNIT.pattern})+")
_BURMESE_ORDER = _side_by_side(
    ("\u102b-\u1038\u103b-\u103e", "\u1039"),
    ("\u102b-\u1038\u103a", "\u103b-\u103e"),
    ("\u102d-\u1036\u1038", "\u103a"),
    ("\u103a", "\u1031\u1037\u103a"),
    *_late(_BURMESE_PLACES[1:5]),
    *_late([*_BURMESE_PLACES[6:10], *_BURMESE_PLACES[11:]]),
)
# The same for ASAT, whose place hangs on the vowels.
_BURMESE_ASAT = re.compile(
    "[\u102b\u102c]\u103a(?<!\u1031..)|\u103a(?<=[\u103b-\u103e].)[\u102b-\u1037]*[\u102b\u102c]"
    "|\u1037\u103a(?:(?<=[\u102b-\u1036\u1038]..)|[\u102b-\u1036])"
)
_DIGITS = "0-9\u1040-\u1049"
_MARK = "\u102b-\u103e"
# A letter that ends a syllable: what stands before it is a letter, too. WA and RA are left out,
# because a digit may be one.
_CLOSED = "[\u1000-\u101a\u101c\u101e-\u1021]\u1037?\u103a"
# By a sign of each pattern: few texts have it, and to look for one is quicker.
_BURMESE_LETTER = (
    # NYA and the independent vowel U
    ("\u1025", re.compile("\u1025(?=\u1037?\u103a|\u1039|\u102c)"), "\u1009"),
    ("\u1009", re.compile("\u1009(?!\u1037?\u103a|\u1039|\u102c)"), "\u1025"),
    ("\u1025", re.compile("\u1025\u102e"), "\u1026"),
    # letters that were typed in parts
    ("\u101e\u103c", re.compile("(?<!\u1039)\u101e\u103c(?![\u103d\u103e])"), "\u1029"),
    ("\u1029", re.compile("\u1029\u1031\u102c\u103a"), "\u102a"),
    ("\u101e\u1039\u101e", re.compile("(?<!\u1039)\u101e\u1039\u101e"), "\u103f"),
    ("\u1005\u103b", re.compile("(?<!\u1039)\u1005\u103b"), "\u1008"),
    # digits for letters: four for the sign of "the same", seven for RA, zero for WA
    ("\u1044", re.compile(f"(?<![{_DIGITS}])\u1044(?=\u1004\u103a)"), "\u104e"),
    (
        "\u1047",
        re.compile(f"\u1047(?=[{_MARK}])|(?<![{_DIGITS}.,])\u1047(?={_CLOSED})"),
        "\u101b",
    ),
    (
        "\u1040",
        re.compile(
            f"\u1040(?=[{_MARK}])|(?<![{_DIGITS}.,])\u1040(?={_CLOSED})"
            f"|(?<=[\u1000-\u1021])\u1040(?![{_DIGITS}\u101d])"
        ),
        "\u101d",
    ),
)
# And WA for zero, in a number.
_WA_IN_NUMBER = re.compile(
    f"[\u101d\u1040](?:(?<=[{_DIGITS}].)|(?<=[{_DIGITS}][.,].))[\u101d\u1040]*(?:[.,][\u101d\u1040]+)*"
    f"(?![{_MARK}])(?!{_CLOSED})"
    "|\u101d(?<![\u1000-\u109f].)\u101d*(?=[1-9\u1041-\u1049])"
)


def _burmese(text: str) -> str:
    text = _LOST_VIRAMA.sub("", _KINZI.sub("\u103a\u1039", text))
    if _BURMESE_ORDER.search(text) or _BURMESE_ASAT.search(text):
        text = _BURMESE_MARKS.sub(lambda run: _burmese_run(run[0]), text)
    for sign, pattern, letter in _BURMESE_LETTER:
        if sign in text:
            text = pattern.sub(letter, text)
    return _WA_IN_NUMBER.sub(lambda number: number[0].replace("\u101d", "\u1040"), text)


@lru_cache(maxsize=4096)
def _burmese_run(run: str) -> str:
    units = _BURMESE_UNIT.findall(run)
    has_aa = "\u102b" in units or "\u102c" in units

    def place(mark: str) -> float:
        if mark == _ASAT and has_aa:
            # "ော်" is a vowel. Elsewhere ASAT belongs to the letter, as in "ယောက်ျား".
            return _BURMESE_PLACES.index("", 1) if _E in units else 0
        return _BURMESE_PLACE[mark]

    below = [unit for unit in units if len(unit) == 2]
    marks = _sorted_marks([unit for unit in units if len(unit) == 1], place)
    # Unicode's own order has the dot below before ASAT.
    return "".join(below + marks).replace("\u103a\u1037", "\u1037\u103a")


_SCRIPTS = (
    (re.compile("[\u0e30-\u0ece]"), _thai),
    (re.compile("[\u1780-\u17dd]"), _khmer),
    (re.compile("[\u1000-\u104f]"), _burmese),
)
