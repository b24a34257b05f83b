"""Which of a question's choices a text means: by its label, by a statement of the answer, or by the choice's own words.

Positions are counted from 0, and every way to label is one to the parser: ก, A, a, 1 and ๑ are the first choice, and
so is what the language's file adds. What is looked for, the first that is found decides:

1. the text is a choice, or a label, and nothing else;
2. the last statement of the answer: "คำตอบที่ถูกต้องคือ ข", "the answer is (B)", "ข้อ ข ถูกต้อง", "B is correct";
3. the label with which the text begins: "ข. ...", "**B)** ...";
4. the choice whose words the text holds, before it comes to its reasons ("เพราะ", "because");
5. the one label that the text names, "(B)", "ข้อ 2", or the choice that alone shares half of its wording with what the
   text says before its reasons (copied with slips, or in part); where both are found they must agree.

Two choices in one statement, a label with the words of another choice, two choices named without a reason between
them: the text means none. So does a text that denies a choice.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

from seedfree.languages import Language
from seedfree.text import fold

__all__ = ["listed", "stated"]


def _folded(pattern: str) -> re.Pattern[str]:
    """A pattern for folded text, in which SARA AM is two characters and a tone mark comes before NIKHAHIT."""
    return re.compile(
        re.sub(
            "([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb])", r"\2\1", normalize("NFKC", pattern)
        )
    )


_LATIN, _MOST = "abcdefgh", 8
_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_MARKS = re.compile(r"[*`$]|\\(?:text(?:bf)?|mathbf)\b|__|(?<!\w)_|_(?!\w)")
# Words for "the answer", and what may stand between them and the choice.
_NOUN = (
    r"(?:คำตอบ|(?<!หัว)ข้อ|ตัวเลือก)(?:สุดท้าย|ข้อ)?\s?(?:ที่|ซึ่ง)?(?:ถูก(?:ต้อง)?|เหมาะสม|ดี|ใช่)?(?:มาก)?(?:ที่สุด)?\s?(?:ก็|จึง|น่าจะ)?"
    r"(?:คือ|ได้แก่|เป็น|:)"
    r"|คำตอบ(?:ของ|สำหรับ)[^\n]{1,40}?คือ|(?<!คำ)ตอบ(?:ว่า|:)?|เฉลย(?:คือ|:)?|(?<!ตัว)เลือก(?:ตอบ)?"
    r"|\b(?:ans(?:wer)?|option|choice)\s*(?:is|would be|must be|:|=)|\b(?:choose|select|pick|go with)\b|boxed(?=\{)"
    r"|jawaban(?:nya)?(?: yang)?(?: benar| tepat)?\s*(?:adalah|ialah|:)"
    r"|jibu(?: sahihi)?\s*(?:ni|:)|(?:đáp án|câu trả lời)(?: đúng)?(?: nhất)?\s*(?:là|:)"
    r"|(?:yanıt|cevap)\s*:"
    r"|ຄຳຕອບ(?:ທີ່ຖືກ(?:ຕ້ອງ)?)?\s?(?:ແມ່ນ|ຄື|:)|(?<!ຄຳ)ຕອບ|ចម្លើយ(?:ដែល)?(?:ត្រឹមត្រូវ)?\s?(?:គឺ(?:ជា)?|:|៖)|အဖြေ(?:မှန်)?\s?(?:မှာ|သည်|က|:|-)"
)
_ITEM = r"(?:ตัวเลือก|คำตอบ|ข้อ|ที่|option|choice|letter|answer|opsi|pilihan|chaguo|ຂໍ້|ข้อที่|phương án|şık)"
_OPEN = r"[\s:=\-\"'(\[{]*"
_RIGHT = _folded(
    r"[).\]:\"']*\s*(?:จึง|ก็|นั้น|น่าจะ)?\s*(?:(?:เป็น|คือ)\s*(?:คำตอบ|ข้อ|ตัวเลือก)\s*)?(?:ที่)?ถูก(?:ต้อง|\b)"
    r"|[).\]:\"']*\s*(?:จึง|ก็)?\s*(?:เป็น|คือ)\s*คำตอบ"
    r"|[).\]:\"']*\s*is\s+(?:the\s+)?(?:correct|right|best)\b"
)
_AND = _folded(
    r"[).\]\"']*\s*(?:และ|หรือ|กับ|ถึง|,|/|-|&|\band\b|\bor\b|\bto\b|dan|atau|na|au|và|hoặc|ve|veya)\s*"
    + f"{_ITEM}?{_OPEN}"
)
_NOT = _folded(
    r"(?:ไม่ใช่|มิใช่|ไม่ได้|ไม่|มิ|\bnot|\bbukan|\bsi|không(?: phải)?|ບໍ່(?:ແມ່ນ)?|មិន(?:មែន)?|မဟုတ်)[\s\"'(]*\Z"
)
_WRONG = _folded(
    r"[).\]:\"']*\s*(?:นั้น|จึง|is|are)?\s*(?:ไม่ถูก|ไม่ใช่|ผิด|incorrect|wrong|false|not\b|salah|sai\b)"
)
_REASON = _folded(
    r"เพราะ|เนื่องจาก|ซึ่ง|โดย|ตาม|ดังนั้น|because|since|which|as\b|so\b|karena|sebab|kwa sababu|vì|çünkü|ເພາະ|ເນື່ອງຈາກ"
    r"|ព្រោះ|ដោយសារ"
)
_BEGIN = _folded(rf"{_OPEN}(?:{_ITEM}{_OPEN})*")
_NAMED = _folded(rf"{_ITEM}\s?[(\[]?\Z")
_ALONE = re.compile(r"(?:\A|[\s(\[\"'.]|ข้อ)\Z")
_STOP = re.compile(r"\s*(?:\Z|\n|[)\].:,;\"'}!?|။៕។]|ครับ|ค่ะ|คะ|นะ)")
_CLOSE = re.compile(r"[\s).\]:\-\"'}]*")
_CLOSED = re.compile(r"\s?[)\]]")
_LATIN_NEXT = re.compile(r"\s*[a-z0-9]")
_NUMBER_BEFORE, _NUMBER_NEXT = re.compile(r"\d[.,]?\Z"), re.compile(r"[.,]?\d")
_BECAUSE = _folded("เพราะ|เนื่องจาก|because|since")
# Below this many letters a choice's words must stand apart to be one ("ต้อง" stands in "ถูกต้อง").
_SHORT = 10
_GRAM = 5
# Of a text that repeats a choice without end, what is looked at; and how far back a denial is
# looked for.
_SPANS, _BACK = 400, 24


@dataclass(frozen=True)
class _Text:
    """A text made comparable, and the same without white space; `at` are the places of the latter in the former."""

    full: str
    tight: str
    at: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> _Text:
        text = _MARKS.sub("", _THOUGHT.sub("", text))
        full = "\n".join(filter(None, map(fold, text.splitlines())))
        at = tuple(i for i, char in enumerate(full) if not char.isspace())
        return cls(full, "".join(full[i] for i in at), at)

    def holds(self, words: str, start: int) -> int | None:
        """Where words without white space that begin at a place of `full` end in it."""
        first = bisect_left(self.at, start)
        return (
            self.at[first + len(words) - 1] + 1
            if words and self.tight.startswith(words, first)
            else None
        )


@dataclass(frozen=True)
class _Labels:
    """The labels of a language; `own` are letters that no word of the language is."""

    positions: dict[str, int]
    own: frozenset[str]
    pattern: re.Pattern[str]
    cue: re.Pattern[str]


@lru_cache(maxsize=64)
def _labels(language: Language | str) -> _Labels:
    known = Language.load(language)
    own = {fold(label): place for place, label in enumerate(known.labels)}
    positions = (
        own | {char: i for i, char in enumerate(_LATIN)} | {str(i + 1): i for i in range(_MOST)}
    )
    inside = "".join(map(re.escape, positions))
    # A label is no part of a word or number: vowels above and below are marks, which `\w` leaves
    # out.
    pattern = re.compile(
        rf"([{inside}])(?![\w\u0300-\u036f\u0e30-\u0e4f\u0eb0-\u0ecf\u1000-\u109f\u1780-\u17d3])(?![.,]\d)"
    )
    form = (
        known.prompts.get("multiple_choice_answer", "")
        .partition("$label")[0]
        .rstrip()
        .rpartition("\n")[2]
    )
    nouns = f"{_NOUN}|{re.escape(fold(form))}" if form and "$" not in form else _NOUN
    cue = _folded(f"(?:{nouns}){_OPEN}(?:{_ITEM}{_OPEN})?")
    return _Labels(positions, frozenset(own) - set(_LATIN), pattern, cue)


def stated(
    text: str,
    choices: Sequence[str] = (),
    language: Language | str = "th",
    *,
    reference: bool = False,
) -> int | None:
    """The position of the choice that a text means, from 0; `None` where that cannot be told.

    Args:
        choices: The choices' texts in order, without labels; without them labels alone are read.
        reference: The text is a right answer, which says the choice first and then explains at
            length.
    """
    known, said = _labels(language), _Text.of(text)
    tight = [_Text.of(choice).tight for choice in choices]
    if said.tight and tight.count(said.tight) == 1:
        return tight.index(said.tight)
    most = len(tight) or _MOST
    answers = _statements(said, tight, known, most)
    found = answers[0 if reference else -1] if answers else None
    if found is None or reference:
        begun = _label_at(said, _opening(said.full), tight, known, most, strict=True)
        found = begun if begun is not None else found
    if found is None:
        found = _worded(said, tight)
    if found is None:
        named, alike = _mentioned(said, known, most), _alike(said, tight)
        found = alike if named is None else named if alike in (None, named) else None
    return found if found is not None and found >= 0 else None


def _before(full: str, place: int) -> str:
    return full[max(0, place - _BACK) : place]


def _opening(full: str) -> int:
    found = _BEGIN.match(full)
    return found.end() if found else 0


def _statements(said: _Text, tight: list[str], known: _Labels, most: int) -> list[int]:
    """What each statement of the answer says, in order; -1 for one that says two things."""
    found = []
    for cue in known.cue.finditer(said.full):
        if _NOT.search(_before(said.full, cue.start())):
            continue
        answer = _worded_at(said, cue.end(), tight)
        if answer is None:
            answer = _label_at(said, cue.end(), tight, known, most)
        if answer is not None:
            found.append((cue.end(), answer))
    joined = set()
    for label in known.pattern.finditer(said.full):
        before, place = _before(said.full, label.start()), known.positions[label[1]]
        if second := _second(said.full, label, known):
            joined.add(second.start())
        if place < most and _RIGHT.match(said.full, label.end()) and _ALONE.search(before):
            found.append((label.start(), -1 if label.start() in joined else place))
    return [answer for _, answer in sorted(found)]


def _label_at(
    said: _Text, start: int, tight: list[str], known: _Labels, most: int, *, strict: bool = False
) -> int | None:
    """The label at a place: -1 where it comes with a second label, or with the words of another choice."""
    label = known.pattern.match(said.full, start)
    if label is None or known.positions[label[1]] >= most:
        return None
    place, rest = known.positions[label[1]], label.end()
    after = _CLOSE.match(said.full, rest)
    words = after.end() if after else rest
    beside = _worded_at(said, words, tight)
    stops = bool(_STOP.match(said.full, rest)) or bool(_REASON.match(said.full, words))
    if not stops and beside is None and (strict or label[1] not in known.own):
        foreign = label[1] in _LATIN and not _LATIN_NEXT.match(said.full, rest)
        if strict or not foreign:
            return None
    other = _second(said.full, label, known)
    if (
        other
        and known.positions[other[1]] != place
        and (other[1] in known.own or _STOP.match(said.full, other.end()))
    ):
        return -1
    if _WRONG.match(said.full, rest):
        return None
    if strict and not _REASON.match(said.full, words) and _lists(said.full, label, known):
        return None
    return place if beside in (None, place) else -1


def _second(full: str, label: re.Match[str], known: _Labels) -> re.Match[str] | None:
    """The label that is joined to this one: "ก และ ข", "(a-d)"."""
    joined = _AND.match(full, label.end())
    return known.pattern.match(full, joined.end()) if joined else None


def _lists(full: str, label: re.Match[str], known: _Labels) -> bool:
    """A text that goes on with the next label is a list of its own."""
    following = [
        key for key, place in known.positions.items() if place == known.positions[label[1]] + 1
    ]
    kind = [
        key
        for key in following
        if key.isdigit() == label[1].isdigit() and key.isascii() == label[1].isascii()
    ]
    return any(
        re.search(rf"(?:\n|\s)[(\[]?{re.escape(key)}[.)\]]", full[label.end() :]) for key in kind
    )


def _worded_at(said: _Text, start: int, tight: list[str]) -> int | None:
    """The choice whose words begin at a place; the longest where several do."""
    while start < len(said.full) and said.full[start] in " \n\"'([":
        start += 1
    ends = {place: said.holds(words, start) for place, words in enumerate(tight)}
    fits = [(end, place) for place, end in ends.items() if end and _apart(said.full, start, end)]
    longest = [place for end, place in fits if end == max(fits)[0]]
    return longest[0] if len(longest) == 1 else None


def _apart(full: str, start: int, end: int) -> bool:
    """Words of a few letters must begin and end where the script or the class of characters changes."""
    head, tail, short = full[start], full[end - 1], end - start < _SHORT
    before, after = full[start - 1 : start], full[end : end + 1]
    if (
        head.isdigit()
        and _NUMBER_BEFORE.search(_before(full, start))
        or tail.isdigit()
        and _NUMBER_NEXT.match(full, end)
    ):
        return False
    if _kind(head) == "latin" == _kind(before) or _kind(tail) == "latin" == _kind(after):
        return False
    return (
        not short
        or _kind(before) != _kind(head)
        and (head.isdigit() or _kind(after) != _kind(tail))
    )


def _kind(char: str) -> str:
    if (
        not char
        or char.isspace()
        or not (char.isalnum() or ord(char) > 0x2FF and not re.match(r"[\u2000-\u206f]", char))
    ):
        return ""
    return "digit" if char.isdigit() else "latin" if ord(char) < 0x250 else "letter"


def _worded(said: _Text, tight: list[str]) -> int | None:
    """The choice whose words stand in the text: -1 for two before the reasons begin."""
    spans: list[tuple[int, int, int]] = []
    for place, words in enumerate(tight):
        first = said.tight.find(words) if words else -1
        while first >= 0 and len(spans) < _SPANS:
            start, end = said.at[first], said.at[first + len(words) - 1] + 1
            if _apart(said.full, start, end) and not _NOT.search(_before(said.full, start)):
                spans.append((start, end, place))
            first = said.tight.find(words, first + 1)
    whole = [
        a
        for a in spans
        if not any(b[0] <= a[0] and a[1] <= b[1] and b[1] - b[0] > a[1] - a[0] for b in spans)
    ]
    if not whole:
        return None
    _, end, place = min(whole)
    others = [start for start, _, other in whole if other != place]
    if others and not _REASON.search(said.full[end : max(end, min(others))]):
        return -1
    return place


def _mentioned(said: _Text, known: _Labels, most: int) -> int | None:
    """The one label that stands in brackets or after "ข้อ": -1 for several."""
    named = set()
    for label in known.pattern.finditer(said.full):
        before, bracketed = _before(said.full, label.start()), _CLOSED.match(said.full, label.end())
        item = _NAMED.search(before)
        if (item or bracketed and before.endswith(("(", "["))) and known.positions[label[1]] < most:
            if _WRONG.match(said.full, label.end()) or _NOT.search(
                before[: item.start() if item else -1]
            ):
                continue
            named.add(known.positions[label[1]])
            if second := _second(said.full, label, known):
                named.add(known.positions[second[1]])
    return None if not named else named.pop() if len(named) == 1 else -1


def _alike(said: _Text, tight: list[str]) -> int | None:
    """The choice that alone shares half of its own wording, or of the text's, with the text."""
    grams = [_grams(words) for words in tight]
    because = _BECAUSE.search(said.tight)
    spoken, shares = _grams(said.tight[: because.start()] if because else said.tight), []
    for place, mine in enumerate(grams):
        others = set().union(*(other for at, other in enumerate(grams) if at != place))
        only = mine - others
        least = min(len(only), len(spoken - others))
        shares.append(len(only & spoken) / least if least >= 2 * _GRAM else 0.0)
    best = max(shares, default=0.0)
    return shares.index(best) if best >= 0.5 and sorted(shares)[-2:-1] < [best / 2] else None


def _grams(words: str) -> set[str]:
    return {words[i : i + _GRAM] for i in range(len(words) - _GRAM + 1)}


def listed(text: str, language: Language | str = "th") -> tuple[str, ...]:
    """The choices that stand in a text as labelled lines ("ก. ...", "(B) ...", "3) ..."), without their labels.

    Empty where there are not two. A line without a label belongs to the choice above it.
    """
    known, style = _labels(language), ""
    found: list[list[str]] = []
    for line in text.splitlines():
        label = re.match(r"([(\[]?)\s*(\S)\s*([)\].:])(?!\d)\s*(.*)", line.strip())
        place = known.positions.get(fold(label[2])) if label else None
        if label and place is not None:
            kind = label[1] + label[3] + ("9" if label[2].isdigit() else "x")
            if place == len(found) and style in ("", kind):
                style = kind
                found.append([label[4]])
                continue
        if found and line.strip():
            found[-1].append(line)
    return tuple(map("\n".join, found)) if len(found) > 1 else ()
