"""Questions that are answered from knowledge: one of the seven tasks of WangchanThaiInstruct."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import Session, TaskTemplate
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.shared import asker_line, check_temperature, drawn

__all__ = ["OpenQA"]


# Docstrings would go into the schemas that the model is sent.
class _Answer(BaseModel):
    model_config = ConfigDict(title="Answer")

    output: str = Field(min_length=1, max_length=3000)


class _Agreement(BaseModel):
    model_config = ConfigDict(title="Agreement")

    difference: str = Field(max_length=600)
    agree: bool


@dataclass
class OpenQA(TaskTemplate):
    """Asks for a question about a topic and its answer, without any text.

    Such an answer rests on what the LLM knows. So the question is answered once more, by itself,
    and the row is kept only if the two answers say the same: what a model makes up, it seldom makes
    up twice.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.8

    name: ClassVar[str] = "open_qa"
    needs_context: ClassVar[bool] = False

    class Fields(BaseModel):
        """A question and its answer."""

        model_config = ConfigDict(str_strip_whitespace=True)

        instruction: str = Field(min_length=1, max_length=400)
        output: str = Field(min_length=1, max_length=3000)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        facets = drawn(context, language, self.name)
        asker = asker_line(context, language, self.name)
        return Prompt(
            user=language.text("open_qa", topic=context.subject(), asker=asker, **facets),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            max_tokens=4096,
            examples=self.examples(context, language),
            cue=context.subject(),
            facets=facets,
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        yield Instruction(self.name, fields.instruction, fields.output)

    async def confirm(self, item: Instruction, session: Session) -> Instruction | str:
        """Has the question answered again; returns the row, or why it is dropped.

        Raises:
            StopRunError, RequestError: From the LLM.
        """
        language = session.language
        again = await session.generate(
            Prompt(
                language.text(
                    "open_qa_again",
                    instruction=item.instruction,
                    length=item.facets.get("length", "-"),
                ),
                system=language.persona,
                schema=_Answer,
                temperature=self.temperature,
                max_tokens=4096,
            ),
        )
        if again.error is not None:
            return "open_qa: no second answer"
        texts = {"first": item.output, "second": again.value["output"]}
        blocks = {
            name: Context(text=text, seed=session.seed).block() for name, text in texts.items()
        }
        agreement = await session.generate(
            Prompt(
                language.text("open_qa_agree", instruction=item.instruction, **blocks),
                system=language.persona,
                schema=_Agreement,
                temperature=0,
            ),
        )
        if agreement.error is None and agreement.value["agree"]:
            return item
        return "open_qa: two answers differ"
