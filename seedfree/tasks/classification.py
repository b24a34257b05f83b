"""Texts to be sorted into classes: one of the seven tasks of WangchanThaiInstruct."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language, Scheme
from seedfree.protocols import Session
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.shared import LanguageTask, check_temperature
from seedfree.text import squeeze

__all__ = ["Classification"]


class _Label(BaseModel):
    model_config = ConfigDict(title="Label")

    label: str = Field(min_length=1, max_length=80)


@dataclass
class Classification(LanguageTask):
    """Asks for a text of a given class and for the order to classify it, from the topic alone.

    Code draws the scheme (sentiment, intent, a claim that holds or not ...) and the class before
    the text is written, so that every class of every scheme is equally often the answer. The text
    stands in the row's `input`. The LLM then classifies it without knowing the class, and a row on
    which it does not agree with itself is dropped.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.8

    name: ClassVar[str] = "classification"
    needs_context: ClassVar[bool] = False

    class Fields(BaseModel):
        """The order comes first, so that the text is written for it."""

        model_config = ConfigDict(str_strip_whitespace=True)

        instruction: str = Field(min_length=1, max_length=400)
        text: str = Field(min_length=1, max_length=1500)
        reason: str = Field(min_length=1, max_length=400)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        scheme, label = self._drawn(context, language)
        facets = {
            "form": context.draw_share(language.shares("request_forms"), self.name, "form"),
            "scheme": scheme.name,
            "label": label,
        }
        return Prompt(
            user=language.text(
                "classification",
                topic=context.subject(),
                text=scheme.text,
                labels=" / ".join(scheme.labels),
                **facets,
            ),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            max_tokens=2048,
            examples=self.examples(context, language),
            cue=context.subject(),
            facets=facets,
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        language = self.language(context)
        _, label = self._drawn(context, language)
        explained = context.draw((True, False), self.name, "explained")
        answer = f"{label}\n\n{fields.reason}" if explained else label
        yield Instruction(self.name, fields.instruction, answer, input=fields.text)

    async def confirm(self, item: Instruction, session: Session) -> Instruction | str:
        """Has the text classified again; returns the row, or why it is dropped.

        Raises:
            StopRunError, RequestError: From the LLM.
        """
        scheme = item.facets["scheme"]
        labels = next(each.labels for each in session.language.schemes_known if each.name == scheme)
        block = Context(text=item.input, seed=session.seed).block()
        prompt = Prompt(
            session.language.text("classification_blind", text=block, labels=" / ".join(labels)),
            system=session.language.persona,
            schema=_Label,
            temperature=0,
            max_tokens=200,
        )
        reply = await session.generate(prompt)
        if reply.error is None and squeeze(reply.value["label"]) == squeeze(item.facets["label"]):
            return item
        return "classification: a second answer differs"

    def _drawn(self, context: Context, language: Language) -> tuple[Scheme, str]:
        pairs = [(each, label) for each in language.schemes_known for label in each.labels]
        return context.draw(pairs, self.name)
