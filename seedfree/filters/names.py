"""Which names of an answer its text does not have.

In scripts with capitals a capital shows a name. Elsewhere the words are cut apart, and a name is
what stands beside a marker ("Mr", "province"), a known place or person, or a word that the
dictionary lacks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from seedfree.languages import Language, segment
from seedfree.languages.lexicon import Lexicon, lexicon
from seedfree.text import count_scripts, fold, one_case, outside_code, squeeze

__all__ = ["unknown_names"]

_CASED = frozenset({"Latin", "Cyrillic", "Greek", "Armenian"})
# For languages made by hand, whose file names none.
_SEGMENTERS = {"Thai": "newmm", "Lao": "icu", "Khmer": "icu", "Myanmar": "icu"}
# Languages that write every noun with a capital, so that a capital shows nothing: German,
# Luxembourgish, Low German, Swiss German, Bavarian, Saterland Frisian, Ripuarian, Palatine.
_CAPITAL_NOUNS = frozenset("de deu lb ltz nds gsw bar stq ksh pfl".split())
# Latin, Greek, Cyrillic and Armenian letters with their accents.
_LETTER = "A-Za-zªºÀ-ÖØ-öø-ʯ\u0300-\u036fͰ-ϿЀ-ԯԱ-ևḀ-ỿ"
_WORD = re.compile(rf"[{_LETTER}]+(?:['’ʼ‑\-][{_LETTER}]+)*")
# Letters of scripts that write no spaces, with their marks: Thai, Lao, Tibetan, Burmese, Khmer.
_OWN = re.compile(
    "[\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e\u0e80-\u0ece\u1000-\u1049\u1050-\u109f\u1780-\u17d3]+"
)
# Thai tone marks and letters that are not spoken: a foreign name is written with or without them.
_UNHEARD = re.compile("[\u0e01-\u0e2e][\u0e34\u0e38]?\u0e4c|[\u0e47-\u0e4b]")
_QUOTED = re.compile(
    r"\"([^\"\n]{2,80})\"|“([^“”\n]{2,80})”|«([^«»\n]{2,80})»|「([^「」\n]{2,80})」"
)
_OPENERS = frozenset(".!?:;…\"“”'‘([*_•|#>-–—/\n\r")
# A title or an initial, which ends no sentence: it has no vowel ("Dr.", "St.", "J.").
_SHORTENED = re.compile(r"(?:^|[\s(])(?:[A-Z]|[B-DF-HJ-NP-TV-Z][b-df-hj-np-tv-xz]{1,2})\.\Z")
# A number or a choice's letter. Other letters are initials more often.
_LISTED = re.compile(r"(?:^|[\s(])(?:\d{1,3}|[a-fA-F])[.)]\Z")
_MARKUP = re.compile(r"\s*(?:[-*•]\s+|\d{1,3}[.)]\s+)?(#{1,6}\s|\*\*|__)?")
_BRACKETS = re.compile(r"\s*[(（]([^()（）\n]{2,80})[)）]")
# Name and original in brackets: how far before the bracket the name may begin.
_GLOSS = 24
# Forms of a name share so many letters. A shorter stem is the beginning of too many other words.
_STEM = 4
# A long marker is one also where the segmenter takes it and the name for one word.
_LONG_MARKER = 4
# Into how many words a name is cut at most, and how long one is that no marker shows.
_JOINED = 6
_PERSON = 6
# Pieces of a name that the dictionary lacks are short. Single letters are labels.
_PIECE = 3
_SHORTEST = 3
# "กรุงเทพมหานคร" is also written with its first seven letters alone.
_LONG, _SHORTENED_TO = 10, 7


def unknown_names(answer: str, context: str, language: Language) -> Iterator[str]:
    """Yields names, and quoted words, of an answer that its text does not have.

    They are as they stand in the answer. Other forms of a name count as the name: with the
    endings of another case, as an adjective, as its initials, or with the original in brackets.
    """
    text = unicodedata.normalize("NFC", outside_code(answer))
    source = _source(context)
    glosses = [(m.start(), m.end(), m[1]) for m in _BRACKETS.finditer(text)]
    seen = set()
    for start, end in _candidates(text, source, language):
        name = text[start:end]
        if name not in seen and not _glossed(text, start, end, glosses, source):
            seen.add(name)
            yield name


def _candidates(text: str, source: _Source, language: Language) -> Iterator[tuple[int, int]]:
    """Yields where names that the source does not have begin and end."""
    for match in _QUOTED.finditer(text):
        quoted = next(group for group in match.groups() if group)
        if squeeze(quoted).strip(".,!?") not in source.squeezed:
            yield match.start() + 1, match.end() - 1
    if language.code not in _CAPITAL_NOUNS:
        yield from _capitalised(text, source, language)
    segmenter = language.segmenter
    if segmenter == "space":
        segmenter = _SEGMENTERS.get(language.script, "space")
    if segmenter != "space":
        yield from _spaceless(text, source, language, segmenter)


def _glossed(
    text: str, start: int, end: int, glosses: list[tuple[int, int, str]], source: _Source
) -> bool:
    """Tells whether a name stands beside its other form in brackets, which the source has."""
    for opening, closing, inner in glosses:
        if opening <= start and end <= closing:
            return squeeze(text[:opening].split("\n")[-1])[-_STEM - 1 :] in source.squeezed
        if start < opening <= end + _GLOSS and not re.search(r"[.,;:\n]", text[end:opening]):
            if squeeze(inner) in source.squeezed:
                return True
    return False


@dataclass(frozen=True)
class _Source:
    """What an answer's names are looked up in.

    Attributes:
        text: The text as it is.
        squeezed: The text, folded and without white space.
        heard: The same without tone marks and silent letters.
        words: Its words in cased scripts, folded, also without what follows an apostrophe.
        small: Those of them that it writes without a capital.
        beginnings: Words by their first letters.
        ends: Words by their last letters.
        initials: The first letters of all words, and of those with a capital.
    """

    text: str
    squeezed: str
    heard: str
    words: frozenset[str]
    small: frozenset[str]
    beginnings: dict[str, list[str]]
    ends: dict[str, list[str]]
    initials: tuple[str, str]


# A row's filters ask for one text a few times, and several rows have one text.
@lru_cache(maxsize=64)
def _source(context: str) -> _Source:
    text = unicodedata.normalize("NFKC", context).replace("’", "'").replace("ʼ", "'")
    written = _WORD.findall(text)
    small = _parts(word for word in written if word[0].islower())
    words = small | _parts(word for word in written if not word[0].islower())
    beginnings: dict[str, list[str]] = {}
    ends: dict[str, list[str]] = {}
    for word in words:
        beginnings.setdefault(word[:_STEM], []).append(word)
        ends.setdefault(word[-_STEM - 1 :], []).append(word)
    initials = "".join(one_case(word[0]) for word in written)
    capitals = "".join(one_case(word[0]) for word in written if word[0].isupper())
    squeezed = squeeze(context)
    heard, both = _heard(squeezed), (initials, capitals)
    return _Source(context, squeezed, heard, words, small, beginnings, ends, both)


@lru_cache(maxsize=64)
def _cut(context: str, segmenter: str) -> frozenset[str]:
    """Returns the words of a text that is written without spaces."""
    return frozenset(context[slice(*span)] for span in _spans(context, segmenter))


def _parts(words: Iterator[str]) -> frozenset[str]:
    return frozenset(
        part
        for word in words
        for part in (one_case(word), *re.split("['\\-]", one_case(word)))
        if part
    )


def _capitalised(text: str, source: _Source, language: Language) -> Iterator[tuple[int, int]]:
    """Yields words with a capital that the source does not have."""
    cased = language.script in _CASED or (not language.script and _is_cased(text))
    words = list(_WORD.finditer(text))
    # An answer that is a name alone begins no sentence.
    bare = 1 < len(words) < 6 and all(_is_capital(word[0]) for word in words)
    small = source.small | _parts(word[0] for word in words if word[0][0].islower())
    no_names = {one_case(word) for word in language.no_names}
    for i, match in enumerate(words):
        word = match[0].replace("’", "'").replace("ʼ", "'")
        forms = [form for form in _forms(word) if len(form) > 1]
        if not _is_capital(word) or not forms:
            continue
        folded = [fold(form) for form in forms]
        if small.intersection(folded) or no_names.intersection(folded):
            continue
        if any(_is_known(form, source) for form in (*folded, *_others(folded, language))):
            continue
        if cased and not bare and _begins(text, match.start()):
            continue
        if cased and _in_heading(text, match.start()):
            continue
        if _spelled_out(text, words, i) in source.words:
            continue
        yield match.span()


def _others(names: list[str], language: Language) -> Iterator[str]:
    """Yields the words of the language's file for the same names."""
    for words in language.same_names:
        folded = list(map(fold, words))
        if not set(folded).isdisjoint(names):
            yield from folded


def _is_cased(text: str) -> bool:
    counts = count_scripts(text)
    return bool(counts) and max(counts, key=lambda script: counts[script]) in _CASED


def _is_capital(word: str) -> bool:
    # The second part of "l'Italie" has the capital.
    return word[0].isupper() or any(part[:1].isupper() for part in word.split("'")[1:])


def _forms(word: str) -> list[str]:
    """Returns a word without what an apostrophe parts from it ("Ali'nin", "I'm", "l'Italie")."""
    before, _, behind = word.partition("'")
    if not behind:
        return [word]
    if len(before) <= 2 and behind[0].isupper():
        return [word, behind]
    return [before]


def _is_known(name: str, source: _Source) -> bool:
    if name in source.words or any(name in initials for initials in _initials(name, source)):
        return True
    if "-" in name:
        return all(_is_known(part, source) for part in name.split("-") if len(part) > 1)
    return any(_akin(name, word) for word in _alike(name, source))


def _initials(name: str, source: _Source) -> tuple[str, ...]:
    return source.initials if 2 <= len(name) <= 6 else ()


def _alike(name: str, source: _Source) -> Iterator[str]:
    if len(name) >= _STEM:
        yield from source.beginnings.get(name[:_STEM], ())
        yield from source.ends.get(name[-_STEM - 1 :], ())


def _akin(name: str, word: str) -> bool:
    """Tells whether two words are forms of one: "Italy" and "Italian", "Tanzania" and "Mtanzania".

    They begin with the same letters and differ in a short ending, or the other way round.
    """
    if word.startswith(name):
        return True
    shared = _shared(name, word)
    if shared >= _STEM and max(len(name), len(word)) - shared <= 4:
        return min(len(name), len(word)) - shared <= 2
    shared = _shared(name[::-1], word[::-1])
    return shared > _STEM and max(len(name), len(word)) - shared <= 2


def _shared(left: str, right: str) -> int:
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return min(len(left), len(right))


def _begins(text: str, position: int) -> bool:
    """Tells whether a sentence, a line, a list item or something in quotes begins here."""
    before = text[max(0, position - 40) : position].rstrip(" \t")
    if not before or _LISTED.search(before):
        return True
    return before[-1] in _OPENERS and not _SHORTENED.search(before)


def _in_heading(text: str, position: int) -> bool:
    """Tells whether this is in a heading or a label, all of whose long words have a capital."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : len(text) if end < 0 else end]
    markup = _MARKUP.match(line)
    label = line.find(":", position - start)
    if label >= 0:
        line = line[:label]
    elif not (markup and markup[1]):
        return line.isupper() and len(line.split()) > 1
    return len(line) <= 80 and all(
        word[0].isupper() for word in _WORD.findall(line) if len(word) >= _STEM
    )


def _spelled_out(text: str, words: list[re.Match[str]], i: int) -> str:
    """Returns the initials of the words with a capital around a word."""
    first = last = i
    while first and _adjoin(text, words[first - 1], words[first]):
        first -= 1
    while last + 1 < len(words) and _adjoin(text, words[last], words[last + 1]):
        last += 1
    initials = "".join(word[0][0] for word in words[first : last + 1] if word[0][0].isupper())
    return one_case(initials) if len(initials) > 1 else ""


def _adjoin(text: str, left: re.Match[str], right: re.Match[str]) -> bool:
    # Small words stand within names: "University of Oxford".
    small = len(right[0]) <= 3 or len(left[0]) <= 3
    capitals = left[0][0].isupper() and right[0][0].isupper()
    return text[left.end() : right.start()] in (" ", "-") and (capitals or small)


def _spaceless(
    text: str, source: _Source, language: Language, segmenter: str
) -> Iterator[tuple[int, int]]:
    """Yields names that the source does not have, where neither capitals nor spaces show them."""
    words = _spans(text, segmenter)
    lists = lexicon(segmenter)
    done = 0
    for i, (start, _) in enumerate(words):
        if start < done:
            continue
        name = _beside_marker(text, words, i, language, lists)
        if name is None and lists is not None:
            no_name = text[slice(*words[i])] in language.no_names
            name = None if no_name else _listed(text, words, i, lists)
        if name is not None:
            if not _stands(text[slice(*name)], source):
                yield name
            done = name[1]
        elif lists is not None:
            pieces = _pieces(text, words, i, lists)
            # The other part of a name may be left out: "Song" for "Grandpa Song".
            if text[slice(*words[i])] in _cut(source.text, segmenter):
                continue
            if pieces and not any(_stands(text[slice(*pair)], source) for pair in pieces):
                start, done = _grown(text, words, i, lists)
                yield start, done


def _spans(text: str, segmenter: str) -> list[tuple[int, int]]:
    """Returns where the words of the language's own script begin and end, without punctuation."""
    spans, position = [], 0
    for word in segment(text, segmenter):
        start = text.find(word, position)
        if start < 0:
            continue
        position = start + len(word)
        for match in _OWN.finditer(word):
            spans.append((start + match.start(), start + match.end()))
    return spans


def _stands(name: str, source: _Source) -> bool:
    squeezed = squeeze(name)
    if squeezed in source.squeezed or _heard(squeezed) in source.heard:
        return True
    # Long names are shortened: "Bangkok" is the first seven letters of its full name.
    return len(squeezed) >= _LONG and squeezed[:_SHORTENED_TO] in source.squeezed


def _heard(text: str) -> str:
    """Returns a text without the signs in which spellings of a foreign name differ."""
    return _UNHEARD.sub("", text)


def _joined(words: list[tuple[int, int]], i: int, count: int) -> tuple[int, int] | None:
    """Returns where `count` words that nothing parts begin and end."""
    run = words[i : i + count] if i >= 0 else []
    if len(run) < count or any(left[1] != right[0] for left, right in pairwise(run)):
        return None
    return run[0][0], run[-1][1]


def _beside_marker(
    text: str, words: list[tuple[int, int]], i: int, language: Language, lists: Lexicon | None
) -> tuple[int, int] | None:
    """Returns the name behind the marker that begins with a word."""
    start, end = words[i]
    ends = {end for _, end in words[i : i + 4]}
    for marker in _longest_first(language.name_markers):
        behind = start + len(marker)
        if not text.startswith(marker, start):
            continue
        inside = behind < end
        if behind not in ends and not (inside and len(marker) >= _LONG_MARKER):
            continue
        while text.startswith(" ", behind):
            behind += 1
        rest = [(max(behind, a), b) for a, b in words[i : i + 4 + _JOINED] if b > behind]
        return _behind_marker(text, rest, behind, language, lists)
    return None


def _behind_marker(
    text: str,
    words: list[tuple[int, int]],
    behind: int,
    language: Language,
    lists: Lexicon | None,
) -> tuple[int, int] | None:
    if not words or words[0][0] != behind:
        return None
    word = text[slice(*words[0])]
    if word in language.no_names or len(word) < 2:
        return None
    if lists is None:
        return None if word in language.name_markers else words[0]
    for count in range(_JOINED, 1, -1):
        span = _joined(words, 0, count)
        if span and text[slice(*span)] in lists.names:
            return span
    # A word of the dictionary that is hardly ever used is a name behind a marker.
    known = word in lists.words and word not in lists.frequent and word not in language.name_markers
    compound = word not in lists.surely and _is_compound(word, lists)
    return words[0] if known and not compound and len(word) > 2 else None


def _is_compound(word: str, lists: Lexicon) -> bool:
    """Tells whether a word is put together of two that are used all the time."""
    often = lists.very_frequent
    return any(word[:i] in often and word[i:] in often for i in range(2, len(word) - 1))


def _listed(
    text: str, words: list[tuple[int, int]], i: int, lists: Lexicon
) -> tuple[int, int] | None:
    """Returns the known place or person that begins with a word."""
    if text[slice(*words[i])] in lists.surely:
        return words[i]
    for count in range(4, 1, -1):
        span = _joined(words, i, count)
        if span and span[1] - span[0] >= _PERSON and text[slice(*span)] in lists.surely:
            # Two ordinary words put together are a family name too.
            if any(text[slice(*word)] not in lists.frequent for word in words[i : i + count]):
                return span
    return None


def _pieces(
    text: str, words: list[tuple[int, int]], i: int, lists: Lexicon
) -> list[tuple[int, int]]:
    """Returns what of a name that the dictionary lacks must stand in the source, if this is one.

    The segmenter cuts such a name into pieces: strange ones, or several short words.
    """
    word = text[slice(*words[i])]
    if word not in lists.words and len(word) > _PIECE:
        return [words[i]]
    if word not in lists.words:
        # Alone, a short piece stands in many other words. A letter alone is a label.
        pairs = [pair for pair in (_joined(words, i - 1, 2), _joined(words, i, 2)) if pair]
        return pairs or [words[i]] * (len(word) >= _SHORTEST)
    row = words[i : i + 3]
    if _joined(words, i, 3) and all(_is_piece(text, each, lists) for each in row):
        return [(row[0][0], row[1][1])]
    return []


def _grown(text: str, words: list[tuple[int, int]], i: int, lists: Lexicon) -> tuple[int, int]:
    """Returns where the pieces of a name around a word begin and end."""
    first = last = i
    while _joined(words, first - 1, 2) and _is_piece(text, words[first - 1], lists):
        first -= 1
    while _joined(words, last, 2) and _is_piece(text, words[last + 1], lists):
        last += 1
    return words[first][0], words[last][1]


def _is_piece(text: str, word: tuple[int, int], lists: Lexicon) -> bool:
    piece = text[slice(*word)]
    return piece not in lists.very_frequent and (len(piece) <= _PIECE or piece not in lists.words)


@cache
def _longest_first(markers: tuple[str, ...]) -> tuple[str, ...]:
    # Of two markers with one beginning the longer is looked for first, or it would never match.
    return tuple(sorted(markers, key=len, reverse=True))
