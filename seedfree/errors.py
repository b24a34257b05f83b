"""Every error that seedfree raises, as one tree. All of them are public: `sf.ConfigError` ...

    SeedfreeError                   message, hint, retryable
    ├── ConfigError                 a setting, argument, file or package is wrong (a ValueError)
    │   └── ConfigMismatchError     the folder was made with other settings (`fields`)
    ├── RequestError                one request failed for good (`status`)
    │   ├── RetryableError          it may succeed later (`retry_after`)
    │   ├── InvalidReplyError       the reply is not what the prompt asked for
    │   └── StopRunError            no request can succeed: wrong key, spent budget, failed disk
    ├── LedgerError                 the run's ledger cannot be used
    │   ├── LedgerLockedError       another process has the run open
    │   └── LedgerDamagedError      rows are missing or changed
    ├── EncoderError                vectors are unusable, or the encoder does not know the language
    └── TopicsExhaustedError        the generator gives no topics

What to catch around a call of the library:

- `SeedfreeError` for any of them. `str(error)` is one line: what happened, then what to do.
- `ConfigError` for a mistake that is found before anything is sent or paid for.
- `ConfigMismatchError` where a folder is used again, `LedgerLockedError` and `LedgerDamagedError`
  where a run is opened.
- `StopRunError` from `generate_all`. A pipeline that has to stop returns a run instead, with
  `status == "stopped"`.
- `EncoderError` where texts are compared by meaning, `TopicsExhaustedError` from a pipeline.

What to raise in a component of your own:

- Any plain Python error. In a task it drops the row, in a generator it fails that request, and
  elsewhere it stops the run, which can be resumed.
- `RetryableError` in a generator, to be asked again.
- `RequestError` or `StopRunError` in `HTTPGenerator.reply`: give up this request, or all of them.
- `InvalidReplyError` in a `check` for `session.generate`, to have the LLM asked again.
- `ConfigError` in the constructor or in `ready()`, for what would fail later.

The others are for the library to raise. Below the tree stand the checks of options that raise them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from seedfree.text import clean, shown

__all__ = [
    "ConfigError",
    "ConfigMismatchError",
    "EncoderError",
    "InvalidReplyError",
    "LedgerDamagedError",
    "LedgerError",
    "LedgerLockedError",
    "RequestError",
    "RetryableError",
    "SeedfreeError",
    "StopRunError",
    "TopicsExhaustedError",
    "check_types",
    "did_you_mean",
    "missing_extra",
]


class SeedfreeError(Exception):
    """The base of the tree. `str(error)` is one line: what happened, then what to do.

    Args:
        message: What happened, without a full stop.
        hint: What to do about it.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = _line(message)
        self.hint = _line(hint) if hint else None
        super().__init__(f"{self.message}. {self.hint}" if self.hint else self.message)


def _line(text: str) -> str:
    # Messages quote replies and pages, and go to terminals and logs: nothing in them may begin a
    # line of its own or steer a terminal.
    return shown(" ".join(clean(text).split()))


class ConfigError(SeedfreeError, ValueError):
    """A setting, an argument, a file or an installed package is wrong. Nothing was sent."""


class ConfigMismatchError(ConfigError):
    """The run folder was made with other settings.

    Args:
        fields: Names of the settings that differ.
    """

    def __init__(self, message: str, *, fields: Sequence[str], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.fields = tuple(fields)


class RequestError(SeedfreeError):
    """One request failed for good. Others may still succeed.

    Args:
        status: The HTTP status, where there was one.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RetryableError(RequestError):
    """The same request may succeed later.

    Args:
        retry_after: Seconds for which the provider asked everyone to wait.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, status=status)
        self.retry_after = retry_after


class InvalidReplyError(RequestError):
    """A reply is not what the prompt asked for: no JSON, a missing field, a wrong type."""


class StopRunError(RequestError):
    """No request of this run can succeed until someone acts. The run can be resumed."""


class LedgerError(SeedfreeError):
    """The run's ledger cannot be used."""


class LedgerLockedError(LedgerError):
    """Another process has the run open."""


class LedgerDamagedError(LedgerError):
    """Rows of the ledger are missing or changed."""


class EncoderError(SeedfreeError):
    """Vectors are unusable (NaN, zeros, wrong shape), or the encoder does not know the language."""


class TopicsExhaustedError(SeedfreeError):
    """The generator gives no new topics."""


def missing_extra(package: str, extra: str) -> ConfigError:
    """Makes the error for a package that is not installed and that `extra` would install."""
    return ConfigError(f"{package} is not installed", hint=f"Run: pip install 'seedfree[{extra}]'")


# What is wanted of an option, by its annotation.
_WANTED = {
    "bool": "True or False",
    "float": "a number",
    "int": "a whole number",
    "str": "text (in YAML: in quotes)",
    "tuple[int, int]": "two whole numbers",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the question whether the nearest of the known names was meant, or `""`."""
    by_letters = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), by_letters, n=1)
    return "".join(f"Did you mean {by_letters[letters]!r}? " for letters in near)


def check_types(component: Any) -> None:
    """Checks the settings of a data class that are text, numbers, switches or pairs of numbers.

    Others have values that a class of its own or a check of the component looks at.

    Raises:
        ConfigError: One has another type, or is not a finite number. The message names it.
    """
    for field in dataclasses.fields(component):
        # The annotation as it is written: it may name a class that is imported for type checkers.
        kind, _, none = str(field.type).partition(" | ")
        if not field.init or kind not in _WANTED or none not in ("", "None"):
            continue
        value = getattr(component, field.name)
        if not (_fits(value, kind) or (none and value is None)):
            wanted = " or ".join(filter(None, [_WANTED[kind], none]))
            what = f"{type(component).__name__}: {field.name} is {value!r}"
            raise ConfigError(what, hint=f"Give {wanted}.")


def _fits(value: object, kind: str) -> bool:
    if kind == "tuple[int, int]":
        # YAML has lists alone.
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            return False
        return all(_fits(each, "int") for each in value)
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int)
    return isinstance(value, (int, float)) and math.isfinite(value)
