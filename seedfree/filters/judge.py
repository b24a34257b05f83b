"""Drops rows that an LLM judges to be poor: the optional filter of the paper's code (1 to 10, rationale first)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import ConfigError
from seedfree.parsing import parse
from seedfree.protocols import Generator, Session
from seedfree.records import Context, Instruction, Prompt, schema_of

__all__ = ["JudgeFilter"]


class _Verdict(BaseModel):
    model_config = ConfigDict(title="Verdict")

    rationale: Annotated[str, Field(max_length=2000)]
    score: Annotated[int, Field(ge=1, le=10)]


@dataclass
class JudgeFilter:
    """Asks an LLM for a mark and drops rows below `minimum`. One more request for every row.

    Attributes:
        minimum: Lowest mark that is kept, 1 to 10.
        generator: The judge; `None` for the run's own LLM.
    """

    minimum: int = 7
    generator: Generator | None = None
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= 10:
            raise ConfigError(f"JudgeFilter(minimum={self.minimum!r}) is no mark", hint="Use 1 to 10.")

    def ready(self) -> None:
        """Checks the judge's own LLM."""
        if (fn := getattr(self.generator, "ready", None)) is not None:
            fn()

    def bind(self, session: Session) -> None:
        self._session = session
        if (fn := getattr(self.generator, "bind", None)) is not None:
            fn(session)

    def close(self) -> None:
        """Closes the judge's own LLM."""
        if (fn := getattr(self.generator, "close", None)) is not None:
            fn()

    async def check(self, item: Instruction) -> str | None:
        """The reason to drop a row.

        Raises:
            ConfigError: The filter is not part of a run.
            StopRunError, RequestError: From the LLM.
        """
        session = self._session
        if session is None:
            raise ConfigError("JudgeFilter has no LLM outside a run", hint="Pass it to Pipeline(filters=[...]).")
        said = "\n\n".join(m.content for m in item.messages[1:]) if len(item.messages) > 2 else item.output
        parts = {"instruction": item.instruction, "input": item.input or "-", "output": said}
        # Rows hold what pages said: each part stands in a block that it cannot close.
        blocks = {name: Context(text=part, seed=session.seed).block() for name, part in parts.items()}
        prompt = Prompt(
            user=session.language.text("judge", **blocks),
            system=session.language.persona,
            schema=schema_of(_Verdict),
            max_tokens=800,
        )
        reply = await session.generate(prompt, check=lambda text: parse(text, _Verdict), generator=self.generator)
        if reply.error is not None:
            return f"judge: no verdict ({reply.error})"
        score = parse(reply.text, _Verdict).score
        return None if score >= self.minimum else f"judge: low mark ({score} of 10)"
