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


def offered(prompt):
    """Returns the styles that a prompt offers, by number."""
    lines = prompt.user.partition(" ความยาว")[0].splitlines()
    parts = [line.partition(". แบบที่ ") for line in lines]
    return {int(number): f"แบบ {rest.split()[0]}" for number, _, rest in parts}


def test_the_prompt_is_the_language_s_own(session, thai):
    source, run = bind(session)
    (context,) = write(source)
    (prompt,) = run.prompts
    assert context.text == TEXT.strip() and context.source.kind == "written"
    assert context.source.title == offered(prompt)[1]
    assert " เรื่อง ขนมจีน ราคา $5" in prompt.user
    assert prompt.user.split()[-2:] in ([word, "ๆ"] for word in ("สั้น", "ยาว"))
    assert (prompt.system, prompt.cue, prompt.temperature) == (thai.persona, "ขนมจีน", 0.8)
    assert list(prompt.schema["properties"]) == ["kind", "text"]
    assert len(prompt.examples) == 2


def test_the_model_takes_the_style_that_fits(session):
    for kind in (1, 2, 3):
        reply = json.dumps({"kind": kind, "text": TEXT})
        source, run = bind(session, lambda prompt, reply=reply: reply)
        (context,) = write(source)
        style = offered(run.prompts[0])[kind]
        odd = int(style.split()[1]) % 2 == 1
        assert (context.source.title, context.source.fictional) == (style, odd)
        assert ("(แต่ง)" in run.prompts[0].user.splitlines()[kind - 1]) is odd


def test_styles_are_offered_equally_often_and_seeded(session):
    def drawn(**settings):
        source, run = bind(session, **settings)
        for position in range(26):
            write(source, position)
        return [offered(prompt) for prompt in run.prompts]

    styles = drawn()
    assert set(Counter(style[1] for style in styles).values()) == {2}
    assert drawn() == styles and drawn(seed=1) != styles
    assert all(len(set(each.values())) == len(each) for each in styles)


def test_made_up_texts_may_be_left_out(session):
    source, run = bind(session, fictional=False)
    assert not any(write(source, position)[0].source.fictional for position in range(20))
    assert not any("(แต่ง)" in prompt.user for prompt in run.prompts)
    with pytest.raises(ConfigError, match="no styles left"):
        bind(session, styles=["แบบ 3"], fictional=False)


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
