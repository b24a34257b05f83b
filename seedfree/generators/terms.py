"""What binds those who train on a model's words, by the `generator` that stands on a row."""

from __future__ import annotations

from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator

__all__ = ["terms_of"]


def terms_of(generator: str) -> str:
    """The `terms` of the backend that gave a row its `generator`; empty where that is unknown."""
    embedded = LlamaCppGenerator()
    known = {
        embedded.identity: embedded.terms,
        "anthropic ": ClaudeGenerator.terms,
        "openai-compatible ": OpenAICompatibleGenerator.terms,
        "function:": FunctionGenerator.terms,
    }
    return next((terms for start, terms in known.items() if generator.startswith(start)), "")
