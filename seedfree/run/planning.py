"""Which jobs of a run may start: a pure function of what the jobs before them gave.

A row needs at least one job. So the jobs that a task surely needs are known from every settled
prefix of its jobs: as many more as rows are missing. They may start at once, without waiting for
the slowest reply of those before, and which they are depends on replies alone, never on the order
in which these came.

Blocks bound what a bad task can cost: 16 jobs of each task, then 32, 64 ... A job may start once
all blocks but the two before its own are decided. When a block is settled, near-duplicates among
the rows so far are found, and a task that yields next to nothing is closed; what was decided counts
from three blocks later on, whenever it was decided. Where nothing is left to do and rows are still
missing, everything is decided, and planning goes on from there in a new block.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Balance", "Plan"]

Balance = Literal["fill", "strict"]

# Jobs of each task in the first block; each later block has twice as many as the one before. With
# 16 the start of a run takes few steps, and a task that gives nothing costs 240 jobs at most.
_FIRST_BLOCK = 16
# Blocks that may be under way beyond the decided ones.
_AHEAD = 3
_JUDGED_AFTER = 48
_LEAST_YIELD = 0.02


@dataclass(frozen=True)
class _Decision:
    """What the end of a block decided, for each task.

    Attributes:
        quotas: Rows that the task is to give.
        kept: Rows that passed the filters and are no near-duplicates.
        passed: Rows that passed the filters.
        closed: Whether it yields so little that asking on would waste money.
    """

    quotas: tuple[int, ...]
    kept: tuple[int, ...]
    passed: tuple[int, ...]
    closed: tuple[bool, ...]


class _Line:
    """One task's jobs, numbered from 0.

    Attributes:
        rows: Rows that one job gives at most.
        needed: Jobs that the settled ones say are needed.
        limit: The first job that a closed task does not get.
        started: Jobs that were handed out.
        end: The first job that has no context.
        passed: For each length of a settled prefix, the rows in it that passed the filters.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.needed = self.started = 0
        self.end = self.limit = math.inf
        self.passed = [0]
        self._waiting: dict[int, int] = {}
        self._starts = [0]

    @property
    def settled(self) -> int:
        """Returns the length of the longest prefix whose jobs are all settled."""
        return len(self.passed) - 1

    @property
    def drained(self) -> bool:
        """Returns whether no job is left that is known to be needed."""
        return self.settled >= self.goal

    @property
    def goal(self) -> int:
        """Returns how many jobs there are to do, as far as that is known."""
        return int(min(self.needed, self.end, self.limit))

    @property
    def jobs(self) -> int:
        """Returns how many jobs were handed out that have a context."""
        return int(min(self.started, self.end))

    def exhausted(self, jobs: int) -> bool:
        """Returns whether its contexts ended before it had enough, as far as `jobs` of them tell.

        Where it needs no more, the end may be known or not, and must not count.
        """
        return jobs >= self.end and self.needed > self.end

    def settle(self, job: int, passed: int) -> bool:
        """Takes in a job's rows; returns whether the settled prefix has grown by one."""
        self._waiting[job] = passed
        return self.grow()

    def grow(self) -> bool:
        passed = self._waiting.pop(self.settled, None)
        if passed is None:
            return False
        self.passed.append(self.passed[-1] + passed)
        return True

    def block(self, job: int) -> int:
        """Returns the number of the block in which a job is."""
        while job >= self._starts[-1]:
            self._starts.append(self._next())
        return bisect_right(self._starts, job) - 1

    def stop(self, block: int) -> int:
        """Returns the first job after a block."""
        while len(self._starts) <= block + 1:
            self._starts.append(self._next())
        return self._starts[block + 1]

    def _next(self) -> int:
        # A block is as long as all of the task's jobs before it, and 16 more.
        return 2 * self._starts[-1] + _FIRST_BLOCK

    def cut(self, block: int) -> None:
        """Ends all blocks before `block` with the settled jobs, and begins that one after them."""
        self._starts = [min(start, self.settled) for start in self._starts[:block]]
        self._starts += [self.settled] * (block + 1 - len(self._starts))


class Plan:
    """Says which jobs may start, and when enough rows are there.

    Args:
        size: Rows wanted.
        rows: For each task, the rows that one job gives at most.
        balance: `"fill"`: what a closed or exhausted task does not give, the others give.
            `"strict"`: each gives its share and no more.
    """

    def __init__(self, size: int, rows: Sequence[int], balance: Balance = "fill") -> None:
        self._size, self._balance = size, balance
        self._lines = [_Line(each) for each in rows]
        nothing = (0,) * len(rows)
        closed = (False,) * len(rows)
        quotas = self._quotas(nothing, nothing, closed)
        # Number n + 1 is what the end of block n decided.
        self._decisions = [_Decision(quotas, nothing, nothing, closed)]
        # For each task, jobs and kept rows when its yield was last judged.
        self._judged = [(0, 0) for _ in rows]
        for task in range(len(rows)):
            self._plan(task)

    @property
    def quotas(self) -> tuple[int, ...]:
        """Returns the rows that each task is to give, as decided last."""
        return self._decisions[-1].quotas

    @property
    def closed(self) -> tuple[bool, ...]:
        """Returns which tasks are closed, as decided last."""
        return self._decisions[-1].closed

    @property
    def complete(self) -> bool:
        """Returns whether the rows kept when everything was last decided are enough."""
        last = self._decisions[-1]
        if self._balance == "fill":
            return sum(last.kept) >= self._size
        return all(kept >= quota for kept, quota in zip(last.kept, last.quotas, strict=True))

    @property
    def contexts(self) -> int:
        """Returns how many contexts the task that took most was given."""
        return max(line.jobs for line in self._lines)

    @property
    def needed(self) -> int:
        """Returns how many jobs the run takes in all, as far as that is known."""
        return sum(max(line.goal, line.jobs) for line in self._lines)

    def start(self) -> list[tuple[int, int]]:
        """Returns the jobs, as (task, job), that may start and were not returned before."""
        jobs = []
        last = len(self._decisions) - 2 + _AHEAD
        for task, line in enumerate(self._lines):
            stop = min(line.goal, line.stop(last))
            jobs += [(task, job) for job in range(line.started, stop)]
            line.started = max(line.started, stop)
        return sorted(jobs, key=lambda each: (each[1], each[0]))

    def horizon(self, task: int) -> int:
        """Returns how many jobs of a task to have contexts for: one block more than may start."""
        line = self._lines[task]
        return min(line.goal, line.stop(len(self._decisions) - 1 + _AHEAD))

    def goal(self, task: int) -> int:
        """Returns how many jobs of a task there are to do, as far as that is known."""
        return self._lines[task].goal

    def block(self, task: int, job: int) -> int:
        """Returns the number of the block in which a job is."""
        return self._lines[task].block(job)

    def settle(self, task: int, job: int, passed: int) -> None:
        """Takes in a job whose rows were judged.

        Args:
            passed: How many of its rows passed the filters.
        """
        line = self._lines[task]
        grown = line.settle(job, passed)
        while grown:
            self._plan(task)
            grown = line.grow()

    def end(self, task: int, job: int) -> None:
        """Takes in that there is no context for a job, nor for those after it."""
        line = self._lines[task]
        line.end = min(line.end, job)

    @property
    def due(self) -> int | None:
        """Returns the block that is to be decided next, if all its jobs are settled.

        A drained task has no more jobs in it.
        """
        block = len(self._decisions) - 1
        over = [line.settled >= line.stop(block) for line in self._lines]
        drained = [line.drained for line in self._lines]
        settled = all(a or b for a, b in zip(over, drained, strict=True))
        return block if any(over) and settled else None

    def decide(self, kept: Sequence[int]) -> None:
        """Takes in what the due block decided.

        Args:
            kept: For each task, its rows in this block and those before that passed the filters
                and are no near-duplicates.
        """
        block = len(self._decisions) - 1
        jobs = [min(line.settled, line.stop(block)) for line in self._lines]
        self._decide(jobs, kept)
        for line, closed in zip(self._lines, self.closed, strict=True):
            if closed:  # no job of a later block can have started before now
                line.limit = min(line.limit, line.stop(block + _AHEAD - 1))

    def go_on(self, kept: Sequence[int]) -> bool:
        """Decides over everything, once all tasks are drained; returns whether jobs may start.

        Args:
            kept: For each task, all its rows that passed the filters and are no near-duplicates.
        """
        self._decide([line.settled for line in self._lines], kept)
        settled = [line.block(line.settled - 1) for line in self._lines if line.settled]
        last = max(settled, default=-1)
        # Blocks that were not full are over now.
        while len(self._decisions) < last + 2:
            self._decisions.append(self._decisions[-1])
        for line in self._lines:
            line.cut(len(self._decisions) - 1)
        for task in range(len(self._lines)):
            self._plan(task, self._decisions[-1])
        return not all(line.drained for line in self._lines)

    def _decide(self, jobs: Sequence[int], kept: Sequence[int]) -> None:
        passed = tuple(line.passed[n] for line, n in zip(self._lines, jobs, strict=True))
        closed = list(self._decisions[-1].closed)
        for task, (was_jobs, was_kept) in enumerate(self._judged):
            if jobs[task] - was_jobs >= _JUDGED_AFTER:
                rows = kept[task] - was_kept
                closed[task] |= rows < _LEAST_YIELD * (jobs[task] - was_jobs)
                self._judged[task] = (jobs[task], kept[task])
        quotas = self._quotas(jobs, kept, closed)
        self._decisions.append(_Decision(quotas, tuple(kept), passed, tuple(closed)))

    def _quotas(
        self, jobs: Sequence[int], kept: Sequence[int], closed: Sequence[bool]
    ) -> tuple[int, ...]:
        """Shares the rows out: equally, to within one, but for what some tasks cannot give."""
        n = len(self._lines)
        share, extra = divmod(self._size, n)
        equal = [share + (task < extra) for task in range(n)]
        if self._balance == "strict":
            return tuple(equal)
        over = [closed[task] or line.exhausted(jobs[task]) for task, line in enumerate(self._lines)]
        given = [min(kept[task], equal[task]) if over[task] else 0 for task in range(n)]
        able = [task for task in range(n) if not over[task]]
        if able:
            share, extra = divmod(self._size - sum(given), len(able))
            for place, task in enumerate(able):
                given[task] = share + (place < extra)
        return tuple(given)

    def _plan(self, task: int, known: _Decision | None = None) -> None:
        """Raises the number of needed jobs by what the settled ones say.

        Args:
            known: What counts as decided; `None` for what was decided three blocks before.
        """
        line = self._lines[task]
        jobs, passed = line.settled, line.passed[-1]
        if known is None:
            block = line.block(jobs - 1) if jobs else 0
            known = self._decisions[max(block - _AHEAD + 1, 0)]
        lost = known.passed[task] - known.kept[task]
        quota = known.quotas[task]
        if known.closed[task] or passed - lost >= quota:
            return
        share = known.kept[task] / known.passed[task] if known.passed[task] else 1.0
        expected = min(passed - lost, passed * share)
        if 2 * expected < quota:
            # However well it goes from here, so many are needed.
            more = math.ceil((quota - passed + lost) / line.rows)
            if passed == lost:  # nothing so far: not one job at a time
                more = max(more, jobs)
        else:
            rate = expected / (jobs * line.rows)
            missing = quota - expected
            # A standard deviation more than is to be expected, since a further step costs a whole
            # latency.
            spare = math.sqrt(missing * max(1 - rate, 0))
            more = math.ceil((missing + spare) / (rate * line.rows))
        line.needed = max(line.needed, jobs + more)
