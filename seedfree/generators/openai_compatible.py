"""Any server with OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, OpenRouter.

API: platform.openai.com/docs/api-reference/chat; the others document their differences from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import httpx
from pydantic import SecretStr

from seedfree.engine.http import (
    Price,
    check_positive,
    check_price,
    check_url,
    find_key,
    host_of,
    json_request,
    keep_key,
    raise_fault,
    read_object,
    send_once,
    token_count,
)
from seedfree.engine.schema import CONSTRAINTS, closed_schema
from seedfree.errors import ConfigError, RetryableError
from seedfree.records import Prompt, Reply, Usage

__all__ = ["OpenAICompatibleGenerator"]

_OPENAI = "api.openai.com"
# Hosts that need a key: the variable that holds it. Their structured output takes no constraints.
_KEYS = {_OPENAI: "OPENAI_API_KEY", "openrouter.ai": "OPENROUTER_API_KEY"}
# What a repetition penalty is called: vLLM's and OpenRouter's word, and that of llama.cpp and LM
# Studio. Servers pass over the word that they do not know; OpenAI takes none.
_SERVERS_PENALTY = ("repetition_penalty", "repeat_penalty")
_PENALTY: dict[str, tuple[str, ...]] = {_OPENAI: (), "openrouter.ai": ("repetition_penalty",)}
# OpenAI's reasoning models answer 400 to a temperature and to top_p.
_REASONING = re.compile(r"(o\d|gpt-([5-9]|\d\d))")
_VERSIONED = re.compile(r"/v\d\w*(/|\Z)")
_THOUGHT = re.compile(r"\A\s*<(think|thinking)>.*?(</\1>\s*|\Z)", re.DOTALL)
# Servers differ in the formats that they know, and some reject the others.
_SERVERS_TAKE = CONSTRAINTS - {"format"}
_ASK = "\n\nAnswer with one JSON object that matches this JSON schema, and with nothing else:\n"
_STOP = {"stop": "end", "": "end", "length": "max_tokens", "content_filter": "refusal"}
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
        base_url: With or without `/v1`. Plain http only on this machine, or where no key is sent.
        model: As the server names it.
        api_key: For OpenAI and OpenRouter read from `OPENAI_API_KEY` and `OPENROUTER_API_KEY` where
            it is not given; other servers get only the key given here.
        structured: How a schema is asked for: `"json_schema"` (the server enforces it),
            `"json_object"` (the server enforces JSON, the schema stands in the prompt) or
            `"prompt"` (the prompt alone).
        temperature: In place of the prompt's own; also sent to models that are known to take none.
        seed: Sent, shifted by the prompt's own seed, to servers that repeat themselves for a seed.
        price: USD per million tokens (input, output); a server on this machine costs nothing.
        timeout: Seconds for one request.
        requests_per_minute, tokens_per_minute: Caps in any 60 seconds, where the provider's own
            headers and refusals are not enough; `None` for none.
        headers: Sent along, for gateways; kept as secret as the key.
        identity: Names the model in the ledger and on every row; made from provider, URL and model.

    Raises:
        ConfigError: A setting is wrong, or a key would travel over plain http.
    """

    base_url: str
    model: str
    api_key: str | SecretStr | None = field(default=None, repr=False, compare=False)
    structured: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    temperature: float | None = None
    seed: int | None = None
    price: Price | None = None
    timeout: float = 600.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    headers: Mapping[str, str | SecretStr] = field(default_factory=dict, repr=False, compare=False)
    identity: str = ""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            "api_key",
            "base_url",
            "headers",
            "price",
            "timeout",
            "requests_per_minute",
            "tokens_per_minute",
        }
    )
    terms: ClassVar[str] = (
        "Written by a model behind an OpenAI-compatible server; the model's licence and its provider's terms apply "
        "(OpenAI's forbid using outputs to develop models that compete with its own)."
    )

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError(
                "model is empty", hint="Ask the server for its names: GET /v1/models."
            )
        if self.structured not in ("json_schema", "json_object", "prompt"):
            raise ConfigError(
                f"structured is {self.structured!r}",
                hint="'json_schema', 'json_object' or 'prompt'.",
            )
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}", hint="Give 0 to 2, or None.")
        check_positive(timeout=self.timeout)
        check_positive(
            requests_per_minute=self.requests_per_minute, tokens_per_minute=self.tokens_per_minute
        )
        check_price(self.price)
        self.api_key = keep_key(self.api_key)
        self.headers = {key: _header(key, value) for key, value in self.headers.items()}
        self.base_url = self._url(self.base_url)
        self.identity = self.identity or f"openai-compatible {self.base_url} {self.model}"

    def _url(self, url: str) -> str:
        host = httpx.URL(check_url(re.sub(r"\Ahttp://", "https://", str(url)))).host
        # A server on one's own network often has no TLS; without a key nothing secret is sent to
        # it.
        if self.api_key or self.headers or host in _KEYS:
            check_url(url)
        url = url.rstrip("/").removesuffix("/chat/completions")
        return url if _VERSIONED.search(httpx.URL(url).path) else f"{url}/v1"

    def ready(self) -> None:
        """Raises ConfigError where the key is missing; sends nothing."""
        self._key()

    def request(self, prompt: Prompt) -> httpx.Request:
        """POST /v1/chat/completions.

        Raises:
            ConfigError: The key is missing, or the schema has a form that servers do not take.
        """
        openai = self._host == _OPENAI
        user, shape = prompt.user, self._response_format(prompt)
        if prompt.json_schema is not None and self.structured != "json_schema":
            user += _ASK + json.dumps(prompt.json_schema, ensure_ascii=False, separators=(",", ":"))
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": user}],
        }
        body["max_completion_tokens" if openai else "max_tokens"] = prompt.max_tokens
        temperature = prompt.temperature if self.temperature is None else self.temperature
        reasons = openai and _REASONING.match(self.model)
        if temperature is not None and not (self.temperature is None and reasons):
            body["temperature"] = temperature
        if prompt.top_p is not None and not reasons:
            body["top_p"] = prompt.top_p
        if prompt.repetition_penalty is not None:
            body |= dict.fromkeys(
                _PENALTY.get(self._host, _SERVERS_PENALTY), prompt.repetition_penalty
            )
        if self.seed is not None:
            body["seed"] = (self.seed + (prompt.seed or 0)) % 2**31
        if shape:
            body["response_format"] = shape
        headers = {key: _reveal(value) for key, value in self.headers.items()}
        if key := self._key():
            headers["authorization"] = f"Bearer {key}"
        return json_request(f"{self.base_url}/chat/completions", body, headers, self.timeout)

    def _response_format(self, prompt: Prompt) -> dict[str, Any] | None:
        if prompt.json_schema is None or self.structured == "prompt":
            return None
        if self.structured == "json_object":
            return {"type": "json_object"}
        schema = closed_schema(
            prompt.json_schema, keep=() if self._host in _KEYS else _SERVERS_TAKE
        )
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
        self._fault(data.get("error"), headers)
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise RetryableError("The server's answer holds no message")
        self._fault(choice.get("error"), headers)
        finish, refusal = choice.get("finish_reason"), message.get("refusal")
        if finish == "error":
            raise RetryableError("The model's provider failed while it was answering")
        stop = _STOP.get(finish, finish) if isinstance(finish, str) else "end"
        text = _answer(message.get("content"))
        if isinstance(refusal, str) and refusal and not text:
            text, stop = refusal, "refusal"
        usage = data.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return Reply(
            text=text,
            usage=Usage(
                token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))
            ),
            stop_reason=stop,
            model=model if isinstance(model := data.get("model"), str) else self.model,
        )

    def generate(self, prompt: Prompt) -> Reply:
        """One request now, blocking, without retries or ledger."""
        return self.reply(*send_once(self.request(prompt), timeout=self.timeout))

    @property
    def _host(self) -> str:
        return host_of(self.base_url)

    def _key(self) -> str | None:
        variable = _KEYS.get(self._host)
        key = find_key(keep_key(self.api_key), variable)
        if (
            key is None
            and variable
            and "authorization" not in {name.lower() for name in self.headers}
        ):
            raise ConfigError(
                f"No API key for {self._host}", hint=f"Set {variable} or pass api_key=..."
            )
        return key

    def _fault(self, error: object, headers: httpx.Headers) -> None:
        if not error:
            return
        code, kind = (
            (error.get("code"), error.get("type")) if isinstance(error, dict) else (None, None)
        )
        status = (
            code
            if type(code) is int and 400 <= code < 600
            else _STATUS.get(str(code), _STATUS.get(str(kind), 500))
        )
        raise_fault(status, headers, error, self._keys)

    def _keys(self) -> list[str]:
        key = find_key(keep_key(self.api_key), _KEYS.get(self._host))
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
    """The text of a message, which some servers send in parts, without the thoughts that some leave in it."""
    if isinstance(content, list):
        parts = [
            part.get("text")
            for part in content
            if isinstance(part, dict) and part.get("type") == "text"
        ]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return ""
    text, found = _THOUGHT.subn("", content)
    if not found and "<think>" not in content:
        # Some chat templates open the thought inside the prompt, so that only its end is in the
        # reply.
        head, end, tail = content.partition("</think>")
        text = tail.lstrip() if end else head
    return text
