"""A provider with an OpenAI-compatible API, as the tests script its answers."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from seedfree.engine.http import Transport
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator

__all__ = ["LLM", "SCHEMA", "Server", "error", "good", "transport"]

# Nothing listens on this port: a request that gets past the scripted transport fails.
LLM = OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
Server = Callable[[httpx.Request], httpx.Response]


def transport(server: Server) -> Transport:
    """Returns a transport that hands every request to `server` and opens no connection."""
    return Transport(transport=httpx.MockTransport(server))


def good(text: str = "hello", finish: str = "stop") -> httpx.Response:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return httpx.Response(200, json={"choices": [choice], "usage": usage})


def error(status: int, message: str = "no", code: str = "", **headers: str) -> httpx.Response:
    body = {"error": {"message": message, "code": code}}
    return httpx.Response(status, json=body, headers=headers)
