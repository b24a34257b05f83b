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
from seedfree.text import one_case

__all__ = [
    "METRICS",
    "Floats",
    "is_counted",
    "metric_value",
    "paper_rows",
    "rouge_l",
    "rouge_lsum",
    "segmented_rows",
    "versions",
]

Floats = NDArray[np.float64]
Lines = Sequence[Sequence[str]]

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
# BLEU and chrF are of the whole corpus, the others means over its rows.
_MEANS = METRICS[2:]
_ROUGE = METRICS[3:7]
_PERCENT = ("squad_f1", "squad_em")
# The columns: whether a row counts, whether it was scored, BLEU's lengths, matches and totals,
# chrF's three counts for each of six orders, then one column a mean.
_COUNTED, _SCORED, _BLEU, _CHRF, _FIRST = 0, 1, slice(2, 12), slice(12, 30), 30
_WIDTH = _FIRST + len(_MEANS)

# Cells that the paper's scorer took for empty: those that pandas.read_csv does (its `na_values`).
_EMPTY = frozenset(
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>"
    "|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")
)
_ARTICLES = frozenset(("a", "an", "the"))
_SQUAD_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def paper_rows(predictions: Sequence[str], references: Sequence[str], cutter: Cutter) -> Floats:
    """Returns statistics, `[n, k]`, by the steps of the paper's scorer.

    A row whose prediction or reference is empty counts, and scores nothing. The mean over all rows
    is then the paper's "mean of the valid rows, times valid over all". As in that scorer, a text of
    white space alone is not empty: BLEU and chrF count the text beside it.

    METEOR's words are NLTK's, sentence by sentence, as from its `word_tokenize`, but with a
    sentence splitter that is not trained on English and so needs no download. On the published
    files this changes METEOR by less than 0.0004. SQuAD's words are those of the raw texts.
    """
    statistics = np.zeros((len(predictions), _WIDTH))
    statistics[:, _COUNTED] = 1
    pairs = enumerate(zip(predictions, references, strict=True))
    rows = [i for i, pair in pairs if _EMPTY.isdisjoint(pair)]
    statistics[rows, _SCORED] = 1
    raw = [(predictions[i], references[i]) for i in rows]
    cut = _cut_all(raw, cutter)
    # 13a is the tokenizer that sacreBLEU takes by default, as the paper's scorer did.
    statistics[rows, _BLEU], statistics[rows, _CHRF] = _corpus_counts(cut, cut, "13a")
    rouge, stemmer = _imported("rouge_score").RougeScorer(_ROUGE), _imported("nltk").PorterStemmer()
    for row, (raw_p, raw_r), (p, r) in zip(rows, raw, cut, strict=True):
        squad_p, squad_r = _squad_words(raw_p), _squad_words(raw_r)
        counts = rouge.score(r, p)
        statistics[row, _FIRST:] = [
            _meteor(_nltk_words(p), _nltk_words(r), stemmer),
            *(counts[name].fmeasure for name in _ROUGE),
            squad_p == squad_r,
            _bag_f1(squad_p, squad_r),
        ]
    return statistics


def segmented_rows(predictions: Sequence[str], references: Sequence[str], cutter: Cutter) -> Floats:
    """Returns statistics, `[n, k]`, on the words of the cutter.

    chrF is on the characters of the text. A blank prediction scores 0, and its reference counts in
    BLEU and chrF. A row with a blank reference has nothing to be measured against: it does not
    count.
    """
    statistics = np.zeros((len(predictions), _WIDTH))
    rows = [i for i, reference in enumerate(references) if cutter.clean(reference).strip()]
    statistics[rows, _COUNTED] = statistics[rows, _SCORED] = 1
    clean = [(cutter.clean(predictions[i]), cutter.clean(references[i])) for i in rows]
    cut = _cut_all(clean, cutter)
    # The words are cut already: sacreBLEU's own tokenizer would cut them again.
    statistics[rows, _BLEU], statistics[rows, _CHRF] = _corpus_counts(cut, clean, "none")
    rouge = _imported("rouge_score").RougeScorer(_ROUGE[:2], tokenizer=_Spaces())
    stemmer, articles = _NoStemmer(), frozenset[str]()
    if cutter.language == "en":
        stemmer, articles = _imported("nltk").PorterStemmer(), _ARTICLES
    for row, (p, r) in zip(rows, cut, strict=True):
        lines_p, lines_r = content(p), content(r)
        words_p, words_r = sum(lines_p, []), sum(lines_r, [])
        squad_p, squad_r = _without(articles, words_p), _without(articles, words_r)
        counts = rouge.score(" ".join(words_r), " ".join(words_p))
        statistics[row, _FIRST:] = [
            # METEOR leaves case out, too, but folds it by English rules.
            _meteor(one_case(p).split(), one_case(r).split(), stemmer),
            *(counts[name].fmeasure for name in _ROUGE[:2]),
            rouge_l(words_p, words_r),
            rouge_lsum(lines_p, lines_r),
            squad_p == squad_r,
            _bag_f1(squad_p, squad_r),
        ]
    return statistics


def metric_value(metric: str, sums: Floats) -> Floats:
    """Makes a metric of summed statistics: `[..., k]` to `[...]`; 0 where no row counts."""
    counted = np.maximum(sums[..., _COUNTED], 1)
    if metric in _MEANS:
        scale = 100.0 if metric in _PERCENT else 1.0
        return np.asarray(sums[..., _FIRST + _MEANS.index(metric)] / counted * scale)
    score = _bleu(sums[..., _BLEU]) if metric == "bleu" else _chrf(sums[..., _CHRF])
    # The paper scales the scores of the valid rows by their share.
    return np.asarray(score * sums[..., _SCORED] / counted)


def is_counted(rows: Floats) -> NDArray[np.bool_]:
    """Tells which rows count."""
    return np.asarray(rows[:, _COUNTED] > 0)


def versions() -> str:
    """Names the libraries that count, as `name:version`, with `|` between."""
    return "|".join(
        f"{name}:{metadata.version(name)}" for name in ("sacrebleu", "rouge_score", "nltk")
    )


def _cut_all(pairs: Sequence[tuple[str, str]], cutter: Cutter) -> list[tuple[str, str]]:
    known: dict[str, str] = {}  # Benchmarks repeat short answers.
    for text in (text for pair in pairs for text in pair):
        if text not in known:
            known[text] = cutter.cut(text)
    return [(known[p], known[r]) for p, r in pairs]


def _corpus_counts(
    words: Sequence[tuple[str, str]], texts: Sequence[tuple[str, str]], tokenize: str
) -> tuple[Floats, Floats]:
    """Returns sacreBLEU's own statistics, for BLEU of the words and chrF of the texts."""
    metrics = _imported("sacrebleu")
    if not words:
        return np.zeros((0, 10)), np.zeros((0, 18))

    def counts(metric: Any, pairs: Sequence[tuple[str, str]]) -> Floats:
        predictions, references = [p for p, _ in pairs], [r for _, r in pairs]
        return np.array(metric._extract_corpus_statistics(predictions, [references]), float)

    # `force` silences a warning about texts that look tokenized, as ours are.
    return counts(metrics.BLEU(tokenize=tokenize, force=True), words), counts(metrics.CHRF(), texts)


def _bleu(sums: Floats) -> Floats:
    length, wanted, correct, total = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:]
    # Smoothing "exp": the k-th order without a match has 1 / 2^k matches.
    missed = (correct == 0) & (total > 0)
    halvings = np.cumsum(missed, axis=-1)
    # Resamples without words divide by zero; the last line gives them 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(missed, 0.5**halvings, correct) / total
        score = 100 * np.exp(np.log(precision).mean(axis=-1) + np.minimum(0, 1 - wanted / length))
    return np.where((total > 0).all(axis=-1) & correct.any(axis=-1), score, 0.0)


def _chrf(sums: Floats, beta: float = 2.0) -> Floats:
    guessed, wanted, matched = (sums[..., i::3] for i in range(3))
    # Effective order: short texts have no n-grams of the higher orders, which then don't count.
    both = (guessed > 0) & (wanted > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision = np.where(both, matched / np.maximum(guessed, 1), 0).sum(axis=-1) / orders
    recall = np.where(both, matched / np.maximum(wanted, 1), 0).sum(axis=-1) / orders
    below = beta**2 * precision + recall
    return np.asarray(100 * (1 + beta**2) * precision * recall / np.where(below > 0, below, 1))


# ROUGE-L takes a table of lengths, words times words. rouge_score fills it cell by cell in plain
# Python. Here a row is the bits of one integer (Hyyrö 2004, "Bit-Parallel LCS-length Computation
# Revisited"), which is several times as fast.


def rouge_l(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """Returns the F-measure of the longest common subsequence, 0 to 1."""
    growth = _growth(reference, _places(candidate), len(candidate))
    return _f1(growth[-1].bit_count(), candidate, reference)


def rouge_lsum(candidate: Lines, reference: Lines) -> float:
    """Returns the F-measure of the common words by lines, 0 to 1.

    Of each line of the reference, these are its words in the union of its longest common
    subsequences with the candidate's lines. A word counts no more often than both texts have it.
    """
    all_candidate = [word for line in candidate for word in line]
    all_reference = [word for line in reference for word in line]
    left = Counter(all_candidate) & Counter(all_reference)
    places = [_places(line) for line in candidate]
    hits = 0
    for line in reference:
        union: set[int] = set()
        for other, at in zip(candidate, places, strict=True):
            union.update(_common(line, other, at))
        for i in union:
            if left[line[i]] > 0:
                left[line[i]] -= 1
                hits += 1
    return _f1(hits, all_candidate, all_reference)


def _places(words: Sequence[str]) -> dict[str, int]:
    """Returns each word's places, as bits."""
    places: dict[str, int] = {}
    for i, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << i
    return places


def _growth(reference: Sequence[str], places: dict[str, int], width: int) -> list[int]:
    """Returns, for 0, 1 ... words of the reference, where the common length grows, as bits.

    Bit j stands for the step from j to j + 1 words of the candidate, `width` words long.
    """
    full = (1 << width) - 1
    # Steps are the zeros of `flat`: the carry of the addition then moves each step down to the
    # first match after the step before it.
    flat, rows = full, [0]
    for word in reference:
        if matches := flat & places.get(word, 0):
            flat = ((flat + matches) | (flat - matches)) & full
        rows.append(full ^ flat)
    return rows


def _common(
    reference: Sequence[str], candidate: Sequence[str], places: dict[str, int]
) -> list[int]:
    """Returns the numbers of the reference's words in one longest common subsequence.

    Of several it is the one that rouge_score finds.
    """
    rows = _growth(reference, places, len(candidate))
    numbers = []
    i, j = len(reference), len(candidate)
    while i and j:
        if reference[i - 1] == candidate[j - 1]:
            i, j = i - 1, j - 1
            numbers.append(i)
        elif ((rows[i] ^ rows[i - 1]) & ((1 << j) - 1)).bit_count() % 2:
            # The reference's last word adds to the length, which is 0 or 1: an odd number of bits
            # differ.
            j -= 1
        else:
            i -= 1
    return numbers


def _f1(hits: int, candidate: Sequence[str], reference: Sequence[str]) -> float:
    return 2 * hits / (len(candidate) + len(reference)) if hits else 0.0


def _squad_words(text: str) -> list[str]:
    """Returns the words of SQuAD 1.1's evaluation script.

    Lower case, no ASCII punctuation, no articles, split at spaces.
    """
    return _SQUAD_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _without(articles: frozenset[str], words: list[str]) -> list[str]:
    """Returns the words without articles, or with them if there is nothing else ("The")."""
    return [word for word in words if word not in articles] or words


def _bag_f1(prediction: list[str], reference: list[str]) -> float:
    common = Counter(prediction) & Counter(reference)
    return _f1(common.total(), prediction, reference)


def _meteor(prediction: list[str], reference: list[str], stemmer: Any) -> float:
    from nltk.translate.meteor_score import single_meteor_score

    return float(single_meteor_score(reference, prediction, stemmer=stemmer, wordnet=_NoSynonyms()))


def _nltk_words(text: str) -> list[str]:
    sentences, words = _nltk_tokenizers()
    return [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]


@cache
def _nltk_tokenizers() -> tuple[Any, Any]:
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    return PunktSentenceTokenizer(), NLTKWordTokenizer()


class _NoSynonyms:
    """In the place of WordNet, which is a download and knows English."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _NoStemmer:
    """In the place of Porter's, which cuts English endings and would join words of others."""

    def stem(self, word: str) -> str:
        return word


class _Spaces:
    """The tokenizer of rouge_score for texts whose words stand between spaces."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def _imported(package: str) -> Any:
    """Imports the part of a package that is needed.

    Raises:
        ConfigError: The package is not installed. The message says how to install it.
    """
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
