"""Generators by word, such as `"ollama/qwen3:8b"`, and what is known of each provider.

To add a provider with OpenAI's chat completions, add a table to `providers.toml`; its prices go
into `generators/prices.toml`.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, overload

import httpx

# The classes of generators stand in a room that builds on this one. Like a config file, a word
# knows them by their public names alone.
import seedfree
from seedfree.engine.keys import find_key
from seedfree.engine.places import host_of
from seedfree.errors import ConfigError, did_you_mean
from seedfree.protocols import Generator

__all__ = ["Provider", "Structured", "named_generator", "provider_at", "providers", "terms_page"]

Structured = Literal["json_schema", "json_object", "prompt"]

# Where a server listens, and a client does not connect to.
_EVERYWHERE = ("0.0.0.0", "::")
_OLLAMA_PORT = 11434


@dataclass(frozen=True)
class Provider:
    """A service, or a kind of server, that answers OpenAI's chat completions (Anthropic: its own).

    Attributes:
        word: Stands before the model's name.
        hosts: Where it answers. Of `local` servers nobody knows by their address what they are.
        key: The variable that holds its key; empty if there is none.
        structured: What it enforces; see `OpenAICompatibleGenerator`.
        max_tokens: What the field is called.
        penalty: What a repetition penalty is called; nothing where it takes none.
        no_sampling: Pattern of the models that take no temperature; empty for none.
        body: Fields that are sent with every request.
        terms: What binds those who train on its models' words; empty where only the model's own
            licence does.
        batches: Whether it answers OpenAI's batches.
        local: A server of one's own.
    """

    word: str
    base_url: str
    hosts: tuple[str, ...] = ()
    key: str = ""
    structured: Structured = "json_schema"
    max_tokens: str = "max_tokens"
    penalty: tuple[str, ...] = ()
    no_sampling: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    terms: str = ""
    terms_page: str = ""
    batches: bool = False
    local: bool = False

    def samples(self, model: str) -> bool:
        """Tells whether a model takes a temperature and a `top_p`."""
        return not (self.no_sampling and re.match(self.no_sampling, model))


@functools.cache
def providers() -> Mapping[str, Provider]:
    """Reads what is known of each provider, by its word."""
    text = resources.files("seedfree.engine").joinpath("providers.toml").read_text("utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    return {word: _provider(word, table) for word, table in tables.items()}


def _provider(word: str, table: Mapping[str, Any]) -> Provider:
    hosts = table.get("hosts", [] if table.get("local") else [host_of(table["base_url"])])
    lists = {"hosts": tuple(hosts), "penalty": tuple(table.get("penalty", ()))}
    return Provider(word=word, **{**table, **lists})


@functools.cache
def provider_at(url: str) -> Provider | None:
    """Returns the provider that a URL leads to; `None` for servers that could be anything."""
    host = host_of(url)
    return next((each for each in providers().values() if host in each.hosts), None)


def terms_page(url: str) -> str:
    """Returns the page with the terms of the provider that a URL leads to; empty if unknown."""
    provider = provider_at(url)
    return provider.terms_page if provider else ""


@overload
def named_generator(given: str | Generator) -> Generator: ...
@overload
def named_generator(given: str | Generator | None) -> Generator | None: ...
def named_generator(given: str | Generator | None) -> Generator | None:
    """Makes the generator that a word stands for; returns anything else as it is.

    Args:
        given: `"provider/model"`, in litellm's words: `"anthropic/claude-haiku-5-5"`,
            `"ollama/qwen3:8b"`. `WORD_API_BASE` in the environment (for Ollama `OLLAMA_HOST`, too)
            names another address than the provider's own.

    Raises:
        ConfigError: The word is unknown, or a variable holds no address.
    """
    if not isinstance(given, str):
        return given
    word, _, model = given.strip().partition("/")
    provider = providers().get(word)
    if provider is None:
        raise _unknown(word, model)
    if not model:
        raise ConfigError(f"{given!r} names no model", hint=f"Write {word}/ and its name.")
    url = _base_url(provider)
    if word == "anthropic":
        return seedfree.ClaudeGenerator(model, base_url=url)
    # Elsewhere than at its provider a key is sent only where somebody says so, as the variables do.
    away = provider_at(url) is not provider
    return seedfree.OpenAICompatibleGenerator(
        url,
        model,
        api_key=find_key(None, provider.key) if away else None,
        structured=provider.structured,
    )


def _unknown(word: str, model: str) -> ConfigError:
    classes = [name for name in seedfree.__all__ if name.endswith("Generator")]
    hint = f"{did_you_mean(word, [*providers(), *classes])}Known: {', '.join(providers())}."
    if not model:
        what = f"{word!r} is no Generator: it names neither provider nor model"
        return ConfigError(what, hint=f"Write provider/model, or pass an object. {hint}")
    hub = f"A model of the Hugging Face hub runs behind a server: hosted_vllm/{word}/{model}."
    return ConfigError(f"{word!r} is no provider", hint=f"{hint} {hub}")


def _base_url(provider: Provider) -> str:
    variable = f"{provider.word.upper()}_API_BASE"
    given = os.environ.get(variable, "").strip()
    if not given and provider.word == "ollama":
        variable, given = "OLLAMA_HOST", _ollama_url(os.environ.get("OLLAMA_HOST", "").strip())
    if not given:
        return provider.base_url
    if not host_of(given):
        hint = f"Give an address, such as {provider.base_url}."
        raise ConfigError(f"{variable} holds no address", hint=hint)
    return given


def _ollama_url(host: str) -> str:
    """Reads `OLLAMA_HOST`, which may be a port, a name or what the server listens on."""
    if not host:
        return ""
    whole = "://" in host
    try:
        url = httpx.URL(host if whole else f"http://{host}")
    except httpx.InvalidURL:
        return host
    if not url.host or url.host in _EVERYWHERE:
        url = url.copy_with(host="localhost")
    if not whole and url.port is None:
        url = url.copy_with(port=_OLLAMA_PORT)
    return str(url)
