"""Two processes train one adapter, as `accelerate launch` and `torchrun` start them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from seedfree.training.config import QLoRAConfig
from seedfree.training.model import TrainedModel
from seedfree.training.trainer import QLoRATrainer

ROOT = Path(__file__).parents[2]
# Each process writes a file of its own: lines of two processes on one pipe can run into each other.
SCRIPT = """
import json, os, sys
from pathlib import Path
import seedfree as sf

base, rows, out = sys.argv[1:]
config = sf.QLoRAConfig(rank=4, max_length=256, epochs=2, validation_share=0.2, checkpoints=2)
model = sf.QLoRATrainer(base, config, show=False).train(sf.Dataset.from_jsonl(rows), out)
losses = json.dumps([loss.to_dict() for loss in model.losses])
Path(f"{out}.{os.environ['RANK']}.json").write_text(losses)
"""


def test_two_processes_train_together(base, rows, tmp_path):
    script, data, out = tmp_path / "train.py", tmp_path / "rows.jsonl", tmp_path / "out"
    script.write_text(SCRIPT)
    rows.to_jsonl(data)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(base), str(data), str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (
        json.loads((tmp_path / f"out.{rank}.json").read_text("utf-8")) for rank in (0, 1)
    )
    assert first and first == second, "each process opens what the main one wrote"
    config = QLoRAConfig(rank=4, max_length=256, epochs=2, validation_share=0.2)
    alone = QLoRATrainer(base, config).estimate(rows)
    last = TrainedModel.open(out).losses[-1].step
    assert last < alone.steps, "each process took its own part of the rows"
