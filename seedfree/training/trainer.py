"""QLoRA from rows to an adapter: planned before a weight is read, and resumable after any stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seedfree._files import claim_folder, write_atomic
from seedfree.card import model_card
from seedfree.dataset import Dataset
from seedfree.diversity.contamination import overlaps
from seedfree.engine.progress import Display
from seedfree.errors import ConfigError, ConfigMismatchError
from seedfree.generators.prices import terms_of
from seedfree.protocols import Benchmark
from seedfree.training.base_model import (
    BaseModel,
    check_packages,
    find_device,
    main_process,
    quiet,
)
from seedfree.training.config import QLoRAConfig
from seedfree.training.data import check_language, split
from seedfree.training.folder import (
    LOCK,
    check_same,
    dataset_digest,
    last_checkpoint,
    plot_losses,
    read_info,
    read_log,
    versions,
    write_info,
)
from seedfree.training.footprint import Footprint, footprint, full_modules
from seedfree.training.model import TrainedModel
from seedfree.training.render import Encoded, Renderer, RenderReport, add_template
from seedfree.training.schedule import schedule
from seedfree.training.sft import (
    TrainingProgress,
    in_effect,
    make_trainer,
    save_adapter,
    scale_adapter,
)
from seedfree.training.stop import StopToken, choose_stop, replace_stop
from seedfree.training.trackers import Tracker, check_tracker, tracked

__all__ = ["QLoRATrainer"]

_LOG = logging.getLogger("seedfree")
# Random numbers and the temporary files of `datasets` are the process's: two trainings at once
# would draw each other's dropout, and delete each other's rows.
_ALONE = threading.RLock()
# Whether answers end is seen on so many rows held out, in batches, with so many tokens each.
_STOP_ROWS, _STOP_BATCH, _STOP_TOKENS = 16, 8, 256
# Fewer are a warning.
_STOP_SHARE = 0.9


@dataclass
class _Plan:
    """All that is known before a weight is read. `dataset` holds the validation rows too."""

    dataset: Dataset
    rows: Dataset
    held: Dataset
    base: BaseModel
    tokenizer: Any
    added_tokens: list[str]
    training: list[Encoded]
    validation: list[Encoded]
    report: RenderReport
    validation_report: RenderReport | None
    footprint: Footprint
    overlaps: dict[str, int]


@dataclass
class QLoRATrainer:
    """Trains an adapter on a base model that does not change (QLoRA, Dettmers et al. 2023).

    It runs on a CPU, a GPU, or several with `accelerate launch script.py`.

    Attributes:
        base_model: A model's folder, or its name on the Hugging Face hub.
        progress: Called after every step that is logged. What it raises stops the training, which
            goes on from its last checkpoint when it is run again.
        show: `None` for a bar in terminals and notebooks and plain lines on standard error
            elsewhere. `True` forces the bar, `False` shows nothing.
        tracker: Where the losses are shown, too: `"tensorboard"` (files in `out/tensorboard`),
            `"trackio"` (this machine's own pages) or `"wandb"` (sent to Weights & Biases, unless
            `WANDB_MODE=offline`). It changes nothing about the training.
        license: Of the adapter, by the hub's word, for the card. That of the base model binds it.
        terms: What the providers of the rows' generators say about training on them, for the card.
            Left out, it is what is known of each `generator`.
        benchmarks: What the model will be judged by. Rows that overlap with them are counted, kept
            in `training.json`, and warned about before a weight is read.
        allow_contamination: Says that such rows are meant to be there: they are counted, without a
            warning.
    """

    base_model: str | Path
    config: QLoRAConfig = field(default_factory=QLoRAConfig)
    progress: Callable[[TrainingProgress], object] | None = None
    show: bool | None = None
    tracker: Tracker | None = None
    license: str = "other"
    terms: str = ""
    benchmarks: Sequence[Benchmark] = ()
    allow_contamination: bool = False

    @classmethod
    def recommended(cls, base_model: str | Path, dataset: Dataset, **changes: Any) -> QLoRATrainer:
        """Returns a trainer whose settings fit some rows and a base model; the log says why.

        Args:
            changes: Settings of `QLoRAConfig` that are to be otherwise.

        Raises:
            ConfigError: The base model cannot be found, or a setting is wrong.
        """
        trainer = cls(base_model)
        trainer._check(dataset, None)
        check_packages()
        settings = schedule(dataset, BaseModel.find(base_model), changes)
        trainer.config = QLoRAConfig.recommended(**settings | changes)
        return trainer

    def estimate(self, dataset: Dataset, *, validation: Dataset | None = None) -> Footprint:
        """Counts rows, tokens, memory and time, before any weight is read.

        `footprint.py` says how exact they are.

        Raises:
            ConfigError: The data set or the base model cannot be used. Too little memory is no
                error here (see `.fits`).
        """
        self._check(dataset, validation)
        with _ALONE:
            return self._plan(dataset, validation).footprint

    def train(
        self, dataset: Dataset, out: str | Path, *, validation: Dataset | None = None
    ) -> TrainedModel:
        """Trains, or goes on from the last checkpoint in `out`.

        A finished training is opened as it is. While another thread of the process trains, it
        waits.

        Args:
            validation: Rows to measure by. Without them, the configuration holds some out, by task.

        Raises:
            ConfigMismatchError: `out` is a training with other settings, rows or base model.
            ConfigError: Something is wrong or too large. No weight was read.
        """
        check_packages()
        self._check(dataset, validation)
        check_tracker(self.tracker)
        with _ALONE:
            return self._train(dataset, Path(out), validation)

    def _train(self, dataset: Dataset, folder: Path, validation: Dataset | None) -> TrainedModel:
        identity = self._identity(dataset, validation)
        info = read_info(folder)
        if info is None:
            claim_folder(folder)
        else:
            check_same(info["identity"], identity, folder)
            if info["status"] == "complete":
                return TrainedModel.open(folder, base_model=self.base_model)
        plan = self._plan(dataset, validation)
        if plan.footprint.reason:
            hint = (
                "Take a smaller base model, max_length or batch_size, or a machine with more "
                "memory."
            )
            raise ConfigError(plan.footprint.reason, hint=hint)
        # Only now: it reads the weight files, which are fetched where the model is on the hub.
        base_digest = plan.base.digest()
        if info is not None and info["base"]["digest"] != base_digest:
            raise ConfigMismatchError(
                f"{folder} was begun on another base model than {plan.base.name}",
                fields=["base_model"],
                hint="Give that one, or a new folder.",
            )
        stop = self._choose_stop(plan)
        if stop.replaced:
            plan = self._ended_with(plan, stop)
        if not main_process():
            # The main one holds the lock for all that a launcher started.
            return self._run(plan, folder, identity, base_digest, stop)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / LOCK, timeout=0):
                return self._run(plan, folder, identity, base_digest, stop)
        except Timeout as error:
            raise ConfigError(f"Another process trains in {folder}", hint="Wait for it.") from error

    def _check(self, dataset: object, validation: object) -> None:
        """Refuses arguments of another type in one line, before anything is imported or read."""
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
            hint = "Give a list of them."
            raise ConfigError(f"benchmarks is {type(self.benchmarks).__name__}", hint=hint)

    def _identity(self, dataset: Dataset, validation: Dataset | None) -> dict[str, Any]:
        """Tells what makes two trainings the same. The base model's digest is compared later."""
        return {
            "base_model": str(self.base_model),
            "config": self.config.model_dump(mode="json"),
            "dataset": dataset_digest(dataset),
            "validation": None if validation is None else dataset_digest(validation),
        }

    def _plan(self, dataset: Dataset, validation: Dataset | None) -> _Plan:
        """Makes every check that needs no weights, the cheap ones first."""
        check_packages()
        config = self.config
        check_language(dataset, config.language)
        overlapping = overlaps(dataset, self.benchmarks, silent=self.allow_contamination)
        rows, held = split(dataset, validation, config)
        if config.patience and not held:
            hint = "Give validation rows, or a validation_share."
            raise ConfigError(f"patience={config.patience} has no rows to validate on", hint=hint)
        device = find_device()
        base = BaseModel.find(self.base_model)
        tokenizer = base.tokenizer()
        added_tokens = add_template(tokenizer, config.chat_template)
        if config.keep < 1 and (full := full_modules(config, added=bool(added_tokens))):
            hint = (
                "Give keep=1, or a chat template that needs no new tokens and no modules_to_save."
            )
            reason = f"keep={config.keep} scales an adapter, and {full[0]} would be trained in full"
            raise ConfigError(reason, hint=hint)
        training, report = self._renderer(tokenizer).rows(rows)
        held_out: list[Encoded] = []
        held_report = None
        if held:
            held_out, held_report = self._renderer(tokenizer).rows(held)
        needed = footprint(
            base,
            config,
            training,
            report,
            validation_rows=len(held_out),
            tokens=len(tokenizer),
            device=device,
        )
        _log_report(report)
        return _Plan(
            dataset=Dataset([*dataset, *(validation or ())]),
            rows=rows,
            held=held,
            base=base,
            tokenizer=tokenizer,
            added_tokens=added_tokens,
            training=training,
            validation=held_out,
            report=report,
            validation_report=held_report,
            footprint=needed,
            overlaps=overlapping,
        )

    def _renderer(self, tokenizer: Any) -> Renderer:
        config = self.config
        return Renderer(
            tokenizer,
            system=config.system,
            max_length=config.max_length,
            prompt_loss=config.prompt_loss,
        )

    def _choose_stop(self, plan: _Plan) -> StopToken:
        full = full_modules(self.config, added=bool(plan.added_tokens))
        tied = bool(getattr(plan.base.config.get_text_config(), "tie_word_embeddings", False))
        learnt = "lm_head" in full or (tied and "embed_tokens" in full)
        written = self._renderer(plan.tokenizer).stop
        folder = None if learnt else plan.base.folder()
        return choose_stop(self.config.stop, written, plan.tokenizer, folder)

    def _ended_with(self, plan: _Plan, stop: StopToken) -> _Plan:
        """Renders the rows once more, by a template that ends answers with another token."""
        tokenizer = plan.tokenizer
        tokenizer.chat_template = replace_stop(tokenizer.chat_template, stop.replaced, stop.text)
        renderer = self._renderer(tokenizer)
        training, report = renderer.rows(plan.rows)
        if not plan.held:
            return replace(plan, training=training, report=report)
        held, held_report = renderer.rows(plan.held)
        return replace(
            plan, training=training, report=report, validation=held, validation_report=held_report
        )

    def _run(
        self,
        plan: _Plan,
        folder: Path,
        identity: Mapping[str, Any],
        base_digest: str,
        stop: StopToken,
    ) -> TrainedModel:
        """Trains as planned. Every process computes, and the main one alone writes files."""
        info: dict[str, Any] = {
            "status": "running",
            "identity": identity,
            "base": {"name": plan.base.name, "digest": base_digest},
            "config": identity["config"],
            "chat_template": plan.tokenizer.chat_template,
            "added_tokens": plan.added_tokens,
            "stop": stop.to_dict(),
            "report": plan.report.to_dict(),
            "validation_report": plan.validation_report and plan.validation_report.to_dict(),
            "overlapping_rows": plan.overlaps,
            "versions": versions(),
            "device": plan.footprint.device,
            "trained_parameters": plan.footprint.shape.trained,
            "losses": [],
        }
        last = last_checkpoint(folder / "checkpoints")
        if main_process():
            # Before the first checkpoint: whoever resumes it compares these settings.
            write_info(folder, info)
        with quiet(), tracked(self.tracker, folder):
            trainer = self._sft_trainer(plan, folder)
            trainer.train(resume_from_checkpoint=last and str(last))
            scale_adapter(trainer, self.config.keep)
            losses = read_log(trainer.state.log_history)
            # The last step need not be one at which a checkpoint is due.
            if plan.validation and (losses[-1].validation is None or self.config.keep < 1):
                trainer.evaluate()
                losses = read_log(trainer.state.log_history)
            if main_process():
                save_adapter(trainer, plan.base, plan.tokenizer, folder / "adapter")
                info["losses"] = [loss.to_dict() for loss in losses]
                info["stop"] |= self._measure_stop(
                    trainer, plan, TrainedModel(folder, plan.base, info)
                )
                info |= {"status": "complete", "ran": in_effect(trainer)}
                try:
                    plot_losses(losses, folder / "loss.png")
                except ConfigError as error:
                    _LOG.warning("No loss.png: %s", error)
                write_atomic(folder / "README.md", [self._card(plan, folder, info)])
                # Last: a folder whose status is "complete" has all its files.
                write_info(folder, info)
            # The others open what the main process has written.
            trainer.accelerator.wait_for_everyone()
        return TrainedModel.open(folder, base_model=self.base_model)

    def _measure_stop(self, trainer: Any, plan: _Plan, model: TrainedModel) -> dict[str, int]:
        """Asks what was held out, and counts the answers that end by themselves.

        The rows with the shortest answers are asked, which any model that knows how to end does end
        within the limit.

        Returns:
            `asked`, and `ended` of them. Nothing where no row is held out, or where the weights are
            spread over several processes.
        """
        if not plan.held or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            return {}
        rows = sorted(plan.held, key=lambda row: len(row.output))[:_STOP_ROWS]
        model.take(trainer.accelerator.unwrap_model(trainer.model))
        display = Display("answers held out", "answers", len(rows), show=self.show)
        display.start(0)
        ended = 0
        for at in range(0, len(rows), _STOP_BATCH):
            prompts = [row.messages[:-1] for row in rows[at : at + _STOP_BATCH]]
            replies = model.replies(prompts, [0] * len(prompts), max_new_tokens=_STOP_TOKENS)
            ended += sum(reply.stop_reason == "end" for reply in replies)
            display.update(at + len(prompts), {"ended by themselves": ended}, None)
        display.close()
        if ended < _STOP_SHARE * len(rows):
            _LOG.warning(
                "%d of %d answers to rows held out do not end within %d tokens. Train for longer, "
                "or on more rows.",
                len(rows) - ended,
                len(rows),
                _STOP_TOKENS,
            )
        return {"asked": len(rows), "ended": ended}

    def _sft_trainer(self, plan: _Plan, folder: Path) -> Any:
        return make_trainer(
            plan.base,
            plan.tokenizer,
            plan.training,
            plan.validation,
            folder / "checkpoints",
            config=self.config,
            device=plan.footprint.device,
            added=bool(plan.added_tokens),
            stop=self._renderer(plan.tokenizer).stop,
            progress=self.progress,
            show=self.show,
            tracker=self.tracker,
        )

    def _card(self, plan: _Plan, folder: Path, info: Mapping[str, Any]) -> str:
        total, losses = plan.report.total, info["losses"]
        figures: dict[str, object] = {
            "steps": losses[-1]["step"],
            "rows trained on": total.rows - total.masked,
            "rows cut at max_length": total.cut,
            "rows left out, as no token carried loss": total.masked,
            "tokens a character of the answers": round(total.tokens_per_character, 2),
        }
        held = [loss["validation"] for loss in losses if loss["validation"] is not None]
        if held:
            figures["validation loss before"] = round(held[0], 3)
            # With patience it is the best checkpoint that is kept; step 0 is none.
            best = self.config.patience and self.config.keep == 1
            kept = min(held[1:] or held) if best else held[-1]
            figures["validation loss after"] = round(kept, 3)
        figures["answers end with"] = info["stop"]["token"]
        if "asked" in info["stop"]:
            figures["answers to rows held out that end by themselves"] = (
                f"{info['stop']['ended']} of {info['stop']['asked']}"
            )
        known_terms = {terms_of(row.generator) for row in plan.dataset} - {""}
        return model_card(
            plan.dataset,
            base_model=plan.base.name,
            recipe=self.config.model_dump(),
            license=self.license,
            terms=self.terms or " ".join(sorted(known_terms)),
            figures=figures,
            versions=info["versions"],
            curve="loss.png" if (folder / "loss.png").exists() else "",
        )


def _log_report(report: RenderReport) -> None:
    _LOG.info("Rows as tokens:\n%s", report)
    total = report.total
    for count, fate in (
        (total.cut, "are longer than max_length and cut"),
        (total.masked, "are left out: none of their tokens would carry loss"),
        (report.marked, "held special tokens of the tokenizer, which were broken"),
        (report.merged, "have an answer whose prompt, asked alone, has other tokens"),
    ):
        if count:
            _LOG.warning("%d of %d rows %s", count, total.rows, fate)
