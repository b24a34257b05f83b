"""How a text ends in the middle."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from seedfree.languages import Language
from seedfree.languages.segment import ends_inside_word

__all__ = ["cut_off"]

# Signs after which a word must go on: vowels before their consonant, vowels with a final consonant
# behind them, and signs that stack the next consonant. After white space they stand for themselves
# ("the vowel แ"), and the Thai word ก็ ends in such a sign.
_HALF = re.compile(
    r"\S[เแโใไເແໂໃໄ]\Z|[\u0e31\u0e37\u0eb1\u0ebb][\u0e48-\u0e4b\u0ec8-\u0ecb]?\Z"
    r"|(?<!ก)\u0e47\Z|[\u17d0\u17d2\u1039]\Z"
)
# A sign between two words; behind a few words it may be what they name ("blood type O +").
_OPEN_END = re.compile(r"[,;:(\[{“«「、،၊៖]\Z|.{30}\s[-–—&/+=]\Z")
_TAIL = 120
# So many characters of a foreign name are hardly met by chance.
_NAME = 6

# What holds brackets and quotation marks that open nothing: faces, intervals, and quotations in the
# styles of all languages („x“, »x«).
_FACE = re.compile(
    r"(?<!\S)[>}]?[:;=]['’]?[-o^]?[()\[\]{}]+|(?<!\S)[()\[\]]+[-o^]?['’]?[:;=](?!\S)"
)
_BOUND = r"\s*[-−+]?[\w.∞π√/^]{1,12}\s*"
_INTERVAL = re.compile(rf"[\[\](]{_BOUND}[,;]{_BOUND}[\])\[]")
_QUOTATION = re.compile(r"„[^“”„\n]*[“”]|“[^“”\n]*”|”[^”\n]*”|»[^»«\n]*«|«[^»«\n]*»")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_PAIRS = {")": "(", "]": "[", "}": "{", "”": "“", "»": "«", "」": "「", "』": "『", "）": "（"}
_BRACKET = re.compile(f"[{re.escape(''.join(_PAIRS.values()))}]")
_LABEL = re.compile(r"^\s*\(?\w{1,3}\)", re.MULTILINE)

_STOP = re.compile(r"(?:\b(\w{3,})[.!?…]|[။។]|[\u0e80-\u0eff]\.)[\"'”’»)*_]*(?:\s|\Z)")
_LIST_ITEM = re.compile(r"\s*(?:[-*•·|#>]|\(?\w{1,3}[.)]\s)")
_FIELD, _EMPTY_FIELD = re.compile(r"[^:：\n]{1,60}[:：]\s*\S.*"), re.compile(r"[^:：\n]{1,60}[:：]")
_ADDRESS = re.compile(r"(?:://|www\.|@)\S*\Z|[A-Za-z0-9_.~-]/[A-Za-z0-9_./~-]*\Z")
# Shorter lines are titles, signatures and answers of a few words, which have no full stop.
_SENTENCE, _LONG_SENTENCE = 40, 100
# Scripts whose sentences end with a sign. Thai has none.
_STOPPED_SCRIPTS = frozenset({"Latin", "Cyrillic", "Greek", "Myanmar", "Khmer", "Lao"})


def cut_off(text: str, language: Language, given: str = "", *, fields: bool = False) -> str | None:
    """Names how a text ends in the middle.

    Most cuts between two words are not found here. The LLM's own stop reason names those.

    Args:
        given: What the text was written from. A name that stands whole there is not half a word.
        fields: Whether the text may list names with values, of which the last has none.
    """
    text = unicodedata.normalize("NFC", text.rstrip())
    if len(text) < 2:
        return None
    # Code stands for one word, which may be the last.
    prose = _CODE.sub("`", text)
    plain = _QUOTATION.sub("`", _INTERVAL.sub("`", _FACE.sub("`", prose)))
    if _HALF.search(text):
        return "half a syllable"
    if _OPEN_END.search(plain[-_TAIL:]) and not (fields and _ends_with_empty_field(plain)):
        return "open punctuation"
    if _leaves_bracket_open(plain):
        return "unclosed bracket"
    # Nobody can tell where an address ends.
    if _ADDRESS.search(plain[-_TAIL:]):
        return None
    if _has_open_ending(plain, language):
        return "conjunction"
    if language.script in _STOPPED_SCRIPTS and _lacks_full_stop(plain):
        return "no full stop"
    if ends_inside_word(plain, language.segmenter) and not _ends_word(plain[-_NAME:], given):
        return "half a word"
    return None


def _ends_word(ending: str, given: str) -> bool:
    """Tells whether a word or name ends somewhere as the text does."""
    _, *behind = given.split(ending)
    return any(unicodedata.category(rest[:1] or " ")[0] not in "LM" for rest in behind)


def _ends_with_empty_field(text: str) -> bool:
    """Tells whether the last line is a name without a value, after lines that have both."""
    *before, last = text.split("\n")
    filled = sum(bool(_FIELD.fullmatch(line)) for line in before)
    return bool(_EMPTY_FIELD.fullmatch(last)) and 2 <= filled >= len(before) / 2


def _has_open_ending(text: str, language: Language) -> bool:
    if not language.open_endings:
        return False
    ending = _endings(language.open_endings).search(text, max(len(text) - _TAIL, 0))
    # A word alone is an answer that names it.
    return ending is not None and ending.start() > 0


@cache
def _endings(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(patterns)})\Z", re.MULTILINE)


def _leaves_bracket_open(text: str) -> bool:
    """Finds a bracket near the end that nothing closes."""
    tail = text[-_TAIL:]
    if not _BRACKET.search(tail):
        return False
    # Labels such as `a)` close nothing. Read backwards, each bracket must have met its partner.
    awaited: list[str] = []
    for char in reversed(_LABEL.sub(" ", tail)):
        if char in _PAIRS:
            awaited.append(_PAIRS[char])
        elif char in _PAIRS.values():
            if char not in awaited:
                return True
            awaited.remove(char)
    return False


def _lacks_full_stop(text: str) -> bool:
    """Finds a last line that does not end like the sentences or list items before it."""
    if not text[-1:].isalpha():
        return False
    *before, last = [line for line in text.split("\n") if line.strip()]
    if _LIST_ITEM.match(last):
        items = [line for line in before if _LIST_ITEM.match(line)]
        return len(items) > 1 and all(map(_ends_sentence, items))
    if len(last) < _SENTENCE:
        return False
    prose = [line for line in (*before, last) if not _LIST_ITEM.match(line)]
    if any(map(_ends_sentence, prose)):
        return True
    # A list of names may be as long, but the last of them has a capital.
    return len(last) >= _LONG_SENTENCE and last.split()[-1].islower()


def _ends_sentence(line: str) -> bool:
    """Finds a full stop behind a word. Behind a short one or a capital it may abbreviate."""
    return any(not (stop[1] or "")[:1].isupper() for stop in _STOP.finditer(line))
