"""A row read with yes-or-no questions, and the marks that code makes of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from seedfree.languages import Criterion, Language
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.text import squeeze

__all__ = ["Mark", "Reading", "faults", "marks", "read_row"]

Mark: TypeAlias = Literal["good", "poor", "bad"]


# Docstrings would go into the schema that the reader is sent.
class _Finding(BaseModel):
    model_config = ConfigDict(title="Finding")

    name: Annotated[str, Field(max_length=200)]
    quotation: Annotated[str, Field(max_length=600)]
    yes: bool


class Reading(BaseModel):  # noqa: D101
    findings: list[_Finding]


def read_row(
    item: Instruction,
    texts: Mapping[str, str],
    rubric: Sequence[Criterion],
    language: Language,
    seed: int,
) -> Prompt:
    """Makes the request that asks all questions of a rubric about a row.

    Args:
        texts: The row's instruction, input and answer.
    """
    # The text that an answer was written from, also where it does not stand beside the question.
    source = item.context.text if item.context is not None else ""
    shown = {**texts, "input": source or texts["input"]}
    blocks = {name: Context(text=text, seed=seed).block() for name, text in shown.items()}
    questions = "\n".join(f"- {each.name}: {each.question}" for each in rubric)
    return Prompt(
        user=language.text("rubric", questions=questions, **blocks),
        system=language.persona,
        schema=schema_of(Reading),
        max_tokens=1500,
    )


def faults(reading: Reading, rubric: Sequence[Criterion]) -> list[Criterion]:
    """Returns the questions that were answered with no.

    Raises:
        ValueError: One was not answered.
    """
    answers = {squeeze(finding.name): finding.yes for finding in reading.findings}
    missing = [each.name for each in rubric if squeeze(each.name) not in answers]
    if missing:
        raise ValueError(f"not answered: {', '.join(missing)}")
    return [each for each in rubric if not answers[squeeze(each.name)]]


def marks(wrong: Sequence[Criterion]) -> dict[str, Mark]:
    """Returns the mark of the `request` and that of the `answer`, by what is wrong with each."""
    return {side: _mark([each for each in wrong if each.of == side]) for side in _SIDES}


_SIDES = ("request", "answer")


def _mark(wrong: Sequence[Criterion]) -> Mark:
    if any(each.grave for each in wrong):
        return "bad"
    return "poor" if wrong else "good"
