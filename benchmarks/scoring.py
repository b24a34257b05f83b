"""Times the scoring of prediction files, with intervals of all metrics; prints one JSON line, or a table.

python benchmarks/scoring.py DIR [--table]

DIR: a folder of .csv or .csv.gz files with `prediction` and `answer`. `seconds_by_hand` is what the plain libraries
take for the same scores on the same words, without intervals: sacrebleu, rouge_score and NLTK one after the other.
With `--table`: both modes side by side for each file, with 95 % intervals, and how pairs of files with the same
answers compare, in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import time
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from seedfree.evaluation import Scores, compare, score
from seedfree.evaluation.predictions import cut_off, read_predictions
from seedfree.languages import Language

LIMIT = 60.0
COLUMNS = ("chrf", "rougeL", "rougeLsum", "rouge1", "rouge2", "squad_f1", "bleu", "meteor")
LATIN = re.compile("[a-z0-9]+")  # What rouge_score's default tokenizer keeps.


class Spaces:
    def tokenize(self, text: str) -> list[str]:
        return text.split()


class NoSynonyms:
    def synsets(self, word: str) -> list[str]:
        return []


def read(path: Path) -> tuple[list[str], list[str]]:
    """Predictions and answers."""
    found = read_predictions(path)
    return found.predictions, found.references


def by_hand(predictions: list[str], answers: list[str]) -> None:
    thai = Language.load("th")
    cut = [
        ["\n".join(" ".join(thai.segment(line)) for line in text.splitlines()) for text in texts]
        for texts in (predictions, answers)
    ]
    corpus_bleu(cut[0], [cut[1]], tokenize="none", force=True)
    corpus_chrf(predictions, [answers])
    rouge, stemmer = (
        RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], tokenizer=Spaces()),
        PorterStemmer(),
    )
    for prediction, answer in zip(*cut, strict=True):
        rouge.score(answer, prediction)
        single_meteor_score(
            answer.split(), prediction.split(), stemmer=stemmer, wordnet=NoSynonyms()
        )


def cell(scores: Scores, metric: str) -> str:
    digits = 1 if metric in ("chrf", "squad_f1") else 2 if metric == "bleu" else 3
    low, high = scores.interval(metric)
    return f"{getattr(scores, metric):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(files: list[Path]) -> None:
    """Both modes, file by file; what the paper's ROUGE sees of them; and pairs of files with the same answers."""
    texts = {path.name.split(".csv")[0]: read(path) for path in files}
    scored = {
        (name, mode): score(*texts[name], mode=mode)
        for name in texts
        for mode in ("paper", "segmented")
    }
    cut = {
        path.name.split(".csv")[0]: f">={cut_off(read_predictions(path).rows).share:.0%}"
        for path in files
    }
    print(f"| file | mode | n | length | unanswered | cut off | {' | '.join(COLUMNS)} |")
    print("|---" * (6 + len(COLUMNS)) + "|")
    for (name, mode), scores in scored.items():
        about = (
            name,
            mode,
            str(scores.n),
            f"{scores.length:.0f}",
            f"{scores.unanswered:.0%}",
            cut[name],
        )
        print("|", " | ".join([*about, *(cell(scores, metric) for metric in COLUMNS)]), "|")
    print(
        "\n| file | answers: Latin share of letters and digits | rows without a Latin word in common |\n|---|---|---|"
    )
    for name, (predictions, answers) in texts.items():
        seen = sum(len(word) for answer in answers for word in LATIN.findall(answer.lower()))
        of = sum(map(str.isalnum, "".join(answers)))
        words = [
            [set(LATIN.findall(text.lower())) for text in pair]
            for pair in zip(predictions, answers, strict=True)
        ]
        alone = sum(not p & a for p, a in words)
        print(f"| {name} | {seen / of:.1%} | {alone / len(words):.0%} |")
    print(
        "\n| pair | mode | metric | first | second | second over first | p |\n|---|---|---|---|---|---|---|"
    )
    for first, second in (
        (a, b) for a in texts for b in texts if a != b and texts[a][1] == texts[b][1]
    ):
        for mode, metric in (
            (mode, metric)
            for metric in ("chrf", "rouge1", "rouge2")
            for mode in ("paper", "segmented")
        ):
            a, b = scored[first, mode], scored[second, mode]
            if a.chrf < b.chrf:
                x, y, p = getattr(a, metric), getattr(b, metric), compare(a, b, metric).p
                print(
                    f"| {first}, {second} | {mode} | {metric} | {x:.3f} | {y:.3f} | {y / x:.1f} | {p:.3f} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    files = sorted(
        path for path in options.dir.iterdir() if path.name.endswith((".csv", ".csv.gz"))
    )
    if options.table:
        return table(files)
    score(["ก"], ["ก"])  # Loads the libraries and the dictionary.
    rows, seconds, hand = 0, 0.0, 0.0
    for path in files:
        predictions, answers = read(path)
        rows += len(answers)
        start = time.perf_counter()
        scores = score(predictions, answers)
        for metric in scores.metrics:
            scores.interval(metric)
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        by_hand(predictions, answers)
        hand += time.perf_counter() - start
    line = {
        "files": len(files),
        "rows": rows,
        "seconds": round(seconds, 2),
        "over_limit": round(seconds / LIMIT, 3),
        "seconds_by_hand": round(hand, 2),
        "over_by_hand": round(seconds / hand, 3),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps(line))
    return None


if __name__ == "__main__":
    main()
