"""The stages in order: topics, contexts, instructions, filters, diversity, data set."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.engine.batch import ready
from seedfree.engine.http import Transport
from seedfree.engine.loop import Clock, run_async, run_sync
from seedfree.engine.schema import closed_schema
from seedfree.errors import ConfigError
from seedfree.filters import default_filters
from seedfree.generators.prices import price_of
from seedfree.languages import Language
from seedfree.protocols import ContextSource, DiversityFilter, Filter, Generator, TaskTemplate
from seedfree.records import Context, Topic
from seedfree.run.estimate import Estimate, Preview, estimated
from seedfree.run.execution import Execution, Stages, asked
from seedfree.run.folder import Run, describe, fingerprint

__all__ = ["Pipeline"]


@dataclass
class Pipeline:
    """From a language and an LLM to an instruction data set.

    Args:
        language: A code (`"th"`), an English name, or a `Language`.
        generator: The LLM.
        contexts: Where texts come from; each source may carry a `share`. Default: texts that the
            LLM writes.
        tasks: The kinds of instruction, in equal numbers. Default: closed QA, summarization,
            conversation and multiple choice.
        filters: `"default"` for the language's rules, language and grounding; a list; `[]` for
            none.
        diversity: Removes near-duplicates: one filter or a list, each of which sees what those
            before it left. Default: BGE-M3 at cosine 0.95 (paper section 3.4); `None` for none.
        topics: `None` to have them generated; or strings of one's own (kind `"given"`).
        cultural_share: Of generated topics, 0 to 1.
        topic_limit: Generated topics at most; `None` for as many as the rows need.

    Raises:
        ConfigError: A setting is wrong.
    """

    language: str | Language
    generator: Generator
    contexts: Sequence[ContextSource] | None = None
    tasks: Sequence[TaskTemplate] | None = None
    filters: Literal["default"] | Sequence[Filter] = "default"
    diversity: DiversityFilter | Sequence[DiversityFilter] | None = field(
        default_factory=SemanticDiversityFilter
    )
    topics: Sequence[str] | None = None
    cultural_share: float = 0.5
    topic_limit: int | None = None

    def __post_init__(self) -> None:
        from seedfree.contexts.written import WrittenContexts
        from seedfree.tasks import default_tasks

        self.language = Language.load(self.language)
        _needs(self.generator, Generator, "generator", "sf.ClaudeGenerator()")
        self.contexts = (
            _listed(self.contexts, "contexts") if self.contexts is not None else [WrittenContexts()]
        )
        self.tasks = _listed(self.tasks, "tasks") if self.tasks is not None else default_tasks()
        if self.filters == "default":
            self.filters = default_filters()
        elif isinstance(self.filters, str):
            raise ConfigError(
                f"filters is {self.filters!r}", hint='Pass "default", a list of filters, or [].'
            )
        self.filters = _listed(self.filters, "filters")
        for each in self.contexts:
            _needs(each, ContextSource, "contexts", "[sf.WrittenContexts()]")
        for task in self.tasks:
            _needs(task, TaskTemplate, "tasks", "[sf.ClosedQA()]")
        for one in self.filters:
            _needs(one, Filter, "filters", "[sf.RuleFilter()]")
        if isinstance(self.diversity, (list, tuple)):
            self.diversity = list(self.diversity)
        for one in self._diversity:
            _needs(one, DiversityFilter, "diversity", "sf.SemanticDiversityFilter()")
        encoders = [e for d in self._diversity if (e := getattr(d, "encoder", None)) is not None]
        names = [str(getattr(e, "identity", type(e).__name__)) for e in encoders]
        if len(set(names)) < len(names):  # a run keeps one list of vectors for each
            raise ConfigError(
                f"Two filters in diversity have the encoder {names[0]}",
                hint="Give one of them all fields.",
            )
        for task in self.tasks:
            if not isinstance(getattr(task, "name", None), str) or not hasattr(task, "Fields"):
                raise ConfigError(
                    f"Task {type(task).__name__} lacks a name or Fields",
                    hint="See examples/own_task.py.",
                )
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"tasks are {names}", hint="At least one, each with a name of its own."
            )
        if not self.contexts and any(task.needs_context for task in self.tasks):
            raise ConfigError(
                "contexts is empty", hint="Pass a source, or tasks with needs_context = False."
            )
        if not isinstance(self.cultural_share, (int, float)) or not 0 <= self.cultural_share <= 1:
            raise ConfigError(
                f"cultural_share is {self.cultural_share!r}", hint="It lies between 0 and 1."
            )
        if self.topics is not None and (
            isinstance(self.topics, str)
            or not self.topics
            or not all(isinstance(t, str) for t in self.topics)
        ):
            raise ConfigError(
                "topics is not a list of strings", hint="Pass None to have topics generated."
            )
        if self.topic_limit is not None and self.topic_limit < 1:
            raise ConfigError(
                f"topic_limit is {self.topic_limit}", hint="It is at least 1, or None."
            )

    @classmethod
    def paper(
        cls,
        language: str | Language,
        generator: Generator,
        *,
        contact: str | None = None,
        api_url: str | None = None,
        encoder: Any = None,
    ) -> Pipeline:
        """The pipeline as the paper's code ran it (arXiv 2411.15484; `docs/paper.md` lists every number).

        1,000 general and 1,000 cultural topics (the code's loop reads the general count for both), Wikipedia and
        written contexts in equal parts, five closed-QA pairs a context, all three fields in the diversity filter.

        Args:
            contact: An e-mail address or URL for Wikipedia's operators; see `WikipediaSource`.
            encoder: Takes the place of BGE-M3.
        """
        from seedfree.contexts.wikipedia import WikipediaSource
        from seedfree.contexts.written import WrittenContexts
        from seedfree.tasks import paper_tasks

        return cls(
            language=language,
            generator=generator,
            contexts=[
                WikipediaSource(contact=contact, api_url=api_url, random_fallback=True),
                WrittenContexts(),
            ],
            tasks=paper_tasks(),
            filters=[],
            diversity=SemanticDiversityFilter(threshold=0.95, fields="paper", encoder=encoder),
            topic_limit=2000,
        )

    def settings(self) -> dict[str, Any]:
        """Everything that decides what a run's data are, as JSON values; no secrets."""
        return {name: describe(getattr(self, name)) for name in self.__dataclass_fields__}

    def ready(self) -> None:
        """Checks keys, files and packages of every component without sending anything.

        Raises:
            ConfigError: Something is missing; the message says what to do.
        """
        assert self.contexts is not None and self.tasks is not None
        for component in (
            self.generator,
            *self.contexts,
            *self.tasks,
            *self.filters,
            *self._diversity,
        ):
            ready(component)
        trial = Context(text="…", topic=Topic("…"), language=self._pack.code)
        for task in self.tasks:
            prompt = asked(task, trial, self._pack)
            if prompt.json_schema is not None:
                closed_schema(prompt.json_schema)

    @property
    def _pack(self) -> Language:
        return Language.load(self.language)

    def run(
        self,
        size: int = 5000,
        out: str | Path = "runs/seedfree",
        *,
        seed: int = 0,
        concurrency: int = 64,
        budget_usd: float | None = None,
        reuse: Iterable[str | Path] = (),
        progress: bool | None = None,
        **injected: Any,
    ) -> Run:
        """Makes a data set of exactly `size` rows, or goes on where an earlier call stopped.

        Args:
            size: Rows; at least 1.
            out: The run folder. Run again with the same folder, it continues without paying twice.
            seed: Decides every random choice; other seeds give other rows.
            concurrency: Requests under way at most; at least 1.
            budget_usd: Nothing is sent once this much is spent; what is in flight then is still
                paid for.
            reuse: Folders of other runs, whose replies are taken over where the request is the
                same.
            progress: `None` for a bar in terminals and notebooks and log lines elsewhere; `True`
                and `False` force it.
            **injected: `clock` and `transport`, for tests.

        Returns:
            A run with status `"complete"`, `"short"` (topics or tasks ran dry) or `"stopped"`
            (budget spent, key refused, provider down: `message` says which; run it again to go on).

        Raises:
            ConfigError: A setting is wrong, before anything is sent.
            LedgerError: The folder is in use or damaged.
            TopicsExhaustedError: Not a single topic could be had.
        """
        options: dict[str, Any] = {
            "seed": seed,
            "concurrency": concurrency,
            "budget_usd": budget_usd,
            "reuse": reuse,
        }
        return run_sync(self._run(size, Path(out), **options, progress=progress, **injected))

    async def arun(
        self, size: int = 5000, out: str | Path = "runs/seedfree", **options: Any
    ) -> Run:
        """`run` with the same arguments, for async callers."""
        return await run_async(self._run(size, Path(out), **options))

    async def _run(
        self,
        size: int,
        out: Path,
        *,
        seed: int = 0,
        concurrency: int = 64,
        budget_usd: float | None = None,
        reuse: Iterable[str | Path] = (),
        progress: bool | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
    ) -> Run:
        _check_size(size)
        if not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigError(
                f"concurrency is {concurrency!r}", hint="It is a whole number, at least 1."
            )
        if budget_usd is not None and not (
            isinstance(budget_usd, (int, float)) and 0 < budget_usd < math.inf
        ):
            raise ConfigError(
                f"budget_usd is {budget_usd!r}", hint="It is an amount in US dollars, or None."
            )
        judges = [
            llm for each in self.filters if (llm := getattr(each, "generator", None)) is not None
        ]
        if budget_usd is not None and any(
            price_of(llm) is None for llm in (self.generator, *judges)
        ):
            raise ConfigError(
                "budget_usd needs the model's price",
                hint="Pass price=(input, output) to the generator.",
            )
        self.ready()
        cache = self._cache(seed)
        reuse = [reuse] if isinstance(reuse, (str, Path)) else reuse
        folders = [*map(Path, reuse), *([cache] if cache != out and _holds_ledger(cache) else [])]
        execution = Execution(
            self._stages(),
            size=size,
            out=out,
            seed=seed,
            concurrency=concurrency,
            budget_usd=budget_usd,
            reuse=folders,
            progress=progress,
            clock=clock,
            transport=transport,
        )
        return await execution.run()

    @property
    def _diversity(self) -> list[DiversityFilter]:
        given: Any = self.diversity
        return given if isinstance(given, list) else [] if given is None else [given]

    def _stages(self) -> Stages:
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Stages(**{**parts, "diversity": self._diversity}, settings=self.settings())

    def _cache(self, seed: int) -> Path:
        """Where previews keep their replies, so that a run takes them over instead of paying again."""
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return Path(home) / "seedfree" / "previews" / fingerprint([self.settings(), seed])

    def preview(self, n: int = 4, *, seed: int = 0, **options: Any) -> Preview:
        """A few rows, to look at before a run; its replies are kept and a later run takes them over.

        Args:
            n: Rows; at least 1.

        Returns:
            The rows, the dropped ones, and what was paid for: print it.
        """
        return Preview(self.run(n, self._cache(seed), seed=seed, **options))

    def estimate(
        self, size: int = 5000, *, sample: int = 8, seed: int = 0, **options: Any
    ) -> Estimate:
        """Requests, tokens and price of a run, from a preview of `sample` rows (which is paid for, once).

        Args:
            size: Rows of the run; at least 1.
        """
        _check_size(size)
        return estimated(self.preview(sample, seed=seed, **options), size)


def _holds_ledger(folder: Path) -> bool:
    # False, too, where the folder may not be read
    return os.path.exists(folder / "ledger.sqlite")


def _check_size(size: object) -> None:
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f"size is {size!r}", hint="It is the number of rows wanted, at least 1.")


def _listed(value: Any, setting: str) -> list[Any]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise ConfigError(
            f"{setting} is {type(value).__name__}", hint="Pass a list, of one if need be."
        )
    return list(value)


def _needs(component: object, protocol: type, setting: str, example: str) -> None:
    if isinstance(component, type):
        raise ConfigError(
            f"{setting} holds the class {component.__name__}",
            hint=f"Make one: {component.__name__}().",
        )
    if not isinstance(component, protocol):
        what = f"{type(component).__name__} is not a {protocol.__name__}"
        raise ConfigError(f"{setting}: {what}", hint=f"Pass for example {example}.")
