"""Against a real MediaWiki with TextExtracts: `SEEDFREE_WIKI=http://127.0.0.1:8099/api.php pytest`."""

import asyncio
import os

import httpx
import pytest

from seedfree.contexts.wikipedia import WikipediaSource
from seedfree.records import Topic


@pytest.fixture(scope="session")
def live_wiki():
    url = os.environ.get("SEEDFREE_WIKI")
    if not url:
        pytest.skip("SEEDFREE_WIKI is not set")
    return url


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
    source = WikipediaSource(api_url=live_wiki, language=thai, requests_per_minute=None, timeout=120)

    async def go():
        return [await source.contexts(Topic(title, position=i)) for i, title in enumerate(titles)]

    found = asyncio.run(go())
    assert len([contexts for contexts in found if contexts]) >= 4
    for contexts in found:
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
