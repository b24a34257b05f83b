"""Sending a request and reading what comes back: faults, limits, URLs, the machine's settings."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import resource
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.engine.connections import MAX_BODY, open_files
from seedfree.engine.http import (
    Answer,
    Transport,
    UnreachableError,
    classify,
    explain,
    json_request,
    retry_after,
)
from seedfree.engine.places import check_url
from seedfree.errors import ConfigError, RequestError, RetryableError, StopRunError


def _answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    # Names of arguments hold no hyphens.
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, httpx.Headers(names), body)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_load_and_faults_are_retried(status: int) -> None:
    with pytest.raises(RetryableError):
        classify(_answer(status))


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_stops_the_run(status: int) -> None:
    with pytest.raises(StopRunError):
        classify(_answer(status))


@pytest.mark.parametrize("code", ["insufficient_quota", "enforced_spend_limit_reached"])
def test_spent_money_stops_the_run_though_the_status_says_load(code: str) -> None:
    with pytest.raises(StopRunError, match="billing"):
        classify(_answer(429, f'{{"error": {{"code": "{code}", "message": "no"}}}}'.encode()))


@pytest.mark.parametrize("status", [400, 404, 413, 422, 301, 307])
def test_other_answers_fail_that_request_alone(status: int) -> None:
    with pytest.raises(RequestError) as caught:
        classify(_answer(status))
    assert type(caught.value) is RequestError and caught.value.status == status


def test_the_providers_own_word_on_retrying_wins() -> None:
    with pytest.raises(RetryableError):
        classify(_answer(400, x_should_retry="true"))
    with pytest.raises(RequestError) as caught:
        classify(_answer(500, x_should_retry="false"))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(httpx.Headers(headers), now=100.0) == seconds


@given(st.text())
def test_retry_after_is_never_negative_whatever_a_server_sends(value: str) -> None:
    headers = httpx.Headers([(b"retry-after", value.encode("utf-8", "replace"))])
    seconds = retry_after(headers, now=0.0)
    assert seconds is None or 0 <= seconds < float("inf")


def test_an_echoed_key_is_not_repeated() -> None:
    text = explain(b'{"error": {"message": "bad key sk-ant-abcdefgh12345"}}')
    assert "abcdefgh" not in text and "bad key" in text


@given(st.binary(max_size=3000))
def test_any_body_is_explained_in_one_short_line(body: bytes) -> None:
    text = explain(body)
    assert len(text) <= 200 and text.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "ftp://example.org",
        "example.org",
        "https://u:p@example.org",
        "https://x.org/?key=1",
    ],
)
def test_urls_that_leak_or_lead_nowhere_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1/", "http://localhost:1", "http://[::1]:9/", "https://a.b/c/"]
)
def test_https_and_loopback_are_allowed(url: str) -> None:
    assert check_url(url) == url.rstrip("/")


def _send(transport: Transport, url: str = "https://api.example/v1") -> Answer:
    """Sends a request and closes the transport."""

    async def work() -> Answer:
        try:
            return await transport.send(httpx.Request("POST", url, content=b"{}"))
        finally:
            await transport.close()

    return asyncio.run(work())


def _scripted(handler: object, **settings: float) -> Transport:
    """Returns a transport whose answers a function makes, at once or awaited."""
    return Transport(transport=httpx.MockTransport(handler), **settings)  # type: ignore[arg-type]


def test_a_reset_is_retryable() -> None:
    def reset(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    with pytest.raises(RetryableError, match="ReadError"):
        _send(_scripted(reset))


def test_a_server_that_never_ends_meets_the_deadline() -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RetryableError, match="no answer in time"):
        _send(_scripted(slow, timeout=0.01))


def test_redirects_are_not_followed() -> None:
    seen = []

    def redirect(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(RequestError, match="307"):
        _send(_scripted(redirect))
    assert seen == ["api.example"]


def test_a_body_is_capped_in_decoded_bytes() -> None:
    bomb = gzip.compress(b"\0" * (MAX_BODY + 1))
    answer = httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"})
    with pytest.raises(RequestError, match="larger"):
        _send(_scripted(lambda _: answer))


class Wire:
    """A server that sends `answer` whatever is asked, and then hangs up, or waits if `hang`."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.answer = b""
        self.hang = False
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if connection.recv(65536) == b"bye":
                connection.close()
                return
            # A client that has read enough hangs up.
            with contextlib.suppress(ConnectionError):
                connection.sendall(self.answer)
            if self.hang:
                self._open.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        # The thread waits for a connection, and this one tells it to end.
        with socket.create_connection(self._socket.getsockname()) as last:
            last.sendall(b"bye")
            self._thread.join()
        for connection in [self._socket, *self._open]:
            connection.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    with contextlib.closing(Wire()) as wire:
        yield wire


def _ask(wire: Wire, answer: bytes, url: str = "", **settings: float) -> Answer:
    wire.answer = answer
    return _send(Transport(**settings), url or wire.url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 8\r\n\r\nnot gzip",
        b"\x16\x03\x01 this is no HTTP at all\r\n\r\n",  # TLS begins so
        b"HTTP/1.1 999999 OK\r\n\r\n",
    ],
)
def test_resets_and_cut_or_senseless_answers_are_retryable(wire: Wire, answer: bytes) -> None:
    with pytest.raises(RetryableError, match="127.0.0.1: .*base_url"):
        _ask(wire, answer)


def test_a_body_that_drips_meets_the_deadline_of_the_whole_exchange(wire: Wire) -> None:
    wire.hang = True  # the rest of the 100 bytes never comes
    with pytest.raises(RetryableError, match="no answer in time"):
        _ask(wire, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nh", timeout=0.05)


def test_no_more_of_a_bomb_is_unpacked_than_a_reply_may_hold() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(MAX_BODY)) for _ in range(4)) + packer.flush()

    def serve(_: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(bomb)
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)

    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match="larger than 32 MiB"):
            _send(Transport(transport=httpx.MockTransport(serve)), "http://127.0.0.1/")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * MAX_BODY


def test_a_bomb_is_stopped_while_it_is_unpacked(wire: Wire) -> None:
    # Small on the wire, and larger than what may be kept.
    bomb = gzip.compress(b"\0" * (4 * MAX_BODY))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    with pytest.raises(RequestError, match="larger than 32 MiB"):
        _ask(wire, head + bomb)


@pytest.mark.parametrize("layers", [2, 3])
def test_a_body_that_is_compressed_twice_is_refused(wire: Wire, layers: int) -> None:
    body = b"\0" * 1000
    for _ in range(layers):
        body = gzip.compress(body)
    codings = b", ".join([b"gzip"] * layers)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
    with pytest.raises(RetryableError, match="gzip, gzip"):
        _ask(wire, head % (codings, len(body)) + body)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate", "raw deflate", "identity"])
def test_every_coding_that_is_asked_for_is_read(wire: Wire, coding: str) -> None:
    coded = {
        "deflate": zlib.compress(b"hello"),
        "raw deflate": zlib.compress(b"hello")[2:-4],
        "identity": b"hello",
    }
    body = coded.get(coding, gzip.compress(b"hello"))
    name = coding.split()[-1].encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
    assert _ask(wire, head % (name, len(body)) + body).body == b"hello"


def test_a_cut_compressed_body_is_retryable(wire: Wire) -> None:
    body = gzip.compress(b"hello")[:-9]
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    with pytest.raises(RetryableError, match="cut off"):
        _ask(wire, head % len(body) + body)


@pytest.mark.parametrize("late", [False, True])
def test_a_reply_that_nobody_asked_for_answers_no_request(late: bool) -> None:
    """Every connection answers its first request twice, at once or while it is idle."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(2)
            assert b"content-length: 2" in head.lower()
            reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + body
            writer.write(reply)
            if late:
                await asyncio.wait_for(idle.wait(), 10)
            writer.write(reply)
            await writer.drain()
            sent.set()
            await reader.read()

    async def work() -> list[bytes]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport, bodies = Transport(), []
        for body in (b"00", b"11", b"22"):
            idle.clear(), sent.clear()
            bodies.append((await transport.send(httpx.Request("POST", url, content=body))).body)
            idle.set()
            await sent.wait()
        await transport.close()
        await asyncio.gather(*served)
        server.close()
        return bodies

    served: list[Any] = []
    idle, sent = asyncio.Event(), asyncio.Event()
    # A connection that is used again ends no wait.
    assert asyncio.run(asyncio.wait_for(work(), 10)) == [b"00", b"11", b"22"]


def test_a_host_that_takes_no_connection_is_given_up_in_time(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers nothing to the beginning of a TLS connection, long before the time-out."""
    monkeypatch.setattr("seedfree.engine.connections.CONNECT", 0.05)
    wire.hang = True
    with pytest.raises(UnreachableError, match="127.0.0.1: no connection.*base_url"):
        _ask(wire, b"", wire.url.replace("http:", "https:"), timeout=1.0)


def test_a_refused_tls_handshake_stops_the_run_and_is_named(wire: Wire) -> None:
    plain = wire.url.replace("http:", "https:")
    with pytest.raises(StopRunError, match="127.0.0.1: no TLS connection: .*base_url"):
        _ask(wire, b"HTTP/1.1 400 Bad Request\r\n\r\n", plain)


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_no_proxy_for_this_machine(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    url = wire.url.replace("127.0.0.1", host)
    assert _ask(wire, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", url).body == b"hi"


def test_no_key_goes_through_a_proxy_in_the_clear(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", wire.url.removesuffix("/v1"))
    request = json_request("http://10.1.2.3/v1", {}, {"authorization": "Bearer k"}, 1.0)

    async def send() -> None:
        await Transport().send(request)

    with pytest.raises(StopRunError, match="10.1.2.3: .*proxy.*NO_PROXY"):
        asyncio.run(send())


def test_a_refused_connection_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    # The port is free again, so nothing listens on it.
    with pytest.raises(UnreachableError, match="127.0.0.1: no connection"):
        _send(Transport(), url)


def test_a_connection_that_breaks_did_come_about(wire: Wire) -> None:
    with pytest.raises(RetryableError, match="127.0.0.1: the connection broke") as broken:
        _ask(wire, b"")
    assert not isinstance(broken.value, UnreachableError)


def test_the_environments_proxy_is_used_but_not_for_this_machine(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server is the proxy, too: it answers whatever it is asked.
    monkeypatch.setenv("http_proxy", wire.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    assert _ask(wire, answer).body == b"hi"
    assert _ask(wire, answer, "http://nowhere.invalid/").body == b"hi"


def test_the_soft_limit_on_open_files_is_raised_and_the_hard_one_caps_concurrency(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The soft and the hard limit; 256 files are left to the rest of the process.
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.update(now=pair))
    assert open_files(512) == 512 and limits["now"] == (1024, 4096)
    assert open_files(2000) == 2000 and limits["now"] == (2256, 4096)
    with caplog.at_level(logging.WARNING):
        assert open_files(9000) == 4096 - 256 and limits["now"] == (4096, 4096)
    assert "9000" in caplog.text and "3840" in caplog.text


@pytest.mark.parametrize("timeout", [600.0, 0.9])
def test_an_answer_that_came_while_the_process_was_frozen_is_read(
    monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    async def work() -> bytes:
        loop = asyncio.get_running_loop()
        running = loop.time

        async def answer(_: httpx.Request) -> httpx.Response:
            monkeypatch.setattr(loop, "time", lambda: running() + 10_000)
            for _step in range(20):  # the passes of the loop in which the answer is read
                await asyncio.sleep(0)
            return httpx.Response(200, content=b"paid for")

        transport = Transport(transport=httpx.MockTransport(answer), timeout=timeout)
        return (await transport.send(httpx.Request("GET", "http://127.0.0.1/"))).body

    assert asyncio.run(work()) == b"paid for"
