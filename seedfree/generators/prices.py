"""What a generator's tokens cost, and what binds those who train on its words."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from seedfree.engine.http import is_loopback
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.records import Usage

__all__ = ["TokenPrice", "price_of", "terms_of"]


def terms_of(generator: str) -> str:
    """The `terms` of the backend that gave a row its `generator`; empty where that is unknown."""
    embedded = LlamaCppGenerator()
    known = {
        embedded.identity: embedded.terms,
        "anthropic ": ClaudeGenerator.terms,
        "openai-compatible ": OpenAICompatibleGenerator.terms,
        "function:": FunctionGenerator.terms,
    }
    return next((terms for start, terms in known.items() if generator.startswith(start)), "")


_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})\Z")


@dataclass(frozen=True)
class TokenPrice:
    """USD per million tokens.

    Attributes:
        over: A prompt of more input tokens than this costs `over_input` and `over_output`
            throughout.
        checked: When the price was read from the provider's list, as an ISO date; empty for a
            user's own.
    """

    input: float
    output: float
    over: int | None = None
    over_input: float = 0.0
    over_output: float = 0.0
    checked: str = ""

    def usd(self, usage: Usage) -> float:
        """What one request cost. Input that a provider had cached counts in full: the bill may be lower."""
        long = self.over is not None and usage.input_tokens > self.over
        rates = (self.over_input, self.over_output) if long else (self.input, self.output)
        return (usage.input_tokens * rates[0] + usage.output_tokens * rates[1]) / 1e6


def price_of(generator: object) -> TokenPrice | None:
    """The generator's own `price`, else the list's for its `model`, else 0 for a server on this machine.

    Returns:
        `None` where nothing is known.
    """
    own = getattr(generator, "price", None)
    if own is not None:
        pair = own if isinstance(own, (tuple, list)) else (own, own)
        return TokenPrice(float(pair[0]), float(pair[1]))
    listed = _listed().get(_DATE.sub("", str(getattr(generator, "model", ""))))
    # Only a plain attribute: a property may start the server that it tells of.
    if listed is None and is_loopback(str(getattr(generator, "__dict__", {}).get("base_url", ""))):
        return TokenPrice(0.0, 0.0)
    return listed


@functools.cache
def _listed() -> dict[str, TokenPrice]:
    text = resources.files("seedfree.generators").joinpath("prices.toml").read_text("utf-8")
    providers: dict[str, Any] = tomllib.loads(text)
    return {
        model: TokenPrice(**rates, checked=str(provider["checked"]))
        for provider in providers.values()
        for model, rates in provider["models"].items()
    }
