"""What the library knows of each language: one TOML file a language, all of the same form.

To add a language copy `en.toml` to `<code>.toml`, translate what is in it, and leave out what does
not apply. Prompts that a file leaves out are asked in English with an order to answer in the
language. `th.toml` is the complete one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import field
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from string import Template
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from seedfree.errors import ConfigError
from seedfree.languages.segment import segment
from seedfree.records import Example, Instruction

__all__ = ["FormatExample", "Language", "Style", "language_of", "languages", "segment"]

_FOLDER = Path(__file__).parent
_FORBID = ConfigDict(extra="forbid")
# ISO 639-3 codes of the ready-made languages.
_LONG = {
    "eng": "en", "ind": "id", "khm": "km", "lao": "lo", "mya": "my", "swa": "sw", "swh": "sw", "tha": "th",
    "tur": "tr", "vie": "vi",
}  # fmt: skip


@dataclass(frozen=True, config=_FORBID)
class FormatExample:
    """What a base model is shown of a task: `given` is a topic or a short text, `reply` the task's fields."""

    given: str
    reply: Annotated[str, BeforeValidator(lambda v: v if isinstance(v, str) else _compact(v))]


@dataclass(frozen=True, config=_FORBID)
class Style:
    """A kind of text that the LLM writes as context (paper section 3.2): its name and the request for it."""

    name: str
    prompt: str


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, config=_FORBID)
class Language:
    """One language: `Language.load("th")`, `Language.from_file("xx.toml")`, or made by hand.

    Attributes:
        code: ISO 639-1 (or 639-3) code.
        name: In English.
        native: In the language itself.
        script: Unicode script names, `"Thai"`, `"Latin"`.
        wikipedia: Subdomain of its Wikipedia; `""` for none.
        persona: System prompt: a native speaker who answers in the language only.
        segmenter: Name of the word segmenter (`segment.py`); `"space"` for languages that write
            spaces.
        digits: Ten digits, 0 to 9, where the language has its own.
        era_offset: Year of the local era minus the Gregorian year (543 for the Buddhist era), 0 for
            none.
        close: Codes of languages that language identification cannot tell from this one.
        labels: How choices are labelled.
        end_sections: Headings at which an encyclopedia article's text ends ("see also").
        refusals: Phrases, in lower case, with which a model declines.
        name_markers: Words before a name, for scripts without capitals.
        facets: Named lists that steer the prompts: `domains`, `culture`, `regions`, `askers`,
            `registers`, `lengths`.
        prompts: Templates by name, with `$placeholders`.
        styles: Kinds of text for written contexts.
        format_examples: By task, for base models.
    """

    code: str
    name: str
    native: str
    script: str
    persona: str
    wikipedia: str = ""
    segmenter: str = "space"
    digits: str = ""
    era_offset: int = 0
    close: tuple[str, ...] = ()
    labels: tuple[str, ...] = ("A", "B", "C", "D", "E", "F")
    end_sections: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    name_markers: tuple[str, ...] = ()
    facets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict, repr=False)
    styles: tuple[Style, ...] = field(default=(), repr=False)
    format_examples: Mapping[str, tuple[FormatExample, ...]] = field(
        default_factory=dict, repr=False
    )

    @classmethod
    def load(cls, language: str | Language) -> Language:
        """The language of a code (ISO 639-1 or 639-3) or an English name.

        Raises:
            ConfigError: No such language; the message names the nearest.
        """
        if isinstance(language, Language):
            return language
        known = languages()
        wanted = language.strip().casefold()
        wanted = _LONG.get(wanted, wanted)
        for code, name in known.items():
            if wanted in (code, name.casefold()):
                return _load(code)
        near = get_close_matches(wanted, [*known, *(n.casefold() for n in known.values())], n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"Unknown language {language!r}",
            hint=f"{hint}Ready-made: {', '.join(known)}. For another, pass sf.Language.from_file('xx.toml').",
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Language:
        """Reads a TOML file of the form of `en.toml`.

        Raises:
            ConfigError: No such file, not TOML, or a field that is missing, unknown or of the wrong
                type.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**data)
        except OSError as error:
            raise ConfigError(f"Cannot read language file {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
        except (ValidationError, TypeError) as error:
            what = error.errors()[0] if isinstance(error, ValidationError) else None
            where = ".".join(map(str, what["loc"])) + ": " + what["msg"] if what else str(error)
            raise ConfigError(
                f"Language file {path}: {where}", hint="Copy the form of en.toml."
            ) from error

    def text(self, name: str, /, **values: object) -> str:
        """The prompt template `name` with its `$placeholders` filled in; values are never expanded again.

        In a language whose file has no such prompt, the English one and an order to answer in the language.
        """
        template, order = self.prompts.get(name), ""
        if template is None:
            template = _load("en").prompts[name]
            if self.code != "en":
                order = f"\n\nWrite every value in {self.name} ({self.native}) only."
        return Template(template).substitute({k: str(v) for k, v in values.items()}).strip() + order

    def facet(self, name: str) -> tuple[str, ...]:
        """The words of a facet; the English ones where the file has none."""
        return self.facets.get(name) or _load("en").facets[name]

    def draw_examples(self, task: str, rng: Random, n: int = 2) -> tuple[Example, ...]:
        """`n` format examples of a task, or fewer where the file has fewer."""
        known = self.format_examples.get(task, ())
        return tuple(_example(e.given, e.reply) for e in rng.sample(known, min(n, len(known))))

    def segment(self, text: str) -> list[str]:
        """Words of a text, in order, without white space.

        Raises:
            ConfigError: The segmenter's package is not installed; the message names the pip
                command.
        """
        return segment(text, self.segmenter)


@lru_cache
def _example(given: str, reply: str) -> Example:
    return Example(given, reply)


@cache
def _load(code: str) -> Language:
    return Language.from_file(_FOLDER / f"{code}.toml")


@cache
def languages() -> Mapping[str, str]:
    """Codes and English names of the ready-made languages."""
    names = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        with path.open("rb") as file:
            names[path.stem] = str(tomllib.load(file)["name"])
    return names


_NEUTRAL = Language(code="und", name="Undetermined", native="", script="", persona="")


def language_of(item: Instruction, bound: Language | None) -> Language:
    """The run's language, else the row's; one without any data where neither is known."""
    if bound is not None:
        return bound
    try:
        return Language.load(item.language) if item.language else _NEUTRAL
    except ConfigError:
        return _NEUTRAL
