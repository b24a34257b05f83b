"""One request until it is settled: from the ledger, or sent, kept and only then read."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import httpx
from pydantic import TypeAdapter

from seedfree.engine.clock import Clock
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.limits import Limits
from seedfree.engine.transport import Answer, Transport
from seedfree.errors import RequestError, RetryableError, SeedfreeError, StopRunError
from seedfree.protocols import Generator, HTTPGenerator
from seedfree.records import Prompt, Reply

__all__ = ["Runner", "identity"]

_REPLY = TypeAdapter(Reply)
_PROMPT = TypeAdapter(Prompt)
_KEPT_HEADERS = ("content-type", "request-id", "x-request-id")
# Answers that settle a request although they hold no text: asking again would give the same.
_SETTLED = frozenset({400, 413, 422})
# So many rejections without one success, and it is the settings that are wrong.
_REJECTIONS = 20


def identity(generator: Generator) -> str:
    """The name under which a generator's replies are kept and its rows are published."""
    given = getattr(generator, "identity", None)
    return str(given) if given else f"{type(generator).__module__}.{type(generator).__qualname__}"


class Runner:
    """Settles requests against one ledger.

    Args:
        reuse: Replies of other runs by key, taken over instead of asking.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        concurrency: int,
        clock: Clock | None = None,
        transport: Transport | None = None,
        reuse: dict[str, Entry] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.limits = Limits(concurrency, clock=self.clock)
        self.requests = 0
        self.in_flight = 0
        self._ledger, self._reuse = ledger, reuse or {}
        self._transport = transport or Transport(connections=concurrency)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="seedfree")
        self._under_way: dict[str, asyncio.Future[Entry]] = {}
        self.stopped: StopRunError | None = None
        self._rejections = 0

    async def settle(self, generator: Generator, prompt: Prompt, sample: str) -> tuple[str, Reply]:
        """The key of a request and its reply; a reply with `.error` where the provider rejected the request.

        Raises:
            RetryableError: Every attempt failed.
            StopRunError: The run cannot go on.
            RequestError: A user's backend raised.
        """
        if isinstance(generator, HTTPGenerator):
            request = generator.request(prompt)
            sent = f"{request.url.path}\x1f".encode() + request.content
        else:
            request, sent = None, _PROMPT.dump_json(prompt)
        key = hashlib.sha256(b"\x1f".join((identity(generator).encode(), sent, sample.encode()))).hexdigest()
        for kept in (self._ledger.get(key), self._reuse.get(key)):
            if kept is None or (kept.status >= 400 and key not in self._ledger):
                continue
            with contextlib.suppress(RetryableError, StopRunError):
                reply = self.read(generator, kept)
                if key not in self._ledger:
                    await self._ledger.append(kept)
                return key, reply

        async def ask() -> Entry:
            return await self._ask(generator, prompt, request, key, sent)

        return key, self.read(generator, await self._once(key, ask))

    async def fetch(self, key: str, fn: Callable[[], Any]) -> Entry:
        """The JSON that `fn` gave for a key when it was first asked."""

        async def make() -> Entry:
            value = await self.call(fn)
            return await self._ledger.append(Entry("fetch", key, json.dumps(value, ensure_ascii=False).encode()))

        kept = self._ledger.get(key)
        if kept is None and (reused := self._reuse.get(key)) is not None:
            kept = await self._ledger.append(reused)
        return kept or await self._once(key, make)

    async def _once(self, key: str, make: Callable[[], Awaitable[Entry]]) -> Entry:
        """What `make` gives; those who ask for the same key meanwhile wait for the same."""
        if key in self._under_way:
            return await asyncio.shield(self._under_way[key])
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            entry = await make()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # marks it as seen where nobody else waits
            raise
        else:
            future.set_result(entry)
            return entry
        finally:
            del self._under_way[key]

    async def _ask(
        self, generator: Generator, prompt: Prompt, request: httpx.Request | None, key: str, sent: bytes
    ) -> Entry:
        attempt = 0
        while True:
            try:
                async with self.limits.slot():
                    if self.stopped is not None:
                        raise self.stopped
                    if attempt == 0:
                        await self._ledger.append(Entry("request", key, sent))
                    self.requests += 1
                    self.in_flight += 1
                    try:
                        answer = await self._send(generator, prompt, request)
                    finally:
                        self.in_flight -= 1
                    headers = {n: answer.headers[n] for n in _KEPT_HEADERS if n in answer.headers}
                    entry = await self._ledger.append(Entry("reply", key, answer.body, answer.status, headers))
                    self._rejections = 0
                    self.read(generator, entry)  # an error inside a success is classified here
                    return entry
            except RetryableError as error:
                await self.limits.fault(error, attempt, key)
                attempt += 1
            except StopRunError as error:
                self.stopped = error
                raise
            except RequestError as error:
                if error.status in _SETTLED:
                    self._rejections += 1
                    if self._rejections == _REJECTIONS:
                        self.stopped = StopRunError(
                            f"{_REJECTIONS} requests in a row were rejected: {error.message}",
                            hint="Change what the provider does not take; for servers without JSON schemas, "
                            'structured="json_object" or "prompt".',
                        )
                    return await self._ledger.append(Entry("reply", key, error.message.encode(), error.status))
                raise

    async def _send(self, generator: Generator, prompt: Prompt, request: httpx.Request | None) -> Answer:
        if request is not None:
            # A request can be sent once; every attempt sends a copy.
            copy = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.content,
                extensions=request.extensions,
            )
            return await self._transport.send(copy, now=self.clock.timestamp())
        try:
            reply = await self.call(generator.generate, prompt)
        except SeedfreeError:
            raise
        except Exception as error:
            raise RequestError(f"{identity(generator)} raised {type(error).__name__}: {error}") from error
        if not isinstance(reply, Reply):
            raise RequestError(f"{identity(generator)} returned {type(reply).__name__}", hint="Return a Reply.")
        return Answer(200, httpx.Headers(), json.dumps(asdict(reply), ensure_ascii=False).encode())

    def read(self, generator: Generator, entry: Entry) -> Reply:
        """What a kept answer says: a pure function of the entry.

        Raises:
            RetryableError, StopRunError: The answer is the provider's error for now, or for every request.
        """
        try:
            if entry.status >= 400:
                raise RequestError(entry.body.decode("utf-8", "replace"), status=entry.status)
            if isinstance(generator, HTTPGenerator):
                return generator.reply(entry.status, httpx.Headers(dict(entry.headers)), entry.body)
            return _REPLY.validate_json(entry.body)
        except (RetryableError, StopRunError):
            raise
        except Exception as error:  # a user's backend may raise anything; the bytes are kept, so it costs nothing
            message = error.message if isinstance(error, SeedfreeError) else f"{type(error).__name__}: {error}"
            return Reply("", stop_reason="rejected", error=message)

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Calls a component's method: an `async def` here, a plain `def` in a thread."""
        if inspect.iscoroutinefunction(fn):
            return await fn(*args)
        result = await asyncio.get_running_loop().run_in_executor(self._threads, fn, *args)
        return await result if inspect.isawaitable(result) else result

    async def close(self) -> None:
        await self._transport.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
