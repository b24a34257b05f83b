"""HTTP for every backend, and the one place where a provider's faults are classified.

httpx is the interface; its own connection pool takes quadratic time in waiting requests, so the
connections are aiohttp's (`httpx-aiohttp`). Redirects are not followed, bodies are capped in
decoded bytes, and a deadline covers the whole exchange.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import ipaddress
import json
import logging
import math
import os
import re
import urllib.request
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from seedfree.engine.loop import run_sync
from seedfree.errors import ConfigError, RequestError, RetryableError, SeedfreeError, StopRunError

__all__ = [
    "Answer",
    "Price",
    "Transport",
    "check_positive",
    "check_price",
    "check_url",
    "classify",
    "count",
    "find_key",
    "host_of",
    "is_loopback",
    "json_request",
    "keep_key",
    "keys_in",
    "open_files",
    "raise_fault",
    "read_object",
    "redact",
    "retry_after",
    "send_once",
]

_KEY = re.compile(r"[!-~]+")

Price: TypeAlias = float | tuple[float, float]
"""USD per million tokens: one number, or (input, output)."""


def keep_key(key: str | SecretStr | None, name: str = "api_key") -> SecretStr | None:
    """A key as a secret, without the white space that pasting adds; `None` for an empty one.

    Raises:
        ConfigError: It holds characters that no HTTP header can carry.
    """
    text = (key.get_secret_value() if isinstance(key, SecretStr) else key or "").strip()
    if not text:
        return None
    if not _KEY.fullmatch(text):
        raise ConfigError(
            f"{name} holds spaces or characters outside ASCII", hint="Copy the key again."
        )
    return SecretStr(text)


def find_key(key: SecretStr | None, variable: str | None) -> str | None:
    """The key as given, else from the environment; an environment variable may change while a notebook is open."""
    found = key or (keep_key(os.environ.get(variable), variable) if variable else None)
    return found.get_secret_value() if found else None


def check_price(price: Price | None) -> None:
    """Raises ConfigError for anything but `None`, a number or a pair of numbers, finite and not negative."""
    values = price if isinstance(price, (tuple, list)) else (price or 0.0,) * 2
    good = len(values) == 2 and all(
        isinstance(v, (int, float)) and math.isfinite(v) and v >= 0 for v in values
    )
    if not good:
        raise ConfigError(
            f"price {price!r} is not a price",
            hint="Give USD per million tokens as (input, output).",
        )


def check_positive(**settings: float | None) -> None:
    """Raises ConfigError for a setting that is neither `None` nor a number above 0."""
    for name, value in settings.items():
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ConfigError(f"{name} is {value!r}", hint="Give a number above 0.")


@functools.lru_cache
def host_of(url: str) -> str:
    """The host that a URL names; empty where it is none."""
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = host_of(url)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@functools.lru_cache
def _place(url: str) -> tuple[httpx.URL, bytes]:
    parsed = httpx.URL(url)
    return parsed, parsed.netloc


def json_request(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout: float
) -> httpx.Request:
    """A POST request whose bytes depend on `body` alone, because the ledger's key is made from them."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    place, host = _place(url)
    # Whole, with a body that is read: what httpx would add is worked out once, and not for each of
    # thousands.
    fields = [(b"host", host), (b"content-length", b"%d" % len(content)), *_FIELDS]
    fields += [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    extensions = {"deadline": timeout, "timeout": {"connect": min(timeout, 60.0)}}
    stream = httpx.ByteStream(content)
    request = httpx.Request("POST", place, headers=fields, stream=stream, extensions=extensions)
    request.headers.encoding = "ascii"
    request.read()
    return request


_FIELDS = (
    (b"accept", b"application/json"),
    # Nothing that httpx could not decode, whatever else is installed.
    (b"accept-encoding", b"gzip, deflate"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"seedfree"),
)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        RetryableError: The body is cut off, is no JSON, or is JSON of another kind: a proxy's or a
            dying server's.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RetryableError(f"The server's answer is not JSON ({len(body)} bytes)") from error
    if not isinstance(value, dict):
        raise RetryableError("The server's answer is not a JSON object")
    return value


def raise_fault(
    status: int, headers: httpx.Headers, error: object, keys: Callable[[], Iterable[str]] = tuple
) -> None:
    """Raises for an error object inside a success, as if the server had answered `status` (400 to 599).

    Args:
        keys: Gives what to take out of the error; called here, so that no variable of a traceback holds a key.
    """
    classify(Answer(status, headers, redact(json.dumps({"error": error}).encode(), _bytes(keys()))))


def _bytes(keys: Iterable[str]) -> frozenset[bytes]:
    return frozenset(key.encode() for key in keys)


def count(value: object) -> int:
    """A number of tokens, 0 where a server sends something else."""
    return value if type(value) is int and value > 0 else 0


_LOG = logging.getLogger("seedfree")

MAX_BODY = 32 * 2**20
_RETRY = frozenset({408, 409, 425, 429})
_STOP = frozenset({401, 402, 403})
# Words in an error body that mean money, not load: no wait will help.
_SPENT = re.compile(
    r"insufficient_quota|enforced_spend_limit_reached|billing_error|credit balance is too low", re.I
)
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
    except (httpx.InvalidURL, TypeError):
        raise ConfigError(f"{what} {_quoted(url)} is not a URL") from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigError(
            f"{what} holds more than a place", hint="Pass keys as api_key, never inside a URL."
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            f"{what} {_quoted(url)} is not a URL", hint="It begins with https:// and names a host."
        )
    if parsed.scheme == "http" and not _loopback(parsed.host):
        raise ConfigError(
            f"{what} {url!r} would send your key and texts in the clear", hint="Use https://."
        )
    return url.rstrip("/")


def _quoted(url: object) -> str:
    """A URL without what may be a key: what stands before an @, behind a ? or a #."""
    return repr(re.sub(r"[?#].*", "", re.sub(r"(?<=//).*@", "", str(url)), flags=re.DOTALL))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


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


def classify(answer: Answer, *, now: float = 0.0) -> None:
    """Raises for every answer but a success (docs.anthropic.com/en/api/errors; OpenAI's error codes).

    Raises:
        RetryableError: 408, 409, 425, 429, 5xx, or whatever the provider marks `x-should-retry: true`.
        StopRunError: 401, 402, 403, and any status whose body speaks of spent money.
        RequestError: Every other status; redirects among them.
    """
    status, headers, body = answer
    if 200 <= status < 300:
        return
    text = explain(body)
    message = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status in _STOP or (status in (400, 429) and _SPENT.search(text)):
        raise StopRunError(
            message,
            hint=_STOP_HINT.get(status, "Check the provider's billing page."),
            status=status,
        )
    should = headers.get("x-should-retry")
    if (status in _RETRY or status >= 500 or should == "true") and should != "false":
        raise RetryableError(message, status=status, retry_after=retry_after(headers, now))
    if 300 <= status < 400:
        raise RequestError(
            message, hint="Redirects are not followed; give the final base_url.", status=status
        )
    raise RequestError(message, hint=_HINT.get(status), status=status)


_HINT = {404: "Check model and base_url.", 413: "Shorten the contexts."}
_STOP_HINT = {
    401: "Check the API key.",
    403: "Check what the API key is allowed to do.",
}


def explain(body: bytes) -> str:
    """At most 200 characters of what a server said, in one printable line and without anything like a key."""
    text = body[:20_000].decode("utf-8", "replace")
    try:
        text = _message(json.loads(text)) or text
    except (ValueError, RecursionError):
        text = re.sub(r"<[^>]{0,500}>", " ", text)
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


def _kept(request: httpx.Request, response: httpx.Response, body: bytes) -> Answer:
    """The answer without the request's keys, which some servers echo: it goes into ledgers, logs and errors."""
    keys, headers = keys_in(request.headers.raw), response.headers
    values = b"\n".join(value for _, value in headers.raw)
    if redact(values, keys) != values:
        headers = httpx.Headers([(name, redact(value, keys)) for name, value in headers.raw])
    return Answer(response.status_code, headers, redact(body, keys))


class Transport:
    """Sends requests side by side over one pool of connections.

    Args:
        connections: At most this many at once; requests beyond it wait.
        timeout: Seconds for one whole exchange, where the request brings none of its own (the
            extension `deadline`, or httpx's `timeout`).
        transport: Takes the place of the network in tests (`httpx.MockTransport`).
    """

    def __init__(
        self,
        *,
        connections: int = 64,
        timeout: float = 600.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connections, self._timeout, self._given = connections, timeout, transport
        self._opened: dict[str, httpx.AsyncBaseTransport] = {}

    def _to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """Connections to a host, through the proxy that the environment names for it."""
        if self._given is not None:
            return self._given
        place = f"{url.scheme}://{url.host}"
        if place not in self._opened:
            self._opened[place] = _connections(url, self._connections)
        return self._opened[place]

    async def send(self, request: httpx.Request, *, now: float = 0.0) -> Answer:
        """The answer to a request, if it is a success.

        Raises:
            RetryableError, StopRunError, RequestError: See `classify`; resets, time-outs and cut
                bodies are retryable.
        """
        try:
            async with asyncio.timeout(_deadline(request) or self._timeout):
                response = await self._to(request.url).handle_async_request(request)
                try:
                    answer = _kept(request, response, await _read(response))
                finally:
                    await response.aclose()
        except SeedfreeError:
            raise
        except Exception as error:
            # resets, garbage, cut bodies: the libraries below have dozens of names for them
            # Not "from error": the frames of those libraries hold the body, which may echo the key.
            raise _network(error, request) from None
        if not 200 <= answer.status < 300:
            classify(answer, now=now)
        return answer

    async def close(self) -> None:
        """Closes the connections."""
        while self._opened:
            _, transport = self._opened.popitem()
            await transport.aclose()


def _deadline(request: httpx.Request) -> float | None:
    own = request.extensions.get("deadline")
    deadline: float | None = (
        own if own is not None else request.extensions.get("timeout", {}).get("read")
    )
    return deadline


def _connections(url: httpx.URL, most: int) -> httpx.AsyncBaseTransport:
    from httpx_aiohttp import AiohttpTransport

    proxies = {} if urllib.request.proxy_bypass(url.host) else urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    limits = httpx.Limits(max_connections=most)
    return AiohttpTransport(limits=limits, proxy=httpx.Proxy(proxy) if proxy else None)


def _network(error: Exception, request: httpx.Request) -> RetryableError:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        what = "no connection"
    else:
        slow = isinstance(error, (TimeoutError, httpx.TimeoutException))
        what = "no answer in time" if slow else type(error).__name__
    return RetryableError(
        f"{request.url.host}: {what}", hint="Is the server up and base_url right?"
    )


async def _read(response: httpx.Response) -> bytes:
    # Most bodies are not compressed, and need none of what httpx does to decode one.
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream) or "content-encoding" in response.headers:
        return await _gather(response.aiter_bytes(), response.status_code)
    return await _gather(stream, response.status_code)


async def _gather(stream: AsyncIterable[bytes], status: int) -> bytes:
    parts, size = [], 0
    async for part in stream:
        size += len(part)
        if size > MAX_BODY:
            raise RequestError(f"The reply is larger than {MAX_BODY >> 20} MiB", status=status)
        parts.append(part)
    return b"".join(parts)


def send_once(request: httpx.Request, *, timeout: float = 600.0) -> Answer:
    """The answer to one request, blocking, without retries: what `generate` of a built-in backend does.

    Raises:
        RetryableError, StopRunError, RequestError: As `Transport.send`.
    """

    async def send() -> Answer:
        transport = Transport(connections=1, timeout=timeout)
        try:
            return await transport.send(request)
        finally:
            await transport.close()

    return run_sync(send())


def open_files(wanted: int) -> int:
    """How many of `wanted` connections the system allows; raises this process's soft limit where that helps."""
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The process has other files too.
    need = wanted + 256
    if soft != resource.RLIM_INFINITY and soft < need:
        most = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        if soft < need:
            capped = max(1, soft - 256)
            _LOG.warning(
                "concurrency %d needs more open files than the %d allowed; it is %d",
                wanted,
                soft,
                capped,
            )
            return capped
    return wanted


# What people type where a server wants a key but checks none ("EMPTY", "ollama") also stands in
# honest replies.
_SHORTEST_KEY = 16


_PUBLIC = frozenset(
    b"accept accept-encoding anthropic-version connection content-length content-type host user-agent".split()
)


def keys_in(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The values of a request's raw headers that may be keys: all but those that every request carries."""
    return frozenset(
        value.removeprefix(b"Bearer ") for name, value in headers if name.lower() not in _PUBLIC
    )


def redact(data: bytes, keys: frozenset[bytes]) -> bytes:
    """The data with `***` for every key of at least 16 bytes, as it is or URL-encoded, in any case of letters."""
    lowered = data.lower()
    for form in _forms(keys):
        if form in lowered:
            data = re.sub(re.escape(form), b"***", data, flags=re.IGNORECASE)
    return data


@functools.lru_cache(16)
def _forms(keys: frozenset[bytes]) -> list[bytes]:
    long = [key for key in keys if len(key) >= _SHORTEST_KEY]
    forms = {
        form for key in long for form in (key, quote(key).encode(), quote(key, safe="").encode())
    }
    return sorted((form.lower() for form in forms), key=len, reverse=True)
