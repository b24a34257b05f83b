"""Keys stay secret: they stand in no file, log, traceback or setting, and go to their server alone.

The servers of these tests echo every key that they get, in every form.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import BaseModel, SecretStr

import seedfree as sf
from seedfree.engine.http import Transport
from seedfree.engine.keys import redact
from seedfree.errors import ConfigError, SeedfreeError
from seedfree.records import Prompt
from seedfree.run.settings import describe
from tests.fakes import FakeClock, fill, small_pipeline

# A key with characters that stand otherwise in a URL.
CANARY = "sk-canary/+0123456789abcdef=Ab"
GATEWAY = "gw-canary-fedcba9876543210"
FORMS = [
    form
    for key in (CANARY, GATEWAY)
    for form in (key, f"Bearer {key}", quote(key, safe=""), quote(key))
]

GENERATORS: dict[str, Callable[[], Any]] = {
    "claude": lambda: sf.ClaudeGenerator(api_key=CANARY),
    "claude, gateway": lambda: sf.ClaudeGenerator(
        api_key=CANARY, base_url="https://gateway.example/anthropic"
    ),
    "openai": lambda: sf.OpenAICompatibleGenerator(
        "https://api.openai.com", "gpt-4o-mini", api_key=CANARY
    ),
    "gateway": lambda: sf.OpenAICompatibleGenerator(
        "https://gateway.example/v1",
        "m",
        api_key=CANARY,
        headers={"x-portkey-api-key": GATEWAY, "cookie": GATEWAY},
    ),
    "header alone": lambda: sf.OpenAICompatibleGenerator(
        "https://openrouter.ai/api/v1",
        "m",
        headers={"Authorization": f"Bearer {CANARY}", "x-trace": GATEWAY},
    ),
}
every_generator = pytest.mark.parametrize("name", GENERATORS)

Server = Callable[[httpx.Request], httpx.Response]


def _echo(request: httpx.Request) -> str:
    """Returns every key that a request carries, in every form."""
    sent = " ".join(request.headers.values())
    return " ".join(form for form in FORMS if (CANARY if "sk" in form else GATEWAY) in sent)


def _headers(request: httpx.Request) -> dict[str, str]:
    names = ("x-echo", "set-cookie", "www-authenticate", "x-request-id", "request-id")
    return dict.fromkeys(names, _echo(request))


def answer(request: httpx.Request) -> dict[str, Any]:
    """Returns what the API of either provider answers to any schema."""
    body = json.loads(request.content)
    claude = body.get("output_config", {}).get("format")
    shape = claude or body.get("response_format", {}).get("json_schema", {})
    text = fill(shape["schema"], "", request.content.decode())
    return _reply(request, json.dumps(text, ensure_ascii=False))


def _reply(request: httpx.Request, text: str) -> dict[str, Any]:
    if request.url.path.endswith("/messages"):
        usage = {"input_tokens": 9, "output_tokens": 9}
        return {"content": [{"type": "text", "text": text}], "usage": usage}
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 9}}


def _good(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=answer(request), headers=_headers(request))


def _good_with_the_key(request: httpx.Request) -> httpx.Response:
    row = {"instruction": f"I {_echo(request)}", "output": f"O {_echo(request)}"}
    return httpx.Response(200, json=_reply(request, json.dumps(row)))


def _json(status: int, kind: str) -> Server:
    def serve(request: httpx.Request) -> httpx.Response:
        message = f"Incorrect API key provided: {_echo(request)}"
        error = {"type": kind, "code": kind, "message": message}
        body = {"type": "error", "error": error}
        return httpx.Response(status, json=body, headers=_headers(request))

    return serve


def _text(status: int, around: str, **headers: str) -> Server:
    """Returns a server that puts the key in the place of KEY in its text and its headers."""

    def serve(request: httpx.Request) -> httpx.Response:
        echo = _echo(request)
        own = {name: value.replace("KEY", echo) for name, value in headers.items()}
        text = around.replace("KEY", echo)
        return httpx.Response(status, text=text, headers={**_headers(request), **own})

    return serve


def _cut(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=_Broken(_echo(request)), headers=_headers(request))


class _Broken(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that breaks off behind the key."""

    def __init__(self, echo: str) -> None:
        self.echo = echo

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part

    def __iter__(self) -> Iterator[bytes]:
        yield self.echo.encode()
        raise httpx.ReadError("reset")


_LINKS = "<html><a href='/KEY'>KEY</a><!-- KEY"
SERVERS: dict[str, Server] = {
    "good": _good,
    "good, key in the text": _good_with_the_key,
    "401": _json(401, "authentication_error"),
    "400": _json(400, "invalid_request_error"),
    "403": _text(403, "Forbidden for KEY"),
    "429": _text(429, "KEY", **{"retry-after": "0 KEY"}),
    "500": _json(500, "api_error"),
    "HTML": _text(502, _LINKS, **{"content-type": "text/html; KEY"}),
    "HTML in a 200": _text(200, "<p>KEY</p>"),
    "error in a 200": _json(200, "authentication_error"),
    "redirect": _text(302, "KEY", location="https://evil.example/KEY"),
    "cut": _cut,
}
every_server = pytest.mark.parametrize("server", SERVERS)
# How a run ends, where it is not stopped. A rejected request is a dropped row and stops nothing.
STATUSES = {"good": "complete", "good, key in the text": "complete", "400": "short"}


@pytest.fixture(autouse=True)
def _no_keys_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _leaks(text: str) -> list[str]:
    """Returns the forms of the keys that stand in a text."""
    # In any case of letters: some quote in lower case, %2f for %2F.
    return [form for form in FORMS if form.lower() in text.lower()]


def run_against(server: Server, llm: Any, out: Path) -> sf.Run:
    tasks, topics = [sf.Summarization()], ["ก", "ข", "ค"]
    pipeline = small_pipeline(llm, tasks=tasks, topics=topics)
    transport = Transport(transport=httpx.MockTransport(server))
    return pipeline.run(size=2, out=out, clock=FakeClock(), transport=transport, concurrency=2)


def _debug_log(caplog: pytest.LogCaptureFixture) -> str:
    handler = caplog.handler
    return "\n".join(handler.format(record) + repr(vars(record)) for record in caplog.records)


SLASHES = "sk-abcdef/ghi+jkl/0123456789="


@pytest.mark.parametrize(
    "value",
    [
        SLASHES,
        f"Bearer {SLASHES}",
        f"bearer {SLASHES}",
        f"Token {SLASHES}",
        f"session={SLASHES}; theme=dark",
        f"theme=dark;session={SLASHES}",
        f"prefix:{SLASHES}",
        f"Basic {base64.b64encode(f'user:{SLASHES}'.encode()).decode()}",
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        str,
        str.upper,
        lambda key: key.replace("/", "\\/"),
        lambda key: json.dumps(json.dumps(key.replace("/", "\\/")))[3:-3],
        lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
        lambda key: json.dumps("".join(f"\\u{ord(c):04X}" for c in key))[1:-1],
        lambda key: quote(key, safe=""),
        lambda key: quote(quote(key, safe="")),
        lambda key: "".join(f"%{ord(c):02x}" for c in key),
        lambda key: quote(key).replace("/", "\\/"),
    ],
)
def test_an_echoed_key_is_found_however_it_is_sent_and_written(
    value: str, write: Callable[[str], str]
) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, text=f"<p>wrong: {write(SLASHES)}!</p>")

    llm = sf.OpenAICompatibleGenerator("https://g.example", "m", headers={"x-secret": value})
    request = llm.request(Prompt("q"))
    with pytest.raises(SeedfreeError) as caught:
        asyncio.run(Transport(transport=httpx.MockTransport(echo)).send(request))
    assert "wrong: ***!" in str(caught.value)


def test_words_of_a_title_in_a_header_stay_in_replies() -> None:
    secrets = frozenset({b"Thai instruction-generation at the university"})
    reply = b"instruction-generation and a university-department"
    assert redact(reply, secrets) == reply


def test_a_key_in_the_path_of_a_server_is_in_no_reply_row_or_card(tmp_path: Path) -> None:
    key = "k3y0123456789abcdefgh"

    def echo(request: httpx.Request) -> httpx.Response:
        assert key in request.url.path, "the server got the key"
        row = {"instruction": f"I {key}", "output": f"O {key}"}
        return httpx.Response(200, json=_reply(request, json.dumps(row)))

    llm = sf.OpenAICompatibleGenerator(f"https://g.example/{key}/v1", "m")
    run = run_against(echo, llm, tmp_path / "run")
    assert run.dataset[0].generator == "openai-compatible https://g.example/***/v1 m"
    for name in ("dataset.jsonl", "README.md", "manifest.json", "status.json"):
        assert key not in (tmp_path / "run" / name).read_text()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "localhost",
        "10.1.2.3:8000",
        "192.168.1.2",
        "172.16.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "[::1]:8000",
        "[fe80::1]",
        "[::ffff:10.0.0.1]",
        "gpu01",
        "gpu01.local",
        "vllm.svc.internal",
    ],
)
def test_the_address_of_a_private_server_is_published_nowhere(host: str, tmp_path: Path) -> None:
    llm = sf.OpenAICompatibleGenerator(f"http://{host}", "model-x")
    run = run_against(_good, llm, tmp_path / "run")
    assert run.dataset[0].generator == "openai-compatible a private server model-x"
    for name in ("dataset.jsonl", "dropped.jsonl", "README.md", "manifest.json", "status.json"):
        text = (tmp_path / "run" / name).read_text()
        assert f"//{host}" not in text and host.partition(":8")[0].strip("[]") not in text
    again = run_against(lambda _: httpx.Response(500), llm, tmp_path / "run")
    assert again.status == "complete"


@every_generator
@every_server
def test_a_run_leaves_no_key_behind(
    name: str, server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        assert _leaks(str(request.headers.raw)), "the server got the key"
        assert not _leaks(f"{request.url} {request.content.decode()}"), "in a header alone"
        return SERVERS[server](request)

    llm = GENERATORS[name]()
    run = run_against(serve, llm, tmp_path / "run")
    assert seen and run.status == STATUSES.get(server, "stopped")
    if run.status != "complete":
        assert len(run.dataset) == 0 and run.message
    texts = {
        "repr": f"{run!r} {run.message}",
        "log": _debug_log(caplog),
        "settings": f"{run.manifest}",
    }
    for path in sorted((tmp_path / "run").rglob("*")):
        texts[path.name] = path.read_bytes().decode("utf-8", "replace")
    assert len(texts) >= 9 and not {where: text for where, text in texts.items() if _leaks(text)}


def _reported(error: BaseException) -> str:
    """Returns all that an error reporter would send.

    That is messages, attributes, causes and the local variables of every frame.
    """
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    parts = list(report.format())
    chain: BaseException | None = error
    while chain is not None:
        parts.append(f"{chain!r} {chain} {vars(chain)}")
        chain = chain.__cause__ or chain.__context__
    return "".join(parts)


def _raised(name: str, server: str, monkeypatch: pytest.MonkeyPatch) -> SeedfreeError | None:
    """Returns what a direct call raises."""
    monkeypatch.setattr(Transport, "_to", lambda *_: httpx.MockTransport(SERVERS[server]))
    llm = GENERATORS[name]()
    try:
        assert not _leaks(repr(llm.generate(Prompt("q", schema=sf.Summarization.Fields))))
    except SeedfreeError as error:
        return error
    return None


@every_generator
@every_server
def test_a_direct_call_tells_no_key(
    name: str, server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = _raised(name, server, monkeypatch)
    assert (error is None) == ("good" in server)
    assert not _leaks(f"{error} {error!r}") and not _leaks(_debug_log(caplog))


@every_generator
@every_server
def test_a_traceback_with_its_variables_tells_no_key(
    name: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = _raised(name, server, monkeypatch)
    assert error is None or not _leaks(_reported(error))


@every_generator
def test_no_way_of_printing_a_generator_shows_its_key(name: str) -> None:
    llm = GENERATORS[name]()
    pipeline = sf.Pipeline("th", llm)
    request = llm.request(Prompt("q", schema=sf.Summarization.Fields))
    body = json.dumps(answer(request)).encode()
    texts = [
        repr(llm),
        str(llm),
        repr(vars(llm)),
        repr(dataclasses.asdict(llm)),
        llm.identity,
        str(describe(llm)),
        json.dumps(describe(llm)),
        repr(pipeline),
        repr(pipeline.settings()),
        repr(request),
        repr(llm.reply(200, httpx.Headers(), body)),
    ]
    assert not [text for text in texts if _leaks(text)]


def test_the_settings_of_ones_own_parts_hold_no_key() -> None:
    class Options(BaseModel):
        api_key: str = CANARY
        depth: int = 2

    class Mine:
        def __init__(self) -> None:
            self.api_key = self.token = self.password = CANARY
            self.apiKey = self.APIKEY = self.authorization = CANARY
            bearer = f"Bearer {CANARY}"
            self.headers = {"Authorization": bearer, "X-Api-Key": CANARY, "accept": "text"}
            self.secret, self.secrets = SecretStr(CANARY), [SecretStr(CANARY)]
            self.options = Options()
            self.url = f"https://me:{CANARY.replace('/', '')}@host/path"
            self.nested = {"client": {"access_token": CANARY, "size": 3}}
            self.max_tokens = 7

    settings = describe(Mine())
    text = json.dumps(settings)
    assert not _leaks(text) and "canary" not in text
    assert settings["max_tokens"] == 7 and settings["nested"] == {"client": {"size": 3}}
    assert settings["headers"] == {"accept": "text"} and settings["options"] == {"depth": 2}


def test_redact_takes_out_a_key_in_every_form_and_nothing_else() -> None:
    body = f'{{"a": "{FORMS} {quote(CANARY, safe="").lower()}", "b": "EMPTY ข้าว"}}'.encode()
    # "EMPTY" is what people type for servers that check no key, and stands in honest replies.
    left = redact(body, frozenset(key.encode() for key in (CANARY, GATEWAY, "EMPTY", "")))
    assert not _leaks(left.decode()) and b"EMPTY" in left and "ข้าว".encode() in left
    assert redact(b"nothing", frozenset({CANARY.encode()})) == b"nothing"
    assert redact(b"EMPTY", frozenset({b"EMPTY"})) == b"EMPTY"


SECRET_URLS = [
    f"https://me:{GATEWAY}@host/v1",
    f"https://{GATEWAY}@host/v1",
    f"https://host/v1?key={GATEWAY}",
    f"https://host?{GATEWAY}",
    f"http://me:{GATEWAY}@127.0.0.1/v1",
    f"https://host:8443/v1?k={quote(CANARY, safe='')}",
    # Addresses that are wrong in other ways, too, whose errors must not repeat them.
    f"ftp://me:{GATEWAY}@host/v1",
    f"//me:{GATEWAY}@host",
    f"https://me:{GATEWAY}@host:port/v1",
    f"https://me:{GATEWAY}@",
    f"https://me:{CANARY}@host/v1",
    f"https://host/v1#{GATEWAY}",
    f"http://10.0.0.1/v1#key={GATEWAY}",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_key_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    for make in (
        lambda: sf.ClaudeGenerator(base_url=url),
        lambda: sf.OpenAICompatibleGenerator(url, "m"),
        lambda: sf.OpenAICompatibleGenerator(url, "m", api_key="k" * 20),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert not _leaks(f"{caught.value} {caught.value!r} {caught.value.__cause__}")


FAR = [
    "http://10.0.0.1",
    "http://192.168.1.2:8000/v1",
    "http://localhost.evil.com",
    "http://127.0.0.1.evil.com/v1",
    # Other ways to write 127.0.0.1 and localhost, which not every system reads alike.
    "http://2130706433",
    "http://0x7f000001",
    "http://127.1",
    "http://127.0.0.1.",
    "http://localhost.",
    "http://①②⑦.0.0.1",
    "http://0.0.0.0",
    "http://[::]",
    "http://[fe80::1]",
    "http://[::ffff:10.0.0.1]",
    "http://evillocalhost",
    "http://local host",
    "HTTP://example.com",
    # The loopback stands where it is no host.
    "http://127.0.0.1@evil.com",
    "http://evil.com/127.0.0.1",
    "http://evil.com#@localhost",
    "http://evil.com\\@localhost",
    "http:evil.com",
    "http:///evil.com",
    " http://evil.com",
    "ws://localhost",
]
NEAR = [
    "http://127.0.0.1:8080",
    "http://localhost:1/v1",
    "http://[::1]:9",
    "http://127.8.9.1",
    "http://LOCALHOST",
]


@pytest.mark.parametrize("url", FAR)
def test_a_key_travels_over_https_alone(url: str) -> None:
    for make in (
        lambda: sf.ClaudeGenerator(base_url=url),
        lambda: sf.OpenAICompatibleGenerator(url, "m", api_key=CANARY),
        lambda: sf.OpenAICompatibleGenerator(url, "m", headers={"x-key": GATEWAY}),
    ):
        with pytest.raises(ConfigError):
            make()


@pytest.mark.parametrize("url", ["http://10.0.0.1:8000", "http://gpu01", "http://gpu01.local"])
def test_a_key_may_travel_in_the_clear_in_a_private_network_that_is_trusted(url: str) -> None:
    with pytest.raises(ConfigError, match="allow_http=True"):
        sf.OpenAICompatibleGenerator(url, "m", api_key=CANARY)
    llm = sf.OpenAICompatibleGenerator(url, "m", api_key=CANARY, allow_http=True)
    assert llm.request(Prompt("q")).headers["authorization"] == f"Bearer {CANARY}"
    assert sf.OpenAICompatibleEncoder(url, "m", api_key=CANARY, allow_http=True).base_url
    assert describe(llm) == describe(sf.OpenAICompatibleGenerator(url, "m"))


@pytest.mark.parametrize("url", ["http://example.org", "http://8.8.8.8", "http://api.openai.com"])
def test_no_key_ever_travels_in_the_clear_over_the_internet(url: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        sf.OpenAICompatibleGenerator(url, "m", api_key=CANARY, allow_http=True)


def test_a_name_below_localhost_is_no_loopback() -> None:
    with pytest.raises(ConfigError):
        sf.OpenAICompatibleGenerator("http://evil.localhost", "m", api_key=CANARY)


@pytest.mark.parametrize("url", NEAR)
def test_a_key_may_travel_in_the_clear_on_this_machine(url: str) -> None:
    request = sf.OpenAICompatibleGenerator(url, "m", api_key=CANARY).request(Prompt("q"))
    assert request.url.scheme == "http" and request.headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"])
def test_a_key_of_the_environment_goes_to_its_own_provider_alone(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, CANARY)
    urls = (
        "https://evil.example",
        "https://api.openai.com.evil.example",
        "http://localhost:8000",
        "http://10.0.0.1",
    )
    gateway = sf.ClaudeGenerator(base_url="http://127.0.0.1:4000")
    for llm in [*(sf.OpenAICompatibleGenerator(url, "m") for url in urls), gateway]:
        assert not _leaks(str(llm.request(Prompt("q")).headers.raw))
