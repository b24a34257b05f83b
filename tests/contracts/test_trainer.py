"""Every trainer fills the contract of `protocols.Trainer`."""

import pytest

import seedfree as sf
from tests.training.tiny import TASKS, item, save_base

ROWS = sf.Dataset(item(task, number) for number in range(2) for task in TASKS)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    for package in ("trl", "peft", "bitsandbytes", "datasets"):
        pytest.importorskip(package)
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    base = save_base(tmp_path_factory.mktemp("base") / "tiny")
    config = sf.QLoRAConfig(rank=2, max_length=128, epochs=1, validation_share=0.2, checkpoints=1)
    yield sf.QLoRATrainer(base, config, show=False)
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(trainer, tmp_path_factory):
    return trainer.train(ROWS, tmp_path_factory.mktemp("models") / "out")


def test_it_is_a_trainer_and_gives_a_model(trainer, model):
    assert isinstance(trainer, sf.Trainer)
    assert isinstance(model, sf.TrainedModel)
    assert model.losses and model.report["total"]["rows"] == 8


def test_the_model_is_in_the_folder(model):
    again = sf.TrainedModel.open(model.folder)
    assert again.info == model.info
    assert again.generate(["สวัสดี"], max_new_tokens=2) == model.generate(["สวัสดี"], max_new_tokens=2)


def test_run_again_it_opens_what_is_there(trainer, model):
    before = {
        path: path.stat().st_mtime_ns for path in model.folder.rglob("*") if path.name != ".lock"
    }
    assert trainer.train(ROWS, str(model.folder)).info == model.info
    assert before == {
        path: path.stat().st_mtime_ns for path in model.folder.rglob("*") if path.name != ".lock"
    }


def test_mistakes_are_one_line_and_leave_no_folder(trainer, tmp_path):
    with pytest.raises(sf.ConfigError) as caught:
        trainer.train(sf.Dataset(), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
