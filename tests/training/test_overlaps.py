"""A trainer that knows its benchmarks says what of them stands in the rows, and keeps the count."""

import logging

import pytest

from seedfree.records import Prompt, Question
from seedfree.training import sft
from seedfree.training.config import QLoRAConfig
from seedfree.training.trainer import QLoRATrainer
from tests.training.tiny import SENTENCES

QUICK = {
    "rank": 2,
    "alpha": 2,
    "max_length": 128,
    "epochs": 1,
    "validation_share": 0,
    "checkpoints": 1,
}


class Known:
    """A benchmark whose answer stands in some rows, and one that stands in none."""

    language = "th"

    def __init__(self, name, answer):
        self.name, self.answer = name, answer

    def questions(self):
        return [Question(id="1", task="qa", question="ไหลผ่านที่ใดบ้าง", answer=self.answer)]

    def prompt(self, question):
        return Prompt(question.question)


KNOWN = (Known("rivers", SENTENCES[1]), Known("none", "ไม่มีอยู่ในแถวใดเลยแม้แต่แถวเดียวจริง ๆ"))


def warned(caplog):
    return [record.getMessage() for record in caplog.records if "overlap" in record.getMessage()]


@pytest.fixture
def trainer(base, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "seedfree")
    return lambda **values: QLoRATrainer(base, QLoRAConfig(**QUICK), show=False, **values)


def test_an_estimate_warns_of_each_benchmark_that_overlaps(trainer, rows, caplog):
    trainer(benchmarks=KNOWN).estimate(rows)
    (warning,) = warned(caplog)
    count = sum(
        any(SENTENCES[1] in text for text in (*(m.content for m in row.messages), row.output))
        for row in rows
    )
    assert (
        f"{count} of {len(rows)} rows overlap with the benchmark rivers" in warning
        and 0 < count < len(rows)
    )


def test_training_warns_before_weights_are_read_and_keeps_the_counts(
    trainer, rows, tmp_path, monkeypatch, caplog
):
    load, before = sft.load, []
    monkeypatch.setattr(sft, "load", lambda *a, **k: before.append(warned(caplog)) or load(*a, **k))
    model = trainer(benchmarks=KNOWN).train(rows[:6], tmp_path / "out")
    assert len(before[0]) == len(warned(caplog)) == 1
    assert model.info["overlapping_rows"]["rivers"] > 0 == model.info["overlapping_rows"]["none"]


def test_nothing_is_said_where_nothing_is_asked(trainer, rows, caplog):
    trainer().estimate(rows)
    trainer(benchmarks=KNOWN, allow_contamination=True).estimate(rows)
    assert not warned(caplog)
