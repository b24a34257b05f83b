"""Against a real MediaWiki with TextExtracts: see `live_wiki` in `tests/conftest.py`."""

import asyncio

import httpx
import pytest

import seedfree as sf
from seedfree.contexts.wikipedia import WikipediaSource
from seedfree.records import Topic
from tests.fakes import thai_llm


@pytest.fixture
def titles(live_wiki):
    """Titles of five pages, as the wiki lists them."""
    params = {
        "action": "query",
        "list": "allpages",
        "aplimit": 5,
        "apminsize": 3000,
        "format": "json",
        "formatversion": 2,
    }
    with httpx.Client(timeout=30) as client:
        pages = client.get(live_wiki, params=params).json()["query"]["allpages"]
    return [page["title"] for page in pages]


def test_titles_are_found_and_their_revisions_kept(live_wiki, titles, thai):
    source = WikipediaSource(
        api_url=live_wiki, language=thai, requests_per_minute=None, timeout=120
    )

    async def go():
        return [await source.contexts(Topic(title, position=i)) for i, title in enumerate(titles)]

    by_title = asyncio.run(go())
    assert len([contexts for contexts in by_title if contexts]) >= 4
    for contexts in by_title:
        for context in contexts:
            assert 250 <= len(context.text) <= 4000
            assert context.source.title and context.source.revision.isdecimal()
            assert context.source.url.startswith("http")
            assert "==" not in context.text


def test_random_pages_fill_in_where_nothing_is_found(live_wiki, thai):
    topic = Topic("zqxj วววววว กกกกกก")
    settings = {"api_url": live_wiki, "language": thai, "requests_per_minute": None, "timeout": 120}
    assert asyncio.run(WikipediaSource(**settings).contexts(topic)) == []
    assert asyncio.run(WikipediaSource(**settings, random_fallback=True).contexts(topic))


def test_every_row_of_a_run_carries_title_url_and_revision(live_wiki, tmp_path):
    wiki = WikipediaSource(
        api_url=live_wiki, random_fallback=True, requests_per_minute=None, timeout=120
    )
    pipeline = sf.Pipeline(
        "th",
        thai_llm(),
        contexts=[wiki],
        tasks=[sf.Summarization()],
        filters=[],
        diversity=None,
        topics=["ข้าว", "แม่น้ำ"],
    )
    run = pipeline.run(size=2, out=tmp_path)
    assert run.status == "complete"
    for source in (row.source for row in run.dataset):
        assert (source.kind, source.license) == ("wikipedia", "CC-BY-SA-4.0")
        assert source.title and source.url.startswith("http")
        assert source.revision.isdecimal() and source.retrieved_at
    card = (tmp_path / "README.md").read_text()
    assert all(row.source.revision in card for row in run.dataset)
