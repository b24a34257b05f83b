"""A function as a language model: for models of your own, and as the fake in tests."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from seedfree.errors import ConfigError, check_types
from seedfree.generators.prices import TERMS
from seedfree.records import Prompt, Reply

__all__ = ["FunctionGenerator"]

Answer: TypeAlias = str | Reply | Awaitable[str | Reply]


@dataclass
class FunctionGenerator:
    """Asks a function of yours, which returns a text or a `Reply`, at once or awaited.

    Raise `seedfree.RetryableError` in the function to be asked again. Any other exception fails
    that request.

    Attributes:
        fn: A plain function runs in a thread, as many side by side as the run's `concurrency`.
        name: Names the model in the ledger and on every row. By default the function's own name.
        price: USD per million tokens, one number or (input, output).

    Raises:
        ConfigError: The function has no name of its own (a lambda, a partial) and none is given.
    """

    fn: Callable[[Prompt], Answer] = field(repr=False)
    name: str = ""
    price: float | tuple[float, float] = 0.0
    identity: str = field(init=False, repr=False)
    _calls: list[Prompt] = field(default_factory=list, init=False, repr=False, compare=False)

    # The name stands for the function: its code may be mended between two runs.
    operational: ClassVar[frozenset[str]] = frozenset({"fn", "price"})
    terms: ClassVar[str] = TERMS["function:"]

    def __post_init__(self) -> None:
        check_types(self)
        if not callable(self.fn):
            raise ConfigError(f"fn is {type(self.fn).__name__}, not a function")
        self.name = self.name or getattr(self.fn, "__name__", "<none>")
        # Python calls every lambda "<lambda>", so two of them would share their replies.
        if self.name.startswith("<"):
            raise ConfigError(
                "The function has no name for the ledger", hint="Pass name= to FunctionGenerator."
            )
        self.identity = f"function:{self.name}"

    @property
    def calls(self) -> list[Prompt]:
        """Returns every prompt so far, in the order of the calls."""
        return self._calls

    def generate(self, prompt: Prompt) -> Reply | Awaitable[Reply]:
        """Calls the function and returns its answer as a reply.

        Raises:
            TypeError: It returned neither text nor a Reply.
        """
        self._calls.append(prompt)
        answer = self.fn(prompt)
        if inspect.isawaitable(answer):
            return self._later(answer)
        return self._reply(answer)

    async def _later(self, answer: Awaitable[str | Reply]) -> Reply:
        return self._reply(await answer)

    def _reply(self, answer: object) -> Reply:
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, str):
            return Reply(answer, model=self.identity)
        raise TypeError(
            f"{self.name} returned {type(answer).__name__}; return a str or a seedfree.Reply"
        )
