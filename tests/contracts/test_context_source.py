"""What every context source promises, checked on each of them."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import fields

import httpx
import pytest

from seedfree.contexts.documents import DocumentSource
from seedfree.contexts.dump import WikipediaDump
from seedfree.contexts.wikipedia import WikipediaSource
from seedfree.contexts.written import WrittenContexts
from seedfree.errors import InvalidReplyError
from seedfree.languages import Language
from seedfree.protocols import ContextSource
from seedfree.records import Context, Reply, Topic
from tests import dumps

SENTENCE = (
    "Bread is made of flour, water, salt and yeast, and rises for two hours before it is baked. "
)
TEXT = SENTENCE * 4
HOSTILE = [
    "", " ", "\x00", "../../etc/passwd", "$topic ${x} {0}", '"*|#<>', "\ud800", "ก" * 3000, "a\nb",
]  # fmt: skip


class Session:
    language = Language.load("en")
    seed = 7

    def __init__(self):
        self.kept = {}

    async def generate(self, prompt, *, sample=0, check=None, generator=None):
        reply = Reply(json.dumps({"text": TEXT}))
        try:
            check(reply.text)
        except InvalidReplyError as error:
            return Reply("", error=error.message)
        return reply

    async def fetch(self, key, fn):
        if key not in self.kept:
            value = fn()
            self.kept[key] = json.dumps(await value if inspect.isawaitable(value) else value)
        return json.loads(self.kept[key])


def _wiki(request):
    params = request.url.params
    page = {
        "pageid": 3,
        "ns": 0,
        "title": "Bread",
        "extract": TEXT,
        "fullurl": "https://w.example/Bread",
    }
    query = {"pages": [{**page, "revisions": [{"revid": 44}]}]}
    if "list" in params:
        query = {"search": [{"pageid": 3}] if "bread" in params["srsearch"] else []}
    return httpx.Response(200, json={"query": query})


def _wikipedia(folder):
    source = WikipediaSource(api_url="https://contract.example/api.php", requests_per_minute=None)
    source._transport = httpx.MockTransport(_wiki)
    return source


def _documents(folder):
    (folder / "bread.txt").write_text(TEXT, encoding="utf-8")
    return DocumentSource(folder)


def _pages(folder):
    (folder / "bread.html").write_text(f"<h1>Bread</h1><p>{TEXT}</p>", encoding="utf-8")
    return DocumentSource(folder)


def _dump(folder):
    pages = [(0, "Bread", TEXT, ""), (0, "Salt", f"Salt. {TEXT}", "")]
    return WikipediaDump(dumps.write_xml(folder / "pages.xml", pages))


SOURCES = {
    "wikipedia": _wikipedia,
    "dump": _dump,
    "documents": _documents,
    "web pages": _pages,
    "written": lambda folder: WrittenContexts(),
}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    return SOURCES[request.param](tmp_path)


def contexts(source, text="bread", position=0):
    async def go():
        answer = source.contexts(Topic(text, position=position))
        return await answer if inspect.isawaitable(answer) else answer

    return asyncio.run(go())


def bind(source, session=None):
    if hasattr(source, "bind"):
        source.bind(session or Session())
    return source


def test_it_is_a_context_source(source):
    assert isinstance(source, ContextSource)
    assert source.share == 1.0


def test_a_context_holds_text_and_where_it_is_from(source):
    given = contexts(bind(source))
    assert given
    for context in given:
        assert isinstance(context, Context)
        assert context.text == context.text.strip() != ""
        assert context.source.kind in ("wikipedia", "document", "written")
        assert context.source.title
        assert context.source.retrieved_at is None, "the run fills it in"
        filled_in_by_the_run = (context.topic, context.position, context.language)
        assert filled_in_by_the_run == (None, 0, "")


def test_the_same_place_in_the_run_gives_the_same_contexts(source):
    bind(source)
    assert [contexts(source, position=i) for i in range(5)] == [
        contexts(source, position=i) for i in range(5)
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_topic_gives_a_list(source, text):
    assert isinstance(contexts(bind(source), text), list)


def test_settings_are_plain_and_secrets_are_not_shown(source):
    public = [f for f in fields(source) if not f.name.startswith("_")]
    json.dumps({f.name: getattr(source, f.name) for f in public}, default=str)
    assert getattr(type(source), "operational", frozenset()) <= {f.name for f in public}
    assert not [f.name for f in fields(source) if f.name.startswith("_") and f.name in repr(source)]


def test_it_can_be_used_again_after_it_was_closed(source):
    before = contexts(bind(source))
    if hasattr(source, "close"):
        closed = source.close()
        if inspect.isawaitable(closed):
            asyncio.run(closed)
    assert contexts(bind(source)) == before
