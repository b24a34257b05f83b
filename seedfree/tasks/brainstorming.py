"""Ideas and creative writing about a topic (the paper's code; question types of its section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.shared import asker_line, check_temperature

__all__ = ["Brainstorming"]


@dataclass
class Brainstorming(TaskTemplate):
    """Asks for a task and the finished work, from the topic alone.

    What the task asks for (a list of ideas, a plan, names ...) is drawn from the language's
    `works`, each equally often, and how long it is from the lengths of that kind. The paper's code
    asks for tasks first and answers each in a second request. Here one request gives both: the
    drawn kind does what the first request was for.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    temperature: float = 0.8

    name: ClassVar[str] = "brainstorming"
    needs_context: ClassVar[bool] = False
    # Which of the language's works are asked for.
    creative: ClassVar[bool] = False

    class Fields(BaseModel):
        """A task and the finished work."""

        model_config = ConfigDict(str_strip_whitespace=True)

        # Lengths are bounded because a small model seldom ends a text by itself.
        instruction: str = Field(min_length=1, max_length=600)
        output: str = Field(min_length=1, max_length=3000)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def prompt(self, context: Context, language: Language) -> Prompt:
        topic = context.subject()
        works = language.kinds_of_work(creative=self.creative)
        work = context.draw(works, self.name, "work")
        facets = {
            "form": context.draw_share(language.shares("request_forms"), self.name, "form"),
            "kind": work.name,
            "length": context.draw(work.lengths, self.name, work.name, "length"),
        }
        asker = asker_line(context, language, self.name)
        return Prompt(
            user=language.text("brainstorming", topic=topic, asker=asker, **facets),
            system=language.persona,
            schema=schema_of(self.Fields),
            temperature=self.temperature,
            # The work may be twice as long as the answer of another task. A reply that is cut off
            # is asked for again with twice the room.
            max_tokens=4096,
            examples=self.examples(context, language),
            cue=topic,
            facets=facets,
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        # No `input`: the task was written from the topic and stands alone.
        yield Instruction(self.name, fields.instruction, fields.output)
