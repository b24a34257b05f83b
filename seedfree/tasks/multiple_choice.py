"""Multiple-choice questions about a text (paper section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language
from seedfree.protocols import Session, TaskTemplate
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.choices import names_label, speaks_of_others, without_labels
from seedfree.tasks.shared import VISITS, check_range, check_temperature
from seedfree.text import squeeze

__all__ = ["MultipleChoice"]

# As many as there are labels (A to F) in a language's file.
_MOST_CHOICES = 6
_GROUPING = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")
_Choice = Annotated[str, Field(min_length=1, max_length=150)]


@dataclass
class MultipleChoice(TaskTemplate):
    """Asks for a question, its right answer, wrong answers and an explanation.

    Code orders and labels the choices, so that the right answer is in every position equally often.
    Its position is drawn in blocks: with four choices it is in each position once among contexts 0
    to 3, once among contexts 4 to 7, and so on. The row's instruction is the question with its
    labelled choices and needs no text beside it. The row's output is the explanation and then the
    labelled choice, in the form that the language's file gives.

    Attributes:
        choices: 2 to 6, and no more than the language has labels. The paper has 4.
        temperature: 0 to 2. Sent if the model takes one.
    """

    choices: int = 4
    temperature: float = 0.4
    _language: Language | None = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "multiple_choice"
    grounded: ClassVar[bool] = True
    visits: ClassVar[int] = VISITS

    class Fields(BaseModel):
        """Evidence comes first, so that question and answer are written from it."""

        model_config = ConfigDict(str_strip_whitespace=True)

        # "verbatim" lets the embedded model choose among the text's own clauses alone
        # (`generators/grammar.py`). The wrong answers follow the right one, so that they can differ
        # from it. Lengths are bounded because a small model seldom ends a text by itself.
        evidence: str = Field(
            min_length=1, max_length=600, json_schema_extra={"format": "verbatim"}
        )
        question: str = Field(min_length=1, max_length=400)
        correct: _Choice
        wrong: list[_Choice] = Field(min_length=1, max_length=_MOST_CHOICES - 1)
        explanation: str = Field(min_length=1, max_length=1200)

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "choices", self.choices, 2, _MOST_CHOICES)
        check_temperature(self, self.temperature)

    def bind(self, session: Session) -> None:
        """Takes the run's language, which may be a user's own.

        Raises:
            ConfigError: It has fewer labels than there are choices.
        """
        self._language = session.language
        self._labels(session.language)

    def prompt(self, context: Context, language: Language) -> Prompt:
        wrong = len(self._labels(language)) - 1
        asker = context.draw(language.facet("askers"), self.name, "asker")
        schema = schema_of(self.Fields)
        # `Fields` takes any number of wrong answers: the prompt's schema asks for just as many.
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
        # A provider that does not enforce the number may send more wrong answers.
        # Without a run, `bind` was not called, and only a ready-made language is known by its code.
        language = self._language or Language.load(context.language or "en")
        labels = self._labels(language)
        choices = without_labels([fields.correct, *fields.wrong[: self.choices - 1]], labels)
        if len({_folded(choice) for choice in choices} - {""}) < self.choices:
            raise ValueError(f"{self.choices} different choices were asked for")
        if any(speaks_of_others(choice, language) for choice in choices):
            raise ValueError("a choice speaks of the other choices")
        # The choices are shuffled, so a letter would name another one.
        if names_label(fields.explanation, language):
            raise ValueError("the explanation names a choice by its letter")
        # The right answer's place is balanced over the run; the wrong ones only need to be mixed.
        place = context.draw(range(self.choices), self.name, "place")
        ordered = choices[1:]
        context.random(self.name, "order").shuffle(ordered)
        ordered.insert(place, choices[0])
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
                f"MultipleChoice(choices={self.choices}): "
                f"{language.name} has {len(language.labels)} labels",
                hint="Ask for fewer choices, or add labels to the language's file.",
            )
        return language.labels[: self.choices]


def _folded(choice: str) -> str:
    """Returns the choice as it is compared with others: folded, without outer punctuation.

    Two choices that differ in case, in invisible or typed characters, in spaces, in the grouping of
    a number or in outer punctuation alone are the same choice.
    """
    return _GROUPING.sub("", squeeze(choice)).strip(".,!?\"'“”")
