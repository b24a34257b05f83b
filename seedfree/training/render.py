"""Rows to token ids and labels, by a chat template.

Every answer and its stop token carry loss, and nothing else does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from seedfree.errors import ConfigError
from seedfree.records import Instruction, Message
from seedfree.text import shown

__all__ = ["CHATML", "Encoded", "RenderReport", "Renderer", "TaskTokens", "add_template"]

CHATML = (
    "{{ bos_token | default('', true) }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_CHATML_TOKENS = ["<|im_start|>", "<|im_end|>"]
# The label that torch's cross-entropy passes over (its `ignore_index`).
_NO_LOSS = -100
# Above this share of unknown tokens a tokenizer does not know the language.
_UNKNOWN = 0.1
Span = tuple[int, int]


@dataclass(frozen=True)
class Encoded:
    """A row as the trainer takes it.

    Attributes:
        labels: The same as `input_ids` where a token carries loss, else -100.
    """

    input_ids: list[int]
    labels: list[int]


@dataclass
class TaskTokens:
    """What rendering made of the rows of a task.

    Attributes:
        tokens: Of all rows, after cutting.
        loss_tokens: Those of them that carry loss.
        cut: Rows longer than `max_length`. They lose their ends, and with them the stop token.
        masked: Rows of which no token would carry loss: they teach nothing and are left out.
        longest: Tokens of the longest row, before cutting.
        answer_characters: Of the answers, before cutting.
        answer_tokens: Of the answers, without stop tokens and before cutting.
    """

    rows: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    cut: int = 0
    masked: int = 0
    longest: int = 0
    answer_characters: int = 0
    answer_tokens: int = 0

    @property
    def tokens_per_character(self) -> float:
        """Tells how well the tokenizer suits the language. It is 0 without any answer."""
        if not self.answer_characters:
            return 0.0
        return self.answer_tokens / self.answer_characters

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        names = ("rows", "tokens", "loss_tokens", "cut", "masked", "longest")
        counts = {name: getattr(self, name) for name in names}
        return counts | {"tokens_per_character": round(self.tokens_per_character, 4)}


@dataclass
class RenderReport:
    """What rendering made of a data set.

    Attributes:
        tasks: By name, in alphabetical order.
        unknown_tokens: Tokens that stand for text the tokenizer does not know.
        marked: Rows whose text held a special token of the tokenizer. A space was put into it.
        merged: Answers whose prompt, asked alone, has other tokens than in training: a token is
            partly prompt, partly answer, or the template writes earlier turns otherwise then.
    """

    tasks: dict[str, TaskTokens] = field(default_factory=dict)
    unknown_tokens: int = 0
    marked: int = 0
    merged: int = 0

    @property
    def unknown(self) -> float:
        """Returns the share (0 to 1) of tokens that the tokenizer does not know."""
        return self.unknown_tokens / (self.total.tokens or 1)

    @property
    def total(self) -> TaskTokens:
        """Adds up all tasks."""
        total = TaskTokens()
        for task in self.tasks.values():
            total.rows += task.rows
            total.tokens += task.tokens
            total.loss_tokens += task.loss_tokens
            total.cut += task.cut
            total.masked += task.masked
            total.longest = max(total.longest, task.longest)
            total.answer_characters += task.answer_characters
            total.answer_tokens += task.answer_tokens
        return total

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "total": self.total.to_dict(),
            "tasks": {name: task.to_dict() for name, task in self.tasks.items()},
            "unknown": round(self.unknown, 4),
            "marked": self.marked,
            "merged": self.merged,
        }

    def __str__(self) -> str:
        lines = [
            f"{'task':16} {'rows':>7} {'tokens':>10} {'with loss':>10} {'cut':>6} {'masked':>7} "
            "tokens/character"
        ]
        for name, task in [*self.tasks.items(), ("all", self.total)]:
            lines.append(
                f"{shown(name):16} {task.rows:7,} {task.tokens:10,} {task.loss_tokens:10,} "
                f"{task.cut:6,} {task.masked:7,} {task.tokens_per_character:16.2f}"
            )
        return "\n".join(lines)


def add_template(tokenizer: Any, template: str | None) -> list[str]:
    """Gives a tokenizer the template of a `QLoRAConfig`, and a padding token where it has none.

    Returns:
        Tokens that it did not know before.

    Raises:
        ConfigError: It has no template, no token to pad with, or does not say where its tokens
            stand in the text.
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
    if isinstance(tokenizer.chat_template, dict):
        # Of several templates transformers, too, takes the one of this name.
        if "default" not in tokenizer.chat_template:
            names = ", ".join(sorted(tokenizer.chat_template))
            hint = "Give the text of one as QLoRAConfig(chat_template=...)."
            raise ConfigError(f"None of the chat templates is the default: {names}", hint=hint)
        tokenizer.chat_template = tokenizer.chat_template["default"]
    if not tokenizer.chat_template:
        hint = "Give QLoRAConfig(chat_template='chatml'), or a template's text."
        raise ConfigError("The tokenizer has no chat template", hint=hint)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            hint = "Set one in its tokenizer_config.json."
            reason = "The tokenizer has neither a padding token nor an end token"
            raise ConfigError(reason, hint=hint)
        # Padding never carries loss, whichever token it is, so the end token serves.
        tokenizer.pad_token = tokenizer.eos_token
    # Labels are found by place in the text, which tokenizers written in Python do not give.
    if not tokenizer.is_fast:
        hint = "Save it as tokenizer.json: transformers' AutoTokenizer does so for most models."
        reason = "The tokenizer does not say where its tokens stand in the text"
        raise ConfigError(reason, hint=hint)
    return added


_GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
# What the probing conversation says: a word that hardly any template writes by itself.
_PROBE = "seedfree"


class Renderer:
    """Renders rows by a tokenizer's chat template.

    Where the template marks what the model generates (`{% generation %}`), that is what carries
    loss. Elsewhere it is what the template writes after the generation prompt. Either way it ends
    with the stop token: a template may mark the answer without it, and a model that never sees it
    never stops.

    Args:
        tokenizer: See `add_template`.
        system: Put before the messages of rows that have no system prompt.
        max_length: Tokens at which a row is cut.
        prompt_loss: Whether all that is not the answer carries loss, too.

    Attributes:
        stop: The text that ends an answer: the first special token that the template writes after
            it. Without one, it is the tokenizer's end token, which is then added after the last
            answer.

    Raises:
        ConfigError: The template cannot be used.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        system: str | None = None,
        max_length: int | None = None,
        prompt_loss: bool = False,
    ) -> None:
        self._tokenizer, self._system, self._max_length = tokenizer, system, max_length
        self._prompt_loss = prompt_loss
        self._has_marks = bool(_GENERATION_MARK.search(tokenizer.chat_template))
        self._special = _special_tokens(tokenizer)
        written = self._written_stop()
        self._writes_stop = written is not None
        self.stop: str = written or tokenizer.eos_token or ""
        if not self.stop:
            raise ConfigError("Neither chat template nor tokenizer has a token that ends an answer")

    def _written_stop(self) -> str | None:
        """Finds the special token that the template writes after an answer, if it writes one.

        No field of a tokenizer names it: Gemma ends a turn with `<end_of_turn>` and a text with
        `<eos>`. So a conversation of known words is rendered and looked at.
        """
        text = self._text([Message("user", _PROBE), Message("assistant", _PROBE)])
        # A template that leaves one of the two out does not tell whose end the last one is.
        if text.count(_PROBE) < 2:
            return None
        stop = self._special.search(text, text.rfind(_PROBE) + len(_PROBE))
        return stop[0] if stop else None

    def prompt(self, messages: Iterable[Message]) -> list[int]:
        """Returns the token ids of a conversation that the model is to go on with."""
        text = self._text(self._clean(messages)[0], prompt=True)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def answered(
        self, messages: Iterable[Message], answer: str, limit: int
    ) -> tuple[list[int], int, int]:
        """Renders a conversation that the model is to go on with, and an answer to it.

        Args:
            limit: Tokens of the answer, counted from its beginning.

        Returns:
            Token ids; the place of the answer's first one; bytes (UTF-8) of the answer's part.
        """
        text = self._text(self._clean(messages)[0], prompt=True)
        given = self._special.sub(_broken, answer)
        tokens = self._tokenizer(
            text + given, add_special_tokens=False, return_offsets_mapping=True
        )
        places = tokens["offset_mapping"]
        start = next((n for n, (_, end) in enumerate(places) if end > len(text)), len(places))
        end = min(start + limit, len(places))
        covered = given[: places[end - 1][1] - len(text)] if end > start else ""
        return tokens["input_ids"][:end], start, len(covered.encode())

    def rows(self, items: Iterable[Instruction]) -> tuple[list[Encoded], RenderReport]:
        """Returns all rows that carry loss, in their order, and what became of every one.

        Raises:
            ConfigError: No row carries loss, the template refuses a row or hides its answer, or
                the tokenizer does not know the language.
        """
        report, encoded = RenderReport(), []
        for number, item in enumerate(items):
            counts = report.tasks.setdefault(item.task, TaskTokens())
            try:
                row = self.row(item.messages, counts, report)
            except ConfigError as error:
                reason = f"Row {number} ({item.id}): {error.message}"
                raise ConfigError(reason, hint=error.hint) from error
            if row is not None:
                encoded.append(row)
        report.tasks = dict(sorted(report.tasks.items()))
        if not encoded:
            hint = "Raise max_length, or look at the rows."
            raise ConfigError(f"No token of {report.total.rows} rows carries loss", hint=hint)
        if report.unknown > _UNKNOWN:
            hint = "Choose a base model that was trained on the language."
            reason = f"The tokenizer does not know {report.unknown:.0%} of the text"
            raise ConfigError(reason, hint=hint)
        return encoded, report

    def row(
        self, messages: Iterable[Message], counts: TaskTokens, report: RenderReport
    ) -> Encoded | None:
        """Renders one conversation, and adds what happened to `counts` and `report`.

        Returns:
            The row, or `None` where no token carries loss.
        """
        cleaned, marked = self._clean(messages)
        text, answers, changed = self._answers(cleaned)
        # The template has written every special token, the first one too.
        tokens = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, places = tokens["input_ids"], tokens["offset_mapping"]
        # A token carries loss if any character of it is the answer's: a letter of several bytes can
        # be several tokens, which all have the whole letter's place.
        loss = [any(a < end and b > start for start, end in answers) for a, b in places]
        limit = self._max_length or len(ids)
        counts.rows += 1
        counts.longest = max(counts.longest, len(ids))
        counts.cut += len(ids) > limit
        counts.answer_characters += sum(len(m.content) for m in cleaned if m.role == "assistant")
        # but for the stop token of each
        counts.answer_tokens += sum(loss) - len(answers)
        report.marked += marked
        report.merged += changed
        report.merged += sum(a < start < b for start, _ in answers for a, b in places)
        ids, loss = ids[:limit], loss[:limit]
        if not any(loss):
            counts.masked += 1
            return None
        if self._prompt_loss:
            loss = [True] * len(ids)
        counts.tokens += len(ids)
        counts.loss_tokens += sum(loss)
        if self._tokenizer.unk_token_id is not None:
            report.unknown_tokens += ids.count(self._tokenizer.unk_token_id)
        labels = [token if carries else _NO_LOSS for token, carries in zip(ids, loss, strict=True)]
        return Encoded(ids, labels)

    def _clean(self, messages: Iterable[Message]) -> tuple[list[Message], bool]:
        """Puts the system prompt in front, and breaks the special tokens in the messages.

        Returns:
            The messages, and whether a token was broken.
        """
        given = list(messages)
        if self._system and (not given or given[0].role != "system"):
            given.insert(0, Message("system", self._system))
        cleaned = [Message(m.role, self._special.sub(_broken, m.content)) for m in given]
        return cleaned, cleaned != given

    def _answers(self, messages: Sequence[Message]) -> tuple[str, list[Span], int]:
        """Renders a conversation up to the end of its last answer.

        Returns:
            The text, and the places of all answers in it. A place reaches from the generation
            prompt to the end of the stop token. Last, how many answers have another prompt when
            they are asked for.
        """
        text, answers = self._render(messages)
        places, changed = self._places(messages, text), 0
        if self._has_marks:
            self._check_marks(messages, places, answers)
        else:
            answers, changed = self._answers_by_prompts(messages, text, places)
        if self._writes_stop:
            # No message holds the stop token (`_clean`). One that comes after the next message's
            # text is not this answer's own.
            starts = sorted(place[0] for place in places)
            limits = [next((at for at in starts if at >= end), len(text)) for _, end in answers]
            ends = [
                text.find(self.stop, start, limit)
                for (start, _), limit in zip(answers, limits, strict=True)
            ]
            answers = [
                (start, at + len(self.stop) if at >= 0 else end)
                for (start, end), at in zip(answers, ends, strict=True)
            ]
        if not answers:
            return text, [], changed
        # What a template writes after the last answer, such as a line feed, is never generated.
        *earlier, (start, end) = answers
        text = text[:end]
        if not self._writes_stop:
            text += self.stop
        return text, [*earlier, (start, len(text))], changed

    def _answers_by_prompts(
        self, messages: Sequence[Message], text: str, places: Sequence[Span]
    ) -> tuple[list[Span], int]:
        """Finds the answers, each from where the prompt for it ends to where its turn ends.

        A template may look ahead, and write a turn otherwise when it is the last one. Then the
        whole conversation does not begin with the prompt or the turn, and the place is that of the
        answer's own text.

        Args:
            places: See `_places`.

        Returns:
            The places, and how many prompts the conversation does not hold as they are.
        """
        answers, changed = [], 0
        for number, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start, end = places[number]
            prompt = self._text(messages[:number], prompt=True)
            turn = self._text(messages[: number + 1])
            before = max((last for _, last in places if last <= start), default=0)
            after = min((first for first, _ in places if first >= end), default=len(text))
            if text.startswith(prompt):
                # Not into the texts beside it, whatever the template makes of its prompts.
                start = min(max(len(prompt), before), start)
            else:
                changed += 1
            if text.startswith(turn):
                end = max(min(len(turn), after), end)
            answers.append((start, end))
        return answers, changed

    def _places(self, messages: Sequence[Message], text: str) -> list[Span]:
        """Finds what each message says in the text of its conversation.

        The conversation is rendered once more with a strange letter in the place of each message.
        What stands around the letters must be what stands around the messages.

        Raises:
            ConfigError: The template leaves a message out, writes an answer twice, or changes more
                of a message than the white space around it.
        """
        # Letters for private use that the text does not hold.
        unused = (letter for letter in map(chr, range(0xE000, 0xF900)) if letter not in text)
        letters = dict(zip(unused, range(len(messages)), strict=False))
        strange = [Message(m.role, a) for m, a in zip(messages, letters, strict=True)]
        parts = re.split(f"([{''.join(letters)}])", self._text(strange))
        around, found = parts[::2], parts[1::2]
        places: dict[int, Span] = {}
        at = len(around[0])
        for letter, following in zip(found, around[1:], strict=True):
            number = letters[letter]
            message = messages[number]
            lengths = [
                len(form)
                for form in _trimmed(message.content)
                if text.startswith(form + following, at)
            ]
            if not lengths or (number in places and message.role == "assistant"):
                self._refuse(messages, "writes otherwise", number)
            places.setdefault(number, (at, at + lengths[0]))
            at += lengths[0] + len(following)
        for number in range(len(messages)):
            if number not in places:
                self._refuse(messages, "leaves out", number)
        return [places[number] for number in range(len(messages))]

    def _check_marks(
        self, messages: Sequence[Message], places: Sequence[Span], marks: Sequence[Span]
    ) -> None:
        for number, (first, last) in enumerate(places):
            marked = any(start < last and end > first for start, end in marks)
            if marked and messages[number].role != "assistant":
                self._refuse(messages, "marks as generated", number)

    def _refuse(self, messages: Sequence[Message], does: str, number: int) -> NoReturn:
        role = messages[number].role
        template = shown(self._tokenizer.chat_template[:60])
        reason = f"The chat template {does} what message {number} ({role}) says: {template}..."
        raise ConfigError(reason, hint="Give another QLoRAConfig(chat_template=...).")

    def _text(self, messages: Sequence[Message], *, prompt: bool = False) -> str:
        return self._render(messages, prompt=prompt)[0]

    def _render(
        self, messages: Sequence[Message], *, prompt: bool = False
    ) -> tuple[str, list[Span]]:
        """Renders messages by the template.

        Args:
            prompt: Ends with the generation prompt. Nothing is marked then.

        Returns:
            The text, and the places in it that the template marks as generated.
        """
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        chat = [{"role": m.role, "content": m.content} for m in messages]
        mask = self._has_marks and not prompt
        try:
            texts, marks = render_jinja_template(
                conversations=[chat],
                chat_template=self._tokenizer.chat_template,
                return_assistant_tokens_mask=mask,
                add_generation_prompt=prompt,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError) as error:
            hint = (
                "Give another QLoRAConfig(chat_template=...). If it takes no system prompt, leave "
                "system=None, and put a row's own into the row's first user turn."
            )
            reason = f"The chat template cannot be rendered: {error}"
            raise ConfigError(reason, hint=hint) from error
        return texts[0], [(start, end) for start, end in marks[0]] if mask else []


def _special_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Matches any special token of a tokenizer."""
    added = tokenizer.added_tokens_decoder.values()
    names = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    # The longest first: a token may begin with another one.
    longest_first = sorted(names, key=len, reverse=True)
    # Without names the pattern must never match; an empty one would match everywhere.
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _broken(token: re.Match[str]) -> str:
    # With a space in it, it is plain text: a row could otherwise end its turn by itself. A single
    # character has no room for a space and goes.
    return f"{token[0][0]} {token[0][1:]}" if len(token[0]) > 1 else " "


def _trimmed(text: str) -> list[str]:
    """Returns the forms in which a template may write a message: many take white space away."""
    return [text, text.strip(), text.lstrip(), text.rstrip()]
