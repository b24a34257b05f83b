import asyncio
import json
from collections import Counter

import pytest

from seedfree.contexts.written import WrittenContexts
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Topic

TEXT = "เช้าวันนั้นแม่ค้าตั้งหม้อขนมจีนไว้หน้าบ้าน " * 5


def answer(prompt):
    return json.dumps({"text": TEXT})


def bind(session, llm=answer, language=None, seed=0, **settings):
    run = session(llm=llm, seed=seed, **({"language": language} if language else {}))
    source = WrittenContexts(**settings)
    source.bind(run)
    return source, run


def write(source, position=0, text="ขนมจีน"):
    return asyncio.run(source.contexts(Topic(text, position=position)))


def test_the_prompt_is_the_language_s_own(session, thai):
    source, run = bind(session)
    (context,) = write(source)
    (prompt,) = run.prompts
    assert context.text == TEXT.strip()
    assert (context.source.kind, context.source.title) == (
        "written",
        prompt.user.split(" เรื่อง")[0].replace("ที่", ""),
    )
    assert "เรื่อง ขนมจีน ราคา $5 ความยาว " in prompt.user
    assert prompt.user.split()[-2:] in ([word, "ๆ"] for word in ("สั้น", "ยาว"))
    assert (prompt.system, prompt.cue, prompt.temperature) == (thai.persona, "ขนมจีน", 0.8)
    assert prompt.schema["properties"].keys() == {"text"}
    assert len(prompt.examples) == 2


def test_styles_are_balanced_by_position_and_seeded(session):
    source, _ = bind(session)
    drawn = [write(source, position)[0].source.title for position in range(26)]
    assert set(Counter(drawn).values()) == {2}
    assert drawn[:13] != drawn[13:]
    again, _ = bind(session)
    assert [write(again, position)[0].source.title for position in range(26)] == drawn
    other, _ = bind(session, seed=1)
    assert [write(other, position)[0].source.title for position in range(26)] != drawn


def test_chosen_styles_alone_are_used(session):
    source, _ = bind(session, styles=["แบบ 3", "แบบ 7"])
    assert {write(source, position)[0].source.title for position in range(4)} == {"แบบ 3", "แบบ 7"}


def test_a_topic_is_never_a_template(session):
    source, run = bind(session)
    write(source, text="$length ${request} $$ {0}")
    assert "$length ${request} $$ {0}" in run.prompts[0].user


@pytest.mark.parametrize(
    "text", ["", "ไม่ใช่ JSON", '{"text": "สั้น"}', '{"text": 5}', '{"txt": "x"}', '{"text": "']
)
def test_a_useless_reply_gives_no_context(session, text):
    source, _ = bind(session, lambda prompt: text)
    assert write(source) == []


def test_a_language_without_styles_borrows_the_english_ones(session):
    language = Language(
        code="xx", name="Xish", native="Xish", script="Latin", persona="You speak Xish."
    )
    source, run = bind(session, language=language)
    assert write(source)
    assert "Xish" in run.prompts[0].user
    assert len(Language.load("en").styles) == 13


def test_outside_a_run_there_is_no_llm():
    with pytest.raises(ConfigError, match="outside a run"):
        write(WrittenContexts())


def test_an_unknown_style_names_the_known_ones(session):
    with pytest.raises(ConfigError, match="Thai has no style 'sonnet'. Known: แบบ 0, แบบ 1"):
        bind(session, styles=["sonnet"])


@pytest.mark.parametrize(
    "settings",
    [
        {"styles": []},
        {"styles": "poem"},
        {"share": 0},
        {"share": -1},
        {"min_chars": 0},
        {"max_tokens": 0},
    ],
)
def test_a_wrong_setting_is_refused(settings):
    with pytest.raises(ConfigError):
        WrittenContexts(**settings)
