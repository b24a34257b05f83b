"""Text of unknown origin: made fit for UTF-8, for a terminal, for a file that others read."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

__all__ = ["clean", "count_scripts", "fold", "outside_code", "script_of", "shown", "squeeze"]

# Controls but tab and line feed; marks that turn the direction of text; line ends that are not
# "\n"; surrogates; the invisible tag letters. Joiners and zero-width spaces stay: Khmer, Burmese
# and Thai are written with them.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_LONE = re.compile("(?<![\ud800-\udbff])[\udc00-\udfff]|[\ud800-\udbff](?![\udc00-\udfff])")


def clean(text: str) -> str:
    """Joins surrogate pairs and replaces lone surrogates, which no UTF-8 file can hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE.sub("\ufffd", text).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return text


def shown(text: str) -> str:
    r"""The text with control, bidi and other unseen characters as escapes (`\x1b`); line feeds and tabs stay."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)


_DIGIT = re.compile(r"[^\D0-9]")


# Zero-width spaces and joiners, direction marks, soft hyphens: unseen, and put in or left out at
# will.
_INVISIBLE = dict.fromkeys(
    (0xAD, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A))
)


_ALIKE = {
    **dict.fromkeys(map(ord, "‘’‚‛`´′"), "'"),
    **dict.fromkeys(map(ord, "“”„‟«»″「」『』"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―−"), "-"),
}


_UNLIKE = re.compile(f"[{''.join(map(chr, [*_INVISIBLE, *_ALIKE]))}]")


# Two ways to type the same Thai or Lao letters: two SARA E for SARA AE, and the tone mark after
# NIKHAHIT.
_TYPED = ((re.compile("\u0e40\u0e40"), "\u0e41"), (re.compile("\u0ec0\u0ec0"), "\u0ec1"))


_TONES = re.compile("([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb])")


_SCRIPT_NAMES = {"CJK": "Han", "KATAKANA-HIRAGANA": "Katakana", "MICRO": "Greek"}


@lru_cache(maxsize=512)
def fold(text: str) -> str:
    """A text with everything removed in which two copies of it may differ; idempotent.

    Compatibility forms (NFKC), case, digits of any script, quotation marks, dashes, invisible
    characters, white space and the typing variants of Thai and Lao.
    """
    for _ in range(8):
        folded = _fold_once(text)
        if folded == text:
            break
        text = folded
    return text


def _fold_once(text: str) -> str:
    if _UNLIKE.search(text):
        # most texts hold none of these, and to look is a hundred times quicker than to replace
        text = text.translate(_INVISIBLE).translate(_ALIKE)
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _DIGIT.sub(lambda m: str(unicodedata.decimal(m[0])), unicodedata.normalize("NFKC", text))
    for pattern, replacement in _TYPED:
        text = pattern.sub(replacement, text)
    return " ".join(_TONES.sub(r"\2\1", text).split())


@lru_cache(maxsize=512)
def squeeze(text: str) -> str:
    """`fold` without white space, which models move about in scripts that write no spaces between words."""
    return fold(text).replace(" ", "")


@lru_cache(maxsize=8192)
def script_of(char: str) -> str:
    """Unicode script of a letter, `"Thai"`, `"Latin"`, `"Han"`; `""` for anything but a letter.

    Read from the character's Unicode name, which begins with its script, so that every script is
    known without a table.
    """
    if not char.isalpha():
        return ""
    words = unicodedata.name(char, "").split()
    if words and words[0] in (
        "FULLWIDTH",
        "HALFWIDTH",
        "MODIFIER",
        "MATHEMATICAL",
        "FEMININE",
        "MASCULINE",
    ):
        words = unicodedata.name(unicodedata.normalize("NFKC", char)[0], "").split()
    return _SCRIPT_NAMES.get(words[0], words[0].capitalize()) if words else ""


def count_scripts(text: str) -> dict[str, int]:
    """Letters of a text by script. Vowel signs and tone marks are not counted as letters."""
    counts: dict[str, int] = {}
    for char, times in Counter(text).items():
        if script := script_of(char):
            counts[script] = counts.get(script, 0) + times
    return counts


def outside_code(text: str) -> str:
    """A Markdown text without its code, in which foreign words, tags and variables are at home."""
    return _CODE.sub(" ", text)
