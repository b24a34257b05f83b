"""Times `contamination` on made-up Thai: `python benchmarks/contamination.py [rows] [questions]`.

None of the rows holds a question, and then all of them hold one and its passage, which is the most
work there can be. Prints one line of JSON, with the ratio to the plain way: a set of strings that
says only whether a row holds any.
"""

import json
import random
import resource
import sys
import time
from dataclasses import replace

from seedfree.dataset import Dataset
from seedfree.diversity.contamination import contamination
from seedfree.records import Instruction, Question, Source

WORDS = 3000


def main(rows: int = 5000, questions: int = 2000) -> None:
    rng = random.Random(0)
    syllables = [
        first + vowel
        for first in "กขคงจชซดตถทนบปพมยรลวสหอ"
        for vowel in ("", "า", "ิ", "ี", "ุ", "่", "้")
    ]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(WORDS)]

    def text(n: int) -> str:
        return "".join(rng.choices(words, k=n))

    asked = [
        Question(str(n), "qa", text(20), text(60), text(300), source=f"https://x.example/{n}")
        for n in range(questions)
    ]
    apart = [Instruction("qa", text(20), text(60), text(200)) for _ in range(rows)]
    held = [
        Instruction("qa", asked[n % questions].question, text(60), asked[n % questions].context)
        for n in range(rows)
    ]
    source = Source("wikipedia", "a page", "https://y.example/1", "1234567")
    cases = {}
    for name, items in (("apart", apart), ("held", held)):
        dataset = Dataset(replace(item, source=source) for item in items)
        start = time.perf_counter()
        overlap = contamination(dataset, asked)
        seconds, start = time.perf_counter() - start, time.perf_counter()
        assert plain(dataset, asked) == len(overlap.rows)
        plain_seconds = time.perf_counter() - start
        cases[name] = {
            "found": len(overlap.rows),
            "seconds": round(seconds, 2),
            "plain_seconds": round(plain_seconds, 2),
            "over_plain": round(seconds / plain_seconds, 3),
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"rows": rows, "questions": questions, **cases, "peak_mb": peak}))


def plain(dataset: Dataset, asked: list[Question]) -> int:
    """Counts the rows that hold any 30 characters of a question, by a set of strings."""

    def shingles(text: str) -> set[str]:
        return {text[n : n + 30] for n in range(len(text) - 29)}

    known = {
        piece
        for question in asked
        for text in (question.question, question.answer, question.context)
        for piece in shingles(text)
    }
    return sum(
        any(
            not known.isdisjoint(shingles(text))
            for text in (row.instruction, row.input, row.output)
        )
        for row in dataset
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
