"""An LLM that says which of two answers is better, and how often one side wins.

Every pair is asked twice with the answers' places swapped, and a verdict that does not survive the
swap is a tie, as in Zheng et al. 2023 (arXiv 2306.05685), section 3.4.

Judges like long answers. `length_controlled` is the win rate that is left where both answers of a
pair are equally long, after the length-controlled AlpacaEval (Dubois et al. 2024, arXiv
2404.04475). A logistic regression explains the outcome of pair i by the difference in length of its
two answers, d_i = len(first_i) - len(second_i) in characters:

    P(first is preferred in pair i) = sigmoid(theta + phi * tanh(d_i / s))
    s = sqrt(mean(d_i ** 2))

A tie counts half. Newton's method minimises the summed cross-entropy plus the weak ridge
(0.1 / 2) phi ** 2. theta has no ridge, so that without an effect of length the rate is the plain
win rate. The result is sigmoid(theta).

Two things differ from the paper. Its third term, the difficulty of each instruction, is estimated
from many models' results and is left out. And s is the root mean square where the paper has the
standard deviation: where one side is longer throughout, the deviation may be small beside the
differences, and tanh is then the same for all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from seedfree.errors import ConfigError
from seedfree.evaluation.judge import (
    Judge,
    average,
    by_task,
    drawn_interval,
    judged_questions,
    references_for,
    texts_for,
)
from seedfree.evaluation.statistics import Interval, kappa, raw_agreement
from seedfree.filters.judge import Rationale, judge_prompt
from seedfree.languages import Language
from seedfree.records import Instruction, Prompt, Question

__all__ = ["Pair", "Preferences", "Side", "compare_answers", "length_controlled"]

Side = Literal["first", "second", "tie"]
# Whom "A" and "B" stand for, in the first and in the second order.
_SIDES: tuple[dict[str, Side], ...] = (
    {"A": "first", "B": "second", "tie": "tie"},
    {"A": "second", "B": "first", "tie": "tie"},
)
_WORTH: Mapping[Side | None, float] = {"first": 1.0, "second": 0.0, "tie": 0.5}


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
    """Asks a judge whose answers it prefers, with two requests for each pair.

    Run again, it asks only for what `out` does not hold.

    Args:
        judge: Who compares.
        questions: Of a benchmark, rows of a data set, or plain texts.
        first: The first side's answers, one for each question; `""` for none.
        second: The second side's answers.
        out: Folder whose `ledger.sqlite` keeps the verdicts. An invalid one is asked for again, 3
            times in all.
        references: Answers known to be good, shown to the judge, one for each question.
        generators: What wrote the answers (generators, trained models, identities). They are used
            for the warning alone. The judge never learns of them.

    Raises:
        ConfigError: Lengths differ, an item has the wrong type, or the language has no such prompt.
        StopRunError: No request can succeed: a wrong key, spent budget, full disk.
    """
    if not isinstance(judge, Judge):
        hint = "Give a Judge first, then the questions."
        raise ConfigError(f"judge is {type(judge).__name__}", hint=hint)
    language = Language.load(judge.language)
    asked = judged_questions(questions, language)
    firsts, seconds = texts_for("first", first, len(asked)), texts_for("second", second, len(asked))
    known = references_for(references, len(asked))
    judge.warn(asked, generators)
    needed = ["judge_pair"] if references is None else ["judge_pair", "judge_reference"]
    pack = judge.pack(*needed)

    def prompts() -> Iterator[Prompt]:
        for question, a, b, reference in zip(asked, firsts, seconds, known, strict=True):
            material = {"instruction": question.instruction, "input": question.input}
            for shown_first, shown_second in ((a, b), (b, a)):
                yield judge_prompt(
                    "judge_pair",
                    _PairVerdict,
                    material | {"first": shown_first, "second": shown_second},
                    language=language,
                    prompts=pack,
                    reference=reference,
                    seed=judge.seed,
                )

    verdicts = judge.verdicts(prompts(), _PairVerdict, out)
    pairs = []
    # The prompts of a pair stand side by side, and so do its verdicts.
    orders = zip(verdicts[::2], verdicts[1::2], strict=True)
    for question, a, b, order in zip(asked, firsts, seconds, orders, strict=True):
        one_way, other_way = _read(order[0], _SIDES[0]), _read(order[1], _SIDES[1])
        pairs.append(
            Pair(
                (one_way.side, other_way.side),
                (one_way.rationale, other_way.rationale),
                (one_way.error, other_way.error),
                len(a) - len(b),
                question.task,
                question.source,
            )
        )
    return Preferences(tuple(pairs), judge.seed)


# A docstring would go into the schema that the judge is sent, and with it into the ledger's keys.
class _PairVerdict(BaseModel):
    model_config = ConfigDict(title="Verdict")

    rationale: Rationale
    verdict: Literal["A", "B", "tie"]


class _Answer(NamedTuple):
    side: Side | None
    rationale: str | None
    error: str | None


def _read(verdict: _PairVerdict | str, sides: Mapping[str, Side]) -> _Answer:
    if isinstance(verdict, str):
        return _Answer(None, None, verdict)
    return _Answer(sides[verdict.verdict], verdict.rationale, None)


@dataclass(frozen=True)
class Pair:
    """Two answers to a question, judged in both orders.

    In the first order the first answer is shown first, in the second order the second one.

    Attributes:
        verdicts: Whom each order prefers. `None` for no verdict.
        rationales: The judge's reasons, in which A is the answer that was shown first.
        errors: Why there is no verdict. `None` for a verdict.
        difference: Length of the first answer minus that of the second, in characters.
        task: The question's. Empty for none.
        source: What the question was made from. An interval draws these, not single pairs.
    """

    verdicts: tuple[Side | None, Side | None]
    rationales: tuple[str | None, str | None]
    errors: tuple[str | None, str | None]
    difference: int = 0
    task: str = ""
    source: str = ""

    @property
    def judged(self) -> bool:
        """Tells whether both orders have a verdict.

        A single verdict does not count: it would bring the judge's bias for a place with it.
        """
        return None not in self.verdicts

    @property
    def consistent(self) -> bool:
        """Tells whether both orders have the same verdict."""
        return self.judged and self.verdicts[0] == self.verdicts[1]

    @property
    def outcome(self) -> Side | None:
        """Returns whom the pair goes to.

        It is a tie where the orders disagree, and `None` where an order has no verdict.
        """
        if not self.judged:
            return None
        return self.verdicts[0] if self.consistent else "tie"


@dataclass(frozen=True, repr=False)
class Preferences:
    """A judge's preferences over n pairs.

    Pairs without a verdict in both orders are left out of every figure.

    Attributes:
        pairs: In the order of the questions.
        seed: Of the intervals.
    """

    pairs: tuple[Pair, ...]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def wins(self) -> int:
        """Counts the pairs in which both orders prefer the first side."""
        return self._count("first")

    @property
    def losses(self) -> int:
        """Counts the pairs in which both orders prefer the second side."""
        return self._count("second")

    @property
    def ties(self) -> int:
        """Counts all ties, those of orders that disagree with them."""
        return self._count("tie")

    @property
    def inconsistent(self) -> int:
        """Counts the pairs that are ties because the two orders disagree."""
        return sum(pair.judged and not pair.consistent for pair in self.pairs)

    @property
    def missing(self) -> int:
        """Counts the pairs without a verdict in both orders."""
        return self._count(None)

    @property
    def tie_share(self) -> float:
        """Returns the share (0 to 1) of ties among the judged pairs. NaN for no judged pair."""
        return average([pair.outcome == "tie" for pair in self._judged])

    @property
    def win_rate(self) -> float:
        """Returns the first side's win rate, 0 to 1. NaN for no judged pair. A tie counts half."""
        return average(self._worth)

    @property
    def macro(self) -> float:
        """Returns the mean of the tasks' win rates, or the win rate itself without tasks.

        Tasks without a judged pair are left out.
        """
        rates = [rate for each in self.tasks.values() if not math.isnan(rate := each.win_rate)]
        return average(rates) if rates else self.win_rate

    @cached_property
    def interval(self) -> Interval:
        """Returns the 95 % interval of the win rate, drawn within tasks and by source."""
        return self._interval(zip(self._worth, self._judged, strict=True))

    @property
    def length_controlled(self) -> float:
        """Returns the first side's win rate at equal length, 0 to 1.

        NaN where one side is always longer. The module's docstring has the formula.
        """
        return self._controlled[0]

    @property
    def length_controlled_interval(self) -> Interval:
        """Returns the 95 % interval of the length-controlled win rate."""
        return self._controlled[1]

    @property
    def length_difference(self) -> float:
        """Returns the mean length of the first answers minus that of the second, in characters."""
        return average([pair.difference for pair in self._judged])

    @property
    def position_bias(self) -> float:
        """Returns the share (0 to 1) of the decided verdicts that went to the answer shown first.

        0.5 is no bias. NaN for no decided verdict.
        """
        return average([value for value, _ in self._places])

    @cached_property
    def position_interval(self) -> Interval:
        """Returns the 95 % interval of the position bias."""
        return self._interval(self._places)

    @property
    def agreement(self) -> float:
        """Returns the share (0 to 1) of the judged pairs whose two orders have the same verdict."""
        return raw_agreement(*self._orders)

    @property
    def kappa(self) -> float:
        """Returns Cohen's kappa of the two orders. NaN where every verdict is the same."""
        return kappa(*self._orders)

    @cached_property
    def tasks(self) -> Mapping[str, Preferences]:
        """Returns the preferences of each task. Empty where the questions have none."""
        places = by_task([pair.task for pair in self.pairs])
        return {
            task: Preferences(tuple(self.pairs[i] for i in rows), self.seed)
            for task, rows in places.items()
        }

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"Preferences(win_rate={self.win_rate:.3f} [{low:.3f}, {high:.3f}], "
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
        """Returns 1, 0.5 or 0 for each judged pair: a win of the first side, a tie, a loss."""
        return [_WORTH[pair.outcome] for pair in self._judged]

    @property
    def _orders(self) -> tuple[list[Side | None], list[Side | None]]:
        judged = self._judged
        return [pair.verdicts[0] for pair in judged], [pair.verdicts[1] for pair in judged]

    @property
    def _places(self) -> list[tuple[float, Pair]]:
        """Returns 1 for each verdict for the answer shown first, else 0, with the pair; no ties."""
        return [
            (float(verdict == sides["A"]), pair)
            for pair in self._judged
            for verdict, sides in zip(pair.verdicts, _SIDES, strict=True)
            if verdict != "tie"
        ]

    @cached_property
    def _controlled(self) -> tuple[float, Interval]:
        differences = [pair.difference for pair in self._judged]
        # As for the plain interval, sources are told apart within their task alone.
        clusters = [(pair.task, pair.source) for pair in self._judged]
        return length_controlled(self._worth, differences, clusters=clusters)

    def _interval(self, rows: Iterable[tuple[float, Pair]]) -> Interval:
        return drawn_interval([(value, pair.task, pair.source) for value, pair in rows], self.seed)


# Weight of phi's ridge. It keeps phi finite where length tells all wins from all losses.
_RIDGE = 0.1
# On 20,000 random sets of pairs Newton's method took 15 steps at most. The limit is for safety.
_STEPS = 100
_Array = np.ndarray[Any, np.dtype[np.float64]]


def length_controlled(
    outcomes: Sequence[float],
    differences: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
) -> tuple[float, Interval]:
    """Returns the first side's win rate (0 to 1) at equal length, and its 95 % interval.

    Args:
        outcomes: 1 (the first is preferred), 0.5 (tie) or 0 for each pair.
        differences: Length of the first answer minus that of the second, for each pair.
        clusters: Pairs of one cluster are not independent. `None` where all pairs are.

    Returns:
        The interval is that of theta by the cluster-robust (sandwich) variance. Both are NaN for no
        pairs, and where one side is longer in every pair: what equal length would give is then not
        in the data. Where all outcomes are wins (or losses) the rate is 1 (or 0) with no width, as
        the plain rate's.
    """
    y, d = np.asarray(outcomes, dtype=float), np.asarray(differences, dtype=float)
    if not len(y) or d.min() > 0 or d.max() < 0:
        return math.nan, Interval(math.nan, math.nan)
    # theta would be infinite.
    if y.min() == y.max() and y[0] in (0, 1):
        return float(y[0]), Interval(float(y[0]), float(y[0]))
    scale = math.sqrt(float((d**2).mean()))
    # The scale is 0 where the answers of each pair are equally long. So are then the differences.
    lengths = np.tanh(d / scale) if scale else d
    x = np.stack([np.ones(len(d)), lengths], axis=1)
    theta = _fit(x, y)
    deviation = math.sqrt(_variance(theta, x, y, d, clusters))
    # 2.5 % on either side.
    width = NormalDist().inv_cdf(0.975) * deviation
    middle = float(theta[0])
    return _sigmoid(middle), Interval(_sigmoid(middle - width), _sigmoid(middle + width))


def _fit(x: _Array, y: _Array) -> _Array:
    """Minimises the loss over theta and phi, by Newton's method with halved steps.

    The loss is convex, and strictly so by the ridge, so it has a single minimum.
    """
    theta = np.zeros(2)
    loss = _loss(theta, x, y)
    for _ in range(_STEPS):
        p, hessian = _curvature(theta, x)
        gradient = x.T @ (y - p) - np.array([0.0, _RIDGE * theta[1]])
        step = np.linalg.solve(hessian, gradient)
        # A whole step may lead too far. One below 1e-12 is down to rounding, and halved no more.
        while (trial := _loss(theta + step, x, y)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        if trial > loss:
            break
        theta, loss = theta + step, trial
        # Far finer than any figure that is shown.
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _variance(
    theta: _Array,
    x: _Array,
    y: _Array,
    d: _Array,
    clusters: Sequence[Hashable] | None,
) -> float:
    """Returns the variance of theta[0], robust to dependence within clusters."""
    p, hessian = _curvature(theta, x)
    names = range(len(y)) if clusters is None else clusters
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    sums = np.zeros((len(numbers), 2))
    np.add.at(sums, [numbers[name] for name in names], x * (y - p)[:, None])
    bread = np.linalg.inv(hessian)
    # Rounding may bring a variance of 0 below 0, which has no root.
    variance = max(float((bread @ sums.T @ sums @ bread)[0, 0]), 0.0)
    # As in a sample's variance: n / (n - 1) for n clusters.
    variance *= len(numbers) / max(len(numbers) - 1, 1)
    if _separated(y, d):
        # The residuals are next to nothing, and so would be their variance. The curvature tells how
        # little is known.
        variance = max(variance, float(bread[0, 0]))
    return variance


def _separated(y: _Array, d: _Array) -> bool:
    """Tells whether some length divides wins from losses without an error."""
    wins, losses = d[y == 1], d[y == 0]
    # A tie is on neither side, and with a single sort of outcome there is nothing to divide.
    if len(wins) + len(losses) < len(d) or not (len(wins) and len(losses)):
        return False
    return bool(wins.min() > losses.max() or wins.max() < losses.min())


def _loss(theta: _Array, x: _Array, y: _Array) -> float:
    z = x @ theta
    # log(1 + exp(z)) - y z is the cross-entropy, in the one form that does not overflow.
    return float((np.logaddexp(0, z) - y * z).sum() + _RIDGE / 2 * theta[1] ** 2)


def _curvature(theta: _Array, x: _Array) -> tuple[_Array, _Array]:
    """Returns the probabilities, shape [pairs], and the loss's second derivative, shape [2, 2]."""
    # exp() of a float64 overflows above 709.
    p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
    return p, (x * (p * (1 - p))[:, None]).T @ x + np.diag([0.0, _RIDGE])


def _sigmoid(z: float) -> float:
    # Here, too, exp() would overflow.
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0
