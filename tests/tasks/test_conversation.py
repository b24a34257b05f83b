import pytest

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Context, Topic
from seedfree.tasks.conversation import Conversation

TURNS = [{"user": f"ถาม {i}", "assistant": f"ตอบ {i}"} for i in range(3)]


def test_three_turns_alternate_and_the_first_is_the_row() -> None:
    task = Conversation(turns=3)
    (row,) = task.instructions(task.Fields.model_validate({"turns": TURNS}), Context())
    assert [m.role for m in row.messages] == ["user", "assistant"] * 3
    assert [m.content for m in row.messages] == [
        "ถาม 0",
        "ตอบ 0",
        "ถาม 1",
        "ตอบ 1",
        "ถาม 2",
        "ตอบ 2",
    ]
    assert (row.instruction, row.input, row.output) == ("ถาม 0", "", "ตอบ 0")


def test_surplus_turns_are_cut_and_too_few_are_invalid() -> None:
    task = Conversation(turns=2)
    (row,) = task.instructions(task.Fields.model_validate({"turns": TURNS}), Context())
    assert len(row.messages) == 4
    with pytest.raises(ValueError, match="1 turns, 2"):
        list(task.instructions(task.Fields.model_validate({"turns": TURNS[:1]}), Context()))


def test_the_topic_alone_is_asked_about() -> None:
    prompt = Conversation().prompt(Context(topic=Topic("ปลาร้า\nบ้านเรา")), Language.load("th"))
    assert '"ปลาร้า บ้านเรา"' in prompt.user and prompt.cue == "ปลาร้า บ้านเรา"
    assert prompt.temperature == 0.8


@pytest.mark.parametrize("settings", [{"turns": 0}, {"turns": 11}, {"temperature": -1}])
def test_settings_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Conversation(**settings)
