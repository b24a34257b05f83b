"""Instruction data that people wrote, read from the three forms in which it is shared.

A file is one JSON list, or JSON objects one after the other (JSONL). A row's `system` prompt and an
Alpaca row's `history` (pairs of question and answer before it) become messages; of its other fields
`task`, `language`, `generator` and `license` are taken where they are text, and the rest is left
out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

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
_SPACE = re.compile(r"[ \t\r\n]*")


def read(
    path: str | Path, form: ReadForm, *, task: str, language: str, license: str | None
) -> Iterator[Instruction]:
    """The rows of a file; `task`, `language` and `license` are for rows that don't say.

    Raises:
        ConfigError: The file cannot be read, or a row lacks something; the message names the line
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
        spoken = "\x1f".join(
            f"{m.role}\x1f{m.content}" for m in Instruction(task, **texts).messages
        )
        yield Instruction(
            task=_said(value, "task") or task,
            id=hashlib.sha256(spoken.encode()).hexdigest()[:16],
            language=_said(value, "language") or language,
            generator=_said(value, "generator") or "human",
            source=Source("human", title=path.name, license=_said(value, "license") or license),
            **texts,
        )


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows with the line, from 1, on which each begins."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    decoder = json.JSONDecoder()
    place, counted, line = _skip(text, 0), 0, 1
    listed = text.startswith("[", place)
    if listed:
        place = _skip(text, place + 1)
    while place < len(text) and not (listed and text[place] == "]"):
        line += text.count("\n", counted, place)
        counted = place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}, line {error.lineno}: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            # a number with too many digits, too many brackets
            raise ConfigError(f"{path}, line {line}: {error}") from None
        yield line, value
        place = _skip(text, place)
        if listed and place < len(text) and text[place] != "]":
            if text[place] != ",":
                raise ConfigError(f"{path}, line {line}: the row is not followed by a comma")
            place = _skip(text, place + 1)
    if listed and (place == len(text) or _skip(text, place + 1) != len(text)):
        hint = "Look whether the file is whole."
        raise ConfigError(f"{path} does not end with the end of its list", hint=hint)


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _said(value: Mapping[str, Any], key: str) -> str:
    said = value.get(key)
    return said.strip() if isinstance(said, str) else ""


def _text(value: Any, name: str) -> str:
    if value is None:
        raise ConfigError(f"{name} is missing")
    if not isinstance(value, str):
        raise ConfigError(f"{name} is not text")
    if not value.strip():
        raise ConfigError(f"{name} is empty")
    return value


def _alpaca(value: Mapping[str, Any]) -> dict[str, Any]:
    given = value.get("input")
    if given is not None and not isinstance(given, str):
        raise ConfigError("input is not text")
    texts: dict[str, Any] = {
        "instruction": _text(value.get("instruction"), "instruction"),
        "input": given if given and given.strip() else "",
        "output": _text(value.get("output"), "output"),
    }
    before, history = _system(value), value.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in history
    ):
        raise ConfigError("history is not a list of pairs")
    for pair in history:
        before += [
            Message("user", _text(pair[0], "history")),
            Message("assistant", _text(pair[1], "history")),
        ]
    return texts | {"messages": (*before, *Instruction("", **texts).messages)} if before else texts


def _system(value: Mapping[str, Any]) -> list[Message]:
    """A row's own system prompt, which stands beside its turns."""
    said = _said(value, "system")
    return [Message("system", said)] if said else []


def _conversation(value: Mapping[str, Any], form: ReadForm) -> dict[str, Any]:
    keys, role, content = ["conversations"], "from", "value"
    if form == "messages":
        keys, role, content = ["messages", "conversations"], "role", "content"
    key = next((k for k in keys if value.get(k) is not None), None)
    if key is None:
        raise ConfigError(f"{keys[0]} is missing")
    turns = value[key]
    if not isinstance(turns, list) or not turns:
        raise ConfigError(f"{key} is {'empty' if isinstance(turns, list) else 'not a list'}")
    messages = []
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            raise ConfigError(f"turn {number} is not a JSON object")
        speaker = _text(turn.get(role), f"{role} of turn {number}")
        if speaker not in _ROLES:
            raise ConfigError(
                f"turn {number} is by {speaker[:40]!r}, not by one of {', '.join(_ROLES)}"
            )
        messages.append(
            Message(_ROLES[speaker], _text(turn.get(content), f"{content} of turn {number}"))
        )
    if messages[0].role != "system":
        messages = _system(value) + messages
    if not in_turn(messages):
        raise ConfigError("turns are not a user's and an assistant's in turn, the assistant's last")
    said = messages[messages[0].role == "system" :]
    return {"instruction": said[0].content, "output": said[1].content, "messages": tuple(messages)}


def in_turn(messages: Sequence[Message]) -> bool:
    """After a system message, where there is one, a user and an assistant take turns, and the assistant ends."""
    said = messages[bool(messages) and messages[0].role == "system" :]
    roles = [m.role for m in said]
    return (
        bool(roles)
        and roles == ["user", "assistant"] * (len(roles) // 2)
        and all(m.content.strip() for m in said)
    )
