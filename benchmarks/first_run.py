"""Writes a run up as Markdown: `python benchmarks/first_run.py runs/demo > docs/first-run.md`.

Ten rows at equal distances, whatever they are worth, and the counts of requests, keeps and drops.
"""

import argparse
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator

import seedfree as sf

HEAD = (
    "# A first run\n\n"
    "```sh\nmake demo\npython benchmarks/first_run.py runs/demo > docs/first-run.md\n```\n\n"
    "Gemma 3 270M is a base model of 270 million parameters in four bits; it was never taught to "
    "follow\ninstructions, and what it says is mostly untrue. These rows show what the pipeline "
    "does, not what a data set\nshould look like: the form is right, the language is right, and "
    "nobody should train on them.\n\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    run = sf.Run.open(parser.parse_args().run)
    sys.stdout.writelines([HEAD, *counts(run), *examples(run.dataset)])


def counts(run: sf.Run) -> Iterator[str]:
    """Yields what the run took, what it kept, and a table of what it dropped."""
    rows, stats = run.dataset, run.stats
    tokens = f"{stats.input_tokens:,} tokens in, {stats.output_tokens:,} out"
    yield f"{stats.requests} requests in {stats.seconds:.0f} s on this machine ({tokens}), "
    yield f"{stats.topics} topics, {stats.contexts} contexts, {stats.jobs} prompts of tasks: "
    yield f"{len(rows)} rows kept, {len(run.dropped)} dropped. "
    thai = sum(thai_share(row.instruction + row.output) > 0.5 for row in rows)
    yield f"{thai} of {len(rows)} rows are in Thai script by more than half of their letters.\n"
    yield "\n| reason | dropped |\n|---|---|\n"
    for reason, n in Counter(stats.drops).most_common():
        yield f"| {reason} | {n} |\n"


def examples(rows: sf.Dataset) -> Iterator[str]:
    """Yields ten rows at equal distances, or all of fewer."""
    count = min(10, len(rows))
    places = [i * len(rows) // count for i in range(count)]
    yield f"\nTen rows by position (numbers {', '.join(map(str, places))}), as they are:\n"
    for place in places:
        row = rows[place]
        yield f"\n**{place}. {row.task}**, topic {plain(row.topic)}\n\n"
        yield f"> {plain(row.instruction)}\n\n"
        if row.input:
            yield f"> *{plain(row.input)}*\n\n"
        yield f"{plain(row.output)}\n"


def thai_share(text: str) -> float:
    """Returns the share of a text's letters that are Thai, from 0 to 1."""
    letters = [c for c in text if unicodedata.category(c).startswith("L")]
    return sum(unicodedata.name(c, "").startswith("THAI") for c in letters) / max(1, len(letters))


def plain(text: str) -> str:
    """Returns a text that a model wrote on one line and without markup."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in " ".join(text.split()))


if __name__ == "__main__":
    main()
