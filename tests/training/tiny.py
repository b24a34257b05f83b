"""A tiny Llama and a small tokenizer, made on the spot, and rows of the five tasks in Thai."""

from contextlib import contextmanager

import pytest

from seedfree.records import Instruction, Message

SENTENCES = [
    "ข้าวซอยเป็นอาหารของภาคเหนือ",
    "แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพมหานคร",
    "วัดพระแก้วอยู่ในพระบรมมหาราชวัง",
    "สงกรานต์เป็นวันขึ้นปีใหม่ของไทย",
    "ช้างเป็นสัตว์ประจำชาติ",
    "ต้มยำกุ้งมีรสเปรี้ยวและเผ็ด",
]


def item(task, number):
    """A row as the task publishes it."""
    first, second = SENTENCES[number % 6], SENTENCES[(number + 1) % 6]
    values = {"id": f"{task}-{number}", "task": task, "language": "th"}
    if task == "closed_qa":
        return Instruction(
            instruction="ข้อความนี้กล่าวถึงอะไร", input=first, output=f"กล่าวว่า{first}", **values
        )
    if task == "summarization":
        return Instruction(
            instruction="สรุปข้อความ",
            input=f"{first} {second}",
            output=f"- {first}\n- {second}",
            **values,
        )
    if task == "conversation":
        turns = ("สวัสดี", "สวัสดีครับ", f"รู้จักไหมว่า{first}", f"รู้ครับ {second}")
        roles = ("user", "assistant") * 2
        messages = tuple(Message(role, turn) for role, turn in zip(roles, turns, strict=True))
        return Instruction(instruction=turns[0], output=turns[1], messages=messages, **values)
    if task == "multiple_choice":
        question = f"ข้อใดถูกต้อง\nก. {first}\nข. {second}"
        return Instruction(instruction=question, output=f"{first} จึงตอบ ก. {first}", **values)
    return Instruction(
        instruction=f"คิดเรื่องเกี่ยวกับ{first}", output=f"1. {second}\n2. {first}", **values
    )


TASKS = ("brainstorming", "closed_qa", "conversation", "multiple_choice", "summarization")


@contextmanager
def one_thread():
    """Skips where a package of the extra `train` is missing, and computes on one thread.

    Threads that wait for each other take longer than what such small matrices need.
    """
    torch = pytest.importorskip("torch")
    for package in ("trl", "peft", "bitsandbytes", "datasets"):
        pytest.importorskip(package)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_tokenizer(template=None, **special):
    """Bytes, and what BPE finds in the sentences: a Thai letter is up to three tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<s>", "</s>", "<pad>", "<turn>", "</turn>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"} | special
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{k: v for k, v in special.items() if v}
    )
    fast.chat_template = template
    return fast


CHAT = (
    "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


def save_base(folder, *, template=CHAT, seed=0, tied=False, never=(), **sizes):
    """A Llama of two layers with its tokenizer, as a folder that transformers reads.

    Its output layer never learnt the tokens `never`, nor ten more that are kept for later.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from seedfree.training.base_model import quiet

    tokenizer = make_tokenizer(template)
    unused = [f"<unused{number}>" for number in range(10)] if never else []
    tokenizer.add_special_tokens({"additional_special_tokens": unused})
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    } | sizes
    sizes |= {"num_key_value_heads": 2, "initializer_range": 0.2, "tie_word_embeddings": tied}
    config = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, **sizes)
    with quiet():
        model = LlamaForCausalLM(config)
        rows = model.lm_head.weight.data
        for number in tokenizer.convert_tokens_to_ids([*never, *unused]):
            rows[number] = rows[0] + 0.01 * rows[number]
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
