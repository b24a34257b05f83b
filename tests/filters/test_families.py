import logging

import pytest

from seedfree.filters.judge import families, named, related, warn_of_kin
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator


@pytest.mark.parametrize(
    "name, family",
    [
        ("anthropic https://api.anthropic.com claude-haiku-5-5", "Claude"),
        ("gpt-4o-mini", "GPT"),
        ("chatgpt-4o-latest", "GPT"),
        ("openai/gpt-oss-120b", "GPT"),
        ("o3-mini", "GPT"),
        ("openai-compatible http://x/v1 o1", "GPT"),
        ("models/gemini-3-flash", "Gemini and Gemma"),
        ("google/gemma-3-12b-it", "Gemini and Gemma"),
        ("llamacpp:sha256:a5fd3b62230aa5ec", "Gemini and Gemma"),
        ("meta-llama/Meta-Llama-3-8B", "Llama"),
        ("CodeLlama-7b", "Llama"),
        ("llama3.1:8b", "Llama"),
        ("Qwen/Qwen3-32B", "Qwen"),
        ("open-mixtral-8x22b", "Mistral"),
        ("deepseek-chat", "DeepSeek"),
        ("aisingapore/SEA-LION-v1-7B", "SEA-LION"),
        ("scb10x/typhoon-7b", "Typhoon"),
        ("openthaigpt-1.0.0-7b-chat", "OpenThaiGPT"),
    ],
)
def test_names_tell_a_family(name, family):
    assert families(name) == {family}


@pytest.mark.parametrize(
    "name, both",
    [
        ("scb10x/llama-3-typhoon-v1.5-8b", {"Llama", "Typhoon"}),
        ("typhoon2-qwen2.5-7b-instruct", {"Qwen", "Typhoon"}),
        ("aisingapore/Gemma-SEA-LION-v4-27B-IT", {"Gemini and Gemma", "SEA-LION"}),
        ("DeepSeek-R1-Distill-Qwen-32B", {"DeepSeek", "Qwen"}),
        ("llama3_typhoon", {"Llama", "Typhoon"}),
    ],
)
def test_a_name_may_tell_two(name, both):
    assert families(name) == both


@pytest.mark.parametrize(
    "name",
    [
        "",
        "function:judge",
        "llamacpp:sha256:0123456789abcdef",
        "ollama my-model",
        "openai-compatible",
        "philosopher",
    ],
)
def test_a_name_may_tell_none(name):
    assert families(name) == set()


def test_addresses_and_makers_of_servers_are_no_names():
    served = OpenAICompatibleGenerator("http://llama-box:8000/v1", "Qwen3-8B")
    assert (
        not related(served, "llama-3")
        and related(served, "qwen2")
        and "llama-box" not in named(served)
    )
    assert related(ClaudeGenerator(api_key="k"), "claude-3-haiku")


def test_one_model_is_akin_to_itself_whatever_its_name():
    mine = FunctionGenerator(str, name="mine")
    assert (
        related(mine, mine)
        and related(mine, mine.identity)
        and not related(mine, FunctionGenerator(str, name="x"))
    )


def test_the_base_of_a_trained_model_counts():
    class Base:
        name = "google/gemma-3-270m"

    class Trained:
        base = Base()

    assert related("gemini-3", Trained()) and not related("claude", Trained())


def test_a_writers_name_from_a_file_cannot_forge_a_line_of_the_log(caplog):
    with caplog.at_level(logging.WARNING, "seedfree"):
        warn_of_kin("claude-a", ["claude-b\nERROR all is lost\x1b[2J"])
    assert (
        "\n" not in caplog.records[0].getMessage() and "\x1b" not in caplog.records[0].getMessage()
    )


def test_one_warning_for_all_kin(caplog):
    with caplog.at_level(logging.WARNING, "seedfree"):
        assert not warn_of_kin("claude", ["", "gpt-5", "mine"])
        assert not caplog.records
        assert warn_of_kin("claude-a", ["claude-b", "gpt-5", "claude-c", "claude-b"])
    assert (
        len(caplog.records) == 1
        and "claude-b, claude-c" in caplog.text
        and "gpt" not in caplog.text
    )
