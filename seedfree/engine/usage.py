"""What a run has used: tokens as servers report them, and their price, each reply counted once."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from pydantic_core import from_json

from seedfree.records import Reply, Usage

__all__ = [
    "BYTES_PER_TOKEN",
    "Price",
    "Tally",
    "estimated_usage",
    "token_count",
    "usage_in",
    "usage_of",
]

# Bytes of a token, in any script, about.
BYTES_PER_TOKEN = 3
# Anthropic counts each of them apart, and only together they are the prompt.
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


_Counts = dict[str, float]


def _nothing() -> _Counts:
    return {"requests": 0, "input_tokens": 0, "output_tokens": 0, "usd": 0.0}


class Price(Protocol):
    """What a generator's tokens cost; see `generators/prices.py`."""

    def usd(self, usage: Usage, *, batched: bool = False) -> float: ...


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
    by_stage: defaultdict[str, _Counts] = field(default_factory=lambda: defaultdict(_nothing))
    by_model: defaultdict[str, _Counts] = field(default_factory=lambda: defaultdict(_nothing))

    @property
    def price_usd(self) -> float | None:
        """Returns the price, or `None` where that of a request is not known."""
        return None if self.unpriced else self.usd

    def add(
        self,
        usage: Usage,
        priced: Usage,
        price: Price | None,
        *,
        model: str,
        stage: str,
        batched: bool = False,
    ) -> bool:
        """Counts a request.

        Args:
            priced: Its usage, with an estimate of what the server left out.
            batched: Whether it was answered in a batch.

        Returns:
            Whether its price had to be estimated.
        """
        usd = price.usd(priced, batched=batched) if price else 0.0
        # What costs nothing costs nothing whatever its usage is.
        estimated = usd > 0 and priced is not usage
        self.requests += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.usd += usd
        self.unpriced += price is None or estimated
        for counts in (self.by_model[model], self.by_stage[stage]):
            counts["requests"] += 1
            counts["input_tokens"] += usage.input_tokens
            counts["output_tokens"] += usage.output_tokens
            counts["usd"] += usd
        return estimated


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


def estimated_usage(reply: Reply, sent: int, *, every: bool) -> Usage:
    """Returns a reply's usage, with an estimate from bytes of what it leaves out.

    Args:
        every: Whether one figure alone may be missing; the figures of a function are taken as they
            are, unless it gives none.
    """
    read, written = reply.usage.input_tokens, reply.usage.output_tokens
    if (read and written) or ((read or written) and not every):
        return reply.usage
    text = len(reply.text.encode())
    return Usage(read or sent // BYTES_PER_TOKEN, written or text // BYTES_PER_TOKEN)
