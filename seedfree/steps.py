"""What a run asks of tasks and filters for one context or row, with whatever they raise made one of our errors."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from seedfree.engine.runner import Runner
from seedfree.errors import ConfigError, RequestError, SeedfreeError
from seedfree.languages import Language
from seedfree.protocols import Filter, TaskTemplate
from seedfree.records import Context, Instruction, Prompt

__all__ = ["asked", "prompted", "verdict"]


def asked(task: TaskTemplate, context: Context, language: Language) -> Prompt:
    """A task's prompt for a context, with the schema of its fields.

    Raises:
        ConfigError: The task gives something else, or raises.
    """
    try:
        prompt = task.prompt(context, language)
        return prompt if prompt.schema else replace(prompt, schema=task.Fields)
    except SeedfreeError:
        raise
    except Exception as error:
        raise ConfigError(
            f"Task {task.name}: prompt() fails: {type(error).__name__}: {error}",
            hint="It returns a sf.Prompt.",
        ) from error


async def prompted(
    task: TaskTemplate, context: Context, language: Language, runner: Runner
) -> Prompt:
    """`asked` beside the event loop; the library's own tasks, which take less time than the way to a thread, on it."""
    if type(task).__module__.startswith("seedfree.tasks."):
        return asked(task, context, language)
    prompt: Prompt = await runner.call(asked, task, context, language)
    return prompt


async def verdict(filters: Sequence[Filter], item: Instruction, runner: Runner) -> str | None:
    """The first reason to drop a row.

    Raises:
        RequestError: A filter raises.
    """
    left = list(filters)
    while left:
        # All in one call to a thread: the way there takes longer than most of them.
        found, left = await runner.call(_first_reason, left, item)
        if inspect.isawaitable(found):
            with _named(left.pop(0)):
                found = await found
        if found is not None:
            return str(found)
    return None


def _first_reason(filters: list[Filter], item: Instruction) -> tuple[Any, list[Filter]]:
    """A reason, or what has to be awaited for one; with the filters that are left, then its own first among them."""
    for i, each in enumerate(filters):
        with _named(each):
            found = each.check(item)
        if found is not None:
            return found, filters[i:] if inspect.isawaitable(found) else []
    return None, []


@contextlib.contextmanager
def _named(component: object) -> Iterator[None]:
    try:
        yield
    except SeedfreeError:
        raise
    except Exception as error:
        raise RequestError(
            f"{type(component).__name__} raised {type(error).__name__}: {error}"
        ) from error
