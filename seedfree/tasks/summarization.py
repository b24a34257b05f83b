"""Summaries of a text as bullet points, a paragraph or a numbered list (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.shared import check_temperature

__all__ = ["Summarization"]


@dataclass
class Summarization(TaskTemplate):
    """Asks for a request for a summary, and for the summary.

    The row's `input` carries the text. The form of the summary is drawn from the language's
    `summary_forms`, each equally often.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.35

    name: ClassVar[str] = "summarization"
    grounded: ClassVar[bool] = True

    class Fields(BaseModel):
        """A request for a summary of a known form, and the summary."""

        model_config = ConfigDict(str_strip_whitespace=True)

        # The request comes first, so that the summary is written for it. Lengths are bounded
        # because a small model seldom ends a text by itself.
        instruction: str = Field(min_length=1, max_length=400)
        output: str = Field(min_length=1, max_length=3000)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        # Each list is drawn from under its own name. Under one name, lists of equal length would
        # always bring the same two together.
        facets = {
            "form": context.draw_share(language.shares("request_forms"), self.name, "request"),
            "summary": context.draw(language.facet("summary_forms"), self.name, "form"),
        }
        return Prompt(
            user=language.text("summarization", context=context.block(), **facets),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            max_tokens=2048,
            examples=self.examples(context, language),
            cue=context.cue(),
            facets=facets,
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        yield Instruction(self.name, fields.instruction, fields.output, input=context.text)
