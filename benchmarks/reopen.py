"""Times a finished run of 10,000 requests: opening it, and rebuilding its data set from the ledger.

Prints one JSON line: seconds, the limit of 5, and requests sent (none may be), once without filters
and once with the default ones. There is no encoder, whose time would be the model's and not the
engine's.

python benchmarks/reopen.py [requests]
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import seedfree as sf

LIMIT = 5.0
FILTERS: dict[str, Any] = {"no": [], "default": "default"}
WORDS = (
    "ข้าว ปลา วัด ตลาด แม่น้ำ ช่างทอ ครู สงกรานต์ ภูเขา เรือ ผ้าไหม ดนตรี สมุนไพร นา ฝน ทะเล ป่า ช้าง บ้าน เกลือ"
).split()


def _text(salt: str, words: int) -> str:
    """Returns Thai words in a row, which depend on `salt` alone."""
    digest = hashlib.shake_256(salt.encode()).digest(words)
    return "".join(WORDS[byte % len(WORDS)] for byte in digest)


def _fill(schema: dict[str, Any], salt: str, root: dict[str, Any]) -> Any:
    """Returns a value that fits a JSON schema."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "object":
        fields = schema["properties"].items()
        return {name: _fill(field, f"{salt}.{name}", root) for name, field in fields}
    if schema.get("type") == "array":
        count = max(schema.get("minItems", 1), 3)
        return [_fill(schema["items"], f"{salt}.{i}", root) for i in range(count)]
    return _text(salt, 60)[: schema.get("maxLength", 400)]


async def answer(prompt: sf.Prompt) -> sf.Reply:
    schema = dict(prompt.json_schema or {})
    value = _fill(schema, f"{prompt.user}{prompt.seed}", schema)
    return sf.Reply(json.dumps(value, ensure_ascii=False))


class Folder:
    """A source with two texts for every topic."""

    def contexts(self, topic: sf.Topic) -> list[sf.Context]:
        return [sf.Context(text=_text(f"{topic.text}{i}", 200)) for i in range(2)]


def pipeline(filters: str) -> tuple[sf.Pipeline, sf.FunctionGenerator]:
    llm = sf.FunctionGenerator(answer, name="answer")
    tasks = [sf.Summarization(), sf.Brainstorming()]
    topics = [_text(f"topic {i}", 5) + str(i) for i in range(8_000)]
    made = sf.Pipeline(
        "th",
        llm,
        contexts=[Folder()],
        tasks=tasks,
        filters=FILTERS[filters],
        diversity=None,
        topics=topics,
    )
    return made, llm


def rebuild(filters: str, out: str, size: int) -> dict[str, Any]:
    made, llm = pipeline(filters)
    start = time.perf_counter()
    run = sf.Run.open(out)
    assert len(run.dataset) > 0
    opened = time.perf_counter()
    before = {path.name: path.read_bytes() for path in Path(out).glob("*.jsonl")}
    again = made.run(size, out, progress=False)
    built = time.perf_counter()
    assert all((Path(out) / name).read_bytes() == data for name, data in before.items())
    return {
        "requests": again.stats.requests,
        "rows": again.stats.rows,
        "sent": len(llm.calls),
        "seconds": {"open": round(opened - start, 2), "rebuild": round(built - opened, 2)},
    }


def measure(filters: str, requests: int) -> dict[str, Any]:
    # About six rows of ten requests pass the default filters.
    size = {"no": requests, "default": requests * 6 // 10}[filters]
    with tempfile.TemporaryDirectory() as out:
        run = pipeline(filters)[0].run(size, f"{out}/run", progress=False)
        command = [sys.executable, __file__, filters, f"{out}/run", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert run.stats.requests >= requests
    result: dict[str, Any] = json.loads(done.stdout)
    return {**result, "over_limit": round(sum(result["seconds"].values()) / LIMIT, 3)}


def main(requests: int = 10_000) -> None:
    results = {f"{filters} filters": measure(filters, requests) for filters in FILTERS}
    print(json.dumps({"limit_seconds": LIMIT, **results, "cpus": os.cpu_count()}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [filters, out, size]:
            with contextlib.redirect_stdout(sys.stderr):
                result = rebuild(filters, out, int(size))
            print(json.dumps(result))
        case numbers:
            main(*map(int, numbers))
