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
from seedfree.tasks.classification import Classification
from seedfree.tasks.closed_qa import ClosedQA
from seedfree.tasks.conversation import Conversation
from seedfree.tasks.creative_writing import CreativeWriting
from seedfree.tasks.extract import Extract
from seedfree.tasks.extractive_qa import ExtractiveQA
from seedfree.tasks.multiple_choice import MultipleChoice
from seedfree.tasks.open_qa import OpenQA
from seedfree.tasks.reverse_instruction import ReverseInstruction
from seedfree.tasks.rewrite import Rewrite
from seedfree.tasks.summarization import Summarization
from seedfree.tasks.titled_request import TitledRequest

__all__ = ["default_tasks", "paper_tasks", "small_tasks", "wangchan_tasks", "wide_tasks"]


def default_tasks() -> list[TaskTemplate]:
    """Returns closed QA, summarization, conversation and multiple choice, one row a prompt."""
    return [ClosedQA(), Summarization(), Conversation(), MultipleChoice()]


def wide_tasks() -> list[TaskTemplate]:
    """Returns eleven tasks, all but those for models too small to write."""
    others = [OpenQA(), Rewrite(), Extract(), ReverseInstruction()]
    return [*default_tasks(), Brainstorming(), CreativeWriting(), Classification(), *others]


def small_tasks() -> list[TaskTemplate]:
    """Returns two tasks for base models of a few hundred million parameters: they only choose."""
    return [ExtractiveQA(), TitledRequest()]


def wangchan_tasks() -> list[TaskTemplate]:
    """Returns the seven tasks of WangchanThaiInstruct, in equal parts."""
    closed = [ClosedQA(), Summarization(), MultipleChoice(), Classification()]
    return [*closed, OpenQA(), Brainstorming(), CreativeWriting()]


def paper_tasks() -> list[TaskTemplate]:
    """Returns the five tasks that the paper's code runs.

    They ask for five closed-QA pairs a context, conversations of one turn and four choices.
    """
    choice = MultipleChoice(choices=4, blind=False)
    return [ClosedQA(pairs=5), Summarization(), Conversation(turns=1), choice, Brainstorming()]
