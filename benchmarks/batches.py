"""How often a run in batches waits, and what it costs beside the same run asked one by one.

`python benchmarks/batches.py [ROWS]`. The server plays Anthropic's protocol in this process; its
model gives replies of random words, of which one in ten cannot be read; one row in ten is doubted
and one in ten dropped. No time passes.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

import seedfree as sf
from seedfree._seeds import seeded
from tests.engine.batch_server import BatchServer, llm
from tests.engine.provider import transport
from tests.fakes import FakeClock

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 5000


class Mixed:
    """Lets four rows in five pass."""

    def check(self, item: sf.Instruction) -> str | sf.Suspicion | None:
        draw = seeded(item.id).random()
        if draw < 0.1:
            return "rules: bad"
        return sf.Suspicion("doubt", "a word") if draw < 0.2 else None


def main() -> None:
    server = BatchServer("claude", unreadable=0.03)
    pipeline = sf.Pipeline(
        "th",
        llm("claude"),
        contexts=[sf.WrittenContexts()],
        tasks=[sf.ClosedQA(), sf.Summarization(), sf.Brainstorming(), sf.OpenQA()],
        filters=[Mixed()],
        diversity=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = pipeline.run(
            ROWS,
            Path(folder) / "run",
            batch=True,
            progress=False,
            clock=FakeClock(),
            transport=transport(server),
        )
        rows = len(run.dataset)
    alone = (run.stats.input_tokens + run.stats.output_tokens) / 1e6  # at a dollar a million
    result = {
        "rows": rows,
        "status": run.status,
        "waits": len(server.batches),
        "requests": run.stats.requests,
        "asked_at_once": server.live,
        "in_a_batch": [len(batch.lines) for batch in server.batches.values()],
        "price_over_one_by_one": round((run.stats.price_usd or 0) / alone, 3),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    logging.getLogger("seedfree").setLevel(logging.ERROR)
    main()
