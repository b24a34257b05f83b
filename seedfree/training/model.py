"""What a training leaves: an adapter that generates, is merged, converted and published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedfree._seeds import seeded
from seedfree.errors import ConfigError
from seedfree.protocols import Generator
from seedfree.records import Message, Reply, Usage
from seedfree.training.base_model import BaseModel, check_packages, device, load, quiet
from seedfree.training.card import told
from seedfree.training.config import QLoRAConfig
from seedfree.training.folder import Loss, read_info
from seedfree.training.render import Renderer

__all__ = ["TrainedModel"]

_RANGES = "generate takes temperature >= 0, 0 < top_p <= 1 and counts of at least 1"
_CONVERTERS = ("convert_hf_to_gguf.py", "convert_hf_to_gguf", "convert-hf-to-gguf.py")


def _without_paths(value: dict[str, Any]) -> dict[str, Any]:
    names = ("base_model", "base_model_name_or_path", "name")
    return value | {
        key: told(one) for key, one in value.items() if key in names and isinstance(one, str)
    }


@dataclass(frozen=True)
class TrainedModel:
    """A base model with its adapter, from the folder that `QLoRATrainer.train` wrote.

    Attributes:
        folder: It holds `adapter/`, `training.json`, `loss.png`, `README.md` and `checkpoints/`.
        base: The base model that `generate` and `merge` load.
        info: What `training.json` says.
    """

    folder: Path
    base: BaseModel = field(repr=False)
    info: dict[str, Any] = field(repr=False)
    _loaded: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path, *, base_model: str | Path | None = None) -> TrainedModel:
        """Opens a folder of a finished training; weights are loaded when they are needed.

        Args:
            base_model: Where the base model is now; `None`: where it was.

        Raises:
            ConfigError: No finished training, or the base model is another one than the adapter's.
        """
        check_packages()
        folder = Path(path)
        info = read_info(folder)
        if info is None:
            raise ConfigError(
                f"{folder} holds no training", hint="Give the out folder of QLoRATrainer.train."
            )
        if (
            info.get("status") != "complete"
            or not (folder / "adapter" / "adapter_model.safetensors").exists()
        ):
            raise ConfigError(
                f"The training in {folder} is not finished", hint="Run it again; it goes on."
            )
        base = BaseModel.find(base_model or info["base"]["name"])
        found, wanted = base.digest(), info["base"]["digest"]
        if found != wanted:
            hint = f"Give the base model it was trained on: {info['base']['name']}."
            raise ConfigError(
                f"The adapter in {folder} was trained on another base model than {base.name}",
                hint=hint,
            )
        return cls(folder, base, info)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Loss by step."""
        return tuple(Loss(**one) for one in self.info["losses"])

    @property
    def report(self) -> dict[str, Any]:
        """What rendering made of the training rows: rows, tokens, rows cut and masked, by task."""
        report: dict[str, Any] = self.info["report"]
        return report

    def tokenizer(self) -> Any:
        """The tokenizer with the chat template of the training."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self.folder / "adapter"))

    def model(self) -> Any:
        """The quantized base with the adapter, a peft model ready to generate; loaded once."""
        if "model" not in self._loaded:
            self._loaded["model"] = self._with_adapter(
                QLoRAConfig(**self.info["config"]), device()
            ).eval()
        return self._loaded["model"]

    def _with_adapter(self, config: QLoRAConfig | None, place: str) -> Any:
        from peft import PeftModel

        tokens = len(self.tokenizer()) if self.info["added_tokens"] else None
        with quiet():
            model = load(self.base, place, config=config, tokens=tokens)
            return PeftModel.from_pretrained(model, str(self.folder / "adapter"))

    def generate(
        self,
        prompts: Iterable[str | Sequence[Message]],
        *,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        batch_size: int = 8,
        seed: int = 0,
    ) -> list[str]:
        """Answers, each up to its stop token, in the order of the prompts.

        Args:
            prompts: Texts, or conversations that end with the user's turn.
            temperature: 0 takes the likeliest token always.

        Raises:
            ConfigError: A setting is outside its range.
        """
        if batch_size < 1:
            raise ConfigError(_RANGES)
        asked = [[Message("user", p)] if isinstance(p, str) else p for p in prompts]
        seeds = [seeded(seed, place).getrandbits(31) for place in range(len(asked))]
        settings = {
            "temperature": temperature,
            "top_p": top_p,
            "repetition_penalty": repetition_penalty,
        }
        return [
            reply.text
            for start in range(0, len(asked), batch_size)
            for reply in self.replies(
                asked[start : start + batch_size],
                seeds[start:],
                max_new_tokens=max_new_tokens,
                **settings,
            )
        ]

    def replies(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        *,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
    ) -> list[Reply]:
        """Answers to one batch of conversations, with their tokens and whether they were cut off.

        Args:
            seeds: One for each prompt: what is drawn for it does not depend on what else is in the
                batch.

        Raises:
            ConfigError: A setting is outside its range.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        if temperature < 0 or not 0 < top_p <= 1 or repetition_penalty <= 0 or max_new_tokens < 1:
            raise ConfigError(_RANGES)
        tokenizer, model = self.tokenizer(), self.model()
        renderer = Renderer(tokenizer, system=self.info["config"]["system"])
        asked = [renderer.prompt(p) for p in prompts]
        stops = {tokenizer.convert_tokens_to_ids(renderer.stop), tokenizer.eos_token_id} - {None}
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            repetition_penalty=repetition_penalty,
            eos_token_id=sorted(stops),
            pad_token_id=tokenizer.pad_token_id,
        )
        longest = max(map(len, asked))
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(one)) + one for one in asked])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in asked])
        draw = [_Draw(seeds[: len(asked)], temperature, top_p)] if temperature else []
        with torch.inference_mode(), quiet():
            made = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=settings,
                logits_processor=LogitsProcessorList(draw),
            )
        replies = []
        for one, row in zip(asked, made[:, longest:].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in stops), None)
            text = tokenizer.decode(row[:end], skip_special_tokens=True).strip()
            usage = Usage(len(one), len(row) if end is None else end + 1)
            replies.append(Reply(text, usage, "max_tokens" if end is None else "end"))
        return replies

    def as_generator(self, *, batch_size: int = 8) -> Generator:
        """See `protocols.Model`."""
        from seedfree.training.generator import TrainedGenerator

        return TrainedGenerator(self, batch_size=batch_size)

    def merge(self, out: str | Path) -> Path:
        """Writes a full model: the base as it was before NF4, with the adapter in its weights.

        It computes nearly as base and adapter do: the adapter learnt on rounded weights. Main
        memory must hold the model (4 bytes a parameter).

        Raises:
            ConfigError: `out` holds something already.
        """
        import torch

        folder = Path(out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty", hint="Give a new folder.")
        dtype = getattr(self.base.config, "dtype", None) or torch.bfloat16
        with quiet():
            model = self._with_adapter(None, "cpu").merge_and_unload()
            model.to(dtype).save_pretrained(str(folder))
            self.tokenizer().save_pretrained(str(folder))
        return folder

    def to_gguf(self, out: str | Path, *, kind: str = "f16") -> Path:
        """Merges, and converts for llama.cpp with its converter, where that is on the PATH.

        Args:
            out: The file; the merged model is put beside it, in a folder of the same name and
                `-merged`.
            kind: What the converter calls `--outtype`: f32, f16, bf16, q8_0.

        Raises:
            ConfigError: There is no converter, and the hint is the command to run; or it failed.
        """
        path = Path(out)
        merged = path.with_name(f"{path.stem}-merged")
        if not (merged / "config.json").exists():
            self.merge(merged)
        converter = next((found for name in _CONVERTERS if (found := shutil.which(name))), None)
        arguments = [str(merged), "--outfile", str(path), "--outtype", kind]
        if converter is None:
            hint = f"Run: python llama.cpp/convert_hf_to_gguf.py {' '.join(arguments)}"
            raise ConfigError("llama.cpp's converter is not on the PATH", hint=hint)
        command = [sys.executable, converter] if converter.endswith(".py") else [converter]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode or not path.exists():
            last = (done.stderr.strip() or done.stdout.strip() or "it wrote nothing").splitlines()[
                -1
            ]
            raise ConfigError(
                f"{converter} failed: {last}", hint=f"The merged model is in {merged}."
            )
        return path

    def _public(self, scratch: Path) -> Path:
        """A folder of what is uploaded."""
        folder = Path(shutil.copytree(self.folder / "adapter", scratch / "adapter"))
        for name in ("README.md", "training.json", "loss.png"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, folder)
        for path in (folder / "training.json", folder / "adapter_config.json"):
            value = json.loads(path.read_text(encoding="utf-8"), object_hook=_without_paths)
            path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        return folder

    def push(self, repo_id: str, *, private: bool = True) -> str:
        """Uploads adapter, tokenizer, card and `training.json` to the Hugging Face hub; returns the address.

        Of a base model's path on this machine the last part alone is told.

        Raises:
            ConfigError: The hub refused.
        """
        from huggingface_hub import HfApi

        api = HfApi()
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            with tempfile.TemporaryDirectory() as scratch:
                api.upload_folder(repo_id=repo_id, folder_path=str(self._public(Path(scratch))))
        except (OSError, ValueError) as error:
            hint = "Log in with `hf auth login`, and look at the name."
            raise ConfigError(f"The hub refused {repo_id}: {error}", hint=hint) from error
        return f"https://huggingface.co/{repo_id}"


class _Draw:
    """Draws each row's next token with random numbers of its own, so that the row is the same in any batch.

    The largest of the logits, each with Gumbel noise added, is a draw from their distribution.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        import torch

        self._random = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        scores = scores.float() / self._temperature
        ordered, places = scores.sort(dim=-1, descending=True)
        share = ordered.softmax(dim=-1)
        outside = (share.cumsum(dim=-1) - share) >= self._top_p
        scores = scores.masked_fill(outside.scatter(-1, places, outside), float("-inf"))
        noise = torch.stack(
            [torch.empty(scores.shape[-1]).exponential_(generator=one) for one in self._random]
        )
        return scores - noise.to(scores.device).log()
