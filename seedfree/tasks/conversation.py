"""Conversations about a topic (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Message, Prompt, schema_of

__all__ = ["Conversation"]

_MOST_TURNS = 10
_TOKENS = 1536
_MOST_TOKENS = 8192


class _Turn(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    user: str = Field(min_length=1, max_length=600)
    assistant: str = Field(min_length=1, max_length=1600)


@dataclass
class Conversation(TaskTemplate):
    """Asks for a conversation between a person and an assistant, from the topic alone.

    A row's `instruction` and `output` are the first question and its answer, which make sense
    without the rest; `messages` holds all turns.

    Attributes:
        turns: Questions with their answers in a conversation, 1 to 10; the paper has 1.
        temperature: 0 to 2, where the model takes one.
    """

    turns: int = 1
    temperature: float = 0.8

    name: ClassVar[str] = "conversation"
    needs_context: ClassVar[bool] = False

    class Fields(BaseModel):
        """Turns in order."""

        turns: list[_Turn] = Field(min_length=1, max_length=_MOST_TURNS)

    def __post_init__(self) -> None:
        if not 1 <= self.turns <= _MOST_TURNS:
            raise ConfigError(
                f"Conversation(turns={self.turns!r}) is out of range",
                hint=f"Use 1 to {_MOST_TURNS}.",
            )
        if not 0 <= self.temperature <= 2:
            raise ConfigError(
                f"Conversation(temperature={self.temperature!r}) is out of range",
                hint="Use 0 to 2.",
            )

    def prompt(self, context: Context, language: Language) -> Prompt:
        turns = {
            "type": "array",
            "items": schema_of(_Turn),
            "minItems": self.turns,
            "maxItems": self.turns,
        }
        values: dict[str, Any] = {
            "topic": context.subject(),
            "asker": context.draw(language.facet("askers"), self.name, "asker"),
            "register": context.draw(language.facet("registers"), self.name, "register"),
            "turns": self.turns,
        }
        return Prompt(
            user=language.text("conversation", **values),
            system=language.persona,
            schema={"type": "object", "properties": {"turns": turns}, "required": ["turns"]},
            temperature=self.temperature,
            max_tokens=min(_TOKENS * self.turns, _MOST_TOKENS),
            examples=self.examples(context, language),
            cue=values["topic"],
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        if len(fields.turns) < self.turns:
            raise ValueError(f"{len(fields.turns)} turns, {self.turns} were asked for")
        turns = fields.turns[: self.turns]
        messages = tuple(
            m for t in turns for m in (Message("user", t.user), Message("assistant", t.assistant))
        )
        yield Instruction(self.name, turns[0].user, turns[0].assistant, messages=messages)
