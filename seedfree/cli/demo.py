"""The whole pipeline on this machine alone: an embedded model and encoder, no key, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seedfree.contexts.written import WrittenContexts
from seedfree.diversity.encoders import USEEncoder
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.languages import Language
from seedfree.pipeline import Pipeline
from seedfree.run.folder import Run
from seedfree.tasks.brainstorming import Brainstorming
from seedfree.tasks.closed_qa import ClosedQA
from seedfree.tasks.conversation import Conversation

__all__ = ["demo", "demo_pipeline"]


def demo_pipeline(language: str | Language = "th", **changes: Any) -> Pipeline:
    """Returns the demo's pipeline. `changes` take the place of its settings."""
    settings: dict[str, Any] = {
        # Short texts, so that the demo takes some three minutes on two processors.
        "generator": LlamaCppGenerator(max_chars=120, temperature=0.7),
        "contexts": [WrittenContexts(min_chars=80)],
        "tasks": [ClosedQA(), Conversation(), Brainstorming()],
        "diversity": SemanticDiversityFilter(encoder=USEEncoder()),
    }
    return Pipeline(language=language, **{**settings, **changes})


def demo(language: str | Language = "th", rows: int = 20, out: Path = Path("runs/demo")) -> Run:
    """Makes a small data set with Gemma 3 270M.

    The model is so small that the filters have much to do.
    """
    return demo_pipeline(language).run(size=rows, out=out, concurrency=4)
