"""Writes the two runs of `seedfree demo` up as Markdown.

python benchmarks/first_run.py runs/demo runs/demo-recorded > docs/first-run.md

Rows at equal distances, whatever they are worth. `benchmarks/first_run.json` has for a row, by its
id, what it says in English and whether a critical reader would take it (`good`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import seedfree as sf

READINGS = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
LONGEST = 240
HEAD = """# A first run

After this page you have seen rows by a small model and by a large one, with what a reader says of
them.

```sh
make demo                                # installs what it needs, then makes 24 rows
.venv-demo/bin/seedfree demo --recorded  # 50 rows in seconds
```

## A small model on this machine

Gemma 3 270M is a base model of 270 million parameters in four bits. What it writes is mostly
untrue, so `make demo` asks it only to choose. It gets twelve short Thai texts that come with the
library (food, weather, a legend ...), and two tasks (`tasks="small"`):

- `ExtractiveQA`: the model chooses where in a sentence a question word stands, and answers by
  copying from the sentence. A row is kept only if it copied what the question word stands for. Of
  three tries the likeliest counts (`LlamaCppGenerator(best_of=3)`).
- `TitledRequest`: the text is the answer, and the model chooses among ready-made requests for its
  title.

"""
RECORDED = """
## A large model, recorded

```sh
.venv-demo/bin/seedfree demo --recorded
```

replays 50 rows in seconds, without a key, a model or a network. The pipeline, its filters and its
data-set card are the real ones; the replies are those that a large model gave to the same prompts
on 2026-11-28, the texts come from Thai Wikipedia (as in iapp-wiki-qa, CC BY-SA 4.0; today's
articles may differ) or from that model. The rows are the first 50 of the [pilot of 150](rows.md),
by the order in which the pipeline asks for them: an LLM that read the 150 blind called 82 % good
(`python benchmarks/readers.py`), and 42 of these 50 (`python -m benchmarks.record_demo API_URL`
prints it, from a MediaWiki with those articles).
"""
FOOT = """
`python benchmarks/first_run.py runs/demo runs/demo-recorded` prints this page from the two runs.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("recorded")
    given = parser.parse_args()
    run, recorded = sf.Run.open(given.run), sf.Run.open(given.recorded)
    sys.stdout.writelines([HEAD, *counts(run), *examples(run.dataset, 10)])
    sys.stdout.writelines([RECORDED, *examples(recorded.dataset, 5), FOOT])


def counts(run: sf.Run) -> Iterator[str]:
    """Yields what the run took, what it kept and dropped, and what a reader said of its rows."""
    stats = run.stats
    yield f"{stats.rows} rows from {stats.requests} requests in {stats.seconds:.0f} s "
    yield f"({stats.input_tokens:,} tokens in, {stats.output_tokens:,} out) on two cores.\n"
    if stats.drops:
        yield "\n| reason | dropped |\n|---|---|\n"
        for reason, n in Counter(stats.drops).most_common():
            yield f"| {reason} | {n} |\n"
    read = [row for row in run.dataset if row.id in READINGS]
    yield "\nAn LLM read the rows as a critical native reader would; no person has. It takes "
    parts = []
    for task in sorted({row.task for row in read}):
        good = [READINGS[row.id]["good"] for row in read if row.task == task]
        parts.append(f"{sum(good)} of {len(good)} of {task}")
    good = [READINGS[row.id]["good"] for row in read]
    yield f"{sum(good)} of {len(read)}: {', '.join(parts)}.\n"


def examples(rows: sf.Dataset, most: int) -> Iterator[str]:
    """Yields rows at equal distances, or all of fewer."""
    count = min(most, len(rows))
    places = [i * len(rows) // count for i in range(count)]
    yield f"\nRows by position ({', '.join(map(str, places))}); long texts are cut on this page:\n"
    for place in places:
        row = rows[place]
        reading: dict[str, Any] = READINGS.get(row.id, {})
        mark = "" if reading.get("good", True) else ", not good"
        yield f"\n**{place}. {row.task}**, {plain(row.topic)}{mark}\n\n"
        yield f"> {plain(row.instruction)}\n\n{plain(row.output)}\n"
        if "gloss" in reading:
            yield f"\n*{reading['gloss']}*\n"


def plain(text: str) -> str:
    """Returns how a text that a model wrote begins, on one line and without markup."""
    text = " ".join(text.split())
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} …"
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in text)


if __name__ == "__main__":
    main()
