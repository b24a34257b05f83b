import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context, Topic
from seedfree.tasks import default_tasks, paper_tasks
from seedfree.tasks.brainstorming import Brainstorming


def test_kinds_are_asked_for_equally_often() -> None:
    language = Language.load("th")
    kinds = language.facet("creative_kinds")
    contexts = [Context(topic=Topic("ฝน"), position=i) for i in range(10 * len(kinds))]
    users = [Brainstorming().prompt(context, language).user for context in contexts]
    asked_for = [sum(f"ชนิดของงาน: {kind}\n" in user for user in users) for kind in kinds]
    assert asked_for == [10] * len(kinds)


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
