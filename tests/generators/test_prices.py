import pytest

from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.generators.prices import price_of, terms_of
from seedfree.records import Usage


def test_the_default_model_has_a_dated_price():
    price = price_of(ClaudeGenerator())
    assert (price.input, price.output) == (0.10, 0.50)
    assert price.checked.startswith("2026-")


def test_a_long_prompt_costs_more_throughout():
    price = price_of(ClaudeGenerator())
    assert price.usd(Usage(100_000, 1_000)) == pytest.approx(0.0105)
    assert price.usd(Usage(100_001, 1_000)) == pytest.approx(0.0525005)


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-haiku-4-5-20251001"])
def test_a_snapshot_costs_what_its_model_costs(model):
    assert price_of(ClaudeGenerator(model)).usd(Usage(1_000_000, 1_000_000)) == 6.0


def test_ones_own_price_wins():
    assert price_of(ClaudeGenerator(price=(3.0, 4.0))).usd(Usage(1_000_000, 1_000_000)) == 7.0
    assert price_of(FunctionGenerator(str, name="f", price=2.0)).usd(Usage(0, 1_000_000)) == 2.0


def test_local_servers_and_functions_cost_nothing():
    for generator in (
        FunctionGenerator(str),
        OpenAICompatibleGenerator("http://localhost:8000", "gemma"),
    ):
        assert price_of(generator).usd(Usage(10**9, 10**9)) == 0.0


def test_a_paid_model_behind_a_local_proxy_is_not_free():
    proxied = OpenAICompatibleGenerator("http://localhost:4000", "gpt-4o-mini")
    assert price_of(proxied).output == 0.60


def test_an_unknown_model_has_no_price():
    assert price_of(ClaudeGenerator("claude-someday-9")) is None
    assert price_of(OpenAICompatibleGenerator("https://h.example", "m")) is None
    assert price_of(object()) is None


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (ClaudeGenerator(api_key="k"), "Anthropic's terms forbid"),
        (OpenAICompatibleGenerator("http://localhost:1", "m"), "provider's terms"),
        (FunctionGenerator(str, name="mine"), "what it calls"),
        (LlamaCppGenerator(), "Gemma Terms of Use"),
    ],
)
def test_a_rows_generator_tells_its_terms(generator, words):
    assert terms_of(generator.identity) == generator.terms
    assert words in generator.terms


@pytest.mark.parametrize("generator", ["", "human", "a model of my own", "anthropic"])
def test_of_others_nothing_is_said(generator):
    assert terms_of(generator) == ""
