"""One batch at its provider: submitted once, looked for, waited for, and read.

The ledger knows a batch before the provider does (`batch`: the keys of its requests), then its id
(`batch-id`), then every answer, then that it is over (`batch-end`). A process that ends anywhere
between leaves the next one enough to go on: a batch whose id was not recorded is looked for at the
provider before anything of it is asked again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx

from seedfree.engine.http import Answer, Transport, UnreachableError, classify
from seedfree.engine.ledger import Entry, Ledger
from seedfree.engine.loop import Clock, side_by_side
from seedfree.errors import RequestError, RetryableError, StopRunError
from seedfree.protocols import BatchEndpoint, BatchState

__all__ = ["Submission", "cancel_batches", "left_behind"]

_LOG = logging.getLogger("seedfree")
_T = TypeVar("_T")
# Seconds between two looks at a batch: a small one may take a minute, a large one hours.
_FIRST_LOOK, _LONGEST_LOOK = 10.0, 300.0
# Seconds until a batch whose submission got no answer is sure to be listed.
_SETTLING = 30.0
# Times that a submission is tried, and that results are read which lack lines.
_ATTEMPTS, _READS = 8, 3
_LONGEST_BACKOFF = 60.0
_GONE = frozenset({404, 410})
# Answers that are handed to the ledger before they are waited for.
_AT_ONCE = 500
_NOT_TAKEN = "Run it without batch=True."
_OTHER_KEY = (
    "Use the API key of the workspace that submitted it, or start a new run with reuse=[this "
    "folder]."
)
_AGAIN = "Cancel again, or end it at the provider."
_BY_HAND = "If it is yours, end it at the provider."


@dataclass
class Submission:
    """A batch that is not over.

    Attributes:
        model: Its name in the ledger.
        keys: Of its requests.
        name: Its own, by which the ledger knows it.
        marker: Tells it from batches that were there before; see `BatchEndpoint.marker`.
        id: The provider's; empty until it is known.
        since: When it was submitted, ISO 8601 in UTC.
        usd: What it will cost, about; 0 where an earlier version did not record it.
        answered: Requests that the provider is done with, as far as it says.
    """

    ledger: Ledger
    transport: Transport
    clock: Clock
    endpoint: BatchEndpoint
    model: str
    keys: Sequence[str]
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    marker: str = ""
    id: str = ""
    since: str = ""
    usd: float = 0.0
    answered: int = 0

    async def submit(self, lines: Sequence[bytes]) -> None:
        """Hands the requests to the provider, once.

        Raises:
            RetryableError: Nobody knows whether the provider has them.
            StopRunError: It does not take them.
        """
        with _taken():
            self.marker = await self._surely(lambda: self.endpoint.marker(self._send))
        headers = {"generator": self.model, "marker": self.marker, "usd": repr(self.usd)}
        body = json.dumps({"keys": list(self.keys)}).encode()
        self.since = (await self._append("batch", body, headers)).at
        for attempt in range(_ATTEMPTS):
            try:
                with _taken():
                    id = await self.endpoint.submit(self.name, lines, self._send)
                await self._keep_id(id)
                return
            except RetryableError as error:
                if attempt + 1 == _ATTEMPTS:
                    raise
                await self._pause(error, attempt)
                # Without an answer, nobody here knows whether they were taken.
                in_doubt = not isinstance(error, UnreachableError) and error.status != 429
                if in_doubt and await self.find():
                    return
            except StopRunError:
                await self.end()  # nothing was taken that anybody has to look for
                raise

    async def find(self) -> bool:
        """Looks for the batch where its submission got no answer.

        Returns:
            Whether the provider has it. Its id is then on record.
        """
        for pause in (0.0, _SETTLING):
            await self.clock.sleep(pause)
            if await self._find():
                return True
        return False

    async def _find(self) -> bool:
        ids = await self._candidates()
        for self.id in ids:
            # Only its results say for sure whose it is.
            try:
                state = await self.finished()
                own = await self._surely(partial(self._is_own, state))
            except RequestError as error:
                if error.status not in _GONE:
                    raise
                own = False  # deleted, or its results have expired
            if own:
                await self._keep_id(self.id)
                return True
        self.id = ""
        return False

    async def _candidates(self) -> list[str]:
        return await self._surely(
            lambda: self.endpoint.find(self.name, len(self.keys), self.marker, self._send)
        )

    async def _is_own(self, state: BatchState) -> bool:
        keys = set(self.keys)
        for request in self.endpoint.results(self.id, state):
            async with contextlib.aclosing(self._lines(request)) as lines:
                async for line in lines:
                    if (result := self.endpoint.result(line)) is not None:
                        return result.key in keys
        return False

    async def finished(self) -> BatchState:
        """Waits until the provider has ended the batch, through every fault that may pass.

        Raises:
            StopRunError: The provider does not know it, or refuses the key.
        """
        wait = _FIRST_LOOK
        while True:
            pause = wait
            try:
                with self._named(""):
                    state = await self.endpoint.state(self.id, self._send)
            except RetryableError as error:
                pause = max(wait, error.retry_after or 0.0)
                _LOG.info("Batch %s: %s; it is looked at again", self.id, error.message)
            else:
                self.answered = state.answered
                if state.ended:
                    return state
            await self.clock.sleep(pause)
            wait = min(1.5 * wait, _LONGEST_LOOK)

    async def cancel(self) -> bool:
        """Asks the provider to end the batch.

        Returns:
            Whether it was under way.

        Raises:
            StopRunError: The provider does not end it, or nobody knows which one it is.
        """
        if not self.id:
            await self._check_unnamed()
            return False
        try:
            return await self._surely(self._cancel)
        except RequestError as error:
            what, hint = f"Batch {self.id} is not canceled: {error.message}", error.hint
            raise StopRunError(what, hint=hint or _AGAIN, status=error.status) from error

    async def _cancel(self) -> bool:
        if (await self.endpoint.state(self.id, self._send)).ended:
            return False
        try:
            await self.endpoint.cancel(self.id, self._send)
        except RetryableError as error:
            if error.status != 409:
                raise
            return False  # it has ended since, or is about to
        return True

    async def _check_unnamed(self) -> None:
        """Raises `StopRunError` where a batch under way may be this one, whose id was not kept."""
        under_way = list[str]()
        for id in await self._candidates():
            try:
                state = await self._surely(partial(self.endpoint.state, id, self._send))
            except RequestError as error:
                if error.status not in _GONE:
                    raise
            else:
                under_way += [] if state.ended else [id]
        if under_way:
            what = f"A batch of {len(self.keys)} requests has no id on record; it may be "
            raise StopRunError(what + " or ".join(under_way), hint=_BY_HAND)

    async def read(self, state: BatchState) -> dict[str, Entry | RequestError]:
        """Keeps the answers of the batch, each once.

        Returns:
            What the requests got, by key; nothing for those without a result.

        Raises:
            RetryableError, StopRunError: The results cannot be had.
        """
        answers: dict[str, Entry | RequestError] = {}
        for key in self.keys:
            entry = self.ledger.get(key)
            if entry is not None and entry.headers.get("batch") == self.id:
                answers[key] = entry  # kept by a process that was then killed
        strange = 0
        for attempt in range(_READS):
            try:
                with self._named("results of "):
                    for request in self.endpoint.results(self.id, state):
                        strange += await self._read(request, answers)
            except RetryableError as error:
                if attempt + 1 == _READS:
                    raise
                _LOG.info("Batch %s: %s; its results are read again", self.id, error.message)
                await self._pause(error, attempt)
                continue
            if len(answers) == len(self.keys) or not state.whole:
                break
            await self.clock.sleep(_SETTLING)
        if strange and not answers:
            what = f"The results of batch {self.id} cannot be read"
            raise StopRunError(what, hint="Run it again with a newer version of seedfree.")
        missing = len(self.keys) - len(answers)
        if strange or (missing and state.whole):
            text = "Batch %s: %d of %d requests have no result, %d lines belong to none of them"
            _LOG.warning(text, self.id, missing, len(self.keys), strange)
        return answers

    async def _read(self, request: httpx.Request, answers: dict[str, Entry | RequestError]) -> int:
        """Keeps the answers in one file. Returns the number of lines that answer no request."""
        own, strange, kept = set(self.keys), 0, list[Entry]()
        left = own - answers.keys()

        async def keep() -> None:
            entries, kept[:] = list(kept), []
            for entry in await side_by_side(map(self.ledger.append, entries)):
                answers[entry.key] = entry

        try:
            async with contextlib.aclosing(self._lines(request)) as lines:
                async for line in lines:
                    result = self.endpoint.result(line)
                    if result is None or result.key not in left:
                        strange += result is None or result.key not in own
                        continue
                    left.discard(result.key)
                    error = _fault(result.status, result.body)
                    if error is not None:
                        answers[result.key] = error
                        continue
                    headers = {"batch": self.id}
                    kept.append(Entry("reply", result.key, result.body, result.status, headers))
                    if len(kept) == _AT_ONCE:
                        await keep()
        finally:
            await keep()
        return strange

    async def end(self) -> None:
        """Records that nothing more comes of the batch."""
        await self._append("batch-end")

    async def _keep_id(self, id: str) -> None:
        await self._append("batch-id", id.encode())
        self.id = id
        text = "Batch %s of %d requests is submitted; its answers may take a day"
        _LOG.info(text, id, len(self.keys))

    async def _append(
        self, kind: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Entry:
        return await self.ledger.append(Entry(kind, self.name, body, headers=headers or {}))

    async def _lines(self, request: httpx.Request) -> AsyncGenerator[bytes, None]:
        lines = self.transport.lines(request, now=self.clock.timestamp())
        async with contextlib.aclosing(lines):
            async for line in lines:
                if line.strip():
                    yield line

    async def _send(self, request: httpx.Request) -> Answer:
        return await self.transport.send(request, now=self.clock.timestamp())

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Names the batch in an error that no wait mends."""
        try:
            yield
        except (RetryableError, StopRunError):
            raise
        except RequestError as error:
            message = f"The {what}batch {self.id}: {error.message}"
            raise StopRunError(message, hint=_OTHER_KEY, status=error.status) from error

    async def _surely(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Returns what is asked of the provider, again and again through faults that may pass."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return await ask()
            except RetryableError as error:
                await self._pause(error, attempt)
        return await ask()

    async def _pause(self, error: RetryableError, attempt: int) -> None:
        backoff = min(_LONGEST_BACKOFF, 2.0**attempt)
        await self.clock.sleep(max(backoff, error.retry_after or 0.0))


@contextlib.contextmanager
def _taken() -> Iterator[None]:
    """Says of an error that no wait mends that the provider takes no such batch."""
    try:
        yield
    except (RetryableError, StopRunError):
        raise
    except RequestError as error:
        what = f"No batch is taken: {error.message}"
        raise StopRunError(what, hint=_NOT_TAKEN, status=error.status) from error


def _fault(status: int, body: bytes) -> RequestError | None:
    """Returns what a request's result means that is no answer."""
    if not status:
        return RetryableError(f"The batch gave no answer: {body.decode('utf-8', 'replace')}")
    try:
        classify(Answer(status, httpx.Headers(), body))
    except RequestError as error:
        return error
    return None


def left_behind(
    ledger: Ledger,
    transport: Transport,
    clock: Clock,
    endpoint_of: Callable[[str], BatchEndpoint | None],
) -> list[Submission]:
    """Returns the batches of a ledger that are not over.

    Args:
        endpoint_of: Gives where a model's batches are, by the model's name in the ledger. What it
            does not know is logged and left alone.
    """
    left: dict[str, Submission] = {}
    for entry in ledger.entries("batch", "batch-id", "batch-end"):
        name, headers = entry.key, entry.headers
        if entry.kind == "batch":
            model, keys = headers.get("generator", ""), json.loads(entry.body)["keys"]
            endpoint = endpoint_of(model)
            if endpoint is None:
                _LOG.warning("A batch of %s is left alone: it takes none here", model)
                continue
            batch = Submission(ledger, transport, clock, endpoint, model, keys, name)
            batch.marker, batch.since = headers.get("marker", ""), entry.at
            batch.usd = float(headers.get("usd", 0))
            left[name] = batch
        elif entry.kind == "batch-id" and name in left:
            left[name].id = entry.body.decode()
        elif entry.kind == "batch-end":
            left.pop(name, None)
    return list(left.values())


async def cancel_batches(
    folder: Path,
    endpoint_of: Callable[[str], BatchEndpoint | None],
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> int:
    """Asks the provider to end the batches of a run that no process has open.

    Returns:
        How many were asked to end.

    Raises:
        LedgerError: The folder is in use or damaged.
        RequestError: The first batch's that could not be ended, once all others were asked to.
    """
    used, clock, canceled = transport or Transport(connections=1), clock or Clock(), 0
    failed: RequestError | None = None
    try:
        with Ledger(folder, clock=clock) as ledger:
            for batch in left_behind(ledger, used, clock, endpoint_of):
                try:
                    canceled += await batch.cancel()
                except RequestError as error:  # the others are still paid for
                    failed = failed or error
    finally:
        if transport is None:
            await used.close()
    if failed is not None:
        raise failed
    return canceled
