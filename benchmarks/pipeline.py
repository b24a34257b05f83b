"""Times whole runs of a pipeline against a plain list schedule of the same latencies.

A server on this machine answers each request after 0.3 s plus an exponential tail of mean 0.7 s,
drawn by the request and a seed. A pipeline of four tasks with topics and texts from the model, and
a filter that drops one row in twenty, makes rows from it. Prints one JSON line for each case, the
median of the seeds:

over_list   wall seconds over what a list schedule takes: the same latencies, known in advance and
            without any dependence, each given to the slot that is free first
raw         wall seconds x concurrency / requests
requests    requests of the run; rounds: those of a planner that waits at the end of every round

python benchmarks/pipeline.py [size/concurrency ...]     2000/128 400/64 5000/64 20/64 by default
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import json
import logging
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import engine
import httpx

import seedfree as sf

CASES = ("2000/128", "400/64", "5000/64", "20/64")
SEEDS = (0, 1, 2)
TASKS = (sf.ClosedQA, sf.Summarization, sf.Conversation, sf.MultipleChoice)
DROPPED = 20
WORDS = "ข้าว ปลา วัด ตลาด ช่างทอ ครู หมอลำ ภูเขา เรือ ผ้าไหม ดนตรี ฝน ลม ทะเล ป่า ช้าง เกลือ".split()


def fill(schema: dict[str, Any], rng: random.Random, name: str = "") -> Any:
    """A value for a schema, in words of Thai; twenty topics, and as many of others as it takes."""
    match schema.get("type"):
        case "object":
            return {key: fill(each, rng, key) for key, each in schema["properties"].items()}
        case "array":
            sizes = {"topics": 20, "wrong": 3}
            return [fill(schema["items"], rng, name) for _ in range(sizes.get(name, 1))]
        case _:
            return "".join(
                rng.choices(WORDS, k=8 if name in ("", "wrong", "correct", "topics") else 40)
            )


class Server(engine.Server):
    """Answers by the schema that is asked for. `GET /` gives the latencies so far, once."""

    latencies: list[float] = []
    seed = 0

    def asked(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            self.send(json.dumps(Server.latencies).encode())
            Server.latencies, Server.seed = [], Server.seed + 1
            return
        rng = random.Random(hashlib.sha256(body + bytes([Server.seed])).digest())
        seconds = 0.3 + rng.expovariate(1 / 0.7)
        Server.latencies.append(seconds)
        text = json.dumps(self.reply(json.loads(body), rng), ensure_ascii=False)
        asyncio.get_running_loop().call_later(seconds, self.send, text.encode())

    def reply(self, request: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        schema = request["response_format"]["json_schema"]["schema"]
        content = json.dumps(fill(schema, rng), ensure_ascii=False)
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }

    def send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.answer(head % len(body) + body)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


class Coin:
    """Drops one row in twenty, by its texts."""

    def check(self, item: sf.Instruction) -> str | None:
        digest = hashlib.sha256(f"{item.instruction}{item.output}".encode()).digest()
        return "coin: tails" if digest[0] % DROPPED == 0 else None


def list_schedule(latencies: list[float], slots: int) -> float:
    free = [0.0] * slots
    for seconds in latencies:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def in_rounds(size: int) -> int:
    """Requests that rounds take: 8 jobs a task, then what the yield asks for and a tenth more."""
    jobs = []
    for task in range(len(TASKS)):
        quota, used, rate = size // len(TASKS) + (task < size % len(TASKS)), 0, 1 - 1 / DROPPED
        while (missing := quota - math.floor(used * rate)) > 0:
            wanted = math.ceil(missing / rate * 1.1) if used else min(8, missing)
            used += min(wanted, used or wanted)
        jobs.append(used)
    texts, topics, waves, width = jobs[0], 0, 0, 1
    while topics < max(jobs):
        topics, waves, width = topics + 20 * width, waves + width, min(2 * width, 16)
    return sum(jobs) + texts + waves


def measure(url: str, size: int, concurrency: int) -> dict[str, Any]:
    runs = []
    for seed in SEEDS:
        pipeline = sf.Pipeline(
            "th",
            sf.OpenAICompatibleGenerator(url, "m", api_key="k" * 50, price=0.0),
            tasks=[task() for task in TASKS],
            filters=[Coin()],
            diversity=None,
        )
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run = pipeline.run(
                size, f"{folder}/run", seed=seed, concurrency=concurrency, progress=False
            )
            wall = time.perf_counter() - start
            assert run.status == "complete" and len(run.dataset) == size
        latencies = httpx.get(url).json()
        n = len(latencies)
        runs.append((wall / list_schedule(latencies, concurrency), wall * concurrency / n, n, wall))
    over, raw, requests, wall = (statistics.median(each) for each in zip(*runs, strict=True))
    return {
        "rows": size,
        "concurrency": concurrency,
        "over_list": round(over, 3),
        "raw": round(raw, 3),
        "requests": requests,
        "rounds": in_rounds(size),
        "wall_s": round(wall, 1),
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(engine.serve(Server))
    else:
        logging.disable(logging.WARNING)
        with serving() as url:
            for case in sys.argv[1:] or CASES:
                size, concurrency = map(int, case.split("/"))
                print(json.dumps(measure(url, size, concurrency)), flush=True)
