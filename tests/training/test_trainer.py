"""Training for real: NF4 on a CPU, stopped and resumed, refused where it cannot work."""

import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError, ConfigMismatchError
from seedfree.training import sft as sft_module
from seedfree.training.base_model import computes_in_bf16, quiet
from seedfree.training.config import QLoRAConfig
from seedfree.training.model import TrainedModel
from seedfree.training.trainer import QLoRATrainer
from tests.training.tiny import TASKS, item

WEIGHTS = "adapter_model.safetensors"
QUICK = {
    "rank": 4,
    "alpha": 8,
    "quantize": True,
    "max_length": 256,
    "learning_rate": 2e-2,
    "epochs": 3,
    "validation_share": 0.125,
    "checkpoints": 4,
}


@pytest.fixture(scope="module")
def trained(base, rows, tmp_path_factory):
    """One training, without a stop."""
    seen = []
    trainer = QLoRATrainer(base, QLoRAConfig(**QUICK), progress=seen.append, show=False)
    return trainer.train(rows, tmp_path_factory.mktemp("whole") / "out"), seen


def weights(model):
    from safetensors.torch import load_file

    return load_file(model.folder / "adapter" / WEIGHTS)


def test_trainings_in_two_threads_are_as_each_alone(base, rows, tmp_path):
    config = QLoRAConfig(**QUICK | {"epochs": 1, "dropout": 0.5})
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(
            lambda name: QLoRATrainer(base, config, show=False).train(rows, tmp_path / name),
            ("a", "b"),
        )
    assert first.losses == second.losses


def test_only_the_process_that_saves_writes_a_checkpoint(base, rows, tmp_path, monkeypatch):
    trainer = QLoRATrainer(base, QLoRAConfig(**QUICK), show=False)
    with quiet():
        sft = trainer._sft_trainer(trainer._plan(rows, None), tmp_path / "out")
        for main in (False, True):
            monkeypatch.setattr(type(sft.args), "should_save", main)
            sft._save(str(tmp_path / "saved"))
            assert (tmp_path / "saved").exists() == main


def compute_in(monkeypatch, bf16):
    """Has the CPU multiply in bf16 or not, whatever it is able to."""
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16})


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("logits", [sft_module.LOGITS, 0])
@pytest.mark.parametrize("packing", [True, False])
def test_the_output_layer_is_spared_where_there_is_no_loss(
    base, rows, tmp_path, monkeypatch, packing, logits, bf16
):
    import torch

    compute_in(monkeypatch, bf16)
    # Few logits are computed at once, others in TRL's tiles.
    monkeypatch.setattr(sft_module, "LOGITS", logits)
    config = QLoRAConfig(**QUICK | {"packing": packing, "batch_size": 3, "dropout": 0})
    trainer = QLoRATrainer(base, config, show=False)
    with quiet():
        sft = trainer._sft_trainer(trainer._plan(rows, None), tmp_path / "out")
        batch = next(iter(sft.get_train_dataloader()))
        labels = batch["labels"][:, 1:]
        assert 0 < (labels != -100).sum() < labels.numel()
        said = sft.model(**{k: v for k, v in batch.items() if k != "labels"}).logits[:, :-1]
        said = said.flatten(0, 1).float()
        plain = torch.nn.functional.cross_entropy(said, labels.flatten())
        loss = sft.compute_loss(sft.model, dict(batch))
        # Of two batches in one step, each has its share of the tokens of both.
        shared = sft.compute_loss(sft.model, dict(batch), num_items_in_batch=torch.tensor(100))
    assert loss.item() == pytest.approx(plain.item(), rel=1e-2 if bf16 else 1e-5)
    share = (labels != -100).sum().item() / 100
    assert shared.item() == pytest.approx(loss.item() * share, rel=1e-5)
    weights = [weight for weight in sft.model.parameters() if weight.requires_grad]
    for ours, theirs in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(plain, weights), strict=True
    ):
        # In bf16 the sums are rounded on the way, here as there.
        away = (ours - theirs).norm() / theirs.norm().clamp(min=1e-9)
        assert away < (0.1 if bf16 else 1e-3)


@pytest.mark.parametrize("logits", [sft_module.LOGITS, 0])
def test_what_ends_an_answer_weighs_more_in_training_alone(
    base, rows, tmp_path, monkeypatch, logits
):
    import torch

    compute_in(monkeypatch, False)
    monkeypatch.setattr(sft_module, "LOGITS", logits)
    config = QLoRAConfig(**QUICK | {"stop_weight": 5, "dropout": 0})
    trainer = QLoRATrainer(base, config, show=False)
    with quiet():
        plan = trainer._plan(rows, None)
        sft = trainer._sft_trainer(plan, tmp_path / "out")
        batch = next(iter(sft.get_train_dataloader()))
        said = sft.model(**{k: v for k, v in batch.items() if k != "labels"}).logits[:, :-1]
        labels = batch["labels"][:, 1:].flatten()
        each = torch.nn.functional.cross_entropy(
            said.flatten(0, 1).float(), labels, reduction="none"
        )
        stop = plan.tokenizer.convert_tokens_to_ids(trainer._renderer(plan.tokenizer).stop)
        ends, tokens = labels == stop, (labels != -100).sum()
        assert 0 < ends.sum() < tokens
        found = sft.compute_loss(sft.model.train(), dict(batch))
        held = sft.compute_loss(sft.model.eval(), dict(batch))
    wanted = (each.sum() + 4 * each[ends].sum()) / tokens
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert held.item() == pytest.approx((each.sum() / tokens).item(), rel=1e-4)


def test_a_training_that_gets_no_better_ends_with_its_best_checkpoint(base, rows, tmp_path):
    from safetensors.torch import load_file

    settings = QUICK | {"epochs": 20, "checkpoints": 20, "learning_rate": 0.2, "patience": 2}
    config = QLoRAConfig(**settings | {"scheduler": "constant_with_warmup"})
    model = QLoRATrainer(base, config, show=False).train(rows, tmp_path / "out")
    held = {loss.step: loss.validation for loss in model.losses if loss.validation is not None}
    best = min(held, key=held.get)
    assert sorted(held).index(best) == len(held) - 3, "two checkpoints without a better one"
    kept = load_file(tmp_path / "out" / "checkpoints" / f"checkpoint-{best}" / WEIGHTS)
    assert all((kept[name] == tensor).all() for name, tensor in weights(model).items())
    assert best > 0
    card = (model.folder / "README.md").read_text("utf-8")
    assert f"validation loss after | {round(held[best], 3)}" in card.replace("\\", "")


def test_a_part_of_what_was_learnt_is_kept(base, rows, trained, tmp_path):
    whole, _ = trained
    config = QLoRAConfig(**QUICK | {"keep": 0.5})
    half = QLoRATrainer(base, config, show=False).train(rows, tmp_path / "half")
    for name, tensor in weights(whole).items():
        assert (weights(half)[name] == tensor).all(), "the same training"
    scales = [
        json.loads((model.folder / "adapter" / "adapter_config.json").read_text())["lora_alpha"]
        for model in (whole, half)
    ]
    assert scales == [8, 4]
    bases = {model.untrained().as_generator().identity for model in (whole, half)}
    assert len(bases) == 1, "before both trainings there was one model"
    # The last loss is that of what is kept, here as it is loaded anew.
    held = validation_losses(half)
    assert validation_losses(whole)[-1] < held[-1] < held[0]
    opened = TrainedModel.open(half.folder)
    assert math.isclose(measured(opened, rows, config), held[-1], rel_tol=2e-3)


def test_what_is_trained_in_full_cannot_be_kept_in_part(rows, tmp_path):
    from tests.training.tiny import save_base

    folder = save_base(tmp_path / "base", template=None)
    config = QLoRAConfig(**QUICK | {"chat_template": "chatml", "keep": 0.5})
    with pytest.raises(ConfigError, match=r"keep=0.5.*embed_tokens"):
        QLoRATrainer(folder, config, show=False).train(rows, tmp_path / "out")


def test_patience_counts_on_after_a_stop(base, rows, tmp_path):
    settings = QUICK | {"epochs": 20, "checkpoints": 20, "learning_rate": 0.2, "patience": 3}
    config = QLoRAConfig(**settings | {"scheduler": "constant_with_warmup"})
    whole = QLoRATrainer(base, config, show=False).train(rows, tmp_path / "whole")
    last = max(loss.step for loss in whole.losses)

    def stop(now):
        # After two checkpoints that are not the best one.
        if now.step > last - 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        QLoRATrainer(base, config, progress=stop, show=False).train(rows, tmp_path / "out")
    again = QLoRATrainer(base, config, show=False).train(rows, tmp_path / "out")
    assert max(loss.step for loss in again.losses) == last
    assert all((weights(again)[name] == tensor).all() for name, tensor in weights(whole).items())


def test_patience_needs_rows_to_validate_on(base, rows, tmp_path):
    config = QLoRAConfig(**QUICK | {"patience": 2, "validation_share": 0})
    with pytest.raises(ConfigError, match="no rows to validate on"):
        QLoRATrainer(base, config).train(rows, tmp_path / "out")


@pytest.mark.parametrize(
    "quantize, bf16, stored",
    [(None, False, "float32"), (None, True, "bfloat16"), (True, False, "uint8")],
)
def test_a_small_base_is_quantized_where_that_is_asked_for(
    base, rows, tmp_path, monkeypatch, quantize, bf16, stored
):
    compute_in(monkeypatch, bf16)
    config = QLoRAConfig(**QUICK | {"quantize": quantize})
    trainer = QLoRATrainer(base, config, show=False)
    with quiet():
        sft = trainer._sft_trainer(trainer._plan(rows, None), tmp_path / "out")
    types = {str(w.dtype) for n, w in sft.model.named_parameters() if "base_layer" in n}
    assert types == {f"torch.{stored}"}


def validation_losses(model):
    return [loss.validation for loss in model.losses if loss.validation is not None]


def test_the_loss_falls_on_rows_seen_and_held_out(trained):
    model, _ = trained
    taught = [loss.training for loss in model.losses if loss.training is not None]
    held = validation_losses(model)
    assert taught[-1] < taught[0] - 1
    assert held[-1] < held[0] - 1
    assert model.losses[0].step == 0 and model.losses[-1].validation is not None


def test_a_folder_holds_all_that_is_needed(trained):
    model, _ = trained
    names = {path.name for path in model.folder.iterdir()}
    assert names >= {"adapter", "training.json", "loss.png", "README.md", "checkpoints"}
    files = {path.name for path in (model.folder / "adapter").iterdir()}
    assert files >= {"adapter_model.safetensors", "adapter_config.json"}
    assert files >= {"tokenizer.json", "chat_template.jinja"}
    assert not [p for p in model.folder.rglob("*") if p.name == "training_args.bin"]
    assert (model.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    info = json.loads((model.folder / "training.json").read_text("utf-8"))
    assert info["status"] == "complete" and "<turn>" in info["chat_template"]
    assert info["report"]["total"]["rows"] == 35 and info["validation_report"]["total"]["rows"] == 5
    assert set(info["report"]["tasks"]) == set(info["validation_report"]["tasks"]) == set(TASKS)
    settings = json.loads((model.folder / "adapter" / "adapter_config.json").read_text("utf-8"))
    # The identity of a trained model is a digest of these files, so no order in them may change.
    assert len(settings["target_modules"]) == 14
    assert settings["target_modules"] == sorted(settings["target_modules"])
    adapter = weights(model)
    assert adapter and all("lora_" in name for name in adapter)


def test_the_card_says_what_it_was_made_from_and_how_it_went(trained):
    model, _ = trained
    card = (model.folder / "README.md").read_text("utf-8").replace("\\", "")
    held = validation_losses(model)
    for word in (
        "library_name: peft",
        "closed_qa",
        "| learning_rate | 0.02 |",
        str(round(held[0], 3)),
        str(round(held[-1], 3)),
    ):
        assert word in card


def test_progress_says_how_far_and_how_long(trained):
    model, seen = trained
    steps = model.losses[-1].step
    assert seen[-1].step == seen[-1].steps == steps
    assert [now.step for now in seen] == sorted(now.step for now in seen)
    assert seen[-1].seconds_left == 0 < seen[len(seen) // 2].seconds_left
    assert any(now.validation_loss for now in seen)


@pytest.mark.parametrize("last", [8, 17])
def test_stopped_and_run_again_gives_the_weights_of_one_without_a_stop(
    base, rows, trained, tmp_path, last
):
    import torch

    def stop(now):
        if now.step == last:
            raise KeyboardInterrupt

    config = QLoRAConfig(**QUICK)
    with pytest.raises(KeyboardInterrupt):
        QLoRATrainer(base, config, progress=stop, show=False).train(rows, tmp_path / "out")
    checkpoints = tmp_path / "out" / "checkpoints"
    done = sorted(int(path.name.rpartition("-")[2]) for path in checkpoints.iterdir())
    assert done and 0 < done[-1] < last
    # What a kill leaves of a checkpoint is passed over.
    (checkpoints / f"checkpoint-{last}").mkdir()
    seen = []
    again = QLoRATrainer(base, config, progress=seen.append, show=False).train(
        rows, tmp_path / "out"
    )
    assert seen[0].step == done[-1] + 1  # and nothing is measured or taken twice
    whole, _ = trained
    assert again.losses == whole.losses
    resumed, unbroken = weights(again), weights(whole)
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[name], unbroken[name]) for name in resumed)


def test_a_finished_training_is_opened_and_others_are_refused(base, rows, trained):
    model, _ = trained
    same = QLoRATrainer(base, QLoRAConfig(**QUICK), progress=pytest.fail, show=False)
    assert same.train(rows, model.folder).info == model.info
    changed = QLoRATrainer(base, QLoRAConfig(**QUICK | {"seed": 1, "learning_rate": 0.1}))
    with pytest.raises(ConfigMismatchError, match="learning_rate, seed") as caught:
        changed.train(rows, model.folder)
    assert caught.value.fields == ("learning_rate", "seed")
    with pytest.raises(ConfigMismatchError, match="another dataset"):
        QLoRATrainer(base, QLoRAConfig(**QUICK)).train(rows[1:], model.folder)


def batches(base, rows, config, out):
    """What the model is given, from the trainer's own loader."""
    from seedfree.training.base_model import quiet

    trainer = QLoRATrainer(base, config, show=False)
    plan = trainer._plan(rows, None)
    with quiet():
        return plan.tokenizer, list(trainer._sft_trainer(plan, out).get_train_dataloader())


@pytest.mark.parametrize("packing", [True, False])
def test_the_labels_of_real_batches_are_the_answers(base, rows, tmp_path, packing):
    config = QLoRAConfig(**QUICK | {"packing": packing, "batch_size": 3, "validation_share": 0})
    tokenizer, loaded = batches(base, rows, config, tmp_path)
    learnt = []
    for batch in loaded:
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            ids, labels = ids.tolist(), labels.tolist()
            assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))
            runs = " ".join("|" if label == -100 else str(label) for label in labels).split("|")
            learnt += [
                tokenizer.decode([int(token) for token in run.split()])
                for run in runs
                if run.strip()
            ]
    wanted = [m.content + "</turn>" for row in rows for m in row.messages if m.role == "assistant"]
    assert sorted(learnt) == sorted(wanted)


def test_packed_rows_do_not_see_each_other(base, rows, tmp_path):
    import torch

    from seedfree.training.base_model import BaseModel, load, quiet

    config = QLoRAConfig(**QUICK | {"validation_share": 0, "max_length": 512})
    _, (batch, *_) = batches(base, rows, config, tmp_path)
    with quiet():
        model = load(BaseModel.find(base), "cpu").eval()
    ids, places = batch["input_ids"], batch["position_ids"]
    starts = [*(places[0] == 0).nonzero().flatten().tolist(), ids.shape[1]]
    assert len(starts) > 4
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=places, use_cache=False).logits[0]
        for a, b in zip(starts, starts[1:], strict=False):
            alone = model(ids[:, a:b]).logits[0]
            torch.testing.assert_close(packed[a:b], alone, atol=1e-4, rtol=1e-3)


def test_the_papers_rows_are_padded_to_the_full_length(base, rows, tmp_path):
    config = QLoRAConfig.paper(max_length=300, chat_template=None)
    _, loaded = batches(base, rows, config, tmp_path)
    assert {tuple(batch["input_ids"].shape) for batch in loaded} == {(1, 300)}
    assert len(loaded) == 35
    for batch in loaded:
        assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_are_learnt_with_the_embeddings(rows, tmp_path, one_thread, tied):
    from tests.training.tiny import save_base

    folder = save_base(tmp_path / "base", template=None, tied=tied)
    config = QLoRAConfig(
        **QUICK | {"chat_template": "chatml", "epochs": 2, "checkpoints": 1, "accumulation": 4}
    )
    model = QLoRATrainer(folder, config, show=False).train(rows, tmp_path / "out")
    assert model.info["added_tokens"] == ["<|im_start|>", "<|im_end|>"]
    full = {name: w.shape for name, w in weights(model).items() if "lora_" not in name}
    assert full and set(full.values()) == {(len(model.tokenizer()), 64)}
    assert tied or len(full) == 2
    held = validation_losses(model)
    assert held[-1] < held[0] - 0.5
    # The reloaded model measures what the trained one did.
    assert math.isclose(measured(model, rows, config), held[-1], rel_tol=2e-3)


def test_the_papers_recipe_trains_from_end_to_end(rows, tmp_path, one_thread):
    from tests.training.tiny import save_base

    # Its sequences of 4,000 tokens are shortened to what the rows have, so that a CPU is through in
    # seconds.
    config = QLoRAConfig.paper(max_length=400, learning_rate=5e-3, accumulation=2)
    trainer = QLoRATrainer(save_base(tmp_path / "base", template=None), config, show=False)
    model = trainer.train(rows[:20], tmp_path / "out")
    able = computes_in_bf16("cpu")
    kind = "bfloat16" if able else "float32"
    ran = {"optimizer": "adamw_8bit", "trained_in": [kind], "bf16": able}
    assert model.info["ran"] == ran
    full = {name.split(".")[-2] for name in weights(model) if "lora_" not in name}
    assert full >= {"embed_tokens", "lm_head"}
    held = validation_losses(model)
    assert held[-1] < held[0] - 0.5
    assert len(model.generate(["ข้อความนี้กล่าวถึงอะไร"], max_new_tokens=4)) == 1


def measured(model, rows, config):
    """Mean loss of the rows held out, computed by the model as it is opened."""
    import torch

    from seedfree.training.data import split
    from seedfree.training.render import Renderer

    encoded, _ = Renderer(model.tokenizer()).rows(split(rows, None, config)[1])
    losses = []
    with torch.no_grad():
        for row in encoded:
            ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
            losses.append(model.model()(ids, labels=labels).loss.item())
    return sum(losses) / len(losses)


def test_rows_cut_and_masked_are_said_before_training(base, rows, caplog):
    trainer = QLoRATrainer(base, QLoRAConfig(**QUICK | {"max_length": 50}))
    with caplog.at_level(logging.WARNING, "seedfree"):
        report = trainer.estimate(rows).report.total
    assert report.cut > report.masked > 0
    assert f"{report.cut} of {report.rows} rows are longer than max_length" in caplog.text
    assert f"{report.masked} of {report.rows} rows are left out" in caplog.text


def other(task, **values):
    from dataclasses import replace

    return replace(item(task, 0), **values)


@pytest.mark.parametrize(
    ("made", "settings", "word"),
    [
        (lambda rows: Dataset(), {}, "is empty"),
        (lambda rows: rows[:3], {}, "leaves none for validation"),
        (
            lambda rows: Dataset([*rows, other("closed_qa", language="lo")]),
            {},
            "1 of 41 rows are in lo, not th",
        ),
        (lambda rows: rows, {"language": "lo"}, "40 of 40 rows are in th, not lo"),
        (
            lambda rows: Dataset(other("closed_qa", output="Rice soup is a dish.") for _ in rows),
            {},
            "0% of the answers' letters are Thai",
        ),
        (lambda rows: rows, {"max_length": 8}, "carries loss"),
    ],
)
def test_data_sets_that_teach_nothing_are_refused(base, rows, tmp_path, made, settings, word):
    with pytest.raises(ConfigError, match=word) as caught:
        QLoRATrainer(base, QLoRAConfig(**QUICK | settings)).train(made(rows), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_empty_validation_rows_are_refused(base, rows, tmp_path):
    with pytest.raises(ConfigError, match="validation rows are empty"):
        QLoRATrainer(base).train(rows, tmp_path / "out", validation=Dataset())


def test_what_is_no_base_model_is_refused(base, rows, trained, tmp_path):
    import shutil

    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    plain = shutil.copytree(base, tmp_path / "bare")
    (plain / "model.safetensors").unlink()
    spoilt = shutil.copytree(base, tmp_path / "spoilt")
    (spoilt / "config.json").write_text("{")
    bert = shutil.copytree(base, tmp_path / "t5")
    (bert / "config.json").write_text('{"model_type": "t5"}')
    mute = shutil.copytree(base, tmp_path / "mute")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (mute / name).unlink()
    silent = shutil.copytree(base, tmp_path / "silent")
    (silent / "chat_template.jinja").unlink()
    packed = shutil.copytree(base, tmp_path / "packed")
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "gptq"}})
    )
    for name, word in {
        "missing/model/here": "no folder",
        str(tmp_path / "none"): "no folder",
        str(tmp_path / "file"): "is a file",
        str(tmp_path / "empty"): "holds no config.json",
        str(plain): "no weights as",
        str(spoilt): "no model that can be read",
        str(bert): "no language model that generates",
        str(mute): "no tokenizer",
        str(silent): "no chat template.*chatml",
        str(packed): "quantized already",
        str(trained[0].folder): "is an adapter, not a base model.*tiny",
        str(trained[0].folder / "adapter"): "is an adapter, not a base model.*tiny",
    }.items():
        with pytest.raises(ConfigError, match=word) as caught:
            QLoRATrainer(name, QLoRAConfig(**QUICK)).train(rows, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_its_command(base, rows, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "trl" else find(name, *a)
    )
    with pytest.raises(ConfigError, match=r"trl is not installed.*pip install 'seedfree\[train\]'"):
        QLoRATrainer(base).train(rows, tmp_path / "out")


def test_a_folder_of_something_else_or_in_use_is_left_alone(base, rows, tmp_path):
    from filelock import FileLock

    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="files of something else"):
        QLoRATrainer(base).train(rows, tmp_path)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(ConfigError, match="Another process"):
        QLoRATrainer(base, QLoRAConfig(**QUICK)).train(rows, tmp_path / "out")


def test_several_gpus_want_a_launcher(base, rows, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ConfigError, match="4 GPUs and one process.*accelerate launch"):
        QLoRATrainer(base, QLoRAConfig(**QUICK)).train(rows, tmp_path / "out")


@pytest.mark.parametrize(
    ("trainer", "rows", "message"),
    [
        ({}, "dataset.jsonl", "The data set is str"),
        ({}, [], "The data set is list"),
        ({"base_model": None}, Dataset(), "base_model is NoneType"),
        ({"config": {"rank": 16}}, Dataset(), "config is dict"),
        ({"benchmarks": object()}, Dataset(), "benchmarks is object"),
    ],
)
def test_an_argument_of_another_type_is_told_in_one_line(trainer, rows, message, tmp_path):
    trainer = QLoRATrainer(**{"base_model": "base"} | trainer)
    for use in (trainer.estimate, lambda given: trainer.train(given, tmp_path / "out")):
        with pytest.raises(ConfigError, match=message) as caught:
            use(rows)
        assert "\n" not in str(caught.value)


def test_a_piped_training_says_where_it_begins_and_ends(base, rows, tmp_path, capsys):
    model = QLoRATrainer(base, QLoRAConfig(**QUICK | {"epochs": 1})).train(rows, tmp_path / "out")
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("training: ")]
    steps = model.losses[-1].step
    assert lines[0] == "training: 0 steps"
    assert lines[-1].startswith(f"training: {steps}/{steps} steps")
    assert "loss" in lines[-1] and "tokens a second" in lines[-1] and "ended after" in lines[-1]
