"""The contracts of the library. To extend it, write one method and pass the object on.

Each class below is one contract. A component of your own need not inherit from it: the right method
is enough. Only a task has to be a subclass of `TaskTemplate`. Generators, context sources, tasks,
filters and diversity filters go to `Pipeline`, encoders to `SemanticDiversityFilter`, benchmarks to
`seedfree.evaluation.evaluate`.

Three more methods are called if a component defines them:

- `ready(self)` checks that keys, files and packages are there, before anything is paid for. It
  raises `ConfigError` if something is missing, and it sends nothing.
- `bind(self, session)` is called once before the first request. The `Session` gives access to the
  run's language, seed, LLM and ledger.
- `close(self)` is called when the run ends, also if it ends with an error.

**Threads.** A plain `def` runs in a thread, as many side by side as the run's `concurrency`. An
`async def` runs on the run's event loop and must not block it.

**Settings.** The public attributes of a component (those without a leading underscore) are its
settings. They are recorded with the run, and the run can only be resumed with the same settings.
List the names of those that may change in a class attribute `operational`, a set of strings. Values
that look like secrets (a `SecretStr`, an attribute named `api_key`) are not recorded.

**Errors.** Raise ordinary Python errors. An error in a task's `instructions` makes the reply
invalid: it is asked for again and, if that does not help, becomes a dropped row. An error in a
generator fails that one request. Only a `RetryableError` sends it again. Any other error stops the
run, which can be resumed.

**Randomness.** The same replies must give the same rows again. Draw at random only from the run's
seed and a position: `Context.random` and `Context.draw` do that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

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
    Suspicion,
    Topic,
)

# For the annotations alone: a contract need not load NumPy or an HTTP client.
if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BatchEndpoint",
    "BatchResult",
    "BatchState",
    "Benchmark",
    "ContextSource",
    "DiversityFilter",
    "Encoder",
    "Filter",
    "Finding",
    "Generator",
    "HTTPGenerator",
    "Model",
    "NamesReason",
    "Send",
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
        """Returns the run's folder, in which a component may make a folder for its files."""
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
        """Returns the JSON value that `fn()` gave for `key`; after the first time from the ledger.

        Args:
            fn: Plain or async.
        """
        ...

    async def paid(self, model: object, body: bytes, sent: int, stage: str) -> None:
        """Counts a request whose answer is kept elsewhere than in the ledger, such as vectors.

        It counts towards budget and price, now and when the run goes on.

        Args:
            model: That was asked. Its price is found as a generator's is.
            body: The answer, with the usage that the server reports.
            sent: Bytes of the request's texts, for servers that report no usage.
            stage: Of the run, by its name.
        """
        ...


@runtime_checkable
class Generator(Protocol):
    """A language model.

    These attributes are used if a generator has them:

    - `identity`: a string that names the model in the ledger and on every row. A generator without
      one is named by its class. Two models with the same identity share their replies.
    - `price`: USD per million tokens, one number or (input, output). Without it the built-in list
      of prices is asked for the generator's `model`.
    - `terms`: a sentence for the data-set card about what the model's provider allows.
    - `base`: `True` for a model that continues texts. It is shown format examples, and is not asked
      about doubtful rows.
    - `requests_per_minute`, `tokens_per_minute`: caps in any 60 seconds.
    - `shows_examples`: whether it shows the model a prompt's format examples, as a base model needs
      them. A row that copies one is then doubted.
    """

    def generate(self, prompt: Prompt) -> Reply | Awaitable[Reply]:
        """Asks the model once.

        Raises:
            RetryableError: The same request may succeed later, and is sent again.
            Exception: Any other error fails this request.
        """
        ...


@runtime_checkable
class HTTPGenerator(Generator, Protocol):
    """A backend as two pure functions.

    The engine sends the request, keeps the bytes of the answer in the ledger and only then reads
    them. `generate` does the same without a ledger, for direct use.

    Attributes:
        identity: Names the model in the ledger and on every row.
        batches: Optional: a `BatchEndpoint`, for runs with `batch=True`.
    """

    identity: str

    def request(self, prompt: Prompt) -> httpx.Request:
        """Builds the request with its headers.

        The ledger's key is made from its path and body: equal prompts must give equal bytes, and
        secrets belong into the headers.
        """
        ...

    def reply(self, status: int, headers: httpx.Headers, body: bytes) -> Reply:
        """Reads an answer with a status of success. Depends on its arguments alone.

        Raises:
            RetryableError: The body is an error that may pass.
            StopRunError: The body is an error that will not pass for any request.
            RequestError: The body is an error for this request alone.
        """
        ...


@dataclass(frozen=True)
class BatchState:
    """How far a batch is.

    Attributes:
        ended: Whether nothing more comes.
        answered: Requests that are done with, however they ended.
        files: Where the results are, in the provider's words; given to `BatchEndpoint.results`.
        whole: Whether the results have a line for every request.
        fault: Why the provider took none of the requests; empty otherwise.
        too_large: Whether the fault is that so much may not be waiting at once.
    """

    ended: bool
    answered: int = 0
    files: tuple[str, ...] = ()
    whole: bool = True
    fault: str = ""
    too_large: bool = False


@dataclass(frozen=True)
class BatchResult:
    """What became of one request of a batch.

    Attributes:
        key: As it was given to `BatchEndpoint.line`.
        status: Of HTTP, as if the request had been sent alone; 0 where it was never asked.
        body: As if the request had been sent alone; where it was never asked, why.
    """

    key: str
    status: int
    body: bytes


Send: TypeAlias = "Callable[[httpx.Request], Awaitable[tuple[int, httpx.Headers, bytes]]]"


class BatchEndpoint(Protocol):
    """Where a provider answers many requests in one batch, for less and later.

    An `HTTPGenerator` that has one gives it as its attribute `batches`. Nothing here waits, tries
    again or keeps anything: `send` sends one request, and raises what its answer means
    (`RetryableError`, `StopRunError`, `RequestError`).

    Attributes:
        most_requests, most_bytes: What one batch holds at most.
    """

    most_requests: int
    most_bytes: int

    def line(self, key: str, body: bytes) -> bytes:
        """Returns a request as it stands in a batch.

        Args:
            key: Names the request in the results: 64 hexadecimal digits.
            body: As it would be sent alone.
        """
        ...

    async def marker(self, send: Send) -> str:
        """Returns what tells batches of now from later ones, for `find`."""
        ...

    async def submit(self, name: str, lines: Sequence[bytes], send: Send) -> str:
        """Submits a batch under a name of its own, and returns the provider's id."""
        ...

    async def find(self, name: str, size: int, marker: str, send: Send) -> list[str]:
        """Returns the ids of all batches that may be one whose submission got no answer."""
        ...

    async def state(self, id: str, send: Send) -> BatchState:
        """Returns how far a batch is."""
        ...

    def results(self, id: str, state: BatchState) -> list[httpx.Request]:
        """Returns the requests for the results of a batch that has ended, in lines."""
        ...

    def result(self, line: bytes) -> BatchResult | None:
        """Reads a line of the results; `None` for one that is cut off or something else."""
        ...

    async def cancel(self, id: str, send: Send) -> None:
        """Asks for the end of a batch. What is answered by then stays, and is paid for."""
        ...


@runtime_checkable
class ContextSource(Protocol):
    """A source of texts about a topic.

    A source may also define:

    - `share`: its weight among the sources, above 0. Without it the weight is 1.0.
    - `sections`: the most texts that it gives for a topic. A run looks fewer topics up if it is
      known. Without it one text is expected.
    - `topics()`: gives a list of `Topic` that the source brings along. If every source has it,
      these topics are used and none are generated. Codes and bare numbers are left out.
    - `titles(seed)`: yields titles of its pages in the order that the seed gives. They are the
      topics of a run with `topics="pages"`.
    - `counts()`: gives a dictionary of JSON values about all that it holds. It stands in the
      manifest, under `sources`.

    The run cleans the texts and leaves out those that are broken, foreign, too thin or no prose.
    """

    def contexts(self, topic: Topic) -> list[Context] | Awaitable[list[Context]]:
        """Returns texts about the topic. An empty list sends the topic to the next source.

        `Context(text=...)` is enough: the pipeline fills in the rest. A text that is about another
        topic says so (`topic`).
        """
        ...


class TaskTemplate(ABC):
    """A kind of instruction: how to ask for it, and how to read the answer.

    A task may also define `async def confirm(item, session)`, which looks at a row before the
    filters do and may ask the LLM about it. It returns the row, changed or not, or the reason to
    drop it.

    Attributes:
        name: A word in snake_case. It stands in the `task` column of the rows.
        Fields: What the LLM must answer. Set `max_length` for texts that should be bounded. The
            LLM writes the fields in their order.
        grounded: Whether the answer must stand in the context. `GroundingFilter` checks it.
        needs_context: `False` for a task that works from the topic alone. It then gets contexts
            with an empty text.
        rows: How many rows one prompt asks for. The size of the first round depends on it.
        visits: How often one text is asked about, at most. A text is visited again only when there
            are no more texts, and its rows count as near-duplicates where their `evidence` is that
            of a row before. So a task that asks more than once must fill in `evidence`.
    """

    name: ClassVar[str]
    Fields: ClassVar[type[BaseModel]]
    grounded: ClassVar[bool] = False
    needs_context: ClassVar[bool] = True
    rows: int = 1
    visits: ClassVar[int] = 1

    def suits(self, context: Context) -> bool:
        """Tells whether the task asks about a context. It is not asked about the others."""
        return True

    @abstractmethod
    def prompt(self, context: Context, language: Language) -> Prompt:
        """Returns the request for one context. Without a `schema`, it gets that of `Fields`."""

    @abstractmethod
    def instructions(self, fields: Any, context: Context) -> Iterable[Instruction]:
        """Returns the rows of one answer.

        Args:
            fields: An instance of `Fields`.
            context: The context that the prompt was made from.

        Raises:
            ValueError: The answer is not what was asked for. It is asked for again.
        """

    def examples(self, context: Context, language: Language) -> tuple[Example, ...]:
        """Draws two format examples for base models from the language's data.

        The draw depends on the context's place in the run.
        """
        return language.draw_examples(self.name, context.random(self.name, "examples"))


# What a filter says of a row.
Finding: TypeAlias = str | Suspicion | Sequence[Suspicion] | None


@runtime_checkable
class Filter(Protocol):
    """A check of single rows."""

    def check(self, item: Instruction) -> Finding | Awaitable[Finding]:
        """Returns what speaks against the row, or `None` to keep it.

        A text is the reason to drop it: a fact that nobody needs to look at. A `Suspicion`, or a
        list of them, is what only a reader can decide.

        A reason, like the rule of a suspicion, begins with the filter's own word and a colon:
        `"language: 12 % Thai letters"`. Details in brackets are left out when drops are counted by
        reason. The text that the row was written from is in `item.context`.
        """
        ...


@runtime_checkable
class DiversityFilter(Protocol):
    """A filter that looks at all rows together and removes near-duplicates.

    The reason of a dropped row is `"diversity: near-duplicate"`. A filter with an attribute
    `reason` replaces the second word by it. A filter with several reasons gives one for each row in
    `Selection.reasons`.
    """

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides which rows to keep.

        Args:
            items: Rows in the run's order. Whether a row is kept must not depend on later rows: a
                larger run begins with the same rows.
        """
        ...


@runtime_checkable
class NamesReason(Protocol):
    """A diversity filter with a word of its own for its drops.

    Attributes:
        reason: Stands in place of `near-duplicate`.
    """

    reason: str


@runtime_checkable
class Encoder(Protocol):
    """A model that turns texts into vectors.

    An encoder may also define:

    - `identity`: a string that names its vectors, which a run keeps and never asks for again. Put
      into it everything that changes a vector, such as model and maximum length. An encoder without
      one is named by its class.
    - `threshold`: the cosine above which a filter drops, where its user gives none.
    - `unknown_share(texts)`: gives the share of tokens, 0 to 1, that the encoder does not know. A
      run is refused if it is above 5 %.
    - `bind(session)` and `close()`: plain methods, called at the beginning and the end of a run. An
      encoder that pays for vectors counts its requests with `session.paid`.
    """

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns one vector for each text: shape [n, d], each row of length 1.

        The same text must always get the same vector.
        """
        ...


@runtime_checkable
class Model(Protocol):
    """A trained model. It can be measured, and write data, like every other LLM."""

    def as_generator(self, *, batch_size: int = 8) -> Generator:
        """Returns a generator that asks this model.

        Args:
            batch_size: The most prompts in one batch, at least 1.

        Raises:
            ConfigError: `batch_size` is below 1.
        """
        ...


@runtime_checkable
class Trainer(Protocol):
    """A way to make a model from a data set."""

    # `Any`: a trainer may insist on a `Dataset`, which this file must not import (see FLOORS in
    # tests/test_structure.py).
    def train(self, dataset: Any, out: str | Path) -> Model:
        """Trains a model and writes everything into the folder `out`.

        If the folder holds the beginning of the same training, it continues from there.

        Raises:
            ConfigError: The data set, the model or the folder cannot be used. Raised before a model
                is loaded.
        """
        ...


@runtime_checkable
class Benchmark(Protocol):
    """Questions with reference answers, to measure a model with.

    Attributes:
        name: Stands in tables and file names.
        language: The code of a language.
    """

    name: str
    language: str

    def questions(self) -> Sequence[Question]:
        """Returns all questions, in the order in which they are asked and reported.

        Raises:
            ConfigError: They cannot be read. The message names the file, or the command to fetch
                it.
        """
        ...

    def prompt(self, question: Question) -> Prompt:
        """Returns what a model is asked. `evaluate` adds how it decodes."""
        ...
