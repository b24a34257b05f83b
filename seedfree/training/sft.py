"""Watching a training: loss and time left, as a bar, and for a function of the user's."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

__all__ = ["TrainingProgress", "make_callback"]

_LOG = logging.getLogger("seedfree")
_EVERY = 30.0


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        step, steps: Done, and in all.
        loss: Of the last step, in nats a token.
        validation_loss: Measured last; `None` before.
        seconds_left: If it goes on as it went since it was started; `None` before the first step.
    """

    step: int
    steps: int
    loss: float | None
    validation_loss: float | None
    seconds_left: float | None


def make_callback(tell: Callable[[TrainingProgress], object] | None, show: bool | None) -> Any:
    """A callback for transformers' Trainer: a bar where `show` says so, and `tell` after each step that is logged."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        """Turns log lines into `TrainingProgress`."""

        def __init__(self) -> None:
            self.bar: Any = None
            self.loss: float | None = None
            self.validation: float | None = None
            self.begun, self.first, self.next = time.monotonic(), 0, time.monotonic() + _EVERY

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.begun, self.first = time.monotonic(), state.global_step
            if show or (show is None and sys.stderr.isatty()):
                from tqdm.auto import tqdm

                self.bar = tqdm(
                    total=state.max_steps, initial=self.first, unit="step", desc="training"
                )

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.loss = (logs or {}).get("loss", self.loss)
            self.validation = (logs or {}).get("eval_loss", self.validation)
            done = state.global_step - self.first
            left = (
                (state.max_steps - state.global_step) * (time.monotonic() - self.begun) / done
                if done
                else None
            )
            self.report(
                TrainingProgress(
                    state.global_step, state.max_steps, self.loss, self.validation, left
                )
            )

        def report(self, now: TrainingProgress) -> None:
            facts = {"loss": now.loss, "validation": now.validation_loss}
            shown = {
                name: f"{float(value):.3f}" for name, value in facts.items() if value is not None
            }
            if now.seconds_left is not None:
                shown["left"] = str(timedelta(seconds=round(now.seconds_left)))
            if self.bar is not None:
                self.bar.n = now.step
                self.bar.set_postfix(shown)
            elif show is not False and time.monotonic() >= self.next:
                self.next = time.monotonic() + _EVERY
                _LOG.info(
                    "step %d of %d; %s",
                    now.step,
                    now.steps,
                    ", ".join(f"{k} {v}" for k, v in shown.items()),
                )
            if tell:
                tell(now)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.bar is not None:
                self.bar.close()

    return Watch()
