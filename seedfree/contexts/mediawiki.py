"""A MediaWiki's API, asked politely: one pace and one queue a host for the whole process.

Sources: www.mediawiki.org/wiki/API:Etiquette, www.mediawiki.org/wiki/Manual:Maxlag_parameter and
the Wikimedia Foundation's User-Agent and rate limit policies.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from seedfree.engine.clock import Clock
from seedfree.engine.transport import Answer, Transport, explain, retry_after
from seedfree.errors import RequestError, RetryableError, StopRunError

__all__ = ["Wiki", "is_wikimedia"]

_AT_ONCE = 3
_ATTEMPTS = 6
_LAG_WAIT = 5.0
_LONGEST_WAIT = 900.0
_POLL = 0.05
_WIKIMEDIA = (
    "wikipedia.org", "wikimedia.org", "wiktionary.org", "wikibooks.org", "wikisource.org", "wikinews.org",
    "wikiquote.org", "wikiversity.org", "wikivoyage.org", "wikidata.org", "mediawiki.org", "wikifunctions.org",
)  # fmt: skip
_PASSING = frozenset({"maxlag", "ratelimited", "readonly"})
_PASSING_PREFIXES = ("internal_api_error", "cirrussearch-")


def is_wikimedia(url: str) -> bool:
    """Whether a URL belongs to the Wikimedia Foundation, whose rules then apply."""
    host = httpx.URL(url).host
    return any(host == domain or host.endswith(f".{domain}") for domain in _WIKIMEDIA)


class _Host:
    """One host's turns: at most 3 requests at once and one pace for the whole process, whoever asks."""

    def __init__(self) -> None:
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._next = self._paused = float("-inf")

    @asynccontextmanager
    async def turn(self, clock: Clock, interval: float) -> AsyncIterator[None]:
        # Waiters of one event loop stand in a queue; only the first three contend with other loops'
        # for the slots.
        async with self._queues.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
            while not self._slots.acquire(blocking=False):
                await clock.sleep(_POLL)
            try:
                with self._lock:
                    start = max(clock.monotonic(), self._next)
                    self._next = start + interval
                while (left := max(start, self._paused) - clock.monotonic()) > 0:
                    await clock.sleep(left)
                yield
            finally:
                self._slots.release()

    def pause(self, clock: Clock, seconds: float) -> None:
        with self._lock:
            self._paused = max(self._paused, clock.monotonic() + seconds)


_HOSTS: dict[str, _Host] = {}


class Wiki:
    """Asks one `api.php`. Belongs to the event loop that it is first used on.

    Args:
        agent: The User-Agent, which names the person running this.
        requests_per_minute: `None` for no limit.
        timeout: Seconds for one exchange.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        agent: str,
        requests_per_minute: float | None,
        timeout: float,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._clock = httpx.URL(url), clock
        self._headers = {
            "user-agent": agent,
            "accept-encoding": "gzip",
            "accept": "application/json",
        }
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._transport = Transport(connections=_AT_ONCE, timeout=timeout, transport=transport)
        # All of Wikimedia's wikis count as one host, because a client has one allowance there.
        self._name = "wikimedia.org" if is_wikimedia(url) else self._url.netloc.decode("ascii")
        self._host = _HOSTS.setdefault(self._name, _Host())

    async def query(self, **params: str | int) -> dict[str, Any]:
        """The `query` object of an `action=query` request, empty where the wiki sends none.

        Raises:
            RequestError: The wiki refuses this request, or did not answer in 6 attempts.
            StopRunError: It refuses every request.
        """
        params = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5, **params}
        url = self._url.copy_merge_params(params)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._host.turn(self._clock, self._interval):
                    return await self._ask(url)
            except RetryableError as error:
                wait = error.retry_after
                if attempt == _ATTEMPTS or (wait or 0.0) > _LONGEST_WAIT:
                    asked = f", wants a wait of {wait:.0f} s" if wait else ""
                    raise RequestError(
                        f"{self._name} gave no answer in {attempt} attempts{asked}: {error.message}",
                        hint="Is api_url right and the wiki up? Run again later to continue.",
                        status=error.status,
                    ) from error
                if wait is not None:
                    self._host.pause(self._clock, wait)
                else:
                    await self._clock.sleep(2.0 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _ask(self, url: httpx.URL) -> dict[str, Any]:
        request = httpx.Request("GET", url, headers=self._headers)
        try:
            answer = await self._transport.send(request, now=self._clock.timestamp())
        except RetryableError:
            raise
        except RequestError as error:
            raise self._refusal(error) from error
        return self._read(answer)

    def _refusal(self, error: RequestError) -> RequestError:
        message = f"{self._name}: {error.message}"
        if error.status == 403:
            return StopRunError(
                message, hint="Set contact to your own e-mail address or user page.", status=403
            )
        if error.status is not None and (
            error.status in (401, 404, 405, 410) or error.status < 400
        ):
            return StopRunError(
                message, hint="Set api_url to the wiki's api.php itself.", status=error.status
            )
        return RequestError(message, status=error.status)

    def _read(self, answer: Answer) -> dict[str, Any]:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RetryableError(f"the answer is not the API's JSON: {explain(answer.body)[:80]}")
        error = value.get("error")
        if error is None:
            query = value.get("query", {})
            return query if isinstance(query, dict) else {}
        code = str(error.get("code")) if isinstance(error, dict) else ""
        info = str(error.get("info")) if isinstance(error, dict) else str(error)
        message = f"{code}: {' '.join(info.split())[:200]}"
        if code in _PASSING or code.startswith(_PASSING_PREFIXES):
            wait = retry_after(answer.headers, self._clock.timestamp())
            raise RetryableError(
                message, retry_after=_LAG_WAIT if wait is None and code == "maxlag" else wait
            )
        raise RequestError(f"{self._name}: {message}")

    async def close(self) -> None:
        """Closes the connections; a later query opens new ones."""
        await self._transport.close()
