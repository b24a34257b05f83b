"""What `bind` hands to components: the run's language, seed, LLM and ledger."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from seedfree._seeds import seeded
from seedfree.engine.ledger import Entry, current
from seedfree.engine.runner import Runner
from seedfree.engine.schema import find_json
from seedfree.errors import InvalidReplyError, StopRunError
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Prompt, Reply, Usage, altered

__all__ = ["Price", "RunSession", "Tally"]

_SAMPLES = 3
_DOUBLINGS = 3


class Price(Protocol):
    """What a generator's tokens cost; see `generators/prices.py`."""

    def usd(self, usage: Usage) -> float: ...


@dataclass
class Tally:
    """What a run used so far, replies from the ledger included.

    Attributes:
        usd: Price of the requests whose price is known.
        unpriced: Requests to generators without a known price.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0

    @property
    def price_usd(self) -> float | None:
        """`None` where the price of a generator is not known."""
        return None if self.unpriced else self.usd

    def add(self, usage: Usage, price: Price | None) -> None:
        self.requests += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.usd += price.usd(usage) if price else 0.0
        self.unpriced += price is None


class RunSession:
    """The `Session` of a run.

    Args:
        price_of: The price of a generator, `None` where it is not known.
        budget_usd: No request is sent once this much is spent.
        on_reply: Called after each reply that is new to the tally.
        grounded_tasks: Names of the tasks whose answers must stand in the context.
        tasks: Names of all tasks.
        folder: The run's; a component that keeps files makes a folder of its own in it.
    """

    def __init__(
        self,
        runner: Runner,
        generator: Generator,
        language: Language,
        seed: int,
        *,
        price_of: Callable[[Generator], Price | None] = lambda _: None,
        budget_usd: float | None = None,
        grounded_tasks: frozenset[str] | None = None,
        on_reply: Callable[[], None] = lambda: None,
        tasks: tuple[str, ...] = (),
        folder: Path | None = None,
    ) -> None:
        self._runner, self._generator = runner, generator
        self._price_of, self._budget, self._on_reply = price_of, budget_usd, on_reply
        self.language, self.seed = language, seed
        self.grounded_tasks, self.tasks, self.folder = grounded_tasks, tasks, folder
        self.tally = Tally()
        self._counted: set[str] = set()
        self._prices: dict[int, Price | None] = {}
        runner.allow, runner.count = self._allow, self._count

    async def generate(
        self,
        prompt: Prompt,
        *,
        sample: int = 0,
        check: Callable[[str], object] | None = None,
        generator: Generator | None = None,
    ) -> Reply:
        """See `protocols.Session.generate`."""
        _, reply = await self.settle(prompt, sample=sample, check=check, generator=generator)
        return reply

    async def settle(
        self,
        prompt: Prompt,
        *,
        sample: int = 0,
        check: Callable[[str], object] | None = None,
        generator: Generator | None = None,
    ) -> tuple[Entry, Reply]:
        """The reply of `generate`, and the entry that it was read from."""
        llm = generator or self._generator
        check = check or _schema_check(prompt)
        why = ""
        for again in range(_SAMPLES):
            entry, reply = await self._uncut(
                llm, prompt, f"{sample}.{again}" if again else str(sample)
            )
            if reply.error is not None:
                return entry, reply
            try:
                if check is not None:
                    check(reply.text)
                elif not reply.text.strip():
                    raise InvalidReplyError("The reply is empty")
            except InvalidReplyError as error:
                why = error.message
            else:
                return entry, reply
        return entry, replace(reply, text="", error=f"invalid: {why}")

    async def first(self, prompt: Prompt, *, sample: int = 0) -> tuple[Entry, Reply]:
        """The first reply as it comes, cut off, empty or refused, and the entry that it was read from."""
        seed = prompt.seed if prompt.seed is not None else _sampling_seed(self.seed, str(sample))
        return await self._runner.settle(self._generator, altered(prompt, seed=seed), str(sample))

    async def _uncut(self, llm: Generator, prompt: Prompt, sample: str) -> tuple[Entry, Reply]:
        """A reply that was not cut off, asked for with more room where it was."""
        seed = prompt.seed if prompt.seed is not None else _sampling_seed(self.seed, sample)
        for doubling in range(_DOUBLINGS + 1):
            roomy = altered(prompt, max_tokens=prompt.max_tokens << doubling, seed=seed)
            entry, reply = await self._runner.settle(llm, roomy, sample)
            if reply.error is not None or reply.stop_reason != "max_tokens":
                break
        if reply.error is not None:
            return entry, replace(reply, text="", error=f"rejected: {reply.error}")
        if reply.stop_reason == "max_tokens":
            return entry, replace(reply, text="", error="cut off")
        if reply.stop_reason == "refusal":
            return entry, replace(reply, text="", error="refused")
        return entry, reply

    def _allow(self) -> None:
        if self._budget is not None and self.tally.usd >= self._budget:
            raise StopRunError(
                f"The budget of {self._budget:g} USD is spent",
                hint="Run it again with a larger one.",
            )

    def _count(self, llm: Generator, entry: Entry, reply: Reply) -> None:
        if entry.key not in self._counted:
            self._counted.add(entry.key)
            self.tally.add(reply.usage, self._price(llm))
            self._on_reply()

    def _price(self, llm: Generator) -> Price | None:
        if id(llm) not in self._prices:
            self._prices[id(llm)] = self._price_of(llm)
        return self._prices[id(llm)]

    async def fetch(self, key: str, fn: Callable[[], Any]) -> Any:
        """See `protocols.Session.fetch`."""
        value, _ = await self.fetch_at(key, fn)
        return value

    async def fetch_at(self, key: str, fn: Callable[[], Any]) -> tuple[Any, str]:
        """The value of `fetch`, and the time that the ledger kept with it."""
        entry = await self._runner.fetch(current(f"fetch:{key}"), fn, self._generator)
        return json.loads(entry.body), entry.at


@functools.lru_cache
def _sampling_seed(seed: int, sample: str) -> int:
    return seeded(seed, sample).getrandbits(31)


def _schema_check(prompt: Prompt) -> Callable[[str], object] | None:
    schema = prompt.json_schema
    if schema is None:
        return None

    def check(text: str) -> None:
        import jsonschema

        try:
            jsonschema.validate(find_json(text), dict(schema))
        except jsonschema.ValidationError as error:
            raise InvalidReplyError(
                f"{'.'.join(map(str, error.path)) or 'reply'}: {error.validator} fails"
            ) from None
        except RecursionError:
            raise InvalidReplyError("reply: nested too deeply") from None

    return check
