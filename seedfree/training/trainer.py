"""QLoRA on TRL's `SFTTrainer`: rows with labels of our own, an adapter that can be gone on with after any stop."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seedfree._files import write_atomic
from seedfree.dataset import Dataset
from seedfree.diversity.contamination import overlaps
from seedfree.errors import ConfigError, ConfigMismatchError
from seedfree.generators.prices import terms_of
from seedfree.protocols import Benchmark
from seedfree.training.base_model import (
    BaseModel,
    check_packages,
    device,
    load,
    main_process,
    quiet,
)
from seedfree.training.card import model_card
from seedfree.training.config import QLoRAConfig
from seedfree.training.data import check_language, split
from seedfree.training.folder import (
    check_same,
    digest,
    last_checkpoint,
    plot,
    read_info,
    read_log,
    versions,
    write_info,
)
from seedfree.training.footprint import Footprint, free_memory, full_modules, memory, seconds, shape
from seedfree.training.model import TrainedModel
from seedfree.training.render import Encoded, Renderer, RenderReport, add_template
from seedfree.training.sft import TrainingProgress, make_callback

__all__ = ["QLoRATrainer"]

_LOG = logging.getLogger("seedfree")


@dataclass
class _Plan:
    """All that is known before a weight is read."""

    rows: Dataset
    base: BaseModel
    tokenizer: Any
    added: list[str]
    training: list[Encoded]
    validation: list[Encoded]
    report: RenderReport
    validation_report: RenderReport | None
    footprint: Footprint
    overlaps: dict[str, int]


@dataclass
class QLoRATrainer:
    """Trains an adapter on a base model that is quantized to 4 bits (QLoRA, Dettmers et al. 2023).

    It runs on a CPU, a GPU, or several with `accelerate launch script.py`.

    Attributes:
        base_model: A model's folder, or its name on the Hugging Face hub.
        progress: Called after every step that is logged; what it raises stops the training, which
            goes on from its last checkpoint when it is run again.
        show: A bar: `None` for a terminal alone.
        license: Of the adapter, by the hub's word, for the card; that of the base model binds it.
        terms: What the providers of the rows' generators say about training on them, for the card;
            left out, what is known of each `generator`.
        benchmarks: What the model will be judged by: rows that overlap with them are counted, kept
            in `training.json`, and warned about before a weight is read.
        allow_contamination: Says that such rows are meant to be there: they are counted, without a
            warning.
    """

    base_model: str | Path
    config: QLoRAConfig = field(default_factory=QLoRAConfig)
    progress: Callable[[TrainingProgress], object] | None = None
    show: bool | None = None
    license: str = "other"
    terms: str = ""
    benchmarks: Sequence[Benchmark] = ()
    allow_contamination: bool = False

    def estimate(self, dataset: Dataset, *, validation: Dataset | None = None) -> Footprint:
        """Rows, tokens, memory and time, before any weight is read; see `footprint.py` for how exact they are.

        Raises:
            ConfigError: The data set or the base model cannot be used; not: too little memory (see `.fits`).
        """
        self._check(dataset, validation)
        return self._plan(dataset, validation).footprint

    def train(
        self, dataset: Dataset, out: str | Path, *, validation: Dataset | None = None
    ) -> TrainedModel:
        """Trains, or goes on from the last checkpoint in `out`; a finished training is opened as it is.

        Args:
            validation: Rows to measure by; `None`: those that the configuration holds out, by task.

        Raises:
            ConfigMismatchError: `out` is a training with other settings, rows or base model.
            ConfigError: Something is wrong or too large; no weight was read.
        """
        check_packages()
        self._check(dataset, validation)
        folder = Path(out)
        identity = self._identity(dataset, validation)
        info = read_info(folder)
        if info is None:
            if folder.exists() and (
                not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())
            ):
                raise ConfigError(
                    f"{folder} is not empty and no training", hint="Give a new folder."
                )
        else:
            check_same(info["identity"], identity, folder)
            if info["status"] == "complete":
                return TrainedModel.open(folder, base_model=self.base_model)
        plan = self._plan(dataset, validation)
        if plan.footprint.reason:
            hint = "Take a smaller base model, max_length or batch_size, or a machine with more memory."
            raise ConfigError(plan.footprint.reason, hint=hint)
        base_digest = plan.base.digest()
        if info is not None and info["base"]["digest"] != base_digest:
            raise ConfigMismatchError(
                f"{folder} was begun on another base model than {plan.base.name}", fields=["base_model"],
                hint="Give that one, or a new folder.",
            )  # fmt: skip
        if not main_process():
            return self._run(plan, folder, identity, base_digest)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                return self._run(plan, folder, identity, base_digest)
        except Timeout as error:
            raise ConfigError(f"Another process trains in {folder}", hint="Wait for it.") from error

    def _check(self, dataset: object, validation: object) -> None:
        for rows in (dataset, validation):
            if rows is not None and not isinstance(rows, Dataset):
                hint = "Give a Dataset: a run's, sf.Dataset.from_jsonl(path) or sf.Dataset(rows)."
                raise ConfigError(f"The data set is {type(rows).__name__}", hint=hint)
        if not isinstance(self.base_model, str | Path):
            hint = "Give a model's folder, or its name on the hub."
            raise ConfigError(f"base_model is {type(self.base_model).__name__}", hint=hint)
        if not isinstance(self.config, QLoRAConfig):
            hint = "Give a QLoRAConfig, such as QLoRAConfig.recommended(rank=16)."
            raise ConfigError(f"config is {type(self.config).__name__}", hint=hint)
        if not isinstance(self.benchmarks, Sequence):
            raise ConfigError(
                f"benchmarks is {type(self.benchmarks).__name__}", hint="Give a list of them."
            )

    def _identity(self, dataset: Dataset, validation: Dataset | None) -> dict[str, Any]:
        return {
            "base_model": str(self.base_model),
            "config": self.config.model_dump(mode="json"),
            "dataset": digest(dataset),
            "validation": None if validation is None else digest(validation),
        }

    def _plan(self, dataset: Dataset, validation: Dataset | None) -> _Plan:
        check_packages()
        config = self.config
        check_language(dataset, config.language)
        shared = overlaps(dataset, self.benchmarks, silent=self.allow_contamination)
        rows, held = split(dataset, validation, config)
        place = device()
        base = BaseModel.find(self.base_model)
        tokenizer = base.tokenizer()
        added = add_template(tokenizer, config.chat_template)
        renderer = Renderer(tokenizer, system=config.system, max_length=config.max_length)
        training, report = renderer.rows(rows)
        validated, validation_report = renderer.rows(held) if held else ([], None)
        footprint = self._footprint(base, len(tokenizer), place, training, len(validated), report)
        _tell(report)
        return _Plan(
            Dataset([*dataset, *(validation or ())]),
            base,
            tokenizer,
            added,
            training,
            validated,
            report,
            validation_report,
            footprint,
            shared,
        )

    def _footprint(
        self,
        base: BaseModel,
        tokens: int,
        place: str,
        rows: Sequence[Encoded],
        held: int,
        report: RenderReport,
    ) -> Footprint:
        config = self.config
        with quiet():
            size = shape(base, config, tokens=tokens)
        lengths = [len(row.input_ids) for row in rows]
        whole = config.packing or config.pad_to_max_length
        length = config.max_length if whole else max(lengths)
        sequences = math.ceil(sum(lengths) / config.max_length) if config.packing else len(rows)
        computed = len(rows) * config.max_length if config.pad_to_max_length else sum(lengths)
        world = int(os.environ.get("WORLD_SIZE", "1"))
        steps = math.ceil(
            math.ceil(sequences / (config.batch_size * world * config.accumulation)) * config.epochs
        )
        length = min(length, sum(lengths))
        took = (
            seconds(size, config, tokens=computed, length=length, device=place)
            * config.epochs
            / world
        )
        needs = memory(size, config, length=length, device=place)
        free = free_memory(place)
        return Footprint(
            base.name, size, place, needs, free, len(rows), held, computed, steps, took, report
        )  # fmt: skip

    def _run(
        self, plan: _Plan, folder: Path, identity: Mapping[str, Any], base_digest: str
    ) -> TrainedModel:
        info = {
            "status": "running",
            "identity": identity,
            "base": {"name": plan.base.name, "digest": base_digest},
            "config": identity["config"],
            "chat_template": plan.tokenizer.chat_template,
            "added_tokens": plan.added,
            "report": plan.report.to_dict(),
            "validation_report": plan.validation_report.to_dict()
            if plan.validation_report
            else None,
            "overlapping_rows": plan.overlaps,
            "versions": versions(),
            "device": plan.footprint.device,
            "trained_parameters": plan.footprint.shape.trained,
            "losses": [],
        }
        last = last_checkpoint(folder / "checkpoints")
        if main_process():
            write_info(folder, info)
        with quiet():
            trainer = self._trainer(plan, folder)
            trainer.train(resume_from_checkpoint=last and str(last))
            losses = read_log(trainer.state.log_history)
            if plan.validation and losses[-1].validation is None:
                trainer.evaluate()
            losses = read_log(trainer.state.log_history)
            if main_process():
                self._save(trainer, plan, folder)
                info |= {
                    "status": "complete",
                    "ran": _ran(trainer),
                    "losses": [one.to_dict() for one in losses],
                }
                try:
                    plot(losses, folder / "loss.png")
                except ConfigError as error:
                    _LOG.warning("No loss.png: %s", error)
                self._describe(plan, folder, info)
                write_info(folder, info)
            trainer.accelerator.wait_for_everyone()
        return TrainedModel.open(folder, base_model=self.base_model)

    def _describe(self, plan: _Plan, folder: Path, info: Mapping[str, Any]) -> None:
        """Writes the card."""
        total, losses = plan.report.total, info["losses"]
        held = [one["validation"] for one in losses if one["validation"] is not None]
        figures: dict[str, object] = {
            "steps": losses[-1]["step"],
            "rows trained on": total.rows - total.masked,
            "rows cut at max_length": total.cut,
            "rows left out, as no token carried loss": total.masked,
            "tokens a character of the answers": round(total.tokens_per_character, 2),
        }
        if held:
            figures["validation loss before"], figures["validation loss after"] = (
                round(held[0], 3),
                round(held[-1], 3),
            )
        card = model_card(
            plan.rows,
            base_model=plan.base.name,
            config=self.config,
            license=self.license,
            terms=self.terms
            or " ".join(sorted(filter(None, {terms_of(one.generator) for one in plan.rows}))),
            figures=figures,
            versions=info["versions"],
            curve="loss.png" if (folder / "loss.png").exists() else "",
        )
        write_atomic(folder / "README.md", [card])

    def _save(self, trainer: Any, plan: _Plan, folder: Path) -> None:
        adapter, new = folder / "adapter", folder / ".adapter.new"
        shutil.rmtree(new, ignore_errors=True)
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.peft_config["default"].base_model_name_or_path = plan.base.name
        # Whole embeddings are saved where they were trained; copies of the base's own would treble
        # the file.
        model.save_pretrained(str(new), save_embedding_layers=False)
        (new / "README.md").unlink(missing_ok=True)
        plan.tokenizer.save_pretrained(str(new))
        shutil.rmtree(adapter, ignore_errors=True)
        new.rename(adapter)

    def _trainer(self, plan: _Plan, folder: Path) -> Any:
        import datasets
        import torch
        from peft import LoraConfig
        from transformers import set_seed
        from trl import SFTConfig, SFTTrainer

        config, place = self.config, plan.footprint.device
        set_seed(config.seed)
        model = load(
            plan.base, place, config=config, tokens=len(plan.tokenizer) if plan.added else None
        )
        model.config.use_cache = False
        tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
        modules, targets = full_modules(config, added=bool(plan.added)), config.target_modules
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            modules_to_save=list(modules) or None,
            ensure_weight_tying=tied and bool(modules),
            task_type="CAUSAL_LM",
        )
        bf16 = place != "cpu" and torch.cuda.is_bf16_supported()
        # Paged and 8-bit states live in a GPU's memory; the CPU's own optimizer needs no paging.
        optimizer = config.optimizer.removeprefix("paged_") if place == "cpu" else config.optimizer
        arguments = SFTConfig(
            output_dir=str(folder / "checkpoints"),
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=config.batch_size,
            gradient_accumulation_steps=config.accumulation,
            learning_rate=config.learning_rate,
            lr_scheduler_type=config.scheduler,
            warmup_steps=config.warmup_ratio,
            optim=optimizer,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            gradient_checkpointing=config.gradient_checkpointing,
            max_length=config.max_length if config.packing else None,
            packing=config.packing,
            eval_packing=False,
            pad_to_multiple_of=config.max_length if config.pad_to_max_length else None,
            bf16=bf16,
            use_cpu=place == "cpu",
            seed=config.seed,
            logging_steps=1,
            save_strategy="steps",
            save_total_limit=2,
            eval_strategy="steps" if plan.validation else "no",
            eval_on_start=bool(plan.validation) and last_checkpoint(folder / "checkpoints") is None,
            prediction_loss_only=True,
            ddp_find_unused_parameters=False,
            dataloader_pin_memory=place != "cpu",
            disable_tqdm=True,
            report_to="none",
        )

        class Trainer(SFTTrainer):  # type: ignore[misc]  # trl has no types
            """Saves the adapter alone: no card, no copies of embeddings, nothing pickled beside what resuming needs."""

            def create_model_card(self, *_: Any, **__: Any) -> None:
                """The card is written once, at the end."""

            def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
                self.accelerator.unwrap_model(self.model).save_pretrained(
                    output_dir, state_dict=state_dict, save_embedding_layers=False
                )

        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=_hf(datasets, plan.training),
            eval_dataset=_hf(datasets, plan.validation) if plan.validation else None,
            processing_class=plan.tokenizer,
            peft_config=lora,
        )
        # TRL has made the trained weights bf16; a CPU computes in float32 all through.
        wanted = torch.bfloat16 if bf16 and config.adapter_dtype == "bfloat16" else torch.float32
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.to(wanted)
        batches = len(trainer.get_train_dataloader())
        steps = math.ceil(math.ceil(batches / config.accumulation) * config.epochs)
        arguments.save_steps = arguments.eval_steps = max(1, math.ceil(steps / config.checkpoints))
        from transformers import PrinterCallback

        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(make_callback(self.progress, self.show if main_process() else False))
        return trainer


def _hf(datasets: Any, rows: Sequence[Encoded]) -> Any:
    return datasets.Dataset.from_dict(
        {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    )


def _ran(trainer: Any) -> dict[str, Any]:
    """What the device made of the settings: a CPU pages nothing and computes in float32."""
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


def _tell(report: RenderReport) -> None:
    _LOG.info("Rows as tokens:\n%s", report)
    total = report.total
    for count, what in (
        (total.cut, "are longer than max_length and cut"),
        (total.masked, "are left out: none of their tokens would carry loss"),
        (report.marked, "held special tokens of the tokenizer, which were broken"),
        (report.merged, "have a token that is partly prompt, partly answer"),
    ):
        if count:
            _LOG.warning("%d of %d rows %s", count, total.rows, what)
