"""What a text should not show: the prompt's form, chat tokens, markup of the page it came from."""

from __future__ import annotations

import re

from seedfree.filters.copies import VALUES, parsed
from seedfree.languages import Language
from seedfree.text import outside_code

__all__ = ["is_leak", "markup_in", "possible_leak"]

_KEYS = "instruction|output|evidence|rationale|explanation|wrong|pairs|turns"
# The reply's JSON, and the frame around a context.
_FORM = re.compile(rf"[\"“”](?:{_KEYS})[\"“”]\s*:|</?document id=", re.IGNORECASE)
_HEADING = re.compile(
    r"^(\W{0,4})(instruction|evidence|rationale|response)\W{0,3}:", re.IGNORECASE | re.MULTILINE
)
# Tokens of chat templates. A reader is asked about the first ones also where they stand as words.
_TURN_TOKEN = r"<\|[\w ]{1,40}\|?>|<｜[^<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
# Within a text <s> may be a tag, or a type's argument.
_TAG_TOKEN = r"\A\s*<s>|</s>\s*\Z|</?think>|<(?:bos|eos|pad|unk|mask|unused\d+)>"
_TOKEN = re.compile(rf"({_TURN_TOKEN})|{_TAG_TOKEN}", re.IGNORECASE)
# Placeholders that a prompt should have filled in, but not arguments and signs of formulas
# (`\frac{input}{output}`, `$x$`).
_PLACEHOLDER = re.compile(
    rf"\$(?:{VALUES})\b(?!\$)|(?<![A-Za-z0-9_}}\]^])\$?\{{\s*(?:{VALUES})\s*\}}(?!\{{)",
    re.IGNORECASE,
)
# Every leak has one of these. Most texts have none, and are done with one quick look.
_LEAK_SIGN = re.compile(r"[:$<{[]")


def is_leak(text: str, language: Language) -> bool:
    """Finds the form of a prompt or a reply where nobody could have meant it."""
    value = parsed(text) if text.lstrip().startswith("{") else None
    if isinstance(value, dict) and not value.keys().isdisjoint(_KEYS.split("|")):
        return True
    prose = outside_code(text)
    if not _LEAK_SIGN.search(prose):
        return False
    if _FORM.search(prose) or any(not _is_word(token) for token in _TOKEN.finditer(prose)):
        return True
    return any(_is_leaked_heading(heading, language) for heading in _HEADING.finditer(prose))


def _is_leaked_heading(heading: re.Match[str], language: Language) -> bool:
    # The headings are words of English, and of languages that borrow from it.
    if language.script != "Latin":
        return True
    opens_text = heading.start() == 0 and heading[2].casefold() == "instruction"
    return opens_text or "#" in heading[1]


def possible_leak(prose: str) -> str | None:
    """Returns a placeholder or a token in a text without its code, which may be meant."""
    if not _LEAK_SIGN.search(prose):
        return None
    tokens = (token[0] for token in _TOKEN.finditer(prose) if token[1])
    placeholders = (placeholder[0] for placeholder in _PLACEHOLDER.finditer(prose))
    return next(tokens, None) or next(placeholders, None)


_TAGS = (
    "a|abbr|b|big|blockquote|body|br|center|cite|code|dd|del|div|dl|dt|em|font|footer|gallery"
    "|h[1-6]|head|header|hr|html|i|iframe|img|ins|li|link|math|meta|nav|noinclude|nowiki|ol|p|pre"
    "|ref|references|s|script|section|small|span|strong|style|sub|sup|table|tbody|td|th|thead|tr|tt"
    "|u|ul"
)
# After a name only attributes may follow: `a <b and c> d` compares.
_TAG = re.compile(rf"<(/?)({_TAGS})(?:\s+[\w:-]+\s*=[^<>]{{0,300}})?\s*/?>", re.IGNORECASE)
_MARKUP = re.compile(
    r"&(?:nbsp|amp|lt|gt|quot|ndash|mdash|\#\d{2,6});"
    # Links and templates of a wiki have a word inside; matrices, sets and JSON have numbers, quotes
    # or brackets there.
    r"|\[\[[^\W\d_][^\s\d\[\],|][^\[\]\n]*(?:\]\]|$)"
    r"|(?<![\w^}])\{\{\s*[^\W\d_][^\s\d{},|][^{}\n]*(?:\}\}|$)"
    # Bold type, but not the third derivative: f'''(x).
    r"|(?<![\w)])'''[^'\n]{1,200}'''"
    r"|^\{\||^\|\}|\{\\displaystyle|^={2,6}[^=\n]+={2,6}\s*$"
    # Brackets from which a template was taken out.
    r"|\(\s*[;,][\s;,]*\)",
    re.IGNORECASE | re.MULTILINE,
)
# As with leaks, one quick look tells most texts to be without.
_MARKUP_SIGN = re.compile(r"[<&[{|'=(]")


def markup_in(prose: str) -> str | None:
    """Returns what looks like HTML or wiki markup in a text without its code.

    Markdown may stand.
    """
    if not _MARKUP_SIGN.search(prose):
        return None
    for tag in _TAG.finditer(prose):
        if not (_is_word(tag) or _is_type(tag)):
            return tag[0]
    markup = _MARKUP.search(prose)
    return markup[0] if markup else None


def _is_word(sign: re.Match[str]) -> bool:
    """Tells whether a tag or token stands within a line like a word, as where a text names it."""
    start, end = sign.span()
    before, after = sign.string[max(start - 1, 0) : start], sign.string[end : end + 1]
    return before in {" ", "(", *_QUOTES} and after in {" ", ")", ",", ".", ":", *_QUOTES}


_QUOTES = "\"'“”‘’«»"


def _is_type(tag: re.Match[str]) -> bool:
    """Tells a type's argument (`List<a>`) by what stands before it and the end tag it lacks."""
    before = tag.string[max(tag.start() - 1, 0) : tag.start()]
    touches = before.isascii() and before.isalnum()
    return touches and len(tag[2]) == 1 and f"</{tag[2]}" not in tag.string
