"""One way to ask: a prompt becomes a reply, a key a fetched value, and the ledger keeps both.

A request reads straight down: `generate` samples until a reply is usable, `_answer` looks into the
ledger, `_ask` waits for a slot and tries again, `_send` sends. Then the same way back: the bytes
that came are safe on disk before anything reads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from seedfree._seeds import seeded
from seedfree.engine.accounts import Accounts
from seedfree.engine.batching import Batches
from seedfree.engine.connections import open_files
from seedfree.engine.gate import REJECTED_HINT, Gate, piece
from seedfree.engine.http import Answer, Transport
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.limits import A_DAY, LONGEST_WAIT, Limits, Slot
from seedfree.engine.loop import Clock, Threads, outcome
from seedfree.engine.names import upgraded
from seedfree.engine.places import published
from seedfree.engine.request import Request, identity, over_http, read
from seedfree.engine.schema import check_of
from seedfree.engine.usage import Price
from seedfree.errors import (
    InvalidReplyError,
    RequestError,
    RetryableError,
    SeedfreeError,
    StopRunError,
)
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Prompt, Reply, altered

__all__ = ["RunSession", "identity", "ready"]

_LOG = logging.getLogger("seedfree")
_T = TypeVar("_T")

# Times that a prompt is sampled until its reply can be read.
_SAMPLES = 3
# Times that `max_tokens` is doubled for a reply that was cut off.
_DOUBLINGS = 3
# Answers that settle a request although they hold no text: asking again would give the same.
_SETTLED = frozenset({400, 404, 413, 422})
# After so many rejections without one success, it is the settings that are wrong.
_REJECTIONS = 20
# Times that a request goes into a batch until it is answered.
_BATCHES = 3
# Jobs side by side where batches are asked: their prompts fit into half a gigabyte.
_IN_BATCHES = 10_000
_KEPT_HEADERS = frozenset({b"content-type", b"request-id", b"x-request-id"})
# Keys of the requests that the value being fetched rests on.
_BEHIND: ContextVar[list[str]] = ContextVar("behind")


class RunSession:
    """Implements `protocols.Session` over one ledger.

    Args:
        ledger: Keeps every request and reply. The caller closes it.
        generator: The LLM of prompts that name no other.
        language: Of the run.
        seed: Of the run; gives every sample of a prompt its own sampling seed.
        concurrency: Requests under way at most, for each model of each provider; at least 1.
        reuse: Replies of other runs by key, taken over instead of asking.
        price_of: Returns the price of a generator or an encoder, `None` where it is not known.
        budget_usd: No request is sent once this much is spent.
        on_reply: Called after each reply that is new to the tally.
        tasks: Names of the run's tasks.
        grounded_tasks: Names of those whose answers must stand in the context; `None` if unknown.
        folder: The run's. A component that keeps files makes a folder of its own in it.
        batch: Whether to ask in batches, where a generator's provider takes them.
        wait_for_quota: Whether to wait for a quota that comes back within about a day.

    Attributes:
        requests: Requests that this process has sent.
        gate: Lets work begin, and counts what became of it.
        batches: The batches under way.
        stopped: Why nothing more is sent, once that is so.
        accounts: What it has paid.
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
        price_of: Callable[[object], Price | None] = lambda _: None,
        budget_usd: float | None = None,
        on_reply: Callable[[], None] = lambda: None,
        tasks: tuple[str, ...] = (),
        grounded_tasks: frozenset[str] | None = None,
        folder: Path | None = None,
        batch: bool = False,
        wait_for_quota: bool = False,
    ) -> None:
        self.language, self.seed, self.folder = language, seed, folder
        self.tasks, self.grounded_tasks = tasks, grounded_tasks
        self.clock = clock or Clock()
        # A transport of the caller's has no files that the system could limit.
        self.concurrency = concurrency if transport else open_files(concurrency)
        self.requests = 0
        self.stopped: StopRunError | None = None
        self.accounts = Accounts(
            ledger, generator, price_of=price_of, budget_usd=budget_usd, on_reply=on_reply
        )
        self._ledger, self._reuse = ledger, reuse or {}
        self._generator = generator
        self.gate = Gate(self._stop, lambda: self.batches.still())
        self._width = _IN_BATCHES if batch else self.concurrency + min(self.concurrency // 8, 16)
        self._longest_wait = A_DAY if wait_for_quota else LONGEST_WAIT
        self._limits: dict[str, Limits] = {}
        self._transport = transport or Transport(connections=self.concurrency)
        self._threads = Threads(self.concurrency)
        self._under_way: dict[str, asyncio.Future[Any]] = {}
        self._rejections = 0
        self.batches = Batches(
            ledger,
            self._transport,
            self.clock,
            collects=batch,
            proven=self.gate.proven,
            check=self._check_stopped,
            stop=self._stop,
            accounts=self.accounts,
        )

    @property
    def workers(self) -> int:
        """Returns how many jobs to work on side by side.

        A few more than requests, so that one is always on record and ready to go.
        """
        return self._width

    @property
    def waiting_until(self) -> str | None:
        """Returns the time, ISO 8601 in UTC, at which a provider is asked again that said when."""
        paused = max((limits.paused for limits in self._limits.values()), default=0.0)
        if not paused:
            return None
        at = datetime.fromtimestamp(self.clock.timestamp() + paused, UTC)
        return at.isoformat(timespec="seconds").replace("+00:00", "Z")

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
        check, why = check or check_of(prompt.json_schema), ""
        text = ""
        for again in range(_SAMPLES):
            reply = await self._uncut(llm, prompt, f"{sample}.{again}" if again else str(sample))
            if reply.error is not None:
                return reply
            try:
                value = check(reply.text)
            except InvalidReplyError as error:
                why, text = error.message, reply.text
            else:
                piece().got = True
                return reply if value is None else altered(reply, value=value)
        piece().lose("invalid", f"{why}; {text}")
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
        self._ledger.check()
        piece().paid = True
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
                    self._take(self._generator, reply)
                    _BEHIND.get([]).append(key)

    async def _kept(self, key: str) -> Entry | None:
        """Returns what the ledger holds for a key, or takes it over from another run."""
        entry = self._ledger.get(key)
        reused = self._reuse.get(key)
        if entry is None and reused is not None and not self._rests_on_rejection(reused):
            entry = await self._ledger.append(reused)
        return entry

    def _rests_on_rejection(self, entry: Entry) -> bool:
        """Tells whether a request behind another run's fetched value was rejected there.

        Here it may be taken: another run may have had other limits.
        """
        for key in entry.headers.get("requests", "").split():
            reply = self._reuse.get(key)
            with contextlib.suppress(RetryableError, StopRunError):
                if reply is not None and read(self._generator, reply).error is not None:
                    return True
        return False

    async def _uncut(self, llm: Generator, prompt: Prompt, sample: str) -> Reply:
        """Returns a reply that was not cut off, asked for with more room where it was."""
        seed = self._seed(prompt, sample)
        for doubling in range(_DOUBLINGS + 1):
            roomy = altered(prompt, max_tokens=prompt.max_tokens << doubling, seed=seed)
            reply = await self._answer(llm, roomy, sample)
            if reply.error is not None or reply.stop_reason != "max_tokens":
                break
        if reply.error is not None:
            piece().lose("rejected", reply.error)
            return altered(reply, text="", error=f"rejected: {reply.error}")
        if reply.stop_reason == "max_tokens":
            piece().lose("cut off", reply.text)
            return altered(reply, text="", error="cut off")
        if reply.stop_reason == "refusal":
            piece().lose("refused", reply.text)
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
        request = Request.of(llm, prompt, sample)
        for kept in self._known(request):
            if kept is None:
                continue
            with contextlib.suppress(RetryableError, StopRunError):
                reply, own = read(llm, kept), kept.key in self._ledger
                # Taken over from this run alone: another one may have had other limits.
                if reply.error is not None and not own:
                    continue
                entry = kept if own else await self._ledger.append(kept)
                self.accounts.settle(llm, entry, reply, len(request.sent))
                _BEHIND.get([]).append(entry.key)
                return altered(reply, entry=entry.n)
        reply = await self._once(request.key, lambda: self._ask(request))
        _BEHIND.get([]).append(request.key)
        return reply

    def _known(self, request: Request) -> Iterable[Entry | None]:
        yield from map(self._ledger.get, request.keys)
        yield from map(self._reuse.get, request.keys)

    async def _once(self, key: str, make: Callable[[], Awaitable[_T]]) -> _T:
        """Returns what `make` gives; those who ask for the same key meanwhile wait for the same."""
        if key in self._under_way:
            with self.batches.still():
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

    async def _ask(self, request: Request) -> Reply:
        """Sends a request, once it is on record and may be sent, until an answer settles it."""
        limits = self._limits_of(request.llm)
        self._check()
        # Its price is counted from the ledger, which must know what was asked.
        piece().paid = True
        asked = {"generator": published(identity(request.llm)), "stage": piece().stage}
        await self._ledger.append(Entry("request", request.key, request.sent, headers=asked))

        async def send(slot: Slot) -> Reply:
            self._check()
            return await self._send(request, limits, slot)

        try:
            batched = await self._ask_in_batch(request)
            if batched is not None:
                return batched
            await self.batches.room(request)
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

    async def _ask_in_batch(self, request: Request) -> Reply | None:
        """Returns the answer that a batch brings; `None` where the request goes into none."""
        for left in reversed(range(_BATCHES)):
            try:
                entry = await self.batches.answer(request)
                if entry is None:
                    return None
                self._rejections = 0
                return self._take(request.llm, entry, len(request.sent))
            except RetryableError:  # expired, canceled, or an error inside a success
                if not left:
                    raise
        raise AssertionError("the last attempt raises")

    def _stop(self, error: StopRunError) -> None:
        self.stopped = self.stopped or error

    def _check(self) -> None:
        """Raises `StopRunError` where nothing more may be sent."""
        self._check_stopped()
        self.accounts.check()

    def _check_stopped(self) -> None:
        if self.stopped is not None:
            raise self.stopped
        self._ledger.check()

    def _limits_of(self, llm: Generator) -> Limits:
        name = identity(llm)
        if name not in self._limits:
            self._limits[name] = Limits(
                self.concurrency,
                requests_per_minute=getattr(llm, "requests_per_minute", None),
                tokens_per_minute=getattr(llm, "tokens_per_minute", None),
                clock=self.clock,
                longest_wait=self._longest_wait,
            )
        return self._limits[name]

    async def _send(self, request: Request, limits: Limits, slot: Slot) -> Reply:
        """Sends once. The answer is safe on disk before anything reads it."""
        self.requests += 1
        http, request.http = request.http, None
        if http is None and over_http(request.llm):
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
        reply = self._take(request.llm, entry, len(request.sent))
        limits.succeeded(slot, reply.usage.input_tokens + reply.usage.output_tokens, fields)
        return reply

    async def _call_backend(self, request: Request) -> Answer:
        llm = request.llm
        try:
            reply = await self.call(llm.generate, request.prompt)
        except SeedfreeError:
            raise
        except Exception as error:
            name = published(identity(llm))
            raise RequestError(f"{name} raised {type(error).__name__}: {error}") from error
        if not isinstance(reply, Reply):
            what = f"{published(identity(llm))} returned {type(reply).__name__}"
            raise RequestError(what, hint="Return a Reply.")
        # Not what the session adds to a reply: that is no part of what the backend said.
        kept = {name: getattr(reply, name) for name in ("text", "stop_reason", "model", "error")}
        kept["usage"] = asdict(reply.usage)
        return Answer(200, httpx.Headers(), json.dumps(kept, ensure_ascii=False).encode())

    async def _rejected(self, request: Request, error: RequestError) -> Reply:
        self._rejections += 1
        if self._rejections == _REJECTIONS:
            self.stopped = StopRunError(
                f"{_REJECTIONS} requests in a row were rejected: {error.message}",
                hint=REJECTED_HINT,
            )
        text = str(error) if error.hint else error.message
        entry = await self._ledger.append(
            Entry("reply", request.key, text.encode(), error.status or 400)
        )
        return self._take(request.llm, entry)

    def _take(self, llm: Generator, entry: Entry, sent: int = 0) -> Reply:
        """Reads a kept answer and counts it.

        Args:
            sent: Bytes of what it answers, for servers that report no usage.
        """
        try:
            reply = read(llm, entry)
        except (RetryableError, StopRunError):  # an error inside a success may be billed, too
            self.accounts.count(llm, entry, None, sent)
            raise
        self.accounts.settle(llm, entry, reply, sent)
        return reply

    async def paid(self, model: object, body: bytes, sent: int, stage: str) -> None:
        """See `protocols.Session.paid`."""
        await self.accounts.paid(model, body, sent, stage)

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
        """Calls each component's `close()`, where it has one, and ends connections and threads.

        Raises:
            Exception: The first of those that were raised, once all else has ended.
        """
        ends: list[Callable[[], Any] | None]
        ends = [getattr(component, "close", None) for component in components]
        ends += [self._keep_paid, self.batches.close, self._transport.close]
        failed: Exception | None = None
        for end in ends:
            try:
                if end is not None:
                    await self.call(end)
            except Exception as error:  # what is left must end all the same
                failed = failed or error
        self._threads.close()
        if failed is not None:
            raise failed

    async def _keep_paid(self) -> None:
        with contextlib.suppress(StopRunError):
            await self.accounts.keep_paid()


def _fetch_key(key: str) -> str:
    return upgraded(f"fetch:{key}")


@functools.lru_cache
def _sampling_seed(seed: int, sample: str) -> int:
    return seeded(seed, sample).getrandbits(31)


def ready(component: object) -> None:
    """Calls a component's `ready()`, if any: it raises `ConfigError` for what would fail later."""
    fn: Callable[[], None] | None = getattr(component, "ready", None)
    if fn is not None:
        fn()
