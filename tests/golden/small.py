"""A small run whose folder stands in the suite; a user made its task, source and language.

python -m tests.golden.small make FOLDER     makes it anew; a commit that has to says why
python -m tests.golden.small replay COPY     runs it again; asks nothing
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field

import seedfree as sf
from tests.fakes import LetterEncoder, thai

HERE = Path(__file__).parent

# What follows decides the bytes of the folder `run`, the names of classes and fields included.
TOPICS = [
    "ข้าวแคบ",
    "ตุงล้านนา",
    "ปอยหลวง",
    "น้ำพริกหนุ่ม",
    "ฟ้อนเล็บ",
    "เตาฝาง",
    "กาดเช้า",
    "หมู่บ้านทำร่ม",
    "ผ้าซิ่นตีนจก",
    "แคบหมู",
]


class Proverb(sf.TaskTemplate):
    name = "proverb"

    class Fields(BaseModel):
        proverb: str = Field(max_length=80)
        meaning: str = Field(max_length=400)

    def prompt(self, context: sf.Context, language: sf.Language) -> sf.Prompt:
        request = f"แต่งสำนวนหนึ่งสำนวนจากข้อความนี้\n\n{context.block()}"
        return sf.Prompt(
            request, language.persona, examples=self.examples(context, language), cue=context.cue()
        )

    def instructions(self, fields: Fields, context: sf.Context) -> Iterator[sf.Instruction]:
        yield sf.Instruction(self.name, f"สำนวน {fields.proverb} หมายความว่าอย่างไร", fields.meaning)


class Notes:
    """A user's own source, which has no text on every fourth topic."""

    def __init__(self, share: float) -> None:
        self.share = share

    def contexts(self, topic: sf.Topic) -> list[sf.Context]:
        return [sf.Context(f"บันทึกจากหมู่บ้านเรื่อง{topic.text} " * 4)] if topic.position % 4 else []


def pipeline(answer: sf.FunctionGenerator) -> sf.Pipeline:
    return sf.Pipeline(
        language=sf.Language.from_file(HERE / "nod.toml"),
        generator=answer,
        contexts=[Notes(share=1.0), sf.WrittenContexts(min_chars=40)],
        tasks=[Proverb()],
        diversity=[
            sf.ExactDiversityFilter(),
            sf.SemanticDiversityFilter(threshold=0.83, encoder=LetterEncoder()),
        ],
        topics=TOPICS,
    )


def asked(prompt: sf.Prompt) -> sf.Reply:
    """Fails: whatever a replay needs stands in the ledger."""
    raise AssertionError(f"asked for a new reply: {prompt.user[:200]}")


if __name__ == "__main__":
    command, folder = sys.argv[1:]
    generator = sf.FunctionGenerator(thai if command == "make" else asked, name="golden")
    run = pipeline(generator).run(size=5, out=folder, seed=3, concurrency=4, progress=False)
    print(run)
