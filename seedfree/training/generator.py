"""A trained model as a generator: what is asked side by side is answered in batches."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from seedfree.errors import ConfigError
from seedfree.records import Message, Prompt, Reply

__all__ = ["TrainedGenerator"]

# For requests on their way from the ledger; short beside what a batch takes.
_GATHER_SECONDS = 0.02
# Each with the model's own default, for a prompt that leaves it open.
_SETTINGS = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0}


class _Model(Protocol):
    """What is asked of a `TrainedModel`, whose file imports this one."""

    @property
    def folder(self) -> Path: ...

    @property
    def info(self) -> dict[str, Any]: ...

    @property
    def adapted(self) -> bool: ...

    def replies(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        repetition_penalty: float,
    ) -> list[Reply]: ...


class TrainedGenerator:
    """Asks a `TrainedModel`, one batch at a time, in a thread.

    An answer depends on the prompt and its seed. In which batch it was made matters by rounding
    alone.

    Args:
        model: A `TrainedModel`.
        batch_size: Prompts in one batch at most.

    Raises:
        ConfigError: `batch_size` is below 1.
    """

    price = 0.0
    terms = "Written by a model that its user trained; the base model's licence applies."

    def __init__(self, model: _Model, *, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}", hint="Give 1 or more.")
        self._model, self._batch_size = model, batch_size
        self._waiting: list[tuple[Prompt, asyncio.Future[Reply]]] = []
        self._worker: asyncio.Task[None] | None = None

    @functools.cached_property
    def identity(self) -> str:
        """Names the model by hashes of the base model and of the adapter with its tokenizer.

        The base model alone has one name, whatever was trained on it.
        """
        digest = hashlib.sha256()
        for path in sorted((self._model.folder / "adapter").iterdir()):
            if not self._model.adapted and path.name.startswith("adapter_"):
                continue
            if path.suffix in (".safetensors", ".json", ".jinja"):
                digest.update(f"\x1f{path.name}\x1f".encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        base = self._model.info["base"]["digest"]
        if not self._model.adapted:
            return f"base:{base}:{digest.hexdigest()[:16]}"
        return f"trained:{base}:{digest.hexdigest()[:16]}"

    async def generate(self, prompt: Prompt) -> Reply:
        """Answers a prompt. The system prompt is the training's where the prompt has none."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Answers in batches until nobody waits."""
        while self._waiting:
            # As long as prompts come in, wait for more.
            known = 0
            while known < len(self._waiting) < self._batch_size:
                known = len(self._waiting)
                await asyncio.sleep(_GATHER_SECONDS)
            # A batch has one temperature and one limit; those with other settings wait.
            settings = _settings(self._waiting[0][0])
            alike = [asked for asked in self._waiting if _settings(asked[0]) == settings]
            batch = alike[: self._batch_size]
            self._waiting = [asked for asked in self._waiting if asked not in batch]
            try:
                replies = await asyncio.to_thread(self._answer, [prompt for prompt, _ in batch])
            except Exception as error:
                # Such as a GPU's memory that is full. Those who asked get it, the others go on.
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), reply in zip(batch, replies, strict=True):
                    # One that was cancelled is done already.
                    if not future.done():
                        future.set_result(reply)

    def _answer(self, prompts: list[Prompt]) -> list[Reply]:
        settings = _settings(prompts[0])
        return self._model.replies(
            [_messages(prompt) for prompt in prompts],
            [prompt.seed or 0 for prompt in prompts],
            max_new_tokens=prompts[0].max_tokens,
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            repetition_penalty=settings["repetition_penalty"],
        )


def _messages(prompt: Prompt) -> list[Message]:
    user = Message("user", prompt.user)
    return [user] if prompt.system is None else [Message("system", prompt.system), user]


def _settings(prompt: Prompt) -> dict[str, float]:
    """Returns what the prompts of one batch must have in common."""
    settings = {"max_tokens": float(prompt.max_tokens)}
    for name, default in _SETTINGS.items():
        value = getattr(prompt, name)
        settings[name] = default if value is None else value
    return settings
