"""A wiki, a clock and a session that live in memory."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
from dataclasses import replace

import httpx
import pytest

from seedfree.errors import InvalidReplyError
from seedfree.languages import FormatExample, Language, Style
from seedfree.records import Reply
from tests.fakes import VirtualClock

_NUMBERS = itertools.count()

THAI = Language(
    code="th",
    name="Thai",
    native="ไทย",
    script="Thai",
    persona="คุณเป็นเจ้าของภาษาไทย",
    wikipedia="th",
    end_sections=("ดูเพิ่ม", "อ้างอิง"),
    facets={"text_lengths": ("สั้น ๆ", "ยาว ๆ")},
    prompts={"written": "$kinds ความยาว $length", "made_up": "(แต่ง)"},
    styles=tuple(
        Style(f"แบบ {n}", f"แบบที่ {n} เรื่อง $topic ราคา $$5", fiction=n % 2 == 1) for n in range(13)
    ),
    format_examples={
        "written": tuple(FormatExample(f"เรื่อง {n}", {"text": f"ข้อความ {n}"}) for n in range(3))
    },
)


class WikiClock(VirtualClock):
    """Time that begins at 0, so that it says how long was waited; on a day in 2027."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0

    def timestamp(self):
        return 1_800_000_000.0 + self.seconds


class FakeWiki:
    """The answers of an `api.php` with these pages: `pages` by id, `hits` by search words."""

    def __init__(self):
        # a host's pace is shared by the process
        self.url = f"https://wiki{next(_NUMBERS)}.example/w/api.php"
        self.pages, self.hits, self.random, self.requests, self.faults = {}, {}, [], [], []
        self.busy = self.busiest = 0
        self.clock = WikiClock()

    def add(self, page_id, title, text, **more):
        page = {
            "pageid": page_id,
            "ns": 0,
            "title": title,
            "extract": text,
            "revisions": [{"revid": page_id * 10}],
        }
        self.pages[page_id] = {**page, "fullurl": f"https://wiki.example/{page_id}", **more}

    async def __call__(self, request):
        self.requests.append(request)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        if self.faults:
            return self.faults.pop(0)
        return httpx.Response(
            200, json={"batchcomplete": True, "query": self.answer(dict(request.url.params))}
        )

    def answer(self, params):
        if params.get("list") == "search":
            hits = [{"ns": 0, "pageid": i} for i in self.hits.get(params["srsearch"], [])][
                : int(params["srlimit"])
            ]
            same = [p for p in self.pages.values() if p["title"] == params["titles"]]
            return {
                "search": hits,
                "pages": same or [{"ns": 0, "title": params["titles"], "missing": True}],
            }
        if params.get("list") == "random":
            return (
                {"random": [{"id": self.random.pop(0), "ns": 0}]} if self.random else {"random": []}
            )
        page_id = int(params["pageids"])
        return {"pages": [self.pages.get(page_id, {"pageid": page_id, "missing": True})]}

    @property
    def asked(self):
        """What each request was for: `search`, `random` or a page's id."""
        params = [dict(request.url.params) for request in self.requests]
        return [p.get("list") or int(p["pageids"]) for p in params]

    def attach(self, source):
        source._transport, source._clock = httpx.MockTransport(self), self.clock
        return source


class FakeSession:
    """A session whose LLM is a function of the prompt and whose ledger is a dict."""

    def __init__(self, language=THAI, seed=0, llm=None):
        self.language, self.seed, self.llm = language, seed, llm
        self.kept, self.prompts = {}, []

    async def generate(self, prompt, *, sample=0, check=None, generator=None):
        self.prompts.append(prompt)
        reply = Reply(self.llm(prompt))
        try:
            check(reply.text)
        except InvalidReplyError as error:
            return replace(reply, text="", error=error.message)
        return reply

    async def fetch(self, key, fn):
        if key not in self.kept:
            value = fn()
            self.kept[key] = json.dumps(await value if inspect.isawaitable(value) else value)
        return json.loads(self.kept[key])


@pytest.fixture
def wiki():
    return FakeWiki()


@pytest.fixture
def session():
    return FakeSession


@pytest.fixture
def thai():
    return THAI
