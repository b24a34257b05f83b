import asyncio
import email.utils
import gzip
import json

import httpx
import pytest

from seedfree.contexts.wikipedia import Wiki, is_wikimedia
from seedfree.errors import RequestError, StopRunError

LAG = {"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged", "lag": 7}}


def connect(fake, pace=None, handler=None):
    return Wiki(
        fake.url,
        agent="seedfree/0 (a@b.example)",
        requests_per_minute=pace,
        timeout=30.0,
        clock=fake.clock,
        transport=httpx.MockTransport(handler or fake),
    )


def ask(fake, n=1, **how):
    async def go():
        wiki = connect(fake, **how)
        try:
            return await asyncio.gather(*(wiki.query(list="random", rnlimit=i) for i in range(n)))
        finally:
            await wiki.close()

    return asyncio.run(go())


def test_a_request_is_a_get_with_name_gzip_and_maxlag(wiki):
    wiki.random = [7]
    assert ask(wiki) == [{"random": [{"id": 7, "ns": 0}]}]
    request = wiki.requests[0]
    assert request.method == "GET"
    assert request.headers["user-agent"] == "seedfree/0 (a@b.example)"
    assert request.headers["accept-encoding"] == "gzip"
    params = dict(request.url.params)
    assert (params["action"], params["format"], params["formatversion"], params["maxlag"]) == (
        "query",
        "json",
        "2",
        "5",
    )


def test_gzip_is_read(wiki):
    body = gzip.compress(json.dumps({"query": {"x": "ข้าว"}}, ensure_ascii=False).encode())
    wiki.faults = [httpx.Response(200, content=body, headers={"content-encoding": "gzip"})]
    assert ask(wiki) == [{"x": "ข้าว"}]


def test_at_most_three_at_once(wiki):
    ask(wiki, n=20)
    assert len(wiki.requests) == 20
    assert wiki.busiest == 3


def test_the_pace_is_shared_by_all_sources_of_a_host(wiki):
    async def go():
        wikis = [connect(wiki, pace=60), connect(wiki, pace=60)]
        await asyncio.gather(*(each.query(list="random") for each in wikis for _ in range(5)))

    asyncio.run(go())
    assert wiki.clock.seconds == pytest.approx(9.0)  # ten requests, a second apart


def test_the_pace_holds_across_event_loops(wiki):
    for _ in range(3):
        ask(wiki, pace=60)
    assert wiki.clock.seconds == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (httpx.Response(200, json=LAG, headers={"retry-after": "9"}), 9.0),
        (httpx.Response(200, json=LAG), 5.0),
        (httpx.Response(429, headers={"retry-after": "30"}), 30.0),
        (
            httpx.Response(
                429, headers={"retry-after": email.utils.formatdate(1_800_000_020, usegmt=True)}
            ),
            20.0,
        ),
        (httpx.Response(503), 1.0),
        (
            httpx.Response(
                200, json={"error": {"code": "internal_api_error_DBQueryError", "info": "x"}}
            ),
            1.0,
        ),
        (httpx.Response(200, json={"error": {"code": "ratelimited", "info": "x"}}), 1.0),
        (httpx.Response(200, text="<html>busy</html>"), 1.0),
    ],
)
def test_passing_faults_are_waited_out(wiki, fault, waited):
    wiki.faults = [fault]
    assert ask(wiki) == [{"random": []}]
    assert wiki.clock.seconds == pytest.approx(waited)
    assert len(wiki.requests) == 2


def test_everyone_waits_as_long_as_one_was_told(wiki):
    wiki.faults = [httpx.Response(429, headers={"retry-after": "60"})]
    sent = []

    async def handler(request):
        sent.append(wiki.clock.seconds)
        return await wiki(request)

    ask(wiki, n=12, handler=handler)
    assert len(sent) == 13
    assert sum(time < 60 for time in sent) <= 3


def test_network_failures_are_tried_six_times(wiki):
    def handler(request):
        wiki.requests.append(request)
        raise httpx.ConnectError("no")

    with pytest.raises(RequestError, match="in 6 attempts"):
        ask(wiki, handler=handler)
    assert len(wiki.requests) == 6
    assert wiki.clock.seconds == 1 + 2 + 4 + 8 + 16


def test_an_hour_is_not_waited(wiki):
    wiki.faults = [httpx.Response(429, headers={"retry-after": "3600"})]
    with pytest.raises(RequestError, match="wants a wait of 3600 s"):
        ask(wiki)
    assert wiki.clock.seconds == 0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (
            httpx.Response(
                200, json={"error": {"code": "badvalue", "info": "Unrecognized\nvalue"}}
            ),
            RequestError,
            "badvalue",
        ),
        (httpx.Response(200, json={"error": "odd"}), RequestError, "odd"),
        (httpx.Response(403, text="<b>Please set a user-agent</b>"), StopRunError, "contact"),
        (httpx.Response(404), StopRunError, "api_url"),
        (
            httpx.Response(302, headers={"location": "https://elsewhere.example/"}),
            StopRunError,
            "api_url",
        ),
        (httpx.Response(414), RequestError, "414"),
    ],
)
def test_lasting_faults_are_one_line_and_not_repeated(wiki, fault, error, words):
    wiki.faults = [fault]
    with pytest.raises(error, match=words) as caught:
        ask(wiki)
    assert "\n" not in str(caught.value)
    assert len(wiki.requests) == 1


def test_odd_answers_are_empty(wiki):
    wiki.faults = [httpx.Response(200, json={}), httpx.Response(200, json={"query": []})]
    assert ask(wiki, n=2) == [{}, {}]


def test_wikimedia_is_recognized_by_its_domains():
    assert is_wikimedia("https://th.wikipedia.org/w/api.php")
    assert is_wikimedia("https://api.wikimedia.org/")
    assert not is_wikimedia("https://notwikipedia.org/w/api.php")
    assert not is_wikimedia("https://wikipedia.org.example/w/api.php")
