"""Each metric as statistics of a row, and what their sums make of it.

A score of many rows is a function of the sum of their statistics, so that a resampled score costs a
sum and never another look at the text. The functions on sums are sacreBLEU's (smoothing "exp" for
BLEU, effective order for chrF).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import missing_extra
from seedfree.evaluation.words import Cutter, content

__all__ = [
    "Floats",
    "METRICS",
    "is_counted",
    "paper_rows",
    "rouge_l",
    "rouge_lsum",
    "segmented_rows",
    "value",
    "versions",
]

Lines = Sequence[Sequence[str]]


def rouge_l(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """F-measure of the longest common subsequence, 0 to 1."""
    if not candidate or not reference:
        return 0.0
    return _f(
        _table(reference, _places(candidate), len(candidate))[-1].bit_count(), candidate, reference
    )


def rouge_lsum(candidate: Lines, reference: Lines) -> float:
    """F-measure of the words in the union of each reference line's subsequences with the candidate's lines, 0 to 1."""
    all_candidate, all_reference = (
        [word for line in lines for word in line] for lines in (candidate, reference)
    )
    left = Counter(all_candidate) & Counter(all_reference)
    places = [_places(line) for line in candidate]
    hits = 0
    for line in reference:
        for i in sorted(
            {
                i
                for other, at in zip(candidate, places, strict=True)
                for i in _common(line, other, at)
            }
        ):
            if left[line[i]] > 0:
                left[line[i]] -= 1
                hits += 1
    return _f(hits, all_candidate, all_reference)


def _f(hits: int, candidate: Sequence[str], reference: Sequence[str]) -> float:
    return 2 * hits / (len(candidate) + len(reference)) if hits else 0.0


def _places(words: Sequence[str]) -> dict[str, int]:
    """Each word's places, as bits."""
    places: dict[str, int] = {}
    for i, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << i
    return places


def _table(reference: Sequence[str], places: dict[str, int], width: int) -> list[int]:
    """For 0, 1 ... words of the reference, the bits at which the common length with the candidate grows."""
    full = (1 << width) - 1
    flat, rows = full, [0]
    for word in reference:
        if found := flat & places.get(word, 0):
            flat = ((flat + found) | (flat - found)) & full
        rows.append(full ^ flat)
    return rows


def _common(
    reference: Sequence[str], candidate: Sequence[str], places: dict[str, int]
) -> list[int]:
    """Numbers of the reference's words in one longest common subsequence: the one that rouge_score finds."""
    rows = _table(reference, places, len(candidate))
    found = []
    i, j = len(reference), len(candidate)
    while i and j:
        if reference[i - 1] == candidate[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif ((rows[i] ^ rows[i - 1]) & ((1 << j) - 1)).bit_count() % 2:
            # The reference's last word adds to the length, which is 0 or 1: an odd number of bits
            # differ.
            j -= 1
        else:
            i -= 1
    return found


Floats = NDArray[np.float64]

METRICS = (
    "bleu",
    "chrf",
    "meteor",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "squad_em",
    "squad_f1",
)
_MEANS = METRICS[2:]
_PERCENT = ("squad_f1", "squad_em")
_ROUGE = METRICS[3:7]
# The columns: whether a row counts, whether it was scored, BLEU's lengths, matches and totals,
# chrF's three counts for each of six orders, then one column a mean.
_COUNTED, _SCORED, _BLEU, _CHRF, _FIRST = 0, 1, slice(2, 12), slice(12, 30), 30
_WIDTH = _FIRST + len(_MEANS)
_ARTICLES = frozenset(("a", "an", "the"))
# Cells that the paper's scorer took for empty: those that pandas.read_csv does (its `na_values`).
_EMPTY = frozenset(
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split(
        "|"
    )
)
_SQUAD_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def paper_rows(predictions: Sequence[str], references: Sequence[str], cutter: Cutter) -> Floats:
    """Statistics, `[n, k]`, by the steps of the paper's scorer.

    A row whose prediction or reference is empty counts, and scores nothing: the mean over all rows
    is then the paper's "mean of the valid rows, times valid over all". Of white space alone a text
    is not empty, as it was not
    there: BLEU and chrF count what stands beside it.

    METEOR's words are NLTK's, sentence by sentence, as its `word_tokenize` has them, but with a
    sentence splitter that is not trained on English and so needs no download: on the published
    files this changes METEOR by less than 0.0004. SQuAD's are those of the raw texts.
    """
    found = np.zeros((len(predictions), _WIDTH))
    found[:, _COUNTED] = 1
    rows = [
        i
        for i, pair in enumerate(zip(predictions, references, strict=True))
        if _EMPTY.isdisjoint(pair)
    ]
    found[rows, _SCORED] = 1
    raw = [(predictions[i], references[i]) for i in rows]
    cut = _cut_all(raw, cutter)
    found[rows, _BLEU], found[rows, _CHRF] = _corpus(cut, cut, "13a")
    rouge, stemmer = _imported("rouge_score").RougeScorer(_ROUGE), _imported("nltk").PorterStemmer()
    for row, (p, r), (cut_p, cut_r) in zip(rows, raw, cut, strict=True):
        squad = _squad_words(p), _squad_words(r)
        meteor = _meteor(_nltk_words(cut_p), _nltk_words(cut_r), stemmer)
        counts = rouge.score(cut_r, cut_p)
        found[row, _FIRST:] = [
            meteor,
            *(counts[name].fmeasure for name in _ROUGE),
            squad[0] == squad[1],
            _f1(*squad),
        ]
    return found


def segmented_rows(predictions: Sequence[str], references: Sequence[str], cutter: Cutter) -> Floats:
    """Statistics, `[n, k]`, on the words of the cutter; chrF on the characters of the text.

    A blank prediction scores 0, and its reference counts in BLEU and chrF. A row with a blank
    reference has nothing to be measured against: it does not count.
    """
    found = np.zeros((len(predictions), _WIDTH))
    rows = [i for i, reference in enumerate(references) if cutter.clean(reference).strip()]
    found[rows, _COUNTED] = found[rows, _SCORED] = 1
    clean = [(cutter.clean(predictions[i]), cutter.clean(references[i])) for i in rows]
    cut = _cut_all(clean, cutter)
    found[rows, _BLEU], found[rows, _CHRF] = _corpus(cut, clean, "none")
    english = cutter.language == "en"
    rouge = _imported("rouge_score").RougeScorer(_ROUGE[:2], tokenizer=_Spaces())
    stemmer = _imported("nltk").PorterStemmer() if english else _NoStemmer()
    articles = _ARTICLES if english else frozenset[str]()
    for row, (p, r) in zip(rows, cut, strict=True):
        lines, all_lines = content(p), content(r)
        words, all_words = sum(lines, []), sum(all_lines, [])
        squad = [
            [word for word in some if word not in articles] or some for some in (words, all_words)
        ]
        counts = rouge.score(" ".join(all_words), " ".join(words))
        found[row, _FIRST:] = [
            _meteor(p.split(), r.split(), stemmer),
            *(counts[name].fmeasure for name in _ROUGE[:2]),
            rouge_l(words, all_words),
            rouge_lsum(lines, all_lines),
            squad[0] == squad[1],
            _f1(*squad),
        ]
    return found


def value(metric: str, sums: Floats) -> Floats:
    """A metric from summed statistics: `[..., k]` to `[...]`; 0 where no row counts."""
    counted = np.maximum(sums[..., _COUNTED], 1)
    if metric in _MEANS:
        scale = 100.0 if metric in _PERCENT else 1.0
        return np.asarray(sums[..., _FIRST + _MEANS.index(metric)] / counted * scale)
    score = _bleu(sums[..., _BLEU]) if metric == "bleu" else _chrf(sums[..., _CHRF])
    return np.asarray(score * sums[..., _SCORED] / counted)


def is_counted(rows: Floats) -> NDArray[np.bool_]:
    """Which rows count."""
    return np.asarray(rows[:, _COUNTED] > 0)


def versions() -> str:
    """The libraries that count, as `name:version`, with `|` between."""
    return "|".join(
        f"{name}:{metadata.version(name)}" for name in ("sacrebleu", "rouge_score", "nltk")
    )


def _cut_all(pairs: Sequence[tuple[str, str]], cutter: Cutter) -> list[tuple[str, str]]:
    known: dict[str, str] = {}  # Benchmarks repeat short answers.
    for text in (text for pair in pairs for text in pair):
        if text not in known:
            known[text] = cutter.cut(text)
    return [(known[p], known[r]) for p, r in pairs]


def _corpus(
    words: Sequence[tuple[str, str]], texts: Sequence[tuple[str, str]], tokenize: str
) -> tuple[Any, Any]:
    """SacreBLEU's own statistics, row by row, for BLEU of the words and chrF of the texts."""
    metrics = _imported("sacrebleu")
    if not words:
        return np.zeros((0, 10)), np.zeros((0, 18))

    def counts(metric: Any, pairs: Sequence[tuple[str, str]]) -> Floats:
        return np.array(
            metric._extract_corpus_statistics([p for p, _ in pairs], [[r for _, r in pairs]]), float
        )

    return counts(metrics.BLEU(tokenize=tokenize, force=True), words), counts(metrics.CHRF(), texts)


def _bleu(sums: Floats) -> Floats:
    length, wanted, correct, total = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:]
    missed = (correct == 0) & (total > 0)
    halvings = np.cumsum(missed, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(missed, 0.5**halvings, correct) / total
        score = 100 * np.exp(np.log(precision).mean(axis=-1) + np.minimum(0, 1 - wanted / length))
    return np.where((total > 0).all(axis=-1) & correct.any(axis=-1), score, 0.0)


def _chrf(sums: Floats, beta: float = 2.0) -> Floats:
    guessed, wanted, matched = (sums[..., i::3] for i in range(3))
    both = (guessed > 0) & (wanted > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision = np.where(both, matched / np.maximum(guessed, 1), 0).sum(axis=-1) / orders
    recall = np.where(both, matched / np.maximum(wanted, 1), 0).sum(axis=-1) / orders
    below = beta**2 * precision + recall
    return np.asarray(100 * (1 + beta**2) * precision * recall / np.where(below > 0, below, 1))


def _squad_words(text: str) -> list[str]:
    """As the evaluation script of SQuAD 1.1 has them: lower case, no ASCII punctuation, no articles, split at space."""
    return _SQUAD_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f1(prediction: list[str], reference: list[str]) -> float:
    same = sum((Counter(prediction) & Counter(reference)).values())
    return 2 * same / (len(prediction) + len(reference)) if same else 0.0


def _nltk_words(text: str) -> list[str]:
    sentences, words = _nltk_tokenizers()
    return [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]


@cache
def _nltk_tokenizers() -> tuple[Any, Any]:
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    return PunktSentenceTokenizer(), NLTKWordTokenizer()


def _meteor(prediction: list[str], reference: list[str], stemmer: Any) -> float:
    from nltk.translate.meteor_score import single_meteor_score

    return float(single_meteor_score(reference, prediction, stemmer=stemmer, wordnet=_NoSynonyms()))


class _NoSynonyms:
    """In the place of WordNet, which is a download and knows English."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _NoStemmer:
    """Porter's stemmer cuts English endings, and so would join other languages' words that differ."""

    def stem(self, word: str) -> str:
        return word


class _Spaces:
    """The tokenizer of rouge_score for texts whose words stand between spaces."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def _imported(package: str) -> Any:
    """The part of a package that is needed, or the error that says how to install it."""
    try:
        if package == "sacrebleu":
            from sacrebleu import metrics

            return metrics
        if package == "rouge_score":
            from rouge_score import rouge_scorer

            return rouge_scorer
        from nltk.stem import porter

        return porter
    except ImportError as error:
        raise missing_extra(package, "eval") from error
