"""Questions whose answers stand in a text (paper section 3.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Example, Instruction, Prompt, schema_of
from seedfree.tasks.shared import VISITS, check_range, check_temperature, list_schema

__all__ = ["ClosedQA"]

_MOST_PAIRS = 10
# Room for one pair, and for all of them. A reply that is cut off is asked for again with twice the
# room, so these need not hold the longest answers.
_TOKENS = 2048
_MOST_TOKENS = 8192


class _Pair(BaseModel):
    """Evidence comes first, so that the answer is written from it."""

    model_config = ConfigDict(str_strip_whitespace=True)

    # "verbatim" lets the embedded model choose among the text's own clauses alone
    # (`generators/grammar.py`). Lengths are bounded because a small model seldom ends a text by
    # itself.
    evidence: str = Field(min_length=1, max_length=600, json_schema_extra={"format": "verbatim"})
    instruction: str = Field(min_length=1, max_length=400)
    output: str = Field(min_length=1, max_length=1600)


@dataclass
class ClosedQA(TaskTemplate):
    """Asks for questions about a text, each with its evidence and its answer.

    The question stands alone, but the row's `input` carries the text. The answer was written from
    the text, and a model that is trained on such answers without it learns to make facts up. This
    is also the paper's form.

    Attributes:
        pairs: Questions in one prompt, 1 to 10. The paper asks for 5.
        temperature: 0 to 2. Sent if the model takes one.
    """

    pairs: int = 1
    temperature: float = 0.3

    name: ClassVar[str] = "closed_qa"
    grounded: ClassVar[bool] = True
    visits: ClassVar[int] = VISITS

    class Fields(BaseModel):
        """One pair is asked for without a list around it, which small models find easier."""

        pairs: list[_Pair] = Field(min_length=1, max_length=_MOST_PAIRS)

        @model_validator(mode="before")
        @classmethod
        def _single(cls, value: Any) -> Any:
            if isinstance(value, dict) and "pairs" not in value:
                return {"pairs": [value]}
            return value

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "pairs", self.pairs, 1, _MOST_PAIRS)
        check_temperature(self, self.temperature)
        self.rows = self.pairs

    def prompt(self, context: Context, language: Language) -> Prompt:
        schema = schema_of(_Pair)
        if self.pairs == 1:
            # Each list is drawn from under its own name. Under one name, lists of equal length
            # would always bring the same asker and length together.
            asker = context.draw(language.facet("askers"), self.name, "asker")
            length = context.draw(language.facet("lengths"), self.name, "length")
            user = language.text("closed_qa", context=context.block(), asker=asker, length=length)
        else:
            user = language.text("closed_qa_pairs", context=context.block(), count=self.pairs)
            schema = list_schema("pairs", schema, self.pairs)
        return Prompt(
            user=user,
            system=language.persona,
            schema=schema,
            temperature=self.temperature,
            max_tokens=min(_TOKENS * self.pairs, _MOST_TOKENS),
            examples=self.examples(context, language),
            cue=context.cue(),
        )

    def examples(self, context: Context, language: Language) -> tuple[Example, ...]:
        drawn = super().examples(context, language)
        if self.pairs == 1:
            return drawn
        # The language's file has examples of single pairs; here they must have the list's form.
        return tuple(Example(example.given, _listed(example.reply)) for example in drawn)

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        # A provider that does not enforce the number may send more.
        for pair in fields.pairs[: self.pairs]:
            yield Instruction(
                self.name, pair.instruction, pair.output, input=context.text, evidence=pair.evidence
            )


def _listed(reply: str) -> str:
    return json.dumps({"pairs": [json.loads(reply)]}, ensure_ascii=False, separators=(",", ":"))
