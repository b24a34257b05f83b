"""Multiple-choice questions about a text (paper section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language
from seedfree.protocols import Session
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.tasks.choices import (
    names_label,
    speaks_of_others,
    speaks_of_text,
    without_labels,
)
from seedfree.tasks.shared import VISITS, LanguageTask, check_range, check_temperature
from seedfree.text import squeeze

__all__ = ["MultipleChoice"]

# As many as there are labels (A to F) in a language's file.
_MOST_CHOICES = 6
_GROUPING = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")
# Numbers of choices, and the forms of an answer, that are drawn.
_CHOICES = (3, 4, 5)
_FORMS = ("multiple_choice_answer", "multiple_choice_answer_first")
# How often a question is asked without its text. One in 64 is guessed three times in a row.
_BLIND = 3
_Choice = Annotated[str, Field(min_length=1, max_length=150)]


class _Label(BaseModel):
    model_config = ConfigDict(title="Label")

    label: str = Field(min_length=1, max_length=4)


@dataclass
class MultipleChoice(LanguageTask):
    """Asks for a question, its right answer, wrong answers and an explanation.

    Code orders and labels the choices, so that the right answer is in every position equally often.
    Its position is drawn in blocks: with four choices it is in each position once among contexts 0
    to 3, once among contexts 4 to 7, and so on. The labels, and whether the answer or its
    explanation comes first, are drawn as well. The row's instruction is the question with its
    labelled choices. The row's output is the explanation and the labelled choice, in the form that
    the language's file gives.

    A question is knowledge only if it can be answered without the text. So the LLM is asked it
    three times without the text, each time with the choices in another order. Where it is wrong
    once, and where the text was written for the run or the row speaks of it, the row's `input`
    carries the text.

    Attributes:
        choices: 2 to 6, and no more than the language has labels. `None` for 3 to 5, each equally
            often. The paper has 4.
        blind: Whether the question is asked without the text. If not, no text stands beside it
            unless that is made up, as in the paper.
        temperature: 0 to 2. Sent if the model takes one.
    """

    choices: int | None = None
    blind: bool = True
    temperature: float = 0.4

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
        if self.choices is not None:
            check_range(self, "choices", self.choices, 2, _MOST_CHOICES)
        check_temperature(self, self.temperature)

    def bind(self, session: Session) -> None:
        """Takes the run's language, which may be a user's own.

        Raises:
            ConfigError: It has fewer labels than there are choices.
        """
        super().bind(session)
        most = self.choices or max(_CHOICES)
        if most > len(session.language.labels):
            raise ConfigError(
                f"MultipleChoice(choices={most}): "
                f"{session.language.name} has {len(session.language.labels)} labels",
                hint="Ask for fewer choices, or add labels to the language's file.",
            )

    def prompt(self, context: Context, language: Language) -> Prompt:
        wrong = self._count(context) - 1
        schema = schema_of(self.Fields)
        # `Fields` takes any number of wrong answers: the prompt's schema asks for just as many.
        schema["properties"]["wrong"] |= {"minItems": wrong, "maxItems": wrong}
        others = context.draw((True, False), self.name, "others")
        return Prompt(
            user=language.text(
                "multiple_choice",
                context=context.block(),
                wrong=wrong,
                others=language.text("multiple_choice_others") if others else "",
            ),
            system=language.persona,
            schema=schema,
            temperature=self.temperature,
            max_tokens=2048,
            examples=self.examples(context, language),
            cue=context.cue(),
            facets={"labels": " ".join(self._labels(context, language))},
        )

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        count = self._count(context)
        # A provider that does not enforce the number may send more wrong answers.
        language = self.language(context)
        labels = self._labels(context, language)
        given = [" ".join(each.split()) for each in (fields.correct, *fields.wrong[: count - 1])]
        choices = without_labels(without_labels(given, labels), language.labels)
        if len({_folded(choice) for choice in choices} - {""}) < count:
            raise ValueError(f"{count} different choices were asked for")
        if any(speaks_of_others(choice, language) for choice in choices):
            raise ValueError("a choice speaks of the other choices")
        # The choices are shuffled, so a letter would name another one.
        if names_label(fields.explanation, language):
            raise ValueError("the explanation names a choice by its letter")
        # The right answer's place is balanced over the run; the wrong ones only need to be mixed.
        place = self._place(context)
        ordered = choices[1:]
        context.random(self.name, "order").shuffle(ordered)
        ordered.insert(place, choices[0])
        form = context.draw(_FORMS, self.name, "form")
        answer = language.text(
            form, explanation=fields.explanation, label=labels[place], choice=choices[0]
        )
        yield Instruction(
            self.name,
            _question(fields.question, labels, ordered, language),
            answer,
            # What is made up is no knowledge, and anything else only if the LLM knows it.
            input=context.text if self.blind or context.source.fictional else "",
            evidence=fields.evidence,
        )

    async def confirm(self, item: Instruction, session: Session) -> Instruction:
        """Returns a row without its text in `input`, if the LLM knows the answer without it.

        Raises:
            StopRunError, RequestError: From the LLM.
        """
        context = item.context
        if not self.blind or context is None:
            return item
        # Nobody knows a text that was written for the run, be it fiction or not.
        if context.source.fictional or context.source.kind == "written":
            return item
        # "The document says" makes no sense without the document.
        if speaks_of_text(f"{item.instruction}\n{item.output}", session.language):
            return item
        lines = item.instruction.splitlines()[-self._count(context) :]
        question = item.instruction.removesuffix("\n".join(lines)).strip()
        choices = [line.partition(". ")[2] for line in lines]
        right = choices[self._place(context)]
        for order in range(_BLIND):
            shuffled = list(choices)
            context.random(self.name, "blind", order).shuffle(shuffled)
            labels = session.language.labels[: len(shuffled)]
            asked = _question(question, labels, shuffled, session.language)
            prompt = Prompt(
                session.language.text("multiple_choice_blind", question=asked),
                system=session.language.persona,
                schema=_Label,
                temperature=0,
                max_tokens=200,
            )
            reply = await session.generate(prompt, sample=order)
            label = labels[shuffled.index(right)]
            if reply.error or _folded(reply.value["label"]) != _folded(label):
                return item
        return replace(item, input="", messages=())

    def _count(self, context: Context) -> int:
        return self.choices or context.draw(_CHOICES, self.name, "choices")

    def _place(self, context: Context) -> int:
        return context.draw(range(self._count(context)), self.name, "place")

    def _labels(self, context: Context, language: Language) -> tuple[str, ...]:
        """Draws the labels: half of the time the language's own, else digits or Latin letters."""
        sets = (language.labels, tuple("123456"), language.labels, tuple("ABCDEF"))
        return context.draw(sets, self.name, "labels")[: self._count(context)]


def _question(
    question: str, labels: Sequence[str], choices: Sequence[str], language: Language
) -> str:
    pairs = zip(labels, choices, strict=True)
    lines = "\n".join(f"{label}. {choice}" for label, choice in pairs)
    return language.text("multiple_choice_question", question=question, choices=lines)


def _folded(choice: str) -> str:
    """Returns the choice as it is compared with others: folded, without outer punctuation.

    Two choices that differ in case, in invisible or typed characters, in spaces, in the grouping of
    a number or in outer punctuation alone are the same choice.
    """
    return _GROUPING.sub("", squeeze(choice)).strip(".,!?\"'“”")
