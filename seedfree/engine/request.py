"""A prompt as it is sent to a generator, the key of its answer, and how that is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TypeGuard

import httpx
from pydantic import TypeAdapter

from seedfree.engine.gate import piece
from seedfree.engine.ledger import Entry
from seedfree.engine.usage import BYTES_PER_TOKEN
from seedfree.errors import RequestError, RetryableError, SeedfreeError, StopRunError
from seedfree.protocols import Generator, HTTPGenerator
from seedfree.records import Prompt, Reply, altered

__all__ = ["Request", "identity", "over_http", "read"]

# Fields of a prompt that came later: where they are not set they are not in the key, so that
# replies from before are still found.
_LATER = frozenset({"top_p", "repetition_penalty"})
_PROMPT = TypeAdapter(Prompt)
_REPLY = TypeAdapter(Reply)


@dataclass(slots=True)
class Request:
    """A prompt on its way to an LLM.

    Attributes:
        http: What is sent first; `None` once it is sent, and for a backend whose method is called
            instead.
        sent: The bytes that its key is made from.
        keys: Its key, and after it the one that an earlier version gave it.
        stage: That asks.
    """

    llm: Generator
    prompt: Prompt
    http: httpx.Request | None
    sent: bytes
    keys: list[str]
    stage: str = field(default_factory=lambda: piece().stage)

    @classmethod
    def of(cls, llm: Generator, prompt: Prompt, sample: str) -> Request:
        http: httpx.Request | None = None
        if over_http(llm):
            http = llm.request(prompt)
            sent = f"{http.url.path}\x1f".encode() + http.content
        else:
            unset = {"facets"} | {name for name in _LATER if getattr(prompt, name) is None}
            sent = _PROMPT.dump_json(prompt, exclude=unset)
        keys = [_key(identity(llm), sent, sample)]
        if not getattr(llm, "identity", None):  # up to 0.1.0 the module was part of the name
            kind = type(llm)
            keys.append(_key(f"{kind.__module__}.{kind.__qualname__}", sent, sample))
        return cls(llm, prompt, http, sent, keys)

    @property
    def key(self) -> str:
        return self.keys[0]

    @property
    def tokens(self) -> int:
        """Returns what it may use at most."""
        return len(self.sent) // BYTES_PER_TOKEN + self.prompt.max_tokens


def _key(name: str, sent: bytes, sample: str) -> str:
    return hashlib.sha256(b"\x1f".join((name.encode(), sent, sample.encode()))).hexdigest()


def over_http(generator: Generator) -> TypeGuard[HTTPGenerator]:
    """Returns whether the engine sends a generator's requests itself."""
    # isinstance() of a protocol takes as long as all else that a request needs here.
    return hasattr(generator, "request") and hasattr(generator, "reply")


def identity(generator: object) -> str:
    """Returns the name under which a generator's replies are kept and its rows are published."""
    given = getattr(generator, "identity", None)
    return str(given) if given else type(generator).__name__


def read(generator: Generator, entry: Entry) -> Reply:
    """Reads a kept answer: a pure function of the entry. A rejected one has `.error`.

    Raises:
        RetryableError, StopRunError: The answer is the provider's error for now, or for every
            request.
    """
    try:
        if entry.status >= 400:
            raise RequestError(entry.body.decode("utf-8", "replace"), status=entry.status)
        if over_http(generator):
            # A server may send any byte in them; httpx would take ASCII alone.
            headers = httpx.Headers(dict(entry.headers), encoding="utf-8")
            return altered(generator.reply(entry.status, headers, entry.body), entry=entry.n)
        return altered(_REPLY.validate_json(entry.body), entry=entry.n)
    except (RetryableError, StopRunError):
        raise
    except Exception as error:
        # A user's backend may raise anything; the bytes are kept, so it costs nothing.
        plain = error.message if isinstance(error, SeedfreeError) else None
        message = plain or f"{type(error).__name__}: {error}"
        return Reply("", stop_reason="rejected", error=message, entry=entry.n)
