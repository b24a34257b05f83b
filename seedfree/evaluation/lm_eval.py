"""A benchmark in the form of lm-evaluation-harness: one YAML file and one JSONL file a task, and no code.

The harness renders YAML values as Jinja templates unless they name a column of the data. Here each names a column, so
that nothing in a question is ever taken for a template.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from seedfree._files import json_line, write_atomic
from seedfree.errors import ConfigError
from seedfree.evaluation.loading import questions_of
from seedfree.protocols import Benchmark
from seedfree.records import Question

__all__ = ["export_lm_eval"]

_METRICS = {"multiple_choice": ("acc", "acc_norm"), "generate_until": ("chrf",)}
# What the loader of the data takes for a pattern or a chain of protocols in a path.
_PATTERN = re.compile(r"[*\[\]]|::")
# A column of nothing but such texts is read as points in time, and their wording lost.
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*", re.DOTALL)
_TOKENS = 512  # As in the paper's decoding.


def export_lm_eval(
    benchmark: Benchmark, folder: str | Path, *, name: str | None = None, shots: int = 0
) -> list[str]:
    """Writes a benchmark as tasks of lm-evaluation-harness; see docs/harnesses.md for how to run them.

    Questions with choices become a task of `multiple_choice`: the log-likelihood of each choice after the prompt, with
    accuracy as it is and by length. All others become one of `generate_until`, greedy, at most 512 tokens, with chrF:
    the harness's BLEU splits on spaces. The prompt is the benchmark's own, its system message before it. The data's
    place in the YAML is absolute; export again rather than move the folder.

    Args:
        name: Of the task, and of its files; by default the benchmark's.
        shots: Worked examples before each question, drawn by the harness from the other questions.

    Returns:
        Names of the tasks: `[name]`, or `[name_choice, name_text]` where the benchmark has questions of both sorts.

    Raises:
        ConfigError: There are too few questions, an answer is none of its choices, or the folder cannot be used.
    """
    questions = questions_of(benchmark)
    name = _name(benchmark.name if name is None else name)
    if not name:
        raise ConfigError("The task has no name", hint="Give name='...' of letters and digits.")
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 0:
        raise ConfigError(f"shots is {shots!r}", hint="It is a number of examples, 0 or more.")
    folder = Path(folder).absolute()
    if _PATTERN.search(str(folder)):
        raise ConfigError(
            f"{folder} has a mark of a pattern in its name",
            hint="Use a folder without * [ ] and ::.",
        )
    sorts = {
        "choice": [one for one in questions if one.choices],
        "text": [one for one in questions if not one.choices],
    }
    sorts = {sort: members for sort, members in sorts.items() if members}
    names = {sort: name if len(sorts) == 1 else f"{name}_{sort}" for sort in sorts}
    if not sorts:
        raise ConfigError(f"The benchmark {benchmark.name} has no questions")
    rows = {sort: [_row(benchmark, one) for one in members] for sort, members in sorts.items()}
    for sort, members in rows.items():
        column = "choices" if sort == "choice" else "answer"
        dated = all(_DATE.fullmatch(text) for one in members for text in _texts(one[column]))
        if dated:
            # the space that the harness would write between prompt and answer stands before the
            # answer instead
            for one in members:
                spaced = [f" {text}" for text in _texts(one[column])]
                one[column] = spaced if sort == "choice" else spaced[0]
        if shots >= len(members):
            raise ConfigError(
                f"{shots} shots cannot be drawn from {len(members)} questions", hint="Lower shots."
            )
        data = folder / f"{names[sort]}.jsonl"
        write_atomic(data, map(json_line, members))
        config = _config(
            names[sort], data, shots, choices=sort == "choice", between="" if dated else " "
        )
        write_atomic(
            folder / f"{names[sort]}.yaml",
            [yaml.safe_dump(config, sort_keys=False, allow_unicode=True)],
        )
    return list(names.values())


def _name(text: str) -> str:
    """Letters with their marks, digits and ._- alone: it is a file's name, and commas divide names of tasks."""
    kept = (
        char if char in "._-" or unicodedata.category(char)[0] in "LMN" else " " for char in text
    )
    return "_".join("".join(kept).split()).strip("._-")


def _row(benchmark: Benchmark, question: Question) -> dict[str, Any]:
    prompt = benchmark.prompt(question)
    asked = f"{prompt.system}\n\n{prompt.user}" if prompt.system else prompt.user
    row: dict[str, Any] = {
        "id": question.id,
        "task": question.task,
        "part": question.part,
        "prompt": asked,
    }
    if not question.choices:
        return row | {"answer": question.answer}
    if question.answer not in question.choices:
        hint = "A question's answer is the text of the right choice."
        raise ConfigError(f"The answer of question {question.id} is none of its choices", hint=hint)
    return row | {
        "choices": list(question.choices),
        "label": question.choices.index(question.answer),
    }


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _config(name: str, data: Path, shots: int, *, choices: bool, between: str) -> dict[str, Any]:
    sort = "multiple_choice" if choices else "generate_until"
    targets: dict[str, Any] = {"doc_to_target": "label", "doc_to_choice": "choices"}
    # After examples a model goes on with further ones; without them an answer may have paragraphs.
    generation = {"until": ["\n\n"] if shots else [], "do_sample": False, "max_gen_toks": _TOKENS}
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "fewshot_split": "test",
        "num_fewshot": shots,
        "output_type": sort,
        "doc_to_text": "prompt",
        "target_delimiter": between,
        **(targets if choices else {"doc_to_target": "answer", "generation_kwargs": generation}),
        "metric_list": [{"metric": metric, "higher_is_better": True} for metric in _METRICS[sort]],
        "metadata": {"version": 1.0},
    }
