"""TRL's part of a training: the `SFTTrainer` with its settings, and how far it has come.

Rows arrive with labels of their own, so TRL neither renders nor masks anything.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedfree.engine.progress import Display
from seedfree.errors import ConfigError
from seedfree.training.base_model import BaseModel, computes_in_bf16, load, main_process, output_at
from seedfree.training.config import QLoRAConfig
from seedfree.training.folder import last_checkpoint
from seedfree.training.footprint import LOGITS, full_modules
from seedfree.training.render import Encoded
from seedfree.training.trackers import Tracker, tracker_arguments

__all__ = ["TrainingProgress", "in_effect", "make_trainer", "save_adapter", "scale_adapter"]


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        step, steps: Done, and in all.
        loss: Of the last step, in nats a token.
        validation_loss: Measured last, `None` before.
        seconds_left: If it goes on as it went since it was started, `None` before the first step.
    """

    step: int
    steps: int
    loss: float | None
    validation_loss: float | None
    seconds_left: float | None


def make_trainer(
    base: BaseModel,
    tokenizer: Any,
    training: Sequence[Encoded],
    validation: Sequence[Encoded],
    checkpoints: Path,
    *,
    config: QLoRAConfig,
    device: str,
    added: bool,
    stop: str,
    progress: Callable[[TrainingProgress], object] | None,
    show: bool | None,
    tracker: Tracker | None,
) -> Any:
    """Loads the base model and makes a TRL trainer of it that is ready to train.

    Args:
        checkpoints: Folder for them, in that of the training.
        device: See `base_model.find_device`.
        added: The tokenizer has tokens that are new to the base model.
        stop: The token that ends an answer.
        progress: Called after every step that is logged.
        show: See `Display`.
        tracker: See `trackers`.
    """
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

    # Now, as loading the model may take minutes.
    display = Display("training", "steps", None, show=show if main_process() else False)

    # Before the model: new embeddings and the adapter's weights are drawn.
    set_seed(config.seed)
    model = load(base, device, config=config, tokens=len(tokenizer) if added else None)
    # A cache of keys and values is for generating.
    model.config.use_cache = False
    arguments = _arguments(config, device, checkpoints, validated=bool(validation), tracker=tracker)
    stop_id = tokenizer.convert_tokens_to_ids(stop)
    trainer = _trainer_class(stop_id, config.stop_weight)(
        model=model,
        args=arguments,
        train_dataset=_columns(training),
        eval_dataset=_columns(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=_lora(config, model, added=added),
    )
    if config.stop_weight > 1 and trainer.aux_loss_enabled:
        reason = f"stop_weight={config.stop_weight} leaves out the loss that routes to experts"
        raise ConfigError(reason, hint="Give stop_weight=1 for a model with experts.")
    # TRL has made the trained weights bf16.
    wanted = torch.float32
    if config.adapter_dtype == "bfloat16" and computes_in_bf16(device):
        wanted = torch.bfloat16
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(wanted)
    # Only now: TRL packs the rows, and that decides how many batches there are.
    batches = len(trainer.get_train_dataloader())
    steps = math.ceil(math.ceil(batches / config.accumulation) * config.epochs)
    arguments.save_steps = arguments.eval_steps = max(1, math.ceil(steps / config.checkpoints))
    # Without its bar, transformers prints every line of the log instead.
    trainer.remove_callback(PrinterCallback)
    if config.patience:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    trainer.add_callback(_make_callback(progress, display))
    return trainer


def _trainer_class(stop: int, stop_weight: float) -> Any:
    """Makes a trainer whose loss is TRL's, but for the token that ends an answer.

    Args:
        stop: Its number.
        stop_weight: See `QLoRAConfig`.
    """
    from torch.nn.functional import cross_entropy
    from trl import SFTTrainer

    class Trainer(SFTTrainer):  # type: ignore[misc]  # trl has no types
        """Saves the adapter and what resuming needs: no card, nothing that is pickled."""

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            # On a GPU, TRL computes the output layer where a token carries loss. On a CPU it does
            # so for every token, and that layer is most of a small model. TRL weighs all tokens
            # alike.
            weighted = stop_weight > 1 and model.training
            if self.model.device.type != "cpu" and not weighted:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            labels = inputs["labels"][:, 1:]
            places = (labels != -100).any(dim=0).nonzero().flatten()
            labels = labels[:, places]
            causal = self.accelerator.unwrap_model(model).get_base_model()
            size = labels.numel() * causal.get_output_embeddings().weight.shape[0]
            with output_at(causal.base_model, places):
                if return_outputs or not weighted and (self.aux_loss_enabled or size > LOGITS):
                    # TRL's tiles take less memory, and several times as long.
                    return super().compute_loss(
                        model,
                        {**inputs, "shift_labels": labels},
                        return_outputs,
                        num_items_in_batch,
                    )
                asked = {name: each for name, each in inputs.items() if name != "labels"}
                logits = model(**asked, use_cache=False).logits
            logits = logits.flatten(0, 1).float()
            weights = logits.new_ones(logits.shape[1])
            weights[stop] = stop_weight if weighted else 1
            summed = cross_entropy(logits, labels.flatten(), weights, reduction="sum")
            if model.training:
                # What TRL counts where it computes the loss.
                self._total_train_tokens += inputs["input_ids"].numel()
                self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
            if num_items_in_batch is None:
                return summed / (labels != -100).sum().clamp(min=1)
            # The gradients of several processes are averaged, and the items are those of all.
            return summed / num_items_in_batch * self.accelerator.num_processes

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Writes none: TRL would with every checkpoint, and ours is written at the end."""

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            # Under FSDP and DeepSpeed every process is asked, each with the weights of all.
            if not self.args.should_save:
                return
            # transformers would add training_args.bin, which is pickled, and the tokenizer.
            _save_weights(self, output_dir or self.args.output_dir, state_dict=state_dict)

    return Trainer


def _save_weights(trainer: Any, folder: str | Path, *, state_dict: Any = None) -> None:
    # Whole embeddings are saved where they were trained; copies of the base's own would treble the
    # file.
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(
        str(folder), state_dict=state_dict, save_embedding_layers=False
    )


def _arguments(
    config: QLoRAConfig,
    device: str,
    checkpoints: Path,
    *,
    validated: bool,
    tracker: Tracker | None,
) -> Any:
    from trl import SFTConfig

    cpu = device == "cpu"
    optimizer: str = config.optimizer
    if cpu:
        # Paged and 8-bit states live in a GPU's memory; the CPU's own optimizer needs no paging.
        optimizer = optimizer.removeprefix("paged_")
    return SFTConfig(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.scheduler,
        # transformers reads a number below 1 as a share of the steps.
        warmup_steps=config.warmup_ratio,
        optim=optimizer,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        gradient_checkpointing=config.gradient_checkpointing,
        # Of a packed sequence; rows are cut already.
        max_length=config.max_length if config.packing else None,
        packing=config.packing,
        # The loss of a held-out row must not hang on the rows beside it.
        eval_packing=False,
        # No row is longer, so the next multiple is max_length itself.
        pad_to_multiple_of=config.max_length if config.pad_to_max_length else None,
        bf16=computes_in_bf16(device),
        use_cpu=cpu,
        seed=config.seed,
        logging_steps=1,
        save_strategy="steps",
        # A kill may leave the last one half written; the one before is still whole.
        save_total_limit=2,
        eval_strategy="steps" if validated else "no",
        # A training that goes on has measured the base model already.
        eval_on_start=validated and last_checkpoint(checkpoints) is None,
        load_best_model_at_end=bool(config.patience),
        # How often in a row it was not the best.
        restore_callback_states_from_checkpoint=bool(config.patience),
        metric_for_best_model="eval_loss" if config.patience else None,
        # Otherwise the logits of all rows held out would be kept.
        prediction_loss_only=True,
        # Every adapter has a part in every step; to look for idle ones breaks checkpointing.
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=not cpu,
        disable_tqdm=True,
        **tracker_arguments(tracker, checkpoints.parent),
    )


def _lora(config: QLoRAConfig, model: Any, *, added: bool) -> Any:
    from peft import LoraConfig

    modules, targets = full_modules(config, added=added), config.target_modules
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        # PEFT takes its own word for a choice of layers, or a list.
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=list(modules) or None,
        # Embeddings that are tied to the output layer stay so when they are trained in full.
        ensure_weight_tying=tied and bool(modules),
        task_type="CAUSAL_LM",
    )


def _columns(rows: Sequence[Encoded]) -> Any:
    import datasets

    return datasets.Dataset.from_dict(
        {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    )


def in_effect(trainer: Any) -> dict[str, Any]:
    """Tells what the device made of the settings: a CPU pages nothing, some have no bf16."""
    dtypes = {
        str(weight.dtype).removeprefix("torch.")
        for weight in trainer.model.parameters()
        if weight.requires_grad
    }
    return {
        "optimizer": trainer.args.optim.value,
        "trained_in": sorted(dtypes),
        "bf16": trainer.args.bf16,
    }


def scale_adapter(trainer: Any, keep: float) -> None:
    """Multiplies the adapter's scale, where it computes and where its configuration names it."""
    from peft.tuners.lora import LoraLayer

    model = trainer.accelerator.unwrap_model(trainer.model)
    model.peft_config["default"].lora_alpha *= keep
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(keep)


def save_adapter(trainer: Any, base: BaseModel, tokenizer: Any, adapter: Path) -> None:
    """Writes adapter and tokenizer into a folder, in place of what stood there."""
    # Under another name first, so that a kill never leaves half an adapter that looks whole.
    new = adapter.with_name(f".{adapter.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    adapted = model.peft_config["default"]
    # A name on the hub would otherwise be the path of its copy in the cache.
    adapted.base_model_name_or_path = base.name
    # PEFT keeps a set, whose order differs between equal trainings, and with it the file's digest.
    adapted.target_modules = sorted(adapted.target_modules)
    _save_weights(trainer, new)
    # PEFT's own card is a form to fill in.
    (new / "README.md").unlink(missing_ok=True)
    tokenizer.save_pretrained(str(new))
    shutil.rmtree(adapter, ignore_errors=True)
    new.rename(adapter)


def _make_callback(progress: Callable[[TrainingProgress], object] | None, display: Display) -> Any:
    """Makes a callback that moves the display, and calls `progress`."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        """Turns log lines into `TrainingProgress`."""

        def __init__(self) -> None:
            self.loss: float | None = None
            self.validation: float | None = None
            self.begun = time.monotonic()
            self.first_step = 0
            # When the first count of tokens came, and what it was.
            self.counted: tuple[float, float] | None = None
            self.tokens_per_second: float | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # A training that goes on begins at the step of its checkpoint.
            self.begun, self.first_step = time.monotonic(), state.global_step
            display.total = state.max_steps
            display.start(self.first_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            # Training and validation loss come on lines of their own, so the other is kept.
            self.loss = (logs or {}).get("loss", self.loss)
            self.validation = (logs or {}).get("eval_loss", self.validation)
            if "loss" in (logs or {}) and "num_tokens" in logs:
                self.count(logs["num_tokens"])
            left = None
            if done := state.global_step - self.first_step:
                seconds_a_step = (time.monotonic() - self.begun) / done
                left = (state.max_steps - state.global_step) * seconds_a_step
            reached = TrainingProgress(
                state.global_step, state.max_steps, self.loss, self.validation, left
            )
            display.update(reached.step, self.facts(), reached.seconds_left)
            if progress:
                progress(reached)

        def count(self, tokens: float) -> None:
            now = time.monotonic()
            if self.counted is None:
                self.counted = (now, tokens)
            elif now > self.counted[0]:
                self.tokens_per_second = (tokens - self.counted[1]) / (now - self.counted[0])

        def facts(self) -> dict[str, object]:
            facts: dict[str, object] = {}
            if self.loss is not None:
                facts["loss"] = f"{self.loss:.3f}"
            if self.validation is not None:
                facts["validation"] = f"{self.validation:.3f}"
            if self.tokens_per_second is not None:
                facts["tokens a second"] = f"{self.tokens_per_second:.0f}"
            return facts

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            display.close()

    return Watch()
