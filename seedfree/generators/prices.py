"""What a generator's tokens cost, and what binds those who train on its words."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from seedfree.engine.places import is_loopback, url_of
from seedfree.records import Usage

__all__ = ["TERMS", "TokenPrice", "price_of", "terms_of"]

# The date of a snapshot, which costs what its model costs: claude-haiku-4-5-20251001,
# gpt-4o-2024-08-06.
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})\Z")


@dataclass(frozen=True)
class TokenPrice:
    """USD per million tokens.

    Attributes:
        over: A prompt of more input tokens than this costs `over_input` and `over_output`
            throughout.
        checked: When the price was read from the provider's list, as an ISO date. Empty for a
            user's own price.
    """

    input: float
    output: float
    over: int | None = None
    over_input: float = 0.0
    over_output: float = 0.0
    checked: str = ""

    def usd(self, usage: Usage) -> float:
        """Returns what one request cost.

        Input that a provider had cached counts in full, so the bill may be lower.
        """
        rates = self.input, self.output
        if self.over is not None and usage.input_tokens > self.over:
            rates = self.over_input, self.over_output
        return (usage.input_tokens * rates[0] + usage.output_tokens * rates[1]) / 1e6


def price_of(generator: object) -> TokenPrice | None:
    """Returns the price of a generator's tokens.

    It is the generator's own `price`, else the list's for its `model`, else 0 for a server on this
    machine. The list comes before the address: a local proxy may lead to a paid model.

    Returns:
        `None` if nothing is known.
    """
    own = getattr(generator, "price", None)
    if isinstance(own, (tuple, list)):
        return TokenPrice(float(own[0]), float(own[1]))
    if own is not None:
        return TokenPrice(float(own), float(own))
    listed = _listed().get(_DATE.sub("", str(getattr(generator, "model", ""))))
    if listed is None and is_loopback(url_of(generator)):
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


# By the beginning of the identity that a backend gives its models. They stand here and not in the
# backends because a row knows its model by this name alone, often long after it was written.
TERMS = {
    "anthropic ": (
        "Written by Claude; Anthropic's terms forbid using outputs to train models that compete "
        "with its own without its permission."
    ),
    "openai-compatible ": (
        "Written by a model behind an OpenAI-compatible server; the model's licence and its "
        "provider's terms apply (OpenAI's forbid using outputs to develop models that compete with "
        "its own)."
    ),
    "function:": (
        "Written by a function of the data set's author; the terms of what it calls apply."
    ),
    # The file of Gemma 3 270M by its hash, whatever its user calls it.
    "llamacpp:sha256:a5fd3b62230aa5ec": (
        "Written by Gemma 3 270M; the Gemma Terms of Use (ai.google.dev/gemma/terms) apply."
    ),
}


def terms_of(identity: str) -> str:
    """Returns the terms of the model that gave a row its `generator`; empty if they are unknown."""
    for beginning, terms in TERMS.items():
        if identity.startswith(beginning):
            return terms
    return ""
