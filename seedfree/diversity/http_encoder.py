"""Vectors from a server with OpenAI's embeddings: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, TEI.

API: platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import SecretStr

from seedfree.diversity.encoders import check_counts, in_batches
from seedfree.diversity.vectors import Singles
from seedfree.engine.http import (
    Answer,
    Transport,
    check_positive,
    check_price,
    json_request,
    raise_fault,
    read_object,
)
from seedfree.engine.keys import find_key, keep_key
from seedfree.engine.limits import Limits, Slot
from seedfree.engine.loop import run_sync, side_by_side
from seedfree.engine.places import check_url, host_of
from seedfree.errors import ConfigError, EncoderError, RetryableError, check_types
from seedfree.protocols import Session

__all__ = ["OpenAICompatibleEncoder"]

_OPENAI = "api.openai.com"
_AT_ONCE = 4  # Requests.


@dataclass
class OpenAICompatibleEncoder:
    """An embedding model behind an OpenAI-compatible server, on this machine or elsewhere.

    Attributes:
        base_url: With or without `/v1`. Plain http only on this machine.
        model: As the server names it.
        api_key: For OpenAI read from `OPENAI_API_KEY` where it is not given; other servers get only
            the key given here.
        batch_size: Texts a request; OpenAI takes 2,048 at most.
        dimensions: Asked for, from models that can shorten their vectors; by default the model's
            own.
        max_length: Characters sent of a text; by default all. Servers refuse texts longer than the
            model reads.
        timeout: Seconds for one request.
        allow_http: Lets the texts and the key travel over plain http to a server in a private
            network, where everyone in that network may read them.
        price: USD per million tokens. A run counts its requests, and their price where it is known:
            this one, or 0 on this machine.

    Raises:
        ConfigError: A setting is wrong.
    """

    base_url: str
    model: str
    api_key: str | SecretStr | None = field(default=None, repr=False, compare=False)
    batch_size: int = 128
    dimensions: int | None = None
    max_length: int | None = None
    timeout: float = 600.0
    allow_http: bool = False
    price: float | None = None

    operational: ClassVar[frozenset[str]] = frozenset(
        {"allow_http", "api_key", "base_url", "batch_size", "price", "timeout"}
    )
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        if not self.model:
            hint = "Ask the server for its names: GET /v1/models."
            raise ConfigError("model is empty", hint=hint)
        check_counts(
            batch_size=self.batch_size, dimensions=self.dimensions, max_length=self.max_length
        )
        check_positive(timeout=self.timeout)
        check_price(self.price)
        self.api_key = keep_key(self.api_key)
        url = check_url(str(self.base_url), allow_http=self.allow_http).removesuffix("/embeddings")
        # Some servers count their versions on, such as /api/v3.
        last = url.rpartition("/")[2]
        self.base_url = url if last[:1] == "v" and last[1:2].isdigit() else f"{url}/v1"

    @property
    def identity(self) -> str:
        """Returns what names the vectors: those of one identity can be compared."""
        parts = ["openai-compatible", self.base_url, self.model]
        if self.dimensions:
            parts.append(f"{self.dimensions} dimensions")
        if self.max_length:
            parts.append(f"{self.max_length} characters")
        return " ".join(parts)

    def ready(self) -> None:
        """Raises `ConfigError` where the key is missing; sends nothing."""
        self._headers()

    def bind(self, session: Session) -> None:
        """Counts requests as those of a run from now on."""
        self._session = session

    def close(self) -> None:
        """Ends the counting."""
        self._session = None

    def encode(self, texts: Sequence[str]) -> Singles:
        """Returns shape [n, d], d by model.

        Raises:
            ConfigError: The key is missing.
            EncoderError: The answer does not hold one vector a text.
            RequestError: The server refuses, or fails for longer than the retries last.
        """
        headers = self._headers()
        # Servers refuse empty texts.
        filled = [text[: self.max_length] if text.strip() else " " for text in texts]
        encode = partial(self._encode, headers=headers)
        return in_batches(filled, self.batch_size, encode)

    def _encode(self, batches: list[list[str]], headers: dict[str, str]) -> list[Singles]:
        return run_sync(self._send_all(batches, headers))

    async def _send_all(self, batches: list[list[str]], headers: dict[str, str]) -> list[Singles]:
        transport, limits = Transport(connections=_AT_ONCE, timeout=self.timeout), Limits(_AT_ONCE)
        try:
            vectors = await side_by_side(
                self._send(batch, headers, transport, limits) for batch in batches
            )
        finally:
            await transport.close()
        widths = sorted({batch.shape[1] for batch in vectors})
        if len(widths) > 1 or self.dimensions not in (None, widths[0]):
            given = f"gave vectors of {' and '.join(map(str, widths))} dimensions"
            raise self._wrong(f"{given}, not {self.dimensions}" if self.dimensions else given)
        return vectors

    async def _send(
        self, texts: list[str], headers: dict[str, str], transport: Transport, limits: Limits
    ) -> Singles:
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions

        async def send(slot: Slot) -> Singles:
            request = json_request(f"{self.base_url}/embeddings", body, headers, self.timeout)
            answer = await transport.send(request, now=time.time())
            if self._session is not None:  # before it is read: a faulty one was billed, too
                sent = sum(len(text.encode()) for text in texts)
                await self._session.paid(self, answer.body, sent, "diversity")
            vectors = self._read(answer, len(texts), headers)
            limits.succeeded(slot, 0, answer.headers.raw)
            return vectors

        return await limits.retrying(send, key=texts[0])

    def _read(self, answer: Answer, n: int, headers: dict[str, str]) -> Singles:
        """Returns shape [n, d], in the order of the request."""
        try:
            value = read_object(answer.body)
        except RetryableError as error:
            what = f"gave something else than JSON ({len(answer.body)} bytes)"
            raise self._wrong(what) from error
        if fault := value.get("error"):
            # Some servers answer 200 and put the status into the body.
            code = fault.get("code") if isinstance(fault, dict) else None
            status = code if type(code) is int and 400 <= code < 600 else 500
            secrets = [header.removeprefix("Bearer ") for header in headers.values()]
            raise_fault(status, answer.headers, fault, lambda: secrets)
        data = value.get("data")
        if not isinstance(data, list):
            raise self._wrong(f"gave no vectors for {n} texts")
        if len(data) != n:
            raise self._wrong(f"gave {len(data)} vectors for {n} texts")
        try:
            by_index = {each["index"]: each["embedding"] for each in data}
            vectors = np.array([by_index[i] for i in range(n)], np.float32)
        except (LookupError, TypeError, ValueError) as error:
            raise self._wrong("gave vectors without index, embedding or equal lengths") from error
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise self._wrong("gave no list of numbers for a text")
        return vectors

    def _headers(self) -> dict[str, str]:
        host = host_of(self.base_url)
        # A key from the environment goes to OpenAI alone.
        variable = "OPENAI_API_KEY" if host == _OPENAI else None
        key = find_key(keep_key(self.api_key), variable)
        if key:
            return {"authorization": f"Bearer {key}"}
        if variable:
            raise ConfigError(f"No API key for {host}", hint=f"Set {variable} or pass api_key=...")
        return {}

    def _wrong(self, what: str) -> EncoderError:
        return EncoderError(
            f"{host_of(self.base_url)} {what}",
            hint="Check that base_url is that of an embeddings API, "
            "and that model is an embedding model.",
        )
