"""What a run has used: tokens as servers report them, and their price, each reply counted once."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json

from seedfree.records import Usage

__all__ = ["Price", "Tally", "token_count", "usage_in", "usage_of"]

# Anthropic counts each of them apart, and only together they are the prompt.
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class Price(Protocol):
    """What a generator's tokens cost; see `generators/prices.py`."""

    def usd(self, usage: Usage) -> float: ...


@dataclass
class Tally:
    """What a run has used so far, by its ledger.

    Attributes:
        usd: Price of the requests whose price is known, and an estimate where a server reports no
            usage.
        unpriced: Requests to generators without a known price, or without known usage.
        by_stage, by_model: Requests, tokens and `usd` of each. The stage of a reply from another
            run is not known: it is empty.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    by_stage: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_model: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def price_usd(self) -> float | None:
        """Returns the price, or `None` where that of a request is not known."""
        return None if self.unpriced else self.usd

    def add(
        self, usage: Usage, estimate: Usage, price: Price | None, *, model: str, stage: str
    ) -> bool:
        """Counts a request.

        Args:
            estimate: Stands in for the tokens that `usage` leaves out.

        Returns:
            Whether its price had to be estimated.
        """
        filled = Usage(
            usage.input_tokens or estimate.input_tokens,
            usage.output_tokens or estimate.output_tokens,
        )
        usd = price.usd(filled) if price else 0.0
        # What costs nothing costs nothing whatever its usage is.
        estimated = usd > 0 and filled != usage
        self.requests += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.usd += usd
        self.unpriced += price is None or estimated
        for counts in (self.by_model[model], self.by_stage[stage]):
            counts.update(_counts(usage, usd))
        return estimated


def _counts(usage: Usage, usd: float) -> dict[str, Any]:
    tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return {"requests": 1, **tokens, "usd": usd}


def token_count(value: object) -> int:
    """Returns a number of tokens as a server sent it, 0 for anything else."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    # Not isinstance(): True is an int too.
    return value if type(value) is int and value > 0 else 0


def usage_of(data: object) -> Usage:
    """Reads the usage object of an answer, in the words of Anthropic or of OpenAI.

    Reasoning that a server counts in the total alone is output.
    """
    fields = data if isinstance(data, dict) else {}

    def tokens(*names: str) -> int:
        return sum(token_count(fields.get(name)) for name in names)

    given = tokens(*_INPUT) or tokens("prompt_tokens")
    written = tokens("output_tokens") or tokens("completion_tokens")
    return Usage(given, max(written, tokens("total_tokens") - given))


def usage_in(body: bytes) -> Usage:
    """Returns the usage that a body reports, also where the rest of it is an error."""
    try:
        data = from_json(body)
    except ValueError:
        return Usage()
    return usage_of(data.get("usage") if isinstance(data, dict) else None)
