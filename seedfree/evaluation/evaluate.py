"""`evaluate`: a model's predictions on a benchmark, and their scores."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from seedfree._files import write_atomic
from seedfree._seeds import seeded
from seedfree.dataset import ALPACA_SYSTEM
from seedfree.engine.batch import Replies, generate_all
from seedfree.engine.http import Transport
from seedfree.engine.loop import Clock
from seedfree.engine.session import identity, ready
from seedfree.errors import ConfigError, ConfigMismatchError
from seedfree.evaluation.loading import questions_of
from seedfree.evaluation.results import FIXED, Evaluation, read_info
from seedfree.evaluation.scores import score
from seedfree.protocols import Benchmark, Generator, HTTPGenerator, Model
from seedfree.records import Prompt, Question, altered
from seedfree.text import shown

__all__ = ["Decoding", "Evaluation", "evaluate"]

# A value of each setting that nobody asks for, to see whether it reaches the request.
_OTHER = {"temperature": 0.123, "top_p": 0.456, "repetition_penalty": 1.789}


@dataclass(frozen=True)
class Decoding:
    """Decoding settings, the same for every question. `None` leaves a setting to the backend.

    Attributes:
        temperature: 0 to 2; 0 takes the likeliest token always.
        top_p: Above 0, up to 1.
        repetition_penalty: Above 0; 1 is none.
        max_tokens: At which an answer is cut off; at least 1.
        system: System prompt of questions whose benchmark gives none.

    Raises:
        ConfigError: A setting is outside its range.
    """

    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int = 512
    system: str | None = None

    def __post_init__(self) -> None:
        known = (self.temperature, self.top_p, self.repetition_penalty)
        if not all(value is None or math.isfinite(value) for value in known):
            raise ConfigError("A decoding setting is not finite")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature is {self.temperature}", hint="Give 0 to 2, or None.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(
                f"top_p is {self.top_p}", hint="Give a number above 0, up to 1, or None."
            )
        if self.repetition_penalty is not None and not self.repetition_penalty > 0:
            raise ConfigError(
                f"repetition_penalty is {self.repetition_penalty}",
                hint="Give 1.0 (none) or a bit more.",
            )
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}", hint="Give 1 or more.")

    @classmethod
    def paper(cls, *, system: bool = False) -> Decoding:
        """The paper's (its authors' evaluation code): 0.05, 0.9, 1.15, 512 tokens.

        Its top-k of 500 is left out: at this temperature the first 0.9 are a few tokens.

        Args:
            system: Also the English system prompt that its models were trained and evaluated with.
        """
        return cls(0.05, 0.9, 1.15, 512, ALPACA_SYSTEM if system else None)

    @classmethod
    def greedy(cls, max_tokens: int = 512) -> Decoding:
        """The likeliest token always."""
        return cls(temperature=0.0, max_tokens=max_tokens)

    def apply(self, prompt: Prompt) -> Prompt:
        """The prompt with these settings; what the prompt sets itself but these leave open stays."""
        given = {name: value for name in _OTHER if (value := getattr(self, name)) is not None}
        system = self.system if prompt.system is None else prompt.system
        return replace(prompt, **given, system=system, max_tokens=self.max_tokens)

    def left_out(self, generator: Generator, prompt: Prompt) -> tuple[str, ...]:
        """Names of the settings that do not reach the model over HTTP: the backend takes none, or has its own.

        Other generators are given the prompt whole.
        """
        if not isinstance(generator, HTTPGenerator):
            return ()
        asked = self.apply(prompt)
        sent = generator.request(asked).content
        given = [name for name in _OTHER if getattr(self, name) is not None]
        others = {name: altered(asked, **{name: _OTHER[name]}) for name in given}
        return tuple(
            name for name, other in others.items() if generator.request(other).content == sent
        )


_LOG = logging.getLogger("seedfree")
_PAPER = Decoding.paper()
_REASON = 200  # Characters of a reason in the warning; the file has it whole.
_Mode = Literal["segmented", "paper"]


def evaluate(
    model: Generator | Model,
    benchmark: Benchmark,
    out: str | Path,
    *,
    decoding: Decoding = _PAPER,
    concurrency: int = 64,
    limit: int | None = None,
    seed: int = 0,
    mode: _Mode = "segmented",
    batch_size: int = 8,
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> Evaluation:
    """Asks a model every question of a benchmark and scores its answers; run again, it asks only what is missing.

    Args:
        model: Any generator, or a trained model.
        out: A folder of this evaluation alone; every reply is kept there, in `ledger.sqlite`, as it comes.
        concurrency: Requests under way at most; at least 1.
        limit: Ask so many questions, drawn with `seed`; those of a smaller limit are among those of a larger one.
        seed: Of sampling, of the draw and of the intervals.
        mode: How texts are cut into words; see `score`.
        batch_size: Questions at a time, for a trained model.

    Raises:
        ConfigError: A wrong argument, a benchmark that cannot be loaded, a missing package; before anything is sent.
        ConfigMismatchError: `out` was begun with another model, benchmark, decoding or seed.
        StopRunError: No request can succeed: a wrong key, 20 rejected in a row; run it again once that is mended.
    """
    if limit is not None and (not isinstance(limit, Integral) or limit < 1):
        raise ConfigError(f"limit is {limit!r}", hint="Give 1 or more, or None for all.")
    if not isinstance(decoding, Decoding):
        hint = "Give a Decoding, such as Decoding.greedy()."
        raise ConfigError(f"decoding is {type(decoding).__name__}", hint=hint)
    generator = model.as_generator(batch_size=batch_size) if isinstance(model, Model) else model
    if not isinstance(generator, Generator):
        raise ConfigError(
            f"model is {type(model).__name__}", hint="Give a generator or a TrainedModel."
        )
    questions = questions_of(benchmark)
    if not any(one.answer.strip() for one in questions):
        raise ConfigError(f"{benchmark.name} has no questions with an answer")
    folder = Path(out)
    info = {
        "benchmark": benchmark.name,
        "language": benchmark.language,
        "questions": _digest(questions),
        "model": identity(generator),
        "decoding": asdict(decoding),
        "seed": seed,
    }
    _check_same(read_info(folder), info, folder)
    # what it needs is missed before anything is paid for
    score(["ก a"], ["ก a"], benchmark.language, mode)
    ready(generator)
    asked = _drawn(questions, limit, seed)
    prompts = [decoding.apply(_prompt(benchmark, one)) for one in asked]
    left_out = decoding.left_out(generator, prompts[0])
    if left_out:
        _LOG.warning("%s leaves out %s, or has its own", info["model"], ", ".join(left_out))
    info |= {"left_out": left_out, "mode": mode, "limit": limit}
    # First, so that a folder that is stopped half-way is known for what it is.
    _write(folder / "evaluation.json", info)
    replies = generate_all(
        generator,
        prompts,
        folder,
        concurrency=concurrency,
        seed=seed,
        language=benchmark.language,
        once=True,
        clock=clock,
        transport=transport,
    )
    write_atomic(folder / "predictions.jsonl", _lines(asked, replies))
    evaluation = Evaluation.open(folder)
    _write(folder / "scores.json", evaluation.to_dict())
    return evaluation


def _prompt(benchmark: Benchmark, question: Question) -> Prompt:
    prompt = benchmark.prompt(question)
    if not isinstance(prompt, Prompt):
        raise ConfigError(
            f"{benchmark.name}.prompt() gives {type(prompt).__name__}",
            hint="Return sf.Prompt(text).",
        )
    return prompt


def _check_same(was: Mapping[str, Any] | None, now: Mapping[str, Any], folder: Path) -> None:
    fields = [name for name in FIXED if was is not None and was[name] != now[name]]
    if fields:
        hint = "Give the same again, or a new folder."
        raise ConfigMismatchError(
            f"{folder} was begun with another {', '.join(fields)}", fields=fields, hint=hint
        )


def _digest(questions: Iterable[Question]) -> str:
    found = hashlib.sha256()
    for one in questions:
        found.update(json.dumps(asdict(one)).encode())
    return found.hexdigest()[:16]


def _drawn(questions: tuple[Question, ...], limit: int | None, seed: int) -> tuple[Question, ...]:
    if limit is None or limit >= len(questions):
        return questions
    places = list(range(len(questions)))
    seeded(seed, "limit").shuffle(places)
    return tuple(questions[i] for i in sorted(places[:limit]))


def _lines(questions: Sequence[Question], replies: Replies) -> Iterable[str]:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for one, reply in zip(questions, replies, strict=True):
        stop = (
            "rejected"
            if reply.error is not None and reply.stop_reason == "end"
            else reply.stop_reason
        )
        failed = reply.error is not None or stop == "refusal"
        counts[stop] += failed
        if reply.error is not None:
            reasons[" ".join(reply.error.removeprefix("failed: ").split())[:_REASON]] += 1
        row = asdict(one) | {
            "choices": list(one.choices),
            "prediction": "" if failed else reply.text.strip(),
        }
        error = {"error": reply.error} if reply.error is not None else {}
        yield json.dumps(row | {"stop_reason": stop} | error, ensure_ascii=False) + "\n"
    if lost := +counts:
        said = ", ".join(f"{n} {reason}" for reason, n in lost.most_common())
        why = "".join(f" (most often: {shown(reason)})" for reason, _ in reasons.most_common(1))
        _LOG.warning(
            "%d of %d questions have no answer: %s%s", lost.total(), len(questions), said, why
        )


def _write(path: Path, value: Any) -> None:
    write_atomic(path, [json.dumps(value, ensure_ascii=False, indent=1), "\n"])
