"""Every fault of a provider, through `generate_all`.

What is asked again, what is not, and what the next run does.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from seedfree._seeds import seeded
from seedfree.engine.batch import Replies, generate_all
from seedfree.engine.connections import CONNECT
from seedfree.errors import StopRunError
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.records import Prompt
from tests.engine.provider import LLM, SCHEMA, Server, error, good, transport
from tests.fakes import FakeClock


def _raise(fault: Exception) -> httpx.Response:
    raise fault


def _ask(server: Server, out: Path, n: int = 1, *, clock: FakeClock | None = None) -> Replies:
    """Asks for n prompts, one after another."""
    prompts, clock = [Prompt(f"p{i}") for i in range(n)], clock or FakeClock()
    return generate_all(LLM, prompts, out, clock=clock, transport=transport(server), concurrency=1)


_OVERLOADED = {"error": {"message": "overloaded", "type": "server_error"}}
_STATUSES = (408, 409, 425, 429, 500, 502, 503, 504, 529)
# Faults that may be gone at the next attempt.
PASSING: dict[str, Callable[[], httpx.Response]] = {
    **{str(status): partial(error, status) for status in _STATUSES},
    "reset": lambda: _raise(httpx.ReadError("reset")),
    "no connection": lambda: _raise(httpx.ConnectError("refused")),
    "no connection in time": lambda: _raise(httpx.ConnectTimeout("silence")),
    "timeout": lambda: _raise(httpx.ReadTimeout("slow")),
    "protocol": lambda: _raise(httpx.RemoteProtocolError("garbage")),
    "page": lambda: httpx.Response(200, html="<html>Gateway</html>"),
    "cut": lambda: httpx.Response(200, content=b'{"choices": [{"mess'),
    "list": lambda: httpx.Response(200, json=[]),
    "empty object": lambda: httpx.Response(200, json={}),
    "error in a 200": lambda: httpx.Response(200, json=_OVERLOADED),
}
every_passing_fault = pytest.mark.parametrize("fault", PASSING)
# Where nothing has ever answered, it is asked less often.
UNREACHABLE = ("no connection", "no connection in time")
every_fault_of_a_server = pytest.mark.parametrize("fault", sorted({*PASSING} - {*UNREACHABLE}))


@every_fault_of_a_server
def test_what_may_pass_is_asked_eight_times_with_growing_waits_and_again_by_the_next_run(
    tmp_path: Path, fault: str
) -> None:
    sent, clock = [], FakeClock()

    def failing(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return PASSING[fault]()

    (reply,) = _ask(failing, tmp_path, clock=clock)
    assert reply.text == "" and str(reply.error).startswith("failed: ")
    assert len(sent) == 8 and len(set(sent)) == 1
    # The waits double, each with a jitter of up to a half.
    assert [0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(clock.slept)] == [True] * 7
    assert len(set(clock.slept)) == 7
    (reply,) = _ask(lambda _: good("at last"), tmp_path)
    assert reply.text == "at last" and reply.error is None


@pytest.mark.parametrize("fault", UNREACHABLE)
def test_a_server_that_is_not_there_stops_the_run_in_seconds(tmp_path: Path, fault: str) -> None:
    clock, attempts = FakeClock(), []

    def nobody(request: httpx.Request) -> httpx.Response:
        attempts.append(request)
        return PASSING[fault]()

    with pytest.raises(StopRunError, match="127.0.0.1: no connection.*base_url"):
        _ask(nobody, tmp_path, n=3, clock=clock)
    # Where nothing answers at all, every attempt takes its whole time.
    assert sum(clock.slept) <= 3 and len(attempts) * CONNECT + sum(clock.slept) <= 30


def test_a_port_on_which_nothing_listens_stops_the_run_in_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    clock, llm = FakeClock(), OpenAICompatibleGenerator(f"http://127.0.0.1:{port}/v1", "m")
    with pytest.raises(StopRunError, match="127.0.0.1: no connection.*base_url"):
        generate_all(llm, [Prompt("p")], tmp_path, clock=clock)
    assert len(clock.slept) == 2


def test_many_requests_at_once_to_a_server_that_is_not_there_are_asked_three_times_at_most(
    tmp_path: Path,
) -> None:
    attempts: Counter[bytes] = Counter()

    def nobody(request: httpx.Request) -> httpx.Response:
        attempts[request.content] += 1
        return PASSING["no connection in time"]()

    prompts = [Prompt(f"p{i}") for i in range(200)]
    with pytest.raises(StopRunError, match="no connection"):
        options = {"clock": FakeClock(), "transport": transport(nobody), "concurrency": 64}
        generate_all(LLM, prompts, tmp_path, **options)
    # Those at once, and a few that take the places of those that wait.
    assert max(attempts.values()) <= 3 and len(attempts) < len(prompts) / 2


def test_a_request_under_way_goes_to_the_server_that_came_up_elsewhere(tmp_path: Path) -> None:
    class Restarted(OpenAICompatibleGenerator):
        def request(self, prompt: Prompt) -> httpx.Request:
            request = super().request(prompt)
            ports.append(ports[-1] + 1)
            return httpx.Request("POST", request.url.copy_with(port=ports[-1]), json={"a": 1})

    def serve(request: httpx.Request) -> httpx.Response:
        return good() if request.url.port == 3 else _raise(httpx.ReadError("it died"))

    ports = [0]
    llm = Restarted("http://127.0.0.1:1/v1", "m")
    (reply,) = generate_all(
        llm, [Prompt("a")], tmp_path, clock=FakeClock(), transport=transport(serve)
    )
    assert reply.text == "hello"


def test_a_server_that_has_answered_may_come_up_again(tmp_path: Path) -> None:
    lost = [PASSING[fault] for fault in UNREACHABLE]
    answers = iter([good, *lost * 3, lost[0], good])
    first, second = _ask(lambda _: next(answers)(), tmp_path, n=2)
    assert first.text == second.text == "hello"


@every_passing_fault
def test_what_passes_does_no_harm(tmp_path: Path, fault: str) -> None:
    answers = iter([PASSING[fault], PASSING[fault], good])
    (reply,) = _ask(lambda _: next(answers)(), tmp_path)
    assert reply.text == "hello"


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_is_wrong_with_one_request_fails_it_once(tmp_path: Path, status: int) -> None:
    sent: Counter[bytes] = Counter()

    def picky(request: httpx.Request) -> httpx.Response:
        sent[request.content] += 1
        return error(status, "too odd") if b'"p1"' in request.content else good()

    for _ in range(2):
        replies = _ask(picky, tmp_path, 4)
        assert [r.text for r in replies] == ["hello", "", "hello", "hello"]
        assert "too odd" in str(replies[1].error)
    assert set(sent.values()) == {1}


@pytest.mark.parametrize(
    "answer",
    [
        lambda: error(401),
        lambda: error(402),
        lambda: error(403),
        lambda: error(429, code="insufficient_quota"),
        lambda: error(429, code="enforced_spend_limit_reached"),
        lambda: error(400, "Your credit balance is too low"),
        lambda: error(200, "pay", "insufficient_quota"),
        lambda: error(429, **{"retry-after": "86400"}),
    ],
)
def test_what_no_request_can_get_past_stops_the_run_at_once_and_it_goes_on_later(
    tmp_path: Path, answer: Callable[[], httpx.Response]
) -> None:
    sent = []

    def closing(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return good() if len(sent) <= 3 else answer()

    def answering(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return good()

    with pytest.raises(StopRunError) as caught:
        _ask(closing, tmp_path, 30)
    assert "\n" not in str(caught.value) and caught.value.hint and len(sent) == 4
    sent.clear()
    assert all(reply.text == "hello" for reply in _ask(answering, tmp_path, 30))
    assert len(sent) == 27


def test_the_same_faults_of_claude(tmp_path: Path) -> None:
    def claude(kind: str, status: int) -> Replies:
        body = {"type": "error", "error": {"type": kind, "message": "m"}}
        server = transport(lambda _: httpx.Response(status, json=body))
        llm, out = ClaudeGenerator(api_key="k" * 20), tmp_path / kind
        return generate_all(llm, [Prompt("q")], out, clock=FakeClock(), transport=server)

    refusals = {"authentication_error": 401, "billing_error": 402, "permission_error": 403}
    for kind, status in refusals.items():
        with pytest.raises(StopRunError):
            claude(kind, status)
        with pytest.raises(StopRunError):
            claude(kind, 200)
    assert str(claude("overloaded_error", 529)[0].error).startswith("failed")
    assert str(claude("invalid_request_error", 400)[0].error).startswith("rejected")


def test_waits_are_those_of_the_provider_in_all_its_spellings(tmp_path: Path) -> None:
    folders = (tmp_path / str(i) for i in itertools.count())

    def waits(retry_after: str, **headers: str) -> list[float]:
        """Returns the seconds slept between a refusal with these headers and a good answer."""
        answers = iter([error(429, **{"retry-after": retry_after}, **headers), good()])
        clock = FakeClock()
        (reply,) = _ask(lambda _: next(answers), next(folders), clock=clock)
        assert reply.text == "hello"
        return clock.slept

    assert waits("7") == [7.0]
    assert waits("0.25") == [0.25]
    assert waits("Thu, 01 Jan 1970 00:16:50 GMT") == [10.0]  # the clock starts at 1,000 s
    # By the server's own clock where it says the time: this one may be hours off, either way.
    for date in ("Thu, 01 Jan 1970 05:00:00 GMT", "Wed, 31 Dec 1969 23:00:00 GMT"):
        later = date.replace(":00 GMT", ":04 GMT")
        assert waits(later, date=date) == [4.0]
        assert waits("2", date=date) == [2.0]
    # Which it does not in words that are no date.
    assert waits("Thu, 01 Jan 1970 00:16:50 GMT", date="yesterday") == [10.0]
    assert waits("Thu, 01 Jan 1970 00:16:50 GMT", date="") == [10.0]
    passed = "Thu, 01 Jan 1970 00:00:01 GMT"
    for nonsense in ("soon", "-5", "nan", "1e999", "", passed, "Thu, 99 Jan 1970 00:16:50 GMT"):
        (wait,) = waits(nonsense)
        assert 0.5 <= wait <= 1


def test_a_thousand_requests_with_a_fifth_of_all_answers_faulty_lose_nothing(
    tmp_path: Path,
) -> None:
    """A request has the same faults in whatever order requests come: they are drawn by attempt."""
    tries: Counter[bytes] = Counter()
    faulty, lock = Counter[str](), threading.Lock()
    answers: dict[str, Callable[[], httpx.Response]] = {
        **PASSING,
        "wait": lambda: error(429, **{"retry-after": "2"}),
        "no JSON": lambda: good("I would rather not"),
        "wrong JSON": lambda: good('{"b": 1}'),
        "empty": lambda: good(""),
        "cut off": lambda: good('{"a": "hel', "length"),
    }

    def server(request: httpx.Request) -> httpx.Response:
        with lock:
            attempt, tries[request.content] = tries[request.content], tries[request.content] + 1
            rng = seeded(request.content.decode(), attempt)
            if rng.random() >= 0.2:
                return good('{"a": "yes"}')
            fault = rng.choice(sorted(answers))
            faulty[fault] += 1
        return answers[fault]()

    prompts = [Prompt(f"p{i}", schema=SCHEMA) for i in range(1000)]
    options = {"clock": FakeClock(), "transport": transport(server), "concurrency": 64}
    replies = generate_all(LLM, prompts, tmp_path, **options)
    done = sum(r.error is None and json.loads(r.text) == {"a": "yes"} for r in replies)
    rejected = sum(str(r.error).startswith(("invalid", "cut off", "rejected")) for r in replies)
    failed = sum(str(r.error).startswith("failed") for r in replies)
    # A prompt is given up after three replies that cannot be used; few draw three in a row.
    assert done + rejected + failed == 1000 and failed == 0 and done >= 995
    # Every kind of fault was drawn.
    assert len(faulty) == len(answers) and sum(faulty.values()) > 200


def test_no_byte_of_a_redirect_reaches_another_host(tmp_path: Path) -> None:
    hosts = []

    def away(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://evil.example/v1"})

    (reply,) = _ask(away, tmp_path)
    assert "307" in str(reply.error) and set(hosts) == {"127.0.0.1"}
