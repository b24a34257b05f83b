"""Every contract of the library. Write one method and pass the object to `Pipeline`.

A component may also define `bind(self, session)`, called once before the first request, to reach
the run's language, its LLM and its ledger; `ready(self)`, called before anything is paid for, which
raises `ConfigError` where something is missing; and `close(self)`, called when the run ends. A
plain `def` runs in a thread; an `async def` runs on the run's event loop. Public attributes of a
component (those without a leading underscore) are its settings: they are recorded with the run, and
a run is resumed only with the same ones. Name what may change in `operational`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from seedfree.languages import Language
from seedfree.records import (
    Context,
    Example,
    Instruction,
    Prompt,
    Question,
    Reply,
    Selection,
    Topic,
)

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Benchmark",
    "ContextSource",
    "DiversityFilter",
    "Encoder",
    "Filter",
    "Generator",
    "HTTPGenerator",
    "Model",
    "Session",
    "TaskTemplate",
    "Trainer",
]


class Session(Protocol):
    """What `bind` is given: the run's language, seed, LLM and ledger."""

    @property
    def language(self) -> Language: ...

    @property
    def seed(self) -> int: ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Returns the names of the run's tasks; none outside a pipeline."""
        ...

    @property
    def grounded_tasks(self) -> frozenset[str] | None:
        """Returns the names of those whose answers must stand in the context; `None` if unknown."""
        ...

    @property
    def folder(self) -> Path | None:
        """Returns the run's folder. A component that keeps files makes a folder of its own in it."""
        ...

    async def generate(
        self,
        prompt: Prompt,
        *,
        sample: int = 0,
        check: Callable[[str], object] | None = None,
        generator: Generator | None = None,
    ) -> Reply:
        """Answers from the ledger, or asks the LLM and keeps the reply there.

        Args:
            sample: Equal prompts with different samples get replies of their own.
            check: Reads the text; what it returns becomes the reply's `value`. It raises
                `InvalidReplyError` for a text that has to be asked for again (3 times at most).
                Without it, a prompt with a schema is checked against that schema.
            generator: Another LLM than the run's.

        Returns:
            A reply; a refused, cut-off, invalid or rejected one has `.error` and empty text.

        Raises:
            StopRunError: The run cannot go on.
            RequestError: The provider failed for longer than the retries last.
        """
        ...

    async def fetch(self, key: str, fn: Callable[[], Any]) -> Any:
        """The JSON value that `fn()` (plain or async) gave for `key`, from the ledger after the first time."""
        ...


@runtime_checkable
class Generator(Protocol):
    """A language model. An `identity` attribute names it in the ledger and on every row.

    Raise `RetryableError` to be asked again; any other exception fails that request.
    """

    def generate(self, prompt: Prompt) -> Reply | Awaitable[Reply]: ...


@runtime_checkable
class HTTPGenerator(Generator, Protocol):
    """A backend as two pure functions around the engine's transport."""

    identity: str

    def request(self, prompt: Prompt) -> httpx.Request:
        """The request with its headers; its body is the part that the ledger's key is made from."""
        ...

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        """Reads an answer.

        Raises:
            RetryableError: The body is an error that may pass.
            StopRunError: The body is an error that will not pass for any request.
            RequestError: The body is an error for this request alone.
        """
        ...


@runtime_checkable
class ContextSource(Protocol):
    """Texts about a topic. An empty list sends the topic to the next source.

    A source may define `share` (its weight among the sources, 1.0 without it) and `topics()` (a
    list of `Topic` that it brings along; used instead of generated ones where every source has it).
    """

    def contexts(self, topic: Topic) -> list[Context] | Awaitable[list[Context]]: ...


class TaskTemplate(ABC):
    """A kind of instruction: how to ask for it, and how to read the answer.

    Attributes:
        name: A word in snake_case; the `task` column of the rows.
        Fields: What the LLM must answer. Set lengths (`max_length`) where the text should be
            bounded.
        grounded: The answer must stand in the context (checked by `GroundingFilter`).
        needs_context: `False` for a task that works from the topic alone; it then gets contexts
            with empty text.
        rows: Rows that one prompt asks for; sizes the first round.
    """

    name: ClassVar[str]
    Fields: ClassVar[type[BaseModel]]
    grounded: ClassVar[bool] = False
    needs_context: ClassVar[bool] = True
    rows: int = 1

    @abstractmethod
    def prompt(self, context: Context, language: Language) -> Prompt:
        """The request for one context. `schema` is filled in from `Fields` where it is not set."""

    @abstractmethod
    def instructions(self, fields: Any, context: Context) -> Iterable[Instruction]:
        """The rows in an instance of `Fields`; a `ValueError` counts as an invalid reply."""

    def examples(self, context: Context, language: Language) -> tuple[Example, ...]:
        """Two format examples for base models, drawn from the language's data for this place in the run."""
        return language.draw_examples(self.name, context.random(self.name, "examples"))


@runtime_checkable
class Filter(Protocol):
    """One reason to drop a row. `reasons` start with the filter's own word: `"language: 12 % Thai letters"`."""

    def check(self, item: Instruction) -> str | None | Awaitable[str | None]: ...


@runtime_checkable
class DiversityFilter(Protocol):
    """Removes near-duplicates among rows in the run's order. Earlier rows' fate must not depend on later rows.

    A dropped row's reason is `"diversity: near-duplicate"`, or what the filter has for an attribute `reason` in place
    of the second word; a filter of several reasons gives them in `Selection.reasons`.
    """

    def select(self, items: Sequence[Instruction]) -> Selection: ...


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors: float32, shape [n, d], rows of length 1.

    An encoder that can tell defines `unknown_share(texts) -> float`: the share of tokens that it
    does not know, 0 to 1.
    """

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@runtime_checkable
class Model(Protocol):
    """What a trainer makes. It offers itself as a generator, to be measured or to write data."""

    def as_generator(self, *, batch_size: int = 8) -> Generator:
        """The model behind the interface of every other LLM.

        Args:
            batch_size: Prompts in one batch at most; at least 1.

        Raises:
            ConfigError: `batch_size` is below 1.
        """
        ...


@runtime_checkable
class Trainer(Protocol):
    """A data set to a model.

    `train` writes everything into the folder `out`, goes on from what it finds there of the same
    training, and raises `ConfigError` before it loads a model where the data set, the model or the
    folder cannot be used.
    """

    # `Any`: a trainer may insist on a `Dataset`, which this file must not import (see FLOORS in
    # tests/test_structure.py).
    def train(self, dataset: Any, out: str | Path) -> Model: ...


@runtime_checkable
class Benchmark(Protocol):
    """Questions with reference answers, to measure a model by.

    Attributes:
        name: Stands in tables and file names.
        language: A code.
    """

    name: str
    language: str

    def questions(self) -> Sequence[Question]:
        """All questions, in the order in which they are asked and reported.

        Raises:
            ConfigError: They cannot be had; the message names the file, or the command to fetch it.
        """
        ...

    def prompt(self, question: Question) -> Prompt:
        """What a model is asked; how it decodes is added by `evaluate`."""
        ...
