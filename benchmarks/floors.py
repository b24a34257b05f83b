"""What scores of overlap give to answers that say nothing.

python benchmarks/floors.py test.jsonl

test.jsonl is the test split of WangchanThaiInstruct: questions in Thai with people's answers. Each
of these is scored as an answer, by task: the right answer cut to 300 characters, the answer to
another question of the task, and the question five times. Prints a table, each cell with both sides
whole and with both cut to 300 characters, and one line of JSON: the tasks in which an answer that
says nothing is ahead of the cut right one by chrF.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

import seedfree as sf
from seedfree.evaluation import WangchanThaiInstruct, score

CUT = 300


def main(path: str) -> None:
    tasks: dict[str, list[sf.Question]] = defaultdict(list)
    for question in WangchanThaiInstruct(path, noncommercial=True).questions():
        tasks[question.task].append(question)
    print("| task | answers | chrF, whole | chrF, cut | ROUGE-L, whole | ROUGE-L, cut |")
    print("|---|---|---|---|---|---|")
    ahead = []
    for task, asked in tasks.items():
        given = {
            "the right one, cut": [q.answer[:CUT] for q in asked],
            "another question's": [q.answer for q in [*asked[1:], asked[0]]],
            "the question, five times": [q.question * 5 for q in asked],
        }
        whole = {name: overlap(answers, asked, None) for name, answers in given.items()}
        for name, answers in given.items():
            cut = overlap(answers, asked, CUT)
            chrf = f"{whole[name].chrf:.1f} | {cut.chrf:.1f}"
            rouge = f"{whole[name].rougeL:.3f} | {cut.rougeL:.3f}"
            print(f"| {task} ({len(asked)}) | {name} | {chrf} | {rouge} |")
        right, *others = (scores.chrf for scores in whole.values())
        if max(others) > right:
            ahead.append(task)
    print(json.dumps({"benchmark": "floors", "tasks": len(tasks), "nothing is ahead in": ahead}))


def overlap(answers: list[str], asked: list[sf.Question], cut: int | None) -> Any:
    wanted = [question.answer[:cut] for question in asked]
    return score([answer[:cut] for answer in answers], wanted, language="th")


if __name__ == "__main__":
    main(*sys.argv[1:])
