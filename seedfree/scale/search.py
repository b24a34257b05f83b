"""The search for the nearest kept rows, spread over a cluster; exact, as on one machine.

What each block of rows kept goes into the object store once, as a shard. A shard belongs to one
group for good, and a task compares a block with all shards of a group, so that all tasks take about
as long. A machine keeps the shards that a task there has asked for. With time it holds all of them:
`benchmarks/scale.py` counts it.

A pair of rows meets in exactly one task, so none is missed. Partitions by direction, each with
those rows of the others that may be near one of its own, would compare fewer pairs where rows lie
in clusters far apart. In as many dimensions as encoders have they do not, and nearly every row
would belong to every partition, which the benchmark counts, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from seedfree.diversity.search import Block, Bounds, ExactSearch, Nearest
from seedfree.diversity.vectors import Floats, Ints, Singles, UnitRows
from seedfree.scale.work import connected

__all__ = ["RaySearch"]

_GROUPS_A_CPU = 2  # So that no CPU waits long for the slowest.


@dataclass(frozen=True)
class _Shard:
    """Rows with all that a comparison takes.

    Attributes:
        numbers: Shape [n], ascending.
        vectors: Shape [n, d], as they came.
        lengths: Shape [n], float64.
        features: Shape [n, k]; [n, 0] where they are the rows themselves.
    """

    numbers: Ints
    vectors: NDArray[Any]
    lengths: Floats
    features: Singles


class RaySearch:
    """Finds the nearest kept rows by tasks of Ray; see `seedfree.diversity.search.Search`.

    Attributes:
        shards: References to what was kept, in the object store.
    """

    name: ClassVar[str] = "ray"

    def __init__(self, vectors: UnitRows, threshold: float) -> None:
        ray = connected()
        self._ray, self._vectors = ray, vectors
        self.bounds = Bounds.learn(vectors, threshold)
        self._axes = ray.put(self.bounds.axes)
        self.shards: list[Any] = []
        self._groups = _GROUPS_A_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        # A task depends on its arguments alone: whatever dies, it can be done again elsewhere.
        self._task = ray.remote(num_cpus=1, max_retries=-1)(_nearest)

    def nearest(self, block: Block) -> Nearest:
        nearest = Nearest.unknown(len(block))
        if not self.shards:
            return nearest
        asked = self._ray.put((self._shard(block.rows, block.features), block.limits))
        groups = (self.shards[start :: self._groups] for start in range(self._groups))
        tasks = [self._task.remote(self._axes, asked, *group) for group in groups if group]
        for found in self._ray.get(tasks):
            tie = (found.cosines == nearest.cosines) & (found.rows < nearest.rows)
            better = np.flatnonzero((found.cosines > nearest.cosines) | tie)
            nearest[better] = found[better]
        return nearest

    def add(self, rows: Ints, features: Singles) -> None:
        if rows.size:
            none = np.empty((len(rows), 0), np.float32)
            shard = self._shard(rows, none if self.bounds.tight else features)
            self.shards.append(self._ray.put(shard))

    def cut(self, n: int) -> bool:
        # Rows come once, all together.
        return False

    def _shard(self, rows: Ints, features: Singles) -> _Shard:
        vectors = self._vectors
        return _Shard(rows, vectors.raw(rows), vectors.lengths[rows], features)


def _nearest(axes: Floats | None, asked: tuple[_Shard, Floats], *shards: _Shard) -> Nearest:
    """Finds the nearest rows of some shards to each row of a block; runs in a worker."""
    block, limits = asked
    n = len(block.numbers)
    vectors = UnitRows.checked([(each.vectors, each.lengths) for each in (block, *shards)])
    bounds = Bounds(vectors, axes)
    search = ExactSearch(vectors, bounds, threads=1)
    start = n
    for shard in shards:
        end = start + len(shard.numbers)
        search.add(np.arange(start, end), shard.features)
        start = end
    with threadpool_limits(1, "blas"):
        found = search.nearest(Block(np.arange(n), limits, block.features))
    # Places among these shards become numbers of rows; -1 stays -1.
    numbers = np.concatenate([np.full(n, -1), *(shard.numbers for shard in shards)])
    order = np.where(found.rows < 0, -1, numbers[found.rows])
    return Nearest(order, found.cosines)
