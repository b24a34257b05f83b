"""Drops rows that can be seen to be broken without knowing what they say.

Everything works on characters, so that languages written without spaces need no segmenter. The
limits are set so that of paragraphs of Thai Wikipedia, taken as answers, less than one in two
hundred is dropped.
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

from seedfree.errors import ConfigError
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import fold, outside_code, squeeze

__all__ = ["Copies", "RuleFilter", "bare", "leaks", "markup", "refuses"]

_REFUSALS = (
    "as an ai language model", "as an ai assistant", "as a language model", "as a large language model",
    "i'm sorry, but i", "i am sorry, but i", "sorry, but i can't", "sorry, i can't", "i cannot assist",
    "i can't assist", "i can't help with", "i cannot help with", "i cannot fulfill", "i can't fulfill",
    "i'm unable to", "i am unable to", "i cannot provide", "i can't provide",
)  # fmt: skip
_OPENING = 40

# A model that speaks of itself, in the languages that come with the library.
_SELF = re.compile(
    r"as an? (?:ai|artificial intelligence|large language|language) (?:language )?(?:model|assistant)"
    r"|ฐานะ(?:ที่เป็น)?\s*(?:แบบจำลองภาษา|โมเดลภาษา|ปัญญาประดิษฐ์|ผู้ช่วย\s*ai|ai\b)"
    r"|(?:ฉัน|ผม|ดิฉัน)เป็น(?:เพียง)?\s*(?:แบบจำลองภาษา|โมเดลภาษา|ปัญญาประดิษฐ์|ai\b)"
    r"|ຖານະ(?:ທີ່ເປັນ)?\s*(?:ແບບຈຳລອງພາສາ|ໂມເດວພາສາ|ປັນຍາປະດິດ|ai\b)"
    r"|ក្នុងនាម(?:ខ្ញុំ)?ជា\s*(?:ម៉ូដែលភាសា|បញ្ញាសិប្បនិម្មិត|ai\b)"
    r"|(?:ai|ဘာသာစကား)\s*မော်ဒယ်\s*(?:တစ်ခု)?\s*(?:အနေနဲ့|အနေဖြင့်|ဖြစ်)"
    r"|(?:là|tư cách) (?:là )?một (?:mô hình ngôn ngữ|trí tuệ nhân tạo|trợ lý ai)"
    r"|sebagai (?:sebuah )?(?:model bahasa|asisten ai|kecerdasan buatan)"
    r"|yapay zek[aâ] (?:dil )?(?:modeli|asistanı) olarak"
    r"|kama (?:modeli ya lugha|akili bandia|msaidizi wa ai)"
)
_VALUES = (
    "asker|avoid|choice|choices|context|count|culture|document|domain|explanation|form|input|instruction|label|language"
    "|length|output|question|region|register|request|topic|turns|wrong"
)
_LEAKS = re.compile(
    r'["“”](?:instruction|output|evidence|rationale|explanation|wrong|pairs|turns)["“”]\s*:'
    r"|^\W{0,4}(?:instruction|evidence|rationale|response)\W{0,3}:"
    rf"|\$(?:{_VALUES})\b|\$?\{{\s*(?:{_VALUES})\s*\}}"
    r"|</?document\b|<\|[\w ]{1,40}\|?>|<｜[^<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|</s>|</?think>|<(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk|mask|unused\d+)>",
    re.IGNORECASE | re.MULTILINE,
)
_LEAK_SIGN = re.compile(r"[:$<{[]")
_TAGS = (
    "a|abbr|b|big|blockquote|body|br|center|cite|code|dd|del|div|dl|dt|em|font|footer|gallery|h[1-6]|head|header|hr|html"
    "|i|iframe|img|ins|li|link|math|meta|nav|noinclude|nowiki|ol|p|pre|ref|references|s|script|section|small|span"
    "|strong|style|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul"
)
_MARKUP = re.compile(
    rf"</?(?:{_TAGS})(?:\s[^<>]{{0,300}})?/?>|&(?:nbsp|amp|lt|gt|quot|ndash|mdash|\#\d{{2,6}});"
    r"|\[\[|\]\]|\{\{|\}\}|^\{\||^\|\}|'''|\{\\displaystyle|^={2,6}[^=\n]+={2,6}\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_MARKUP_SIGN = re.compile(r"[<&[\]{}|'=]")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_PLACEHOLDER = re.compile(rf"\n|\$\{{?(?:{_VALUES})\}}?")

_SPOKEN = frozenset(
    {"instruction", "output", "question", "explanation", "user", "assistant", "text"}
)
_WINDOW, _WHOLE, _INSIDE = 40, 12, 24
# Wherever 24 characters begin, 12 of them begin at a multiple of 13: one look in 13 rules out most
# texts.
_PART = 12


def refuses(text: str, language: Language) -> bool:
    """A refusal at the start, or one that is a third of the text; not one that is quoted or stands further inside."""
    folded = fold(text)
    for phrase in map(fold, (*language.refusals, *_REFUSALS)):
        at = folded.find(phrase) if phrase else -1
        if (
            at >= 0
            and not _quoted(folded, at)
            and (at <= _OPENING or 3 * len(phrase) >= len(folded))
        ):
            return True
    return False


def leaks(text: str) -> str | None:
    """What the answer was not to show: the schema's keys, placeholders, chat tokens, a model that speaks of itself."""
    if text.lstrip()[:1] == "{" and text.rstrip()[-1:] == "}" and _is_json(text):
        return "prompt leaked"
    prose = outside_code(text)
    if _LEAK_SIGN.search(prose) and _LEAKS.search(prose):
        return "prompt leaked"
    folded = fold(prose)
    said = _SELF.search(folded)
    return "speaks as a model" if said and not _quoted(folded, said.start()) else None


def markup(text: str) -> bool:
    """HTML, wiki markup or half a code fence; Markdown and code between fences or backticks may stand."""
    return len(_FENCE.findall(text)) % 2 == 1 or bool(
        _MARKUP_SIGN.search(text) and _MARKUP.search(outside_code(text))
    )


def bare(text: str) -> str:
    """A text for the question whether two are the same: `squeeze` without the punctuation around it."""
    return squeeze(text).strip(".,:;?!…။៕។*_\"'")


class Copies:
    """Texts that a model may repeat instead of writing: a language's format examples and prompts."""

    def __init__(self, language: Language) -> None:
        self._whole: set[str] = set()
        self._pieces: set[str] = set()
        self._prompt: set[str] = set()
        self._parts: set[str] = set()
        for example in (e for examples in language.format_examples.values() for e in examples):
            self._add(example.given, self._pieces)
            for key, text in _strings(_json(example.reply)):
                self._add(text, self._pieces)
                if key in _SPOKEN and len(bare(text)) >= _WHOLE:
                    self._whole.add(bare(text))
        # The wording of a multiple-choice question and of its answer is meant to be published.
        for text in (
            language.persona,
            *(t for name, t in language.prompts.items() if "choice_" not in name),
        ):
            for line in _PLACEHOLDER.split(text):
                self._add(line, self._prompt)

    def _add(self, text: str, windows: set[str]) -> None:
        squeezed = squeeze(text)
        windows.update(_windows(squeezed))
        self._parts.update(squeezed[i : i + _PART] for i in range(len(squeezed) - _PART + 1))

    def find(self, text: str) -> str | None:
        """`"copied example"`, `"prompt leaked"` or nothing."""
        squeezed, said = squeeze(text), bare(text)
        if said in self._whole:
            return "copied example"
        if self._parts.isdisjoint(
            squeezed[i : i + _PART] for i in range(0, len(squeezed), _PART + 1)
        ):
            return None
        if any(len(w) >= _INSIDE and w in squeezed for w in self._whole):
            return "copied example"
        windows = set(_windows(squeezed))
        if not windows.isdisjoint(self._pieces):
            return "copied example"
        return None if windows.isdisjoint(self._prompt) else "prompt leaked"


def _quoted(text: str, position: int) -> bool:
    return text.count('"', 0, position) % 2 == 1


def _is_json(text: str) -> bool:
    return isinstance(_json(text), dict)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _windows(text: str) -> Iterator[str]:
    return (text[i : i + _WINDOW] for i in range(len(text) - _WINDOW + 1))


def _strings(value: object, key: str = "text") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)


_PAIRS = {")": "(", "]": "[", "}": "{", "”": "“", "»": "«", "」": "「", "』": "『", "）": "（"}
_BRACKET = re.compile(f"[{re.escape(''.join(_PAIRS.values()))}]")
_LABEL = re.compile(r"^\s*\(?\w{1,3}\)", re.MULTILINE)
_TAIL = 120
# Vowels written before their consonant, and signs that stack the next one: no word ends in them.
_HALF = tuple("เแโใไເແໂໃໄ\u17d2\u1039")
_OPEN_END = re.compile(r"[,;:(\[{“«「、،၊]\Z|\s[-–—&/+=]\Z")
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
_STOPS = re.compile(r"[.!?…။។][\"'”’»)*_]*(?:\s|\Z)")
_LIST_ITEM = re.compile(r"\s*(?:[-*•·|#>]|\(?\w{1,3}[.)])")
_STOPPED_SCRIPTS = frozenset({"Latin", "Cyrillic", "Greek", "Myanmar", "Khmer"})
_PROSE = 120

_LOOP = re.compile(r"(.{2,80}?)\1{5,}", re.DOTALL)
_ONE_CHAR = re.compile(r"([^\W\d_]|[!?])\1{14,}")
# A loop of 40 characters or more has at least 24 pieces of 12 characters that came before.
_LOOP_CHARS, _LOOP_PIECES = 40, 24
_DOTS = re.compile(r"([^\w\s])\1{3,}")
_GRAM = 12
_BASIC = 0xFFFF


@dataclass
class RuleFilter:
    """Empty, too short or long, broken text, leaked prompt, markup, refusal, copied example, repetition, cut off.

    Attributes:
        instruction_chars, output_chars: Fewest and most characters of each turn.
        distinct: Least share (0 to 1) of different 12-character pieces among all of a text's. Prose has more than
            0.9, a song with its refrain more than 0.5, a loop next to 0.
    """

    instruction_chars: tuple[int, int] = (6, 8_000)
    output_chars: tuple[int, int] = (2, 16_000)
    distinct: float = 0.35
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)
    _copies: dict[str, Copies] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
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
        self._copies = {session.language.code: Copies(session.language)}

    def check(self, item: Instruction) -> str | None:
        """The reason to drop a row, the first that holds."""
        language = language_of(item, self._language)
        if language.code not in self._copies:
            self._copies[language.code] = Copies(language)
        for where, texts, limits in (
            ("instruction", item.questions, self.instruction_chars),
            ("output", item.answers, self.output_chars),
        ):
            for text in texts:
                if reason := _size(text, limits) or self._content(text, language):
                    return f"rules: {reason} ({where})"
        for text in item.answers:
            if refuses(text, language):
                return "rules: refusal"
            if bare(text) == bare(item.instruction):
                return "rules: answer repeats the question"
            if how := _cut_off(text, language):
                return f"rules: cut off ({how})"
        return None

    def _content(self, text: str, language: Language) -> str | None:
        if _broken(text):
            return "broken characters"
        if reason := leaks(text):
            return reason
        if markup(text):
            return "markup"
        return self._copies[language.code].find(text) or (
            "repetition" if _repeats(text, self.distinct) else None
        )


def _size(text: str, limits: tuple[int, int]) -> str | None:
    fewest, most = limits
    if not any(char.isalnum() for char in text):
        return "empty"
    length = len(text.strip())
    return "too short" if length < fewest else "too long" if length > most else None


def _broken(text: str) -> bool:
    """Replacement, private and control characters; marks without a letter, repeated, or stacked past reading."""
    # A class with ranges beyond U+FFFF is searched range by range, forty times slower.
    pattern = _broken_pattern(_BASIC if max(text, default="") <= chr(_BASIC) else sys.maxunicode)
    return pattern.search(text) is not None


@cache
def _broken_pattern(last: int) -> re.Pattern[str]:
    category = [unicodedata.category(chr(code)) for code in range(last + 1)]
    mark, bad = _ranges(category, {"Mn", "Me"}), _ranges(category, {"Co", "Cs"})
    control = r"\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    return re.compile(rf"[{control}{bad}]|\A[{mark}]|[\n\t ][{mark}]|([{mark}])\1\1|[{mark}]{{7}}")


def _ranges(category: list[str], wanted: set[str]) -> str:
    """The code points of some categories, as the inside of a character class."""
    ranges = []
    for inside, codes in groupby(range(len(category)), lambda code: category[code] in wanted):
        if inside:
            first, *rest = codes
            ranges.append(f"\\U{first:08x}-\\U{rest[-1] if rest else first:08x}")
    return "".join(ranges)


def _repeats(text: str, distinct: float) -> bool:
    folded = _DOTS.sub(r"\1\1\1", fold(outside_code(text)))
    pieces = max(len(folded) - _GRAM + 1, 0)
    again = pieces - len({folded[i : i + _GRAM] for i in range(pieces)})
    if pieces >= 5 * _GRAM and pieces - again < distinct * pieces:
        return True
    if _ONE_CHAR.search(folded):
        return True
    # The search is slow. Rules of a table repeat without saying anything twice.
    loops = _LOOP.finditer(folded) if again >= _LOOP_PIECES else ()
    return any(
        len(loop[0]) >= _LOOP_CHARS and any(char.isalpha() for char in loop[1]) for loop in loops
    )


def _cut_off(text: str, language: Language) -> str | None:
    """How a text ends in the middle; prose in scripts with full stops has to end like its other sentences."""
    text = text.rstrip()
    if text.endswith(_HALF):
        return "half a syllable"
    if _OPEN_END.search(text):
        return "open punctuation"
    dangling = _DANGLING.get(language.code)
    if dangling and re.search(dangling + r"\Z", text.casefold()):
        return "conjunction"
    if _unclosed(text):
        return "unclosed bracket"
    line = text.rsplit("\n", 1)[-1]
    if (
        language.script in _STOPPED_SCRIPTS
        and text[-1:].isalpha()
        and len(line) >= _PROSE
        and not _LIST_ITEM.match(line)
        and _STOPS.search(line)
    ):
        return "no full stop"
    return None


def _unclosed(text: str) -> bool:
    """A bracket near the end that nothing closes. Labels such as `a)` open nothing and are left out."""
    closed: list[str] = []
    tail = text[-_TAIL:]
    if not _BRACKET.search(tail):
        return False
    for char in reversed(_LABEL.sub(" ", tail)):
        if char in _PAIRS:
            closed.append(_PAIRS[char])
        elif char in _PAIRS.values():
            if char not in closed:
                return True
            closed.remove(char)
    return False
