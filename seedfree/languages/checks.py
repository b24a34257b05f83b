"""All that is wrong with a language file, found at once."""

from __future__ import annotations

import json
import re
import sys
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from seedfree.errors import did_you_mean
from seedfree.languages.segment import SEGMENTERS
from seedfree.text import script_of

__all__ = ["NUMBER_KEY", "faults", "misnamed"]

# A number as a key of its words. An x says on which side it multiplies.
NUMBER_KEY = re.compile(r"(x?)(0|[1-9]\d{0,20}|0\.\d{1,4})(x?)", re.ASCII)

_ENGLISH = Path(__file__).parent / "en.toml"
_PATTERNS = ("refusals", "self_references", "open_endings", "slips")
_WORDS = (
    "joint_choices", "label_names", "text_names", "introductions", "name_markers", "no_names",
    "labels", "continuations",
)  # fmt: skip
_PHRASES = ("end_sections", *_PATTERNS, *_WORDS)
# What is compared with a text in one case.
_SMALL = ("refusals", "self_references", "joint_choices", "label_names", "text_names")


def faults(data: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with the values of a language file, each with its place.

    What has the wrong type is passed over: `Language` names that itself.
    """
    yield from misnamed(data)
    for name, lists in (("", _only(data, _PHRASES)), ("facets.", _table(data, "facets"))):
        for key, phrases in lists.items():
            if isinstance(phrases, list) and not all(map(_is_phrase, phrases)):
                yield f"{name}{key}: an entry is blank"
    for key in _SMALL:
        phrases = [each for each in _list(data, key) if isinstance(each, str)]
        if any(phrase != phrase.lower() for phrase in phrases):
            yield f"{key}: not in lower case"
    for i, name in enumerate(_list(data, "label_names")):
        if isinstance(name, str):
            yield from _placeholders(f"label_names.{i}", name, {"label"})
    for key in _PATTERNS:
        yield from _patterns(key, _list(data, key))
    prompts = _table(_english(), "prompts")
    for name, text in _table(data, "prompts").items():
        if name not in prompts:
            yield _unknown(f"prompts.{name}", name, prompts)
        elif isinstance(text, str):
            yield from _placeholders(f"prompts.{name}", text, _identifiers(prompts[name]))
    facets = _table(_english(), "facets")
    for name in _table(data, "facets"):
        if name not in facets:
            yield _unknown(f"facets.{name}", name, facets)
    for rule, text in _table(data, "doubts").items():
        if isinstance(text, str):
            yield from _placeholders(f"doubts.{rule}", text, {"words"})
    kinds = _table(_english(), "answers")
    for kind in _table(data, "answers"):
        if kind not in kinds:
            yield _unknown(f"answers.{kind}", kind, kinds)
        yield from _patterns(f"answers.{kind}", _list(data["answers"], kind))
    yield from _numbers(_table(data, "numbers"))
    for i, style in enumerate(_list(data, "styles")):
        if isinstance(style, dict) and isinstance(style.get("prompt"), str):
            yield from _placeholders(f"styles.{i}.prompt", style["prompt"], {"topic"})
    for task, examples in _table(data, "format_examples").items():
        for i, example in enumerate(examples if isinstance(examples, list) else []):
            reply = example.get("reply") if isinstance(example, dict) else None
            if isinstance(reply, str) and not _is_json(reply):
                yield f"format_examples.{task}.{i}.reply: not JSON"


def _patterns(place: str, patterns: list[Any]) -> Iterator[str]:
    for i, pattern in enumerate(patterns):
        if isinstance(pattern, str) and not _is_pattern(pattern):
            yield f"{place}.{i}: not a regular expression"


def misnamed(data: Mapping[str, Any]) -> Iterator[str]:
    """Checks what names something that Python or Unicode knows."""
    script, segmenter, digits = (data.get(key) for key in ("script", "segmenter", "digits"))
    if isinstance(script, str) and script not in _scripts(script):
        yield _unknown(f"script: {script!r}", script, _scripts(script))
    # Without one, words are those of Unicode.
    if isinstance(segmenter, str) and segmenter and segmenter not in SEGMENTERS:
        yield _unknown(f"segmenter: {segmenter!r}", segmenter, SEGMENTERS)
    if isinstance(digits, str) and digits:
        if [unicodedata.decimal(digit, None) for digit in digits] != list(range(10)):
            yield f"digits: {digits!r} is not the digits 0 to 9"


def _numbers(table: dict[str, Any]) -> Iterator[str]:
    kinds = [kind for kind in _table(_english(), "numbers") if not NUMBER_KEY.fullmatch(kind)]
    for kind, words in table.items():
        if kind not in kinds and not NUMBER_KEY.fullmatch(kind):
            yield _unknown(f"numbers.{kind}", kind, kinds)
        if isinstance(words, list) and not all(map(_is_phrase, words)):
            yield f"numbers.{kind}: an entry is blank"
    months = _list(table, "months")
    if months and len(months) != 12:
        yield f"numbers.months: {len(months)} months and not 12"


def _placeholders(place: str, text: str, wanted: set[str]) -> Iterator[str]:
    template = Template(text)
    if not template.is_valid():
        yield f"{place}: a $ without a name (write $$ for the sign)"
        return
    given = _identifiers(text)
    for name in sorted(wanted - given):
        yield f"{place}: lacks ${name}"
    for name in sorted(given - wanted):
        yield _unknown(f"{place}: ${name}", name, wanted)


def _identifiers(text: str) -> set[str]:
    return set(Template(text).get_identifiers())


def _unknown(place: str, name: str, known: Any) -> str:
    return f"{place} is unknown. {did_you_mean(name, known)}".rstrip(". ")


@cache
def _scripts(wanted: str) -> set[str]:
    """Returns the scripts of all letters, or the wanted one as soon as a letter has it.

    No letter has the script `""`, with which a file says nothing of its script.
    """
    scripts = {""}
    for char in map(chr, range(sys.maxunicode + 1)):
        scripts.add(script_of(char))
        if wanted in scripts:
            break
    return scripts


def _is_phrase(value: object) -> bool:
    return not isinstance(value, str) or bool(value.strip())


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _only(data: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: data[key] for key in keys if key in data}


def _table(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


@cache
def _english() -> dict[str, Any]:
    """Returns the file whose form every other one has."""
    return tomllib.loads(_ENGLISH.read_text(encoding="utf-8"))
