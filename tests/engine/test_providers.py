"""A generator by word: which object it stands for, at every edge that takes one."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

import seedfree as sf
from seedfree.cli import main
from seedfree.config import Config
from seedfree.engine.http import Transport
from seedfree.engine.providers import named_generator, provider_at, providers
from seedfree.evaluation import Judge, evaluate
from seedfree.generators.prices import listed_prices, price_of, terms_of
from seedfree.native import native_test

CANARY = "CANARY-0123456789abcdef"
HOSTED = [word for word, each in providers().items() if not each.local]
LOCAL = [word for word, each in providers().items() if each.local]


class City(BaseModel):
    city: str


ASKED = sf.Prompt("ถาม", schema=City, temperature=0.4, top_p=0.9, repetition_penalty=1.1)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    for word, each in providers().items():
        monkeypatch.delenv(f"{word.upper()}_API_BASE", raising=False)
        if each.key:
            monkeypatch.delenv(each.key, raising=False)


def sent(word: str, prompt: sf.Prompt = ASKED) -> tuple[httpx.Request, dict[str, Any]]:
    request = named_generator(word).request(prompt)
    return request, json.loads(request.content)


@pytest.mark.parametrize("word", HOSTED)
def test_a_word_and_its_object_are_the_same_run(word: str, monkeypatch: Any) -> None:
    monkeypatch.setenv(providers()[word].key, CANARY)
    made: sf.Generator = (
        sf.ClaudeGenerator("m")
        if word == "anthropic"
        else sf.OpenAICompatibleGenerator(providers()[word].base_url, "m")
    )
    by_word, by_hand = sf.Pipeline("th", f"{word}/m"), sf.Pipeline("th", made)
    assert by_word.settings() == by_hand.settings()
    assert CANARY not in repr(by_word) + json.dumps(by_word.settings())
    assert sent(f"{word}/m")[0].content == made.request(ASKED).content


@pytest.mark.parametrize("word", HOSTED)
def test_a_missing_key_is_named_before_anything_is_sent(word: str) -> None:
    with pytest.raises(sf.ConfigError, match=providers()[word].key) as caught:
        sf.Pipeline("th", f"{word}/m", diversity=None).ready()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", LOCAL)
def test_a_server_of_ones_own_needs_no_key(word: str) -> None:
    request, body = sent(f"{word}/org/model:8b")
    assert "authorization" not in request.headers and body["model"] == "org/model:8b"
    assert str(request.url) == f"{providers()[word].base_url}/chat/completions"
    assert body["response_format"]["type"] == "json_schema"
    assert price_of(named_generator(f"{word}/m")).usd(sf.Usage(10**9, 0)) == 0


@pytest.mark.parametrize(
    ("word", "holds", "lacks"),
    [
        ("openai/gpt-4.1", {"max_completion_tokens", "temperature", "top_p"}, {"max_tokens"}),
        ("openai/gpt-6-luna", {"max_completion_tokens"}, {"temperature", "top_p"}),
        ("gemini/gemini-2.5-flash-lite", {"max_tokens", "temperature"}, {"repetition_penalty"}),
        ("gemini/gemini-3.8-flash", {"max_tokens"}, {"temperature", "top_p", "repeat_penalty"}),
        ("mistral/m", {"temperature"}, {"repetition_penalty", "repeat_penalty", "seed"}),
        ("deepseek/m", {"thinking", "temperature"}, {"repetition_penalty", "enable_thinking"}),
        ("dashscope/m", {"enable_thinking", "repetition_penalty"}, {"thinking", "repeat_penalty"}),
        ("openrouter/qwen/m", {"repetition_penalty"}, {"repeat_penalty", "thinking"}),
        ("hosted_vllm/m", {"repetition_penalty", "repeat_penalty"}, {"thinking"}),
    ],
)
def test_a_provider_is_sent_what_it_takes(
    word: str, holds: set[str], lacks: set[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv(providers()[word.partition("/")[0]].key, CANARY)
    request, body = sent(word)
    assert holds <= body.keys() and not lacks & body.keys()
    assert request.headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("word", ["deepseek", "dashscope"])
def test_where_no_schema_is_enforced_it_stands_in_the_prompt(word: str, monkeypatch: Any) -> None:
    monkeypatch.setenv(providers()[word].key, CANARY)
    _, body = sent(f"{word}/m")
    assert body["response_format"] == {"type": "json_object"}
    # Both refuse JSON mode where the word does not stand in the prompt.
    assert "JSON" in body["messages"][0]["content"] and "city" in body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("variable", "value", "word", "url"),
    [
        (
            "HOSTED_VLLM_API_BASE",
            "http://127.0.0.1:9000",
            "hosted_vllm",
            "http://127.0.0.1:9000/v1",
        ),
        ("OLLAMA_API_BASE", "http://10.0.0.2:11434/", "ollama", "http://10.0.0.2:11434/v1"),
        ("OLLAMA_HOST", "0.0.0.0", "ollama", "http://localhost:11434/v1"),
        ("OLLAMA_HOST", ":8080", "ollama", "http://localhost:8080/v1"),
        ("OLLAMA_HOST", "box", "ollama", "http://box:11434/v1"),
        ("OLLAMA_HOST", "https://o.example", "ollama", "https://o.example/v1"),
        ("OPENAI_API_BASE", "https://proxy.example/v1", "openai", "https://proxy.example/v1"),
        (
            "DASHSCOPE_API_BASE",
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "dashscope",
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
        ),
        ("ANTHROPIC_API_BASE", "https://gateway.example", "anthropic", "https://gateway.example"),
    ],
)
def test_the_environment_names_another_address(
    variable: str, value: str, word: str, url: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv(variable, value)
    assert named_generator(f"{word}/m").base_url == url


def test_the_variable_of_ollamas_address_wins_over_its_own(monkeypatch: Any) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "one:1")
    monkeypatch.setenv("OLLAMA_API_BASE", "http://two:2")
    assert named_generator("ollama/m").base_url == "http://two:2/v1"


def test_an_address_that_is_none_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", "nonsense")
    with pytest.raises(sf.ConfigError, match="HOSTED_VLLM_API_BASE holds no address"):
        named_generator("hosted_vllm/m")


def test_a_key_goes_where_its_variables_say_and_never_in_the_clear(monkeypatch: Any) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", CANARY)
    assert sent("hosted_vllm/m")[0].headers["authorization"] == f"Bearer {CANARY}"
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", "http://10.0.0.2:8000")
    with pytest.raises(sf.ConfigError, match="in the clear") as caught:
        named_generator("hosted_vllm/m")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("qwen/qwen3-8b", "'qwen' is no provider.*Known: anthropic.*hosted_vllm/qwen/qwen3-8b"),
        ("olama/qwen3:8b", "Did you mean 'ollama'"),
        ("claude-haiku-5-5", "provider/model.*Known: anthropic, openai"),
        ("ollama/", "names no model. Write ollama/"),
        ("openai", "names no model. Write openai/"),
        ("", "Known: anthropic"),
        ("evil\x1b[31m/m", "is no provider"),
    ],
)
def test_an_unknown_word_is_one_line_with_the_known_ones(word: str, says: str) -> None:
    with pytest.raises(sf.ConfigError, match=says) as caught:
        named_generator(word)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_every_edge_takes_a_word(tmp_path: Path) -> None:
    pipeline = sf.Pipeline(
        "th",
        "ollama/writer",
        filters=[sf.JudgeFilter(generator="ollama/judge")],
        appeal="ollama/reader",
    )
    asked = [model.model for model in pipeline._stages().generators()]
    assert asked == ["writer", "judge", "reader"]
    assert Judge("ollama/m").generator == named_generator("ollama/m")
    paper = sf.Pipeline.paper("th", "ollama/m", contact="me@uni.example")
    assert paper.generator == named_generator("ollama/m")
    text = "language: th\ngenerator: ollama/m\nfilters: [{use: JudgeFilter, generator: ollama/j}]\n"
    (tmp_path / "c.yaml").write_text(text)
    loaded = Config.load(tmp_path / "c.yaml").pipeline
    assert loaded.generator == named_generator("ollama/m")
    assert loaded.filters[0].generator == named_generator("ollama/j")
    other = Config.load(tmp_path / "c.yaml", generator="hosted_vllm/n").pipeline
    assert other.generator == named_generator("hosted_vllm/n")


def test_a_wrong_word_is_refused_at_every_edge(tmp_path: Path) -> None:
    source = sf.WrittenContexts()
    for edge in (
        lambda: sf.generate_all("no/m", [sf.Prompt("x")], tmp_path / "a"),
        lambda: evaluate("no/m", None, tmp_path / "b"),
        lambda: native_test("th", source, "no/m", tmp_path / "c"),
        lambda: sf.Pipeline("th", "no/m"),
        lambda: sf.JudgeFilter(generator="no/m"),
        lambda: Judge("no/m"),
    ):
        with pytest.raises(sf.ConfigError, match="'no' is no provider"):
            edge()
    assert not list(tmp_path.iterdir())


def test_prompts_are_asked_by_word(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", CANARY)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "api.deepseek.com"
        message = {"role": "assistant", "content": "สวัสดี"}
        usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
        return httpx.Response(200, json={"choices": [{"message": message}], "usage": usage})

    transport = Transport(transport=httpx.MockTransport(answer))
    model = "deepseek/deepseek-flash"
    (reply,) = sf.generate_all(model, [sf.Prompt("ถาม")], tmp_path, transport=transport)
    assert reply.text == "สวัสดี"
    assert not [path for path in tmp_path.iterdir() if CANARY.encode() in path.read_bytes()]


def test_the_doctor_looks_at_a_model(capsys: Any, monkeypatch: Any) -> None:
    assert main(["doctor", "--model", "deepseek/deepseek-flash"]) == 1
    assert "DEEPSEEK_API_KEY" in capsys.readouterr().out.splitlines()[-1]
    assert main(["doctor", "--model", "nobody/m"]) == 1
    assert "'nobody' is no provider" in capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    assert main(["doctor", "--model", "ollama/m"]) == 1
    assert "does not answer" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("word", HOSTED)
def test_a_row_of_a_known_provider_has_its_terms(word: str) -> None:
    generator: Any = named_generator(f"{word}/m")
    assert generator.terms == terms_of(generator.identity) == providers()[word].terms != ""
    assert providers()[word].terms_page.startswith("https://")


def test_one_model_at_two_providers_has_the_price_of_each(monkeypatch: Any) -> None:
    assert listed_prices().keys() <= providers().keys()
    pro = price_of(named_generator("deepseek/deepseek-v4-pro"))
    assert (pro.input, pro.output) == (1.32, 3.96)
    assert price_of(named_generator("dashscope/deepseek-v4-pro")) is None
    assert price_of(named_generator("openrouter/deepseek/deepseek-v4-pro")) is None
    assert provider_at("https://unknown.example") is None
