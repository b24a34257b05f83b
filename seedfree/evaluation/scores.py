"""Scores of predictions against references, and paired tests of two systems.

`mode="segmented"` (the default) counts the language's words. `mode="paper"` repeats the scorer of
the paper (arXiv 2411.15484), to compare with its published numbers.

| given | mode "segmented" | mode "paper" |
|---|---|---|
| a prediction that is empty, None or NaN | scores 0; BLEU and chrF count its reference | left out |
| a reference that is empty, None or NaN | the row does not count (`n`) | left out |
| white space alone | as empty | as text without words |
| "None", "NA", "null" and the like | as text | as empty: pandas read them so |
| only blank predictions | 0 | 0 |
| a language without a segmenter | Unicode words, chrF leads | as any other |

What mode "paper" leaves out lowers every score: it is multiplied by valid rows / all rows. A
language without a segmenter is a code without a language file (`"am"`), or a file without one. In
both modes it is a ConfigError if all references are blank, if there are no rows, if lengths are
unequal, or if the language is neither a code nor a name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import ConfigError
from seedfree.evaluation.metrics import (
    METRICS,
    Floats,
    is_counted,
    metric_value,
    paper_rows,
    segmented_rows,
    versions,
)
from seedfree.evaluation.statistics import Interval, Strata, interval_around, p_value
from seedfree.evaluation.words import as_texts, paper_cutter, segmented_cutter
from seedfree.languages import Language

__all__ = ["Comparison", "Scores", "compare", "score"]

Mode = Literal["segmented", "paper"]
_MODES = {"segmented": (segmented_cutter, segmented_rows), "paper": (paper_cutter, paper_rows)}


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores over all rows (micro), and by task.

    Attributes:
        bleu: sacreBLEU's corpus BLEU, 0 to 100.
        chrf: sacreBLEU's corpus chrF2 on characters, white space left out, 0 to 100.
        squad_f1: Mean F1 of the words as bags, 0 to 100; `squad_em`: share of equal word lists, 0
            to 100.
        meteor: Mean of NLTK's METEOR without synonyms, 0 to 1 (a text against itself has 1 - 0.5 /
            words³).
        rouge1: Mean F-measure of rouge_score, 0 to 1, as `rouge2`, `rougeL` and `rougeLsum` (whose
            sentences are lines; in mode "paper" there are none, since its scorer joined them).
        n: Rows that count.
        unanswered: Share of these with a blank prediction.
        length: Mean characters of the other predictions.
        cut_off: Share of predictions that ended at the limit of tokens; None where that is not
            known.
        signature: What must be equal for two scores to be compared: mode, language, segmenter and
            dictionary, versions.
        leading: The metric to lead with. `"rougeL"` where the language has a segmenter; `"chrf"`
            elsewhere, and in mode "paper", where it alone sees all of a text.
        tasks: Scores of each task, in the order of appearance; empty without tasks.
    """

    bleu: float
    chrf: float
    squad_f1: float
    squad_em: float
    meteor: float
    rouge1: float
    rouge2: float
    rougeL: float
    rougeLsum: float
    n: int
    unanswered: float
    length: float
    cut_off: float | None
    mode: str
    language: str
    signature: str
    leading: str
    tasks: Mapping[str, Scores] = field(repr=False)
    _rows: Floats = field(repr=False)
    _strata: Strata = field(repr=False)
    _questions: str = field(repr=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Returns the names of the scores."""
        return METRICS

    def interval(self, metric: str, level: float = 0.95) -> Interval:
        """Returns the bootstrap interval of a score. Sources are drawn within their tasks.

        Raises:
            ConfigError: Unknown metric, or a level outside 0 to 1.
        """
        samples = metric_value(_known(metric), self._resampled)
        return interval_around(samples, getattr(self, metric), level)

    def macro(self, metric: str) -> float:
        """Returns the mean of the tasks' scores, or without tasks the score itself.

        Raises:
            ConfigError: Unknown metric.
        """
        parts = self.tasks.values() or [self]
        return float(np.mean([getattr(part, _known(metric)) for part in parts]))

    def macro_interval(self, metric: str, level: float = 0.95) -> Interval:
        """Returns the bootstrap interval of the macro average.

        Raises:
            ConfigError: Unknown metric, or a level outside 0 to 1.
        """
        by_task = [metric_value(_known(metric), sums) for sums in self._by_task.values()]
        return interval_around(np.mean(by_task, axis=0), self.macro(metric), level)

    # Kept, since every metric's interval is of the same resamples.
    @cached_property
    def _by_task(self) -> dict[str, Floats]:
        return self._strata.resampled(self._rows)

    @cached_property
    def _resampled(self) -> Floats:
        return np.asarray(sum(self._by_task.values()))


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same questions.

    Attributes:
        difference: The second's score less the first's, in the metric's units.
        interval: 95 % bootstrap interval of the difference, both systems on the same resamples
            (Koehn 2004).
        p: Probability of a difference at least as large, either way, if the systems were alike, by
            approximate randomization.
    """

    metric: str
    difference: float
    interval: Interval
    p: float


def score(
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    language: str | Language = "th",
    mode: Mode = "segmented",
    *,
    tasks: Sequence[str] | None = None,
    sources: Sequence[str | None] | None = None,
    cut_off: Sequence[bool] | None = None,
    seed: int = 0,
) -> Scores:
    """Scores predictions against one reference each.

    Args:
        language: A code, a name or a `Language`. In mode "paper" every text is cut by PyThaiNLP,
            whatever it is.
        mode: `"segmented"`: words by the language's segmenter, texts normalized (NFC, unseen
            characters removed, `typed` one way). SQuAD and ROUGE leave out case
            and punctuation. `"paper"`: as published. Its ROUGE counts Latin letters and digits
            alone, its SQuAD F1 takes what stands between spaces.
        tasks: Each row's task, for `.tasks` and the macro average.
        sources: What each row was made from: rows of one source are drawn together. Blank: a source
            of its own.
        cut_off: Whether the row's prediction ended at the limit of tokens.
        seed: Of the resampling.

    Raises:
        ConfigError: As the module says, an unknown mode, something else than text among the texts,
            or a package that is not installed.
    """
    if mode not in _MODES:
        raise ConfigError(f"Unknown mode {mode!r}", hint=f"Known: {', '.join(_MODES)}.")
    answers, wanted = as_texts(predictions, "predictions"), as_texts(references, "references")
    n = len(wanted)
    _check_lengths(n, predictions=answers, tasks=tasks, sources=sources, cut_off=cut_off)
    make_cutter, make_rows = _MODES[mode]
    cutter = make_cutter(language)
    if not any(cutter.clean(text).strip() for text in wanted):
        raise ConfigError(
            f"None of {n} references has any text", hint="There is nothing to score against."
        )
    rows = make_rows(answers, wanted, cutter)
    # chrF needs no words, which a language without a segmenter lacks. In mode "paper" it alone sees
    # all of a text.
    leading = "rougeL" if mode == "segmented" and cutter.known else "chrf"
    about: dict[str, Any] = {
        "mode": mode,
        "language": cutter.language,
        "signature": f"mode:{mode}|lang:{cutter.language}|seg:{cutter.signature}|{versions()}",
        "leading": leading,
    }
    lengths = np.array([len(text) if cutter.clean(text).strip() else 0 for text in answers])
    cuts = None if cut_off is None else np.array([bool(cut) for cut in cut_off])

    def scores(at: NDArray[np.intp], strata: Strata, tasks: Mapping[str, Scores]) -> Scores:
        counted = at[is_counted(rows[at])]
        answered = lengths[counted][lengths[counted] > 0]
        sums = rows[at].sum(axis=0)
        values: dict[str, Any] = {name: float(metric_value(name, sums)) for name in METRICS}
        return Scores(
            **values,
            **about,
            n=len(counted),
            unanswered=(len(counted) - len(answered)) / max(len(counted), 1),
            length=_mean(answered) or 0.0,
            cut_off=None if cuts is None else _mean(cuts[counted]),
            tasks=tasks,
            _rows=rows[at],
            _strata=strata,
            _questions=_digest([wanted[i] for i in at], strata),
        )

    strata = Strata.of(n, tasks, sources, seed)
    by_task = {}
    if tasks is not None:
        by_task = {name: scores(at, strata.only(name), {}) for name, at in strata.rows.items()}
    return scores(np.arange(n), strata, by_task)


def _check_lengths(n: int, **columns: Sequence[Any] | None) -> None:
    for name, values in columns.items():
        if values is None:
            continue
        if not hasattr(values, "__len__"):
            raise ConfigError(
                f"{name} is {type(values).__name__}", hint="Give a list, one value for each row."
            )
        if len(values) != n:
            raise ConfigError(
                f"{len(values)} {name} for {n} references", hint="Give one for each row."
            )


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _digest(references: Sequence[str], strata: Strata) -> str:
    """Returns what the questions were: equal for scores that may be paired."""
    tasks = {
        name: [*map(int, rows), *map(int, strata.clusters[name])]
        for name, rows in strata.rows.items()
    }
    return hashlib.sha256(json.dumps([references, tasks]).encode()).hexdigest()


def compare(first: Scores, second: Scores, metric: str = "chrf") -> Comparison:
    """Tests two systems on the same questions against each other, drawn by source within tasks.

    Raises:
        ConfigError: Unknown metric, not two `Scores`, other references, tasks or sources, or
            another signature.
    """
    _known(metric)
    for scores in (first, second):
        if not isinstance(scores, Scores):
            raise ConfigError(
                f"{type(scores).__name__} is no Scores",
                hint="Give those of score(), or found.scores.",
            )
    if first.signature != second.signature:
        raise ConfigError(
            f"Not made alike: {first.signature} and {second.signature}",
            hint="Score both in one way.",
        )
    if first._questions != second._questions:
        raise ConfigError(
            "Scores of different questions",
            hint="Both need the same references, tasks and sources.",
        )
    a, b, strata = first._rows, second._rows, first._strata
    difference = getattr(second, metric) - getattr(first, metric)
    # The draws depend on seed, groups and clusters alone: both systems get the same ones.
    samples = [
        metric_value(metric, np.asarray(sum(strata.resampled(rows).values()))) for rows in (a, b)
    ]
    interval = interval_around(samples[1] - samples[0], difference)
    # What an exchange takes from the second system it gives to the first.
    moved = strata.exchanged(b - a)
    turned_a, turned_b = a.sum(axis=0) + moved, b.sum(axis=0) - moved
    exchanged = metric_value(metric, turned_b) - metric_value(metric, turned_a)
    return Comparison(metric, difference, interval, p_value(difference, exchanged))


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise ConfigError(f"Unknown metric {metric!r}", hint=f"Known: {', '.join(METRICS)}.")
    return metric
