"""Code that a model's folder brings is neither run nor asked about."""

import json
import shutil

import pytest

from seedfree.diversity.encoders import BGEM3Encoder, SentenceTransformerEncoder
from seedfree.errors import ConfigError
from seedfree.evaluation.similarity import bert_score
from seedfree.training.base_model import BaseModel
from seedfree.training.config import QLoRAConfig
from seedfree.training.trainer import QLoRATrainer

CLASSES = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")


@pytest.fixture
def trap(tmp_path, base, monkeypatch):
    """Makes a model's folder with code of its own; afterwards, none of it was run or asked for."""
    ran = tmp_path / "ran"
    asked = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))

    def make(**changes):
        folder = shutil.copytree(base, tmp_path / "model")
        code = f"open({str(ran)!r}, 'w').close()\nclass Own:\n    pass\n"
        (folder / "own.py").write_text(code)
        classes = {name: "own.Own" for name in CLASSES}
        for name, own in (
            ("config.json", {"auto_map": classes, **changes}),
            ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["own.Own", None]}}),
        ):
            content = json.loads((folder / name).read_text("utf-8")) | own
            (folder / name).write_text(json.dumps(content))
        modules = [{"idx": 0, "name": "0", "path": "", "type": "own.Own"}]
        (folder / "modules.json").write_text(json.dumps(modules))
        return folder

    yield make
    assert not ran.exists()
    assert not asked


def test_a_base_model_is_trained_with_the_code_of_transformers(trap, rows):
    folder = trap()
    config = QLoRAConfig(max_length=256, epochs=0.1, checkpoints=1, validation_share=0)
    trainer = QLoRATrainer(folder, config, show=False)
    model = trainer.train(rows, folder.parent / "out")
    assert len(model.generate(["สวัสดี"], max_new_tokens=1)) == 1


def test_a_base_model_that_needs_its_own_code_is_refused(trap):
    with pytest.raises(ConfigError, match="no model that can be read"):
        BaseModel.find(trap(model_type="own"))


@pytest.mark.parametrize(
    ("encoder", "model_type"),
    [
        (SentenceTransformerEncoder, "llama"),
        (SentenceTransformerEncoder, "own"),
        (BGEM3Encoder, "own"),
    ],
)
def test_an_encoder_that_needs_its_own_code_is_refused(trap, encoder, model_type):
    pytest.importorskip("FlagEmbedding")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        encoder(str(trap(model_type=model_type))).encode(["ก"])


# The second is a vision model's, which has a configuration of its own kind.
@pytest.mark.parametrize("model_type", ["own", "clip_text_model", "encoder-decoder"])
def test_a_scorer_that_needs_its_own_code_is_refused(trap, model_type):
    pytest.importorskip("bert_score")
    with pytest.raises(ConfigError, match="cannot load"):
        bert_score(["ก"], ["ก"], model=str(trap(model_type=model_type)))
