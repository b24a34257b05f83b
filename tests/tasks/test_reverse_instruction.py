import json
from pathlib import Path

import pytest

import seedfree as sf
from seedfree.languages import Language
from seedfree.records import Context
from seedfree.tasks.reverse_instruction import ReverseInstruction
from seedfree.tasks.shared import passage
from tests.fakes import FakeClock, small_pipeline

PARAGRAPH = "ชาวบ้านเก็บเกลือในหน้าแล้ง แล้วหาบไปแลกข้าวกับหมู่บ้านในหุบเขา "
PAGE = "\n\n".join(f"{i} {PARAGRAPH * 6}" for i in range(12))


def rows(context: Context, **fields: object) -> list[tuple[str, str]]:
    task = ReverseInstruction()
    values = {"stands_alone": True, "instruction": "เล่าเรื่องการแลกเกลือ", **fields}
    items = task.instructions(task.Fields.model_validate(values), context)
    return [(item.instruction, item.output) for item in items]


def test_the_answer_is_the_text_word_for_word() -> None:
    for position in range(20):
        context = Context(PAGE, seed=1, position=position)
        ((_, answer),) = rows(context)
        assert 300 <= len(answer) <= 2000
        # Whole paragraphs, in their order.
        assert answer in "\n".join(part.strip() for part in PAGE.split("\n\n"))
        assert answer in ReverseInstruction().prompt(context, Language.load("th")).user
    assert len({passage(Context(PAGE, seed=1, position=i)) for i in range(20)}) > 4


def test_a_passage_that_needs_its_page_gives_no_row() -> None:
    assert rows(Context(PAGE), stands_alone=False, instruction="") == []


@pytest.mark.parametrize("instruction", ["", f"อธิบาย {PARAGRAPH}"], ids=["none", "leak"])
def test_a_request_that_gives_its_answer_away_is_invalid(instruction: str) -> None:
    with pytest.raises(ValueError):
        rows(Context(PAGE), instruction=instruction)


def test_a_short_text_is_taken_whole() -> None:
    assert passage(Context(f"{PARAGRAPH}\n\nจบ")) == f"{PARAGRAPH}\n\nจบ"


def test_a_text_that_the_llm_wrote_is_no_answer(tmp_path: Path) -> None:
    class Notes:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def contexts(self, topic: sf.Topic) -> list[sf.Context]:
            text = f"{self.kind} {topic.text} {PARAGRAPH * 6}"
            return [sf.Context(text, source=sf.Source(self.kind))]

    def answer(prompt: sf.Prompt) -> str:
        about = prompt.user[prompt.user.index(">") + 2 :][:20]
        return json.dumps({"stands_alone": True, "instruction": f"ช่วยเล่าเรื่อง {about}"})

    llm = sf.FunctionGenerator(answer, name="asker")
    pipeline = small_pipeline(
        llm,
        contexts=[Notes("document"), Notes("written")],
        tasks=[sf.ReverseInstruction()],
        topics=[f"เรื่องที่ {i}" for i in range(60)],
        filters=[],
    )
    run = pipeline.run(size=12, out=tmp_path / "run", clock=FakeClock())
    assert len(run.dataset) == 12
    assert {row.source.kind for row in run.dataset} == {"document"}
    assert not any("written" in call.user for call in llm.calls), "it would be paid for nothing"
    stages = json.loads((tmp_path / "run" / "status.json").read_text("utf-8"))["stats"]["stages"]
    assert stages["reverse_instruction"]["lost"]["not a text for this task"] > 5


def test_a_run_that_has_only_texts_of_the_llm_does_without_the_task() -> None:
    llm = sf.FunctionGenerator(str, name="asker")
    names = {task.name for task in sf.Pipeline("th", llm, tasks="wide", diversity=None).tasks or ()}
    assert "reverse_instruction" not in names and "rewrite" in names
    with pytest.raises(sf.ConfigError, match="ReverseInstruction has no texts"):
        sf.Pipeline("th", llm, tasks=[sf.ReverseInstruction()], diversity=None)
    mixed = [sf.WrittenContexts(), sf.WikipediaSource(contact="me@uni.example")]
    sf.Pipeline("th", llm, tasks=[sf.ReverseInstruction()], contexts=mixed, diversity=None)
