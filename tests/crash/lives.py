"""Lives of a run in forked children, how they ended, and what they left."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.worker import CONCURRENCY

__all__ = [
    "PUBLISHED",
    "Life",
    "Undisturbed",
    "Worker",
    "Workers",
    "calls_of",
    "torn",
    "undisturbed",
    "wrong",
]

PUBLISHED = ("dataset.jsonl", "dropped.jsonl", "README.md", "manifest.json")


@dataclass
class Life:
    """How one process ended. If it was killed, all fields but `exit` and `points` are empty.

    Attributes:
        exit: The exit status, or minus the number of the signal that ended it.
        points: The points that it reached, see `Points`.
        result: The status of a run, or the hash of a map's replies.
        message: The message of a run that stopped.
        error: What the call raised: one line of a seedfree error, the traceback of any other.
        kind: The class of the error.
        seconds: How long the call took.
    """

    exit: int
    points: list[str] = field(default_factory=list)
    result: str = ""
    message: str = ""
    error: str = ""
    kind: str = ""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return self.exit == -signal.SIGKILL

    @property
    def asked(self) -> int:
        """The number of calls of the model."""
        return self.points.count("before answering")

    @property
    def asked_after_failure(self) -> int:
        """The number of calls of the model that began after a statement had failed."""
        first = next(i for i, point in enumerate(self.points) if point.startswith("failed"))
        return self.points[first:].count("before answering")


class Worker:
    """The warm process of `tests/crash/worker.py`."""

    def __init__(self) -> None:
        # No previews of this machine's user are found. The numerics start no threads, because a
        # fork copies the locks that other threads hold.
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": "/nowhere",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.crash.worker import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def live(self, work: str, folder: Path, kill_at: int = 0, fault: str = "") -> Life:
        """Lives one life, which works in `folder/out` and lists its calls in `folder/calls`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        job = {"work": work, "out": str(folder / "out"), "calls": str(folder / "calls")}
        self._process.stdin.write(json.dumps({**job, "kill_at": kill_at, "fault": fault}) + "\n")
        self._process.stdin.flush()
        return Life(**json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        with self._process:
            self._process.kill()


class Workers:
    """Some warm processes; `with workers.free() as worker` waits until one of them is free."""

    def __init__(self, number: int) -> None:
        self._all = [Worker() for _ in range(number)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    @contextlib.contextmanager
    def free(self) -> Iterator[Worker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def end(self) -> None:
        for worker in self._all:
            worker.end()


@dataclass
class Undisturbed:
    """What a life without a kill made, and the numbers of its points and calls."""

    made: dict[str, bytes]
    points: int
    calls: int


def calls_of(folder: Path) -> list[str]:
    """Returns a hash for every call of the model, over all lives in a folder."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / "calls").read_text().split()
    return []


def _made(folder: Path, life: Life) -> dict[str, bytes]:
    """Returns what a life leaves for its owner: the result, and the published files of a run."""
    made = {"result": life.result.encode()}
    for name in PUBLISHED:
        with contextlib.suppress(FileNotFoundError):
            made[name] = (folder / "out" / name).read_bytes()
    return made


def undisturbed(workers: Workers, work: str, folder: Path) -> Undisturbed:
    """Lives a life without a kill, to compare others with."""
    folder.mkdir()
    with workers.free() as worker:
        life = worker.live(work, folder)
    assert life.exit == 0 and life.result, life.error
    calls = calls_of(folder)
    assert len(set(calls)) == len(calls)
    return Undisturbed(_made(folder, life), len(life.points), len(calls))


def torn(folder: Path, whole: Undisturbed) -> list[str]:
    """Returns the files that a killed life left neither absent nor whole."""
    out = folder / "out"
    there = [name for name in PUBLISHED if name in whole.made and (out / name).exists()]
    bad = [name for name in there if (out / name).read_bytes() != whole.made[name]]
    if "manifest.json" in there and len(there) < len(PUBLISHED):
        bad.append("manifest.json is there before the others")
    try:
        json.loads((out / "status.json").read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        bad.append("status.json")
    return bad


def wrong(life: Life, folder: Path, whole: Undisturbed, ends: int) -> str:
    """Returns what differs from the undisturbed life, or an empty text.

    Args:
        life: The last life, which should have come to its end.
        ends: The number of lives before it that were cut short. Each may cost the calls that were
            in flight.
    """
    if life.error or life.exit:
        return f"the last life ended with {life.exit}: {life.error}"
    made, calls = _made(folder, life), calls_of(folder)
    differ = sorted(name for name in {*made, *whole.made} if made.get(name) != whole.made.get(name))
    distinct, repeated = len(set(calls)), len(calls) - whole.calls
    if not differ and distinct == whole.calls and repeated <= ends * CONCURRENCY:
        return ""
    return f"{differ} differ; {repeated} of {whole.calls} calls were repeated, {distinct} distinct"
