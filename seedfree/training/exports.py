"""The same training by other tools: their config and data files, in place of a training here.

Config keys are those of axolotl 0.19 (https://docs.axolotl.ai/docs/config-reference.html) and
LLaMA-Factory 0.9.5 (https://llamafactory.readthedocs.io, `data/README.md` of its repository). Paths
in the files are relative, so that the folder can be moved to the machine that trains.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from seedfree._files import begins_with, claim_folder, json_line, write_atomic
from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.readers import in_turn
from seedfree.records import Message, altered
from seedfree.text import unmarked
from seedfree.training.config import QLoRAConfig
from seedfree.training.data import check_language, split
from seedfree.training.render import CHATML

__all__ = ["AxolotlExport", "LlamaFactoryExport"]

# The first words of a config's file. By them a folder of an earlier export is known.
_MADE_HERE = "# Made by seedfree."
# Recipes name these where tokens are new to the base model: nothing else could learn them.
_EMBEDDINGS = {"embed_tokens", "lm_head"}


# The checkpoint that is kept where a training may end early.
_BEST = {
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "greater_is_better": False,
}


class _Export(ABC):
    """What both tools share. The base model is in NF4 unless `quantize` is `False`.

    Args:
        base_model: Folder, or name on the hub.
        config: `QLoRAConfig.recommended()` where none is given.
    """

    tool: ClassVar[str]
    command: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, base_model: str | Path, config: QLoRAConfig | None = None) -> None:
        self.base_model = str(base_model)
        # The tool runs in another folder, from which a relative path leads nowhere.
        if Path(base_model).is_dir():
            self.base_model = str(Path(base_model).resolve())
        self.config = config or QLoRAConfig.recommended()

    def write(self, dataset: Dataset, out: str | Path) -> Path:
        """Writes the files into a folder and returns the config's path.

        Rows are split for validation as `QLoRATrainer` splits them, by task.

        Raises:
            ConfigError: A row or a setting is one that the tool would skip or misread. The folder
                holds files of something else, or nothing can be written.
        """
        if self.config.keep < 1:
            hint = "Multiply lora_alpha in the trained adapter's adapter_config.json by it instead."
            raise ConfigError(f"keep={self.config.keep} is a step that the tool lacks", hint=hint)
        if self.config.stop_weight > 1:
            reason = f"stop_weight={self.config.stop_weight} is a loss that the tool lacks"
            raise ConfigError(reason, hint="Give stop_weight=1.")
        check_language(dataset, self.config.language)
        folder, rows = Path(out), _fit(dataset, self.config.system)
        train, validation = split(rows, None, self.config)
        # Before a file is written: it refuses settings that the tool cannot have.
        config = self._config(validated=bool(validation))
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        ours = [path.name for path in folder.glob("*.yaml") if begins_with(path, _MADE_HERE)]
        claim_folder(folder, ours)
        head = f"{_MADE_HERE} From this folder run: {self.command}\n"
        for name, side in (("train", train), ("validation", validation)):
            if side:
                write_atomic(folder / f"{name}.jsonl", map(json_line, self._rows(side)))
        self._write_more(folder, validated=bool(validation))
        write_atomic(folder / self.file, [head, text])
        return folder / self.file

    @abstractmethod
    def _config(self, *, validated: bool) -> dict[str, Any]:
        """Returns the tool's config. `validated` says whether there are validation rows."""

    @abstractmethod
    def _rows(self, side: Dataset) -> Iterable[dict[str, Any]]:
        """Returns rows in the form that the tool reads."""

    def _write_more(self, folder: Path, *, validated: bool) -> None:
        """Writes a further file, for a tool that wants one."""
        return


class AxolotlExport(_Export):
    """Writes `axolotl.yaml`, `train.jsonl` and `validation.jsonl` for axolotl.

    Loss is on the assistant's turns and the token that ends them. Rows longer than `max_length` are
    cut, not dropped. Where ChatML brings new tokens, name `embed_tokens` and `lm_head` in
    `modules_to_save`: axolotl refuses otherwise.

    Args:
        base_model: Folder, or name on the hub.
        config: `QLoRAConfig.recommended()` where none is given.
        stop: The token that ends a turn in the chat template, where that is not the tokenizer's end
            of sequence, such as Gemma's `<end_of_turn>`. axolotl leaves it out of the loss unless
            it is named. ChatML's is known.
    """

    tool = "axolotl"
    file = "axolotl.yaml"
    command = "axolotl train axolotl.yaml"

    def __init__(
        self, base_model: str | Path, config: QLoRAConfig | None = None, *, stop: str | None = None
    ) -> None:
        super().__init__(base_model, config)
        self.stop = stop

    def _rows(self, side: Dataset) -> list[dict[str, Any]]:
        return side.to_messages()

    def _config(self, *, validated: bool) -> dict[str, Any]:
        c = self.config
        config: dict[str, Any] = {
            "base_model": self.base_model,
            "adapter": "qlora" if c.quantize is not False else "lora",
            **self._quantization(),
            "lora_r": c.rank,
            "lora_alpha": _whole(c.alpha),
            "lora_dropout": c.dropout,
        }
        if c.target_modules == "all-linear":
            config["lora_target_linear"] = True
        else:
            config["lora_target_modules"] = list(c.target_modules)
        if c.modules_to_save:
            config["lora_modules_to_save"] = list(c.modules_to_save)
        if c.adapter_dtype == "bfloat16":
            # PEFT makes an adapter float32 unless it is told to leave it in the model's bf16.
            config["peft_autocast_adapter_dtype"] = False
        if not c.chat_template:
            config["chat_template"] = "tokenizer_default"
        elif c.chat_template == "chatml":
            config |= {"chat_template": "jinja", "chat_template_jinja": CHATML}
            # axolotl leaves the end of a turn out of the loss unless it is the end token.
            config |= {"tokens": ["<|im_start|>"], "special_tokens": {"eos_token": "<|im_end|>"}}
        else:
            config |= {"chat_template": "jinja", "chat_template_jinja": c.chat_template}
        if self.stop:
            config["eot_tokens"] = [self.stop]
        # axolotl trains on the assistant's turns unless it is told otherwise.
        rows: dict[str, Any] = {
            "ds_type": "json",
            "type": "chat_template",
            "field_messages": "messages",
            "train_on_eos": "turn",
        }
        if c.prompt_loss:
            rows |= {"roles_to_train": ["system", "user", "assistant"], "train_on_eos": "all"}
        config["datasets"] = [{"path": "train.jsonl", **rows}]
        if validated:
            config["test_datasets"] = [{"path": "validation.jsonl", "split": "train", **rows}]
            config["eval_steps"] = _share_of_steps(c.checkpoints)
            if c.patience:
                config |= {"early_stopping_patience": c.patience, **_BEST}
        return config | {
            "save_steps": _share_of_steps(c.checkpoints),
            "sequence_len": c.max_length,
            "excess_length_strategy": "truncate",
            "sample_packing": c.packing,
            "pad_to_sequence_len": c.packing or c.pad_to_max_length,
            # axolotl warns that torch's own attention can lose the loss of packed rows in bf16.
            "attn_implementation": "flash_attention_2" if c.packing else "sdpa",
            "micro_batch_size": c.batch_size,
            "gradient_accumulation_steps": c.accumulation,
            "num_epochs": c.epochs,
            "learning_rate": c.learning_rate,
            "lr_scheduler": c.scheduler,
            "warmup_ratio": c.warmup_ratio,
            "optimizer": c.optimizer,
            "weight_decay": c.weight_decay,
            "max_grad_norm": c.max_grad_norm,
            "gradient_checkpointing": c.gradient_checkpointing,
            "bf16": "auto",
            "seed": c.seed,
            "dataset_prepared_path": "prepared",
            "output_dir": "adapter",
        }

    def _quantization(self) -> dict[str, Any]:
        if self.config.quantize is False:
            return {}
        double = self.config.double_quant
        settings = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": double}
        return {"load_in_4bit": True, "bnb_config_kwargs": settings}


class LlamaFactoryExport(_Export):
    """Writes `llamafactory.yaml` and the data files of LLaMA-Factory.

    These are `dataset_info.json`, `train.jsonl` and `validation.jsonl`. LLaMA-Factory adds no token
    to a 4-bit model, so a ChatML that brings new tokens is refused. Padding to `max_length` changes
    its speed alone and is left out.

    Args:
        base_model: Folder, or name on the hub.
        config: `QLoRAConfig.recommended()` where none is given.
        template: LLaMA-Factory's name of the chat template, such as `llama3`. Without it,
            LLaMA-Factory works out the tokenizer's own template.
    """

    tool = "LLaMA-Factory"
    file = "llamafactory.yaml"
    command = "llamafactory-cli train llamafactory.yaml"

    def __init__(
        self,
        base_model: str | Path,
        config: QLoRAConfig | None = None,
        *,
        template: str | None = None,
    ) -> None:
        super().__init__(base_model, config)
        self.template = template

    def _rows(self, side: Dataset) -> list[dict[str, Any]]:
        return side.to_sharegpt()

    def _write_more(self, folder: Path, *, validated: bool) -> None:
        names = ("train", "validation") if validated else ("train",)
        form = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
        sets = {name: {"file_name": f"{name}.jsonl", **form} for name in names}
        write_atomic(folder / "dataset_info.json", [json.dumps(sets, indent=2) + "\n"])

    def _config(self, *, validated: bool) -> dict[str, Any]:
        c = self.config
        # The user's name for a template stands for whatever the recipe says.
        template = self.template or c.chat_template
        if template == "chatml" and not self.template and _EMBEDDINGS & set(c.modules_to_save):
            hint = "Use AxolotlExport, or chat_template=None with a base model that has a template."
            reason = "LLaMA-Factory cannot add ChatML's tokens to a 4-bit model"
            raise ConfigError(reason, hint=hint)
        if not self.template and c.chat_template not in (None, "chatml"):
            hint = "Name one of its own with template=..., or use AxolotlExport."
            raise ConfigError("LLaMA-Factory takes no template as Jinja text", hint=hint)
        targets = c.target_modules
        config: dict[str, Any] = {
            "model_name_or_path": self.base_model,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            **self._quantization(),
            "lora_rank": c.rank,
            "lora_alpha": _whole(c.alpha),
            "lora_dropout": c.dropout,
            "lora_target": "all" if targets == "all-linear" else ",".join(targets),
        }
        if c.modules_to_save:
            config["additional_target"] = ",".join(c.modules_to_save)
        config |= {"dataset_dir": ".", "dataset": "train"}
        if validated:
            config |= {"eval_dataset": "validation", "eval_strategy": "steps"}
            config |= {
                "eval_steps": _share_of_steps(c.checkpoints),
                "per_device_eval_batch_size": c.batch_size,
            }
            if c.patience:
                config |= {"early_stopping_steps": c.patience, **_BEST}
        if c.prompt_loss:
            config["train_on_prompt"] = True
        if template:
            config["template"] = template
        return config | {
            "cutoff_len": c.max_length,
            # "Neat" packing keeps the rows of a sequence from seeing each other.
            "packing": c.packing,
            "neat_packing": c.packing,
            "per_device_train_batch_size": c.batch_size,
            "gradient_accumulation_steps": c.accumulation,
            "num_train_epochs": c.epochs,
            "learning_rate": c.learning_rate,
            "lr_scheduler_type": c.scheduler,
            "warmup_ratio": c.warmup_ratio,
            "optim": c.optimizer,
            "weight_decay": c.weight_decay,
            "max_grad_norm": c.max_grad_norm,
            "disable_gradient_checkpointing": not c.gradient_checkpointing,
            "pure_bf16" if c.adapter_dtype == "bfloat16" else "bf16": True,
            "save_strategy": "steps",
            "save_steps": _share_of_steps(c.checkpoints),
            "logging_steps": 10,
            "plot_loss": True,
            "report_to": "none",
            "seed": c.seed,
            "output_dir": "adapter",
        }

    def _quantization(self) -> dict[str, Any]:
        if self.config.quantize is False:
            return {}
        return {
            "quantization_method": "bnb",
            "quantization_bit": 4,
            "quantization_type": "nf4",
            "double_quantization": self.config.double_quant,
        }


def _share_of_steps(checkpoints: int) -> float:
    # transformers reads a number below 1 as a share of all steps, rounded up, and 1 as every step.
    return min(1 / checkpoints, 0.999999)


def _whole(alpha: float) -> int:
    if alpha != int(alpha):
        reason = f"alpha={alpha} is not a whole number, as this tool wants it"
        raise ConfigError(reason, hint="Round it.")
    return int(alpha)


def _fit(dataset: Dataset, system: str | None) -> Dataset:
    """Makes rows fit for a chat template, each with a system message where there is one to add."""
    rows = []
    for number, row in enumerate(dataset):
        if not in_turn(row.messages):
            hint = "Take it out: the tool would skip it in silence, or fail."
            reason = f"Row {number} ({row.id}): its turns are not a user's and an assistant's"
            raise ConfigError(reason, hint=hint)
        # These tools read marks of turns in a text as such, and no tokenizer is at hand to ask.
        messages = [Message(m.role, unmarked(m.content)) for m in row.messages]
        if system and messages[0].role != "system":
            messages.insert(0, Message("system", system))
        rows.append(altered(row, messages=tuple(messages)))
    return Dataset(rows)
