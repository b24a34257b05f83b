"""Questions whose answers stand in a text (paper section 3.3)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seedfree.errors import check_types
from seedfree.languages import Language
from seedfree.protocols import Session, TaskTemplate
from seedfree.records import Context, Example, Instruction, Prompt, schema_of
from seedfree.tasks.shared import (
    VISITS,
    asker_line,
    check_range,
    check_temperature,
    drawn,
    list_schema,
)
from seedfree.text import squeeze

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
    output: str = Field(min_length=1, max_length=3000)


# A docstring would go into the schema that the model is sent.
class _Answer(BaseModel):
    model_config = ConfigDict(title="Answer")

    quotation: str = Field(max_length=600)


@dataclass
class ClosedQA(TaskTemplate):
    """Asks for questions about a text, each with its evidence and its answer.

    The question stands alone, but the row's `input` carries the text. The answer was written from
    the text, and a model that is trained on such answers without it learns to make facts up. This
    is also the paper's form.

    Attributes:
        pairs: Questions in one prompt, 1 to 10. The paper asks for 5.
        unanswerable: Share (0 to 1) of prompts for a question that the text does not answer. The
            answer then says what is missing. None with several pairs.
        temperature: 0 to 2. Sent if the model takes one.
    """

    pairs: int = 1
    unanswerable: float = 0.1
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
        check_range(self, "unanswerable", self.unanswerable, 0, 1)
        check_temperature(self, self.temperature)
        self.rows = self.pairs

    def prompt(self, context: Context, language: Language) -> Prompt:
        schema, facets = schema_of(_Pair), {}
        if self.pairs == 1:
            facets = drawn(context, language, self.name)
            name = "closed_qa"
            if self._is_unanswerable(context):
                name, facets["answerable"] = "closed_qa_unanswerable", "no"
                # There is little to say about what a text does not say.
                facets["length"] = language.shares("answer_lengths")[0].text
            user = language.text(
                name,
                context=context.block(),
                asker=asker_line(context, language, self.name),
                form=facets["form"],
                length=facets["length"],
            )
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
            facets=facets,
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

    async def confirm(self, item: Instruction, session: Session) -> Instruction | str:
        """Looks for an answer where there should be none; returns the row, or why it is dropped.

        Raises:
            StopRunError, RequestError: From the LLM.
        """
        context = item.context
        if item.facets.get("answerable") != "no" or context is None:
            return item
        prompt = Prompt(
            session.language.text(
                "closed_qa_check", context=context.block(), instruction=item.instruction
            ),
            system=session.language.persona,
            schema=_Answer,
            temperature=0,
        )
        reply = await session.generate(prompt)
        if reply.error is not None:
            return "closed_qa: nobody looked for an answer"
        quotation = squeeze(reply.value["quotation"])
        if len(quotation) > 1 and quotation in squeeze(context.text):
            return "closed_qa: the text answers it"
        return item

    def _is_unanswerable(self, context: Context) -> bool:
        # In equal steps over the run, so that the share holds in every part of it.
        before = math.floor(context.position * self.unanswerable)
        return self.pairs == 1 and math.floor((context.position + 1) * self.unanswerable) > before


def _listed(reply: str) -> str:
    return json.dumps({"pairs": [json.loads(reply)]}, ensure_ascii=False, separators=(",", ":"))
