"""The token that ends an answer, in twelve families of templates and in a base that lacks it."""

import json
import logging
from html import unescape

import pytest

from seedfree.errors import ConfigError
from seedfree.training.config import QLoRAConfig
from seedfree.training.render import Renderer
from seedfree.training.stop import choose_stop, replace_stop
from tests.training.test_render import answers, with_loss
from tests.training.tiny import TASKS, item, make_tokenizer, save_base

pytest.importorskip("transformers")

ROLE = "{{ 'model' if m.role == 'assistant' else m.role }}"
HEADER = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
ASK = "{% if add_generation_prompt %}"


def each(turn, prompt, begin=""):
    return begin + "{% for m in messages %}" + turn + "{% endfor %}" + ASK + prompt + "{% endif %}"


def by_role(user, assistant):
    return "{% if m.role == 'assistant' %}" + assistant + "{% else %}" + user + "{% endif %}"


# Special tokens, the tokenizer's end token, the template, and what must end an answer.
FAMILIES = {
    "ChatML": (
        ["<|im_start|>", "<|im_end|>"],
        "</s>",
        each("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n", "<|im_start|>assistant\n"),
        "<|im_end|>",
    ),
    "Llama 2": (
        [],
        "</s>",
        each(
            by_role("<s>[INST] {{ m.content | trim }} [/INST]", " {{ m.content | trim }} </s>"), ""
        ),
        "</s>",
    ),
    "Llama 3": (
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"],
        "<|end_of_text|>",
        each(
            HEADER + "{{ m.content | trim }}<|eot_id|>",
            HEADER.replace("{{ m.role }}", "assistant"),
            "{{ bos_token }}",
        ),
        "<|eot_id|>",
    ),
    "Gemma": (
        ["<start_of_turn>", "<end_of_turn>", "<eos>"],
        "<eos>",
        each(
            f"<start_of_turn>{ROLE}\n" + "{{ m.content | trim }}<end_of_turn>\n",
            "<start_of_turn>model\n",
            "{{ bos_token }}",
        ),
        "<end_of_turn>",
    ),
    "Mistral": (
        ["[INST]", "[/INST]"],
        "</s>",
        each(
            by_role("[INST] {{ m.content }}[/INST]", " {{ m.content }}{{ eos_token }}"),
            "",
            "{{ bos_token }}",
        ),
        "</s>",
    ),
    "Qwen 3": (
        ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|endoftext|>"],
        "<|im_end|>",
        each(
            "<|im_start|>{{ m.role }}\n{% if loop.last and m.role == 'assistant' %}"
            "<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n",
            "<|im_start|>assistant\n",
        ),
        "<|im_end|>",
    ),
    "Phi 3": (
        ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"],
        "<|endoftext|>",
        each("<|{{ m.role }}|>\n{{ m.content }}<|end|>\n", "<|assistant|>\n"),
        "<|end|>",
    ),
    "Zephyr": (
        [],
        "</s>",
        each("<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n", "<|assistant|>\n"),
        "</s>",
    ),
    "DeepSeek": (
        ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"],
        "<｜end▁of▁sentence｜>",
        each(
            by_role(
                "<｜User｜>{{ m.content }}",
                "<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>",
            ),
            "<｜Assistant｜>",
            "{{ bos_token }}",
        ),
        "<｜end▁of▁sentence｜>",
    ),
    "Command R": (
        [
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
        ],
        "<|END_OF_TURN_TOKEN|>",
        each(
            "<|START_OF_TURN_TOKEN|>"
            + by_role("<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>")
            + "{{ m.content }}<|END_OF_TURN_TOKEN|>",
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        "<|END_OF_TURN_TOKEN|>",
    ),
    "Granite": (
        ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"],
        "<|end_of_text|>",
        each(
            "<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n",
            "<|start_of_role|>assistant<|end_of_role|>",
        ),
        "<|end_of_text|>",
    ),
    "Alpaca": (
        [],
        "</s>",
        each(
            by_role("### Instruction:\n{{ m.content }}\n\n", "### Response:\n{{ m.content }}\n\n"),
            "### Response:\n",
        ),
        "</s>",
    ),
}


@pytest.mark.parametrize(("tokens", "end", "template", "stop"), FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("task", ["closed_qa", "conversation"])
def test_every_answer_ends_with_the_stop_token_of_its_family(task, tokens, end, template, stop):
    tokenizer = make_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.eos_token = end
    renderer = Renderer(tokenizer)
    assert renderer.stop == stop and choose_stop("auto", stop, tokenizer, None).text == stop
    instruction = item(task, 1)
    (row,), _ = renderer.rows([instruction])
    runs = with_loss(tokenizer, row)
    assert len(runs) == len(answers(instruction))
    for run, answer in zip(runs, answers(instruction), strict=True):
        assert answer in run
    # A template without one, such as Alpaca's, has it put behind the last answer alone.
    ends = runs if stop in template or "eos_token" in template else runs[-1:]
    assert all(run.endswith(stop) for run in ends)


UNUSED = [f"<unused{i}>" for i in range(12)]


@pytest.fixture
def base_with(tmp_path):
    """Makes a base model whose output layer never learnt some of its tokens."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    def make(untrained, *, reserved=UNUSED, filled=0, name="lm_head.weight"):
        tokenizer = make_tokenizer(each("<turn>{{ m.role }}\n{{ m.content }}</turn>\n", "<turn>"))
        tokenizer.add_special_tokens({"additional_special_tokens": reserved})
        torch.manual_seed(0)
        rows = torch.randn(len(tokenizer) + filled, 32)
        common, known = torch.randn(32), tokenizer.get_vocab()
        never = [known[token] for token in (*untrained, *reserved)]
        for row in (*never, *range(len(tokenizer), len(rows))):
            rows[row] = common + 0.05 * torch.randn(32)
        save_file({f"model.{name}": rows.to(torch.bfloat16)}, tmp_path / "model.safetensors")
        return tokenizer, tmp_path

    return make


@pytest.mark.parametrize("reserved", [{}, {"reserved": [], "filled": 20}], ids=["named", "filled"])
@pytest.mark.parametrize(
    "name", ["lm_head.weight", "embed_tokens.weight", "transformer.wte.weight"]
)
def test_an_end_that_the_base_never_learnt_gives_way_to_its_own(base_with, caplog, reserved, name):
    tokenizer, folder = base_with(["</turn>"], name=name, **reserved)
    with caplog.at_level(logging.WARNING):
        stop = choose_stop("auto", "</turn>", tokenizer, folder)
    assert (stop.text, stop.replaced, stop.trained) == ("</s>", "</turn>", True)
    assert "</s>: the base model never learnt </turn>" in caplog.text
    tokenizer.chat_template = replace_stop(tokenizer.chat_template, stop.replaced, stop.text)
    assert Renderer(tokenizer).stop == "</s>" and "</turn>" not in tokenizer.chat_template


def test_an_end_that_is_insisted_on_is_a_warning_with_the_way_out(base_with, caplog):
    tokenizer, folder = base_with(["</turn>"])
    stop = choose_stop("</turn>", "</turn>", tokenizer, folder)
    assert (stop.text, stop.replaced, stop.trained) == ("</turn>", "", False)
    assert "never learnt </turn>" in caplog.text and 'Give stop="auto".' in caplog.text
    caplog.clear()
    assert not choose_stop("auto", "</turn>", *base_with(["</turn>", "</s>"])).trained
    assert 'modules_to_save=("embed_tokens", "lm_head")' in caplog.text


def test_an_end_that_the_base_knows_stays(base_with, caplog):
    tokenizer, folder = base_with([])
    for wanted in ("auto", "</turn>"):
        stop = choose_stop(wanted, "</turn>", tokenizer, folder)
        assert (stop.text, stop.replaced, stop.trained) == ("</turn>", "", True)
    assert choose_stop("</s>", "</turn>", tokenizer, folder).replaced == "</turn>"
    assert caplog.text == ""


def test_nothing_is_said_where_nothing_can_be_compared(base_with, caplog, tmp_path):
    tokenizer, folder = base_with(["</turn>"], reserved=UNUSED[:3])
    for place in (folder, tmp_path / "no weights", None):
        stop = choose_stop("auto", "</turn>", tokenizer, place)
        assert (stop.text, stop.likeness, stop.trained) == ("</turn>", None, True)
    assert caplog.text == ""


def test_an_end_that_is_no_token_is_an_error(base_with):
    tokenizer, folder = base_with([])
    with pytest.raises(ConfigError, match=r"stop='</trun>' is no token.*it would be </turn>"):
        choose_stop("</trun>", "</turn>", tokenizer, folder)
    with pytest.raises(ConfigError, match=r"puts </turn> together"):
        replace_stop("{{ '</tu' + 'rn>' }}", "</turn>", "</s>")


def test_a_training_ends_answers_with_what_the_base_knows(tmp_path, rows, one_thread):
    from seedfree.training.trainer import QLoRATrainer

    folder = save_base(tmp_path / "base", never=["</turn>"])
    config = QLoRAConfig(rank=2, max_length=128, epochs=1, checkpoints=1, validation_share=0.125)
    model = QLoRATrainer(folder, config, show=False).train(rows, tmp_path / "out")
    stop = model.info["stop"]
    assert (stop["token"], stop["replaced"]) == ("</s>", "</turn>") and stop["likeness"] < 0.9
    assert stop["asked"] == len(TASKS) and 0 <= stop["ended"] <= stop["asked"]
    assert Renderer(model.tokenizer()).stop == "</s>"
    assert "</s>" in model.info["chat_template"] and "</turn>" not in model.info["chat_template"]
    card = unescape((model.folder / "README.md").read_text("utf-8").replace("\\", ""))
    assert "answers end with | </s>" in card
    assert f"end by themselves | {stop['ended']} of {stop['asked']}" in card
    merged = model.merge(tmp_path / "merged")
    ids = [
        json.loads((merged / name).read_text("utf-8"))
        for name in ("generation_config.json", "config.json", "tokenizer_config.json")
    ]
    assert ids[0]["eos_token_id"] in (1, [1]) and ids[1]["eos_token_id"] == 1
    assert ids[2]["eos_token"] == "</s>"
    again = QLoRATrainer(folder, config, show=False).train(rows, tmp_path / "out")
    assert again.info == model.info
