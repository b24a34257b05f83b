"""Drops rows whose answer is not in their context, or is the context.

Only what can be checked without understanding is checked: numbers, years in either era, and names.
A name or number that the context has in another wording is dropped too. That is the price of
keeping invented ones out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language, language_of
from seedfree.protocols import Session
from seedfree.records import Instruction
from seedfree.text import fold, outside_code, pieces, script_of, squeeze

__all__ = ["GroundingFilter"]

_GROUNDED = frozenset({"closed_qa", "multiple_choice", "summarization"})
_LONG = 200
_PIECE = 20


@dataclass
class GroundingFilter:
    """Drops answers whose evidence, numbers or names are not in the context, or that copy it.

    Attributes:
        tasks: The tasks whose answers must stand in their context. `None` takes those of the run,
            and outside a run the built-in ones.
        most_copied: An answer that holds this share (0 to 1) of a context of 200 characters or more
            copies it.
    """

    tasks: frozenset[str] | None = None
    most_copied: float = 0.8
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)
    _grounded: frozenset[str] = field(default=_GROUNDED, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
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
        """Returns the reason to drop a row. Other tasks and rows without a context pass."""
        tasks = self._grounded if self.tasks is None else self.tasks
        context = item.context
        if item.task not in tasks or context is None or not context.text.strip():
            return None
        evidence = squeeze(item.evidence).strip("\"'")
        if item.evidence.strip() and evidence not in squeeze(context.text):
            return "grounding: evidence not in the context"
        if self._copied(item.output, context.text, item.task):
            return "grounding: copies the context"
        # Wrong choices are false on purpose, and an explanation may name them.
        allowed = "\n".join(filter(None, [context.text, context.title, *_wrong_choices(item)]))
        if squeeze(item.output) in squeeze(allowed):
            return None
        language = language_of(item, self._language)
        for number in _unknown_numbers(item.output, allowed, language):
            return f"grounding: number not in the context ({number})"
        for name in _unknown_names(item.output, allowed, language):
            return f"grounding: name not in the context ({name})"
        return None

    def _copied(self, output: str, context: str, task: str) -> bool:
        answer, source = squeeze(output), squeeze(context)
        if answer == source:
            return True
        if len(source) < _LONG:
            return False
        if self._holds_most(answer, source):
            return True
        return task == "summarization" and _is_excerpt(answer, source)

    def _holds_most(self, answer: str, source: str) -> bool:
        if len(answer) < self.most_copied * len(source):
            return False
        wanted = set(pieces(source, _PIECE))
        return len(wanted.intersection(pieces(answer, _PIECE))) >= self.most_copied * len(wanted)


def _is_excerpt(answer: str, source: str) -> bool:
    """Finds a summary that is half copied, and at least 200 characters, in one piece."""
    run = max(_LONG, len(answer) // 2)
    # Every piece of that length holds a whole block of half of it, and blocks are few.
    block = (run + 1) // 2
    starts = range(0, len(answer) - block + 1, block)
    if not any(answer[i : i + block] in source for i in starts):
        return False
    return not set(pieces(source, run)).isdisjoint(pieces(answer, run))


_CHOICE = re.compile(r"^\s*\(?\w{1,2}[.):]\s*(\S.*)$", re.MULTILINE)


def _wrong_choices(item: Instruction) -> list[str]:
    """Lists the choices of a multiple-choice question but the one that the answer names last."""
    choices = _CHOICE.findall(item.instruction)
    if len(choices) < 2:
        return []
    answer = fold(item.output)
    # The last one is the answer. Of two that end at one place, the longer is meant.
    ends = [
        (answer.rfind(fold(choice)) + len(fold(choice)), len(choice), choice)
        for choice in choices
        if fold(choice) in answer
    ]
    right = max(ends)[2] if ends else ""
    return [choice for choice in choices if choice != right]


_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_POINT = re.compile("[.,:]")
# Numbers at the beginning of lines count the lines of a list.
_NUMBERING = re.compile(
    r"^\s*(?:[-*•#>]+\s*)?\**\(?\d{1,3}(?:[.):]\**(?=\s|\D)|\)\**)", re.MULTILINE
)
_COUNTS = frozenset(map(str, range(11)))
_YEARS = range(1000, 3000)
# Until 1940 the Thai year began on 1 April: a date before that in the year belongs to the era's
# year before.
_EARLY = re.compile(
    r"มกราคม|ม\.ค\.|กุมภาพันธ์|ก\.พ\.|มีนาคม|มี\.ค\.|ມັງກອນ|ກຸມພາ|ມີນາ|មករា|កុម្ភៈ|មីនា"
    r"|ဇန်နဝါရီ|ဖေဖော်ဝါရီ|မတ်လ|january|february|march|\bjan\b|\bfeb\b|\bmar\b"
)
_APRIL_NEW_YEAR_TO = 1940
_NEAR = 20


class _Number(NamedTuple):
    """A number as written, with the values it may have and what stands on either side of it.

    Attributes:
        before: The 5 characters before it, spaces left out. Empty if there are fewer.
        unit: The first 3 letters after it, or a sign of percent or degree.
    """

    digits: str
    values: set[str]
    before: str
    unit: str


def _unknown_numbers(answer: str, context: str, language: Language) -> Iterator[str]:
    numbers = list(_numbers(_NUMBERING.sub("\n", answer), language.era_offset, both_eras=True))
    if not numbers:
        return
    known = list(_numbers(context, language.era_offset, both_eras=False))
    values = set().union(*(number.values for number in known))
    befores = {number.before for number in known if number.before}
    units = {number.unit for number in known if number.unit}
    for number in numbers:
        if not values.isdisjoint(number.values):
            continue
        # A small whole number may be a count, unless the context counts the same thing otherwise.
        counted = number.before in befores or number.unit in units
        if number.digits not in _COUNTS or counted:
            yield number.digits


def _numbers(text: str, era: int, *, both_eras: bool) -> Iterator[_Number]:
    # The bar keeps a number at the end of a line from having the next line's word for its unit.
    text = fold(text.replace("\n", " | "))
    for match in _NUMBER.finditer(text):
        digits, start = match[0], match.start()
        values = _values(digits)
        if era and len(digits) == 4 and digits.isdigit() and int(digits) in _YEARS:
            early = bool(_EARLY.search(text, max(0, start - _NEAR), start))
            if both_eras or early:
                values |= _eras(int(digits), era, early=early)
        before = text[max(0, start - 12) : start].replace(" ", "")[-5:]
        if len(before) < 5:
            before = ""
        yield _Number(digits, values, before, _unit(text[match.end() : match.end() + 8].lstrip()))


def _unit(after: str) -> str:
    if after[:1].isalpha():
        return after[:3]
    return after[:1] if after.startswith(("%", "°")) else ""


def _values(number: str) -> set[str]:
    """Reads a number in each way that a language may mean it.

    `1.234` is a thousand in some and one and a bit in others. Of a date or version each part
    counts.
    """
    parts = _POINT.split(number)
    values = set()
    if all(len(part) == 3 for part in parts[1:]):
        values.add(_plain("".join(parts)))
    # Read so, `1.000` would be the number 1 as well.
    if len(parts) == 2 and parts[1] != "000":
        values.add(f"{_plain(parts[0])}.{parts[1].rstrip('0')}".rstrip("."))
    return values or set(map(_plain, parts))


def _plain(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _eras(year: int, era: int, *, early: bool) -> set[str]:
    """Gives the year in the other era, whichever of the two this one is.

    `early` says that a month from January to March stands before it.
    """
    local = year + era
    if early and year <= _APRIL_NEW_YEAR_TO:
        local -= 1
    gregorian = year - era
    if early and gregorian < _APRIL_NEW_YEAR_TO:
        gregorian += 1
    return {str(local), str(gregorian)}


_CASED = frozenset({"Latin", "Cyrillic", "Greek", "Armenian"})
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
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
    "นี้ นั้น เหล่า ที่ ของ ใน และ มี เป็น ได้ จะ ต่าง อื่น ทั้ง ทุก แต่ บาง หลาย ซึ่ง หรือ กับ จาก โดย ไม่ ก็ คือ "
    "ให้ ถูก เพื่อ เพราะ เดียว ใหม่ เก่า ใหญ่ เล็ก หลัก แรก เดิม หนึ่ง สอง สาม แห่ง สาย เพื่อน กำลัง ใกล้ ใด "
    "ไหน ดัง แบบ อย่าง เรา ตน ผู้ พัฒนา ราย ไป มา จ้าง ทุน ทหาร เอก รำ ฟ้า พญา ขึ้น ออก เข้า ด้วย ทั่วไป "
    "สำคัญ แค่ เพียง เมื่อ อยู่ อีก ตั้ง หลัง รวม ชื่อ คำ พบ จึง ช่วง ไทย หลวง ติด ตัว ล่าสุด ชนิด กลุ่ม ริม ด้าน "
    "ทาง คล้าย ยาว ผลิต เอกชน มหาชน จำกัด ประถม มัธยม อุดมศึกษา อนุบาล เอง องค์ สงฆ์ ภิกษุ พุทธ ราช โอรส "
    "ธิดา บาท ธรรม ชนม ชาว กรัฐ กฯ แบบ สมุทร หน้า เมือง พระ "
    "ກໍ ນີ້ ນັ້ນ ທີ່ ຂອງ ໃນ ແລະ ມີ ເປັນ ໄດ້ ຈະ ຕ່າງ ອື່ນ ທັງ ທຸກ ແຕ່ ບາງ ຫຼາຍ ເຊິ່ງ ຫຼື ກັບ ຈາກ ໂດຍ ບໍ່ ແມ່ນ ໃຫ້ ຖືກ "
    "ເພື່ອ ລາວ ໃຫຍ່ ໃໝ່ "
    "នេះ នោះ ដែល របស់ ក្នុង និង មាន ជា បាន នឹង ផ្សេង ទាំង គ្រប់ មួយ ឬ ពី ដោយ មិន ថ្មី ធំ កម្ពុជា".split()
)
_CLUSTERS = 4


def _unknown_names(answer: str, context: str, language: Language) -> Iterator[str]:
    folded, squeezed = fold(context), squeeze(context)
    text = unicodedata.normalize("NFC", outside_code(answer))
    for match in _QUOTED.finditer(text):
        quoted = next(group for group in match.groups() if group)
        if squeeze(quoted).strip(".,!?") not in squeezed:
            yield quoted
    for name in _capitalised(text, cased=language.script in _CASED):
        if not _is_known(fold(name), folded):
            yield name
    for name in _marked(text, language.name_markers):
        if squeeze(name) not in squeezed:
            yield name


def _capitalised(text: str, *, cased: bool) -> Iterator[str]:
    """Yields capitalised words that may be names. `cased`: the language itself has capitals."""
    for match in _WORD.finditer(text):
        word = match[0]
        if not cased and script_of(word[0]) not in _CASED:
            continue
        # In scripts without spaces a foreign name is joined to the word after it.
        letters = [char for char in word if script_of(char) in _CASED or char in "'’-"]
        word = "".join(letters).strip("'’-")
        if len(word) < 2 or not word[0].isupper():
            continue
        # In such a language the first word of a sentence has a capital whatever it is.
        if not (cased and _begins(text, match.start())):
            yield word


def _begins(text: str, position: int) -> bool:
    """Tells whether a sentence, a line or something in quotes or brackets begins here."""
    before = text[max(0, position - 40) : position].rstrip(" \t")
    return not before or before[-1] in _OPENERS


def _is_known(name: str, context: str) -> bool:
    names = {name}
    stem = _ENDING.sub("", name)
    # A shorter stem is the beginning of too many other words.
    if len(stem) >= _NAME_LETTERS:
        names.add(stem)
    # No letter before it: a name that only ends another word is not there.
    return any(re.search(rf"(?<![a-zà-ɏа-яα-ω]){re.escape(form)}", context) for form in names)


def _marked(text: str, markers: tuple[str, ...]) -> Iterator[str]:
    """Yields beginnings of what follows a word such as "Mr" or "province".

    Scripts without capitals show names in no other way, and without spaces nothing says where one
    ends.
    """
    # An expression of no words would match everywhere.
    if not markers:
        return
    for match in _marker_pattern(markers).finditer(text):
        # Right after a letter, a short marker is often a part of another word.
        if len(match[0]) <= _SHORT_MARKER and _in_word(text, match.start()):
            continue
        rest = text[match.end() :].lstrip(" ")
        if rest.startswith(_NO_NAME):
            continue
        name = _clusters(rest)
        if len(name) >= 2:
            yield name


@cache
def _marker_pattern(markers: tuple[str, ...]) -> re.Pattern[str]:
    # Of two markers with one beginning the longer is looked for first, or it would never match.
    return re.compile("|".join(re.escape(m) for m in sorted(markers, key=len, reverse=True)))


def _in_word(text: str, position: int) -> bool:
    return position > 0 and unicodedata.category(text[position - 1])[0] in "LM"


def _clusters(text: str) -> str:
    """Returns the first clusters (a letter with its marks) of a word."""
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
