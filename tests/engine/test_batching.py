"""Batches: the same rows for less money, whatever becomes of them and wherever a process ends."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

import seedfree as sf
from seedfree.engine import batching, session
from seedfree.engine.gate import Gate
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Ledger
from tests.engine.batch_server import KINDS, PLACE, BatchServer, llm
from tests.engine.provider import transport
from tests.fakes import FakeClock, Library, published, small_pipeline

TOPICS = ["ข้าว", "ปลา", "วัด", "ตลาด"]


@pytest.fixture(autouse=True)
def every_request_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_FEW", "_FEW_IN_ALL"):
        monkeypatch.setattr(batching, limit, 1)
    monkeypatch.setattr(Gate, "proven", lambda gate, name: True)


def _pipeline(kind: str, place: str = PLACE) -> sf.Pipeline:
    model, tasks = llm(kind, place), [sf.Summarization()]
    return small_pipeline(model, topics=TOPICS, tasks=tasks, contexts=[Library()])


def _run(
    out: Path, server: BatchServer, size: int = 6, *, place: str = PLACE, **options: Any
) -> sf.Run:
    """Runs a small pipeline against a server."""
    pipeline = _pipeline(server.kind, place)
    options = {"batch": True, "clock": FakeClock(), "transport": transport(server), **options}
    return pipeline.run(size=size, out=out, progress=False, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_in_batches_are_those_asked_one_by_one(kind: str, tmp_path: Path) -> None:
    alone, batched = BatchServer(kind), BatchServer(kind)
    live = _run(tmp_path / "live", alone, batch=False)
    run = _run(tmp_path / "batch", batched)
    assert run.status == live.status == "complete"
    assert published(run.path) == published(live.path)
    assert batched.live == 0 and batched.answered == alone.answered
    # A run that was begun in one way goes on in the other, and asks nothing again.
    for folder, server in ((live.path, alone), (run.path, batched)):
        paid = server.answered.total()
        again = _run(folder, server, batch=folder == live.path)
        assert again.status == "complete" and server.answered.total() == paid


class _Killer:
    """Ends a process at one of its steps: nothing that it does from then on has any effect."""

    def __init__(self, at: int = 10**9) -> None:
        self.at, self.steps = at, itertools.count()

    @property
    def dead(self) -> bool:
        return self.at < 0

    def step(self) -> None:
        if self.dead or next(self.steps) == self.at:
            self.at = -1
            raise sf.StopRunError("killed")

    def server(self, server: Callable[[httpx.Request], httpx.Response]) -> Transport:
        def answer(request: httpx.Request) -> httpx.Response:
            self.step()  # before the provider has it
            response = server(request)
            self.step()  # before the answer arrives
            return response

        return transport(answer)

    @contextmanager
    def ledger(self) -> Iterator[None]:
        append = Ledger.append

        async def kept(ledger: Ledger, entry: Any) -> Any:
            if entry.kind in ("config", "fetch"):  # the same without batches
                return await append(ledger, entry)
            self.step()
            entry = await append(ledger, entry)
            self.step()
            return entry

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "append", kept)
            yield


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_step_changes_no_byte_and_pays_for_nothing_twice(
    kind: str, tmp_path: Path
) -> None:
    paid_once = BatchServer(kind)
    whole = _run(tmp_path / "whole", paid_once, size=3)
    for at in itertools.count():
        folder, server, killer = tmp_path / str(at), BatchServer(kind), _Killer(at)
        with killer.ledger():
            first = _run(folder, server, size=3, transport=killer.server(server))
        if not killer.dead:
            assert first.status == "complete" and at > 20
            break
        run = _run(folder, server, size=3, batch=at % 2 == 0)
        assert run.status == "complete" and published(folder) == published(whole.path), at
        assert server.answered == paid_once.answered, at


def test_what_a_batch_did_not_answer_is_asked_again(tmp_path: Path) -> None:
    for kind, what in itertools.product(KINDS, ("expired", "error")):

        def fate(place: int, before: int, what: str = what) -> str:
            return what if place % 2 and not before else "ok"

        server, good = BatchServer(kind, fate=fate), BatchServer(kind)
        run = _run(tmp_path / kind / what, server)
        assert run.status == "complete" and set(server.keys.values()) == {1}
        assert published(run.path) == published(_run(tmp_path / kind / f"{what}-good", good).path)


def test_what_no_batch_answers_stops_the_run_after_three(tmp_path: Path) -> None:
    never = BatchServer("claude", fate=lambda place, before: "expired" if place == 0 else "ok")
    run = _run(tmp_path, never)
    assert run.status == "stopped" and "expired" in run.message
    assert max(never.tried.values()) == 3
    assert _run(tmp_path, BatchServer("claude")).status == "complete"


def test_requests_are_divided_where_a_batch_is_full_or_too_much_waits(tmp_path: Path) -> None:
    whole = published(_run(tmp_path / "whole", BatchServer("openai")).path)
    batches: Any = sf.OpenAICompatibleGenerator.batches
    for name, most in (("most_requests", 3), ("most_bytes", 9000)):
        smaller = property(lambda llm, few={name: most}: replace(batches.fget(llm), **few))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sf.OpenAICompatibleGenerator, "batches", smaller)
            server = BatchServer("openai")
            run = _run(tmp_path / name, server)
        assert len(server.batches) > 2 and published(run.path) == whole
        measure = {"most_requests": lambda file: file.count(b"\n") + 1, "most_bytes": len}[name]
        assert max(map(measure, server.files.values())) <= most
    # What may wait at once is known to the provider alone, which then takes none of a batch.
    strict = BatchServer("openai", refuse=lambda n: "token_limit_exceeded" if n > 2 else "")
    assert published(_run(tmp_path / "strict", strict).path) == whole
    refused = BatchServer("openai", refuse=lambda n: "invalid_json_line")
    run = _run(tmp_path / "refused", refused)
    assert run.status == "stopped" and "refused" in run.message


def test_a_provider_that_is_away_is_asked_until_it_is_back(tmp_path: Path) -> None:
    """A laptop that is closed while a batch is under way asks again once it is open."""
    server, away = BatchServer("claude"), iter(range(60))

    def unsteady(request: httpx.Request) -> httpx.Response:
        looked_at = request.method == "GET" and "limit" not in request.url.params
        if looked_at and next(away, None) is not None:
            raise httpx.ConnectError("no network")
        return server(request)

    clock = FakeClock()
    run = _run(tmp_path, server, transport=transport(unsteady), clock=clock)
    assert run.status == "complete" and clock.seconds > 3600


def test_a_server_without_batches_says_so(tmp_path: Path) -> None:
    run = _run(tmp_path, BatchServer("claude"), transport=transport(lambda _: httpx.Response(404)))
    assert run.status == "stopped" and "batch=True" in run.message
    with pytest.raises(sf.ConfigError, match="takes no batches"):
        small_pipeline().run(size=1, out=tmp_path / "x", batch=True)


class _Closed(FakeClock):
    """The clock of a process that ends as soon as it has to wait."""

    async def sleep(self, seconds: float) -> None:
        raise sf.StopRunError("the laptop is closed")


def test_canceled_batches_end_and_what_they_lack_is_asked_again(tmp_path: Path) -> None:
    for kind in KINDS:
        server, folder = BatchServer(kind, looks=10**9), tmp_path / kind
        pipeline = _pipeline(kind)
        stopped = _run(folder, server, clock=_Closed())
        assert stopped.status == "stopped" and len(server.batches) == 1
        assert pipeline.cancel(folder, transport=transport(server)) == 1
        server.looks = 1
        assert _run(folder, server).status == "complete" and set(server.keys.values()) == {1}
        assert pipeline.cancel(folder, transport=transport(server)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_cannot_be_canceled_keeps_no_other_going(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llms, pipeline = type(llm(kind)), _pipeline(kind)
    batches: Any = llms.batches
    one_each = property(lambda llm: replace(batches.fget(llm), most_requests=1))
    monkeypatch.setattr(llms, "batches", one_each)
    server, faults = BatchServer(kind, looks=10**9), iter([529, 503])

    def unsteady(request: httpx.Request) -> httpx.Response:
        *_, id, what = request.url.path.split("/")
        if what != "cancel":
            return server(request)
        if server.batches[id].done is not None:
            return httpx.Response(409)
        if id == "b1":
            return httpx.Response(400, json={"error": {"message": "not this one"}})
        fault = next(faults, None)
        return server(request) if fault is None else httpx.Response(fault)

    stopped = _run(tmp_path, server, clock=_Closed())
    assert stopped.status == "stopped" and len(server.batches) > 3
    server._end(server.batches["b0"], server.fate)
    options: dict[str, Any] = {"transport": transport(unsteady), "clock": FakeClock()}
    with pytest.raises(sf.RequestError, match="Batch b1.*not this one"):
        pipeline.cancel(tmp_path, **options)
    assert [id for id, each in server.batches.items() if each.done is None] == ["b1"]
    server._end(server.batches["b1"], server.fate)
    assert pipeline.cancel(tmp_path, **options) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_an_id_on_record_is_named_where_it_is_canceled(
    kind: str, tmp_path: Path
) -> None:
    server, append = BatchServer(kind, looks=10**9), Ledger.append

    async def unlucky(ledger: Ledger, entry: Any) -> Any:
        if entry.kind in ("batch-id", "batch-end"):
            raise sf.StopRunError("killed")
        return await append(ledger, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "append", unlucky)
        assert _run(tmp_path, server).status == "stopped" and len(server.batches) == 1
    with pytest.raises(sf.StopRunError, match="may be b0"):
        _pipeline(kind).cancel(tmp_path, transport=transport(server))
    server._end(server.batches["b0"], server.fate)
    assert _pipeline(kind).cancel(tmp_path, transport=transport(server)) == 0


def test_few_requests_are_asked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_FEW_IN_ALL", 10**6)
    server = BatchServer("claude")
    run = _run(tmp_path, server)
    assert run.status == "complete" and server.live == server.answered.total()
    assert not server.batches


def test_a_run_that_takes_more_jobs_than_can_wait_goes_into_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_JOBS", 1)  # a few are as many as the jobs
    monkeypatch.setattr(session, "_IN_BATCHES", 2)
    server = BatchServer("claude")
    run = _run(tmp_path, server)
    assert run.status == "complete" and len(server.batches) > 1
    assert server.live < server.answered.total() / 2


def test_batches_are_counted_at_their_price_and_stay_within_the_budget(tmp_path: Path) -> None:
    server = BatchServer("claude")
    run = _run(tmp_path / "all", server)
    usd = run.stats.price_usd
    assert usd == pytest.approx(0.5 * run.stats.requests * 150 / 1e6)
    # What a request may cost at most is kept free for each that is under way.
    poor = BatchServer("claude")
    stopped = _run(tmp_path / "poor", poor, budget_usd=0.0021)
    assert stopped.status == "stopped" and "budget" in stopped.message
    assert 0 < poor.answered.total() < server.answered.total()
    again = _run(tmp_path / "poor", poor)
    assert published(again.path) == published(run.path)
    assert again.stats.price_usd == pytest.approx(usd)


@pytest.mark.parametrize(("batch", "usd"), [(True, 0.0021), (False, 0.0005)])
def test_a_batch_that_an_earlier_process_left_takes_its_share_of_the_budget(
    batch: bool, usd: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, early = BatchServer("claude", looks=10**9), list[bool]()
    stopped = _run(tmp_path, server, budget_usd=0.0021, clock=_Closed())  # for one request
    assert stopped.status == "stopped" and len(server.batches) == 1
    submit, all_wait = batching.Batches._submit_collected, asyncio.Event()

    def submitting(batches: batching.Batches) -> None:
        submit(batches)
        all_wait.set()

    class Patient(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await all_wait.wait()
            await super().sleep(seconds)

    def watching(request: httpx.Request) -> httpx.Response:
        # What costs something, or begins to.
        if request.method == "POST" or "limit" in request.url.params:
            early.append(server.batches["b0"].done is None)
        return server(request)

    monkeypatch.setattr(batching.Batches, "_submit_collected", submitting)
    server.looks = 100
    options: dict[str, Any] = {"budget_usd": usd, "clock": Patient()}
    _run(tmp_path, server, batch=batch, transport=transport(watching), **options)
    assert early and True not in early


def test_a_batch_whose_price_is_not_on_record_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, append = BatchServer("claude"), Ledger.append

    async def as_before(ledger: Ledger, entry: Any) -> Any:
        headers = {name: value for name, value in entry.headers.items() if name != "usd"}
        return await append(ledger, replace(entry, headers=headers))

    monkeypatch.setattr(Ledger, "append", as_before)
    server.looks = 10**9
    assert _run(tmp_path, server, clock=_Closed()).status == "stopped" and server.batches
    server.looks = 1
    assert _run(tmp_path, server, budget_usd=1).status == "complete"
    assert set(server.keys.values()) == {1}


def test_answers_that_come_before_they_are_asked_for_are_counted_without_another_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: Any = sf.ClaudeGenerator.batches
    one_each = property(lambda llm: replace(batches.fget(llm), most_requests=1))
    monkeypatch.setattr(sf.ClaudeGenerator, "batches", one_each)
    server = BatchServer("claude", looks=10**9)
    assert _run(tmp_path / "a", server, clock=_Closed()).status == "stopped"
    assert len(server.batches) > 3
    entries, read = Ledger.entries, list[tuple[str, ...]]()

    def reading(ledger: Ledger, *kinds: str) -> Iterator[Any]:
        read.append(kinds)
        return entries(ledger, *kinds)

    monkeypatch.setattr(Ledger, "entries", reading)
    server.looks = 1
    # One job at a time: nobody has asked for most of the answers when they come.
    run = _run(tmp_path / "a", server, batch=False, concurrency=1)
    assert sum("reply" in kinds for kinds in read) == 1
    whole = _run(tmp_path / "b", BatchServer("claude"), batch=False)
    assert published(run.path) == published(whole.path)
    requests = [each.stats.stages["summarization"]["requests"] for each in (run, whole)]
    assert requests[0] == requests[1] and run.stats.requests == whole.stats.requests


def test_an_estimate_of_a_run_in_batches_counts_what_is_asked_at_once_in_full(
    tmp_path: Path,
) -> None:
    pipeline = small_pipeline(llm("claude"), tasks=[sf.Summarization()], contexts=[Library()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path))
        injected = {"transport": transport(BatchServer("claude")), "progress": False}
        alone, batched = (pipeline.estimate(100, batch=each, **injected) for each in (False, True))
    assert alone.price_usd is not None and batched.price_usd is not None
    assert alone.requests == batched.requests
    assert batched.price_usd == pytest.approx(0.65 * alone.price_usd)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_over_the_network_takes_and_gives_batches(kind: str, tmp_path: Path) -> None:
    server = BatchServer(kind)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            url = f"http://{self.headers['host']}{self.path}"
            response = server(
                httpx.Request(self.command, url, headers=dict(self.headers), content=body)
            )
            data = response.read()
            self.send_response(response.status_code)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            place = f"http://127.0.0.1:{http.server_address[1]}"
            run = _run(tmp_path, server, place=place, transport=None)
        finally:
            http.shutdown()
            thread.join()
    assert run.status == "complete" and server.live == 0 and len(server.batches) > 0


def test_results_that_nobody_can_read_are_not_asked_for_again(tmp_path: Path) -> None:
    """They are paid for, and a later version may read them."""
    server = BatchServer("claude")

    def garbled(request: httpx.Request) -> httpx.Response:
        answer = server(request)
        results = request.url.path.endswith("/results")
        return httpx.Response(200, content=b"\n".join([b"<row/>"] * 3)) if results else answer

    run = _run(tmp_path, server, transport=transport(garbled))
    assert run.status == "stopped" and "cannot be read" in run.message
    assert len(server.batches) == 1
    assert _run(tmp_path, server).status == "complete" and set(server.keys.values()) == {1}


def test_a_batch_without_an_answer_is_told_from_others_in_the_workspace(tmp_path: Path) -> None:
    server = BatchServer("claude")

    def crowded(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and len(server.batches) == 1:
            server(request)
            others = [(f"other{i}", {}) for i in range(len(server.batches["b1"].lines))]
            for name in ("theirs", "deleted"):
                server.batches[name] = replace(server.batches["b1"], id=name, lines=others)
            raise httpx.ReadError("the connection broke")
        if "deleted/" in request.url.path:
            return httpx.Response(404)
        return server(request)

    server.add([("old", {})])
    run = _run(tmp_path, server, transport=transport(crowded))
    assert run.status == "complete"
    assert all(n == 1 for key, n in server.keys.items() if not key.startswith("other"))
