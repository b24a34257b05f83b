"""URLs of servers: which are taken, which lie on this machine or in a private network."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import httpx

from seedfree.errors import ConfigError

__all__ = [
    "check_url",
    "host_of",
    "is_here",
    "is_loopback",
    "is_private",
    "published",
    "published_values",
    "secret_segments",
    "url_of",
]

_PRIVATE = "a private server"
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
# What may be an address outside a URL, or a name that no public server has, and its port. It is
# read before it counts as one: 12:30:59 is a time.
_BARE = re.compile(
    r"(?<![\w.:])(?:\[[0-9a-f:.]+(?:%\w+)?\]|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f]+(?:%\w+)?"
    r"|\d{1,3}(?:\.\d{1,3}){3}|(?:[\w-]+\.)*localhost"
    rf"|[\w-]+(?:\.[\w-]+)*(?:{'|'.join(map(re.escape, _PRIVATE_NAMES))}))(?![\w.-]*\w)(?::\d+)?",
    re.I,
)
# The folders before the last name of a path, in a text.
_FOLDERS = re.compile(
    r"(?<![\w/.:*~])~?/(?:[^\s/\"'<>]+/)+(?=[^\s/])|(?<!\w)[a-z]:\\+(?:[^\s\\\"]+\\+)+", re.I
)


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
# A run asks for the name of its model with every request.
@lru_cache(maxsize=256)
def published(text: str, *servers: str) -> str:
    """Returns an identity or a message as strangers may see it.

    The address of a private server becomes "a private server", what looks like a key in the path of
    a URL becomes `***`, and of a local path its last name stays.

    Args:
        servers: URLs of the servers that the text may speak of. The name of a private one may be
            any word, which nothing else tells from other words.
    """
    hosts = sorted({host for host in map(host_of, servers) if host and is_private(host)})
    text = _URL.sub(lambda match: _published_url(match[0]), text)
    for host in hosts:
        text = re.sub(rf"(?<![\w.-])\[?{re.escape(host)}\]?(?![\w-])(?::\d+)?", _PRIVATE, text)
    text = _BARE.sub(lambda match: _published_host(match[0]), text)
    return _FOLDERS.sub("", text)


def published_values(value: Any) -> Any:
    """Returns JSON values with every text in them as strangers may see it."""
    if isinstance(value, Mapping):
        return {name: published_values(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [published_values(each) for each in value]
    if not isinstance(value, str):
        return value
    kinds: tuple[type[PurePath], ...] = (PurePosixPath, PureWindowsPath)
    for path in (kind(value) for kind in kinds):
        # A whole path may hold blanks, where one inside a text ends. Of "/think" nothing is lost.
        whole = path.is_absolute() and len(path.parts) > 2
        if "\n" not in value and (whole or value.startswith(("~/", "~\\"))):
            return path.name
    return published(value)


def url_of(component: object) -> str:
    """Returns the `base_url` of a generator or an encoder; empty if it has none.

    Only a plain attribute is read: a property may start the server whose address it gives.
    """
    return str(getattr(component, "__dict__", {}).get("base_url", ""))


def _published_url(url: str) -> str:
    host = host_of(url.rstrip(":.,;)"))
    if not host or is_private(host):
        return _PRIVATE
    return _without_secrets(url)


def _published_host(text: str) -> str:
    host = re.sub(r"(?<=\])?:\d+$", "", text) if text[:1] == "[" or text.count(":") == 1 else text
    host = host.strip("[]")
    address = _address(host)
    if address is None and ":" in host:
        return text
    return _PRIVATE if is_private(host) else text
