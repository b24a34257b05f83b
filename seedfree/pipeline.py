"""The stages in order: topics, contexts, instructions, filters, diversity, data set."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeGuard

import seedfree
from seedfree._views import Shown, View
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.engine.batching import endpoint_of, endpoints
from seedfree.engine.http import Transport
from seedfree.engine.loop import Clock, Threads, run_async, run_sync
from seedfree.engine.places import published
from seedfree.engine.providers import named_generator
from seedfree.engine.schema import closed_schema
from seedfree.engine.session import identity, ready
from seedfree.engine.submission import cancel_batches
from seedfree.errors import ConfigError, LedgerDamagedError, LedgerLockedError, did_you_mean
from seedfree.filters import default_filters
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.prices import price_of
from seedfree.languages import Language
from seedfree.protocols import (
    ContextSource,
    DiversityFilter,
    Filter,
    Generator,
    HTTPGenerator,
    TaskTemplate,
)
from seedfree.records import Context, Source, Topic
from seedfree.run.estimate import Estimate, Preview, batch_share, estimated
from seedfree.run.execution import execute
from seedfree.run.folder import Run, after_interrupt
from seedfree.run.jobs import prompt_of
from seedfree.run.planning import Balance
from seedfree.run.previews import is_ours, preview_folders
from seedfree.run.settings import describe, fingerprint
from seedfree.run.stages import Options, Stages, check_topics

__all__ = ["Pipeline"]

_LOG = logging.getLogger("seedfree")
# Other modes would show prompts and replies to every user of the machine.
_MODES = (None, 0o700, 0o750, 0o770)


@dataclass(repr=False)
class Pipeline(Shown):
    """From a language and an LLM to an instruction data set.

    Args:
        language: A code (`"th"`), an English name, or a `Language`.
        generator: The LLM: an object, or a word such as `"ollama/qwen3:8b"`.
        contexts: Where texts come from; each source may carry a `share`. Default: texts that the
            LLM writes.
        tasks: The kinds of instruction, in equal numbers. Default: closed QA, summarization,
            conversation and multiple choice. `"wide"` for all kinds, `"wangchan"` for the seven of
            WangchanThaiInstruct, `"small"` for two that ask a small base model only to choose.
        filters: `"default"` for the language's rules, language and grounding; a list; `[]` for
            none.
        diversity: Removes near-duplicates: one filter or a list, each of which sees what those
            before it left. Default: BGE-M3 at cosine 0.95 (paper section 3.4); `None` for none.
        topics: `None` to have them generated; your own strings (kind `"given"`); or `"pages"` for
            titles of a `WikipediaDump`, drawn with the seed (no kind).
        cultural_share: Of generated topics, 0 to 1.
        topics_per_request: Generated topics that one request asks for, 1 to 20. The paper's code
            asks for 20, all of one cell of the facets; a few of each keep the first rows varied.
        topic_limit: Generated or drawn topics at most; `None` for as many as the rows need.
        appeal: The LLM that is asked about rows that a filter doubts (`Suspicion`), also by a word.
            `"same"` is the one that wrote them, and none where that is a base model. With `None`, a
            doubt drops the row.
        repair: How often, 0 or 1, a row is asked for again whose doubts are upheld.
        balance: `"fill"`: where a task gives less than its share, good rows of the others fill up.
            `"strict"`: every task gives its share and no more.

    Raises:
        ConfigError: A setting is wrong.
    """

    language: str | Language
    generator: str | Generator
    contexts: Sequence[ContextSource] | None = None
    tasks: Sequence[TaskTemplate] | Literal["wide", "wangchan", "small"] | None = None
    filters: Literal["default"] | Sequence[Filter] = "default"
    diversity: DiversityFilter | Sequence[DiversityFilter] | None = field(
        default_factory=SemanticDiversityFilter
    )
    topics: Sequence[str] | Literal["pages"] | None = None
    cultural_share: float = 0.5
    topics_per_request: int = 5
    topic_limit: int | None = None
    balance: Balance = "fill"
    appeal: str | Generator | None = "same"
    repair: int = 0

    def _has_texts_for(self, task: object) -> bool:
        """Tells whether a task could ask about the texts that there will be, as far as is known."""
        from seedfree.contexts.written import WrittenContexts

        sources = self.contexts or ()
        if not isinstance(task, TaskTemplate) or not isinstance(sources, Sequence):
            return True
        if not task.needs_context or not sources:
            return True
        if not all(isinstance(source, WrittenContexts) for source in sources):
            return True
        return task.suits(Context("-", source=Source("written")))

    def __post_init__(self) -> None:
        from seedfree.contexts.written import WrittenContexts
        from seedfree.tasks import default_tasks, small_tasks, wangchan_tasks, wide_tasks

        self.language = Language.load(self.language)
        self.generator = named_generator(self.generator)
        self.contexts = [WrittenContexts()] if self.contexts is None else self.contexts
        presets = {
            None: default_tasks,
            "small": small_tasks,
            "wangchan": wangchan_tasks,
            "wide": wide_tasks,
        }
        if self.tasks is None or isinstance(self.tasks, str):
            if self.tasks not in presets:
                hint = 'Pass "wide", "wangchan", "small" or a list of tasks.'
                raise ConfigError(f"tasks is {self.tasks!r}", hint=hint)
            self.tasks = [task for task in presets[self.tasks]() if self._has_texts_for(task)]
        self.filters = default_filters() if self.filters == "default" else self.filters
        if isinstance(self.filters, str):
            hint = 'Pass "default", a list of filters, or [].'
            raise ConfigError(f"filters is {self.filters!r}", hint=hint)
        if isinstance(self.diversity, (list, tuple)):
            self.diversity = list(self.diversity)
        _needs(self.generator, Generator, "generator", "sf.ClaudeGenerator()")
        self.contexts = _listed(self.contexts, "contexts", ContextSource, "sf.WrittenContexts()")
        self.tasks = _listed(self.tasks, "tasks", TaskTemplate, "sf.ClosedQA()")
        self.filters = _listed(self.filters, "filters", Filter, "sf.RuleFilter()")
        for each in self._diversity:
            _needs(each, DiversityFilter, "diversity", "sf.SemanticDiversityFilter()")
        _check_encoders(self._diversity)
        _check_tasks(self.tasks)
        self._check_appeal()
        _check_models(self._stages().generators())
        for task in self.tasks:
            if not self._has_texts_for(task):
                what = f"{type(task).__name__} has no texts: the LLM writes all there are"
                raise ConfigError(what, hint="Pass sf.WikipediaSource(...) or your own texts.")
        if not self.contexts and any(task.needs_context for task in self.tasks):
            hint = "Pass a source, or tasks with needs_context = False."
            raise ConfigError("contexts is empty", hint=hint)
        check_topics(self.topics, self.contexts)
        share, limit = self.cultural_share, self.topic_limit
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ConfigError(f"cultural_share is {share!r}", hint="It lies between 0 and 1.")
        if not _is_whole(self.topics_per_request) or not 1 <= self.topics_per_request <= 20:
            wrong = f"topics_per_request is {self.topics_per_request!r}"
            raise ConfigError(wrong, hint="It is 1 to 20.")
        if self.balance not in ("fill", "strict"):
            hint = 'Use "fill" or "strict".'
            raise ConfigError(f"balance is {self.balance!r}", hint=hint)
        if limit is not None and (not _is_whole(limit) or limit < 1):
            raise ConfigError(f"topic_limit is {limit!r}", hint="It is at least 1, or None.")

    def _check_appeal(self) -> None:
        if isinstance(self.appeal, str) and "/" in self.appeal:
            self.appeal = named_generator(self.appeal)
        if isinstance(self.appeal, str) and self.appeal != "same":
            hint = 'Use "same", None, provider/model or a generator.'
            raise ConfigError(f"appeal is {self.appeal!r}", hint=hint)
        if self.appeal not in ("same", None):
            _needs(self.appeal, Generator, "appeal", "sf.ClaudeGenerator()")
        if not (_is_whole(self.repair) and self.repair in (0, 1)):
            raise ConfigError(f"repair is {self.repair!r}", hint="It is 0 or 1.")

    @classmethod
    def paper(
        cls,
        language: str | Language,
        generator: str | Generator,
        *,
        contact: str | None = None,
        api_url: str | None = None,
        encoder: Any = None,
    ) -> Pipeline:
        """Makes the pipeline as the paper's code ran it (arXiv 2411.15484).

        1,000 general and 1,000 cultural topics (the code's loop reads the general count for both),
        Wikipedia and written contexts in equal parts, five closed-QA pairs a context, all three
        fields in the diversity filter. `docs/paper.md` lists every number.

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
            topics_per_request=20,
            topic_limit=2000,
        )

    def _view(self, full: bool) -> View:
        stages = self._stages()
        topics = "generated"
        if self.topics == "pages":
            topics = "titles of pages"
        elif self.topics is not None:
            topics = f"{len(self.topics):,} given"
        elif stages.contexts and all(hasattr(source, "topics") for source in stages.contexts):
            topics = "titles of the contexts"
        facts = {
            "language": f"{stages.language.name} ({stages.language.code})",
            "generator": _label(stages.generator),
            "topics": topics,
            "contexts": ", ".join(map(_label, stages.contexts)),
            "tasks": ", ".join(task.name for task in stages.tasks),
            "filters": ", ".join(map(_label, stages.filters)),
            "diversity": ", ".join(map(_label, stages.diversity)),
        }
        return View("Pipeline", {name: value or "none" for name, value in facts.items()})

    def settings(self) -> dict[str, Any]:
        """Returns everything that decides what a run's data are, as JSON values without secrets."""
        return {name: describe(getattr(self, name)) for name in self.__dataclass_fields__}

    def ready(self) -> None:
        """Checks keys, files and packages of every component without sending anything.

        Raises:
            ConfigError: Something is missing; the message says what to do.
        """
        stages = self._stages()
        for component in stages.components:
            ready(component)
        trial = Context(text="…", topic=Topic("…"), language=stages.language.code)
        for task in stages.tasks:
            prompt = prompt_of(task, trial, stages.language)
            if prompt.json_schema is not None:
                closed_schema(prompt.json_schema)

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
        shrink: bool = False,
        mode: int | None = None,
        batch: bool = False,
        wait_for_quota: bool = False,
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
            progress: `None` for a bar in terminals and notebooks and plain lines on standard error
                elsewhere. `True` forces the bar, `False` shows nothing.
            shrink: Publish fewer rows than the folder's data set already holds.
            mode: Who may use the folder and its files: `0o770` lets its group read and write,
                `0o750` read, `0o700` nobody but the owner. `None` leaves a folder as it is, and
                makes a new one for the owner alone.
            batch: Ask in batches of the provider's (Anthropic, OpenAI), which cost half, with a
                few waits of up to 24 hours. Folder and rows are the same. What is not worth a wait
                is asked at once, at the full price.
            wait_for_quota: Where the requests of a day are used up, as in a free tier, wait for the
                next day instead of stopping.
            **injected: `clock` and `transport`, for tests.

        Returns:
            A run with status `"complete"`, `"short"` (topics or tasks ran dry) or `"stopped"`
            (budget spent, key refused, provider down: `message` says which; run it again to go on).

        Raises:
            ConfigError: A setting is wrong, before anything is sent.
            LedgerError: The folder is in use or damaged, or it is moved or removed meanwhile.
            TopicsExhaustedError: Not a single topic could be had.
            KeyboardInterrupt: Ctrl-C, or the stop button of a notebook. Its message says how many
                rows are safe and how to go on; `Run.open(out)` has them.
        """
        options: dict[str, Any] = {
            "seed": seed,
            "concurrency": concurrency,
            "budget_usd": budget_usd,
            "reuse": reuse,
        }
        options |= {"progress": progress, "shrink": shrink, "mode": mode}
        options |= {"batch": batch, "wait_for_quota": wait_for_quota}
        try:
            # Here and not on the loop: an index is built for hours, and Ctrl-C must reach it.
            prepared = self._prepared(size, _folder(out, "out"), **options, **injected)
            return run_sync(execute(self._stages(), prepared))
        except KeyboardInterrupt:
            # Its own frames are those of a wait, of which nobody learns anything.
            raise KeyboardInterrupt(after_interrupt(out)) from None

    async def arun(
        self, size: int = 5000, out: str | Path = "runs/seedfree", **options: Any
    ) -> Run:
        """Does what `run` does, with the same arguments, for async callers."""
        # Not asyncio's own threads: Python would wait for them at its end.
        threads = Threads(1)
        prepare = partial(self._prepared, size, _folder(out, "out"), **options)
        try:
            prepared = await threads.call(prepare)
        finally:
            threads.close()
        return await run_async(execute(self._stages(), prepared))

    def _prepared(
        self,
        size: int,
        out: Path,
        *,
        seed: int = 0,
        concurrency: int = 64,
        budget_usd: float | None = None,
        reuse: Iterable[str | Path] = (),
        progress: bool | None = None,
        shrink: bool = False,
        mode: int | None = None,
        batch: bool = False,
        wait_for_quota: bool = False,
        clock: Clock | None = None,
        transport: Transport | None = None,
    ) -> Options:
        """Checks what a call says, and makes the components ready."""
        _check_size(size)
        if not _is_whole(concurrency) or concurrency < 1:
            hint = "It is a whole number, at least 1."
            raise ConfigError(f"concurrency is {concurrency!r}", hint=hint)
        if not _is_whole(seed):
            raise ConfigError(f"seed is {seed!r}", hint="It is a whole number.")
        switches = {"shrink": shrink, "batch": batch, "wait_for_quota": wait_for_quota}
        for name, value in switches.items():
            if not isinstance(value, bool):
                raise ConfigError(f"{name} is {value!r}", hint="Give True or False.")
        if progress not in (None, True, False):
            raise ConfigError(f"progress is {progress!r}", hint="Give True, False or None.")
        if mode not in _MODES:
            hint = "It is 0o700, 0o750 or 0o770. For batches pass batch=True."
            raise ConfigError(f"mode is {mode!r}", hint=hint)
        if batch and endpoint_of(self.generator) is None:
            what = f"{_label(self.generator)} takes no batches"
            raise ConfigError(what, hint="Leave batch out, or use a model of Anthropic or OpenAI.")
        if budget_usd is not None:
            self._check_budget(budget_usd)
        self.ready()
        previews = takewhile(os.path.exists, self._caches(seed))
        reuse = [reuse] if isinstance(reuse, (str, Path)) else reuse
        if not isinstance(reuse, Iterable):
            raise ConfigError(f"reuse is {reuse!r}", hint="Give a list of run folders.")
        return Options(
            size=size,
            out=out,
            seed=seed,
            concurrency=concurrency,
            budget_usd=budget_usd,
            reuse=[_folder(each, "reuse") for each in reuse],
            previewed=[folder for folder in previews if folder != out],
            progress=progress,
            shrink=shrink,
            mode=mode,
            batch=batch,
            wait_for_quota=wait_for_quota,
            clock=clock,
            transport=transport,
        )

    def cancel(self, out: str | Path = "runs/seedfree", **injected: Any) -> int:
        """Asks the provider to end the batches of a run that is not on.

        What they have answered by then is paid for, and the next `run` collects it.

        Args:
            out: The run folder.
            **injected: `clock` and `transport`, for tests.

        Returns:
            How many batches were asked to end.

        Raises:
            ConfigError: The folder holds no run.
            LedgerError: The folder is in use or damaged.
            RequestError: The first batch's that could not be ended, once all others were asked to.
        """
        folder = _folder(out, "out")
        if not (folder / "ledger.sqlite").is_file():
            raise ConfigError(f"{folder} holds no run", hint="Name the folder of a run.")
        return run_sync(cancel_batches(folder, endpoints(self._stages().generators()), **injected))

    def _check_budget(self, budget_usd: object) -> None:
        if not isinstance(budget_usd, (int, float)) or not 0 < budget_usd < math.inf:
            hint = "It is an amount in US dollars, or None."
            raise ConfigError(f"budget_usd is {budget_usd!r}", hint=hint)
        if any(price_of(model) is None for model in self._stages().generators()):
            hint = "Pass price=(input, output) to the generator."
            raise ConfigError("budget_usd needs the model's price", hint=hint)

    @property
    def _diversity(self) -> list[DiversityFilter]:
        given: Any = [] if self.diversity is None else self.diversity
        return given if isinstance(given, list) else [given]

    def _stages(self) -> Stages:
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Stages(**{**parts, "diversity": self._diversity}, settings=self.settings())

    def _caches(self, seed: int) -> Iterator[Path]:
        return preview_folders(fingerprint([self.settings(), seed]))

    def preview(self, n: int = 4, *, seed: int = 0, **options: Any) -> Preview:
        """Makes a few rows to look at. Its replies are kept, and a later run takes them over.

        Args:
            n: Rows; at least 1.

        Returns:
            The rows, the dropped ones, and what was paid for: print it.
        """
        # An earlier preview may have been larger; its replies stay in the ledger all the same.
        options = {"shrink": True, **options}
        folders = filter(is_ours, self._caches(seed))
        while True:
            try:
                return Preview(self.run(n, next(folders), seed=seed, **options))
            except (LedgerLockedError, LedgerDamagedError) as error:
                _LOG.warning("%s: this preview goes into another folder", error.message)

    def estimate(
        self,
        size: int = 5000,
        *,
        sample: int = 8,
        seed: int = 0,
        batch: bool = False,
        **options: Any,
    ) -> Estimate:
        """Scales a preview of `sample` rows, which is paid for once, to a run.

        Args:
            size: Rows of the run; at least 1.
            batch: Of a run in batches. The preview is not.
        """
        _check_size(size)
        preview, stages = self.preview(sample, seed=seed, **options), self._stages()
        share = batch_share(preview.run.stats, stages.generators()) if batch else 1.0
        return estimated(preview, size, stages.most_rows(), share)


def _label(component: object) -> str:
    """Names a component by its class and, where it has them, its model, folder or threshold."""
    # Plain attributes alone: a property may load a model to say what it is.
    given = getattr(component, "__dict__", {})
    parts = [given.get(name) for name in ("model", "name", "folder", "threshold")]
    # A model may be a path with the user's name in it, or stand in a URL with a key.
    texts = [
        published(str(part))
        for part in parts
        if isinstance(part, (str, Path, int, float)) and part != ""
    ]
    return " ".join([type(component).__name__, *texts])


def _folder(path: object, setting: str) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ConfigError(f"{setting} is {path!r}", hint="Give the path of a folder.")
    # Absolute, because the working directory may change while a run is on.
    return Path(path).absolute()


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_size(size: object) -> None:
    if not _is_whole(size) or size < 1:
        raise ConfigError(f"size is {size!r}", hint="It is the number of rows wanted, at least 1.")


def _check_encoders(filters: Iterable[DiversityFilter]) -> None:
    encoders = [getattr(each, "encoder", None) for each in filters]
    names = [
        str(getattr(encoder, "identity", type(encoder).__name__))
        for encoder in encoders
        if encoder is not None
    ]
    if len(set(names)) < len(names):  # a run keeps one list of vectors for each
        same = f"Two filters in diversity have the encoder {names[0]}"
        raise ConfigError(same, hint="Give one of them all fields.")


def _check_models(models: Sequence[Generator]) -> None:
    """Refuses two LLMs that go by one name although they are not the same.

    Where the ledger's key is made from the whole request, as over HTTP, they may.
    """
    for i, model in enumerate(models):
        _needs(model, Generator, "generator of a judge", "sf.ClaudeGenerator()")
        for other in models[:i]:
            same = model is other or model == other or isinstance(model, HTTPGenerator)
            if not same and _is_named_by_code(model) and identity(model) == identity(other):
                name = published(identity(model))
                what = f"Two different generators are called {name}, and would share their replies"
                raise ConfigError(what, hint="Give each an identity, or a name, of its own.")


def _is_named_by_code(model: Generator) -> bool:
    return isinstance(model, FunctionGenerator) or not getattr(model, "identity", None)


def _check_tasks(tasks: Iterable[TaskTemplate]) -> None:
    for task in tasks:
        if not isinstance(getattr(task, "name", None), str) or not hasattr(task, "Fields"):
            lacks = f"Task {type(task).__name__} lacks a name or Fields"
            raise ConfigError(lacks, hint="See examples/own_task.py.")
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"tasks are {names}", hint="At least one, each with a name of its own.")


def _listed(value: Any, setting: str, protocol: type, example: str) -> list[Any]:
    """Returns the components of a setting as a list.

    Raises:
        ConfigError: It is no list, or holds something else.
    """
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        hint = "Pass a list, of one if need be."
        raise ConfigError(f"{setting} is {value!r}", hint=hint)
    components = list(value)
    for component in components:
        _needs(component, protocol, setting, f"[{example}]")
    return components


def _needs(component: object, protocol: type, setting: str, example: str) -> None:
    if isinstance(component, type):
        name = component.__name__
        raise ConfigError(f"{setting} holds the class {name}", hint=f"Make one: {name}().")
    if isinstance(component, (str, Mapping)):
        meant = did_you_mean(str(component), seedfree.__all__)
        hint = f"{meant}Pass for example {example}, in YAML the name or {{use: Name, ...}}."
        raise ConfigError(f"{setting}: {component!r} is no {protocol.__name__}", hint=hint)
    if not isinstance(component, protocol):
        what = f"{type(component).__name__} is not a {protocol.__name__}"
        raise ConfigError(f"{setting}: {what}", hint=f"Pass for example {example}.")
