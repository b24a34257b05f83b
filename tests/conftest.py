"""What every test shares: repeatable property tests, and one running llama.cpp with Gemma 3 270M."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from seedfree.generators.llamacpp import LlamaCppGenerator

settings.register_profile("derandomize", derandomize=True, deadline=None)
settings.load_profile("derandomize")


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaCppGenerator]:
    with LlamaCppGenerator() as generator:
        yield generator
