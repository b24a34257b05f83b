"""The estimate: parameters exact, memory by part, refusals before a weight is read."""

import json
import shutil

import pytest

from seedfree.errors import ConfigError
from seedfree.training import footprint as module
from seedfree.training.base_model import BaseModel, computes_in_bf16, quiet
from seedfree.training.config import QLoRAConfig
from seedfree.training.footprint import memory, shape
from seedfree.training.trainer import QLoRATrainer
from tests.training.tiny import make_tokenizer, save_base

# Llama-3-8B's config.json, as its model card gives its sizes.
LLAMA_3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}


@pytest.fixture
def large(tmp_path):
    """A folder that is Llama-3-8B for all that is read of it: its weights are a stub."""
    folder = tmp_path / "large"
    make_tokenizer("{% for m in messages %}{{ m.content }}</s>{% endfor %}").save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B))
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    return folder


def test_llama_3_8b_has_the_parameters_that_its_card_gives(large):
    size = shape(BaseModel.find(large), QLoRAConfig.paper(), tokens=128_256)
    assert size.total == 8_030_261_248
    assert size.adapter == 83_886_080
    assert size.full == 2 * 128_256 * 4096
    assert size.linear == 6_979_321_856
    assert shape(BaseModel.find(large), QLoRAConfig(), tokens=128_256).full == 0
    assert shape(BaseModel.find(large), QLoRAConfig(), tokens=128_258).full == 2 * 128_258 * 4096
    queries = QLoRAConfig(rank=1, target_modules=("q_proj",))
    assert shape(BaseModel.find(large), queries, tokens=128_256).adapter == 32 * 2 * 4096


def test_memory_on_a_gpu_is_what_such_trainings_are_known_to_take(large, monkeypatch):
    """QLoRA of an 8B model takes a GPU of 16 GB with an adapter alone, 24 with whole embeddings."""
    monkeypatch.setattr(module, "computes_in_bf16", lambda device: True)
    base = BaseModel.find(large)
    total = {}
    for name, config in (("paper", QLoRAConfig.paper()), ("recommended", QLoRAConfig())):
        size = shape(base, config, tokens=128_258 if name == "paper" else 128_256)
        parts = memory(size, config, length=config.max_length, device="cuda:0")
        assert parts["weights"] / 2**30 == pytest.approx(5.3, abs=0.1)
        total[name] = sum(parts.values()) / 2**30
    assert 8 < total["recommended"] < 16 < total["paper"] < 24


def test_a_gpu_without_bf16_takes_what_float32_takes(large, monkeypatch):
    config = QLoRAConfig.paper()
    size = shape(BaseModel.find(large), config, tokens=128_256)
    parts = {}
    for bf16 in (True, False):
        monkeypatch.setattr(module, "computes_in_bf16", lambda device, bf16=bf16: bf16)
        parts[bf16] = memory(size, config, length=config.max_length, device="cuda:0")
    assert parts[False]["adapter"] == 2 * parts[True]["adapter"] == size.trained * 4
    assert parts[False]["weights"] - parts[True]["weights"] == size.other * 2
    for name in ("gradients", "activations", "logits"):
        assert parts[False][name] > parts[True][name]


@pytest.mark.parametrize("native", [False, True])
def test_a_gpu_that_only_imitates_bf16_has_none(monkeypatch, native):
    """A T4 or a V100 makes bf16 tensors, and computes slower with them than in float32."""
    import torch

    def supported(including_emulation=True):
        return including_emulation or native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert computes_in_bf16("cuda:0") is native


@pytest.mark.parametrize("able", [{}, {"avx512_bf16": True}, {"amx_bf16": True, "avx2": True}])
def test_a_cpu_computes_in_bf16_where_it_has_instructions_for_it(monkeypatch, able):
    import torch

    known = {"avx512_bf16": False, "amx_bf16": False, "avx2": True} | able
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert computes_in_bf16("cpu") is bool(able)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert computes_in_bf16("cpu") is False, "an older torch"


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_trained_model(rows, tmp_path, one_thread, tied):
    pytest.importorskip("trl")
    base = save_base(tmp_path / "base", template=None, tied=tied)
    trainer = QLoRATrainer(
        base, QLoRAConfig(rank=3, chat_template="chatml", max_length=64, quantize=True)
    )
    plan = trainer._plan(rows, None)
    with quiet():
        model = trainer._sft_trainer(plan, tmp_path / "out").model
    size = plan.footprint.shape
    seen = {id(p): p for p in model.parameters() if p.requires_grad}
    assert size.trained == sum(p.numel() for p in seen.values())
    assert size.linear == sum(
        m.in_features * m.out_features for m in model.modules() if hasattr(m, "compute_dtype")
    )


def test_an_estimate_reads_no_weights_and_says_what_it_takes(base, rows, tmp_path):
    bare = shutil.copytree(base, tmp_path / "bare")
    (bare / "model.safetensors").write_bytes(b"no weights at all")
    estimate = QLoRATrainer(bare, QLoRAConfig(max_length=256, epochs=2)).estimate(rows)
    assert estimate.fits and estimate.reason is None
    assert (estimate.rows, estimate.validation_rows) == (38, 2)
    assert estimate.tokens == estimate.report.total.tokens
    assert estimate.seconds > 0 and estimate.steps > 2
    for word in ("memory: about", "time: about", "closed_qa", "tokens/character"):
        assert word in str(estimate)


def test_steps_are_those_that_are_taken(base, rows, tmp_path):
    config = QLoRAConfig(
        max_length=256, packing=False, batch_size=2, accumulation=2, epochs=2, validation_share=0
    )
    trainer = QLoRATrainer(base, config, show=False)
    assert trainer.estimate(rows).steps == 20
    assert trainer.train(rows, tmp_path / "out").losses[-1].step == 20


def test_padding_costs_what_packing_saves(base, rows):
    packed = QLoRATrainer(base, QLoRAConfig(max_length=1000)).estimate(rows)
    padding = QLoRAConfig(max_length=1000, packing=False, pad_to_max_length=True)
    padded = QLoRATrainer(base, padding).estimate(rows)
    assert padded.tokens == padded.rows * 1000 > 5 * packed.tokens


def test_what_does_not_fit_is_refused_before_a_weight_is_read(large, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda device: 4 * 2**30)
    assert not QLoRATrainer(large, QLoRAConfig()).estimate(rows).fits
    with pytest.raises(
        ConfigError, match=r"8.03 billion parameters.* GiB.*no GPU was found.*4.0 GiB free"
    ) as caught:
        QLoRATrainer(large, QLoRAConfig()).train(rows, tmp_path / "out")
    assert "\n" not in str(caught.value) and "smaller base model" in str(caught.value)
    assert not (tmp_path / "out").exists()
