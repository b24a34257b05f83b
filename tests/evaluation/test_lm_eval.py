"""Exports run in lm-evaluation-harness itself, and its scores are those worked out by hand."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from seedfree.errors import ConfigError
from seedfree.evaluation.lm_eval import export_lm_eval
from seedfree.records import Prompt, Question
from tests.training.tiny import SENTENCES, save_base

# What a harness that renders, evaluates or calls texts would trip over.
HOSTILE = "{{ 7 * 7 }} {% raw %} !function os.system [1, 2] \u2028 'x' \"y\" ---"


class Quiz:
    """Questions of both sorts."""

    name, language = "tiny quiz", "th"

    def __init__(self, choices=12, texts=0, answers=None, system=None):
        self.system = system
        self._questions = [
            Question(
                id=f"c{n}",
                task="pick",
                question=f"ข้อ {n} {HOSTILE}",
                answer=SENTENCES[n % 4][: 9 + n],
                choices=tuple(sentence[: 9 + n] for sentence in SENTENCES[:4]),
            )
            for n in range(choices)
        ]
        answers = answers or [f"{SENTENCES[n % 6]} {HOSTILE}" for n in range(texts)]
        self._questions += [
            Question(id=f"t{n}", task="tell", question=f"เล่าเรื่องที่ {n}", answer=answer)
            for n, answer in enumerate(answers)
        ]

    def questions(self):
        return self._questions

    def prompt(self, question):
        return Prompt(f"{question.question}\nคำตอบ:", system=self.system)


def read(folder, name):
    config = yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8"))
    lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
    return config, [json.loads(line) for line in lines]


def test_files_name_columns_and_hold_no_code_and_no_templates(tmp_path):
    quiz = Quiz(choices=3, texts=2, system="ตอบสั้น ๆ")
    assert export_lm_eval(quiz, tmp_path, shots=1) == ["tiny_quiz_choice", "tiny_quiz_text"]
    for name, wanted, n in (
        ("tiny_quiz_choice", "multiple_choice", 3),
        ("tiny_quiz_text", "generate_until", 2),
    ):
        config, rows = read(tmp_path, name)
        assert config["output_type"] == wanted and len(rows) == n and config["num_fewshot"] == 1
        for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
            assert config.get(key, "prompt") in rows[0]
        text = (tmp_path / f"{name}.yaml").read_text("utf-8")
        assert not any(
            mark in text for mark in ("!function", "{{", "{%", "trust_remote_code", "ข้อ")
        )
        assert config["dataset_path"] == "json"
        assert os.path.isabs(config["dataset_kwargs"]["data_files"]["test"])
    rows = read(tmp_path, "tiny_quiz_choice")[1]
    assert rows[2]["prompt"] == f"ตอบสั้น ๆ\n\nข้อ 2 {HOSTILE}\nคำตอบ:" and rows[2]["label"] == 2
    assert [row["choices"][row["label"]] for row in rows] == [
        question.answer for question in quiz.questions()[:3]
    ]
    assert export_lm_eval(Quiz(choices=2), tmp_path, name="of mine/ข้าว") == ["of_mine_ข้าว"]


@pytest.mark.parametrize(
    ("quiz", "options", "says"),
    [
        (Quiz(choices=0), {}, "no questions"),
        ([], {}, "benchmark is list"),
        (Quiz(choices=2), {"shots": 2}, "2 shots"),
        (Quiz(choices=2), {"shots": -1}, "shots"),
        (Quiz(choices=2), {"name": "../.."}, "no name"),
        (Quiz(choices=2), {"folder": "a[1]"}, "pattern"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, quiz, options, says):
    with pytest.raises(ConfigError, match=says):
        export_lm_eval(quiz, tmp_path / options.pop("folder", "tasks"), **options)
    assert not (tmp_path / "tasks").exists()


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.yaml"])
def test_files_of_others_are_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="no task of ours"):
        export_lm_eval(Quiz(choices=2), tmp_path, name="mine")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / name).unlink()
    for _ in range(2):  # its own files it writes anew
        assert export_lm_eval(Quiz(choices=2), tmp_path, name="mine") == ["mine"]


def test_an_answer_that_is_no_choice_is_refused(tmp_path):
    quiz = Quiz(choices=0)
    quiz._questions = [Question(id="7", task="t", question="?", answer="ง", choices=("ก", "ข"))]
    with pytest.raises(ConfigError, match="question 7"):
        export_lm_eval(quiz, tmp_path)


RUN = """
import json, sys
import lm_eval
from lm_eval.tasks import TaskManager

base, tasks, names = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
report = lm_eval.simple_evaluate(
    model="hf",
    model_args={"pretrained": base, "dtype": "float32"},
    tasks=names,
    device="cpu",
    batch_size=4,
    task_manager=TaskManager(include_path=tasks, include_defaults=False),
    bootstrap_iters=0,
    log_samples=True,
    gen_kwargs="max_gen_toks=4",
)
keep = {name: report[name] for name in ("results", "n-samples", "samples")}
print("\\n" + json.dumps(keep, default=str))
"""


def harness(base, folder, names, home):
    if find_spec("lm_eval") is None:
        pytest.skip("lm_eval is not installed")
    offline = dict.fromkeys(
        ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "DO_NOT_TRACK"), "1"
    )
    environment = os.environ | offline | {"HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, base, folder, ",".join(names)],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One run of the harness on questions of both sorts, the answers of some being dates."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("lm_eval")
    base = save_base(folder / "base", template=None)
    quiz = Quiz(choices=12, answers=["2024-01-01", "1932-06-24"])
    names = export_lm_eval(quiz, folder / "tasks")
    return quiz, base, names, harness(base, folder / "tasks", names, folder / "home")


def log_likelihoods(base, prompts, choices):
    """Of each choice after its prompt, from the model alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from seedfree.training.base_model import quiet

    with quiet():
        model, tokenizer = (
            AutoModelForCausalLM.from_pretrained(base),
            AutoTokenizer.from_pretrained(base),
        )
    for prompt, each in zip(prompts, choices, strict=True):
        start = len(tokenizer(prompt, add_special_tokens=False).input_ids)
        scores = []
        for choice in each:
            ids = torch.tensor(
                [tokenizer(f"{prompt} {choice}", add_special_tokens=False).input_ids]
            )
            with torch.no_grad():
                logs = model(ids).logits[0, :-1].log_softmax(-1)
            scores.append(logs.gather(1, ids[0, 1:, None])[start - 1 :].sum().item())
        yield scores


def test_the_harness_gives_the_accuracy_that_log_likelihoods_give(ran):
    quiz, base, names, report = ran
    asked = quiz.questions()[:12]
    prompts = [quiz.prompt(question).user for question in asked]
    scores = list(log_likelihoods(base, prompts, [question.choices for question in asked]))
    right = [
        max(range(4), key=scored.__getitem__) == q.choices.index(q.answer)
        for scored, q in zip(scores, asked, strict=True)
    ]
    assert 0 < sum(right) < 12  # a model that is always right or wrong would prove little
    name = names[0]
    assert report["results"][name]["acc,none"] == pytest.approx(sum(right) / 12)
    assert report["n-samples"][name] == {"original": 12, "effective": 12}
    for sample in report["samples"][name]:
        # to the letter: nothing was rendered
        assert sample["arguments"][0][0] == prompts[sample["doc_id"]]
        answered = [reply[0] for reply in sample["filtered_resps"]]
        assert answered == pytest.approx(scores[sample["doc_id"]], abs=1e-3)


def test_the_harness_generates_and_scores_what_was_written(ran):
    import sacrebleu

    quiz, _, names, report = ran
    samples = report["samples"][names[1]]
    assert [sample["target"].strip() for sample in samples] == ["2024-01-01", "1932-06-24"]
    assert report["n-samples"][names[1]]["effective"] == 2
    answers = [sample["filtered_resps"][0] for sample in samples]
    wanted = sacrebleu.corpus_chrf(answers, [["2024-01-01", "1932-06-24"]]).score
    assert report["results"][names[1]]["chrf,none"] == pytest.approx(wanted)
