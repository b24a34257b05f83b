"""The condition of a source text, looked at before anything is paid for.

What can be cleaned is cleaned: footnote marks, brackets that are empty, tags. A text that cannot be
is left out, with the reason.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache

from seedfree.languages import Language
from seedfree.languages.identification import is_zawgyi, other_language
from seedfree.text import count_scripts, outside_code, squeeze

__all__ = ["cleaned", "fault", "is_end_heading", "without_end"]

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\ufeff]")
_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")
# Word processors write bullets as letters of a symbol font.
_BULLET = re.compile("^[ \t]*[\ue000-\uf8ff][ \t]+", re.MULTILINE)

_HIDDEN = re.compile(
    # Each stops where the next of its kind begins, so that many without an end take no longer.
    r"<!--(?:(?!<!--).)*?-->|<ref\b[^<>]*/>"
    r"|<(script|style|head|title|ref|gallery)\b[^<>]*>(?:(?!<\1\b).)*?</\1>",
    re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(
    r"<(?:br|hr)\b[^<>]*>|</(?:p|div|li|tr|h[1-6]|table|section|article|blockquote)>",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"<!doctype\b[^<>]*>|</?(?:a|abbr|article|b|big|blockquote|body|caption|center|cite|code|dd|del|"
    r"div|dl|dt|em|figcaption|figure|font|footer|h[1-6]|header|html|i|iframe|img|ins|kbd|li|main|"
    r"mark|meta|nav|nowiki|ol|p|pre|q|s|section|small|span|strong|sub|sup|table|tbody|td|tfoot|th|"
    r"thead|tr|tt|u|ul|var)\b[^<>]*>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});", re.IGNORECASE)

_TEMPLATE = re.compile(r"\{\{\s*[^\W\d_][^{}]{3,}\}\}|\{\|[^{}]*\n\|\}")
_WIKI_FILE = re.compile(r"\[\[[^\[\]|:]{2,20}:[^\[\]|]*\.\w{3,4}\|[^\[\]]*\]\]")
_WIKI_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_WEB_LINK = re.compile(r"\[https?://[^\s\[\]]{1,2000}(?: ([^\[\]\n]*))?\]")
_QUOTED = re.compile(r"'{2,5}([^'\n]+)'{2,5}")
# [1], [2, 3], [a], [note 4]: behind a word, and not the text of a link.
_NOTE = re.compile(
    r"(?<=\S)[ ]?\[(?:(?<![A-Za-z\d]\[)[a-z]"
    r"|(?:[^\W\d][^\[\]\d\n(),;]{0,11}\s)?\d{1,3}(?:\s?[,–-]\s?\d{1,3})*)\]"
    r"(?:[:：]\s?\d{1,4}(?:[–-]\d{1,4})?)?(?![(\w])"
)
# Brackets from which a pronunciation or a foreign name was taken out. `f()` is a call.
_EMPTY = re.compile(r"[ \t]?(?<![A-Za-z0-9_])[(（](?:\s|[;,:/、，；·–-])*[)）]")
_EMPTIED = re.compile(r"[ \t]?[(（]\s*[;,、，；](?:\s|[;,:/、，；·–-])*[)）]")
_AFTER_OPEN = re.compile(r"([(（])[ \t]*(?:[;,、，；][ \t]*)+")
_BEFORE_CLOSE = re.compile(r"[ \t]{0,3}(?:[;,、，；][ \t]{0,3}){1,9}([)）])")
_ROUNDS = 8
_LINES = re.compile(r"(?<![ \t])[ \t]+$|(?<=\n\n)\n+", re.MULTILINE)


def cleaned(text: str) -> str:
    """Returns a text without footnote marks, tags, empty brackets and control characters.

    Code between backticks stays as it is.
    """
    parts = _CODE.split(_BULLET.sub("- ", _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))))
    parts[::2] = map(_clean_prose, parts[::2])
    clean = "".join(parts)
    return text if clean == text else clean.strip()


def _clean_prose(text: str) -> str:
    # One round may lay bare what the next takes out: brackets around a note, an escaped tag.
    for _ in range(_ROUNDS):
        before = text
        text = _clean_once(text)
        if text == before:
            break
        # Tags leave the white space around them.
        text = _LINES.sub("", text)
    return text


def _clean_once(text: str) -> str:
    # Most texts hold none of these, and to look is quicker than to replace.
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", _HIDDEN.sub("", text)))
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\xa0", " "), text)
    if "[[" in text:
        text = _WIKI_LINK.sub(r"\1", _WIKI_FILE.sub("", text))
    if "{" in text:
        text = _TEMPLATE.sub("", text)
    if "''" in text:
        text = _QUOTED.sub(r"\1", text)
    if "[" in text:
        text = _NOTE.sub("", _WEB_LINK.sub(r"\1", text))
    if "(" in text or "（" in text:
        text = _EMPTY.sub("", _EMPTIED.sub("", text))
        text = _BEFORE_CLOSE.sub(r"\1", _AFTER_OPEN.sub(r"\1", text))
    return text


_AROUND = re.compile(r"^[\W_]+|[=#*_'\":.：៖။។–\-\[\]]+$")
# Numbers before a heading: "5.", "2)", "IV.".
_NUMBERING = re.compile(r"^(?:[\d.()\-–]+(?=\D)|[ivx]{1,5}[.)])")
# Code points of a heading among lines of text.
_LONGEST_END = 60
# Code points between two end headings.
_ROOM_FOR_AND = 6


def _plain(heading: str) -> str:
    """Returns a heading as it is compared: writers add numbers, colons and unseen characters."""
    text = _AROUND.sub("", squeeze(heading))
    return _AROUND.sub("", _NUMBERING.sub("", text))


def is_end_heading(heading: str, end: Collection[str]) -> bool:
    """Tells whether a heading ends an article: it is one of `end`, or joins several of them.

    Args:
        end: Headings in any case, such as "See also".
    """
    plain, ends = _plain(heading), _ends(tuple(end))
    if plain in ends:
        return True
    left, parts = plain, 0
    for each in ends:
        if each in left:
            left, parts = left.replace(each, "", 1), parts + 1
    # What may be left is a word for "and", whatever the language.
    return parts > 1 and len(left) <= _ROOM_FOR_AND


def without_end(text: str, end: Collection[str]) -> str:
    """Returns a text up to a line in its second half that is an end heading."""
    start = len(text) // 2
    for line in text[start:].split("\n")[1:]:
        start = text.index(line, start)
        if 0 < len(line) <= _LONGEST_END and is_end_heading(line, end):
            return text[:start].rstrip()
        start += len(line)
    return text


@lru_cache
def _ends(end: tuple[str, ...]) -> list[str]:
    """Returns end headings as they are compared, the longest first."""
    return sorted({_plain(each) for each in end} - {""}, key=lambda each: (-len(each), each))


_BROKEN = re.compile("[\x80-\x9f\ufffd\ufffe\uffff\ue000-\uf8ff\U000f0000-\U0010ffff]")
# The bytes that Windows-1252, and where it has none Latin-1, reads as these characters.
_BYTES = {chr(byte): byte for byte in range(0x80, 0x100)}
_BYTES |= {bytes([byte]).decode("cp1252", "replace"): byte for byte in range(0x80, 0x100)}
del _BYTES["\ufffd"]
# Hardly any run of letters is made of these alone.
_HIGH = re.compile(rf"(?<![^\x00-\x7f])[{re.escape(''.join(_BYTES))}]{{2,}}(?![^\x00-\x7f])")
# What UTF-8 looks like in Latin-1. Two letters alone may be a capital and a quotation mark.
_UTF8 = re.compile(
    rb"(?:[\xc4-\xdf][\x80-\xbf]){2}|[\xc2\xc3][\x80-\xbf]"
    rb"|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
# What UTF-8 of Thai, Lao or Burmese looks like in the one-byte encoding of Thai.
_THAI_AS_THAI = re.compile("(?:[เแ][ธนบป€][\u0e01-\u0e1f€…‘-”•–—\xa0]?){4,}")
# Thai in its own one-byte encoding, read as Latin-1: no language writes so many of these in a row.
_THAI_AS_LATIN = re.compile("[\xa1-\xda\xdf-\xfb]{6,}")
# A vowel or tone mark without its letter; of Thai and Lao also those that are letters to Unicode.
_TORN = re.compile("(?:^|(?<=[ \t\xa0\n]))(?:[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3])")
_AFTER_SPACE = re.compile(r"(?:^|(?<=[ \t\xa0\n]))[^\s\x00-\u02ff]")
# Characters of a text to each mark that may stand alone in it.
_TEXT_PER_TORN = 400
_ZAWGYI = 0.95
# Code points: a name alone is too short to tell.
_ZAWGYI_LENGTH = 12
_MARKUP = re.compile(r"</?[A-Za-z][\w:-]*(?:\s[^<>]*)?/?>|\{\{|\}\}|\[\[|\]\]|\{\||^\|[-}]", re.M)
_FORMULA = re.compile(r"\\(?:displaystyle|textstyle)\b")
_MUCH_MARKUP = 3
# Scripts that many languages share: there the letters alone do not tell the language.
_SHARED = frozenset({"Latin", "Cyrillic", "Arabic", "Devanagari", "Hebrew", "Ethiopic", "Han"})
# Lower than in the language filter: a page lists works and names in the letters of their origin.
_OWN_SHARE = 0.4
_ID_LETTERS = 100
# As in the language filter: they lie between what was measured for right and for wrong languages.
_OWN_AT_MOST, _OTHER_AT_LEAST = 0.05, 0.5
# Fewer letters are no text to ask about.
_FEWEST_LETTERS = 20

_CITATION = re.compile(
    # First how all of them begin: a text in another script then takes an eighth of the time.
    r"(?=[a-z(])(?:\b(?:ISBN|ISSN|OCLC|doi|arXiv)\b|https?://|www\.|\bpp?\. ?\d|\bVol\. ?\d"
    r"|\b[Ee]t al\.|\(\d{4}[a-z]?\))", re.IGNORECASE
)  # fmt: skip
_BULLETED = re.compile(r"\s*(?:[-*•·–—►▪●○✓]|\d{1,3}[.):]\s)\s*")
_DATUM = re.compile(r"\d|[\t|–—/]| - |:$")
_CELLS = re.compile(r"\t.*\t|\|.*\|")
_FEWEST_LINES = 4
# Share of the lines from which on a text is of their kind.
_MOST = 0.7
# Code points: of a line that may hold a sentence, and at most of a phrase and a name.
_SENTENCE, _PHRASE, _NAME = 70, 40, 20
_MANY_LINES = 8
_SENTENCE_END = re.compile(r"[.!?。។။]\W*$|[,;]$")


def fault(text: str, language: Language, title: str = "") -> str | None:
    """Returns why no instructions can be asked for about a text, in a few words.

    Args:
        text: As `cleaned` gives it.
        title: Of the text, or `page: section`.
    """
    if title and is_end_heading(title.rpartition(": ")[2], language.end_sections):
        return "a bibliography"
    if _BROKEN.search(text):
        return "broken characters"
    if _is_misread(text):
        return "read in a wrong encoding"
    if language.script == "Myanmar" and is_zawgyi(text):
        return "Zawgyi encoding"
    if _is_torn(text):
        return "letters torn apart"
    prose = outside_code(text)
    if _FORMULA.search(prose) or len(_MARKUP.findall(prose)) >= _MUCH_MARKUP:
        return "markup"
    counts = count_scripts(text)
    letters = sum(counts.values())
    if letters < _FEWEST_LETTERS:
        return "hardly any text"
    if language.script and counts.get(language.script, 0) <= _OWN_SHARE * letters:
        return "another script"
    if language.script in _SHARED and letters >= _ID_LETTERS and other_language(prose, language):
        return "another language"
    return _no_sentences(text)


def _is_misread(text: str) -> bool:
    """Finds UTF-8 that was read as Latin-1, Windows-1252 or Thai, and Thai read as Latin-1."""
    if _THAI_AS_LATIN.search(text) or _THAI_AS_THAI.search(text):
        return True
    for run in _HIGH.finditer(text):
        data = bytes(map(_BYTES.__getitem__, run[0]))
        sequences = b"".join(_UTF8.findall(data))
        # The other bytes belong to letters that were cut.
        if 2 * len(sequences) > len(data):
            return True
    return False


def _is_torn(text: str) -> bool:
    torn = len(_TORN.findall(text)) + sum(
        unicodedata.category(char) in ("Mn", "Mc") for char in _AFTER_SPACE.findall(text)
    )
    return torn * _TEXT_PER_TORN > len(text)


def _no_sentences(text: str) -> str | None:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < _FEWEST_LINES:
        return None
    if sum(bool(_CITATION.search(line)) for line in lines) > _MOST * len(lines):
        return "a bibliography"
    if sum(bool(_CELLS.search(line)) for line in lines) > _MOST * len(lines):
        return "a list or a table"
    ended = sum(bool(_SENTENCE_END.search(line)) for line in lines)
    long = sum(len(line) for line in lines if len(line) >= _SENTENCE)
    if 5 * long > len(text) or 2 * ended > len(lines):
        return None
    bulleted = sum(bool(_BULLETED.match(line)) for line in lines)
    data = sum(bool(_DATUM.search(_BULLETED.sub("", line, count=1))) for line in lines)
    names = sum(len(line) <= _NAME for line in lines)
    is_short = sorted(map(len, lines))[len(lines) // 2] <= _PHRASE
    # Steps to follow are bulleted, and a poem has short lines, but few as short as a name.
    if data > _MOST * len(lines) or (is_short and 2 * (bulleted + data) > len(lines)):
        return "a list or a table"
    if len(lines) >= _MANY_LINES and names > _MOST * len(lines):
        return "a list or a table"
    return None
