"""Losses from a log, and their picture."""

import sys

import pytest

from seedfree.errors import ConfigError
from seedfree.training.folder import Loss, plot_losses, read_log

LOG = [
    {"step": 0, "eval_loss": 3.0},
    {"step": 1, "loss": 2.5, "learning_rate": 1e-4},
    {"step": 2, "loss": 2.0},
    {"step": 2, "eval_loss": 2.2},
    {"step": 2, "loss": 1.9},
    {"step": 2, "train_runtime": 5.0},
]


def test_a_log_gives_one_loss_a_step():
    assert read_log(LOG) == (Loss(0, None, 3.0), Loss(1, 2.5, None), Loss(2, 1.9, 2.2))
    assert read_log([]) == ()


def test_the_picture_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    for losses in (read_log(LOG), (), read_log(LOG[1:2])):
        plot_losses(losses, tmp_path / "loss.png")
        assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[report\]'"):
        plot_losses(read_log(LOG), tmp_path / "loss.png")
