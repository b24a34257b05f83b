"""What goes wrong at a ledger's files: damage, a full disk, a file system without locks."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from pathlib import Path

from seedfree.errors import (
    ConfigError,
    LedgerDamagedError,
    LedgerError,
    SeedfreeError,
    StopRunError,
)

__all__ = ["LOCAL_DISK", "damaged", "explained", "is_of_locking", "stopped", "unlockable"]


def _codes(names: str) -> frozenset[int]:
    return frozenset(getattr(sqlite3, f"SQLITE_{name}") for name in names.split())


# What is wrong with the machine and not with the file. Errors of reading are damage.
_MACHINE = _codes("PERM BUSY LOCKED PROTOCOL READONLY IOERR FULL CANTOPEN")
_UNREADABLE = _codes("IOERR_READ IOERR_SHORT_READ IOERR_CORRUPTFS")
# What network file systems without working locks or shared memory give, and a file in use. Not
# IOERR_SHMSIZE, which a full disk gives.
_LOCKING = _codes(
    "BUSY LOCKED PROTOCOL IOERR_LOCK IOERR_RDLOCK IOERR_UNLOCK IOERR_CHECKRESERVEDLOCK "
    "IOERR_SHMOPEN IOERR_SHMLOCK IOERR_SHMMAP"
)
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
LOCAL_DISK = (
    "Nothing is lost. Close whatever else has it open. If nothing has, its file system cannot "
    "lock files or hold a write-ahead log: choose a folder on a local disk."
)


def explained(path: Path, error: Exception) -> SeedfreeError:
    """Returns what an error at a ledger's files means for the one who opened it."""
    if isinstance(error, SeedfreeError):
        return error
    if _is_the_machines(path, error):
        reason = (isinstance(error, OSError) and error.strerror) or error
        if is_of_locking(error):
            return unlockable(path, str(reason))
        hint = "Make room on the disk and the folder writable, or choose another folder."
        return ConfigError(f"Cannot write to {path}: {reason}", hint=hint)
    return damaged(path, f"{path} cannot be read: {error or type(error).__name__}")


def unlockable(path: Path, reason: str) -> ConfigError:
    """Returns the error for a file that cannot be locked."""
    return ConfigError(f"Cannot lock {path}: {reason}", hint=LOCAL_DISK)


def is_of_locking(error: Exception) -> bool:
    """Tells whether an error is that of a file system without locks, or of a file in use."""
    if isinstance(error, NotImplementedError):
        return True
    if isinstance(error, OSError):
        return error.errno in _NO_LOCKS
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code in _LOCKING or code & 255 in _LOCKING


def _is_the_machines(path: Path, error: Exception) -> bool:
    if isinstance(error, (OSError, NotImplementedError)):
        return True
    # Errors that the sqlite3 module raises by itself have no code.
    code = getattr(error, "sqlite_errorcode", None) or 0
    primary = code & 255  # the low byte of an extended code
    if primary == sqlite3.SQLITE_READONLY:
        # A header with a flipped version number is "read-only" too.
        return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    return primary in _MACHINE and code not in _UNREADABLE


def damaged(path: Path, message: str) -> LedgerDamagedError:
    """Returns the error for a ledger at `path`, with what to do about it."""
    return LedgerDamagedError(
        message, hint=f"Run: seedfree salvage {shlex.quote(str(path.parent))} NEW_FOLDER"
    )


def stopped(error: LedgerError) -> StopRunError:
    """Returns what a ledger that takes nothing more means for a run."""
    hint = error.hint or "Make room on the disk and run it again; what was kept is safe."
    return StopRunError(error.message, hint=hint)
