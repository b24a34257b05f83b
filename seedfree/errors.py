"""Every error that seedfree raises, as one tree.

    SeedfreeError                   message, hint, retryable
    ├── ConfigError                 a setting, argument, file or package is wrong; nothing was sent
    │   └── ConfigMismatchError     the run folder was made with other settings (`fields`)
    ├── RequestError                one request will not succeed (`status`)
    │   ├── RetryableError          ... this time: try again (`retry_after`)
    │   ├── InvalidReplyError       a reply is not what the prompt asked for
    │   └── StopRunError            no further request can succeed: wrong key, spent budget, failed
    disk
    ├── LedgerError                 the run's ledger cannot be used
    │   ├── LedgerLockedError       another process has the run open
    │   └── LedgerDamagedError      rows are missing or changed
    ├── EncoderError                vectors are unusable, or the encoder does not know the language
    └── TopicsExhaustedError        the generator gives no new topics

An extension raises plain Python errors, or `RetryableError` where trying again may help; the edge
of the library classifies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

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
    "missing_extra",
]


class SeedfreeError(Exception):
    """Base of the tree. `str(error)` is one line: what happened, then what to do.

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
    """One line without control characters: messages quote replies, and go to terminals and logs."""
    return shown(" ".join(clean(text).split()))


class ConfigError(SeedfreeError, ValueError):
    """A setting, an argument, a file or an installed package is wrong; nothing was sent."""


class ConfigMismatchError(ConfigError):
    """The run folder was made with other settings.

    Args:
        fields: Names of the settings that differ.
    """

    def __init__(self, message: str, *, fields: Sequence[str], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.fields = tuple(fields)


class RequestError(SeedfreeError):
    """One request failed for good; others may still succeed.

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
    """No request of this run can succeed until someone acts; the run can be resumed."""


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
    """The error for a package that an extra installs and that is not there."""
    return ConfigError(f"{package} is not installed", hint=f"Run: pip install 'seedfree[{extra}]'")
