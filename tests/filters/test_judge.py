import asyncio
import hashlib
import json
import logging
from dataclasses import replace

import pytest

from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.filters.judge import JudgeFilter, families, model_name, related, warn_of_kin
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.languages import Criterion, Language
from seedfree.records import Instruction, Message, Reply
from tests.fakes import small_pipeline

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
    """A changed prompt, system prompt or schema is a new key: all verdicts are asked for again."""
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


@pytest.mark.parametrize(
    "name, family",
    [
        ("anthropic https://api.anthropic.com claude-haiku-5-5", "Claude"),
        ("gpt-4o-mini", "GPT"),
        ("chatgpt-4o-latest", "GPT"),
        ("openai/gpt-oss-120b", "GPT"),
        ("o3-mini", "GPT"),
        ("openai-compatible http://x/v1 o1", "GPT"),
        ("models/gemini-3-flash", "Gemini and Gemma"),
        ("google/gemma-3-12b-it", "Gemini and Gemma"),
        ("llamacpp:sha256:a5fd3b62230aa5ec", "Gemini and Gemma"),
        ("meta-llama/Meta-Llama-3-8B", "Llama"),
        ("CodeLlama-7b", "Llama"),
        ("llama3.1:8b", "Llama"),
        ("Qwen/Qwen3-32B", "Qwen"),
        ("open-mixtral-8x22b", "Mistral"),
        ("deepseek-chat", "DeepSeek"),
        ("aisingapore/SEA-LION-v1-7B", "SEA-LION"),
        ("scb10x/typhoon-7b", "Typhoon"),
        ("openthaigpt-1.0.0-7b-chat", "OpenThaiGPT"),
    ],
)
def test_names_tell_a_family(name, family):
    assert families(name) == {family}


@pytest.mark.parametrize(
    "name, both",
    [
        ("scb10x/llama-3-typhoon-v1.5-8b", {"Llama", "Typhoon"}),
        ("typhoon2-qwen2.5-7b-instruct", {"Qwen", "Typhoon"}),
        ("aisingapore/Gemma-SEA-LION-v4-27B-IT", {"Gemini and Gemma", "SEA-LION"}),
        ("DeepSeek-R1-Distill-Qwen-32B", {"DeepSeek", "Qwen"}),
        ("llama3_typhoon", {"Llama", "Typhoon"}),
    ],
)
def test_a_name_may_tell_two(name, both):
    assert families(name) == both


@pytest.mark.parametrize(
    "name",
    [
        "",
        "function:judge",
        "llamacpp:sha256:0123456789abcdef",
        "ollama my-model",
        "openai-compatible",
        "philosopher",
    ],
)
def test_a_name_may_tell_none(name):
    assert families(name) == set()


def test_addresses_and_makers_of_servers_are_no_names():
    served = OpenAICompatibleGenerator("http://llama-box:8000/v1", "Qwen3-8B")
    assert related(served, "qwen2") and not related(served, "llama-3")
    assert "llama-box" not in model_name(served)
    assert related(ClaudeGenerator(api_key="k"), "claude-3-haiku")


def test_one_model_is_akin_to_itself_whatever_its_name():
    mine = FunctionGenerator(str, name="mine")
    assert related(mine, mine) and related(mine, mine.identity)
    assert not related(mine, FunctionGenerator(str, name="x"))


def test_the_base_of_a_trained_model_counts():
    class Base:
        name = "google/gemma-3-270m"

    class Trained:
        base = Base()

    assert related("gemini-3", Trained()) and not related("claude", Trained())


def test_a_writers_name_from_a_file_cannot_forge_a_line_of_the_log(caplog):
    with caplog.at_level(logging.WARNING, "seedfree"):
        warn_of_kin("claude-a", ["claude-b\nERROR all is lost\x1b[2J"])
    message = caplog.records[0].getMessage()
    assert "\n" not in message and "\x1b" not in message


def test_one_warning_for_all_kin(caplog):
    with caplog.at_level(logging.WARNING, "seedfree"):
        assert not warn_of_kin("claude", ["", "gpt-5", "mine"])
        assert not caplog.records
        assert warn_of_kin("claude-a", ["claude-b", "gpt-5", "claude-c", "claude-b"])
    assert len(caplog.records) == 1
    assert "claude-b, claude-c" in caplog.text and "gpt" not in caplog.text


def test_a_judges_own_llm_may_be_bound_and_closed_by_coroutines(tmp_path):
    calls = []

    class Own(FunctionGenerator):
        async def bind(self, session):
            calls.append("bound")

        async def close(self):
            calls.append("closed")

    judge = JudgeFilter(generator=Own(lambda _: '{"reasons": "good", "score": 9}', name="judge"))
    small_pipeline(filters=[judge]).run(size=2, out=tmp_path)
    assert calls == ["bound", "closed"]


def reading(wrong=(), missing=(), **settings):
    rubric = Session.language.rubric_known
    findings = [
        {"name": each.name, "quotation": "-", "yes": each.name not in wrong}
        for each in rubric
        if each.name not in missing
    ]
    text = json.dumps({"findings": findings}, ensure_ascii=False)

    class Reader(Session):
        async def generate(self, prompt, *, sample=0, check=None, generator=None):
            self.asked.append((prompt, generator))
            try:
                return replace(self.reply, value=check(self.reply.text))
            except InvalidReplyError as error:
                return Reply("", error=f"invalid: {error.message}")

    session, each = Reader(Reply(text)), JudgeFilter(rubric="default", **settings)
    each.bind(session)
    return asyncio.run(each.check(ROW)), session.asked


def test_a_rubric_asks_eight_questions_about_the_row():
    reason, [(prompt, _)] = reading()
    assert reason is None and len(Session.language.rubric_known) == 8
    assert all(each.question in prompt.user for each in Session.language.rubric_known)
    assert ROW.instruction in prompt.user and ROW.input in prompt.user and ROW.output in prompt.user


def test_code_makes_the_marks_apart_for_request_and_answer():
    grave = {side: [e.name for e in RUBRIC if e.grave and e.of == side] for side in SIDES}
    small = {side: [e.name for e in RUBRIC if not e.grave and e.of == side] for side in SIDES}
    for side in SIDES:
        assert reading(grave[side][:1])[0] == f"judge: bad {side} ({grave[side][0]})"
        assert reading(small[side][:1])[0] == f"judge: poor {side} ({small[side][0]})"
        assert reading(small[side][:1], keep="poor")[0] is None
        assert reading(grave[side][:1], keep="poor")[0].startswith(f"judge: bad {side}")


def test_a_question_that_is_not_answered_is_no_verdict():
    assert reading(missing=[RUBRIC[0].name])[0].startswith("judge: no verdict (invalid")


def test_a_rubric_of_ones_own():
    mine = Criterion("สุภาพ", "คำตอบสุภาพหรือไม่", "answer")
    each = JudgeFilter(rubric=[mine])
    session = Session(Reply("", error="refused"))
    each.bind(session)
    assert asyncio.run(each.check(ROW)) == "judge: no verdict (refused)"
    assert "- สุภาพ: คำตอบสุภาพหรือไม่" in session.asked[0][0].user
    with pytest.raises(ConfigError, match="asks nothing"):
        JudgeFilter(rubric=[])


RUBRIC = Session.language.rubric_known
SIDES = ("request", "answer")
