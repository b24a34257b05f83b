"""Likelihood as a measure: what a byte of an answer costs after its own question and another."""

import json

import pytest

import seedfree as sf
from seedfree.errors import ConfigError, ConfigMismatchError
from seedfree.evaluation import Likelihoods, evaluate, paired_p
from seedfree.records import Likelihood, Prompt, Question


class Quiz:
    name, language = "quiz", "th"

    def __init__(self, questions):
        self._questions = questions

    def questions(self):
        return self._questions

    def prompt(self, question):
        return Prompt(user=question.question, system="s")


class Echo:
    """Finds a letter likely that the question holds: half a bit, else two."""

    def __init__(self, *, deaf=False, most=None):
        self.deaf, self.asked, self.most = deaf, [], most

    def likelihoods(self, asked, *, max_tokens=200):
        if self.most is not None and len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked += asked
        return [self._of(messages[-1].content, answer) for messages, answer in asked]

    def _of(self, question, answer):
        bits = sum(0.5 if a in question and not self.deaf else 2.0 for a in answer)
        return Likelihood(bits * 0.6931471805599453, len(answer), len(answer.encode()))

    def as_generator(self, *, batch_size=8):
        return sf.FunctionGenerator(lambda prompt: "", name=f"echo-{self.deaf}")


OPEN = [Question(f"o{i}", "open", f"{a * 3}?", a * 8) for i, a in enumerate("abcdefgh")]
# "x" is likely after anything that holds it; the right one gains by its question.
CHOICE = [
    Question(f"c{i}", "choice", f"which is {a}?", a * 4, choices=("zz", a * 4, "yyyy"))
    for i, a in enumerate("klmn")
]


def test_what_a_question_tells_of_its_answer(tmp_path):
    found = evaluate(Echo(), Quiz(OPEN + CHOICE), tmp_path, measure="likelihood", progress=False)
    assert isinstance(found, Likelihoods) and list(found.tasks) == ["choice", "open", "all"]
    task = found.tasks["open"]
    assert (task.n, task.own, task.other, task.gained) == (8, 0.5, 2.0, 1.5)
    assert task.gained_interval == (1.5, 1.5) and found.tasks["all"].n == 12
    assert found.hits == (True,) * 4 and "4 of 4 choices right" in str(found)
    # An adapter that learnt only style gains nothing by a question.
    deaf = evaluate(
        Echo(deaf=True),
        Quiz(OPEN + CHOICE),
        tmp_path / "deaf",
        measure="likelihood",
        progress=False,
    )
    assert deaf.tasks["all"].gained == 0 and deaf.tasks["open"].own == 2.0
    assert paired_p(deaf.own, found.own) < 0.01


def test_choices_that_stand_in_the_question_are_compared_too(tmp_path):
    asked = [
        Question(
            f"m{i}", "multiple_choice", f"{a * 4}?", f"2. {a * 4}", context=f"1. zz\n2. {a * 4}"
        )
        for i, a in enumerate("klmn")
    ]
    unknown = [
        Question("u0", "multiple_choice", "kk?", "kk", context="1. zz"),
        Question("u1", "multiple_choice", "kk?", "-", context="1. zz\n2. kk"),
    ]
    found = evaluate(Echo(), Quiz(asked + unknown), tmp_path, measure="likelihood", progress=False)
    assert found.hits == (True,) * 4


def test_a_measurement_is_opened_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match="holds no likelihoods"):
        Likelihoods.open(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            Echo(most=4),
            Quiz(OPEN),
            tmp_path,
            measure="likelihood",
            batch_size=2,
            progress=False,
        )
    with pytest.raises(ConfigError, match="not finished"):
        Likelihoods.open(tmp_path)
    found = evaluate(Echo(), Quiz(OPEN), tmp_path, measure="likelihood", progress=False)
    assert Likelihoods.open(tmp_path).rows == found.rows


def test_what_is_opened_is_what_was_asked_for_last_and_in_its_order(tmp_path):
    few, whole = (
        evaluate(Echo(), Quiz(OPEN), tmp_path, measure="likelihood", limit=n, progress=False)
        for n in (4, None)
    )
    assert len(few.rows) == 4 and [row["id"] for row in whole.rows] == [q.id for q in OPEN]
    assert Likelihoods.open(tmp_path).rows == whole.rows
    evaluate(Echo(), Quiz(OPEN), tmp_path, measure="likelihood", limit=4, progress=False)
    assert Likelihoods.open(tmp_path).rows == few.rows
    with (tmp_path / "likelihoods.jsonl").open("a") as file:
        file.write('{"id": "o')
    assert Likelihoods.open(tmp_path).rows == few.rows


def test_the_other_question_is_of_the_same_task_and_each_is_taken_once(tmp_path):
    model = Echo()
    evaluate(model, Quiz(OPEN + CHOICE), tmp_path, measure="likelihood", progress=False)
    pairs = [(messages[-1].content, answer) for messages, answer in model.asked]
    others = [
        (asked, answer) for asked, answer in pairs if len(answer) == 8 and answer[0] not in asked
    ]
    assert len(others) == 8 and len({asked for asked, _ in others}) == 8
    assert all(messages[0].content == "s" for messages, _ in model.asked if messages[-1].content)


def test_it_goes_on_where_it_was_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            Echo(most=8), Quiz(OPEN), tmp_path, measure="likelihood", batch_size=2, progress=False
        )
    path = tmp_path / "likelihoods.jsonl"
    assert len(path.read_text().splitlines()) == 4
    path.write_text(path.read_text()[:-9])  # killed while it wrote
    again = Echo()
    found = evaluate(again, Quiz(OPEN), tmp_path, measure="likelihood", progress=False)
    assert len(again.asked) == 2 * 5 and len(found.rows) == 8
    whole = evaluate(Echo(), Quiz(OPEN), tmp_path / "b", measure="likelihood", progress=False)
    assert found.rows == whole.rows
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [
        question.id for question in OPEN
    ]


def test_what_cannot_be_measured_is_an_error_in_one_line(tmp_path):
    llm = sf.FunctionGenerator(lambda prompt: "", name="llm")
    with pytest.raises(ConfigError, match="FunctionGenerator tells no likelihoods"):
        evaluate(llm, Quiz(OPEN), tmp_path, measure="likelihood")
    with pytest.raises(ConfigError, match="measure is 'perplexity'"):
        evaluate(Echo(), Quiz(OPEN), tmp_path, measure="perplexity")
    with pytest.raises(ConfigError, match="one question of the task 'open'"):
        evaluate(Echo(), Quiz(OPEN[:1]), tmp_path / "one", measure="likelihood", progress=False)
    evaluate(Echo(), Quiz(OPEN), tmp_path / "a", measure="likelihood", progress=False)
    with pytest.raises(ConfigMismatchError, match="measure"):
        evaluate(Echo(), Quiz(OPEN), tmp_path / "a")
