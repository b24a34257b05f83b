"""One way to ask: a prompt becomes a reply, a key a fetched value, and the ledger keeps both.

A request reads straight down: `generate` samples until a reply is usable, `_answer` looks into the
ledger, `_ask` waits for a slot and tries again, `_send` sends. Then the same way back: the bytes
that came are safe on disk before anything reads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, TypeVar

import httpx
from pydantic import TypeAdapter

from seedfree._seeds import seeded
from seedfree.engine.connections import open_files
from seedfree.engine.http import Answer, Transport
from seedfree.engine.ledger import Entry, Ledger, upgraded
from seedfree.engine.limits import Limits, Slot
from seedfree.engine.loop import Clock, Threads, outcome
from seedfree.engine.schema import find_json
from seedfree.errors import (
    InvalidReplyError,
    RequestError,
    RetryableError,
    SeedfreeError,
    StopRunError,
)
from seedfree.languages import Language
from seedfree.protocols import Generator, HTTPGenerator
from seedfree.records import Prompt, Reply, Usage, altered

__all__ = ["Price", "RunSession", "Tally", "identity", "read", "ready"]

_T = TypeVar("_T")

# Times that a prompt is sampled until its reply can be read.
_SAMPLES = 3
# Times that `max_tokens` is doubled for a reply that was cut off.
_DOUBLINGS = 3
# Answers that settle a request although they hold no text: asking again would give the same.
_SETTLED = frozenset({400, 404, 413, 422})
# After so many rejections without one success, it is the settings that are wrong.
_REJECTIONS = 20
_KEPT_HEADERS = frozenset({b"content-type", b"request-id", b"x-request-id"})
# Fields of a prompt that came later: where they are not set they are not in the key, so that
# replies from before are still found.
_LATER = frozenset({"top_p", "repetition_penalty"})
# Keys of the requests that the value being fetched rests on.
_BEHIND: ContextVar[list[str]] = ContextVar("behind")
_REPLY = TypeAdapter(Reply)
_PROMPT = TypeAdapter(Prompt)


class Price(Protocol):
    """What a generator's tokens cost; see `generators/prices.py`."""

    def usd(self, usage: Usage) -> float: ...


@dataclass
class Tally:
    """What a run has used so far, replies from the ledger included.

    Attributes:
        usd: Price of the requests whose price is known.
        unpriced: Requests to generators without a known price.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0

    @property
    def price_usd(self) -> float | None:
        """Returns the price, or `None` where that of a generator is not known."""
        return None if self.unpriced else self.usd

    def add(self, usage: Usage, price: Price | None) -> None:
        self.requests += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.usd += price.usd(usage) if price else 0.0
        self.unpriced += price is None


class RunSession:
    """Implements `protocols.Session` over one ledger.

    Args:
        ledger: Keeps every request and reply. The caller closes it.
        generator: The LLM of prompts that name no other.
        language: Of the run.
        seed: Of the run; gives every sample of a prompt its own sampling seed.
        concurrency: Requests under way at most, for each model of each provider; at least 1.
        reuse: Replies of other runs by key, taken over instead of asking.
        price_of: Returns the price of a generator, `None` where it is not known.
        budget_usd: No request is sent once this much is spent.
        on_reply: Called after each reply that is new to the tally.
        tasks: Names of the run's tasks.
        grounded_tasks: Names of those whose answers must stand in the context; `None` if unknown.
        folder: The run's. A component that keeps files makes a folder of its own in it.

    Attributes:
        requests: Requests that this process has sent.
        stopped: Why nothing more is sent, once that is so.
        tally: What the run has used.
    """

    def __init__(
        self,
        ledger: Ledger,
        generator: Generator,
        language: Language,
        seed: int = 0,
        *,
        concurrency: int = 64,
        clock: Clock | None = None,
        transport: Transport | None = None,
        reuse: Mapping[str, Entry] | None = None,
        price_of: Callable[[Generator], Price | None] = lambda _: None,
        budget_usd: float | None = None,
        on_reply: Callable[[], None] = lambda: None,
        tasks: tuple[str, ...] = (),
        grounded_tasks: frozenset[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.language, self.seed, self.folder = language, seed, folder
        self.tasks, self.grounded_tasks = tasks, grounded_tasks
        self.clock = clock or Clock()
        # A transport of the caller's has no files that the system could limit.
        self.concurrency = concurrency if transport else open_files(concurrency)
        self.requests = 0
        self.stopped: StopRunError | None = None
        self.tally = Tally()
        self._ledger, self._reuse = ledger, reuse or {}
        self._generator = generator
        self._price_of, self._budget, self._on_reply = price_of, budget_usd, on_reply
        self._prices: dict[int, Price | None] = {}
        self._counted: set[str] = set()
        self._limits: dict[str, Limits] = {}
        self._transport = transport or Transport(connections=self.concurrency)
        self._threads = Threads(self.concurrency)
        self._under_way: dict[str, asyncio.Future[Any]] = {}
        self._rejections = 0

    @property
    def workers(self) -> int:
        """Returns how many jobs to work on side by side.

        A few more than requests, so that one is always on record and ready to go.
        """
        return self.concurrency + min(self.concurrency // 8, 16)

    @property
    def retries(self) -> int:
        """Returns how many requests were sent again."""
        return sum(limits.retries for limits in self._limits.values())

    async def generate(
        self,
        prompt: Prompt,
        *,
        sample: int = 0,
        check: Callable[[str], object] | None = None,
        generator: Generator | None = None,
    ) -> Reply:
        """See `protocols.Session.generate`."""
        llm = generator or self._generator
        check, why = check or _check_of(prompt), ""
        for again in range(_SAMPLES):
            reply = await self._uncut(llm, prompt, f"{sample}.{again}" if again else str(sample))
            if reply.error is not None:
                return reply
            try:
                value = check(reply.text)
            except InvalidReplyError as error:
                why = error.message
            else:
                return reply if value is None else altered(reply, value=value)
        return altered(reply, text="", error=f"invalid: {why}")

    async def first(self, prompt: Prompt, *, sample: int = 0) -> Reply:
        """Returns the first reply as it comes: cut off, empty, refused or rejected.

        Raises:
            StopRunError, RequestError: As `generate`.
        """
        name = str(sample)
        seeded_prompt = altered(prompt, seed=self._seed(prompt, name))
        return await self._answer(self._generator, seeded_prompt, name)

    async def fetch(self, key: str, fn: Callable[[], Any]) -> Any:
        """See `protocols.Session.fetch`."""
        key = _fetch_key(key)
        entry = await self._kept(key)
        if entry is None:
            entry = await self._once(key, lambda: self._fetch(key, fn))
        else:
            await self._count_behind(entry)
        return json.loads(entry.body)

    def fetched_at(self, key: str) -> str:
        """Returns the time, ISO 8601 in UTC, at which the ledger kept a value that was fetched.

        Raises:
            KeyError: It was not.
        """
        entry = self._ledger.get(_fetch_key(key))
        if entry is None:
            raise KeyError(key)
        return entry.at

    async def _fetch(self, key: str, fn: Callable[[], Any]) -> Entry:
        behind: list[str] = []
        outer = _BEHIND.set(behind)
        try:
            value = await self.call(fn)
        finally:
            _BEHIND.reset(outer)
        _BEHIND.get([]).extend(behind)
        headers = {"requests": " ".join(behind)} if behind else {}
        body = json.dumps(value, ensure_ascii=False).encode()
        return await self._ledger.append(Entry("fetch", key, body, headers=headers))

    async def _count_behind(self, entry: Entry) -> None:
        """Counts the replies that a fetched value rests on, as if they had been asked for again."""
        for key in entry.headers.get("requests", "").split():
            reply = await self._kept(key)
            if reply is not None:
                with contextlib.suppress(RetryableError, StopRunError):
                    self._count(self._generator, reply, read(self._generator, reply))
                    _BEHIND.get([]).append(key)

    async def _kept(self, key: str) -> Entry | None:
        """Returns what the ledger holds for a key, or takes it over from another run."""
        entry = self._ledger.get(key)
        if entry is None and (reused := self._reuse.get(key)) is not None:
            entry = await self._ledger.append(reused)
        return entry

    async def _uncut(self, llm: Generator, prompt: Prompt, sample: str) -> Reply:
        """Returns a reply that was not cut off, asked for with more room where it was."""
        seed = self._seed(prompt, sample)
        for doubling in range(_DOUBLINGS + 1):
            roomy = altered(prompt, max_tokens=prompt.max_tokens << doubling, seed=seed)
            reply = await self._answer(llm, roomy, sample)
            if reply.error is not None or reply.stop_reason != "max_tokens":
                break
        if reply.error is not None:
            return altered(reply, text="", error=f"rejected: {reply.error}")
        if reply.stop_reason == "max_tokens":
            return altered(reply, text="", error="cut off")
        if reply.stop_reason == "refusal":
            return altered(reply, text="", error="refused")
        return reply

    def _seed(self, prompt: Prompt, sample: str) -> int:
        return _sampling_seed(self.seed, sample) if prompt.seed is None else prompt.seed

    async def _answer(self, llm: Generator, prompt: Prompt, sample: str) -> Reply:
        """Returns the reply to one request; with `.error` where the provider rejected it.

        Raises:
            RetryableError: Every attempt failed.
            StopRunError: The run cannot go on.
            RequestError: A user's backend raised.
        """
        request = _Request.of(llm, prompt, sample)
        for kept in self._known(request):
            # A rejection is taken over from this run alone: another one may have had other limits.
            if kept is None or (kept.status >= 400 and kept.key not in self._ledger):
                continue
            with contextlib.suppress(RetryableError, StopRunError):
                reply = read(llm, kept)
                entry = kept if kept.key in self._ledger else await self._ledger.append(kept)
                self._count(llm, entry, reply)
                _BEHIND.get([]).append(entry.key)
                return altered(reply, entry=entry.n)
        reply = await self._once(request.key, lambda: self._ask(request))
        _BEHIND.get([]).append(request.key)
        return reply

    def _known(self, request: _Request) -> Iterable[Entry | None]:
        yield from map(self._ledger.get, request.keys)
        yield from map(self._reuse.get, request.keys)

    async def _once(self, key: str, make: Callable[[], Awaitable[_T]]) -> _T:
        """Returns what `make` gives; those who ask for the same key meanwhile wait for the same."""
        if key in self._under_way:
            result: _T = await asyncio.shield(self._under_way[key])
            return result
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            result = await make()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # marks it as seen where nobody else waits
            raise
        else:
            future.set_result(result)
            return result
        finally:
            del self._under_way[key]

    async def _ask(self, request: _Request) -> Reply:
        """Sends a request, once it is on record and may be sent, until an answer settles it."""
        limits = self._limits_of(request.llm)
        self._check()
        await self._ledger.append(Entry("request", request.key, request.sent))

        async def send(slot: Slot) -> Reply:
            self._check()
            return await self._send(request, limits, slot)

        try:
            return await limits.retrying(send, request.key, request.tokens)
        except RetryableError:
            raise
        except StopRunError as error:
            self.stopped = error
            raise
        except RequestError as error:
            if error.status not in _SETTLED:
                raise
            return await self._rejected(request, error)

    def _check(self) -> None:
        """Raises `StopRunError` where nothing more may be sent."""
        if self.stopped is not None:
            raise self.stopped
        self._ledger.check()
        if self._budget is not None and self.tally.usd >= self._budget:
            spent = f"The budget of {self._budget:g} USD is spent"
            raise StopRunError(spent, hint="Run it again with a larger one.")

    def _limits_of(self, llm: Generator) -> Limits:
        name = identity(llm)
        if name not in self._limits:
            self._limits[name] = Limits(
                self.concurrency,
                requests_per_minute=getattr(llm, "requests_per_minute", None),
                tokens_per_minute=getattr(llm, "tokens_per_minute", None),
                clock=self.clock,
            )
        return self._limits[name]

    async def _send(self, request: _Request, limits: Limits, slot: Slot) -> Reply:
        """Sends once. The answer is safe on disk before anything reads it."""
        self.requests += 1
        http, request.http = request.http, None
        if http is None and _over_http(request.llm):
            # Made anew: one is sent only once, and a server may have come up elsewhere.
            http = await self.call(request.llm.request, request.prompt)
        if http is None:
            answer = await self._call_backend(request)
        else:
            answer = await self._transport.send(http, now=self.clock.timestamp())
        fields = answer.headers.raw
        headers = {
            name.decode().lower(): value.decode("latin-1")
            for name, value in fields
            if name.lower() in _KEPT_HEADERS
        }
        entry = await self._ledger.append(
            Entry("reply", request.key, answer.body, answer.status, headers)
        )
        self._rejections = 0
        reply = read(request.llm, entry)  # an error inside a success is classified here
        self._count(request.llm, entry, reply)
        limits.succeeded(slot, reply.usage.input_tokens + reply.usage.output_tokens, fields)
        return reply

    async def _call_backend(self, request: _Request) -> Answer:
        llm = request.llm
        try:
            reply = await self.call(llm.generate, request.prompt)
        except SeedfreeError:
            raise
        except Exception as error:
            raise RequestError(f"{identity(llm)} raised {type(error).__name__}: {error}") from error
        if not isinstance(reply, Reply):
            what = f"{identity(llm)} returned {type(reply).__name__}"
            raise RequestError(what, hint="Return a Reply.")
        # Not what the session adds to a reply: that is no part of what the backend said.
        kept = {name: getattr(reply, name) for name in ("text", "stop_reason", "model", "error")}
        kept["usage"] = asdict(reply.usage)
        return Answer(200, httpx.Headers(), json.dumps(kept, ensure_ascii=False).encode())

    async def _rejected(self, request: _Request, error: RequestError) -> Reply:
        self._rejections += 1
        if self._rejections == _REJECTIONS:
            self.stopped = StopRunError(
                f"{_REJECTIONS} requests in a row were rejected: {error.message}",
                hint="Change what the provider does not take; for servers without JSON schemas, "
                'structured="json_object" or "prompt".',
            )
        text = str(error) if error.hint else error.message
        entry = await self._ledger.append(
            Entry("reply", request.key, text.encode(), error.status or 400)
        )
        reply = read(request.llm, entry)
        self._count(request.llm, entry, reply)
        return reply

    def _count(self, llm: Generator, entry: Entry, reply: Reply) -> None:
        if entry.key in self._counted:
            return
        self._counted.add(entry.key)
        if id(llm) not in self._prices:
            self._prices[id(llm)] = self._price_of(llm)
        self.tally.add(reply.usage, self._prices[id(llm)])
        self._on_reply()

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Calls a component's method: an `async def` here, a plain `def` in a thread."""
        if inspect.iscoroutinefunction(fn):
            return await outcome(fn(*args))
        return await self._threads.call(fn, *args)

    async def bind(self, component: object) -> None:
        """Calls a component's `bind(session)`, where it has one."""
        fn: Callable[..., Any] | None = getattr(component, "bind", None)
        if fn is not None:
            await self.call(fn, self)

    async def close(self, components: Iterable[object]) -> None:
        """Calls each component's `close()`, where it has one, and ends connections and threads."""
        for component in components:
            fn: Callable[[], Any] | None = getattr(component, "close", None)
            if fn is not None:
                await self.call(fn)
        await self._transport.close()
        self._threads.close()


@dataclass(slots=True)
class _Request:
    """A prompt on its way to an LLM.

    Attributes:
        http: What is sent first; `None` once it is sent, and for a backend whose method is called
            instead.
        sent: The bytes that its key is made from.
        keys: Its key, and after it the one that an earlier version gave it.
    """

    llm: Generator
    prompt: Prompt
    http: httpx.Request | None
    sent: bytes
    keys: list[str]

    @classmethod
    def of(cls, llm: Generator, prompt: Prompt, sample: str) -> _Request:
        http: httpx.Request | None = None
        if _over_http(llm):
            http = llm.request(prompt)
            sent = f"{http.url.path}\x1f".encode() + http.content
        else:
            unset = {name for name in _LATER if getattr(prompt, name) is None}
            sent = _PROMPT.dump_json(prompt, exclude=unset)
        keys = [_key(identity(llm), sent, sample)]
        if not getattr(llm, "identity", None):  # up to 0.1.0 the module was part of the name
            kind = type(llm)
            keys.append(_key(f"{kind.__module__}.{kind.__qualname__}", sent, sample))
        return cls(llm, prompt, http, sent, keys)

    @property
    def key(self) -> str:
        return self.keys[0]

    @property
    def tokens(self) -> int:
        """Returns what it may use at most: about a token for three bytes, in any script."""
        return len(self.sent) // 3 + self.prompt.max_tokens


def _key(name: str, sent: bytes, sample: str) -> str:
    return hashlib.sha256(b"\x1f".join((name.encode(), sent, sample.encode()))).hexdigest()


def _fetch_key(key: str) -> str:
    return upgraded(f"fetch:{key}")


def _over_http(generator: Generator) -> TypeGuard[HTTPGenerator]:
    # isinstance() of a protocol takes as long as all else that a request needs here.
    return hasattr(generator, "request") and hasattr(generator, "reply")


@functools.lru_cache
def _sampling_seed(seed: int, sample: str) -> int:
    return seeded(seed, sample).getrandbits(31)


def _check_of(prompt: Prompt) -> Callable[[str], object]:
    """Returns the check of a prompt that brings none: by its schema, or for any text at all."""
    schema = prompt.json_schema
    if schema is None:
        return _check_text

    def check(text: str) -> object:
        import jsonschema

        value = find_json(text)
        try:
            jsonschema.validate(value, dict(schema))
        except jsonschema.ValidationError as error:
            where = ".".join(map(str, error.path)) or "reply"
            raise InvalidReplyError(f"{where}: {error.validator} fails") from None
        except RecursionError:
            raise InvalidReplyError("reply: nested too deeply") from None
        return value

    return check


def _check_text(text: str) -> None:
    if not text.strip():
        raise InvalidReplyError("The reply is empty")


def identity(generator: Generator) -> str:
    """Returns the name under which a generator's replies are kept and its rows are published."""
    given = getattr(generator, "identity", None)
    return str(given) if given else type(generator).__name__


def read(generator: Generator, entry: Entry) -> Reply:
    """Reads a kept answer: a pure function of the entry. A rejected one has `.error`.

    Raises:
        RetryableError, StopRunError: The answer is the provider's error for now, or for every
            request.
    """
    try:
        if entry.status >= 400:
            raise RequestError(entry.body.decode("utf-8", "replace"), status=entry.status)
        if _over_http(generator):
            headers = httpx.Headers(dict(entry.headers))
            return altered(generator.reply(entry.status, headers, entry.body), entry=entry.n)
        return altered(_REPLY.validate_json(entry.body), entry=entry.n)
    except (RetryableError, StopRunError):
        raise
    except Exception as error:
        # A user's backend may raise anything; the bytes are kept, so it costs nothing.
        plain = error.message if isinstance(error, SeedfreeError) else None
        message = plain or f"{type(error).__name__}: {error}"
        return Reply("", stop_reason="rejected", error=message, entry=entry.n)


def ready(component: object) -> None:
    """Calls a component's `ready()`, if any: it raises `ConfigError` for what would fail later."""
    fn: Callable[[], None] | None = getattr(component, "ready", None)
    if fn is not None:
        fn()
