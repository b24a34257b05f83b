"""How long `contamination` takes: `python benchmarks/contamination.py [rows] [questions]`, on made-up Thai.

None of the rows holds a question, and then all of them hold one and its passage, which is the most work there can be.
"""

import json
import random
import resource
import sys
import time

from seedfree.contamination import contamination
from seedfree.dataset import Dataset
from seedfree.records import Instruction, Question, Source

WORDS = 3000


def main(rows: int = 5000, questions: int = 2000) -> None:
    rng = random.Random(0)
    syllables = [first + vowel for first in "กขคงจชซดตถทนบปพมยรลวสหอ" for vowel in ("", "า", "ิ", "ี", "ุ", "่", "้")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(WORDS)]

    def text(n: int) -> str:
        return "".join(rng.choices(words, k=n))

    asked = [
        Question(str(n), "qa", text(20), text(60), text(300), source=f"https://x.example/{n}") for n in range(questions)
    ]
    apart = [Instruction("qa", text(20), text(60), text(200)) for _ in range(rows)]
    held = [
        Instruction("qa", asked[n % questions].question, text(60), asked[n % questions].context) for n in range(rows)
    ]
    source = Source("wikipedia", "a page", "https://y.example/1", "1234567")
    for name, items in (("apart", apart), ("held", held)):
        dataset = Dataset(Instruction(i.task, i.instruction, i.output, i.input, source=source) for i in items)
        begun, computed = time.perf_counter(), time.process_time()
        found = contamination(dataset, asked)
        took = {"seconds": time.perf_counter() - begun, "processor_seconds": time.process_time() - computed}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        line = {"rows": rows, "questions": questions, "case": name, "found": len(found.rows), "peak_mb": peak}
        print(json.dumps(line | {key: round(value, 2) for key, value in took.items()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
