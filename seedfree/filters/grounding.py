"""Drops rows whose answer is not in their context, or is the context.

Only what can be checked without understanding is checked: numbers, years in either era, and names.
A name or number that the context has in another wording is dropped too; that is the price of
keeping invented ones out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from seedfree.errors import ConfigError
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import fold, outside_code, script_of, squeeze

__all__ = ["GroundingFilter"]

_GROUNDED = frozenset({"closed_qa", "multiple_choice", "summarization"})
_LONG = 200
_PIECE = 20

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_POINT = re.compile("[.,:]")
_NUMBERING = re.compile(
    r"^\s*(?:[-*•#>]+\s*)?\**\(?\d{1,3}(?:[.):]\**(?=\s|\D)|\)\**)", re.MULTILINE
)
_CHOICE = re.compile(r"^\s*\(?\w{1,2}[.):]\s*(\S.*)$", re.MULTILINE)
_COUNTS = frozenset(map(str, range(11)))
_YEARS = range(1000, 3000)
# Until 1940 the Thai year began on 1 April: a date before that in the year belongs to the era's
# year before.
_EARLY = re.compile(
    r"มกราคม|ม\.ค\.|กุมภาพันธ์|ก\.พ\.|มีนาคม|มี\.ค\.|ມັງກອນ|ກຸມພາ|ມີນາ|មករា|កុម្ភៈ|មីនា|ဇန်နဝါရီ|ဖေဖော်ဝါရီ|မတ်လ"
    r"|january|february|march|\bjan\b|\bfeb\b|\bmar\b"
)
_APRIL_NEW_YEAR_TO = 1940
_NEAR = 20

_CASED = frozenset({"Latin", "Cyrillic", "Greek", "Armenian"})
_CAPITAL = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_QUOTED = re.compile(
    r"\"([^\"\n]{2,80})\"|“([^“”\n]{2,80})”|«([^«»\n]{2,80})»|「([^「」\n]{2,80})」"
)
_OPENERS = frozenset(".!?:;…\"“”'‘([*_•|#>-–—/\n\r")
# English and Romance ways to make an adjective of a country or a plural of a name.
_ENDING = re.compile(r"(?:['’]\w*|ese|ian|ean|ish|an|es|s|n)\Z")
_NAME_LETTERS = 4
_SHORT_MARKER = 5
# What follows a marker without being a name: it, that, which, other, all, some, new ...
_NO_NAME = tuple(
    "นี้ นั้น เหล่า ที่ ของ ใน และ มี เป็น ได้ จะ ต่าง อื่น ทั้ง ทุก แต่ บาง หลาย ซึ่ง หรือ กับ จาก โดย ไม่ ก็ คือ ให้ ถูก เพื่อ เพราะ "
    "เดียว ใหม่ เก่า ใหญ่ เล็ก หลัก แรก เดิม หนึ่ง สอง สาม แห่ง สาย เพื่อน กำลัง ใกล้ ใด ไหน ดัง แบบ อย่าง เรา ตน ผู้ พัฒนา ราย ไป มา "
    "จ้าง ทุน ทหาร เอก รำ ฟ้า พญา ขึ้น ออก เข้า ด้วย ทั่วไป สำคัญ แค่ เพียง เมื่อ "
    "อยู่ อีก ตั้ง หลัง รวม ชื่อ คำ พบ จึง ช่วง ไทย หลวง ติด ตัว ล่าสุด ชนิด กลุ่ม ริม ด้าน ทาง คล้าย ยาว ผลิต เอกชน มหาชน จำกัด ประถม มัธยม "
    "อุดมศึกษา อนุบาล เอง องค์ สงฆ์ ภิกษุ พุทธ ราช โอรส ธิดา บาท ธรรม ชนม ชาว กรัฐ กฯ แบบ สมุทร หน้า เมือง พระ "
    "ກໍ ນີ້ ນັ້ນ ທີ່ ຂອງ ໃນ ແລະ ມີ ເປັນ ໄດ້ ຈະ ຕ່າງ ອື່ນ ທັງ ທຸກ ແຕ່ ບາງ ຫຼາຍ ເຊິ່ງ ຫຼື ກັບ ຈາກ ໂດຍ ບໍ່ ແມ່ນ ໃຫ້ ຖືກ ເພື່ອ ລາວ ໃຫຍ່ ໃໝ່ "
    "នេះ នោះ ដែល របស់ ក្នុង និង មាន ជា បាន នឹង ផ្សេង ទាំង គ្រប់ មួយ ឬ ពី ដោយ មិន ថ្មី ធំ កម្ពុជា".split()
)
_CLUSTERS = 4


@dataclass
class GroundingFilter:
    """Evidence, numbers and names of the answer must be in the context; the answer must not be the context.

    Attributes:
        tasks: The tasks that promise it; `None` for those of the run, outside a run the built-in ones.
        most_copied: An answer that holds this share (0 to 1) of a context of 200 characters or more copies it.
    """

    tasks: frozenset[str] | None = None
    most_copied: float = 0.8
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)
    _grounded: frozenset[str] = field(default=_GROUNDED, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str):
            raise ConfigError(
                f"GroundingFilter(tasks={self.tasks!r}) is one word",
                hint="Give a set of task names.",
            )
        if not 0 < self.most_copied <= 1:
            raise ConfigError(
                f"GroundingFilter(most_copied={self.most_copied!r}) is not a share",
                hint="Use 0 to 1.",
            )

    def bind(self, session: Session) -> None:
        self._language = session.language
        promised = session.grounded_tasks
        self._grounded = _GROUNDED if promised is None else frozenset(promised)

    def check(self, item: Instruction) -> str | None:
        """The reason to drop a row; rows of other tasks and rows without a context pass."""
        tasks = self._grounded if self.tasks is None else self.tasks
        if item.task not in tasks or item.context is None or not item.context.text.strip():
            return None
        text, language = item.context.text, language_of(item, self._language)
        if item.evidence.strip() and squeeze(item.evidence).strip("\"'") not in squeeze(text):
            return "grounding: evidence not in the context"
        if self._copied(item.output, text, item.task):
            return "grounding: copies the context"
        told = "\n".join(filter(None, [text, item.context.title, *_wrong_choices(item)]))
        if squeeze(item.output) in squeeze(told):
            return None
        if (number := next(_unknown_numbers(item.output, told, language), None)) is not None:
            return f"grounding: number not in the context ({number})"
        if (name := next(_unknown_names(item.output, told, language), None)) is not None:
            return f"grounding: name not in the context ({name})"
        return None

    def _copied(self, output: str, context: str, task: str) -> bool:
        """The whole context, most of a long one, or a summary that is half copied from it in one piece."""
        answer, source = squeeze(output), squeeze(context)
        if answer == source:
            return True
        if len(source) < _LONG:
            return False
        if len(answer) >= self.most_copied * len(source):
            pieces = set(_pieces(source, _PIECE))
            if len(pieces.intersection(_pieces(answer, _PIECE))) >= self.most_copied * len(pieces):
                return True
        if task != "summarization":
            return False
        run = max(_LONG, len(answer) // 2)
        # Every piece of that length holds a whole block of half of it, and blocks are few.
        block = (run + 1) // 2
        if not any(
            answer[i : i + block] in source for i in range(0, len(answer) - block + 1, block)
        ):
            return False
        return len(answer) >= run and not set(_pieces(source, run)).isdisjoint(_pieces(answer, run))


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[i : i + size] for i in range(len(text) - size + 1))


def _wrong_choices(item: Instruction) -> list[str]:
    """The choices of a multiple-choice question but the one that the answer names last: they are false on purpose."""
    choices = _CHOICE.findall(item.instruction)
    if len(choices) < 2:
        return []
    answer = fold(item.output)
    named = [
        (answer.rfind(fold(c)) + len(fold(c)), len(c), c) for c in choices if fold(c) in answer
    ]
    right = max(named)[2] if named else ""
    return [choice for choice in choices if choice != right]


def _unknown_numbers(answer: str, context: str, language: Language) -> Iterator[str]:
    numbers = list(_numbers(_NUMBERING.sub("\n", answer), language.era_offset, both_eras=True))
    if not numbers:
        return
    known = list(_numbers(context, language.era_offset, both_eras=False))
    values = set().union(*(v for _, v, _, _ in known))
    befores, afters = {b for _, _, b, _ in known if b}, {a for _, _, _, a in known if a}
    for number, readings, before, after in numbers:
        if not values.isdisjoint(readings):
            continue
        # A small whole number may be a count, unless the context counts the same thing otherwise.
        if number in _COUNTS and before not in befores and after not in afters:
            continue
        yield number


def _numbers(text: str, era: int, *, both_eras: bool) -> Iterator[tuple[str, set[str], str, str]]:
    """Numbers of a text as written, their possible values, the 5 characters before and the unit after each."""
    text = fold(text.replace("\n", " | "))
    for match in _NUMBER.finditer(text):
        number = match[0]
        readings = _readings(number)
        if era and len(number) == 4 and number.isdigit() and int(number) in _YEARS:
            early = bool(_EARLY.search(text, max(0, match.start() - _NEAR), match.start()))
            if both_eras or early:
                readings |= _eras(int(number), era, early=early)
        before = text[max(0, match.start() - 12) : match.start()].replace(" ", "")[-5:]
        after = text[match.end() : match.end() + 8].lstrip()
        unit = after[:3] if after[:1].isalpha() else after[:1] if after[:1] in "%°" else ""
        yield number, readings, before if len(before) == 5 else "", unit


def _readings(number: str) -> set[str]:
    """`1.234` is a thousand in some languages and one and a bit in others; of a date or version every part counts."""
    parts = _POINT.split(number)
    values = {_plain("".join(parts))} if all(len(part) == 3 for part in parts[1:]) else set()
    if len(parts) == 2 and parts[1] != "000":
        values.add(f"{_plain(parts[0])}.{parts[1].rstrip('0')}".rstrip("."))
    return values or set(map(_plain, parts))


def _plain(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _eras(year: int, era: int, *, early: bool) -> set[str]:
    """The year in the other era, whichever this one is; `early` where a month from January to March precedes it."""
    local = year + era - (early and year <= _APRIL_NEW_YEAR_TO)
    gregorian = year - era + 1
    if not (early and gregorian <= _APRIL_NEW_YEAR_TO):
        gregorian -= 1
    return {str(local), str(gregorian)}


def _unknown_names(answer: str, context: str, language: Language) -> Iterator[str]:
    folded, squeezed = fold(context), squeeze(context)
    text = unicodedata.normalize("NFC", outside_code(answer))
    for match in _QUOTED.finditer(text):
        quoted = next(group for group in match.groups() if group)
        if squeeze(quoted).strip(".,!?") not in squeezed:
            yield quoted
    for name in _capitalised(text, cased=language.script in _CASED):
        if not _stands(fold(name), folded):
            yield name
    for name in _marked(text, language.name_markers):
        if squeeze(name) not in squeezed:
            yield name


def _capitalised(text: str, *, cased: bool) -> Iterator[str]:
    """Capitalised words; in a language with capitals not those at the start of a sentence."""
    for match in _CAPITAL.finditer(text):
        word = match[0]
        if cased or script_of(word[0]) in _CASED:
            word = "".join(
                char for char in word if script_of(char) in _CASED or char in "'’-"
            ).strip("'’-")
            if len(word) > 1 and word[0].isupper() and not (cased and _starts(text, match.start())):
                yield word


def _starts(text: str, position: int) -> bool:
    """Whether a sentence, a line or something in quotes or brackets begins here."""
    before = text[max(0, position - 40) : position].rstrip(" \t")
    return not before or before[-1] in _OPENERS


def _stands(name: str, context: str) -> bool:
    stem = _ENDING.sub("", name)
    names = {name, stem} if len(stem) >= _NAME_LETTERS else {name}
    return any(re.search(rf"(?<![a-zà-ɏа-яα-ω]){re.escape(n)}", context) for n in names)


def _marked(text: str, markers: tuple[str, ...]) -> Iterator[str]:
    """The beginnings of what follows a word such as "Mr" or "province" in scripts without capitals."""
    for match in _marker(markers).finditer(text) if markers else ():
        if len(match[0]) <= _SHORT_MARKER and _in_word(text, match.start()):
            continue
        rest = text[match.end() :].lstrip(" ")
        if rest.startswith(_NO_NAME):
            continue
        name = _clusters(rest)
        if len(name) >= 2:
            yield name


@cache
def _marker(markers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(m) for m in sorted(markers, key=len, reverse=True)))


def _in_word(text: str, position: int) -> bool:
    return position > 0 and unicodedata.category(text[position - 1])[0] in "LM"


def _clusters(text: str) -> str:
    """The first clusters (a letter with its marks) of a word."""
    end = clusters = 0
    for char in text:
        if char.isalpha():
            clusters += 1
            if clusters > _CLUSTERS:
                break
        elif unicodedata.category(char)[0] != "M":
            break
        end += 1
    return text[:end]
