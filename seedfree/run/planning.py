"""How many contexts each task gets in the next round, by what the rounds before it gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seedfree.protocols import TaskTemplate

__all__ = ["TaskPlan", "plan", "quotas"]

_PILOT = 8
_SPARE = 1.1
# A few contexts say little of a yield, and what a round gives too much is paid for: it is twice all
# before at most.
_GROWTH = 2
_JUDGED_AFTER = 50
_LEAST_YIELD = 0.02


@dataclass
class TaskPlan:
    """One task's progress.

    Attributes:
        used: Contexts asked about so far: the first `used` of the stream.
        kept: Rows that passed every filter.
        closed: It yields so little that asking on would waste money.
    """

    task: TaskTemplate
    used: int = 0
    kept: int = 0
    closed: bool = False
    window_used: int = 0
    window_kept: int = 0

    def learn(self, asked: int, kept: int) -> None:
        """Takes in a round: `asked` contexts more, `kept` rows in all."""
        self.used += asked
        self.window_used += asked
        self.window_kept += kept - self.kept
        self.kept = kept
        if self.window_used >= _JUDGED_AFTER:
            self.closed = self.window_kept < _LEAST_YIELD * self.window_used
            self.window_used = self.window_kept = 0

    def next_round(self, quota: int) -> int:
        """Contexts to ask about next; 0 where the quota is met or the task is closed."""
        need = quota - self.kept
        if need <= 0 or self.closed:
            return 0
        if not self.used:
            return min(_PILOT, math.ceil(need / self.task.rows))
        rate = self.kept / self.used
        wanted = math.ceil(need / rate * _SPARE) if rate else 2 * self.used
        return min(wanted, _GROWTH * self.used)


def quotas(size: int, plans: Sequence[TaskPlan]) -> list[int]:
    """Returns the rows that each task is to give.

    Open tasks give equally many, to within one. A closed task gives what it has.
    """
    given = [min(p.kept, math.ceil(size / len(plans))) if p.closed else 0 for p in plans]
    open_plans = [i for i, p in enumerate(plans) if not p.closed]
    share, extra = divmod(size - sum(given), len(open_plans)) if open_plans else (0, 0)
    for place, i in enumerate(open_plans):
        given[i] = share + (place < extra)
    return given


def plan(size: int, plans: Sequence[TaskPlan]) -> list[int]:
    """Contexts for each task in the next round; all 0 when there is nothing left to ask."""
    return [p.next_round(q) for p, q in zip(plans, quotas(size, plans), strict=True)]
