"""What every benchmark does: add a new one to BENCHMARKS."""

from dataclasses import replace

import pytest

from seedfree.errors import ConfigError
from seedfree.evaluation.belebele import Belebele
from seedfree.evaluation.wangchan import WangchanThaiInstruct
from seedfree.languages import Language
from seedfree.protocols import Benchmark
from seedfree.records import Prompt, Question
from tests.evaluation.benchmarks import belebele_rows, wangchan_rows, write_jsonl


class OwnBenchmark:
    """The least that somebody else's has."""

    name = "own"
    language = "th"

    def questions(self):
        return [
            Question("1", "open_qa", "ถามอะไร", "ตอบ"),
            Question("2", "open_qa", "ถามอะไรอีก", "ตอบอีก"),
        ]

    def prompt(self, question):
        return Prompt(question.question)


BENCHMARKS = {
    "own": lambda folder: OwnBenchmark(),
    "wangchan": lambda folder: WangchanThaiInstruct(
        write_jsonl(folder / "w.jsonl", wangchan_rows())
    ),
    "belebele": lambda folder: Belebele(
        "th", write_jsonl(folder / "tha_Thai.jsonl", belebele_rows())
    ),
}
FILES = {"wangchan": WangchanThaiInstruct, "belebele": lambda path: Belebele("th", path)}


@pytest.fixture(params=BENCHMARKS)
def make(request, tmp_path):
    return lambda: BENCHMARKS[request.param](tmp_path)


@pytest.fixture
def benchmark(make):
    return make()


def test_it_has_a_name_for_files_and_a_language_of_the_packs(benchmark):
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name and not set(benchmark.name) & set("/\\ \n\t")
    assert Language.load(benchmark.language).code == benchmark.language


def test_questions_have_an_id_of_their_own_a_task_and_an_answer(benchmark):
    questions = benchmark.questions()
    assert len(questions) > 0
    assert len({question.id for question in questions}) == len(questions)
    for question in questions:
        assert isinstance(question, Question)
        assert question.id
        assert question.task
        assert question.question.strip()
        assert question.answer.strip()
        assert not question.choices or question.answer in question.choices


def test_it_gives_the_same_whenever_it_is_asked(make, benchmark):
    assert list(benchmark.questions()) == list(benchmark.questions()) == list(make().questions())


def test_a_prompt_holds_all_that_is_asked_but_not_which_answer_is_right(benchmark):
    for question in benchmark.questions():
        prompt = benchmark.prompt(question)
        assert isinstance(prompt, Prompt) and prompt == benchmark.prompt(question)
        for text in (question.question, question.context, *question.choices):
            assert text in prompt.user
        assert benchmark.prompt(replace(question, answer="คำตอบอื่น")) == prompt
        assert prompt.temperature is None and prompt.schema is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"x": 1}\n'])
def test_a_file_that_is_not_there_or_not_right_is_a_one_line_error(name, content, tmp_path):
    path = tmp_path / "tha_Thai.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        FILES[name](path).questions()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
