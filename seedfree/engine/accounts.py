"""What a run has paid, counted once, from its ledger."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from seedfree.engine.gate import piece
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.places import published
from seedfree.engine.request import Request, identity, over_http, read
from seedfree.engine.usage import BYTES_PER_TOKEN, Price, Tally, estimated_usage, usage_in
from seedfree.errors import RetryableError, StopRunError
from seedfree.protocols import Generator
from seedfree.records import Reply, Usage

__all__ = ["Accounts"]

_LOG = logging.getLogger("seedfree")
# Requests of a stage that tell what its requests cost.
_ENOUGH = 20
# Who was asked, by which stage, and how many bytes.
_Origin = tuple[Generator, str, int]


class Accounts:
    """The accounts of one run.

    Args:
        generator: The run's LLM.
        price_of: Returns the price of a generator or an encoder, `None` where it is not known.
        budget_usd: What may be spent; `None` for no limit.
        on_reply: Called after each reply that is new to the tally.

    Attributes:
        tally: What the run has used, by its ledger.
        answered: `requests`, `input_tokens` and `output_tokens` of the replies that its rows rest
            on. They are the same however often it was stopped, and whatever had to be asked twice.
    """

    def __init__(
        self,
        ledger: Ledger,
        generator: Generator,
        *,
        price_of: Callable[[object], Price | None],
        budget_usd: float | None,
        on_reply: Callable[[], None],
    ) -> None:
        self.tally = Tally()
        self.answered: Counter[str] = Counter()
        self._ledger, self._generator = ledger, generator
        self._price_of, self._budget, self._on_reply = price_of, budget_usd, on_reply
        self._asked: dict[str, _Origin] = {}
        self._prices: dict[int, Price | None] = {}
        # Numbers of the entries that are in the tally.
        self._counted: set[int] = set()
        self._estimated = False
        # Paid requests that are counted and not yet in the ledger.
        self._unkept: list[Entry] = []
        self._answered: set[str] = set()

    @property
    def left(self) -> float | None:
        """Returns the USD that may still be spent; `None` for no limit."""
        return None if self._budget is None else self._budget - self.tally.usd

    def check(self) -> None:
        """Raises `StopRunError` where the budget is spent."""
        if self._budget is not None and self.tally.usd >= self._budget:
            spent = f"The budget of {self._budget:g} USD is spent"
            raise StopRunError(spent, hint="Run it again with a larger one.")

    def settle(self, llm: Generator, entry: Entry, reply: Reply, sent: int) -> None:
        """Counts a reply that rows rest on."""
        self.count(llm, entry, reply, sent)
        if entry.key not in self._answered:
            self._answered.add(entry.key)
            self.answered["requests"] += 1
            self.answered["input_tokens"] += reply.usage.input_tokens
            self.answered["output_tokens"] += reply.usage.output_tokens

    def count_kept(self, models: Iterable[object], batched: Iterable[str] = ()) -> None:
        """Counts every reply of the ledger, whether or not it will be asked for again.

        Args:
            models: Those that the run may ask beside its own LLM, encoders too.
            batched: Keys of the requests in batches that an earlier process left.
        """
        asked_of = (*models, self._generator)
        known: dict[str, Any] = {published(identity(model)): model for model in asked_of}
        asked: dict[str, _Origin] = {}
        for entry in self._ledger.entries("request", "reply", "paid"):
            headers = entry.headers
            name = headers.get("generator", "")
            if entry.kind == "paid":
                self._count_paid(known.get(name), entry)
            elif entry.kind == "request":
                llm = known.get(name, self._generator)
                asked[entry.key] = llm, headers.get("stage", ""), len(entry.body)
            else:
                self._count_from(asked.get(entry.key), entry)
        self._asked = {key: asked[key] for key in batched if key in asked}

    def count_early(self, entry: Entry) -> None:
        """Counts the answer of a batch for which nobody has asked yet."""
        self._count_from(self._asked.get(entry.key), entry)

    def _count_from(self, origin: _Origin | None, entry: Entry) -> None:
        (llm, stage, sent), reply = origin or (self._generator, "", 0), None
        with contextlib.suppress(RetryableError, StopRunError):
            reply = read(llm, entry)
        self.count(llm, entry, reply, sent, stage)

    def count(
        self,
        llm: Generator,
        entry: Entry,
        reply: Reply | None,
        sent: int,
        stage: str | None = None,
    ) -> None:
        """Counts a kept answer, once.

        Args:
            reply: What was read of it; `None` for an error inside a success.
            sent: Bytes of what it answers, for servers that report no usage.
            stage: That asked for it; by default the one under way.
        """
        if entry.n in self._counted:
            return
        self._counted.add(entry.n)
        if entry.status >= 400:  # a rejection costs nothing
            usage = priced = Usage()
        elif reply is None or reply.error is not None:
            usage = priced = usage_in(entry.body)  # a failure without any was not billed
        else:
            usage = reply.usage
            priced = estimated_usage(reply, sent, every=over_http(llm))
        stage = piece().stage if stage is None else stage
        name = published(identity(llm))
        self._add(llm, name, usage, priced, stage, batched="batch" in entry.headers)

    async def paid(self, model: object, body: bytes, sent: int, stage: str) -> None:
        """See `protocols.Session.paid`."""
        usage = usage_in(body)
        tokens = usage.input_tokens + usage.output_tokens
        headers = {"generator": published(identity(model)), "stage": stage}
        if not tokens:
            tokens, headers["estimated"] = sent // BYTES_PER_TOKEN, "yes"
        kept = json.dumps({"usage": {"input_tokens": tokens}}).encode()
        self._unkept.append(Entry("paid", "", kept, headers=headers))
        self._count_paid(model, self._unkept[-1])
        await self.keep_paid()

    async def keep_paid(self) -> None:
        """Keeps what was paid for before the ledger could take it."""
        # The first entry is the run's settings, which are kept once all its parts are bound.
        while len(self._ledger) and self._unkept:
            kept = await self._ledger.append(self._unkept.pop(0))
            self._counted.add(kept.n)

    def _count_paid(self, model: object, entry: Entry) -> None:
        if entry.n not in self._counted:
            priced, headers = usage_in(entry.body), entry.headers
            usage = Usage() if "estimated" in headers else priced
            self._add(model, headers.get("generator", ""), usage, priced, headers.get("stage", ""))

    def expected_usd(self, request: Request) -> float:
        """Returns what a request in a batch will cost: what its stage's did, else at most."""
        asked = self.tally.by_stage.get(request.stage)
        if asked and asked["requests"] >= _ENOUGH:
            return asked["usd"] / asked["requests"]
        price = self._price(request.llm)
        most = Usage(len(request.sent) // BYTES_PER_TOKEN, request.prompt.max_tokens)
        return price.usd(most, batched=True) if price else 0.0

    def _add(
        self,
        model: object,
        name: str,
        usage: Usage,
        priced: Usage,
        stage: str,
        *,
        batched: bool = False,
    ) -> None:
        """Adds a request to the tally. `priced` is its usage with what had to be estimated."""
        price = self._price(model)
        estimated = self.tally.add(usage, priced, price, model=name, stage=stage, batched=batched)
        if estimated and not self._estimated:
            self._estimated = True
            text = "%s reports no usage for some requests: their price is estimated from bytes"
            _LOG.warning(text, name)
        self._on_reply()

    def _price(self, model: object) -> Price | None:
        if id(model) not in self._prices:
            price = self._prices[id(model)] = self._price_of(model)
            if price is None and self._budget is not None:
                name = published(identity(model))
                _LOG.warning("%s has no known price: the budget does not count it", name)
        return self._prices[id(model)]
