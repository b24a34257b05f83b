"""One request until it is settled: from the ledger, or sent, kept and only then read."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any, TypeGuard, TypeVar

import httpx
from pydantic import TypeAdapter

from seedfree.engine.http import Answer, Transport, open_files
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.limits import Limits, Slot
from seedfree.engine.loop import Clock, Threads
from seedfree.errors import RequestError, RetryableError, SeedfreeError, StopRunError
from seedfree.protocols import Generator, HTTPGenerator
from seedfree.records import Prompt, Reply

__all__ = ["Runner", "identity", "read"]

_Kept = TypeVar("_Kept")
# Keys of the requests that the value being fetched rests on.
_BEHIND: ContextVar[list[str]] = ContextVar("behind")
_REPLY = TypeAdapter(Reply)
_PROMPT = TypeAdapter(Prompt)
# Without a value they are not in the key: replies from before they were known are still found.
_LATER = frozenset({"top_p", "repetition_penalty"})
_KEPT_HEADERS = frozenset({b"content-type", b"request-id", b"x-request-id"})
# Answers that settle a request although they hold no text: asking again would give the same.
_SETTLED = frozenset({400, 404, 413, 422})
# So many rejections without one success, and it is the settings that are wrong.
_REJECTIONS = 20


def identity(generator: Generator) -> str:
    """The name under which a generator's replies are kept and its rows are published."""
    given = getattr(generator, "identity", None)
    return str(given) if given else type(generator).__name__


def _identity_before(generator: Generator) -> str | None:
    """What `identity` was up to 0.1.0, where it was another."""
    kind = type(generator)
    return (
        None if getattr(generator, "identity", None) else f"{kind.__module__}.{kind.__qualname__}"
    )


def _over_http(generator: Generator) -> TypeGuard[HTTPGenerator]:
    # isinstance() of a protocol takes as long as all else that a request needs here.
    return hasattr(generator, "request") and hasattr(generator, "reply")


def read(generator: Generator, entry: Entry) -> Reply:
    """What a kept answer says: a pure function of the entry; a rejected one has `.error`.

    Raises:
        RetryableError, StopRunError: The answer is the provider's error for now, or for every
            request.
    """
    try:
        if entry.status >= 400:
            raise RequestError(entry.body.decode("utf-8", "replace"), status=entry.status)
        if _over_http(generator):
            return generator.reply(entry.status, httpx.Headers(dict(entry.headers)), entry.body)
        return _REPLY.validate_json(entry.body)
    except (RetryableError, StopRunError):
        raise
    except Exception as error:
        # a user's backend may raise anything; the bytes are kept, so it costs nothing
        message = (
            error.message
            if isinstance(error, SeedfreeError)
            else f"{type(error).__name__}: {error}"
        )
        return Reply("", stop_reason="rejected", error=message)


class Runner:
    """Settles requests against one ledger.

    Args:
        concurrency: Requests under way at most, for each model of each provider; at least 1.
        reuse: Replies of other runs by key, taken over instead of asking.

    Attributes:
        allow: Called before each request is sent; raises `StopRunError` where none may be.
        count: Called with each answer, new or kept, before its request is out of flight.
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
        self.concurrency = concurrency if transport else open_files(concurrency)
        self._limits: dict[str, Limits] = {}
        self.requests = 0
        self._ledger, self._reuse = ledger, reuse or {}
        self._transport = transport or Transport(connections=self.concurrency)
        self._threads = Threads(self.concurrency)
        self._under_way: dict[str, asyncio.Future[Any]] = {}
        self.stopped: StopRunError | None = None
        self._rejections = 0
        self.allow: Callable[[], None] = lambda: None
        self.count: Callable[[Generator, Entry, Reply], None] = lambda *_: None

    @property
    def workers(self) -> int:
        """Jobs to work on side by side: a few more than requests, so that one is always on record and ready to go."""
        return self.concurrency + min(self.concurrency // 8, 16)

    @property
    def retries(self) -> int:
        """Requests that were sent again."""
        return sum(limits.retries for limits in self._limits.values())

    def limits(self, generator: Generator) -> Limits:
        """The limits of a generator's provider and model."""
        name = identity(generator)
        if name not in self._limits:
            self._limits[name] = Limits(
                self.concurrency,
                requests_per_minute=getattr(generator, "requests_per_minute", None),
                tokens_per_minute=getattr(generator, "tokens_per_minute", None),
                clock=self.clock,
            )
        return self._limits[name]

    async def settle(
        self, generator: Generator, prompt: Prompt, sample: str
    ) -> tuple[Entry, Reply]:
        """The entry that answers a request, and its reply; one with `.error` where the provider rejected the request.

        Raises:
            RetryableError: Every attempt failed.
            StopRunError: The run cannot go on.
            RequestError: A user's backend raised.
        """
        if _over_http(generator):
            request = generator.request(prompt)
            sent = f"{request.url.path}\x1f".encode() + request.content
        else:
            unset = {name for name in _LATER if getattr(prompt, name) is None}
            request, sent = None, _PROMPT.dump_json(prompt, exclude=unset)
        key = self._key(identity(generator), sent, sample)
        before = _identity_before(generator)
        names = [key, self._key(before, sent, sample)] if before else [key]
        for kept in (known.get(name) for known in (self._ledger, self._reuse) for name in names):
            if kept is None or (kept.status >= 400 and kept.key not in self._ledger):
                continue
            with contextlib.suppress(RetryableError, StopRunError):
                reply = read(generator, kept)
                entry = kept if kept.key in self._ledger else await self._ledger.append(kept)
                self.count(generator, entry, reply)
                _BEHIND.get([]).append(kept.key)
                return entry, reply

        async def ask() -> tuple[Entry, Reply]:
            return await self._ask(generator, prompt, request, key, sent)

        entry, reply = await self._once(key, ask)
        _BEHIND.get([]).append(key)
        return entry, reply

    @staticmethod
    def _key(name: str, sent: bytes, sample: str) -> str:
        return hashlib.sha256(b"\x1f".join((name.encode(), sent, sample.encode()))).hexdigest()

    async def fetch(self, key: str, fn: Callable[[], Any], generator: Generator) -> Entry:
        """The JSON that `fn` gave for a key when it was first asked.

        Args:
            generator: Whose replies `fn` may rest on; they are counted again when the value is kept
                already.
        """

        async def make() -> Entry:
            behind: list[str] = []
            outer = _BEHIND.set(behind)
            try:
                value = await self.call(fn)
            finally:
                _BEHIND.reset(outer)
            _BEHIND.get([]).extend(behind)
            body = json.dumps(value, ensure_ascii=False).encode()
            return await self._ledger.append(
                Entry("fetch", key, body, headers={"requests": " ".join(behind)} if behind else {})
            )

        kept = await self._kept(key)
        if kept is None:
            return await self._once(key, make)
        for request in kept.headers.get("requests", "").split():
            if (entry := await self._kept(request)) is not None:
                with contextlib.suppress(RetryableError, StopRunError):
                    self.count(generator, entry, read(generator, entry))
                    _BEHIND.get([]).append(request)
        return kept

    async def _kept(self, key: str) -> Entry | None:
        """What the ledger holds for a key, or takes over from another run."""
        kept = self._ledger.get(key)
        if kept is None and (reused := self._reuse.get(key)) is not None:
            kept = await self._ledger.append(reused)
        return kept

    async def _once(self, key: str, make: Callable[[], Awaitable[_Kept]]) -> _Kept:
        """What `make` gives; those who ask for the same key meanwhile wait for the same."""
        if key in self._under_way:
            kept: _Kept = await asyncio.shield(self._under_way[key])
            return kept
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            kept = await make()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # marks it as seen where nobody else waits
            raise
        else:
            future.set_result(kept)
            return kept
        finally:
            del self._under_way[key]

    async def _ask(
        self,
        generator: Generator,
        prompt: Prompt,
        request: httpx.Request | None,
        key: str,
        sent: bytes,
    ) -> tuple[Entry, Reply]:
        limits = self.limits(generator)
        # At most about a token for three bytes, in any script.
        tokens = len(sent) // 3 + prompt.max_tokens
        attempt, slot = 0, None
        self._check()
        await self._ledger.append(Entry("request", key, sent))
        while True:
            try:
                async with limits.slot(tokens) as slot:
                    self._check()
                    return await self._send(generator, prompt, request, key, limits, slot)
            except RetryableError as error:
                if slot is None:
                    raise
                request = _copy(request)
                try:
                    attempt = await limits.fault(error, slot, attempt, key)
                except StopRunError as stop:
                    self.stopped = stop
                    raise
            except StopRunError as error:
                self.stopped = error
                raise
            except RequestError as error:
                if error.status not in _SETTLED:
                    raise
                return await self._rejected(generator, key, error)

    def _check(self) -> None:
        """Raises where nothing more may be sent."""
        if self.stopped is not None:
            raise self.stopped
        self._ledger.check()
        self.allow()

    async def _send(
        self,
        generator: Generator,
        prompt: Prompt,
        request: httpx.Request | None,
        key: str,
        limits: Limits,
        slot: Slot,
    ) -> tuple[Entry, Reply]:
        """Sends once; the answer is safe on disk before anything reads it."""
        self.requests += 1
        answer = await (self._call(generator, prompt) if request is None else self._post(request))
        fields = answer.headers.raw
        headers = {
            n.decode().lower(): v.decode("latin-1") for n, v in fields if n.lower() in _KEPT_HEADERS
        }
        entry = await self._ledger.append(Entry("reply", key, answer.body, answer.status, headers))
        self._rejections = 0
        reply = read(generator, entry)  # an error inside a success is classified here
        self.count(generator, entry, reply)
        limits.succeeded(slot, reply.usage.input_tokens + reply.usage.output_tokens, fields)
        return entry, reply

    async def _rejected(
        self, generator: Generator, key: str, error: RequestError
    ) -> tuple[Entry, Reply]:
        self._rejections += 1
        if self._rejections == _REJECTIONS:
            self.stopped = StopRunError(
                f"{_REJECTIONS} requests in a row were rejected: {error.message}",
                hint="Change what the provider does not take; for servers without JSON schemas, "
                'structured="json_object" or "prompt".',
            )
        text = str(error) if error.hint else error.message
        entry = await self._ledger.append(Entry("reply", key, text.encode(), error.status or 400))
        reply = read(generator, entry)
        self.count(generator, entry, reply)
        return entry, reply

    async def _post(self, request: httpx.Request) -> Answer:
        return await self._transport.send(request, now=self.clock.timestamp())

    async def _call(self, generator: Generator, prompt: Prompt) -> Answer:
        try:
            reply = await self.call(generator.generate, prompt)
        except SeedfreeError:
            raise
        except Exception as error:
            raise RequestError(
                f"{identity(generator)} raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(reply, Reply):
            raise RequestError(
                f"{identity(generator)} returned {type(reply).__name__}", hint="Return a Reply."
            )
        return Answer(200, httpx.Headers(), json.dumps(asdict(reply), ensure_ascii=False).encode())

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Calls a component's method: an `async def` here, a plain `def` in a thread."""
        if inspect.iscoroutinefunction(fn):
            return await fn(*args)
        return await self._threads.call(fn, *args)

    async def close(self) -> None:
        await self._transport.close()
        self._threads.close()


def _copy(request: httpx.Request | None) -> httpx.Request | None:
    """The same request once more: one can be sent but once."""
    if request is None:
        return None
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        content=request.content,
        extensions=request.extensions,
    )
