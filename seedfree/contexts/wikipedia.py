"""Contexts from a Wikipedia, or from any MediaWiki with the TextExtracts extension (paper section 3.2)."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import httpx

from seedfree._seeds import seeded
from seedfree._version import __version__
from seedfree.contexts.sections import Section, fit, wiki_sections
from seedfree.engine.http import Answer, Transport, explain, retry_after
from seedfree.engine.loop import Clock
from seedfree.errors import ConfigError, RequestError, RetryableError, StopRunError
from seedfree.languages import Language
from seedfree.protocols import Session
from seedfree.records import Context, Source, Topic

__all__ = ["Wiki", "WikipediaSource", "is_wikimedia"]

_AT_ONCE = 3
_ATTEMPTS = 6
_LAG_WAIT = 5.0
_LONGEST_WAIT = 900.0
_POLL = 0.05
_WIKIMEDIA = (
    "wikipedia.org", "wikimedia.org", "wiktionary.org", "wikibooks.org", "wikisource.org", "wikinews.org",
    "wikiquote.org", "wikiversity.org", "wikivoyage.org", "wikidata.org", "mediawiki.org", "wikifunctions.org",
)  # fmt: skip
_PASSING = frozenset({"maxlag", "ratelimited", "readonly"})
_PASSING_PREFIXES = ("internal_api_error", "cirrussearch-")


def is_wikimedia(url: str) -> bool:
    """Whether a URL belongs to the Wikimedia Foundation, whose rules then apply."""
    host = httpx.URL(url).host
    return any(host == domain or host.endswith(f".{domain}") for domain in _WIKIMEDIA)


class _Host:
    """One host's turns: at most 3 requests at once and one pace for the whole process, whoever asks."""

    def __init__(self) -> None:
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._next = self._paused = float("-inf")

    @asynccontextmanager
    async def turn(self, clock: Clock, interval: float) -> AsyncIterator[None]:
        # Waiters of one event loop stand in a queue; only the first three contend with other loops'
        # for the slots.
        async with self._queues.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
            while not self._slots.acquire(blocking=False):
                await clock.sleep(_POLL)
            try:
                with self._lock:
                    start = max(clock.monotonic(), self._next)
                    self._next = start + interval
                while (left := max(start, self._paused) - clock.monotonic()) > 0:
                    await clock.sleep(left)
                yield
            finally:
                self._slots.release()

    def pause(self, clock: Clock, seconds: float) -> None:
        with self._lock:
            self._paused = max(self._paused, clock.monotonic() + seconds)


_HOSTS: dict[str, _Host] = {}


class Wiki:
    """Asks one `api.php`. Belongs to the event loop that it is first used on.

    Args:
        agent: The User-Agent, which names the person running this.
        requests_per_minute: `None` for no limit.
        timeout: Seconds for one exchange.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        agent: str,
        requests_per_minute: float | None,
        timeout: float,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._clock = httpx.URL(url), clock
        self._headers = {
            "user-agent": agent,
            "accept-encoding": "gzip",
            "accept": "application/json",
        }
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._transport = Transport(connections=_AT_ONCE, timeout=timeout, transport=transport)
        # All of Wikimedia's wikis count as one host, because a client has one allowance there.
        self._name = "wikimedia.org" if is_wikimedia(url) else self._url.netloc.decode("ascii")
        self._host = _HOSTS.setdefault(self._name, _Host())

    async def query(self, **params: str | int) -> dict[str, Any]:
        """The `query` object of an `action=query` request, empty where the wiki sends none.

        Raises:
            RequestError: The wiki refuses this request, or did not answer in 6 attempts.
            StopRunError: It refuses every request.
        """
        params = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5, **params}
        url = self._url.copy_merge_params(params)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._host.turn(self._clock, self._interval):
                    return await self._ask(url)
            except RetryableError as error:
                wait = error.retry_after
                if attempt == _ATTEMPTS or (wait or 0.0) > _LONGEST_WAIT:
                    asked = f", wants a wait of {wait:.0f} s" if wait else ""
                    raise RequestError(
                        f"{self._name} gave no answer in {attempt} attempts{asked}: {error.message}",
                        hint="Is api_url right and the wiki up? Run again later to continue.",
                        status=error.status,
                    ) from error
                if wait is not None:
                    self._host.pause(self._clock, wait)
                else:
                    await self._clock.sleep(2.0 ** (attempt - 1))
        raise AssertionError("unreachable")

    async def _ask(self, url: httpx.URL) -> dict[str, Any]:
        request = httpx.Request("GET", url, headers=self._headers)
        try:
            answer = await self._transport.send(request, now=self._clock.timestamp())
        except RetryableError:
            raise
        except RequestError as error:
            raise self._refusal(error) from error
        return self._read(answer)

    def _refusal(self, error: RequestError) -> RequestError:
        message = f"{self._name}: {error.message}"
        if error.status == 403:
            return StopRunError(
                message, hint="Set contact to your own e-mail address or user page.", status=403
            )
        if error.status is not None and (
            error.status in (401, 404, 405, 410) or error.status < 400
        ):
            return StopRunError(
                message, hint="Set api_url to the wiki's api.php itself.", status=error.status
            )
        return RequestError(message, status=error.status)

    def _read(self, answer: Answer) -> dict[str, Any]:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RetryableError(f"the answer is not the API's JSON: {explain(answer.body)[:80]}")
        error = value.get("error")
        if error is None:
            query = value.get("query", {})
            return query if isinstance(query, dict) else {}
        code = str(error.get("code")) if isinstance(error, dict) else ""
        info = str(error.get("info")) if isinstance(error, dict) else str(error)
        message = f"{code}: {' '.join(info.split())[:200]}"
        if code in _PASSING or code.startswith(_PASSING_PREFIXES):
            wait = retry_after(answer.headers, self._clock.timestamp())
            raise RetryableError(
                message, retry_after=_LAG_WAIT if wait is None and code == "maxlag" else wait
            )
        raise RequestError(f"{self._name}: {message}")

    async def close(self) -> None:
        """Closes the connections; a later query opens new ones."""
        await self._transport.close()


_PAGES = 4
_LONGEST_PAGE = 200_000
# CirrusSearch refuses longer queries.
_LONGEST_QUERY = 300
_OPERATORS = re.compile(r'[\x00-\x1f"*?~!\\|()\[\]{}:/<>+=^#]|(?<!\S)-')
# What TextExtracts leaves of a formula.
_FORMULA = re.compile(r"\\(?:displaystyle|textstyle)\b")


@dataclass
class WikipediaSource:
    """Searches a wiki for the topic and cuts the page it picks into sections.

    One of the hits is picked by the run's seed; where it is a disambiguation page, missing or too
    short, the next one. Pages are kept in the run's ledger with their revision ids. All sources of
    a process share one pace a host.

    Attributes:
        contact: Your e-mail address, web page or wiki user page; the Wikimedia Foundation wants it
            in the User-Agent.
        api_url: The wiki's `api.php`; by default the Wikipedia of the language.
        language: Code or `Language`; by default the run's.
        share: Weight among the run's sources; above 0.
        sections: Sections of a page to use at most; at least 1.
        min_chars: Shorter sections join the one before or are dropped. In code points.
        max_chars: Longer sections are cut.
        results: Search hits to pick from, 1 to 50.
        random_fallback: Use a random page where the search finds nothing usable, as the paper did.
        requests_per_minute: Of the whole process on this host; `None` for no limit, on a wiki of
            one's own.
        timeout: Seconds for one exchange.
        license: SPDX identifier of the wiki's text.
    """

    contact: str | None = None
    api_url: str | None = None
    language: str | Language | None = None
    share: float = 1.0
    sections: int = 2
    min_chars: int = 250
    max_chars: int = 4000
    results: int = 15
    random_fallback: bool = False
    requests_per_minute: float | None = 180
    timeout: float = 30.0
    license: str | None = "CC-BY-SA-4.0"
    operational: ClassVar[frozenset[str]] = frozenset({"contact", "requests_per_minute", "timeout"})
    _clock: Clock = field(default_factory=Clock, init=False, repr=False, compare=False)
    _transport: httpx.AsyncBaseTransport | None = field(
        default=None, init=False, repr=False, compare=False
    )
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _wiki: Wiki | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wikimedia = _check_url(self.api_url)
        _check_contact(self.contact, wikimedia)
        if not self.share > 0:
            raise ConfigError(f"share is {self.share}", hint="It is above 0.")
        if self.sections < 1 or not 1 <= self.results <= 50:
            raise ConfigError(
                f"sections={self.sections}, results={self.results}",
                hint="At least 1; results to 50.",
            )
        if not 1 <= self.min_chars <= self.max_chars:
            raise ConfigError(
                f"min_chars={self.min_chars}, max_chars={self.max_chars}", hint="1 <= min <= max."
            )
        pace = self.requests_per_minute
        if pace is not None and not pace > 0:
            raise ConfigError(
                f"requests_per_minute is {pace}", hint="It is above 0, or None for no limit."
            )
        if wikimedia and (pace is None or pace > 200):
            raise ConfigError(
                "Wikimedia allows 200 requests a minute", hint="Set requests_per_minute to 180."
            )
        if not self.timeout > 0:
            raise ConfigError(f"timeout is {self.timeout}", hint="Seconds, above 0.")

    def bind(self, session: Session) -> None:
        """Takes language, seed and ledger from a run."""
        self._session = session
        self._wiki = self._open(self._pack())

    async def contexts(self, topic: Topic) -> list[Context]:
        if self._wiki is not None:
            return await self._find(topic, self._wiki)
        wiki = self._open(self._pack())
        try:
            return await self._find(topic, wiki)
        finally:
            await wiki.close()

    async def close(self) -> None:
        """Closes the connections and forgets the run."""
        wiki, self._wiki, self._session = self._wiki, None, None
        if wiki is not None:
            await wiki.close()

    def _pack(self) -> Language:
        if self.language is not None:
            return Language.load(self.language)
        if self._session is None:
            raise ConfigError(
                "WikipediaSource has no language", hint="Outside a run, pass language='th'."
            )
        return self._session.language

    def _url(self, language: Language) -> str:
        if self.api_url is None and not language.wikipedia:
            raise ConfigError(
                f"{language.name} has no Wikipedia",
                hint="Set api_url, or leave WikipediaSource out.",
            )
        return self.api_url or f"https://{language.wikipedia}.wikipedia.org/w/api.php"

    def _open(self, language: Language) -> Wiki:
        agent = f"seedfree/{__version__}" + (f" ({self.contact.strip()})" if self.contact else "")
        return Wiki(
            self._url(language),
            agent=agent,
            requests_per_minute=self.requests_per_minute,
            timeout=self.timeout,
            clock=self._clock,
            transport=self._transport,
        )

    async def _find(self, topic: Topic, wiki: Wiki) -> list[Context]:
        language, seed = self._pack(), self._session.seed if self._session else 0
        rng = seeded(seed, topic.position, topic.text)
        tried = 0
        async for page_id in self._candidates(topic, wiki, rng, self._url(language)):
            page = await self._fetch(
                f"{self._url(language)} page {page_id}", partial(_page, wiki, page_id)
            )
            sections = self._cut(page["text"], language) if page else []
            if sections:
                picked = sorted(rng.sample(range(len(sections)), min(self.sections, len(sections))))
                return [self._context(page, sections[i]) for i in picked]
            tried += 1
            if tried == _PAGES:
                break
        return []

    async def _candidates(
        self, topic: Topic, wiki: Wiki, rng: Random, url: str
    ) -> AsyncIterator[int]:
        words = " ".join(_OPERATORS.sub(" ", topic.text)[:_LONGEST_QUERY].split())
        hits: Sequence[int] = []
        if words:
            key = f"{url} search {self.results} {words}"
            hits = await self._fetch(key, partial(_search, wiki, words, self.results))
        for page_id in rng.sample(hits, len(hits)):
            yield page_id
        if self.random_fallback:
            for n in range(_PAGES):
                # A page a request: the wiki draws the first page of an answer alone.
                key = f"{url} random {rng.getrandbits(64):x} {n}"
                for page_id in await self._fetch(key, partial(_random, wiki)):
                    yield page_id

    async def _fetch(self, key: str, fn: Callable[[], Any]) -> Any:
        try:
            return await (self._session.fetch(key, fn) if self._session else fn())
        except (AttributeError, KeyError, TypeError) as error:
            raise RequestError(
                "The wiki answered in an unknown form", hint="It needs MediaWiki 1.25 or newer."
            ) from error

    def _cut(self, text: str, language: Language) -> list[Section]:
        sections = fit(wiki_sections(text, language.end_sections), self.min_chars, self.max_chars)
        return [section for section in sections if not _FORMULA.search(section.text)]

    def _context(self, page: dict[str, Any], section: Section) -> Context:
        title = f"{page['title']}: {section.title}" if section.title else page["title"]
        source = Source(
            "wikipedia", page["title"], page["url"], str(page["revision"]), self.license
        )
        return Context(text=section.text, title=title, source=source)


async def _search(wiki: Wiki, words: str, results: int) -> list[int]:
    """Ids of the hits, best first, and of the page of just that title: plain MediaWiki finds words in texts alone."""
    found = await wiki.query(
        list="search",
        srsearch=words,
        srwhat="text",
        srnamespace=0,
        srlimit=results,
        srinfo="",
        srprop="",
        titles=words,
        redirects=1,
    )
    pages = [page for page in found.get("pages", []) if page.get("ns") == 0]
    ids = [page.get("pageid") for page in [*found.get("search", []), *pages]]
    return list(dict.fromkeys(page_id for page_id in ids if page_id))


async def _random(wiki: Wiki) -> list[int]:
    found = await wiki.query(list="random", rnnamespace=0, rnlimit=1)
    return [page["id"] for page in found.get("random", [])]


async def _page(wiki: Wiki, page_id: int) -> dict[str, Any]:
    """Title, URL, revision id and plain text; empty for a page that is missing or only points to others."""
    found = await wiki.query(
        pageids=page_id,
        redirects=1,
        prop="extracts|info|revisions|pageprops",
        explaintext=1,
        exsectionformat="wiki",
        exlimit=1,
        inprop="url",
        rvprop="ids",
        ppprop="disambiguation",
    )
    page: dict[str, Any] = next(iter(found.get("pages", [])), {})
    if (
        not page.get("revisions")
        or page.get("missing")
        or "disambiguation" in page.get("pageprops", {})
    ):
        return {}
    if "extract" not in page:
        raise StopRunError(
            "The wiki gives no plain text", hint="It needs MediaWiki's TextExtracts extension."
        )
    return {
        "title": page["title"],
        "url": page.get("fullurl"),
        "revision": page["revisions"][0]["revid"],
        "text": page["extract"][:_LONGEST_PAGE],
    }


def _check_url(api_url: str | None) -> bool:
    """Whether the URL is Wikimedia's.

    Raises:
        ConfigError: It is none.
    """
    try:
        parsed = httpx.URL(api_url or "https://wikipedia.org/w/api.php")
    except (httpx.InvalidURL, TypeError, ValueError):
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        hint = "It reads https://.../api.php, without a password or a question mark."
        raise ConfigError("api_url is not a wiki's address", hint=hint)
    return is_wikimedia(str(parsed))


def _check_contact(contact: str | None, required: bool) -> None:
    if contact is not None and not (contact.isascii() and contact.isprintable()):
        raise ConfigError(
            "contact is not plain ASCII", hint="Give an e-mail address or the URL of a page."
        )
    if required and not re.search(r"\w@\w|\w\.\w|User:\w", contact or ""):
        raise ConfigError(
            "WikipediaSource needs contact: Wikimedia blocks clients whose User-Agent does not name who runs them",
            hint="Pass contact='you@example.org', or the URL of your user page.",
        )
