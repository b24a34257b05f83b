"""A trained model as a generator: what is asked side by side is answered in batches."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from typing import Any

from seedfree.errors import ConfigError
from seedfree.records import Message, Prompt, Reply

__all__ = ["TrainedGenerator"]

# For requests on their way from the ledger; short beside what a batch takes.
_GATHER_SECONDS = 0.02
# Each with the model's own default, for a prompt that leaves it open.
_SETTINGS = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0}


class TrainedGenerator:
    """Asks a `TrainedModel`, one batch at a time, in a thread.

    An answer depends on the prompt and its seed; in which batch it was made matters by rounding
    alone.

    Args:
        model: A `TrainedModel`; to import its class here would close a circle.
        batch_size: Prompts in one batch at most.

    Raises:
        ConfigError: `batch_size` is below 1.
    """

    price = 0.0
    terms = "Written by a model that its user trained; the base model's licence applies."

    def __init__(self, model: Any, *, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}", hint="Give 1 or more.")
        self._model, self._batch_size = model, batch_size
        self._waiting: list[tuple[Prompt, asyncio.Future[Reply]]] = []
        self._worker: asyncio.Task[None] | None = None

    @functools.cached_property
    def identity(self) -> str:
        """Hashes of the base model and of the adapter with its tokenizer."""
        found = hashlib.sha256()
        for path in sorted((self._model.folder / "adapter").iterdir()):
            if path.suffix in (".safetensors", ".json", ".jinja"):
                found.update(f"\x1f{path.name}\x1f".encode())
                with path.open("rb") as file:
                    found.update(hashlib.file_digest(file, "sha256").digest())
        return f"trained:{self._model.info['base']['digest'][:16]}:{found.hexdigest()[:16]}"

    async def generate(self, prompt: Prompt) -> Reply:
        """The model's answer; its system prompt is the training's where the prompt has none."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        reply: Reply = await future
        return reply

    async def _work(self) -> None:
        while self._waiting:
            known = 0
            while known < len(self._waiting) < self._batch_size:
                known = len(self._waiting)
                await asyncio.sleep(_GATHER_SECONDS)
            first = _settings(self._waiting[0][0])
            alike = [one for one in self._waiting if _settings(one[0]) == first][: self._batch_size]
            self._waiting = [one for one in self._waiting if one not in alike]
            try:
                replies = await asyncio.to_thread(self._answer, [prompt for prompt, _ in alike])
            except Exception as error:  # a GPU's memory may be full: those who asked are told
                for _, future in alike:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), reply in zip(alike, replies, strict=True):
                    if not future.done():
                        future.set_result(reply)

    def _answer(self, prompts: list[Prompt]) -> list[Reply]:
        settings = dict(_settings(prompts[0]))
        replies: list[Reply] = self._model.replies(
            [_messages(prompt) for prompt in prompts],
            [prompt.seed or 0 for prompt in prompts],
            max_new_tokens=prompts[0].max_tokens,
            **{name: settings[name] for name in _SETTINGS},
        )
        return replies


def _messages(prompt: Prompt) -> list[Message]:
    system = [] if prompt.system is None else [Message("system", prompt.system)]
    return [*system, Message("user", prompt.user)]


def _settings(prompt: Prompt) -> tuple[tuple[str, float], ...]:
    """What prompts of one batch have in common."""
    given = {name: getattr(prompt, name) for name in _SETTINGS}
    known = {name: _SETTINGS[name] if value is None else value for name, value in given.items()}
    return (*known.items(), ("max_tokens", float(prompt.max_tokens)))
