"""A warm process, which forks a child for each line on its input.

The child works until it comes to its end or is killed. The process itself has no second thread, so
that a fork finds every lock free.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import seedfree as sf
from seedfree.errors import SeedfreeError
from seedfree.records import Prompt, Reply
from seedfree.run.execution import execute
from tests.crash.points import Points
from tests.fakes import FakeClock, LetterEncoder, Library, small_pipeline, thai

__all__ = ["CONCURRENCY", "main", "pipeline"]

CONCURRENCY = 4
# A life that takes so many seconds hangs.
_LIMIT = 30
# The user and the group that own nothing, by their numbers on Linux.
_NOBODY = 65534


def _model(
    points: Callable[[str], None], calls: int, fault: Callable[[int], None] = lambda number: None
) -> sf.FunctionGenerator:
    """Returns a model that answers as `thai` does and lists its calls where a kill loses none.

    Args:
        points: Hears of every call before it is answered, and after.
        calls: A file descriptor for a hash of every call.
        fault: Hears the number of every call, from 1.
    """
    numbers = itertools.count(1)

    def answer(prompt: Prompt) -> Reply:
        points("before answering")
        fault(next(numbers))
        os.write(calls, (hashlib.sha256(repr(prompt).encode()).hexdigest() + "\n").encode())
        reply = thai(prompt)
        points("after answering")
        return reply

    return sf.FunctionGenerator(answer, name="thai")


def pipeline(model: sf.FunctionGenerator, source: Any = None) -> sf.Pipeline:
    """Returns the pipeline whose runs are killed, with all that it can keep in its folder."""
    diversity, sources = sf.SemanticDiversityFilter(encoder=LetterEncoder()), [source or Library()]
    return small_pipeline(model, contexts=sources, filters="default", diversity=diversity)


class _Hasty(FakeClock):
    """A clock on which ten seconds pass whenever somebody looks at it.

    The status of a run is then written after every reply.
    """

    def monotonic(self) -> float:
        self.seconds += 10
        return self.seconds


def _run(
    out: Path,
    model: sf.FunctionGenerator,
    rows: int = 4,
    source: Any = None,
    clock: FakeClock | None = None,
) -> tuple[str, str]:
    run = pipeline(model, source).run(
        rows, out, concurrency=CONCURRENCY, progress=False, clock=clock or FakeClock()
    )
    return run.status, run.message


def _long(out: Path, model: sf.FunctionGenerator) -> tuple[str, str]:
    return _run(out, model, rows=24)


def _hasty(out: Path, model: sf.FunctionGenerator) -> tuple[str, str]:
    return _run(out, model, rows=24, clock=_Hasty())


def _written(out: Path, model: sf.FunctionGenerator) -> tuple[str, str]:
    return _run(out, model, source=sf.WrittenContexts())


def _map(out: Path, model: sf.FunctionGenerator) -> tuple[str, str]:
    prompts = [Prompt(f"prompt {i % 7}") for i in range(14)]
    replies = sf.generate_all(model, prompts, out, concurrency=CONCURRENCY, clock=FakeClock())
    return hashlib.sha256(repr(replies).encode()).hexdigest(), ""


_WORK = {"run": _run, "long": _long, "hasty": _hasty, "written": _written, "map": _map}


def _shut(folder: Path) -> None:
    """Lets nothing more be written in a folder."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    # No mode keeps root out, so root becomes nobody.
    if os.geteuid() == 0:
        os.setegid(_NOBODY)
        os.seteuid(_NOBODY)


def _fault(out: Path, name: str) -> Callable[[int], None]:
    """Returns a function that hears the number of every call of the model, and 0 before the first.

    `full:N`: no file grows beyond N bytes. `shut:N`: from call N on the folder cannot be written.
    """
    fault, _, number = name.partition(":")
    if fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), resource.RLIM_INFINITY))
    return lambda calls: _shut(out) if fault == "shut" and calls == int(number) else None


def _live(job: dict[str, Any], tell: int) -> None:
    """Lives a whole life and ends the process."""
    signal.alarm(_LIMIT)  # ends the process
    out = Path(job["out"])
    # Opened first: a fault may take away the right to.
    calls = os.open(job["calls"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fault = _fault(out, job["fault"])
    fault(0)
    points = Points(out, job["kill_at"], tell)
    report: dict[str, Any] = {}
    started = time.perf_counter()
    try:
        report["result"], report["message"] = _WORK[job["work"]](out, _model(points, calls, fault))
    except SeedfreeError as error:
        report |= {"error": str(error), "kind": type(error).__name__}
    except BaseException as error:
        report |= {"error": traceback.format_exc(), "kind": type(error).__name__}
    report |= {"seconds": time.perf_counter() - started, "points": points.seen}
    os.write(tell, json.dumps(report).encode())
    # Without clean-up: threads may still wait for replies.
    os._exit(0)


def _warm() -> None:
    """Loads all that a life needs, once for all children."""
    calls = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as out:
        model = _model(lambda what: None, calls)
        warm = pipeline(model)
        options = warm._prepared(2, Path(out), progress=False, clock=FakeClock())
        # Not `run`, whose background loop would leave a thread.
        asyncio.run(execute(warm._stages(), options))
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    gc.disable()  # a collection in a child would copy every page


def main() -> None:
    """Lives a life for every line on standard input, and reports it on standard output."""
    _warm()
    for line in sys.stdin:
        reads, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reads)
            _live(json.loads(line), tell)
        os.close(tell)
        with open(reads, "rb") as pipe:
            report = json.loads(pipe.read() or '{"points": []}')
        _, status = os.waitpid(child, 0)
        report["exit"] = os.waitstatus_to_exitcode(status)
        print(json.dumps(report), flush=True)
