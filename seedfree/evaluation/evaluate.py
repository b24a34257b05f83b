"""Measures a model: asks it every question of a benchmark, keeps its answers and scores them.

`Decoding` says how the model decodes, `evaluate` asks, and `results.Evaluation` reads what is then
in the folder. A model comes in as a generator. What offers itself as one (`protocols.Model`, such
as a trained model) is asked through its `as_generator()`. Nothing here knows how it was made.
"""

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
from typing import Any, Literal, overload

from seedfree._files import claim_folder, json_line, write_atomic
from seedfree._seeds import seeded
from seedfree.dataset import ALPACA_SYSTEM
from seedfree.engine.batch import generate_all
from seedfree.engine.http import Transport, check_temperature
from seedfree.engine.loop import Clock
from seedfree.engine.places import published, url_of
from seedfree.engine.providers import named_generator
from seedfree.engine.session import identity, ready
from seedfree.errors import ConfigError, ConfigMismatchError
from seedfree.evaluation.likelihood import Likelihoods, Likely
from seedfree.evaluation.likelihood import measure as measured
from seedfree.evaluation.loading import questions_of
from seedfree.evaluation.results import FIXED, Evaluation, read_info
from seedfree.evaluation.scores import Mode, score
from seedfree.languages import language_or_bare
from seedfree.protocols import Benchmark, Generator, HTTPGenerator, Model
from seedfree.records import Prompt, Question, Reply
from seedfree.text import shown

__all__ = ["Decoding", "evaluate"]

_LOG = logging.getLogger("seedfree")
_SAMPLING = ("temperature", "top_p", "repetition_penalty")
# Characters of an error in the warning, which is one line of a log. The file has the whole error.
_LONGEST_ERROR = 200


@dataclass(frozen=True)
class Decoding:
    """Decoding settings, the same for every question. `None` leaves a setting to the backend.

    Attributes:
        temperature: 0 to 2. At 0 the likeliest token is always taken.
        top_p: Above 0, up to 1.
        repetition_penalty: Above 0, where 1 is none.
        max_tokens: Length at which an answer is cut off, in tokens. At least 1.
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
        # Each range is asked for in the positive: NaN is in none of them, so it is refused too.
        check_temperature(self.temperature)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            hint = "Give a number above 0, up to 1, or None."
            raise ConfigError(f"top_p is {self.top_p}", hint=hint)
        penalty = self.repetition_penalty
        if penalty is not None and not 0 < penalty < math.inf:
            hint = "Give 1.0 (none) or a bit more."
            raise ConfigError(f"repetition_penalty is {penalty}", hint=hint)
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}", hint="Give 1 or more.")

    @classmethod
    def paper(cls, *, system: bool = False) -> Decoding:
        """Returns the paper's settings, from its authors' evaluation code: 0.05, 0.9, 1.15, 512.

        Their top-k of 500 is left out: at this temperature the first 0.9 are a few tokens.

        Args:
            system: Whether to add the English system prompt that the paper's models were trained
                and evaluated with.
        """
        return cls(
            temperature=0.05,
            top_p=0.9,
            repetition_penalty=1.15,
            max_tokens=512,
            system=ALPACA_SYSTEM if system else None,
        )

    @classmethod
    def greedy(cls, max_tokens: int = 512) -> Decoding:
        """Returns settings that always take the likeliest token."""
        return cls(temperature=0.0, max_tokens=max_tokens)

    def apply(self, prompt: Prompt) -> Prompt:
        """Returns the prompt with these settings.

        What these settings leave open stays as the prompt has it, and so does its own system
        prompt.
        """
        system = self.system if prompt.system is None else prompt.system
        return replace(prompt, **self._sampling(), system=system, max_tokens=self.max_tokens)

    def left_out(self, generator: Generator, prompt: Prompt) -> tuple[str, ...]:
        """Names the settings that do not reach the model over HTTP.

        Either the backend does not send them, or the generator has a value of its own. Generators
        that do not speak HTTP are given the whole prompt.
        """
        if not isinstance(generator, HTTPGenerator):
            return ()
        asked = self.apply(prompt)
        sent = generator.request(asked).content
        # Neither the backend nor the prompt says what goes into a request. Hence one setting at a
        # time is changed: where the request stays the same, the setting is not in it.
        # Half of any value is another one in the same range, except of 0.
        others: dict[str, Any] = {
            name: value / 2 or 0.5 for name, value in self._sampling().items()
        }
        return tuple(
            name
            for name, other in others.items()
            if generator.request(replace(asked, **{name: other})).content == sent
        )

    def _sampling(self) -> dict[str, Any]:
        """Returns the sampling settings that are given, by the names that a prompt has for them."""
        settings = {name: getattr(self, name) for name in _SAMPLING}
        return {name: value for name, value in settings.items() if value is not None}


_PAPER = Decoding.paper()


@overload
def evaluate(
    model: Likely,
    benchmark: Benchmark,
    out: str | Path,
    *,
    measure: Literal["likelihood"],
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 8,
    progress: bool | None = None,
) -> Likelihoods: ...


@overload
def evaluate(
    model: str | Generator | Model,
    benchmark: Benchmark,
    out: str | Path,
    *,
    measure: Literal["answers"] = "answers",
    decoding: Decoding = _PAPER,
    concurrency: int = 64,
    limit: int | None = None,
    seed: int = 0,
    mode: Mode = "segmented",
    batch_size: int = 8,
    progress: bool | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> Evaluation: ...


def evaluate(
    model: str | Generator | Model | Likely,
    benchmark: Benchmark,
    out: str | Path,
    *,
    measure: Literal["answers", "likelihood"] = "answers",
    decoding: Decoding = _PAPER,
    concurrency: int = 64,
    limit: int | None = None,
    seed: int = 0,
    mode: Mode = "segmented",
    batch_size: int = 8,
    progress: bool | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> Evaluation | Likelihoods:
    """Asks a model every question of a benchmark and scores its answers.

    Run again, it asks only what is missing.

    Args:
        model: A generator, by a word (`"ollama/qwen3:8b"`) or as an object, or a model with
            `as_generator()`, such as a trained one.
        out: A folder for this evaluation alone. Every reply is kept there as it comes, in
            `ledger.sqlite`.
        measure: `"likelihood"` asks for no answers: it measures how likely the model finds the
            benchmark's own, after their question and after another one (see `Likelihoods`). The
            model must tell likelihoods, as a `TrainedModel` does; how it decodes has no part in it.
        decoding: The paper's settings by default.
        concurrency: Requests under way at most. At least 1.
        limit: Number of questions to ask, drawn with `seed`. `None` for all. A larger limit asks
            those of a smaller one too.
        seed: Of sampling, of the draw and of the intervals.
        mode: How texts are cut into words. See `score`.
        batch_size: Questions that a model with `as_generator()` answers at a time.
        progress: `None` for a bar in terminals and notebooks and plain lines on standard error
            elsewhere. `True` forces the bar, `False` shows nothing.
        clock: Where the time comes from. The machine's clock by default.
        transport: What sends HTTP requests. The engine's own by default.

    Raises:
        ConfigError: An argument is wrong, the benchmark cannot be loaded or a package is missing.
            Nothing was sent.
            `out` holds files of something else.
        ConfigMismatchError: `out` was begun with another model, benchmark, decoding or seed.
        StopRunError: No request can succeed: the key is wrong, or 20 requests in a row were
            rejected. Run it again when that is mended.
    """
    if limit is not None and (not isinstance(limit, Integral) or limit < 1):
        raise ConfigError(f"limit is {limit!r}", hint="Give 1 or more, or None for all.")
    if not isinstance(decoding, Decoding):
        hint = "Give a Decoding, such as Decoding.greedy()."
        raise ConfigError(f"decoding is {type(decoding).__name__}", hint=hint)
    if measure not in ("answers", "likelihood"):
        raise ConfigError(f"measure is {measure!r}", hint='Give "answers" or "likelihood".')
    if measure == "likelihood" and not isinstance(model, Likely):
        hint = "Give a TrainedModel, or its untrained()."
        raise ConfigError(f"{type(model).__name__} tells no likelihoods", hint=hint)
    generator = _generator_of(model, batch_size)
    questions = questions_of(benchmark)
    if not any(question.answer.strip() for question in questions):
        raise ConfigError(f"{benchmark.name} has no questions with an answer")
    folder = Path(out).absolute()
    info = {
        "benchmark": benchmark.name,
        "language": benchmark.language,
        "questions": _digest(questions),
        # The folder may be published.
        "model": published(identity(generator)),
        "decoding": asdict(decoding) if measure == "answers" else {},
        "seed": seed,
        "measure": measure,
    }
    claim_folder(folder, ["evaluation.json"])
    _check_same(read_info(folder), info, folder)
    if isinstance(model, Likely) and measure == "likelihood":
        fit = [each for each in _drawn(questions, limit, seed) if each.answer.strip()]
        info |= {"limit": limit, "asked": [each.id for each in fit]}
        _write(folder / "evaluation.json", info)
        return measured(
            model, benchmark, fit, folder, info, seed=seed, batch_size=batch_size, show=progress
        )
    # A text is scored now, so that a wrong mode or a missing package is an error before anything is
    # paid for.
    score(["ก a"], ["ก a"], benchmark.language, mode)
    ready(generator)
    asked = _drawn(questions, limit, seed)
    prompts = [decoding.apply(_prompt(benchmark, question)) for question in asked]
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
        language=language_or_bare(benchmark.language),
        # An answer is measured as it comes: asking for a better one would flatter the model.
        once=True,
        progress=progress,
        clock=clock,
        transport=transport,
    )
    server = url_of(generator)
    rows = [_row(question, reply, server) for question, reply in zip(asked, replies, strict=True)]
    write_atomic(folder / "predictions.jsonl", map(json_line, rows))
    _warn_of_unanswered(rows)
    evaluation = Evaluation.open(folder)
    _write(folder / "scores.json", evaluation.to_dict())
    return evaluation


def _generator_of(model: str | Generator | Model, batch_size: int) -> Generator:
    if isinstance(model, Model):
        return model.as_generator(batch_size=batch_size)
    model = named_generator(model)
    if not isinstance(model, Generator):
        hint = "Give a generator, or a model with as_generator(), such as a trained one."
        raise ConfigError(f"model is {type(model).__name__}", hint=hint)
    return model


def _digest(questions: Iterable[Question]) -> str:
    """Returns 16 hexadecimal digits that stand for all fields of all questions."""
    # The digits are in `evaluation.json` of every folder. With other bytes here, the folders that
    # there are would be refused.
    digest = hashlib.sha256()
    for question in questions:
        digest.update(json.dumps(asdict(question)).encode())
    return digest.hexdigest()[:16]


def _check_same(was: Mapping[str, Any] | None, now: Mapping[str, Any], folder: Path) -> None:
    if was is None:
        return
    # Versions before wrote the model as it is, and measured answers alone.
    was = {"measure": "answers", **was, "model": published(str(was["model"]))}
    differing = [name for name in FIXED if was[name] != now[name]]
    if differing:
        raise ConfigMismatchError(
            f"{folder} was begun with another {', '.join(differing)}",
            fields=differing,
            hint="Give the same again, or a new folder.",
        )


def _drawn(questions: tuple[Question, ...], limit: int | None, seed: int) -> tuple[Question, ...]:
    if limit is None or limit >= len(questions):
        return questions
    # All places are shuffled, not `limit` of them sampled: only so does a larger limit keep the
    # questions of a smaller one.
    places = list(range(len(questions)))
    seeded(seed, "limit").shuffle(places)
    return tuple(questions[place] for place in sorted(places[:limit]))


def _prompt(benchmark: Benchmark, question: Question) -> Prompt:
    prompt = benchmark.prompt(question)
    if not isinstance(prompt, Prompt):
        name = f"{benchmark.name}.prompt()"
        raise ConfigError(f"{name} gives {type(prompt).__name__}", hint="Return sf.Prompt(text).")
    return prompt


def _row(question: Question, reply: Reply, server: str) -> dict[str, Any]:
    """Returns a question and its answer as a line of `predictions.jsonl`."""
    row = asdict(question) | {
        "prediction": reply.text.strip(),
        "stop_reason": reply.stop_reason,
    }
    if reply.error is not None:
        row |= {"prediction": "", "error": published(reply.error, server)}
        # A backend that reports an error may leave the stop reason at its default, "end".
        if reply.stop_reason == "end":
            row["stop_reason"] = "rejected"
    if reply.stop_reason == "refusal":
        row["prediction"] = ""
    return row


def _warn_of_unanswered(rows: Sequence[Mapping[str, Any]]) -> None:
    """Logs how many questions failed or were refused, and the most frequent error."""
    unanswered = [row for row in rows if "error" in row or row["stop_reason"] == "refusal"]
    if not unanswered:
        return
    stops = Counter(row["stop_reason"] for row in unanswered)
    errors = Counter(_one_line(row["error"]) for row in unanswered if "error" in row)
    counts = ", ".join(f"{n} {stop}" for stop, n in stops.most_common())
    example = "".join(f" (most often: {shown(error)})" for error, _ in errors.most_common(1))
    _LOG.warning(
        "%d of %d questions have no answer: %s%s", len(unanswered), len(rows), counts, example
    )


def _one_line(error: str) -> str:
    # The count before the error says "failed" already.
    return " ".join(error.removeprefix("failed: ").split())[:_LONGEST_ERROR]


def _write(path: Path, value: Any) -> None:
    # Not `write_json`, which sorts: a person reads these files in the order in which they are made.
    write_atomic(path, [json.dumps(value, ensure_ascii=False, indent=1), "\n"])
