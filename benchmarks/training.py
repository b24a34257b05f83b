"""Measures `QLoRAConfig.paper()` against `recommended()`: tokens a second, and memory at the peak.

python benchmarks/training.py [small | llama-3-8b] [--rows=N]

A Llama of that shape with random weights learns from rows of random words, as many as real rows
have tokens: a log-normal law, median 330, mean 395, at most 3,000. Prints one JSON line.

`tokens` are those of the rows, without padding. `seconds` are those of the second of two epochs.
`peak_mb` is what the process takes beyond its imports on a CPU, and what PyTorch has given out on a
GPU. `speed_over_paper` compares seconds, since both learn the same rows. `llama-3-8b` wants a GPU,
and 16 GB for its weights on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import seedfree as sf

SHAPES: dict[str, dict[str, int]] = {
    "small": {
        "hidden_size": 128,
        "intermediate_size": 448,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "vocab_size": 2048,
    },
    "llama-3-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
ROWS = {"small": 12, "llama-3-8b": 128}
WORDS, LONGEST = 1000, 3000
TEMPLATE = (
    "{% for m in messages %}<turn> {{ m.role }} {{ m.content }} </turn> {% endfor %}"
    "{% if add_generation_prompt %}<turn> assistant {% endif %}"
)
KINDS: dict[str, sf.QLoRAConfig] = {
    "paper": sf.QLoRAConfig.paper(validation_share=0, checkpoints=1),
    "recommended": sf.QLoRAConfig.recommended(validation_share=0, checkpoints=1),
}


def make_base(shape: str, folder: Path) -> None:
    """Writes a Llama with random weights, and a tokenizer of words with its first ids."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<unk>", "<turn>", "</turn>"]
    names = [*special, "user", "assistant", *(f"w{n}" for n in range(WORDS))]
    vocabulary = {name: n for n, name in enumerate(names)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        **SHAPES[shape], max_position_embeddings=8192, bos_token_id=0, eos_token_id=1
    )
    # As models are published, and half the disk that float32 would take.
    config.dtype = torch.bfloat16
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)


def make_rows(n: int) -> sf.Dataset:
    draw = random.Random(0)

    def text(count: int) -> str:
        return " ".join(f"w{draw.randrange(WORDS)}" for _ in range(count))

    lengths = [min(LONGEST, max(16, round(draw.lognormvariate(5.8, 0.6)))) for _ in range(n)]
    return sf.Dataset(
        sf.Instruction(
            id=str(i), task="closed_qa", instruction=text(length * 2 // 3), output=text(length // 3)
        )
        for i, length in enumerate(lengths)
    )


def peak_mb() -> float:
    """Returns the most main memory that this process has taken so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # bytes on macOS, kilobytes on Linux
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure(kind: str, base: str, n: int) -> dict[str, Any]:
    """Trains once, in a process of its own: a peak is never forgotten."""
    import torch

    reached: dict[int, float] = {}

    def watch(now: Any) -> None:
        reached.setdefault(now.step, time.perf_counter())

    trainer = sf.QLoRATrainer(base, KINDS[kind], progress=watch, show=False)
    rows = make_rows(n)
    plan = trainer.estimate(rows)
    before = peak_mb()
    with tempfile.TemporaryDirectory() as out:
        trainer.train(rows, out)
    gpu = torch.cuda.is_available()
    steps = max(reached)
    # The second epoch alone: in the first, kernels are chosen and memory is taken.
    seconds = reached[steps] - reached[steps // 2]
    peak = peak_mb() - before
    device = f"cpu, {os.cpu_count()} cores"
    if gpu:
        peak, device = torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    return {
        "tokens": plan.report.total.tokens,
        "computed": plan.tokens,
        "seconds": round(seconds, 2),
        "tokens_per_second": round(plan.report.total.tokens / seconds, 1),
        "peak_mb": round(peak),
        "device": device,
    }


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def main(shape: str, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run("--base", shape, folder)
        # The last line: packages may print others.
        figures = {
            kind: json.loads(run("--kind", kind, folder, str(rows)).splitlines()[-1])
            for kind in KINDS
        }
    devices = {figure.pop("device") for figure in figures.values()}
    paper, better = figures["paper"], figures["recommended"]
    report = {
        "shape": shape,
        "rows": rows,
        "device": devices.pop(),
        **figures,
        "speed_over_paper": round(paper["seconds"] / better["seconds"], 2),
        "padding_in_paper": round(1 - paper["tokens"] / paper["computed"], 3),
        "peak_over_paper": round(better["peak_mb"] / paper["peak_mb"], 3),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--base", shape, folder]:
            make_base(shape, Path(folder))
        case ["--kind", kind, base, n]:
            print(json.dumps(measure(kind, base, int(n))))
        case _:
            parser = argparse.ArgumentParser()
            parser.add_argument("shape", nargs="?", choices=list(SHAPES), default="small")
            parser.add_argument("--rows", type=int)
            given = parser.parse_args()
            main(given.shape, given.rows or ROWS[given.shape])
