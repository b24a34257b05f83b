"""HTTP for every backend, and the one place where a provider's faults are classified.

httpx is the interface; its own connection pool takes quadratic time in waiting requests, so the connections are
aiohttp's (`httpx-aiohttp`). Redirects are not followed, bodies are capped in decoded bytes, and a deadline covers the
whole exchange.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import json
import math
import re
from typing import Any, NamedTuple

import httpx

from seedfree.errors import ConfigError, RequestError, RetryableError, StopRunError

__all__ = ["Answer", "Transport", "check_url", "classify", "retry_after", "send_once"]

MAX_BODY = 32 * 2**20
_RETRY = frozenset({408, 409, 425, 429})
# 404 among them: a model or a path that is not there is not there for the next request either.
_STOP = frozenset({401, 402, 403, 404})
# Words in an error body that mean money, not load: no wait will help.
_SPENT = re.compile(r"insufficient_quota|enforced_spend_limit_reached|billing_error|credit balance is too low", re.I)
_KEYS = re.compile(r"\b(?:sk|key|api)[-_][\w\-]{8,}|Bearer\s+\S+", re.I)


class Answer(NamedTuple):
    """What came back: a whole, decoded body."""

    status: int
    headers: httpx.Headers
    body: bytes


def check_url(url: str, what: str = "base_url") -> str:
    """The URL without a trailing slash.

    Raises:
        ConfigError: Not http(s); plain http to another machine; or a key inside the URL.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"{what} {url!r} is not a URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{what} {url!r} is not a URL", hint="It begins with https:// and names a host.")
    if parsed.userinfo or parsed.query:
        raise ConfigError(f"{what} holds more than a place", hint="Pass keys as api_key, never inside a URL.")
    if parsed.scheme == "http" and not _loopback(parsed.host):
        raise ConfigError(f"{what} {url!r} would send your key and texts in the clear", hint="Use https://.")
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def retry_after(headers: httpx.Headers, now: float) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `retry-after` as seconds or as an HTTP date; `None` for nonsense.

    Args:
        now: Seconds since 1970, to subtract from a date.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def classify(answer: Answer, *, now: float = 0.0, secrets: tuple[str, ...] = ()) -> None:
    """Raises for every answer but a success (docs.anthropic.com/en/api/errors; OpenAI's error codes).

    Raises:
        RetryableError: 408, 409, 425, 429, 5xx, or whatever the provider marks `x-should-retry: true`.
        StopRunError: 401, 402, 403, 404, and any status whose body speaks of spent money.
        RequestError: Every other status; redirects among them.
    """
    status, headers, body = answer
    if 200 <= status < 300:
        return
    text = explain(body, secrets)
    message = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status in _STOP or (status in (400, 429) and _SPENT.search(text)):
        raise StopRunError(message, hint=_STOP_HINT.get(status, "Check the provider's billing page."), status=status)
    should = headers.get("x-should-retry")
    if (status in _RETRY or status >= 500 or should == "true") and should != "false":
        raise RetryableError(message, status=status, retry_after=retry_after(headers, now))
    if 300 <= status < 400:
        raise RequestError(message, hint="Redirects are not followed; give the final base_url.", status=status)
    raise RequestError(message, status=status)


_STOP_HINT = {
    401: "Check the API key.",
    403: "Check what the API key is allowed to do.",
    404: "Check model and base_url.",
}


def explain(body: bytes, secrets: tuple[str, ...] = ()) -> str:
    """At most 200 characters of what a server said, in one printable line and without anything like a key."""
    text = body[:20_000].decode("utf-8", "replace")
    try:
        text = _message(json.loads(text)) or text
    except (ValueError, RecursionError):
        text = re.sub(r"<[^>]{0,500}>", " ", text)
    for secret in secrets:
        text = text.replace(secret, "***")
    shown = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(_KEYS.sub("***", shown).split())[:200]


def _message(value: Any) -> str | None:
    """The message and code of the error objects that providers send."""
    if not isinstance(value, dict):
        return None
    error = value.get("error", value)
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return None
    values = (error.get(name) for name in ("message", "code", "type"))
    return " ".join(v for v in values if isinstance(v, str)) or None


def _secrets(request: httpx.Request) -> tuple[str, ...]:
    names = ("x-api-key", "authorization", "api-key")
    return tuple(v.removeprefix("Bearer ") for n in names if len(v := request.headers.get(n, "")) > 3)


class Transport:
    """Sends requests side by side over one pool of connections.

    Args:
        connections: At most this many at once; requests beyond it wait.
        timeout: Seconds for one whole exchange, where the request brings no time-out of its own.
        transport: Takes the place of the network in tests (`httpx.MockTransport`).
    """

    def __init__(
        self, *, connections: int = 64, timeout: float = 600.0, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._connections, self._timeout, self._transport = connections, timeout, transport
        self._client: httpx.AsyncClient | None = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            transport = self._transport
            if transport is None:
                from httpx_aiohttp import AiohttpTransport

                transport = AiohttpTransport(limits=httpx.Limits(max_connections=self._connections))
            self._client = httpx.AsyncClient(transport=transport, timeout=self._timeout, follow_redirects=False)
        return self._client

    async def send(self, request: httpx.Request, *, now: float = 0.0) -> Answer:
        """The answer to a request, if it is a success.

        Raises:
            RetryableError, StopRunError, RequestError: See `classify`; resets, time-outs and cut bodies are retryable.
        """
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read") or self._timeout):
                response = await self._open().send(request, stream=True)
                try:
                    answer = Answer(response.status_code, response.headers, await _read(response))
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            raise _network(error, request) from error
        classify(answer, now=now, secrets=_secrets(request))
        return answer

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _network(error: Exception, request: httpx.Request) -> RetryableError:
    what = "no answer in time" if isinstance(error, (TimeoutError, httpx.TimeoutException)) else type(error).__name__
    return RetryableError(f"{request.url.host}: {what}", hint="Is the server up and base_url right?")


async def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_BODY:
            raise RequestError(f"The reply is larger than {MAX_BODY >> 20} MiB", status=response.status_code)
        parts.append(part)
    return b"".join(parts)


def send_once(request: httpx.Request, *, timeout: float = 600.0) -> Answer:
    """The answer to one request, blocking, without retries: what `generate` of a built-in backend does.

    Raises:
        RetryableError, StopRunError, RequestError: As `Transport.send`.
    """
    try:
        with httpx.Client(timeout=timeout, follow_redirects=False) as client:
            response = client.send(request)
            answer = Answer(response.status_code, response.headers, response.content)
    except httpx.HTTPError as error:
        raise _network(error, request) from error
    classify(answer, secrets=_secrets(request))
    return answer
