"""Records the replies and texts that `seedfree demo --recorded` replays.

python -m benchmarks.record_demo API_URL

API_URL is the `api.php` of a MediaWiki with the Thai articles of iapp-wiki-qa, and the replies are
those of `benchmarks/pilot.jsonl`. The run is the beginning of `benchmarks/pilot.py`: its seed and
topics, and the first 50 of its 150 rows by the order in which they are asked for.

It also prints what readers said of those rows (`benchmarks/readers.py`).

Where the pipeline's prompts have changed, the first one without a reply is printed. Ask a large
model for all of those, add its replies to `benchmarks/pilot.jsonl` and run this again.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import seedfree as sf
from benchmarks.pilot import large_model
from benchmarks.readers import read
from seedfree.cli.recorded import CONTEXTS, RECORDING, ROWS, SECTIONS, SEED, prompt_key
from seedfree.records import altered


@dataclass
class Heard(sf.WikipediaSource):
    """Keeps what it gave, with the addresses of the Thai Wikipedia."""

    given: dict[str, Any] = field(default_factory=dict)

    async def contexts(self, topic: sf.Topic) -> list[sf.Context]:
        found = await super().contexts(topic)
        self.given[topic.text] = CONTEXTS.dump_python(list(map(_public, found)), mode="json")
        return found


def _public(context: sf.Context) -> sf.Context:
    address = "https://th.wikipedia.org/wiki/" + quote(context.source.title.replace(" ", "_"))
    # The mirror's number of a revision is not Wikipedia's.
    return altered(context, source=altered(context.source, url=address, revision=None))


def main(api_url: str) -> None:
    topics, answer = large_model()
    wikipedia = Heard(contact="demo@example.org", api_url=api_url, language="th", sections=SECTIONS)
    replies: dict[str, str] = {}

    def heard(prompt: sf.Prompt) -> str:
        replies[prompt_key(prompt)] = reply = answer(prompt)
        return reply

    with tempfile.TemporaryDirectory() as folder:
        run = sf.Pipeline(
            "th",
            sf.FunctionGenerator(heard, name="strong-model"),
            contexts=[wikipedia, sf.WrittenContexts()],
            diversity=sf.ExactDiversityFilter(),
            topics=topics,
        ).run(size=ROWS, out=folder, seed=SEED)
        if run.status != "complete":
            sys.exit(run.message)
        names = {row.id for row in run.dataset}
    pages = {topic: given for topic, given in sorted(wikipedia.given.items()) if given}
    lines = [topics, pages, dict(sorted(replies.items()))]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    # The same bytes whenever they are written.
    RECORDING.write_bytes(gzip.compress(text.encode(), mtime=0))
    marks = Counter(row["mark"] for row in read() if "now" in row["sets"] and row["row"] in names)
    print("readers called", ", ".join(f"{n} {mark}" for mark, n in marks.most_common()))
    print(f"{run.stats.rows} rows, {len(replies)} replies: {RECORDING.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
