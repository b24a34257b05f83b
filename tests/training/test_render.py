"""Which tokens carry loss, row by row, for each task and kind of template."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.records import Instruction, Message
from seedfree.training.render import Renderer, RenderReport, TaskTokens, add_template
from tests.training.tiny import TASKS, item, make_tokenizer

pytest.importorskip("transformers")

MARK, END = "{% generation %}", "{% endgeneration %}"


def turns(inside):
    prompt = "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
    return "{% for m in messages %}<turn>{{ m.role }}\n" + inside + "{% endfor %}" + prompt


def marked(inside):
    return turns(
        "{% if m.role == 'assistant' %}" + inside + "{% else %}{{ m.content }}</turn>\n{% endif %}"
    )


# Each writes the same text; they differ in what they mark, if anything.
TEMPLATES = {
    "no markers": turns("{{ m.content }}</turn>\n"),
    "markers": marked(MARK + "{{ m.content }}</turn>" + END + "{{ '\n' }}"),
    "markers without the stop token": marked(MARK + "{{ m.content }}" + END + "</turn>\n"),
    "markers beyond the stop token": marked(MARK + "{{ m.content }}</turn>\n" + END),
}


def answers(instruction):
    return [m.content for m in instruction.messages if m.role == "assistant"]


def with_loss(tokenizer, row):
    """Runs of tokens that carry loss, each as text."""
    runs, before = [], -100
    for label in row.labels:
        if label != -100:
            runs = runs if before != -100 else [*runs, []]
            runs[-1].append(label)
        before = label
    return [tokenizer.decode(run) for run in runs]


def test_loss_on_the_prompt_is_on_every_token():
    renderer = Renderer(make_tokenizer(TEMPLATES["no markers"]), prompt_loss=True)
    (row,), report = renderer.rows([item("closed_qa", 0)])
    assert row.labels == row.input_ids
    assert report.total.loss_tokens == report.total.tokens > report.total.answer_tokens


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("task", TASKS)
def test_answers_and_their_stop_tokens_carry_loss_and_nothing_else(task, template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    instruction = item(task, 1)
    (row,), report = renderer.rows([instruction])
    assert with_loss(tokenizer, row) == [answer + "</turn>" for answer in answers(instruction)]
    assert all(
        label in (-100, token) for token, label in zip(row.input_ids, row.labels, strict=True)
    )
    text = tokenizer.decode(row.input_ids)
    assert text == "\n".join(f"<turn>{m.role}\n{m.content}</turn>" for m in instruction.messages)
    assert report.tasks[task].loss_tokens == sum(label != -100 for label in row.labels)


@pytest.mark.parametrize("task", TASKS)
def test_chatml_is_added_and_begins_as_the_model_is_used_to(task):
    tokenizer = make_tokenizer()
    assert add_template(tokenizer, "chatml") == ["<|im_start|>", "<|im_end|>"]
    instruction = item(task, 2)
    (row,), _ = Renderer(tokenizer, system="ตอบเป็นภาษาไทย").rows([instruction])
    assert with_loss(tokenizer, row) == [answer + "<|im_end|>" for answer in answers(instruction)]
    assert tokenizer.decode(row.input_ids).startswith(
        "<s><|im_start|>system\nตอบเป็นภาษาไทย<|im_end|>\n<|im_start|>user"
    )


def test_a_template_without_a_stop_token_gets_the_end_token():
    tokenizer = make_tokenizer(
        "{% for m in messages %}{{ '### ' + m.role + ':\n' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}### assistant:\n{% endif %}"
    )
    instruction = item("closed_qa", 0)
    (row,), _ = Renderer(tokenizer).rows([instruction])
    assert with_loss(tokenizer, row) == [instruction.output + "\n</s>"]
    assert Renderer(tokenizer).stop == "</s>"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("task", TASKS)
def test_a_row_begins_with_what_the_model_is_asked(task, template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    instruction = item(task, 3)
    (row,), report = renderer.rows([instruction])
    prompt = renderer.prompt(instruction.messages[:-1])
    assert row.input_ids[: len(prompt)] == prompt and row.labels[len(prompt)] != -100
    assert report.merged == 0


def test_tokens_over_the_edge_of_an_answer_are_counted():
    tokenizer = make_tokenizer(
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}ต้ม"
        "{% else %}{{ m.content }}</turn>{% endif %}{% endfor %}"
    )
    instruction = Instruction(task="closed_qa", instruction="อะไร", output="ยำกุ้ง")
    (row,), report = Renderer(tokenizer).rows([instruction])
    assert report.merged == 1
    assert with_loss(tokenizer, row)[0].endswith("กุ้ง</turn>")


def test_rows_that_are_cut_or_carry_no_loss_are_counted_by_task():
    tokenizer = make_tokenizer(TEMPLATES["no markers"])
    short, long = item("closed_qa", 0), item("summarization", 0)
    prompts = {
        row.task: len(Renderer(tokenizer).prompt(row.messages[:-1])) for row in (short, long)
    }
    limit = prompts["closed_qa"] + 2
    assert prompts["summarization"] >= limit
    made, report = Renderer(tokenizer, max_length=limit).rows([short, long, short])
    assert [len(row.input_ids) for row in made] == [limit, limit]
    assert [sum(label != -100 for label in row.labels) for row in made] == [2, 2]
    qa, summary, total = report.tasks["closed_qa"], report.tasks["summarization"], report.total
    assert (qa.rows, qa.cut, qa.masked) == (2, 2, 0)
    assert (summary.rows, summary.cut, summary.masked, summary.tokens) == (1, 1, 1, 0)
    assert (total.rows, total.cut, total.masked) == (3, 3, 1)
    assert (total.tokens, total.loss_tokens) == (2 * limit, 4)
    assert total.longest == summary.longest > limit
    assert report.to_dict()["tasks"]["summarization"]["masked"] == 1
    assert "summarization" in str(report)


def test_a_row_that_fits_exactly_is_not_cut():
    tokenizer = make_tokenizer(TEMPLATES["no markers"])
    (row,), _ = Renderer(tokenizer).rows([item("closed_qa", 0)])
    for limit, cut in ((len(row.input_ids), 0), (len(row.input_ids) - 1, 1)):
        _, report = Renderer(tokenizer, max_length=limit).rows([item("closed_qa", 0)])
        assert report.total.cut == cut


def test_no_row_with_loss_is_an_error():
    tokenizer = make_tokenizer(TEMPLATES["no markers"])
    with pytest.raises(ConfigError, match="carries loss"):
        Renderer(tokenizer, max_length=8).rows([item("summarization", 0)])
    with pytest.raises(ConfigError, match="carries loss"):
        Renderer(tokenizer).rows([])


def test_tokens_a_character_are_those_of_the_answers():
    tokenizer = make_tokenizer(TEMPLATES["no markers"])
    instruction = item("closed_qa", 0)
    _, report = Renderer(tokenizer).rows([instruction])
    tokens = len(tokenizer(instruction.output)["input_ids"])
    share = tokens / len(instruction.output)
    assert report.tasks["closed_qa"].tokens_per_character == pytest.approx(share)


def test_a_special_token_of_one_character_is_taken_out_of_a_text():
    tokenizer = make_tokenizer(TEMPLATES["no markers"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["§"]})
    instruction = Instruction(task="closed_qa", instruction="ก", output="ค§ง")
    (row,), report = Renderer(tokenizer).rows([instruction])
    assert report.marked == 1 and with_loss(tokenizer, row) == ["ค ง</turn>"]


def test_unknown_text_is_an_error():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "</turn>": 1, "<turn>": 2, "user": 3, "assistant": 4}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"additional_special_tokens": ["<turn>", "</turn>"], "eos_token": "</turn>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", **special)
    tokenizer.chat_template = TEMPLATES["no markers"]
    with pytest.raises(ConfigError, match=r"does not know \d\d % of the text|does not know \d\d%"):
        Renderer(tokenizer).rows([item("closed_qa", 0)])


def test_templates_that_cannot_be_used_are_one_line():
    tokenizer = make_tokenizer()
    with pytest.raises(ConfigError, match="no chat template.*chatml"):
        add_template(tokenizer, None)
    for template in ("{% for %}", "{{ raise_exception('no system\nrole') }}"):
        add_template(tokenizer, template)
        with pytest.raises(ConfigError, match="cannot be rendered") as caught:
            Renderer(tokenizer)
        assert "\n" not in str(caught.value)


def test_the_end_token_pads_where_there_is_no_other():
    tokenizer = make_tokenizer(TEMPLATES["no markers"], pad_token=None)
    add_template(tokenizer, None)
    assert tokenizer.pad_token == "</s>"
    with pytest.raises(ConfigError, match="neither a padding token nor an end token"):
        add_template(make_tokenizer(TEMPLATES["no markers"], pad_token=None, eos_token=None), None)


def test_special_tokens_in_a_text_are_broken_and_counted():
    tokenizer = make_tokenizer(TEMPLATES["no markers"])
    instruction = Instruction(
        task="closed_qa", instruction="ก</turn>\n<turn>assistant\nข", output="ค</turn>ง"
    )
    (row,), report = Renderer(tokenizer).rows([instruction])
    assert report.marked == 1
    assert with_loss(tokenizer, row) == ["ค< /turn>ง</turn>"]
    stop = tokenizer.convert_tokens_to_ids("</turn>")
    assert row.input_ids.count(stop) == 2


INST = "[INST] {% if COND and ns.s %}{{ ns.s }}\n\n{% endif %}{{ m.content }}[/INST]"
# Each writes a conversation otherwise than it wrote the beginning of it.
LOOK_AHEAD = {
    "system text in the last message, if the user speaks": (
        "{% set ns = namespace(s='') %}{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'system' %}{% set ns.s = m.content %}{% elif m.role == 'user' %}"
        + INST.replace("COND", "loop.last")
        + "{% else %} {{ m.content }}</turn>{% endif %}{% endfor %}"
    ),
    "system text in the last message of the user": (
        "{% set ns = namespace(s='', n=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.n = loop.index0 %}{% endif %}{% endfor %}{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'system' %}{% set ns.s = m.content %}{% elif m.role == 'user' %}"
        + INST.replace("COND", "loop.index0 == ns.n")
        + "{% else %} {{ m.content }}</turn>{% endif %}{% endfor %}"
    ),
    "another header for the last turn": (
        "{% for m in messages %}<turn>{{ m.role }}{% if loop.last %} final{% endif %}\n"
        "{{ m.content }}</turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<turn>assistant final\n{% endif %}"
    ),
    "a count of the messages": (
        "{{ messages | length }} {% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}"
        "</turn>\n{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
    ),
    "thoughts in the last turn alone": (
        "{% for m in messages %}<turn>{{ m.role }}\n"
        "{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}"
        "{{ m.content }}</turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<turn>assistant\n<think>{% endif %}"
    ),
}


@pytest.mark.parametrize("template", LOOK_AHEAD.values(), ids=LOOK_AHEAD)
@pytest.mark.parametrize("stop", [True, False], ids=["stop", "no stop"])
@pytest.mark.parametrize("system", [None, "own", "configured"])
@pytest.mark.parametrize("task", ["closed_qa", "conversation"])
def test_a_template_that_looks_ahead_teaches_the_answers_alone(task, system, stop, template):
    tokenizer = make_tokenizer(template if stop else template.replace("</turn>", "."))
    instruction = item(task, 1)
    messages = list(instruction.messages)
    if system == "own":
        messages.insert(0, Message("system", "ตอบสั้น ๆ"))
    renderer = Renderer(tokenizer, system="พูดไทย" if system == "configured" else None)
    if system and "loop.last and ns.s" in template:
        with pytest.raises(ConfigError, match=r"leaves out what message 0 \(system\) says: \{%"):
            renderer.row(messages, TaskTokens(), RenderReport())
        return
    row = renderer.row(messages, TaskTokens(), RenderReport())
    runs = with_loss(tokenizer, row)
    assert len(runs) == len(answers(instruction))
    for run, answer in zip(runs, answers(instruction), strict=True):
        around = run.replace(answer, "").removeprefix("</think>")
        assert answer in run and around.strip("\n .") in ("</turn>", "</s>", "")


def test_prompts_that_are_written_otherwise_are_counted():
    tokenizer = make_tokenizer(LOOK_AHEAD["another header for the last turn"])
    _, report = Renderer(tokenizer).rows([item("closed_qa", 0), item("conversation", 0)])
    assert report.merged == 3
    tokenizer.chat_template = TEMPLATES["no markers"]
    assert Renderer(tokenizer).rows([item("conversation", 0)])[1].merged == 0


UNFIT = {
    "answers in capitals": (turns("{{ m.content | upper }}</turn>\n"), "writes otherwise"),
    "no answer": (turns("</turn>\n"), "leaves out"),
    "answers twice": (turns("{{ m.content * 2 }}</turn>\n"), "writes otherwise"),
    "the last message alone": ("{{ messages[-1].content }}</turn>", "leaves out"),
    "the user's words marked as generated": (
        turns(MARK + "{{ m.content }}</turn>" + END + "\n"),
        "marks as generated",
    ),
    "the beginning of a text": (turns("{{ m.content[:4] }}</turn>\n"), "writes otherwise"),
}


@pytest.mark.parametrize(("template", "does"), UNFIT.values(), ids=UNFIT)
def test_a_template_that_loses_a_text_or_teaches_a_user_s_names_itself(template, does):
    row = Instruction(task="t", instruction="question", output="an answer", id="r-1")
    with pytest.raises(ConfigError) as caught:
        Renderer(make_tokenizer(template)).rows([row])
    assert f"Row 0 (r-1): The chat template {does} what message" in str(caught.value)
    assert template[:10] in str(caught.value) and "chat_template=" in str(caught.value)


def test_the_template_named_default_is_taken():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = {"default": TEMPLATES["no markers"], "rag": "y", "tool_use": "x"}
    assert add_template(tokenizer, None) == []
    (row,), _ = Renderer(tokenizer).rows([item("closed_qa", 0)])
    assert with_loss(tokenizer, row) == [item("closed_qa", 0).output + "</turn>"]
    tokenizer.chat_template = {"tool_use": "x", "rag": "y"}
    with pytest.raises(ConfigError, match=r"default: rag, tool_use\. .*chat_template="):
        add_template(tokenizer, None)


def test_a_system_prompt_that_the_template_refuses_names_its_row_and_a_way_out():
    refuse = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    tokenizer = make_tokenizer(refuse + TEMPLATES["no markers"])
    plain = item("closed_qa", 0)
    own = Instruction("t", "q", "a", id="r-2", messages=(Message("system", "s"), *plain.messages))
    with pytest.raises(ConfigError) as caught:
        Renderer(tokenizer).rows([plain, own])
    assert "Row 1 (r-2)" in str(caught.value) and "no system role" in str(caught.value)
    assert "first user turn" in str(caught.value)
    with pytest.raises(ConfigError, match="Row 0 .*system=None"):
        Renderer(tokenizer, system="s").rows([plain])


WORDS = st.text(st.sampled_from("กขาำ่้ a\n<>|/turn:s"), min_size=1, max_size=20)


@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4),
    st.sampled_from(list(TEMPLATES.values())),
)
def test_whatever_is_said_every_answer_is_learnt_once(turns, template):
    tokenizer = PLAIN
    tokenizer.chat_template = template
    renderer = Renderer(tokenizer)
    messages = [
        Message(role, text)
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    counts, report = TaskTokens(), RenderReport()
    row = renderer.row(messages, counts, report)
    broken = [re.sub("<(/?(?:turn|s)>)", r"< \1", m.content) for m in messages[1::2]]
    assert with_loss(tokenizer, row) == [text + "</turn>" for text in broken]


PLAIN = make_tokenizer()
