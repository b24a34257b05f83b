"""`generate_all`: a durable map from prompts to replies."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import overload

from seedfree.engine.http import Transport
from seedfree.engine.ledger import Ledger
from seedfree.engine.loop import Clock, busy, run_sync, spread
from seedfree.engine.progress import Display, heartbeat
from seedfree.engine.providers import named_generator
from seedfree.engine.request import read
from seedfree.engine.session import RunSession, ready
from seedfree.errors import ConfigError, RequestError, StopRunError
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Prompt, Reply

__all__ = ["Replies", "generate_all"]

_SAMPLING = ("temperature", "top_p", "repetition_penalty", "max_tokens", "seed")


class Replies(Sequence[Reply]):
    """Replies in the order of their prompts, each read from the run folder when it is asked for."""

    def __init__(
        self, folder: Path, generator: Generator, entries: array[int], errors: Mapping[int, Reply]
    ) -> None:
        self._reader, self._generator = Ledger.reader(folder), generator
        self._entries, self._errors = entries, errors

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, i: int) -> Reply: ...
    @overload
    def __getitem__(self, i: slice) -> list[Reply]: ...
    def __getitem__(self, i: int | slice) -> Reply | list[Reply]:
        if isinstance(i, slice):
            return [self[each] for each in range(len(self))[i]]
        at = range(len(self))[i]
        failed = self._errors.get(at)
        return failed or read(self._generator, self._reader.read(self._entries[at]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Replies({len(self)}, {len(self._errors)} of them with an error)"


def generate_all(
    generator: str | Generator,
    prompts: Iterable[Prompt],
    out: str | Path,
    *,
    concurrency: int = 64,
    seed: int = 0,
    language: str | Language = "en",
    once: bool = False,
    progress: bool | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> Replies:
    """Replies to prompts, in order, one each. Run again after a crash, it asks for what is missing.

    Args:
        generator: The LLM: an object, or a word such as `"ollama/qwen3:8b"`.
        prompts: Any iterable; it is read as requests are sent, never as a whole.
        out: Folder whose `ledger.sqlite` keeps every reply.
        concurrency: Requests under way at most; at least 1.
        seed: Where equal prompts get their sampling seeds from.
        once: Take the first reply as it comes, to measure a model: an empty one is not asked for
            again, and one that `max_tokens` cut off or that refuses keeps its text.
        progress: `None` for a bar in terminals and notebooks and plain lines on standard error
            elsewhere. `True` forces the bar, `False` shows nothing.

    Returns:
        A sequence that reads from `out`. A prompt that failed has a reply with empty text and
        `.error`.

    Raises:
        ConfigError: A wrong argument, before anything is sent.
        StopRunError: No request can succeed: a wrong key, spent budget, full disk; or the first 20
            prompts that were paid for all gave nothing.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency is {concurrency}", hint="It is at least 1.")
    model = named_generator(generator)
    ready(model)
    pack, folder = Language.load(language), Path(out).absolute()

    async def ask() -> Replies:
        with Ledger(folder, clock=clock) as ledger, busy():
            session = RunSession(
                ledger,
                model,
                pack,
                seed,
                concurrency=concurrency,
                clock=clock,
                transport=transport,
                folder=folder,
            )
            return await _all(session, model, prompts, folder, once, display, clock)

    total = len(prompts) if isinstance(prompts, Sized) else None
    display = Display("seedfree", "replies", total, show=progress, clock=clock)
    try:
        return run_sync(ask())
    finally:
        display.close()


async def _all(
    session: RunSession,
    generator: Generator,
    prompts: Iterable[Prompt],
    out: Path,
    once: bool,
    display: Display,
    clock: Clock | None,
) -> Replies:
    entries, errors = array("q"), dict[int, Reply]()
    ask = session.first if once else session.generate
    answered = 0

    async def reply_to(prompt: Prompt, sample: int) -> Reply:
        # The first reply of a thousand would cost all others its latency.
        async with session.gate.piece("prompts", hold=False) as piece:
            try:
                reply = await ask(prompt, sample=sample)
            except StopRunError:
                raise
            except RequestError as error:
                piece.lose("failed", error.message)
                return Reply("", stop_reason="failed", error=f"failed: {error.message}")
            if once and reply.error is not None:
                piece.lose("rejected", reply.error)
            elif once:  # whatever it says is what is measured
                piece.got = True
            return reply

    async def work(item: tuple[int, Prompt, int]) -> None:
        nonlocal answered
        i, prompt, sample = item
        entries.append(-1)
        reply = await reply_to(prompt, sample)
        entries[i] = reply.entry
        if reply.error is not None:
            errors[i] = reply
        answered += 1
        # Replies that were kept before say nothing about the pace.
        if not session.requests:
            display.start(answered)
        show()

    def show() -> None:
        facts: dict[str, object] = {"failed": len(errors)} if errors else {}
        if session.accounts.tally.price_usd is not None:
            facts["usd"] = f"{session.accounts.tally.price_usd:.4f}"
        display.update(answered, facts, display.left(answered))

    def until_stopped() -> Iterator[tuple[int, Prompt, int]]:
        for item in _numbered(prompts):
            if session.stopped is not None:
                return
            yield item

    try:
        await session.bind(generator)
        async with heartbeat(show, clock):
            await spread(work, until_stopped(), session.workers)
        if session.stopped is not None:
            raise session.stopped
    finally:
        await session.close([generator])
    return Replies(out, generator, entries, errors)


def _numbered(prompts: Iterable[Prompt]) -> Iterator[tuple[int, Prompt, int]]:
    """Yields each prompt with its place and its sample: equal prompts are samples 0, 1, 2 ..."""
    seen: Counter[bytes] = Counter()
    for i, prompt in enumerate(prompts):
        if not isinstance(prompt, Prompt):
            raise ConfigError(
                f"Prompt {i} is {type(prompt).__name__}", hint="Wrap it: sf.Prompt(text)."
            )
        # Not dumped as JSON: every string would then hold a second, UTF-8 form of its text.
        sampling = tuple(getattr(prompt, name) for name in _SAMPLING)
        rest = (prompt.system, prompt.schema, prompt.examples, sampling)
        key = hashlib.sha256(repr(rest).encode()).digest()
        name = hashlib.blake2b(prompt.user.encode(), key=key, digest_size=16).digest()
        yield i, prompt, seen[name]
        seen[name] += 1
