"""URLs of servers: which are taken, which lie on this machine or in a private network."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import socket

import httpx

from seedfree.errors import ConfigError

__all__ = [
    "check_url",
    "host_of",
    "is_here",
    "is_loopback",
    "is_private",
    "published",
    "secret_segments",
]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Names that no public server has (RFC 6762, 8375 and 2606, and what routers use).
_PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test", ".invalid")
# A part of a path that is a key, and not the name of a model or a version: it begins as keys do,
# is a UUID, or is long and made of letters and digits without a stop.
_SECRET_SEGMENT = re.compile(
    r"(?:sk|pk|key|api|token)[-_][\w\-]{8,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?=[a-z_]*\d)(?=\d*[a-z_])\w{16,}",
    re.I,
)
# To the end of the URL, also inside JSON.
_URL = re.compile(r"https?://[^\s\"]+", re.I)


def check_url(url: str, what: str = "base_url", *, allow_http: bool = False) -> str:
    """Returns the URL without a trailing slash.

    Args:
        what: The setting's name, for messages.
        allow_http: Takes plain http to a private network, too.

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
    private = is_private(parsed.host)
    if parsed.scheme == "http" and not is_loopback(url) and not (allow_http and private):
        hint = "Use https://."
        if private and not allow_http:
            hint = "Use https://, or allow_http=True if you trust everyone in that network."
        raise ConfigError(
            f"{what} {_quoted(url)} would send your key and texts in the clear", hint=hint
        )
    return url.rstrip("/")


def _quoted(url: object) -> str:
    """Returns a URL without what may be a key: all before an @, and behind a ? or a #."""
    plain = re.sub(r"[?#].*", "", re.sub(r"(?<=//).*@", "", str(url)), flags=re.DOTALL)
    return repr(_without_secrets(plain))


@functools.lru_cache
def host_of(url: str) -> str:
    """Returns the host that a URL names; empty if it is no URL."""
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""


def is_loopback(url: str) -> bool:
    """Returns whether a URL names this machine, written as such: a key may travel to it openly."""
    host = host_of(url)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_here(host: str) -> bool:
    """Returns whether a host is this machine, however it is written."""
    host = host.rstrip(".").lower()
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    # 0.0.0.0 is where servers listen, and where clients then connect to.
    return address.is_loopback or address.is_unspecified


def is_private(host: str) -> bool:
    """Returns whether a host is this machine or in a private network, by its name or address."""
    host = host.rstrip(".").lower()
    address = _address(host)
    if address is None:
        return "." not in host or host.endswith(_PRIVATE_NAMES)
    return not address.is_global


@functools.lru_cache
def _address(host: str) -> _Address | None:
    address: _Address | None = None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    # The system also reads 127.1 and 2130706433.
    if address is None and re.fullmatch(r"[0-9a-fx.]+", host) and host[:1].isdigit():
        with contextlib.suppress(OSError):
            address = ipaddress.IPv4Address(socket.inet_aton(host))
    return address


def secret_segments(url: httpx.URL) -> frozenset[str]:
    """Returns the parts of a URL's path and query that look like keys."""
    return _secret_segments(url.raw_path.decode("ascii", "replace"))


@functools.lru_cache
def _secret_segments(path: str) -> frozenset[str]:
    return frozenset(part for part in re.split(r"[/?&=]", path) if _SECRET_SEGMENT.fullmatch(part))


def _without_secrets(url: str) -> str:
    parts = re.split(r"([/?&=])", url)
    return "".join("***" if _SECRET_SEGMENT.fullmatch(part) else part for part in parts)


@functools.lru_cache
def published(identity: str) -> str:
    """Returns an identity as strangers may see it.

    The address of a private server becomes "a private server", and what looks like a key in the
    path of a URL becomes `***`.
    """
    return _URL.sub(lambda match: _published_url(match[0]), identity)


def _published_url(url: str) -> str:
    host = host_of(url)
    if not host or is_private(host):
        return "a private server"
    return _without_secrets(url)
