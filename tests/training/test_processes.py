"""Two processes train one adapter, as `accelerate launch` and `torchrun` start them."""

import os
import subprocess
import sys
from pathlib import Path

from seedfree.training.config import QLoRAConfig
from seedfree.training.model import TrainedModel
from seedfree.training.trainer import QLoRATrainer

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import seedfree as sf
base, rows, out = sys.argv[1:]
config = sf.QLoRAConfig(rank=4, max_length=256, epochs=2, validation_share=0.2, checkpoints=2)
model = sf.QLoRATrainer(base, config, show=False).train(sf.Dataset.from_jsonl(rows), out)
print("LOSSES", [(one.step, one.validation) for one in model.losses])
"""


def test_two_processes_train_together(base, rows, tmp_path):
    script, out = tmp_path / "train.py", tmp_path / "out"
    script.write_text(SCRIPT)
    rows.to_jsonl(tmp_path / "rows.jsonl")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    command += [str(script), str(base), str(tmp_path / "rows.jsonl"), str(out)]
    place = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=place)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (line for line in done.stdout.splitlines() if line.startswith("LOSSES"))
    assert first == second, "each process opens what the first one wrote"
    alone = QLoRATrainer(
        base, QLoRAConfig(rank=4, max_length=256, epochs=2, validation_share=0.2)
    ).estimate(rows)
    assert TrainedModel.open(out).losses[-1].step < alone.steps, (
        "each process took its own part of the rows"
    )
