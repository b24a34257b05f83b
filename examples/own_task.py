"""A task of your own: proverbs, what they mean and when to say them.

Pass it to the pipeline: `sf.Pipeline("th", generator, tasks=[Proverb()])`.
"""

from collections.abc import Iterator

from pydantic import BaseModel, Field

import seedfree as sf


class Proverb(sf.TaskTemplate):
    name = "proverb"
    needs_context = False

    class Fields(BaseModel):
        proverb: str = Field(max_length=120)
        meaning: str = Field(max_length=600)
        situation: str = Field(max_length=600)

    def prompt(self, context: sf.Context, language: sf.Language) -> sf.Prompt:
        topic = context.subject()
        request = f"เลือกสำนวนไทยหนึ่งสำนวนที่เข้ากับเรื่อง {topic} อธิบายความหมาย และเล่าสถานการณ์ที่ใช้สำนวนนั้น"
        return sf.Prompt(user=request, system=language.persona)

    def instructions(self, fields: Fields, context: sf.Context) -> Iterator[sf.Instruction]:
        question = f'สำนวน "{fields.proverb}" หมายความว่าอย่างไร และใช้เมื่อใด'
        yield sf.Instruction(
            task=self.name, instruction=question, output=f"{fields.meaning}\n\n{fields.situation}"
        )
