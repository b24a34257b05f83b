"""WangchanThaiInstruct: instructions and answers that Thai people wrote, in seven tasks (arXiv 2508.15239)."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

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
_CULTURE = {"yes", "y", "true", "1", "culture", "cultural"}
_GENERAL = {"no", "n", "false", "0", "general"}
# "For research use only" and "academic" too; the Academic Free License allows all use.
_NONCOMMERCIAL = re.compile(
    r"(?s)(?<![a-z])nc(?![a-z])|by[\W_]*nc|non[\W_]*commercial|research.*only|only.*research|academic(?![\W_]*free)"
)


class WangchanThaiInstruct:
    """The test split of WangchanThaiInstruct.

    Rows have licences of their own; those that forbid commercial use are left out unless they are
    asked for. How many they are is logged once, and is `left_out`.

    Args:
        path: A .csv, .jsonl, .json or .parquet file; `None` for the test split on the hub.
        part: `"culture"` (written for Thai culture) or `"general"`; `None` for both. The paper
            reports each.
        tasks: Some of `task_names`; `None` for all seven.
        noncommercial: Take the rows of non-commercial licence too.

    Raises:
        ConfigError: Unknown task or part.
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
        self.tasks = (
            TASKS
            if tasks is None
            else tuple(map(_task, [tasks] if isinstance(tasks, str) else tasks))
        )
        if unknown := [task for task in self.tasks if task not in TASKS]:
            raise ConfigError(
                f"Unknown task {', '.join(unknown)}", hint=f"There are {', '.join(TASKS)}."
            )
        self.path, self.part, self.noncommercial = path, part, noncommercial
        self._all_tasks = tasks is None

    def questions(self) -> Sequence[Question]:
        """The questions, in the order of the file; loaded once.

        `source` names the text that a question is about: several are asked about one.

        Raises:
            ConfigError: The file or the hub cannot be read, a column is missing, or a task is
                unknown.
        """
        return self._loaded[0]

    @property
    def left_out(self) -> int:
        """How many rows were left out for their licence."""
        return self._loaded[1]

    def prompt(self, question: Question) -> Prompt:
        """The instruction, and after an empty line the text it is about: zero-shot, as this library trains."""
        return Prompt("\n\n".join(filter(None, (question.question, question.context))))

    @functools.cached_property
    def _loaded(self) -> tuple[tuple[Question, ...], int]:
        where = _HUB if self.path is None else str(self.path)
        rows = hub_rows(_HUB, "test") if self.path is None else read_rows(self.path)
        names = self._names(rows, where)
        rows = [{known: text_of(row.get(own)) for known, own in names.items()} for row in rows]
        if self._all_tasks and (odd := sorted({row["Task_type"] for row in rows} - _known(rows))):
            hint = "Give tasks=[...] to take the known ones alone."
            raise ConfigError(f"{where} has unknown tasks: {', '.join(odd)[:200]}", hint=hint)
        ids = unique(
            row.get("ID") or _digest(row["Task_type"], row["Instruction"], row.get("Input", ""))
            for row in rows
        )
        asked = [
            (one, row)
            for one, row in zip(ids, rows, strict=True)
            if _task(row["Task_type"]) in self.tasks
            and (row["Instruction"] or row.get("Input"))
            and (self.part is None or _part(row.get("Thai_specific", ""), where) == self.part)
        ]
        taken = [
            one
            for one in asked
            if self.noncommercial or not _NONCOMMERCIAL.search(one[1]["License"].lower())
        ]
        left_out = len(asked) - len(taken)
        if left_out:
            _LOG.warning(
                "%s: %d of %d rows are left out: their licence is non-commercial. noncommercial=True takes them.",
                self.name, left_out, len(asked),
            )  # fmt: skip
        if not taken:
            raise ConfigError(
                f"{where} has no rows of this part and these tasks, or of a licence to use them"
            )
        return tuple(_question(one, row, where) for one, row in taken), left_out

    def _names(self, rows: Sequence[Mapping[str, Any]], where: str) -> dict[str, str]:
        """What each column is called in these rows."""
        there = {
            re.sub(r"[^a-z]", "", str(name).lower()): str(name) for row in rows for name in row
        }
        names = {
            known: there[spelling]
            for known, spellings in _COLUMNS.items()
            for spelling in reversed(spellings)
            if spelling in there
        }
        needed = ["Instruction", "Output", "Task_type"]
        needed += [] if self.noncommercial else ["License"]
        needed += ["Thai_specific"] if self.part else []
        if missing := [name for name in needed if name not in names]:
            hint = f"It has {', '.join(there.values())}."
            if missing == ["License"]:
                hint += " With noncommercial=True none is needed."
            raise ConfigError(f"{where} has no column {', '.join(missing)}", hint=hint)
        return names


def _question(one: str, row: Mapping[str, str], where: str) -> Question:
    context = row.get("Input", "")
    return Question(
        id=one,
        task=_task(row["Task_type"]),
        question=row["Instruction"],
        answer=row["Output"],
        context=context,
        part=_part(row.get("Thai_specific", ""), where),
        source=_digest(context) if context else "",
        license=row.get("License", ""),
    )


def _known(rows: Iterable[Mapping[str, str]]) -> set[str]:
    return {row["Task_type"] for row in rows if _task(row["Task_type"]) in TASKS}


def _task(name: str) -> str:
    found = re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")
    return _SPELLINGS.get(found, found)


def _part(value: str, where: str) -> str:
    word = value.lower()
    if word in _CULTURE or word in _GENERAL or not word:
        return "culture" if word in _CULTURE else "general" if word else ""
    raise ConfigError(
        f"{where} says {value[:40]!r} of Thai culture", hint="YES or NO is understood."
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
