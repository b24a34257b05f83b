"""What a benchmark asks, looked at before anything is paid for."""

from __future__ import annotations

from collections import Counter

from seedfree.errors import ConfigError
from seedfree.protocols import Benchmark
from seedfree.records import Question

__all__ = ["questions_of"]


def questions_of(benchmark: Benchmark) -> tuple[Question, ...]:
    """The benchmark's questions.

    Raises:
        ConfigError: It is no benchmark, or a class of one; it holds something else than questions,
            or two of one id.
    """
    if isinstance(benchmark, type):
        name = benchmark.__name__
        raise ConfigError(f"benchmark is the class {name}", hint=f"Make one of it: {name}().")
    if not isinstance(benchmark, Benchmark):
        raise ConfigError(
            f"benchmark is {type(benchmark).__name__}",
            hint="Give a Benchmark, such as Belebele('th').",
        )
    questions = tuple(benchmark.questions())
    wrong = next((one for one in questions if not isinstance(one, Question)), None)
    if wrong is not None:
        raise ConfigError(
            f"{benchmark.name} holds {type(wrong).__name__}", hint="Make each a sf.Question."
        )
    twice = [one for one, n in Counter(one.id for one in questions).items() if n > 1]
    if twice:
        raise ConfigError(
            f"{benchmark.name} has two questions with the id {twice[0]!r}",
            hint="Give each its own.",
        )
    return questions
