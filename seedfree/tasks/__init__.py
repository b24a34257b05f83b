"""Kinds of instruction, one file a task.

To add a task, copy `conversation.py` (from a topic) or `closed_qa.py` (from a text). Give it a
name, write down as `Fields` what the LLM must answer, and make the prompt and the rows. The words
of a prompt stand in the language's file (`languages/<code>.toml`), so that a native speaker can
review all of a language in one place. Set `grounded = True` if the answer must stand in the
context. `shared.py` checks settings. `examples/own_task.py` is a whole task outside the library.
"""

from __future__ import annotations

from seedfree.protocols import TaskTemplate
from seedfree.tasks.brainstorming import Brainstorming
from seedfree.tasks.closed_qa import ClosedQA
from seedfree.tasks.conversation import Conversation
from seedfree.tasks.multiple_choice import MultipleChoice
from seedfree.tasks.summarization import Summarization

__all__ = ["default_tasks", "paper_tasks"]


def default_tasks() -> list[TaskTemplate]:
    """Returns closed QA, summarization, conversation and multiple choice, one row a prompt."""
    return _tasks(pairs=1)


def paper_tasks() -> list[TaskTemplate]:
    """Returns the five tasks that the paper's code runs, with five closed-QA pairs a context."""
    return [*_tasks(pairs=5), Brainstorming()]


def _tasks(pairs: int) -> list[TaskTemplate]:
    return [ClosedQA(pairs=pairs), Summarization(), Conversation(), MultipleChoice()]
