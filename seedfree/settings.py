"""What a run was made with: components as plain data, to be recorded, compared and hashed."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, TypeAdapter

from seedfree.engine.entries import current, named
from seedfree.languages import Language
from seedfree.text import clean

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

__all__ = [
    "code_digest",
    "describe",
    "differing",
    "fingerprint",
    "languages_of",
    "own_code",
    "recorded",
]


@functools.cache
def code_digest() -> str:
    """A hash of all that decides what the library makes of a reply: its own files, and Python's data on Unicode."""
    digest = hashlib.sha256(unicodedata.unidata_version.encode())
    for path in sorted(Path(__file__).parent.rglob("*")):
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
