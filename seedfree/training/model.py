"""What a training leaves: an adapter that generates, is merged, converted and published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from seedfree import _hub
from seedfree._files import claim_folder, write_atomic
from seedfree._seeds import seeded
from seedfree._views import Shown, View
from seedfree.card import public_name
from seedfree.errors import ConfigError
from seedfree.protocols import Generator
from seedfree.records import Likelihood, Message, Reply, Usage
from seedfree.training.base_model import (
    BaseModel,
    check_packages,
    find_device,
    load,
    output_at,
    quiet,
)
from seedfree.training.config import QLoRAConfig
from seedfree.training.folder import Loss, read_info
from seedfree.training.generator import TrainedGenerator
from seedfree.training.render import Renderer

__all__ = ["TrainedModel"]

# Of an answer that are looked at together.
_PLACES = 8
_RANGES = "generate takes temperature >= 0, 0 < top_p <= 1 and counts of at least 1"
# llama.cpp's converter, by the names that it has had in its repository and in packages.
_CONVERTERS = ("convert_hf_to_gguf.py", "convert_hf_to_gguf", "convert-hf-to-gguf.py")


@dataclass(frozen=True, repr=False)
class TrainedModel(Shown):
    """A base model with its adapter, from the folder that `QLoRATrainer.train` wrote.

    Attributes:
        folder: It holds `adapter/`, `training.json`, `loss.png`, `README.md` and `checkpoints/`.
        base: The base model that `generate` and `merge` load.
        info: What `training.json` says.
        adapted: Whether the adapter has a part in what is computed. See `untrained`.
    """

    folder: Path
    base: BaseModel
    info: dict[str, Any]
    adapted: bool = True
    # The class is frozen; what is loaded later stands in here.
    _loaded: dict[str, Any] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def open(cls, path: str | Path, *, base_model: str | Path | None = None) -> TrainedModel:
        """Opens a folder of a finished training. Weights are loaded when they are needed.

        Args:
            base_model: Where the base model is now; `None`: where it was.

        Raises:
            ConfigError: No finished training, or the base model is another one than the adapter's.
        """
        check_packages()
        folder = Path(path)
        info = read_info(folder)
        if info is None:
            hint = "Give the out folder of QLoRATrainer.train."
            raise ConfigError(f"{folder} holds no training", hint=hint)
        weights = folder / "adapter" / "adapter_model.safetensors"
        if info.get("status") != "complete" or not weights.exists():
            hint = "Run it again; it goes on."
            raise ConfigError(f"The training in {folder} is not finished", hint=hint)
        base = BaseModel.find(base_model or info["base"]["name"])
        if base.digest() != info["base"]["digest"]:
            hint = f"Give the base model it was trained on: {info['base']['name']}."
            raise ConfigError(
                f"The adapter in {folder} was trained on another base model than {base.name}",
                hint=hint,
            )
        return cls(folder, base, info)

    def _view(self, full: bool) -> View:
        facts = {"folder": str(self.folder), "base": self.base.name}
        if not self.adapted:
            return View("TrainedModel(without its adapter)", facts)
        tasks = self.info.get("report", {}).get("tasks", {})
        facts["rows"] = ", ".join(f"{name} {task['rows']:,}" for name, task in tasks.items())
        if losses := self.losses:
            held_out = [loss.validation for loss in losses if loss.validation is not None]
            validation = f", {held_out[-1]:.3f} on rows held out" if held_out else ""
            trained = [loss.training for loss in losses if loss.training is not None]
            facts["steps"] = f"{losses[-1].step:,}"
            facts["loss"] = f"{trained[-1]:.3f}{validation}" if trained else validation[2:]
        return View("TrainedModel", facts)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Returns the loss by step."""
        return tuple(Loss(**loss) for loss in self.info["losses"])

    @property
    def report(self) -> dict[str, Any]:
        """Says what rendering made of the training rows.

        That is rows, tokens, rows cut and masked, by task.
        """
        report: dict[str, Any] = self.info["report"]
        return report

    def tokenizer(self) -> Any:
        """Returns the tokenizer with the chat template of the training; it is loaded once."""
        if "tokenizer" not in self._loaded:
            from transformers import AutoTokenizer

            folder = str(self.folder / "adapter")
            self._loaded["tokenizer"] = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False
            )
        return self._loaded["tokenizer"]

    def model(self) -> Any:
        """Returns the base as it was trained on with the adapter, a peft model ready to generate.

        It is loaded once.
        """
        if "model" not in self._loaded:
            # Trainings of before this setting were all quantized.
            config = QLoRAConfig(**{"quantize": True, **self.info["config"]})
            self._loaded["model"] = self._with_adapter(config, find_device()).eval()
        return self._loaded["model"]

    def take(self, model: Any) -> None:
        """Takes a model that is loaded already, base and adapter, in place of loading it."""
        model.config.use_cache = True
        self._loaded["model"] = model.eval()

    def _stop_ids(self, tokenizer: Any) -> list[int]:
        """Returns the tokens that end an answer."""
        stop = Renderer(tokenizer, system=self.info["config"]["system"]).stop
        # A base model may say its own end token in place of the template's.
        own = self.base.config.get_text_config().eos_token_id
        ids = {tokenizer.convert_tokens_to_ids(stop), tokenizer.eos_token_id}
        return sorted((ids | set(own if isinstance(own, list) else [own])) - {None})

    def _with_adapter(self, config: QLoRAConfig | None, device: str) -> Any:
        """Loads base and adapter. Without a `config` the base is not quantized."""
        tokens = len(self.tokenizer()) if self.info["added_tokens"] else None
        with quiet():
            # Its import warns, too.
            from peft import PeftModel

            model = load(self.base, device, config=config, tokens=tokens)
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
        """Returns answers, each up to its stop token, in the order of the prompts.

        Args:
            prompts: Texts, or conversations that end with the user's turn.
            temperature: 0 takes the likeliest token always.

        Raises:
            ConfigError: A setting is outside its range.
        """
        if batch_size < 1:
            raise ConfigError(_RANGES)
        asked = [[Message("user", p)] if isinstance(p, str) else p for p in prompts]
        seeds = [seeded(seed, number).getrandbits(31) for number in range(len(asked))]
        texts: list[str] = []
        for start in range(0, len(asked), batch_size):
            end = start + batch_size
            replies = self.replies(
                asked[start:end],
                seeds[start:end],
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
            )
            texts += [reply.text for reply in replies]
        return texts

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
        """Answers one batch of conversations.

        Args:
            seeds: One for each prompt: what is drawn for it does not depend on what else is in the
                batch.

        Returns:
            The answers, with their tokens and whether they were cut off.

        Raises:
            ConfigError: A setting is outside its range.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        if temperature < 0 or not 0 < top_p <= 1 or repetition_penalty <= 0 or max_new_tokens < 1:
            raise ConfigError(_RANGES)
        tokenizer, model = self.tokenizer(), self.model()
        renderer = Renderer(tokenizer, system=self.info["config"]["system"])
        asked = [renderer.prompt(messages) for messages in prompts]
        stops = self._stop_ids(tokenizer)
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens,
            # The draw is in the logits already (`_Draw`); transformers takes the largest.
            do_sample=False,
            repetition_penalty=repetition_penalty,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
        )
        # On the left, so that each answer begins where its prompt ends.
        longest = max(map(len, asked))
        padding = [longest - len(ids) for ids in asked]
        padded = [[tokenizer.pad_token_id] * n + ids for n, ids in zip(padding, asked, strict=True)]
        mask = [[0] * n + [1] * len(ids) for n, ids in zip(padding, asked, strict=True)]
        draw = [_Draw(seeds, temperature, top_p)] if temperature else []
        with torch.inference_mode(), quiet(), self._adapter(model):
            made = model.generate(
                input_ids=torch.tensor(padded).to(model.device),
                attention_mask=torch.tensor(mask).to(model.device),
                generation_config=settings,
                logits_processor=LogitsProcessorList(draw),
            )
        replies = []
        for ids, answer in zip(asked, made[:, longest:].tolist(), strict=True):
            # Behind its stop token an answer is padded, as long as others of the batch go on.
            end = next((place for place, token in enumerate(answer) if token in stops), None)
            text = tokenizer.decode(answer[:end], skip_special_tokens=True).strip()
            if end is None:
                replies.append(Reply(text, Usage(len(ids), len(answer)), "max_tokens"))
            else:
                replies.append(Reply(text, Usage(len(ids), end + 1), "end"))
        return replies

    def likelihoods(
        self, asked: Sequence[tuple[Sequence[Message], str]], *, max_tokens: int = 200
    ) -> list[Likelihood]:
        """Tells how likely the model finds answers. Nothing is generated.

        Args:
            asked: Conversations that end with the user's turn, each with an answer to it.
            max_tokens: Of an answer, from its beginning; the rest is not looked at.
        """
        import torch
        from torch.nn.functional import cross_entropy

        tokenizer, model = self.tokenizer(), self.model()
        renderer = Renderer(tokenizer, system=self.info["config"]["system"])
        rendered = [renderer.answered(messages, text, max_tokens) for messages, text in asked]
        vocabulary = self.base.config.get_text_config().vocab_size
        made: dict[int, Likelihood] = {}
        with torch.inference_mode(), quiet(), self._adapter(model):
            for places in _groups(rendered, vocabulary, alone=model.device.type == "cpu"):
                group = [rendered[place] for place in places]
                longest = max(len(ids) for ids, _, _ in group)
                # Padding on the right changes no place, and a causal model never looks at it.
                padding = [longest - len(ids) for ids, _, _ in group]
                padded = [
                    ids + [tokenizer.pad_token_id] * n
                    for n, (ids, _, _) in zip(padding, group, strict=True)
                ]
                first = min(start for _, start, _ in group) - 1
                mask = [[1] * (longest - n) + [0] * n for n in padding]
                answers = torch.arange(first, longest)
                with output_at(model.get_base_model().base_model, answers):
                    logits = model(
                        input_ids=torch.tensor(padded).to(model.device),
                        attention_mask=torch.tensor(mask).to(model.device),
                    ).logits
                for place, row, (ids, start, size) in zip(places, logits, group, strict=True):
                    # Each place says what comes after it.
                    said = row[start - 1 - first : len(ids) - 1 - first]
                    wanted = torch.tensor(ids[start:]).to(said.device)
                    # A few places at a time: all of them in float32 leave every cache.
                    few = zip(said.split(_PLACES), wanted.split(_PLACES), strict=True)
                    nats = [
                        cross_entropy(some.float(), token, reduction="sum") for some, token in few
                    ]
                    made[place] = Likelihood(float(sum(nats)), len(wanted), size)
        return [made[place] for place in range(len(rendered))]

    def untrained(self) -> TrainedModel:
        """Returns the base model alone, to be asked in the same form: what was there before."""
        alone = replace(self, adapted=False)
        # Both are the same weights, loaded once.
        object.__setattr__(alone, "_loaded", self._loaded)
        return alone

    def _adapter(self, model: Any) -> AbstractContextManager[Any]:
        """Computes without the adapter as long as it is open, where the base alone is asked."""
        return nullcontext() if self.adapted else cast(Any, model.disable_adapter())

    def as_generator(self, *, batch_size: int = 8) -> Generator:
        """Wraps the model as a generator, as `protocols.Model` says."""
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
        claim_folder(folder)
        # It is computed in float32, and written as the base model was.
        dtype = getattr(self.base.config, "dtype", None) or torch.bfloat16
        with quiet():
            model = self._with_adapter(None, "cpu").merge_and_unload()
            tokenizer = deepcopy(self.tokenizer())
            # Whatever serves the model ends its answers with what these files name.
            stops = self._stop_ids(tokenizer)
            tokenizer.eos_token = Renderer(tokenizer).stop
            model.config.get_text_config().eos_token_id = tokenizer.eos_token_id
            model.generation_config.eos_token_id = stops
            model.to(dtype).save_pretrained(str(folder))
            tokenizer.save_pretrained(str(folder))
        return folder

    def to_gguf(self, out: str | Path, *, kind: str = "f16") -> Path:
        """Merges, and converts for llama.cpp with its converter, where that is on the PATH.

        Args:
            out: The file. The merged model is put beside it, in a folder of the same name and
                `-merged`, with a `Modelfile` for Ollama.
            kind: What the converter calls `--outtype`: f32, f16, bf16, q8_0.

        Raises:
            ConfigError: There is no converter (the hint is the command to run), or it failed.
        """
        path = Path(out)
        merged = path.with_name(f"{path.stem}-merged")
        # It is there when the converter was missing the first time.
        if not (merged / "config.json").exists():
            self.merge(merged)
        arguments = [str(merged), "--outfile", str(path), "--outtype", kind]
        converter = next(filter(None, map(shutil.which, _CONVERTERS)), None)
        if converter is None:
            hint = f"Run: python llama.cpp/convert_hf_to_gguf.py {' '.join(arguments)}"
            raise ConfigError("llama.cpp's converter is not on the PATH", hint=hint)
        command = [converter, *arguments]
        if converter.endswith(".py"):
            # By this Python, which has torch and transformers as the script needs them.
            command.insert(0, sys.executable)
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode or not path.exists():
            output = done.stderr.strip() or done.stdout.strip() or "it wrote nothing"
            hint = f"The merged model is in {merged}."
            raise ConfigError(f"{converter} failed: {output.splitlines()[-1]}", hint=hint)
        write_atomic(merged / "Modelfile", [self._modelfile(path)])
        return path

    def _modelfile(self, path: Path) -> str:
        """Says what Ollama is to end answers with (`ollama create NAME -f Modelfile`)."""
        tokenizer, system = self.tokenizer(), self.info["config"]["system"]
        lines = [f"FROM ../{path.name}"]
        for number in self._stop_ids(tokenizer):
            lines.append(f"PARAMETER stop {json.dumps(tokenizer.convert_ids_to_tokens(number))}")
        if system:
            lines.append(f"SYSTEM {json.dumps(system, ensure_ascii=False)}")
        return "\n".join(lines) + "\n"

    def push_to_hub(self, repo_id: str, *, private: bool = True) -> str:
        """Uploads adapter, tokenizer, card and `training.json` to the Hugging Face hub.

        Of a base model's path on this machine only the last part is uploaded.

        Args:
            repo_id: `name/model`. What is there already is replaced, in a commit of its own.

        Returns:
            The address.

        Raises:
            ConfigError: The hub refused, or the repository is public and `private` is not `False`.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._public(Path(scratch))
            return _hub.push(folder, repo_id, kind="model", private=private)

    def push(self, repo_id: str, *, private: bool = True) -> str:
        """Does what `push_to_hub` does, which is its name from the next version on."""
        warnings.warn("push is now push_to_hub", DeprecationWarning, stacklevel=2)
        return self.push_to_hub(repo_id, private=private)

    def _public(self, scratch: Path) -> Path:
        """Makes a folder of what is uploaded."""
        folder = Path(shutil.copytree(self.folder / "adapter", scratch / "adapter"))
        for name in ("README.md", "training.json", "loss.png"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, folder)
        for path in (folder / "training.json", folder / "adapter_config.json"):
            value = json.loads(path.read_text(encoding="utf-8"), object_hook=_without_paths)
            path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        return folder


def _without_paths(value: dict[str, Any]) -> dict[str, Any]:
    """Replaces names of base models, at whatever depth: a path tells about its owner's machine."""
    for key in ("base_model", "base_model_name_or_path", "name"):
        if isinstance(value.get(key), str):
            value[key] = public_name(value[key])
    return value


# Bytes of the logits of one group, in float32, and its tokens.
_LOGITS, _TOKENS = 2**30, 2**15


def _groups(
    rendered: Sequence[tuple[list[int], int, int]], vocabulary: int, *, alone: bool
) -> Iterator[list[int]]:
    """Puts texts of like length together, as many as the memory for their logits allows.

    Args:
        alone: Each by itself: a CPU gains nothing by a group, and loses what is padded.
    """
    order = sorted(range(len(rendered)), key=lambda place: len(rendered[place][0]))
    group: list[int] = []
    for place in order:
        both = [*group, place]
        kept = len(rendered[place][0]) - min(rendered[each][1] for each in both) + 1
        many = len(both) * len(rendered[place][0]) > _TOKENS
        if group and (alone or many or len(both) * kept * vocabulary * 4 > _LOGITS):
            yield group
            both = [place]
        group = both
    if group:
        yield group


# Of a distribution's tokens, those that are looked at first: at the temperatures that answers are
# asked with, they hold nearly all of it, and to sort a vocabulary takes longer than the model.
_LIKELIEST = 128


class _Draw:
    """Draws each row's next token with random numbers of its own.

    So the row is the same in any batch, which one generator for the whole batch would not give.
    The largest of the logits, each with Gumbel noise added, is a draw from their distribution. A
    token's noise hangs on nothing else, so that rounding, which differs between batches, seldom
    changes the draw.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        import torch

        self._random = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        scores = scores.float()
        scores /= self._temperature
        drawn = [torch.randint(2**62, (1,), generator=random) for random in self._random]
        keys = torch.stack(drawn).to(scores.device)
        # The sum does without shares below e^-80, which a CPU adds many times as slowly.
        peak = scores.amax(dim=-1, keepdim=True)
        whole = scores.clamp(min=peak - 80).logsumexp(dim=-1, keepdim=True)
        likeliest, places = scores.topk(min(_LIKELIEST, scores.shape[-1]))
        shares = (likeliest - whole).exp()
        token = self._taken(shares, places, keys)
        wide = shares.sum(dim=-1) < self._top_p
        if wide.any():
            shares, places = (scores[wide] - whole[wide]).exp().sort(dim=-1, descending=True)
            token[wide] = self._taken(shares, places, keys[wide])
        return scores.fill_(float("-inf")).scatter_(-1, token, 0.0)

    def _taken(self, shares: Any, places: Any, keys: Any) -> Any:
        """Takes a token of each row, of those that are left of it by `top_p`."""
        # By the share before a token, so that the likeliest one always stays.
        outside = (shares.cumsum(dim=-1) - shares) >= self._top_p
        # Minus the logarithm of an exponential number is a Gumbel number.
        noisy = shares.masked_fill(outside, 0).log() - _exponential(keys, places).log()
        return places.gather(-1, noisy.argmax(dim=-1, keepdim=True))


def _exponential(keys: Any, places: Any) -> Any:
    """Returns a random number for each row's key and token: SplitMix64 (Steele et al. 2014)."""

    def mixed(bits: Any, shift: int, factor: int) -> Any:
        # torch shifts the sign in.
        return (bits ^ ((bits >> shift) & ((1 << (64 - shift)) - 1))) * factor

    bits = keys + places * -0x61C8864680B583EB
    bits = mixed(mixed(bits, 30, -0x40A7B892E31B1A47), 27, -0x6B2FB644ECCEEE15)
    bits = mixed(bits, 31, 1)
    return -(((bits >> 11) & ((1 << 53) - 1)).double() + 0.5).div(2**53).log().float()
