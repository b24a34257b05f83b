"""Batches of chat completions at OpenAI.

developers.openai.com/api/docs/guides/batch and
developers.openai.com/api/reference/resources/batches. The requests are a file, the batch refers to
it, and the results are two files, one of them for what failed. A batch carries its name in its
metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from seedfree.engine.http import read_object
from seedfree.engine.usage import token_count
from seedfree.errors import RetryableError
from seedfree.generators.batch_wire import LONG, PAGE, BatchCaller, batch_id, objects
from seedfree.generators.wire import mapping, string
from seedfree.protocols import BatchResult, BatchState, Send

__all__ = ["OpenAIBatches"]

_PATH = "/v1/chat/completions"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_TOO_LARGE = "token_limit_exceeded"


@dataclass
class OpenAIBatches(BatchCaller):
    """Implements `protocols.BatchEndpoint`."""

    most_requests: int = 50_000
    most_bytes: int = 200_000_000

    def line(self, key: str, body: bytes) -> bytes:
        head = f'{{"custom_id":"{key}","method":"POST","url":"{_PATH}","body":'
        return head.encode() + body + b"}"

    async def marker(self, send: Send) -> str:
        return await self.latest(send, "/batches?limit=1")

    async def submit(self, name: str, lines: Sequence[bytes], send: Send) -> str:
        upload = httpx.Request(
            "POST",
            f"{self.url}/files",
            headers=self.headers(),
            data={"purpose": "batch"},
            files={"file": (f"{name}.jsonl", b"\n".join(lines), "application/jsonl")},
            extensions={"deadline": LONG},
        )
        file = batch_id(read_object((await send(upload))[2]))
        batch = {
            "input_file_id": file,
            "endpoint": _PATH,
            "completion_window": "24h",
            "metadata": {"seedfree": name},
        }
        return batch_id(await self.answer(send, "/batches", json.dumps(batch).encode()))

    async def find(self, name: str, size: int, marker: str, send: Send) -> list[str]:
        after = ""
        while page := objects(await self.answer(send, f"/batches?limit={PAGE}{after}")):
            for batch in page:
                if mapping(batch.get("metadata")).get("seedfree") == name:
                    return [batch_id(batch)]
                if batch.get("id") == marker:
                    return []
            if len(page) < PAGE:
                break
            after = f"&after={batch_id(page[-1])}"
        return []

    async def state(self, id: str, send: Send) -> BatchState:
        batch = await self.answer(send, f"/batches/{id}")
        status, counts = batch.get("status"), mapping(batch.get("request_counts"))
        files = (batch.get("output_file_id"), batch.get("error_file_id"))
        faults = objects(mapping(batch.get("errors"))) if status == "failed" else []
        said = string(faults[0].get("message"), "") if faults else ""
        return BatchState(
            ended=status in _ENDED,
            answered=token_count(counts.get("completed")) + token_count(counts.get("failed")),
            files=tuple(batch_id({"id": file}) for file in files if file),
            whole=status == "completed",
            fault=(said or "OpenAI does not say why") if status == "failed" else "",
            too_large=any(fault.get("code") == _TOO_LARGE for fault in faults),
        )

    def results(self, id: str, state: BatchState) -> list[httpx.Request]:
        return [self.get(f"/files/{file}/content") for file in state.files]

    def result(self, line: bytes) -> BatchResult | None:
        try:
            data = read_object(line)
        except RetryableError:
            return None
        key, response = data.get("custom_id"), mapping(data.get("response"))
        if not isinstance(key, str):
            return None
        status = response.get("status_code")
        if type(status) is int and 200 <= status < 600:
            return BatchResult(key, status, json.dumps(response.get("body")).encode())
        # Not asked before the batch ended (`batch_expired`), or lost on the way to the model.
        code = string(mapping(data.get("error")).get("code"), "no response")
        return BatchResult(key, 0, code.encode("utf-8", "replace"))

    async def cancel(self, id: str, send: Send) -> None:
        await self.answer(send, f"/batches/{id}/cancel", b"{}")
