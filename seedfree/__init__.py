"""Synthetic instruction data for languages that have none (arXiv 2411.15484).

    import seedfree as sf
    pipeline = sf.Pipeline(language="th", generator=sf.ClaudeGenerator())
    run = pipeline.run(size=100, out="runs/th")

Every name here is loaded when it is first used, so `import seedfree` is quick.
"""

from __future__ import annotations

import re
import warnings
from importlib import import_module
from pkgutil import get_data
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedfree._version import __version__ as __version__
    from seedfree.contexts.documents import DocumentSource as DocumentSource
    from seedfree.contexts.dump import WikipediaDump as WikipediaDump
    from seedfree.contexts.wikipedia import WikipediaSource as WikipediaSource
    from seedfree.contexts.written import WrittenContexts as WrittenContexts
    from seedfree.dataset import Dataset as Dataset
    from seedfree.diversity.calibration import calibrate_threshold as calibrate_threshold
    from seedfree.diversity.encoders import BGEM3Encoder as BGEM3Encoder
    from seedfree.diversity.encoders import SentenceTransformerEncoder as SentenceTransformerEncoder
    from seedfree.diversity.encoders import TrigramEncoder as TrigramEncoder
    from seedfree.diversity.encoders import USEEncoder as USEEncoder
    from seedfree.diversity.http_encoder import OpenAICompatibleEncoder as OpenAICompatibleEncoder
    from seedfree.diversity.index import greedy_select as greedy_select
    from seedfree.diversity.lexical import CapDiversityFilter as CapDiversityFilter
    from seedfree.diversity.lexical import ExactDiversityFilter as ExactDiversityFilter
    from seedfree.diversity.lexical import LexicalDiversityFilter as LexicalDiversityFilter
    from seedfree.diversity.semantic import SemanticDiversityFilter as SemanticDiversityFilter
    from seedfree.engine.batch import generate_all as generate_all
    from seedfree.errors import ConfigError as ConfigError
    from seedfree.errors import ConfigMismatchError as ConfigMismatchError
    from seedfree.errors import EncoderError as EncoderError
    from seedfree.errors import InvalidReplyError as InvalidReplyError
    from seedfree.errors import LedgerDamagedError as LedgerDamagedError
    from seedfree.errors import LedgerError as LedgerError
    from seedfree.errors import LedgerLockedError as LedgerLockedError
    from seedfree.errors import RequestError as RequestError
    from seedfree.errors import RetryableError as RetryableError
    from seedfree.errors import SeedfreeError as SeedfreeError
    from seedfree.errors import StopRunError as StopRunError
    from seedfree.errors import TopicsExhaustedError as TopicsExhaustedError
    from seedfree.filters.grounding import GroundingFilter as GroundingFilter
    from seedfree.filters.judge import JudgeFilter as JudgeFilter
    from seedfree.filters.language import LanguageFilter as LanguageFilter
    from seedfree.filters.rules import RuleFilter as RuleFilter
    from seedfree.generators.claude import ClaudeGenerator as ClaudeGenerator
    from seedfree.generators.function import FunctionGenerator as FunctionGenerator
    from seedfree.generators.llamacpp import LlamaCppGenerator as LlamaCppGenerator
    from seedfree.generators.openai_compatible import (
        OpenAICompatibleGenerator as OpenAICompatibleGenerator,
    )
    from seedfree.languages import Language as Language
    from seedfree.native import NativeTest as NativeTest
    from seedfree.native import Without as Without
    from seedfree.native import native_test as native_test
    from seedfree.pipeline import Pipeline as Pipeline
    from seedfree.protocols import Benchmark as Benchmark
    from seedfree.protocols import ContextSource as ContextSource
    from seedfree.protocols import DiversityFilter as DiversityFilter
    from seedfree.protocols import Encoder as Encoder
    from seedfree.protocols import Filter as Filter
    from seedfree.protocols import Generator as Generator
    from seedfree.protocols import HTTPGenerator as HTTPGenerator
    from seedfree.protocols import Model as Model
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
    from seedfree.records import Suspicion as Suspicion
    from seedfree.records import Topic as Topic
    from seedfree.records import Usage as Usage
    from seedfree.run.estimate import Estimate as Estimate
    from seedfree.run.estimate import Preview as Preview
    from seedfree.run.folder import Run as Run
    from seedfree.tasks.brainstorming import Brainstorming as Brainstorming
    from seedfree.tasks.classification import Classification as Classification
    from seedfree.tasks.closed_qa import ClosedQA as ClosedQA
    from seedfree.tasks.conversation import Conversation as Conversation
    from seedfree.tasks.creative_writing import CreativeWriting as CreativeWriting
    from seedfree.tasks.extract import Extract as Extract
    from seedfree.tasks.extractive_qa import ExtractiveQA as ExtractiveQA
    from seedfree.tasks.multiple_choice import MultipleChoice as MultipleChoice
    from seedfree.tasks.open_qa import OpenQA as OpenQA
    from seedfree.tasks.reverse_instruction import ReverseInstruction as ReverseInstruction
    from seedfree.tasks.rewrite import Rewrite as Rewrite
    from seedfree.tasks.summarization import Summarization as Summarization
    from seedfree.tasks.titled_request import TitledRequest as TitledRequest
    from seedfree.training.config import QLoRAConfig as QLoRAConfig
    from seedfree.training.data import mix as mix
    from seedfree.training.exports import AxolotlExport as AxolotlExport
    from seedfree.training.exports import LlamaFactoryExport as LlamaFactoryExport
    from seedfree.training.model import TrainedModel as TrainedModel
    from seedfree.training.trainer import QLoRATrainer as QLoRATrainer

# The imports above never run: type checkers read them, and their text says where each name is.
_TEXT = (get_data(__name__, "__init__.py") or b"").decode()
_IMPORTS = re.findall(r"from (seedfree\S+) import \(?\s*(\w+) as \2", _TEXT)
_HOME = {name: module for module, name in _IMPORTS}
# Names of the version before; they go with the next one.
_RENAMED = {"calibrate": "calibrate_threshold"}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(f"sf.{name} is now sf.{new}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(_HOME[new]), new)
    if name not in _HOME:
        from seedfree.errors import did_you_mean

        meant = did_you_mean(name, _HOME)
        raise AttributeError(f"module 'seedfree' has no attribute {name!r}. {meant}".rstrip(". "))
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
