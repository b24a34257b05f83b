from collections import Counter

import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context, Topic
from seedfree.tasks import default_tasks, paper_tasks
from seedfree.tasks.brainstorming import Brainstorming
from seedfree.tasks.creative_writing import CreativeWriting


@pytest.mark.parametrize("task", [Brainstorming(), CreativeWriting()], ids=lambda t: t.name)
def test_kinds_are_asked_for_equally_often_in_lengths_that_they_can_have(
    task: Brainstorming,
) -> None:
    language = Language.load("th")
    works = {work.name: work for work in language.works if work.creative == task.creative}
    contexts = [Context(topic=Topic("ฝน"), position=i) for i in range(10 * len(works))]
    prompts = [task.prompt(context, language) for context in contexts]
    drawn = Counter(prompt.facets["kind"] for prompt in prompts)
    assert drawn == dict.fromkeys(works, 10)
    for prompt in prompts:
        kind, length = prompt.facets["kind"], prompt.facets["length"]
        assert length in works[kind].lengths and kind in prompt.user and length in prompt.user


def test_the_task_stands_alone() -> None:
    task = Brainstorming()
    (row,) = task.instructions(
        task.Fields(instruction="แต่งกลอนเรื่องฝน", output="ฝนตก"), Context(text="ข้อความ")
    )
    assert (row.instruction, row.input, row.output) == ("แต่งกลอนเรื่องฝน", "", "ฝนตก")


def test_settings_out_of_range() -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Brainstorming(temperature=-0.1)


def test_default_and_paper_tasks() -> None:
    four = ["closed_qa", "summarization", "conversation", "multiple_choice"]
    assert [t.name for t in default_tasks()] == four
    assert [t.name for t in paper_tasks()] == [*four, "brainstorming"]
    assert [t.rows for t in paper_tasks()] == [5, 1, 1, 1, 1]
