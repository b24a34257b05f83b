"""Stand-ins that the tests share: clocks, an LLM for any schema, an encoder, a small pipeline."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.engine.loop import Clock
from seedfree.generators.function import FunctionGenerator
from seedfree.records import Context, Instruction, Prompt, Reply, Topic, Usage

WORDS = (
    "ข้าว ปลา วัด ตลาด แม่น้ำ ช่างทอ ครู หมอลำ สงกรานต์ ภูเขา เรือ ผ้าไหม ดนตรี สมุนไพร นา ฝน ลม ทะเล ป่า ช้าง "
    "บ้าน โรงเรียน หมู่บ้าน เกลือ มะพร้าว ขนม ดอกไม้ เทศกาล นิทาน เครื่องปั้น"
).split()


class FakeClock(Clock):
    """A clock on which time passes only when somebody sleeps."""

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


class VirtualClock(FakeClock):
    """A clock that jumps to the next sleeper once nobody has anything else to do.

    Tasks that sleep at the same time share that time, as they would on a real clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._pump: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()
        # The count decides between sleepers who wake at the same time: futures cannot be compared.
        self._count += 1
        heapq.heappush(self._sleepers, (self.seconds + seconds, self._count, woken))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._jump())
        await woken

    async def _jump(self) -> None:
        while self._sleepers:
            # Lets every other task run on until it sleeps or waits, too.
            for _ in range(30):
                await asyncio.sleep(0)
            at, _, woken = heapq.heappop(self._sleepers)
            self.seconds = max(self.seconds, at)
            if not woken.done():
                woken.set_result(None)


def sentence(*salt: object, words: int = 12) -> str:
    """Returns Thai words in a row, which depend on `salt` alone."""
    return "".join(seeded(*salt).choices(WORDS, k=words))


def fill(schema: dict[str, Any], path: str, salt: str, root: dict[str, Any] | None = None) -> Any:
    """Returns a value that fits a JSON schema; its texts depend on `path` and `salt` alone."""
    root = root or schema
    if "$ref" in schema:
        return fill(root["$defs"][schema["$ref"].rpartition("/")[2]], path, salt, root)
    match schema.get("type"):
        case "object":
            return {n: fill(s, f"{path}.{n}", salt, root) for n, s in schema["properties"].items()}
        case "array":
            n = max(schema.get("minItems", 1), min(3, schema.get("maxItems", 3)))
            return [fill(schema["items"], f"{path}.{i}", salt, root) for i in range(n)]
        case "boolean":
            return False
        case "integer":
            return schema.get("minimum", 1)
        case _:
            # A field `text` is a written context, which has a least length.
            text = sentence(path, salt, words=30 if path.endswith(".text") else 10)
            return text[: schema.get("maxLength", 400)]


def thai(prompt: Prompt) -> Reply:
    """Answers any prompt that has a schema; the same prompt and seed always get the same reply."""
    salt = hashlib.sha256(f"{prompt.user}{prompt.seed}".encode()).hexdigest()
    value = fill(dict(prompt.schema or {"type": "string"}), "", salt)
    return Reply(json.dumps(value, ensure_ascii=False), Usage(len(prompt.user), 100), model="fake")


def thai_llm(name: str = "thai") -> FunctionGenerator:
    """Returns a new generator that answers with `thai` and records its calls."""
    return FunctionGenerator(thai, name=name)


class LetterEncoder:
    """Counts the pairs of characters of a text, hashed into 64 places."""

    identity = "letters"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # A little everywhere, so that a text of one letter has a direction, too.
        rows = np.full((len(texts), 64), 1e-3)
        for row, text in zip(rows, texts, strict=True):
            for pair in zip(text, text[1:], strict=False):
                row[hashlib.sha256("".join(pair).encode()).digest()[0] % 64] += 1
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Riddle(sf.TaskTemplate):
    """A user's own task, which needs no context and makes two rows of a reply."""

    name: ClassVar[str] = "riddle"
    rows = 2
    needs_context: ClassVar[bool] = False

    class Fields(BaseModel):
        question: str
        answer: str

    def prompt(self, context: Context, language: sf.Language) -> Prompt:
        assert context.topic is not None
        return Prompt(f"riddle {context.topic.text}", system=language.persona)

    def instructions(self, fields: Any, context: Context) -> list[Instruction]:
        return [
            Instruction("riddle", fields.question, fields.answer),
            Instruction("riddle", fields.answer, fields.question),
        ]


class Library:
    """A user's own source, which has two texts for every topic."""

    def contexts(self, topic: Topic) -> list[Context]:
        return [Context(text=sentence(topic.text, i, words=40)) for i in range(2)]


def small_pipeline(llm: Any = None, **changes: Any) -> sf.Pipeline:
    """Returns a Thai pipeline of two tasks and no filters, with changed settings where given."""
    settings = {
        "contexts": [Library()],
        "filters": [],
        "diversity": None,
        "tasks": [Riddle(), sf.Summarization()],
    }
    return sf.Pipeline("th", llm or thai_llm(), **{**settings, **changes})


def reason(finding: Any) -> str | None:
    """Returns why a row is dropped where nobody settles the first doubt about it."""
    if isinstance(finding, list):
        return str(finding[0].reason)
    assert finding is None or isinstance(finding, str)
    return finding


def label(part: object) -> str:
    """Returns an object's `repr` without its address, which differs between processes."""
    return repr(part).partition(" object")[0]


def published(folder: Path) -> dict[str, bytes]:
    """Returns the published files of a run, the rows and the card, without the manifest."""
    files = (path for path in sorted(folder.iterdir()) if path.suffix in (".jsonl", ".md"))
    return {path.name: path.read_bytes() for path in files}
