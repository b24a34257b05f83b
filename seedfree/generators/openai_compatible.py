"""Any server with OpenAI's chat completions.

Among them are OpenAI, vLLM, Ollama, llama.cpp, LM Studio and OpenRouter. The API is described at
platform.openai.com/docs/api-reference/chat. The others document their differences from it, and
`engine/providers.toml` has those of the known providers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

import httpx
from pydantic import SecretStr

from seedfree.engine.http import (
    Price,
    check_positive,
    check_price,
    check_temperature,
    json_request,
    raise_fault,
    read_object,
    send_once,
)
from seedfree.engine.keys import find_key, keep_key
from seedfree.engine.places import check_url, host_of
from seedfree.engine.providers import Provider, Structured, provider_at
from seedfree.engine.schema import CONSTRAINTS, closed_schema
from seedfree.engine.usage import usage_of
from seedfree.errors import ConfigError, RetryableError, check_types
from seedfree.generators.openai_batches import OpenAIBatches
from seedfree.generators.prices import terms_of
from seedfree.generators.wire import (
    chat_messages,
    error_status,
    first_choice,
    joined_text,
    string,
)
from seedfree.records import Prompt, Reply

__all__ = ["OpenAICompatibleGenerator"]

# What a repetition penalty is called at servers that nothing is known of: vLLM's word, and that of
# llama.cpp and LM Studio. Servers pass over the word that they do not know.
_SERVERS_PENALTY = ("repetition_penalty", "repeat_penalty")
# A path that names its version: /v1, /api/v1, /v1beta/openai.
_VERSIONED = re.compile(r"/v\d\w*(/|\Z)")
# Wider than `text.without_thought`: here the servers' own tags are known. A thought that does not
# end leaves no answer.
_THOUGHT = re.compile(r"\A\s*<(think|thinking)>.*?(</\1>\s*|\Z)", re.DOTALL)
# Servers differ in the formats that they know, and some reject the others.
_SERVERS_TAKE = CONSTRAINTS - {"format"}
# Asks for the schema's form in the prompt, for servers that do not enforce it.
_ASK = "\n\nAnswer with one JSON object that matches this JSON schema, and with nothing else:\n"
# The stop reasons of `Reply`. Others (`tool_calls`) keep the server's word.
_STOP = {"stop": "end", "": "end", "length": "max_tokens", "content_filter": "refusal"}
# An error may come inside a success; these are the statuses that its code or type has elsewhere.
_STATUS = {
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "insufficient_quota": 402,
    "permission_error": 403,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
}


@dataclass
class OpenAICompatibleGenerator:
    """A model behind an OpenAI-compatible server, on this machine or elsewhere.

    Attributes:
        base_url: With or without `/v1`. Plain http only on this machine, or if no key is sent.
        model: As the server names it.
        api_key: Of a known provider by default read from its variable, such as `OPENAI_API_KEY`
            (`engine/providers.toml` has them). Other servers get only the key given here.
        structured: How a schema is asked for: `"json_schema"` (the server enforces it),
            `"json_object"` (the server enforces JSON, the schema stands in the prompt) or
            `"prompt"` (the prompt alone). `None` for what the provider takes, at other servers
            `"json_schema"`.
        temperature: In place of the prompt's own. Also sent to models that are known to take none.
        seed: Sent, shifted by the prompt's own seed, to servers that repeat themselves for a seed.
        price: USD per million tokens (input, output). A server on this machine costs nothing.
        timeout: Seconds for one request.
        requests_per_minute, tokens_per_minute: Caps in any 60 seconds, if the provider's own
            headers and refusals are not enough. `None` for none.
        headers: Sent along, for gateways. They are kept as secret as the key.
        identity: Names the model in the ledger and on every row. By default made from provider, URL
            and model.
        allow_http: Lets the key travel over plain http to a server in a private network, where
            everyone in that network may read it.

    Raises:
        ConfigError: A setting is wrong, or a key would travel over plain http.
    """

    base_url: str
    model: str
    api_key: str | SecretStr | None = field(default=None, repr=False, compare=False)
    structured: Structured | None = None
    temperature: float | None = None
    seed: int | None = None
    price: Price | None = None
    timeout: float = 600.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    headers: Mapping[str, str | SecretStr] = field(default_factory=dict, repr=False, compare=False)
    identity: str = ""
    allow_http: bool = False

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            "allow_http",
            "api_key",
            "base_url",
            "headers",
            "price",
            "timeout",
            "requests_per_minute",
            "tokens_per_minute",
        }
    )

    def __post_init__(self) -> None:
        check_types(self)
        if not self.model:
            raise ConfigError(
                "model is empty", hint="Ask the server for its names: GET /v1/models."
            )
        if self.structured is None:
            provider = provider_at(str(self.base_url))
            self.structured = provider.structured if provider else "json_schema"
        if self.structured not in get_args(Structured):
            raise ConfigError(
                f"structured is {self.structured!r}",
                hint="'json_schema', 'json_object' or 'prompt'.",
            )
        check_temperature(self.temperature)
        check_positive(
            timeout=self.timeout,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
        check_price(self.price)
        self.api_key = keep_key(self.api_key)
        self.headers = {key: _header(key, value) for key, value in self.headers.items()}
        self.base_url = self._url(self.base_url)
        self.identity = self.identity or f"openai-compatible {self.base_url} {self.model}"

    def _url(self, url: str) -> str:
        # A server on your own network often has no TLS. Without a key nothing secret is sent to it,
        # and plain http passes as if it were https.
        check_url(re.sub(r"\Ahttp://", "https://", str(url)))
        if self.api_key or self.headers or provider_at(url):
            check_url(url, allow_http=self.allow_http)
        url = url.rstrip("/").removesuffix("/chat/completions")
        if _VERSIONED.search(httpx.URL(url).path):
            return url
        return f"{url}/v1"

    def ready(self) -> None:
        """Raises ConfigError if the key is missing; sends nothing."""
        self._key()

    def request(self, prompt: Prompt) -> httpx.Request:
        """Builds a POST to /v1/chat/completions.

        Raises:
            ConfigError: The key is missing, or the schema has a form that servers do not take.
        """
        # The order in which the body is put together is part of the ledger's key.
        user, shape = prompt.user, self._response_format(prompt)
        if prompt.json_schema is not None and self.structured != "json_schema":
            user += _ASK + json.dumps(prompt.json_schema, ensure_ascii=False, separators=(",", ":"))
        body: dict[str, Any] = {"model": self.model, "messages": chat_messages(prompt, user)}
        provider = self._provider
        body[provider.max_tokens if provider else "max_tokens"] = prompt.max_tokens
        samples = provider is None or provider.samples(self.model)
        if self.temperature is not None:
            body["temperature"] = self.temperature
        elif prompt.temperature is not None and samples:
            body["temperature"] = prompt.temperature
        if prompt.top_p is not None and samples:
            body["top_p"] = prompt.top_p
        if prompt.repetition_penalty is not None:
            words = provider.penalty if provider else _SERVERS_PENALTY
            body |= dict.fromkeys(words, prompt.repetition_penalty)
        if self.seed is not None:
            # Below 2^31, which the integer of every server can hold.
            body["seed"] = (self.seed + (prompt.seed or 0)) % 2**31
        if shape:
            body["response_format"] = shape
        if provider:
            body |= provider.body
        url = f"{self.base_url}/chat/completions"
        return json_request(url, body, self._headers(), self.timeout)

    def _headers(self) -> dict[str, str]:
        headers = {key: _reveal(value) for key, value in self.headers.items()}
        if key := self._key():
            headers["authorization"] = f"Bearer {key}"
        return headers

    def _response_format(self, prompt: Prompt) -> dict[str, Any] | None:
        if prompt.json_schema is None or self.structured == "prompt":
            return None
        if self.structured == "json_object":
            return {"type": "json_object"}
        # Providers take hardly any constraints.
        keep = frozenset() if self._provider else _SERVERS_TAKE
        schema = closed_schema(prompt.json_schema, keep=keep)
        return {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": schema},
        }

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        """Reads an answer; reasoning is left out.

        Raises:
            RetryableError, StopRunError, RequestError: As `HTTPGenerator.reply`.
        """
        data = read_object(body)
        self._check(data.get("error"), headers)
        choice = first_choice(data)
        if choice is None or not isinstance(message := choice.get("message"), dict):
            raise RetryableError("The server's answer holds no message")
        # A gateway such as OpenRouter puts its own provider's error into the choice.
        self._check(choice.get("error"), headers)
        finish = string(choice.get("finish_reason"), "")
        if finish == "error":
            raise RetryableError("The model's provider failed while it was answering")
        stop = _STOP.get(finish, finish)
        text = _answer(message.get("content"))
        refusal = string(message.get("refusal"), "")
        if refusal and not text:
            text, stop = refusal, "refusal"
        return Reply(
            text=text,
            usage=usage_of(data.get("usage")),
            stop_reason=stop,
            model=string(data.get("model"), self.model),
        )

    def generate(self, prompt: Prompt) -> Reply:
        """Sends one request now, blocking, without retries or ledger."""
        return self.reply(*send_once(self.request(prompt), timeout=self.timeout))

    @property
    def terms(self) -> str:
        """Says what binds those who train on the model's words."""
        return terms_of(f"openai-compatible {self.base_url} {self.model}")

    @property
    def batches(self) -> OpenAIBatches | None:
        """Returns where OpenAI's batches are taken; `None` at providers that take none."""
        if self._provider and not self._provider.batches:
            return None
        return OpenAIBatches(self.base_url, self._headers)

    @property
    def _provider(self) -> Provider | None:
        return provider_at(self.base_url)

    @property
    def _variable(self) -> str | None:
        return self._provider.key if self._provider else None

    def _key(self) -> str | None:
        key = find_key(keep_key(self.api_key), self._variable)
        # A gateway's own header may carry the key.
        authorized = "authorization" in {name.lower() for name in self.headers}
        if key is None and self._variable and not authorized:
            raise ConfigError(
                f"No API key for {host_of(self.base_url)}",
                hint=f"Set {self._variable} or pass api_key=...",
            )
        return key

    def _check(self, error: object, headers: httpx.Headers) -> None:
        """Raises for an error object inside a success."""
        if error:
            raise_fault(error_status(error, _STATUS), headers, error, self._keys)

    def _keys(self) -> list[str]:
        """Returns what must not be seen in an error. Called only when one is raised."""
        key = find_key(keep_key(self.api_key), self._variable)
        return [key or "", *map(_reveal, self.headers.values())]


def _header(name: str, value: str | SecretStr) -> SecretStr:
    text = _reveal(value)
    if not re.fullmatch(r"[\w\-]+", name, re.ASCII) or not re.fullmatch(r"[ -~]*", text):
        raise ConfigError(
            "headers holds a name or value that HTTP cannot carry", hint="Use ASCII on one line."
        )
    return SecretStr(text)


def _reveal(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _answer(content: object) -> str:
    """Returns the text of a message without the thoughts that some servers leave in it."""
    if isinstance(content, list):  # some servers send a text in parts
        content = joined_text(content)
    if not isinstance(content, str):
        return ""
    answer, thoughts = _THOUGHT.subn("", content)
    if thoughts or "<think>" in content:
        return answer
    # Some chat templates open the thought inside the prompt, so that only its end is in the reply.
    _, end, rest = content.partition("</think>")
    return rest.lstrip() if end else content
