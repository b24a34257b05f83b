import asyncio
import hashlib
import logging
from dataclasses import replace

import pytest

from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.filters.judge import JudgeFilter
from seedfree.generators.function import FunctionGenerator
from seedfree.languages import Language
from seedfree.records import Instruction, Message, Reply

ROW = Instruction(
    "closed_qa", "ลอยกระทงตรงกับวันใด", "วันเพ็ญเดือนสิบสอง", input="ลอยกระทงจัดในวันเพ็ญเดือนสิบสอง"
)


class Session:
    language = Language.load("th")
    seed = 0

    def __init__(self, reply):
        self.reply, self.asked = reply, []

    async def generate(self, prompt, *, sample=0, check=None, generator=None):
        self.asked.append((prompt, generator))
        if self.reply.error is None:
            check(self.reply.text)
        return self.reply


def judge(score, row=ROW, **settings):
    reply = (
        score
        if isinstance(score, Reply)
        else Reply(f'{{"rationale": "เพราะตอบตรง", "score": {score}}}')
    )
    session, each = Session(reply), JudgeFilter(**settings)
    each.bind(session)
    return asyncio.run(each.check(row)), session.asked


@pytest.mark.parametrize(
    "score, minimum, reason", [(7, 7, None), (10, 7, None), (6, 7, "6"), (1, 1, None), (9, 10, "9")]
)
def test_marks_below_the_minimum_are_dropped(score, minimum, reason):
    assert judge(score, minimum=minimum)[0] == (reason and f"judge: low mark ({reason} of 10)")


def test_judge_sees_the_row_and_gives_its_reasons_first():
    other = object()
    _, [(prompt, generator)] = judge(8, generator=other)
    assert generator is other
    assert ROW.instruction in prompt.user and ROW.input in prompt.user and ROW.output in prompt.user
    assert list(prompt.schema["properties"]) == ["rationale", "score"]
    assert prompt.system == Session.language.persona


def test_judge_sees_every_turn():
    turns = ("ขอสูตรต้มยำ", "ใช้กุ้งกับข่าครับ", "ใส่กะทิด้วยไหม", "ใส่ก็ได้ครับ")
    messages = tuple(Message(("user", "assistant")[i % 2], turn) for i, turn in enumerate(turns))
    _, [(prompt, _)] = judge(8, Instruction("conversation", turns[0], turns[1], messages=messages))
    assert all(turn in prompt.user for turn in turns)


def test_a_judge_that_gives_no_mark_drops_the_row():
    assert judge(Reply("", error="refusal"))[0] == "judge: no verdict (refusal)"


@pytest.mark.parametrize("text", ['{"score": 8}', '{"rationale": "x", "score": 11}', "8"])
def test_a_mark_outside_the_scale_is_asked_for_again(text):
    with pytest.raises(InvalidReplyError):
        judge(Reply(text))


def test_settings_and_use_outside_a_run():
    with pytest.raises(ConfigError, match="no mark"):
        JudgeFilter(minimum=11)
    with pytest.raises(ConfigError, match="outside a run"):
        asyncio.run(JudgeFilter().check(ROW))


@pytest.mark.parametrize("code, digest", [("th", "69a59966ae8de893"), ("en", "862a0a5f44f8a966")])
def test_what_old_runs_paid_for_is_found_again(code, digest, monkeypatch):
    """A changed prompt, system prompt or schema is a new key: every kept verdict would be asked for again."""
    monkeypatch.setattr(Session, "language", Language.load(code))
    prompt = judge(8)[1][0][0]
    sent = (
        prompt.user,
        prompt.system,
        sorted(prompt.schema.items()),
        prompt.max_tokens,
        prompt.temperature,
    )
    assert hashlib.sha256(repr(sent).encode()).hexdigest()[:16] == digest


def test_a_judge_of_its_own_rows_is_warned_of_once_a_run(caplog):
    written = replace(ROW, generator="anthropic https://api.anthropic.com claude-haiku-5-5")
    for generator, rows, warnings in (
        (None, [written, written], 1),
        (FunctionGenerator(str, name="claude-opus"), [ROW, written, written], 1),
        (FunctionGenerator(str, name="qwen3"), [written], 0),
        (None, [ROW], 0),
    ):
        caplog.clear()
        each = JudgeFilter(generator=generator)
        each.bind(Session(Reply('{"rationale": "x", "score": 8}')))
        with caplog.at_level(logging.WARNING, "seedfree"):
            assert [asyncio.run(each.check(row)) for row in rows] == [None] * len(rows)
            assert len(caplog.records) == warnings
            each.bind(Session(Reply('{"rationale": "x", "score": 8}')))
            assert asyncio.run(each.check(rows[-1])) is None
        assert len(caplog.records) == 2 * warnings
