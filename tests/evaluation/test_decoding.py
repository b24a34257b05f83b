"""Decoding settings: presets, their way into requests, and requests without them as before."""

import hashlib
import json

import httpx
import pytest

from seedfree.engine.batch import generate_all
from seedfree.engine.http import Transport
from seedfree.engine.ledger import Ledger
from seedfree.errors import ConfigError
from seedfree.evaluation.evaluate import Decoding
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.records import Prompt

URL = "http://127.0.0.1:1"
PROMPT = Prompt("ถาม", system="ระบบ", temperature=0.5, max_tokens=7, seed=3)
PAPER = Decoding.paper()


def llamacpp(**settings):
    generator = LlamaCppGenerator(**settings)
    generator.start = lambda: URL
    return generator


BACKENDS = {
    "vllm": lambda: OpenAICompatibleGenerator(URL, "m"),
    "openai": lambda: OpenAICompatibleGenerator("https://api.openai.com", "gpt-4.1", api_key="k"),
    "reasoning": lambda: OpenAICompatibleGenerator("https://api.openai.com", "gpt-5", api_key="k"),
    "openrouter": lambda: OpenAICompatibleGenerator("https://openrouter.ai/api", "m", api_key="k"),
    "claude": lambda: ClaudeGenerator(base_url=URL),
    "older claude": lambda: ClaudeGenerator("claude-haiku-4-5", base_url=URL),
    "llamacpp": llamacpp,
}


def body(generator, prompt):
    return json.loads(generator.request(prompt).content)


def test_the_paper_s_settings_are_a_preset():
    settings = (PAPER.temperature, PAPER.top_p, PAPER.repetition_penalty, PAPER.max_tokens)
    assert settings == (0.05, 0.9, 1.15, 512)
    assert PAPER.system is None
    assert Decoding.paper(system=True).system.startswith(
        "Below is an instruction that describes a task"
    )
    assert Decoding.greedy().temperature == 0


def test_settings_are_put_into_a_prompt_and_what_they_leave_open_stays():
    made = PAPER.apply(Prompt("ถาม", temperature=0.9, top_p=0.1, max_tokens=5, examples=()))
    settings = (made.temperature, made.top_p, made.repetition_penalty, made.max_tokens)
    assert made.user == "ถาม"
    assert settings == (0.05, 0.9, 1.15, 512)
    kept = Decoding(max_tokens=9).apply(PROMPT)
    assert (kept.temperature, kept.top_p, kept.max_tokens, kept.system) == (0.5, None, 9, "ระบบ")
    assert Decoding.paper(system=True).apply(PROMPT).system == "ระบบ"
    assert (
        Decoding.paper(system=True).apply(Prompt("ถาม")).system
        == Decoding.paper(system=True).system
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1}, {"temperature": 2.1}, {"temperature": float("nan")}, {"top_p": 0},
        {"top_p": 1.1}, {"top_p": float("nan")}, {"repetition_penalty": 0},
        {"repetition_penalty": float("inf")}, {"repetition_penalty": float("nan")},
        {"max_tokens": 0},
    ],
)  # fmt: skip
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ConfigError):
        Decoding(**settings)


@pytest.mark.parametrize(
    ("backend", "sent"),
    [
        (
            "vllm",
            {"temperature": 0.05, "top_p": 0.9, "repetition_penalty": 1.15, "repeat_penalty": 1.15},
        ),
        ("openai", {"temperature": 0.05, "top_p": 0.9}),
        ("reasoning", {}),
        ("openrouter", {"temperature": 0.05, "top_p": 0.9, "repetition_penalty": 1.15}),
        ("claude", {}),
        ("older claude", {"temperature": 0.05}),
        (
            "llamacpp",
            {"temperature": 0.05, "top_p": 0.9, "repeat_penalty": 1.15, "repeat_last_n": 32_768},
        ),
    ],
)
def test_each_backend_is_sent_what_it_takes_and_the_rest_is_named(backend, sent):
    generator = BACKENDS[backend]()
    made = body(generator, PAPER.apply(Prompt("ถาม")))
    names = ("temperature", "top_p", "repetition_penalty", "repeat_penalty", "repeat_last_n")
    assert {name: made[name] for name in names if name in made} == sent
    left_out = {"temperature", "top_p", "repetition_penalty"} - set(sent)
    if "repeat_penalty" in sent:
        left_out -= {"repetition_penalty"}
    assert set(PAPER.left_out(generator, Prompt("ถาม"))) == left_out
    assert Decoding().left_out(generator, Prompt("ถาม")) == ()


def test_settings_of_the_generator_come_first_and_are_named_too():
    own = llamacpp(temperature=0.7, repeat_penalty=1.3)
    made = body(own, PAPER.apply(Prompt("ถาม")))
    assert (made["temperature"], made["repeat_penalty"], made["top_p"]) == (0.7, 1.3, 0.9)
    assert PAPER.left_out(own, Prompt("ถาม")) == ("temperature", "repetition_penalty")


@pytest.mark.parametrize("value", [0.0, 0.123, 0.5, 1.0, 2.0])
def test_no_value_that_is_sent_is_named_as_left_out(value):
    decoding = Decoding(temperature=value, top_p=value / 2 or 1.0, repetition_penalty=value or 1.5)
    assert decoding.left_out(llamacpp(), Prompt("ถาม")) == ()


def test_a_function_is_given_all():
    assert PAPER.left_out(FunctionGenerator(lambda prompt: "", name="f"), Prompt("ถาม")) == ()


# As the versions before top_p and repetition_penalty sent them: the keys of the ledger are made
# from these bytes.
BEFORE = {
    "vllm": '{"model":"m","messages":[{"role":"system","content":"ระบบ"},'
    '{"role":"user","content":"ถาม"}],"max_tokens":7,"temperature":0.5}',
    "older claude": '{"model":"claude-haiku-4-5","max_tokens":7,"system":"ระบบ",'
    '"messages":[{"role":"user","content":"ถาม"}],"temperature":0.5}',
    "llamacpp": '{"seed":3,"prompt":"ถาม\\n","n_predict":7,"temperature":0.5,"repeat_penalty":1.0}',
}
FUNCTION = (
    '{"user":"ถาม","system":"ระบบ","schema":null,"temperature":0.5,"max_tokens":7,"examples":[],'
    '"cue":null,"seed":3}'
)


@pytest.mark.parametrize("backend", BEFORE)
def test_without_them_a_request_is_byte_for_byte_as_before(backend):
    assert BACKENDS[backend]().request(PROMPT).content.decode() == BEFORE[backend]


def test_replies_that_functions_gave_before_are_still_found(tmp_path):
    def asked(prompt, text):
        generator = FunctionGenerator(lambda prompt: text, name="f")
        return generate_all(generator, [prompt], tmp_path)[0].text, len(generator.calls)

    assert asked(PROMPT, "แรก") == ("แรก", 1)
    key = hashlib.sha256(b"\x1f".join((b"function:f", FUNCTION.encode(), b"0"))).hexdigest()
    with Ledger(tmp_path) as ledger:
        assert key in ledger
    assert asked(PROMPT, "หลัง") == ("แรก", 0)
    assert asked(Decoding(top_p=0.5, temperature=0.5, max_tokens=7).apply(PROMPT), "หลัง") == (
        "หลัง",
        1,
    )


def test_prompts_that_differ_in_them_alone_are_different_questions(tmp_path):
    seen = []
    generator = FunctionGenerator(
        lambda prompt: seen.append((prompt.top_p, prompt.seed)) or "ตอบ", name="f"
    )
    prompts = [Prompt("ถาม"), Prompt("ถาม", top_p=0.5), Prompt("ถาม", repetition_penalty=1.5)]
    generate_all(generator, prompts, tmp_path, concurrency=1)
    assert len({seed for _, seed in seen}) == 1  # each is sample 0 of its own question


def test_once_takes_the_first_reply_as_it_comes(tmp_path):
    def reply(text, stop):
        return {"choices": [{"message": {"content": text}, "finish_reason": stop}]}

    answers = {
        "ก": reply("ยังไม่จบ", "length"),
        "ข": reply("", "stop"),
        "ค": reply("ขออภัย", "content_filter"),
    }

    def serve(request):
        return httpx.Response(
            200, json=answers[json.loads(request.content)["messages"][0]["content"]]
        )

    generator = OpenAICompatibleGenerator(URL, "m")
    transport = Transport(transport=httpx.MockTransport(serve))
    replies = generate_all(
        generator, [Prompt(text) for text in answers], tmp_path, once=True, transport=transport
    )
    assert [(reply.text, reply.stop_reason, reply.error) for reply in replies] == [
        ("ยังไม่จบ", "max_tokens", None), ("", "end", None), ("ขออภัย", "refusal", None),
    ]  # fmt: skip
