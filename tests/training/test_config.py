"""Settings: the paper's to the letter, the recommended ones with reasons, mistakes in one line."""

from pathlib import Path

import pytest

from seedfree.errors import ConfigError
from seedfree.training.config import QLoRAConfig


def test_the_papers_recipe():
    config = QLoRAConfig.paper()
    assert (config.rank, config.alpha, config.dropout) == (32, 16, 0.05)
    assert config.target_modules == "all-linear"
    assert config.modules_to_save == ("embed_tokens", "lm_head")
    assert (config.chat_template, config.max_length) == ("chatml", 4000)
    assert (config.packing, config.pad_to_max_length) == (False, True)
    assert (config.batch_size, config.accumulation, config.epochs) == (1, 8, 2)
    assert (config.learning_rate, config.scheduler, config.warmup_ratio) == (1.5e-4, "cosine", 0.5)
    assert (config.optimizer, config.adapter_dtype) == ("paged_adamw_8bit", "bfloat16")
    assert (config.gradient_checkpointing, config.validation_share) == (True, 0.125)


def test_the_recommended_one_packs_and_trains_no_embeddings():
    config = QLoRAConfig.recommended()
    assert config == QLoRAConfig()
    assert config.packing and not config.pad_to_max_length and not config.modules_to_save
    assert config.warmup_ratio <= 0.1


def test_every_difference_has_its_reason():
    table = QLoRAConfig.differences().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    paper, better = QLoRAConfig.paper(), QLoRAConfig.recommended()
    names = QLoRAConfig.model_fields
    differ = [name for name in names if getattr(paper, name) != getattr(better, name)]
    assert [row[0].strip("`") for row in cells] == differ
    assert all(len(row) == 4 and len(row[3]) > 20 and row[1] != row[2] for row in cells)


def test_the_page_has_the_same_table():
    page = Path(__file__).parents[2] / "docs" / "training.md"
    assert QLoRAConfig.differences() in page.read_text("utf-8")


def test_every_setting_is_explained():
    assert not [name for name, field in QLoRAConfig.model_fields.items() if not field.description]


@pytest.mark.parametrize("make", [QLoRAConfig, QLoRAConfig.paper, QLoRAConfig.recommended])
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"rank": 0}, "rank"),
        ({"epochs": "many"}, "epochs"),
        ({"epoch": 2}, "epoch: "),
        ({"target_modules": ("q_proj", "lm_head")}, "modules_to_save"),
        ({"target_modules": ()}, "target_modules"),
        ({"packing": True, "pad_to_max_length": True}, "pad_to_max_length"),
        ({"validation_share": 1.0}, "validation_share"),
    ],
)
def test_mistakes_are_one_line(make, settings, word):
    with pytest.raises(ConfigError, match=word) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


def test_it_goes_through_json():
    for config in (QLoRAConfig.paper(seed=3), QLoRAConfig()):
        assert QLoRAConfig(**config.model_dump(mode="json")) == config
