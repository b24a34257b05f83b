"""Writes a run up as Markdown: `python benchmarks/first_run.py runs/demo > docs/first-run.md`.

Ten rows at equal distances, whatever they are worth, and the counts of requests, keeps and drops.
"""

import argparse
import sys
import unicodedata
from collections import Counter

import seedfree as sf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    run = sf.Run.open(parser.parse_args().run)
    rows, stats = run.dataset, run.stats
    letters = [share(row.instruction + row.output) for row in rows]
    write("# A first run\n\n")
    write("```sh\nmake demo\npython benchmarks/first_run.py runs/demo > docs/first-run.md\n```\n\n")
    write(
        "Gemma 3 270M is a base model of 270 million parameters in four bits; it was never taught to follow\n"
        "instructions, and what it says is mostly untrue. These rows show what the pipeline does, not what a data set\n"
        "should look like: the form is right, the language is right, and nobody should train on them.\n\n"
    )
    write(
        f"{stats.requests} requests in {stats.seconds:.0f} s on this machine ({stats.input_tokens:,} tokens in, "
    )
    write(
        f"{stats.output_tokens:,} out), {stats.topics} topics, {stats.contexts} contexts, {stats.rounds} rounds: "
    )
    write(f"{len(rows)} rows kept, {len(run.dropped)} dropped. ")
    thai = sum(x > 0.5 for x in letters)
    write(f"{thai} of {len(rows)} rows are in Thai script by more than half of their letters.\n")
    write("\n| reason | dropped |\n|---|---|\n")
    for reason, n in Counter(stats.drops).most_common():
        write(f"| {reason} | {n} |\n")
    count = min(10, len(rows))
    places = [i * len(rows) // count for i in range(count)]
    write(f"\nTen rows by position (numbers {', '.join(map(str, places))}), as they are:\n")
    for place in places:
        row = rows[place]
        write(f"\n**{place}. {row.task}**, topic {plain(row.topic)}\n\n")
        write(f"> {plain(row.instruction)}\n\n")
        if row.input:
            write(f"> *{plain(row.input)}*\n\n")
        write(f"{plain(row.output)}\n")


def share(text: str) -> float:
    """Share of a text's letters that are Thai."""
    letters = [c for c in text if unicodedata.category(c).startswith("L")]
    return sum(unicodedata.name(c, "").startswith("THAI") for c in letters) / max(1, len(letters))


def plain(text: str) -> str:
    """A text that a model wrote, on one line and without markup of its own."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in " ".join(text.split()))


def write(text: str) -> None:
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
