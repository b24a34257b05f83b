"""Lives of a run in forked children, and how they fared."""

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
    """How one process fared: all but `exit` and `points` is empty for one that was killed.

    Attributes:
        result: A run's status, or the hash of a map's replies.
        message: Of a run that stopped.
        error: Of a call that raised; the traceback where it was none of seedfree's errors.
        kind: The error's class.
        seconds: Of the call.
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
        """Calls of the model."""
        return self.points.count("before answering")

    @property
    def asked_after_failure(self) -> int:
        """Calls of the model that began after a statement had failed."""
        first = next(i for i, point in enumerate(self.points) if point.startswith("failed"))
        return self.points[first:].count("before answering")


class Worker:
    """A warm process, see `tests/crash/worker.py`."""

    def __init__(self) -> None:
        # A home without previews, and no threads of the numerics: a fork would find their locks
        # taken.
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
        """One life: it works in `folder/out`, and its calls are put down in `folder/calls`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        job = {"work": work, "out": str(folder / "out"), "calls": str(folder / "calls")}
        self._process.stdin.write(json.dumps({**job, "kill_at": kill_at, "fault": fault}) + "\n")
        self._process.stdin.flush()
        return Life(**json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        with self._process:
            self._process.kill()


class Workers:
    """As many warm processes as there are cores; `with workers.one() as worker` waits for a free one."""

    def __init__(self, number: int) -> None:
        self._all = [Worker() for _ in range(number)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    @contextlib.contextmanager
    def one(self) -> Iterator[Worker]:
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
    """What a life without a kill made, in how many points, with how many calls."""

    made: dict[str, bytes]
    points: int
    calls: int


def calls_of(folder: Path) -> list[str]:
    """A hash for every call of the model, over all lives in a folder."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / "calls").read_text().split()
    return []


def _made(folder: Path, life: Life) -> dict[str, bytes]:
    """All that a life leaves for its owner: the result, and the published files of a run."""
    files = {name: (folder / "out" / name) for name in PUBLISHED}
    return {
        "result": life.result.encode(),
        **{name: f.read_bytes() for name, f in files.items() if f.exists()},
    }


def undisturbed(workers: Workers, work: str, folder: Path) -> Undisturbed:
    """A life to compare others with."""
    folder.mkdir()
    with workers.one() as worker:
        life = worker.live(work, folder)
    assert life.exit == 0 and life.result, life.error
    calls = calls_of(folder)
    assert len(set(calls)) == len(calls)
    return Undisturbed(_made(folder, life), len(life.points), len(calls))


def torn(folder: Path, whole: Undisturbed) -> list[str]:
    """Files that a killed life left neither absent nor whole."""
    out = folder / "out"
    found = [n for n in PUBLISHED if n in whole.made and (out / n).exists()]
    bad = [name for name in found if (out / name).read_bytes() != whole.made[name]]
    if "manifest.json" in found and len(found) < len(PUBLISHED):
        bad.append("manifest.json is there before the others")
    try:
        json.loads((out / "status.json").read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        bad.append("status.json")
    return bad


def wrong(life: Life, folder: Path, whole: Undisturbed, ends: int) -> str:
    """What differs from the undisturbed life after so many untimely ends; empty where nothing does."""
    if life.error or life.exit:
        return f"the last life ended with {life.exit}: {life.error}"
    made, calls = _made(folder, life), calls_of(folder)
    differ = sorted(name for name in {*made, *whole.made} if made.get(name) != whole.made.get(name))
    again = len(calls) - whole.calls
    if differ or len(set(calls)) != whole.calls or again > ends * CONCURRENCY:
        return f"{differ} differ; {again} of {whole.calls} calls were repeated, {len(set(calls))} are distinct"
    return ""
