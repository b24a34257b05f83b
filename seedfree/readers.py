"""Instruction data that people wrote, read from the three forms in which it is shared.

A file is one JSON list, or JSON objects one after the other (JSONL). A row's `system` prompt and an
Alpaca row's `history` (pairs of question and answer before it) become messages. Of its other fields
`task`, `language`, `generator` and `license` are taken where they are text, and the rest is left
out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from seedfree._files import file_text
from seedfree._seeds import digest
from seedfree.errors import ConfigError
from seedfree.records import Instruction, Message, Source

__all__ = ["ReadForm", "in_turn", "read"]

ReadForm = Literal["alpaca", "messages", "sharegpt"]

_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
# JSON's own white space: `str.isspace` takes more.
_SPACE = re.compile(r"[ \t\r\n]*")


def read(
    path: str | Path, form: ReadForm, *, task: str, language: str, license: str | None
) -> Iterator[Instruction]:
    """Reads the rows of a file. `task`, `language` and `license` are for rows that name none.

    Raises:
        ConfigError: The file cannot be read, or a row lacks something. The message names the line
            where the row begins.
    """
    path = Path(path)
    for line, value in _values(path):
        try:
            if not isinstance(value, dict):
                raise ConfigError("not a JSON object")
            texts = _alpaca(value) if form == "alpaca" else _conversation(value, form)
        except ConfigError as error:
            raise ConfigError(f"{path}, line {line}: {error.message}") from None
        spoken = Instruction(task, **texts).messages
        yield Instruction(
            task=_word(value, "task") or task,
            # Of what is said alone: the same conversation has the same id in every form.
            id=digest(*(part for m in spoken for part in (m.role, m.content))),
            language=_word(value, "language") or language,
            generator=_word(value, "generator") or "human",
            source=Source("human", title=path.name, license=_word(value, "license") or license),
            **texts,
        )


def in_turn(messages: Sequence[Message]) -> bool:
    """Tells whether a user and an assistant take turns and the assistant speaks last.

    A system message may stand before them.
    """
    turns = _without_system(messages)
    roles = [message.role for message in turns]
    pairs = len(roles) // 2
    return (
        pairs > 0
        and roles == ["user", "assistant"] * pairs
        and all(message.content.strip() for message in turns)
    )


def _without_system(messages: Sequence[Message]) -> Sequence[Message]:
    return messages[1:] if messages and messages[0].role == "system" else messages


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields the rows with the line, from 1, on which each begins."""
    text = file_text(path)
    decoder = json.JSONDecoder()
    place, counted, line = _skip_space(text, 0), 0, 1
    is_list = text.startswith("[", place)
    if is_list:
        place = _skip_space(text, place + 1)
    while place < len(text) and not (is_list and text[place] == "]"):
        # From the row before: counting from the start each time would read a large file for ever.
        line += text.count("\n", counted, place)
        counted = place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}, line {error.lineno}: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            # A number with too many digits, or too many brackets.
            raise ConfigError(f"{path}, line {line}: {error}") from None
        yield line, value
        place = _skip_space(text, place)
        if is_list and place < len(text) and text[place] != "]":
            if text[place] != ",":
                raise ConfigError(f"{path}, line {line}: the row is not followed by a comma")
            place = _skip_space(text, place + 1)
    if is_list and (place == len(text) or _skip_space(text, place + 1) != len(text)):
        hint = "Look whether the file is whole."
        raise ConfigError(f"{path} does not end with the end of its list", hint=hint)


def _skip_space(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    # The expression matches no character too.
    assert space is not None
    return space.end()


def _alpaca(value: Mapping[str, Any]) -> dict[str, Any]:
    context = value.get("input")
    if context is not None and not isinstance(context, str):
        raise ConfigError("input is not text")
    texts: dict[str, Any] = {
        "instruction": _text(value.get("instruction"), "instruction"),
        "input": context if context and context.strip() else "",
        "output": _text(value.get("output"), "output"),
    }
    before = [*_system(value), *_history(value)]
    if before:
        texts["messages"] = (*before, *Instruction("", **texts).messages)
    return texts


def _history(value: Mapping[str, Any]) -> Iterator[Message]:
    pairs = value.get("history") or []
    is_list = isinstance(pairs, list)
    if not is_list or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ConfigError("history is not a list of pairs")
    for question, answer in pairs:
        yield Message("user", _text(question, "history"))
        yield Message("assistant", _text(answer, "history"))


def _conversation(value: Mapping[str, Any], form: ReadForm) -> dict[str, Any]:
    keys, role, content = ["conversations"], "from", "value"
    if form == "messages":
        keys, role, content = ["messages", "conversations"], "role", "content"
    key = next((key for key in keys if value.get(key) is not None), None)
    if key is None:
        raise ConfigError(f"{keys[0]} is missing")
    if not isinstance(value[key], list):
        raise ConfigError(f"{key} is not a list")
    if not value[key]:
        raise ConfigError(f"{key} is empty")
    messages = [_message(turn, i, role, content) for i, turn in enumerate(value[key], 1)]
    if messages[0].role != "system":
        messages = [*_system(value), *messages]
    if not in_turn(messages):
        raise ConfigError("turns are not a user's and an assistant's in turn, the assistant's last")
    question, answer = _without_system(messages)[:2]
    return {
        "instruction": question.content,
        "output": answer.content,
        "messages": tuple(messages),
    }


def _message(turn: object, number: int, role: str, content: str) -> Message:
    if not isinstance(turn, dict):
        raise ConfigError(f"turn {number} is not a JSON object")
    speaker = _text(turn.get(role), f"{role} of turn {number}")
    if speaker not in _ROLES:
        known = ", ".join(_ROLES)
        raise ConfigError(f"turn {number} is by {speaker[:40]!r}, not by one of {known}")
    return Message(_ROLES[speaker], _text(turn.get(content), f"{content} of turn {number}"))


def _system(value: Mapping[str, Any]) -> list[Message]:
    """Returns a row's own system prompt, which stands beside its turns."""
    prompt = _word(value, "system")
    return [Message("system", prompt)] if prompt else []


def _text(value: Any, name: str) -> str:
    """Returns a text that a row must have.

    Raises:
        ConfigError: There is none.
    """
    if value is None:
        raise ConfigError(f"{name} is missing")
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not text")
    if not value.strip():
        raise ConfigError(f"{name} is empty")
    return value


def _word(value: Mapping[str, Any], key: str) -> str:
    """Returns a text that a row may have, and of anything else an empty one."""
    text = value.get(key)
    return text.strip() if isinstance(text, str) else ""
