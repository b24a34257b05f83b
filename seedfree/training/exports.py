"""The same training by other tools: their config and data files, instead of a training here.

Config keys are those of axolotl 0.19 (https://docs.axolotl.ai/docs/config-reference.html) and
LLaMA-Factory 0.9.5 (https://llamafactory.readthedocs.io, `data/README.md` of its repository). Paths
in the files are relative, so that the folder can be moved to the machine that trains.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml

from seedfree._files import json_line, write_atomic
from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.readers import in_turn
from seedfree.records import Message, altered
from seedfree.text import unmarked
from seedfree.training.config import QLoRAConfig
from seedfree.training.data import check_language, split
from seedfree.training.render import CHATML

__all__ = ["AxolotlExport", "LlamaFactoryExport"]

_EMBEDDINGS = {"embed_tokens", "lm_head"}


class _Export(ABC):
    """What both tools share.

    Args:
        base_model: Folder, or name on the hub.
        config: `QLoRAConfig.recommended()` where none is given.
    """

    tool: ClassVar[str]
    command: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, base_model: str | Path, config: QLoRAConfig | None = None) -> None:
        self.base_model = (
            str(Path(base_model).resolve()) if Path(base_model).is_dir() else str(base_model)
        )
        self.config = config or QLoRAConfig.recommended()

    def write(self, dataset: Dataset, out: str | Path) -> Path:
        """Writes the files into a folder and returns the config's path.

        Rows are split for validation as `QLoRATrainer` splits them, by task.

        Raises:
            ConfigError: A row or a setting is one that the tool would skip or misread, or nothing
                can be written.
        """
        check_language(dataset, self.config.language)
        train, validation = split(_fit(dataset, self.config.system), None, self.config)
        config = self._config(validated=bool(validation))
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        head = f"# Made by seedfree. From this folder run: {self.command}\n"
        for name, side in (("train", train), ("validation", validation)):
            if side:
                write_atomic(Path(out) / f"{name}.jsonl", map(json_line, self._rows(side)))
        self._write_more(Path(out), validated=bool(validation))
        write_atomic(Path(out) / self.file, [head, text])
        return Path(out) / self.file

    def train(self, dataset: Dataset, out: str | Path) -> NoReturn:
        """Raises `ConfigError`: the tool trains, not this class."""
        hint = f"Call write(dataset, out), then in that folder run: {self.command}"
        raise ConfigError(
            f"{type(self).__name__} writes files for {self.tool} and trains nothing", hint=hint
        )

    @abstractmethod
    def _config(self, *, validated: bool) -> dict[str, Any]: ...

    @abstractmethod
    def _rows(self, side: Dataset) -> Iterable[dict[str, Any]]: ...

    def _write_more(self, out: Path, *, validated: bool) -> None:
        """For a tool that wants a further file."""
        return


class AxolotlExport(_Export):
    """Writes `axolotl.yaml`, `train.jsonl` and `validation.jsonl` for axolotl.

    Loss is on the assistant's turns and the token that ends them; rows longer than `max_length` are
    cut, not dropped. Where ChatML brings new tokens, name `embed_tokens` and `lm_head` in
    `modules_to_save`: axolotl refuses otherwise.

    Args:
        base_model: Folder, or name on the hub.
        config: `QLoRAConfig.recommended()` where none is given.
        stop: The token that ends a turn in the chat template, where that is not the tokenizer's end
            of sequence, such as Gemma's `<end_of_turn>`; axolotl leaves it out of the loss unless
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
            "adapter": "qlora",
            "load_in_4bit": True,
            "bnb_config_kwargs": {
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": c.double_quant,
            },
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
            config["peft_autocast_adapter_dtype"] = False
        if c.chat_template:
            template = CHATML if c.chat_template == "chatml" else c.chat_template
            config |= {"chat_template": "jinja", "chat_template_jinja": template}
        else:
            config["chat_template"] = "tokenizer_default"
        if c.chat_template == "chatml":
            config |= {"tokens": ["<|im_start|>"], "special_tokens": {"eos_token": "<|im_end|>"}}
        if self.stop:
            config["eot_tokens"] = [self.stop]
        # axolotl trains on the assistant's turns unless it is told otherwise.
        rows = {
            "ds_type": "json",
            "type": "chat_template",
            "field_messages": "messages",
            "train_on_eos": "turn",
        }
        config["datasets"] = [{"path": "train.jsonl", **rows}]
        if validated:
            config["test_datasets"] = [{"path": "validation.jsonl", "split": "train", **rows}]
            config["eval_steps"] = 1 / c.checkpoints
        return config | {
            "save_steps": 1 / c.checkpoints,
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


class LlamaFactoryExport(_Export):
    """Writes `llamafactory.yaml`, `dataset_info.json`, `train.jsonl` and `validation.jsonl` for LLaMA-Factory.

    LLaMA-Factory adds no token to a 4-bit model, so a ChatML that brings new tokens is refused. Padding to
    `max_length` changes its speed alone and is left out.

    Args:
        base_model: Folder, or name on the hub.
        config: `QLoRAConfig.recommended()` where none is given.
        template: LLaMA-Factory's name of the chat template, such as `llama3`; without it, it works out the tokenizer's
            own template.
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

    def _write_more(self, out: Path, *, validated: bool) -> None:
        sets = {
            name: {
                "file_name": f"{name}.jsonl",
                "formatting": "sharegpt",
                "columns": {"messages": "conversations"},
            }
            for name in ("train", "validation")[: 1 + validated]
        }
        write_atomic(out / "dataset_info.json", [json.dumps(sets, indent=2) + "\n"])

    def _config(self, *, validated: bool) -> dict[str, Any]:
        c = self.config
        template = self.template or c.chat_template
        if (
            not self.template
            and c.chat_template == "chatml"
            and _EMBEDDINGS & set(c.modules_to_save)
        ):
            hint = "Use AxolotlExport, or chat_template=None with a base model that has a template."
            raise ConfigError(
                "LLaMA-Factory cannot add ChatML's tokens to a 4-bit model", hint=hint
            )
        if not self.template and c.chat_template not in (None, "chatml"):
            hint = "Name one of its own with template=..., or use AxolotlExport."
            raise ConfigError("LLaMA-Factory takes no template as Jinja text", hint=hint)
        config: dict[str, Any] = {
            "model_name_or_path": self.base_model,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "quantization_method": "bnb",
            "quantization_bit": 4,
            "quantization_type": "nf4",
            "double_quantization": c.double_quant,
            "lora_rank": c.rank,
            "lora_alpha": _whole(c.alpha),
            "lora_dropout": c.dropout,
            "lora_target": "all"
            if c.target_modules == "all-linear"
            else ",".join(c.target_modules),
        }
        if c.modules_to_save:
            config["additional_target"] = ",".join(c.modules_to_save)
        config |= {"dataset_dir": ".", "dataset": "train"}
        if validated:
            config |= {
                "eval_dataset": "validation",
                "eval_strategy": "steps",
                "eval_steps": 1 / c.checkpoints,
            }
            config["per_device_eval_batch_size"] = c.batch_size
        if template:
            config["template"] = template
        return config | {
            "cutoff_len": c.max_length,
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
            "save_steps": 1 / c.checkpoints,
            "logging_steps": 10,
            "plot_loss": True,
            "report_to": "none",
            "seed": c.seed,
            "output_dir": "adapter",
        }


def _whole(alpha: float) -> int:
    if alpha != int(alpha):
        raise ConfigError(
            f"alpha={alpha} is not a whole number, as this tool wants it", hint="Round it."
        )
    return int(alpha)


def _fit(dataset: Dataset, system: str | None) -> Dataset:
    """The rows, each fit for a chat template and with a system message where there is one to add."""
    rows = []
    for number, one in enumerate(dataset):
        if not in_turn(one.messages):
            hint = "Take it out: the tool would skip it in silence, or fail."
            raise ConfigError(
                f"Row {number} ({one.id}): its turns are not a user's and an assistant's", hint=hint
            )
        added = [Message("system", system)] if system and one.messages[0].role != "system" else []
        messages = (*added, *(Message(m.role, unmarked(m.content)) for m in one.messages))
        rows.append(altered(one, messages=messages))
    return Dataset(rows)
