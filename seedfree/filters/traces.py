"""What models, prompts and pages leave behind in a text: refusals, leaked prompts, copied examples, markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from seedfree.filters.normalize import fold, outside_code, squeeze
from seedfree.languages import Language

__all__ = ["Copies", "bare", "leaks", "markup", "refuses"]

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
