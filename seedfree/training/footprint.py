"""What a training will take, from the base model's `config.json` alone: parameters, memory, time.

Parameters are counted on a model without weights, by the shape of every layer, and exact, as are
the bytes of weights, adapter, gradients and optimizer. Activations and logits are a model of what
PyTorch and TRL keep: on a CPU, with 100 million parameters and sequences of 1,024 tokens, trainings
with and without gradient checkpointing and with whole embeddings took 0.9 to 1.1 of the estimate;
on a GPU nobody has compared yet. The time rests on a product of matrices that is timed on the spot,
and is right within a factor of three.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from seedfree.training.base_model import BaseModel
from seedfree.training.config import QLoRAConfig

__all__ = ["Footprint", "Shape", "free_memory", "memory", "seconds", "shape"]

_GIB = 2**30
_TILE = (4096, 32768)
_GPU_CONTEXT = 0.7 * _GIB
_CPU_PACKAGES = 0.5 * _GIB
# What of the timed product's speed a whole step reaches: dequantizing, normalizing and attention
# take their share.
_REACHED = 0.5


@dataclass(frozen=True)
class Shape:
    """A base model's size; all in numbers of parameters unless said otherwise.

    Attributes:
        linear: Of layers that NF4 quantizes.
        other: Of the rest: embeddings, norms, the output layer.
        adapter: Of the adapters.
        full: Of the layers that are trained in full.
        layers, hidden, vocabulary: As the configuration says.
        largest: Of the largest quantized layer.
        inputs, outputs: Sum over the quantized layers of a block of the values that go in and come
            out, a token.
    """

    linear: int
    other: int
    adapter: int
    full: int
    layers: int
    hidden: int
    vocabulary: int
    largest: int
    inputs: int
    outputs: int

    @property
    def total(self) -> int:
        """Parameters of the base model."""
        return self.linear + self.other

    @property
    def trained(self) -> int:
        """Parameters that change."""
        return self.adapter + self.full


@dataclass(frozen=True)
class Footprint:
    """What a training will take on this machine.

    Attributes:
        base_model: Its name.
        shape: Its size.
        device: Where it runs.
        memory: Bytes by purpose.
        free: Bytes that are free there.
        rows, validation_rows: That are trained on and held out.
        tokens: That one epoch computes, padding included.
        steps: Updates in all.
        seconds: Of training, within a factor of three.
        report: What rendering made of the training rows.
    """

    base_model: str
    shape: Shape
    device: str
    memory: Mapping[str, float]
    free: float
    rows: int
    validation_rows: int
    tokens: int
    steps: int
    seconds: float
    report: Any

    @property
    def bytes(self) -> float:
        """Memory in all."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.bytes <= self.free

    @property
    def reason(self) -> str | None:
        """Why it cannot be trained here; `None` where it can."""
        if self.fits:
            return None
        where = (
            "this machine (no GPU was found)"
            if self.device == "cpu"
            else f"the GPU ({self.device})"
        )
        return (
            f"Training {self.base_model} ({self.shape.total / 1e9:.2f} billion parameters) takes about "
            f"{self.bytes / _GIB:.1f} GiB, and {where} has {self.free / _GIB:.1f} GiB free"
        )

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / _GIB:.2f}" for name, size in self.memory.items())
        left = timedelta(seconds=round(self.seconds))
        return (
            f"{self.base_model}: {self.shape.total / 1e6:,.0f} million parameters, {self.shape.trained / 1e6:,.1f} "
            f"million trained\n"
            f"memory: about {self.bytes / _GIB:.1f} GiB of {self.free / _GIB:.1f} GiB free on {self.device} ({parts})\n"
            f"time: about {left} for {self.steps:,} steps, {self.rows:,} rows, {self.tokens:,} tokens an epoch "
            f"(within a factor of three)\n{self.report}"
        )


def shape(base: BaseModel, config: QLoRAConfig, *, tokens: int) -> Shape:
    """Counts parameters by shape; no weight is read.

    Args:
        tokens: That the tokenizer knows.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base.config)
    text = base.config.get_text_config()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    grown = max(0, tokens - embedding.num_embeddings)
    names = full_modules(config, added=grown > 0)
    linear = adapter = inputs = outputs = largest = 0
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or module is head:
            continue
        size, through = module.weight.numel(), (module.in_features, module.out_features)
        linear, largest = linear + size, max(largest, size)
        inputs, outputs = inputs + through[0], outputs + through[1]
        ends = name.rsplit(".", 1)[-1]
        if config.target_modules == "all-linear" or any(
            ends == one or name.endswith(f".{one}") for one in config.target_modules
        ):
            adapter += config.rank * sum(through)
    tied = head is not None and head.weight is embedding.weight
    every = sum(
        {id(p): p.numel() for p in model.parameters()}.values()
    ) + grown * text.hidden_size * (1 if tied else 2)
    full, seen = 0, set()
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in names:
            for weight in module.parameters():
                if id(weight) not in seen:
                    seen.add(id(weight))
                    full += weight.numel() + (
                        grown * text.hidden_size if module in (embedding, head) else 0
                    )
    blocks = text.num_hidden_layers
    return Shape(
        linear=linear,
        other=every - linear,
        adapter=adapter,
        full=full,
        layers=blocks,
        hidden=text.hidden_size,
        vocabulary=embedding.num_embeddings + grown,
        largest=largest,
        inputs=inputs // blocks,
        outputs=outputs // blocks,
    )


def full_modules(config: QLoRAConfig, *, added: bool) -> tuple[str, ...]:
    """Layers that are trained in full: where tokens were added, nothing else could learn them."""
    return tuple(
        dict.fromkeys((*config.modules_to_save, *(("embed_tokens", "lm_head") if added else ())))
    )


def memory(size: Shape, config: QLoRAConfig, *, length: int, device: str) -> dict[str, float]:
    """Bytes by purpose, on one device.

    Args:
        length: Tokens of a sequence, padding included.
    """
    number = 4 if device == "cpu" else 2
    trained = 4 if device == "cpu" or config.adapter_dtype == "float32" else 2
    # 4 bits a weight and a scale for 64 of them; double quantization makes the scale 8 bits, with
    # one more for 256.
    quantized = 0.5 + (1 / 64 + 4 / (64 * 256) if config.double_quant else 4 / 64)
    state = 8 if config.optimizer == "adamw_torch" else 2 + 8 / 256
    rows = length * config.batch_size
    # An adapter casts and drops out its input, and the block keeps what goes through its layers.
    block = rows * (size.inputs * (number + 2 * trained) + size.outputs * number)
    kept = size.layers * rows * size.hidden * number + 1.5 * block
    activations = kept if config.gradient_checkpointing else size.layers * block
    mask = rows * length if config.packing else 0.0
    # TRL makes the logits in tiles; without Triton a tile is held a dozen times over in the
    # backward pass.
    tall, wide = min(rows, _TILE[0]), min(size.vocabulary, _TILE[1])
    logits = 12 * tall * wide * 4.0 if device == "cpu" else (tall + size.hidden) * _TILE[1] * 6.0
    if size.full:
        logits += size.vocabulary * size.hidden * 4
    return {
        "weights": size.linear * quantized + size.other * number,
        "adapter": float(size.trained * trained),
        "gradients": float(size.trained * trained),
        "optimizer": size.trained * state,
        "activations": activations + mask + 2 * size.largest * number,
        "logits": float(logits),
        "packages": _CPU_PACKAGES if device == "cpu" else _GPU_CONTEXT,
    }


def seconds(size: Shape, config: QLoRAConfig, *, tokens: int, length: int, device: str) -> float:
    """Of an epoch of `tokens`, after timing a product of matrices on the device."""
    import torch

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    wide = max(size.hidden, math.isqrt(size.largest))
    narrow = max(1, size.largest // wide)
    rows = min(512, length * config.batch_size)
    left, right = (
        torch.ones(rows, wide, dtype=dtype, device=device),
        torch.ones(wide, narrow, dtype=dtype, device=device),
    )
    best, begun, tries = math.inf, time.perf_counter(), 0
    while tries < 3 or (time.perf_counter() - begun < 0.2 and tries < 50):
        start = time.perf_counter()
        float((left @ right)[0, 0])
        best, tries = min(best, time.perf_counter() - start), tries + 1
    speed = 2 * rows * wide * narrow / best * _REACHED
    # Forward, and backward through weights that stand still; once more forward where activations
    # are made again.
    passes = 3 if config.gradient_checkpointing else 2
    attention = 2 * size.layers * size.hidden * length
    per_token = (
        2 * passes * (size.linear + size.vocabulary * size.hidden + attention) + 2 * size.full
    )
    return tokens * per_token / speed


def free_memory(device: str) -> float:
    """Bytes that a new process could take there."""
    if device != "cpu":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = float(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        return min(free, float(limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        return free
