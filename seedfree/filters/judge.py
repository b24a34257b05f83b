"""An LLM that marks an answer (1 to 10, rationale first): the verdict, its prompt, and the optional filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import ConfigError
from seedfree.filters.families import warn_of_kin
from seedfree.languages import Language
from seedfree.parsing import parse
from seedfree.protocols import Generator, Session
from seedfree.records import Context, Instruction, Prompt, schema_of

__all__ = ["JudgeFilter", "Rationale", "Verdict", "judge_prompt", "parts"]

Rationale = Annotated[str, Field(max_length=2000)]


# A docstring would go into the schema that the judge is sent, and with it into the ledger's keys.
class Verdict(BaseModel):  # noqa: D101
    model_config = ConfigDict(title="Verdict")

    rationale: Rationale
    score: Annotated[int, Field(ge=1, le=10)]


def parts(item: Instruction) -> dict[str, str]:
    """What a judge sees of a row: instruction, input, and the answer, which is all turns after the first."""
    said = (
        "\n\n".join(m.content for m in item.messages[1:]) if len(item.messages) > 2 else item.output
    )
    return {"instruction": item.instruction, "input": item.input or "-", "output": said}


def judge_prompt(
    name: str,
    verdict: type[BaseModel],
    shown: Mapping[str, str],
    *,
    language: Language,
    prompts: Language,
    reference: str | None = None,
    seed: int = 0,
) -> Prompt:
    """A request to a judge, which never learns what wrote the answers.

    Args:
        name: The template: `"judge"` or `"judge_pair"`.
        shown: Its placeholders. Each text stands in a block that it cannot close: what it says is
            data.
        language: Of the answers.
        prompts: The language that the judge is asked in.
        reference: A good answer to compare with.
        seed: Names the blocks.
    """
    blocks = {
        key: Context(text=text or ("-" if key == "input" else ""), seed=seed).block()
        for key, text in shown.items()
    }
    user = prompts.text(name, **blocks)
    if reference is not None:
        block = Context(text=reference, seed=seed).block()
        user = f"{prompts.text('judge_reference', reference=block)}\n\n{user}"
    persona = language.persona
    if prompts.code != language.code:
        persona = prompts.text("judge_persona", language=f"{language.name} ({language.native})")
    return Prompt(user=user, system=persona, schema=schema_of(verdict), max_tokens=800)


@dataclass
class JudgeFilter:
    """Asks an LLM for a mark and drops rows below `minimum`. One more request for every row.

    A judge of the family that wrote a row favours it: a run says so once.

    Attributes:
        minimum: Lowest mark that is kept, 1 to 10.
        generator: The judge; `None` for the run's own LLM.
    """

    minimum: int = 7
    generator: Generator | None = None
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _warned: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= 10:
            raise ConfigError(
                f"JudgeFilter(minimum={self.minimum!r}) is no mark", hint="Use 1 to 10."
            )

    def ready(self) -> None:
        """Checks the judge's own LLM."""
        if (fn := getattr(self.generator, "ready", None)) is not None:
            fn()

    def bind(self, session: Session) -> None:
        self._session, self._warned = session, False
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
            raise ConfigError(
                "JudgeFilter has no LLM outside a run", hint="Pass it to Pipeline(filters=[...])."
            )
        if not self._warned and item.generator:
            self._warned = warn_of_kin(self.generator or item.generator, [item.generator])
        language = session.language
        prompt = judge_prompt(
            "judge", Verdict, parts(item), language=language, prompts=language, seed=session.seed
        )
        reply = await session.generate(
            prompt, check=lambda text: parse(text, Verdict), generator=self.generator
        )
        if reply.error is not None:
            return f"judge: no verdict ({reply.error})"
        score = parse(reply.text, Verdict).score
        return None if score >= self.minimum else f"judge: low mark ({score} of 10)"
