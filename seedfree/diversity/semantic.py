"""Near-duplicates in meaning: rows whose vectors point the same way (paper section 3.4)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seedfree.dataset import Dataset
from seedfree.diversity.calibration import (
    ALTERNATIVES,
    judge_tokens,
    judge_vectors,
    phrases,
    unit_rows,
)
from seedfree.diversity.encoders import BGEM3Encoder
from seedfree.diversity.index import Ongoing, check_index, check_threshold, greedy_select
from seedfree.diversity.store import VectorStore
from seedfree.diversity.vectors import Floats, Ints
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.protocols import Encoder, Session
from seedfree.records import Instruction, Selection

__all__ = ["Against", "SemanticDiversityFilter"]

_PATH = re.compile(r"[\w.~\\:-]*[/\\][\w./~\\:-]*", re.ASCII)
_COMPARED = ("id", "instruction", "input", "output", "evidence", "topic")


class Against:
    """Rows in the order in which they are given.

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
        if isinstance(given, str):
            given = Path(given)
        one = isinstance(given, (Path, Instruction)) or hasattr(given, "dataset")
        for each in [given] if one else _iterated(given):
            self._add(each)
        forms = [
            [getattr(i, name) for name in _COMPARED] if isinstance(i, Instruction) else i
            for i in self._items
        ]
        contexts = [i.context.text for i in self._items if isinstance(i, Instruction) and i.context]
        self.rows = len(self._items)
        self.digest = hashlib.sha256(json.dumps([forms, contexts]).encode()).hexdigest()[:16]

    @property
    def ids(self) -> list[str]:
        """`against:<id>` for each row, its number without one; the run's own rows may have the same ids."""
        found = (getattr(item, "id", "") for item in self._items)
        return [f"against:{name or number}" for number, name in enumerate(found)]

    @property
    def folders(self) -> list[Path]:
        """The runs among what was given: their vectors may be there already."""
        return self._folders

    def texts(self, text_of: Callable[[Instruction], str]) -> list[str]:
        """What is compared of each row."""
        return [item if isinstance(item, str) else text_of(item) for item in self._items]

    def _add(self, each: Any) -> None:
        if isinstance(each, str):
            if _PATH.fullmatch(each) or os.path.isfile(os.path.join(each, "dataset.jsonl")):
                each = Path(each)
            else:
                self._items.append(each)
                return
        if isinstance(each, Path):
            if each.is_dir():
                self._folders.append(each)
                each = each / "dataset.jsonl"
            self._items += Dataset.from_jsonl(each)
        elif isinstance(each, Instruction):
            self._items.append(each)
        elif isinstance(each, Dataset):
            self._items += each
        elif isinstance(getattr(each, "dataset", None), Dataset):
            self._folders.append(Path(each.path))
            self._items += each.dataset
        else:
            raise ConfigError(f"against holds {type(each).__name__}", hint=_HINT)


_HINT = "Use run folders, data sets, instructions or texts, such as against=['runs/th', sf.Dataset.from_jsonl(path)]."


def _iterated(given: Any) -> Iterable[Any]:
    if not isinstance(given, Iterable) or isinstance(given, (bytes, dict)):
        raise ConfigError(f"against is {type(given).__name__}", hint=_HINT)
    return given


_LOG = logging.getLogger("seedfree")
_RECALL = 0.99
_FIELDS = ("instruction", "input", "output", "evidence", "topic")


@dataclass
class SemanticDiversityFilter:
    """Drops a row whose cosine with an earlier kept row is above the threshold.

    An encoder that does not know the language puts all its texts in one place, and the filter would
    drop nearly everything. So an encoder is refused where more than 5 % of its tokens are unknown,
    or where more than a fifth of at least 20 pairs of unrelated rows are above the threshold. Two
    rows are unrelated if they differ in topic and page (where these are known) and share less than
    0.3 of their character trigrams, so that neither copies nor edits of a text count. `bind` tries
    the encoder on the language's own phrases, before anything is paid for.

    In a run, vectors and decisions are kept in its folder `vectors` (see `store.py`): no text is
    encoded twice, and rows that come again in the same order are not compared again, whichever
    process did so before.

    | input | answer |
    |---|---|
    | no rows | nothing kept, nothing dropped; the encoder is not loaded |
    | vectors with NaN or infinity, of zeros alone, not of length 1, not one row a text | `EncoderError` |
    | vectors of other dimensions than this encoder's before | `EncoderError`; `ConfigError` for those in a folder |
    | a task without a threshold | `ConfigError` |

    What single rows and thresholds of 0 and 1 give stands at `greedy_select`.

    Attributes:
        threshold: Cosine, 0 to 1; what it means depends on the encoder. Or one for each task by its
            name, with `"*"` for the tasks that are not named.
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
            diversity can be measured by another encoder than the one that filtered. Decides
            nothing.
    """

    threshold: float | Mapping[str, float] = 0.95
    encoder: Encoder | None = None
    fields: str | tuple[str, ...] = ("instruction", "output")
    index: str = "auto"
    against: Any = None
    measured_by: Encoder | None = None

    operational: ClassVar[frozenset[str]] = frozenset({"measured_by"})
    _store: VectorStore = field(init=False, repr=False, compare=False)
    _measured: VectorStore | None = field(default=None, init=False, repr=False, compare=False)
    _ongoing: Ongoing | None = field(default=None, init=False, repr=False, compare=False)
    _held: Ints | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.threshold = _thresholds(self.threshold)
        self.encoder = BGEM3Encoder() if self.encoder is None else _checked(self.encoder, "encoder")
        if self.measured_by is not None:
            _checked(self.measured_by, "measured_by")
            if _identity(self.measured_by) == _identity(self.encoder):
                raise ConfigError(
                    "measured_by is the filter's own encoder",
                    hint="Measure by another one, or by none.",
                )
        if self.against is not None and not isinstance(self.against, Against):
            self.against = Against(self.against)
        if self.fields != "paper":
            self.fields = (self.fields,) if isinstance(self.fields, str) else tuple(self.fields)
            if not self.fields or not set(self.fields) <= set(_FIELDS):
                raise ConfigError(
                    f"fields is {self.fields!r}",
                    hint=f"Use 'paper', or one or more of {', '.join(_FIELDS)}.",
                )
        check_index(self.index)
        self._open(None)

    def ready(self) -> None:
        """Raises `ConfigError` where a package is missing; loads nothing."""
        check_index(self.index)
        for encoder in (self.encoder, self.measured_by):
            ready = getattr(encoder, "ready", None)
            if ready is not None:
                ready()

    def bind(self, session: Session) -> None:
        """Opens the run's vectors, loads the encoder and tries it on the run's language; see `probe`."""
        self.ready()
        tasks = session.tasks
        self._check_tasks(tasks)
        strange = (
            sorted(set(self.threshold) - {"*", *tasks})
            if isinstance(self.threshold, Mapping) and tasks
            else []
        )
        if strange:
            raise ConfigError(
                f"threshold names the task {strange[0]}, which the run does not have",
                hint=f"Its tasks are {', '.join(sorted(tasks))}.",
            )
        folder = session.folder
        # In memory, vectors depend in their last bits on what they were encoded with: every run
        # starts from none.
        self._open(Path(folder) / "vectors" if folder is not None else None)
        if self._store.folder is not None:
            for stale in self._store.folder.glob(".*.tmp"):
                # of a process that was killed while it wrote
                stale.unlink(missing_ok=True)
        self.probe(session.language)
        self._held = self._hold()

    def close(self) -> None:
        """Keeps the index in the run's folder."""
        if self._ongoing is not None and self._store.folder is not None:
            with contextlib.suppress(ConfigError):
                # it can be made again, and the run itself is over
                self._ongoing.save(self._store.path("index.npz"))

    @property
    def against_ids(self) -> list[str]:
        """Ids of the rows of `against`: a `duplicate_of` of n + j, n being the rows selected from, is number j."""
        return self.against.ids if self.against is not None else []

    def probe(self, language: Language) -> None:
        """Tries the encoder on phrases of the language.

        Raises:
            EncoderError: It does not know the language, or returns something else than unit
                vectors.
            ConfigError: It can't be loaded.
        """
        texts = phrases(language)
        of = f" of {language.name}"
        for encoder in (self.encoder, self.measured_by):
            judge_tokens(encoder, texts, of)
        numbers = self._store.numbers(texts, self._encode)
        limits = np.full(len(texts), min(_values(self.threshold)))
        judge_vectors(self.encoder, texts, self._at(numbers), limits, [("", "")] * len(texts), of)

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides over all rows, in order.

        Raises:
            EncoderError: The encoder does not know the rows' language, or returns something else
                than unit vectors.
            ConfigError: The encoder can't be loaded, a task has no threshold, or the run's folder
                holds other vectors.
        """
        limits = self._limits(items)
        texts = [self._text(item) for item in items]
        if not texts:
            return greedy_select([], 1.0, self.index)
        judge_tokens(self.encoder, texts)
        numbers = self._store.numbers(texts, self._encode)
        origins = [(item.topic, _page(item)) for item in items]
        judge_vectors(self.encoder, texts, self._at(numbers), limits, origins)
        selection = self._decide(numbers, limits)
        if selection.recall is not None:
            level = logging.WARNING if selection.recall < _RECALL else logging.INFO
            found = "found %.1f %% of the near-duplicates in a sample; index='exact' finds all, in more time"
            _LOG.log(level, f"The %s index {found}", selection.index, 100 * selection.recall)
        ids = [item.id for item in items]
        self._store.keep_rows(ids, numbers)
        if self._measured is not None:
            self._measured.keep_rows(ids, self._measured.numbers(texts, self._encode_measured))
        return selection

    def _open(self, folder: Path | None) -> None:
        self._store = VectorStore(folder, _identity(self.encoder))
        measured = folder is not None and self.measured_by is not None
        self._measured = VectorStore(folder, _identity(self.measured_by)) if measured else None
        self._ongoing = self._held = None

    def _decide(self, numbers: Ints, limits: Floats) -> Selection:
        store = self._store
        if self._held is None:
            self._held = self._hold()
        if self._ongoing is None and store.folder is not None:
            self._ongoing = Ongoing.load(store.path("index.npz"), self.index, self._found)
        elif self._ongoing is None:
            self._ongoing = Ongoing(self.index)
        held = len(self._held)
        numbers, limits = np.append(self._held, numbers), np.append(np.ones(held), limits)
        selection = self._ongoing.select(
            held, store.keys(numbers), limits, lambda rows: store.take(numbers[rows])
        )
        if store.folder is not None:
            self._ongoing.save(store.path("index.npz"), growth=0.1)
        return selection

    def _found(self, keys: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        numbers = self._store.find(keys)
        return self._store.take(numbers) if numbers is not None else None

    def _hold(self) -> Ints:
        """The numbers of the rows of `against`."""
        if self.against is None:
            return np.empty(0, np.int64)
        texts = self.against.texts(self._text)
        for folder in self.against.folders:
            self._store.adopt(VectorStore(folder / "vectors", self._store.identity), texts)
        return self._store.numbers(texts, self._encode)

    def _check_tasks(self, names: Iterable[str]) -> None:
        if isinstance(self.threshold, Mapping) and "*" not in self.threshold:
            missing = sorted(set(names) - set(self.threshold))
            if missing:
                raise ConfigError(
                    f"threshold names no cosine for the task {missing[0]}",
                    hint="Add it, or '*' for all others.",
                )

    def _limits(self, items: Sequence[Instruction]) -> Floats:
        if not isinstance(self.threshold, Mapping):
            return np.full(len(items), self.threshold)
        tasks = [item.task for item in items]
        self._check_tasks(tasks)
        others = self.threshold.get("*", 1.0)
        return np.array([self.threshold.get(task, others) for task in tasks], np.float64)

    def _text(self, item: Instruction) -> str:
        if self.fields == "paper":
            context = (item.context.text if item.context else "") or item.input
            return f"Instruction: {item.instruction} Context: {context} Output: {item.output}"
        return "\n".join(getattr(item, name) for name in self.fields)

    def _at(self, numbers: Ints) -> Callable[[Ints], NDArray[np.float32]]:
        return lambda rows: self._store.take(numbers[rows])

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        return unit_rows(
            self.encoder, texts, self._store.dimensions if self._store.folder is None else 0
        )

    def _encode_measured(self, texts: list[str]) -> NDArray[np.float32]:
        return unit_rows(self.measured_by, texts)


def _checked(encoder: Any, name: str) -> Any:
    if isinstance(encoder, str | type) or not callable(getattr(encoder, "encode", None)):
        raise ConfigError(
            f"{name} is {encoder!r}, not an object with a method encode(texts)",
            hint=f"Use {', or '.join(ALTERNATIVES.values())}.",
        )
    return encoder


def _identity(encoder: Any) -> str:
    return str(getattr(encoder, "identity", "") or type(encoder).__name__)


def _thresholds(given: float | Mapping[str, float]) -> float | Mapping[str, float]:
    if not isinstance(given, Mapping):
        return check_threshold(given)
    if not given:
        raise ConfigError(
            "threshold names no task", hint="Give a cosine, or one by task, such as {'*': 0.95}."
        )
    return {str(task): check_threshold(each) for task, each in given.items()}


def _values(threshold: float | Mapping[str, float]) -> list[float]:
    return list(threshold.values()) if isinstance(threshold, Mapping) else [threshold]


def _page(item: Instruction) -> str:
    source = item.source
    # A written text has its style for a title, which is no page.
    page = (source.url or source.title) if source.kind != "written" else ""
    return page or (item.context.text if item.context else "")
