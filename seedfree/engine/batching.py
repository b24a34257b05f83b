"""Many requests in one batch of the provider's: for less money, with an answer within a day.

What a run asks is collected until nothing more can be asked without an answer, and is then
submitted, in one batch for each model. Whoever asked waits, and knows of no batch.

A wait may take a day. So these are asked at once instead, at the full price: few requests, which
would save cents; those on which everything else hangs; and the first of a stage, which tell whether
it can succeed before more is paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from seedfree.engine.accounts import Accounts
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.loop import Clock
from seedfree.engine.places import published
from seedfree.engine.pool import Pool
from seedfree.engine.request import Request, identity
from seedfree.engine.submission import Submission, left_behind
from seedfree.errors import RequestError, RetryableError, StopRunError
from seedfree.protocols import BatchEndpoint, BatchState

__all__ = ["Batches", "endpoint_of", "endpoints"]

_LOG = logging.getLogger("seedfree")
# Fewer requests than these are asked at once: of one stage, and of all. They grow with the run.
_FEW, _FEW_IN_ALL = 25, 75
_JOBS = 1250
# Stages whose requests wait for each other, many times.
_AT_ONCE = frozenset({"topics"})
# Seconds after which what is collected is submitted although somebody is still at work: a part of
# the user's may hold a lock of its own while it waits for its answer.
_PATIENCE = 300.0


def endpoint_of(generator: object) -> BatchEndpoint | None:
    """Returns where a generator's provider takes batches; `None` if it takes none."""
    endpoint: BatchEndpoint | None = getattr(generator, "batches", None)
    return endpoint


def endpoints(generators: Iterable[object]) -> Callable[[str], BatchEndpoint | None]:
    """Returns a function that gives the endpoint of a generator by its name in the ledger."""
    named = {published(identity(each)): endpoint_of(each) for each in generators}
    return named.get


class _Again(RetryableError):
    """The batch was too large, and none of its requests was asked."""


@dataclass
class Batches:
    """The batches of one run.

    Args:
        collects: Whether requests go into batches. Those that are in one already are waited for in
            any case: they are paid for.
        proven: Tells of a stage whether it has had a success.
        check: Raises `StopRunError` where nothing more may be sent.
        stop: Called with the reason once that is so.
        accounts: Say what may be spent, and hear of answers that nobody has asked for yet.
    """

    ledger: Ledger
    transport: Transport
    clock: Clock
    collects: bool
    proven: Callable[[str], bool]
    check: Callable[[], None]
    stop: Callable[[StopRunError], None]
    accounts: Accounts
    _pool: Pool | None = None
    _jobs: Callable[[], int] = lambda: 0
    _collected: list[Request] = field(default_factory=list)
    _waiting: dict[str, asyncio.Future[Entry | RequestError | None]] = field(default_factory=dict)
    _under_way: list[Submission] = field(default_factory=list)
    # Keys of the requests that are in a batch.
    _batched: set[str] = field(default_factory=set)
    # Keys of the requests that wait for what the batches leave of the budget.
    _short: set[str] = field(default_factory=set)
    # Keys of answers that came before anybody had asked.
    _arrived: set[str] = field(default_factory=set)
    # Most requests of a batch of models whose provider had to refuse one for its size.
    _most: dict[str, int] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _flushing: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    def watch(self, pool: Pool, jobs: Callable[[], int]) -> None:
        """Takes note of whose work asks, and of how many jobs the run takes in all."""
        self._pool, pool.on_still = pool, self._flush_soon
        # Never more than can be collected: the limits of the few would grow past it.
        self._jobs = lambda: min(jobs(), pool.width)

    @property
    def keys(self) -> Set[str]:
        """Returns the keys of the requests that are in a batch."""
        return self._batched

    @property
    def under_way(self) -> list[Mapping[str, Any]]:
        """Returns what is known of each batch, for `status.json`."""
        return [
            {
                "id": each.id,
                "model": each.model,
                "requests": len(each.keys),
                "answered": each.answered,
                "since": each.since,
            }
            for each in self._under_way
        ]

    async def answer(self, request: Request) -> Entry | None:
        """Returns the kept answer to a request, once a batch has brought it.

        Returns:
            `None` for a request that does not go into a batch.

        Raises:
            RetryableError: The batch ended without an answer to it.
            StopRunError, RequestError: As `Transport.send`.
        """
        key = request.key
        if key in self._arrived:
            self._arrived.remove(key)
            return self.ledger.get(key)
        answer: Entry | RequestError | None = _Again("")
        while isinstance(answer, _Again):
            if key not in self._batched:
                if not (self.collects and endpoint_of(request.llm)):
                    return None
                if request.stage in _AT_ONCE or not self.proven(request.stage):
                    return None
                request.http = None  # as many bytes again
                self._collected.append(request)
                self._arm()
            answer = await self._wait(key)
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def room(self, request: Request) -> None:
        """Waits until the batches under way leave something of the budget, or none is under way.

        Raises:
            StopRunError: The run is over before.
        """
        while self._under_way and (left := self._left) is not None and left <= 0:
            self._short.add(request.key)
            answer = await self._wait(request.key)
            if isinstance(answer, RequestError):
                raise answer

    async def _wait(self, key: str) -> Entry | RequestError | None:
        waiting: asyncio.Future[Entry | RequestError | None]
        waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            with self.still():
                return await waiting
        finally:
            del self._waiting[key]

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Marks a wait that only an answer ends."""
        if self._pool is None:
            self._flush_soon()
        with self._pool.still() if self._pool else contextlib.nullcontext():
            yield

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._submit_collected)

    def _flush_soon(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        # Those who have just got an answer go on first.
        for _ in range(3):
            await asyncio.sleep(0)
        if self._pool is None or self._pool.all_still:
            self._submit_collected()

    def _submit_collected(self) -> None:
        """Submits what is collected, as far as the budget goes; or says why nothing goes on."""
        if not self._waiting:
            return
        try:
            if self._pool is not None and (error := self._pool.error) is not None:
                raise error if isinstance(error, StopRunError) else StopRunError("The run failed")
            self.check()
        except StopRunError as error:
            self._release(error)
            return
        collected, self._collected = self._collected, []
        if few := self._few(collected):
            # What their answers lead to may go with the others.
            self._collected = [each for each in collected if each.key not in few]
            for key in few:
                self._wake(key, None)
            return
        by_model: dict[str, list[Request]] = defaultdict(list)
        for request in self._affordable(collected):
            by_model[published(identity(request.llm))].append(request)
        for model, requests in by_model.items():
            self._submit(model, requests)
        if self._collected and not self._under_way:
            spent = "What is left of the budget pays for no further request"
            self._release(StopRunError(spent, hint="Run it again with a larger one."))

    def _few(self, requests: Sequence[Request]) -> set[str]:
        """Returns the keys of the requests that are worth no wait."""
        scale = max(1, self._jobs() // _JOBS)
        stages = Counter((id(each.llm), each.stage) for each in requests)
        few = math.inf if len(requests) < scale * _FEW_IN_ALL else scale * _FEW
        return {each.key for each in requests if stages[id(each.llm), each.stage] < few}

    def _affordable(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Returns the requests that the budget pays for; the others stay collected."""
        left = self._left
        if left is None:
            return requests
        for i, request in enumerate(requests):
            left -= self.accounts.expected_usd(request)
            if left < 0:
                self._collected += requests[i:]
                return requests[:i]
        return requests

    @property
    def _left(self) -> float | None:
        """Returns the USD that may be spent beside the batches under way; `None` for no limit."""
        left = self.accounts.left
        return None if left is None else left - sum(each.usd for each in self._under_way)

    def _submit(self, model: str, requests: Sequence[Request]) -> None:
        """Submits requests to one model, in as many batches as they need."""
        endpoint = endpoint_of(requests[0].llm)
        assert endpoint is not None  # else they were not collected
        most = self._most.get(model, endpoint.most_requests)
        members, lines, size = list[Request](), list[bytes](), 0
        for request in requests:
            line = endpoint.line(request.key, request.sent.partition(b"\x1f")[2])
            if members and (len(members) == most or size + len(line) > endpoint.most_bytes):
                self._begin(model, endpoint, members, lines)
                members, lines, size = [], [], 0
            members.append(request)
            lines.append(line)
            size += len(line) + 1  # what stands between two of them
        self._begin(model, endpoint, members, lines)

    def _begin(
        self, model: str, endpoint: BatchEndpoint, members: list[Request], lines: list[bytes]
    ) -> None:
        # One at a time where more would be too much for the provider.
        if model in self._most and any(each.model == model for each in self._under_way):
            self._collected += members
            return
        keys = [request.key for request in members]
        batch = Submission(self.ledger, self.transport, self.clock, endpoint, model, keys)
        batch.usd = sum(map(self.accounts.expected_usd, members))

        async def submit() -> bool:
            await batch.submit(lines)
            lines.clear()
            return True

        self._start(batch, submit)

    def resume(self, models: Iterable[object]) -> None:
        """Goes on with the batches that an earlier process left.

        Args:
            models: Those that the run may ask.
        """
        for batch in left_behind(self.ledger, self.transport, self.clock, endpoints(models)):
            self._start(batch, _there if batch.id else batch.find)

    def _start(self, batch: Submission, first: Callable[[], Awaitable[bool]]) -> None:
        self._under_way.append(batch)
        self._batched.update(batch.keys)
        task = asyncio.create_task(self._follow(batch, first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, batch: Submission, first: Callable[[], Awaitable[bool]]) -> None:
        """Sees a batch to its end, and hands out what it brings.

        Args:
            first: Returns whether the provider has it.
        """
        answers: Mapping[str, Entry | RequestError] = {}
        lost: RequestError = RetryableError("The batch ended without an answer")
        try:
            if await first():
                state = await batch.finished()
                if state.fault:
                    lost = self._refused(batch, state)
                else:
                    answers = await batch.read(state)
            await batch.end()
        except Exception as error:  # those who wait must hear of it, whatever it is
            lost = error if isinstance(error, StopRunError) else StopRunError(f"A batch: {error}")
        self._under_way.remove(batch)
        self._hand_out(batch.keys, answers, lost)
        while self._short:
            self._wake(self._short.pop(), None)
        if isinstance(lost, StopRunError):
            self.stop(lost)
            self._release(lost)
        self._flush_soon()  # what was too much, or too dear, beside this one

    def _refused(self, batch: Submission, state: BatchState) -> RequestError:
        """Returns what it means that a provider took none of a batch's requests."""
        if state.too_large and len(batch.keys) > 1:
            self._most[batch.model] = len(batch.keys) // 2
            return _Again(state.fault)
        what = f"A batch was refused: {state.fault}"
        return StopRunError(what, hint="Run it without batch=True.")

    def _hand_out(
        self,
        keys: Iterable[str],
        answers: Mapping[str, Entry | RequestError],
        otherwise: RequestError,
    ) -> None:
        for key in keys:
            self._batched.discard(key)
            answer = answers.get(key, otherwise)
            if key not in self._waiting and isinstance(answer, Entry):
                self._arrived.add(key)
                self.accounts.count_early(answer)
            self._wake(key, answer)

    def _release(self, error: StopRunError) -> None:
        """Ends every wait. What is under way stays with the provider, for the next run."""
        self._collected = []
        for key in self._waiting:
            self._wake(key, error)

    def _wake(self, key: str, answer: Entry | RequestError | None) -> None:
        """Gives whoever waits for a request its answer; `None` to have it asked alone."""
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def close(self) -> None:
        """Lets go of what is under way; the ledger knows it."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks, *([self._flushing] if self._flushing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._under_way:
            text = "%d batches stay with the provider; run it again to collect their answers"
            _LOG.warning(text, len(self._under_way))


async def _there() -> bool:
    return True
