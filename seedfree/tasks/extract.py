"""Facts of a text as JSON or as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.shared import check_temperature

__all__ = ["Extract"]


@dataclass
class Extract(TaskTemplate):
    """Asks for facts that a text holds, in a form that programs or spreadsheets read.

    The form is drawn from the language's `extract_forms`, each equally often. An answer that begins
    as JSON must be JSON. The row's `input` carries the text.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.3

    name: ClassVar[str] = "extract"
    grounded: ClassVar[bool] = True

    class Fields(BaseModel):
        """The request comes first, so that the facts are picked for it."""

        model_config = ConfigDict(str_strip_whitespace=True)

        instruction: str = Field(min_length=1, max_length=400)
        output: str = Field(min_length=1, max_length=2000)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        facets = {
            "form": context.draw_share(language.shares("request_forms"), self.name, "form"),
            "extract": context.draw(language.facet("extract_forms"), self.name, "extract"),
        }
        return Prompt(
            user=language.text("extract", context=context.block(), **facets),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            max_tokens=2048,
            examples=self.examples(context, language),
            cue=context.cue(),
            facets=facets,
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        if fields.output.startswith(("{", "[")):
            try:
                json.loads(fields.output)
            except RecursionError as error:
                raise ValueError("the JSON is too deep") from error
        yield Instruction(self.name, fields.instruction, fields.output, input=context.text)
