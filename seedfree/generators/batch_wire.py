"""What endpoints of batches share on the wire."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from seedfree.engine.http import raw_request, read_object
from seedfree.errors import RetryableError
from seedfree.protocols import Send

__all__ = ["LONG", "PAGE", "BatchCaller", "batch_id", "objects"]

# Seconds for a body of some hundred megabytes.
LONG = 3600.0
# Batches that one page of a list holds at most.
PAGE = 100
_ID = re.compile(r"[\w-]{1,200}", re.ASCII)


@dataclass
class BatchCaller:
    """Asks a provider about batches.

    Attributes:
        url: Of its API.
        headers: Gives those of every request, with the key.
    """

    url: str
    headers: Callable[[], Mapping[str, str]]

    def get(self, path: str) -> httpx.Request:
        return raw_request(f"{self.url}{path}", b"", self.headers(), LONG, "GET")

    async def answer(self, send: Send, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Returns the object that the provider answers to a GET, or to a POST of a body."""
        request = self.get(path)
        if body is not None:
            request = raw_request(f"{self.url}{path}", body, self.headers(), LONG)
        return read_object((await send(request))[2])

    async def latest(self, send: Send, path: str) -> str:
        """Returns the id of the first batch of a list, which is the latest; `""` for none."""
        page = objects(await self.answer(send, path))
        return batch_id(page[0]) if page else ""


def objects(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the objects in a page of a list."""
    data = page.get("data")
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def batch_id(batch: Mapping[str, Any]) -> str:
    """Returns the id of a batch or a file, which becomes part of an address.

    Raises:
        RetryableError: There is none.
    """
    id = batch.get("id")
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise RetryableError("The server's answer holds no id")
    return id
