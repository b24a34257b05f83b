"""Questions that a sentence of the text answers in its own words: for models too small to write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from seedfree.errors import ConfigError, check_types
from seedfree.languages import Gap, Language
from seedfree.protocols import Session
from seedfree.records import Context, Example, Instruction, Prompt
from seedfree.tasks.shared import VISITS, LanguageTask, check_temperature
from seedfree.text import squeeze

__all__ = ["ExtractiveQA"]

# Characters of a sentence at most. In a longer one something was taken for a sentence that is none.
_SENTENCE = 300
# Letters of a clause at least: where words have no spaces between them, lists have some.
_CLAUSE = 20
# Characters that a question has before its question word at least, and that an answer may have.
_BEFORE, _LONGEST = 8, 80
_SPACED_CLAUSES = re.compile(r"(?<=[.!?])\s+|\n+")
_NUMBER = re.compile(r"\d[\d,.]*")


@dataclass
class ExtractiveQA(LanguageTask):
    """Asks for a part of a sentence with a question word in its place.

    A base model of a few hundred million parameters writes nonsense, but it can choose. One
    sentence of the text is drawn. The model chooses where in it a question word stands, and which
    one. It then answers by copying from the sentence. A row is kept if the answer is what the
    question word stands for (round-trip consistency, arXiv 1906.05416); else it is asked again.

    The language's file says where question words can stand (`gaps`). The backend must hold the
    model to the schema, as `LlamaCppGenerator` does.

    Attributes:
        temperature: 0 to 2.
    """

    temperature: float = 1.0

    name: ClassVar[str] = "extractive_qa"
    grounded: ClassVar[bool] = True
    visits: ClassVar[int] = VISITS

    class Fields(BaseModel):
        """The model chooses both from lists."""

        instruction: str = Field(min_length=1, max_length=800)
        output: str = Field(min_length=1, max_length=800)

    def __post_init__(self) -> None:
        check_types(self)
        check_temperature(self, self.temperature)

    def bind(self, session: Session) -> None:
        """Takes the run's language.

        Raises:
            ConfigError: Its file does not say where question words can stand.
        """
        super().bind(session)
        if not session.language.gaps:
            raise ConfigError(
                f"ExtractiveQA has no question words in {session.language.name}",
                hint="Write its [[gaps]] into the language's file, as th.toml has them.",
            )

    def suits(self, context: Context) -> bool:
        # Not every text has a sentence that says what something is.
        return bool(_asked(context, self.language(context)))

    def prompt(self, context: Context, language: Language) -> Prompt:
        sentence, answers = self._drawn(context, language)
        fields: dict[str, Any] = {name: {"type": "string"} for name in ("instruction", "output")}
        if answers:
            fields["instruction"]["enum"] = list(answers)
            fields["output"]["enum"] = _spans(sentence, language)
        return Prompt(
            user=language.text("extractive_qa", context=context.block()),
            system=language.persona,
            schema={"type": "object", "properties": fields, "required": list(fields)},
            temperature=self.temperature,
            max_tokens=400,
            examples=self.examples(context, language),
            cue=sentence,
        )

    def examples(self, context: Context, language: Language) -> tuple[Example, ...]:
        """Returns all of them in one order, which the model then reads once for the whole run."""
        known = language.format_examples.get(self.name, ())
        return tuple(Example(each.given, each.reply) for each in known)

    def instructions(self, fields: Fields, context: Context) -> Iterator[Instruction]:
        language = self.language(context)
        sentence, answers = self._drawn(context, language)
        answer = answers.get(fields.instruction)
        if answer is None:
            raise ValueError("not a question about the sentence")
        if squeeze(fields.output) != squeeze(answer):
            raise ValueError("the answer is not what is asked for")
        question, title = fields.instruction, context.title
        if title and squeeze(title) not in squeeze(question):
            question = language.text("extractive_qa_about", title=title, question=question)
        yield Instruction(self.name, question, answer, input=context.text, evidence=sentence)

    def _drawn(self, context: Context, language: Language) -> tuple[str, dict[str, str]]:
        """Draws a sentence; returns it with the answers to its questions."""
        asked = _asked(context, language)
        return context.draw(asked, self.name) if asked else (context.cue(), {})


def _asked(context: Context, language: Language) -> list[tuple[str, dict[str, str]]]:
    """Returns the sentences of a text that can be asked about, each with answers by question."""
    asked = []
    for clauses in _sentences(context.text, language):
        sentence = " ".join(clauses)
        if len(sentence) <= _SENTENCE and (answers := _answers(clauses, language)):
            asked.append((sentence, answers))
    return asked


def _sentences(text: str, language: Language) -> list[list[str]]:
    """Returns the sentences of a text, each as the clauses that it is made of."""
    if language.segmenter == "space":
        return [[" ".join(part.split())] for part in _SPACED_CLAUSES.split(text) if part.strip()]
    clauses: list[str] = []
    for word in text.split():
        if clauses and min(len(clauses[-1]), len(word)) < _CLAUSE:
            clauses[-1] += f" {word}"
        else:
            clauses.append(word)
    sentences: list[list[str]] = []
    for clause in clauses:
        if sentences and clause.startswith(language.continuations):
            sentences[-1].append(clause)
        else:
            sentences.append([clause])
    return sentences


def _answers(clauses: list[str], language: Language) -> dict[str, str]:
    """Returns the questions about a sentence with their answers.

    A question ends with the clause that its answer ends with, so that it gives nothing away.
    """
    answers: dict[str, str] = {}
    before, space = "", " " if language.segmenter == "space" else ""
    for clause in clauses:
        starts = _word_starts(clause, language)
        for start in starts:
            head, answer = clause[:start].rstrip(), clause[start:].rstrip(" .!?")
            if len(before) + len(head) < _BEFORE or len(answer) > _LONGEST:
                continue
            # "It is the colour red" is asked for by "what colour", not by "what".
            words = (gap.after for gap in language.gaps if gap.after)
            named = any(answer.startswith(w) and start + len(w) in starts for w in words)
            for gap in language.gaps:
                # A conjunction asks for all of its clause.
                if _fits(gap, head, answer, starts) and (head == gap.after or not named):
                    counted = "" if gap.after else _NUMBER.sub("", answer, count=1).strip()
                    for word in gap.ask:
                        question = space.join(filter(None, (head, word, counted)))
                        answers.setdefault(before + question, answer)
        before += f"{clause} "
    return answers


def _fits(gap: Gap, head: str, answer: str, starts: list[int]) -> bool:
    """Tells whether the gap's word stands just before the answer, as a word of its own."""
    if not gap.after:
        number = _NUMBER.match(answer)
        return number is not None and number.end() < len(answer)
    return head.endswith(gap.after) and len(head) - len(gap.after) in starts


def _word_starts(text: str, language: Language) -> list[int]:
    starts, at = [], 0
    for word in language.segment(text):
        at = text.index(word, at)
        starts.append(at)
        at += len(word)
    return starts


def _spans(sentence: str, language: Language) -> list[str]:
    """Returns every stretch of whole words of a sentence that can be an answer."""
    starts = [*_word_starts(sentence, language), len(sentence)]
    spans = {
        sentence[start:end].strip(" .!?")
        for i, start in enumerate(starts)
        for end in starts[i + 1 :]
        if end - start <= _LONGEST
    }
    return sorted(spans - {""})
