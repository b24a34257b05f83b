import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from seedfree.config import Config
from seedfree.contexts.wikipedia import WikipediaSource
from seedfree.errors import ConfigError, RequestError, StopRunError
from seedfree.records import Source, Topic
from seedfree.run.settings import describe

LONG = "ข้าวเป็นอาหารหลักของคนไทย " * 20
RICE = Topic("ข้าว")


@pytest.fixture
def source(wiki, thai):
    def make(**settings):
        return wiki.attach(WikipediaSource(api_url=wiki.url, language=thai, **settings))

    return make


def find(source, topic=RICE):
    return asyncio.run(source.contexts(topic))


def test_a_context_names_page_revision_and_license(wiki, source):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าวไทย", f"{LONG}\n== ประวัติ ==\n{LONG}\n== อ้างอิง ==\n{LONG}")
    first, second = find(source())
    assert first.source == Source(
        "wikipedia", "ข้าวไทย", "https://wiki.example/1", "10", "CC-BY-SA-4.0", page_id="1"
    )
    assert (first.title, second.title) == ("ข้าวไทย", "ข้าวไทย: ประวัติ")
    assert first.text == second.text == LONG.strip()
    assert first.source.retrieved_at is None


def test_the_seed_picks_one_hit(wiki, source, session):
    wiki.hits["ข้าว"] = list(range(1, 16))
    for i in range(1, 16):
        wiki.add(i, f"หน้า {i}", LONG)
    titles = set()
    for seed in range(20):
        bound = source()
        bound.bind(session(seed=seed))
        titles.add(find(bound)[0].title)
    assert len(titles) > 5
    assert wiki.requests[0].url.params["srlimit"] == "15"
    again = source()
    again.bind(session(seed=19))
    assert find(again)[0].title in titles


def test_topics_with_the_same_hits_get_different_pages(wiki, source):
    for i in range(1, 16):
        wiki.add(i, f"หน้า {i}", LONG)
    wiki.hits["ข้าว"] = list(range(1, 16))
    assert len({find(source(), Topic("ข้าว", position=i))[0].title for i in range(20)}) > 5


def test_sections_come_in_the_order_of_the_page(wiki, source):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าว", "\n".join(f"== {n:02} ==\n{LONG}" for n in range(20)))
    picked = [
        [c.title for c in find(source(sections=3), Topic("ข้าว", position=i))] for i in range(10)
    ]
    assert all(titles == sorted(titles) and len(titles) == 3 for titles in picked)
    assert len({title for titles in picked for title in titles}) > 8


@pytest.mark.parametrize(
    "useless",
    [
        {"missing": True, "revisions": []},
        {"pageprops": {"disambiguation": ""}},
        {"extract": "สั้น"},
        {"extract": f"{{\\displaystyle x}} {LONG}"},
    ],
    ids=["missing", "disambiguation", "short", "formula"],
)
def test_a_page_of_no_use_gives_way_to_the_next_hit(wiki, source, useless):
    wiki.hits["ข้าว"] = [1, 2]
    wiki.add(1, "ไร้ประโยชน์", LONG, **useless)
    wiki.add(2, "ข้าว", LONG)
    for position in range(6):
        assert [c.title for c in find(source(), Topic("ข้าว", position=position))] == ["ข้าว"]
    assert 1 in wiki.asked


def test_pages_tried_are_bounded(wiki, source):
    wiki.hits["ข้าว"] = list(range(1, 16))
    wiki.random = [20] * 20
    assert find(source(random_fallback=True)) == []
    assert len(wiki.asked) == 1 + 4


def test_the_page_of_just_that_title_is_a_hit(wiki, source):
    wiki.add(5, "ข้าว", LONG)
    assert find(source())[0].title == "ข้าว"


def test_a_long_page_is_cut(wiki, source):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าว", LONG * 30)
    contexts = find(source(max_chars=1000, sections=5))
    assert len(contexts) == 5
    assert all(250 <= len(c.text) <= 1000 and c.text.endswith("คนไทย") for c in contexts)


def test_random_pages_come_only_when_asked_for(wiki, source):
    wiki.add(9, "สุ่ม", LONG)
    wiki.random = [8, 9]
    assert find(source()) == []
    assert "random" not in wiki.asked
    assert find(source(random_fallback=True))[0].title == "สุ่ม"


def test_a_resumed_run_sees_the_pages_it_saw(wiki, source, session):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าว", LONG)
    run = session()
    first, second = source(), source()
    first.bind(run)
    before = find(first)
    sent = len(wiki.requests)
    wiki.add(1, "แก้แล้ว", "อื่น " * 200, revisions=[{"revid": 999}])
    second.bind(run)
    assert find(second) == before
    assert len(wiki.requests) == sent


def test_a_ledger_of_before_has_no_page_ids(wiki, source, session):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าว", LONG)
    run, bound = session(), source()
    bound.bind(run)
    (now,) = find(bound)
    (key,) = (key for key in run.kept if key.endswith(" page 1"))
    page = json.loads(run.kept[key])
    del page["page_id"]
    run.kept[key] = json.dumps(page)
    (before,) = find(bound)
    assert before == replace(now, source=replace(now.source, page_id=None))
    assert before.id == now.id


def test_a_closed_source_forgets_its_run(wiki, source, session):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าว", LONG)
    run, bound = session(), source()
    bound.bind(run)
    asyncio.run(bound.close())
    assert find(bound)
    assert run.kept == {}


@pytest.mark.parametrize(
    "text", ["", "  ", '"', "-|#:*", "\x00", "ก" * 5000, "a|b", "Category:x [[y]]", "\ud800"]
)
def test_any_topic_is_searched_for_without_operators(wiki, source, text):
    assert find(source(), Topic(text)) == []
    for request in wiki.requests:
        words = request.url.params["srsearch"]
        assert 0 < len(words) <= 300
        assert not set(words) & set('"*~|[]{}:#<>\\')


def test_words_with_hyphens_stay_whole(wiki, source):
    find(source(), Topic("rock-n-roll -banned"))
    assert wiki.requests[0].url.params["srsearch"] == "rock-n-roll banned"


def test_the_default_wiki_is_the_run_s_language(wiki, session):
    source = wiki.attach(WikipediaSource(contact="me@uni.example"))
    source.bind(session())
    find(source)
    assert wiki.requests[0].url.host == "th.wikipedia.org"
    assert wiki.requests[0].headers["user-agent"].startswith("seedfree/")
    assert "(me@uni.example)" in wiki.requests[0].headers["user-agent"]


def test_a_wiki_without_plain_text_stops_the_run(wiki, source):
    wiki.hits["ข้าว"] = [1]
    wiki.add(1, "ข้าว", LONG)
    del wiki.pages[1]["extract"]
    with pytest.raises(StopRunError, match="TextExtracts"):
        find(source())


@pytest.mark.parametrize(
    "query", [{"search": [3]}, {"search": 5}, {"pages": {"1": {}}}, {"search": None}]
)
def test_an_unknown_form_is_one_line(wiki, source, query):
    wiki.faults = [httpx.Response(200, json={"query": query})]
    with pytest.raises(RequestError, match="unknown form"):
        find(source())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "contact"),
        ({"contact": "  "}, "contact"),
        ({"contact": "me"}, "contact"),
        ({"api_url": "https://th.wikipedia.org/w/api.php"}, "contact"),
        ({"api_url": "https://commons.wikimedia.org/w/api.php"}, "contact"),
        ({"contact": "ฉัน@uni.example"}, "ASCII"),
        ({"contact": "a@b.example\r\nX: y"}, "ASCII"),
        ({"contact": "a@b.example", "requests_per_minute": None}, "200 requests"),
        ({"contact": "a@b.example", "requests_per_minute": 500}, "200 requests"),
        ({"api_url": "ftp://x"}, "api_url"),
        ({"api_url": "wiki"}, "api_url"),
        ({"api_url": "http://me:secret@127.0.0.1/api.php"}, "api_url"),
        ({"contact": "a@b.example", "share": 0}, "share"),
        ({"contact": "a@b.example", "share": float("nan")}, "share"),
        ({"contact": "a@b.example", "sections": 0}, "sections"),
        ({"contact": "a@b.example", "results": 51}, "results"),
        ({"contact": "a@b.example", "min_chars": 9, "max_chars": 8}, "min_chars"),
        ({"contact": "a@b.example", "requests_per_minute": 0}, "requests_per_minute"),
        ({"contact": "a@b.example", "timeout": 0}, "timeout"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_sent(settings, words):
    with pytest.raises(ConfigError, match=words) as caught:
        WikipediaSource(**settings)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_error_says_why_a_contact_is_needed():
    with pytest.raises(ConfigError, match="User-Agent does not name who runs them"):
        WikipediaSource()


def test_one_s_own_wiki_needs_no_contact():
    WikipediaSource(api_url="http://127.0.0.1:8099/api.php", requests_per_minute=None)


def test_a_language_without_wikipedia_needs_an_address(session, thai):
    source = WikipediaSource(contact="a@b.example")
    with pytest.raises(ConfigError, match="api_url"):
        source.bind(session(replace(thai, wikipedia="")))
    with pytest.raises(ConfigError, match="language='th'"):
        find(WikipediaSource(contact="a@b.example"))


TOKEN = "tok-0123456789abcdefghij"


def sent(source):
    """Returns the headers that a source sends for a topic, whatever its address."""
    requests = []

    def answer(request):
        requests.append(request)
        return httpx.Response(200, json={"query": {}})

    source._transport = httpx.MockTransport(answer)
    find(source)
    return {request.url.host: request.headers.get("authorization") for request in requests}


def test_a_token_goes_to_the_wiki_and_nowhere_else(wiki, thai, monkeypatch):
    source = WikipediaSource(api_url=wiki.url, language=thai, token=f" {TOKEN}\n")
    assert set(sent(source).values()) == {f"Bearer {TOKEN}"}
    assert TOKEN not in repr(source)
    assert TOKEN not in json.dumps(describe(source)) and "token" not in describe(source)
    assert source == WikipediaSource(api_url=wiki.url, language=thai)
    monkeypatch.setenv("WIKIPEDIA_TOKEN", TOKEN)
    assert set(sent(WikipediaSource(contact="a@b.example", language="th")).values()) == {
        f"Bearer {TOKEN}"
    }
    # That of the environment is Wikimedia's.
    assert set(sent(WikipediaSource(api_url=wiki.url, language=thai)).values()) == {None}


def test_an_echoed_token_is_in_no_error(wiki, thai):
    source = WikipediaSource(api_url=wiki.url, language=thai, token=TOKEN)
    error = {"error": {"code": "badtoken", "info": f"no such token {TOKEN}"}}
    source._transport = httpx.MockTransport(lambda request: httpx.Response(200, json=error))
    with pytest.raises(RequestError) as raised:
        find(source)
    assert "badtoken" in str(raised.value) and TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"token": TOKEN, "api_url": "http://wiki.example/api.php"},
        {"token": "two words"},
        {"requests_per_minute": 500},
        {"requests_per_minute": None, "token": TOKEN},
    ],
)
def test_what_would_show_a_token_or_ask_too_fast_is_refused(settings):
    with pytest.raises(ConfigError) as raised:
        WikipediaSource(**{"contact": "a@b.example", **settings})
    assert TOKEN not in str(raised.value)


def test_a_token_lets_one_ask_faster_and_stands_in_no_file(tmp_path):
    fast = WikipediaSource(contact="a@b.example", requests_per_minute=500, token=TOKEN)
    assert fast.requests_per_minute == 500
    source = f"{{use: WikipediaSource, contact: a@b.example, token: {TOKEN}}}"
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"language: th\ngenerator: ollama/qwen3:8b\ncontexts: [{source}]\n")
    with pytest.raises(ConfigError, match="environment") as raised:
        Config.load(path)
    assert TOKEN not in str(raised.value)
