"""Conversations about a topic (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Message, Prompt, schema_of
from seedfree.tasks.shared import asker_line, check_range, check_temperature, drawn, list_schema

__all__ = ["Conversation"]

_MOST_TURNS = 10
_TURNS = (1, 2, 3, 4)
# Room for one turn, and for all of them. A reply that is cut off is asked for again with twice the
# room, so these need not hold the longest conversation.
_TOKENS = 1536
_MOST_TOKENS = 8192


class _Turn(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    # Lengths are bounded because a small model seldom ends a text by itself.
    user: str = Field(min_length=1, max_length=600)
    assistant: str = Field(min_length=1, max_length=3000)


@dataclass
class Conversation(TaskTemplate):
    """Asks for a conversation between a person and an assistant, from the topic alone.

    A row's `instruction` and `output` are the first question and its answer, which make sense
    without the rest. `messages` holds all turns.

    Attributes:
        turns: Questions with their answers in a conversation, 1 to 10. `None` for 1 to 4, each
            equally often. The paper has 1.
        temperature: 0 to 2. Sent if the model takes one.
    """

    turns: int | None = None
    temperature: float = 0.8

    name: ClassVar[str] = "conversation"
    needs_context: ClassVar[bool] = False

    class Fields(BaseModel):
        """Turns in order."""

        turns: list[_Turn] = Field(min_length=1, max_length=_MOST_TURNS)

    def __post_init__(self) -> None:
        check_types(self)
        if self.turns is not None:
            check_range(self, "turns", self.turns, 1, _MOST_TURNS)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        topic = context.subject()
        turns = self._turns(context)
        facets = {
            **drawn(context, language, self.name),
            "register": context.draw(language.facet("registers"), self.name, "register"),
            "turns": str(turns),
        }
        return Prompt(
            user=language.text(
                "conversation",
                topic=topic,
                asker=asker_line(context, language, self.name),
                continued=language.text("conversation_continued") if turns > 1 else "",
                **facets,
            ),
            system=language.persona,
            # `Fields` takes any number of turns: the prompt's schema asks for just as many.
            schema=list_schema("turns", schema_of(_Turn), turns),
            temperature=self.temperature,
            max_tokens=min(_TOKENS * turns, _MOST_TOKENS),
            examples=self.examples(context, language),
            cue=topic,
            facets=facets,
        )

    def _turns(self, context: Context) -> int:
        return self.turns or context.draw(_TURNS, self.name, "turns")

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        asked = self._turns(context)
        if len(fields.turns) < asked:
            raise ValueError(f"{len(fields.turns)} turns, {asked} were asked for")
        # A provider that does not enforce the number may send more.
        turns = fields.turns[:asked]
        messages = tuple(
            message
            for turn in turns
            for message in (Message("user", turn.user), Message("assistant", turn.assistant))
        )
        yield Instruction(self.name, turns[0].user, turns[0].assistant, messages=messages)
