"""Texts that are to be written anew: in plain words, formally, shorter, without mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language, Rewriting
from seedfree.records import Context, Instruction, Prompt, altered, schema_of
from seedfree.tasks.shared import LanguageTask, check_temperature, passage
from seedfree.text import squeeze

__all__ = ["Rewrite"]


@dataclass
class Rewrite(LanguageTask):
    """Asks for a passage in another form, and for the request for it.

    The form is drawn from the language's `rewritings`, each equally often. For the one that is
    proofreading, the LLM puts mistakes into the passage, and the row's answer is the passage
    itself, word for word as people wrote it.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.5

    name: ClassVar[str] = "rewrite"

    class Fields(BaseModel):
        """The request comes first, so that the text is written for it."""

        model_config = ConfigDict(str_strip_whitespace=True)

        instruction: str = Field(min_length=1, max_length=400)
        text: str = Field(min_length=1, max_length=3000)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        rewriting = self._drawn(context, language)
        facets = {
            "form": context.draw_share(language.shares("request_forms"), self.name, "form"),
            "rewriting": rewriting.name,
        }
        name = "rewrite_mistakes" if rewriting.mistakes else "rewrite"
        block = altered(context, text=passage(context)).block()
        return Prompt(
            user=language.text(name, context=block, **facets),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            max_tokens=3072,
            examples=self.examples(context, language),
            cue=context.cue(),
            facets=facets,
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        original = passage(context)
        if squeeze(fields.text) == squeeze(original):
            raise ValueError("the text is the passage itself")
        language = self.language(context)
        if self._drawn(context, language).mistakes:
            yield Instruction(self.name, fields.instruction, original, input=fields.text)
        else:
            yield Instruction(self.name, fields.instruction, fields.text, input=original)

    def _drawn(self, context: Context, language: Language) -> Rewriting:
        return context.draw(language.rewritings_known, self.name)
