"""Connections to servers and proxies, and the bytes of a reply as they come in.

httpx is the interface. Its own connection pool takes quadratic time in waiting requests, so the
connections are aiohttp's (`httpx-aiohttp`).
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import urllib.request
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx

from seedfree.engine.loop import time_limit
from seedfree.engine.places import is_here
from seedfree.errors import RequestError, RetryableError

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "CONNECT",
    "MAX_BODY",
    "connections",
    "decoded",
    "is_unreachable",
    "open_files",
    "proxy_of",
    "read_body",
    "refused_handshake",
]

_LOG = logging.getLogger("seedfree")

# Decoded bytes of one reply. A compressed body of a few kilobytes could otherwise fill the memory.
MAX_BODY = 32 * 2**20
# Files that a process has open beside its connections: the ledger, the terminal, libraries.
_OTHER_FILES = 256
# Seconds in which a host has to be found and reached. One that is not there is asked three times
# (see `limits.py`), and the run should end within half a minute. Linux asks a host that does not
# answer again after 1, 3 and 7 s.
CONNECT = 8.0
# Seconds after which an idle connection is closed; httpx's own figure.
_IDLE = 5.0
# Both are asked for; zlib's sign for each. Servers send deflate with and without zlib's head.
_CODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def proxy_of(url: httpx.URL) -> str | None:
    """Returns the proxy that the environment names for a URL; never one for this machine."""
    if is_here(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def connections(url: httpx.URL, most: int) -> httpx.AsyncBaseTransport:
    """Returns the connections to a host, at most `most` at once, through its proxy if any."""
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    class Connector(aiohttp.TCPConnector):
        """Keeps connections open between requests, unless the server has sent something unasked."""

        async def _get(self, key: Any, traces: list[Any]) -> Any:
            while (connection := await super()._get(key, traces)) is not None:
                protocol = connection.protocol
                # Whatever is there before a request is sent would be taken for its answer.
                assert protocol is not None  # it was not released
                if not (protocol.should_close or _holds_bytes(protocol.transport)):
                    break
                connection.close()
            return connection

        async def _create_connection(self, *arguments: Any) -> Any:
            # Over all addresses of a name: aiohttp's own limit is for each of them.
            async with time_limit(CONNECT):
                return await super()._create_connection(*arguments)

    def session() -> aiohttp.ClientSession:
        ssl_context = transport.ssl_context
        connector = Connector(limit=most, ssl=ssl_context, keepalive_timeout=_IDLE)
        return aiohttp.ClientSession(connector=connector)

    address = proxy_of(url)
    proxy = httpx.Proxy(address) if address else None
    transport = AiohttpTransport(proxy=proxy, client=session)
    return transport


def _holds_bytes(transport: Any) -> bool:
    """Returns whether bytes, or the end of the connection, wait to be read."""
    connected: socket.socket | None = transport and transport.get_extra_info("socket")
    if connected is None or connected.fileno() < 0:
        return False
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(connected.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connected.fileno()], [], [], 0)[0])


def refused_handshake(error: BaseException) -> str | None:
    """Returns why no TLS connection came about; `None` if that was not the fault."""
    import aiohttp

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (aiohttp.ClientSSLError, ssl.SSLError)):
            break
        cause = cause.__cause__
    if not isinstance(cause, aiohttp.ClientSSLError):
        return None
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        reason: object = cause.certificate_error
    else:
        reason = getattr(cause, "os_error", cause)
    words = getattr(reason, "verify_message", "") or getattr(reason, "reason", "") or ""
    return str(words).replace("_", " ").lower() or type(reason).__name__


def is_unreachable(error: BaseException) -> bool:
    """Returns whether no connection came about, so that nothing was sent."""
    import aiohttp

    if not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return False
    # httpx-aiohttp also has ConnectTimeout for a refused connection, and for one that broke.
    broke = isinstance(error.__cause__, aiohttp.ClientConnectionError)
    never_there = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    return not broke or isinstance(error.__cause__, never_there)


async def read_body(response: httpx.Response) -> bytes:
    """Reads a body, decoded.

    Raises:
        RequestError: It has more than `MAX_BODY` bytes.
        RetryableError: It has a coding that was not asked for, or several.
    """
    parts, size, status = [], 0, response.status_code
    async for part in decoded(response):
        size += len(part)
        if size > MAX_BODY:
            raise RequestError(f"The reply is larger than {MAX_BODY >> 20} MiB", status=status)
        parts.append(part)
    return b"".join(parts)


async def decoded(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yields the parts of a body as they come in, decoded.

    Raises:
        RetryableError: It is cut off, or has a coding that was not asked for, or several.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        async for part in stream:
            yield part
        return
    if coding not in _CODINGS:
        raise RetryableError(f"The reply has the coding {coding[:40]!r}, which was not asked for")
    decoder, first = zlib.decompressobj(_CODINGS[coding]), True
    async for part in stream:
        if decoder.eof:
            break
        # A few bytes may stand for gigabytes, so that the decoder itself is limited.
        try:
            yield decoder.decompress(part, MAX_BODY + 1)
        except zlib.error:
            if coding != "deflate" or not first:
                raise
            decoder = zlib.decompressobj(-zlib.MAX_WBITS)
            yield decoder.decompress(part, MAX_BODY + 1)
        first = False
    if not decoder.eof:
        raise RetryableError("The reply is cut off")


def open_files(wanted: int) -> int:
    """Returns how many of `wanted` connections the system allows.

    Raises this process's soft limit on open files, if that helps.
    """
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft >= needed:
        return wanted
    capped = max(1, soft - _OTHER_FILES)
    warning = "concurrency %d needs more open files than the %d allowed; it is %d"
    _LOG.warning(warning, wanted, soft, capped)
    return capped
