"""What a run was made with: its components as plain data, to be recorded, compared and hashed.

What is recorded hangs on no place in the code: components go by public names, languages by what is
in their files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, SecretStr, TypeAdapter

from seedfree.engine.names import component_name, upgraded
from seedfree.languages import Language
from seedfree.text import clean

__all__ = [
    "describe",
    "differing",
    "differing_since",
    "fingerprint",
    "languages_of",
    "recorded",
    "secrets_of",
]

# An extension may hold its key in a public attribute, or in one of its headers.
_SECRET = re.compile(
    r"(^|[_-])(api_?keys?|keys?|token|secrets?|password|passwd|passphrase|credentials?"
    r"|authorization|cookie)$",
    re.IGNORECASE,
)
# What a tokenizer calls the marks of its texts.
_MARK = re.compile(r"(bos|eos|eot|sep|cls|pad|unk|mask|image|audio|video|special)_token$")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
# How fast a provider may be asked decides nothing about the data.
_PACE = frozenset({"requests_per_minute", "tokens_per_minute"})
_LANGUAGE = TypeAdapter(Language)
# The fields of a language that a fingerprint was made of up to 0.1.0.
_FIELDS_BEFORE = (
    "code", "name", "native", "script", "persona", "wikipedia", "segmenter", "digits", "era_offset",
    "close", "labels", "end_sections", "refusals", "name_markers", "facets", "prompts", "styles",
    "format_examples",
)  # fmt: skip


def describe(value: Any) -> Any:
    """Returns a component's class and public attributes as JSON values, without secrets.

    What the component names in `operational` is left out: it may change between two calls.
    """
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
        return [describe(each) for each in value]
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    return _component(value)


def secrets_of(value: object) -> list[str]:
    """Names what of a component, at any depth, is a key, a password or the like: `client.token`."""
    found: list[str] = []
    # Things may hold each other. They are kept here, or another could come by the same number.
    seen: dict[tuple[int, bool], object] = {}
    waiting: list[tuple[str, object, bool]] = [("", value, False)]
    while waiting:
        place, each, secret = waiting.pop()
        if isinstance(each, (str, bytes, SecretStr)):
            if each and (secret or isinstance(each, SecretStr)):
                found.append(place)
        elif (id(each), secret) not in seen and not isinstance(each, (type, ModuleType)):
            seen[id(each), secret] = each
            for name, part in _parts(each):
                named = _SECRET.search(name) and not _MARK.search(name)
                waiting.append((f"{place}.{name}".lstrip("."), part, secret or bool(named)))
    return found


def _parts(value: object) -> Iterable[tuple[str, object]]:
    """Gives what a value holds, by name or number."""
    if isinstance(value, Mapping):
        return [(str(name), each) for name, each in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(str(n), each) for n, each in enumerate(value)]
    # Attributes, those in slots too, as pickle finds them.
    state: Any = object.__getstate__(value)
    states = state if isinstance(state, tuple) else (state,)
    return [item for each in states if each for item in each.items()]


def _is_secret(name: str, value: object) -> bool:
    return isinstance(value, SecretStr) or _SECRET.search(name) is not None


def _component(value: object) -> dict[str, Any]:
    hidden = _PACE.union(getattr(value, "operational", ()))
    settings = {"kind": component_name(type(value))}
    # Where `identity` is a property it says more than the attributes: the hash of a model's file.
    if hasattr(type(value), "identity"):
        settings["identity"] = value.identity  # type: ignore[attr-defined]
    for name, each in vars(value).items():
        if not (name.startswith("_") or name in hidden or _is_secret(name, each)):
            settings[name] = describe(each)
    return settings


def _language(language: Language) -> str:
    """Names a language by what is in its file.

    A field that it does not use leaves no trace, so that new fields can come.
    """
    # What reads the answers of an evaluation decides no row.
    content = _LANGUAGE.dump_json(language, exclude_defaults=True, exclude={"answers"}).decode()
    return f"{language.code} {fingerprint(json.loads(content))}"


def _language_before(language: Language) -> str:
    """Names a language as the settings of a run did up to 0.1.0."""
    fields = sorted(((name, getattr(language, name)) for name in _FIELDS_BEFORE), key=str)
    return f"{language.code} {hashlib.sha256(repr(fields).encode()).hexdigest()[:16]}"


def recorded(text: str, languages: Iterable[Language]) -> dict[str, Any]:
    """Reads the settings in a ledger's first entry into the words of this version.

    Args:
        languages: Those of the run and its components: what an earlier version called them is
            replaced by what they are called now.
    """
    text = upgraded(text)
    for language in languages:
        text = text.replace(json.dumps(_language_before(language)), json.dumps(_language(language)))
    settings: dict[str, Any] = json.loads(text)
    return settings


def languages_of(components: Iterable[object]) -> list[Language]:
    """Returns the languages among the components' settings."""
    values = (value for each in components for value in getattr(each, "__dict__", {}).values())
    return [value for value in values if isinstance(value, Language)]


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns the names of the settings that differ, `contexts.0.sections` for nested ones."""
    return sorted(_differing(was, now, ()))


def differing_since(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns the names of the settings that differ by more than the version.

    Another version may have had no such setting, and knew another file of the same language.
    """
    fields = sorted(_differing(_of(was, now), was, ()))
    if str(was.get("language")).split()[0] == str(now.get("language")).split()[0]:
        fields = [name for name in fields if name != "language"]
    return [name for name in fields if name != "plan"]


def _of(was: Any, now: Any) -> Any:
    """Returns of `now` what `was` has, too."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return {key: _of(value, now.get(key)) for key, value in was.items()}
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [_of(a, b) for a, b in zip(was, now, strict=True)]
    return now


def _differing(was: Any, now: Any, path: tuple[str, ...]) -> list[str]:
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        was, now = (dict(enumerate(each)) for each in (was, now))
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys((*was, *now))
        nested = [_differing(was.get(key), now.get(key), (*path, str(key))) for key in keys]
        return [name for names in nested for name in names]
    return [] if was == now else [".".join(path)]


def fingerprint(settings: Any) -> str:
    """Returns 16 hexadecimal digits that name a set of settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
