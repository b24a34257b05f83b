"""`generate_all`: replies in order, each paid for once, whatever becomes of single prompts."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from seedfree.engine.batch import generate_all
from seedfree.errors import ConfigError, LedgerError, RetryableError, StopRunError
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.records import Prompt, Reply
from tests.engine.provider import LLM, SCHEMA, error, good, transport
from tests.fakes import FakeClock, VirtualClock


def _numbered(name: str = "numbered") -> FunctionGenerator:
    lock, count = threading.Lock(), iter(range(10**6))

    def fn(prompt: Prompt) -> str:
        with lock:
            return f"{prompt.user} {next(count)}"

    return FunctionGenerator(fn, name=name)


def test_replies_come_in_order_and_are_not_asked_for_twice(tmp_path: Path) -> None:
    prompts = [Prompt(f"p{i}") for i in range(50)]
    first, second = _numbered(), _numbered()
    replies = generate_all(first, prompts, tmp_path, concurrency=8)
    assert [r.text.split()[0] for r in replies] == [p.user for p in prompts]
    assert generate_all(second, prompts, tmp_path, concurrency=3) == replies
    assert len(first.calls) == 50 and second.calls == []


def test_equal_prompts_are_samples_of_their_own(tmp_path: Path) -> None:
    replies = generate_all(_numbered(), [Prompt("same")] * 5, tmp_path)
    assert len({r.text for r in replies}) == 5
    assert generate_all(_numbered(), [Prompt("same")] * 5, tmp_path) == replies


def test_samples_get_seeds_of_their_own_that_depend_on_the_runs_seed(tmp_path: Path) -> None:
    def seeds(folder: str, seed: int) -> list[int | None]:
        llm = _numbered()
        generate_all(llm, [Prompt("same")] * 3, tmp_path / folder, seed=seed, concurrency=1)
        return [p.seed for p in llm.calls]

    assert seeds("a", 0) == seeds("b", 0) != seeds("c", 1)
    assert len(set(seeds("d", 2))) == 3


def test_a_prompt_may_be_retried_and_then_fail_without_harm_to_others(tmp_path: Path) -> None:
    clock, tries = FakeClock(), []

    def fn(prompt: Prompt) -> str:
        if prompt.user == "bad":
            tries.append(1)
            raise RetryableError("later")
        if prompt.user == "broken":
            raise ZeroDivisionError("oops")
        return "good"

    prompts = [Prompt("bad"), Prompt("ok"), Prompt("broken")]
    bad, ok, broken = generate_all(FunctionGenerator(fn), prompts, tmp_path, clock=clock)
    assert ok.text == "good" and ok.error is None
    assert bad.text == "" and "later" in str(bad.error) and len(tries) == 8 == len(clock.slept) + 1
    assert "ZeroDivisionError: oops" in str(broken.error)
    # The same model to the ledger: it goes by the name. Failures are asked again.
    again = generate_all(FunctionGenerator(lambda _: "now", name="fn"), prompts, tmp_path)
    assert [r.text for r in again] == ["now", "good", "now"]


def test_replies_that_break_the_schema_are_sampled_again_three_times_at_most(
    tmp_path: Path,
) -> None:
    texts = iter(["no json", '{"a": 1}', 'Here: {"a": "yes"}'])
    llm = FunctionGenerator(lambda _: next(texts), name="texts")
    (reply,) = generate_all(llm, [Prompt("x", schema=SCHEMA)], tmp_path / "a")
    assert reply.error is None and json.loads(reply.text[6:]) == {"a": "yes"}
    stubborn = FunctionGenerator(lambda _: "never", name="never")
    (reply,) = generate_all(stubborn, [Prompt("x", schema=SCHEMA)], tmp_path / "b")
    assert reply.text == "" and str(reply.error).startswith("invalid") and len(stubborn.calls) == 3


def test_a_cut_reply_is_asked_for_with_more_room_and_never_accepted(tmp_path: Path) -> None:
    def needs(tokens: int) -> FunctionGenerator:
        def fn(prompt: Prompt) -> Reply:
            if prompt.max_tokens < tokens:
                return Reply("wh", stop_reason="max_tokens")
            return Reply("whole")

        return FunctionGenerator(fn, name=f"needs{tokens}")

    llm = needs(350)
    (reply,) = generate_all(llm, [Prompt("x", max_tokens=100)], tmp_path / "a")
    assert reply.text == "whole" and [p.max_tokens for p in llm.calls] == [100, 200, 400]
    (reply,) = generate_all(needs(10**6), [Prompt("x", max_tokens=100)], tmp_path / "b")
    assert reply.text == "" and reply.error == "cut off"


def test_a_refusal_is_stored_and_given_as_an_error(tmp_path: Path) -> None:
    llm = FunctionGenerator(lambda _: Reply("I cannot", stop_reason="refusal"), name="no")
    for _ in range(2):
        (reply,) = generate_all(llm, [Prompt("x")], tmp_path)
        assert reply.text == "" and reply.error == "refused"
    assert len(llm.calls) == 1


def test_everyone_waits_as_long_as_the_provider_says(tmp_path: Path) -> None:
    answers = iter([httpx.Response(429, headers={"retry-after": "7"}), good(), good()])
    clock, server = FakeClock(), transport(lambda _: next(answers))
    prompts = [Prompt("a"), Prompt("b")]
    replies = generate_all(LLM, prompts, tmp_path, clock=clock, transport=server, concurrency=1)
    assert [r.text for r in replies] == ["hello", "hello"] and clock.slept == [7.0]


def test_an_error_inside_a_success_is_retried_also_by_a_later_run(tmp_path: Path) -> None:
    overloaded = httpx.Response(200, json={"error": {"message": "overloaded", "code": 503}})
    answers = iter([overloaded, good("fine")])
    for _ in range(2):
        # The second run gets its reply from the ledger: there is no third answer.
        server = transport(lambda _: next(answers))
        (reply,) = generate_all(LLM, [Prompt("a")], tmp_path, clock=FakeClock(), transport=server)
        assert reply.text == "fine"


def test_a_rejected_request_is_sent_once_and_remembered(tmp_path: Path) -> None:
    sent = []

    def reject(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return error(400, "unknown field")

    for _ in range(2):
        (reply,) = generate_all(LLM, [Prompt("a")], tmp_path, transport=transport(reject))
        assert reply.text == "" and "unknown field" in str(reply.error)
    assert len(sent) == 1


def test_a_refused_key_stops_at_once_and_the_run_goes_on_later(tmp_path: Path) -> None:
    prompts = [Prompt(str(i)) for i in range(20)]
    sent: list[httpx.Request] = []

    def closing(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return good() if len(sent) <= 5 else error(401, "no such key")

    def answering(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return good()

    with pytest.raises(StopRunError, match="no such key"):
        generate_all(LLM, prompts, tmp_path, transport=transport(closing), concurrency=1)
    assert len(sent) == 6
    sent.clear()
    replies = generate_all(LLM, prompts, tmp_path, transport=transport(answering))
    assert len(sent) == 15 and all(r.text == "hello" for r in replies)


def test_wrong_arguments_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    llm = _numbered()
    with pytest.raises(ConfigError, match="concurrency"):
        generate_all(llm, [Prompt("x")], tmp_path, concurrency=0)
    assert llm.calls == [] and generate_all(llm, [], tmp_path) == []


def test_twenty_rejections_in_a_row_stop_the_run_with_a_hint(tmp_path: Path) -> None:
    sent = []

    def reject(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return error(400, "response_format")

    prompts = [Prompt(str(i)) for i in range(50)]
    with pytest.raises(StopRunError, match="20 requests in a row.*response_format.*json_object"):
        generate_all(LLM, prompts, tmp_path, transport=transport(reject), concurrency=1)
    assert len(sent) == 20


_LOSSES = {
    "rejected": lambda: error(400, "no such schema"),
    "refused": lambda: good("I would rather not", "content_filter"),
    "cut off": lambda: good("so long that it", "length"),
    "invalid": lambda: good('{"b": "something else"}'),
    "failed": lambda: error(500, "out of order"),
}
_EXAMPLES = {
    "rejected": "no such schema",
    "refused": "I would rather not",
    "cut off": "so long that it",
    "invalid": "something else",
    "failed": "out of order",
}


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("loss", _LOSSES)
def test_twenty_losses_without_a_success_stop_it_with_the_reason_and_an_example(
    tmp_path: Path, loss: str, once: bool
) -> None:
    asked: set[bytes] = set()

    def lose(request: httpx.Request) -> httpx.Response:
        asked.add(b"p" + request.content.partition(b'"content":"p')[2].partition(b'"')[0])
        return _LOSSES[loss]()

    prompts = [Prompt(f"p{i}", schema=SCHEMA) for i in range(200)]
    options = {"clock": FakeClock(), "transport": transport(lose), "concurrency": 64, "once": once}
    if once and loss not in ("rejected", "failed"):
        # A measurement takes whatever a model says.
        assert len(generate_all(LLM, prompts, tmp_path, **options)) == len(asked) == 200
        return
    with pytest.raises(StopRunError, match="20 requests in a row") as stopped:
        generate_all(LLM, prompts, tmp_path, **options)
    assert loss in str(stopped.value) and _EXAMPLES[loss] in str(stopped.value)
    # Those that were under way by then are paid for.
    assert 20 <= len(asked) <= 72


def test_one_success_lets_losses_be_data(tmp_path: Path) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        return good() if b'"p3"' in request.content else good("no", "content_filter")

    prompts = [Prompt(f"p{i}") for i in range(60)]
    options = {"transport": transport(serve), "concurrency": 8}
    replies = generate_all(LLM, prompts, tmp_path, **options)
    assert [i for i, reply in enumerate(replies) if reply.error is None] == [3]
    # What it holds already was not paid for now, and stops nothing.
    assert generate_all(LLM, prompts[4:], tmp_path, **options) == replies[4:]


def test_a_generators_own_pace_is_kept(tmp_path: Path) -> None:
    clock = VirtualClock()
    sent: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        # This runs on the event loop, so no thread races the clock.
        sent.append(clock.monotonic())
        return httpx.Response(400)

    llm = OpenAICompatibleGenerator("http://127.0.0.1:1/v1", "m")
    llm.requests_per_minute = 30  # type: ignore[attr-defined]
    prompts = [Prompt(str(i)) for i in range(10)]
    generate_all(llm, prompts, tmp_path, clock=clock, transport=transport(answer))
    waits = [b - a for a, b in itertools.pairwise(sent)]
    assert len(sent) == 10 and min(waits) > 2 - 1e-6  # 30 a minute


def test_a_wait_beyond_the_cap_stops_everyone_at_once(tmp_path: Path) -> None:
    clock, sent = FakeClock(), []

    def crowded(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(429, headers={"retry-after": "3600"})

    prompts, server = [Prompt(str(i)) for i in range(12)], transport(crowded)
    with pytest.raises(StopRunError, match="asks to wait 3600 s"):
        generate_all(LLM, prompts, tmp_path, concurrency=4, clock=clock, transport=server)
    # Those that were in flight, and none after them.
    assert clock.slept == [] and len(sent) <= 4


def test_prompts_are_read_as_requests_are_sent(tmp_path: Path) -> None:
    read: list[int] = []

    def prompts() -> Iterator[Prompt]:
        for i in range(1000):
            read.append(i)
            yield Prompt(str(i))

    refusing = transport(lambda _: httpx.Response(401))
    with pytest.raises(StopRunError):
        generate_all(LLM, prompts(), tmp_path, concurrency=4, transport=refusing)
    # As many as are in flight, and a few more.
    assert len(read) < 20


def test_replies_are_read_from_the_folder_when_they_are_asked_for(tmp_path: Path) -> None:
    llm = FunctionGenerator(lambda prompt: prompt.user.upper(), name="upper")
    replies = generate_all(llm, (Prompt(text) for text in "abc"), tmp_path / "run")
    assert [reply.text for reply in replies[1:]] == ["B", "C"] and replies[-1].text == "C"
    with pytest.raises(IndexError):
        replies[3]
    shutil.rmtree(tmp_path / "run")
    again = generate_all(llm, [Prompt("d")], tmp_path / "other")
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(LedgerError, match="must stay as it was"):
        again[0]
