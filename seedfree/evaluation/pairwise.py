"""An LLM that says which of two answers is better, asked in both orders.

Every pair is asked twice with the answers' places swapped, and a verdict that does not survive the
swap is a tie, as in Zheng et al. 2023 (arXiv 2306.05685), section 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from seedfree.errors import ConfigError
from seedfree.evaluation.judge import Judge, asked, by_task, texts
from seedfree.evaluation.statistics import Interval, kappa, mean_interval, raw_agreement
from seedfree.filters.judge import Rationale, judge_prompt
from seedfree.languages import Language
from seedfree.records import Instruction, Prompt, Question

__all__ = ["Pair", "Preferences", "Side", "compare_answers", "length_controlled"]

_RIDGE = 0.1
_STEPS = 100
_NONE = (math.nan, Interval(math.nan, math.nan))
_Array = np.ndarray[Any, np.dtype[np.float64]]


def length_controlled(
    outcomes: Sequence[float],
    differences: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> tuple[float, Interval]:
    """Win rate of the first (0 to 1) were the answers of every pair equally long, and its interval.

    Args:
        outcomes: 1 (the first is preferred), 0.5 (tie) or 0, one a pair.
        differences: Length of the first answer minus that of the second, one a pair.
        clusters: Pairs of one cluster are not independent; each by itself where not given.

    Returns:
        The interval is that of theta by the cluster-robust (sandwich) variance. NaN for no pairs,
        and where one side is longer in every pair: what equal length would give is then not in the
        data. Where all outcomes are wins (or losses) the rate is 1 (or 0) with no width, as the
        plain rate's.
    """
    y, d = np.asarray(outcomes, dtype=float), np.asarray(differences, dtype=float)
    if not len(y) or d.min() > 0 or d.max() < 0:
        return _NONE
    if y.min() == y.max() and y[0] in (0, 1):
        return float(y[0]), Interval(float(y[0]), float(y[0]))
    scale = math.sqrt(float((d**2).mean()))
    x = np.stack([np.ones(len(d)), np.tanh(d / scale) if scale else d], axis=1)
    theta = _fit(x, y)
    p, hessian = _at(theta, x)
    owners = list(range(len(y))) if clusters is None else list(clusters)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(owners))}
    sums = np.zeros((len(numbers), 2))
    np.add.at(sums, [numbers[name] for name in owners], x * (y - p)[:, None])
    bread = np.linalg.inv(hessian)
    variance = max(float((bread @ sums.T @ sums @ bread)[0, 0]), 0.0)
    variance *= len(numbers) / max(len(numbers) - 1, 1)
    if _separated(y, d):
        # The residuals are next to nothing, and so would be their variance; the curvature tells how
        # little is known.
        variance = max(variance, float(bread[0, 0]))
    width = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    middle = float(theta[0])
    return _sigmoid(middle), Interval(_sigmoid(middle - width), _sigmoid(middle + width))


def _separated(y: _Array, d: _Array) -> bool:
    """Whether a length tells wins from losses without an error."""
    wins, losses = d[y == 1], d[y == 0]
    if len(wins) + len(losses) < len(d) or not (len(wins) and len(losses)):
        return False
    return bool(wins.min() > losses.max() or wins.max() < losses.min())


def _fit(x: _Array, y: _Array) -> _Array:
    """Newton's method with halved steps: the loss is convex, and strictly so by the ridge."""
    theta = np.zeros(2)
    loss = _loss(theta, x, y)
    for _ in range(_STEPS):
        p, hessian = _at(theta, x)
        gradient = x.T @ (y - p) - np.array([0.0, _RIDGE * theta[1]])
        step = np.linalg.solve(hessian, gradient)
        while (trial := _loss(theta + step, x, y)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        if trial > loss:
            break
        theta, loss = theta + step, trial
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _loss(theta: _Array, x: _Array, y: _Array) -> float:
    z = x @ theta
    return float((np.logaddexp(0, z) - y * z).sum() + _RIDGE / 2 * theta[1] ** 2)


def _at(theta: _Array, x: _Array) -> tuple[_Array, _Array]:
    """Probabilities and the loss's second derivative."""
    p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
    return p, (x * (p * (1 - p))[:, None]).T @ x + np.diag([0.0, _RIDGE])


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


Side = Literal["first", "second", "tie"]
# Whom "A" and "B" stand for, in the first and in the second order.
_SIDES: tuple[dict[str, Side], ...] = (
    {"A": "first", "B": "second", "tie": "tie"},
    {"A": "second", "B": "first", "tie": "tie"},
)
_WORTH = {"first": 1.0, "second": 0.0, "tie": 0.5}


# A docstring would go into the schema that the judge is sent.
class _PairVerdict(BaseModel):
    model_config = ConfigDict(title="Verdict")

    rationale: Rationale
    verdict: Literal["A", "B", "tie"]


@dataclass(frozen=True)
class Pair:
    """Two answers to one question, judged in both orders: the first answer shown first, then shown second.

    Attributes:
        verdicts: Whom each order prefers; `None` for no verdict.
        rationales: The judge's reasons, in which A is the answer that was shown first.
        errors: Why there is no verdict; `None` where there is one.
        difference: Length of the first answer minus that of the second, in characters.
        source: What intervals take as one draw.
    """

    verdicts: tuple[Side | None, Side | None]
    rationales: tuple[str | None, str | None]
    errors: tuple[str | None, str | None]
    difference: int = 0
    task: str = ""
    source: str = ""

    @property
    def judged(self) -> bool:
        """Both orders have a verdict; one alone would bring its bias for a place."""
        return None not in self.verdicts

    @property
    def consistent(self) -> bool:
        """Both orders have the same verdict."""
        return self.judged and self.verdicts[0] == self.verdicts[1]

    @property
    def outcome(self) -> Side | None:
        """A tie where the orders disagree; `None` where an order has no verdict."""
        if not self.judged:
            return None
        return self.verdicts[0] if self.consistent else "tie"


@dataclass(frozen=True, repr=False)
class Preferences:
    """What a judge prefers over n pairs. Pairs without a verdict in both orders are left out of every figure.

    Attributes:
        pairs: In the order of the questions.
    """

    pairs: tuple[Pair, ...]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def wins(self) -> int:
        """Pairs in which both orders prefer the first."""
        return self._count("first")

    @property
    def losses(self) -> int:
        """Pairs in which both orders prefer the second."""
        return self._count("second")

    @property
    def ties(self) -> int:
        """All ties, those of orders that disagree with them."""
        return self._count("tie")

    @property
    def inconsistent(self) -> int:
        """Ties because the two orders disagree."""
        return sum(pair.judged and not pair.consistent for pair in self.pairs)

    @property
    def missing(self) -> int:
        """Pairs without a verdict in both orders."""
        return self._count(None)

    @property
    def tie_share(self) -> float:
        """Share (0 to 1) of the judged pairs; NaN for none."""
        return self.ties / len(self._judged) if self._judged else math.nan

    @property
    def win_rate(self) -> float:
        """Of the first, 0 to 1, ties half; NaN for no judged pair."""
        return sum(self._worth) / len(self._worth) if self._worth else math.nan

    @property
    def macro(self) -> float:
        """Mean of the tasks' win rates, tasks without a judged pair left out; the win rate where there are no tasks."""
        rates = [rate for each in self.tasks.values() if not math.isnan(rate := each.win_rate)]
        return sum(rates) / len(rates) if rates else self.win_rate

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of the win rate, drawn again within tasks and by source."""
        return self._interval(self._worth, self._judged)

    @property
    def length_controlled(self) -> float:
        """Win rate of the first at equal length, 0 to 1; NaN where one side is always longer. See `length_control`."""
        return self._controlled[0]

    @property
    def length_controlled_interval(self) -> Interval:
        """95 % interval of the length-controlled win rate."""
        return self._controlled[1]

    @property
    def length_difference(self) -> float:
        """Mean length of the first answers minus that of the second, in characters."""
        return (
            sum(pair.difference for pair in self._judged) / len(self._judged)
            if self._judged
            else math.nan
        )

    @property
    def position_bias(self) -> float:
        """Share (0 to 1) of the decided verdicts that went to the answer shown first; 0.5 is no bias, NaN for none."""
        values = [value for value, _ in self._places]
        return sum(values) / len(values) if values else math.nan

    @cached_property
    def position_interval(self) -> Interval:
        """95 % interval of the position bias."""
        return self._interval(
            [value for value, _ in self._places], [pair for _, pair in self._places]
        )

    @property
    def agreement(self) -> float:
        """Share (0 to 1) of the judged pairs on which the two orders have the same verdict."""
        return raw_agreement(*self._orders)

    @property
    def kappa(self) -> float:
        """Cohen's kappa of the two orders; NaN where it is undefined (every verdict the same)."""
        return kappa(*self._orders)

    @cached_property
    def tasks(self) -> Mapping[str, Preferences]:
        """Preferences of each task; empty where the questions have none."""
        places = by_task([pair.task for pair in self.pairs])
        return {
            task: Preferences(tuple(self.pairs[i] for i in rows), self.seed)
            for task, rows in places.items()
        }

    def __repr__(self) -> str:
        return (
            f"Preferences(win_rate={self.win_rate:.3f} [{self.interval.low:.3f}, {self.interval.high:.3f}], "
            f"length_controlled={self.length_controlled:.3f}, {self.wins} wins, {self.ties} ties "
            f"({self.inconsistent} inconsistent), {self.losses} losses, missing={self.missing})"
        )

    def _count(self, outcome: Side | None) -> int:
        return sum(pair.outcome == outcome for pair in self.pairs)

    @cached_property
    def _judged(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.judged]

    @cached_property
    def _worth(self) -> list[float]:
        return [_WORTH[pair.outcome] for pair in self._judged if pair.outcome is not None]

    @property
    def _orders(self) -> tuple[list[Side | None], list[Side | None]]:
        return [pair.verdicts[0] for pair in self._judged], [
            pair.verdicts[1] for pair in self._judged
        ]

    @property
    def _places(self) -> list[tuple[float, Pair]]:
        """Each decided verdict: 1 for the answer shown first, 0 for the other, and its pair."""
        shown_first = ("first", "second")
        return [
            (float(verdict == shown_first[order]), pair)
            for pair in self._judged
            for order, verdict in enumerate(pair.verdicts)
            if verdict != "tie"
        ]

    @cached_property
    def _controlled(self) -> tuple[float, Interval]:
        differences = [pair.difference for pair in self._judged]
        return length_controlled(
            self._worth, differences, clusters=[(pair.task, pair.source) for pair in self._judged]
        )

    def _interval(self, values: Sequence[float], pairs: Sequence[Pair]) -> Interval:
        if not values:
            return Interval(math.nan, math.nan)
        tasks, sources = [pair.task for pair in pairs], [pair.source for pair in pairs]
        return mean_interval(values, groups=tasks, clusters=sources, seed=self.seed)


def compare_answers(
    judge: Judge,
    questions: Iterable[Question | Instruction | str],
    first: Sequence[str],
    second: Sequence[str],
    out: str | Path,
    *,
    references: Sequence[str] | None = None,
    generators: Iterable[object] = (),
) -> Preferences:
    """Whose answers the judge prefers: two requests a pair. Run again, it asks only for what `out` does not hold.

    Args:
        questions: Of a benchmark, rows of a data set, or plain texts.
        first: One side's answers, one a question, `""` for none.
        second: The other side's.
        out: Folder whose `ledger.sqlite` keeps the verdicts. An invalid one is asked for again, 3 times in all.
        references: Answers known to be good, shown to the judge, one a question.
        generators: What wrote the answers (generators, trained models, identities): for the warning alone; the judge
            never learns it.

    Raises:
        ConfigError: Lengths differ, an item has the wrong type, or the language has no such prompt.
        StopRunError: No request can succeed: a wrong key, spent budget, full disk.
    """
    if not isinstance(judge, Judge):
        raise ConfigError(
            f"judge is {type(judge).__name__}", hint="Give a Judge first, then the questions."
        )
    language = Language.load(judge.language)
    items = asked(questions, language)
    one, other = texts("first", first, len(items)), texts("second", second, len(items))
    known = (
        [None] * len(items) if references is None else texts("references", references, len(items))
    )
    judge.warn(items, generators)
    pack = judge.pack("judge_pair", *["judge_reference"] * (references is not None))

    def prompts() -> Iterable[Prompt]:
        for item, a, b, reference in zip(items, one, other, known, strict=True):
            for shown_first, shown_second in ((a, b), (b, a)):
                shown = {"first": shown_first, "second": shown_second}
                yield judge_prompt(
                    "judge_pair",
                    _PairVerdict,
                    {"instruction": item.instruction, "input": item.input, **shown},
                    language=language,
                    prompts=pack,
                    reference=reference,
                    seed=judge.seed,
                )

    found = judge.verdicts(prompts(), _PairVerdict, out)
    pairs = []
    for i, (item, a, b) in enumerate(zip(items, one, other, strict=True)):
        both = found[2 * i : 2 * i + 2]
        sides, reasons, errors = zip(
            *(_read(each, order) for order, each in enumerate(both)), strict=True
        )
        pairs.append(Pair(sides, reasons, errors, len(a) - len(b), item.task, item.source))
    return Preferences(tuple(pairs), judge.seed)


def _read(found: _PairVerdict | str, order: int) -> tuple[Side | None, str | None, str | None]:
    if isinstance(found, _PairVerdict):
        return _SIDES[order][found.verdict], found.rationale, None
    return None, None, found
