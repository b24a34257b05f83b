"""What a generator's tokens cost, and what binds those who train on its words."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from seedfree.engine.places import is_loopback, url_of
from seedfree.engine.providers import provider_at, providers
from seedfree.records import Usage

__all__ = ["TERMS", "TokenPrice", "listed_prices", "price_of", "terms_of"]

# The date of a snapshot, which costs what its model costs: claude-haiku-4-5-20251001,
# gpt-4o-2024-08-06.
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})\Z")


@dataclass(frozen=True)
class TokenPrice:
    """USD per million tokens.

    Attributes:
        over: A prompt of more input tokens than this costs `over_input` and `over_output`
            throughout.
        batch: What a request in a batch costs, as a share of this.
        checked: When the price was read, as an ISO date. Empty for a user's own price.
    """

    input: float
    output: float
    over: int | None = None
    over_input: float = 0.0
    over_output: float = 0.0
    batch: float = 1.0
    checked: str = ""

    def usd(self, usage: Usage, *, batched: bool = False) -> float:
        """Returns what one request cost.

        Input that a provider had cached counts in full, so the bill may be lower.
        """
        rates = self.input, self.output
        if self.over is not None and usage.input_tokens > self.over:
            rates = self.over_input, self.over_output
        usd = (usage.input_tokens * rates[0] + usage.output_tokens * rates[1]) / 1e6
        return usd * self.batch if batched else usd


def price_of(generator: object) -> TokenPrice | None:
    """Returns the price of a generator's tokens.

    It is the generator's own `price`, else the list's for its `model` at its provider, else 0 for a
    server on this machine. The list comes before the address: a local proxy may lead to a paid
    model.

    Returns:
        `None` if nothing is known.
    """
    model, url = _DATE.sub("", str(getattr(generator, "model", ""))), url_of(generator)
    provider, lists = provider_at(url), listed_prices()
    # Two providers may ask different prices for one open model.
    asked = [lists.get(provider.word, {})] if provider else [*lists.values()]
    price = next((each[model] for each in asked if model in each), None)
    own = getattr(generator, "price", None)
    if own is not None:
        rates = own if isinstance(own, (tuple, list)) else (own, own)
        # What is known of one model of a provider holds for all of them.
        known = price or next(iter(asked[0].values()), None) if provider else price
        return TokenPrice(float(rates[0]), float(rates[1]), batch=known.batch if known else 1.0)
    return TokenPrice(0.0, 0.0) if price is None and is_loopback(url) else price


@functools.cache
def listed_prices() -> dict[str, dict[str, TokenPrice]]:
    """Returns the known prices by the provider's word and the model's name."""
    text = resources.files("seedfree.generators").joinpath("prices.toml").read_text("utf-8")
    lists: dict[str, Any] = tomllib.loads(text)
    return {
        word: {
            model: TokenPrice(**rates, batch=each.get("batch", 1.0), checked=str(each["checked"]))
            for model, rates in each["models"].items()
        }
        for word, each in lists.items()
    }


# By the beginning of the identity that a backend gives its models. They stand here and not in the
# backends because a row knows its model by this name alone, often long after it was written.
TERMS = {
    "anthropic ": providers()["anthropic"].terms,
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
    served = re.match(r"openai-compatible (\S+)", identity)
    provider = provider_at(served[1]) if served else None
    if provider:
        return provider.terms
    return next((TERMS[begin] for begin in TERMS if identity.startswith(begin)), "")
