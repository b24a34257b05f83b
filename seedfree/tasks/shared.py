"""What the tasks of this folder share: the ranges of their settings and the schema of a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.protocols import Session, TaskTemplate
from seedfree.records import Context

__all__ = [
    "VISITS",
    "LanguageTask",
    "asker_line",
    "check_range",
    "check_temperature",
    "drawn",
    "list_schema",
    "passage",
]

# How often a question about one text is asked for. A section of a few hundred words has a few
# points to ask about, and each visit after the last of them is paid for nothing.
VISITS = 4


# Characters of a passage that can be an answer by itself. People's answers in WangchanThaiInstruct
# have 1,149 to 1,656 on average.
_SHORTEST, _LONGEST = 300, 2000
# Some of whom any text or topic suits: a model takes the one that fits.
_ASKERS = 3


@dataclass
class LanguageTask(TaskTemplate):
    """A task that needs the run's language, which may be a user's own, to make its rows."""

    _language: Language | None = field(default=None, init=False, repr=False, compare=False)

    def bind(self, session: Session) -> None:
        """Takes the run's language."""
        self._language = session.language

    def language(self, context: Context) -> Language:
        """Returns the run's language. Without a run, a ready-made one by the context's code."""
        return self._language or Language.load(context.language or "en")


def asker_line(context: Context, language: Language, task: str) -> str:
    """Returns the line of a prompt that says who asks: one of three, whichever fits.

    Nobody in particular asks about an article of an encyclopedia: the line is empty.
    """
    if context.source.kind == "wikipedia":
        return ""
    askers = [context.draw(language.facet("askers"), task, "asker", i) for i in range(_ASKERS)]
    return language.text("asker", askers=" / ".join(dict.fromkeys(askers)))


def drawn(context: Context, language: Language, task: str) -> dict[str, str]:
    """Draws the `form` of a request and the `length` of its answer, in the language's shares."""
    # Each from under its own name. Under one name, lists of equal length would always bring the
    # same two together.
    return {
        "form": context.draw_share(language.shares("request_forms"), task, "form"),
        "length": context.draw_share(language.shares("answer_lengths"), task, "length"),
    }


def passage(context: Context) -> str:
    """Returns the paragraphs of a text, from one that is drawn on, that have a useful length.

    A short text is returned whole.
    """
    if len(context.text) <= _LONGEST:
        return context.text
    paragraphs = [part.strip() for part in context.text.split("\n") if part.strip()]
    sizes = [len(part) for part in paragraphs]
    starts = [i for i in range(len(paragraphs)) if sum(sizes[i:]) >= _SHORTEST]
    start = context.random("passage").choice(starts)
    chosen = paragraphs[start : start + 1]
    for part in paragraphs[start + 1 :]:
        if len("\n".join([*chosen, part])) > _LONGEST:
            break
        chosen.append(part)
    return "\n".join(chosen)


def check_range(task: TaskTemplate, setting: str, value: float, low: int, high: int) -> None:
    """Checks that a setting of a task lies between `low` and `high`, both included.

    Raises:
        ConfigError: It does not.
    """
    # Written so that NaN, which compares false with everything, is out of range, too.
    if not low <= value <= high:
        raise ConfigError(
            f"{type(task).__name__}({setting}={value!r}) is out of range",
            hint=f"Use {low} to {high}.",
        )


def check_temperature(task: TaskTemplate, temperature: float) -> None:
    """Checks that a task's temperature is one that a provider takes.

    Raises:
        ConfigError: It is not between 0 and 2, the range of OpenAI's API.
    """
    check_range(task, "temperature", temperature, 0, 2)


def list_schema(name: str, items: dict[str, Any], count: int) -> dict[str, Any]:
    """Returns the JSON schema of an object whose only key `name` holds exactly `count` items.

    Args:
        items: The schema of one item.
    """
    # The order of the keys is part of the request, and with it of the ledger's key.
    several = {"type": "array", "items": items, "minItems": count, "maxItems": count}
    return {"type": "object", "properties": {name: several}, "required": [name]}
