"""A schedule that fits few rows and a small model, or many."""

import logging

import pytest

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.records import Instruction
from seedfree.training.config import QLoRAConfig
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
    config = QLoRATrainer.recommended(base, few, validation_share=0).config
    assert 80 <= QLoRATrainer(base, config).estimate(few).steps
    assert QLoRATrainer(base, QLoRAConfig(validation_share=0)).estimate(few).steps < 10
    assert not config.packing and config.learning_rate > QLoRAConfig().learning_rate
    for name in ("max_length", "accumulation", "packing", "learning_rate"):
        assert any(line.startswith(f"{name}={getattr(config, name)}") for line in caplog.messages)


def test_many_rows_are_packed(base):
    many = rows(4000, times=20)
    config = QLoRATrainer.recommended(base, many, validation_share=0).config
    assert config.packing
    assert QLoRATrainer(base, config).estimate(many).steps >= 140


def test_what_is_asked_for_stands_and_the_rest_goes_with_it(base, caplog):
    caplog.set_level(logging.INFO, "seedfree")
    few = rows(200)
    for changes in ({"batch_size": 4}, {"epochs": 4}, {"max_length": 64, "packing": True}):
        caplog.clear()
        trainer = QLoRATrainer.recommended(base, few, validation_share=0, **changes)
        assert {name: getattr(trainer.config, name) for name in changes} == changes
        assert 80 <= trainer.estimate(few).steps <= 200
        assert not any(line.startswith(tuple(changes)) for line in caplog.messages)
    assert QLoRATrainer.recommended(base, rows(40), accumulation=7).config.accumulation == 7


def test_what_cannot_be_trained_is_refused(base, tmp_path):
    with pytest.raises(ConfigError, match="The data set is list"):
        QLoRATrainer.recommended(base, [1])
    with pytest.raises(ConfigError, match="no folder"):
        QLoRATrainer.recommended(tmp_path / "none", rows(1))
