"""A provider that takes message batches, as Anthropic and OpenAI document theirs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

import seedfree as sf
from seedfree._seeds import digest, seeded
from tests.fakes import fill

__all__ = ["KINDS", "PLACE", "BatchServer", "llm"]

KINDS = ("claude", "openai")
PLACE = "http://127.0.0.1:1"  # nothing listens there


def llm(kind: str, place: str = PLACE, **settings: Any) -> Any:
    """Returns a generator whose provider speaks that protocol."""
    settings = {"price": (1.0, 1.0), **settings}
    if kind == "claude":
        return sf.ClaudeGenerator(base_url=place, **settings)
    return sf.OpenAICompatibleGenerator(place, "m", **settings)


@dataclass
class _Batch:
    id: str
    lines: list[tuple[str, dict[str, Any]]]
    metadata: dict[str, str] = field(default_factory=dict)
    looks: int = 0
    done: dict[str, dict[str, Any]] | None = None
    failed: str = ""


@dataclass
class BatchServer:
    """The server, as a function for `httpx.MockTransport`.

    Args:
        unreadable: Share of answers that hold no JSON.
        looks: Times that a batch is looked at before it has ended.
        fate: Says of a request, by its number in the batch and how often it has been answered or
            not before, what becomes of it: `"ok"`, `"expired"` or `"error"`.
        refuse: Says of a batch, by its size, with which code OpenAI refuses it; `""` for none.

    Attributes:
        answered: How often each request (without its sample) was answered, and paid for.
        keys: How often each request of a batch was answered, by its key.
        live: Requests that were asked alone.
    """

    kind: str
    looks: int = 1
    unreadable: float = 0.1
    fate: Callable[[int, int], str] = lambda place, before: "ok"
    refuse: Callable[[int], str] = lambda size: ""
    answered: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    live: int = 0
    batches: dict[str, _Batch] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1")
        if path in ("/messages", "/chat/completions"):
            self.live += 1
            return httpx.Response(200, json=self._message(json.loads(request.content)))
        serve = self._claude if self.kind == "claude" else self._openai
        return serve(request, path.removeprefix("/messages").strip("/").split("/"))

    def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        """Returns what the model answers; another text each time that it is asked the same."""
        told = json.dumps(body, sort_keys=True)
        salt = digest(told, self.answered[told])
        self.answered[told] += 1
        shape = body.get("output_config", body.get("response_format"))
        shape = shape.get("format", shape.get("json_schema")) if shape else {}
        text = json.dumps(fill(shape.get("schema", {}), "", salt), ensure_ascii=False)
        if seeded(salt).random() < self.unreadable:
            text = "no JSON"
        if self.kind == "claude":
            usage = {"input_tokens": 100, "output_tokens": 50}
            content = [{"type": "text", "text": text}]
            return {
                "type": "message",
                "content": content,
                "stop_reason": "end_turn",
                "usage": usage,
            }
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 50}}

    def add(self, lines: list[tuple[str, dict[str, Any]]], **facts: Any) -> _Batch:
        """Takes a batch: each request with its key."""
        batch = _Batch(f"b{len(self.batches)}", lines, **facts)
        self.batches[batch.id] = batch
        return batch

    def _look(self, batch: _Batch) -> None:
        batch.looks += 1
        if batch.looks >= self.looks and batch.done is None and not batch.failed:
            self._end(batch, self.fate)

    def _end(self, batch: _Batch, fate: Callable[[int, int], str]) -> None:
        batch.done = {}
        for place, (key, body) in enumerate(batch.lines):
            what = fate(place, self.tried[key])
            self.tried[key] += 1
            if what == "ok":
                self.keys[key] += 1
            message = self._message(body) if what == "ok" else {}
            batch.done[key] = {"what": what, "message": message}

    def _page(self, request: httpx.Request, after: str) -> list[_Batch]:
        """Returns a page of the list, the latest first."""
        listed = list(reversed(self.batches.values()))
        if cursor := request.url.params.get(after):
            listed = listed[[batch.id for batch in listed].index(cursor) + 1 :]
        return listed[: int(request.url.params["limit"])]

    # ---- Anthropic ----

    def _claude(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        match request.method, path:
            case "POST", ["batches"]:
                asked = json.loads(request.content)["requests"]
                batch = self.add([(each["custom_id"], each["params"]) for each in asked])
                return httpx.Response(200, json=self._claude_batch(batch))
            case "GET", ["batches"]:
                page = self._page(request, "after_id")
                return httpx.Response(200, json={"data": list(map(self._claude_batch, page))})
            case "GET", ["batches", id]:
                self._look(self.batches[id])
                return httpx.Response(200, json=self._claude_batch(self.batches[id]))
            case "POST", ["batches", id, "cancel"]:
                self._end(self.batches[id], lambda place, before: "canceled")
                return httpx.Response(200, json=self._claude_batch(self.batches[id]))
            case "GET", ["batches", id, "results"]:
                return httpx.Response(200, content=self._claude_results(self.batches[id]))
        return httpx.Response(404)

    def _claude_batch(self, batch: _Batch) -> dict[str, Any]:
        ended, counts = batch.done is not None, Counter(processing=0)
        for each in batch.done.values() if batch.done else []:
            counts[{"ok": "succeeded", "error": "errored"}.get(each["what"], each["what"])] += 1
        counts["processing"] = 0 if ended else len(batch.lines)
        status = "ended" if ended else "in_progress"
        return {"id": batch.id, "processing_status": status, "request_counts": dict(counts)}

    def _claude_results(self, batch: _Batch) -> bytes:
        lines = []
        for key, each in reversed((batch.done or {}).items()):  # in any order
            result: dict[str, Any] = {"type": each["what"]}
            if each["what"] == "ok":
                result = {"type": "succeeded", "message": each["message"]}
            if each["what"] == "error":
                error = {"type": "api_error", "message": "lost"}
                result = {"type": "errored", "error": {"type": "error", "error": error}}
            lines.append(json.dumps({"custom_id": key, "result": result}, ensure_ascii=False))
        return "\n".join(lines).encode()

    # ---- OpenAI ----

    def _openai(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        match request.method, path:
            case "POST", ["files"]:
                file = f"f{len(self.files)}"
                self.files[file] = _uploaded(request)
                return httpx.Response(200, json={"id": file})
            case "POST", ["batches"]:
                asked = json.loads(request.content)
                assert (asked["endpoint"], asked["completion_window"]) == (
                    "/v1/chat/completions",
                    "24h",
                )
                lines = map(json.loads, self.files[asked["input_file_id"]].split(b"\n"))
                pairs = [(line["custom_id"], line["body"]) for line in lines]
                batch = self.add(pairs, metadata=asked["metadata"])
                batch.failed = self.refuse(len(pairs))
                return httpx.Response(200, json=self._openai_batch(batch))
            case "GET", ["batches"]:
                page = self._page(request, "after")
                return httpx.Response(200, json={"data": list(map(self._openai_batch, page))})
            case "GET", ["batches", id]:
                self._look(self.batches[id])
                return httpx.Response(200, json=self._openai_batch(self.batches[id]))
            case "POST", ["batches", id, "cancel"]:
                self._end(self.batches[id], lambda place, before: "canceled")
                return httpx.Response(200, json=self._openai_batch(self.batches[id]))
            case "GET", ["files", id, "content"]:
                return httpx.Response(200, content=self._openai_results(id))
        return httpx.Response(404)

    def _openai_batch(self, batch: _Batch) -> dict[str, Any]:
        whats = Counter(each["what"] for each in (batch.done or {}).values())
        status = "completed" if batch.done is not None else "in_progress"
        for word in ("expired", "canceled"):
            status = word.replace("canceled", "cancelled") if whats[word] else status
        faults = [{"code": batch.failed, "message": "too many tokens are waiting"}]
        return {
            "id": batch.id,
            "status": "failed" if batch.failed else status,
            "errors": {"data": faults} if batch.failed else None,
            "metadata": batch.metadata,
            "request_counts": {
                "total": len(batch.lines),
                "completed": whats["ok"],
                "failed": whats["error"],
            },
            "output_file_id": f"out-{batch.id}" if whats["ok"] else None,
            "error_file_id": f"err-{batch.id}" if whats.total() - whats["ok"] else None,
        }

    def _openai_results(self, file: str) -> bytes:
        which, _, id = file.partition("-")
        lines = []
        for key, each in reversed((self.batches[id].done or {}).items()):
            line: dict[str, Any] = {"custom_id": key, "response": None, "error": None}
            if (each["what"] == "ok") != (which == "out"):
                continue
            if each["what"] == "ok":
                line["response"] = {"status_code": 200, "body": each["message"]}
            elif each["what"] == "error":
                error = {"error": {"message": "lost", "type": "server_error"}}
                line["response"] = {"status_code": 500, "body": error}
            else:
                line["error"] = {"code": f"batch_{each['what']}", "message": "not in time"}
            lines.append(json.dumps(line, ensure_ascii=False))
        return "\n".join(lines).encode()


def _uploaded(request: httpx.Request) -> bytes:
    """Returns the file in an upload."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = request.content.split(b"--" + boundary)
    assert any(b'name="purpose"\r\n\r\nbatch\r\n' in part for part in parts)
    (file,) = [part for part in parts if b"filename=" in part]
    return file.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
