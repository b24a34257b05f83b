import json
import logging

import httpx
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from seedfree.errors import ConfigError, RequestError, RetryableError, SeedfreeError, StopRunError
from seedfree.generators.claude import ClaudeGenerator
from seedfree.protocols import HTTPGenerator
from seedfree.records import Prompt

CANARY = "sk-ant-CANARY-0123456789"
SDK = TypeAdapter(MessageCreateParamsNonStreaming)


class Fields(BaseModel):
    evidence: str = Field(max_length=300, description="Word for word.")
    score: int = Field(ge=1, le=10)
    tags: list[str] = Field(default_factory=list, min_length=2, max_length=4)


def body(generator, prompt):
    return json.loads(generator.request(prompt).content)


def answer(**changes):
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": "สวัสดี"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return json.dumps({**message, **changes}).encode()


def read(raw, **settings):
    return ClaudeGenerator(api_key=CANARY, **settings).reply(200, httpx.Headers(), raw)


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


@pytest.mark.parametrize(
    "model", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-4-5"]
)
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt("ถาม"),
        Prompt("ถาม", system="ผู้ช่วย", schema=Fields, max_tokens=64, seed=3),
    ],
)
def test_bodies_hold_only_what_the_official_sdk_knows(model, prompt):
    sent = body(ClaudeGenerator(model, api_key=CANARY), prompt)
    # The SDK's types drop keys that they do not know, at every depth.
    assert json.loads(SDK.dump_json(SDK.validate_python(sent))) == sent


def test_request_is_a_messages_call_with_the_key_in_its_header():
    request = ClaudeGenerator(api_key=CANARY).request(Prompt("ถาม", system="ระบบ", max_tokens=7))
    assert (request.method, str(request.url)) == ("POST", "https://api.anthropic.com/v1/messages")
    assert request.headers["x-api-key"] == CANARY
    assert request.headers["anthropic-version"] == "2023-06-01"
    sent = json.loads(request.content)
    assert (sent["model"], sent["max_tokens"], sent["system"]) == ("claude-haiku-5-5", 7, "ระบบ")
    assert sent["messages"] == [{"role": "user", "content": "ถาม"}]


@pytest.mark.parametrize(
    ("model", "temperature", "thinking"),
    [
        ("claude-haiku-5-5", None, {"type": "disabled"}),
        ("claude-haiku-5-5-20261001", None, {"type": "disabled"}),
        ("claude-sonnet-5-5", None, {"type": "between_tools"}),
        ("claude-opus-5-5", None, None),
        ("claude-opus-4-8", None, None),
        ("claude-haiku-4-5", 0.8, None),
        ("claude-haiku-4-5-20251001", 0.8, None),
        ("claude-someday-9", None, None),
    ],
)
def test_each_model_gets_only_the_settings_that_it_takes(model, temperature, thinking):
    sent = body(ClaudeGenerator(model, api_key=CANARY), Prompt("ถาม", temperature=0.8))
    assert sent.get("temperature") == temperature
    assert sent.get("thinking") == thinking


def test_thinking_can_be_left_to_the_model():
    assert "thinking" not in body(ClaudeGenerator(api_key=CANARY, thinking=True), Prompt("ถาม"))


def test_schema_is_stripped_of_what_the_api_rejects():
    schema = body(ClaudeGenerator(api_key=CANARY), Prompt("ถาม", schema=Fields))["output_config"][
        "format"
    ]["schema"]
    assert schema == {
        "type": "object",
        "properties": {
            "evidence": {"type": "string", "description": "Word for word. (maxLength 300)"},
            "score": {"type": "integer", "description": "(maximum 10, minimum 1)"},
            "tags": {
                "type": "array",
                "items": {"type": "string"},
                "description": "(maxItems 4, minItems 2)",
            },
        },
        "required": ["evidence", "score", "tags"],
        "additionalProperties": False,
    }


def test_text_is_picked_by_type_and_cached_input_is_counted():
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "ก"},
        {"type": "unheard_of"},
        {"type": "text", "text": "ข\ud83d"},
    ]
    usage = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 300,
        "output_tokens": 4,
    }
    reply = read(answer(content=blocks, usage=usage))
    assert reply.text == "กข\ufffd"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (321, 4)
    assert (reply.stop_reason, reply.model) == ("end", "claude-haiku-5-5")


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", "end"),
        ("stop_sequence", "end"),
        ("max_tokens", "max_tokens"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
        (None, "end"),
    ],
)
def test_stop_reasons(stop, expected):
    assert read(answer(stop_reason=stop, content=[])).stop_reason == expected


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", RetryableError),
        ("rate_limit_error", RetryableError),
        ("api_error", RetryableError),
        ("a_new_error", RetryableError),
        ("authentication_error", StopRunError),
        ("billing_error", StopRunError),
        ("permission_error", StopRunError),
    ],
)
def test_an_error_inside_a_success_is_classified(kind, error):
    raw = json.dumps(
        {"type": "error", "error": {"type": kind, "message": f"no: {CANARY} " + "x" * 500}}
    ).encode()
    with pytest.raises(error) as caught:
        read(raw)
    assert CANARY not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_bad_request_inside_a_success_fails_that_request_alone():
    with pytest.raises(RequestError) as caught:
        error = {"type": "invalid_request_error", "message": "max_tokens: too large"}
        read(json.dumps({"type": "error", "error": error}).encode())
    assert type(caught.value) is RequestError
    assert "too large" in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>502</html>", answer()[:-9], b"[]", b"null", b"{}", b'{"content": 3}', b"\xff"],
)
def test_a_body_that_is_no_message_is_asked_for_again(raw):
    with pytest.raises(RetryableError):
        read(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("type", "text", "error", "x")), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(("content", "usage", "stop_reason", "model", "error", "type")),
        json_values,
        max_size=6,
    )
)
def test_any_json_is_a_reply_or_a_seedfree_error(value):
    try:
        read(json.dumps(value).encode())
    except SeedfreeError:
        pass


def test_missing_key_is_said_before_anything_is_sent():
    generator = ClaudeGenerator()
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        generator.ready()
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        generator.request(Prompt("ถาม"))


def test_key_comes_from_the_environment_but_does_not_go_to_a_local_server(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", f" {CANARY}\n")
    generator = ClaudeGenerator()
    generator.ready()
    assert generator.request(Prompt("ถาม")).headers["x-api-key"] == CANARY
    local = ClaudeGenerator(base_url="http://127.0.0.1:8080")
    local.ready()
    assert "x-api-key" not in local.request(Prompt("ถาม")).headers


def test_the_key_is_nowhere_to_be_seen(caplog):
    caplog.set_level(logging.DEBUG)
    generator = ClaudeGenerator(api_key=CANARY)
    request = generator.request(Prompt("ถาม"))
    seen = [
        repr(generator),
        str(vars(generator)),
        generator.identity,
        repr(request),
        request.content.decode(),
    ]
    assert not any(CANARY in text for text in [*seen, str(request.url), caplog.text])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"base_url": "http://gateway.example"}, "https"),
        ({"base_url": "gateway.example"}, "URL"),
        ({"base_url": f"https://user:{CANARY}@gateway.example"}, "api_key"),
        ({"api_key": "ключ-CANARY"}, "api_key"),
        ({"api_key": f"{CANARY}\nx: y"}, "api_key"),
        ({"price": (-1.0, 2.0)}, "USD per million"),
        ({"price": (1.0, float("nan"))}, "USD per million"),
        ({"timeout": 0}, "timeout"),
        ({"model": ""}, "model"),
    ],
)
def test_wrong_settings_are_one_line_errors(settings, match):
    with pytest.raises(ConfigError, match=match) as caught:
        ClaudeGenerator(**settings)
    assert "\n" not in str(caught.value)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://gw.example/anthropic", "https://gw.example/anthropic/v1/"]
)
def test_a_gateway_is_given_with_or_without_its_version(url):
    request = ClaudeGenerator(base_url=url, api_key=CANARY).request(Prompt("ถาม"))
    assert str(request.url) == "https://gw.example/anthropic/v1/messages"


def test_identity_names_provider_place_and_model():
    assert ClaudeGenerator().identity == "anthropic https://api.anthropic.com claude-haiku-5-5"
    assert ClaudeGenerator(identity="mine").identity == "mine"
    assert isinstance(ClaudeGenerator(), HTTPGenerator)
    assert "without its permission" in ClaudeGenerator.terms
