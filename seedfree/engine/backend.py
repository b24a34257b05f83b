"""What every HTTP backend needs: keys that stay secret, prices that make sense, bodies that are JSON."""

from __future__ import annotations

import functools
import ipaddress
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import httpx
from pydantic import SecretStr

from seedfree.engine.transport import Answer, classify
from seedfree.errors import ConfigError, RetryableError
from seedfree.text import redact

__all__ = [
    "Price",
    "check_positive",
    "check_price",
    "count",
    "find_key",
    "host_of",
    "is_loopback",
    "json_request",
    "keep_key",
    "raise_fault",
    "read_object",
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
