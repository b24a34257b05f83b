import pytest

from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.generators.prices import terms_of


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


@pytest.mark.parametrize("generator", ["", "human", "a model of one's own", "anthropic"])
def test_of_others_nothing_is_said(generator):
    assert terms_of(generator) == ""
