"""What backends share on the wire: temperatures, messages, and answers that may have any shape.

An answer comes from a server that may be broken or be another one than it says it is. Nothing here
raises for a value of the wrong type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedfree.records import Prompt

__all__ = [
    "chat_messages",
    "error_status",
    "first_choice",
    "joined_text",
    "mapping",
    "string",
]


def chat_messages(prompt: Prompt, user: str) -> list[dict[str, str]]:
    """Returns the messages of a chat completion.

    Args:
        user: The user's message, which may say more than `prompt.user`.
    """
    messages = [{"role": "user", "content": user}]
    # No system message without a system prompt: some chat templates refuse the role.
    if prompt.system:
        messages.insert(0, {"role": "system", "content": prompt.system})
    return messages


def mapping(value: object) -> dict[str, Any]:
    """Returns the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def string(value: object, otherwise: str) -> str:
    """Returns the value if it is a string, else `otherwise`."""
    return value if isinstance(value, str) else otherwise


def first_choice(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the first of a chat completion's `choices`; `None` if there is none."""
    choices = data.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def joined_text(parts: list[Any]) -> str:
    """Joins the parts of type "text" of a message's content.

    Parts of other types (thinking, tools, whatever comes next) are passed over.
    """
    texts = [part.get("text") for part in map(mapping, parts) if part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def error_status(error: object, statuses: Mapping[str, int]) -> int:
    """Returns the HTTP status that an error object inside a success stands for, 400 to 599.

    Args:
        statuses: The statuses of the provider's words for an error, its `code` or its `type`.

    Returns:
        500 for an unknown error: it may pass, so the request is worth another try.
    """
    fields = mapping(error)
    code = fields.get("code")
    if type(code) is int and 400 <= code < 600:
        return code
    # The code comes first because it is narrower: OpenAI's "invalid_api_key", which stops a run, is
    # of the type "invalid_request_error", which fails one request.
    return statuses.get(str(code), statuses.get(str(fields.get("type")), 500))
