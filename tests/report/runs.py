"""Run folders for the report: healthy ones, and ones that are sick in one way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import seedfree as sf
from seedfree._files import json_line, write_json
from seedfree._seeds import seeded
from seedfree.dataset import to_row
from seedfree.diversity.store import VectorStore
from seedfree.outcome import Dropped, Stats, code, dropped_row
from seedfree.records import Instruction, Source
from tests.fakes import sentence

TASKS = ("closed_qa", "conversation", "open_qa", "summarization")
SETTINGS: dict[str, Any] = {
    "tasks": [{"kind": task} for task in TASKS],
    "topics": None,
    "cultural_share": 0.5,
    "diversity": {"kind": "SemanticDiversityFilter", "threshold": 0.9, "encoder": {}},
}
# Words that make answers of four lengths, in about the shares that the files of languages want.
LENGTHS = (12, 60, 150, 320)


def row(i: int, **values: Any) -> Instruction:
    """Returns a sound row: its opening, length, page, task and kind of topic change with i."""
    question = f"{sentence('opening', i, words=4)} {i} ?"
    answer = sentence("answer", i, words=LENGTHS[i // 4 % 4])
    title = f"หน้า {i // 3}"
    page = Source("wikipedia", title, f"https://th.example/{i // 3}", license="CC-BY-SA-4.0")
    made = Instruction(
        TASKS[i % 4],
        question,
        answer,
        id=f"{i:016x}",
        language="th",
        topic=sentence("topic", i, words=2),
        topic_kind=("general", "cultural")[i % 2],
        source=page,
        generator="model",
    )
    return replace(made, messages=(), **values)


def lost(i: int, reason: str, of: str | None = None, **values: Any) -> Dropped:
    """Returns a row that was dropped for a reason."""
    similarity = 0.95 if of else None
    return Dropped.of(row(i, **values), reason, of, similarity)


def write_run(
    folder: Path,
    kept: Sequence[Instruction],
    dropped: Sequence[Dropped] = (),
    *,
    status: str = "complete",
    message: str = "",
    size: int | None = None,
    settings: dict[str, Any] | None = None,
    vectors: bool = False,
    **stats: Any,
) -> sf.Run:
    """Writes the files that a run publishes, and opens it."""
    folder.mkdir(parents=True, exist_ok=True)
    drops = dict(Counter(code(each.reason) for each in dropped))
    figures = {"requests": len(kept) + len(dropped), "jobs": len(kept) + len(dropped), **stats}
    taken = Stats(rows=len(kept), topics=9, contexts=9, seconds=60.0, drops=drops, **figures)
    lines = "".join(map(json_line, map(to_row, kept)))
    (folder / "dataset.jsonl").write_text(lines, "utf-8")
    lines = "".join(map(json_line, map(dropped_row, dropped)))
    (folder / "dropped.jsonl").write_text(lines, "utf-8")
    write_json(
        folder / "status.json", {"status": status, "message": message, "stats": asdict(taken)}
    )
    manifest = {"size": len(kept) if size is None else size, "settings": settings or SETTINGS}
    write_json(folder / "manifest.json", manifest)
    if vectors:
        _write_vectors(folder / "vectors", [*kept, *dropped])
    return sf.Run.open(folder)


def _write_vectors(folder: Path, rows: Sequence[Instruction]) -> None:
    """Gives each row a direction; a near-duplicate lies beside the row that it duplicates."""
    store = VectorStore(folder, "letters")
    random = np.random.default_rng(0)
    known: dict[str, Any] = {}
    for each in rows:
        centre = random.standard_normal(16) * 0.6 + 2 * np.eye(16)[TASKS.index(each.task)]
        of = getattr(each, "duplicate_of", None)
        vector = known[of] + random.standard_normal(16) * 0.1 if of else centre
        known[each.id] = vector / np.linalg.norm(vector)
    # A row that a filter dropped has no vector; a kept one has no reason.
    reached = [row for row in rows if getattr(row, "reason", "diversity").startswith("diversity")]
    places = {each.id: number for number, each in enumerate(reached)}
    array = np.array([known[each.id] for each in reached], np.float32)
    texts = list(places)
    held = store.vectors(texts, lambda batch: array[[places[text] for text in batch]])
    store.keep_rows(texts, held)


def sample(n: int, seed: int = 0) -> tuple[list[Instruction], list[Dropped]]:
    """Returns rows as a run of a good model leaves them: most kept, a few dropped."""
    random = seeded("sample", seed)
    kept = [row(i) for i in range(n)]
    alike = [
        lost(n + i, "diversity: near-duplicate", kept[random.randrange(n)].id)
        for i in range(n // 25)
    ]
    rules = [lost(2 * n + i, "grounding: number not in the context (2541)") for i in range(n // 20)]
    return kept, [*alike, *rules]
