"""A benchmark as tasks of lm-evaluation-harness: one YAML and one JSONL file a task, and no code.

The harness renders YAML values as Jinja templates unless they name a column of the data. Here each
names a column, so that nothing in a question is ever taken for a template.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seedfree._files import begins_with, json_line, write_atomic
from seedfree.errors import ConfigError
from seedfree.evaluation.loading import questions_of
from seedfree.protocols import Benchmark
from seedfree.records import Question

__all__ = ["export_lm_eval"]

# What the loader of the data takes for a pattern or a chain of protocols in a path.
_PATTERN = re.compile(r"[*\[\]]|::")
# A column of nothing but such texts is read as points in time, and their wording lost.
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*", re.DOTALL)
# As in the paper's decoding.
_MAX_TOKENS = 512


def export_lm_eval(
    benchmark: Benchmark, folder: str | Path, *, name: str | None = None, shots: int = 0
) -> list[str]:
    """Writes a benchmark as tasks of lm-evaluation-harness. docs/harnesses.md says how to run them.

    Questions with choices become a task of `multiple_choice`: the log-likelihood of each choice
    after the prompt, with accuracy as it is and by length. All others become one of
    `generate_until`, greedy, at most 512 tokens, with chrF, since the harness's BLEU splits on
    spaces. The prompt is the benchmark's own, its system message before it.

    The data's place in the YAML is absolute: export again rather than move the folder.

    Args:
        benchmark: What to export.
        folder: Where to. Other files in it are left alone.
        name: Of the task and of its files. The benchmark's by default.
        shots: Worked examples before each question, drawn by the harness from the other questions.

    Returns:
        Names of the tasks: `[name]`, or `[name_choice, name_text]` for a benchmark with questions
        of both sorts.

    Raises:
        ConfigError: There are too few questions, an answer is none of its choices, or the folder
            cannot be used or holds files of these names that are not of an export.
    """
    questions = questions_of(benchmark)
    name = _file_name(benchmark.name if name is None else name)
    if not name:
        raise ConfigError("The task has no name", hint="Give name='...' of letters and digits.")
    # A bool is an int to Python.
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 0:
        raise ConfigError(f"shots is {shots!r}", hint="It is a number of examples, 0 or more.")
    folder = Path(folder).absolute()
    if _PATTERN.search(str(folder)):
        hint = "Use a folder without * [ ] and ::."
        raise ConfigError(f"{folder} has a mark of a pattern in its name", hint=hint)
    if not questions:
        raise ConfigError(f"The benchmark {benchmark.name} has no questions")
    tasks = {"choice": _choices(benchmark, questions), "text": _texts(benchmark, questions, shots)}
    tasks = {sort: task for sort, task in tasks.items() if task.rows}
    names = [name]
    # The harness has one way of asking for a task, so that questions of both sorts need two.
    if len(tasks) > 1:
        names = [f"{name}_{sort}" for sort in tasks]
    for task_name, task in zip(names, tasks.values(), strict=True):
        _write(task, folder, task_name, shots)
    return names


@dataclass(frozen=True)
class _Task:
    """Questions of one sort, as rows of the data, and how the harness asks them.

    Attributes:
        target: Settings that name the columns of the right answer, and how it is generated.
        delimiter: Stands between prompt and answer.
    """

    rows: Sequence[dict[str, Any]]
    output_type: str
    target: dict[str, Any]
    delimiter: str
    metrics: tuple[str, ...]


def _choices(benchmark: Benchmark, questions: Iterable[Question]) -> _Task:
    rows = [_choice_row(benchmark, question) for question in questions if question.choices]
    delimiter = " "
    if all(_DATE.fullmatch(choice) for row in rows for choice in row["choices"]):
        rows = [row | {"choices": [f" {choice}" for choice in row["choices"]]} for row in rows]
        # The space that the harness would write between prompt and choice is now in the choice.
        delimiter = ""
    target = {"doc_to_target": "label", "doc_to_choice": "choices"}
    return _Task(rows, "multiple_choice", target, delimiter, ("acc", "acc_norm"))


def _texts(benchmark: Benchmark, questions: Iterable[Question], shots: int) -> _Task:
    rows = [
        _row(benchmark, question) | {"answer": question.answer}
        for question in questions
        if not question.choices
    ]
    delimiter = " "
    if all(_DATE.fullmatch(row["answer"]) for row in rows):
        # As for choices.
        rows = [row | {"answer": f" {row['answer']}"} for row in rows]
        delimiter = ""
    generation = {
        # After examples a model goes on with further ones; without them an answer may have
        # paragraphs.
        "until": ["\n\n"] if shots else [],
        "do_sample": False,
        "max_gen_toks": _MAX_TOKENS,
    }
    target = {"doc_to_target": "answer", "generation_kwargs": generation}
    return _Task(rows, "generate_until", target, delimiter, ("chrf",))


def _choice_row(benchmark: Benchmark, question: Question) -> dict[str, Any]:
    if question.answer not in question.choices:
        message = f"The answer of question {question.id} is none of its choices"
        raise ConfigError(message, hint="A question's answer is the text of the right choice.")
    label = question.choices.index(question.answer)
    return _row(benchmark, question) | {"choices": list(question.choices), "label": label}


def _row(benchmark: Benchmark, question: Question) -> dict[str, Any]:
    prompt = benchmark.prompt(question)
    asked = prompt.user
    # The harness takes a system prompt for a whole run, not for a single question.
    if prompt.system:
        asked = f"{prompt.system}\n\n{asked}"
    return {"id": question.id, "task": question.task, "part": question.part, "prompt": asked}


def _write(task: _Task, folder: Path, name: str, shots: int) -> None:
    if shots >= len(task.rows):
        message = f"{shots} shots cannot be drawn from {len(task.rows)} questions"
        raise ConfigError(message, hint="Lower shots.")
    data, path = folder / f"{name}.jsonl", folder / f"{name}.yaml"
    if (data.exists() or path.exists()) and not begins_with(path, "task: "):
        hint = "Give another name or folder."
        raise ConfigError(f"{path} or {data.name} is there already, and no task of ours", hint=hint)
    write_atomic(data, map(json_line, task.rows))
    config = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "fewshot_split": "test",
        "num_fewshot": shots,
        "output_type": task.output_type,
        "doc_to_text": "prompt",
        "target_delimiter": task.delimiter,
        **task.target,
        "metric_list": [{"metric": name, "higher_is_better": True} for name in task.metrics],
        "metadata": {"version": 1.0},
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    write_atomic(path, [text])


def _file_name(text: str) -> str:
    """Keeps letters with their marks, digits and ._- of a text.

    The name of a task is that of a file, and commas divide names of tasks.
    """
    kept = (
        char if char in "._-" or unicodedata.category(char)[0] in "LMN" else " " for char in text
    )
    return "_".join("".join(kept).split()).strip("._-")
