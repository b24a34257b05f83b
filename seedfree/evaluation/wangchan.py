"""WangchanThaiInstruct: instructions and answers by Thai people, seven tasks (arXiv 2508.15239)."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from seedfree._seeds import digest
from seedfree.errors import ConfigError
from seedfree.evaluation.loading import hub_rows, read_rows, text_of, unique
from seedfree.evaluation.predictions import TASKS
from seedfree.records import Prompt, Question

__all__ = ["WangchanThaiInstruct"]

_LOG = logging.getLogger("seedfree")
_HUB = "airesearch/WangchanThaiInstruct"
# Each column as the releases spell it, in lower case without anything but letters; the first is the
# name in errors. Sources: the cards of airesearch/WangchanThaiInstruct ("Thai_Specfic") and
# airesearch/WangchanThaiInstruct_7.24 on the Hugging Face hub (ID, Domain, Instruction, Input,
# Output, Tags, Task_type, License; 7.24 has no column of culture), and the evaluation code of the
# paper's authors (`task_type`, `thai_specific` of YES or NO; question, context, answer in what they
# published).
_COLUMNS = {
    "Instruction": ("instruction", "question"),
    "Input": ("input", "context"),
    "Output": ("output", "answer"),
    "Task_type": ("tasktype", "task"),
    "License": ("license", "licence"),
    "Thai_specific": ("thaispecific", "thaispecfic", "thaiculture", "culture", "part"),
    "ID": ("id",),
}
# The card lists "Close QA".
_SPELLINGS = {
    "close_qa": "closed_qa",
    "summarisation": "summarization",
    "multiple_choices": "multiple_choice",
}
_PARTS = {
    **dict.fromkeys(("yes", "y", "true", "1", "culture", "cultural"), "culture"),
    **dict.fromkeys(("no", "n", "false", "0", "general"), "general"),
    # A release without the column has no halves.
    "": "",
}
# "For research use only" and "academic" too; the Academic Free License allows all use.
_NONCOMMERCIAL = re.compile(
    r"(?s)(?<![a-z])nc(?![a-z])|by[\W_]*nc|non[\W_]*commercial"
    r"|research.*only|only.*research|academic(?![\W_]*free)"
)


class WangchanThaiInstruct:
    """The test split of WangchanThaiInstruct.

    Rows have licences of their own. Those that forbid commercial use are left out unless they are
    asked for. How many they are is logged once, and is `left_out`.

    Args:
        path: A .csv, .jsonl, .json or .parquet file. `None` for the test split on the hub.
        part: `"culture"` (written for Thai culture) or `"general"`. `None` for both. The paper
            reports each.
        tasks: Some of `task_names`. `None` for all seven.
        noncommercial: Take the rows of non-commercial licence too.

    Raises:
        ConfigError: There is no such task or part.
    """

    name = "wangchan-thai-instruct"
    language = "th"
    task_names: ClassVar[tuple[str, ...]] = TASKS

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        part: Literal["culture", "general"] | None = None,
        tasks: Iterable[str] | None = None,
        noncommercial: bool = False,
    ) -> None:
        if part not in (None, "culture", "general"):
            raise ConfigError(f"part is {part!r}", hint="Give 'culture', 'general' or None.")
        self._all_tasks = tasks is None
        if tasks is None:
            tasks = TASKS
        elif isinstance(tasks, str):
            tasks = [tasks]
        self.tasks = tuple(map(_task, tasks))
        if unknown := [task for task in self.tasks if task not in TASKS]:
            hint = f"There are {', '.join(TASKS)}."
            raise ConfigError(f"Unknown task {', '.join(unknown)}", hint=hint)
        self.path, self.part, self.noncommercial = path, part, noncommercial

    def questions(self) -> Sequence[Question]:
        """Returns the questions in the order of the file, and loads them once.

        `source` names the text that a question is about: several are asked about one.

        Raises:
            ConfigError: The file or the hub cannot be read, a column is missing, or a task is
                unknown.
        """
        return self._loaded[0]

    @property
    def left_out(self) -> int:
        """Counts the rows that were left out for their licence."""
        return self._loaded[1]

    def prompt(self, question: Question) -> Prompt:
        """Asks zero-shot: the instruction, an empty line, and the text that it is about.

        This is the form in which a row of a data set puts instruction and input.
        """
        return Prompt("\n\n".join(filter(None, (question.question, question.context))))

    @functools.cached_property
    def _loaded(self) -> tuple[tuple[Question, ...], int]:
        """Returns the questions, and how many were left out for their licence."""
        if self.path is None:
            where, rows = _HUB, hub_rows(_HUB, "test")
        else:
            where, rows = str(self.path), read_rows(self.path)
        names = self._names(rows, where)
        texts = [{name: text_of(row.get(own)) for name, own in names.items()} for row in rows]
        if self._all_tasks:
            _check_tasks(texts, where)
        # Ids are given before rows are left out: a question has the same one in every selection.
        asked = [
            (id_, row)
            for id_, row in zip(unique(map(_id, texts)), texts, strict=True)
            if self._is_asked(row, where)
        ]
        taken = [
            (id_, row) for id_, row in asked if self.noncommercial or not _is_noncommercial(row)
        ]
        left_out = len(asked) - len(taken)
        if left_out:
            _LOG.warning(
                "%s: %d of %d rows are left out: their licence is non-commercial. "
                "noncommercial=True takes them.",
                self.name,
                left_out,
                len(asked),
            )
        if not taken:
            what = "rows of this part and these tasks, or of a licence to use them"
            raise ConfigError(f"{where} has no {what}")
        return tuple(_question(id_, row, where) for id_, row in taken), left_out

    def _names(self, rows: Sequence[Mapping[str, Any]], where: str) -> dict[str, str]:
        """Returns what each column is called in these rows.

        Raises:
            ConfigError: One that is needed is missing.
        """
        columns = {
            re.sub(r"[^a-z]", "", str(name).lower()): str(name) for row in rows for name in row
        }
        # Of several spellings the first is to count, so it is written last.
        names = {
            name: columns[spelling]
            for name, spellings in _COLUMNS.items()
            for spelling in reversed(spellings)
            if spelling in columns
        }
        needed = ["Instruction", "Output", "Task_type"]
        if not self.noncommercial:
            needed.append("License")
        if self.part:
            needed.append("Thai_specific")
        if missing := [name for name in needed if name not in names]:
            hint = f"It has {', '.join(columns.values())}."
            if missing == ["License"]:
                hint += " With noncommercial=True none is needed."
            raise ConfigError(f"{where} has no column {', '.join(missing)}", hint=hint)
        return names

    def _is_asked(self, row: Mapping[str, str], where: str) -> bool:
        if _task(row["Task_type"]) not in self.tasks:
            return False
        if not row["Instruction"] and not row.get("Input"):
            return False
        return self.part is None or _part(row, where) == self.part


def _check_tasks(rows: Iterable[Mapping[str, str]], where: str) -> None:
    unknown = sorted({row["Task_type"] for row in rows if _task(row["Task_type"]) not in TASKS})
    if unknown:
        hint = "Give tasks=[...] to take the known ones alone."
        raise ConfigError(f"{where} has unknown tasks: {', '.join(unknown)[:200]}", hint=hint)


def _id(row: Mapping[str, str]) -> str:
    # Some releases have no ids.
    return row.get("ID") or digest(row["Task_type"], row["Instruction"], row.get("Input", ""))


def _is_noncommercial(row: Mapping[str, str]) -> bool:
    return _NONCOMMERCIAL.search(row["License"].lower()) is not None


def _question(id_: str, row: Mapping[str, str], where: str) -> Question:
    context = row.get("Input", "")
    return Question(
        id=id_,
        task=_task(row["Task_type"]),
        question=row["Instruction"],
        answer=row["Output"],
        context=context,
        part=_part(row, where),
        source=digest(context) if context else "",
        license=row.get("License", ""),
    )


def _task(name: str) -> str:
    word = re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")
    return _SPELLINGS.get(word, word)


def _part(row: Mapping[str, str], where: str) -> str:
    value = row.get("Thai_specific", "")
    try:
        return _PARTS[value.lower()]
    except KeyError:
        hint = "YES or NO is understood."
        raise ConfigError(f"{where} says {value[:40]!r} of Thai culture", hint=hint) from None
