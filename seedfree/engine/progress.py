"""How far a piece of work is: a bar in a terminal or a notebook, plain lines anywhere else."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TextIO

from seedfree.engine.loop import Clock
from seedfree.errors import SeedfreeError

__all__ = ["Display", "heartbeat"]

# Seconds between two lines: soon at first, for whoever waits, and rarely in a long piece of work.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
# Seconds between two pictures of a bar, as tqdm has them.
_FRAME = 0.1
# Without tqdm's time left: it would come from rows alone, and be shown before there is one.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
# What a stream raises that is closed, broken, full or only looks like one.
_BROKEN = (OSError, ValueError, AttributeError)


class Display:
    """Shows how far a piece of work is, from its first moment to its end.

    It never makes the work fail: after the first error of its stream it says nothing more.

    Args:
        name: What works, such as `"training"`.
        unit: What is counted, in the plural.
        total: How many there will be. `None` where that is not known.
        show: `None` shows a bar in a terminal or a notebook, and lines elsewhere. `True` forces the
            bar, `False` shows nothing.
        clock: The machine's clock by default.
        stream: Standard error by default, which may be `None`.

    Attributes:
        total: May be set later, where it becomes known.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        total: int | None,
        *,
        show: bool | None = None,
        clock: Clock | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._name, self._unit, self.total = name, unit, total
        self._begun = self._since = self._clock.monotonic()
        self._done = self._before = 0
        self._facts: dict[str, object] = {}
        self._wait, self._next = _FIRST_WAIT, self._begun + _FIRST_WAIT
        self._bar: Any = None
        self._stream = None if show is False else stream or sys.stderr
        if self._stream is None:
            return
        if not (show or _notebook() or _terminal(self._stream)):
            self._write(self._line())
            return
        try:
            self._bar, self._next = self._make_bar(), self._begun
        except _BROKEN:
            self._stop()

    def start(self, done: int) -> None:
        """Says that the work of this process begins here: `done` were there before."""
        self._before, self._since = done, self._clock.monotonic()

    def left(self, done: int) -> float | None:
        """Returns the seconds still needed at the pace so far; `None` where nothing says so."""
        seconds, new = self._clock.monotonic() - self._since, done - self._before
        if self.total is None or new <= 0:
            return None
        return max(0, self.total - done) * seconds / new

    def update(
        self, done: int, facts: Mapping[str, object] | None = None, left: float | None = None
    ) -> None:
        """Shows how far it is, if a line is due.

        Args:
            done: How many there are.
            facts: What else is worth saying, by name.
            left: Seconds; `None` where nothing measured says so.
        """
        if self._stream is None:
            return
        self._done, self._facts = done, dict(facts or {})
        if left is not None:
            self._facts["left"] = str(timedelta(seconds=round(left)))
        now = self._clock.monotonic()
        if now < self._next:
            return
        if self._bar is not None:
            self._next = now + _FRAME
            self._move_bar()
        else:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._next = now + self._wait
            self._write(self._line())

    def close(self) -> None:
        """Says where the work ended. A second call does nothing."""
        if self._bar is not None:
            self._move_bar()
            self._stop()
        elif self._stream is not None:
            self._facts.pop("left", None)
            seconds = timedelta(seconds=round(self._clock.monotonic() - self._begun))
            self._write(f"{self._line()}, ended after {seconds}")
        self._stream = None

    def _line(self) -> str:
        count = f"{self._done} {self._unit}"
        if self.total is not None:
            count = f"{self._done}/{self.total} {self._unit}"
        facts = [f"{name} {value}" for name, value in self._facts.items()]
        seconds, new = self._clock.monotonic() - self._since, self._done - self._before
        if new > 0 and seconds > 0:
            facts.insert(0, f"{60 * new / seconds:.3g} a minute")
        return ", ".join([f"{self._name}: {count}", *facts])

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            line = line.encode(encoding, "backslashreplace").decode(encoding)
            # In one piece, so that lines of two threads do not mix.
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (*_BROKEN, LookupError):
            self._stream = None

    def _make_bar(self) -> Any:
        from tqdm.auto import tqdm

        # tqdm would draw nothing where nothing fits.
        size: dict[str, Any] = {"dynamic_ncols": True}
        if _sizeless(self._stream):
            size = {"ncols": 80, "nrows": 24}

        return tqdm(
            total=self.total,
            unit=self._unit,
            desc=self._name,
            file=self._stream,
            bar_format=_BAR if self.total is not None else None,
            **size,
        )

    def _move_bar(self) -> None:
        try:
            if self.total is not None:
                self._bar.total, self._bar.bar_format = self.total, _BAR
            self._bar.n = self._done
            self._bar.set_postfix(self._facts)
        except _BROKEN:
            self._stop()

    def _stop(self) -> None:
        """Ends the bar and the display, whatever the stream makes of it."""
        bar, self._bar, self._stream = self._bar, None, None
        if bar is None:
            return
        try:
            bar.close()
        except _BROKEN:
            # Else it would try once more when it is collected.
            bar.disable = True


@asynccontextmanager
async def heartbeat(
    show: Callable[[], None], clock: Clock | None, seconds: float = 1.0
) -> AsyncIterator[None]:
    """Calls `show` now and again, so that the wait for a slow reply is no silence.

    Args:
        clock: One that was injected leaves time to whoever injected it.
    """
    if clock is not None:
        yield
        return

    async def beat() -> None:
        # A disk that is full stops the work itself, which says so.
        with suppress(SeedfreeError):
            while True:
                await asyncio.sleep(seconds)
                show()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def _terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except _BROKEN:
        return False


def _sizeless(stream: TextIO | None) -> bool:
    """Returns whether a terminal says that it has no columns or rows, as in some containers."""
    try:
        return stream is not None and 0 in os.get_terminal_size(stream.fileno())
    except _BROKEN:
        return False


def _notebook() -> bool:
    """Returns whether the process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
