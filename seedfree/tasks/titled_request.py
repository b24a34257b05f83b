"""People's own text as the answer to a request for its title: for models too small to write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from string import Template
from typing import ClassVar

from pydantic import BaseModel, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.records import Context, Instruction, Prompt
from seedfree.tasks.shared import LanguageTask, check_temperature, passage

__all__ = ["TitledRequest"]

_OFFERED = 3


@dataclass
class TitledRequest(LanguageTask):
    """Asks which of some ready-made requests for a title (`facets.requests`) its text answers best.

    The text is the answer, as with `ReverseInstruction`, which has the request written: a base
    model of a few hundred million parameters cannot. Texts without a title, and texts that an LLM
    wrote, are left out.

    Attributes:
        temperature: 0 to 2.
    """

    temperature: float = 0.7

    name: ClassVar[str] = "titled_request"

    class Fields(BaseModel):
        """The number is checked against how many were offered."""

        choice: int = Field(ge=1)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def suits(self, context: Context) -> bool:
        return bool(context.title) and context.source.kind != "written"

    def prompt(self, context: Context, language: Language) -> Prompt:
        offered = self._offered(context, language)
        # The title stands with the text, between delimiters.
        requests = (Template(each).safe_substitute(topic="…") for each in offered)
        listed = "\n".join(f"{number}. {each}" for number, each in enumerate(requests, 1))
        choice = {"type": "integer", "minimum": 1, "maximum": len(offered)}
        return Prompt(
            user=language.text("titled_request", context=context.block(), requests=listed),
            system=language.persona,
            schema={"type": "object", "properties": {"choice": choice}, "required": ["choice"]},
            temperature=self.temperature,
            max_tokens=60,
            cue=context.cue(),
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        offered = self._offered(context, self.language(context))
        if fields.choice > len(offered):
            raise ValueError("there is no such request")
        request = Template(offered[fields.choice - 1]).safe_substitute(topic=context.title)
        answer = passage(context)
        yield Instruction(self.name, request, answer, evidence=answer)

    def _offered(self, context: Context, language: Language) -> list[str]:
        """Draws some of the language's requests."""
        known = language.facet("requests")
        return context.random(self.name).sample(known, min(_OFFERED, len(known)))
