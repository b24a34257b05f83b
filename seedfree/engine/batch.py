"""`generate_all`: a durable map from prompts to replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from seedfree.engine.clock import Clock
from seedfree.engine.ledger import Ledger
from seedfree.engine.loop import run_sync, side_by_side
from seedfree.engine.runner import Runner
from seedfree.engine.session import RunSession
from seedfree.engine.transport import Transport
from seedfree.errors import ConfigError, RequestError, StopRunError
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Prompt, Reply

__all__ = ["bind", "close", "generate_all", "ready"]

_PROMPT = TypeAdapter(Prompt)


def generate_all(
    generator: Generator,
    prompts: Iterable[Prompt],
    out: str | Path,
    *,
    concurrency: int = 64,
    seed: int = 0,
    language: str | Language = "en",
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> list[Reply]:
    """Replies to prompts, in order, one each; run again after a crash, it asks only for what is missing.

    Args:
        out: Folder whose `ledger.sqlite` keeps every reply.
        concurrency: Requests under way at most; at least 1.
        seed: Where equal prompts get their sampling seeds from.

    Returns:
        A prompt that failed has a reply with empty text and `.error`.

    Raises:
        ConfigError: A wrong argument, before anything is sent.
        StopRunError: No request can succeed: a wrong key, spent budget, full disk.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency is {concurrency}", hint="It is at least 1.")
    ready(generator)
    pack = Language.load(language)
    return run_sync(_all(generator, list(prompts), Path(out), concurrency, seed, pack, clock, transport))


async def _all(
    generator: Generator,
    prompts: Sequence[Prompt],
    out: Path,
    concurrency: int,
    seed: int,
    language: Language,
    clock: Clock | None,
    transport: Transport | None,
) -> list[Reply]:
    with Ledger(out, clock=clock) as ledger:
        runner = Runner(ledger, concurrency=concurrency, clock=clock, transport=transport)
        session = RunSession(runner, generator, language, seed)
        replies: list[Reply | None] = [None] * len(prompts)
        # Equal prompts are samples 0, 1, 2 ... of the same question.
        seen: Counter[bytes] = Counter()
        work = iter(enumerate(prompts))

        async def worker() -> None:
            for i, prompt in work:
                if runner.stopped:
                    return
                text = _PROMPT.dump_json(prompt)
                sample, seen[text] = seen[text], seen[text] + 1
                try:
                    replies[i] = await session.generate(prompt, sample=sample)
                except StopRunError:
                    raise
                except RequestError as error:
                    replies[i] = Reply("", stop_reason="failed", error=f"failed: {error.message}")

        try:
            await bind(runner, generator, session)
            await side_by_side(worker() for _ in range(min(concurrency, len(prompts))))
            if runner.stopped:
                raise runner.stopped
        finally:
            await close(runner, generator)
            await runner.close()
    return [reply for reply in replies if reply is not None]


def ready(component: object) -> None:
    """Calls a component's `ready()`, where it has one: it raises `ConfigError` for what would fail later."""
    fn: Callable[[], None] | None = getattr(component, "ready", None)
    if fn is not None:
        fn()


async def bind(runner: Runner, component: object, session: RunSession) -> None:
    """Calls a component's `bind(session)`, where it has one."""
    fn: Callable[..., Any] | None = getattr(component, "bind", None)
    if fn is not None:
        await runner.call(fn, session)


async def close(runner: Runner, component: object) -> None:
    """Calls a component's `close()`, where it has one."""
    fn: Callable[[], Any] | None = getattr(component, "close", None)
    if fn is not None:
        await runner.call(fn)
