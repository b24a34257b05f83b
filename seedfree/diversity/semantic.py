"""Near-duplicates in meaning: rows whose vectors point the same way (paper section 3.4).

The way of a row: `SemanticDiversityFilter.select` makes its text, the store has or gets its vector
(`store.py`), and the index decides (`index.py`), by the nearest rows that a search finds
(`search.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from seedfree._files import is_file
from seedfree.dataset import Dataset
from seedfree.diversity.calibration import (
    ALTERNATIVES,
    identity_of,
    judge_tokens,
    judge_vectors,
    phrases,
    unit_rows,
)
from seedfree.diversity.encoders import BGEM3Encoder
from seedfree.diversity.index import RunIndex, check_index, check_threshold, greedy_select
from seedfree.diversity.lexical import check_fields
from seedfree.diversity.store import StoredVectors, VectorStore
from seedfree.diversity.vectors import Floats, Singles
from seedfree.errors import ConfigError, check_types
from seedfree.languages import Language
from seedfree.protocols import Encoder, Session
from seedfree.records import Instruction, Selection

__all__ = ["Against", "SemanticDiversityFilter", "Threshold", "as_threshold", "limits_of"]

_LOG = logging.getLogger("seedfree")
_THRESHOLD = 0.95  # Paper section 3.4.
_RECALL = 0.99  # Of the duplicates in a sample, the share below which an index is warned about.

Threshold = float | Mapping[str, float]


@dataclass
class SemanticDiversityFilter:
    """Drops a row whose cosine with an earlier kept row is above the threshold.

    An encoder that does not know the language puts all its texts in one place, and the filter would
    drop nearly everything. So an encoder is refused where more than 5 % of its tokens are unknown,
    or where more than a fifth of at least 20 pairs of unrelated rows are above the threshold. Two
    rows are unrelated if they differ in topic and page (where these are known) and share less than
    0.3 of their character trigrams, so that neither copies nor edits of a text count. `bind` tries
    the encoder on the language's own phrases, before anything is paid for.

    In a run, vectors and decisions are kept in its folder `vectors` (see `store.py`). No text is
    encoded twice, and rows that come again in the same order are not compared again, whichever
    process did so before.

    | input | answer |
    |---|---|
    | no rows | nothing kept, nothing dropped; the encoder is not loaded |
    | vectors with NaN or infinity, of zeros alone, not of length 1 | `EncoderError` |
    | vectors that are not one row a text | `EncoderError` |
    | vectors of other dimensions than before | `EncoderError`; `ConfigError` in a folder |
    | a task without a threshold | `ConfigError` |

    What single rows and thresholds of 0 and 1 give stands at `greedy_select`.

    Attributes:
        threshold: Cosine, 0 to 1; what it means depends on the encoder. By default the encoder's
            own (`TrigramEncoder` has one), else 0.95. Or one for each task by its name, with `"*"`
            for the tasks that are not named.
        encoder: `BGEM3Encoder()` by default. Its `identity` names its vectors; without one, its
            class does.
        fields: Texts of a row that count, joined by line breaks; or `"paper"` for the paper's
            `Instruction: … Context: … Output: …`, under which different questions on one page are
            near-duplicates.
        index: See `greedy_select`.
        against: Rows that are there already: a run's folder, a `Run`, a `Dataset`, a JSONL file of
            rows; or a list of these, of `Instruction` and of plain texts. A row too close to one of
            them is dropped. Their vectors are taken from their run's folder where they are there.
            Published rows carry no contexts, so that with `fields="paper"` they are compared by
            their input instead.
        measured_by: A second encoder, whose vectors of the same rows are kept with the run, so that
            diversity can be measured by another encoder than the one that filtered. It decides
            nothing.
    """

    threshold: Threshold | None = None
    encoder: Encoder | None = None
    fields: str | tuple[str, ...] = ("instruction", "output")
    index: str = "auto"
    against: Any = None
    measured_by: Encoder | None = None

    operational: ClassVar[frozenset[str]] = frozenset({"measured_by"})
    _store: VectorStore = field(init=False, repr=False, compare=False)
    _measured: VectorStore | None = field(default=None, init=False, repr=False, compare=False)
    _index: RunIndex = field(init=False, repr=False, compare=False)
    _held: StoredVectors | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        if self.encoder is None:
            self.encoder = BGEM3Encoder()
        _check_encoder(self.encoder, "encoder")
        if isinstance(self.threshold, Mapping) and not self.threshold:
            hint = "Give a cosine, or one by task, such as {'*': 0.95}."
            raise ConfigError("threshold names no task", hint=hint)
        if self.threshold is None:
            self.threshold = getattr(self.encoder, "threshold", _THRESHOLD)
        self.threshold = as_threshold(self.threshold)
        if self.measured_by is not None:
            _check_encoder(self.measured_by, "measured_by")
            if identity_of(self.measured_by) == identity_of(self.encoder):
                raise ConfigError(
                    "measured_by is the filter's own encoder",
                    hint="Measure by another one, or by none.",
                )
        if self.against is not None and not isinstance(self.against, Against):
            self.against = Against(self.against)
        if self.fields != "paper":
            self.fields = check_fields(self.fields, or_else="'paper', or ")
        check_index(self.index)
        self._open(None)

    def ready(self) -> None:
        """Raises `ConfigError` where a package is missing; loads nothing."""
        check_index(self.index)
        for encoder in self._encoders:
            if isinstance(encoder, _Ready):
                encoder.ready()

    def bind(self, session: Session) -> None:
        """Opens the run's vectors, loads the encoder and tries it on the run's language."""
        self.ready()
        for encoder in self._encoders:
            if isinstance(encoder, _Bound):
                encoder.bind(session)
        tasks = session.tasks
        self._check_names(tasks)
        folder = session.folder
        # In memory, vectors depend in their last bits on what they were encoded with: every run
        # starts from none.
        self._open(Path(folder) / "vectors" if folder is not None else None)
        if self._store.folder is not None:
            # Of a process that was killed while it wrote.
            for stale in self._store.folder.glob(".*.tmp"):
                stale.unlink(missing_ok=True)
        self.probe(session.language)
        self._hold()

    def close(self) -> None:
        """Keeps the index in the run's folder."""
        for encoder in self._encoders:
            if isinstance(encoder, _Bound):
                encoder.close()
        # It can be made again, and the run itself is over.
        with contextlib.suppress(ConfigError):
            self._index.save()

    @property
    def _encoders(self) -> list[Encoder]:
        return [each for each in (self.encoder, self.measured_by) if each is not None]

    @property
    def against_ids(self) -> list[str]:
        """Returns the ids of the rows of `against`.

        A `duplicate_of` of n + j, n being the rows selected from, is number j of these.
        """
        return self.against.ids if self.against is not None else []

    def probe(self, language: Language) -> None:
        """Tries the encoder on phrases of the language.

        Raises:
            EncoderError: It does not know the language, or returns something else than unit
                vectors.
            ConfigError: It can't be loaded.
        """
        texts = phrases(language)
        whose = f" of {language.name}"
        for encoder in self._encoders:
            judge_tokens(encoder, texts, whose)
        vectors = self._store.vectors(texts, self._encode)
        lowest = self.threshold
        if isinstance(lowest, Mapping):
            # An encoder must be of use to the task that drops the most.
            lowest = min(lowest.values())
        limits = np.full(len(texts), lowest)
        origins = [("", "")] * len(texts)
        judge_vectors(self.encoder, texts, vectors, limits, origins, whose)

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides over all rows, in order.

        Raises:
            EncoderError: The encoder does not know the rows' language, or returns something else
                than unit vectors.
            ConfigError: The encoder can't be loaded, a task has no threshold, or the run's folder
                holds other vectors.
        """
        if not items:
            return greedy_select([], 1.0, self.index)
        assert self.threshold is not None  # since __post_init__
        limits = limits_of(self.threshold, [item.task for item in items])
        texts = [self._text(item) for item in items]
        judge_tokens(self.encoder, texts)
        vectors = self._store.vectors(texts, self._encode)
        origins = [(item.topic, _place_of_origin(item)) for item in items]
        judge_vectors(self.encoder, texts, vectors, limits, origins)
        selection = self._index.select(self._hold(), vectors, limits)
        self._index.save(growth=0.1)
        _report(selection)
        self._keep_rows(items, texts, vectors)
        return replace(selection, against_ids=self.against_ids)

    def _open(self, folder: Path | None) -> None:
        self._store = VectorStore(folder, identity_of(self.encoder))
        self._index = RunIndex(self._store, self.index)
        self._measured = self._held = None
        if folder is not None and self.measured_by is not None:
            self._measured = VectorStore(folder, identity_of(self.measured_by))

    def _encode(self, texts: list[str]) -> Singles:
        # In a folder the store says what is wrong with other dimensions: it names the file.
        d = self._store.dimensions if self._store.folder is None else 0
        assert self.encoder is not None  # since __post_init__
        return unit_rows(self.encoder, texts, d)

    def _hold(self) -> StoredVectors:
        """Returns the vectors of the rows of `against`."""
        if self._held is None:
            texts = []
            if self.against is not None:
                texts = self.against.texts(self._text)
                for folder in self.against.folders:
                    other = VectorStore(folder / "vectors", self._store.identity)
                    self._store.adopt(other, texts)
            self._held = self._store.vectors(texts, self._encode)
        return self._held

    def _keep_rows(
        self, items: Sequence[Instruction], texts: list[str], vectors: StoredVectors
    ) -> None:
        """Notes which rows the vectors are of, for a sweep over thresholds."""
        ids = [item.id for item in items]
        self._store.keep_rows(ids, vectors)
        if self._measured is not None and self.measured_by is not None:
            encode = partial(unit_rows, self.measured_by)
            self._measured.keep_rows(ids, self._measured.vectors(texts, encode))

    def _check_names(self, tasks: Sequence[str]) -> None:
        """Raises `ConfigError` where the thresholds by task are not those of the run's tasks."""
        if not tasks or not isinstance(self.threshold, Mapping):
            return
        limits_of(self.threshold, tasks)
        strange = sorted(self.threshold.keys() - {"*", *tasks})
        if strange:
            raise ConfigError(
                f"threshold names the task {strange[0]}, which the run does not have",
                hint=f"Its tasks are {', '.join(sorted(tasks))}.",
            )

    def _text(self, item: Instruction) -> str:
        if self.fields == "paper":
            context = (item.context.text if item.context else "") or item.input
            return f"Instruction: {item.instruction} Context: {context} Output: {item.output}"
        return "\n".join(getattr(item, name) for name in self.fields)


def as_threshold(threshold: Threshold) -> Threshold:
    """Returns a threshold, or one by task, as floats.

    Raises:
        ConfigError: One of them is not a number from 0 to 1.
    """
    if isinstance(threshold, Mapping):
        return {str(task): check_threshold(cosine) for task, cosine in threshold.items()}
    return check_threshold(threshold)


def limits_of(threshold: Threshold, tasks: Sequence[str]) -> Floats:
    """Returns the threshold of each row, by the rows' tasks.

    Raises:
        ConfigError: A task has none.
    """
    if not isinstance(threshold, Mapping):
        return np.full(len(tasks), threshold, np.float64)
    missing = sorted(set(tasks) - threshold.keys())
    if missing and "*" not in threshold:
        noun = "task" if len(missing) == 1 else "tasks"
        raise ConfigError(
            f"threshold names no cosine for the {noun} {', '.join(missing)}",
            hint="Add it, or '*' for all others.",
        )
    return np.array([threshold.get(task, threshold.get("*")) for task in tasks], np.float64)


class Against:
    """Rows that were there already, in the order in which they are given.

    Args:
        given: A run's folder, a `Run`, a `Dataset`, an `Instruction`, the path of a JSONL file of
            rows; or any number of these and of plain texts.

    Attributes:
        rows: How many there are.
        digest: Names them; it stands in the settings of a run in place of the rows.

    Raises:
        ConfigError: Something else is given, or a path cannot be read.
    """

    def __init__(self, given: Any) -> None:
        self._items: list[Instruction | str] = []
        self._folders: list[Path] = []
        for source in _sources(given):
            self._add(source)
        rows = [item for item in self._items if isinstance(item, Instruction)]
        contexts = [row.context.text for row in rows if row.context]
        content = json.dumps([[_form(item) for item in self._items], contexts])
        self.rows = len(self._items)
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def ids(self) -> list[str]:
        """Returns `against:<id>` for each row, or its number in place of an id that it lacks.

        The prefix is there because the run's own rows may have the same ids.
        """
        names = [item.id if isinstance(item, Instruction) else "" for item in self._items]
        return [f"against:{name or number}" for number, name in enumerate(names)]

    @property
    def folders(self) -> list[Path]:
        """Returns the runs among what was given: their vectors may be there already."""
        return self._folders

    def texts(self, text_of: Callable[[Instruction], str]) -> list[str]:
        """Returns what is compared of each row."""
        return [item if isinstance(item, str) else text_of(item) for item in self._items]

    def _add(self, source: Any) -> None:
        if isinstance(source, str) and _is_path(source):
            source = Path(source)
        if isinstance(source, Path):
            if source.is_dir():
                self._folders.append(source)
                source = source / "dataset.jsonl"
                is_file(source)  # a stranger's run could have a link or a pipe there
            self._items += Dataset.from_jsonl(source)
        elif isinstance(source, (str, Instruction)):
            self._items.append(source)
        elif isinstance(source, Dataset):
            self._items += source
        elif isinstance(source, _Published):
            self._folders.append(Path(source.path))
            self._items += source.dataset
        else:
            raise ConfigError(f"against holds {type(source).__name__}", hint=_HINT)


_HINT = (
    "Use run folders, data sets, instructions or texts, such as "
    "against=['runs/th', sf.Dataset.from_jsonl(path)]."
)
# Not all fields that may be compared, whichever these will be: the digests in runs of before must
# stay as they are.
_DIGESTED = ("id", "instruction", "input", "output", "evidence", "topic")
_PATH = re.compile(r"[\w.~\\:-]*[/\\][\w./~\\:-]*", re.ASCII)


@runtime_checkable
class _Published(Protocol):
    """A `Run`, which is made in a room below this one."""

    @property
    def path(self) -> Path: ...

    @property
    def dataset(self) -> Dataset: ...


@runtime_checkable
class _Ready(Protocol):
    """An encoder that can tell before it is used what it lacks."""

    def ready(self) -> None: ...


@runtime_checkable
class _Bound(Protocol):
    """An encoder that belongs to a run while it is on."""

    def bind(self, session: Session) -> None: ...

    def close(self) -> None: ...


def _sources(given: Any) -> Iterable[Any]:
    if isinstance(given, str):
        given = Path(given)
    if isinstance(given, (Path, Instruction, _Published)):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, (bytes, dict)):
        raise ConfigError(f"against is {type(given).__name__}", hint=_HINT)
    return given


def _is_path(text: str) -> bool:
    """Tells a path from a text to compare with.

    What looks like a path is one, there or not: a run that is misspelt must not count as a text.
    """
    if _PATH.fullmatch(text):
        return True
    return os.path.isfile(os.path.join(text, "dataset.jsonl"))


def _form(item: Instruction | str) -> str | list[str]:
    """Returns what of a row goes into the digest."""
    if isinstance(item, str):
        return item
    return [getattr(item, name) for name in _DIGESTED]


def _check_encoder(encoder: object, name: str) -> None:
    if isinstance(encoder, (str, type)) or not isinstance(encoder, Encoder):
        raise ConfigError(
            f"{name} is {encoder!r}, not an object with a method encode(texts)",
            hint=f"Use {', or '.join(ALTERNATIVES.values())}.",
        )


def _place_of_origin(item: Instruction) -> str:
    """Returns where a row's text comes from; empty where nothing is known.

    Not the page that `CapDiversityFilter` counts by, which tells the documents of one file apart:
    here they are one place, and no pair of them speaks against an encoder.
    """
    source = item.source
    # A written text has its style for a title, which is no page.
    page = (source.document or source.title) if source.kind != "written" else ""
    return page or (item.context.text if item.context else "")


def _report(selection: Selection) -> None:
    if selection.recall is None:
        return
    level = logging.WARNING if selection.recall < _RECALL else logging.INFO
    _LOG.log(
        level,
        "The %s index found %.1f %% of the near-duplicates in a sample; "
        "index='exact' finds all, in more time",
        selection.index,
        100 * selection.recall,
    )
