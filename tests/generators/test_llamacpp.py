import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import BaseModel, Field

from seedfree.engine.schema import parse
from seedfree.errors import ConfigError, RequestError, RetryableError, SeedfreeError
from seedfree.generators import llamacpp
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.records import Example, Prompt

OK = httpx.Headers()
NO_LLAMA = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Question(BaseModel):
    instruction: str = Field(min_length=1, max_length=120)
    output: str = Field(min_length=1, max_length=120)
    score: int = Field(ge=1, le=5)


def example(given, **reply):
    return Example(given, json.dumps(reply, ensure_ascii=False, separators=(",", ":")))


PROMPT = Prompt(
    "ตั้งคำถามหนึ่งข้อจากเรื่องที่ให้ แล้วตอบ",
    schema=Question,
    examples=(
        example(
            "ปลาทูแม่กลอง ตัวสั้น หน้างอ คอหัก",
            instruction="ปลาทูแม่กลองมีรูปร่างอย่างไร",
            output="ตัวสั้น หน้างอ และคอหัก",
            score=4,
        ),
        example(
            "วัดอรุณอยู่ริมแม่น้ำเจ้าพระยา", instruction="วัดอรุณอยู่ริมแม่น้ำใด", output="แม่น้ำเจ้าพระยา", score=5
        ),
    ),
    cue="ข้าวหลามหนองมนเป็นของฝากจากจังหวัดชลบุรี",
    max_tokens=200,
    seed=7,
)


def gguf(folder, name="model.gguf", **pairs):
    """The beginning of a GGUF file: enough to be told apart, too little to be loaded."""
    text = b"".join(
        len(k).to_bytes(8, "little")
        + k.encode()
        + (8).to_bytes(4, "little")
        + len(v).to_bytes(8, "little")
        + v.encode()
        for k, v in pairs.items()
    )
    path = folder / name
    path.write_bytes(
        b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + len(pairs).to_bytes(8, "little") + text
    )
    return path


def body(prompt, model=None, **settings):
    generator = LlamaCppGenerator(model, **settings)
    generator.start = lambda: "http://127.0.0.1:1"
    return json.loads(generator.request(prompt).content)


def connects(url):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0


def gone(pid, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_thai_reply_fits_the_schema(llama):
    reply = llama.generate(PROMPT)
    fields = parse(reply.text, Question)
    assert any("ก" <= c <= "๛" for c in fields.instruction)
    assert reply.stop_reason == "end"
    assert reply.model == llama.identity == "llamacpp:sha256:a5fd3b62230aa5ec"
    assert reply.usage.input_tokens > 50 and reply.usage.output_tokens > 10


def test_a_cut_reply_says_so(llama):
    reply = llama.generate(Prompt("กรุงเทพ", max_tokens=3))
    assert reply.stop_reason == "max_tokens" and reply.usage.output_tokens == 3


def test_the_largest_texts_and_lists_make_a_grammar_that_llama_accepts(llama):
    class Large(BaseModel):
        texts: list[str] = Field(min_length=1, max_length=100)
        long: str = Field(max_length=10_000)
        strange: str = Field(alias='ก "\\ ]', max_length=5)
        n: int = Field(ge=-500, le=500)
        ok: bool | None

    reply = llama.generate(Prompt("x", schema=Large, max_tokens=2))
    assert reply.usage.output_tokens == 2


def test_a_prompt_that_does_not_fit_is_refused_for_good(llama):
    with pytest.raises(RequestError, match="context") as caught:
        llama.generate(Prompt("กรุงเทพ " * 5000))
    assert not isinstance(caught.value, RetryableError)


def test_the_same_request_repeats_itself():
    other = Prompt("แม่น้ำโขง", max_tokens=5)
    with LlamaCppGenerator(repeatable=True, context=1024) as generator:
        first = generator.generate(PROMPT)
        generator.generate(other)
        assert generator.generate(PROMPT) == first
        seeds = [Prompt("ประเทศไทย", max_tokens=12, seed=seed) for seed in range(3)]
        assert len({generator.generate(prompt).text for prompt in seeds}) > 1


def test_close_ends_the_process_and_the_next_request_starts_another():
    generator = LlamaCppGenerator(parallel=1, context=512)
    url, process = generator.base_url, generator._server._process
    assert connects(url)
    generator.close()
    assert process.poll() is not None and not connects(url)
    generator.close()
    assert connects(generator.base_url)
    os.kill(generator._server._process.pid, signal.SIGKILL)
    generator._server._process.wait()
    assert connects(generator.base_url)
    generator.close()


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "pass"])
def test_no_process_outlives_its_parent(end):
    script = f"""
        import os
        from seedfree.generators.llamacpp import LlamaCppGenerator
        generator = LlamaCppGenerator(parallel=1, context=512)
        url = generator.start()
        print(generator._server._process.pid, flush=True)
        {end}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env={**os.environ, **NO_LLAMA},
    )
    assert gone(int(done.stdout)), done.stderr


def test_the_body_depends_on_prompt_and_settings_alone():
    assert body(PROMPT) == body(PROMPT)
    sent = body(PROMPT)
    assert sent["prompt"].endswith("}\n\nข้าวหลามหนองมนเป็นของฝากจากจังหวัดชลบุรี\n")
    assert sent["prompt"].count("{") == 2
    assert (sent["seed"], sent["n_predict"], sent["temperature"]) == (7, 200, 0.7)
    assert body(PROMPT, temperature=0.2)["temperature"] == 0.2
    assert body(Prompt("ก", temperature=0.9))["temperature"] == 0.9
    assert body(Prompt("ก"))["prompt"] == "ก\n" and "grammar" not in body(Prompt("ก"))


@pytest.mark.parametrize(
    ("name", "pairs", "chat"),
    [
        ("Qwen3-8B-Q4.gguf", {"tokenizer.chat_template": "{{ messages }}"}, True),
        ("Qwen3-8B-Base-Q4.gguf", {"tokenizer.chat_template": "{{ messages }}"}, False),
        ("m.gguf", {"general.finetune": "pt", "tokenizer.chat_template": "{{ messages }}"}, False),
        ("Llama-3-8B.gguf", {"general.name": "Llama 3 8B"}, False),
    ],
)
def test_an_instruct_model_is_known_by_its_file(tmp_path, name, pairs, chat):
    path = gguf(tmp_path, name, **pairs)
    assert LlamaCppGenerator(path).chat is chat
    assert LlamaCppGenerator(path, chat=not chat).chat is not chat
    assert LlamaCppGenerator(path).shows_examples is not chat


def test_a_chat_model_gets_messages(tmp_path):
    prompt = Prompt("ถาม", system="คนไทย", schema=Question)
    sent = body(prompt, gguf(tmp_path, **{"tokenizer.chat_template": "{{ messages }}"}))
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["max_tokens"] == 1024 and sent["grammar"].startswith("root ::=")


def test_a_chat_reply_is_read():
    answer = {
        "choices": [
            {"message": {"role": "assistant", "content": "สวัสดี"}, "finish_reason": "length"}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    }
    reply = LlamaCppGenerator().reply(200, OK, json.dumps(answer).encode())
    assert (reply.text, reply.stop_reason, reply.usage.output_tokens) == ("สวัสดี", "max_tokens", 2)


def tried(text, *logprobs):
    tokens = [{"logprob": each} for each in logprobs]
    counts = {"tokens_evaluated": 5, "tokens_predicted": len(tokens)}
    return {"content": text, "stop_type": "eos", "completion_probabilities": tokens, **counts}


def test_of_several_answers_the_likeliest_a_token_counts_and_all_are_paid_for():
    answers = [tried("ก", -2.0, -0.2), tried("ข", -0.5, -0.5, -0.5), tried("ค"), tried("ง", -9.0)]
    reply = LlamaCppGenerator().reply(200, OK, json.dumps(answers).encode())
    assert (reply.text, reply.usage.input_tokens, reply.usage.output_tokens) == ("ข", 20, 6)
    choices = [
        {"message": {"content": text}, "logprobs": {"content": [{"logprob": each}]}}
        for text, each in (("ก", -3.0), ("ข", -1.0))
    ]
    usage = {"prompt_tokens": 4, "completion_tokens": 2}
    body = json.dumps({"choices": choices, "usage": usage}).encode()
    reply = LlamaCppGenerator().reply(200, OK, body)
    assert (reply.text, reply.usage.output_tokens) == ("ข", 2)


def test_several_answers_are_asked_for_at_once(tmp_path):
    assert body(PROMPT, best_of=3)["n_cmpl"] == 3 and "n_cmpl" not in body(PROMPT)
    chat = gguf(tmp_path, **{"tokenizer.chat_template": "{{ messages }}"})
    assert body(PROMPT, chat, best_of=2)["n"] == 2
    with LlamaCppGenerator(best_of=2, parallel=2, context=512, temperature=1.5) as generator:
        url = generator.start()
        sent = body(Prompt("แม่น้ำโขง", max_tokens=6, seed=1), best_of=2, temperature=1.5)
        answers = httpx.post(f"{url}/completion", json=sent, timeout=60)
        first, second = (each["content"] for each in answers.json())
        assert first != second
        assert generator.reply(200, OK, answers.content).text in (first, second)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'[{"error": {"code": 503, "message": "m"}}]', RetryableError),
        (b"[]", RetryableError),
        (b"[3]", RetryableError),
        (
            b'{"error": {"code": 400, "message": "m", "type": "invalid_request_error"}}',
            RequestError,
        ),
        (b'{"error": {"code": 503, "message": "Loading model"}}', RetryableError),
        (b'{"error": "boom"}', RetryableError),
        (b'{"content": 5}', RetryableError),
        (b'{"choices": [null]}', RetryableError),
        (b'{"cont', RetryableError),
    ],
)
def test_an_error_in_a_success_is_noticed(content, error):
    with pytest.raises(SeedfreeError) as caught:
        LlamaCppGenerator().reply(200, OK, content)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "settings",
    [
        {"context": 10},
        {"parallel": 0},
        {"threads": 0},
        {"temperature": -1},
        {"repeat_penalty": 0},
        {"best_of": 0},
        {"best_of": 5},
        {"best_of": 2, "repeatable": True},
    ],  # fmt: skip
)
def test_a_wrong_setting_is_one_line(settings):
    with pytest.raises(ConfigError) as caught:
        LlamaCppGenerator(**settings)
    assert next(iter(settings)) in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_file_is_said_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the model file .*none\.gguf: No such file"):
        LlamaCppGenerator(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ConfigError, match="is not a GGUF file"):
        LlamaCppGenerator(tmp_path / "text.gguf")
    with pytest.raises(ConfigError, match="expected 00ff, got [0-9a-f]{64}"):
        LlamaCppGenerator(gguf(tmp_path), sha256="00ff")
    with pytest.raises(ConfigError, match=r"did not start with .*model\.gguf"):
        LlamaCppGenerator(gguf(tmp_path)).start()


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(llamacpp, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'seedfree\[local\]'"):
        LlamaCppGenerator().start()


def test_a_damaged_default_file_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = llamacpp._default_model()
    assert path.is_relative_to(tmp_path)
    with path.open("r+b") as file:
        file.truncate(1000)
    assert llamacpp._default_model().stat().st_size > 200e6
    assert not list(path.parent.glob("*.part"))
