"""Stand-ins for what a test must control: time, an LLM that answers any schema, an encoder of letters."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree._seeds import seeded
from seedfree.engine.loop import Clock
from seedfree.generators.function import FunctionGenerator
from seedfree.records import Prompt, Reply, Usage

WORDS = (
    "ข้าว ปลา วัด ตลาด แม่น้ำ ช่างทอ ครู หมอลำ สงกรานต์ ภูเขา เรือ ผ้าไหม ดนตรี สมุนไพร นา ฝน ลม ทะเล ป่า ช้าง "
    "บ้าน โรงเรียน หมู่บ้าน เกลือ มะพร้าว ขนม ดอกไม้ เทศกาล นิทาน เครื่องปั้น"
).split()


class FakeClock(Clock):
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.slept: list[float] = []

    def now(self) -> str:
        return "2026-01-01T00:00:00Z"

    def timestamp(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


def sentence(*salt: object, words: int = 12) -> str:
    """A Thai-looking sentence that depends on `salt` alone."""
    return "".join(seeded(*salt).choices(WORDS, k=words))


def fill(schema: dict[str, Any], path: str, salt: str, root: dict[str, Any] | None = None) -> Any:
    """A value for a JSON schema, with text that depends on path and salt."""
    root = root or schema
    if "$ref" in schema:
        return fill(root["$defs"][schema["$ref"].rpartition("/")[2]], path, salt, root)
    match schema.get("type"):
        case "object":
            return {n: fill(s, f"{path}.{n}", salt, root) for n, s in schema["properties"].items()}
        case "array":
            n = max(schema.get("minItems", 1), min(3, schema.get("maxItems", 3)))
            return [fill(schema["items"], f"{path}.{i}", salt, root) for i in range(n)]
        case "integer":
            return schema.get("minimum", 1)
        case _:
            text = sentence(path, salt, words=30 if path.endswith(".text") else 10)
            return text[: schema.get("maxLength", 400)]


def thai(prompt: Prompt) -> Reply:
    """Answers any prompt with a schema; the same prompt and seed always get the same reply."""
    salt = hashlib.sha256(f"{prompt.user}{prompt.seed}".encode()).hexdigest()
    value = fill(dict(prompt.schema or {"type": "string"}), "", salt)
    return Reply(json.dumps(value, ensure_ascii=False), Usage(len(prompt.user), 100), model="fake")


def thai_llm(name: str = "thai") -> FunctionGenerator:
    return FunctionGenerator(thai, name=name)


class LetterEncoder:
    """Counts of character pairs, hashed into 64 places."""

    identity = "letters"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.full((len(texts), 64), 1e-3)
        for row, text in zip(rows, texts, strict=True):
            for pair in zip(text, text[1:], strict=False):
                row[hashlib.sha256("".join(pair).encode()).digest()[0] % 64] += 1
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class VirtualClock(FakeClock):
    """Time that jumps to whoever wakes next, once nobody has anything else to do: sleepers side by side share it."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._pump: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.seconds + seconds, self._count, woken))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._jump())
        await woken

    async def _jump(self) -> None:
        while self._sleepers:
            for _ in range(30):
                await asyncio.sleep(0)
            at, _, woken = heapq.heappop(self._sleepers)
            self.seconds = max(self.seconds, at)
            if not woken.done():
                woken.set_result(None)
