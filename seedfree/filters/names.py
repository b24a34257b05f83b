"""Which names of an answer its text does not have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from seedfree.languages import Language
from seedfree.text import fold, outside_code, script_of, squeeze

__all__ = ["unknown_names"]

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


def unknown_names(answer: str, context: str, language: Language) -> Iterator[str]:
    """Yields names, and quoted words, of an answer that its text does not have."""
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
