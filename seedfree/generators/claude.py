"""Claude over Anthropic's Messages API (platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
from pydantic import SecretStr

from seedfree.engine.http import (
    Price,
    check_positive,
    check_price,
    json_request,
    raise_fault,
    read_object,
    send_once,
)
from seedfree.engine.keys import find_key, keep_key
from seedfree.engine.places import check_url, is_loopback
from seedfree.engine.schema import closed_schema
from seedfree.engine.usage import usage_of
from seedfree.errors import ConfigError, RetryableError, check_types
from seedfree.generators.claude_batches import STATUS, ClaudeBatches
from seedfree.generators.prices import TERMS
from seedfree.generators.wire import joined_text, mapping, string
from seedfree.records import Prompt, Reply

__all__ = ["ClaudeGenerator"]

# Later API versions refuse `temperature` for every model; this one leaves it to the model.
_VERSION = "2023-06-01"
# Models that take a temperature. Every later one answers 400 to it.
_TEMPERATURE = frozenset(
    {
        "claude-haiku-4-5",
        "claude-sonnet-4-5",
        "claude-sonnet-4-6",
        "claude-opus-4-5",
        "claude-opus-4-6",
    }
)
# Models that think unless a request forbids it, and the word that forbids it. Thinking shares
# `max_tokens` with the answer. Opus 5.5 and the Fable and Mythos models always think and refuse any
# such word.
_NO_THINKING = {
    "claude-haiku-5-5": "disabled",
    "claude-sonnet-5-5": "between_tools",
    "claude-sonnet-5": "disabled",
    "claude-opus-5": "disabled",
}
# The stop reasons of `Reply`. Others (`pause_turn`, `tool_use`) keep the provider's word.
_STOP = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "max_tokens",
    "refusal": "refusal",
}
# The date of a snapshot, which takes the same settings as its model: claude-haiku-4-5-20251001.
_SNAPSHOT = re.compile(r"-\d{8}\Z")


@dataclass
class ClaudeGenerator:
    """A Claude model.

    The provider enforces structured output. A temperature is sent only to models that take one.

    Anthropic's terms forbid using outputs to train models that compete with its own without its
    permission: make sure that yours is allowed, or choose a local model.

    Attributes:
        model: As in Anthropic's list of models.
        api_key: By default read from `ANTHROPIC_API_KEY`, except for a server on this machine.
        base_url: Of Anthropic or of a gateway that speaks its API. https, except on this machine.
        thinking: Lets a model think that would otherwise be kept from it. Give the prompts more
            `max_tokens` then.
        price: USD per million tokens (input, output), in place of the built-in list's.
        timeout: Seconds for one request.
        requests_per_minute, tokens_per_minute: Caps in any 60 seconds, if the provider's own
            headers and refusals are not enough. `None` for none.
        identity: Names the model in the ledger and on every row. By default made from provider, URL
            and model.

    Raises:
        ConfigError: A setting is wrong; the URL is neither https nor on this machine.
    """

    model: str = "claude-haiku-5-5"
    api_key: str | SecretStr | None = field(default=None, repr=False, compare=False)
    base_url: str = "https://api.anthropic.com"
    thinking: bool = False
    price: Price | None = None
    timeout: float = 600.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    identity: str = ""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"api_key", "base_url", "price", "timeout", "requests_per_minute", "tokens_per_minute"}
    )
    terms: ClassVar[str] = TERMS["anthropic "]

    def __post_init__(self) -> None:
        check_types(self)
        if not self.model:
            raise ConfigError("model is empty", hint="For example model='claude-haiku-5-5'.")
        # The path of the request brings the version again.
        self.base_url = check_url(self.base_url).removesuffix("/v1")
        self.api_key = keep_key(self.api_key)
        check_price(self.price)
        check_positive(
            timeout=self.timeout,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
        self.identity = self.identity or f"anthropic {self.base_url} {self.model}"

    def ready(self) -> None:
        """Raises ConfigError if the key is missing; sends nothing."""
        self._key()

    def request(self, prompt: Prompt) -> httpx.Request:
        """Builds a POST to /v1/messages.

        Raises:
            ConfigError: The key is missing, or the schema has a form that the provider does not
                take.
        """
        # The order in which the body is put together is part of the ledger's key.
        family = _SNAPSHOT.sub("", self.model)
        body: dict[str, Any] = {"model": self.model, "max_tokens": prompt.max_tokens}
        if prompt.system:
            body["system"] = prompt.system
        body["messages"] = [{"role": "user", "content": prompt.user}]
        if not self.thinking and family in _NO_THINKING:
            body["thinking"] = {"type": _NO_THINKING[family]}
        if prompt.temperature is not None and family in _TEMPERATURE:
            body["temperature"] = prompt.temperature
        if prompt.json_schema is not None:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": closed_schema(prompt.json_schema)}
            }
        return json_request(f"{self.base_url}/v1/messages", body, self._headers(), self.timeout)

    def _headers(self) -> dict[str, str]:
        headers = {"anthropic-version": _VERSION}
        if key := self._key():
            headers["x-api-key"] = key
        return headers

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        """Reads an answer. Input tokens include cached ones.

        Raises:
            RetryableError, StopRunError, RequestError: As `HTTPGenerator.reply`.
        """
        data = read_object(body)
        if (error := data.get("error")) or data.get("type") == "error":
            status = STATUS.get(str(mapping(error).get("type")), 500)
            raise_fault(status, headers, error, self._keys)
        blocks = data.get("content")
        if not isinstance(blocks, list):
            raise RetryableError("The server's answer holds no content")
        stop = string(data.get("stop_reason"), "end_turn")
        return Reply(
            # By type, because a block of thinking may come first.
            text=joined_text(blocks),
            usage=usage_of(data.get("usage")),
            stop_reason=_STOP.get(stop, stop),
            model=string(data.get("model"), self.model),
        )

    def generate(self, prompt: Prompt) -> Reply:
        """Sends one request now, blocking, without retries or ledger."""
        return self.reply(*send_once(self.request(prompt), timeout=self.timeout))

    @property
    def batches(self) -> ClaudeBatches:
        """Returns where Anthropic takes batches of messages."""
        return ClaudeBatches(f"{self.base_url}/v1/messages/batches", self._headers)

    @property
    def _variable(self) -> str | None:
        """Names the key's variable. A server on this machine must not get Anthropic's key."""
        return None if is_loopback(self.base_url) else "ANTHROPIC_API_KEY"

    def _key(self) -> str | None:
        key = find_key(keep_key(self.api_key), self._variable)
        if key is None and self._variable:
            raise ConfigError(
                "No API key for Claude", hint=f"Set {self._variable} or pass api_key=..."
            )
        return key

    def _keys(self) -> list[str]:
        """Returns what must not be seen in an error. Called only when one is raised."""
        return [find_key(keep_key(self.api_key), self._variable) or ""]
