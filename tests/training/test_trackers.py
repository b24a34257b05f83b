"""Trackers by name: what they hold, and that a training is the same with and without them."""

import os
from pathlib import Path
from typing import Any

import pytest

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.training import trackers
from seedfree.training.config import QLoRAConfig
from seedfree.training.trainer import QLoRATrainer

WEIGHTS = "adapter/adapter_model.safetensors"
CONFIG = QLoRAConfig(
    rank=4, max_length=256, epochs=1, checkpoints=2, learning_rate=2e-2, quantize=False, dropout=0.1
)


@pytest.fixture(scope="module")
def plain(base: Path, rows: Dataset, tmp_path_factory: Any) -> Any:
    out = tmp_path_factory.mktemp("plain") / "out"
    return QLoRATrainer(base, CONFIG, show=False).train(rows, out)


def tracked(tracker: Any, base: Path, rows: Dataset, out: Path) -> Any:
    before = dict(os.environ)
    model = QLoRATrainer(base, CONFIG, show=False, tracker=tracker).train(rows, out)
    # Weights & Biases keeps the address of its own process there.
    assert {**before, **os.environ}.keys() - before.keys() <= {"WANDB_SERVICE"}
    return model


def is_same(model: Any, plain: Any) -> bool:
    weights = [(each.folder / WEIGHTS).read_bytes() for each in (model, plain)]
    return weights[0] == weights[1] and model.losses == plain.losses


def test_tensorboard_has_the_losses(
    plain: Any, base: Path, rows: Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    model = tracked("tensorboard", base, rows, tmp_path / "thai")
    events = EventAccumulator(str(tmp_path / "thai" / "tensorboard")).Reload()
    logged = {event.step: event.value for event in events.Scalars("train/loss")}
    expected = {loss.step: loss.training for loss in model.losses if loss.training is not None}
    assert logged == pytest.approx(expected, rel=1e-5) and "eval/loss" in events.Tags()["scalars"]
    assert is_same(model, plain)


def test_trackio_keeps_them_on_this_machine(
    plain: Any, base: Path, rows: Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    # It reads the variable when it is imported.
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trackio = pytest.importorskip("trackio")
    model = tracked("trackio", base, rows, tmp_path / "thai")
    (run,) = trackio.Api().runs("seedfree")
    assert run.name == "thai" and is_same(model, plain)
    assert list((tmp_path / "trackio").glob("*.db"))


def test_wandb_stays_on_this_machine_when_it_is_told_to(
    plain: Any, base: Path, rows: Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    model = tracked("wandb", base, rows, tmp_path / "thai")
    (file,) = (tmp_path / "thai" / "wandb").glob("offline-run-*/run-*.wandb")
    assert wandb.run is None and b"seedfree" in file.read_bytes() and is_same(model, plain)


def test_nothing_is_published_that_nobody_asked_for(tmp_path: Path) -> None:
    arguments = trackers.tracker_arguments("trackio", tmp_path / "thai")
    assert arguments["trackio_static_space_id"] is False and "trackio_space_id" not in arguments
    assert (arguments["project"], arguments["run_name"]) == ("seedfree", "thai")
    assert trackers.tracker_arguments(None, tmp_path) == {"report_to": "none"}


def test_what_the_user_has_set_stays(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(trackers, "_wandb_run", lambda: None)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    with trackers.tracked("wandb", tmp_path):
        assert os.environ["WANDB_PROJECT"] == "mine" and os.environ["WANDB_DIR"] == str(tmp_path)
    assert os.environ["WANDB_PROJECT"] == "mine" and "WANDB_DIR" not in os.environ


@pytest.mark.parametrize(
    ("tracker", "missing", "says"),
    [
        ("wandb", True, "wandb is not installed. Run: pip install wandb"),
        ("trackio", True, "trackio is not installed. Run: pip install trackio"),
        ("tensorboard", True, "tensorboard is not installed. Run: pip install tensorboard"),
        ("mlflow", False, "tracker is 'mlflow'. Known: tensorboard, trackio, wandb; or None."),
        (True, False, "tracker is True"),
    ],
)
def test_a_tracker_that_is_missing_or_unknown_is_refused_first(
    base: Path, rows: Dataset, tmp_path: Path, monkeypatch: Any, tracker: Any, missing: bool,
    says: str,
) -> None:  # fmt: skip
    if missing:
        monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=says) as caught:
        QLoRATrainer(base, CONFIG, show=False, tracker=tracker).train(rows, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
