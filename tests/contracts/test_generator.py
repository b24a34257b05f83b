"""What every generator does, whatever it stands on: add a new backend to BACKENDS."""

import asyncio
import inspect
import json

import httpx
import pytest
from pydantic import BaseModel, Field

from seedfree.engine.batch import generate_all
from seedfree.engine.http import Transport
from seedfree.engine.schema import parse
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.generators.prices import price_of
from seedfree.protocols import Generator, HTTPGenerator
from seedfree.records import Example, Prompt, Reply, Usage


class City(BaseModel):
    city: str = Field(max_length=12)
    river: str = Field(max_length=12)


EXAMPLES = (
    Example("ปารีส", '{"city":"ปารีส","river":"แซน"}'),
    Example("ลอนดอน", '{"city":"ลอนดอน","river":"เทมส์"}'),
)


def fake(prompt):
    words = ['{"city":"กรุงเทพฯ","river":"เจ้าพระยา"}'] if prompt.schema else ["คำ"] * 20
    cut = len(words) > prompt.max_tokens
    text = " ".join(words[: prompt.max_tokens])
    return Reply(
        text,
        Usage(len(prompt.user), min(len(words), prompt.max_tokens)),
        "max_tokens" if cut else "end",
    )


BACKENDS = {
    "function": lambda llama: FunctionGenerator(fake),
    "claude": lambda llama: ClaudeGenerator("gemma", base_url=llama.base_url),
    "openai": lambda llama: OpenAICompatibleGenerator(llama.base_url, "gemma", seed=0),
    "openai-prompt": lambda llama: OpenAICompatibleGenerator(
        llama.base_url, "gemma", structured="prompt", seed=0
    ),
    "llamacpp": lambda llama: llama,
}
# llama.cpp ignores Anthropic's `output_config`, and a prompt alone enforces nothing.
ENFORCES = {"function", "openai", "llamacpp"}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def generator(backend, request):
    llama = None if backend == "function" else request.getfixturevalue("llama")
    return BACKENDS[backend](llama)


def ask(generator, prompt):
    async def run():
        answer = generator.generate(prompt)
        return await answer if inspect.isawaitable(answer) else answer

    return asyncio.run(run())


def test_it_says_what_it_is_what_it_costs_and_on_which_terms(generator):
    assert isinstance(generator, Generator)
    assert generator.identity and generator.identity.isprintable()
    assert price_of(generator).usd(Usage(1000, 1000)) == 0
    assert generator.terms.endswith(".") and "\n" not in generator.terms
    if hasattr(generator, "ready"):
        generator.ready()


def test_a_reply_holds_text_tokens_and_a_reason_to_stop(generator):
    reply = ask(generator, Prompt("แม่น้ำเจ้าพระยาไหลผ่าน", max_tokens=4, seed=1))
    assert isinstance(reply, Reply)
    assert reply.text and reply.error is None
    assert reply.usage.input_tokens > 0
    assert 0 < reply.usage.output_tokens <= 4
    assert reply.stop_reason == "max_tokens"


def test_any_text_can_be_asked(generator):
    awkward = Prompt(
        '"{}" \\ \x00 😀 \ud83d <|im_end|> ' + "ก" * 20,
        system="\u200b{x}",
        max_tokens=2,
        temperature=0.5,
    )
    assert ask(generator, awkward).error is None


def test_a_schema_is_answered_in_its_form(generator, backend):
    limit = 48 if backend in ENFORCES else 8
    prompt = Prompt(
        "กรุงเทพฯ", schema=City, examples=EXAMPLES, max_tokens=limit, temperature=0.2, seed=3
    )
    reply = ask(generator, prompt)
    assert reply.stop_reason in ("end", "max_tokens")
    if backend in ENFORCES:
        assert reply.text.lstrip().startswith("{")
        assert reply.stop_reason == "max_tokens" or parse(reply.text, City)


def test_the_same_prompt_is_the_same_request_and_the_same_bytes_the_same_reply(generator):
    if not isinstance(generator, HTTPGenerator):
        pytest.skip("sends nothing")
    prompt = Prompt("ถาม", schema=City, examples=EXAMPLES, max_tokens=8, seed=1)
    first, second = generator.request(prompt), generator.request(prompt)
    assert (first.method, first.url, first.content) == (second.method, second.url, second.content)
    assert json.loads(first.content)
    other = generator.request(Prompt("ถามอีก", schema=City, examples=EXAMPLES, max_tokens=8, seed=1))
    assert other.content != first.content


def test_through_the_engine_every_prompt_gets_its_reply_and_is_paid_for_once(generator, tmp_path):
    def refuse(request):
        raise AssertionError("a kept reply was asked for again")

    prompts = [Prompt(f"ข้อ {number}", max_tokens=1, seed=number) for number in range(2)]
    replies = generate_all(generator, prompts, out=tmp_path, concurrency=2)
    assert all(reply.usage.output_tokens for reply in replies)
    calls = list(getattr(generator, "calls", ()))
    silent = Transport(transport=httpx.MockTransport(refuse))
    again = generate_all(generator, prompts, out=tmp_path, concurrency=1, transport=silent)
    assert again == replies
    assert list(getattr(generator, "calls", ())) == calls
