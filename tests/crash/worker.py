"""A warm process that lives lives: for each line on its input it forks a child, which works until it ends or is killed.

The process itself has no thread but its own, so that a fork finds every lock free.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import seedfree as sf
from seedfree.records import Context, Prompt, Reply, Topic
from tests.crash.points import Points
from tests.fakes import FakeClock, LetterEncoder, sentence, thai
from tests.test_pipeline import Riddle

__all__ = ["CONCURRENCY", "pipeline", "warm"]

CONCURRENCY = 4
# A life that takes so many seconds hangs.
_LIMIT = 30


class _Texts:
    """A source of one's own."""

    def contexts(self, topic: Topic) -> list[Context]:
        return [Context(text=sentence(topic.text, i, words=40)) for i in range(2)]


def _model(points: Callable[[str], None], calls: int) -> sf.FunctionGenerator:
    """Answers as `tests.fakes.thai`, and puts every call down where a kill does not lose it."""

    def answer(prompt: Prompt) -> Reply:
        points("before answering")
        os.write(calls, (hashlib.sha256(repr(prompt).encode()).hexdigest() + "\n").encode())
        reply = thai(prompt)
        points("after answering")
        return reply

    return sf.FunctionGenerator(answer, name="thai")


def pipeline(model: sf.FunctionGenerator, source: Any = None) -> sf.Pipeline:
    diversity, sources = sf.SemanticDiversityFilter(encoder=LetterEncoder()), [source or _Texts()]
    return sf.Pipeline("th", model, contexts=sources, tasks=[Riddle(), sf.Summarization()], diversity=diversity)


def _run(out: Path, model: sf.FunctionGenerator, rows: int = 6, source: Any = None) -> str:
    run = pipeline(model, source).run(rows, out, concurrency=CONCURRENCY, progress=False, clock=FakeClock())
    return run.status


def _long(out: Path, model: sf.FunctionGenerator) -> str:
    return _run(out, model, rows=24)


def _written(out: Path, model: sf.FunctionGenerator) -> str:
    return _run(out, model, source=sf.WrittenContexts())


def _map(out: Path, model: sf.FunctionGenerator) -> str:
    prompts = [Prompt(f"prompt {i % 7}") for i in range(14)]
    replies = sf.generate_all(model, prompts, out, concurrency=CONCURRENCY, clock=FakeClock())
    return hashlib.sha256(repr(replies).encode()).hexdigest()


_WORK = {"run": _run, "long": _long, "written": _written, "map": _map}


def _live(job: dict[str, Any], tell: int) -> None:
    """A whole life; does not return."""
    signal.alarm(_LIMIT)
    calls = os.open(job["calls"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    points = Points(Path(job["out"]), job["kill_at"], tell)
    try:
        result = {"result": _WORK[job["work"]](Path(job["out"]), _model(points, calls)), "points": points.seen}
    except BaseException:
        result = {"error": traceback.format_exc(), "points": points.seen}
    os.write(tell, json.dumps(result).encode())
    os._exit(0)


def warm() -> None:
    """Loads all that a life needs: done once here, it is there in every child."""
    calls = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as out:
        model = _model(lambda what: None, calls)
        asyncio.run(pipeline(model)._run(2, Path(out), progress=False, clock=FakeClock()))
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    gc.freeze()  # a collection in a child would copy every page


def _main() -> None:
    warm()
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


if __name__ == "__main__":
    _main()
