"""Text of unknown origin: made safe to store, show and send, folded for comparison, told by script.

A further fold is `evaluation.words.normalize`. It keeps case and punctuation, which scores count.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from seedfree.text.typed import one_typing

__all__ = [
    "CODE",
    "INVISIBLE",
    "clean",
    "count_scripts",
    "fold",
    "is_code",
    "letters_and_digits",
    "one_case",
    "outside_code",
    "pieces",
    "script_of",
    "shown",
    "squeeze",
    "unmarked",
    "without_thought",
]

_LONE_SURROGATE = re.compile(
    "(?<![\ud800-\udbff])[\udc00-\udfff]|[\ud800-\udbff](?![\udc00-\udfff])"
)
# Controls but tab and line feed; marks that turn the direction of text; line ends that are not
# "\n"; surrogates; the invisible tag letters. Joiners and zero-width spaces stay: Khmer, Burmese
# and Thai are written with them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Marks of turns in chat templates. Each is caught in two parts, so that a space fits between them.
_TURN_MARK = re.compile(
    r"(<)(\|[^|<>]{1,40}\||｜[^｜<>]{1,40}｜|/?(?:start|end)_of_turn>|/?(?:s|bos|eos|pad)>)"
    r"|(\[)(/?(?:INST|SYSTEM_PROMPT)\])"
)
_THOUGHT = re.compile(
    r"\A\s*<(think|thinking|thought|reasoning|reflection)>.*?(?:</\1>|\Z)", re.DOTALL
)
# Markdown's code, in fences and in a line.
CODE = re.compile(r"(```|~~~).*?(?:\1|\Z)|`[^`\n]+`", re.DOTALL)

# Zero-width spaces and joiners, direction marks, soft hyphens, Khmer's inherent vowels: writers put
# them in or leave them out at will.
INVISIBLE = dict.fromkeys(
    (
        0xAD,
        0x17B4,
        0x17B5,
        0x180E,
        0xFEFF,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x206A),
    )
)
_ALIKE = {
    **dict.fromkeys(map(ord, "‘’‚‛`´′"), "'"),
    **dict.fromkeys(map(ord, "“”„‟«»″「」『』"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), "-"),
}
_TO_TRANSLATE = re.compile(f"[{''.join(map(chr, [*INVISIBLE, *_ALIKE]))}]")
# A digit, but none of ASCII's: what is neither a non-digit nor 0 to 9.
_FOREIGN_DIGIT = re.compile(r"[^\D0-9]")
_ROUNDS = 8

# Names of characters that begin with a form and not with the script; NFKC gives the plain letter.
_FORMS = frozenset("FULLWIDTH HALFWIDTH MODIFIER MATHEMATICAL FEMININE MASCULINE".split())
_SCRIPTS_BY_WORD = {
    "CJK": "Han",
    "IDEOGRAPHIC": "Han",
    "KATAKANA-HIRAGANA": "Katakana",
    "MICRO": "Greek",
}


def clean(text: str) -> str:
    """Joins surrogate pairs and replaces lone surrogates, which no UTF-8 file can hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # UTF-16 writes a character beyond U+FFFF as its pair, so reading it back joins the pair.
        paired = _LONE_SURROGATE.sub("\ufffd", text)
        return paired.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return text


def shown(text: str) -> str:
    r"""Escapes control, bidi and other unseen characters (`\x1b`). Line feeds and tabs stay."""
    return _UNSEEN.sub(lambda char: char[0].encode("unicode_escape").decode(), text)


def unmarked(text: str) -> str:
    """Puts a space into each mark of a turn, such as `<|im_end|>`.

    A server reads such a mark as the end of a turn wherever it stands, also in a page.
    """
    # Most texts have neither bracket, and looking for one is quicker than the expression.
    if "<" not in text and "[" not in text:
        return text
    return _TURN_MARK.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", text)


def outside_code(text: str) -> str:
    """Returns a Markdown text without its code, where foreign words, tags and variables belong."""
    return CODE.sub(" ", text)


# Filters fold the same texts of a row one after another.
@lru_cache(maxsize=512)
def fold(text: str) -> str:
    """Removes everything in which two copies of a text may differ.

    Compatibility forms (NFKC), case, digits of any script, quotation marks, dashes, invisible
    characters, white space, and the ways to type Thai, Lao, Khmer and Burmese (`typed`). A folded
    text stays as it is.
    """
    for _ in range(_ROUNDS):
        compatible = _compatible(text)
        if compatible == text:
            break
        text = compatible
    return _typed(text)


def _typed(text: str) -> str:
    # Digits last: a Burmese zero may be a letter.
    text = " ".join(one_typing(text).split())
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def _compatible(text: str) -> str:
    # Most texts hold none of these, and to look is a hundred times quicker than to replace.
    if _TO_TRANSLATE.search(text):
        text = text.translate(INVISIBLE).translate(_ALIKE)
    text = one_case(unicodedata.normalize("NFKC", text))
    # Case folding may leave letters that are not composed, so they are composed again.
    return unicodedata.normalize("NFKC", text)


def one_case(text: str) -> str:
    """Returns a text in one case.

    Turkish and Azerbaijani have two letters i, whose capitals Python folds by English rules. They
    are one letter here: hardly two words differ in it alone.
    """
    return text.casefold().replace("i\u0307", "i").replace("ı", "i")


@lru_cache(maxsize=512)
def squeeze(text: str) -> str:
    """Folds a text and removes its white space.

    Models move spaces about in scripts that write none between words.
    """
    joined = fold(text).replace(" ", "")
    # Letters and marks that white space had kept apart may be one without it.
    return _typed(unicodedata.normalize("NFC", joined))


def without_thought(text: str) -> str:
    """Returns a reply behind the thought in front of it, which some servers leave there.

    A thought that does not end leaves no answer.
    """
    return _THOUGHT.sub("", text, count=1)


def letters_and_digits(text: str) -> str:
    """Returns the letters, marks and digits alone, in lower case (NFKC).

    This is how topics are told apart and found in documents.
    """
    # Not `fold`: digits keep their script, so that a resumed run tells its topics apart as before.
    # No run is known with topics that differ in Turkish i or in the order of marks alone.
    seen = unicodedata.normalize("NFKC", text).translate(INVISIBLE)
    folded = one_typing(one_case(seen))
    # A list, because join() makes one of any generator first.
    return "".join([char for char in folded if unicodedata.category(char)[0] in "LMN"])


_CODES = re.compile(
    # A file's name, a name with underscores and digits, a long number behind letters, digits with
    # zeros in front, and what is written in hexadecimal digits.
    r"\S+\.(?:txt|md|jsonl?|html?|xml|csv|tsv|pdf|docx?|png|jpe?g)|(?=\S*\d)\S*_\S*"
    r"|[A-Z]{1,5}[- ]?\d{4,}|[A-Za-z]+[- ]?(?:0\d+|\d{5,})|(?=\S*\d)(?:[0-9a-f]{4,}-?){2,}",
    re.IGNORECASE,
)
# Standards and years after a short word: "ISO 9001", "Expo 2020".
_WORD_AND_NUMBER = re.compile(r"(?!IMG|DSC|PXL|VID|SCAN)[A-Za-z]{2,} (?!0)\d{4}")


def is_code(text: str) -> bool:
    """Tells whether a text names nothing that one could write about: no word, a number, a file."""
    text = unicodedata.normalize("NFKC", text).strip()
    if not any(char.isalpha() for char in text):
        return True
    return bool(_CODES.fullmatch(text)) and not _WORD_AND_NUMBER.fullmatch(text)


def pieces(text: str, size: int) -> Iterator[str]:
    """Yields every `size` characters in a row."""
    return (text[i : i + size] for i in range(len(text) - size + 1))


@lru_cache(maxsize=8192)
def script_of(char: str) -> str:
    """Returns the Unicode script of a letter (`"Thai"`, `"Latin"`, `"Han"`), of others `""`.

    It is read from the character's Unicode name, which begins with its script, so that every script
    is known without a table.
    """
    if not char.isalpha():
        return ""
    words = unicodedata.name(char, "").split()
    if words and words[0] in _FORMS:
        words = unicodedata.name(unicodedata.normalize("NFKC", char)[0], "").split()
    # Apostrophes and tone letters are of no script, nor are the signs of mathematics and physics.
    if not words or words[0] in _FORMS or "\u2100" <= char <= "\u214f":
        return ""
    return _SCRIPTS_BY_WORD.get(words[0], words[0].capitalize())


def count_scripts(text: str) -> dict[str, int]:
    """Counts the letters of a text by script. Vowel signs and tone marks are not letters."""
    counts: dict[str, int] = {}
    for char, times in Counter(text).items():
        if script := script_of(char):
            counts[script] = counts.get(script, 0) + times
    return counts
