"""The records that flow through the pipeline: all frozen, all checked when they are made."""

from __future__ import annotations

import functools
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from seedfree._seeds import balanced, digest, seeded
from seedfree.text import clean, shown, unmarked

__all__ = [
    "KEYS",
    "SOURCE_KEYS",
    "Check",
    "Context",
    "Example",
    "Instruction",
    "Likelihood",
    "Message",
    "Prompt",
    "Question",
    "Reply",
    "Selection",
    "Share",
    "Source",
    "Suspicion",
    "Topic",
    "Usage",
    "altered",
    "schema_of",
]

# The columns of a published row, in order.
KEYS = (
    "id",
    "task",
    "language",
    "instruction",
    "input",
    "output",
    "messages",
    "topic",
    "topic_kind",
    "source",
    "generator",
    "evidence",
    "facets",
    "checks",
)
SOURCE_KEYS = (
    "kind",
    "title",
    "url",
    "revision",
    "license",
    "retrieved_at",
    "fictional",
    "page_id",
)

T = TypeVar("T")

# The place in a document of several pages or chapters.
_PLACE = re.compile(r"(?<=\.pdf)#page=\d+$|(?<=\.epub)#[^#]*$", re.IGNORECASE)
# Prompts name a topic between quotes; a title that brings its own must not end them.
_QUOTES = str.maketrans(dict.fromkeys('"“”', "'"))


def _clean(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


# Cleaned when a record is made, so that whatever a model or a page says fits into a UTF-8 file.
Text = Annotated[str, BeforeValidator(_clean)]


@dataclass(frozen=True)
class Topic:
    """What a text is about.

    Attributes:
        text: A few words in the language.
        kind: Where it came from: asked for in general, asked for as part of the culture, or given
            by the user. Empty for the title of a page that was drawn at random.
        position: Its place in the run's stream of topics, from 0.
        cell: The words of the language's facets that its request was about; empty for a topic that
            was not asked for.
    """

    text: Text
    kind: Literal["general", "cultural", "given", ""] = "given"
    position: int = 0
    cell: Text = ""


@dataclass(frozen=True)
class Source:
    """Where the text of a row comes from.

    Attributes:
        kind: `"wikipedia"`, `"document"`, `"written"` (by the LLM), `"topic"` (no text at all), or
            a user's own word.
        url: An address, or the name of a file in its folder. It may lead to a place within the
            document: `a.pdf#page=3`, `b.epub#ch2.xhtml`.
        revision: Revision id of a wiki page, or content hash of a document.
        license: SPDX identifier, where it is known.
        retrieved_at: ISO 8601 in UTC: the time that the ledger kept.
        fictional: Whether the text is made up. Nothing in it is asked as knowledge.
        page_id: Of a wiki page, its number there, which stays when the page gets another title.
    """

    kind: Text = "topic"
    title: Text | None = None
    url: Text | None = None
    revision: Text | None = None
    license: Text | None = None
    retrieved_at: Text | None = None
    fictional: bool = False
    page_id: Text | None = None

    @property
    def document(self) -> str | None:
        """Returns the `url` of the whole document, whatever place in it the text is from."""
        return self.url and _PLACE.sub("", self.url)


@dataclass(frozen=True)
class Share:
    """A text that is drawn in a share of all draws.

    Attributes:
        share: Whole per cent, at least 1.
    """

    text: Text
    share: Annotated[int, Field(ge=1, le=100)]


@dataclass(frozen=True)
class Context:
    """A text to write instructions about. From an extension `Context(text=...)` is enough.

    Attributes:
        text: Empty for the tasks that work from a topic alone.
        title: The page's and section's title.
        seed, position: The run's seed and this context's place in the run's stream of contexts,
            filled in by the pipeline.
    """

    text: Text = ""
    title: Text | None = None
    topic: Topic | None = None
    language: str = ""
    source: Source = field(default_factory=Source)
    seed: int = 0
    position: int = 0

    @functools.cached_property
    def id(self) -> str:
        """Names the text and its topic by 16 hexadecimal digits."""
        return digest(self.text, self._topic_text, self.source.revision)

    @property
    def _topic_text(self) -> str:
        return self.topic.text if self.topic else ""

    def random(self, *salt: object) -> random.Random:
        """Returns the random numbers of this place in the run, the same in each run of the seed."""
        return seeded(self.seed, self.position, *salt)

    def draw(self, items: Sequence[T], *salt: object) -> T:
        """Draws an item for this place in the run. Over the run each is drawn equally often."""
        return balanced(items, self.position, self.seed, *salt)

    def draw_share(self, shares: Sequence[Share], *salt: object) -> str:
        """Draws a text for this place in the run. Over the run each is drawn in its share."""
        unit = math.gcd(*(each.share for each in shares))
        slots = [each.text for each in shares for _ in range(each.share // unit)]
        return balanced(slots, self.position, self.seed, *salt)

    def block(self) -> str:
        """Puts title and text between delimiters that neither can close, as data of a prompt."""
        text = unmarked(f"{self.title}\n\n{self.text}" if self.title else self.text)
        # So long that nobody can search for a text whose own nonce would stand in it, the run's
        # seed known or not.
        nonce = digest(self.seed, self.position, "nonce", self.id)
        while nonce in text:
            nonce = digest(nonce)
        return f'<document id="{nonce}">\n{text}\n</document id="{nonce}">'

    def subject(self, limit: int = 200) -> str:
        """Names what the context is about on one line of at most `limit` characters."""
        text = self.topic.text if self.topic else self.text
        # White space first: a line separator that is already an escape would stay.
        line = shown(" ".join(text.split())).translate(_QUOTES)
        if len(line) > limit:
            line = f"{line[: limit - 1]}…"
        return line

    def cue(self, limit: int = 600) -> str:
        """Returns the text on one line of at most `limit` characters, cut at a space.

        A context without a text gives its topic.
        """
        line = " ".join((self.text or self._topic_text).split())
        if len(line) <= limit:
            return line
        # The first half is never cut: a language without spaces may have its last one far back.
        space = line.rfind(" ", limit // 2, limit + 1)
        return line[:space] if space > 0 else line[:limit]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


@dataclass(frozen=True)
class Check:
    """What became of a doubt about a row: see `Suspicion`.

    Attributes:
        rule, detail: Those of the suspicion.
        verdict: `"overturned"` where the LLM defended the row with a quotation, else `"upheld"`.
    """

    rule: Text
    detail: Text
    verdict: Literal["overturned", "upheld"]


@dataclass(frozen=True)
class Example:
    """A format example for base models: what is given, and the JSON text that answers it."""

    given: Text
    reply: Text


@dataclass(frozen=True)
class Instruction:
    """One row of the data set, in the Alpaca form that the paper trained on (section 3.3).

    From an extension `task, instruction, input, output` are enough. The pipeline fills in the rest.

    Attributes:
        input: The text that the instruction needs beside it. Empty where it stands alone.
        messages: All turns. Without any, they are made from instruction, input and output.
        generator: Identity of the model that wrote it.
        evidence: The words of the context on which the answer rests, where the task asks for them.
        facets: What was drawn for its request, by name: the form of the request, the length of the
            answer, the cell of its topic.
        checks: What was doubted about it, and what became of the doubts.
        context: The whole context. It is not published.
        examples: The format examples that the model was shown. They are not published.
    """

    task: Text
    instruction: Text
    output: Text
    input: Text = ""
    messages: tuple[Message, ...] = ()
    id: Text = ""
    language: Text = ""
    topic: Text = ""
    topic_kind: Text = ""
    source: Source = field(default_factory=Source)
    generator: Text = ""
    evidence: Text = ""
    facets: Mapping[str, Text] = field(default_factory=dict, hash=False)
    checks: tuple[Check, ...] = ()
    context: Context | None = field(default=None, repr=False, compare=False)
    examples: tuple[Example, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.messages:
            user = f"{self.instruction}\n\n{self.input}" if self.input else self.instruction
            turns = (Message("user", user), Message("assistant", self.output))
            # The record is frozen against everyone but its own making.
            object.__setattr__(self, "messages", turns)

    @property
    def questions(self) -> list[str]:
        """Lists what the user says: the instruction, then the other turns, without the input."""
        # A turn made of instruction and input would bring the input in again.
        joined = f"{self.instruction}\n\n{self.input}"
        turns = [m.content for m in self.messages if m.role == "user" and m.content != joined]
        return list(dict.fromkeys([self.instruction, *turns]))

    @property
    def answers(self) -> list[str]:
        """Lists what the assistant says: the output, then the other turns."""
        turns = [m.content for m in self.messages if m.role == "assistant"]
        return list(dict.fromkeys([self.output, *turns]))


def _json_schema(value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, BaseModel):
        return schema_of(value)
    return value


@dataclass(frozen=True)
class Prompt:
    """One request to a language model, whatever the provider.

    Attributes:
        schema: JSON schema of the reply. A pydantic model class becomes its JSON schema at once.
        temperature: Left out of the request where the model takes none.
        max_tokens: Of the reply; at least 1.
        top_p: The likeliest tokens that make up this share, 0 to 1, are drawn from; sent where the
            model takes it.
        facets: What was drawn for it, by name. It is not sent, and stands on the rows.
        repetition_penalty: Above 1, makes tokens that are in the text already less likely; sent
            where it is taken.
        examples: Format examples; used by base models alone.
        cue: The short form of `user` that follows the examples in a base model's document; `None`
            for `user` itself.
        seed: Sampling seed; the engine gives every sample of a prompt its own.
    """

    user: Text
    system: Text | None = None
    schema: Annotated[Mapping[str, Any] | type[BaseModel] | None, BeforeValidator(_json_schema)] = (
        None
    )
    temperature: float | None = None
    max_tokens: int = 1024
    examples: tuple[Example, ...] = ()
    cue: Text | None = None
    seed: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    facets: Mapping[str, Text] = field(default_factory=dict)

    @property
    def json_schema(self) -> Mapping[str, Any] | None:
        """Returns `schema` with the type that it has once the prompt is made."""
        return cast("Mapping[str, Any] | None", self.schema)


# No model reads or writes as many for one request. A larger count is a server's mistake.
_MOST_TOKENS = 10_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them, 0 to 10 million each."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        # A server may send any number, also one that no price can be multiplied by.
        for name in ("input_tokens", "output_tokens"):
            object.__setattr__(self, name, min(max(getattr(self, name), 0), _MOST_TOKENS))


@dataclass(frozen=True)
class Reply:
    """What a language model answered.

    Attributes:
        text: Cleaned of lone surrogates; empty for a request that failed.
        stop_reason: `"end"`, `"max_tokens"` (cut off), `"refusal"`, or the provider's own word.
        error: Why there is no usable text.
        value: What the check of `Session.generate` returned: the fields of a parsed reply.
        entry: Number of the ledger's entry that it was read from; -1 outside a run.
    """

    text: Text
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = "end"
    model: str = ""
    error: Text | None = None
    value: Any = field(default=None, compare=False, repr=False)
    entry: int = field(default=-1, compare=False, repr=False)


@dataclass(frozen=True)
class Question:
    """One item of a benchmark.

    Attributes:
        id: Unique within its benchmark.
        task: The benchmark's own word: `"closed_qa"`, `"multiple_choice"`.
        answer: The reference. Of a question with `choices`, the text of the right one.
        context: The text that the question is about. Empty where it stands alone.
        choices: The possible answers in order, where the benchmark has them as such.
        part: Which part of the benchmark it belongs to (`"culture"`, `"general"`).
        source: What it was made from (a passage, a page): questions of one source are not
            independent.
    """

    id: Text
    task: Text
    question: Text
    answer: Text
    context: Text = ""
    choices: tuple[Text, ...] = ()
    part: Text = ""
    source: Text = ""
    license: Text = ""


@dataclass(frozen=True)
class Likelihood:
    """How likely a model finds an answer.

    Attributes:
        nats: Minus the logarithm of the probability of its tokens. 0 or more.
        tokens: How many were looked at.
        size: Bytes (UTF-8) of them.
    """

    nats: float
    tokens: int
    size: int

    @property
    def bits_per_byte(self) -> float:
        """Returns what one byte of the text costs, whatever the tokenizer. NaN without a byte."""
        return self.nats / math.log(2) / self.size if self.size else math.nan


@dataclass(frozen=True)
class Selection:
    """What a diversity filter decided about n rows.

    Attributes:
        kept: Row numbers, ascending.
        duplicate_of: Length n. The kept row with the highest cosine, -1 where the row itself was
            kept.
        similarity: Length n. That cosine, NaN where the row was kept or where the filter measures
            none.
        index: What found the neighbours: `"exact"`, `"hnsw"`, or the filter's own word.
        recall: Share (0 to 1) of the duplicates in a sample that an inexact index found. `None` for
            an exact one.
        reasons: Length n. Why each row was dropped. `None` where the filter has one reason for all.
        against_ids: Ids of rows that were there before these n. A `duplicate_of` of n + j is number
            j of them.
    """

    kept: Any
    duplicate_of: Any
    similarity: Any
    index: str = ""
    recall: float | None = None
    reasons: Sequence[str] | None = None
    against_ids: Sequence[str] = ()

    @property
    def ratio(self) -> float:
        """Returns the share of rows that were kept, 0 to 1. It is 1 for no rows."""
        if not len(self.duplicate_of):
            return 1.0
        return len(self.kept) / len(self.duplicate_of)


@dataclass(frozen=True)
class Suspicion:
    """A doubt of a filter about a row, which the LLM may settle.

    Attributes:
        rule: What is doubted: `"filter: phrase"`. Doubts are counted by it.
        detail: What the reason of a drop says in brackets.
        words: The words of the row that the doubt is about, as they stand there.
        settled_by: Where the words stand that can settle it: in the text that the row was written
            from, or in the row itself.
    """

    rule: Text
    detail: Text = ""
    words: tuple[Text, ...] = ()
    settled_by: Literal["context", "row"] = "row"

    @property
    def reason(self) -> str:
        """Returns why a row is dropped where nobody settles the doubt."""
        return f"{self.rule} ({self.detail})" if self.detail else self.rule


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=_Record)


def altered(record: R, **values: object) -> R:
    """Copies a frozen record with other values, which must be valid: they are not checked.

    `dataclasses.replace` checks all values again and is 20 times slower.
    """
    known = record.__dict__
    copy = object.__new__(type(record))
    # Fields alone: what was computed from the old values (`Context.id`) is left behind.
    kept = {name: known[name] for name in record.__dataclass_fields__}
    copy.__dict__.update(kept, **values)
    return copy


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Returns a model's JSON schema, a new object each time, free to be changed."""
    schema: dict[str, Any] = json.loads(_schema_text(model))
    return schema


# Pydantic takes a millisecond to make a schema, and every prompt of a task needs the same one.
@functools.lru_cache
def _schema_text(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema())
