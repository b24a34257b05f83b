"""What the library knows of each language: one TOML file a language, all of the same form.

To add a language copy `en.toml` to `<code>.toml`, translate what is in it, and leave out what does
not apply. Prompts that a file leaves out are asked in English with an order to answer in the
language. `th.toml` is the complete one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache, lru_cache, wraps
from pathlib import Path
from random import Random
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from seedfree.errors import ConfigError, did_you_mean
from seedfree.languages.checks import faults, misnamed
from seedfree.languages.segment import segment
from seedfree.records import Example, Instruction, Share

__all__ = [
    "Criterion",
    "FormatExample",
    "Gap",
    "Language",
    "Rewriting",
    "Scheme",
    "Style",
    "Work",
    "language_of",
    "language_or_bare",
    "languages",
    "segment",
]

_FOLDER = Path(__file__).parent
# A misspelled key of a file is an error and not a setting that is silently left out.
_FORBID = ConfigDict(extra="forbid")
_COPY = "Copy the form of en.toml."
# ISO 639-3 codes of the ready-made languages.
_THREE_LETTERS = {
    "eng": "en", "ind": "id", "khm": "km", "lao": "lo", "mya": "my", "swa": "sw", "swh": "sw",
    "tha": "th", "tur": "tr", "vie": "vi",
}  # fmt: skip


def _json_text(value: Any) -> str:
    # In TOML a reply may be written as a table. Models are shown it without white space.
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, config=_FORBID)
class FormatExample:
    """What a base model is shown of a task.

    Attributes:
        given: A topic or a short text.
        reply: The task's fields as JSON.
    """

    given: str
    reply: Annotated[str, BeforeValidator(_json_text)]


@dataclass(frozen=True, config=_FORBID)
class Style:
    """A kind of text that the LLM writes as context (paper section 3.2).

    Attributes:
        name: What it is called.
        prompt: The request for it.
        fiction: Whether it is made up. Its text may invent people and events, and says so to the
            model; any other invents nothing about what really exists.
    """

    name: str
    prompt: str
    fiction: bool = False


@dataclass(frozen=True, config=_FORBID)
class Work:
    """A kind of creative work.

    Attributes:
        name: What it is called.
        lengths: Lengths and forms that it can have. Each is drawn equally often.
        creative: Whether it is creative writing; else ideas and plans.
    """

    name: str
    lengths: tuple[str, ...]
    creative: bool = False


@dataclass(frozen=True, config=_FORBID)
class Scheme:
    """Classes that texts are sorted into.

    Attributes:
        name: What is asked of a text: its sentiment, its urgency ...
        text: What kind of text it is asked of.
        labels: The classes, two or more.
    """

    name: str
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True, config=_FORBID)
class Rewriting:
    """A form in which a text is to be written anew.

    Attributes:
        name: What is asked for.
        mistakes: Whether it is proofreading: then the LLM puts mistakes into the text.
    """

    name: str
    mistakes: bool = False


@dataclass(frozen=True, config=_FORBID)
class Gap:
    """A place in a sentence where a question word can stand instead of what is asked for.

    It is for languages whose questions keep the order of the sentence that answers them.

    Attributes:
        after: The word before the place. Empty for a number: then what is counted stays.
        ask: Question words, of which the model takes one.
    """

    after: str
    ask: tuple[str, ...]


@dataclass(frozen=True, config=_FORBID)
class Criterion:
    """A question about a row that a reader answers with yes or no. Yes is good.

    Attributes:
        name: A word or two.
        question: The question.
        of: What it is about, the user's `request` or the `answer`.
        grave: Whether a no makes it bad; else it is poor.
    """

    name: str
    question: str
    of: Literal["request", "answer"]
    grave: bool = False


@dataclass(frozen=True, config=_FORBID)
class Language:
    """One language: `Language.load("th")`, `Language.from_file("xx.toml")`, or made by hand.

    Attributes:
        code: ISO 639-1 (or 639-3) code.
        name: In English.
        native: In the language itself.
        script: Unicode script names, `"Thai"`, `"Latin"`.
        wikipedia: Subdomain of its Wikipedia, or `""` for none.
        persona: System prompt: a native speaker who answers in the language only.
        segmenter: Name of the word segmenter (`segment.py`). Languages that write spaces have
            `"space"`.
        digits: Ten digits, 0 to 9, where the language has its own.
        era_offset: Year of the local era minus the Gregorian year (543 for the Buddhist era), 0 for
            none.
        close: Codes of languages that language identification cannot tell from this one.
        labels: How choices are labelled.
        end_sections: Headings at which an encyclopedia article's text ends ("see also").
        refusals: How a model declines: regular expressions, in lower case.
        self_references: How a model speaks of itself: regular expressions, in lower case.
        open_endings: Ends after which something must follow: regular expressions.
        slips: Mistakes of writing that no careful answer has: regular expressions.
        joint_choices: Choices that speak of the other choices ("all of the above"), in lower case.
        label_names: What a choice is called by its label ("option $label"), in lower case.
        text_names: What the text beside a question is called ("the document").
        introductions: Words with which users begin to introduce themselves ("I am a").
        name_markers: Words before a name, for scripts without capitals.
        continuations: Words with which a clause goes on with the one before ("because").
        gaps: Where a question word can take the place of an answer, for `ExtractiveQA`.
        doubts: By the rule of a filter, a sentence that says what it doubts, with `$words`.
        numbers: Words of numbers by value, and words that stand beside numbers by kind: see
            `en.toml`.
        no_names: What looks like a name and is none: words that are written with a capital
            ("Monday", "you" in Indonesian), or that follow a marker ("this", "big").
        same_names: Words for one name that do not look alike (`["France", "French"]`).
        facets: Named lists that steer the prompts: `domains`, `culture`, `regions`, `askers`,
            `registers`, `text_lengths`, `summary_forms`.
        answer_lengths: How long answers are, with the share of each, the shortest first.
        request_forms: How users put what they want, with the share of each.
        works: Kinds of work that can be asked for.
        schemes: Ways to classify texts.
        rubric: Questions about a row, for `JudgeFilter(rubric="default")`.
        rewritings: Forms in which a text can be written anew.
        prompts: Templates by name, with `$placeholders`.
        styles: Kinds of text for written contexts.
        format_examples: By task, for base models.
        answers: Words by which an answer to a multiple-choice question is read, as regular
            expressions by kind: see `th.toml`. No row depends on them.

    Raises:
        ConfigError: A value has the wrong type, Unicode has no such script, there is no such
            segmenter, or the digits are not 0 to 9.
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
    self_references: tuple[str, ...] = ()
    open_endings: tuple[str, ...] = ()
    slips: tuple[str, ...] = ()
    joint_choices: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    text_names: tuple[str, ...] = ()
    introductions: tuple[str, ...] = ()
    name_markers: tuple[str, ...] = ()
    continuations: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = field(default=(), repr=False)
    doubts: Mapping[str, str] = field(default_factory=dict, repr=False)
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    no_names: tuple[str, ...] = ()
    same_names: tuple[tuple[str, ...], ...] = ()
    facets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict, repr=False)
    answer_lengths: tuple[Share, ...] = field(default=(), repr=False)
    request_forms: tuple[Share, ...] = field(default=(), repr=False)
    works: tuple[Work, ...] = field(default=(), repr=False)
    schemes: tuple[Scheme, ...] = field(default=(), repr=False)
    rewritings: tuple[Rewriting, ...] = field(default=(), repr=False)
    rubric: tuple[Criterion, ...] = field(default=(), repr=False)
    styles: tuple[Style, ...] = field(default=(), repr=False)
    format_examples: Mapping[str, tuple[FormatExample, ...]] = field(
        default_factory=dict, repr=False
    )
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, language: str | Language) -> Language:
        """Finds the language of a code (ISO 639-1 or 639-3) or an English name.

        Raises:
            ConfigError: No such language. The message names the nearest.
        """
        if isinstance(language, Language):
            return language
        if not isinstance(language, str):
            hint = 'Give a code such as "th".'
            raise ConfigError(f"The language is {language!r}", hint=hint)
        known = languages()
        wanted = language.strip().casefold()
        wanted = _THREE_LETTERS.get(wanted, wanted)
        for code, name in known.items():
            if wanted in (code, name.casefold()):
                return _load(code)
        meant = did_you_mean(wanted, [*known, *known.values()])
        raise ConfigError(
            f"Unknown language {language!r}",
            hint=f"{meant}Ready-made: {', '.join(known)}. "
            "For another, pass sf.Language.from_file('xx.toml').",
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Language:
        """Reads a TOML file of the form of `en.toml`.

        Raises:
            ConfigError: No such file, not TOML, or fields that are missing, unknown or wrong. The
                message names them all.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"Cannot read language file {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
        wrong, language = list(faults(data)), None
        try:
            language = cls(**data)
        except ConfigError as error:  # the rest of what it says is among the faults
            wrong = [*_invalid(error.__cause__), *wrong]
        if language is None or wrong:
            raise ConfigError(f"Language file {path}: {'; '.join(wrong)}", hint=_COPY)
        return language

    def text(self, name: str, /, **values: object) -> str:
        """Fills the `$placeholders` of the prompt template `name`. Values are never expanded again.

        A line that is one placeholder alone is left out where its value is empty.

        For a language whose file has no such prompt, the English one is used, with an order to
        answer in the language.

        Raises:
            ConfigError: No such prompt, or it has a placeholder without a value.
        """
        template, order = self.prompts.get(name), ""
        if template is None:
            template = _english("prompts", name)
            # Parts of a request, and of a row, are no request.
            if self.code != "en" and "JSON" in template:
                order = f"\n\nWrite every value in {self.name} ({self.native}) only."
        # Not str.format: prompts hold the braces of JSON, and values hold whatever a page says.
        try:
            texts = {name: str(value) for name, value in values.items()}
            lines = [line for line in template.split("\n") if texts.get(line.strip()[1:]) != ""]
            text = Template("\n".join(lines)).substitute(texts)
        except KeyError as error:
            wrong = f"Prompt {name!r} of {self.name} has ${error.args[0]}, which nothing fills in"
            raise ConfigError(wrong, hint=f"Known: {', '.join(values)}.") from error
        except ValueError as error:
            wrong = f"Prompt {name!r} of {self.name} has a $ without a name"
            raise ConfigError(wrong, hint="Write $$ for the sign.") from error
        return text.strip() + order

    def doubt(self, rule: str, words: str) -> str:
        """Says what a rule doubts, with the words in question, or those words alone.

        The sentence is English where the file has none for the rule.
        """
        sentence = self.doubts.get(rule) or _load("en").doubts.get(rule, "$words")
        return Template(sentence).safe_substitute(words=words)

    def facet(self, name: str) -> tuple[str, ...]:
        """Returns the words of a facet, or the English ones if the file has none.

        Raises:
            ConfigError: No such facet.
        """
        words: tuple[str, ...] = self.facets.get(name) or _english("facets", name)
        return words

    def shares(self, name: str) -> tuple[Share, ...]:
        """Returns `answer_lengths` or `request_forms`, the English ones if the file has none."""
        shares: tuple[Share, ...] = getattr(self, name) or getattr(_load("en"), name)
        return shares

    @property
    def schemes_known(self) -> tuple[Scheme, ...]:
        """Returns `schemes`, the English ones if the file has none."""
        return self.schemes or _load("en").schemes

    @property
    def rewritings_known(self) -> tuple[Rewriting, ...]:
        """Returns `rewritings`, the English ones if the file has none."""
        return self.rewritings or _load("en").rewritings

    @property
    def rubric_known(self) -> tuple[Criterion, ...]:
        """Returns `rubric`, the English one if the file has none."""
        return self.rubric or _load("en").rubric

    def kinds_of_work(self, *, creative: bool) -> list[Work]:
        """Returns the `works` that are creative or are not, the English ones if there are none."""
        return [work for work in self.works or _load("en").works if work.creative == creative]

    def draw_examples(self, task: str, rng: Random, n: int = 2) -> tuple[Example, ...]:
        """Draws `n` format examples of a task, or all if the file has fewer."""
        known = self.format_examples.get(task, ())
        return tuple(_example(e.given, e.reply) for e in rng.sample(known, min(n, len(known))))

    def segment(self, text: str) -> list[str]:
        """Cuts a text into words, in order, without white space.

        Raises:
            ConfigError: The segmenter's package is not installed. The message names the pip
                command.
        """
        return segment(text, self.segmenter)


# The same few examples are drawn for every prompt, and a record takes long to check.
@lru_cache
def _example(given: str, reply: str) -> Example:
    return Example(given, reply)


@cache
def _load(code: str) -> Language:
    return Language.from_file(_FOLDER / f"{code}.toml")


def _english(kind: str, name: str) -> Any:
    """Returns a prompt or facet of the English file, which has them all."""
    known = getattr(_load("en"), kind)
    if name not in known:
        hint = f"{did_you_mean(name, known)}Known: {', '.join(known)}."
        raise ConfigError(f"No language has {name!r} in its {kind}", hint=hint)
    return known[name]


def _checked(init: Callable[..., None]) -> Callable[..., None]:
    """Lets a language made by hand be refused in one line, as its file would be."""

    @wraps(init)
    def checked(self: Language, *args: Any, **values: Any) -> None:
        try:
            init(self, *args, **values)
        except ValidationError as error:
            raise ConfigError(f"Language: {'; '.join(_invalid(error))}", hint=_COPY) from error
        if wrong := list(misnamed(vars(self))):
            raise ConfigError(f"Language {self.code}: {'; '.join(wrong)}", hint=_COPY)

    return checked


# Not in __post_init__, whose errors pydantic would wrap in its own.
Language.__init__ = _checked(Language.__init__)  # type: ignore[method-assign]


def _invalid(error: BaseException | None) -> list[str]:
    if not isinstance(error, ValidationError):
        return []
    return [_fault(each) for each in error.errors(include_url=False)]


def _fault(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] != "unexpected_keyword_argument":
        return f"{place}: {error['msg']}"
    meant = did_you_mean(str(error["loc"][-1]), Language.__dataclass_fields__)
    return f"{place} is unknown. {meant}".rstrip(". ")


@cache
def languages() -> Mapping[str, str]:
    """Returns the English names of the ready-made languages by code."""
    names = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        with path.open("rb") as file:
            names[path.stem] = str(tomllib.load(file)["name"])
    return names


# No script, no markers, no refusals: filters then check only what holds in every language.
_UNDETERMINED = Language(code="und", name="Undetermined", native="", script="", persona="")


def language_of(item: Instruction, bound: Language | None) -> Language:
    """Returns the run's language, else the row's, else one without any data."""
    if bound is not None:
        return bound
    return language_or_bare(item.language)


def language_or_bare(code: str) -> Language:
    """Returns the ready-made language of a code, else one without any data."""
    try:
        return Language.load(code)
    except ConfigError:
        return _UNDETERMINED
