"""HTTP for every backend, and the one place where a provider's faults are classified.

First the transport, which sends requests and says what an answer means. Then what backends share:
JSON requests, answers, checks of their settings.

Redirects are not followed, bodies are capped in decoded bytes, and a deadline covers the whole
exchange.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import httpx

from seedfree.engine.connections import (
    MAX_BODY,
    connections,
    decoded,
    is_unreachable,
    proxy_of,
    read_body,
    refused_handshake,
)
from seedfree.engine.keys import keys_in, redact
from seedfree.engine.loop import run_sync, time_limit
from seedfree.engine.places import is_here, secret_segments
from seedfree.engine.resets import exhausted_until, retry_after
from seedfree.errors import ConfigError, RequestError, RetryableError, SeedfreeError, StopRunError

__all__ = [
    "Answer",
    "Price",
    "Transport",
    "UnreachableError",
    "check_positive",
    "check_price",
    "check_temperature",
    "classify",
    "explain",
    "json_request",
    "raise_fault",
    "raw_request",
    "read_object",
    "send_once",
]

# Of a whole number in a server's JSON: enough for any that means something.
_DIGITS = 1000


class Answer(NamedTuple):
    """What came back: a whole, decoded body."""

    status: int
    headers: httpx.Headers
    body: bytes


class UnreachableError(RetryableError):
    """No connection came about: nothing was sent."""


class Transport:
    """Sends requests side by side over one pool of connections.

    Args:
        connections: At most this many at once; requests beyond it wait.
        timeout: Seconds for one whole exchange, for requests that bring none of their own (the
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

    async def send(self, request: httpx.Request, *, now: float = 0.0) -> Answer:
        """Returns the answer to a request, if it is a success.

        Args:
            now: Seconds since 1970, for answers that name a date to wait for.

        Raises:
            RetryableError, StopRunError, RequestError: See `classify`. Resets, time-outs and cut
                bodies are retryable.
        """
        _check_proxy(request)
        try:
            async with time_limit(_deadline(request) or self._timeout):
                response = await self._to(request.url).handle_async_request(request)
                try:
                    answer = _without_keys(request, response, await read_body(response))
                finally:
                    await response.aclose()
        except SeedfreeError:
            raise
        except Exception as error:
            # Resets, garbage, cut bodies: the libraries below have dozens of names for them.
            # Not "from error": the frames of those libraries hold the body, which may echo the key.
            raise _network_fault(error, request) from None
        classify(answer, now=now)
        return answer

    async def lines(
        self, request: httpx.Request, *, now: float = 0.0
    ) -> AsyncGenerator[bytes, None]:
        """Yields the lines of an answer as they come in, for one that no memory should hold whole.

        Raises:
            RetryableError, StopRunError, RequestError: As `send`; after some lines, too.
        """
        _check_proxy(request)
        keys, rest = keys_in(request.headers.raw), b""
        try:
            async with time_limit(_deadline(request) or self._timeout):
                response = await self._to(request.url).handle_async_request(request)
                try:
                    if not 200 <= response.status_code < 300:
                        body = await read_body(response)
                        classify(_without_keys(request, response, body), now=now)
                    async for part in decoded(response):
                        *lines, rest = (rest + part).split(b"\n")
                        for line in lines:
                            yield redact(line, keys)
                        if len(rest) > MAX_BODY:
                            raise RequestError(f"A line is longer than {MAX_BODY >> 20} MiB")
                finally:
                    await response.aclose()
        except SeedfreeError:
            raise
        except Exception as error:
            raise _network_fault(error, request) from None
        yield redact(rest, keys)

    def _to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """Returns the connections to a host, through the proxy that the environment names."""
        if self._given is not None:
            return self._given
        place = f"{url.scheme}://{url.host}"
        if place not in self._opened:
            self._opened[place] = connections(url, self._connections)
        return self._opened[place]

    async def close(self) -> None:
        """Closes the connections."""
        while self._opened:
            _, transport = self._opened.popitem()
            await transport.aclose()


def send_once(request: httpx.Request, *, timeout: float = 600.0) -> Answer:
    """Returns the answer to one request, blocking and without retries, for a backend's `generate`.

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


def _deadline(request: httpx.Request) -> float | None:
    deadline: float | None = request.extensions.get("deadline")
    if deadline is None:
        deadline = request.extensions.get("timeout", {}).get("read")
    return deadline


def _without_keys(request: httpx.Request, response: httpx.Response, body: bytes) -> Answer:
    """Returns the answer without the request's keys, which some servers echo.

    It goes into ledgers, logs and errors.
    """
    keys, headers = keys_in(request.headers.raw), response.headers
    keys |= _bytes(secret_segments(request.url))
    # Headers are made anew only if one holds a key, which is rare: all values are searched at once.
    values = b"\n".join(value for _, value in headers.raw)
    if redact(values, keys) != values:
        headers = httpx.Headers([(name, redact(value, keys)) for name, value in headers.raw])
    return Answer(response.status_code, headers, redact(body, keys))


def _network_fault(error: Exception, request: httpx.Request) -> RequestError:
    host, hint = request.url.host, "Is the server up and base_url right?"
    if (reason := refused_handshake(error)) is not None:
        hint = "Check that base_url begins as the server does, and the server's certificate."
        return StopRunError(f"{host}: no TLS connection: {reason}", hint=hint)
    # Before the time-outs, among which httpx counts that of a connection.
    if is_unreachable(error):
        return UnreachableError(f"{host}: no connection", hint=hint)
    what = type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        what = "the connection broke"
    elif isinstance(error, (TimeoutError, httpx.TimeoutException)):
        what = "no answer in time"
    return RetryableError(f"{host}: {what}", hint=hint)


def _check_proxy(request: httpx.Request) -> None:
    """Raises `StopRunError` where a proxy would see a key in the clear."""
    if request.url.scheme != "http" or is_here(request.url.host):
        return
    if keys_in(request.headers.raw) and proxy_of(request.url):
        raise StopRunError(
            f"{request.url.host}: the key would go through a proxy in the clear",
            hint="Use https://, or enter the host in NO_PROXY.",
        )


# ---- what an answer means ----

_RETRY = frozenset({408, 409, 425, 429})
_STOP = frozenset({401, 402, 403})
# Words in an error body that mean money, not load: no wait will help.
_SPENT = re.compile(
    r"insufficient_quota|enforced_spend_limit_reached|billing_error|credit balance is too low", re.I
)
_HINTS = {404: "Check model and base_url.", 413: "Shorten the contexts."}
_STOP_HINTS = {
    401: "Check the API key.",
    403: "Check what the API key is allowed to do.",
}
# What looks like a key, in an error whose keys are not known.
_KEY_LIKE = re.compile(r"\b(?:sk|key|api)[-_][\w\-]{8,}|Bearer\s+\S+", re.I)


def classify(answer: Answer, *, now: float = 0.0) -> None:
    """Raises for every answer but a success.

    The statuses are those of docs.anthropic.com/en/api/errors and of OpenAI's error codes.

    Raises:
        RetryableError: 408, 409, 425, 429, 5xx, or whatever the provider marks
            `x-should-retry: true`.
        StopRunError: 401, 402, 403, and 400 or 429 with a body that speaks of spent money.
        RequestError: Every other status; redirects among them.
    """
    status, headers, body = answer
    if 200 <= status < 300:
        return
    text = explain(body)
    message = f"HTTP {status}: {text}" if text else f"HTTP {status}"
    if status in _STOP or (status in (400, 429) and _SPENT.search(text)):
        hint = _STOP_HINTS.get(status, "Check the provider's billing page.")
        raise StopRunError(message, hint=hint, status=status)
    # The provider's own word, which overrules the status in both directions.
    should = headers.get("x-should-retry")
    if (status in _RETRY or status >= 500 or should == "true") and should != "false":
        wait = retry_after(headers, now)
        if wait is None and status == 429:
            wait = exhausted_until(headers.raw, 1, now) or None
        raise RetryableError(message, status=status, retry_after=wait)
    if 300 <= status < 400:
        hint = "Redirects are not followed; give the final base_url."
        raise RequestError(message, hint=hint, status=status)
    raise RequestError(message, hint=_HINTS.get(status), status=status)


def raise_fault(
    status: int, headers: httpx.Headers, error: object, keys: Callable[[], Iterable[str]] = tuple
) -> None:
    """Raises for an error object inside a success, as if the server had answered `status`.

    Args:
        status: 400 to 599.
        keys: Gives what to take out of the error. It is called here, so that no variable of a
            traceback holds a key.
    """
    classify(Answer(status, headers, redact(json.dumps({"error": error}).encode(), _bytes(keys()))))


def _bytes(keys: Iterable[str]) -> frozenset[bytes]:
    return frozenset(key.encode() for key in keys)


def explain(body: bytes) -> str:
    """Returns what a server said, in one printable line of at most 200 characters.

    Whatever looks like a key is taken out.
    """
    text = body[:20_000].decode("utf-8", "replace")
    try:
        text = _message(json.loads(text)) or text
    except (ValueError, RecursionError):
        # A proxy's page: its tags say nothing. The bound keeps a body of "<" from taking
        # quadratic time.
        text = re.sub(r"<[^>]{0,500}>", " ", text)
    printable = "".join(c if c.isprintable() else " " for c in text)
    # The key goes before the line is cut, which could leave the first half of one.
    return " ".join(_KEY_LIKE.sub("***", printable).split())[:200]


def _message(value: Any) -> str | None:
    """Returns the message and code of the error objects that providers send."""
    if not isinstance(value, dict):
        return None
    error = value.get("error", value)
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return None
    values = (error.get(name) for name in ("message", "code", "type"))
    return " ".join(v for v in values if isinstance(v, str)) or None


# ---- what backends share ----

Price: TypeAlias = float | tuple[float, float]
"""USD per million tokens: one number, or (input, output)."""

_FIELDS = (
    (b"accept", b"application/json"),
    # Nothing that httpx could not decode, whatever else is installed.
    (b"accept-encoding", b"gzip, deflate"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"seedfree"),
)


def json_request(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout: float
) -> httpx.Request:
    """Makes a POST request whose bytes depend on `body` alone: the ledger's key is made from them.

    Args:
        timeout: Seconds for the whole exchange.
    """
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return raw_request(url, content, headers, timeout)


def raw_request(
    url: str, content: bytes, headers: Mapping[str, str], timeout: float, method: str = "POST"
) -> httpx.Request:
    """Makes a request that carries JSON, or with the method GET nothing."""
    place, host = _place(url)
    # The headers are complete and the body is read, so that what httpx would add is worked out once
    # and not for each of thousands of requests.
    fields = [(b"host", host), (b"content-length", b"%d" % len(content)), *_FIELDS]
    fields += [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    extensions, stream = {"deadline": timeout}, httpx.ByteStream(content)
    request = httpx.Request(method, place, headers=fields, stream=stream, extensions=extensions)
    request.headers.encoding = "ascii"
    request.read()
    return request


@functools.lru_cache
def _place(url: str) -> tuple[httpx.URL, bytes]:
    parsed = httpx.URL(url)
    return parsed, parsed.netloc


def read_object(body: bytes) -> dict[str, Any]:
    """Reads the JSON object in a body.

    Raises:
        RetryableError: The body is cut off, is no JSON, or is JSON of another kind: a proxy's or a
            dying server's.
    """
    try:
        value = json.loads(body, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise RetryableError(f"The server's answer is not JSON ({len(body)} bytes)") from error
    if not isinstance(value, dict):
        raise RetryableError("The server's answer is not a JSON object")
    return value


def _whole_number(digits: str) -> int:
    # Python refuses to read more digits than 4,300. A number of so many is none to count with, and
    # the text beside it may be good.
    return int(digits[:_DIGITS])


def check_price(price: Price | None) -> None:
    """Checks that a price is `None`, or one or two finite numbers that are not negative.

    Raises:
        ConfigError: It is anything else.
    """
    if price is None:
        return
    values = price if isinstance(price, (tuple, list)) else (price, price)
    good = len(values) == 2 and all(
        isinstance(v, (int, float)) and math.isfinite(v) and v >= 0 for v in values
    )
    if not good:
        raise ConfigError(
            f"price {price!r} is not a price",
            hint="Give USD per million tokens as (input, output).",
        )


def check_temperature(temperature: float | None) -> None:
    """Checks a temperature to ask with; `None` leaves it to the prompt or the model.

    Raises:
        ConfigError: It is not between 0 and 2, the range of OpenAI's API.
    """
    # Written so that NaN, which compares false with everything, is refused, too.
    if temperature is not None and not 0 <= temperature <= 2:
        raise ConfigError(f"temperature is {temperature}", hint="Give 0 to 2, or None.")


def check_positive(**settings: float | None) -> None:
    """Checks that every setting is `None` or a number above 0.

    Raises:
        ConfigError: One is not.
    """
    for name, value in settings.items():
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ConfigError(f"{name} is {value!r}", hint="Give a number above 0.")
