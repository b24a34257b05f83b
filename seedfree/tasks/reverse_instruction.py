"""People's own text as the answer; the LLM writes only what it answers (MURI, arXiv 2409.12958)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Prompt, altered, schema_of
from seedfree.tasks.shared import check_temperature, passage
from seedfree.text import pieces, squeeze

__all__ = ["ReverseInstruction"]

# As much of the answer in the request gives it away.
_LEAK = 24


@dataclass
class ReverseInstruction(TaskTemplate):
    """Asks for the request that a passage of the text answers. The passage is the answer.

    Where an LLM writes the language badly, this is the best data there is: the answer is a native's
    word for word, and as long as natives write. Texts that an LLM wrote are left out. The LLM also
    says whether the passage can be understood without the page that it comes from; if not, there is
    no row.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.7

    name: ClassVar[str] = "reverse_instruction"

    class Fields(BaseModel):
        """The judgement comes first, so that the request is written only for a whole text."""

        model_config = ConfigDict(str_strip_whitespace=True)

        stands_alone: bool
        instruction: str = Field(max_length=400)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def suits(self, context: Context) -> bool:
        # A text that the LLM wrote is no native's.
        return context.source.kind != "written"

    def prompt(self, context: Context, language: Language) -> Prompt:
        form = context.draw_share(language.shares("request_forms"), self.name, "form")
        text = altered(context, text=passage(context))
        return Prompt(
            user=language.text("reverse_instruction", context=text.block(), form=form),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            max_tokens=600,
            examples=self.examples(context, language),
            cue=context.cue(),
            facets={"form": form},
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        if not fields.stands_alone:
            return
        answer = passage(context)
        if not fields.instruction:
            raise ValueError("no instruction")
        if not set(pieces(squeeze(fields.instruction), _LEAK)).isdisjoint(
            pieces(squeeze(answer), _LEAK)
        ):
            raise ValueError("the instruction quotes its answer")
        yield Instruction(self.name, fields.instruction, answer, evidence=answer)
