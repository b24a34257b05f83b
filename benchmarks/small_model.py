"""Times a step of a small model on a CPU, and what NF4 costs it.

python benchmarks/small_model.py MODEL ROWS.jsonl

MODEL is a folder such as that of `examples/train_thai.py`. The first 40 rows make packed sequences
of at most 1,024 tokens, of which three go forward and backward: by TRL's own loss, which computes
the output layer for every token, and by ours, which computes it where a token carries loss; with
the base weights in NF4 and as they are.

Prints one line of JSON: seconds and loss (nats a token) for each, and the ratios.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

from trl import SFTTrainer

import seedfree as sf
from seedfree.training.base_model import quiet

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)


def sequences(model: str, rows: sf.Dataset, folder: str, *, quantize: bool) -> tuple[Any, Any]:
    config = sf.QLoRAConfig(
        quantize=quantize, max_length=1024, validation_share=0, dropout=0, chat_template=TEMPLATE
    )
    trainer = sf.QLoRATrainer(model, config, show=False)
    made = trainer._sft_trainer(trainer._plan(rows, None), Path(folder) / f"nf4-{quantize}")
    batches = iter(made.get_train_dataloader())
    return made, [next(batches) for _ in range(3)]


def measure(trainer: Any, batches: Any) -> dict[str, float]:
    begun, losses = time.perf_counter(), []
    for batch in batches:
        loss = trainer.compute_loss(trainer.model, dict(batch))
        loss.backward()
        losses.append(float(loss))
    return {"seconds": round(time.perf_counter() - begun, 2), "loss": round(sum(losses) / 3, 3)}


def main(model: str, path: str) -> None:
    rows = sf.Dataset.from_jsonl(path)[:40]
    report: dict[str, Any] = {"benchmark": "small_model"}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        for name, quantize in (("nf4", True), ("as_it_is", False)):
            trainer, batches = sequences(model, rows, folder, quantize=quantize)
            ours = trainer.compute_loss
            # TRL's loss first and once more, as the first steps of a process are slow.
            trainer.compute_loss = types.MethodType(SFTTrainer.compute_loss, trainer)
            measure(trainer, batches[:1] * 3)
            every = measure(trainer, batches)
            trainer.compute_loss = ours
            report[name] = {"every_token": every, "tokens_with_loss": measure(trainer, batches)}
        report["tokens"] = sum(batch["input_ids"].numel() for batch in batches)
        report["with_loss"] = sum(int((batch["labels"] != -100).sum()) for batch in batches)
    for name in ("nf4", "as_it_is"):
        seconds = [each["seconds"] for each in report[name].values()]
        report[f"speed_over_trl_{name}"] = round(seconds[0] / seconds[1], 2)
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
