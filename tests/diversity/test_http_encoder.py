"""What `OpenAICompatibleEncoder` sends, and what it makes of answers, against a local server."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from seedfree.diversity.http_encoder import OpenAICompatibleEncoder
from seedfree.engine.loop import Clock
from seedfree.errors import ConfigError, EncoderError, RequestError, RetryableError, StopRunError
from seedfree.run.settings import describe

KEY = "sk-" + "k" * 30


def vector(text):
    return [float(len(text)), 1.0, 2.0]


def good(body, order=reversed):
    data = [
        {"object": "embedding", "index": i, "embedding": vector(text)}
        for i, text in enumerate(body["input"])
    ]
    return 200, {"data": list(order(data)), "model": "m"}


@contextmanager
def serving(answer):
    """A server. `answer(body)` returns its status, JSON value or bytes, and headers."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, body, self.headers["authorization"]))
            status, value, *headers = answer(body)
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in (headers[0] if headers else {}).items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """The waits, none of which is real."""
    waits = []

    async def sleep(self, seconds):
        waits.append(seconds)

    monkeypatch.setattr(Clock, "sleep", sleep)
    monkeypatch.setattr(Clock, "monotonic", lambda self: time.monotonic() + sum(waits))
    return waits


def expected(texts):
    rows = np.array([vector(text) for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_vectors_follow_the_index_and_batches_the_length():
    texts = ["ข" * n for n in (3, 9, 1, 7, 5)]
    with serving(good) as (url, asked):
        vectors = OpenAICompatibleEncoder(url, "m", batch_size=2).encode(texts)
    np.testing.assert_allclose(vectors, expected(texts), rtol=1e-6)
    assert sorted([len(t) for t in body["input"]] for _, body, _ in asked) == [[1], [5, 3], [9, 7]]
    assert {path for path, _, _ in asked} == {"/v1/embeddings"}


def test_what_is_sent():
    with serving(good) as (url, asked):
        OpenAICompatibleEncoder(f"{url}/v1/", "m", api_key=KEY, dimensions=3, max_length=4).encode(
            ["long text"]
        )
        OpenAICompatibleEncoder(f"{url}/api/v3/embeddings", "n").encode(["", " \n"])
    assert asked == [
        ("/v1/embeddings", {"model": "m", "input": ["long"], "dimensions": 3}, f"Bearer {KEY}"),
        ("/api/v3/embeddings", {"model": "n", "input": [" ", " "]}, None),
    ]


def test_it_works_beside_a_running_loop():
    async def notebook(encoder):
        return encoder.encode(["a"]), await asyncio.to_thread(encoder.encode, ["ab"])

    with serving(good) as (url, _):
        here, there = asyncio.run(notebook(OpenAICompatibleEncoder(url, "m")))
    np.testing.assert_allclose(np.concatenate([here, there]), expected(["a", "ab"]), rtol=1e-6)


@pytest.mark.parametrize(
    "fault", [(503, b"busy"), (429, {"error": "slow down"}), (200, {"error": {"code": 503}})]
)
def test_a_fault_that_passes_is_asked_again(fault, slept):
    answers = iter([fault, fault])
    with serving(lambda body: next(answers, None) or good(body)) as (url, asked):
        np.testing.assert_allclose(
            OpenAICompatibleEncoder(url, "m").encode(["a"]), expected(["a"]), rtol=1e-6
        )
    assert len(asked) == 3 and len(slept) == 2


def test_a_provider_is_given_the_time_that_it_asks_for(slept):
    answers = iter([(429, b"", {"retry-after": "30"})])
    with serving(lambda body: next(answers, None) or good(body)) as (url, _):
        OpenAICompatibleEncoder(url, "m").encode(["a"])
    assert 29 < max(slept) <= 30


def test_a_fault_that_stays_ends_after_eight_requests():
    with serving(lambda body: (503, b"<h1>busy</h1>")) as (url, asked):
        with pytest.raises(RetryableError, match="HTTP 503: busy"):
            OpenAICompatibleEncoder(url, "m").encode(["a"])
    assert len(asked) == 8


def test_a_server_that_is_not_there_is_asked_three_times(slept):
    with serving(good) as (url, _):
        pass
    with pytest.raises(StopRunError, match="no connection"):
        OpenAICompatibleEncoder(url, "m").encode(["a"])
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda b: (401, {"error": {"message": f"wrong key {KEY}"}}), StopRunError),
        (lambda b: (404, {"error": {"message": f"no model for {KEY}"}}), RequestError),
        (
            lambda b: (200, {"error": {"code": 400, "message": f"Bearer {KEY} asks too much"}}),
            RequestError,
        ),
        (lambda b: (200, f"<html>{KEY}</html>".encode()), EncoderError),
    ],
)
def test_no_error_shows_the_key_and_none_of_these_is_asked_again(answer, error):
    with serving(answer) as (url, asked), pytest.raises(error) as caught:
        OpenAICompatibleEncoder(url, "m", api_key=KEY).encode(["a"])
    assert len(asked) == 1
    cause = caught.value
    while cause is not None:
        assert KEY not in str(cause) and "\n" not in str(cause)
        cause = cause.__cause__


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"<html><body>Welcome</body></html>", "something else than JSON"),
        (b"[]", "something else than JSON"),
        ({"object": "list"}, "no vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1.0]}]}, "1 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, "without index"),
        ({"data": [{"embedding": [1.0]}] * 2}, "without index"),
        ({"data": [{"index": i} for i in range(2)]}, "without index"),
        ({"data": [{"index": i, "embedding": [1.0] * (i + 1)} for i in range(2)]}, "equal lengths"),
        (
            {"data": [{"index": i, "embedding": "AACAPw=="} for i in range(2)]},
            "without index, embedding",
        ),
        (
            {"data": [{"index": i, "embedding": None} for i in range(2)]},
            "no list of numbers|without index",
        ),
        ({"data": [{"index": i, "embedding": []} for i in range(2)]}, "no list of numbers"),
        ({"data": [{"index": i, "embedding": 1.0} for i in range(2)]}, "no list of numbers"),
        ({"data": [1, 2]}, "without index"),
    ],
)
def test_an_answer_of_another_form_is_an_error_in_one_line(value, message):
    with (
        serving(lambda body: (200, value)) as (url, asked),
        pytest.raises(EncoderError, match=message) as caught,
    ):
        OpenAICompatibleEncoder(url, "m").encode(["a", "b"])
    assert "\n" not in str(caught.value) and "base_url" in str(caught.value) and len(asked) == 1


def test_widths_are_those_asked_for_and_the_same_in_all_batches():
    with serving(good) as (url, _), pytest.raises(EncoderError, match="3 dimensions, not 2"):
        OpenAICompatibleEncoder(url, "m", dimensions=2).encode(["a"])

    def uneven(body):
        return 200, {"data": [{"index": 0, "embedding": [1.0] * len(body["input"][0])}]}

    with serving(uneven) as (url, _), pytest.raises(EncoderError, match="1 and 2 dimensions"):
        OpenAICompatibleEncoder(url, "m", batch_size=1).encode(["a", "ab"])


def test_settings_are_checked_when_they_are_made(monkeypatch):
    for wrong, message in (
        ({"base_url": "http://10.0.0.7:8080"}, "in the clear"),
        ({"base_url": "https://me:secret@host"}, "more than a place"),
        ({"base_url": "host:1"}, "is not a URL"),
        ({"model": ""}, "model is empty"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"dimensions": 2.5}, "dimensions is 2.5"),
        ({"max_length": -1}, "max_length is -1"),
        ({"timeout": 0}, "timeout is 0"),
        ({"api_key": "a b"}, "outside ASCII"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            OpenAICompatibleEncoder(**{"base_url": "https://host", "model": "m", **wrong})
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_openai_s_key_comes_from_the_environment_and_goes_nowhere_else(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    openai = OpenAICompatibleEncoder("https://api.openai.com/v1", "text-embedding-3-small")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        openai.ready()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    openai.ready()
    with serving(good) as (url, asked):
        OpenAICompatibleEncoder(url, "m").encode(["a"])
    assert asked[0][2] is None
    for each in (openai, OpenAICompatibleEncoder("https://host", "m", api_key=KEY)):
        assert KEY not in repr(each) and KEY not in json.dumps(describe(each))


def test_identity_is_place_model_and_what_changes_a_vector():
    def identity(url="https://host", model="m", **rest):
        return OpenAICompatibleEncoder(url, model, **rest).identity

    different = [{}, {"url": "https://other"}, {"model": "n"}, {"dimensions": 8}, {"max_length": 8}]
    assert len({identity(**each) for each in different}) == len(different)
    same = [{}, {"url": "https://host/v1/"}, {"batch_size": 1}, {"timeout": 1}, {"api_key": KEY}]
    assert len({identity(**each) for each in same}) == 1
