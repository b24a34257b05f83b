"""Instruction data that people wrote, read from the three forms in which it is shared.

A file is one JSON list, or JSON objects one after the other (JSONL). A row's `system` prompt and an
Alpaca row's `history` (pairs of question and answer before it) become messages. Of its other fields
`task`, `language`, `generator` and `license` are taken where they are text, and the rest is left
out.
"""

from __future__ import annotations

import json
import logging
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
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
# Rows of a file that may be wrong, as a share: more are no slips but another form.
_SLIPS = 0.02
# Where a picture stands in a text. Without it the row asks about something that nobody sees.
_PICTURE = re.compile(r"<(image|video|audio)>")
_LOG = logging.getLogger("seedfree")
# JSON's own white space: `str.isspace` takes more.
_SPACE = re.compile(r"[ \t\r\n]*")


def read(
    path: str | Path, form: ReadForm, *, task: str, language: str, license: str | None
) -> Iterator[Instruction]:
    """Reads the rows of a file. `task`, `language` and `license` are for rows that name none.

    Raises:
        ConfigError: The file cannot be read, or more than 2 % of its rows lack something. The
            message names the line where the first of these begins. Fewer are left out, with a
            warning.
    """
    path = Path(path)
    rows: list[tuple[Mapping[str, Any], dict[str, Any]]] = []
    wrong: list[str] = []
    for line, value in _rows(path):
        try:
            if not isinstance(value, dict):
                raise ConfigError("not a JSON object")
            texts = _alpaca(value) if form == "alpaca" else _conversation(value, form)
            if any(map(_PICTURE.search, (texts["instruction"], texts["output"]))):
                raise ConfigError("it is about a picture or sound")
            rows.append((value, texts))
        except ConfigError as error:
            wrong.append(f"{path}, line {line}: {error.message}")
    if len(wrong) > _SLIPS * (len(rows) + len(wrong)):
        raise ConfigError(wrong[0])
    if wrong:
        _LOG.warning("%s (%d rows are left out, %d read)", wrong[0], len(wrong), len(rows))
    for value, texts in rows:
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


def _rows(path: Path) -> list[tuple[int, Any]]:
    """Returns the rows with their lines; of a file that is one object, those in its `data`."""
    rows = list(_values(path))
    if len(rows) == 1 and isinstance(rows[0][1], dict):
        line, value = rows[0]
        data = value.get("data")
        if isinstance(data, list):
            return [(line, row) for row in data]
    return rows


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
    question = value.get("instruction")
    # Some files have every question in `input`.
    if isinstance(question, str) and not question.strip() and context and context.strip():
        question, context = context, None
    texts: dict[str, Any] = {
        "instruction": _text(question, "instruction"),
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
    keys = ["conversations"]
    if form == "messages":
        keys = ["messages", "conversations"]
    key = next((key for key in keys if value.get(key) is not None), None)
    if key is None:
        raise ConfigError(f"{keys[0]} is missing")
    if not isinstance(value[key], list):
        raise ConfigError(f"{key} is not a list")
    if not value[key]:
        raise ConfigError(f"{key} is empty")
    turns = [(i, turn) for i, turn in enumerate(value[key], 1) if not _is_empty_system(turn)]
    messages = [_message(turn, i) for i, turn in turns]
    if messages and messages[0].role != "system":
        messages = [*_system(value), *messages]
    if not in_turn(messages):
        raise ConfigError("turns are not a user's and an assistant's in turn, the assistant's last")
    question, answer = _without_system(messages)[:2]
    return {
        "instruction": question.content,
        "output": answer.content,
        "messages": tuple(messages),
    }


def _is_empty_system(turn: object) -> bool:
    """Tells whether a turn is a system prompt that says nothing, as many files begin with."""
    if not isinstance(turn, dict):
        return False
    content = turn.get("value", turn.get("content"))
    is_blank = content is None or (isinstance(content, str) and not content.strip())
    return is_blank and str(turn.get("from", turn.get("role"))).lower() == "system"


def _message(turn: object, number: int) -> Message:
    if not isinstance(turn, dict):
        raise ConfigError(f"turn {number} is not a JSON object")
    role, content = ("from", "value") if "from" in turn else ("role", "content")
    speaker = _text(turn.get(role), f"{role} of turn {number}")
    if speaker.lower() not in _ROLES:
        known = ", ".join(_ROLES)
        raise ConfigError(f"turn {number} is by {speaker[:40]!r}, not by one of {known}")
    text = _joined(turn.get(content), number)
    return Message(_ROLES[speaker.lower()], _text(text, f"{content} of turn {number}"))


def _joined(content: Any, number: int) -> Any:
    """Returns content as text where it comes in parts, as OpenAI has it."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    parts = [text for text in texts if isinstance(text, str)]
    if len(parts) < len(content):
        raise ConfigError(f"content of turn {number} has a part that is not text")
    return "\n".join(parts)


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
