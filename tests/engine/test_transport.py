from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.engine.transport import MAX_BODY, Answer, Transport, check_url, classify, explain, retry_after
from seedfree.errors import ConfigError, RequestError, RetryableError, StopRunError


def _answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, httpx.Headers({k.replace("_", "-"): v for k, v in headers.items()}), body)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_load_and_faults_are_retried(status: int) -> None:
    with pytest.raises(RetryableError):
        classify(_answer(status))


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_refused_key_or_a_missing_model_stops_the_run(status: int) -> None:
    with pytest.raises(StopRunError):
        classify(_answer(status))


@pytest.mark.parametrize("code", ["insufficient_quota", "enforced_spend_limit_reached"])
def test_spent_money_stops_the_run_though_the_status_says_load(code: str) -> None:
    with pytest.raises(StopRunError, match="billing"):
        classify(_answer(429, f'{{"error": {{"code": "{code}", "message": "no"}}}}'.encode()))


@pytest.mark.parametrize("status", [400, 413, 422, 301, 307])
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
    found = retry_after(httpx.Headers([(b"retry-after", value.encode("utf-8", "replace"))]), now=0.0)
    assert found is None or 0 <= found < float("inf")


def test_an_echoed_key_is_not_repeated() -> None:
    text = explain(b'{"error": {"message": "bad key hunter2-canary and sk-ant-abcdefgh12345"}}', ("hunter2-canary",))
    assert "canary" not in text and "abcdefgh" not in text and "bad key" in text


@given(st.binary(max_size=3000))
def test_any_body_is_explained_in_one_short_line(body: bytes) -> None:
    text = explain(body)
    assert len(text) <= 200 and text.isprintable()


@pytest.mark.parametrize(
    "url", ["http://example.org", "ftp://example.org", "example.org", "https://u:p@example.org", "https://x.org/?key=1"]
)
def test_urls_that_leak_or_lead_nowhere_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1/", "http://localhost:1", "http://[::1]:9/", "https://a.b/c/"]
)
def test_https_and_loopback_are_allowed(url: str) -> None:
    assert check_url(url) == url.rstrip("/")


def _send(handler: object, **settings: float) -> Answer:
    async def work() -> Answer:
        transport = Transport(transport=httpx.MockTransport(handler), **settings)  # type: ignore[arg-type]
        try:
            return await transport.send(httpx.Request("POST", "https://api.example/v1", content=b"{}"))
        finally:
            await transport.close()

    return asyncio.run(work())


def test_a_reset_is_retryable() -> None:
    def reset(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    with pytest.raises(RetryableError, match="ReadError"):
        _send(reset)


def test_a_server_that_never_ends_meets_the_deadline() -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RetryableError, match="no answer in time"):
        _send(slow, timeout=0.01)


def test_redirects_are_not_followed() -> None:
    seen = []

    def redirect(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(RequestError, match="307"):
        _send(redirect)
    assert seen == ["api.example"]


def test_a_body_is_capped_in_decoded_bytes() -> None:
    import gzip

    bomb = gzip.compress(b"\0" * (MAX_BODY + 1))
    with pytest.raises(RequestError, match="larger"):
        _send(lambda _: httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"}))
