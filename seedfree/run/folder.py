"""A run folder: what a pipeline publishes, and how it is read again."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic_core import from_json

from seedfree._files import json_line, write_atomic, write_json
from seedfree.dataset import Dataset, from_row, to_row
from seedfree.engine.ledger import current, named
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction
from seedfree.text import clean, shown

if TYPE_CHECKING:
    from seedfree.diversity.sweep import Threshold, ThresholdSweep
    from seedfree.languages import Language

__all__ = [
    "Dropped",
    "Run",
    "Stats",
    "code_digest",
    "describe",
    "differing",
    "fingerprint",
    "known_verdicts",
    "languages_of",
    "own_code",
    "publish",
    "recorded",
    "rows_of",
]

# An extension may hold its key in a public attribute, or in one of its headers.
_SECRET = re.compile(
    r"(^|[_-])(api_?keys?|keys?|token|secrets?|password|passwd|passphrase|credentials?|authorization|cookie)$",
    re.IGNORECASE,
)
_LANGUAGE = TypeAdapter(Language)
_FIELDS_BEFORE = (
    "code", "name", "native", "script", "persona", "wikipedia", "segmenter", "digits", "era_offset", "close", "labels",
    "end_sections", "refusals", "name_markers", "facets", "prompts", "styles", "format_examples",
)  # fmt: skip
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")

_PURE = (
    "seedfree.tasks.",
    "seedfree.filters.rules",
    "seedfree.filters.language",
    "seedfree.filters.grounding",
)


@functools.cache
def code_digest() -> str:
    """A hash of all that decides what the library makes of a reply: its own files, and Python's data on Unicode."""
    digest = hashlib.sha256(unicodedata.unidata_version.encode())
    for path in sorted(Path(__file__).parents[1].rglob("*")):
        if path.suffix in (".py", ".toml", ".json"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def own_code(components: Iterable[object]) -> bool:
    """Whether components are the library's own, and pure: the same for the same row whenever they are asked."""
    return all(type(each).__module__.startswith(_PURE) for each in components)


def describe(value: Any) -> Any:
    """A component's class and public attributes as JSON values; what it names in `operational` is left out."""
    if isinstance(value, str):
        return _USERINFO.sub("", clean(value))
    if value is None or isinstance(value, (int, float, bool)):
        return value
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Language):
        return _language(value)
    if isinstance(value, BaseModel):
        return describe(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in value.items() if not _SECRET.search(str(k))}
    if isinstance(value, (set, frozenset)):
        return sorted(map(describe, value), key=str)
    if isinstance(value, (list, tuple)):
        return [describe(v) for v in value]
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    hidden = {"requests_per_minute", "tokens_per_minute", *getattr(value, "operational", ())}
    settings = {
        name: describe(each)
        for name, each in vars(value).items()
        if not (
            name.startswith("_")
            or name in hidden
            or isinstance(each, SecretStr)
            or _SECRET.search(name)
        )
    }
    identity = {"identity": value.identity} if hasattr(type(value), "identity") else {}
    return {"kind": named(type(value)), **identity, **settings}


def _language(language: Language) -> str:
    """A language by what is in its file; a field that it does not use leaves no trace, so that new ones can come."""
    content = _LANGUAGE.dump_json(language, exclude_defaults=True).decode()
    return f"{language.code} {fingerprint(json.loads(content))}"


def _language_before(language: Language) -> str:
    """What stood in the settings of a run up to 0.1.0."""
    fields = sorted(((name, getattr(language, name)) for name in _FIELDS_BEFORE), key=str)
    return f"{language.code} {hashlib.sha256(repr(fields).encode()).hexdigest()[:16]}"


def recorded(text: str, languages: Iterable[Language]) -> dict[str, Any]:
    """The settings in a ledger's first entry, in the words of this version.

    Args:
        languages: Those of the run and of its components, by which a run of an earlier version is
            told.
    """
    text = current(text)
    for language in languages:
        text = text.replace(json.dumps(_language_before(language)), json.dumps(_language(language)))
    settings: dict[str, Any] = json.loads(text)
    return settings


def languages_of(components: Iterable[object]) -> list[Language]:
    """The languages among the components' settings."""
    values = (value for each in components for value in getattr(each, "__dict__", {}).values())
    return [value for value in values if isinstance(value, Language)]


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ, `contexts.0.sections` for nested ones."""
    return sorted(_differing(was, now, ()))


def _differing(was: Any, now: Any, path: tuple[str, ...]) -> list[str]:
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        was, now = (dict(enumerate(v)) for v in (was, now))
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        names = dict.fromkeys((*was, *now))
        found = [_differing(was.get(n), now.get(n), (*path, str(n))) for n in names]
        return [name for names_found in found for name in names_found]
    return [] if was == now else [".".join(path)]


def fingerprint(settings: Any) -> str:
    """16 hexadecimal digits that name a set of settings."""
    return hashlib.sha256(
        json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()[:16]


# A published row begins with its id: {"id": "0123456789abcdef", ...
_ID = slice(8, 24)


@dataclass(frozen=True)
class Dropped(Instruction):
    """A row that was dropped, and why.

    Attributes:
        reason: The filter's word, a colon, what it found; details in brackets.
        duplicate_of: Id of the row that it resembles most, of those that this diversity filter
            kept.
        similarity: Of the two, in the diversity filter's measure (a cosine, -1 to 1, for the
            semantic one); `None` where it measures none.
    """

    reason: str = ""
    duplicate_of: str | None = None
    similarity: float | None = None

    @classmethod
    def of(
        cls, item: Instruction, reason: str, duplicate_of: str | None, similarity: float | None
    ) -> Dropped:
        """A row with the reason to drop it; the row is known to be valid and not checked again."""
        made = object.__new__(cls)
        made.__dict__.update(
            vars(item), reason=reason, duplicate_of=duplicate_of, similarity=similarity
        )
        return made


@dataclass(frozen=True)
class Stats:
    """What a run took. Requests and tokens count every reply that the data rest on, whenever it was paid for.

    Attributes:
        rows: Published rows.
        price_usd: `None` where the price of a model is not known.
        drops: Dropped rows by reason, without the details in brackets.
        retries, seconds: Of the last process that worked on it.
    """

    rows: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    price_usd: float | None = None
    topics: int = 0
    contexts: int = 0
    rounds: int = 0
    retries: int = 0
    seconds: float = 0.0
    drops: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Published rows over the seconds of the last process."""
        return self.rows / self.seconds if self.seconds else 0.0


class Run:
    """A finished or stopped run: `Run.open("runs/th")`.

    Attributes:
        path: Its folder.
        status: `"complete"`, `"short"` (topics or tasks ran dry) or `"stopped"` (run it again to go
            on).
        message: Why it is short or stopped; empty for a complete one.
        stats: See `Stats`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        state = self._json("status.json")
        self.status: str = state["status"]
        self.message: str = state.get("message", "")
        self.stats = Stats(**state["stats"])

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Reads a run folder; asks and sends nothing.

        Raises:
            ConfigError: The folder holds no run.
        """
        return cls(path)

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.path} holds no run", hint=f"Its {name} cannot be read."
            ) from error

    @cached_property
    def dataset(self) -> Dataset:
        """The published rows."""
        return Dataset.from_jsonl(self.path / "dataset.jsonl")

    @cached_property
    def dropped(self) -> Sequence[Dropped]:
        """Every dropped row with its reason, in the run's order."""
        with (self.path / "dropped.jsonl").open(encoding="utf-8", newline="\n") as lines:
            return [_dropped(json.loads(line)) for line in lines]

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Settings, counts and the SHA-256 of every published file."""
        manifest: Mapping[str, Any] = self._json("manifest.json")
        return manifest

    def threshold_sweep(
        self,
        thresholds: Iterable[Threshold],
        *,
        language: str | Language | None = None,
        seed: int = 0,
    ) -> ThresholdSweep:
        """What the semantic diversity filter keeps at each threshold, and how varied that is.

        Everything is taken from the run's folder: nothing is encoded and no request is sent. The
        rows are all that reached the filter, in the order in which it saw them. Those that it
        passed and that a later diversity filter or the quota of their task (`surplus`) then dropped
        count as kept; those that a filter before it dropped do not count at all. Rows that were
        given as `against=` are compared with as in the run.

        The measures are of equally many rows at each threshold (as many as the strictest keeps,
        drawn by the seed) and of equally many words of their instructions and outputs (at most
        100,000), since all of them move with size. Mean nearest and Vendi score are under the
        vectors of the filter's `measured_by` where it had one, else under those that it filtered by
        itself; the result says which.

        Args:
            thresholds: Cosines, or mappings from a task's name to one (`"*"` for the others).
            language: Cuts the texts into words; by default each row's own, which must then be a
                ready-made one.

        Raises:
            ConfigError: No vectors are kept, a threshold is wrong, or the language's segmenter is
                not installed.
            EncoderError: The stored vectors have no cosine.
        """
        from seedfree.diversity.sweep import threshold_sweep

        rows = [*self.dataset, *self.dropped]
        return threshold_sweep(
            self.path / "vectors", rows, thresholds, language=language, seed=seed
        )

    def __repr__(self) -> str:
        drops = ", ".join(f"{n} {why}" for why, n in Counter(self.stats.drops).most_common(4))
        why = f" ({self.message})" if self.message else ""
        return shown(
            f"Run({str(self.path)!r}: {self.status}{why}, {self.stats.rows} rows from {self.stats.requests} requests; "
            f"dropped: {drops or 'none'})"
        )


def _dropped(data: dict[str, Any]) -> Dropped:
    extra = {name: data.pop(name, None) for name in ("reason", "duplicate_of", "similarity")}
    kept = from_row(data)
    return Dropped(
        **{name: getattr(kept, name) for name in Instruction.__dataclass_fields__}, **extra
    )


def _dropped_row(dropped: Dropped) -> dict[str, Any]:
    extra = {
        "reason": dropped.reason,
        "duplicate_of": dropped.duplicate_of,
        "similarity": dropped.similarity,
    }
    return {**to_row(dropped), **extra}


def known_verdicts(path: Path) -> dict[str, str | None]:
    """What the filters said of a folder's published rows, by row id; nothing unless this very code published them."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        texts = {name: (path / name).read_bytes() for name in ("dataset.jsonl", "dropped.jsonl")}
        whole = all(
            manifest["files"][name] == hashlib.sha256(text).hexdigest()
            for name, text in texts.items()
        )
        if not whole or manifest["code"] != code_digest():
            return {}
    except (OSError, ValueError, LookupError, TypeError):  # none, or written by something else
        return {}
    kept, dropped = (text.splitlines() for text in texts.values())
    verdicts: dict[str, str | None] = {line[_ID].decode(): None for line in kept}
    for lost in map(from_json, dropped):
        passed = lost["reason"] == "surplus" or lost["reason"].startswith("diversity: ")
        verdicts[lost["id"]] = None if passed else lost["reason"]
    return verdicts


def publish(path: Path, files: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    """Writes files so that each is whole or absent; the manifest comes last and makes the run final.

    Raises:
        ConfigError: A file cannot be written.
    """
    try:
        (path / "manifest.json").unlink(missing_ok=True)
    except OSError as error:
        hint = "Make the folder writable and run it again."
        raise ConfigError(f"Cannot write {path}: {error.strerror}", hint=hint) from error
    hashes = {}
    for name, text in files.items():
        data = text.encode()
        write_atomic(path / name, [data], private=True)
        hashes[name] = hashlib.sha256(data).hexdigest()
    write_json(path / "manifest.json", {**manifest, "files": hashes})


def rows_of(items: Iterable[Instruction]) -> str:
    """JSON lines, dropped rows with their reasons."""
    return "".join(
        json_line(_dropped_row(i) if isinstance(i, Dropped) else to_row(i)) for i in items
    )
