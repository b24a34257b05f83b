"""A schedule that fits few rows and a small model, or many."""

import logging

import pytest

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.records import Instruction
from seedfree.training.config import QLoRAConfig
from seedfree.training.schedule import schedule
from seedfree.training.trainer import QLoRATrainer
from tests.training.tiny import item


def rows(count, times=1):
    made = (item("summarization", number) for number in range(count))
    return Dataset(
        Instruction(row.task, f"{number} {row.instruction}", row.output * times)
        for number, row in enumerate(made)
    )


def test_few_rows_make_steps_enough(base, caplog):
    caplog.set_level(logging.INFO, "seedfree")
    few = rows(200)
    config = QLoRAConfig.recommended(few, base, validation_share=0)
    assert 80 <= QLoRATrainer(base, config).estimate(few).steps
    assert QLoRATrainer(base, QLoRAConfig(validation_share=0)).estimate(few).steps < 10
    assert not config.packing and config.learning_rate > QLoRAConfig().learning_rate
    for name in ("max_length", "accumulation", "packing", "learning_rate"):
        assert any(line.startswith(f"{name}={getattr(config, name)}") for line in caplog.messages)


def test_many_rows_are_packed(base):
    many = rows(4000, times=20)
    chosen = schedule(many, base)
    assert "packing" not in chosen
    config = QLoRAConfig.recommended(many, base, validation_share=0)
    assert QLoRATrainer(base, config).estimate(many).steps >= 140


def test_what_is_asked_for_stands(base):
    assert QLoRAConfig.recommended(rows(40), base, accumulation=7).accumulation == 7


def test_rows_and_base_model_come_together(base):
    with pytest.raises(ConfigError, match="rows to a base model"):
        QLoRAConfig.recommended(rows(1))
    with pytest.raises(ConfigError, match="rows to a base model"):
        QLoRAConfig.recommended(base_model=base)
