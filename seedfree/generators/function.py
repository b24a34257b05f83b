"""A function as a language model: for models of one's own, and the fake for tests."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from seedfree.errors import ConfigError
from seedfree.records import Prompt, Reply

__all__ = ["FunctionGenerator"]

Answer: TypeAlias = str | Reply | Awaitable[str | Reply]


@dataclass
class FunctionGenerator:
    """Asks a function of yours. It returns the text or a `Reply`, at once or awaited.

    Raise `seedfree.RetryableError` in it to be asked again; any other exception fails that request.

    Attributes:
        fn: A plain function runs in a thread, as many side by side as the run's `concurrency`.
        name: Names the model in the ledger and on every row; the function's own name where it is
            not given.
        price: USD per million tokens, one number or (input, output).

    Raises:
        ConfigError: The function has no name of its own (a lambda, a partial) and none is given.
    """

    fn: Callable[[Prompt], Answer] = field(repr=False)
    name: str = ""
    price: float | tuple[float, float] = 0.0
    identity: str = field(init=False, repr=False)
    _calls: list[Prompt] = field(default_factory=list, init=False, repr=False, compare=False)

    operational: ClassVar[frozenset[str]] = frozenset({"fn", "price"})
    terms: ClassVar[str] = (
        "Written by a function of the data set's author; the terms of what it calls apply."
    )

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ConfigError(f"fn is {type(self.fn).__name__}, not a function")
        self.name = self.name or getattr(self.fn, "__name__", "<none>")
        if self.name.startswith("<"):
            raise ConfigError(
                "The function has no name for the ledger", hint="Pass name= to FunctionGenerator."
            )
        self.identity = f"function:{self.name}"

    @property
    def calls(self) -> list[Prompt]:
        """Every prompt so far, in the order of the calls."""
        return self._calls

    def generate(self, prompt: Prompt) -> Reply | Awaitable[Reply]:
        """The function's answer as a reply.

        Raises:
            TypeError: It returned neither text nor a Reply.
        """
        self._calls.append(prompt)
        answer = self.fn(prompt)
        return self._later(answer) if inspect.isawaitable(answer) else self._reply(answer)

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
