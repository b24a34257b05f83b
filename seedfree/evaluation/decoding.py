"""How a model decodes when it is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from seedfree.errors import ConfigError
from seedfree.protocols import Generator, HTTPGenerator
from seedfree.records import Prompt, altered
from seedfree.training.config import ALPACA_SYSTEM

__all__ = ["Decoding"]

# A value of each setting that nobody asks for, to see whether it reaches the request.
_OTHER = {"temperature": 0.123, "top_p": 0.456, "repetition_penalty": 1.789}


@dataclass(frozen=True)
class Decoding:
    """Decoding settings, the same for every question. `None` leaves a setting to the backend.

    Attributes:
        temperature: 0 to 2; 0 takes the likeliest token always.
        top_p: Above 0, up to 1.
        repetition_penalty: Above 0; 1 is none.
        max_tokens: At which an answer is cut off; at least 1.
        system: System prompt of questions whose benchmark gives none.

    Raises:
        ConfigError: A setting is outside its range.
    """

    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int = 512
    system: str | None = None

    def __post_init__(self) -> None:
        known = (self.temperature, self.top_p, self.repetition_penalty)
        if not all(value is None or math.isfinite(value) for value in known):
            raise ConfigError("A decoding setting is not finite")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}", hint="Give 0 to 2, or None.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(
                f"top_p is {self.top_p}", hint="Give a number above 0, up to 1, or None."
            )
        if self.repetition_penalty is not None and not self.repetition_penalty > 0:
            raise ConfigError(
                f"repetition_penalty is {self.repetition_penalty}",
                hint="Give 1.0 (none) or a bit more.",
            )
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}", hint="Give 1 or more.")

    @classmethod
    def paper(cls, *, system: bool = False) -> Decoding:
        """The paper's (its authors' evaluation code): 0.05, 0.9, 1.15, 512 tokens.

        Its top-k of 500 is left out: at this temperature the first 0.9 are a few tokens.

        Args:
            system: Also the English system prompt that its models were trained and evaluated with.
        """
        return cls(0.05, 0.9, 1.15, 512, ALPACA_SYSTEM if system else None)

    @classmethod
    def greedy(cls, max_tokens: int = 512) -> Decoding:
        """The likeliest token always."""
        return cls(temperature=0.0, max_tokens=max_tokens)

    def apply(self, prompt: Prompt) -> Prompt:
        """The prompt with these settings; what the prompt sets itself but these leave open stays."""
        given = {name: value for name in _OTHER if (value := getattr(self, name)) is not None}
        system = self.system if prompt.system is None else prompt.system
        return replace(prompt, **given, system=system, max_tokens=self.max_tokens)

    def left_out(self, generator: Generator, prompt: Prompt) -> tuple[str, ...]:
        """Names of the settings that do not reach the model over HTTP: the backend takes none, or has its own.

        Other generators are given the prompt whole.
        """
        if not isinstance(generator, HTTPGenerator):
            return ()
        asked = self.apply(prompt)
        sent = generator.request(asked).content
        given = [name for name in _OTHER if getattr(self, name) is not None]
        others = {name: altered(asked, **{name: _OTHER[name]}) for name in given}
        return tuple(
            name for name, other in others.items() if generator.request(other).content == sent
        )
