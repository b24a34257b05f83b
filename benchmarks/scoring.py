"""Times the scoring of prediction files, with intervals; prints one JSON line, or a table.

python benchmarks/scoring.py DIR [--table]

DIR: a folder of .csv or .csv.gz files with `prediction` and `answer`. `seconds_by_hand` is what the
plain libraries take for the same scores on the same words, without intervals: sacrebleu,
rouge_score and NLTK one after the other. With `--table`: both modes side by side for each file,
with 95 % intervals, and how pairs of files with the same answers compare, in Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from seedfree.evaluation import Scores, compare, score
from seedfree.evaluation.predictions import Predictions, cut_off, read_predictions
from seedfree.languages import Language

LIMIT = 60.0
MODES = ("paper", "segmented")
COLUMNS = ("chrf", "rougeL", "rougeLsum", "rouge1", "rouge2", "squad_f1", "bleu", "meteor")
DIGITS = {"chrf": 1, "squad_f1": 1, "bleu": 2}
LATIN = re.compile("[a-z0-9]+")  # What rouge_score's default tokenizer keeps.


class Spaces:
    def tokenize(self, text: str) -> list[str]:
        return text.split()


class NoSynonyms:
    def synsets(self, word: str) -> list[str]:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    paths = [path for path in options.dir.iterdir() if path.name.endswith((".csv", ".csv.gz"))]
    files = {path.name.split(".csv")[0]: read_predictions(path) for path in sorted(paths)}
    if options.table:
        print_tables(files)
    else:
        print(json.dumps(timings(files.values())))


def timings(files: Iterable[Predictions]) -> dict[str, object]:
    """Measures the seconds by this library and by hand, on all files."""
    score(["ก"], ["ก"])  # Loads the libraries and the dictionary.
    n, rows, seconds, hand = 0, 0, 0.0, 0.0
    for file in files:
        n, rows = n + 1, rows + len(file)
        start = time.perf_counter()
        scores = score(file.predictions, file.references)
        for metric in scores.metrics:
            scores.interval(metric)
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        score_by_hand(file.predictions, file.references)
        hand += time.perf_counter() - start
    return {
        "files": n,
        "rows": rows,
        "seconds": round(seconds, 2),
        "over_limit": round(seconds / LIMIT, 3),
        "seconds_by_hand": round(hand, 2),
        "over_by_hand": round(seconds / hand, 3),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }


def score_by_hand(predictions: list[str], answers: list[str]) -> None:
    thai = Language.load("th")

    def cut(text: str) -> str:
        return "\n".join(" ".join(thai.segment(line)) for line in text.splitlines())

    cut_predictions, cut_answers = list(map(cut, predictions)), list(map(cut, answers))
    corpus_bleu(cut_predictions, [cut_answers], tokenize="none", force=True)
    corpus_chrf(predictions, [answers])
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], tokenizer=Spaces())
    stemmer, wordnet = PorterStemmer(), NoSynonyms()
    for prediction, answer in zip(cut_predictions, cut_answers, strict=True):
        rouge.score(answer, prediction)
        single_meteor_score(answer.split(), prediction.split(), stemmer=stemmer, wordnet=wordnet)


def print_tables(files: dict[str, Predictions]) -> None:
    """Prints both modes by file, what the paper's ROUGE sees, and pairs with the same answers."""
    scored = {
        (name, mode): score(file.predictions, file.references, mode=mode)
        for name, file in files.items()
        for mode in MODES
    }
    rows = []
    for (name, mode), scores in scored.items():
        cut = f">={cut_off(files[name].rows).share:.0%}"
        about = [name, mode, scores.n, f"{scores.length:.0f}", f"{scores.unanswered:.0%}", cut]
        rows.append([*about, *(cell(scores, metric) for metric in COLUMNS)])
    print_table(["file", "mode", "n", "length", "unanswered", "cut off", *COLUMNS], rows)
    print()
    head = ["file", "answers: Latin share of letters and digits"]
    latin = [[name, *latin_shares(file)] for name, file in files.items()]
    print_table([*head, "rows without a Latin word in common"], latin)
    print()
    head = ["pair", "mode", "metric", "first", "second", "second over first", "p"]
    print_table(head, compared(files, scored))


def latin_shares(file: Predictions) -> tuple[str, str]:
    """Returns the share of Latin letters and digits in answers, and of rows that share none."""
    latin = sum(len(word) for answer in file.references for word in LATIN.findall(answer.lower()))
    alnum = sum(map(str.isalnum, "".join(file.references)))
    apart = 0
    for pair in zip(file.predictions, file.references, strict=True):
        prediction, answer = (set(LATIN.findall(text.lower())) for text in pair)
        apart += not prediction & answer
    return f"{latin / alnum:.1%}", f"{apart / len(file):.0%}"


def compared(
    files: dict[str, Predictions], scored: dict[tuple[str, str], Scores]
) -> Iterable[list[object]]:
    """Yields pairs of models that answered the same questions, the worse by chrF first."""
    for first, second in itertools.permutations(files, 2):
        if files[first].references != files[second].references:
            continue
        for metric, mode in itertools.product(("chrf", "rouge1", "rouge2"), MODES):
            a, b = scored[first, mode], scored[second, mode]
            if a.chrf < b.chrf:
                low, high = getattr(a, metric), getattr(b, metric)
                p = compare(a, b, metric).p
                cells = [f"{low:.3f}", f"{high:.3f}", f"{high / low:.1f}", f"{p:.3f}"]
                yield [f"{first}, {second}", mode, metric, *cells]


def cell(scores: Scores, metric: str) -> str:
    digits = DIGITS.get(metric, 3)
    low, high = scores.interval(metric)
    return f"{getattr(scores, metric):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print("|", " | ".join(head), "|")
    print("|---" * len(head) + "|")
    for row in rows:
        print("|", " | ".join(map(str, row)), "|")


if __name__ == "__main__":
    main()
