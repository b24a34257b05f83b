"""Synthetic instruction data for languages that have none (arXiv 2411.15484).

    import seedfree as sf
    pipeline = sf.Pipeline(language="th", generator=sf.ClaudeGenerator())
    run = pipeline.run(size=100, out="runs/th")

Every name here is loaded when it is first used, so `import seedfree` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedfree.contexts.documents import DocumentSource as DocumentSource
    from seedfree.contexts.wikipedia import WikipediaSource as WikipediaSource
    from seedfree.contexts.written import WrittenContexts as WrittenContexts
    from seedfree.dataset import Dataset as Dataset
    from seedfree.engine.batch import generate_all as generate_all
    from seedfree.errors import ConfigError as ConfigError
    from seedfree.errors import RetryableError as RetryableError
    from seedfree.errors import SeedfreeError as SeedfreeError
    from seedfree.filters.calibration import calibrate as calibrate
    from seedfree.filters.embeddings import OpenAICompatibleEncoder as OpenAICompatibleEncoder
    from seedfree.filters.encoders import BGEM3Encoder as BGEM3Encoder
    from seedfree.filters.encoders import SentenceTransformerEncoder as SentenceTransformerEncoder
    from seedfree.filters.encoders import USEEncoder as USEEncoder
    from seedfree.filters.grounding import GroundingFilter as GroundingFilter
    from seedfree.filters.index import greedy_select as greedy_select
    from seedfree.filters.judge import JudgeFilter as JudgeFilter
    from seedfree.filters.language import LanguageFilter as LanguageFilter
    from seedfree.filters.lexical import CapDiversityFilter as CapDiversityFilter
    from seedfree.filters.lexical import ExactDiversityFilter as ExactDiversityFilter
    from seedfree.filters.lexical import LexicalDiversityFilter as LexicalDiversityFilter
    from seedfree.filters.rules import RuleFilter as RuleFilter
    from seedfree.filters.semantic import SemanticDiversityFilter as SemanticDiversityFilter
    from seedfree.generators.claude import ClaudeGenerator as ClaudeGenerator
    from seedfree.generators.function import FunctionGenerator as FunctionGenerator
    from seedfree.generators.llamacpp import LlamaCppGenerator as LlamaCppGenerator
    from seedfree.generators.openai_compatible import (
        OpenAICompatibleGenerator as OpenAICompatibleGenerator,
    )
    from seedfree.languages import Language as Language
    from seedfree.pipeline import Pipeline as Pipeline
    from seedfree.protocols import Benchmark as Benchmark
    from seedfree.protocols import ContextSource as ContextSource
    from seedfree.protocols import DiversityFilter as DiversityFilter
    from seedfree.protocols import Encoder as Encoder
    from seedfree.protocols import Filter as Filter
    from seedfree.protocols import Generator as Generator
    from seedfree.protocols import Session as Session
    from seedfree.protocols import TaskTemplate as TaskTemplate
    from seedfree.protocols import Trainer as Trainer
    from seedfree.records import Context as Context
    from seedfree.records import Example as Example
    from seedfree.records import Instruction as Instruction
    from seedfree.records import Message as Message
    from seedfree.records import Prompt as Prompt
    from seedfree.records import Question as Question
    from seedfree.records import Reply as Reply
    from seedfree.records import Selection as Selection
    from seedfree.records import Source as Source
    from seedfree.records import Topic as Topic
    from seedfree.records import Usage as Usage
    from seedfree.run import Run as Run
    from seedfree.tasks.brainstorming import Brainstorming as Brainstorming
    from seedfree.tasks.closed_qa import ClosedQA as ClosedQA
    from seedfree.tasks.conversation import Conversation as Conversation
    from seedfree.tasks.multiple_choice import MultipleChoice as MultipleChoice
    from seedfree.tasks.summarization import Summarization as Summarization
    from seedfree.training.config import QLoRAConfig as QLoRAConfig
    from seedfree.training.exports import AxolotlExport as AxolotlExport
    from seedfree.training.exports import LlamaFactoryExport as LlamaFactoryExport
    from seedfree.training.mix import mix as mix
    from seedfree.training.model import TrainedModel as TrainedModel
    from seedfree.training.trainer import QLoRATrainer as QLoRATrainer

_HOMES = {
    "seedfree.contexts.documents": ("DocumentSource",),
    "seedfree.contexts.wikipedia": ("WikipediaSource",),
    "seedfree.contexts.written": ("WrittenContexts",),
    "seedfree.dataset": ("Dataset",),
    "seedfree.engine.batch": ("generate_all",),
    "seedfree.errors": ("ConfigError", "RetryableError", "SeedfreeError"),
    "seedfree.filters.calibration": ("calibrate",),
    "seedfree.filters.embeddings": ("OpenAICompatibleEncoder",),
    "seedfree.filters.encoders": ("BGEM3Encoder", "SentenceTransformerEncoder", "USEEncoder"),
    "seedfree.filters.grounding": ("GroundingFilter",),
    "seedfree.filters.index": ("greedy_select",),
    "seedfree.filters.judge": ("JudgeFilter",),
    "seedfree.filters.language": ("LanguageFilter",),
    "seedfree.filters.lexical": ("CapDiversityFilter", "ExactDiversityFilter", "LexicalDiversityFilter"),
    "seedfree.filters.rules": ("RuleFilter",),
    "seedfree.filters.semantic": ("SemanticDiversityFilter",),
    "seedfree.generators.claude": ("ClaudeGenerator",),
    "seedfree.generators.function": ("FunctionGenerator",),
    "seedfree.generators.llamacpp": ("LlamaCppGenerator",),
    "seedfree.generators.openai_compatible": ("OpenAICompatibleGenerator",),
    "seedfree.languages": ("Language",),
    "seedfree.pipeline": ("Pipeline",),
    "seedfree.protocols": (
        "Benchmark", "ContextSource", "DiversityFilter", "Encoder", "Filter", "Generator", "Session", "TaskTemplate",
        "Trainer",
    ),
    "seedfree.records": (
        "Context", "Example", "Instruction", "Message", "Prompt", "Question", "Reply", "Selection", "Source",
        "Topic", "Usage",
    ),
    "seedfree.run": ("Run",),
    "seedfree.tasks.brainstorming": ("Brainstorming",),
    "seedfree.tasks.closed_qa": ("ClosedQA",),
    "seedfree.tasks.conversation": ("Conversation",),
    "seedfree.tasks.multiple_choice": ("MultipleChoice",),
    "seedfree.tasks.summarization": ("Summarization",),
    "seedfree.training.config": ("QLoRAConfig",),
    "seedfree.training.exports": ("AxolotlExport", "LlamaFactoryExport"),
    "seedfree.training.mix": ("mix",),
    "seedfree.training.model": ("TrainedModel",),
    "seedfree.training.trainer": ("QLoRATrainer",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seedfree' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
