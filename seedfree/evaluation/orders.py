"""Orders whose answers code can check, in every language: does a model do what it is told?

No reference and no judge is needed, so that a language without any benchmark has this one. It is
IFEval (arXiv 2311.07911) in small, made from the language's file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedfree._seeds import seeded
from seedfree.errors import ConfigError
from seedfree.evaluation.results import Evaluation
from seedfree.evaluation.statistics import Interval, mean_interval, paired_p
from seedfree.languages import Language
from seedfree.records import Prompt, Question
from seedfree.text import fold, script_of, squeeze

__all__ = ["Orders", "Passed"]

_Check = Callable[[dict[str, Any], str], bool]
_BULLET = re.compile(r"\s*[-–—•*]\s*\S")
_NUMBER = re.compile(r"\s*(\d+)\s*[.):]")
_QUOTES = ('""', "“”", "«»", "„“", "„”", "「」", "''", "‘’")
# Around a word that an answer begins or ends with.
_AROUND = " \n\t\"'“”‘’«»*_.,;:!?…。၊။៖។ฯ"


def _lines(answer: str) -> list[str]:
    return [line for line in answer.splitlines() if line.strip()]


def _points(order: dict[str, Any], answer: str) -> bool:
    lines = _lines(answer)
    return len(lines) == order["count"] and all(map(_BULLET.match, lines))


def _numbered(order: dict[str, Any], answer: str) -> bool:
    # int() reads the digits of all scripts.
    numbers = [int(found[1]) if (found := _NUMBER.match(line)) else 0 for line in _lines(answer)]
    return numbers == list(range(1, order["count"] + 1))


def _json_keys(order: dict[str, Any], answer: str) -> bool:
    fenced = re.fullmatch(r"\s*```(?:json)?\n(.*?)\n```\s*", answer, re.DOTALL)
    try:
        value = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.keys() == set(order["words"])


def _first(order: dict[str, Any], answer: str) -> bool:
    return squeeze(answer.lstrip(_AROUND)).startswith(squeeze(order["word"]))


def _last(order: dict[str, Any], answer: str) -> bool:
    return squeeze(answer.rstrip(_AROUND)).endswith(squeeze(order["word"]))


def _held(order: dict[str, Any], answer: str) -> int:
    """Counts which of the two words an answer holds."""
    # Where spaces part words, "day" is not in "today".
    form, edge = (fold, r"\b") if order["spaced"] else (squeeze, "")
    words = (re.escape(form(order[name])) for name in ("word", "other"))
    return sum(bool(re.search(edge + word + edge, form(answer))) for word in words)


def _quoted(_: dict[str, Any], answer: str) -> bool:
    text = answer.strip()
    return len(text) > 2 and text[0] + text[-1] in _QUOTES


def _parts(_: dict[str, Any], answer: str) -> bool:
    parts = re.split(r"\n\s*\*\*\*\s*\n", answer.strip())
    return len(parts) == 2 and all(part.strip(_AROUND) for part in parts)


_CHECKS: dict[str, _Check] = {
    "points": _points,
    "numbered": _numbered,
    "line": lambda _, answer: len(answer.strip().splitlines()) == 1,
    "first": _first,
    "last": _last,
    "no_digits": lambda _, answer: not any(letter.isdecimal() for letter in answer),
    "no_latin": lambda _, answer: all(script_of(letter) != "Latin" for letter in answer),
    "json": _json_keys,
    "short": lambda order, answer: len(answer.strip()) <= order["count"],
    "contains": lambda order, answer: _held(order, answer) == 2,
    "without": lambda order, answer: _held(order, answer) == 0,
    "quoted": _quoted,
    "parts": _parts,
}
_KEYS = ("name", "place", "use", "reason", "example")
# Fewer letters are no answer, whatever was forbidden.
_LEAST = 10


@dataclass(frozen=True)
class Passed:
    """Which orders a model carried out.

    Attributes:
        answers: For each question, whether its answer does what was ordered.
        interval: Of the share of those that do (95 %).
        kinds: By kind of order, how many passed of how many.
    """

    answers: tuple[bool, ...] = field(repr=False)
    interval: Interval
    kinds: dict[str, tuple[int, int]]

    @property
    def share(self) -> float:
        """Returns the share (0 to 1) of the orders that were carried out."""
        return sum(self.answers) / len(self.answers)

    def p_beside(self, before: Passed) -> float:
        """Returns p of the difference to another model's answers to the same orders (paired).

        Raises:
            ConfigError: They are answers to another number of orders.
        """
        return paired_p(before.answers, self.answers)

    def __str__(self) -> str:
        low, high = self.interval
        head = f"{sum(self.answers)} of {len(self.answers)} orders carried out, {self.share:.0%} "
        lines = [f"{name:10} {good:3} of {asked}" for name, (good, asked) in self.kinds.items()]
        return "\n".join([f"{head}({low:.0%} to {high:.0%})", *lines])


class Orders:
    """A benchmark of orders that code can check, made from a language's file.

    Twelve kinds of order, each about different fields of knowledge: so many points, a given first
    or last word, no digit, JSON with given keys, at most so many characters and the like.

    Args:
        language: A code, a name or a `Language`.
        size: How many, 12 to 360. Different for each `seed`.

    Raises:
        ConfigError: No such language, or a size outside its range.
    """

    def __init__(self, language: str | Language, *, size: int = 120, seed: int = 0) -> None:
        self._language = Language.load(language)
        self.name, self.language = f"orders-{self._language.code}", self._language.code
        if not 12 <= size <= 360:
            raise ConfigError(f"size is {size}", hint="Give 12 to 360.")
        self._size, self._seed = size, seed

    def questions(self) -> Sequence[Question]:
        """Returns the orders. `answer` says in JSON what is checked."""
        unfit = "no_digits" if self._language.script != "Latin" else "no_latin"
        kinds = [kind for kind in _CHECKS if kind != unfit]
        topics = {kind: self._shuffled("domains", kind) for kind in kinds}
        questions = []
        for number in range(self._size):
            random = seeded(self._seed, "order", number)
            kind = kinds[number % len(kinds)]
            topic = topics[kind][number // len(kinds) % len(topics[kind])]
            word, other = random.sample(self._language.facet("order_words"), 2)
            count = random.choice((80, 120, 160)) if kind == "short" else random.randint(2, 5)
            order = {"count": count, "word": word, "other": other}
            keys = random.sample(_KEYS, 3)
            text = self._language.text(f"order_{kind}", topic=topic, words=", ".join(keys), **order)
            spaced = self._language.segmenter == "space"
            checked = {"kind": kind, "words": keys, "spaced": spaced, **order}
            what = json.dumps(checked, ensure_ascii=False)
            questions.append(Question(f"{self.name}-{number}", kind, text, what))
        return questions

    def _shuffled(self, facet: str, kind: str) -> list[str]:
        words = list(self._language.facet(facet))
        seeded(self._seed, "order", kind).shuffle(words)
        return words

    def prompt(self, question: Question) -> Prompt:
        """Returns the order alone."""
        return Prompt(user=question.question)

    @staticmethod
    def check(question: Question, answer: str) -> bool:
        """Tells whether an answer does what was ordered. Hardly any text is no answer at all."""
        if len(squeeze(answer)) < _LEAST:
            return False
        order = json.loads(question.answer)
        return _CHECKS[order["kind"]](order, answer)

    @classmethod
    def passed(cls, evaluation: Evaluation) -> Passed:
        """Reads which orders were carried out in an evaluation of this benchmark."""
        pairs = list(zip(evaluation.questions, evaluation.predictions, strict=True))
        answers = tuple(cls.check(question, answer) for question, answer in pairs)
        kinds: dict[str, tuple[int, int]] = {}
        for (question, _), good in zip(pairs, answers, strict=True):
            before = kinds.get(question.task, (0, 0))
            kinds[question.task] = (before[0] + good, before[1] + 1)
        return Passed(answers, mean_interval(answers), kinds)
