"""What a training will take, from the base model's `config.json` alone: parameters, memory, time.

Parameters are counted on a model without weights, by the shape of every layer. They are exact, as
are the bytes of weights, adapter, gradients and optimizer. Activations and logits are a model of
what PyTorch and TRL keep: on a CPU, with 100 million parameters and sequences of 1,024 tokens,
trainings with and without gradient checkpointing and with whole embeddings took 0.9 to 1.1 of the
estimate. Nobody has compared it with a GPU yet. The time rests on a product of matrices that is
timed on the spot, and is right within a factor of three.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from seedfree.training.base_model import BaseModel, computes_in_bf16, quiet
from seedfree.training.config import QLoRAConfig
from seedfree.training.render import Encoded, RenderReport

__all__ = ["Footprint", "Shape", "footprint", "full_modules", "memory", "shape"]

_GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """A base model's size, in numbers of parameters unless said otherwise.

    Attributes:
        linear: Of layers that NF4 quantizes, where it does.
        other: Of the rest: embeddings, norms, the output layer.
        adapter: Of the adapters.
        full: Of the layers that are trained in full.
        layers, hidden, vocabulary: As the configuration says.
        largest: Of the largest quantized layer.
        inputs, outputs: Values a token that go into the quantized layers of one block, and come
            out of them.
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
        """Counts the parameters of the base model."""
        return self.linear + self.other

    @property
    def trained(self) -> int:
        """Counts the parameters that change."""
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
    report: RenderReport

    @property
    def bytes(self) -> float:
        """Adds up the memory."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Tells whether there is room for it."""
        return self.bytes <= self.free

    @property
    def reason(self) -> str | None:
        """Says why it cannot be trained here, or is `None` where it can."""
        if self.fits:
            return None
        machine = f"the GPU ({self.device})"
        if self.device == "cpu":
            machine = "this machine (no GPU was found)"
        return (
            f"Training {self.base_model} ({self.shape.total / 1e9:.2f} billion parameters) takes "
            f"about {self.bytes / _GIB:.1f} GiB, and {machine} has {self.free / _GIB:.1f} GiB free"
        )

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / _GIB:.2f}" for name, size in self.memory.items())
        return (
            f"{self.base_model}: {self.shape.total / 1e6:,.0f} million parameters, "
            f"{self.shape.trained / 1e6:,.1f} million trained\n"
            f"memory: about {self.bytes / _GIB:.1f} GiB of {self.free / _GIB:.1f} GiB free on "
            f"{self.device} ({parts})\n"
            f"time: about {timedelta(seconds=round(self.seconds))} for {self.steps:,} steps, "
            f"{self.rows:,} rows, {self.tokens:,} tokens an epoch (within a factor of three)\n"
            f"{self.report}"
        )


def footprint(
    base: BaseModel,
    config: QLoRAConfig,
    rows: Sequence[Encoded],
    report: RenderReport,
    *,
    validation_rows: int,
    tokens: int,
    device: str,
) -> Footprint:
    """Works out what a training takes, without reading a weight.

    Args:
        rows: To train on.
        report: What rendering said of them.
        validation_rows: How many are held out.
        tokens: That the tokenizer knows.
        device: See `base_model.find_device`.
    """
    with quiet():
        size = shape(base, config, tokens=tokens)
    lengths = [len(row.input_ids) for row in rows]
    sequences, longest, computed = len(rows), max(lengths), sum(lengths)
    if config.packing:
        # At best: rows are not divided, so that some sequences stay a little short.
        sequences = math.ceil(computed / config.max_length)
        longest = min(config.max_length, computed)
    elif config.pad_to_max_length:
        computed = sequences * config.max_length
        longest = config.max_length
    # As `accelerate launch` and `torchrun` set it: each process takes its part of the rows.
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = config.batch_size * config.accumulation * processes
    answered = report.total.loss_tokens / (report.total.tokens or 1)
    epoch = seconds(size, config, tokens=computed, answered=answered, length=longest, device=device)
    return Footprint(
        base_model=base.name,
        shape=size,
        device=device,
        memory=memory(size, config, length=longest, device=device),
        free=free_memory(device),
        rows=len(rows),
        validation_rows=validation_rows,
        tokens=computed,
        steps=math.ceil(math.ceil(sequences / batch) * config.epochs),
        seconds=epoch * config.epochs / processes,
        report=report,
    )


def shape(base: BaseModel, config: QLoRAConfig, *, tokens: int) -> Shape:
    """Counts parameters by shape. No weight is read.

    Args:
        tokens: That the tokenizer knows.
    """
    import torch

    model = base.shape()
    text = base.config.get_text_config()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    linear = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer is not head
    }
    sizes = [layer.weight.numel() for layer in linear.values()]
    adapted = [layer for name, layer in linear.items() if _has_adapter(name, config)]
    added = max(0, tokens - embedding.num_embeddings)
    # Weights are told apart by identity: tied, embeddings and output layer are one tensor, which
    # new tokens make larger once.
    vocabulary = {id(layer.weight) for layer in (embedding, head) if layer is not None}
    total = sum(weight.numel() for weight in model.parameters())
    total += added * text.hidden_size * len(vocabulary)
    names = full_modules(config, added=added > 0)
    full = {
        id(weight): weight.numel()
        for name, layer in model.named_modules()
        if name.rsplit(".", 1)[-1] in names
        for weight in layer.parameters()
    }
    grown = added * text.hidden_size * len(vocabulary & full.keys())
    return Shape(
        linear=sum(sizes),
        other=total - sum(sizes),
        # Two thin matrices a layer: [rank, inputs] and [outputs, rank].
        adapter=sum(config.rank * (layer.in_features + layer.out_features) for layer in adapted),
        full=sum(full.values()) + grown,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=embedding.num_embeddings + added,
        largest=max(sizes, default=0),
        inputs=sum(layer.in_features for layer in linear.values()) // text.num_hidden_layers,
        outputs=sum(layer.out_features for layer in linear.values()) // text.num_hidden_layers,
    )


def _has_adapter(name: str, config: QLoRAConfig) -> bool:
    """Tells whether a linear layer gets an adapter: targets are ends of names, as for PEFT."""
    if config.target_modules == "all-linear":
        return True
    return any(f".{name}".endswith(f".{target}") for target in config.target_modules)


def full_modules(config: QLoRAConfig, *, added: bool) -> tuple[str, ...]:
    """Names the layers that are trained in full.

    Args:
        added: The tokenizer has tokens that are new to the base model.
    """
    if not added:
        return tuple(dict.fromkeys(config.modules_to_save))
    # Nothing else could learn the new tokens. A name that is there already is not repeated.
    return tuple(dict.fromkeys((*config.modules_to_save, "embed_tokens", "lm_head")))


# What torch and its companions take before the first tensor: a GPU's context and kernels, or main
# memory.
_GPU_CONTEXT = 0.7 * _GIB
_CPU_PACKAGES = 0.5 * _GIB
# TRL makes the logits in tiles of so many tokens and words (trl/kernels/chunked_logprob.py).
_TILE = (4096, 32768)
# Logits that a CPU computes at once. Of more it makes TRL's tiles, which take several times as
# long.
LOGITS = 2**28


def memory(size: Shape, config: QLoRAConfig, *, length: int, device: str) -> dict[str, float]:
    """Estimates the bytes by purpose, on one device.

    Args:
        length: Tokens of a sequence, padding included.
    """
    cpu = device == "cpu"
    # Bytes of a number: bf16, or float32 where the device has none.
    number = 2 if computes_in_bf16(device) else 4
    trained = 4 if config.adapter_dtype == "float32" else number
    # 4 bits a weight, and a float32 scale for 64 of them; double quantization makes the scale 8
    # bits, with a float32 one more for 256 scales.
    stored = 0.5 + (1 / 64 + 4 / (64 * 256) if config.double_quant else 4 / 64)
    nf4 = config.in_nf4(size.total)
    # AdamW's two states: in float32, or in a byte each with a float32 scale for 256.
    state = 8 if config.optimizer == "adamw_torch" else 2 + 8 / 256
    tokens = length * config.batch_size
    # An adapter casts and drops out its input, and the block keeps what goes through its layers.
    block = tokens * (size.inputs * (number + 2 * trained) + size.outputs * number)
    activations: float = size.layers * block
    if config.gradient_checkpointing:
        # What goes into each block is kept, and one block at a time is computed again.
        activations = size.layers * tokens * size.hidden * number + 1.5 * block
    if config.packing:
        # The mask that keeps rows apart: a byte for each token and each that it could see.
        activations += tokens * length
    if nf4:
        # The largest layer stands in full numbers while it computes.
        activations += 2 * size.largest * number
    return {
        "weights": size.linear * (stored if nf4 else number) + size.other * number,
        "adapter": float(size.trained * trained),
        "gradients": float(size.trained * trained),
        "optimizer": size.trained * state,
        "activations": float(activations),
        "logits": _logits_memory(size, config, tokens, number, cpu=cpu),
        "packages": _CPU_PACKAGES if cpu else _GPU_CONTEXT,
    }


def _logits_memory(
    size: Shape, config: QLoRAConfig, tokens: int, number: int, *, cpu: bool
) -> float:
    tall, wide = min(tokens, _TILE[0]), min(size.vocabulary, _TILE[1])
    if config.stop_weight > 1 or cpu and tokens * size.vocabulary <= LOGITS:
        # Logits and their gradient, each as they are and in float32.
        logits = tokens * size.vocabulary * 2 * (number + 4.0)
    elif cpu:
        # Without Triton a float32 tile is held a dozen times over in the backward pass.
        logits = 12 * tall * wide * 4.0
    else:
        # A tile and the weights that it is made with, both as they are and again in float32.
        logits = (tall + size.hidden) * _TILE[1] * (number + 4.0)
    if size.full:
        # The output layer's gradient is added up in float32.
        logits += size.vocabulary * size.hidden * 4
    return logits


# What a whole step reaches of the timed product's speed: dequantizing, normalizing and attention
# take their share.
_REACHED = 0.5


def seconds(
    size: Shape, config: QLoRAConfig, *, tokens: int, answered: float, length: int, device: str
) -> float:
    """Estimates the time of an epoch of `tokens`, after timing a product of matrices there.

    Args:
        answered: Share of them that carry loss. The output layer is computed for these alone.
    """
    import torch

    dtype = torch.bfloat16 if computes_in_bf16(device) else torch.float32
    # The product of the largest layer, for as many tokens as a sequence has.
    wide = max(size.hidden, math.isqrt(size.largest))
    narrow = max(1, size.largest // wide)
    rows = min(512, length * config.batch_size)
    left = torch.ones(rows, wide, dtype=dtype, device=device)
    right = torch.ones(wide, narrow, dtype=dtype, device=device)
    best, begun, tries = math.inf, time.perf_counter(), 0
    # The best of several: the first ones wake threads and choose kernels.
    while tries < 3 or (time.perf_counter() - begun < 0.2 and tries < 50):
        start = time.perf_counter()
        # Reading a number waits until a GPU has finished.
        float((left @ right)[0, 0])
        best, tries = min(best, time.perf_counter() - start), tries + 1
    # A multiplication and an addition for each weight and token.
    speed = 2 * rows * wide * narrow / best * _REACHED
    # Forward, and backward through weights that stand still; once more forward where activations
    # are made again.
    passes = 3 if config.gradient_checkpointing else 2
    # Scores and weighted values, each with every token of the sequence.
    attention = 2 * size.layers * size.hidden * length
    forward = size.linear + size.vocabulary * size.hidden * answered + attention
    # Weights that are trained in full want a product more, for their own gradient.
    per_token = 2 * passes * forward + 2 * size.full
    return tokens * per_token / speed


def free_memory(device: str) -> float:
    """Returns the bytes that a new process could take there."""
    if device != "cpu":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = float(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        # A container's limit, which the machine's figure does not know; "max" where it has none.
        limit = int((group / "memory.max").read_text())
        return min(free, float(limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        return free
