"""Rows to token ids and labels, by a chat template: every answer and its stop token carry loss, nothing else does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedfree.errors import ConfigError
from seedfree.records import Instruction, Message
from seedfree.text import shown

__all__ = ["CHATML", "Encoded", "RenderReport", "Renderer", "TaskTokens", "add_template"]

CHATML = (
    "{{ bos_token | default('', true) }}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_CHATML_TOKENS = ["<|im_start|>", "<|im_end|>"]
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
_PROBE = "seedfree"
_UNKNOWN = 0.1
IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """A row as the trainer takes it: `labels` are `input_ids` where a token carries loss, else -100."""

    input_ids: list[int]
    labels: list[int]


@dataclass
class TaskTokens:
    """What rendering made of the rows of a task.

    Attributes:
        tokens: Of all rows, after cutting.
        loss_tokens: Those of them that carry loss.
        cut: Rows longer than `max_length`; their ends are gone, the stop token first.
        masked: Rows of which no token would carry loss: they teach nothing and are left out.
        longest: Tokens of the longest row, before cutting.
        answers: Characters and tokens of the answers, without stop tokens and before cutting.
    """

    rows: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    cut: int = 0
    masked: int = 0
    longest: int = 0
    answers: tuple[int, int] = (0, 0)

    @property
    def tokens_per_character(self) -> float:
        """Of the answers; 0 where there are none."""
        characters, tokens = self.answers
        return tokens / characters if characters else 0.0


@dataclass
class RenderReport:
    """What rendering made of a data set.

    Attributes:
        tasks: By name, in alphabetical order.
        unknown: Share of tokens (0 to 1) that stand for text the tokenizer does not know.
        marked: Rows whose text held a special token of the tokenizer; a space was put into it.
        merged: Answers whose prompt, asked alone, has other tokens than in training.
    """

    tasks: dict[str, TaskTokens] = field(default_factory=dict)
    unknown: float = 0.0
    marked: int = 0
    merged: int = 0

    @property
    def total(self) -> TaskTokens:
        """All tasks as one."""
        tasks = self.tasks.values()
        sums = {
            name: sum(getattr(t, name) for t in tasks)
            for name in ("rows", "tokens", "loss_tokens", "cut")
        }
        answers = (sum(t.answers[0] for t in tasks), sum(t.answers[1] for t in tasks))
        return TaskTokens(
            **sums,
            masked=sum(t.masked for t in tasks),
            longest=max((t.longest for t in tasks), default=0),
            answers=answers,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        tasks = {name: _row(one) for name, one in self.tasks.items()}
        rest = {"unknown": round(self.unknown, 4), "marked": self.marked, "merged": self.merged}
        return {"total": _row(self.total), "tasks": tasks, **rest}

    def __str__(self) -> str:
        head = f"{'task':16} {'rows':>7} {'tokens':>10} {'with loss':>10} {'cut':>6} {'masked':>7} tokens/character"
        lines = [head]
        for name, one in [*self.tasks.items(), ("all", self.total)]:
            lines.append(
                f"{shown(name):16} {one.rows:7,} {one.tokens:10,} {one.loss_tokens:10,} {one.cut:6,} {one.masked:7,}"
                f" {one.tokens_per_character:16.2f}"
            )
        return "\n".join(lines)


def _row(one: TaskTokens) -> dict[str, Any]:
    values = {
        name: getattr(one, name)
        for name in ("rows", "tokens", "loss_tokens", "cut", "masked", "longest")
    }
    return values | {"tokens_per_character": round(one.tokens_per_character, 4)}


def add_template(tokenizer: Any, template: str | None) -> list[str]:
    """Gives a tokenizer the template of a `QLoRAConfig`, and a padding token where it has none.

    Padding never carries loss, whichever token it is, so the end token serves.

    Returns:
        Tokens that it did not know before.

    Raises:
        ConfigError: It has no template, no token to pad with, or gives no places of tokens in the
            text.
    """
    added: list[str] = []
    if template == "chatml":
        known = tokenizer.get_vocab()
        added = [token for token in _CHATML_TOKENS if token not in known]
        # Those that were plain words before are marks of turns from here on.
        tokenizer.add_special_tokens(
            {"additional_special_tokens": _CHATML_TOKENS}, replace_extra_special_tokens=False
        )
        tokenizer.chat_template = CHATML
    elif template is not None:
        tokenizer.chat_template = template
    if not isinstance(tokenizer.chat_template, str):
        hint = "Give QLoRAConfig(chat_template='chatml'), or a template's text."
        raise ConfigError("The tokenizer has no chat template", hint=hint)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            hint = "Set one in its tokenizer_config.json."
            raise ConfigError(
                "The tokenizer has neither a padding token nor an end token", hint=hint
            )
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.is_fast:
        hint = "Save it as tokenizer.json: transformers' AutoTokenizer does so for most models."
        raise ConfigError(
            "The tokenizer does not say where its tokens stand in the text", hint=hint
        )
    return added


class Renderer:
    """Renders rows by a tokenizer's chat template.

    Where the template marks what the model generates (`{% generation %}`), that is what carries
    loss; elsewhere it is what the template writes after the generation prompt. Either way it ends
    with the stop token: a template may mark the answer without it, and a model that never sees it
    never stops.

    Args:
        tokenizer: See `add_template`.
        system: Put before the messages of rows that have no system prompt.
        max_length: Tokens at which a row is cut.

    Attributes:
        stop: The text that ends an answer: the first special token that the template writes after
            it, or the tokenizer's end token, added after the last answer, where there is none.

    Raises:
        ConfigError: The template cannot be used.
    """

    def __init__(
        self, tokenizer: Any, *, system: str | None = None, max_length: int | None = None
    ) -> None:
        self._tokenizer, self._system, self._max_length = tokenizer, system, max_length
        self._marked = bool(_MARKER.search(tokenizer.chat_template))
        added = tokenizer.added_tokens_decoder.values()
        special = {
            *tokenizer.all_special_tokens,
            *(token.content for token in added if token.special),
        }
        self._special = re.compile(
            "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)"
        )
        text = self._text([Message("user", _PROBE), Message("assistant", _PROBE)])
        found = (
            self._special.search(text, text.rfind(_PROBE) + len(_PROBE))
            if text.count(_PROBE) > 1
            else None
        )
        self._closes = found is not None
        self.stop: str = found[0] if found else tokenizer.eos_token or ""
        if not self.stop:
            raise ConfigError("Neither chat template nor tokenizer has a token that ends an answer")

    def _text(self, messages: Sequence[Message], *, prompt: bool = False) -> str:
        return self._render(messages, prompt)[0]

    def _render(
        self, messages: Sequence[Message], prompt: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        chat = [{"role": m.role, "content": m.content} for m in messages]
        mask = self._marked and not prompt
        try:
            texts, marks = render_jinja_template(
                conversations=[chat],
                chat_template=self._tokenizer.chat_template,
                return_assistant_tokens_mask=mask,
                add_generation_prompt=prompt,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError) as error:
            hint = "Give another QLoRAConfig(chat_template=...), or system=None if it takes no system prompt."
            raise ConfigError(
                f"The chat template cannot be rendered: {error}", hint=hint
            ) from error
        return texts[0], [(a, b) for a, b in marks[0]] if mask else []

    def _clean(self, messages: Iterable[Message]) -> tuple[list[Message], bool]:
        """Messages that hold no special token, with the system prompt; whether one was broken."""
        found = list(messages)
        if self._system and (not found or found[0].role != "system"):
            found.insert(0, Message("system", self._system))
        cleaned = [
            Message(m.role, self._special.sub(lambda t: f"{t[0][0]} {t[0][1:]}", m.content))
            for m in found
        ]
        return cleaned, cleaned != found

    def prompt(self, messages: Iterable[Message]) -> list[int]:
        """Token ids of a conversation that the model is to go on with."""
        text = self._text(self._clean(messages)[0], prompt=True)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _spans(
        self, messages: Sequence[Message], text: str, marks: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Places of the answers in the text, from the generation prompt to the stop token."""
        if not self._marked:
            for number, message in enumerate(messages):
                if message.role == "assistant":
                    prompt = self._text(messages[:number], prompt=True)
                    until = self._text(messages[: number + 1])
                    marks.append((_common(prompt, text), _common(until, text)))
        if not self._closes:
            return marks
        # No text of a message holds the stop token, so that the next one is the answer's own.
        ends = [text.find(self.stop, start) for start, _ in marks]
        return [
            (a, end + len(self.stop) if end >= 0 else b)
            for (a, b), end in zip(marks, ends, strict=True)
        ]

    def row(
        self, messages: Iterable[Message], counts: TaskTokens, report: RenderReport
    ) -> Encoded | None:
        """One conversation; `None` where no token carries loss. What happened is added to `counts` and `report`."""
        cleaned, marked = self._clean(messages)
        text, marks = self._render(cleaned)
        spans = self._spans(cleaned, text, marks)
        text = text[: spans[-1][1]] if spans else text
        if spans and not self._closes:
            text += self.stop
            spans[-1] = (spans[-1][0], len(text))
        made = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, places = made["input_ids"], made["offset_mapping"]
        # A token carries loss if any character of it is the answer's: letters of several bytes are
        # several tokens.
        loss = [any(a < end and b > start for start, end in spans) for a, b in places]
        labels = [token if carries else IGNORED for token, carries in zip(ids, loss, strict=True)]
        limit = self._max_length or len(ids)
        unknown = self._tokenizer.unk_token_id
        counts.rows += 1
        counts.longest = max(counts.longest, len(ids))
        counts.cut += len(ids) > limit
        characters = sum(len(m.content) for m in cleaned if m.role == "assistant")
        counts.answers = (
            counts.answers[0] + characters,
            counts.answers[1] + sum(loss) - len(spans),
        )
        report.marked += marked
        report.merged += sum(a < start < b for start, _ in spans for a, b in places)
        if all(label == IGNORED for label in labels[:limit]):
            counts.masked += 1
            return None
        ids, labels, loss = ids[:limit], labels[:limit], loss[:limit]
        report.unknown += sum(token == unknown for token in ids) if unknown is not None else 0
        counts.tokens += len(ids)
        counts.loss_tokens += sum(loss)
        return Encoded(ids, labels)

    def rows(self, items: Iterable[Instruction]) -> tuple[list[Encoded], RenderReport]:
        """All rows that carry loss, in their order, and what became of every one.

        Raises:
            ConfigError: No row carries loss, or the tokenizer does not know the language.
        """
        report, made, total = RenderReport(), [], 0
        for item in items:
            counts = report.tasks.setdefault(item.task, TaskTokens())
            row = self.row(item.messages, counts, report)
            if row:
                made.append(row)
                total += len(row.input_ids)
        report.tasks = dict(sorted(report.tasks.items()))
        report.unknown = min(1.0, report.unknown / total) if total else 0.0
        if not made:
            raise ConfigError(
                f"No token of {report.total.rows} rows carries loss",
                hint="Raise max_length, or look at the rows.",
            )
        if report.unknown > _UNKNOWN:
            raise ConfigError(
                f"The tokenizer does not know {report.unknown:.0%} of the text",
                hint="Choose a base model that was trained on the language.",
            )
        return made, report


def _common(one: str, other: str) -> int:
    return len(os.path.commonprefix([one, other]))
