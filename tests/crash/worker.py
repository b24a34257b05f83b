"""A warm process that lives lives: for each line on its input it forks a child, which works until it ends or is killed.

The process itself has no thread but its own, so that a fork finds every lock free.
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
from seedfree.records import Context, Prompt, Reply, Topic
from tests.crash.points import Points
from tests.fakes import FakeClock, LetterEncoder, sentence, thai
from tests.test_pipeline import Riddle

__all__ = ["CONCURRENCY", "main", "pipeline"]

CONCURRENCY = 4
# A life that takes so many seconds hangs.
_LIMIT = 30


class _Texts:
    """A source of one's own."""

    def contexts(self, topic: Topic) -> list[Context]:
        return [Context(text=sentence(topic.text, i, words=40)) for i in range(2)]


def _model(
    points: Callable[[str], None], calls: int, fault: Callable[[int], None] = lambda number: None
) -> sf.FunctionGenerator:
    """Answers as `tests.fakes.thai`, and puts every call down where a kill does not lose it."""
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
    diversity, sources = sf.SemanticDiversityFilter(encoder=LetterEncoder()), [source or _Texts()]
    return sf.Pipeline(
        "th", model, contexts=sources, tasks=[Riddle(), sf.Summarization()], diversity=diversity
    )


class _Hasty(FakeClock):
    """Ten seconds pass whenever it is looked at, so that the status is written after every reply."""

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
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    if os.geteuid() == 0:  # whom no mode keeps out
        os.setegid(65534)
        os.seteuid(65534)


def _fault(out: Path, name: str) -> Callable[[int], None]:
    """Called with the number of every call of the model, 0 before the first.

    `full:N`: no file grows beyond N bytes. `shut:N`: from call N on the folder cannot be written.
    """
    fault, _, number = name.partition(":")
    if fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), resource.RLIM_INFINITY))
    return lambda calls: _shut(out) if fault == "shut" and calls == int(number) else None


def _live(job: dict[str, Any], tell: int) -> None:
    """A whole life; does not return."""
    signal.alarm(_LIMIT)
    out = Path(job["out"])
    calls = os.open(job["calls"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fault = _fault(out, job["fault"])
    fault(0)
    points = Points(out, job["kill_at"], tell)
    told: dict[str, Any] = {}
    started = time.perf_counter()
    try:
        told["result"], told["message"] = _WORK[job["work"]](out, _model(points, calls, fault))
    except SeedfreeError as error:
        told |= {"error": str(error), "kind": type(error).__name__}
    except BaseException as error:
        told |= {"error": traceback.format_exc(), "kind": type(error).__name__}
    told |= {"seconds": time.perf_counter() - started, "points": points.seen}
    os.write(tell, json.dumps(told).encode())
    os._exit(0)


def _warm() -> None:
    """Loads all that a life needs: done once here, it is there in every child."""
    calls = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as out:
        model = _model(lambda what: None, calls)
        asyncio.run(pipeline(model)._run(2, Path(out), progress=False, clock=FakeClock()))
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    gc.disable()  # a collection in a child would copy every page


def main() -> None:
    """Lives a life for every line on standard input, and says on standard output how it went."""
    _warm()
    for line in sys.stdin:
        reads, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reads)
            _live(json.loads(line), tell)
        os.close(tell)
        with open(reads, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        said = json.loads(told) if told else {"points": []}
        print(json.dumps({**said, "exit": os.waitstatus_to_exitcode(status)}), flush=True)
