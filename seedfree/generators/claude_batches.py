"""Batches of messages at Anthropic.

platform.claude.com/docs/en/build-with-claude/batch-processing and
platform.claude.com/docs/en/api/messages/batches. A batch has no field for a name, so that one whose
submission got no answer is among those that came after the last one before it; its results say
which it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from seedfree.engine.http import read_object
from seedfree.engine.usage import token_count
from seedfree.errors import RetryableError
from seedfree.generators.batch_wire import PAGE, BatchCaller, batch_id, objects
from seedfree.generators.wire import mapping, string
from seedfree.protocols import BatchResult, BatchState, Send

__all__ = ["STATUS", "ClaudeBatches"]

# The statuses that an error's type has, for errors inside a success
# (platform.claude.com/docs/en/api/errors).
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass
class ClaudeBatches(BatchCaller):
    """Implements `protocols.BatchEndpoint`."""

    most_requests: int = 100_000
    most_bytes: int = 256_000_000 - 100

    def line(self, key: str, body: bytes) -> bytes:
        return b'{"custom_id":"%s","params":%s}' % (key.encode(), body)

    async def marker(self, send: Send) -> str:
        return await self.latest(send, "?limit=1")

    async def submit(self, name: str, lines: Sequence[bytes], send: Send) -> str:
        body = b'{"requests":[%s]}' % b",".join(lines)
        return batch_id(await self.answer(send, "", body))

    async def find(self, name: str, size: int, marker: str, send: Send) -> list[str]:
        found, after = list[str](), ""
        while page := objects(await self.answer(send, f"?limit={PAGE}{after}")):
            for batch in page:
                if batch.get("id") == marker:
                    return found
                if _total(batch) == size:
                    found.append(batch_id(batch))
            if len(page) < PAGE:
                break
            after = f"&after_id={batch_id(page[-1])}"
        return found

    async def state(self, id: str, send: Send) -> BatchState:
        batch = await self.answer(send, f"/{id}")
        waiting = token_count(mapping(batch.get("request_counts")).get("processing"))
        return BatchState(batch.get("processing_status") == "ended", _total(batch) - waiting)

    def results(self, id: str, state: BatchState) -> list[httpx.Request]:
        return [self.get(f"/{id}/results")]

    def result(self, line: bytes) -> BatchResult | None:
        try:
            data = read_object(line)
        except RetryableError:
            return None
        key, result = data.get("custom_id"), mapping(data.get("result"))
        if not isinstance(key, str):
            return None
        kind = string(result.get("type"), "")
        if kind == "succeeded":
            return BatchResult(key, 200, json.dumps(result.get("message")).encode())
        if kind == "errored":
            error = mapping(result.get("error"))
            fault = mapping(error.get("error", error))
            status = STATUS.get(string(fault.get("type"), ""), 500)
            return BatchResult(key, status, json.dumps({"error": fault}).encode())
        # canceled, expired
        return BatchResult(key, 0, kind.encode("utf-8", "replace")) if kind else None

    async def cancel(self, id: str, send: Send) -> None:
        await self.answer(send, f"/{id}/cancel", b"{}")


def _total(batch: Mapping[str, Any]) -> int:
    return sum(map(token_count, mapping(batch.get("request_counts")).values()))
