"""Who may use an outbox's file, and what is done with a damaged one."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from lineside.errors import StorageError
from lineside.files import storage_error

QUARANTINED: Final = 3
"""How many corrupt files are kept at most."""


_BESIDE: Final = ("", "-wal", "-shm")
"""The endings of the files that make up one SQLite file, itself included."""


class CorruptError(StorageError):
    """The file is no outbox, or a damaged one; `quarantine` moves it aside."""


class DiskFullError(StorageError):
    """There is no room on the disk; there may be later."""


class BusyError(StorageError):
    """The outbox can't be used by this process, and waiting doesn't help."""


def quarantine(path: Path) -> Path:
    """Move a corrupt outbox aside, for someone to look at, and keep the newest QUARANTINED ones.

    Returns:
        Where it is now.

    Raises:
        StorageError: it can't be moved.
    """
    try:
        old = quarantined(path)
        target = path.with_name(f"{path.name}.corrupt-{_number(old[-1]) + 1 if old else 1}")
        for gone in old[: max(0, len(old) - QUARANTINED + 1)]:
            discard(gone)
        for suffix in reversed(_BESIDE):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(target.with_name(target.name + suffix))
    except OSError as error:
        raise storage_error(error, path) from error
    return target


def quarantined(path: Path) -> list[Path]:
    """The corrupt files that were moved aside, the oldest first."""
    return sorted(path.parent.glob(f"{path.name}.corrupt-*[0-9]"), key=_number)


def discard(file: Path) -> None:
    """Delete a file that was moved aside, and what belongs to it."""
    for suffix in _BESIDE:
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def size(file: Path) -> int:
    """The bytes on disk of an SQLite file and what belongs to it."""
    found = 0
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            found += file.with_name(file.name + suffix).stat().st_blocks * 512
    return found


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def lock(path: Path) -> int:
    """Hold a lock beside `path` until the returned descriptor is closed, or the process ends.

    Raises:
        BusyError: another process holds it.
        StorageError: the folder can't be made or written.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, beside) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        msg = f"{path} is used by another agent: stop that one, or set another outbox.path"
        raise BusyError(msg) from error
    return handle
