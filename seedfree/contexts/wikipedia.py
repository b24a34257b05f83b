"""Contexts from a Wikipedia, or from any MediaWiki with TextExtracts (paper section 3.2).

The source stands first and chooses pages and sections. The wiki's API, asked politely, follows
below it (mediawiki.org/wiki/API:Etiquette).
"""

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
from pydantic import SecretStr

from seedfree._seeds import seeded
from seedfree._version import __version__
from seedfree.contexts.condition import cleaned
from seedfree.contexts.sections import Section, check_lengths, usable, wiki_sections
from seedfree.engine.http import Answer, Transport, check_positive, explain
from seedfree.engine.keys import find_key, keep_key
from seedfree.engine.loop import Clock
from seedfree.engine.places import is_loopback
from seedfree.engine.resets import retry_after
from seedfree.errors import ConfigError, RequestError, RetryableError, StopRunError, check_types
from seedfree.languages import Language
from seedfree.protocols import Session
from seedfree.records import Context, Source, Topic
from seedfree.text import is_code

__all__ = ["Wiki", "WikipediaSource", "is_wikimedia"]

# By default the source asks a Wikipedia, so that Wikimedia's rules hold.
_WIKIPEDIA = "https://wikipedia.org/w/api.php"
_VARIABLE = "WIKIPEDIA_TOKEN"
# Pages looked at for one topic: a wiki of stubs must not cost a request for every hit.
_PAGES = 4
# CirrusSearch refuses longer queries.
_LONGEST_QUERY = 300
# What the search takes for an operator, and what no title can hold.
_OPERATORS = re.compile(r'[\x00-\x1f"*?~!\\|()\[\]{}:/<>+=^#]|(?<!\S)-')


@dataclass
class WikipediaSource:
    """Searches a wiki for the topic and cuts the page it picks into sections.

    The run's seed picks one of the hits. If that page is missing, too short or only lists other
    pages, the next one is tried. Pages are kept in the run's ledger with their revision ids. All
    sources of a process share one pace for each host.

    Attributes:
        contact: Your e-mail address, web page or wiki user page. The Wikimedia Foundation wants it
            in the User-Agent.
        token: An OAuth 2.0 access token, with which Wikimedia allows more requests. By default that
            of the environment variable `WIKIPEDIA_TOKEN`, which goes to Wikimedia's hosts alone. It
            is sent to the wiki's own address, and written nowhere.
        api_url: The wiki's `api.php`. By default the Wikipedia of the language.
        language: Code or `Language`. By default the run's.
        share: Weight among the run's sources, above 0.
        sections: The most sections of a page to use, at least 1.
        min_chars: Shorter sections join the one before or are dropped. In code points.
        max_chars: Longer sections are cut.
        results: Search hits to pick from, 1 to 50.
        random_fallback: Use a random page if the search finds nothing usable, as the paper did.
            Its title is then the topic.
        requests_per_minute: Of the whole process on this host. Above 200, Wikimedia wants a token.
            `None` for no limit, on a wiki of your own.
        timeout: Seconds for one exchange.
        license: SPDX identifier of the wiki's text.

    Raises:
        ConfigError: A setting is wrong, or Wikimedia's rules ask for another.
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
    token: str | SecretStr | None = field(default=None, repr=False, compare=False)
    operational: ClassVar[frozenset[str]] = frozenset({"contact", "requests_per_minute", "timeout"})
    _clock: Clock = field(default_factory=Clock, init=False, repr=False, compare=False)
    _transport: httpx.AsyncBaseTransport | None = field(
        default=None, init=False, repr=False, compare=False
    )
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _wiki: Wiki | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        wikimedia = _check_url(self.api_url)
        _check_contact(self.contact, wikimedia)
        check_positive(share=self.share)
        if self.sections < 1 or not 1 <= self.results <= 50:
            raise ConfigError(
                f"sections={self.sections}, results={self.results}",
                hint="At least 1; results to 50.",
            )
        check_lengths(self.min_chars, self.max_chars)
        pace = self.requests_per_minute
        if pace is not None and not pace > 0:
            raise ConfigError(
                f"requests_per_minute is {pace}", hint="It is above 0, or None for no limit."
            )
        self.token = keep_key(self.token, "token")
        # The limit for clients whose User-Agent names a contact. The default stays a tenth below.
        if wikimedia and (pace is None or (pace > 200 and not self._key())):
            raise ConfigError(
                "Wikimedia allows 200 requests a minute",
                hint="Set requests_per_minute to 180, or set WIKIPEDIA_TOKEN.",
            )
        self._check_place()
        check_positive(timeout=self.timeout)

    def bind(self, session: Session) -> None:
        """Takes language, seed and ledger from a run."""
        self._session = session
        self._wiki = self._open(self._pack())

    async def contexts(self, topic: Topic) -> list[Context]:
        if self._wiki is not None:
            return await self._find(topic, self._wiki)
        # Outside a run nobody calls `close`, so the connections end with this call.
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
        if self.api_url:
            return self.api_url
        if not language.wikipedia:
            raise ConfigError(
                f"{language.name} has no Wikipedia",
                hint="Set api_url, or leave WikipediaSource out.",
            )
        return f"https://{language.wikipedia}.wikipedia.org/w/api.php"

    def _key(self) -> str | None:
        """Returns the token, if one may be sent to this wiki."""
        own = is_wikimedia(self.api_url or _WIKIPEDIA)
        return find_key(keep_key(self.token), _VARIABLE if own else None)

    def _check_place(self) -> None:
        url = httpx.URL(self.api_url or _WIKIPEDIA)
        if self._key() and url.scheme != "https" and not is_loopback(str(url)):
            what = "api_url would send your token in the clear"
            raise ConfigError(what, hint="Use https://.")

    def _open(self, language: Language) -> Wiki:
        agent = f"seedfree/{__version__}"
        if self.contact:
            agent += f" ({self.contact.strip()})"
        return Wiki(
            self._url(language),
            agent=agent,
            token=self._key(),
            requests_per_minute=self.requests_per_minute,
            timeout=self.timeout,
            clock=self._clock,
            transport=self._transport,
        )

    async def _find(self, topic: Topic, wiki: Wiki) -> list[Context]:
        language, seed = self._pack(), self._session.seed if self._session else 0
        url = self._url(language)
        # All that is drawn for a topic comes from this one generator, in this order: another order
        # would pick other pages in a run that is resumed.
        rng = seeded(seed, topic.position, topic.text)
        tried = 0
        async for page_id, is_random in self._candidates(topic, wiki, rng, url):
            page = await self._fetch(f"{url} page {page_id}", partial(wiki.page, page_id))
            about = None
            if is_random:  # what was asked for is not what it speaks of
                about = Topic(page.get("title", ""), "", topic.position)
            # An empty page is one of no use.
            sections = self._cut(page.get("text", ""), language)
            if sections and not (about and is_code(about.text)):
                picked = sorted(rng.sample(range(len(sections)), min(self.sections, len(sections))))
                return [self._context(page, sections[i], about) for i in picked]
            tried += 1
            if tried == _PAGES:
                break
        return []

    async def _candidates(
        self, topic: Topic, wiki: Wiki, rng: Random, url: str
    ) -> AsyncIterator[tuple[int, bool]]:
        """Gives ids of pages, and whether they are random: the picked hit, other hits, the rest."""
        words = " ".join(_OPERATORS.sub(" ", topic.text)[:_LONGEST_QUERY].split())
        hits: Sequence[int] = []
        if words:
            key = f"{url} search {self.results} {words}"
            hits = await self._fetch(key, partial(wiki.search, words, self.results))
        for page_id in rng.sample(hits, len(hits)):
            yield page_id, False
        if self.random_fallback:
            for n in range(_PAGES):
                # One page a request: only the first page of an answer is drawn at random.
                key = f"{url} random {rng.getrandbits(64):x} {n}"
                for page_id in await self._fetch(key, wiki.random):
                    yield page_id, True

    async def _fetch(self, key: str, fn: Callable[[], Any]) -> Any:
        try:
            if self._session is None:
                return await fn()
            return await self._session.fetch(key, fn)
        except (AttributeError, KeyError, TypeError) as error:
            # Answers are read as if they had the documented form. All that goes wrong with another
            # form ends here.
            raise RequestError(
                "The wiki answered in an unknown form", hint="It needs MediaWiki 1.25 or newer."
            ) from error

    def _cut(self, text: str, language: Language) -> list[Section]:
        sections = wiki_sections(cleaned(text), language.end_sections)
        return usable(sections, language, self.min_chars, self.max_chars)

    def _context(self, page: dict[str, Any], section: Section, about: Topic | None) -> Context:
        title, revision = page["title"], str(page["revision"])
        # A ledger of before has no id.
        page_id = str(page["page_id"]) if "page_id" in page else None
        source = Source("wikipedia", title, page["url"], revision, self.license, page_id=page_id)
        # A wiki in another language than the run's says so.
        language = Language.load(self.language).code if self.language else ""
        return Context(section.text, section.titled(title), about, language, source)


def _check_url(api_url: str | None) -> bool:
    """Tells whether the URL is Wikimedia's.

    Raises:
        ConfigError: It is no URL of a wiki.
    """
    try:
        parsed = httpx.URL(api_url or _WIKIPEDIA)
    except (httpx.InvalidURL, TypeError, ValueError):
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        hint = "It reads https://.../api.php, without a password or a question mark."
        raise ConfigError("api_url is not a wiki's address", hint=hint)
    return is_wikimedia(str(parsed))


def _check_contact(contact: str | None, required: bool) -> None:
    # It goes into a header, which holds one line of ASCII.
    if contact is not None and not (contact.isascii() and contact.isprintable()):
        raise ConfigError(
            "contact is not plain ASCII", hint="Give an e-mail address or the URL of a page."
        )
    if required and not re.search(r"\w@\w|\w\.\w|User:\w", contact or ""):
        raise ConfigError(
            "WikipediaSource needs contact: Wikimedia blocks clients whose User-Agent does not name"
            " who runs them",
            hint="Pass contact='you@example.org', or the URL of your user page.",
        )


# Wikimedia allows 3 requests at once.
_AT_ONCE = 3
_ATTEMPTS = 6
# Seconds after which to ask a lagging server again, if it does not say (API:Etiquette).
_LAG_WAIT = 5.0
# Seconds: as long as the engine waits for an LLM.
_LONGEST_WAIT = 900.0
_POLL = 0.05
# Characters.
_LONGEST_PAGE = 200_000
_WIKIMEDIA = (
    "wikipedia.org", "wikimedia.org", "wiktionary.org", "wikibooks.org", "wikisource.org",
    "wikinews.org", "wikiquote.org", "wikiversity.org", "wikivoyage.org", "wikidata.org",
    "mediawiki.org", "wikifunctions.org",
)  # fmt: skip
# Codes of errors that may pass. All others would be the same the next time.
_PASSING = frozenset({"maxlag", "ratelimited", "readonly"})
_PASSING_PREFIXES = ("internal_api_error", "cirrussearch-")


def is_wikimedia(url: str) -> bool:
    """Tells whether a URL belongs to the Wikimedia Foundation, whose rules then apply."""
    host = httpx.URL(url).host
    return any(host == domain or host.endswith(f".{domain}") for domain in _WIKIMEDIA)


class Wiki:
    """Asks one `api.php`. Belongs to the event loop that it is first used on.

    Args:
        agent: The User-Agent, which names the person running this.
        token: Sent with each request, if there is one.
        requests_per_minute: `None` for no limit.
        timeout: Seconds for one exchange.
        transport: Takes the place of the network in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        agent: str,
        token: str | None = None,
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
            **({"authorization": f"Bearer {token}"} if token else {}),
        }
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._transport = Transport(connections=_AT_ONCE, timeout=timeout, transport=transport)
        # All of Wikimedia's wikis count as one host, because a client has one allowance there.
        self._name = "wikimedia.org" if is_wikimedia(url) else self._url.netloc.decode("ascii")
        self._host = _HOSTS.setdefault(self._name, _Host())

    async def search(self, words: str, results: int) -> list[int]:
        """Returns ids of the pages that hold the words, best first.

        The page that has just this title comes last, if it is not among them: a MediaWiki without
        CirrusSearch finds words in texts alone.
        """
        query = await self.query(
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
        # Other namespaces hold no articles.
        titled = [page for page in query.get("pages", []) if page.get("ns") == 0]
        ids = [page.get("pageid") for page in [*query.get("search", []), *titled]]
        return list(dict.fromkeys(page_id for page_id in ids if page_id))

    async def random(self) -> list[int]:
        """Returns the id of a random page; nothing if the wiki has none."""
        query = await self.query(list="random", rnnamespace=0, rnlimit=1)
        return [page["id"] for page in query.get("random", [])]

    async def page(self, page_id: int) -> dict[str, Any]:
        """Returns a page's title, URL, revision id, own id and plain text.

        Returns:
            Nothing for a page that is missing or only lists others.

        Raises:
            StopRunError: The wiki gives no plain text.
        """
        query = await self.query(
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
        page: dict[str, Any] = next(iter(query.get("pages", [])), {})
        lists_others = "disambiguation" in page.get("pageprops", {})
        if not page.get("revisions") or page.get("missing") or lists_others:
            return {}
        if "extract" not in page:
            raise StopRunError(
                "The wiki gives no plain text", hint="It needs MediaWiki's TextExtracts extension."
            )
        return {
            "title": page["title"],
            "url": page.get("fullurl"),
            "revision": page["revisions"][0]["revid"],
            "page_id": page["pageid"],
            "text": page["extract"][:_LONGEST_PAGE],
        }

    async def query(self, **params: str | int) -> dict[str, Any]:
        """Returns the `query` object of an `action=query` request, empty if the wiki sends none.

        Raises:
            RequestError: The wiki refuses this request, or did not answer in 6 attempts.
            StopRunError: It refuses every request.
        """
        params = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5, **params}
        url = self._url.copy_merge_params(params)
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._host.turn(self._clock, self._interval):
                    return await self._ask(url)
            except RetryableError as error:
                await self._wait(error, attempt)

    async def _wait(self, error: RetryableError, attempt: int) -> None:
        """Waits after attempt number `attempt` (from 1) failed, or gives up."""
        wait = error.retry_after
        if attempt == _ATTEMPTS or (wait or 0.0) > _LONGEST_WAIT:
            asked = f", wants a wait of {wait:.0f} s" if wait else ""
            raise RequestError(
                f"{self._name} gave no answer in {attempt} attempts{asked}: {error.message}",
                hint="Is api_url right and the wiki up? Run again later to continue.",
                status=error.status,
            ) from error
        if wait is None:
            await self._clock.sleep(2.0 ** (attempt - 1))
        else:
            # Everybody waits, and this request in the queue for its next turn.
            self._host.pause(self._clock, wait)

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
        message, status = f"{self._name}: {error.message}", error.status
        if status == 403:
            return StopRunError(
                message, hint="Set contact to your own e-mail address or user page.", status=403
            )
        # No such place, or a redirect to another: the address is wrong, and so for every request.
        if status is not None and (status in (401, 404, 405, 410) or status < 400):
            return StopRunError(
                message, hint="Set api_url to the wiki's api.php itself.", status=status
            )
        return RequestError(message, status=status)

    def _read(self, answer: Answer) -> dict[str, Any]:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise RetryableError(f"the answer is not the API's JSON: {explain(answer.body)[:80]}")
        # The API reports its errors, a lagging database among them, with the status 200.
        if value.get("error") is not None:
            raise self._error(value["error"], answer.headers)
        query = value.get("query")
        return query if isinstance(query, dict) else {}

    def _error(self, error: object, headers: httpx.Headers) -> RequestError:
        code, info = "", str(error)
        if isinstance(error, dict):
            code, info = str(error.get("code")), str(error.get("info"))
        message = f"{code}: {' '.join(info.split())[:200]}"
        if code in _PASSING or code.startswith(_PASSING_PREFIXES):
            wait = retry_after(headers, self._clock.timestamp())
            if wait is None and code == "maxlag":
                wait = _LAG_WAIT
            return RetryableError(message, retry_after=wait)
        return RequestError(f"{self._name}: {message}")

    async def close(self) -> None:
        """Closes the connections. A later query opens new ones."""
        await self._transport.close()


class _Host:
    """Gives turns at one host to all of this process: 3 requests at once, and one pace."""

    def __init__(self) -> None:
        # Weak: a loop that is gone takes its queue along.
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._next = self._paused = float("-inf")

    @asynccontextmanager
    async def turn(self, clock: Clock, interval: float) -> AsyncIterator[None]:
        """Waits for a turn, which lasts as long as the block.

        Args:
            interval: Seconds from the beginning of one request to that of the next.
        """
        # Waiters of one event loop stand in a queue. Only its first three contend with other loops
        # for the slots, and poll, because a thread's semaphore cannot be awaited.
        async with self._queues.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
            while not self._slots.acquire(blocking=False):
                await clock.sleep(_POLL)
            try:
                with self._lock:
                    start = max(clock.monotonic(), self._next)
                    self._next = start + interval
                # In a loop, because a pause may begin while this one sleeps.
                while (left := max(start, self._paused) - clock.monotonic()) > 0:
                    await clock.sleep(left)
                yield
            finally:
                self._slots.release()

    def pause(self, clock: Clock, seconds: float) -> None:
        """Lets nobody begin for some seconds."""
        with self._lock:
            self._paused = max(self._paused, clock.monotonic() + seconds)


_HOSTS: dict[str, _Host] = {}
