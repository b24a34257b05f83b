"""Checks what `Pipeline.estimate` says against whole runs, and measures what the runs take here.

    python benchmarks/cost.py [ROWS ...]     10,000 and 100,000 by default

A model that answers at once writes replies of random words, in the lengths that are asked for; one
reply in thirty cannot be read, and one row in ten is dropped. Prints one JSON line for each size:

usd, requests   what `SEEDS` estimates say, each from eight rows of another seed, over what the run
                took: the mean; of the price also the spread, and how many have it in their interval
cpu_ms, disk_kb of this machine, for each row that is kept; the model costs no CPU here, and
                near-duplicates are not looked for
memory_mb       peak, of the whole process
"""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import seedfree as sf
from seedfree._seeds import seeded

_letters = random.Random(0)
WORDS = ["".join(_letters.choices("กขคงจชดตทนบปพมยรลวสหอ", k=4)) for _ in range(5000)]
UNREADABLE, DROPPED = 0.03, 0.1
SEEDS = 20


class Writer:
    """Fills the form that is asked for with words."""

    identity = "writer"
    price = (0.1, 0.5)

    def generate(self, prompt: sf.Prompt) -> sf.Reply:
        rng = seeded(prompt.user, prompt.seed)
        form = fill(prompt.json_schema or {}, rng)
        text = "no JSON" if rng.random() < UNREADABLE else json.dumps(form, ensure_ascii=False)
        asked = len(prompt.user) + len(prompt.system or "")
        return sf.Reply(text, sf.Usage(asked // 3, len(text) // 3))


class Coin:
    def check(self, item: sf.Instruction) -> str | None:
        return "coin: tails" if seeded(item.id).random() < DROPPED else None


def fill(schema: dict[str, Any], rng: random.Random, name: str = "") -> Any:
    match schema.get("type"):
        case "object":
            return {key: fill(each, rng, key) for key, each in schema["properties"].items()}
        case "array":
            most = schema.get("maxItems", 3)
            size = max(schema.get("minItems", 1), min(5 if name == "topics" else 3, most))
            return [fill(schema["items"], rng) for _ in range(size)]
        case "boolean":
            return False
        case "integer":
            return schema.get("minimum", 1)
    # The text that questions are about has a least length.
    words = rng.randint(60, 200) if name == "text" else rng.randint(4, 25)
    return "".join(rng.choices(WORDS, k=words))[: schema.get("maxLength")]


def pipeline() -> sf.Pipeline:
    return sf.Pipeline(
        "th",
        Writer(),
        contexts=[sf.WrittenContexts()],
        tasks=[sf.Summarization(), sf.Brainstorming(), sf.CreativeWriting()],
        filters=[Coin()],
        diversity=None,
    )


def measure(rows: int, said: list[sf.Estimate]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        before, out = time.process_time(), Path(folder) / "run"
        run = pipeline().run(rows, out, concurrency=64, progress=False)
        seconds = time.process_time() - before
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        took = run.stats
        assert run.status == "complete", run.message
    ratios = [each.price_usd / took.price_usd for each in said]
    return {
        "rows": rows,
        "usd": round(statistics.mean(ratios), 3),
        "spread": round(statistics.stdev(ratios), 3),
        "within": sum(each.low_usd <= took.price_usd <= each.high_usd for each in said),
        "of": len(said),
        "requests": round(statistics.mean(each.requests / took.requests for each in said), 3),
        "requests_per_row": round(took.requests / rows, 2),
        "cpu_ms": round(1000 * seconds / rows, 2),
        "disk_kb": round(size / rows / 1000, 2),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


def main() -> None:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # previews of earlier versions are not taken over
        for rows in map(int, sys.argv[1:] or ["10000", "100000"]):
            said = [pipeline().estimate(rows, seed=n, progress=False) for n in range(SEEDS)]
            print(json.dumps(measure(rows, said)), flush=True)


if __name__ == "__main__":
    main()
