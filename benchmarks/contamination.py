"""How long `contamination` takes: `python benchmarks/contamination.py [rows] [questions]`, on made-up Thai.

None of the rows holds a question, and then all of them hold one and its passage, which is the most work there can be.
Prints one line of JSON, with the ratio to the plain way: a set of strings that says only whether a row holds any.
"""

import json
import random
import resource
import sys
import time

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
        dataset = Dataset(
            Instruction(i.task, i.instruction, i.output, i.input, source=source) for i in items
        )
        begun = time.perf_counter()
        found = contamination(dataset, asked)
        took, begun = time.perf_counter() - begun, time.perf_counter()
        assert plain(dataset, asked) == len(found.rows)
        peer = time.perf_counter() - begun
        seconds = {
            "seconds": round(took, 2),
            "plain_seconds": round(peer, 2),
            "over_plain": round(took / peer, 3),
        }
        cases[name] = {"found": len(found.rows), **seconds}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"rows": rows, "questions": questions, **cases, "peak_mb": peak}))


def plain(dataset: Dataset, asked: list[Question]) -> int:
    """Rows that hold any 30 characters of a question, by a set of strings; no more is said of it."""

    def shingles(text: str) -> set[str]:
        return {text[n : n + 30] for n in range(len(text) - 29)}

    known = {
        piece
        for one in asked
        for text in (one.question, one.answer, one.context)
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
