"""A session that answers what a task asks when it looks at its row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Prompt, Reply, Topic

Confirm = Callable[..., tuple[Any, list[Prompt]]]


class Session:
    seed = 0
    language = Language.load("th")

    def __init__(self, answer: Callable[[Prompt], Any]) -> None:
        self.answer, self.asked = answer, list[Prompt]()

    async def generate(self, prompt: Prompt, *, sample: int = 0) -> Reply:
        self.asked.append(prompt)
        value = self.answer(prompt)
        if value is None:
            return Reply("", error="refused")
        text = json.dumps(value, ensure_ascii=False)
        return Reply(text, value=value)


@pytest.fixture
def confirm() -> Confirm:
    def run(
        task: TaskTemplate,
        fields: dict[str, Any],
        answer: Callable[[Prompt], Any],
        context: Context | None = None,
    ) -> tuple[Any, list[Prompt]]:
        """Returns what a task says of its row, and what it asked."""
        session: Any = Session(answer)
        context = context or Context(topic=Topic("ฝน"), language="th")
        prompt = task.prompt(context, session.language)
        (item,) = task.instructions(task.Fields.model_validate(fields), context)
        item = replace(item, context=context, facets=prompt.facets)
        task_confirm: Any = task
        result: Instruction | str = asyncio.run(task_confirm.confirm(item, session))
        return result, session.asked

    return run
