"""Belebele from files of the hub's form, in every language of the packs."""

import subprocess
import sys

import pytest

from seedfree.errors import ConfigError
from seedfree.evaluation.belebele import Belebele
from seedfree.evaluation.evaluate import evaluate
from seedfree.generators.function import FunctionGenerator
from seedfree.languages import Language, languages
from tests.evaluation.benchmarks import belebele_rows, write_jsonl

# FLORES-200 codes.
CODES = {
    "en": "eng_Latn", "id": "ind_Latn", "km": "khm_Khmr", "lo": "lao_Laoo", "my": "mya_Mymr",
    "sw": "swh_Latn", "th": "tha_Thai", "tr": "tur_Latn", "vi": "vie_Latn",
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return write_jsonl(tmp_path / "tha_Thai.jsonl", belebele_rows())


def test_a_row_becomes_a_question_whose_answer_is_the_right_choice_s_text(path):
    first, second, third, _ = Belebele("th", path).questions()
    assert first.choices == ("คำตอบ 01", "คำตอบ 02", "คำตอบ 03", "คำตอบ 04")
    assert [question.answer for question in (first, second, third)] == [
        "คำตอบ 01",
        "คำตอบ 12",
        "คำตอบ 23",
    ]
    assert first.context.startswith("แม่น้ำ") and first.task == "multiple_choice"
    assert first.source == second.source != third.source
    assert len({question.id for question in Belebele("th", path).questions()}) == 4


def test_every_language_of_the_packs_is_asked_in_itself_with_its_own_labels(tmp_path):
    assert set(languages()) == set(CODES)
    for flores in CODES.values():
        write_jsonl(tmp_path / f"{flores}.jsonl", belebele_rows(flores))
    orders = set()
    for code in CODES:
        benchmark = Belebele(code, tmp_path)
        question = benchmark.questions()[1]
        prompt = benchmark.prompt(question)
        labels = Language.load(code).labels[:4]
        wanted = "\n".join(
            f"{label}. {choice}" for label, choice in zip(labels, question.choices, strict=True)
        )
        order, passage, asked, choices = prompt.user.split("\n\n")
        assert (passage, asked, choices) == (question.context, question.question, wanted)
        assert (benchmark.name, benchmark.language) == (f"belebele-{code}", code)
        orders.add(order)
    assert len(orders) == len(CODES)


@pytest.mark.parametrize(
    ("language", "flores"),
    [
        (Language("yo", "Yoruba", "Yorùbá", "Latin", "x"), "yor_Latn"),
        (Language("hi", "Hindi", "हिन्दी", "Devanagari", "x"), "hin_Deva"),
        (Language("hi", "Hindi", "Hindi", "Latin", "x"), "hin_Latn"),
        ("yo", "yor_Latn"),
        ("yor", "yor_Latn"),
        ("zho_Hant", "zho_Hant"),
    ],
)
def test_a_language_without_a_pack_is_asked_in_english(tmp_path, language, flores):
    path = write_jsonl(tmp_path / f"{flores}.jsonl", belebele_rows(flores))
    benchmark = Belebele(language, tmp_path)
    question = benchmark.questions()[0]
    prompt = benchmark.prompt(question).user
    assert prompt.startswith("Read the passage") and prompt.endswith(f"D. {question.choices[3]}")
    assert Belebele(language, path).name == f"belebele-{benchmark.language}"
    model = FunctionGenerator(lambda prompt: "A", name="a")
    scored = evaluate(model, benchmark, tmp_path / "out")
    assert scored.accuracy is not None and scored.accuracy.unparsed == 0


def test_a_flores_code_of_a_pack_is_asked_in_the_language(tmp_path):
    assert Belebele("tha_Thai", tmp_path).language == "th"


def test_rows_of_another_language_in_the_file_are_left_alone(tmp_path):
    path = write_jsonl(tmp_path / "all.jsonl", belebele_rows() + belebele_rows("lao_Laoo"))
    assert len(Belebele("lo", path).questions()) == 4
    with pytest.raises(ConfigError, match=r"all\.jsonl holds no rows in vie_Latn"):
        Belebele("vi", path).questions()


def test_a_folder_without_the_language_and_a_language_without_a_code_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no tha_Thai\.jsonl"):
        Belebele("th", tmp_path).questions()
    with pytest.raises(ConfigError, match="not in the language xx"):
        Belebele(Language("xx", "Elvish", "Elvish", "Latin", "You speak it."))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct_answer_num": "5"}, "not four choices"),
        ({"mc_answer3": ""}, "not four choices"),
        ({"question": None}, "has no column question"),
    ],
)
def test_a_row_of_another_form_is_one_line(tmp_path, change, message):
    rows = [row | change for row in belebele_rows()]
    if None in change.values():
        rows = [{key: value for key, value in row.items() if value is not None} for row in rows]
    with pytest.raises(ConfigError, match=message) as caught:
        Belebele("th", write_jsonl(tmp_path / "tha_Thai.jsonl", rows)).questions()
    assert "\n" not in str(caught.value) and "tha_Thai.jsonl" in str(caught.value)


def test_without_a_path_the_language_s_test_split_is_loaded(tmp_path):
    (tmp_path / "datasets.py").write_text(
        "def load_dataset(name, config=None, *, split):\n"
        "    assert (name, config, split) == ('facebook/belebele', 'lao_Laoo', 'test')\n"
        f"    return {belebele_rows('lao_Laoo')!r}\n",
        encoding="utf-8",
    )
    code = """
from seedfree.evaluation.belebele import Belebele
print(len(Belebele('lo').questions()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(filter(None, sys.path))}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "4"


def test_packed_parquet_is_of_a_kind_that_cannot_be_read(tmp_path):
    (tmp_path / "a.parquet.gz").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="of a kind that cannot be read"):
        Belebele("th", tmp_path / "a.parquet.gz").questions()
