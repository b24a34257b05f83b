"""Builds the pilot's 150 Thai rows again from the replies of a large model.

python benchmarks/pilot.py API_URL OUT

API_URL is the `api.php` of a MediaWiki with the Thai articles of iapp-wiki-qa. The replies (of
2026-11-28) stand in `benchmarks/pilot.jsonl`, by a hash of the prompt; the first line has the
topics, titles of those articles. A prompt without a reply stops the run and is printed: the prompts
have changed.

Prints one line of JSON: the rows by task, what was dropped and doubted, and the rows' variety.
`benchmarks/readers.py` has what readers say of them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import seedfree as sf
from seedfree._seeds import digest

RECORDED = Path(__file__).parent / "pilot.jsonl"


def large_model() -> tuple[list[str], Callable[[sf.Prompt], str]]:
    """Returns the topics, and what answers a prompt with the large model's reply."""
    titles, *lines = map(json.loads, RECORDED.read_text("utf-8").splitlines())
    replies = dict(lines)

    def answer(prompt: sf.Prompt) -> str:
        key = digest(prompt.system, prompt.user)
        if key not in replies:
            raise sf.RequestError(f"no reply is on record to: {prompt.user}")
        return str(replies[key])

    return titles, answer


def main(api_url: str, out: str) -> None:
    titles, answer = large_model()
    wikipedia = sf.WikipediaSource(contact="pilot@example.org", api_url=api_url, language="th")
    run = sf.Pipeline(
        "th",
        sf.FunctionGenerator(answer, name="strong-model"),
        contexts=[wikipedia, sf.WrittenContexts()],
        diversity=sf.SemanticDiversityFilter(encoder=sf.USEEncoder()),
        topics=titles,
    ).run(size=150, out=out, seed=7)
    report = {"benchmark": "pilot", "status": run.status, "message": run.message}
    report["tasks"] = Counter(row.task for row in run.dataset)
    report |= {"drops": run.stats.drops, "checks": run.stats.checks}
    print(json.dumps({**report, "variety": asdict(run.variety)}, ensure_ascii=False, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
