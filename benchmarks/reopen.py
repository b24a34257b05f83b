"""Times a finished run of 10,000 requests: opening it, and rebuilding its data set from the ledger.

Prints one JSON line: seconds, the limit of 5, requests sent (none may be), without filters and with
the default ones. There is no encoder, whose time would be the model's and not the engine's.

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
WORDS = "ข้าว ปลา วัด ตลาด แม่น้ำ ช่างทอ ครู สงกรานต์ ภูเขา เรือ ผ้าไหม ดนตรี สมุนไพร นา ฝน ทะเล ป่า ช้าง บ้าน เกลือ".split()


def _text(salt: str, words: int) -> str:
    digest = hashlib.shake_256(salt.encode()).digest(words)
    return "".join(WORDS[byte % len(WORDS)] for byte in digest)


def _fill(schema: dict[str, Any], salt: str, root: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "object":
        return {
            name: _fill(part, f"{salt}.{name}", root) for name, part in schema["properties"].items()
        }
    if schema.get("type") == "array":
        return [
            _fill(schema["items"], f"{salt}.{i}", root)
            for i in range(max(schema.get("minItems", 1), 3))
        ]
    return _text(salt, 60)[: schema.get("maxLength", 400)]


async def answer(prompt: sf.Prompt) -> sf.Reply:
    schema = dict(prompt.json_schema or {})
    return sf.Reply(
        json.dumps(_fill(schema, f"{prompt.user}{prompt.seed}", schema), ensure_ascii=False)
    )


class Folder:
    """A context for every topic."""

    def contexts(self, topic: sf.Topic) -> list[sf.Context]:
        return [sf.Context(text=_text(f"{topic.text}{i}", 200)) for i in range(2)]


def pipeline(filters: str) -> tuple[sf.Pipeline, sf.FunctionGenerator]:
    llm = sf.FunctionGenerator(answer, name="answer")
    tasks = [sf.Summarization(), sf.Brainstorming()]
    topics = [_text(f"topic {i}", 5) + str(i) for i in range(8_000)]
    settings: dict[str, Any] = {
        "contexts": [Folder()],
        "tasks": tasks,
        "diversity": None,
        "topics": topics,
    }
    return sf.Pipeline(
        "th", llm, filters="default" if filters == "default" else [], **settings
    ), llm


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
    size = requests if filters == "no" else requests * 6 // 10  # about so many rows pass
    with tempfile.TemporaryDirectory() as out:
        run = pipeline(filters)[0].run(size, f"{out}/run", progress=False)
        command = [sys.executable, __file__, filters, f"{out}/run", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert run.stats.requests >= requests
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "over_limit": round(sum(found["seconds"].values()) / LIMIT, 3)}


def main(requests: int = 10_000) -> None:
    found = {f"{filters} filters": measure(filters, requests) for filters in ("no", "default")}
    print(json.dumps({"limit_seconds": LIMIT, **found, "cpus": os.cpu_count()}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [filters, out, size]:
            with contextlib.redirect_stdout(sys.stderr):
                found = rebuild(filters, out, int(size))
            print(json.dumps(found))
        case numbers:
            main(*map(int, numbers))
