"""Drops rows that can be seen to be broken without knowing what they say.

Everything works on characters, so that languages written without spaces need no segmenter. The
limits are set so that of paragraphs of Thai Wikipedia, taken as answers, less than one in two
hundred is dropped.

`RuleFilter` is at the top. Below it stand its checks in the order in which a text meets them, each
with the expressions and limits that belong to it.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby

from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import fold, outside_code, pieces, squeeze

__all__ = ["RuleFilter"]


@dataclass
class RuleFilter:
    """Drops rows with a turn that is broken, leaked, copied or cut off, or that refuses.

    Attributes:
        instruction_chars, output_chars: Fewest and most characters of each turn.
        distinct: Least share (0 to 1) of different 12-character pieces among all of a text's. Prose
            has more than 0.9, a song with its refrain more than 0.5, a loop next to 0.
    """

    instruction_chars: tuple[int, int] = (6, 8_000)
    output_chars: tuple[int, int] = (2, 16_000)
    distinct: float = 0.35
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)
    _copies: dict[str, _Copies] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("instruction_chars", "output_chars"):
            fewest, most = getattr(self, name)
            if not 0 <= fewest <= most:
                raise ConfigError(
                    f"RuleFilter({name}={(fewest, most)}) is no range", hint="Give (fewest, most)."
                )
        if not 0 <= self.distinct <= 1:
            raise ConfigError(
                f"RuleFilter(distinct={self.distinct!r}) is not a share", hint="Use 0 to 1."
            )

    def bind(self, session: Session) -> None:
        self._language = session.language
        # Here and not at the first row, where every thread would build its own.
        self._copies = {session.language.code: _Copies(session.language)}

    def check(self, item: Instruction) -> str | None:
        """Returns the first reason to drop a row."""
        language = language_of(item, self._language)
        if language.code not in self._copies:
            self._copies[language.code] = _Copies(language)
        for text in item.questions:
            if reason := self._flaw(text, self.instruction_chars, language):
                return f"rules: {reason} (instruction)"
        for text in item.answers:
            if reason := self._flaw(text, self.output_chars, language):
                return f"rules: {reason} (output)"
        # A user may say what a model may not: refuse, or end in the middle.
        for text in item.answers:
            if _refuses(text, language):
                return "rules: refusal"
            if _bare(text) == _bare(item.instruction):
                return "rules: answer repeats the question"
            if ending := _cut_off(text, language):
                return f"rules: cut off ({ending})"
        return None

    def _flaw(self, text: str, limits: tuple[int, int], language: Language) -> str | None:
        """Names what neither a question nor an answer may have."""
        if reason := _size(text, limits):
            return reason
        if _has_broken_characters(text):
            return "broken characters"
        if reason := _leak(text):
            return reason
        if _has_markup(text):
            return "markup"
        if reason := self._copies[language.code].find(text):
            return reason
        return "repetition" if _repeats(text, self.distinct) else None


def _size(text: str, limits: tuple[int, int]) -> str | None:
    fewest, most = limits
    if not any(char.isalnum() for char in text):
        return "empty"
    length = len(text.strip())
    if length < fewest:
        return "too short"
    if length > most:
        return "too long"
    return None


def _has_broken_characters(text: str) -> bool:
    """Finds replacement, private and control characters, and marks that nobody could have typed.

    Such marks stand without a letter, three times the same, or seven on one letter.
    """
    # A class with ranges beyond U+FFFF is searched range by range, forty times slower.
    wide = max(text, default="") > "\uffff"
    return _broken_pattern(wide).search(text) is not None


@cache
def _broken_pattern(wide: bool) -> re.Pattern[str]:
    last = sys.maxunicode if wide else 0xFFFF
    category = [unicodedata.category(chr(code)) for code in range(last + 1)]
    mark, bad = _ranges(category, {"Mn", "Me"}), _ranges(category, {"Co", "Cs"})
    control = r"\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    return re.compile(rf"[{control}{bad}]|\A[{mark}]|[\n\t ][{mark}]|([{mark}])\1\1|[{mark}]{{7}}")


def _ranges(category: list[str], wanted: set[str]) -> str:
    """Writes the code points of some categories as the inside of a character class."""
    ranges = []
    for inside, run in groupby(range(len(category)), lambda code: category[code] in wanted):
        if inside:
            codes = list(run)
            ranges.append(f"\\U{codes[0]:08x}-\\U{codes[-1]:08x}")
    return "".join(ranges)


# Names that stand for a value in prompts.
_VALUES = (
    "asker|avoid|choice|choices|context|count|culture|document|domain|explanation|form|input"
    "|instruction|label|language|length|output|question|region|register|request|topic|turns|wrong"
)
_LEAKED = re.compile(
    # The reply's JSON, whole or as headings.
    r'["“”](?:instruction|output|evidence|rationale|explanation|wrong|pairs|turns)["“”]\s*:'
    r"|^\W{0,4}(?:instruction|evidence|rationale|response)\W{0,3}:"
    # Placeholders that a prompt should have filled in, and the frame around a context.
    rf"|\$(?:{_VALUES})\b|\$?\{{\s*(?:{_VALUES})\s*\}}"
    r"|</?document\b"
    # Tokens of chat templates.
    r"|<\|[\w ]{1,40}\|?>|<｜[^<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|</s>|</?think>"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask|unused\d+)>",
    re.IGNORECASE | re.MULTILINE,
)
# Every leak has one of these. Most texts have none, and are done with one quick look.
_LEAK_SIGN = re.compile(r"[:$<{[]")
# A model that speaks of itself, in the languages that come with the library, as folded text has it.
_SELF = re.compile(
    r"as an? (?:ai|artificial intelligence|large language|language)"
    r" (?:language )?(?:model|assistant)"
    r"|ฐานะ(?:ที่เป็น)?\s*(?:แบบจำลองภาษา|โมเดลภาษา|ปัญญาประดิษฐ์|ผู้ช่วย\s*ai|ai\b)"
    r"|(?:ฉัน|ผม|ดิฉัน)เป็น(?:เพียง)?\s*(?:แบบจำลองภาษา|โมเดลภาษา|ปัญญาประดิษฐ์|ai\b)"
    r"|ຖານະ(?:ທີ່ເປັນ)?\s*(?:ແບບຈຳລອງພາສາ|ໂມເດວພາສາ|ປັນຍາປະດິດ|ai\b)"
    r"|ក្នុងនាម(?:ខ្ញុំ)?ជា\s*(?:ម៉ូដែលភាសា|បញ្ញាសិប្បនិម្មិត|ai\b)"
    r"|(?:ai|ဘာသာစကား)\s*မော်ဒယ်\s*(?:တစ်ခု)?\s*(?:အနေနဲ့|အနေဖြင့်|ဖြစ်)"
    r"|(?:là|tư cách) (?:là )?một (?:mô hình ngôn ngữ|trí tuệ nhân tạo|trợ lý ai)"
    r"|sebagai (?:sebuah )?(?:model bahasa|asisten ai|kecerdasan buatan)"
    r"|yapay zek[aâ] (?:dil )?(?:modeli|asistani) olarak"
    r"|kama (?:modeli ya lugha|akili bandia|msaidizi wa ai)"
)


def _leak(text: str) -> str | None:
    """Names what a text should not show: schema, placeholders, chat tokens, the model itself."""
    if text.lstrip().startswith("{") and isinstance(_parsed(text), dict):
        return "prompt leaked"
    prose = outside_code(text)
    if _LEAK_SIGN.search(prose) and _LEAKED.search(prose):
        return "prompt leaked"
    folded = fold(prose)
    itself = _SELF.search(folded)
    if itself and not _in_quotes(folded, itself.start()):
        return "speaks as a model"
    return None


def _parsed(text: str) -> object:
    """Returns the value of a JSON text, and any other text as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _in_quotes(folded: str, position: int) -> bool:
    # Folding has made all double quotes the same, so an odd number of them leaves one open.
    return folded.count('"', 0, position) % 2 == 1


_TAGS = (
    "a|abbr|b|big|blockquote|body|br|center|cite|code|dd|del|div|dl|dt|em|font|footer|gallery"
    "|h[1-6]|head|header|hr|html|i|iframe|img|ins|li|link|math|meta|nav|noinclude|nowiki|ol|p|pre"
    "|ref|references|s|script|section|small|span|strong|style|sub|sup|table|tbody|td|th|thead|tr|tt"
    "|u|ul"
)
_MARKUP = re.compile(
    rf"</?(?:{_TAGS})(?:\s[^<>]{{0,300}})?/?>|&(?:nbsp|amp|lt|gt|quot|ndash|mdash|\#\d{{2,6}});"
    r"|\[\[|\]\]|\{\{|\}\}|^\{\||^\|\}|'''|\{\\displaystyle|^={2,6}[^=\n]+={2,6}\s*$",
    re.IGNORECASE | re.MULTILINE,
)
# As with leaks, one quick look tells most texts to be without.
_MARKUP_SIGN = re.compile(r"[<&[\]{}|'=]")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)


def _has_markup(text: str) -> bool:
    """Finds HTML, wiki markup or half a code fence. Markdown may stand, with code in its marks."""
    if len(_FENCE.findall(text)) % 2 == 1:
        return True
    return bool(_MARKUP_SIGN.search(text) and _MARKUP.search(outside_code(text)))


# Fields of a format example whose text is itself a question or an answer.
_SPOKEN = frozenset(
    {"instruction", "output", "question", "explanation", "user", "assistant", "text"}
)
_PLACEHOLDER = re.compile(rf"\n|\$\{{?(?:{_VALUES})\}}?")
_WINDOW, _WHOLE, _INSIDE = 40, 12, 24
# Wherever 24 characters begin, 12 of them begin at a multiple of 13: one look in 13 rules out most
# texts.
_PART = 12


class _Copies:
    """Texts that a model may repeat instead of writing: a language's format examples and prompts.

    A text is a copy if it is a spoken field of an example (12 characters or more), holds one (24 or
    more), or has 40 characters in a row with an example or a prompt. White space does not count.
    """

    def __init__(self, language: Language) -> None:
        self._spoken: set[str] = set()
        self._example_windows: set[str] = set()
        self._prompt_windows: set[str] = set()
        self._parts: set[str] = set()
        for examples in language.format_examples.values():
            for example in examples:
                self._add(example.given, self._example_windows)
                for key, text in _strings(_parsed(example.reply)):
                    self._add(text, self._example_windows)
                    if key in _SPOKEN and len(_bare(text)) >= _WHOLE:
                        self._spoken.add(_bare(text))
        self._add_prompt(language.persona)
        for name, prompt in language.prompts.items():
            # The wording of a multiple-choice question and of its answer is meant to be published.
            if "choice_" not in name:
                self._add_prompt(prompt)

    def _add_prompt(self, prompt: str) -> None:
        # What is filled in differs from prompt to prompt, so only the text between is known.
        for line in _PLACEHOLDER.split(prompt):
            self._add(line, self._prompt_windows)

    def _add(self, text: str, windows: set[str]) -> None:
        squeezed = squeeze(text)
        windows.update(pieces(squeezed, _WINDOW))
        self._parts.update(pieces(squeezed, _PART))

    def find(self, text: str) -> str | None:
        """Names what a text copies: `"copied example"`, `"prompt leaked"` or nothing."""
        if _bare(text) in self._spoken:
            return "copied example"
        squeezed = squeeze(text)
        looks = range(0, len(squeezed), _PART + 1)
        if self._parts.isdisjoint(squeezed[i : i + _PART] for i in looks):
            return None
        if any(len(spoken) >= _INSIDE and spoken in squeezed for spoken in self._spoken):
            return "copied example"
        windows = set(pieces(squeezed, _WINDOW))
        if not windows.isdisjoint(self._example_windows):
            return "copied example"
        if not windows.isdisjoint(self._prompt_windows):
            return "prompt leaked"
        return None


def _strings(value: object, key: str = "text") -> Iterator[tuple[str, str]]:
    """Yields the texts in a JSON value, each with the key that it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)


def _bare(text: str) -> str:
    """Squeezes a text and strips punctuation from its ends, to ask whether two are the same."""
    # Not the signs of `evaluation.choices`, which strips brackets too: there a text may be `(A)`.
    return squeeze(text).strip(".,:;?!…။៕។*_\"'")


_GRAM = 12
_ONE_CHAR = re.compile(r"([^\W\d_]|[!?])\1{14,}")
_LOOP = re.compile(r"(.{2,80}?)\1{5,}", re.DOTALL)
# A loop of 40 characters or more has at least 24 pieces of 12 characters that came before.
_LOOP_CHARS, _LOOP_PIECES = 40, 24
_DOTS = re.compile(r"([^\w\s])\1{3,}")


def _repeats(text: str, distinct: float) -> bool:
    # Rows of dots and dashes draw a line or a table, and repeat nothing that was said.
    folded = _DOTS.sub(r"\1\1\1", fold(outside_code(text)))
    total = max(len(folded) - _GRAM + 1, 0)
    different = len(set(pieces(folded, _GRAM)))
    # The share says little of a shorter text.
    if total >= 5 * _GRAM and different < distinct * total:
        return True
    if _ONE_CHAR.search(folded):
        return True
    # The search for loops is slow, and most texts have too few repeated pieces to hold one.
    if total - different < _LOOP_PIECES:
        return False
    # Rules of a table repeat without saying anything twice, so a loop has a letter in it.
    return any(
        len(loop[0]) >= _LOOP_CHARS and any(char.isalpha() for char in loop[1])
        for loop in _LOOP.finditer(folded)
    )


_REFUSALS = (
    "as an ai language model", "as an ai assistant", "as a language model",
    "as a large language model", "i'm sorry, but i", "i am sorry, but i", "sorry, but i can't",
    "sorry, i can't", "i cannot assist", "i can't assist", "i can't help with",
    "i cannot help with", "i cannot fulfill", "i can't fulfill", "i'm unable to", "i am unable to",
    "i cannot provide", "i can't provide",
)  # fmt: skip
# Room for an apology before the phrase.
_OPENING = 40


def _refuses(text: str, language: Language) -> bool:
    """Finds a refusal at the start, or one that is a third of the text.

    One that is quoted or stands further inside does not count: a good answer may speak of refusals.
    """
    folded = fold(text)
    for phrase in map(fold, (*language.refusals, *_REFUSALS)):
        at = folded.find(phrase) if phrase else -1
        if at < 0 or _in_quotes(folded, at):
            continue
        if at <= _OPENING or 3 * len(phrase) >= len(folded):
            return True
    return False


# Vowels written before their consonant, and signs that stack the next one: no word ends in them.
_HALF = tuple("เแโใไເແໂໃໄ\u17d2\u1039")
_OPEN_END = re.compile(r"[,;:(\[{“«「、،၊]\Z|\s[-–—&/+=]\Z")
# Something must follow these words. Those that also end questions or other words count after white
# space alone.
_DANGLING = {
    "th": r"(?:และ|ซึ่ง|ได้แก่|เช่น|เพื่อ|เนื่องจาก|\s(?:หรือ|เพราะ|แต่|โดย|ที่|ว่า|คือ|ของ|ใน))",
    "lo": r"(?:ແລະ|ເຊິ່ງ|ໄດ້ແກ່|ເຊັ່ນ|\s(?:ຫຼື|ແຕ່|ທີ່|ໂດຍ))",
    "km": r"(?:និង|ដូចជា|\s(?:ឬ|ប៉ុន្តែ|ដែល))",
    "my": r"(?:နှင့်|သို့မဟုတ်)",
    "vi": r"\b(?:và|hoặc|của|nhưng|các|những|là)",
    "id": r"\b(?:dan|atau|yang|dengan|dari|untuk|tetapi|sebuah|adalah)",
    "tr": r"\b(?:ve|veya|ile|ama)",
    "sw": r"\b(?:na|au|ya|wa|kwa|lakini)",
    "en": r"\b(?:and|or|the|a|an|of|with|to|but|that|which|from)",
}
_PAIRS = {")": "(", "]": "[", "}": "{", "”": "“", "»": "«", "」": "「", "』": "『", "）": "（"}
_BRACKET = re.compile(f"[{re.escape(''.join(_PAIRS.values()))}]")
_LABEL = re.compile(r"^\s*\(?\w{1,3}\)", re.MULTILINE)
_TAIL = 120
_STOPS = re.compile(r"[.!?…။។][\"'”’»)*_]*(?:\s|\Z)")
_LIST_ITEM = re.compile(r"\s*(?:[-*•·|#>]|\(?\w{1,3}[.)])")
# Scripts whose sentences end with a sign. Thai and Lao have none.
_STOPPED_SCRIPTS = frozenset({"Latin", "Cyrillic", "Greek", "Myanmar", "Khmer"})
_PROSE = 120


def _cut_off(text: str, language: Language) -> str | None:
    """Names how a text ends in the middle."""
    text = text.rstrip()
    if text.endswith(_HALF):
        return "half a syllable"
    if _OPEN_END.search(text):
        return "open punctuation"
    dangling = _DANGLING.get(language.code)
    if dangling and re.search(dangling + r"\Z", text.casefold()):
        return "conjunction"
    if _leaves_bracket_open(text):
        return "unclosed bracket"
    if language.script in _STOPPED_SCRIPTS and _lacks_full_stop(text):
        return "no full stop"
    return None


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
    """Finds a last line of prose that does not end like the sentences before it."""
    line = text.rsplit("\n", 1)[-1]
    is_prose = len(line) >= _PROSE and not _LIST_ITEM.match(line) and _STOPS.search(line)
    return bool(is_prose) and text[-1:].isalpha()
