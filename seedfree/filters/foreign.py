"""Letters, words and passages of another script in a text, and the share of the language's own.

What is left out of a text is blanked, so that places in it are places in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from seedfree.text import CODE, count_scripts, script_of

__all__ = [
    "asides_left_out",
    "foreign_passages",
    "is_passage",
    "own_share",
    "prose_of",
    "strange_words",
]

# Code without its marks, links, files, markup and formulas: no language's words.
_NO_PROSE = re.compile(
    r"(?:https?://|www\.)\S+|[\w.+-]{1,64}@[\w.-]{1,255}"
    r"|</?[A-Za-z][^<>\n]{0,200}>"
    r"|\$\$[^$]{1,500}\$\$|\$[^$\n]{1,200}\$|\\[(\[][^\n]{1,300}?\\[)\]]|\\[A-Za-z]+"
    r"|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]+(?:[._/\\][A-Za-z0-9_-]+)+(?:\(\))?"
    # Keys and constants of JSON.
    r"|\"[A-Za-z0-9_ -]{1,60}\"(?=\s*:)|\b(?:null|true|false)\b(?=\s*[,}\]])"
)
_ASIDE = re.compile(
    r"\([^()\n]*\)|\[[^\[\]\n]*\]|（[^（）\n]*）"
    r"|\"[^\"\n]*\"|“[^“”\n]*”|‘[^‘’\n]*’|«[^«»\n]*»|「[^「」\n]*」|『[^『』\n]*』|《[^《》\n]*》"
)
_LATIN = "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿ\u0300-\u036f"
_LATIN_WORD = re.compile(f"[{_LATIN}]+(?:['’\\-][{_LATIN}]+)*")
_FULL_STOP = re.compile(r"[\s\d]*[.!?](?!\w)")
_WORD = re.compile(r"[^\W\d_]+")
# From so many words on it is a sentence, if it begins and ends as one; if it does not, from so many
# words without a capital on, or all in capitals. A title or a name in full has fewer.
_SENTENCE, _SMALL, _CAPITALS = 3, 3, 5
# In quotes or brackets, where the words of another language belong, a sentence is no sign of a
# change of language, but many are.
_ASIDE_WORDS, _ASIDE_LETTERS = 16, 50
# From so many letters of another script on they are a passage.
_PASSAGE = 25
# Words of one or two letters are variables and units.
_UNIT = 2
# Bounds the time on a text without spaces.
_LONGEST_WORD = 30

# Scripts that are written together.
_TOGETHER = (
    frozenset({"Han", "Hiragana", "Katakana", "Bopomofo"}),
    frozenset({"Hangul", "Han"}),
)
# Greek letters that look like Latin ones: in a word they are no symbols.
_GREEK_LIKE_LATIN = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧνορυ"
# Marks whose names do not begin with a script.
_NO_SCRIPT = frozenset("COMBINING VARIATION MUSICAL VEDIC ZNAMENNY".split())
# Letters that Unicode has in a language's script, but for other languages: those of Shan, Mon and
# Karen, and of Khmu.
_OF_OTHERS = {
    "my": re.compile("[\u1022\u1028\u1033-\u1035\u105a-\u109d\ua9e0-\ua9fe\uaa60-\uaa7f]"),
    "lo": re.compile("[\u0ede\u0edf]"),
}


def prose_of(text: str) -> str:
    """Blanks code, links, file names, markup and formulas."""
    return _NO_PROSE.sub(_blank, CODE.sub(_blank, text))


def asides_left_out(text: str) -> str:
    """Blanks what is quoted or in brackets, where foreign words belong."""
    return _ASIDE.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def own_share(prose: str, script: str) -> float:
    """Returns the share of the letters that are of a script, 0 to 1. It is 1 for no letters.

    Where that helps, quotations, names and units do not count.
    """
    own, total = _own_and_all(prose, script)
    if not own or own == total:
        return own / total if total else 1.0
    text = asides_left_out(prose)
    if script != "Latin":
        text = _names_left_out(text)
    own_outside, outside = _own_and_all(text, script)
    # What is quoted may be of another script, or nearly all that is said, as the values of JSON.
    return max(own / total, own_outside / outside if outside else 0.0)


def _names_left_out(text: str) -> str:
    kept, start = [], 0
    for run in _latin_runs(text):
        if 2 * sum(_is_name(word, text) for word in run) >= len(run):
            kept.append(text[start : run[0].start()])
            start = run[-1].end()
    return " ".join([*kept, text[start:]])


def _is_name(word: re.Match[str], text: str) -> bool:
    has_digit = text[word.end() : word.end() + 1].isdigit()
    return len(word[0]) <= _UNIT or has_digit or word[0] != word[0].lower()


def _own_and_all(text: str, script: str) -> tuple[int, int]:
    counts = count_scripts(text)
    return sum(counts.get(name, 0) for name in _group(script)), sum(counts.values())


@lru_cache(maxsize=64)
def _group(script: str) -> frozenset[str]:
    """Returns the scripts that a language of this one is written in."""
    return frozenset({script}).union(*(group for group in _TOGETHER if script in group))


def strange_words(prose: str, script: str, language: str) -> Iterator[tuple[int, int]]:
    """Yields where letters stand that do not belong to a language: start and end.

    Latin letters belong to every language, but not into its words. What is quoted or in brackets
    may be in any letters, if it is short, and a single Greek letter is a symbol.
    """
    strange = {char for char in set(prose) if _is_strange(char, script, language)}
    if strange:
        letters = "".join(map(re.escape, sorted(strange)))
        # Across spaces and signs: the words of a sentence stay together.
        run = re.compile(f"[{letters}](?:[^\\w\\n]*[{letters}])*")

        def short_blanked(aside: re.Match[str]) -> str:
            is_long = sum(map(strange.__contains__, aside[0])) >= _ASIDE_LETTERS
            return aside[0] if is_long else _blank(aside)

        text = _ASIDE.sub(short_blanked, prose)
        for match in run.finditer(text):
            start, end = _whole_word(text, *match.span())
            is_symbol = len(match[0]) == 1 and script_of(match[0]) == "Greek"
            if not is_symbol or (end - start > 1 and match[0] in _GREEK_LIKE_LATIN):
                yield start, end
    yield from _mixed_words(prose, script)


def is_passage(words: str, script: str) -> bool:
    """Tells whether words of another script are a passage and not a slip."""
    own, total = _own_and_all(words, script)
    return total - own >= _PASSAGE


@lru_cache(maxsize=8192)
def _is_strange(char: str, script: str, language: str) -> bool:
    own = _script(char)
    if own in _group(script):
        others = _OF_OTHERS.get(language)
        return bool(others and others.match(char))
    return own not in ("", "Latin")


def _script(char: str) -> str:
    """Returns the script of a letter or of a mark: a vowel of another script is foreign, too."""
    if unicodedata.category(char)[0] != "M":
        return script_of(char)
    name = unicodedata.name(char, "").partition(" ")[0]
    return "" if name in _NO_SCRIPT else name.capitalize()


def _mixed_words(text: str, script: str) -> Iterator[tuple[int, int]]:
    """Yields where words stand of a script with capitals that have Latin letters among their own.

    Other scripts write no spaces around foreign names, or have letters that nobody takes for Latin.
    """
    if script not in ("Cyrillic", "Greek", "Armenian", "Coptic"):
        return
    for word in _WORD.finditer(text):
        if {script, "Latin"} <= set(count_scripts(word[0])):
            yield word.span()


def _whole_word(text: str, start: int, end: int) -> tuple[int, int]:
    """Widens a run of letters to the word with capitals that it stands in."""
    first, last = max(0, start - _LONGEST_WORD), min(len(text), end + _LONGEST_WORD)
    while start > first and _is_cased(text[start - 1]):
        start -= 1
    while end < last and _is_cased(text[end]):
        end += 1
    return start, end


def _is_cased(char: str) -> bool:
    return char.islower() or char.isupper()


def foreign_passages(text: str) -> Iterator[tuple[int, int]]:
    """Yields where something like a sentence in Latin letters stands in a text of another script.

    Names and titles, which have capitals, may stand. So may what is quoted or in brackets.
    """
    rest = asides_left_out(text)
    for run in _latin_runs(text):
        first, last = run[0].start(), run[-1].end()
        words = [match[0] for match in run]
        if rest[first:last].isspace():
            if len(words) >= _ASIDE_WORDS:
                yield first, last
        elif _is_sentence(words, bool(_FULL_STOP.match(text, last))):
            yield first, last


def _is_sentence(words: list[str], has_full_stop: bool) -> bool:
    if len(words) >= _CAPITALS and all(len(word) > 1 and word.isupper() for word in words):
        return True
    small = sum(word[0].islower() for word in words)
    if has_full_stop and words[0][0].isupper() and len(words) >= _SENTENCE:
        return 3 * small >= len(words)
    return small >= _SMALL and 2 * small >= len(words)


def _latin_runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Yields words in Latin letters that stand side by side on a line."""
    run: list[re.Match[str]] = []
    for word in _LATIN_WORD.finditer(text):
        if run:
            between = text[run[-1].end() : word.start()]
            if "\n" in between or any(map(str.isalpha, between)):
                yield run
                run = []
        run.append(word)
    if run:
        yield run
