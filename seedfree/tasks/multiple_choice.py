"""Multiple-choice questions about a text (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.protocols import Session, TaskTemplate
from seedfree.records import Context, Instruction, Prompt, schema_of

__all__ = ["MultipleChoice"]

_MOST_CHOICES = 6
_Choice = Annotated[str, Field(min_length=1, max_length=150)]


@dataclass
class MultipleChoice(TaskTemplate):
    """Asks for a question, its right answer, wrong ones and an explanation; code orders and labels the choices.

    The right answer's position is drawn in permuted blocks: in any `choices` contexts from a multiple of it, it is
    in every position once. The row's instruction is the question with its labelled choices and needs no text beside
    it; its output is the explanation and then the labelled choice, in the form that the language's file gives.

    Attributes:
        choices: 2 to 6, and no more than the language has labels; the paper has 4.
        temperature: 0 to 2, where the model takes one.
    """

    choices: int = 4
    temperature: float = 0.4
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "multiple_choice"
    grounded: ClassVar[bool] = True

    class Fields(BaseModel):
        """Evidence comes first, so that question and answer are written from it."""

        model_config = ConfigDict(str_strip_whitespace=True)

        evidence: str = Field(
            min_length=1, max_length=600, json_schema_extra={"format": "verbatim"}
        )
        question: str = Field(min_length=1, max_length=400)
        correct: _Choice
        wrong: list[_Choice] = Field(min_length=1, max_length=_MOST_CHOICES - 1)
        explanation: str = Field(min_length=1, max_length=1200)

    def __post_init__(self) -> None:
        if not 2 <= self.choices <= _MOST_CHOICES:
            raise ConfigError(
                f"MultipleChoice(choices={self.choices!r}) is out of range", hint="Use 2 to 6."
            )
        if not 0 <= self.temperature <= 2:
            raise ConfigError(
                f"MultipleChoice(temperature={self.temperature!r}) is out of range",
                hint="Use 0 to 2.",
            )

    def bind(self, session: Session) -> None:
        """Takes the run's language, which may be a user's own."""
        self._language = session.language
        self._labels(session.language)

    def prompt(self, context: Context, language: Language) -> Prompt:
        wrong = len(self._labels(language)) - 1
        asker = context.draw(language.facet("askers"), self.name, "asker")
        schema = schema_of(self.Fields)
        schema["properties"]["wrong"] |= {"minItems": wrong, "maxItems": wrong}
        return Prompt(
            user=language.text(
                "multiple_choice", context=context.block(), asker=asker, wrong=wrong
            ),
            system=language.persona,
            schema=schema,
            temperature=self.temperature,
            max_tokens=2048,
            examples=self.examples(context, language),
            cue=context.cue(),
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        choices = [fields.correct, *fields.wrong[: self.choices - 1]]
        if len({_same(c) for c in choices} - {""}) < self.choices:
            raise ValueError(f"{self.choices} different choices were asked for")
        place = context.draw(range(self.choices), self.name, "place")
        ordered = choices[1:]
        context.random(self.name, "order").shuffle(ordered)
        ordered.insert(place, choices[0])
        language = self._language or Language.load(context.language or "en")
        labels = self._labels(language)
        lines = "\n".join(
            f"{label}. {choice}" for label, choice in zip(labels, ordered, strict=True)
        )
        yield Instruction(
            self.name,
            language.text("multiple_choice_question", question=fields.question, choices=lines),
            language.text(
                "multiple_choice_answer",
                explanation=fields.explanation,
                label=labels[place],
                choice=choices[0],
            ),
            evidence=fields.evidence,
        )

    def _labels(self, language: Language) -> tuple[str, ...]:
        if self.choices > len(language.labels):
            raise ConfigError(
                f"MultipleChoice(choices={self.choices}): {language.name} has {len(language.labels)} labels",
                hint="Ask for fewer choices, or add labels to the language's file.",
            )
        return language.labels[: self.choices]


def _same(choice: str) -> str:
    """What makes two choices the same: case, white space and closing punctuation do not count."""
    return "".join(choice.casefold().split()).strip(".,!?\"'“”")
