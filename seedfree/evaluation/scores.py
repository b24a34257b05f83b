"""`score` and `compare`: what predictions are worth against references.

`mode="segmented"` (the default) counts the language's words; `mode="paper"` repeats the scorer of
the paper (arXiv 2411.15484), to compare with its published numbers.

| given | mode "segmented" | mode "paper" |
|---|---|---|
| an empty, None or NaN prediction | scores 0; BLEU and chrF count its reference | left out; every score x valid / all |
| an empty, None or NaN reference | the row does not count (`n`) | left out; every score x valid / all |
| white space alone | as empty | as text without words |
| "None", "NA", "null" and the like | as text | as empty: pandas read them so |
| only blank predictions | 0 | 0 |
| only blank references, no rows at all, unequal lengths | ConfigError | ConfigError |
| a code without a language file (`"am"`), a file without a segmenter | Unicode words, chrF leads | as any other |
| no code and no name of a language | ConfigError | ConfigError |
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
    paper_rows,
    segmented_rows,
    value,
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
        """Names of the scores."""
        return METRICS

    def interval(self, metric: str, level: float = 0.95) -> Interval:
        """Bootstrap interval of a score: sources drawn within their tasks; see `resample`.

        Raises:
            ConfigError: Unknown metric, or a level outside 0 to 1.
        """
        return interval_around(value(_known(metric), self._resampled), getattr(self, metric), level)

    def macro(self, metric: str) -> float:
        """The mean of the tasks' scores, each task counting the same; without tasks, the score itself.

        Raises:
            ConfigError: Unknown metric.
        """
        parts = self.tasks.values() or [self]
        return float(np.mean([getattr(part, _known(metric)) for part in parts]))

    def macro_interval(self, metric: str, level: float = 0.95) -> Interval:
        """Bootstrap interval of the macro average.

        Raises:
            ConfigError: Unknown metric, or a level outside 0 to 1.
        """
        samples = np.mean([value(_known(metric), sums) for sums in self._by_task.values()], axis=0)
        return interval_around(samples, self.macro(metric), level)

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
        p: Of so large a difference, either way, if the systems were alike; approximate
            randomization.
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
    """Scores of predictions against one reference each.

    Args:
        language: A code, a name or a `Language`. In mode "paper" every text is cut by PyThaiNLP,
            whatever it is.
        mode: `"segmented"`: words by the language's segmenter, texts normalized (NFC, unseen
            characters removed, Thai and Lao letters typed one way); SQuAD and ROUGE leave out case
            and punctuation. `"paper"`: as published; its ROUGE counts Latin letters and digits
            alone, its SQuAD F1 takes what stands between spaces.
        tasks: Each row's task, for `.tasks` and the macro average.
        sources: What each row was made from: rows of one source are drawn together. Blank: a source
            of its own.
        cut_off: Whether the row's prediction ended at the limit of tokens.
        seed: Of the resampling.

    Raises:
        ConfigError: As in the table above; unknown mode; something else than text among the texts;
            a package that is not installed.
    """
    if mode not in _MODES:
        raise ConfigError(f"Unknown mode {mode!r}", hint=f"Known: {', '.join(_MODES)}.")
    answers, wanted = as_texts(predictions, "predictions"), as_texts(references, "references")
    n = len(wanted)
    for name, given in (
        ("predictions", answers),
        ("tasks", tasks),
        ("sources", sources),
        ("cut_off", cut_off),
    ):
        if given is not None and not hasattr(given, "__len__"):
            raise ConfigError(
                f"{name} is {type(given).__name__}", hint="Give a list, one value for each row."
            )
        if given is not None and len(given) != n:
            raise ConfigError(
                f"{len(given)} {name} for {n} references", hint="Give one for each row."
            )
    make_cutter, make_rows = _MODES[mode]
    cutter = make_cutter(language)
    if not any(cutter.clean(text).strip() for text in wanted):
        raise ConfigError(
            f"None of {n} references has any text", hint="There is nothing to score against."
        )
    rows = make_rows(answers, wanted, cutter)
    strata = Strata.of(n, tasks, sources, seed)
    about: dict[str, Any] = {
        "mode": mode,
        "language": cutter.language,
        "signature": f"mode:{mode}|lang:{cutter.language}|seg:{cutter.signature}|{versions()}",
        "leading": "rougeL" if mode == "segmented" and cutter.known else "chrf",
    }
    lengths = np.array([len(text) if cutter.clean(text).strip() else 0 for text in answers])
    cuts = None if cut_off is None else np.array([bool(cut) for cut in cut_off])

    def scores(at: NDArray[np.intp], strata: Strata, tasks: Mapping[str, Scores]) -> Scores:
        counted = at[is_counted(rows[at])]
        answered = lengths[counted][lengths[counted] > 0]
        values: dict[str, Any] = {
            metric: float(value(metric, rows[at].sum(axis=0))) for metric in METRICS
        }
        return Scores(
            **values,
            **about,
            n=len(counted),
            unanswered=(len(counted) - len(answered)) / max(len(counted), 1),
            length=float(answered.mean()) if len(answered) else 0.0,
            cut_off=float(cuts[counted].mean()) if cuts is not None and len(counted) else None,
            tasks=tasks,
            _rows=rows[at],
            _strata=strata,
            _questions=_digest([wanted[i] for i in at], strata),
        )

    by_task = (
        {}
        if tasks is None
        else {name: scores(at, strata.only(name), {}) for name, at in strata.rows.items()}
    )
    return scores(np.arange(n), strata, by_task)


def compare(first: Scores, second: Scores, metric: str = "chrf") -> Comparison:
    """A paired test of two systems on the same questions, drawn by source within tasks.

    Raises:
        ConfigError: Unknown metric, no `Scores`, other references, tasks or sources, or another
            signature.
    """
    _known(metric)
    for given in (first, second):
        if not isinstance(given, Scores):
            raise ConfigError(
                f"{type(given).__name__} is no Scores",
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
    drawn = [np.asarray(sum(strata.resampled(rows).values())) for rows in (a, b)]
    interval = interval_around(value(metric, drawn[1]) - value(metric, drawn[0]), difference)
    moved = strata.exchanged(b - a)
    exchanged = value(metric, b.sum(axis=0) - moved) - value(metric, a.sum(axis=0) + moved)
    return Comparison(metric, difference, interval, p_value(difference, exchanged))


def _digest(references: Sequence[str], strata: Strata) -> str:
    """What the questions were: equal for scores that may be paired."""
    tasks = {
        name: [*map(int, rows), *map(int, strata.clusters[name])]
        for name, rows in strata.rows.items()
    }
    return hashlib.sha256(json.dumps([references, tasks]).encode()).hexdigest()


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise ConfigError(f"Unknown metric {metric!r}", hint=f"Known: {', '.join(METRICS)}.")
    return metric
