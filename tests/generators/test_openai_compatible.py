import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from seedfree.errors import ConfigError, RequestError, RetryableError, SeedfreeError, StopRunError
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.protocols import HTTPGenerator
from seedfree.records import Prompt

CANARY = "CANARY-0123456789abcdef"
LOCAL = "http://127.0.0.1:8000"


class Fields(BaseModel):
    question: str = Field(max_length=50)
    wrong: list[str] = Field(min_length=3, max_length=3)


def generator(base_url=LOCAL, model="m", **settings):
    return OpenAICompatibleGenerator(base_url, model, **settings)


def body(prompt, *args, **settings):
    return json.loads(generator(*args, **settings).request(prompt).content)


def answer(message=None, finish="stop", **changes):
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "สวัสดี", **(message or {})},
        "finish_reason": finish,
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps(
        {"id": "c", "model": "served", "choices": [choice], "usage": usage, **changes}
    ).encode()


def read(raw, **settings):
    return generator(**settings).reply(200, httpx.Headers(), raw)


@pytest.fixture(autouse=True)
def no_keys_in_the_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given_url", "sent_to"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://localhost:11434/v1/", "http://localhost:11434/v1/chat/completions"),
        ("http://[::1]:1234/v1", "http://[::1]:1234/v1/chat/completions"),
        ("http://node12.cluster:8000/", "http://node12.cluster:8000/v1/chat/completions"),
        ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://h.example/v1/chat/completions", "https://h.example/v1/chat/completions"),
        ("https://h.example/v1beta/openai/", "https://h.example/v1beta/openai/chat/completions"),
    ],
)
def test_base_url_is_taken_as_people_write_it(given_url, sent_to, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENROUTER_API_KEY", CANARY)
    assert str(generator(given_url).request(Prompt("ถาม")).url) == sent_to


def test_body_of_a_plain_prompt():
    assert body(Prompt("ถาม", system="ระบบ", temperature=0.4, max_tokens=9)) == {
        "model": "m",
        "messages": [{"role": "system", "content": "ระบบ"}, {"role": "user", "content": "ถาม"}],
        "max_tokens": 9,
        "temperature": 0.4,
    }


def test_openai_itself_gets_its_own_word_for_max_tokens_and_no_temperature_where_it_takes_none():
    openai = "https://api.openai.com/v1"
    old = body(Prompt("ถาม", temperature=0.4), openai, "gpt-4.1-mini", api_key=CANARY)
    assert (old["max_completion_tokens"], old["temperature"]) == (1024, 0.4)
    assert "max_tokens" not in old
    new = body(Prompt("ถาม", temperature=0.4), openai, "gpt-5-mini", api_key=CANARY)
    assert "temperature" not in new
    forced = body(Prompt("ถาม"), openai, "gpt-5-mini", api_key=CANARY, temperature=1.0)
    assert forced["temperature"] == 1.0


def test_temperature_and_seed_of_the_generator():
    sent = body(Prompt("ถาม", temperature=0.4, seed=5), temperature=0.9, seed=2**31 - 3)
    assert (sent["temperature"], sent["seed"]) == (0.9, 2)
    assert "seed" not in body(Prompt("ถาม", seed=5))


def test_json_schema_keeps_constraints_for_servers_that_enforce_them():
    schema = body(Prompt("ถาม", schema=Fields))["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["question"] == {"type": "string", "maxLength": 50}
    assert schema["schema"]["additionalProperties"] is False
    strict = body(Prompt("ถาม", schema=Fields), "https://api.openai.com", "gpt-4.1", api_key=CANARY)
    strict = strict["response_format"]["json_schema"]["schema"]
    assert strict["properties"]["question"] == {"type": "string", "description": "(maxLength 50)"}


@pytest.mark.parametrize(
    ("structured", "shape"), [("json_object", {"type": "json_object"}), ("prompt", None)]
)
def test_schema_stands_in_the_prompt_where_the_server_does_not_enforce_it(structured, shape):
    sent = body(Prompt("ถาม", schema=Fields), structured=structured)
    assert sent.get("response_format") == shape
    text = sent["messages"][-1]["content"]
    assert text.startswith("ถาม")
    assert json.loads(text[text.index("{") :]) == Fields.model_json_schema()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "คำตอบ", "reasoning_content": "คิด", "reasoning": "คิด"}, "คำตอบ"),
        ({"content": "<think>คิด {}</think>\n\nคำตอบ"}, "คำตอบ"),
        ({"content": "<think>คิดไม่จบ"}, ""),
        ({"content": "คิด\n</think>\n\nคำตอบ"}, "คำตอบ"),
        ({"content": "ใช้ <think> กับ </think>"}, "ใช้ <think> กับ </think>"),
        (
            {
                "content": [
                    {"type": "text", "text": "ก"},
                    {"type": "reasoning", "text": "x"},
                    {"type": "text", "text": "ข"},
                ]
            },
            "กข",
        ),
        ({"content": None}, ""),
        ({"content": "ก\ud83d"}, "ก\ufffd"),
    ],
)
def test_reasoning_is_left_out(message, text):
    assert read(answer(message)).text == text


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", "end"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        (None, "end"),
        ("tool_calls", "tool_calls"),
    ],
)
def test_finish_reasons(finish, expected):
    reply = read(answer(finish=finish))
    assert reply.stop_reason == expected
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.model) == (10, 5, "served")


def test_refusal_field():
    reply = read(answer({"content": None, "refusal": "I can't help with that."}))
    assert (reply.stop_reason, reply.text) == ("refusal", "I can't help with that.")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "slow down"}, RetryableError),
        ({"code": 502, "message": "provider is down"}, RetryableError),
        ({"message": "CUDA error"}, RetryableError),
        ("a string", RetryableError),
        ({"code": 401, "message": f"bad key {CANARY}"}, StopRunError),
        ({"code": "insufficient_quota", "message": "x" * 1000}, StopRunError),
        (
            {"code": "invalid_api_key", "message": f"Incorrect API key provided: {CANARY}"},
            StopRunError,
        ),
        ({"code": 400, "message": "context length exceeded"}, RequestError),
        ({"code": None, "type": "invalid_request_error", "message": "bad"}, RequestError),
    ],
)
def test_an_error_inside_a_success_is_classified(error, kind):
    for raw in (
        json.dumps({"error": error}).encode(),
        answer(choices=[{"message": {}, "error": error}]),
    ):
        with pytest.raises(kind) as caught:
            read(raw, api_key=CANARY)
        assert type(caught.value) is kind
        assert CANARY not in str(caught.value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"data: {}\n\n",
        answer()[:40],
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [1]}',
        answer(finish="error"),
    ],
)
def test_a_body_that_is_no_completion_is_asked_for_again(raw):
    with pytest.raises(RetryableError):
        read(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("message", "content", "text", "type", "error", "code", "finish_reason")
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(("choices", "usage", "model", "error")), json_values))
def test_any_json_is_a_reply_or_a_seedfree_error(value):
    try:
        read(json.dumps(value).encode(), api_key=CANARY)
    except SeedfreeError:
        pass


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ],
)
def test_known_hosts_need_their_key(url, variable, monkeypatch):
    with pytest.raises(ConfigError, match=variable):
        generator(url).ready()
    monkeypatch.setenv(variable, CANARY)
    assert generator(url).request(Prompt("ถาม")).headers["authorization"] == f"Bearer {CANARY}"


def test_other_servers_get_no_key_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    other = generator("https://h.example/v1")
    other.ready()
    assert CANARY not in str(other.request(Prompt("ถาม")).headers.raw)


def test_keys_and_headers_are_nowhere_to_be_seen():
    secretive = generator(api_key=CANARY, headers={"api-key": CANARY})
    request = secretive.request(Prompt("ถาม"))
    assert request.headers["api-key"] == CANARY
    seen = [
        repr(secretive),
        str(vars(secretive)),
        secretive.identity,
        repr(request),
        request.content.decode(),
    ]
    assert not any(CANARY in text for text in seen)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"base_url": "localhost:8000"}, "URL"),
        ({"base_url": None}, "base_url is None"),
        ({"base_url": "http://node12:8000", "api_key": CANARY}, "https"),
        ({"base_url": "http://node12:8000", "headers": {"api-key": CANARY}}, "https"),
        ({"base_url": "http://api.openai.com/v1"}, "https"),
        ({"base_url": f"https://h.example/v1?key={CANARY}"}, "api_key"),
        ({"model": ""}, "v1/models"),
        ({"structured": "xml"}, "json_schema"),
        ({"temperature": 3.0}, "temperature"),
        ({"timeout": -1}, "timeout"),
        ({"price": "cheap"}, "USD per million"),
        ({"headers": {"x": f"{CANARY}\r\ny: z"}}, "headers"),
    ],
)
def test_wrong_settings_are_one_line_errors(settings, match):
    with pytest.raises(ConfigError, match=match) as caught:
        OpenAICompatibleGenerator(**{"base_url": LOCAL, "model": "m", **settings})
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_schema_that_no_server_takes_is_refused_with_a_way_out():
    with pytest.raises(ConfigError, match="leaves its keys open"):
        body(Prompt("ถาม", schema={"type": "object"}))
    body(Prompt("ถาม", schema={"type": "object"}), structured="prompt")


def test_identity_names_provider_place_and_model():
    local = generator("http://localhost:1/v1/")
    assert local.identity == "openai-compatible http://localhost:1/v1 m"
    assert generator(identity="typhoon").identity == "typhoon"
    assert isinstance(generator(), HTTPGenerator)
