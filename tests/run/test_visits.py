"""Texts that are asked about more than once, because there are no others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import seedfree as sf
from tests.fakes import FakeClock, published, small_pipeline

SENTENCES = [
    "ตลาดเช้าเปิดตั้งแต่ตีห้าถึงเก้าโมง",
    "แม่ค้าขายข้าวเหนียวหมูปิ้งห่อละสิบห้าบาท",
    "สะพานไม้ข้ามคลองสร้างเมื่อสามสิบปีก่อน",
]


def asks(prompt: sf.Prompt) -> str:
    """Asks for one of the text's points, which the prompt alone decides."""
    point = SENTENCES[hashlib.sha256(prompt.user.encode()).digest()[0] % len(SENTENCES)]
    reply = {"evidence": point, "instruction": f"ถามถึง {point}", "output": point}
    return json.dumps(reply, ensure_ascii=False)


def run(folder: Path, texts: Path, size: int = 9, concurrency: int = 8) -> sf.Run:
    pipeline = small_pipeline(
        sf.FunctionGenerator(asks, name="asker"),
        contexts=[sf.DocumentSource(texts, min_chars=20)],
        tasks=[sf.ClosedQA()],
    )
    return pipeline.run(size=size, out=folder, concurrency=concurrency, clock=FakeClock())


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for market in ("ตลาดเหนือ", "ตลาดใต้"):
        text = f"# {market}\n\n{market}อยู่ริมน้ำ {' '.join(SENTENCES)}\n"
        (folder / f"{market}.md").write_text(text, "utf-8")
    return folder


def test_the_last_text_is_not_the_end_while_there_are_other_points(
    tmp_path: Path, texts: Path
) -> None:
    made = run(tmp_path / "run", texts)
    points = [(row.source.title, row.evidence) for row in made.dataset]
    assert len(points) > 2 and len(set(points)) == len(points), "a point is asked for once a text"
    again = [row for row in made.dropped if row.reason == "diversity: asks for the same point"]
    assert again and all(row.duplicate_of in {kept.id for kept in made.dataset} for row in again)
    assert len(points) + len(again) == 2 * sf.ClosedQA.visits
    assert made.status == "short" and "ran dry" in made.message


def test_visits_are_the_same_at_any_concurrency(tmp_path: Path, texts: Path) -> None:
    runs = [run(tmp_path / str(n), texts, concurrency=n) for n in (1, 3, 64)]
    assert len({tuple(published(each.path).values()) for each in runs}) == 1


def test_a_small_run_visits_each_text_once(tmp_path: Path, texts: Path) -> None:
    made = run(tmp_path / "run", texts, size=2)
    assert made.status == "complete" and made.stats.requests == 2
