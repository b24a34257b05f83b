"""Which of a question's choices a text means: by its label, a statement, or the choice's words.

Positions are counted from 0, and every way to label is one to the parser: ก, A, a, 1 and ๑ are the
first choice, and so is what the language's file adds. These rules are tried in order; the first
that gives an answer decides:

1. the text is a choice, or a label, and nothing else;
2. the last statement of the answer: "คำตอบที่ถูกต้องคือ ข", "the answer is (B)", "ข้อ ข ถูกต้อง",
   "B is correct";
3. the label with which the text begins: "ข. ...", "**B)** ...";
4. the choice whose words the text holds, before it comes to its reasons ("เพราะ", "because");
5. the one label that the text names, "(B)", "ข้อ 2", or the choice that alone shares half of its
   wording with what the text says before its reasons (copied with slips, or in part); where both
   give an answer they must agree.

The text means none where one statement has two choices, where a label comes with the words of
another choice, or where two choices are named without a reason between them. The same holds for a
text that denies a choice. A right answer that serves as the reference says the choice first and
explains later, so for it rule 3 comes before rule 2, and the first statement counts.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

from seedfree.languages import Language, language_or_bare
from seedfree.text import fold, without_thought
from seedfree.text.typed import one_typing

__all__ = ["labelled_choices", "meant_choice"]

# A rule's answer where the text says two things at once: no later rule is asked.
_AMBIGUOUS = -1
# The Latin labels. Eight choices are the most that are looked for where none are given.
_LATIN, _MOST = "abcdefgh", 8
# Below this many letters a choice's words must stand apart to be one ("ต้อง" stands in "ถูกต้อง").
_SHORT = 10
# Wordings are compared by runs of this many characters.
_GRAM = 5
# What bounds the time on long texts: how many places are looked at in a text that repeats a choice
# without end, and how many characters back a denial is looked for.
_SPANS, _BACK = 400, 24


def meant_choice(
    text: str,
    choices: Sequence[str] = (),
    language: Language | str = "th",
    *,
    reference: bool = False,
) -> int | None:
    """Returns the position of the choice that a text means, from 0; `None` if that cannot be told.

    Args:
        choices: The choices' texts in order, without labels; without them labels alone are read.
        reference: The text is a right answer, which says the choice first and then explains at
            length.
    """
    tight = tuple(_Text.of(choice).tight for choice in choices)
    position = _Answer(_Text.of(text), tight, _labels(language)).position(reference)
    if position == _AMBIGUOUS:
        return None
    return position


def labelled_choices(text: str, language: Language | str = "th") -> tuple[str, ...]:
    """Returns the choices that stand in a text as labelled lines ("ก. ...", "(B) ...", "3) ...").

    They come without their labels. A line without a label belongs to the choice above it. A single
    choice counts as none.
    """
    positions = _labels(language).positions
    style = None
    choices: list[list[str]] = []
    for line in text.splitlines():
        label = _LABELLED.match(line.strip())
        if label and positions.get(fold(label[2])) == len(choices):
            # A list inside a choice has brackets of its own: "2. ...", and under it "(1) ...".
            line_style = (label[1], label[3], label[2].isdigit())
            style = style or line_style
            if line_style == style:
                choices.append([label[4]])
                continue
        if choices and line.strip():
            choices[-1].append(line)
    if len(choices) < 2:
        return ()
    return tuple(map("\n".join, choices))


def _folded(pattern: str) -> re.Pattern[str]:
    """Compiles a pattern for folded text, which types letters one way and has one letter i."""
    return re.compile(one_typing(normalize("NFKC", pattern)).replace("ı", "i"))


# Markup around a label: Markdown, LaTeX, and underscores but those within a name.
_MARKS = re.compile(r"[*`$]|\\(?:text(?:bf)?|mathbf)\b|__|(?<!\w)_|_(?!\w)")
_LABELLED = re.compile(r"([(\[]?)\s*(\S)\s*([)\].:])(?!\d)\s*(.*)")

# Signs that may stand before a label or a choice's words.
_OPEN = r"[\s:៖=\-\"'(\[{]*"
_BOXED = r"boxed(?=\{)"
# The signs between a label and what is said of it.
_AFTER = r"[).\]:\"']*\s*"
_JOINTS = (",", "/", "-", "&")
# The end of what a label says, and the signs between a label and its choice's words.
_STOP = r"\s*(?:\Z|\n|[)\].:,;\"'}!?|။៕។]"
_CLOSE = re.compile(r"[\s).\]:\-\"'}]*")
_CLOSED = re.compile(r"\s?[)\]]")
_LEAD = re.compile(r"[ \n\"'(\[]*")
_LATIN_NEXT = re.compile(r"\s*[a-z0-9]")
# A digit next to another, or behind its decimal point, is a part of that number.
_NUMBER_BEFORE, _NUMBER_NEXT = re.compile(r"\d[.,]?\Z"), re.compile(r"[.,]?\d")


@dataclass(frozen=True)
class _Text:
    """A text made comparable.

    Attributes:
        full: Folded, without thoughts and markup, its lines kept.
        tight: The same without white space, which writers put in and leave out at will.
        places: For each character of `tight`, its place in `full`.
    """

    full: str
    tight: str
    places: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> _Text:
        text = _MARKS.sub("", without_thought(text))
        full = "\n".join(filter(None, map(fold, text.splitlines())))
        places = tuple(i for i, char in enumerate(full) if not char.isspace())
        return cls(full, "".join(full[i] for i in places), places)

    def end_of(self, words: str, start: int) -> int | None:
        """Returns where the words end that begin at `start` of `full`; `None` if they do not."""
        first = bisect_left(self.places, start)
        if not words or not self.tight.startswith(words, first):
            return None
        return self.places[first + len(words) - 1] + 1

    def occurrences(self, words: str) -> Iterator[tuple[int, int]]:
        """Yields start and end, in `full`, of each place where the words stand."""
        first = self.tight.find(words)
        while words and first >= 0:
            yield self.places[first], self.places[first + len(words) - 1] + 1
            first = self.tight.find(words, first + 1)

    def before(self, place: int) -> str:
        """Returns the few characters before a place of `full`."""
        return self.full[max(0, place - _BACK) : place]


class _Labels(NamedTuple):
    """The labels of a language, folded.

    The patterns are made of the words in the language's file and in the English one, since models
    answer in English, too.

    Attributes:
        positions: Each label's position.
        own: The language's own letters but Latin ones. None of them is a word of the language.
        pattern: A label that is not a part of a word or number.
        cue: "The answer is", with what may stand between it and the choice.
        begin: What may stand before a label at the beginning of a text.
        alone, named: What ends before a label: nothing that it could be a part of; a word for
            "choice".
        denial: What ends before a label or a choice that is denied.
        right, wrong, joint, stop: What follows a label: "is right", "is wrong", "and" with a second
            label, the end of what it says.
        reason: What begins a reason.
        because: The same by fewer words: in text without white space, short ones stand in others.
    """

    positions: dict[str, int]
    own: frozenset[str]
    pattern: re.Pattern[str]
    cue: re.Pattern[str]
    begin: re.Pattern[str]
    alone: re.Pattern[str]
    named: re.Pattern[str]
    denial: re.Pattern[str]
    right: re.Pattern[str]
    wrong: re.Pattern[str]
    joint: re.Pattern[str]
    stop: re.Pattern[str]
    reason: re.Pattern[str]
    because: re.Pattern[str]


@lru_cache(maxsize=64)
def _labels(language: Language | str) -> _Labels:
    known = language if isinstance(language, Language) else language_or_bare(language)
    own = {fold(label): position for position, label in enumerate(known.labels)}
    latin = {char: position for position, char in enumerate(_LATIN)}
    digits = {str(position + 1): position for position in range(_MOST)}
    positions = own | latin | digits
    inside = "".join(map(re.escape, positions))
    # Vowels above and below are marks, which `\w` leaves out: their blocks are named.
    pattern = re.compile(
        rf"([{inside}])"
        r"(?![\w\u0300-\u036f\u0e30-\u0e4f\u0eb0-\u0ecf\u1000-\u109f\u1780-\u17d3])(?![.,]\d)"
    )
    # The line on which the language's own template gives the label is a way to state the answer.
    template = known.prompts.get("multiple_choice_answer", "")
    form = template.partition("$label")[0].rstrip().rpartition("\n")[2]
    says = [_BOXED]
    if form and "$" not in form:
        says.append(re.escape(fold(form)))
    english = Language.load("en")

    def words(kind: str, *more: str) -> str:
        own_words = known.answers.get(kind, ())
        english_words = english.answers.get(kind, ()) if known.code != "en" else ()
        # A pattern without an alternative matches nothing.
        return "|".join([*own_words, *english_words, *more]) or r"(?!)"

    item = f"(?:{words('choice')})"
    return _Labels(
        positions,
        frozenset(own) - set(_LATIN),
        pattern,
        cue=_folded(f"(?:{words('says', *says)}){_OPEN}(?:{item}{_OPEN})?"),
        begin=_folded(rf"{_OPEN}(?:{item}{_OPEN})*"),
        alone=_folded(rf"(?:\A|[\s(\[\"'.]|{item})\Z"),
        named=_folded(rf"{item}\s?[(\[]?\Z"),
        denial=_folded(rf"(?:{words('denial')})[\s\"'(]*\Z"),
        right=_folded(f"{_AFTER}(?:{words('right')})"),
        wrong=_folded(f"{_AFTER}(?:{words('wrong')})"),
        joint=_folded(rf"[).\]\"']*\s*(?:{words('joint', *_JOINTS)})\s*{item}?{_OPEN}"),
        stop=_folded(f"{_STOP}|{words('particle')})"),
        reason=_folded(f"{words('reason')}|{words('because')}"),
        because=_folded(words("because")),
    )


class _Span(NamedTuple):
    """A place in the text where a choice's words stand. The first in the text is the least."""

    start: int
    end: int
    position: int

    def is_inside(self, other: _Span) -> bool:
        longer = other.end - other.start > self.end - self.start
        return longer and other.start <= self.start and self.end <= other.end


@dataclass(frozen=True)
class _Answer:
    """A text that is read against the choices of a question.

    Every rule returns a position, `_AMBIGUOUS`, or `None` where it finds nothing.

    Attributes:
        choices: Their texts as in `_Text.tight`.
    """

    text: _Text
    choices: tuple[str, ...]
    labels: _Labels

    @property
    def limit(self) -> int:
        """Returns how many positions there are."""
        return len(self.choices) or _MOST

    def position(self, reference: bool) -> int | None:
        """Returns what the text means, by the rules of the module in their order."""
        if self.text.tight and self.choices.count(self.text.tight) == 1:
            return self.choices.index(self.text.tight)
        statements = self.statements()
        if reference or not statements:
            begun = self.label_at(_end(self.labels.begin, self.text.full, 0), strict=True)
            if begun is not None:
                return begun
        if statements:
            # Models change their minds on the way.
            return statements[0] if reference else statements[-1]
        held = self.by_words()
        if held is not None:
            return held
        named, alike = self.by_mention(), self.by_likeness()
        if named is None:
            return alike
        if alike is None or alike == named:
            return named
        return None

    def statements(self) -> list[int]:
        """Returns what each statement of the answer says, in the order of the text."""
        full = self.text.full
        statements: list[tuple[int, int]] = []
        for cue in self.labels.cue.finditer(full):
            if self.labels.denial.search(self.text.before(cue.start())):
                continue
            position = self.words_at(cue.end())
            if position is None:
                position = self.label_at(cue.end())
            if position is not None:
                statements.append((cue.end(), position))
        joined = set()
        for label in self.labels.pattern.finditer(full):
            position = self.labels.positions[label[1]]
            second = self.joined_to(label)
            if second:
                joined.add(second.start())
            alone = self.labels.alone.search(self.text.before(label.start()))
            if position < self.limit and alone and self.labels.right.match(full, label.end()):
                if label.start() in joined:  # "ข้อ ก และข้อ ข ถูกต้อง" says two.
                    position = _AMBIGUOUS
                statements.append((label.start(), position))
        return [position for _, position in sorted(statements)]

    def label_at(self, start: int, *, strict: bool = False) -> int | None:
        """Returns what the label at a place says.

        Args:
            strict: A stop, a reason or the choice's words must follow: at the beginning of a text
                a letter may as well be a word, and a number a count.
        """
        full = self.text.full
        label = self.labels.pattern.match(full, start)
        if label is None or self.labels.positions[label[1]] >= self.limit:
            return None
        position = self.labels.positions[label[1]]
        words = _end(_CLOSE, full, label.end())
        beside = self.words_at(words)
        reason = self.labels.reason.match(full, words)
        ends = reason or beside is not None or self.labels.stop.match(full, label.end())
        if not ends and (strict or not self.stands_out(label)):
            return None
        if self.contradicted(label, position):
            return _AMBIGUOUS
        if self.labels.wrong.match(full, label.end()):
            return None
        if strict and not reason and self.begins_list(label):
            return None
        if beside is not None and beside != position:
            return _AMBIGUOUS
        return position

    def stands_out(self, label: re.Match[str]) -> bool:
        """Tells whether a label is no word: a letter of the language's own, or a foreign one."""
        if label[1] in self.labels.own:
            return True
        return label[1] in _LATIN and not _LATIN_NEXT.match(self.text.full, label.end())

    def joined_to(self, label: re.Match[str]) -> re.Match[str] | None:
        """Returns the label that is joined to this one: "ก และ ข", "(a-d)"."""
        conjunction = self.labels.joint.match(self.text.full, label.end())
        if conjunction is None:
            return None
        return self.labels.pattern.match(self.text.full, conjunction.end())

    def contradicted(self, label: re.Match[str], position: int) -> bool:
        """Tells whether a second label is joined to this one, and is surely a label."""
        second = self.joined_to(label)
        if second is None or self.labels.positions[second[1]] == position:
            return False
        stops = self.labels.stop.match(self.text.full, second.end())
        return second[1] in self.labels.own or bool(stops)

    def begins_list(self, label: re.Match[str]) -> bool:
        """Tells whether the text goes on with the next label: then it is a list of its own."""
        rest = self.text.full[label.end() :]
        for key, position in self.labels.positions.items():
            alike = (key.isdigit(), key.isascii()) == (label[1].isdigit(), label[1].isascii())
            if alike and position == self.labels.positions[label[1]] + 1:
                if re.search(rf"\s[(\[]?{re.escape(key)}[.)\]]", rest):
                    return True
        return False

    def words_at(self, start: int) -> int | None:
        """Returns the choice whose words begin at a place, the longest if several do."""
        start = _end(_LEAD, self.text.full, start)
        fits = []
        for position, words in enumerate(self.choices):
            end = self.text.end_of(words, start)
            if end is not None and _apart(self.text, start, end):
                fits.append((end, position))
        longest = [position for end, position in fits if end == max(fits)[0]]
        return longest[0] if len(longest) == 1 else None

    def by_words(self) -> int | None:
        """Returns the choice whose words stand in the text before its reasons."""
        spans: list[_Span] = []
        for position, words in enumerate(self.choices):
            for start, end in self.text.occurrences(words):
                if len(spans) == _SPANS:
                    break
                denied = self.labels.denial.search(self.text.before(start))
                if not denied and _apart(self.text, start, end):
                    spans.append(_Span(start, end, position))
        # "มีอำนาจ" stands in "ไม่มีอำนาจ", which is another choice.
        whole = [span for span in spans if not any(map(span.is_inside, spans))]
        if not whole:
            return None
        first = min(whole)
        others = [span.start for span in whole if span.position != first.position]
        if others and not self.labels.reason.search(
            self.text.full[first.end : max(first.end, min(others))]
        ):
            return _AMBIGUOUS
        return first.position

    def by_mention(self) -> int | None:
        """Returns the one label that stands in brackets or after "ข้อ"."""
        full = self.text.full
        named = set()
        for label in self.labels.pattern.finditer(full):
            before = self.text.before(label.start())
            item = self.labels.named.search(before)
            if item:
                lead = before[: item.start()]
            elif before.endswith(("(", "[")) and _CLOSED.match(full, label.end()):
                lead = before[:-1]
            else:
                continue
            position = self.labels.positions[label[1]]
            if (
                position >= self.limit
                or self.labels.wrong.match(full, label.end())
                or self.labels.denial.search(lead)
            ):
                continue
            named.add(position)
            second = self.joined_to(label)
            if second:
                named.add(self.labels.positions[second[1]])
        if len(named) > 1:
            return _AMBIGUOUS
        return named.pop() if named else None

    def by_likeness(self) -> int | None:
        """Returns the choice that alone shares half of its own wording, or of the text's.

        Only what no other choice has is counted, on both sides.
        """
        spoken = _grams(self.labels.because.split(self.text.tight, maxsplit=1)[0])
        grams = [_grams(words) for words in self.choices]
        shares = []
        for position, own in enumerate(grams):
            others = set().union(*grams[:position], *grams[position + 1 :])
            only = own - others
            least = min(len(only), len(spoken - others))
            # A few shared runs may be chance.
            shares.append(len(only & spoken) / least if least >= 2 * _GRAM else 0.0)
        best = max(shares, default=0.0)
        rivals = [share for share in shares if share >= best / 2]
        return shares.index(best) if best >= 0.5 and len(rivals) == 1 else None


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Returns where a match that begins at a place ends, or the place if nothing matches."""
    match = pattern.match(text, place)
    return match.end() if match else place


def _apart(text: _Text, start: int, end: int) -> bool:
    """Tells whether words stand apart from what is before and after them.

    Words of a few letters must begin and end where the script or the class of characters changes.
    """
    full = text.full
    head, tail = full[start], full[end - 1]
    before, after = _kind(full[start - 1 : start]), _kind(full[end : end + 1])
    first, last = _kind(head), _kind(tail)
    if head.isdigit() and _NUMBER_BEFORE.search(text.before(start)):
        return False
    if tail.isdigit() and _NUMBER_NEXT.match(full, end):
        return False
    # Latin words have spaces around them. Words of the other scripts need not.
    if "latin" == before == first or "latin" == last == after:
        return False
    if end - start >= _SHORT:
        return True
    # After words that begin with a number the text may go on without a space: "3 วิธีคือ".
    return before != first and (head.isdigit() or after != last)


def _kind(char: str) -> str:
    """Returns "digit", "latin", "letter" (of another script), or "" for what parts words."""
    if char.isdigit():
        return "digit"
    if not char or char.isspace():
        return ""
    # Vowel and tone marks are no letters to Python, but parts of Thai and Khmer words. Dashes and
    # quotation marks, U+2000 to U+206F, are not.
    if not char.isalnum() and (ord(char) <= 0x2FF or 0x2000 <= ord(char) <= 0x206F):
        return ""
    return "latin" if ord(char) < 0x250 else "letter"


def _grams(words: str) -> set[str]:
    return {words[i : i + _GRAM] for i in range(len(words) - _GRAM + 1)}
