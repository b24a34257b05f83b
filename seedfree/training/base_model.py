"""A base model: found and checked without its weights, told from others, loaded in NF4."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError, missing_extra
from seedfree.training.config import QLoRAConfig

__all__ = [
    "BaseModel",
    "check_packages",
    "computes_in_bf16",
    "find_device",
    "load",
    "main_process",
    "output_at",
    "quiet",
]

_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
# Weights again, in other forms: in subfolders, pickled, or for llama.cpp.
_NOT_FETCHED = ["*/*", "*.bin", "*.pth", "*.pt", "*.gguf"]
_SAMPLES, _SAMPLE_BYTES = 16, 4096


def check_packages() -> None:
    """Sees that the packages of the extra `train` are installed.

    Raises:
        ConfigError: One is missing. The hint is the pip command.
    """
    from importlib.util import find_spec

    for package in _PACKAGES:
        if find_spec(package) is None:
            raise missing_extra(package, "train")


@contextmanager
def quiet() -> Iterator[None]:
    """Holds back the progress bars of the packages below, and their warnings about each other."""
    import warnings

    import datasets
    from transformers.utils import logging

    kernels = getLogger("bitsandbytes")
    level = kernels.level
    # On some CPUs it says that it would rather compute with compiled code from the hub.
    kernels.setLevel("ERROR")
    bars, verbosity = datasets.are_progress_bars_disabled(), logging.get_verbosity()
    hub = logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings(
                "ignore", module=r"(peft|trl|transformers|bitsandbytes|torch|accelerate)\b"
            )
            yield
    finally:
        # These settings are global: a notebook that had bars before has them again.
        kernels.setLevel(level)
        logging.set_verbosity(verbosity)
        if hub:
            logging.enable_progress_bar()
        if not bars:
            datasets.enable_progress_bars()


def main_process() -> bool:
    """Tells whether this process writes the files.

    It is the first of those that a launcher started, or the only one.
    """
    # RANK is set by `accelerate launch` and `torchrun`.
    return os.environ.get("RANK", "0") == "0"


def find_device() -> str:
    """Returns the device of this process: `cuda:N`, or `cpu`.

    Raises:
        ConfigError: There are several GPUs and one process, which could use only one of them.
    """
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    if torch.cuda.device_count() > 1 and "LOCAL_RANK" not in os.environ:
        hint = "Start it with `accelerate launch script.py`, or choose one: CUDA_VISIBLE_DEVICES=0."
        raise ConfigError(f"There are {torch.cuda.device_count()} GPUs and one process", hint=hint)
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def computes_in_bf16(device: str) -> bool:
    """Tells whether matrices are multiplied in bf16 there. Older CPUs and GPUs take float32."""
    import torch

    # Others only imitate bf16, more slowly than they compute in float32.
    if device == "cpu":
        # Older versions of torch do not tell.
        able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@dataclass(frozen=True)
class BaseModel:
    """A base model by its configuration.

    Attributes:
        name: As the user gave it: a folder, or a name on the Hugging Face hub.
        config: The model's configuration, as transformers reads it.
    """

    name: str
    config: Any

    @classmethod
    def find(cls, name: str | Path) -> BaseModel:
        """Reads `config.json` and sees that the model can be trained.

        Raises:
            ConfigError: It is neither a folder nor a name on the hub, not a causal language model,
                one that needs its own code, an adapter, quantized already, or has no safetensors.
        """
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

        text = str(name)
        folder = Path(text).expanduser()
        if folder.is_dir():
            _check_folder(folder)
        elif folder.is_file():
            hint = "Give the folder that holds config.json and *.safetensors."
            raise ConfigError(f"{text} is a file", hint=hint)
        elif not _HUB_ID.fullmatch(text) or text.startswith("."):
            hint = "Give a model's folder, or its name on the hub."
            raise ConfigError(f"There is no folder {text}", hint=hint)
        try:
            with quiet():
                config = AutoConfig.from_pretrained(_source(text), trust_remote_code=False)
        except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
            hint = (
                "Give a model's folder, or its name on the hub (and log in for one with a licence "
                "to accept)."
            )
            reason = f"{text} is no model that can be read: {_first_line(error)}"
            raise ConfigError(reason, hint=hint) from error
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            hint = "Choose a causal one, such as Llama, Gemma or Qwen."
            reason = f"{text} ({config.model_type}) is no language model that generates"
            raise ConfigError(reason, hint=hint)
        if getattr(config, "quantization_config", None):
            hint = "Give the original; it is quantized when it loads."
            raise ConfigError(f"{text} is quantized already", hint=hint)
        return cls(text, config)

    def shape(self) -> Any:
        """Returns the model without weights: layers that have a shape and take no memory."""
        import torch
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(self.config, trust_remote_code=False)

    def tokenizer(self) -> Any:
        """Loads the tokenizer that stands beside the weights.

        Raises:
            ConfigError: There is none that can be read.
        """
        from transformers import AutoTokenizer

        try:
            with quiet():
                return AutoTokenizer.from_pretrained(_source(self.name), trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = f"{self.name} has no tokenizer that can be read: {_first_line(error)}"
            raise ConfigError(reason) from error

    def folder(self) -> Path:
        """Returns the folder of its files. A model on the hub is fetched first.

        Raises:
            ConfigError: It cannot be fetched.
        """
        folder = Path(self.name).expanduser()
        if folder.is_dir():
            return folder
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self.name, ignore_patterns=_NOT_FETCHED))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.name} cannot be fetched: {_first_line(error)}") from error

    def digest(self) -> str:
        """Returns 16 hexadecimal digits that tell this model from others.

        They come from its configuration, the sizes of its weight files and 16 samples of each:
        gigabytes are not read.
        """
        folder, digest = self.folder(), hashlib.sha256()
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # Only says which version of transformers wrote the file.
        config.pop("transformers_version", None)
        digest.update(json.dumps(config, sort_keys=True).encode())
        for path in sorted(folder.glob("*.safetensors")):
            size = path.stat().st_size
            digest.update(f"\x1f{size}\x1f".encode())
            with path.open("rb") as file:
                # Evenly from the first byte, where a safetensors file names its tensors, to the
                # last.
                for number in range(_SAMPLES):
                    file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
                    digest.update(file.read(_SAMPLE_BYTES))
        return digest.hexdigest()[:16]


def _source(name: str) -> str:
    """Returns what transformers loads from: a folder's path, or a name on the hub as it is."""
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").exists():
        # An adapter's folder has no config.json, nor has a training's, which holds `adapter/`.
        for adapter in (folder / "adapter_config.json", folder / "adapter" / "adapter_config.json"):
            if adapter.exists():
                base = _base_of(adapter) or "its base model"
                hint = (
                    f"Give {base} itself, or merge the adapter first: "
                    "sf.TrainedModel.open(folder).merge(out)."
                )
                raise ConfigError(f"{folder} is an adapter, not a base model", hint=hint)
        hint = "Give a model's folder."
        raise ConfigError(f"{folder} is no model: it holds no config.json", hint=hint)
    if not any(folder.glob("*.safetensors")):
        hint = "Save it with transformers' save_pretrained; pickled weights are not read."
        raise ConfigError(f"{folder} holds no weights as *.safetensors", hint=hint)


def _base_of(adapter: Path) -> object:
    """Reads what an `adapter_config.json` names as its base model, for a hint."""
    try:
        return json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None


def _first_line(error: Exception) -> str:
    """Returns the first line of a message that may have many: a hub's 404 has a dozen."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def load(
    base: BaseModel, device: str, *, config: QLoRAConfig | None = None, tokens: int | None = None
) -> Any:
    """Loads the model with its weights, in NF4 where `config` says so.

    It computes in bf16 where the device does, else in float32.

    Args:
        config: Without one, the weights are float32.
        device: See `find_device`.
        tokens: Size of the vocabulary, where the tokenizer knows more tokens than the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import is_flash_attn_2_available

    bf16 = config is not None and computes_in_bf16(device)
    dtype = torch.bfloat16 if bf16 else torch.float32
    settings: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    if device != "cpu":
        settings["device_map"] = {"": device}
        # FlashAttention computes in 16 bits only.
        if bf16 and is_flash_attn_2_available():
            settings["attn_implementation"] = "flash_attention_2"
    if config is not None and config.in_nf4(base.shape().num_parameters()):
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=config.double_quant,
            bnb_4bit_compute_dtype=dtype,
        )
    source = str(base.folder())
    model = AutoModelForCausalLM.from_pretrained(source, trust_remote_code=False, **settings)
    for module in model.modules():
        # Else bitsandbytes repacks a CPU's weights at the first evaluation and rounds their scales
        # to bf16 on the way, so that a training would go on with other weights than it began with.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    # Only ever larger: many models have more rows of embeddings than the tokenizer has tokens.
    if tokens is not None and tokens > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(tokens)
    # Of a part of a larger tensor torch makes one product a row, and copies the output layer for
    # each: a prompt's last place alone, which is what generation asks for, is such a part.
    model.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: (given[0].contiguous(),)
    )
    return model


@contextmanager
def output_at(backbone: Any, places: Any) -> Iterator[None]:
    """Has a model's layers give their output for some places of a sequence alone.

    The output layer that comes after them may be most of a small model.

    Args:
        backbone: `base_model` of a transformers model.
        places: Their numbers, of shape (places,).
    """

    def pick(_module: Any, _given: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[:, places]
        return output

    hook = backbone.register_forward_hook(pick)
    try:
        yield
    finally:
        hook.remove()
