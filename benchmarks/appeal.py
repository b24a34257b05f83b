"""Measures what an appeal makes of doubts: a large model's verdicts on good rows and on faults.

python benchmarks/appeal.py GOLD.jsonl RUN [QUEUE]

Sixty doubts about good rows and sixty about faults that code plants in them go through
`seedfree.run.appeal`. The model's replies stand in `benchmarks/verdicts.jsonl`, by a hash of the
prompt. With QUEUE, prompts without a reply are written to that folder as `NNNN.prompt.json`, and
the replies that lie beside them as `NNNN.reply.txt` are taken in. See `filters.py` for GOLD and
RUN.

Prints the share of faults that are upheld and of good rows that are, by rule, and one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import filters
from filters import NUMBER, PLANTS

from seedfree._seeds import digest, seeded
from seedfree.engine.session import RunSession
from seedfree.languages import Language
from seedfree.records import Instruction, Prompt, Reply, Suspicion
from seedfree.run.appeal import appeal

RECORDED = Path(__file__).parent / "verdicts.jsonl"
EACH = 60
PLANTED = ("number changed", "name swapped", "foreign sentence", "cut in a word")
NUMBERS, NAMES = "grounding: number not in the context", "grounding: name not in the context"


class Recorded:
    """A session whose LLM has answered before."""

    language, seed = Language.load("th"), 0

    def __init__(self, queue: Path | None) -> None:
        self.queue, self.missing = queue, 0
        lines = RECORDED.read_text("utf-8").splitlines() if RECORDED.exists() else []
        self.replies: dict[str, str] = dict(map(json.loads, lines))

    async def generate(
        self, prompt: Prompt, *, check: Callable[[str], Any], generator: Any = None
    ) -> Reply:
        key = digest(prompt.user)
        text = self.replies.get(key) or self._from_queue(key, prompt)
        if text is None:
            return Reply("", error="no reply")
        self.replies[key] = text
        return Reply(text, value=check(text))

    def _from_queue(self, key: str, prompt: Prompt) -> str | None:
        self.missing += 1
        if self.queue is None:
            return None
        self.queue.mkdir(parents=True, exist_ok=True)
        path = self.queue / f"{self.missing:04d}.prompt.json"
        body = {"system": prompt.system, "user": prompt.user, "json_schema": prompt.json_schema}
        if not path.exists():
            path.write_text(json.dumps({**body, "key": key}, ensure_ascii=False), "utf-8")
        reply = path.with_name(f"{self.missing:04d}.reply.txt")
        return reply.read_text("utf-8") if reply.exists() else None

    def save(self) -> None:
        lines = [json.dumps(pair, ensure_ascii=False) for pair in sorted(self.replies.items())]
        RECORDED.write_text("\n".join(lines) + "\n", "utf-8")


def doubts_of_faults(good: list[Instruction]) -> Iterator[tuple[Instruction, list[Suspicion]]]:
    """Yields faulty rows, by turns of each kind, with what the filters doubt of the fault."""
    kinds = [list(planted(good, name)) for name in PLANTED]
    for turn in range(max(map(len, kinds))):
        for kind in kinds:
            if turn < len(kind):
                yield kind[turn]


def planted(good: list[Instruction], name: str) -> Iterator[tuple[Instruction, list[Suspicion]]]:
    for number, row in enumerate(good):
        for faulty in PLANTS[name](row, seeded("plant", name, "th", number)):
            yield faulty, [doubt_of(name, row, faulty)]
            break


def doubt_of(name: str, row: Instruction, faulty: Instruction) -> Suspicion:
    """Returns what a filter would doubt of a planted fault, if it found it."""
    if name == "number changed":
        return grounding(NUMBERS, set(NUMBER.findall(faulty.output)), row)
    if name == "name swapped":
        return grounding(NAMES, {n for n in filters.NAMES["th"] if n in faulty.output}, row)
    if name == "foreign sentence":
        foreign = filters.FOREIGN[""]
        return Suspicion("language: a sentence in another language", "output", (foreign,))
    return cut_off(faulty)


def grounding(rule: str, words: set[str], row: Instruction) -> Suspicion:
    new = tuple(sorted(word for word in words if word not in row.output))
    return Suspicion(rule, ", ".join(new), new, settled_by="context")


def cut_off(row: Instruction) -> Suspicion:
    return Suspicion("rules: cut off", "output", (row.output.rstrip()[-60:],))


def doubts_of_good(good: list[Instruction]) -> Iterator[tuple[Instruction, list[Suspicion]]]:
    """Yields good rows with a doubt that a filter might have about each."""
    for row in filter(filters.grounded, good):
        if numbers := NUMBER.findall(row.output)[:2]:
            words = tuple(numbers)
            yield row, [Suspicion(NUMBERS, ", ".join(words), words, settled_by="context")]
        if names := [name for name in filters.NAMES["th"] if name in row.output][:2]:
            words = tuple(names)
            yield row, [Suspicion(NAMES, ", ".join(words), words, settled_by="context")]
    for row in good:
        yield row, [cut_off(row)]


async def measured(
    cases: list[tuple[Instruction, list[Suspicion]]], session: Recorded
) -> dict[str, Counter[str]]:
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    for row, suspicions in cases:
        checks = await appeal(row, suspicions, cast("RunSession", session))
        # A row is lost where one doubt about it is upheld.
        lost = any(check.verdict == "upheld" for check in checks)
        verdicts[suspicions[0].rule]["upheld" if lost else "overturned"] += 1
    return verdicts


def main(gold: str, run: str, queue: str = "") -> None:
    labelled = filters.labelled(Path(gold), Path(run))
    good = [row for row, label in labelled if label == "good"]
    filters.NAMES["th"] = filters.names_of("th", good)
    session = Recorded(Path(queue) if queue else None)
    figures = {}
    for name, doubts in (("faults", doubts_of_faults(good)), ("good", doubts_of_good(good))):
        cases = list(doubts)[:EACH]
        by_rule = asyncio.run(measured(cases, session))
        upheld = sum(counts["upheld"] for counts in by_rule.values())
        figures[name] = {"doubts": len(cases), "upheld": upheld, "by_rule": by_rule}
        print(f"{name}: {upheld} of {len(cases)} upheld {dict(by_rule)}")
    if queue:
        session.save()
    print(json.dumps({"benchmark": "appeal", "missing": session.missing, **figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
